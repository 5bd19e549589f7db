//! The typed clients: what was begun and dropped never mixes the responses of two commands, or ends the session with a clear
//! error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

use std::{
    io::{BufRead, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use io_mio::{
    ClientError, Connector, Deadlines, ImapClient, ImapClientProtocol, SmtpClient, SmtpClientProtocol,
    TlsClientConfig,
    imap::FetchPart,
    smtp::{Envelope, EnvelopeOutcome},
};
use mailwire_fixtures::scripts::{ImapScript, Log, Script, SmtpScript};
use proto_imap::types::{FetchAttribute, SearchKey, Section, SequenceSet, Untagged};
use proto_mail::{Cleartext, Credentials, Mechanism};
use proto_smtp::client::{NotSent, Outcome};

type Imap = ImapClient<Cleartext>;
type Smtp = SmtpClient<Cleartext>;

const BODIES: [&str; 2] = ["hello\r\nyou\r\n", "a \"b\" c"];
const MESSAGE: &str = "Subject: x\r\n\r\n.dot\r\n";

/// Starts a server on loopback, and connects. It sends one byte at a time.
fn connect(mut script: impl Script) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let (mut says, mut received, mut buffer) = (script.greeting(), Vec::new(), [0; 4096]);
        loop {
            for byte in says.drain(..) {
                if socket.write_all(&[byte]).is_err() {
                    return;
                }
            }
            says = script.answer(&mut received);
            if says.is_empty() {
                match socket.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => received.extend_from_slice(&buffer[..count]),
                }
                says = script.answer(&mut received);
            }
        }
    });
    client
}

fn connector() -> Connector {
    // Not used: the tests are about cleartext.
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(20)))
}

fn imap_with(connector: &Connector, script: impl Script) -> Result<Imap, ClientError> {
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection =
        connector.danger_connect_cleartext_over::<ImapClientProtocol>(connect(script), &config)?;
    ImapClient::over(connection)
}

fn imap(log: &Log) -> Imap {
    let mut imap = imap_with(&connector(), ImapScript::new(log)).unwrap();
    imap.danger_cleartext_login(Mechanism::Plain, &Credentials::password("u", &b"p"[..])).unwrap();
    imap.select("box3").unwrap();
    log.lock().unwrap().clear();
    imap
}

fn smtp(log: &Log) -> Smtp {
    let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
    let socket = connect(SmtpScript::new(log));
    let connection = connector().danger_connect_cleartext_over::<SmtpClientProtocol>(socket, &config);
    let smtp = SmtpClient::over(connection.unwrap()).unwrap();
    log.lock().unwrap().clear();
    smtp
}

/// Checks that the next commands get their own responses.
fn goes_on(mut client: Imap) {
    let mailbox = client.select("box7").unwrap();
    assert_eq!((mailbox.exists, mailbox.uid_validity), (7, Some(7)));
    assert_eq!(client.uid_search(&[SearchKey::All]).unwrap(), [3, 4]);
    assert_eq!(client.list("*").unwrap().len(), 2);
    client.logout().unwrap();
}

/// Checks that the session is over, and that nothing was sent any more.
fn is_interrupted(client: &mut Imap, log: &Log) {
    assert!(matches!(client.select("box7"), Err(ClientError::Interrupted)));
    assert!(matches!(client.noop(), Err(ClientError::Interrupted)), "it stays so");
    assert!(!log.lock().unwrap().iter().any(|line| line.starts_with("SELECT")));
}

#[test]
fn a_fetch_that_is_dropped_anywhere_is_skipped() {
    let attributes = [FetchAttribute::Uid, FetchAttribute::peek(Section::FULL)];
    for bodies in 0..=2 {
        for read in 0..=11 {
            let log = Log::default();
            let mut client = imap(&log);
            let mut fetch = client.fetch(1..=2, &attributes).unwrap();
            for expected in BODIES.iter().take(bodies) {
                let expected = &expected.as_bytes()[..expected.len().min(11)];
                let mut body = fetch.next_body().unwrap().unwrap();
                assert_eq!(body.size(), Some(expected.len() as u64));
                let mut part = vec![0; read.min(expected.len())];
                body.read_exact(&mut part).unwrap();
                assert_eq!(part, &expected[..part.len()]);
            }
            goes_on(client);
            assert_eq!(log.lock().unwrap().len(), 5);
        }
    }
}

#[test]
fn a_fetch_returns_its_parts_in_order_and_bodies_without_copies() {
    let mut client = imap(&Log::default());
    let attributes = [FetchAttribute::Uid, FetchAttribute::peek(Section::FULL)];
    let (mut fetch, mut seen) = (client.fetch(1..=2, &attributes).unwrap(), Vec::new());
    while let Some(part) = fetch.next().unwrap() {
        seen.push(match part {
            FetchPart::Message(number) => format!("message {number}"),
            FetchPart::Item(item) => format!("{:?}", item.view()),
            FetchPart::Body(mut body) => {
                let first = body.fill_buf().unwrap().first().copied();
                let mut text = Vec::new();
                assert_eq!(body.copy_to(&mut text).unwrap(), text.len() as u64);
                assert!(body.fill_buf().unwrap().is_empty(), "it stays at the end");
                assert_eq!(first, text.first().copied());
                String::from_utf8(text).unwrap()
            }
            FetchPart::End => "end".into(),
            _ => "other".into(),
        });
    }
    assert!(fetch.next().unwrap().is_none(), "it stays at the end");
    let expected =
        ["message 1", "Uid(5)", "hello\r\nyou\r\n", "end", "message 2", "Uid(6)", "a \"b\" c", "end"];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen == expected || expected.starts_with(seen.as_str()), "{seen:?}");
    }
    goes_on(client);
}

#[test]
fn idle_has_a_time_limit_and_ends_before_the_next_command() {
    for ends_it in [true, false] {
        let log = Log::default();
        let mut client = imap(&log);
        let mut idle = client.idle().unwrap();
        assert!(matches!(idle.next().unwrap().view(), Untagged::Exists(5)));
        let change = idle.next_within(Duration::from_secs(20)).unwrap();
        assert!(matches!(change.unwrap().view(), Untagged::Exists(6)));
        let begin = Instant::now();
        assert!(idle.next_within(Duration::from_millis(50)).unwrap().is_none());
        assert!(begin.elapsed() < Duration::from_secs(10));
        if ends_it {
            idle.done().unwrap();
        }
        goes_on(client);
        assert_eq!(log.lock().unwrap()[..3], ["IDLE", "DONE", "SELECT box7"]);
    }
}

#[test]
fn a_dropped_append_ends_the_session_unless_the_message_is_complete() {
    for written in 0..=5 {
        let log = Log::default();
        let mut client = imap(&log);
        let mut writer = client.append_stream("INBOX", 5).unwrap();
        for byte in &b"hello"[..written] {
            writer.write_all(&[*byte]).unwrap();
        }
        assert_eq!(writer.left(), 5 - written as u64);
        if written < 5 {
            is_interrupted(&mut client, &log);
        } else {
            assert!(writer.write_all(b"!").is_err(), "there is room for five bytes only");
            goes_on(client);
        }
    }
}

#[test]
fn a_message_is_appended_from_memory_or_a_reader() {
    let log = Log::default();
    let mut client = imap(&log);
    assert_eq!(client.append("INBOX", "hello").unwrap().unwrap().uid, 9);
    let longer = &b"hello, and more than was announced"[..];
    assert_eq!(client.append_from("INBOX", longer, 5).unwrap().unwrap().uid, 9);
    let append = ["APPEND INBOX {5}", "message \"hello\\r\\n\""];
    assert_eq!(*log.lock().unwrap(), [append, append].concat());
    log.lock().unwrap().clear();
    let short = client.append_from("INBOX", &b"hel"[..], 5).unwrap_err();
    assert!(matches!(&short, ClientError::Invalid(text) if text.contains("2 bytes shorter")), "{short}");
    is_interrupted(&mut client, &log);
}

/// A server that answers each line with the next text.
struct Answers(std::vec::IntoIter<String>);

impl Answers {
    fn new(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().collect::<Vec<_>>().into_iter())
    }
}

impl Script for Answers {
    fn greeting(&mut self) -> Vec<u8> {
        b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n".to_vec()
    }

    fn answer(&mut self, received: &mut Vec<u8>) -> Vec<u8> {
        match mailwire_fixtures::scripts::line(received) {
            Some(_) => self.0.next().unwrap_or_default().into(),
            None => Vec::new(),
        }
    }
}

#[test]
fn no_more_than_the_limit_is_skipped() {
    // Much more than one read takes, so that most of it is still unread when the fetch is dropped.
    let body = "x".repeat(1_000_000);
    for (limit, is_skipped) in [(2_000_000, true), (100_000, false)] {
        let fetched = format!("* 1 FETCH (BODY[] {{1000000}}\r\n{body})\r\nM2 OK done\r\n");
        let select = "* 1 EXISTS\r\nM1 OK [READ-WRITE] open\r\n".to_owned();
        let script = Answers::new([select, fetched, "M3 OK done\r\n".into(), "M4 OK done\r\n".into()]);
        let mut client = imap_with(&connector(), script).unwrap();
        client.set_skip_limit(limit);
        assert_eq!(client.select("INBOX").unwrap().exists, 1);
        let attributes = [FetchAttribute::peek(Section::FULL)];
        let mut first = [0; 3];
        let mut fetch = client.fetch(SequenceSet::ALL, &attributes).unwrap();
        fetch.next_body().unwrap().unwrap().read_exact(&mut first).unwrap();
        let next = client.noop();
        assert_eq!(next.is_ok(), is_skipped, "{next:?}");
        assert_eq!(matches!(next, Err(ClientError::Interrupted)), !is_skipped);
        assert_eq!(client.noop().is_err(), !is_skipped, "it stays so");
    }
}

#[test]
fn a_large_answer_is_skipped() {
    let list = "* LIST () \"/\" mailbox\r\n".repeat(2000) + "M1 OK done\r\n";
    let script = Answers::new([list, "M2 OK done\r\n".into()]);
    let mut client = imap_with(&connector(), script).unwrap();
    client.set_answer_limit(10_000);
    assert!(matches!(client.list("*"), Err(ClientError::TooLarge(10_000))));
    client.noop().unwrap();
}

#[test]
fn a_silent_server_ends_the_session_in_time() {
    let impatient = connector().deadlines(Deadlines::uniform(Duration::from_millis(200)));
    let mut client = imap_with(&impatient, Answers::new([])).unwrap();
    let begin = Instant::now();
    let error = client.noop().unwrap_err();
    assert_eq!(error.kind(), io_mio::ErrorKind::Timeout, "{error}");
    assert!(client.noop().is_err(), "the session is over");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

fn envelope(to: &str) -> Envelope {
    Envelope::new("a@example.com", [to]).unwrap()
}

#[test]
fn a_dropped_message_is_not_delivered_and_ends_the_session() {
    for written in [0, 1, 15, MESSAGE.len()] {
        let log = Log::default();
        let mut client = smtp(&log);
        let EnvelopeOutcome::Accepted(mut writer) = client.send_stream(envelope("b@example.org")).unwrap()
        else {
            panic!("the recipient is accepted")
        };
        writer.write_all(&MESSAGE.as_bytes()[..written]).unwrap();
        assert!(matches!(client.verify("x"), Err(ClientError::Interrupted)));
        assert!(matches!(client.noop(), Err(ClientError::Interrupted)), "it stays so");
        let log = log.lock().unwrap();
        assert!(!log.iter().any(|line| line.starts_with("message") || line.starts_with("VRFY")), "{log:?}");
    }
}

#[test]
fn each_recipient_has_its_own_result_and_the_session_goes_on() {
    let log = Log::default();
    let mut client = smtp(&log);
    let credentials = Credentials::password("u", &b"p"[..]);
    client.danger_cleartext_login(&[Mechanism::Plain], &credentials).unwrap();
    let both = Envelope::new("a@example.com", ["unknown@example.org", "b@example.org"]).unwrap();
    let report = client.send(both, MESSAGE).unwrap();
    let [unknown, known] = report.recipients() else { panic!("{report:?}") };
    assert!(matches!(unknown.outcome(), Outcome::Refused(_, reply) if reply.code().get() == 550));
    assert!(matches!(known.outcome(), Outcome::Delivered(_)) && !report.is_delivered());
    let report = client.send(envelope("unknown@example.org"), MESSAGE).unwrap();
    assert!(!report.is_delivered() && report.error().is_none(), "{report:?}");
    assert_eq!(client.verify("somewhere").unwrap().text(), "VRFY somewhere");
    // The server does not offer SMTPUTF8.
    let report = client.send(envelope("\u{fc}@example.org"), MESSAGE).unwrap();
    assert!(matches!(report.recipients()[0].outcome(), Outcome::NotSent(NotSent::NotOffered(_))));
    assert!(matches!(Envelope::new("a", []), Err(ClientError::Invalid(_))));
    let EnvelopeOutcome::Accepted(mut writer) = client.send_stream(envelope("b@example.org")).unwrap() else {
        panic!("the recipient is accepted")
    };
    writer.write_all(MESSAGE.as_bytes()).unwrap();
    assert!(writer.finish().is_delivered());
    // Nothing is sent of a message that cannot be sent whole.
    let invalid = client.send(envelope("b@example.org"), "bare\nline\r\n").unwrap_err();
    assert_eq!((invalid.kind(), invalid.is_retryable()), (io_mio::ErrorKind::Config, false), "{invalid}");
    client.noop().unwrap();
    let stored = "message \"Subject: x\\r\\n\\r\\n..dot\\r\\n.\\r\\n\"";
    let log = log.lock().unwrap();
    assert_eq!(log.iter().filter(|line| line.starts_with("message")).count(), 2);
    assert_eq!(log.iter().filter(|line| *line == stored).count(), 2, "{log:?}");
}

#[test]
fn a_message_that_is_rejected_early_does_not_disturb_the_session() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n").unwrap();
        let mut line = [0; "M1 APPEND INBOX {5000000}\r\n".len()];
        server.read_exact(&mut line).unwrap();
        server.write_all(b"+ go\r\nM1 NO [OVERQUOTA] full\r\n").unwrap();
        let mut message = vec![0; 5_000_002];
        server.read_exact(&mut message).unwrap();
        let mut noop = [0; "M2 NOOP\r\n".len()];
        server.read_exact(&mut noop).unwrap();
        server.write_all(b"M2 OK done\r\n").unwrap();
        noop
    });
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection = connector().danger_connect_cleartext_over::<ImapClientProtocol>(socket, &config);
    let mut imap = ImapClient::over(connection.unwrap()).unwrap();
    let refused = imap.append("INBOX", vec![b'x'; 5_000_000]).unwrap_err();
    assert_eq!(refused.server_text().as_deref(), Some("full"), "{refused:?}");
    imap.noop().unwrap();
    assert_eq!(&serving.join().unwrap(), b"M2 NOOP\r\n");
}
