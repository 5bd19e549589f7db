//! Answering consumes the token, which cannot be copied: nothing is answered twice.

use proto_mail::{AuthRequest, AuthVerdict, Cleartext, Secure, SendBuffer, StartTlsRequest};
use proto_smtp::server::{Reply, Server};

fn verdict(server: &mut Server<Secure>, request: AuthRequest, tx: &mut SendBuffer) {
    let _ = server.answer_auth(request, AuthVerdict::Reject, tx);
    let _ = server.answer_auth(request, AuthVerdict::Accept, tx);
}

fn refusal(server: &mut Server<Cleartext>, request: StartTlsRequest, tx: &mut SendBuffer) {
    let _ = server.refuse_starttls(request, tx);
    let _ = server.refuse_starttls(request, tx);
}

fn copies(reply: &Reply, request: &AuthRequest, offer: &StartTlsRequest) -> (Reply, AuthRequest, StartTlsRequest) {
    (Clone::clone(reply), Clone::clone(request), Clone::clone(offer))
}

fn main() {}
