//! On cleartext a server has no way to accept an identity.

use proto_mail::{AuthRequest, AuthVerdict, Cleartext, SendBuffer};
use proto_smtp::server::Server;

fn believe(server: &mut Server<Cleartext>, request: AuthRequest, tx: &mut SendBuffer) {
    let _ = server.answer_auth(request, AuthVerdict::Accept, tx);
}

fn main() {}
