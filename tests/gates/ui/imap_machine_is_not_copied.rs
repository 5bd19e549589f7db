//! A session cannot be copied: two machines would answer one peer, and use one nonce twice.

use proto_mail::Secure;
use proto_imap::client::Client;
use proto_imap::server::Server;

fn copies(client: &Client<Secure>, server: &Server<Secure>) -> (Client<Secure>, Server<Secure>) {
    (Clone::clone(client), Clone::clone(server))
}

fn main() {}
