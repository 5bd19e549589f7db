//! On cleartext a server cannot trust the identity that a proxy announces.

use proto_mail::{Cleartext, SendBuffer};
use proto_smtp::server::{Reply, Server};

fn believe(server: &mut Server<Cleartext>, reply: Reply, tx: &mut SendBuffer) {
    let _ = server.trust_login(reply, tx);
}

fn main() {}
