//! Sessions without sockets and event loop: bytes in, bytes out, and jobs whose results wake the session.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "without_io/appends.rs"]
mod appends;
#[path = "without_io/dialects.rs"]
mod dialects;
#[path = "without_io/imap_faults.rs"]
mod imap_faults;
#[path = "without_io/objects.rs"]
mod objects;
mod pipe;
#[path = "without_io/url_auth.rs"]
mod url_auth;

use std::sync::Arc;

use io_common::server::WakeReason;
use io_common::stream::Readiness;
use mailserver::certificate::Authority;
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{Accounts, SqliteStore};
use pipe::Session;

fn start(context: &Arc<ServerContext>, service: Service) -> Session {
    let certificate = Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap();
    let encryption = Encryption::DangerCleartext(certificate.tls().unwrap());
    Session::start(context, ListenerOptions::new(service, encryption))
}

fn context(directory: &std::path::Path) -> Arc<ServerContext> {
    let store = SqliteStore::open(directory).unwrap();
    store.create_account("ann", b"a password").unwrap();
    ServerContext::new(Arc::new(store), &Settings::default(), Options::default()).unwrap()
}

#[test]
fn imap_and_lmtp_sessions_run_without_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());

    let mut imap = start(&context, Service::Imap);
    assert!(imap.exchange("", "\r\n").starts_with("* OK"));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    assert!(imap.exchange("b SELECT INBOX\r\n", "b OK").contains("* 0 EXISTS\r\n"));
    imap.exchange("c IDLE\r\n", "+ ");

    let mut lmtp = start(&context, Service::Lmtp);
    lmtp.exchange("", "220 ");
    lmtp.exchange("LHLO client.test\r\n", "250 ");
    lmtp.exchange("MAIL FROM:<bob@client.test>\r\n", "250 ");
    lmtp.exchange("RCPT TO:<ann@localhost>\r\n", "250 ");
    lmtp.exchange("DATA\r\n", "354 ");
    lmtp.exchange("Subject: hello\r\n\r\nbody\r\n.\r\n", "250 ");

    assert!(imap.exchange("", " EXISTS\r\n").contains("* 1 EXISTS\r\n"));
    imap.exchange("DONE\r\n", "c OK");
    let fetched = imap.exchange("d FETCH 1 (ENVELOPE BODY[TEXT])\r\n", "d OK");
    assert!(fetched.contains("\"hello\"") && fetched.contains("body\r\n"), "{fetched}");
    imap.exchange("e LOGOUT\r\n", "e OK");
}

#[test]
fn header_names_may_be_literals() {
    let directory = tempfile::tempdir().unwrap();
    let mut imap = start(&context(directory.path()), Service::Imap);
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    imap.exchange("b APPEND INBOX {15+}\r\nSubject: m\r\n\r\nx\r\n", "b OK");
    imap.exchange("c SELECT INBOX\r\n", "c OK");
    let command = "d FETCH 1 BODY.PEEK[HEADER.FIELDS ({7+}\r\nSubject {3+}\r\nA B)]\r\n";
    let fetched = imap.exchange(command, "d OK");
    let expected = "* 1 FETCH (BODY[HEADER.FIELDS (Subject \"A B\")] {14}\r\nSubject: m\r\n\r\n)\r\n";
    assert!(fetched.contains(expected), "{fetched}");
    let rejected = imap.exchange("e FETCH 1 BODY.PEEK[HEADER.FIELDS ({3+}\r\na\r\n)]\r\n", "e NO");
    assert!(!rejected.contains("FETCH ("), "{rejected}");
}

#[test]
fn a_pattern_that_is_not_modified_utf7_matches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut imap = start(&context(directory.path()), Service::Imap);
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    for command in ["LIST \"\" &*", "LIST & *", "LSUB \"\" &*", "LSUB & *"] {
        let listed = imap.exchange(&format!("b {command}\r\n"), "b ");
        assert!(listed.starts_with("b OK"), "{command}: {listed}");
    }
    assert!(imap.exchange("c LIST \"\" (&* INBOX)\r\n", "c OK").starts_with("* LIST (\\HasNoChildren"));
}

/// Returns the capabilities in the table of the mail server's extensions.
fn documented_capabilities() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/extensions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("# The mail server's extensions").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("| capability")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

#[test]
fn the_table_of_extensions_lists_what_the_server_offers() {
    let directory = tempfile::tempdir().unwrap();
    let mut imap = start(&context(directory.path()), Service::Imap);
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    let answer = imap.exchange("b CAPABILITY\r\n", "b OK");
    let offered = answer.lines().next().unwrap().strip_prefix("* CAPABILITY ").unwrap();
    let mut offered: Vec<&str> = offered.split(' ').collect();
    offered.sort_unstable();
    let documented = documented_capabilities();
    assert_eq!(offered, documented, "docs/extensions.md and the server's capabilities differ");
}

#[test]
fn every_split_of_a_conversation_has_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let command = "b SELECT INBOX\r\n";
    let mut answers = Vec::new();
    for split in 1..command.len() {
        let mut imap = start(&context, Service::Imap);
        imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
        let (first, rest) = command.split_at(split);
        imap.pipe.to_server.lock().unwrap().extend(first.as_bytes());
        imap.task.ready(Readiness { readable: true, ..Readiness::default() });
        imap.turn(WakeReason::default());
        answers.push(imap.exchange(rest, "b OK"));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}
