//! Sending STARTTLS consumes the client.

use proto_mail::{Cleartext, RecvBuffer, SendBuffer};
use proto_smtp::client::Client;

fn go_on(mut client: Client<Cleartext>, rx: &mut RecvBuffer, tx: &mut SendBuffer) {
    let _ = client.starttls(tx);
    let _ = client.next_event(rx, tx);
}

fn main() {}
