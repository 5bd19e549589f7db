//! The evidence of TLS is consumed by one session: its nonces are not used twice.

use proto_mail::{Secure, SendBuffer};

fn imap(secure: Secure) {
    let _ = proto_imap::client::Client::<Secure>::new(proto_imap::Config::default(), secure);
    let _ = proto_imap::client::Client::<Secure>::new(proto_imap::Config::default(), secure);
}

fn smtp(secure: Secure, tx: &mut SendBuffer) {
    let _ = proto_smtp::server::Server::<Secure>::new(proto_smtp::Config::default(), secure, tx);
    let _ = proto_smtp::server::Server::<Secure>::new(proto_smtp::Config::default(), secure, tx);
}

fn main() {}
