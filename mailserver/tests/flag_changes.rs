//! Two sessions change the same mailbox: each is told what the other did, over every store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "changes/acl.rs"]
mod acl;
#[path = "changes/metadata.rs"]
mod metadata;
#[path = "changes/notify.rs"]
mod notify;
mod pipe;
#[path = "changes/qresync/mod.rs"]
mod qresync;
#[path = "changes/quota.rs"]
mod quota;
#[path = "changes/sharing/mod.rs"]
mod sharing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailserver::certificate::Authority;
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{
    Body, ContentId, Delivery, Error, Flags, IndexedStore, InternalDate, MemoryStorage, MemoryStore,
    PasswordCost, Result, SqliteStore, Storage, StorageChange, Store, Target, Upload,
};
use pipe::Session;

fn context(store: Arc<dyn Store>) -> Arc<ServerContext> {
    store.create_account("ann", b"a password").unwrap();
    ServerContext::new(store, &Settings::default(), Options::default()).unwrap()
}

/// Appends `count` messages of `size` bytes to INBOX.
fn append(store: &dyn Store, count: usize, size: usize) {
    let account = store.account("ann").unwrap().unwrap().id;
    let mailbox = store.mailbox(account, "INBOX").unwrap().id;
    for _ in 0..count {
        let mut upload = store.upload().unwrap();
        upload.write(b"Subject: hello\r\n\r\n").unwrap();
        upload.write(&vec![b'x'; size]).unwrap();
        let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
        store.append(Delivery { upload, targets: vec![target] }).unwrap();
    }
}

fn session(context: &Arc<ServerContext>) -> Session {
    let certificate = Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap();
    let encryption = Encryption::DangerCleartext(certificate.tls().unwrap());
    Session::start(context, ListenerOptions::new(Service::Imap, encryption))
}

fn login(context: &Arc<ServerContext>) -> Session {
    let mut session = session(context);
    session.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    session
}

fn select(context: &Arc<ServerContext>, command: &str) -> Session {
    let mut session = login(context);
    session.exchange(&format!("b {command}\r\n"), "b OK");
    session
}

/// The untagged FETCH responses to a command.
fn told(session: &mut Session, command: &str) -> Vec<String> {
    let answer = session.exchange(&format!("x {command}\r\n"), "x OK");
    let fetches = answer.lines().filter(|line| line.contains(" FETCH "));
    fetches.map(str::to_owned).collect()
}

/// The flags of the messages that these responses show, by sequence number.
fn flags(fetches: &[String]) -> Vec<(u32, String)> {
    fetches
        .iter()
        .filter_map(|fetch| {
            let number = fetch.split(' ').nth(1)?.parse().ok()?;
            let (_, rest) = fetch.split_once("FLAGS (")?;
            Some((number, rest.split_once(')')?.0.to_owned()))
        })
        .collect()
}

/// Runs a test over SQLite and in memory, with a session in which no mailbox is selected.
fn with_stores(test: impl Fn(&Arc<ServerContext>, &Arc<dyn Store>, &mut Session)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    for store in stores {
        let context = context(Arc::clone(&store));
        test(&context, &store, &mut login(&context));
    }
}

/// Runs a test over SQLite and in memory: three messages, and two sessions that opened INBOX with these commands.
fn with_two_sessions(commands: [&str; 2], test: impl Fn(&mut Session, &mut Session)) {
    with_stores(|context, store, _| {
        append(&**store, 3, 10);
        let [mut one, mut other] = commands.map(|command| select(context, command));
        test(&mut one, &mut other);
    });
}

#[test]
fn every_command_reports_new_messages_and_only_some_report_expunges() {
    for poll in ["SEARCH ALL", "FETCH 1 (UID)", "STORE 1 +FLAGS.SILENT (\\Seen)", "UID SEARCH ALL", "NOOP"] {
        with_two_sessions(["SELECT INBOX"; 2], |one, other| {
            one.exchange("c COPY 1 INBOX\r\n", "c OK");
            let answer = other.exchange(&format!("x {poll}\r\n"), "x OK");
            assert!(answer.contains("* 4 EXISTS\r\n"), "{poll}: {answer}");
            assert!(
                answer.contains("* 1 RECENT\r\n") || answer.contains("* 0 RECENT\r\n"),
                "{poll}: {answer}"
            );
            assert!(!other.exchange("y NOOP\r\n", "y OK").contains("EXISTS"), "{poll}: told twice");

            // Sequence numbers must not change during these commands: what came behind the EXPUNGE waits, too.
            one.exchange("d STORE 2 +FLAGS.SILENT (\\Deleted)\r\n", "d OK");
            one.exchange("e EXPUNGE\r\n", "e OK");
            one.exchange("f COPY 1 INBOX\r\n", "f OK");
            let holds_back = !poll.starts_with("UID") && poll != "NOOP";
            let answer = other.exchange(&format!("x {poll}\r\n"), "x OK");
            assert_eq!(answer.contains("* 2 EXPUNGE\r\n"), !holds_back, "{poll}: {answer}");
            let answer = format!("{answer}{}", other.exchange("y NOOP\r\n", "y OK"));
            assert_eq!(answer.matches("* 2 EXPUNGE\r\n").count(), 1, "{poll}: {answer}");
            assert_eq!(answer.matches(" EXISTS\r\n").count(), 1, "{poll}: {answer}");
            assert!(answer.contains("* 4 EXISTS\r\n"), "{poll}: {answer}");
        });
    }
}

#[test]
fn a_silent_store_reports_the_change_of_another_session_before_it() {
    with_two_sessions(["SELECT INBOX"; 2], |one, other| {
        told(one, "STORE 2 +FLAGS (\\Flagged)");
        let answer = told(other, "STORE 1:3 +FLAGS.SILENT (\\Seen)");
        assert_eq!(flags(&answer), [(2, "\\Flagged \\Seen".to_owned())], "{answer:?}");
        assert!(told(other, "NOOP").is_empty(), "the client knows the flags of all messages");
        assert_eq!(flags(&told(one, "NOOP")).len(), 3);

        // A removal counts as well, and so does a change by UID.
        told(one, "UID STORE 3 -FLAGS.SILENT (\\Seen)");
        let answer = told(other, "UID STORE 1:3 +FLAGS.SILENT (\\Answered)");
        assert_eq!(flags(&answer), [(3, "\\Answered".to_owned())], "{answer:?}");
        assert!(answer[0].contains("UID 3"), "{answer:?}");
    });
}

#[test]
fn a_silent_store_reports_nothing_that_the_client_knows() {
    with_two_sessions(["SELECT INBOX"; 2], |one, other| {
        told(one, "STORE 2 +FLAGS (\\Flagged)");
        assert_eq!(flags(&told(other, "NOOP")), [(2, "\\Flagged".to_owned())]);
        assert!(told(other, "STORE 1:3 +FLAGS.SILENT (\\Seen)").is_empty());
        assert!(told(other, "STORE 1:3 -FLAGS.SILENT (\\Seen)").is_empty(), "its own change came before");
        assert!(told(other, "NOOP").is_empty());
        // The same flags: nothing changes, and the other session's change is reported once.
        told(one, "STORE 1 +FLAGS (\\Draft)");
        assert_eq!(flags(&told(other, "STORE 1 +FLAGS.SILENT (\\Draft)")), [(1, "\\Draft".to_owned())]);
        assert!(told(other, "NOOP").is_empty());
    });
}

#[test]
fn a_silent_store_with_condstore_adds_the_flags_where_another_session_changed_them() {
    with_two_sessions(["SELECT INBOX", "SELECT INBOX (CONDSTORE)"], |one, other| {
        told(one, "STORE 2 +FLAGS (\\Flagged)");
        let answer = told(other, "STORE 1:3 +FLAGS.SILENT (\\Seen)");
        assert_eq!(answer.len(), 3, "{answer:?}");
        assert!(answer.iter().all(|fetch| fetch.contains("MODSEQ")), "{answer:?}");
        assert_eq!(flags(&answer), [(2, "\\Flagged \\Seen".to_owned())], "{answer:?}");
        assert!(told(other, "NOOP").is_empty());
    });
}

#[test]
fn a_store_that_is_not_silent_reports_the_flags_of_both_sessions() {
    with_two_sessions(["SELECT INBOX"; 2], |one, other| {
        told(one, "STORE 2 +FLAGS (\\Flagged)");
        let answer = flags(&told(other, "STORE 1:2 +FLAGS (\\Seen)"));
        assert_eq!(answer, [(1, "\\Seen".to_owned()), (2, "\\Flagged \\Seen".to_owned())]);
        assert!(told(other, "NOOP").is_empty());
    });
}

#[test]
fn unchanged_since_reports_a_change_that_it_permits_and_one_that_it_does_not() {
    with_two_sessions(["SELECT INBOX (CONDSTORE)"; 2], |one, other| {
        let answer = told(one, "STORE 2 +FLAGS (\\Flagged)");
        let modseq = answer[0].split_once("MODSEQ (").unwrap().1.split_once(')').unwrap().0.to_owned();
        // The client may know the mod-sequence from another connection, but was not told the flags in this one.
        let answer = told(other, &format!("STORE 1:3 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)"));
        assert_eq!(flags(&answer), [(2, "\\Flagged \\Seen".to_owned())], "{answer:?}");
        told(one, "STORE 3 +FLAGS (\\Draft)");
        let answer = other
            .exchange(&format!("y STORE 3 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Deleted)\r\n"), "y OK");
        assert!(answer.contains("[MODIFIED 3]"), "{answer}");
        assert_eq!(flags(&told(other, "NOOP")), [(3, "\\Seen \\Draft".to_owned())]);
    });
}

#[test]
fn recent_messages_stay_recent_in_every_response_of_their_session() {
    // The messages are recent in the first session.
    with_two_sessions(["SELECT INBOX"; 2], |one, other| {
        told(other, "STORE 1 +FLAGS.SILENT (\\Flagged)");
        let silent = flags(&told(one, "STORE 1 +FLAGS.SILENT (\\Seen)"));
        assert_eq!(silent, [(1, "\\Flagged \\Seen \\Recent".to_owned())]);
        let shown = flags(&told(one, "STORE 2 +FLAGS (\\Seen)"));
        assert_eq!(shown, [(2, "\\Seen \\Recent".to_owned())]);
        let later = flags(&told(other, "NOOP"));
        assert_eq!(later, [(1, "\\Flagged \\Seen".to_owned()), (2, "\\Seen".to_owned())]);
        told(other, "STORE 3 +FLAGS (\\Draft)");
        assert_eq!(flags(&told(one, "NOOP")), [(3, "\\Draft \\Recent".to_owned())]);
    });
}

/// A storage that records nothing more once it is full.
struct Filling(MemoryStorage, AtomicBool);

impl Storage for Filling {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        self.0.put(upload)
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        self.0.open(content)
    }

    fn remove(&self, content: ContentId) {
        self.0.remove(content);
    }

    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        let set = changes.iter().any(|change| matches!(change, StorageChange::FlagsSet(..)));
        match set && self.1.swap(true, Ordering::SeqCst) {
            true => Err(Error::Full),
            false => self.0.record(changes),
        }
    }
}

#[test]
fn a_fetch_that_fails_hides_no_flag_that_it_set() {
    let storage = Filling(MemoryStorage::with_limit(64 << 20), AtomicBool::new(false));
    let store = IndexedStore::open(storage).unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let context = context(Arc::clone(&store));
    // The messages of one page become seen at a time, and are sent in several batches.
    append(&*store, 100, 10_000);
    let mut session = select(&context, "SELECT INBOX");
    let answer = session.exchange("x FETCH 1:* BODY[]\r\n", "x NO");
    let mut known: Vec<u32> = (1..=100).filter(|n| answer.contains(&format!("* {n} FETCH"))).collect();
    let fetched = known.len();
    let later = flags(&told(&mut session, "NOOP"));
    assert!(later.iter().all(|(_, flags)| flags.contains("\\Seen")));
    known.extend(later.into_iter().map(|(number, _)| number));
    known.sort_unstable();
    known.dedup();
    let seen = session.exchange("y SEARCH SEEN\r\n", "y OK");
    let seen: Vec<u32> = seen.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(known, seen);
    assert!(0 < fetched && fetched < seen.len() && seen.len() < 100, "{fetched} of {}", seen.len());
}
