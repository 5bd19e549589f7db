//! The boundaries of each rule, one byte on either side: what was sent and what was not, which token answers what,
//! what fits into a line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::token::{AuthRequest, StartTlsRequest};
use proto_mail::{
    AuthVerdict, Cleartext, Credentials, Error, Limit, Limits, Mechanism, Misuse, PeerError, RecvBuffer,
    Secure, SendBuffer, WaitFor,
};
use proto_smtp::client::{AuthOutcome, Client, Event as Heard};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Address, ChunkEnd, EtrnNode, Mail, Rcpt};
use proto_smtp::{Config, InitialResponse, MixedCodes, Waits};

/// A client under TLS after EHLO.
struct Talk {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Talk {
    fn with(config: Config, extensions: &[&str]) -> Self {
        let client = Client::<Secure>::new(config, Secure::trusted_local());
        let mut talk = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        talk.hear("220 mx ESMTP\r\n").unwrap();
        talk.said();
        for extension in ["mx"].iter().chain(extensions) {
            assert!(talk.hear(&format!("250-{extension}\r\n")).unwrap().is_empty());
        }
        assert_eq!(talk.hear("250 SIZE\r\n").unwrap().len(), 1);
        talk
    }

    fn new(extensions: &[&str]) -> Self {
        Self::with(Config::default(), extensions)
    }

    fn hear(&mut self, text: &str) -> Result<Vec<String>, Error> {
        self.rx.extend(text.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? {
            events.push(match &event {
                Heard::Auth(AuthOutcome::Accepted(_)) => "authenticated".to_owned(),
                other => format!("{other:?}"),
            });
        }
        Ok(events)
    }

    fn said(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }

    fn authenticate(&mut self, password: &[u8]) {
        let credentials = Credentials::password("u", password);
        self.client.authenticate(Mechanism::Plain, credentials, &mut self.tx).unwrap();
    }
}

#[test]
fn sends_initial_responses_in_lines_of_at_most_512_bytes() {
    // "AUTH PLAIN ", base64, CRLF: 498 bytes of base64 would fit, and base64 has groups of four.
    let said = |password: usize| {
        let mut talk = Talk::new(&["AUTH PLAIN"]);
        talk.authenticate(&vec![b'x'; password]);
        talk.said()
    };
    let longest = said(496 / 4 * 3 - 3);
    assert_eq!((longest.len(), longest.starts_with("AUTH PLAIN AHUA")), (11 + 496 + 2, true));
    assert_eq!(said(496 / 4 * 3 - 2), "AUTH PLAIN\r\n", "500 bytes of base64 make 513");
    let mut held = Talk::with(Config::default().initial_response(InitialResponse::Never), &["AUTH PLAIN"]);
    held.authenticate(b"p");
    assert_eq!(held.said(), "AUTH PLAIN\r\n");
}

/// AUTH PLAIN without an initial response: the server's challenge may be any text.
#[test]
fn sends_the_held_message_after_any_challenge() {
    for prompt in ["334 \r\n", "334\r\n", "334 Go on, please!\r\n", "334 Z28=\r\n"] {
        let mut talk =
            Talk::with(Config::default().initial_response(InitialResponse::Never), &["AUTH PLAIN"]);
        talk.authenticate(b"p");
        talk.said();
        assert!(talk.hear(prompt).unwrap().is_empty());
        assert_eq!(talk.said(), "AHUAcA==\r\n", "{prompt}");
        // There is no further message: a second challenge cancels the exchange.
        assert!(talk.hear(prompt).unwrap().is_empty());
        assert_eq!(talk.said(), "*\r\n");
        assert_eq!(talk.hear(prompt), Err(PeerError::UnexpectedReply.into()));
    }
}

/// A server that has not received the last byte of a message cannot reply to it.
#[test]
fn rejects_replies_received_before_their_command_was_sent() {
    for (reply, outcome) in
        [("235 2.7.0 in\r\n", Some("authenticated")), ("535 5.7.8 no\r\n", None), ("334 \r\n", None)]
    {
        let begun = || {
            let mut talk =
                Talk::with(Config::default().initial_response(InitialResponse::Never), &["AUTH PLAIN"]);
            talk.authenticate(b"p");
            talk.said();
            talk.hear("334 \r\n").unwrap();
            talk
        };
        let mut early = begun();
        let written = early.tx.len();
        early.tx.sent(written - 1);
        assert_eq!(early.hear(reply), Err(PeerError::UnexpectedReply.into()), "{reply}");
        let mut late = begun();
        late.tx.sent(written);
        let heard = late.hear(reply).unwrap();
        assert_eq!(heard.first().map(String::as_str).filter(|_| outcome.is_some()), outcome);
    }
}

/// What is received before QUIT is sent is not its reply: 221 is an error, and 421 closes the session.
#[test]
fn rejects_replies_to_quit_before_it_is_sent() {
    for reply in ["221 2.0.0 bye\r\n", "250 ok\r\n", "502 5.5.1 no\r\n", "421 4.3.2 off\r\n"] {
        let own = reply.starts_with("421");
        for cut in 0..=reply.len() {
            for sent in 0..="QUIT\r\n".len() {
                let all = sent == "QUIT\r\n".len();
                let mut talk = Talk::new(&[]);
                talk.client.quit(&mut talk.tx).unwrap();
                // A part of the reply is received, then a part of the command is sent, then the rest is received.
                assert_eq!(talk.hear(&reply[..cut]).map(|events| events.len()), heard(cut, reply));
                if cut == reply.len() {
                    break;
                }
                talk.tx.sent(sent);
                let told = talk.hear(&reply[cut..]);
                if own || (all && cut == 0) {
                    let told = told.unwrap();
                    assert!(
                        told.len() == 1 && told[0].starts_with("Closed(Some("),
                        "{reply} {cut}: {told:?}"
                    );
                } else {
                    assert_eq!(told, Err(PeerError::UnexpectedReply.into()), "{reply} {cut} {sent}");
                }
                assert!(!talk.client.wants_read(&talk.tx), "{reply}");
            }
        }
    }
    /// The number of events for a part of a reply if no byte of QUIT was sent.
    fn heard(cut: usize, reply: &str) -> Result<usize, Error> {
        match (cut == reply.len(), reply.starts_with("421")) {
            (true, false) => Err(PeerError::UnexpectedReply.into()),
            (whole, _) => Ok(usize::from(whole)),
        }
    }
}

#[test]
fn repeats_the_error_of_an_ended_session() {
    let mut talk = Talk::new(&[]);
    assert!(talk.client.wants_read(&talk.tx));
    talk.client.noop(&mut talk.tx).unwrap();
    assert!(!talk.client.is_idle(), "a reply is to come");
    assert_eq!(talk.client.wait().awaited, WaitFor::Reply);
    let error = talk.client.timed_out(&mut talk.tx).unwrap_err();
    assert!(!talk.client.wants_read(&talk.tx));
    assert_eq!(talk.client.timed_out(&mut talk.tx), Err(error.clone()));
    assert_eq!(talk.hear("250 ok\r\n"), Err(error.clone()));
    assert_eq!(talk.client.wait().awaited, WaitFor::Nothing);
    let mut talk = Talk::new(&[]);
    talk.client.quit(&mut talk.tx).unwrap();
    talk.said();
    talk.hear("221 bye\r\n").unwrap();
    assert!(!talk.client.wants_read(&talk.tx) && talk.client.is_closed());
    assert_eq!(talk.client.timed_out(&mut talk.tx), Ok(()));
}

#[test]
fn counts_repaired_replies() {
    let mut talk = Talk::with(Config::default().mixed_codes(MixedCodes::LastRefusal), &[]);
    assert_eq!(talk.client.repairs().count(), 0);
    for repairs in 1..3 {
        talk.client.noop(&mut talk.tx).unwrap();
        talk.said();
        talk.hear("550-one\r\n451 two\r\n").unwrap();
        assert_eq!(talk.client.repairs().count(), repairs);
    }
}

/// A reply has a limit of lines and of bytes, line ends included.
#[test]
fn limits_lines_and_bytes_of_replies() {
    let limits = |lines, frame| {
        let mut limits = Limits::default();
        (limits.reply_lines, limits.frame) = (lines, frame);
        Config::default().limits(limits)
    };
    let reply = "250-a\r\n250-b\r\n250 c\r\n";
    for (lines, frame, fits) in [(3, 1000, true), (2, 1000, false), (9, 21, true), (9, 20, false)] {
        let mut talk = Talk::with(limits(lines, frame), &[]);
        talk.client.noop(&mut talk.tx).unwrap();
        talk.said();
        let heard = talk.hear(reply);
        assert_eq!(heard.is_ok(), fits, "{lines} {frame}: {heard:?}");
        if fits {
            talk.client.noop(&mut talk.tx).unwrap();
            talk.said();
            assert!(talk.hear(reply).is_ok(), "each reply is counted by itself");
        }
    }
}

/// A line that is too long and a reply that is too long have their own errors, reported before the end is received.
#[test]
fn names_the_limit_that_a_reply_exceeds() {
    let heard = |line, frame, reply: &str| {
        let mut limits = Limits::default();
        (limits.line, limits.frame) = (line, frame);
        let mut talk = Talk::with(Config::default().limits(limits), &[]);
        talk.client.noop(&mut talk.tx).unwrap();
        talk.said();
        talk.hear(reply).map(|events| events.len())
    };
    let long = format!("250 {}", "x".repeat(36));
    let lines = format!("250-{}\r\n{long}", "x".repeat(14));
    for (line, frame, reply, expected) in [
        (42, 62, format!("{lines}\r\n"), Ok(1)),
        (40, 62, format!("{lines}\r\n"), Err(Limit::Line)),
        (40, 100, long.clone(), Err(Limit::Line)),
        (41, 60, lines.clone(), Err(Limit::Frame)),
        (41, 61, format!("{lines}\r\n"), Err(Limit::Line)),
        (41, 59, lines, Err(Limit::Frame)),
        (40, 40, long, Err(Limit::Line)),
    ] {
        assert_eq!(heard(line, frame, &reply), expected.map_err(Error::from), "{line} {frame} {reply:?}");
    }
}

fn node() -> EtrnNode<'static> {
    EtrnNode::parse("example.org").unwrap()
}

fn address(text: &str) -> Address<'static> {
    text.parse().unwrap()
}

/// MAIL and one recipient, both accepted.
fn in_transaction(extensions: &[&str]) -> Talk {
    let mut talk = Talk::new(extensions);
    talk.client.mail(&Mail::new(address("a@b.example")), &mut talk.tx).unwrap();
    talk.said();
    talk.hear("250 ok\r\n").unwrap();
    talk.client.rcpt(&Rcpt::new(address("c@d.example")), &mut talk.tx).unwrap();
    talk.said();
    talk.hear("250 ok\r\n").unwrap();
    talk
}

/// Bytes of a chunk that the driver writes itself must follow all queued output.
#[test]
fn allows_external_bytes_only_after_queued_output() {
    let mut talk = in_transaction(&["CHUNKING"]);
    talk.client.bdat(5, ChunkEnd::Last, &mut talk.tx).unwrap();
    let Talk { client, tx, .. } = &mut talk;
    assert_eq!(
        client.data_writer().unwrap().written_externally(5, tx),
        Err(Misuse::WrongState.into()),
        "BDAT has not left"
    );
    assert_eq!(tx.take(), b"BDAT 5 LAST\r\n");
    assert_eq!(client.data_writer().unwrap().written_externally(6, tx), Err(Misuse::WrongLength.into()));
    assert_eq!(client.data_writer().unwrap().written_externally(4, tx), Ok(()));
    assert_eq!(client.data_writer().unwrap().finish(tx), Err(Misuse::WrongLength.into()));
    assert_eq!(client.data_writer().unwrap().written_externally(1, tx), Ok(()));
    assert_eq!(client.data_writer().unwrap().finish(tx), Ok(()));
    assert!(talk.hear("250 taken\r\n").unwrap()[0].starts_with("Delivered"));
}

/// A message has the same bytes on the wire however it was passed to the client.
#[test]
fn sends_payloads_like_copied_bytes() {
    let text = [".one\r\n".repeat(3), "x".repeat(5000), "\r\n..two\r\n".to_owned()].concat();
    let written = |payload: bool| {
        let mut talk = in_transaction(&[]);
        talk.client.data(&mut talk.tx).unwrap();
        talk.said();
        talk.hear("354 go on\r\n").unwrap();
        let Talk { client, tx, .. } = &mut talk;
        if payload {
            let bytes = bytes::Bytes::from(text.clone());
            client.data_writer().unwrap().write_payload(&bytes, tx).unwrap();
        } else {
            client.data_writer().unwrap().write(text.as_bytes(), tx).unwrap();
        }
        client.data_writer().unwrap().finish(tx).unwrap();
        let travels_alone = tx.chunks().count() > 1;
        assert_eq!(travels_alone, payload);
        talk.said()
    };
    let expected = [text.replace("\r\n.", "\r\n..").as_str(), ".\r\n"].concat();
    assert_eq!(written(false), format!(".{expected}"));
    assert_eq!(written(true), written(false));
}

/// A transaction ends with the message. Only then may ETRN be given.
#[test]
fn ends_the_transaction_with_the_reply_to_its_message() {
    let mut talk = in_transaction(&["ETRN"]);
    let etrn = |talk: &mut Talk| talk.client.etrn(&node(), &mut talk.tx);
    assert_eq!(etrn(&mut talk), Err(Misuse::WrongState.into()), "a transaction is open");
    talk.client.data(&mut talk.tx).unwrap();
    talk.said();
    talk.hear("354 go on\r\n").unwrap();
    let Talk { client, tx, .. } = &mut talk;
    client.data_writer().unwrap().finish(tx).unwrap();
    talk.said();
    assert_eq!(etrn(&mut talk), Err(Misuse::WrongState.into()), "a reply is to come");
    talk.hear("250 taken\r\n").unwrap();
    assert_eq!(etrn(&mut talk), Ok(()), "it is over");
}

/// A server after EHLO.
struct Serving {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Serving {
    fn new(config: Config) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut tx);
        let _ = tx.take();
        let mut serving = Self { server, rx: RecvBuffer::new(), tx };
        serving.rx.extend(b"EHLO c\r\n");
        assert!(serving.next().is_some_and(|event| event.starts_with("Hello")));
        let _ = serving.next();
        serving.said();
        serving
    }

    fn next(&mut self) -> Option<String> {
        self.server.next_event(&mut self.rx, &mut self.tx).unwrap().map(|event| format!("{event:?}"))
    }

    fn asked(&mut self, text: &str) -> AuthRequest {
        self.rx.extend(text.as_bytes());
        match self.server.next_event(&mut self.rx, &mut self.tx).unwrap() {
            Some(Event::Auth(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn said(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }
}

fn at_once() -> Config {
    let mut waits = Waits::default();
    waits.delay = core::time::Duration::ZERO;
    Config::default().waits(waits).optional_authentication()
}

const AUTH: &str = "AUTH PLAIN AHUAcA==\r\n";

/// An answer to another question, of another session or an older one, is rejected.
#[test]
fn accepts_auth_answers_for_their_own_request_only() {
    let mut other = Serving::new(at_once());
    let first = other.asked(AUTH);
    other.server.answer_auth(first, AuthVerdict::Reject, &mut other.tx).unwrap();
    let second = other.asked(AUTH);
    let mut serving = Serving::new(at_once());
    let own = serving.asked(AUTH);
    assert_eq!(
        serving.server.answer_auth(second, AuthVerdict::Accept, &mut serving.tx),
        Err(Misuse::StaleToken.into())
    );
    assert_eq!(serving.said(), "", "the client was not authenticated");
    serving.server.answer_auth(own, AuthVerdict::Reject, &mut serving.tx).unwrap();
    assert!(serving.said().starts_with("535 "));
}

/// A server with a STARTTLS request, after a number of earlier ones.
fn asked_for_tls(times: usize) -> (Server<Cleartext>, RecvBuffer, SendBuffer, StartTlsRequest) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(Config::mail_exchanger(), &mut tx);
    let mut asked = 0;
    loop {
        let _ = tx.take();
        match server.next_event(&mut rx, &mut tx).unwrap() {
            Some(Event::StartTls(request)) => {
                asked += 1;
                if asked == times {
                    let _ = tx.take();
                    return (server, rx, tx, request);
                }
                server.refuse_starttls(request, &mut tx).unwrap();
            }
            Some(_) => {}
            None if asked == 0 => rx.extend(b"EHLO c\r\nSTARTTLS\r\n"),
            None => rx.extend(b"STARTTLS\r\n"),
        }
    }
}

/// TLS starts with the open request only.
#[test]
fn accepts_starttls_answers_for_their_own_request_only() {
    let (first, _, mut tx, own) = asked_for_tls(1);
    let (_, _, _, other) = asked_for_tls(2);
    assert_eq!(first.accept_starttls(other, &mut tx).map(|_| ()), Err(Misuse::StaleToken.into()));
    assert!(tx.is_empty(), "TLS is not agreed to");
    let (second, _, mut tx, _) = asked_for_tls(2);
    assert_eq!(second.accept_starttls(own, &mut tx).map(|_| ()), Err(Misuse::StaleToken.into()));
    // A failed session repeats its error.
    let (_, _, _, other) = asked_for_tls(1);
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(Config::mail_exchanger(), &mut tx);
    let _ = tx.take();
    rx.extend(b"\x16\x03\x01");
    let error = server.next_event(&mut rx, &mut tx).map(|_| ()).unwrap_err();
    assert_eq!(server.refuse_starttls(other, &mut tx), Err(error));
}

#[test]
fn does_not_count_unavailable_as_failed_attempt() {
    let mut serving = Serving::new(at_once());
    for _ in 0..20 {
        let request = serving.asked(AUTH);
        serving.server.answer_auth(request, AuthVerdict::Unavailable, &mut serving.tx).unwrap();
        assert!(serving.said().starts_with("454 "));
    }
}

/// Output that the client does not read stops the input beyond the limit, not at it.
#[test]
fn reads_until_the_output_limit_is_reached() {
    let room = 200;
    let mut limits = Limits::default();
    limits.output_high_water = room;
    let mut serving = Serving::new(Config::mail_exchanger().limits(limits));
    serving.tx.put(&vec![b'x'; room]);
    assert!(serving.server.wants_read(&serving.tx));
    serving.rx.extend(b"NOOP\r\n");
    assert_eq!(serving.next(), None);
    assert!(serving.rx.is_empty(), "at the limit the command is read");
    serving.rx.extend(b"NOOP\r\n");
    assert_eq!(serving.next(), None);
    assert_eq!(serving.rx.len(), 6, "beyond it waits");
    assert!(!serving.server.wants_read(&serving.tx));
    serving.said();
    assert!(serving.server.wants_read(&serving.tx));
    assert_eq!(serving.next(), None);
    assert_eq!(serving.said(), "250 2.0.0 OK\r\n");
}
