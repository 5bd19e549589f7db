//! Under TLS there is no second STARTTLS to give.

use proto_mail::{Secure, SendBuffer};
use proto_smtp::client::Client;

fn again(client: Client<Secure>, tx: &mut SendBuffer) {
    let _ = client.starttls(tx);
}

fn main() {}
