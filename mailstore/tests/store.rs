//! Tests what only the store on SQLite has: files, and what is in them. See `conformance.rs` for the rest.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "store/reopened.rs"]
mod reopened;
mod support;

use mailstore::*;

/// A limit above the number of messages in any test.
const ALL: usize = 1_000_000;

struct Fixture {
    store: SqliteStore,
    account: AccountId,
    inbox: MailboxId,
    directory: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let account = store.create_account("ann@example.org", b"right").unwrap().id;
    let inbox = store.mailbox(account, "inbox").unwrap().id;
    Fixture { store, account, inbox, directory }
}

impl Fixture {
    fn upload(&self, text: &[u8]) -> Upload {
        let mut upload = self.store.upload().unwrap();
        upload.write(text).unwrap();
        upload
    }

    fn deliver(&self, text: &[u8], mailboxes: &[MailboxId], flags: &[&str]) -> Vec<Appended> {
        let targets = mailboxes.iter().map(|&mailbox| Target {
            mailbox,
            flags: Flags::parse(flags.iter().copied()).unwrap(),
            internal_date: InternalDate { seconds: 1_700_000_000, offset_minutes: -90 },
        });
        let delivery = Delivery { upload: self.upload(text), targets: targets.collect() };
        self.store.append(delivery).unwrap()
    }

    fn mailbox(&self, name: &str) -> MailboxId {
        self.store.create_mailbox(self.account, name, None).unwrap()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("messages")).unwrap().count()
    }
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let f = fixture();
    let mode =
        |name: &str| std::fs::metadata(f.directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("messages"), 0o700);
    for file in ["mail.db", "mail.db-wal", "mail.db-shm", "lock"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn never_stores_passwords() {
    let f = fixture();
    f.store.set_password(f.account, b"another").unwrap();
    assert_eq!(f.store.verify_password("ann@example.org", b"another").unwrap(), Some(f.account));
    let database = std::fs::read(f.directory.path().join("mail.db-wal")).unwrap();
    assert!(!database.windows(7).any(|w| w == b"another"));
}

#[test]
fn stores_shared_content_once_and_frees_it_with_the_last_message() {
    let f = fixture();
    let (one, two) = (f.mailbox("one"), f.mailbox("two"));
    let appended = f.deliver(&vec![b'y'; 100_000], &[one, two], &[]);
    assert_eq!(appended[0].content, appended[1].content);
    assert_eq!(f.files(), 1);
    let copied = f.store.copy(one, &UidSet::all(), f.inbox, ALL).unwrap();
    assert_eq!(copied.pairs, [(1, 1)]);
    assert_eq!(f.files(), 1);
    let body = f.store.open_content(appended[0].content).unwrap();
    for mailbox in [one, two, f.inbox] {
        assert_eq!(f.files(), 1);
        assert_eq!(f.store.expunge(mailbox, &Expunge::Exactly(UidSet::all()), ALL).unwrap().uids, [1]);
    }
    assert_eq!(f.files(), 0);
    assert!(matches!(f.store.open_content(appended[0].content), Err(Error::NotFound(_))));
    assert_eq!(body.read(99_999, 10).unwrap(), b"y", "an open body stays readable");
}

#[test]
fn removes_files_of_uploads_that_are_not_appended() {
    let f = fixture();
    drop(f.upload(&vec![0; 100_000]));
    let gone =
        Target { mailbox: MailboxId(999), flags: Flags::new(), internal_date: InternalDate::default() };
    let outcome = f.store.append_batch(vec![
        Delivery { upload: f.upload(&vec![1; 100_000]), targets: vec![gone] },
        Delivery { upload: f.upload(b"x"), targets: Vec::new() },
    ]);
    let outcome = outcome.unwrap();
    assert!(matches!(outcome[0], Err(Error::NotFound("mailbox"))));
    assert!(matches!(&outcome[1], Ok(none) if none.is_empty()));
    assert_eq!(f.files(), 0);
    assert_eq!(f.store.status(f.inbox).unwrap().messages, 0);
}

#[test]
fn debug_output_contains_no_names() {
    let f = fixture();
    assert!(!format!("{:?}", f.store).contains(f.directory.path().to_str().unwrap()));
}
