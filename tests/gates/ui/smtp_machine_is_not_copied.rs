//! A session cannot be copied: two machines would answer one peer, and use one nonce twice.

use proto_mail::Secure;
use proto_smtp::client::Client;
use proto_smtp::server::Server;

fn copies(client: &Client<Secure>, server: &Server<Secure>) -> (Client<Secure>, Server<Secure>) {
    (Clone::clone(client), Clone::clone(server))
}

fn main() {}
