//! Tests the store through its trait: accounts, mailboxes, messages, changes and imports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "store/reopened.rs"]
mod reopened;
mod support;

use mailstore::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

    fn append(&self, text: &str) -> u32 {
        self.deliver(text.as_bytes(), &[self.inbox], &[])[0].uid
    }

    fn mailbox(&self, name: &str) -> MailboxId {
        self.store.create_mailbox(self.account, name, None).unwrap()
    }

    fn page(&self, mailbox: MailboxId) -> Vec<Message> {
        let columns = Columns::summary().with_envelope().with_structure().with_small_bodies();
        self.store.fetch_page(mailbox, &UidSet::all(), columns, 1_000).unwrap().messages
    }

    fn uids(&self, mailbox: MailboxId) -> Vec<u32> {
        self.store.uid_page(mailbox, 1, u32::MAX, ALL).unwrap().uids
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge) -> Vec<u32> {
        self.store.expunge(mailbox, which, ALL).unwrap().uids
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("messages")).unwrap().count()
    }

    fn names(&self) -> Vec<String> {
        self.store.list(self.account).unwrap().into_iter().map(|mailbox| mailbox.name).collect()
    }
}

#[test]
fn new_account_has_default_mailboxes_and_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let f = fixture();
    assert_eq!(f.names(), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    let list = f.store.list(f.account).unwrap();
    assert_eq!(list[1].special_use, Some(SpecialUse::Drafts));
    assert!(list.iter().all(|mailbox| mailbox.subscribed && !mailbox.no_select && !mailbox.has_children));
    assert!(matches!(f.store.create_account("ANN@example.org", b"x"), Err(Error::Exists(_))));
    let mode =
        |name: &str| std::fs::metadata(f.directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("messages"), 0o700);
    for file in ["mail.db", "mail.db-wal", "mail.db-shm", "lock"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn verifies_passwords_and_never_stores_them() {
    let f = fixture();
    assert_eq!(f.store.verify_password("Ann@example.org", b"right").unwrap(), Some(f.account));
    assert_eq!(
        f.store.verify_password("ann@example.org", b"right").unwrap(),
        Some(f.account),
        "from the cache"
    );
    assert_eq!(f.store.verify_password("ann@example.org", b"wrong").unwrap(), None);
    assert_eq!(f.store.verify_password("unknown", b"right").unwrap(), None);
    f.store.set_password(f.account, b"another").unwrap();
    assert_eq!(
        f.store.verify_password("ann@example.org", b"right").unwrap(),
        None,
        "the new password invalidates the cache"
    );
    assert_eq!(f.store.verify_password("ann@example.org", b"another").unwrap(), Some(f.account));
    assert_eq!(f.store.account("ann@example.org").unwrap().unwrap().id, f.account);
    assert!(matches!(f.store.set_password(AccountId(99), b"x"), Err(Error::NotFound(_))));
    let database = std::fs::read(f.directory.path().join("mail.db-wal")).unwrap();
    assert!(!database.windows(7).any(|w| w == b"another"));
}

#[test]
fn returns_messages_exactly_as_appended() {
    let f = fixture();
    let odd: Vec<u8> = (0..=255).chain([b'\r', b'\n', 0]).collect();
    let large = [b"Subject: large\r\n\r\n".to_vec(), vec![b'x'; 200_000]].concat();
    for text in [&b""[..], &odd, &large] {
        f.deliver(text, &[f.inbox], &["\\Seen", "$Work"]);
    }
    let page = f.page(f.inbox);
    assert_eq!(page.iter().map(|m| m.uid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(page[0].internal_date, InternalDate { seconds: 1_700_000_000, offset_minutes: -90 });
    assert_eq!(page[1].flags.to_string(), "\\Seen $Work");
    assert_eq!((page[0].body.as_deref(), page[1].body.as_deref()), (Some(&b""[..]), Some(odd.as_slice())));
    assert_eq!((page[2].body.as_deref(), page[2].size), (None, large.len() as u64));
    assert_eq!(page[2].envelope.as_ref().unwrap().subject.as_deref(), Some("large"));
    let body = f.store.open_content(page[2].content).unwrap();
    assert_eq!(body.read(0, usize::MAX).unwrap(), large);
    let text = page[2].structure.as_ref().unwrap().body;
    assert_eq!((text.start, text.end), (18, 200_018));
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
        assert_eq!(f.expunge(mailbox, &Expunge::Exactly(UidSet::all())), [1]);
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
fn pages_continue_where_they_ended() {
    let f = fixture();
    for n in 0..25 {
        f.append(&format!("Subject: {n}\r\n\r\n"));
    }
    let (mut set, mut seen): (UidSet, Vec<u32>) = ([2..=11, 20..=u32::MAX].into_iter().collect(), Vec::new());
    loop {
        let page = f.store.fetch_page(f.inbox, &set, Columns::summary(), 4).unwrap();
        assert!(page.messages.len() <= 4);
        seen.extend(page.messages.iter().map(|m| m.uid));
        let Some(next) = page.next else { break };
        set = set.starting_at(next);
    }
    assert_eq!(seen, (2..=11).chain(20..=25).collect::<Vec<_>>());
}

#[test]
fn flag_changes_update_mod_sequences_and_counters() {
    let f = fixture();
    let uids: Vec<u32> = (0..3).map(|_| f.append("x")).collect();
    let before = f.store.status(f.inbox).unwrap();
    assert_eq!((before.messages, before.unseen, before.deleted, before.size, before.recent), (3, 3, 0, 3, 3));
    let seen = Flags::parse(["\\Seen", "later"]).unwrap();
    let stored =
        f.store.store_flags(f.inbox, &UidSet::one(uids[1]), StoreMode::Add, &seen, None, ALL).unwrap();
    assert_eq!(stored.changed.len(), 1);
    assert!(stored.changed[0].modseq > before.highest_modseq);
    assert_eq!(f.store.status(f.inbox).unwrap().unseen, 2);

    let again =
        f.store.store_flags(f.inbox, &UidSet::all(), StoreMode::Add, &seen, Some(before.highest_modseq), ALL);
    let again = again.unwrap();
    assert_eq!((again.changed.len(), again.modified.as_slice()), (2, &[uids[1]][..]));

    let later = Flags::parse(["LATER"]).unwrap();
    f.store.store_flags(f.inbox, &UidSet::all(), StoreMode::Remove, &later, None, ALL).unwrap();
    let deleted = Flags::system(Flags::DELETED);
    f.store.store_flags(f.inbox, &UidSet::one(2), StoreMode::Replace, &deleted, None, ALL).unwrap();
    let same =
        f.store.store_flags(f.inbox, &UidSet::one(2), StoreMode::Replace, &deleted, None, ALL).unwrap();
    assert_eq!((same.changed.len(), same.unchanged.len()), (0, 1));
    let status = f.store.status(f.inbox).unwrap();
    assert_eq!((status.unseen, status.deleted), (1, 1));

    assert!(f.expunge(f.inbox, &Expunge::DeletedAmong(UidSet::one(1))).is_empty());
    assert_eq!(f.expunge(f.inbox, &Expunge::Deleted), [2]);
    let status = f.store.status(f.inbox).unwrap();
    assert_eq!((status.messages, status.unseen, status.deleted, status.size), (2, 0, 0, 2));
    assert_eq!(f.append("y"), 4, "a UID is never used again");
}

#[test]
fn reports_changes_to_another_session() {
    let f = fixture();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let subscription = f.store.subscribe_changes(Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    (0..3).for_each(|_| {
        f.append("x");
    });
    let known = f.store.select(f.inbox, Access::ReadOnly).unwrap().cursor();
    let none = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert!(none.new.is_empty() && none.changed.is_empty() && none.vanished.is_empty());

    let flags = Flags::system(Flags::FLAGGED);
    f.store.store_flags(f.inbox, &UidSet::one(1), StoreMode::Add, &flags, None, ALL).unwrap();
    f.append("new");
    f.append("short-lived");
    f.expunge(f.inbox, &Expunge::Exactly([2, 5].into_iter().collect()));
    let changes = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert_eq!(changes.changed.iter().map(|m| m.uid).collect::<Vec<_>>(), [1]);
    assert_eq!(changes.new, [4]);
    assert_eq!(changes.vanished, [2, 5]);
    assert_eq!((changes.cursor.uid_next, changes.more), (6, false));
    let later = f.store.changes_since(f.inbox, &changes.cursor, ALL).unwrap();
    assert!(later.new.is_empty() && later.changed.is_empty() && later.vanished.is_empty());
    assert_eq!(calls.load(Ordering::SeqCst), 7);
    drop(subscription);
    f.append("unreported");
    assert_eq!(calls.load(Ordering::SeqCst), 7);
}

#[test]
fn recent_messages_are_recent_in_one_session_only() {
    let f = fixture();
    f.deliver(b"a", &[f.inbox], &["\\Seen", "Beta", "alpha"]);
    f.append("b");
    assert_eq!(f.store.select(f.inbox, Access::ReadOnly).unwrap().status.recent, 2);
    let first = f.store.select(f.inbox, Access::ReadWrite).unwrap();
    let page = f.store.uid_page(f.inbox, 1, first.status.uid_next, 10).unwrap();
    assert_eq!((first.first_recent_uid, page.first_unseen, page.uids.as_slice()), (1, Some(2), &[1, 2][..]));
    assert_eq!(first.keywords.names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["Beta", "alpha"]);
    let second = f.store.select(f.inbox, Access::ReadWrite).unwrap();
    assert_eq!((second.first_recent_uid, second.status.recent), (3, 0));
}

#[test]
fn moves_messages_and_copies_within_a_mailbox() {
    let f = fixture();
    (0..3).for_each(|_| {
        f.append("x");
    });
    let archive = f.store.mailbox(f.account, "Archive").unwrap().id;
    let moved = f.store.move_messages(f.inbox, &[1, 3, 77].into_iter().collect(), archive, ALL).unwrap();
    assert_eq!(moved.pairs, [(1, 1), (3, 2)]);
    assert_eq!(f.uids(f.inbox), [2]);
    assert_eq!(f.store.copy(f.inbox, &UidSet::all(), f.inbox, ALL).unwrap().pairs, [(2, 4)]);
    assert_eq!(f.uids(f.inbox), [2, 4]);
    assert!(f.store.copy(f.inbox, &UidSet::one(99), archive, ALL).unwrap().pairs.is_empty());
    assert!(matches!(f.store.copy(f.inbox, &UidSet::all(), MailboxId(99), ALL), Err(Error::NotFound(_))));
}

#[test]
fn large_changes_continue_after_each_slice() {
    let f = fixture();
    let archive = f.mailbox("large");
    (0..7).for_each(|_| {
        f.append("x");
    });
    let known = f.store.select(f.inbox, Access::ReadWrite).unwrap().cursor();
    let flags = Flags::parse(["\\Deleted", "Later"]).unwrap();
    let (mut rest, mut changed) = (UidSet::all(), Vec::new());
    while !rest.is_empty() {
        let stored = f.store.store_flags(f.inbox, &rest, StoreMode::Add, &flags, None, 3).unwrap();
        assert!(stored.changed.iter().all(|message| Some(message.modseq) == stored.modseq));
        changed.extend(stored.changed.iter().map(|message| message.uid));
        rest = stored.next.map(|next| rest.starting_at(next)).unwrap_or_default();
    }
    assert_eq!(changed, (1..=7).collect::<Vec<_>>());

    // Message 1 changes again: it is reported once, with its last flags.
    f.store.store_flags(f.inbox, &UidSet::one(1), StoreMode::Remove, &flags, None, ALL).unwrap();
    let (mut cursor, mut told, mut pages) = (known, Vec::new(), 0);
    loop {
        let changes = f.store.changes_since(f.inbox, &cursor, 2).unwrap();
        told.extend(changes.changed.iter().map(|message| (message.uid, message.flags.to_string())));
        (cursor, pages) = (changes.cursor, pages + 1);
        if !changes.more {
            break;
        }
    }
    assert_eq!((told.len(), pages), (7, 4));
    assert_eq!(told.last(), Some(&(1, String::new())));

    let copied = f.store.copy(f.inbox, &UidSet::all(), archive, 4).unwrap();
    assert_eq!((copied.pairs.len(), copied.next), (4, Some(5)));
    assert_eq!(f.page(archive)[1].flags.to_string(), "\\Deleted Later");
    let gone = f.store.expunge(f.inbox, &Expunge::Deleted, 4).unwrap();
    assert_eq!((gone.uids, gone.next), (vec![2, 3, 4, 5], Some(6)));
    assert_eq!(f.store.changes_since(f.inbox, &cursor, ALL).unwrap().vanished, [2, 3, 4, 5]);
}

#[test]
fn keyword_numbers_only_grow() {
    let f = fixture();
    f.deliver(b"a", &[f.inbox], &["One", "two"]);
    f.deliver(b"b", &[f.inbox], &["TWO", "three"]);
    let page = f.page(f.inbox);
    assert_eq!(page[1].flags.to_string(), "two three", "a mailbox has one spelling of a keyword");
    assert_eq!((page[0].flags.newest_keyword(), page[1].flags.newest_keyword()), (2, 3));
    assert_eq!(f.store.keywords(f.inbox).unwrap().newest, 3);
    let names: Vec<String> = (0..MAILBOX_KEYWORD_LIMIT).map(|n| format!("k{n}")).collect();
    let mut refused = 0;
    for some in names.chunks(100) {
        let flags = Flags::parse(some.iter().map(String::as_str)).unwrap();
        let stored = f.store.store_flags(f.inbox, &UidSet::one(1), StoreMode::Replace, &flags, None, ALL);
        refused += usize::from(matches!(stored, Err(Error::Limit(_))));
    }
    assert_eq!(refused, 1);
    assert_eq!(f.page(f.inbox)[0].flags.keywords().len(), 100);
}

#[test]
fn removes_messages_of_a_deleted_mailbox_in_slices() {
    let f = fixture();
    let work = f.mailbox("Work");
    f.mailbox("Work/2026");
    f.deliver(b"x", &[f.inbox], &[]);
    for _ in 0..3 {
        f.store.copy(f.inbox, &UidSet::all(), f.inbox, ALL).unwrap();
    }
    let copies = WRITE_SLICE / 8 + 1;
    for _ in 0..copies {
        f.store.copy(f.inbox, &UidSet::all(), work, ALL).unwrap();
    }
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(matches!(f.store.select(work, Access::ReadOnly), Err(Error::NotFound(_))));
    assert!(f.store.list(f.account).unwrap().iter().any(|one| one.name == "Work" && one.no_select));
    assert!(!f.names().iter().any(|name| name.contains('\u{1}')));
    assert!(f.store.purge_deleted(f.account).unwrap());
    while f.store.purge_deleted(f.account).unwrap() {}
    f.store.delete_mailbox(f.account, "Work/2026").unwrap();
    f.store.delete_mailbox(f.account, "Work").unwrap();
    f.mailbox("Work");
}

#[test]
fn creates_deletes_and_subscribes_mailboxes_in_a_hierarchy() {
    let f = fixture();
    f.mailbox("Work/2026/Q1/");
    assert!(f.names().contains(&"Work/2026".to_owned()), "missing parents are created");
    assert!(matches!(f.store.create_mailbox(f.account, "Work/2026", None), Err(Error::Exists(_))));
    let work = f.store.mailbox(f.account, "Work").unwrap();
    assert!(work.has_children && !work.subscribed);
    f.deliver(b"x", &[work.id], &[]);
    let validity = f.store.status(work.id).unwrap().uid_validity;

    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(f.store.mailbox(f.account, "Work").unwrap().no_select, "it has children");
    assert!(matches!(f.store.status(work.id), Err(Error::NotFound(_))));
    assert!(matches!(f.store.delete_mailbox(f.account, "Work"), Err(Error::Refused(_))));
    let again = f.mailbox("Work");
    let status = f.store.status(again).unwrap();
    assert!(status.uid_validity > validity && status.messages == 0);

    assert!(matches!(f.store.delete_mailbox(f.account, "InBox"), Err(Error::Refused(_))));
    assert!(matches!(f.store.delete_mailbox(f.account, "none"), Err(Error::NotFound(_))));
    f.store.subscribe(f.account, "Not/There").unwrap();
    f.store.unsubscribe(f.account, "Junk").unwrap();
    let subscriptions: Vec<_> = f.store.subscriptions_page(f.account, "", 100).unwrap();
    let found = |name: &str| subscriptions.iter().find(|subscription| subscription.name == name);
    assert!(found("Not/There").is_some_and(|subscription| subscription.mailbox.is_none()));
    assert!(found("Junk").is_none());
    let sent = found("Sent").unwrap().mailbox.as_ref().unwrap();
    assert_eq!(*sent, f.store.mailbox(f.account, "Sent").unwrap());
    let page: Vec<_> = f.store.subscriptions_page(f.account, "Drafts", 2).unwrap();
    assert_eq!(page, subscriptions[2..4]);
    for (selection, range, expected) in [
        (NameSelection::Subscribed, "Not/".."Not0", true),
        (NameSelection::Subscribed, "Junk".."Junk\0", false),
        (NameSelection::SpecialUse, "Junk".."Junk\0", true),
        (NameSelection::SpecialUse, "Not/".."Not0", false),
        (NameSelection::SubscribedSpecialUse, "Junk".."Sent", false),
        (NameSelection::SubscribedSpecialUse, "Junk".."Sent\0", true),
    ] {
        let found = f.store.has_selected_name(f.account, selection, range.clone()).unwrap();
        assert_eq!(found, expected, "{selection:?} {range:?}");
    }
}

#[test]
fn rename_moves_children_and_empties_inbox() {
    let f = fixture();
    f.mailbox("a/b/c");
    f.mailbox("ab");
    let id = f.store.mailbox(f.account, "a/b/c").unwrap().id;
    f.store.rename_mailbox(f.account, "a", "x/y").unwrap();
    assert_eq!(f.store.mailbox(f.account, "x/y/b/c").unwrap().id, id);
    assert!(f.names().contains(&"ab".into()) && !f.names().iter().any(|name| name.starts_with("a/")));
    assert!(matches!(f.store.rename_mailbox(f.account, "x", "x/z"), Err(Error::Refused(_))));
    assert!(matches!(f.store.rename_mailbox(f.account, "x", "Sent"), Err(Error::Exists(_))));

    f.append("x");
    f.store.rename_mailbox(f.account, "INBOX", "old/mail").unwrap();
    assert_eq!(f.store.status(f.inbox).unwrap().messages, 0);
    let old = f.store.mailbox(f.account, "old/mail").unwrap().id;
    assert_eq!(f.store.status(old).unwrap().messages, 1);
    let validities: std::collections::BTreeSet<u32> = f
        .store
        .list(f.account)
        .unwrap()
        .iter()
        .map(|mailbox| f.store.status(mailbox.id).unwrap().uid_validity)
        .collect();
    assert_eq!(validities.len(), f.names().len(), "no two mailboxes share a UIDVALIDITY");
}

#[test]
fn imports_each_message_once_also_after_a_new_uidvalidity() {
    let f = fixture();
    let remote = f.store.remote_account(f.account, "imaps://ann@other.example").unwrap();
    assert_eq!(f.store.remote_account(f.account, "imaps://ann@other.example").unwrap().id, remote.id);
    let message = |uid, text: &str| RemoteMessage {
        uid,
        upload: f.upload(text.as_bytes()),
        flags: Flags::new(),
        internal_date: InternalDate::default(),
    };
    let mailbox = f.store.remote_mailbox(remote.id, "INBOX", f.inbox, 7).unwrap();
    let first = f.store.record_imports(mailbox.id, vec![message(3, "a"), message(5, "a"), message(9, "b")]);
    assert_eq!(
        first.unwrap(),
        [ImportOutcome::Imported(1), ImportOutcome::Imported(2), ImportOutcome::Imported(3)]
    );
    assert_eq!(f.store.known_uids(mailbox.id).unwrap(), [3, 5, 9].into_iter().collect());
    let again = f.store.record_imports(mailbox.id, vec![message(5, "a"), message(10, "c")]).unwrap();
    assert_eq!(again, [ImportOutcome::Known(2), ImportOutcome::Imported(4)]);
    f.expunge(f.inbox, &Expunge::Exactly(UidSet::one(3)));
    assert_eq!(
        f.store.known_uids(mailbox.id).unwrap().ranges().len(),
        3,
        "messages deleted locally stay known"
    );

    let renewed = f.store.remote_mailbox(remote.id, "INBOX", f.inbox, 8).unwrap();
    assert_eq!((renewed.id, renewed.known), (mailbox.id, 0));
    let batch = vec![message(1, "a"), message(2, "a"), message(3, "a"), message(4, "b")];
    assert_eq!(
        f.store.record_imports(mailbox.id, batch).unwrap(),
        [
            ImportOutcome::Duplicate(1),
            ImportOutcome::Duplicate(2),
            ImportOutcome::Imported(5),
            ImportOutcome::Imported(6)
        ]
    );
    f.store.record_sync(remote.id, 1_700_000_000, "failed", Some("timed out")).unwrap();
    let listed = f.store.remote_accounts(f.account).unwrap();
    assert_eq!(
        (listed[0].last_sync_at, listed[0].error.as_deref()),
        (Some(1_700_000_000), Some("timed out"))
    );
    assert!(matches!(f.store.known_uids(RemoteMailboxId(99)), Err(Error::NotFound(_))));
    let other = f.store.remote_mailbox(remote.id, "INBOX", f.mailbox("other"), 8).unwrap();
    assert_eq!(other.known, 0, "another local mailbox knows no messages");
}

#[test]
fn records_unfetched_messages_by_uidvalidity() {
    let f = fixture();
    let remote = f.store.remote_account(f.account, "imap:a@h").unwrap().id;
    let mailbox = f.store.remote_mailbox(remote, "INBOX", f.inbox, 7).unwrap().id;
    assert!(f.store.unfetched(mailbox).unwrap().is_empty());
    f.store.record_unfetched(mailbox, &[5, 9, 10].into_iter().collect()).unwrap();
    f.store.record_unfetched(mailbox, &[5].into_iter().collect()).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap(), [5, 9, 10].into_iter().collect());
    f.store.forget_unfetched(mailbox, &[9, 10].into_iter().collect()).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap(), [5].into_iter().collect());
    f.store.remote_mailbox(remote, "INBOX", f.inbox, 8).unwrap();
    assert!(f.store.unfetched(mailbox).unwrap().is_empty(), "the UIDVALIDITY changed");
    let most: UidSet = [1..=20_000].into_iter().collect();
    f.store.record_unfetched(mailbox, &most).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap().ranges(), [1..=10_000]);
    assert_eq!(f.store.remote_mailboxes(remote).unwrap(), [("INBOX".to_owned(), f.inbox)]);
}

#[test]
fn threads_append_and_read_at_the_same_time() {
    let f = fixture();
    let (threads, each) = (8, 40);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let f = &f;
            scope.spawn(move || {
                for n in 0..each {
                    let text = format!("Subject: {thread}-{n}\r\n\r\n");
                    let uid = f.append(&text);
                    let columns = Columns::summary().with_small_bodies();
                    let page = f.store.fetch_page(f.inbox, &UidSet::one(uid), columns, 1).unwrap();
                    assert_eq!(page.messages[0].body.as_deref(), Some(text.as_bytes()));
                }
            });
        }
    });
    assert_eq!(f.uids(f.inbox), (1..=threads * each).collect::<Vec<_>>());
    let status = f.store.status(f.inbox).unwrap();
    assert_eq!((status.messages, status.unseen), (threads * each, threads * each));
}

#[test]
fn error_texts_contain_no_names() {
    let f = fixture();
    let error = f.store.mailbox(f.account, "Affair with Bob").unwrap_err();
    assert_eq!(error.to_string(), "there is no such mailbox");
    assert!(!format!("{error:?}{:?}", f.store).contains("Bob"));
}
