//! Under TLS a client has no STARTTLS.

use proto_mail::{Secure, SendBuffer};
use proto_smtp::client::Client;

fn again(client: Client<Secure>, tx: &mut SendBuffer) {
    let _ = client.starttls(tx);
}

fn main() {}
