//! A client on cleartext has no way to authenticate.

use proto_mail::{Cleartext, Credentials, Mechanisms, SendBuffer};
use proto_smtp::client::Client;

fn log_in(client: &mut Client<Cleartext>, credentials: Credentials, tx: &mut SendBuffer) {
    let _ = client.authenticate(credentials, Mechanisms::all(), tx);
}

fn main() {}
