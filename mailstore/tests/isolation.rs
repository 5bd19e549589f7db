//! What one store, delivery or account does has no effect on another: uploads of other stores, messages that the storage
//! refuses, a storage that panics, identifiers of another account.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use mailstore::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

fn memory() -> MemoryStore {
    MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap()
}

fn inbox(store: &dyn Store, name: &str) -> MailboxId {
    let account = match store.account(name).unwrap() {
        Some(account) => account,
        None => store.create_account(name, b"a password").unwrap(),
    };
    store.mailbox(account.id, "INBOX").unwrap().id
}

fn upload(store: &dyn Store, size: usize) -> Upload {
    let mut upload = store.upload().unwrap();
    upload.write(&vec![b'x'; size]).unwrap();
    upload
}

fn delivery(upload: Upload, mailbox: MailboxId) -> Delivery {
    let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
    Delivery { upload, targets: vec![target] }
}

const SMALL: usize = 100;
const LARGE: usize = 2 * SMALL_LIMIT;

/// Tries uploads of `others` in `store`. A store that kept their files or memory would lose the message.
fn refuses_uploads_of(store: &impl SyncStore, others: &[&dyn Store]) {
    let inbox = inbox(store, "ann");
    let account = store.account("ann").unwrap().unwrap().id;
    let remote = store.remote_account(account, "imap://example.test").unwrap().id;
    let remote = store.remote_mailbox(remote, "INBOX", inbox, 1).unwrap().id;
    for size in [SMALL, LARGE] {
        let others = others.iter().map(|other| upload(*other, size));
        let mut mine_without_owner = Upload::new(&std::env::temp_dir());
        mine_without_owner.write(&vec![b'x'; size]).unwrap();
        for other in others.chain([mine_without_owner]) {
            let before = store.status(inbox).unwrap().messages;
            let batch = [upload(store, size), other, upload(store, size)];
            let batch = batch.into_iter().map(|upload| delivery(upload, inbox)).collect();
            let outcomes = store.append_batch(batch).unwrap();
            assert!(matches!(&outcomes[..], [Ok(_), Err(Error::Refused(_)), Ok(_)]), "{outcomes:?}");
            assert_eq!(store.status(inbox).unwrap().messages, before + 2);
        }
    }
    let imported = |uid, upload| {
        let (flags, internal_date) = (Flags::new(), InternalDate::default());
        RemoteMessage { uid, upload, flags, internal_date }
    };
    let before = store.status(inbox).unwrap().messages;
    let messages = vec![imported(1, upload(store, SMALL)), imported(2, upload(others[0], SMALL))];
    assert!(matches!(store.record_imports(remote, messages), Err(Error::Refused(_))));
    assert_eq!(store.status(inbox).unwrap().messages, before);
    let every = store.fetch_page(inbox, &UidSet::all(), Columns::summary(), 100).unwrap();
    for message in every.messages {
        assert_eq!(store.open_content(message.content).unwrap().size(), message.size);
    }
}

#[test]
fn memory_refuses_the_uploads_of_another_store() {
    let (store, other) = (memory(), memory());
    refuses_uploads_of(&store, &[&other]);
    assert_eq!(other.storage().used(), 0, "a refused upload is freed");
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_refuses_the_uploads_of_another_store() {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [store, other] = directories.each_ref().map(|directory| SqliteStore::open(directory.path()).unwrap());
    refuses_uploads_of(&store, &[&memory(), &other]);
    refuses_uploads_of(&memory(), &[&store]);
    let files = std::fs::read_dir(directories[1].path().join("messages")).unwrap().count();
    assert_eq!(files, 0, "the file of a refused upload is removed");
}

/// A storage in memory that refuses messages of a certain size, and panics when it is told to.
struct Picky {
    storage: MemoryStorage,
    panics: AtomicBool,
}

const UNWANTED: u64 = 13;

impl Storage for Picky {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        if upload.size() == UNWANTED { Err(Error::Full) } else { self.storage.put(upload) }
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        self.storage.open(content)
    }

    fn remove(&self, content: ContentId) {
        self.storage.remove(content);
    }

    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        assert!(!self.panics.load(Ordering::SeqCst), "the test wants it");
        self.storage.record(changes)
    }
}

fn picky() -> IndexedStore<Picky> {
    let (storage, panics) = (MemoryStorage::with_limit(1 << 20), AtomicBool::new(false));
    let store = IndexedStore::open(Picky { storage, panics }).unwrap();
    store.with_password_cost(PasswordCost::Minimal).unwrap()
}

#[test]
fn a_message_that_the_storage_refuses_costs_only_its_own_delivery() {
    let store = picky();
    let [ann, bob] = ["ann", "bob"].map(|name| inbox(&store, name));
    let batch = [(SMALL, ann), (UNWANTED as usize, bob), (SMALL, ann)];
    let batch = batch.map(|(size, mailbox)| delivery(upload(&store, size), mailbox));
    let outcomes = store.append_batch(batch.into()).unwrap();
    assert!(matches!(&outcomes[..], [Ok(_), Err(Error::Full), Ok(_)]), "{outcomes:?}");
    assert_eq!([ann, bob].map(|mailbox| store.status(mailbox).unwrap().messages), [2, 0]);
}

#[test]
fn a_storage_that_panics_leaves_nothing_half_done() {
    let store = picky();
    let [ann, bob] = ["ann", "bob"].map(|name| inbox(&store, name));
    store.append(delivery(upload(&store, SMALL), ann)).unwrap();
    let account = store.account("ann").unwrap().unwrap().id;
    let before = (store.status(ann).unwrap(), store.usage(account).unwrap(), store.list(account).unwrap());
    store.storage().panics.store(true, Ordering::SeqCst);
    let attempts: [&dyn Fn(); 5] = [
        &|| drop(store.append(delivery(upload(&store, SMALL), ann))),
        &|| drop(store.copy(ann, &UidSet::all(), ann, 10)),
        &|| drop(store.expunge(ann, &Expunge::Exactly(UidSet::all()), 10)),
        &|| drop(store.create_mailbox(account, "work/here", None)),
        &|| drop(store.rename_mailbox(account, "INBOX", "old")),
    ];
    for attempt in attempts {
        assert!(catch_unwind(AssertUnwindSafe(attempt)).is_err());
    }
    store.storage().panics.store(false, Ordering::SeqCst);
    let mut after = store.status(ann).unwrap();
    after.highest_modseq = before.0.highest_modseq;
    assert_eq!((after, store.usage(account).unwrap(), store.list(account).unwrap()), before);
    let appended = [ann, bob].map(|mailbox| store.append(delivery(upload(&store, SMALL), mailbox)).unwrap());
    assert_eq!(appended.map(|appended| appended[0].uid), [2, 1]);
}

/// A server finds mailboxes and EMAILIDs by the account that has logged in: those of another account are not found.
fn accounts_see_only_their_own(store: &dyn Store) {
    let mailbox = inbox(store, "ann");
    inbox(store, "bob");
    let [ann, bob] = ["ann", "bob"].map(|name| store.account(name).unwrap().unwrap().id);
    store.create_mailbox(ann, "private", None).unwrap();
    store.subscribe(ann, "private").unwrap();
    let content = store.append(delivery(upload(store, SMALL), mailbox)).unwrap()[0].content;
    assert!(matches!(store.mailbox(bob, "private"), Err(Error::NotFound(_))));
    assert!(store.list(bob).unwrap().iter().all(|mailbox| mailbox.name != "private"));
    let subscribed = store.subscriptions_page(bob, "", 100).unwrap();
    assert!(subscribed.iter().all(|subscription| subscription.name != "private"));
    for (from, to) in [("private", "mine"), ("private/", "mine")] {
        assert!(store.rename_mailbox(bob, from, to).is_err());
        assert!(store.delete_mailbox(bob, from).is_err());
    }
    assert_eq!(store.usage(bob).unwrap().bytes, 0);
    let id = store.email_id(ann, content);
    assert_eq!(store.find_email_id(ann, &id), Some(content));
    assert_ne!(store.find_email_id(bob, &id), Some(content), "an EMAILID belongs to its account");
    assert_ne!(id, store.email_id(bob, content));
    assert!(store.mailbox(ann, "private").is_ok());
}

#[test]
fn accounts_of_a_memory_store_see_only_their_own() {
    accounts_see_only_their_own(&memory());
}

#[cfg(feature = "sqlite")]
#[test]
fn accounts_of_a_sqlite_store_see_only_their_own() {
    let directory = tempfile::tempdir().unwrap();
    accounts_see_only_their_own(&SqliteStore::open(directory.path()).unwrap());
}
