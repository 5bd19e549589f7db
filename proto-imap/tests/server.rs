//! Runs the server against scripts of a client, split in every way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Record, ServerSide, config, in_every_split, no, ok};
use proto_imap::server::{Event, LiteralOffer, Reply, SearchForm, Server};
use proto_imap::types::{
    Command, EsearchResponse, FetchItem, Flag, FlagList, IString, LazyList, NumberKind, NumberRange, Numbers,
    SearchReturnData, Section, Untagged,
};
use proto_imap::{Access, Config, State};
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthRequest, AuthVerdict, Cleartext, Credentials, Error, Limit, PeerError, RecvBuffer, Secure,
    SendBuffer, Upgrade, WaitFor,
};

fn is_alice(request: &AuthRequest) -> AuthVerdict {
    let AuthQuestion::Verify(Credentials::Password { username, password, .. }) = request.question() else {
        return AuthVerdict::Reject;
    };
    if username == "alice" && password.expose() == b"secret" {
        AuthVerdict::Accept
    } else {
        AuthVerdict::Reject
    }
}

/// Answers like a small store: every mailbox except `missing` exists, and every message is `hello`.
fn secure(config: Arc<Config>) -> Box<dyn common::Side> {
    let mut idle: Option<Reply> = None;
    let mut greeting = SendBuffer::new();
    let server = Server::<Secure>::new(config, Secure::trusted_local(), &mut greeting);
    Box::new(ServerSide {
        server,
        greeting,
        answer: Box::new(move |event, server, tx| match event {
            Event::Auth(request) => {
                let verdict = is_alice(&request);
                let _ = server.answer_auth(request, verdict, tx);
            }
            Event::Command(command, reply) => command_of(reply, command, server, tx),
            Event::Append { offer, size, .. } => append_of(offer, size, server, tx),
            Event::AppendEnd(reply) => server.reply(reply, &ok("appended"), tx).unwrap(),
            Event::Idle(reply) => {
                if server.state().is_selected() {
                    server.data(&Untagged::Exists(4), tx).unwrap();
                }
                idle = Some(reply);
            }
            Event::Done => server.reply(idle.take().unwrap(), &ok("idled"), tx).unwrap(),
            _ => {}
        }),
    })
}

fn command_of(reply: Reply, command: Command<'_>, server: &mut Server<Secure>, tx: &mut SendBuffer) {
    match command {
        Command::Select(select) if select.mailbox.to_str_lossy(Default::default()) == "missing" => {
            server.reply(reply, &no("no such mailbox"), tx).unwrap();
        }
        Command::Select(_) => {
            server.data(&Untagged::Exists(1), tx).unwrap();
            server.reply(reply, &ok("done"), tx).unwrap();
        }
        Command::Fetch(_) => {
            let mut writer = server.fetch(1, tx).unwrap();
            writer.item(&FetchItem::Uid(7)).item(&FetchItem::Flags(FlagList::new(&[Flag::Seen])));
            writer.finish().unwrap();
            server.reply(reply, &ok("fetched"), tx).unwrap();
        }
        _ => server.reply(reply, &ok("done"), tx).unwrap(),
    }
}

fn append_of(offer: LiteralOffer, size: u64, server: &mut Server<Secure>, tx: &mut SendBuffer) {
    if size == 13 {
        server.reject_literal(offer, &no("bad luck"), tx).unwrap();
    } else {
        server.accept_literal(offer, tx).unwrap();
    }
}

fn session(script: &str) -> Record {
    in_every_split(script, false, || secure(config()))
}

fn authenticated(script: &str) -> String {
    let record = session(&format!("l LOGIN alice secret\r\n{script}"));
    assert_eq!(record.error, None, "{record:#?}");
    let (_, rest) = record.output.split_once("welcome\r\n").unwrap();
    rest.to_owned()
}

#[test]
fn a_session_in_order() {
    let record = in_every_split(
        "a1 CAPABILITY\r\na2 LOGIN \"alice\" {6+}\r\nsecret\r\na3 SELECT INBOX\r\na4 FETCH 1 (UID FLAGS)\r\n\
         a5 IDLE\r\nDONE\r\na6 CLOSE\r\na7 LOGOUT\r\n",
        false,
        || secure(config()),
    );
    assert_eq!(record.error, None);
    let lines: Vec<&str> = record.output.lines().collect();
    assert!(
        lines[0].starts_with("* OK [CAPABILITY IMAP4rev1 ") && lines[0].contains(" AUTH=PLAIN "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("* CAPABILITY IMAP4rev1 "));
    assert!(!record.output.contains("STARTTLS") && !record.output.contains("LOGINDISABLED"));
    assert!(lines[3].starts_with("a2 OK [CAPABILITY ") && !lines[3].contains("AUTH="), "{lines:?}");
    assert_eq!(
        lines[4..],
        [
            "* 1 EXISTS",
            "a3 OK done",
            "* 1 FETCH (UID 7 FLAGS (\\Seen))",
            "a4 OK fetched",
            "+ idling",
            "* 4 EXISTS",
            "a5 OK idled",
            "a6 OK done",
            "* BYE good-bye",
            "a7 OK LOGOUT completed",
        ]
    );
    assert_eq!(record.events.last().map(String::as_str), Some("Closed"));
}

#[test]
fn checks_the_state_before_the_arguments() {
    let record = session(
        "a SELECT {5}\r\nb FETCH 1 FLAGS\r\nc STARTTLS\r\nd XYZZY\r\ne LOGIN alice wrong\r\nf SELECT INBOX\r\n\
         g LOGIN alice secret\r\nh LOGIN alice secret\r\ni FETCH 1 FLAGS\r\nj SELECT INBOX\r\nk SELECT missing\r\n\
         l FETCH 1 FLAGS\r\n",
    );
    let answers: Vec<&str> = record.output.lines().filter(|line| !line.starts_with('*')).collect();
    let expected = [
        "a BAD authenticate first",
        "b BAD authenticate first",
        "c BAD TLS is already active",
        "d BAD unknown command",
        "e NO [AUTHENTICATIONFAILED]",
        "f BAD authenticate first",
        "g OK [CAPABILITY",
        "h BAD already authenticated",
        "i BAD select a mailbox first",
        "j OK done",
        "k NO no such mailbox",
        "l BAD select a mailbox first",
    ];
    assert_eq!(answers.len(), expected.len(), "{answers:#?}");
    for (answer, expected) in answers.iter().zip(expected) {
        assert!(answer.starts_with(expected), "{answer} / {expected}");
    }
}

#[test]
fn cleartext_never_leads_to_a_password() {
    let input = "a1 LOGIN alice secret\r\na2 LOGIN alice {6}\r\na3 LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n\
                 a4 AUTHENTICATE PLAIN\r\na5 AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\na6 CAPABILITY\r\na7 SELECT INBOX\r\n";
    let record = in_every_split(input, false, || {
        let mut greeting = SendBuffer::new();
        let server = Server::<Cleartext>::new(config(), &mut greeting);
        Box::new(ServerSide {
            server,
            greeting,
            answer: Box::new(|_, _, _| panic!("nothing is for the application")),
        })
    });
    assert_eq!(record.error, None);
    let privacy = record.output.matches("NO [PRIVACYREQUIRED]").count();
    assert_eq!(privacy, 5, "{}", record.output);
    assert!(!record.output.contains('+') || !record.output.contains("\r\n+"), "{}", record.output);
    assert!(!record.output.contains("AUTH=") && record.output.contains("STARTTLS LOGINDISABLED"));
    assert!(record.events.is_empty());
    assert!(record.output.ends_with("a7 BAD authenticate first\r\n"));
}

#[test]
fn a_refused_literal_is_swallowed_whole() {
    for (script, answers) in [
        ("a1 XYZZY {9+}\r\nb1 NOOP\r\n foo\r\na2 NOOP\r\n", "a1 BAD unknown command\r\na2 OK done\r\n"),
        (
            "a1 FETCH {9+}\r\nb1 NOOP\r\n {9+}\r\nb2 NOOP\r\n\r\na2 NOOP\r\n",
            "a1 BAD select a mailbox first\r\na2 OK done\r\n",
        ),
        ("a1 APPEND INBOX {13+}\r\nb1 LOGOUT\r\n\r\n\r\na2 NOOP\r\n", "a1 NO bad luck\r\na2 OK done\r\n"),
        ("a1 APPEND INBOX {13}\r\na2 NOOP\r\n", "a1 NO bad luck\r\na2 OK done\r\n"),
        ("a1 APPEND INBOX {5+}\r\nhello\r\na2 NOOP\r\n", "a1 OK appended\r\na2 OK done\r\n"),
        ("a1 APPEND INBOX {5}\r\nhello\r\na2 NOOP\r\n", "+ go on\r\na1 OK appended\r\na2 OK done\r\n"),
        (
            "a1 APPEND INBOX {5+}\r\nhellox\r\na2 NOOP\r\n",
            "a1 BAD only a line end may follow the message\r\na2 OK done\r\n",
        ),
        (
            "a1 APPEND INBOX {5+}\r\nhello {9+}\r\nb1 NOOP\r\n\r\na2 NOOP\r\n",
            "a1 BAD only a line end may follow the message\r\na2 OK done\r\n",
        ),
        (
            "a1 APPEND INBOX {3000000000}\r\na2 NOOP\r\n",
            "a1 NO [TOOBIG] the message is too large\r\na2 OK done\r\n",
        ),
    ] {
        assert_eq!(authenticated(script), answers, "{script:?}");
    }
    let noops = "b1 NOOP\r\n".repeat(555);
    let record = session(&format!("a1 LOGIN {{5000+}}\r\n{noops}12345 x\r\na2 LOGOUT\r\n"));
    assert!(record.output.contains("a1 NO [LIMIT]") && !record.output.contains("b1 "), "{}", record.output);
}

/// A mailbox name may be a literal. It is not offered to the application as a message.
#[test]
fn the_name_of_a_mailbox_may_be_a_literal() {
    for (script, answers) in [
        ("a1 APPEND {5+}\r\nINBOX {5+}\r\nhello\r\n", "a1 OK appended\r\n"),
        ("a1 APPEND {5}\r\nINBOX {5}\r\nhello\r\n", "+ go on\r\n+ go on\r\na1 OK appended\r\n"),
    ] {
        let record = session(&format!("l LOGIN alice secret\r\n{script}"));
        assert!(record.output.ends_with(&format!("welcome\r\n{answers}")), "{}", record.output);
        let appends: Vec<_> = record.events.iter().filter(|event| event.starts_with("Append {")).collect();
        assert_eq!(appends.len(), 1, "{:?}", record.events);
        assert!(record.has("Chunk hello"));
    }
}

#[test]
fn forbidden_bytes_are_rejected() {
    let record = session(
        "a1 NOOP\nb1 NOOP\r\na2 NOOP\rb2 NOOP\r\na\0 NOOP\r\na4 NO\0OP\r\n+ NOOP\r\n* NOOP\r\n NOOP\r\n\" NOOP\r\na\u{ff}1 NOOP\r\na9 NOOP\r\n",
    );
    assert_eq!(record.error, None);
    let answers: Vec<&str> = record.output.lines().skip(1).map(|line| line.split_at(5).0).collect();
    assert_eq!(
        answers,
        ["a1 BA", "a2 BA", "* BAD", "a4 BA", "* BAD", "* BAD", "* BAD", "* BAD", "* BAD", "a9 OK"]
    );
    let record = session("a1 LOGIN {5+}\nalice {3+}\r\nabc\r\na2 NOOP\r\n");
    assert_eq!(record.error, Some(Error::Peer(PeerError::ForbiddenByte)));
    let record = session("a1 LOGIN {3+}\r\na\0b {3+}\r\nc\0d\r\na2 NOOP\r\n");
    assert!(
        record.output.ends_with("a2 OK done\r\n") && record.output.contains("a1 BAD"),
        "{}",
        record.output
    );
}

#[test]
fn sasl_makes_sense_or_is_refused() {
    for (script, answer) in [
        ("a AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n", "a OK [CAPABILITY"),
        ("a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n", "a OK [CAPABILITY"),
        ("a AUTHENTICATE LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n", "a OK [CAPABILITY"),
        ("a AUTHENTICATE PLAIN\r\n%%%%\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nb1 LOGOUT\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\n*\r\n", "a BAD AUTHENTICATE was cancelled"),
        ("a AUTHENTICATE PLAIN\r\nYWxpY2U=\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nYWxpY2UAeA==\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nAGFsaWNlAHgAeQ==\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nAAB4\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nAGFsaWNlQGV4YW1wbGUudGVzdAA=\r\n", "a BAD"),
        ("a AUTHENTICATE X-NEW\r\n", "a NO [CANNOT]"),
        ("a LOGIN {}\r\n", "a BAD"),
        ("a LOGIN { 5}\r\n", "a BAD"),
        ("a LOGIN {+5}\r\n", "a BAD"),
        ("a LOGIN {5++}\r\n", "a BAD"),
        ("a LOGIN {99999999999999999999}\r\n", "a BAD"),
    ] {
        let record = session(script);
        let last = record.output.lines().last().unwrap_or_default();
        assert!(last.starts_with(answer), "{script:?}: {}", record.output);
        assert_eq!(record.error, None);
    }
}

#[test]
fn limits_end_the_session_with_a_farewell() {
    let lines = "x LOGIN alice nope\r\n".repeat(12);
    let record = session(&lines);
    assert_eq!(record.error, Some(Error::Limit(Limit::AuthAttempts)));
    assert!(record.output.ends_with("* BYE too many failed authentications\r\n"), "{}", record.output);
    let record = session(&"a XYZZY\r\n".repeat(40));
    assert_eq!(record.error, Some(Error::Limit(Limit::Errors)));
    let record = session(&"a NOOP\r\n".repeat(110));
    assert_eq!(record.error, Some(Error::Limit(Limit::CommandsBeforeAuth)));
    let record = common::converse(secure(config()).as_mut(), [&[b'A'; 70_000][..]], false);
    assert_eq!(record.error, Some(Error::Limit(Limit::Line)));
    assert!(record.output.ends_with("* BYE a command is too long\r\n"));
    let record = session("a LOGIN {99999999999999999999+}\r\nx\r\n");
    assert_eq!(record.error, Some(Error::Limit(Limit::Literal)));
    let long = session(&format!("a1 NOOP {} b1 NOOP\r\n", "A".repeat(8177)));
    assert_eq!(long.output.lines().count(), 2, "{}", long.output);
    let record = session("POST / HTTP/1.1\r\nHost: x\r\n\r\na1 LOGIN alice secret\r\n");
    assert_eq!(record.error, Some(Error::Peer(PeerError::Malformed)));
}

/// An invalid SASL message is a failed attempt. Too many of them end the session, as wrong passwords do.
#[test]
fn messages_that_make_no_sense_are_failed_attempts() {
    for (attempt, answer) in [
        ("a AUTHENTICATE PLAIN\r\n%%%%\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN\r\nYWxpY2U=\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN YWxpY2U=\r\n", "a BAD"),
        ("a AUTHENTICATE PLAIN %%%%\r\n", "a BAD"),
        ("a AUTHENTICATE LOGIN\r\nYWxpY2U=\r\n%%%%\r\n", "a BAD"),
    ] {
        let record = session(&attempt.repeat(2));
        assert_eq!(record.error, None, "{attempt:?}");
        let record = session(&attempt.repeat(5));
        assert_eq!(record.error, Some(Error::Limit(Limit::AuthAttempts)), "{attempt:?}");
        assert_eq!(record.output.matches(answer).count(), 3, "{attempt:?}: {}", record.output);
        assert!(record.output.ends_with("* BYE too many failed authentications\r\n"), "{}", record.output);
    }
    // A cancelled exchange is not a failed attempt.
    let record = session(&"a AUTHENTICATE PLAIN\r\n*\r\n".repeat(5));
    assert_eq!(record.error, None);
}

#[test]
fn idle_ends_with_done_and_nothing_else() {
    let record = session("l LOGIN alice secret\r\na IDLE\r\nb NOOP\r\n");
    assert_eq!(record.error, Some(Error::Peer(PeerError::Malformed)));
    assert!(!record.output.contains("b OK"));
}

#[test]
fn a_client_that_hangs_up() {
    for (script, error) in [
        ("", None),
        ("a NOOP\r\n", None),
        ("a NOO", Some(Error::Peer(PeerError::UnexpectedEnd))),
        ("l LOGIN alice secret\r\na APPEND INBOX {10+}\r\nhal", Some(Error::Peer(PeerError::UnexpectedEnd))),
    ] {
        let record = in_every_split(script, true, || secure(config()));
        assert_eq!(record.error, error, "{script:?}");
        assert_eq!(
            record.events.last().is_some_and(|event| event == "Closed"),
            error.is_none(),
            "{script:?}"
        );
        assert!(!record.has("AppendEnd"));
    }
}

/// Runs STARTTLS up to the application's answer.
fn at_starttls(
    input: &[u8],
) -> (Server<Cleartext>, RecvBuffer, SendBuffer, Result<Option<proto_mail::StartTlsRequest>, Error>) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(config(), &mut tx);
    rx.extend(input);
    let found = match server.next_event(&mut rx, &mut tx) {
        Ok(Some(Event::StartTls(request))) => Ok(Some(request)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    (server, rx, tx, found)
}

#[test]
fn nothing_crosses_the_handshake() {
    for behind in ["b1 NOOP\r\n", "b", "b1 LOGIN alice secret\r\n", "b1 LOGOUT\r\n"] {
        let (mut server, mut rx, mut tx, found) = at_starttls(format!("a1 STARTTLS\r\n{behind}").as_bytes());
        let injected = Error::Peer(PeerError::PlaintextAfterStartTls);
        assert_eq!(found.unwrap_err(), injected);
        assert_eq!(server.next_event(&mut rx, &mut tx).unwrap_err(), injected);
        assert!(!String::from_utf8(tx.take()).unwrap().contains("b1"));
        // The same bytes, but received later.
        let (server, mut rx, mut tx, found) = at_starttls(b"a1 STARTTLS\r\n");
        rx.extend(behind.as_bytes());
        let upgrade = server.accept_starttls(found.unwrap().unwrap(), &mut tx).unwrap();
        assert_eq!(upgrade.complete(Secure::trusted_local(), &mut rx).unwrap_err(), injected);
    }
    let (server, mut rx, mut tx, found) = at_starttls(b"a1 starttls\r\n");
    let upgrade = server.accept_starttls(found.unwrap().unwrap(), &mut tx).unwrap();
    let mut server = upgrade.complete(Secure::trusted_local(), &mut rx).unwrap();
    assert!(tx.take().ends_with(b"a1 OK begin TLS now\r\n"));
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert!(tx.is_empty(), "no greeting comes under TLS");
}

#[test]
fn a_spelling_that_is_not_starttls_is_no_starttls() {
    for spelling in [
        "a1 STARTTLS now",
        "a1  STARTTLS",
        "a1 STARTTLS ",
        "a1 STARTTLS\nb1 NOOP",
        "a1 STARTTLS {8+}\r\nb1 NOOP\n",
    ] {
        let record = in_every_split(format!("{spelling}\r\nb2 NOOP\r\n"), false, || {
            let mut greeting = SendBuffer::new();
            let server = Server::<Cleartext>::new(config(), &mut greeting);
            Box::new(ServerSide {
                server,
                greeting,
                answer: Box::new(|event, server, tx| match event {
                    Event::Command(_, reply) => server.reply(reply, &ok("done"), tx).unwrap(),
                    Event::StartTls(_) => panic!("that is not STARTTLS"),
                    _ => {}
                }),
            })
        });
        assert!(
            record.output.contains("a1 BAD") && record.output.ends_with("b2 OK done\r\n"),
            "{}",
            record.output
        );
        assert!(!record.output.contains("b1 OK"));
    }
}

#[test]
fn a_refused_client_waits() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(Arc::new(Config::default()), Secure::trusted_local(), &mut tx);
    rx.extend(b"a LOGIN alice wrong\r\nb NOOP\r\n");
    let Some(Event::Auth(request)) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("no question")
    };
    assert!(!server.wants_read(&tx) && server.wait().awaited == WaitFor::Application);
    assert!(!format!("{request:?} {server:?} {rx:?}").contains("wrong"));
    let _ = tx.take();
    server.answer_auth(request, AuthVerdict::Reject, &mut tx).unwrap();
    assert_eq!(server.wait().awaited, WaitFor::Delay);
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none() && tx.is_empty());
    server.timed_out(&mut tx).unwrap();
    assert!(tx.take().starts_with(b"a NO [AUTHENTICATIONFAILED]"));
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(Some(Event::Command(..)))));
}

#[test]
fn bodies_are_streamed_and_counted() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    rx.extend(b"a LOGIN alice secret\r\nb EXAMINE INBOX\r\nc FETCH 1 BODY[]\r\n");
    let Some(Event::Auth(request)) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("no question")
    };
    server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap();
    let Some(Event::Command(_, reply)) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("no EXAMINE")
    };
    assert!(server.fetch(1, &mut tx).is_err(), "nothing is selected");
    server.data(&Untagged::Exists(1), &mut tx).unwrap();
    server.reply(reply, &ok("selected"), &mut tx).unwrap();
    assert_eq!(server.state(), State::Selected(Access::ReadOnly));
    let Some(Event::Command(_, reply)) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("no FETCH")
    };
    let _ = tx.take();
    let mut writer = server.fetch(1, &mut tx).unwrap();
    writer.item(&FetchItem::Uid(9));
    writer.stream_body(Section::FULL, None, 10);
    assert_eq!(server.write_body(Bytes::from_static(b"hello"), &mut tx), Ok(5));
    assert!(server.data(&Untagged::Exists(3), &mut tx).is_err());
    assert!(server.resume_fetch(&mut tx).is_err());
    assert!(server.write_body(Bytes::from_static(b"too much"), &mut tx).is_err());
    assert_eq!(server.write_body(Bytes::from_static(b"world"), &mut tx), Ok(0));
    server.resume_fetch(&mut tx).unwrap().finish().unwrap();
    assert!(server.data(&Untagged::Expunge(1), &mut tx).is_err(), "FETCH forbids EXPUNGE");
    server.reply(reply, &ok("fetched"), &mut tx).unwrap();
    assert_eq!(tx.take(), b"* 1 FETCH (UID 9 BODY[] {10}\r\nhelloworld)\r\nc OK fetched\r\n");
    assert!(server.data(&Untagged::Expunge(1), &mut tx).is_err(), "no command is in progress");
    server.data(&Untagged::Exists(2), &mut tx).unwrap();
    assert!(!server.is_closed());
}

/// Creates a server with INBOX selected, and the reply token of a search.
fn searching() -> (Server<Secure>, RecvBuffer, SendBuffer, Reply) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    rx.extend(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc SEARCH ALL\r\nd NOOP\r\n");
    loop {
        match server.next_event(&mut rx, &mut tx).unwrap() {
            Some(Event::Auth(request)) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
            Some(Event::Command(Command::Search(_), reply)) => {
                let _ = tx.take();
                return (server, rx, tx, reply);
            }
            Some(Event::Command(_, reply)) => {
                server.data(&Untagged::Exists(1), &mut tx).unwrap();
                server.reply(reply, &ok("selected"), &mut tx).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn search_results_are_written_in_pieces() {
    let range = NumberRange::new;
    let (mut server, mut rx, mut tx, reply) = searching();
    assert!(server.search_numbers(Numbers::new(&[1.into()]), &mut tx).is_err(), "nothing was begun");
    server.begin_search(&SearchForm::Search, &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[range(2, 3)]), &mut tx).unwrap();
    assert!(server.data(&Untagged::Exists(3), &mut tx).is_err(), "the response is not finished");
    assert!(server.fetch(1, &mut tx).is_err(), "the response is not finished");
    assert!(!server.wants_read(&tx));
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    server.search_numbers(Numbers::new(&[9.into()]), &mut tx).unwrap();
    server.finish_search(&[SearchReturnData::Count(3), SearchReturnData::ModSeq(7)], &mut tx).unwrap();
    server.reply(reply, &ok("searched"), &mut tx).unwrap();
    assert_eq!(tx.take(), b"* SEARCH 2 3 9 (MODSEQ 7)\r\nc OK searched\r\n");
    assert!(server.finish_search(&[], &mut tx).is_err());

    let (mut server, _, mut tx, _reply) = searching();
    let before = [SearchReturnData::Min(2)];
    let head = EsearchResponse {
        tag: Some(IString::new(b"c")),
        mailbox: None,
        uid_validity: None,
        number_kind: NumberKind::Uids,
        results: LazyList::new(&before),
    };
    server.begin_search(&SearchForm::Esearch(head), &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[range(2, 3), 5.into()]), &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[]), &mut tx).unwrap();
    server.search_numbers(Numbers::new(&[range(7, 9)]), &mut tx).unwrap();
    server.finish_search(&[SearchReturnData::Count(6)], &mut tx).unwrap();
    assert_eq!(tx.take(), b"* ESEARCH (TAG \"c\") UID MIN 2 ALL 2:3,5,7:9 COUNT 6\r\n");
}

#[test]
fn a_fetch_response_goes_on_where_its_writer_was_dropped() {
    let (mut server, _, mut tx, _reply) = searching();
    server.fetch(1, &mut tx).unwrap().item(&FetchItem::Uid(9));
    assert!(server.data(&Untagged::Exists(3), &mut tx).is_err());
    let mut writer = server.resume_fetch(&mut tx).unwrap();
    writer.item(&FetchItem::Size(4));
    writer.finish().unwrap();
    assert!(server.resume_fetch(&mut tx).is_err(), "the response is finished");
    assert_eq!(tx.take(), b"* 1 FETCH (UID 9 RFC822.SIZE 4)\r\n");
}

/// The client would take any response inside a body for a part of the body.
#[test]
fn nothing_is_said_in_the_middle_of_a_body() {
    let half = || {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
        rx.extend(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n");
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
                Event::Command(_, reply) => {
                    server.data(&Untagged::Exists(1), &mut tx).unwrap();
                    server.reply(reply, &ok("selected"), &mut tx).unwrap();
                }
                _ => {}
            }
        }
        let _ = tx.take();
        (server, rx, tx)
    };
    let (mut server, mut rx, mut tx) = half();
    server.fetch(1, &mut tx).unwrap().stream_body(Section::FULL, None, 1);
    assert!(!server.wants_read(&tx));
    assert_eq!(server.wait().awaited, proto_mail::WaitFor::Application);
    rx.extend(b"c XYZZY\r\n");
    assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
    server.timed_out(&mut tx).unwrap();
    server.write_body(Bytes::from_static(b"x"), &mut tx).unwrap();
    server.resume_fetch(&mut tx).unwrap().finish().unwrap();
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(None)));
    assert_eq!(tx.take(), b"* 1 FETCH (BODY[] {1}\r\nx)\r\nc BAD unknown command\r\n");

    let (mut server, mut rx, mut tx) = half();
    rx.extend(b"c APPEND x {1}\r\n");
    let Some(Event::Append { offer, .. }) = server.next_event(&mut rx, &mut tx).unwrap() else {
        panic!("no APPEND")
    };
    server.fetch(1, &mut tx).unwrap().stream_body(Section::FULL, None, 1);
    let _ = tx.take();
    assert!(server.accept_literal(offer, &mut tx).is_err());
    server.shutdown("going down", &mut tx);
    assert!(tx.is_empty());
}
