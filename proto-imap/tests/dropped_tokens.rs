//! A server whose application drops a token answers with a temporary failure, and the session goes on.
#![allow(clippy::unwrap_used)]

use proto_imap::Config;
use proto_imap::server::{Event, Server};
use proto_mail::{AuthVerdict, Channel, Cleartext, RecvBuffer, Secure, SendBuffer};

/// Sends `line` and drops every event that the server reports. Returns the server's responses.
fn ask<C: Channel>(server: &mut Server<C>, line: &str) -> String {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(line.as_bytes());
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        drop(event);
    }
    assert!(server.wants_read(&SendBuffer::new()), "the session hangs after {line:?}");
    String::from_utf8(tx.take()).unwrap()
}

fn authenticated() -> Server<Secure> {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut tx);
    rx.extend(b"a LOGIN user password\r\n");
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        if let Event::Auth(request) = event {
            server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap();
        }
    }
    server
}

#[test]
fn a_dropped_reply_answers_serverbug() {
    let mut server = authenticated();
    assert!(ask(&mut server, "b SELECT INBOX\r\n").starts_with("b NO [SERVERBUG] "));
    assert!(ask(&mut server, "c FETCH 1 FLAGS\r\n").starts_with("c BAD "), "no mailbox is selected");
    assert!(ask(&mut server, "d CAPABILITY\r\n").contains("d OK "));
    assert_eq!(ask(&mut server, "e IDLE\r\n"), "+ idling\r\n", "IDLE goes on until the client ends it");
    assert!(ask(&mut server, "DONE\r\n").starts_with("e NO [SERVERBUG] "));
}

#[test]
fn a_dropped_literal_offer_answers_serverbug_and_its_message_is_discarded() {
    let mut server = authenticated();
    assert!(ask(&mut server, "b APPEND INBOX {3}\r\n").starts_with("b NO [SERVERBUG] "));
    assert!(ask(&mut server, "c APPEND INBOX {11+}\r\nd LOGOUT\r\n.\r\n").starts_with("c NO [SERVERBUG] "));
    assert!(ask(&mut server, "e CAPABILITY\r\n").contains("e OK "));
}

#[test]
fn a_dropped_authentication_answers_unavailable_and_is_no_failed_attempt() {
    let mut server =
        Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut SendBuffer::new());
    ask(&mut server, "");
    for _ in 0..10 {
        assert!(ask(&mut server, "a LOGIN user password\r\n").starts_with("a NO [UNAVAILABLE] "));
        assert!(ask(&mut server, "b AUTHENTICATE PLAIN AHUAcA==\r\n").starts_with("b NO [UNAVAILABLE] "));
    }
}

#[test]
fn a_dropped_starttls_request_answers_unavailable() {
    let mut server = Server::<Cleartext>::new(Config::default(), &mut SendBuffer::new());
    ask(&mut server, "");
    assert!(ask(&mut server, "a STARTTLS\r\n").starts_with("a NO [UNAVAILABLE] "));
    assert!(ask(&mut server, "b CAPABILITY\r\n").contains("b OK "));
}
