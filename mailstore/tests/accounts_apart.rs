//! Accounts of an indexed store do not wait for each other, and share the contents of messages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use mailstore::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A storage in memory that can be slow or full.
struct Fickle {
    memory: MemoryStorage,
    /// While set, recording a change of flags says so, and waits.
    slow: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    is_full: AtomicBool,
}

impl Storage for Fickle {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        self.memory.put(upload)
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        self.memory.open(content)
    }

    fn remove(&self, content: ContentId) {
        self.memory.remove(content);
    }

    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        let sets_flags = changes.iter().any(|change| matches!(change, StorageChange::FlagsSet(..)));
        let slow = if sets_flags { self.slow.lock().unwrap().take() } else { None };
        if let Some((begun, go_on)) = slow {
            begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
        if self.is_full.load(Ordering::SeqCst) { Err(Error::Full) } else { self.memory.record(changes) }
    }
}

fn store() -> Arc<IndexedStore<Fickle>> {
    let memory = MemoryStorage::with_limit(64 << 20);
    let storage = Fickle { memory, slow: Mutex::default(), is_full: AtomicBool::new(false) };
    Arc::new(IndexedStore::open(storage).unwrap().with_password_cost(PasswordCost::Minimal).unwrap())
}

fn inbox(store: &impl Store, name: &str) -> (AccountId, MailboxId) {
    let account = store.create_account(name, b"a password").unwrap().id;
    (account, store.mailbox(account, "INBOX").unwrap().id)
}

fn deliver(store: &impl Store, mailboxes: &[MailboxId]) -> Result<Vec<Appended>> {
    let mut upload = store.upload()?;
    upload.write(b"Subject: x\r\n\r\nx\r\n")?;
    let target = |mailbox: &MailboxId| Target {
        mailbox: *mailbox,
        flags: Flags::new(),
        internal_date: InternalDate::default(),
    };
    store.append(Delivery { upload, targets: mailboxes.iter().map(target).collect() })
}

#[test]
fn no_account_waits_while_the_changes_of_another_are_recorded() {
    let store = store();
    let ((_, ann), (bob, other)) = (inbox(&*store, "ann"), inbox(&*store, "bob"));
    deliver(&*store, &[ann, other]).unwrap();
    let ((begun, is_begun), (go_on, may_go_on)) = (channel(), channel());
    *store.storage().slow.lock().unwrap() = Some((begun, may_go_on));
    let seen = Flags::system(Flags::SEEN);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| store.store_flags(ann, &UidSet::all(), StoreMode::Add, &seen, None, 10));
        is_begun.recv().unwrap();
        let (done, is_done) = channel();
        let (store, seen) = (&store, &seen);
        scope.spawn(move || {
            // Everything that a session of the other account does, and the login of this one.
            deliver(&**store, &[other]).unwrap();
            store.store_flags(other, &UidSet::all(), StoreMode::Add, seen, None, 10).unwrap();
            store.create_mailbox(bob, "work", None).unwrap();
            store.fetch_page(other, &UidSet::all(), Columns::summary(), 10).unwrap();
            store.delete_mailbox(bob, "work").unwrap();
            assert!(store.verify_password("ann", b"a password").unwrap().is_some());
            store.create_account("eve", b"another").unwrap();
            done.send(()).unwrap();
        });
        let waited = is_done.recv_timeout(Duration::from_secs(10));
        go_on.send(()).unwrap();
        waited.expect("another account waited");
        assert_eq!(slow.join().unwrap().unwrap().changed.len(), 1);
    });
}

#[test]
fn a_message_of_several_accounts_is_kept_until_the_last_one_removes_it() {
    let store = store();
    let ((ann, one), (bob, other)) = (inbox(&*store, "ann"), inbox(&*store, "bob"));
    let content = deliver(&*store, &[one, other, one]).unwrap()[0].content;
    store.expunge(one, &Expunge::Exactly(UidSet::all()), 10).unwrap();
    assert!(store.open_content(content).is_ok());
    // Copied and moved from one account to another.
    let copied = store.copy(other, &UidSet::all(), one, 10).unwrap();
    assert_eq!(copied.pairs.len(), 1);
    assert_eq!(store.move_messages(other, &UidSet::all(), one, 10).unwrap().pairs.len(), 1);
    assert_eq!((store.usage(ann).unwrap().messages, store.usage(bob).unwrap().messages), (2, 0));
    assert!(store.open_content(content).is_ok());
    store.expunge(one, &Expunge::Exactly(UidSet::all()), 10).unwrap();
    assert!(matches!(store.open_content(content), Err(Error::NotFound(_))));
}

#[test]
fn a_delivery_to_several_accounts_fails_for_all_of_them() {
    let store = store();
    let ((_, one), (bob, other)) = (inbox(&*store, "ann"), inbox(&*store, "bob"));
    let gone = store.create_mailbox(bob, "gone", None).unwrap();
    store.delete_mailbox(bob, "gone").unwrap();
    assert!(matches!(deliver(&*store, &[one, gone]), Err(Error::NotFound(_))));
    store.storage().is_full.store(true, Ordering::SeqCst);
    assert!(matches!(deliver(&*store, &[one, other]), Err(Error::Full)));
    store.storage().is_full.store(false, Ordering::SeqCst);
    assert_eq!((store.status(one).unwrap().messages, store.status(other).unwrap().messages), (0, 0));
    assert_eq!(deliver(&*store, &[one, other]).unwrap().len(), 2);
}

#[test]
fn undoing_a_copy_removes_nothing_that_came_after_a_part_that_failed() {
    let store = store();
    let (account, one) = inbox(&*store, "ann");
    let to = store.create_mailbox(account, "copies", None).unwrap();
    for _ in 0..6 {
        deliver(&*store, &[one]).unwrap();
    }
    let first = store.copy_part(one, &UidSet::all(), to, 2, None).unwrap();
    let rest = UidSet::all().starting_at(first.next.unwrap());
    store.storage().is_full.store(true, Ordering::SeqCst);
    assert!(store.copy_part(one, &rest, to, 2, first.unfinished).is_err());
    store.storage().is_full.store(false, Ordering::SeqCst);
    // The message gets a UID that the failed part would have used.
    deliver(&*store, &[to]).unwrap();
    assert_eq!(store.undo_copy(first.unfinished.unwrap()).unwrap(), 2);
    assert_eq!(store.status(to).unwrap().messages, 1);
}

#[test]
fn threads_that_lock_several_accounts_do_not_block_each_other() {
    let store = store();
    let inboxes: Vec<MailboxId> =
        ["ann", "bob", "eve"].into_iter().map(|name| inbox(&*store, name).1).collect();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (store, mut inboxes) = (&store, inboxes.clone());
            inboxes.rotate_left(thread % 3);
            if thread >= 3 {
                inboxes.reverse();
            }
            scope.spawn(move || {
                for _ in 0..50 {
                    deliver(&**store, &inboxes).unwrap();
                    store.copy(inboxes[0], &UidSet::one(1), inboxes[1], 1).unwrap();
                }
            });
        }
    });
    let messages: u32 = inboxes.iter().map(|inbox| store.status(*inbox).unwrap().messages).sum();
    assert_eq!(messages, 6 * 50 * 4);
}
