//! A cleartext client cannot be turned into a secure one by hand.

use proto_mail::{Cleartext, Secure};
use proto_imap::client::Client;

fn promoted(client: Client<Cleartext>, secure: Secure) -> Client<Secure> {
    Client { core: client.core, channel: secure }
}

fn main() {}
