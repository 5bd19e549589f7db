//! The same conversation has the same bytes on every driver: io-mio, io-tokio, and a test without sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "drivers/compression.rs"]
mod compression;
#[path = "drivers/metrics.rs"]
mod metrics;
mod pipe;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use io_mio::Reactor;
use mailserver::certificate::{Authority, IssuedCertificate};
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{Accounts, SqliteStore};

const IMAP: &[(&str, &str)] = &[
    ("", "\r\n"),
    ("a1 CAPABILITY\r\n", "a1 OK"),
    ("a2 LOGIN ann wrong\r\n", "a2 NO"),
    ("a3 LOGIN ann \"a password\"\r\n", "a3 OK"),
    ("a4 SELECT INBOX\r\n", "a4 OK"),
    ("a5 APPEND INBOX (\\Seen) {29+}\r\nSubject: hello\r\n\r\nbody text\r\n\r\n", "a5 OK"),
    ("a6 NOOP\r\n", "a6 OK"),
    ("a7 FETCH 1 (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n", "a7 OK"),
    ("a8 STORE 1 +FLAGS (\\Deleted kept)\r\n", "a8 OK"),
    ("a9 UID SEARCH RETURN (ALL COUNT) BODY text\r\n", "a9 OK"),
    ("b1 CREATE Archive/2026\r\nb2 LIST \"\" * RETURN (STATUS (MESSAGES))\r\n", "b2 OK"),
    ("b3 MOVE 1 Archive/2026\r\n", "b3 OK"),
    ("b4 FETCH 1 FLAGS\r\n", "b4 "),
    ("b5 NONSENSE\r\n", "b5 BAD"),
    ("b6 LOGOUT\r\n", "b6 OK"),
];

const LMTP: &[(&str, &str)] = &[
    ("", "\r\n"),
    ("LHLO client.test\r\n", "250 "),
    ("MAIL FROM:<bob@client.test>\r\nRCPT TO:<ann@localhost>\r\nRCPT TO:<eve@localhost>\r\n", "550 "),
    ("DATA\r\n", "354 "),
    ("Subject: hello\r\n\r\n..dot\r\n.\r\n", "250 "),
    ("NONSENSE\r\n", "500 "),
    ("QUIT\r\n", "221 "),
];

fn certificate() -> IssuedCertificate {
    Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap()
}

/// A server on an empty store. The folder keeps the store's files.
fn context() -> (Arc<ServerContext>, tempfile::TempDir) {
    context_with(&Settings::default())
}

fn context_with(settings: &Settings) -> (Arc<ServerContext>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.create_account("ann", b"a password").unwrap();
    let context = ServerContext::new(Arc::new(store), settings, Options::default()).unwrap();
    (context, directory)
}

fn options(service: Service) -> ListenerOptions {
    ListenerOptions::new(service, Encryption::DangerCleartext(certificate().tls().unwrap()))
}

/// Removes what differs from one server to the next: UIDVALIDITY, the time, and identifiers.
fn normalised(answers: &str) -> String {
    let mut text = String::new();
    for line in answers.split_inclusive("\r\n") {
        let line = match line.split_once("UIDVALIDITY ") {
            Some((before, rest)) => {
                format!("{before}UIDVALIDITY {}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => line.to_owned(),
        };
        let words: Vec<_> =
            line.split(' ')
                .scan("", |before, word| Some((std::mem::replace(before, word), word)))
                .map(|(before, word)| if before == "[MAILBOXID" { "(ID)]" } else { word })
                .map(|word| {
                    if word.len() >= 9 && word.bytes().all(|byte| byte.is_ascii_digit()) { "N" } else { word }
                })
                .collect();
        text.push_str(&words.join(" "));
    }
    text
}

fn over_tcp(address: SocketAddr, conversation: &[(&str, &str)]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut all = String::new();
    for (command, end) in conversation {
        socket.write_all(command.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let is_complete = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            text.ends_with("\r\n")
                && text.lines().last().is_some_and(|line| end.trim().is_empty() || line.starts_with(end))
        };
        while !is_complete(&answer) {
            let mut buffer = [0; 4096];
            match socket.read(&mut buffer).unwrap() {
                0 => panic!("the server closed after {command:?}: {}", String::from_utf8_lossy(&answer)),
                count => answer.extend(&buffer[..count]),
            }
        }
        all.push_str(&String::from_utf8(answer).unwrap());
    }
    normalised(&all)
}

fn on_mio(service: Service, conversation: &[(&str, &str)]) -> String {
    on_mio_with(&Settings::default(), service, |address| over_tcp(address, conversation))
}

/// Runs a client against a server on io-mio.
fn on_mio_with<T>(settings: &Settings, service: Service, client: impl FnOnce(SocketAddr) -> T) -> T {
    let (context, _directory) = context_with(settings);
    on_mio_in(&context, settings, service, client)
}

/// As [`on_mio_with`], in this context.
fn on_mio_in<T>(
    context: &Arc<ServerContext>,
    settings: &Settings,
    service: Service,
    client: impl FnOnce(SocketAddr) -> T,
) -> T {
    let listener = context.listener(settings, options(service));
    let mut reactor = Reactor::new(Settings::default().connections).unwrap();
    let port = io_mio::BoundPort::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.address().as_socket_addr().unwrap();
    reactor.listen_with(port, listener.sessions).unwrap();
    let handle = reactor.handle();
    let thread = std::thread::spawn(move || reactor.run());
    let outcome = client(address);
    handle.shut_down(Duration::ZERO);
    thread.join().unwrap().unwrap();
    outcome
}

fn on_tokio(service: Service, conversation: &'static [(&str, &str)]) -> String {
    on_tokio_with(&Settings::default(), service, |address| over_tcp(address, conversation))
}

/// Runs a client against a server on io-tokio.
fn on_tokio_with<T: Send + 'static>(
    settings: &Settings,
    service: Service,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let (context, _directory) = context_with(settings);
    let listener = context.listener(settings, options(service));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let port = io_tokio::server::BoundPort::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = port.address().as_socket_addr().unwrap();
        let mut server = io_tokio::Server::new(Settings::default().connections);
        server.listen_with(port, listener.sessions).unwrap();
        let outcome = tokio::task::spawn_blocking(move || client(address)).await.unwrap();
        server.shut_down(Duration::ZERO).await;
        outcome
    })
}

fn without_io(service: Service, conversation: &[(&str, &str)]) -> String {
    let (context, _directory) = context();
    let mut session = pipe::Session::start(&context, options(service));
    let answers = conversation.iter().map(|(command, end)| session.exchange(command, end));
    normalised(&answers.collect::<String>())
}

#[test]
fn imap_is_the_same_on_every_driver() {
    let expected = without_io(Service::Imap, IMAP);
    assert!(expected.contains(" ENVELOPE (NIL \"hello\""), "{expected}");
    assert_eq!(on_mio(Service::Imap, IMAP), expected);
    assert_eq!(on_tokio(Service::Imap, IMAP), expected);
}

#[test]
fn lmtp_is_the_same_on_every_driver() {
    let expected = without_io(Service::Lmtp, LMTP);
    assert!(expected.contains("550 ") && expected.contains("250 2.0.0"), "{expected}");
    assert_eq!(on_mio(Service::Lmtp, LMTP), expected);
    assert_eq!(on_tokio(Service::Lmtp, LMTP), expected);
}
