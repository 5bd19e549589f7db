//! A server whose application drops a token answers with a temporary failure, and the session goes on.
#![allow(clippy::unwrap_used)]

use proto_mail::{Channel, Cleartext, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::server::Server;

struct Session<C: Channel> {
    server: Server<C>,
    tx: SendBuffer,
}

impl<C: Channel> Session<C> {
    /// Sends `line` and drops every event that the server reports. Returns the server's replies.
    fn ask(&mut self, line: &str) -> String {
        let mut rx = RecvBuffer::new();
        rx.extend(line.as_bytes());
        while let Some(event) = self.server.next_event(&mut rx, &mut self.tx).unwrap() {
            drop(event);
        }
        let replies = String::from_utf8(self.tx.take()).unwrap();
        assert!(self.server.wants_read(&self.tx), "the session hangs after {line:?}");
        replies
    }
}

fn secure() -> Session<Secure> {
    let mut tx = SendBuffer::new();
    let server =
        Server::<Secure>::new(Config::default().optional_authentication(), Secure::trusted_local(), &mut tx);
    let mut session = Session { server, tx };
    session.ask("");
    session.ask("EHLO client.example\r\n");
    session
}

#[test]
fn answers_451_for_a_dropped_reply() {
    let mut session = secure();
    assert!(session.ask("MAIL FROM:<a@example.org>\r\n").starts_with("451 4.3.0 "));
    assert!(session.ask("RCPT TO:<b@example.org>\r\n").starts_with("503 "), "there is no transaction");
    assert!(session.ask("NOOP\r\n").starts_with("250 "));
}

#[test]
fn answers_454_for_a_dropped_authentication_without_counting_it() {
    let mut session = secure();
    for _ in 0..10 {
        assert!(session.ask("AUTH PLAIN AHUAcA==\r\n").starts_with("454 4.7.0 "));
    }
    assert!(session.ask("NOOP\r\n").starts_with("250 "));
}

#[test]
fn answers_454_for_a_dropped_starttls_request() {
    let mut tx = SendBuffer::new();
    let mut session = Session { server: Server::<Cleartext>::new(Config::mail_exchanger(), &mut tx), tx };
    session.ask("");
    session.ask("EHLO client.example\r\n");
    assert!(session.ask("STARTTLS\r\n").starts_with("454 4.7.0 "));
    assert!(session.ask("NOOP\r\n").starts_with("250 "));
}
