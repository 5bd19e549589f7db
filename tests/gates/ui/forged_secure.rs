//! The evidence that TLS is in place cannot be made up of parts, copied or defaulted.

use proto_core::{ChannelBinding, Secure};

fn forge() -> Secure {
    Secure { binding: ChannelBinding::None }
}

fn copy(secure: &Secure) -> Secure {
    secure.clone()
}

fn main() {}
