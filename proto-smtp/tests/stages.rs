//! A server rejects at each stage of a session, and offers each client what the application sets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use proto_mail::{Cleartext, Limit, Limits, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, WaitFor};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Code, Extension, Response};
use proto_smtp::{Config, Dialect, Waits};
use support::{Record, config, every_split, pump};

fn response(code: u16) -> Response<'static> {
    Response::new(Code::new(code).unwrap(), "not you")
}

/// A session that is rejected with this code, and then receives these pieces.
fn turned_away(code: u16, pieces: &[&[u8]]) -> Record {
    let (mut rx, mut tx, mut record) = (RecvBuffer::new(), SendBuffer::new(), Record::default());
    let mut server = Server::<Cleartext>::refusing(config(), &response(code), &mut tx);
    pump(&mut server, &mut rx, &mut tx, &mut record);
    for piece in pieces {
        rx.extend(piece);
        pump(&mut server, &mut rx, &mut tx, &mut record);
    }
    assert!(server.is_closed());
    record
}

#[test]
fn allows_only_quit_after_a_rejected_connection() {
    let input = b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nNOOP\r\nBDAT 6\r\nQUIT\r\nXYZZY\r\nQUIT\r\n";
    let record = every_split(input, |pieces| turned_away(554, pieces));
    assert_eq!(record.codes(), [554, 503, 503, 503, 503, 503, 503, 221]);
    assert!(record.events.iter().all(|event| event.starts_with("refused") || event == "closed"));
    // 421 ends the session, and a positive reply does not accept the client.
    let record = turned_away(421, &[]);
    assert_eq!((record.codes(), &record.events[..]), (vec![421], &["closed".to_owned()][..]));
    assert_eq!(turned_away(220, &[b"QUIT\r\n"]).codes(), [554, 221]);
}

#[test]
fn rejects_a_client_during_the_greeting_delay() {
    let mut waits = Waits::default();
    waits.greeting_delay = Duration::from_secs(3);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config().waits(waits), &mut tx);
    assert_eq!((server.wait().awaited, server.wait().after), (WaitFor::Delay, Some(Duration::from_secs(3))));
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none() && tx.is_empty());
    server.reject_connection(&response(521), &mut tx).unwrap();
    assert_eq!(tx.take(), b"521 not you\r\n");
    assert!(server.reject_connection(&response(521), &mut tx).is_err() && tx.is_empty(), "once");
    rx.extend(b"EHLO c\r\n");
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(Some(Event::Refused(..)))));

    // A client that sends before the greeting is rejected without an event.
    let mut server = Server::<Cleartext>::new(config().waits(waits), &mut tx);
    let mut rx = RecvBuffer::new();
    let _ = tx.take();
    rx.extend(b"E");
    assert_eq!(server.next_event(&mut rx, &mut tx).unwrap_err(), PeerError::EarlyTalker.into());
    assert!(tx.take().starts_with(b"554 5.5.1 "));
}

/// A server that rejects EHLO of "bad", and with 421 that of "worse".
fn judged_by_name(pieces: &[&[u8]]) -> Record {
    let (mut rx, mut tx, mut record) = (RecvBuffer::new(), SendBuffer::new(), Record::default());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    for piece in pieces {
        rx.extend(piece);
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            record.events.push(format!("{event:?}").split('(').next().unwrap().to_owned());
            match event {
                Event::Hello(_, name) => match name.to_string().as_str() {
                    "bad" => server.refuse_hello(&response(550), &mut tx).unwrap(),
                    "worse" => server.refuse_hello(&response(421), &mut tx).unwrap(),
                    _ => {}
                },
                Event::Mail(_, reply)
                | Event::Rcpt(_, reply)
                | Event::Data(reply)
                | Event::DataEnd(reply) => {
                    server.reply(reply, &Response::ok(), &mut tx).unwrap();
                }
                _ => {}
            }
        }
        assert!(server.refuse_hello(&response(550), &mut tx).is_err(), "there was no EHLO");
        record.output.push_str(std::str::from_utf8(&tx.take()).unwrap());
    }
    record
}

#[test]
fn keeps_the_session_after_a_rejected_ehlo() {
    let input =
        b"EHLO bad\r\nMAIL FROM:<a@b>\r\nEHLO good\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nEHLO bad\r\n\
        EHLO\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<a@b>\r\nEHLO good\r\nRCPT TO:<c@d>\r\nEHLO worse\r\nNOOP\r\n";
    let record = every_split(input, |pieces| {
        let mut record = judged_by_name(pieces);
        record.events.retain(|event| event != "DataChunk");
        record
    });
    assert_eq!(
        record.codes(),
        [550, 503, 250, 250, 250, 550, 501, 354, 250, 250, 250, 503, 421],
        "{}",
        record.output
    );
    assert_eq!(
        record.events,
        [
            "Hello", "Refused", "Hello", "Mail", "Rcpt", "Hello", "Refused", "Data", "DataEnd", "Mail",
            "Hello", "Reset", "Refused", "Hello", "Closed"
        ]
    );
}

#[test]
fn offers_extensions_for_each_client() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO friend\r\nVRFY a\r\nBDAT 0\r\nEHLO foe\r\nBDAT 0\r\nEXPN a\r\n");
    while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
        match event {
            Event::Hello(_, name) if name.to_string() == "friend" => {
                server.offer([Extension::Vrfy, Extension::StartTls].into_iter().collect());
            }
            Event::Hello(..) => server.offer([Extension::Chunking, Extension::Expn].into_iter().collect()),
            Event::Vrfy(_, reply) | Event::Expn(_, reply) => {
                server.reply(reply, &Response::ok(), &mut tx).unwrap();
            }
            Event::Refused(..) => {}
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(
        String::from_utf8(tx.take()).unwrap(),
        "250-localhost\r\n250-STARTTLS\r\n250 VRFY\r\n250 2.0.0 OK\r\n502 5.5.1 Command not implemented\r\n\
         250-localhost\r\n250-CHUNKING\r\n250 EXPN\r\n503 5.5.1 Say MAIL first\r\n250 2.0.0 OK\r\n"
    );
    // Offers made on cleartext end with STARTTLS.
    server.offer([Extension::StartTls].into_iter().collect());
    rx.extend(b"STARTTLS\r\n");
    let Some(Event::StartTls(request)) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("STARTTLS")
    };
    let upgrade = server.accept_starttls(request, &mut tx).unwrap();
    let mut server = upgrade.complete(Secure::trusted_local(), &mut rx).unwrap();
    let _ = tx.take();
    rx.extend(b"EHLO c\r\n");
    while server.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    assert!(String::from_utf8(tx.take()).unwrap().contains("PIPELINING"));
}

#[test]
fn delays_and_limits_password_guesses() {
    let mut waits = Waits::default();
    waits.delay = Duration::from_secs(2);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server =
        Server::<Secure>::new(Config::submission().waits(waits), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\n");
    while server.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let _ = tx.take();
    // Further input is not processed before the delay is over.
    rx.extend(&b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n".repeat(5));
    let limit = Limits::default().auth_attempts;
    for attempt in 1..=limit {
        let Some(Event::Auth(request)) = server.next_event(&mut rx, &mut tx).unwrap() else { panic!("AUTH") };
        server.answer_auth(request, proto_mail::AuthVerdict::Reject, &mut tx).unwrap();
        let wait = server.wait();
        assert_eq!((wait.awaited, wait.after), (WaitFor::Delay, Some(Duration::from_secs(2))));
        assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none() && tx.is_empty());
        assert!(!server.wants_read(&tx));
        let over = server.timed_out(&mut tx);
        let sent = String::from_utf8(tx.take()).unwrap();
        assert!(
            sent.starts_with("535 5.7.8 ") && sent.contains("\r\n421 4.7.0 ") == (attempt == limit),
            "{sent}"
        );
        assert_eq!(over.is_err(), attempt == limit);
        assert_ne!(server.wait().generation, wait.generation);
    }
    assert_eq!(server.next_event(&mut rx, &mut tx).unwrap_err(), Limit::AuthAttempts.into());
}

#[test]
fn counts_malformed_messages_as_attempts() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nAUTH PLAIN ?\r\nAUTH PLAIN AAAA\r\nAUTH PLAIN\r\n====\r\nAUTH PLAIN ?\r\n");
    let error = loop {
        match server.next_event(&mut rx, &mut tx) {
            Ok(event) => assert!(event.is_some_and(|event| !matches!(event, Event::Auth(_)))),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Limit::AuthAttempts.into());
    let output = String::from_utf8(tx.take()).unwrap();
    assert_eq!(output.matches("\r\n501 ").count(), 3, "{output}");
    assert!(output.trim_end().lines().last().unwrap().starts_with("421 4.7.0 "), "{output}");
}

#[test]
fn lmtp_replies_to_the_last_chunk_for_each_recipient() {
    let input = b"LHLO c\r\nBDAT 1 LAST\r\nxMAIL FROM:<a@b>\r\nBDAT 1\r\nxBDAT 1 LAST\r\nxNOOP\r\nQUIT\r\n";
    let record = every_split(input, |pieces| {
        let (mut rx, mut tx, mut record) = (RecvBuffer::new(), SendBuffer::new(), Record::default());
        let config = config().dialect(Dialect::Lmtp);
        let mut server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        pump(&mut server, &mut rx, &mut tx, &mut record);
        for piece in pieces {
            rx.extend(piece);
            pump(&mut server, &mut rx, &mut tx, &mut record);
        }
        record
    });
    assert_eq!(record.codes(), [220, 250, 503, 250, 503, 250, 221]);
    assert_eq!(record.events.iter().filter(|event| event.starts_with("refused")).count(), 3);
}

/// A token belongs to one question of one session.
#[test]
fn rejects_tokens_of_other_sessions() {
    let asked = |before: usize| {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut server = Server::<Cleartext>::new(Config::mail_exchanger(), &mut tx);
        drop(tx.take());
        rx.extend(b"EHLO c\r\n");
        rx.extend("MAIL FROM:<a@example.com>\r\nRSET\r\n".repeat(before).as_bytes());
        rx.extend(b"MAIL FROM:<a@example.com>\r\n");
        let mut open = None;
        for _ in 0..=before {
            if let Some(reply) = open.take() {
                server.reply(reply, &Response::ok(), &mut tx).unwrap();
            }
            while open.is_none() {
                let event = server.next_event(&mut rx, &mut tx).unwrap();
                if let Event::Mail(_, reply) = event.unwrap() {
                    open = Some(reply);
                }
            }
        }
        drop(tx.take());
        (server, open.unwrap(), tx)
    };
    let (_, other, _) = asked(0);
    let (mut server, own, mut tx) = asked(1);
    assert_eq!(server.reply(other, &Response::ok(), &mut tx), Err(Misuse::StaleToken.into()));
    assert!(tx.is_empty());
    assert_eq!(server.reply(own, &Response::ok(), &mut tx), Ok(()));
    assert!(tx.take().starts_with(b"250"));
}
