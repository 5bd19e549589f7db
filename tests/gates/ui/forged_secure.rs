//! The evidence of TLS cannot be constructed by hand.

use proto_mail::{ChannelBinding, Secure};

fn forge() -> Secure {
    Secure { binding: ChannelBinding::None }
}

fn main() {}
