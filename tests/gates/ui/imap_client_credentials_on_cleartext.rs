//! A client on cleartext has no way to authenticate.

use proto_mail::{Cleartext, Credentials, Mechanism, SendBuffer};
use proto_imap::client::Client;

fn log_in(client: &mut Client<Cleartext>, credentials: Credentials, tx: &mut SendBuffer) {
    let _ = client.authenticate(Mechanism::Plain, &credentials, tx);
}

fn main() {}
