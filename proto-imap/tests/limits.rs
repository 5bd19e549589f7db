//! Each limit at its last byte or command: the machines accept the maximum and reject one more, regardless of the
//! chunks.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Record, ServerSide, config, converse, in_every_split, ok};
use proto_imap::Config;
use proto_imap::client::Client;
use proto_imap::server::{Event, Reply, Server};
use proto_mail::{AuthVerdict, Cleartext, Error, Limit, Limits, PeerError, RecvBuffer, Secure, SendBuffer};

/// Creates a server under TLS whose application accepts everything.
fn agreeing(config: Arc<Config>) -> Box<dyn common::Side> {
    let mut idle: Option<Reply> = None;
    let mut greeting = SendBuffer::new();
    Box::new(ServerSide {
        server: Server::<Secure>::new(config, Secure::trusted_local(), &mut greeting),
        greeting,
        answer: Box::new(move |event, server, tx| match event {
            Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
            Event::Command(_, reply) | Event::AppendEnd(reply) => {
                server.reply(reply, &ok("done"), tx).unwrap();
            }
            Event::Append { offer, .. } => server.accept_literal(offer, tx).unwrap(),
            Event::Idle(reply) => idle = Some(reply),
            Event::Done => server.reply(idle.take().unwrap(), &ok("done"), tx).unwrap(),
            _ => {}
        }),
    })
}

fn limited(change: impl Fn(&mut Limits)) -> Arc<Config> {
    let mut config = Config::clone(&config());
    change(&mut config.limits);
    Arc::new(config)
}

/// Runs this input in every split. Input that starts with `l LOGIN` logs in first.
fn run(config: &Arc<Config>, input: &str) -> Record {
    in_every_split(input, false, || agreeing(Arc::clone(config)))
}

/// Returns the answers to commands, without the greeting and other untagged lines.
fn answers(record: &Record) -> Vec<&str> {
    record.output.lines().filter(|line| !line.starts_with('*')).collect()
}

const LOGIN: &str = "l LOGIN u p\r\n";

#[test]
fn limits_message_size() {
    let config = limited(|limits| limits.message = 24);
    for (size, fits) in [(23, true), (24, true), (25, false), (1000, false)] {
        let message = "m".repeat(size);
        let said = format!("{LOGIN}a APPEND x {{{size}+}}\r\n{message}\r\nb NOOP\r\n");
        let record = run(&config, &said);
        let expected = if fits { "a OK done" } else { "a NO [TOOBIG] the message is too large" };
        assert_eq!(answers(&record)[1..], [expected, "b OK done"], "{size} bytes");
        assert_eq!(record.has("Append {"), fits, "the application is asked for what may come");
        assert_eq!(record.has(&format!("Chunk {message}")), fits);
        // A client that waits for a continuation request is rejected before it has sent the literal.
        let record = run(&config, &format!("{LOGIN}a APPEND x {{{size}}}\r\n"));
        assert_eq!(answers(&record)[1..], [if fits { "+ go on" } else { expected }]);
    }
}

#[test]
fn limits_literal_size() {
    let config = limited(|limits| (limits.literal, limits.message) = (8, 4));
    for (size, fits) in [(7, true), (8, true), (9, false), (10, false)] {
        let said = format!("{LOGIN}a SELECT {{{size}+}}\r\n{}\r\nb NOOP\r\n", "m".repeat(size));
        let record = run(&config, &said);
        let expected = if fits { "a OK done" } else { "a NO [LIMIT] the literal is larger than the limit" };
        assert_eq!(answers(&record)[1..], [expected, "b OK done"], "{size} bytes");
        let record = run(&config, &format!("{LOGIN}a SELECT {{{size}}}\r\n"));
        assert_eq!(answers(&record)[1..], [if fits { "+ go on" } else { expected }]);
    }
}

/// RFC 7888 §5: at most 4096 bytes before the client has logged in.
#[test]
fn limits_literals_before_login_to_4096_bytes() {
    for (size, expected) in [(4096, "a OK "), (4097, "a NO [LIMIT] the literal is larger than the limit")] {
        let said = format!("a LOGIN {{{size}+}}\r\n{} p\r\n", "u".repeat(size));
        let record = converse(agreeing(config()).as_mut(), [said.as_bytes()], false);
        assert!(answers(&record)[0].starts_with(expected), "{size}: {}", record.output);
    }
}

/// A command's lines and literals count together. The server cannot know where a longer command ends, but it can find the
/// end of a long line.
#[test]
fn limits_command_size() {
    let config = limited(|limits| (limits.line, limits.frame) = (40, 50));
    let line = |len: usize| format!("{LOGIN}a LIST \"\" {}\r\n", "x".repeat(len - 12));
    assert_eq!(run(&config, &line(40)).error, None);
    for (length, error) in [(41, None), (50, None), (51, Some(Limit::Frame.into()))] {
        let record = run(&config, &line(length));
        assert_eq!(record.error, error, "{length}");
        let answer = error.is_none().then_some(TOO_LONG);
        assert_eq!(answers(&record).get(1).copied(), answer, "{length}");
    }
    let with_literal = |len: usize| {
        let said = format!("{LOGIN}a LIST {{10+}}\r\n{} {}\r\n", "m".repeat(10), "x".repeat(len - 27));
        run(&config, &said)
    };
    let whole = with_literal(50);
    assert_eq!((whole.error.clone(), answers(&whole)[1..].concat()), (None, "a OK done".to_owned()));
    assert_eq!(with_literal(51).error, Some(Limit::Frame.into()));
}

const TOO_LONG: &str = "a BAD [LIMIT] the command line is too long";

/// A line that is too long is discarded with the literal that it announces, and the session goes on.
#[test]
fn discards_lines_that_are_too_long() {
    let config = limited(|limits| limits.line = 100);
    let xs = "x".repeat(200);
    for (said, expected) in [
        (format!("a LIST \"\" {xs}\r\n"), Ok(&[TOO_LONG, "b OK done"][..])),
        (format!("a LIST {{3+}}\r\nabc {xs}\r\n"), Ok(&[TOO_LONG, "b OK done"])),
        (format!("a LIST {xs} {{8+}}\r\nx NOOP\r\n {{2+}}\r\nab\r\n"), Ok(&[TOO_LONG, "b OK done"])),
        (format!("a LIST {xs} {{8}}\r\n"), Ok(&[TOO_LONG, "b OK done"])),
        (format!("a LIST {xs} {{99999999999999999999}}\r\n"), Ok(&[TOO_LONG, "b OK done"])),
        (format!("a APPEND x {xs} {{3+}}\r\nabc\r\n"), Ok(&[TOO_LONG, "b OK done"])),
        (format!("a LIST {xs} {{99999999999999999999+}}\r\n"), Err(Limit::Literal.into())),
        (format!("a LIST {xs} {{{}8+}}\r\nx NOOP\r\n\r\n", "0".repeat(100)), Err(Limit::Literal.into())),
        (format!("a LIST {}}}\r\n", "1".repeat(200)), Err(Limit::Literal.into())),
        (format!("a LIST {xs} {{3+}}\nabc\r\n"), Err(PeerError::ForbiddenByte.into())),
        (format!("a LIST {xs}\rx\r\n"), Err(PeerError::ForbiddenByte.into())),
    ] {
        let record = run(&config, &format!("{LOGIN}{said}b NOOP\r\n"));
        match expected {
            Ok(expected) => {
                assert_eq!((record.error.clone(), &answers(&record)[1..]), (None, expected), "{said}");
            }
            Err(error) => {
                assert_eq!((record.error.clone(), answers(&record).len()), (Some(error), 1), "{said}")
            }
        }
    }
    // They count as errors.
    let config = limited(|limits| (limits.line, limits.errors) = (100, 3));
    let record = run(&config, &format!("{LOGIN}{}", format!("a LIST {xs}\r\n").repeat(4)));
    assert_eq!(record.error, Some(Limit::Errors.into()));
}

/// The server holds a line of the limit at most.
#[test]
fn a_set_of_20_000_numbers_costs_one_command() {
    let set: Vec<String> = (0..20_000).map(|number| (2 * number + 1_000_000).to_string()).collect();
    let said = format!("{LOGIN}a SELECT x\r\nb UID SEARCH UID {}\r\nc NOOP\r\n", set.join(","));
    for size in [1_000, 40_000, said.len()] {
        let record = converse(agreeing(config()).as_mut(), said.as_bytes().chunks(size), false);
        let expected = ["a OK done", "b BAD [LIMIT] the command line is too long", "c OK done"];
        assert_eq!((record.error.clone(), &answers(&record)[1..]), (None, &expected[..]), "{size}");
    }
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    let mut most = 0;
    for piece in said.as_bytes().chunks(1_000) {
        rx.extend(piece);
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
                Event::Command(_, reply) => server.reply(reply, &ok("done"), &mut tx).unwrap(),
                _ => {}
            }
        }
        most = most.max(rx.len());
    }
    assert!(most <= Limits::default().line + 1_000, "{most}");
}

/// An unfinished command has the same limit as a complete one.
#[test]
fn limits_unfinished_commands() {
    let config = limited(|limits| (limits.line, limits.frame) = (40, 50));
    for (rest, error) in [(26, None), (27, Some(Error::from(Limit::Frame)))] {
        let said = format!("{LOGIN}a LIST {{10+}}\r\n{}{}", "m".repeat(10), "x".repeat(rest));
        assert_eq!(run(&config, &said).error, error, "{rest}");
    }
}

#[test]
fn limits_commands_before_login() {
    let config = limited(|limits| limits.commands_before_auth = 3);
    let most = run(&config, &"a NOOP\r\n".repeat(3));
    assert_eq!((most.error.clone(), answers(&most).len()), (None, 3));
    let more = run(&config, &"a NOOP\r\n".repeat(4));
    assert_eq!(more.error, Some(Limit::CommandsBeforeAuth.into()));
    assert_eq!(answers(&more).len(), 3);
    // The last allowed command may log in. After that, commands are not counted.
    let known = run(&config, &format!("a NOOP\r\nb NOOP\r\n{LOGIN}{}", "c NOOP\r\n".repeat(5)));
    assert_eq!((known.error.clone(), answers(&known).len()), (None, 8));
    // A command counts once, regardless of its number of lines.
    let config = limited(|limits| limits.commands_before_auth = 1);
    let lines = run(&config, "l LOGIN {1+}\r\nu {1+}\r\np\r\na NOOP\r\n");
    assert_eq!((lines.error.clone(), answers(&lines).len()), (None, 2));
}

/// The last allowed error is answered, and then the session ends.
#[test]
fn ends_a_session_after_too_many_errors() {
    let config = limited(|limits| limits.errors = 3);
    for error in ["a XYZZY\r\n", "a LOGIN\r\n", "a FETCH 1 {3+}\r\nabc\r\n"] {
        let some = run(&config, &error.repeat(2));
        assert_eq!((some.error.clone(), answers(&some).len()), (None, 2), "{error}");
        let most = run(&config, &error.repeat(3));
        assert_eq!(most.error, Some(Limit::Errors.into()), "{error}");
        assert!(most.output.ends_with("* BYE too many errors\r\n"));
    }
}

/// A literal with an impossible size: a synchronising one is rejected, a non-synchronising one ends the session.
#[test]
fn refuses_an_endless_literal() {
    let endless = "a SELECT {9223372036854775808";
    let record = run(&config(), &format!("{LOGIN}{endless}}}\r\nb NOOP\r\n"));
    assert_eq!(answers(&record)[1..], ["a BAD the literal is larger than the limit", "b OK done"]);
    assert!(!record.has("Unparsed") && !record.has("Select"), "{:?}", record.events);
    let record = run(&config(), &format!("{LOGIN}{endless}+}}\r\nb NOOP\r\n"));
    assert_eq!((record.error.clone(), answers(&record).len()), (Some(Limit::Literal.into()), 1));
}

/// A forbidden byte before an unambiguous literal announcement: the end of the command is known, and the session
/// continues.
#[test]
fn rejects_a_literal_after_nul() {
    for (input, expected) in [
        ("a SELECT \0 {3}\r\nb NOOP\r\n", 2),
        ("a SELECT \r {3}\r\nb NOOP\r\n", 2),
        ("a SELECT \0 {8+}\r\nb NOOP\r\n\r\n", 1),
    ] {
        let record = run(&config(), &format!("{LOGIN}{input}"));
        assert_eq!(record.error, None, "{input:?}");
        let answers = &answers(&record)[1..];
        assert_eq!(answers.len(), expected, "{input:?}: {answers:?}");
        assert_eq!(answers[0], "a BAD CR, LF and NUL are not allowed in a command line");
    }
}

/// A client that starts TLS on a cleartext port is disconnected. Under TLS, or after a command, the same bytes are
/// one invalid line.
#[test]
fn detects_a_tls_hello_in_cleartext() {
    let cleartext = |input: &str| {
        in_every_split(input, false, || {
            let mut greeting = SendBuffer::new();
            let server = Server::<Cleartext>::new(config(), &mut greeting);
            Box::new(ServerSide { server, greeting, answer: Box::new(|_, _, _| {}) })
        })
    };
    let hello = "\x16\x03\x01\r\n";
    assert_eq!(cleartext(hello).error, Some(PeerError::TlsInCleartext.into()));
    let behind = format!("a CAPABILITY\r\n{hello}b CAPABILITY\r\n");
    for record in [
        cleartext(&behind),
        run(&config(), &format!("{hello}b CAPABILITY\r\n")),
        run(&config(), &behind),
        cleartext("\x16\x04\r\nb CAPABILITY\r\n"),
    ] {
        assert_eq!(record.error, None, "{record:?}");
        assert!(record.output.contains("* BAD ") && record.output.ends_with("b OK CAPABILITY completed\r\n"));
    }
}

/// A capability list is no longer than a response may be: its lines count together while the client's request is
/// open.
#[test]
fn limits_the_size_of_capabilities() {
    let line = |len: usize| format!("* CAPABILITY {}\r\n", "X".repeat(len - 15));
    let config = limited(|limits| (limits.line, limits.frame) = (100, 100));
    let heard = |lines: &[String]| {
        let mut client = Client::<Secure>::new(Arc::clone(&config), Secure::trusted_local());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        for line in ["* OK hello\r\n".to_owned()].iter().chain(lines) {
            rx.extend(line.as_bytes());
            while client.next_event(&mut rx, &mut tx)?.is_some() {}
            let _ = tx.take();
        }
        Ok(())
    };
    // A name is stored with a space after it: 31 + 1 bytes of the first.
    assert_eq!(heard(&[line(46), line(68)]), Ok(()));
    assert_eq!(heard(&[line(46), line(69)]), Err(Error::from(Limit::Frame)));
    assert_eq!(heard(&[line(100)]), Ok(()));
}

/// A thousand nested parentheses are one bad command, and one response that is not parsed.
#[test]
fn refuses_a_thousand_nested_parentheses() {
    let (open, close) = ("(".repeat(1_000), ")".repeat(1_000));
    let said = format!(
        "{LOGIN}s SELECT x\r\na SEARCH {open}SEEN{close}\r\nb FETCH 1 {open}FLAGS{close}\r\nc NOOP\r\n"
    );
    let record = converse(agreeing(config()).as_mut(), [said.as_bytes()], false);
    let answers = answers(&record);
    assert_eq!((record.error.clone(), answers.len()), (None, 5));
    assert!(answers[2].starts_with("a BAD ") && answers[3].starts_with("b BAD "), "{answers:?}");
    assert_eq!(answers[4], "c OK done");

    let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(
        format!("* PREAUTH hello\r\n* X {open}{close}\r\n* LIST ({open}{close}) \"/\" x\r\n* 5 EXISTS\r\n")
            .as_bytes(),
    );
    let mut events = Vec::new();
    while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
        events.push(format!("{event:?}"));
    }
    assert!(events.iter().any(|event| event.starts_with("Unparsed")), "{events:?}");
    assert!(rx.is_empty());
}

/// A literal of 4 GiB is refused, or streamed where the application takes its pieces.
#[test]
fn a_literal_of_4_gib_is_not_held() {
    const SIZE: u64 = 1 << 32;
    for (command, answer) in [
        (format!("a LIST {{{SIZE}}}\r\n"), "a NO [LIMIT]"),
        (format!("a APPEND x {{{SIZE}}}\r\n"), "a NO [TOOBIG]"),
        (format!("a X {{{SIZE}}}\r\n"), "a BAD"),
    ] {
        let record = run(&config(), &format!("{LOGIN}{command}b NOOP\r\n"));
        let answers = answers(&record);
        assert!(answers[1].starts_with(answer) && answers[2] == "b OK done", "{command}: {answers:?}");
    }
    // A client that does not wait sends all of it, and the server discards what arrives.
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(config(), Secure::trusted_local(), &mut tx);
    rx.extend(format!("a X {{{SIZE}+}}\r\n").as_bytes());
    for _ in 0..1_000 {
        assert!(server.next_event(&mut rx, &mut tx).unwrap().is_none());
        assert!(rx.is_empty());
        rx.extend(&[b'x'; 10_000]);
    }

    let client = |said: String| {
        let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(said.as_bytes());
        for _ in 0..1_000 {
            while client.next_event(&mut rx, &mut tx)?.is_some() {}
            assert!(rx.len() < 20_000, "{}", rx.len());
            rx.extend(&[b'x'; 10_000]);
        }
        Ok::<(), Error>(())
    };
    assert_eq!(
        client(format!("* PREAUTH hello\r\n* LIST () \"/\" {{{SIZE}}}\r\n")),
        Err(Limit::Literal.into())
    );
    assert_eq!(client(format!("* PREAUTH hello\r\n* 1 FETCH (BODY[] {{{SIZE}}}\r\n")), Ok(()));
}
