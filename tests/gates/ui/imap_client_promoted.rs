//! A client on cleartext is not made one under TLS by hand.

use proto_mail::{Cleartext, Secure};
use proto_imap::client::Client;

fn promoted(client: Client<Cleartext>, secure: Secure) -> Client<Secure> {
    Client { core: client.core, channel: secure }
}

fn main() {}
