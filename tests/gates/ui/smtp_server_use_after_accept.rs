//! Accepting STARTTLS consumes the server.

use proto_mail::{Cleartext, RecvBuffer, SendBuffer, StartTlsRequest};
use proto_smtp::server::Server;

fn go_on(mut server: Server<Cleartext>, request: StartTlsRequest, rx: &mut RecvBuffer, tx: &mut SendBuffer) {
    let _ = server.accept_starttls(request, tx);
    let _ = server.next_event(rx, tx);
}

fn main() {}
