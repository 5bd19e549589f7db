//! Under TLS a server has no STARTTLS to accept.

use proto_mail::{Secure, SendBuffer, StartTlsRequest};
use proto_imap::server::Server;

fn again(server: Server<Secure>, request: StartTlsRequest, tx: &mut SendBuffer) {
    let _ = server.accept_starttls(request, tx);
}

fn main() {}
