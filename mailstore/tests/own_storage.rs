//! Tests stores over a storage of one's own: the example, one that keeps everything, and one that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../examples/own_storage.rs"]
mod example;
#[path = "own_storage/journal.rs"]
mod journal;

use example::Messages;
use journal::Journal;
use mailstore::*;
use std::sync::Arc;

fn over<S: Storage>(storage: S) -> IndexedStore<S> {
    IndexedStore::open(storage).unwrap().with_password_cost(PasswordCost::Minimal).unwrap()
}

fn deliver(store: &dyn Store, mailbox: MailboxId, text: &[u8], flags: &[&str]) -> Result<Vec<Appended>> {
    let mut upload = store.upload()?;
    upload.write(text)?;
    let flags = Flags::parse(flags.iter().copied())?;
    let target = Target { mailbox, flags, internal_date: InternalDate { seconds: 7, offset_minutes: 60 } };
    store.append(Delivery { upload, targets: vec![target] })
}

/// Sets one entry of metadata.
fn annotate(store: &dyn Store, account: AccountId, of: Annotated, name: &str, value: &[u8]) -> Result<()> {
    let change = MetadataChange { name: name.to_owned(), value: Some(value.to_vec()) };
    store.set_metadata(account, of, &[change])
}

/// Everything that clients see of an account, except mod-sequences and `\Recent`.
fn visible(store: &dyn Store, account: AccountId) -> Vec<String> {
    let mut lines = Vec::new();
    for subscription in store.subscriptions_page(account, "", 100).unwrap() {
        lines.push(format!("subscribed {}", subscription.name));
    }
    for mailbox in store.list(account).unwrap() {
        lines.push(format!("{mailbox:?}"));
        let of = Annotated::Mailbox(mailbox.id);
        let metadata = store.metadata_page(account, of, "/".."0", u64::MAX).unwrap();
        lines.push(format!("{:?}", metadata.entries));
        if mailbox.no_select {
            continue;
        }
        let Status { recent: _, highest_modseq: _, messages, uid_next, uid_validity, .. } =
            store.status(mailbox.id).unwrap();
        lines.push(format!("{messages} {uid_next} {uid_validity}"));
        let columns = Columns::summary().with_envelope().with_structure().with_small_bodies();
        for mut message in store.fetch_page(mailbox.id, &UidSet::all(), columns, 1_000).unwrap().messages {
            message.modseq = 0;
            let size = store.open_content(message.content).unwrap().size();
            lines.push(format!("{} {message:?} {size}", message.flags));
        }
    }
    let server = store.metadata_page(account, Annotated::Server, "/".."0", u64::MAX).unwrap();
    lines.push(format!("{:?}", server.entries));
    let usage = store.usage(account).unwrap();
    lines.push(format!("{usage:?}"));
    lines
}

#[test]
fn example_has_its_messages_and_all_that_a_store_has() {
    let list = vec![b"Subject: one\r\n\r\n1".to_vec(), b"Subject: two\r\n\r\n22".to_vec()];
    let store = over(Messages::new("ann", list));
    let account = store.create_account("ann", b"secret").unwrap().id;
    assert_eq!(store.list(account).unwrap().len(), 1);
    let inbox = store.mailbox(account, "INBOX").unwrap().id;
    let page = store.fetch_page(inbox, &UidSet::all(), Columns::summary().with_envelope(), 10).unwrap();
    let subjects: Vec<_> =
        page.messages.iter().map(|message| message.envelope.as_ref()?.subject.clone()).collect();
    assert_eq!(subjects, [Some("one".to_owned()), Some("two".to_owned())]);
    store.expunge(inbox, &Expunge::Exactly(UidSet::one(1)), 10).unwrap();
    assert_eq!(deliver(&store, inbox, b"three", &[]).unwrap()[0].uid, 3);
    assert!(matches!(store.storage().open(ContentId(0)), Err(Error::NotFound(_))));
    assert_eq!(store.storage().open(ContentId(2)).unwrap().read(0, 9).unwrap(), b"three");

    conformance::run_all(|| Arc::new(over(Messages::default()))).assert_passed();
}

#[test]
fn storage_that_keeps_everything_has_it_at_the_next_start() {
    conformance::run_all(|| Arc::new(over(Journal::default()))).assert_passed();

    let journal = Journal::default();
    let store = over(journal.clone());
    let account = store.create_account("ann", b"secret").unwrap().id;
    let inbox = store.mailbox(account, "INBOX").unwrap().id;
    store.create_mailbox(account, "work", None).unwrap();
    let work = store.create_mailbox(account, "work/2026", None).unwrap();
    for n in 0..10 {
        deliver(&store, inbox, format!("Subject: {n}\r\n\r\n{n}").as_bytes(), &["\\Seen", "Later"]).unwrap();
    }
    deliver(&store, work, &vec![b'x'; 100_000], &[]).unwrap();
    store.copy(inbox, &UidSet::one(2), work, 10).unwrap();
    store.move_messages(inbox, &UidSet::one(3), work, 10).unwrap();
    store.expunge(inbox, &Expunge::Exactly([1, 10].into_iter().collect()), 10).unwrap();
    let flags = Flags::parse(["\\Flagged", "$Work"]).unwrap();
    store.store_flags(inbox, &UidSet::one(4), StoreMode::Replace, &flags, None, 10).unwrap();
    for of in [Annotated::Server, Annotated::Mailbox(inbox), Annotated::Mailbox(work)] {
        annotate(&store, account, of, "/private/comment", b"text").unwrap();
    }
    store.rename_mailbox(account, "work", "play").unwrap();
    store.delete_mailbox(account, "Junk").unwrap();
    store.subscribe(account, "not/there").unwrap();
    store.unsubscribe(account, "Sent").unwrap();
    store.delete_mailbox(account, "play").unwrap();
    let before = visible(&store, account);
    let cached = store.status(inbox).unwrap().highest_modseq;
    drop(store);

    let store = over(journal);
    assert_eq!(store.create_account("ann", b"secret").unwrap().id, account);
    assert_eq!(visible(&store, account), before);
    assert_eq!(deliver(&store, inbox, b"new", &[]).unwrap()[0].uid, 11, "the UID 10 is not used again");
    assert!(store.status(inbox).unwrap().highest_modseq > cached);
    let other = store.create_mailbox(account, "other", None).unwrap();
    assert!(other != work && store.status(other).unwrap().uid_validity > 0);
}

#[test]
fn nothing_changes_when_the_storage_cant_record() {
    let journal = Journal::default();
    let store = over(journal.clone());
    let account = store.create_account("ann", b"secret").unwrap().id;
    let inbox = store.mailbox(account, "INBOX").unwrap().id;
    store.create_mailbox(account, "work", None).unwrap();
    let work = store.create_mailbox(account, "work/2026", None).unwrap();
    store.create_mailbox(account, "gone", None).unwrap();
    store.create_mailbox(account, "gone/child", None).unwrap();
    store.delete_mailbox(account, "gone").unwrap();
    annotate(&store, account, Annotated::Mailbox(work), "/private/comment", b"text").unwrap();
    for n in 0..5 {
        deliver(&store, inbox, format!("Subject: {n}\r\n\r\n{n}").as_bytes(), &["\\Seen"]).unwrap();
    }
    let (before, contents) = (visible(&store, account), journal.contents());
    let cursor = store.select(inbox, Access::ReadOnly).unwrap().cursor();
    let (told, calls) = (journal.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let counter = Arc::clone(&calls);
    let _subscription = store.subscribe_changes(Arc::new(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }));

    told.fail(true);
    let (all, flags) = (UidSet::all(), Flags::parse(["\\Deleted", "new"]).unwrap());
    let mut failed = 0;
    let mut fails = |outcome: Result<()>| {
        assert!(matches!(outcome, Err(Error::Full)));
        failed += 1;
        assert_eq!(visible(&store, account), before);
        assert_eq!(journal.contents(), contents);
    };
    fails(deliver(&store, inbox, b"x", &["new"]).map(drop));
    fails(annotate(&store, account, Annotated::Mailbox(work), "/private/comment", b"other"));
    fails(annotate(&store, account, Annotated::Server, "/private/comment", b"new"));
    fails(store.copy(inbox, &all, work, 10).map(drop));
    fails(store.move_messages(inbox, &all, work, 10).map(drop));
    fails(store.expunge(inbox, &Expunge::Exactly(all.clone()), 10).map(drop));
    fails(store.store_flags(inbox, &all, StoreMode::Replace, &flags, None, 10).map(drop));
    fails(store.create_mailbox(account, "a/b", None).map(drop));
    fails(store.create_mailbox(account, "gone", None).map(drop));
    fails(store.rename_mailbox(account, "work", "x/y"));
    fails(store.rename_mailbox(account, "INBOX", "old"));
    fails(store.delete_mailbox(account, "work"));
    fails(store.delete_mailbox(account, "work/2026"));
    fails(store.subscribe(account, "more"));
    fails(store.unsubscribe(account, "Sent"));
    fails(store.create_account("bob", b"secret").map(drop));
    assert_eq!((failed, store.account("bob").unwrap()), (16, None));
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 0);

    told.fail(false);
    let changes = store.changes_since(inbox, &cursor, 100).unwrap();
    assert!(changes.new.is_empty() && changes.changed.is_empty() && changes.vanished.is_empty());
    assert_eq!(deliver(&store, inbox, b"x", &["new"]).unwrap()[0].uid, 6);
    store.create_account("bob", b"secret").unwrap();
}

#[test]
fn rejects_a_storage_with_impossible_mailboxes() {
    let with = |mailboxes: &[StoredMailbox], messages: &[StoredMessage]| {
        let store = over(Journal::of(mailboxes, messages));
        let outcome = store.create_account("ann", b"secret");
        (outcome, store.accounts().unwrap().len())
    };
    let inbox = StoredMailbox::new(MailboxId(1), "inbox");
    let message = |uid| StoredMessage::new(uid, ContentId(1), 1, InternalDate::default());
    let other = |id, name: &str| StoredMailbox::new(MailboxId(id), name);
    assert!(matches!(with(&[inbox.clone(), other(1, "b")], &[]), (Err(Error::Exists(_)), 0)));
    assert!(matches!(with(&[inbox.clone(), other(2, "INBOX")], &[]), (Err(Error::Exists(_)), 0)));
    assert!(matches!(with(&[other(2, "a//b")], &[]), (Err(Error::InvalidName(_)), 0)));
    for uids in [&[0][..], &[3, 3]] {
        let messages: Vec<_> = uids.iter().map(|uid| message(*uid)).collect();
        assert!(matches!(with(std::slice::from_ref(&inbox), &messages), (Err(Error::Corrupt(_)), 0)));
    }
    let messages = [message(u32::MAX)];
    assert!(matches!(with(std::slice::from_ref(&inbox), &messages), (Err(Error::Limit(_)), 0)));
    assert!(matches!(with(&[inbox], &[message(5)]), (Ok(_), 1)));
}

#[test]
fn accounts_can_have_verifiers_of_an_earlier_start() {
    let store = over(Messages::default());
    let verifier = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$";
    assert!(store.add_account("ann", verifier).is_ok());
    assert!(matches!(store.verify_password("ann", b"x"), Err(Error::Corrupt(_))), "it is incomplete");
    assert!(matches!(store.add_account("ANN", verifier), Err(Error::Exists(_))));
    let secret = [7; 32];
    let (one, two) =
        (over(Messages::default()).with_secret(secret), over(Messages::default()).with_secret(secret));
    assert_eq!(one.store_secret().unwrap(), secret);
    assert_eq!(one.email_id(AccountId(1), ContentId(1)), two.email_id(AccountId(1), ContentId(1)));
}

#[test]
fn a_storage_can_keep_accounts_passwords_and_recent_messages() {
    let journal = Journal::with_accounts();
    let maker = |password: &[u8]| vec![LoginKeys { kind: "LENGTH".into(), text: password.len().to_string() }];
    let reopen = || over(journal.clone()).with_key_maker(Arc::new(maker));
    let store = reopen();
    let ann = store.create_account("ann", b"secret").unwrap();
    let inbox = store.mailbox(ann.id, "INBOX").unwrap().id;
    deliver(&store, inbox, b"one", &[]).unwrap();
    store.select(inbox, Access::ReadWrite).unwrap();
    deliver(&store, inbox, b"two", &[]).unwrap();
    deliver(&store, inbox, b"three", &[]).unwrap();
    let bob = store.create_account("bob", b"secret").unwrap();
    store.set_password(bob.id, b"another").unwrap();
    let seen = visible(&store, ann.id);
    drop(store);

    let store = reopen();
    assert_eq!(store.accounts().unwrap(), [ann.clone(), bob.clone()]);
    assert_eq!(visible(&store, ann.id), seen);
    assert_eq!(store.status(inbox).unwrap().recent, 2);
    let selection = store.select(inbox, Access::ReadWrite).unwrap();
    assert_eq!((selection.first_recent_uid, store.status(inbox).unwrap().recent), (2, 0));
    assert_eq!(store.verify_password("Bob", b"another").unwrap(), Some(bob.id));
    assert_eq!(store.verify_password("bob", b"secret").unwrap(), None);
    assert_eq!(store.login_keys("bob", "LENGTH").unwrap().as_deref(), Some("7"));
    assert_eq!(store.create_account("eve", b"x").unwrap().id, AccountId(3));
    assert!(matches!(store.create_account("ANN", b"x"), Err(Error::Exists(_))));

    // A password that can't be recorded is not changed; one without keys gets them at its next login.
    journal.fail(true);
    assert!(store.set_password(ann.id, b"lost").is_err());
    assert!(store.verify_password("ann", b"secret").unwrap().is_some());
    journal.fail(false);
    drop(store);
    let store = reopen();
    assert_eq!((store.status(inbox).unwrap().recent, store.accounts().unwrap().len()), (0, 3));
    let shown = format!("{:?}", journal.accounts().unwrap());
    assert!(shown.contains("ann") && !shown.contains("argon2") && !shown.contains("LENGTH"), "{shown}");
}
