//! A client cannot complete an upgrade that the server has not accepted.

use proto_mail::{RecvBuffer, Secure, Upgrade as _};
use proto_smtp::client::StartTls;

fn complete(negotiation: StartTls, secure: Secure, rx: &mut RecvBuffer) {
    let _ = negotiation.complete(secure, rx);
}

fn main() {}
