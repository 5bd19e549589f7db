//! What a hostile or broken server can do to a client: the rules of RFC 9051 §11 and the attacks that they prevent.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::talk::Talk;
use common::{Record, cleartext_client, client, config, in_every_split};
use proto_imap::Config;
use proto_imap::client::{Client, Event, LoginMethod};
use proto_imap::types::{AppendCommand, SelectCommand};
use proto_imap::types::{Command, MailboxName, RawCommand};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{
    Cleartext, Credentials, Error, Limit, Misuse, PeerError, RecvBuffer, Rejection, RejectionKind, Secure,
    SendBuffer, Upgrade,
};
use std::sync::Arc;

/// Returns the error for a BYE with this text.
fn closing(text: &str) -> Error {
    Rejection::new(RejectionKind::Session, None, None, text).into()
}

const OFFER: &str =
    "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=X-EVIL SASL-IR LITERAL+] ready\r\n";

/// Starts TLS on a client that receives `answer` in chunks of `size` bytes.
fn starttls(offer: &str, answer: &str, size: usize) -> Result<Client<Secure>, Error> {
    let mut client = Client::<Cleartext>::new(config());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(offer.as_bytes());
    while client.next_event(&mut rx, &mut tx)?.is_some() {}
    let _ = tx.take();
    let mut negotiation = client.starttls(&mut tx)?;
    assert!(tx.take().ends_with(b" STARTTLS\r\n"));
    for piece in answer.as_bytes().chunks(size) {
        rx.extend(piece);
        negotiation = match negotiation.advance(&mut rx, &mut tx)? {
            Negotiation::Pending(more) => more,
            Negotiation::Refused(_) => return Err(PeerError::StartTlsRefused.into()),
            Negotiation::Ready(upgrade) => {
                let rest =
                    answer.as_bytes().chunks(size).skip_while(|later| later.as_ptr() <= piece.as_ptr());
                rest.for_each(|later| rx.extend(later));
                return upgrade.complete(Secure::trusted_local(), &mut rx);
            }
        };
    }
    Err(PeerError::UnexpectedEnd.into())
}

fn starttls_in_every_size(offer: &str, answer: &str) -> Result<(), Error> {
    let results: Vec<Result<(), Error>> =
        (1..=answer.len().max(1)).map(|size| starttls(offer, answer, size).map(drop)).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{answer:?}: {results:?}");
    results.into_iter().next().unwrap()
}

#[test]
fn starttls_needs_the_tagged_ok() {
    assert_eq!(starttls_in_every_size(OFFER, "M1 OK begin TLS\r\n"), Ok(()));
    assert_eq!(starttls_in_every_size(&OFFER.to_lowercase(), "M1 ok begin\r\n"), Ok(()));
    for harmless in [
        "* CAPABILITY IMAP4rev1 SASL-IR AUTH=X-EVIL\r\n",
        "* LIST () \"/\" CANARY\r\n* STATUS CANARY (MESSAGES 5)\r\n* SEARCH 4 5\r\n* FLAGS (\\Canary)\r\n",
        "* OK [ALERT] CANARY\r\n* 1 FETCH (BODY[] {9}\r\nM1 OK x\r\n)\r\n* OK begin TLS\r\n",
    ] {
        assert_eq!(
            starttls_in_every_size(OFFER, &format!("{harmless}M1 OK begin TLS\r\n")),
            Ok(()),
            "{harmless}"
        );
    }
    for (answer, error) in [
        ("M1 NO not now\r\n", PeerError::StartTlsRefused),
        ("M1 BAD what\r\n", PeerError::StartTlsRefused),
        ("M1 NO [REFERRAL imap://x/] there\r\n", PeerError::StartTlsRefused),
        ("ZZ99 OK begin TLS\r\n", PeerError::UnknownTag),
        ("M2 OK begin TLS\r\n", PeerError::UnknownTag),
        ("+ begin TLS\r\n", PeerError::UnexpectedContinuation),
        ("M1 OK begin TLS\r\n* PREAUTH welcome\r\n", PeerError::PlaintextAfterStartTls),
        ("M1 OK begin TLS\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN X-INJ ", PeerError::PlaintextAfterStartTls),
        ("M1 OK begin TLS\r\n*", PeerError::PlaintextAfterStartTls),
        ("* BYE\r\n", PeerError::UnexpectedEnd),
    ] {
        let found = starttls_in_every_size(OFFER, answer).unwrap_err();
        if answer.starts_with("* BYE") {
            assert!(matches!(found, Error::Peer(PeerError::UnexpectedEnd) | Error::Rejected(_)));
        } else {
            assert_eq!(found, Error::Peer(error), "{answer:?}");
        }
    }
}

#[test]
fn rejects_starttls_that_is_not_offered() {
    let offers = ["* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n", "* OK [CAPABILITY IMAP4] ready\r\n"];
    for offer in offers {
        let error = starttls(offer, "M1 OK begin\r\n", 1).unwrap_err();
        assert_eq!(error, Error::Peer(PeerError::StartTlsNotOffered));
    }
}

#[test]
fn rejects_a_reply_before_its_command_was_sent() {
    let mut client = Client::<Cleartext>::new(config());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(OFFER.as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let negotiation = client.starttls(&mut tx).unwrap();
    rx.extend(b"M1 OK begin TLS\r\n");
    let error = negotiation.advance(&mut rx, &mut tx).unwrap_err();
    assert_eq!(error, Error::Peer(PeerError::UnexpectedReply), "its bytes are still in tx");
}

#[test]
fn rejects_a_reply_that_arrived_with_a_body_before_its_command_was_sent() {
    let mut talk = Talk::greeted("PREAUTH", "");
    talk.send(&Command::Examine(SelectCommand::new(MailboxName::INBOX)));
    assert!(talk.said().starts_with("M1 EXAMINE"));
    talk.hear("* 1 EXISTS\r\nM1 OK [READ-ONLY] open\r\n").unwrap();
    talk.hear("* 1 FETCH (BODY[] {10}\r\n01234").unwrap();
    talk.rx.extend(b"56789)\r\nM2 OK prepared\r\n");
    let chunk = talk.client.next_event(&mut talk.rx, &mut talk.tx);
    assert_eq!(chunk, Ok(Some(Event::BodyChunk(b"56789"))));
    talk.send(&Command::Noop);
    assert_eq!(talk.said(), "M2 NOOP\r\n");
    assert_eq!(talk.hear(""), Err(Error::Peer(PeerError::UnexpectedReply)));
}

#[test]
fn forgets_cleartext_capabilities_under_tls() {
    let mut client =
        starttls(OFFER, "M1 OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN] go\r\n", 64).unwrap();
    assert!(client.capabilities().is_none());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let early = client.authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), &mut tx);
    assert_eq!(early.unwrap_err(), Error::Misuse(Misuse::WrongState));
    assert!(client.next_event(&mut rx, &mut tx).unwrap().is_none());
    assert_eq!(tx.take(), b"M1 CAPABILITY\r\n", "asked anew");
    rx.extend(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nM1 OK done\r\n");
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(Some(Event::Capabilities))));
    assert!(matches!(client.next_event(&mut rx, &mut tx), Ok(None)));
    client
        .authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"hunter2"[..]), &mut tx)
        .unwrap();
    assert_eq!(tx.take(), b"M2 AUTHENTICATE PLAIN\r\n", "no initial response: SASL-IR was not offered here");
}

#[test]
fn joins_and_bounds_capabilities_in_several_lines() {
    let lines = "* OK hi\r\n§* CAPABILITY IMAP4rev1\r\n* 3 EXISTS\r\n* CAPABILITY AUTH=PLAIN SASL-IR\r\nM1 OK done\r\n§";
    let record = login(&format!("{lines}M2 OK [CAPABILITY IMAP4rev1] in\r\n"), b"p");
    assert!(record.has("Auth(Accepted"), "{record:?}");
    assert_eq!(record.output, "M1 CAPABILITY\r\nM2 AUTHENTICATE PLAIN AHUAcA==\r\n");
    let mut limits = proto_mail::Limits::default();
    limits.frame = 1000;
    let mut client =
        Client::<Secure>::new(Arc::new(Config::default().limits(limits)), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* OK hi\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let _ = tx.take();
    let line = format!("* CAPABILITY {}\r\n", "X".repeat(300));
    let error = (0..9).find_map(|_| {
        rx.extend(line.as_bytes());
        client.next_event(&mut rx, &mut tx).err()
    });
    assert_eq!(error, Some(Error::Limit(Limit::Frame)));
}

#[test]
fn sends_only_harmless_commands_in_cleartext() {
    let record = in_every_split(OFFER, false, || {
        let mut tried = false;
        cleartext_client(config(), move |client, tx, events| {
            if !tried && events.len() == 2 {
                tried = true;
                let wrong = Err(Error::Misuse(Misuse::WrongState));
                assert_eq!(client.send(&Command::Id(Default::default()), tx), wrong);
                assert_eq!(client.idle(tx), wrong);
                assert_eq!(client.append(&AppendCommand::new(MailboxName::INBOX), 5, tx), wrong);
                let credentials = Credentials::password("u", &b"p"[..]);
                assert_eq!(
                    client.danger_cleartext_authenticate(LoginMethod::Strongest, &credentials, tx),
                    wrong
                );
            }
        })
    });
    assert_eq!(record.output, "");
    // LOGINDISABLED forbids LOGIN even if the configuration allows cleartext.
    let danger = Arc::new(Config::default().danger_cleartext());
    let record = in_every_split("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready\r\n", false, move || {
        cleartext_client(Arc::clone(&danger), |client, tx, events| {
            if events.len() == 2 {
                let credentials = Credentials::password("u", &b"p"[..]);
                let error = client
                    .danger_cleartext_authenticate(LoginMethod::Strongest, &credentials, tx)
                    .unwrap_err();
                assert!(matches!(error, Error::Misuse(Misuse::NoMechanism(_))), "{error:?}");
            }
        })
    });
    assert_eq!(record.output, "");
}

/// Logs in when the capabilities are known.
fn login(script: &str, password: &'static [u8]) -> Record {
    in_every_split(script, false, || {
        let mut said = false;
        client(config(), move |client, tx, events| {
            if !said && events.iter().any(|event| event == "Capabilities") {
                said = true;
                let credentials = Credentials::password("u", password);
                client.authenticate(LoginMethod::Strongest, &credentials, tx).unwrap();
            }
        })
    })
}

const PLAIN: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED] hi\r\n§";
const PLAIN_IR: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n§";

#[test]
fn rejects_success_before_the_mechanism_has_finished() {
    let unfinished = Some(Error::Peer(PeerError::AuthenticationNotFinished));
    assert_eq!(login(&format!("{PLAIN}M1 OK in\r\n"), b"p").error, unfinished);
    // The client cancels a challenge that is not base64, and one after the end of the mechanism.
    for script in
        [format!("{PLAIN}+ !!no!!\r\n§M1 OK in\r\n"), format!("{PLAIN_IR}+ YWdhaW4=\r\n§M1 OK in\r\n")]
    {
        let record = login(&script, b"p");
        assert_eq!(record.error, unfinished, "{script}");
        assert!(record.output.ends_with("\r\n*\r\n"), "{}", record.output);
        assert!(record.output.matches("AHUAcA==").count() <= 1);
    }
    let record = login(&format!("{PLAIN_IR}+ YWdhaW4=\r\n§M1 NO enough\r\n"), b"p");
    assert!(record.has("Auth(Cancelled") && record.error.is_none());
    let record = login(&format!("{PLAIN_IR}+ YWdhaW4=\r\n§+ YWdhaW4=\r\n"), b"p");
    assert_eq!(record.error, Some(Error::Peer(PeerError::UnexpectedContinuation)));
}

#[test]
fn rejects_success_under_another_tag() {
    for script in [
        "WRONG1 OK in\r\n",
        "M01 OK in\r\n",
        "m1 OK in\r\n",
        "M2 OK in\r\n",
        "M1 OK in\r\nM3 OK [READ-WRITE] s\r\n",
    ] {
        let record = login(&format!("{PLAIN_IR}{script}"), b"p");
        assert_eq!(record.error, Some(Error::Peer(PeerError::UnknownTag)), "{script}");
    }
}

#[test]
fn sends_nothing_of_a_refused_literal() {
    let greeting = "* OK [CAPABILITY IMAP4rev1] hi\r\n§";
    let record = login(&format!("{greeting}M1 NO no literals today\r\n"), b"p\xe4ss");
    assert_eq!(record.output, "M1 LOGIN \"u\" {4}\r\n");
    assert!(record.has("Auth(Rejected") && record.error.is_none());
    let record = login(&format!("{greeting}M1 OK in\r\n"), b"p\xe4ss");
    assert_eq!(record.error, Some(Error::Peer(PeerError::UnexpectedReply)));
    let record = login(&format!("{greeting}+ go\r\n§M1 OK in\r\n"), b"p\xe4ss\"");
    assert!(record.has("Auth(Accepted"));
    assert!(record.output.starts_with("M1 LOGIN \"u\" {5}\r\np\u{e4}ss\"\r\n"), "{}", record.output);
    let plus = "* OK [CAPABILITY IMAP4rev1 LITERAL-] hi\r\n§M1 OK [CAPABILITY IMAP4rev1] in\r\n";
    assert_eq!(login(plus, b"p\xe4ss").output, "M1 LOGIN \"u\" {4+}\r\np\u{e4}ss\r\n");
}

/// Logs in, selects a mailbox and sends two more commands, one after the other.
fn selecting(script: &str) -> Record {
    let script = format!("{PLAIN_IR}M1 OK [CAPABILITY IMAP4rev1] in\r\n§{script}");
    in_every_split(script, false, || {
        let mut said = 0;
        client(config(), move |client, tx, events| {
            if said == 0 && events.iter().any(|event| event == "Capabilities") {
                said = 1;
                client
                    .authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), tx)
                    .unwrap();
            } else if said == 1 && events.iter().any(|event| event.starts_with("Auth(Accepted")) {
                said = 2;
                client.send(&Command::Examine(SelectCommand::new(MailboxName::INBOX)), tx).unwrap();
            }
        })
    })
}

#[test]
fn rejects_responses_that_no_server_may_send() {
    for (script, error) in [
        ("* LIST () \"/\" {5+}\r\nCANRY\r\n", Error::Peer(PeerError::Malformed)),
        ("* LIST () \"/\" {2000000}\r\n", Error::Limit(Limit::Literal)),
        ("* LIST () \"/\" {99999999999999999999}\r\n", Error::Limit(Limit::Literal)),
        ("+ more\r\n", Error::Peer(PeerError::UnexpectedContinuation)),
        ("* BYE I am tired\r\n", closing("I am tired")),
    ] {
        assert_eq!(selecting(script).error, Some(error), "{script:?}");
    }
    // A response that cannot be parsed is lost, but the command continues.
    let record = selecting(
        "* 1 FETCH (BODY[] {-1}\r\n* 2 FETCH (BODY[] {}\r\n* 3 FETCH (BODY[] {0x1}\r\n* 4294967296 EXISTS\r\nM2 OK x\r\n",
    );
    assert_eq!(record.error, None);
    assert!(record.has("Completed") && record.has("Unparsed"), "{:#?}", record.events);
    // A bare CR does not end a line.
    let record = selecting("* OK x\r* LIST () \"/\" CANARYCR\r\nM2 OK [READ-WRITE] done\r\n");
    assert!(!record.has("List(") && record.has("Completed"), "{:#?}", record.events);
}

#[test]
fn never_parses_message_content() {
    let body = "M2 OK forged\r\n* BYE forged\r\n* 9 EXISTS\r\n{5}\r\n* LIST () \"/\" X\r\n";
    let record = selecting(&format!("* 1 FETCH (BODY[] {{{}}}\r\n{body})\r\nM2 OK real\r\n", body.len()));
    assert_eq!(record.error, None);
    assert!(record.has(&format!("Chunk {body}")) && record.has("real"), "{:#?}", record.events);
    assert!(!record.has("Exists") && !record.has("Bye"));
}

#[test]
fn reports_a_truncated_body() {
    let script = format!(
        "{PLAIN_IR}M1 OK [CAPABILITY IMAP4rev1] in\r\n§* 1 FETCH (BODY[] {{1000}}\r\nSubject: CANARY\r\n"
    );
    let record = in_every_split(script, true, || {
        let mut said = 0;
        client(config(), move |client, tx, events| {
            if said == 0 && events.iter().any(|event| event == "Capabilities") {
                said = 1;
                client
                    .authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), tx)
                    .unwrap();
            } else if said == 1 && events.iter().any(|event| event.starts_with("Auth(Accepted")) {
                said = 2;
                client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx).unwrap();
            }
        })
    });
    assert_eq!(record.error, Some(Error::Peer(PeerError::UnexpectedEnd)));
    assert!(!record.has("BodyEnd"));
}

#[test]
fn ignores_message_data_without_a_selected_mailbox() {
    let record = login(
        "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n* 1 FETCH (FLAGS (CANARYF) BODY[] {6}\r\nCANARY)\r\n* 54321 EXISTS\r\n* 1 EXPUNGE\r\n§M1 OK [CAPABILITY IMAP4rev1] in\r\n* 9 EXISTS\r\n",
        b"p",
    );
    assert_eq!(record.error, None);
    assert!(!record.has("CANARY") && !record.has("Exists") && !record.has("Expunge"), "{:#?}", record.events);
    assert!(record.has("Auth(Accepted"));
}

#[test]
fn limits_the_length_of_a_line() {
    let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* OK ");
    for _ in 0..64 {
        rx.extend(&[b'A'; 1024]);
        if let Err(error) = client.next_event(&mut rx, &mut tx) {
            assert_eq!(error, Error::Limit(Limit::Line));
            return;
        }
    }
    panic!("{} bytes and no end", rx.len());
}

#[test]
fn escapes_arguments() {
    let record = in_every_split(format!("{PLAIN_IR}M1 OK [CAPABILITY IMAP4rev1] in\r\n"), false, || {
        let mut said = 0;
        client(config(), move |client, tx, events| {
            if said == 0 && events.iter().any(|event| event == "Capabilities") {
                said = 1;
                client
                    .authenticate(LoginMethod::Strongest, &Credentials::password("u", &b"p"[..]), tx)
                    .unwrap();
            } else if said == 1 && events.iter().any(|event| event.starts_with("Auth(Accepted")) {
                said = 2;
                let bad = client.send(&Command::Delete(MailboxName::new("x\r\nZ9 NOOP")), tx);
                assert_eq!(bad, Err(Error::Misuse(Misuse::ForbiddenByte)));
                client.send(&Command::Delete(MailboxName::new("a\" \"b\\")), tx).unwrap();
                client.send(&Command::Delete(MailboxName::new("foo {5}")), tx).unwrap();
                assert!(RawCommand::new("X a\r\nZ9 NOOP").is_err());
            }
        })
    });
    let (_, said) = record.output.split_once("AHUAcA==\r\n").unwrap();
    assert_eq!(said, "M3 DELETE \"a\\\" \\\"b\\\\\"\r\nM4 DELETE \"foo {5}\"\r\n");
}

#[test]
fn hides_secrets_in_debug_output() {
    let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* OK [CAPABILITY IMAP4rev1] hi\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    client
        .authenticate(LoginMethod::Strongest, &Credentials::password("alice", "hünter2".as_bytes()), &mut tx)
        .unwrap();
    let shown = format!("{client:?} {tx:?} {:?}", tx.chunks().collect::<Vec<_>>());
    assert!(!shown.contains("nter2") && !shown.contains("alice") && !shown.contains("104, "), "{shown}");
    let public: Vec<&[u8]> = tx.chunks().filter(|chunk| !chunk.secret).map(|chunk| chunk.bytes).collect();
    assert_eq!(public, [&b"M1 LOGIN "[..], b"\r\n"]);
}

#[test]
fn client_honours_literal_minus() {
    for (capability, size, expected) in [
        ("LITERAL-", 4096, "{4096+}\r\n"),
        ("LITERAL-", 4097, "{4097}\r\n"),
        ("LITERAL+", 4097, "{4097+}\r\n"),
        ("IDLE", 1, "{1}\r\n"),
    ] {
        let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(format!("* PREAUTH [CAPABILITY IMAP4rev1 {capability}] hi\r\n").as_bytes());
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        let id = client.append(&AppendCommand::new(MailboxName::INBOX), size, &mut tx).unwrap();
        assert_eq!(String::from_utf8(tx.take()).unwrap(), format!("M1 APPEND INBOX {expected}"));
        let ready = client.next_event(&mut rx, &mut tx).unwrap() == Some(Event::AppendReady(id));
        assert_eq!(ready, expected.contains('+'));
        assert_eq!(client.write_payload(Bytes::from_static(b"x"), &mut tx).is_ok(), ready);
    }
}

#[test]
fn scans_a_literal_once_when_it_arrives_byte_by_byte() {
    // Quadratic work would be 10^11 bytes here and would not finish.
    let size = 500_000;
    let (mut client, mut rx, mut tx) =
        (Client::<Secure>::new(config(), Secure::trusted_local()), RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n");
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    let mut events = 0;
    let mut feed = |bytes: &[u8]| {
        for piece in bytes.chunks(1) {
            rx.extend(piece);
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {
                events += 1;
            }
        }
    };
    feed(format!("* LIST () \"/\" {{{size}}}\r\n").as_bytes());
    feed(&vec![b'\n'; size]);
    feed(b"\r\n");
    // A line without literals, as long as the limit, with many line feeds that end no line.
    feed(b"* LIST () \"/\" \"");
    feed(&b"\nx".repeat(size / 2));
    feed(b"\"\r\n");
    assert_eq!(events, 2);
}

/// A greeting in the middle of a session belongs to another session that an attacker joined to this one.
#[test]
fn accepts_preauth_only_as_a_greeting() {
    fn second<C: proto_mail::Channel>(mut client: Client<C>, again: &str) -> Error {
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        rx.extend(again.as_bytes());
        loop {
            match client.next_event(&mut rx, &mut tx) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it goes on"),
                Err(error) => return error,
            }
        }
    }
    for again in ["* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n", "* PREAUTH hi\r\n"] {
        let clear = Client::<Cleartext>::new(config());
        assert_eq!(second(clear, again), PeerError::PreauthOnCleartext.into(), "{again}");
        let secure = Client::<Secure>::new(config(), Secure::trusted_local());
        assert_eq!(second(secure, again), PeerError::UnexpectedReply.into(), "{again}");
    }
}

#[test]
fn rejects_a_message_as_greeting() {
    for first in ["* 1 FETCH (BODY[] {2}\r\nxx)\r\n", "* 1 FETCH (UID 7)\r\n"] {
        let input = [first, "* OK ready\r\n"].concat();
        let record = in_every_split(&input, false, || client(config(), |_, _, _| {}));
        assert_eq!(record.error, Some(PeerError::InvalidGreeting.into()), "{first}");
        let record = in_every_split(&input, false, || cleartext_client(config(), |_, _, _| {}));
        assert_eq!(record.error, Some(PeerError::InvalidGreeting.into()), "{first}");
    }
}

/// The application gives LOGOUT, which is not sent yet. The server closes by itself, and the commands in progress
/// have no answer.
#[test]
fn bye_without_logout_is_not_an_answer() {
    for farewell in ["* BYE going down\r\n", ""] {
        let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n");
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        client.logout(&mut tx).unwrap();
        rx.extend(farewell.as_bytes());
        rx.close();
        let error = loop {
            match client.next_event(&mut rx, &mut tx) {
                Ok(Some(Event::Closed) | None) => panic!("it ended in order"),
                Ok(Some(_)) => {}
                Err(error) => break error,
            }
        };
        let expected =
            if farewell.is_empty() { PeerError::UnexpectedEnd.into() } else { closing("going down") };
        assert_eq!(error, expected);
    }
}

/// A reply that arrives before its command was sent completely does not answer the command, in whatever chunks it
/// arrives.
#[test]
fn rejects_replies_to_commands_not_yet_sent() {
    fn hear(
        client: &mut Client<Secure>,
        (rx, tx): (&mut RecvBuffer, &mut SendBuffer),
        bytes: &str,
    ) -> Result<usize, Error> {
        rx.extend(bytes.as_bytes());
        let mut events = 0;
        while client.next_event(rx, tx)?.is_some() {
            events += 1;
        }
        Ok(events)
    }
    let command = "M1 NOOP\r\n";
    for answer in ["M1 OK done\r\n", "M1 NO never\r\n", "M1 BAD what\r\n"] {
        for (cut, sent) in (0..=answer.len()).flat_map(|cut| (0..=command.len()).map(move |sent| (cut, sent)))
        {
            let mut client = Client::<Secure>::new(config(), Secure::trusted_local());
            let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
            hear(&mut client, (&mut rx, &mut tx), "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n").unwrap();
            client.send(&Command::Noop, &mut tx).unwrap();
            assert_eq!(tx.len(), command.len());
            // First a part of the answer arrives, then a part of the command is sent, then the rest of the answer
            // arrives.
            let early = hear(&mut client, (&mut rx, &mut tx), &answer[..cut]);
            tx.sent(sent);
            let late = early.and_then(|_| hear(&mut client, (&mut rx, &mut tx), &answer[cut..]));
            if cut == 0 && sent == command.len() {
                assert_eq!(late, Ok(1), "{answer}");
            } else {
                assert_eq!(late, Err(PeerError::UnexpectedReply.into()), "{answer} {cut} {sent}");
            }
        }
    }
}
