//! One accepted STARTTLS makes one session.

use proto_mail::{RecvBuffer, Secure, Upgrade as _};
use proto_smtp::{client, server};

fn client(agreed: client::Upgrade, one: Secure, two: Secure, rx: &mut RecvBuffer) {
    let _ = agreed.complete(one, rx);
    let _ = agreed.complete(two, rx);
}

fn server(agreed: server::Upgrade, one: Secure, two: Secure, rx: &mut RecvBuffer) {
    let _ = agreed.complete(one, rx);
    let _ = agreed.complete(two, rx);
}

fn main() {}
