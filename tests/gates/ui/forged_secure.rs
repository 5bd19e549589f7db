//! The evidence that TLS is in place cannot be put together by hand.

use proto_mail::{ChannelBinding, Secure};

fn forge() -> Secure {
    Secure { binding: ChannelBinding::None }
}

fn main() {}
