//! Tests the quotas of an account, their counters, and the migration that adds the counters.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use mailstore::*;
use support::downgrade;

struct Fixture {
    directory: tempfile::TempDir,
    store: SqliteStore,
    account: AccountId,
    inbox: MailboxId,
    trash: MailboxId,
}

fn fixture(change: impl FnOnce(&mut Quota)) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let mut quota = Quota::default();
    change(&mut quota);
    let store = SqliteStore::open(directory.path()).unwrap().with_quota(quota);
    let account = store.create_account("ann", b"password").unwrap().id;
    let (inbox, trash) =
        (store.mailbox(account, "INBOX").unwrap().id, store.mailbox(account, "Trash").unwrap().id);
    Fixture { directory, store, account, inbox, trash }
}

impl Fixture {
    fn append(&self, mailboxes: &[MailboxId], size: usize, flags: &[&str]) -> Result<Vec<Appended>> {
        let mut upload = self.store.upload()?;
        upload.write(&vec![b'x'; size])?;
        let flags = Flags::parse(flags.iter().copied())?;
        let target =
            |&mailbox| Target { mailbox, flags: flags.clone(), internal_date: InternalDate::default() };
        self.store.append(Delivery { upload, targets: mailboxes.iter().map(target).collect() })
    }
}

fn over<T: std::fmt::Debug>(result: Result<T>) -> bool {
    matches!(result, Err(Error::OverQuota { permanent: false, .. }))
}

#[test]
fn rejects_messages_over_quota_but_allows_moves_and_deletes() {
    let f = fixture(|quota| quota.messages = 3);
    f.append(&[f.inbox, f.trash], 10, &[]).unwrap();
    assert!(over(f.append(&[f.inbox, f.trash], 10, &[])), "appends to all targets or none");
    f.append(&[f.inbox], 10, &[]).unwrap();
    assert!(over(f.append(&[f.inbox], 10, &[])));
    assert!(over(f.store.copy(f.inbox, &UidSet::one(1), f.trash, 100)));
    assert_eq!(f.store.usage(f.account).unwrap().messages, 3);
    // At the limit, messages can be moved, changed and deleted.
    f.store.move_messages(f.inbox, &UidSet::one(1), f.trash, 100).unwrap();
    f.store
        .store_flags(f.trash, &UidSet::all(), StoreMode::Add, &Flags::system(Flags::SEEN), None, 100)
        .unwrap();
    f.store.expunge(f.trash, &Expunge::Exactly(UidSet::one(1)), 100).unwrap();
    f.store.copy(f.inbox, &UidSet::one(2), f.trash, 100).unwrap();
    assert!(over(f.append(&[f.inbox], 10, &[])));
    let other = f.store.create_account("bob", b"password").unwrap().id;
    f.append(&[f.store.mailbox(other, "INBOX").unwrap().id], 10, &[]).unwrap();
}

#[test]
fn counts_bytes_of_every_copy_and_marks_permanent_errors() {
    let f = fixture(|quota| quota.bytes = 1_000);
    f.append(&[f.inbox], 400, &[]).unwrap();
    assert!(f.store.check_quota(f.inbox, 600).is_ok() && over(f.store.check_quota(f.inbox, 601)));
    assert!(matches!(f.store.check_quota(f.inbox, 1_001), Err(Error::OverQuota { permanent: true, .. })));
    assert!(matches!(f.append(&[f.inbox], 1_001, &[]), Err(Error::OverQuota { permanent: true, .. })));
    assert!(over(f.append(&[f.inbox, f.trash], 400, &[])));
    f.store.copy(f.inbox, &UidSet::one(1), f.trash, 100).unwrap();
    assert!(over(f.store.copy(f.inbox, &UidSet::one(1), f.trash, 100)));
    assert_eq!(f.store.usage(f.account).unwrap().bytes, 800);
    f.store.expunge(f.trash, &Expunge::Exactly(UidSet::all()), 100).unwrap();
    f.append(&[f.inbox], 600, &[]).unwrap();
    assert_eq!(f.store.usage(f.account).unwrap().bytes, 1_000);
}

#[test]
fn account_over_quota_does_not_fail_other_deliveries_of_the_batch() {
    let f = fixture(|quota| quota.messages = 1);
    let other = f.store.create_account("bob", b"password").unwrap().id;
    let theirs = f.store.mailbox(other, "INBOX").unwrap().id;
    f.append(&[f.inbox], 10, &[]).unwrap();
    let delivery = |mailbox| {
        let mut upload = f.store.upload().unwrap();
        upload.write(b"x").unwrap();
        let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
        Delivery { upload, targets: vec![target] }
    };
    let outcomes = f.store.append_batch(vec![delivery(f.inbox), delivery(theirs), delivery(theirs)]).unwrap();
    let refused: Vec<bool> = outcomes.into_iter().map(over).collect();
    assert_eq!(refused, [true, false, true], "messages of the same batch count too");
}

#[test]
fn limits_mailboxes_subscriptions_and_remote_accounts() {
    let f = fixture(|quota| (quota.mailboxes, quota.subscriptions, quota.remote_accounts) = (8, 7, 2));
    assert_eq!(f.store.usage(f.account).unwrap().mailboxes, 6);
    assert!(over(f.store.create_mailbox(f.account, "a/b/c", None)), "parents count");
    assert_eq!(f.store.list(f.account).unwrap().len(), 6, "none of them was created");
    f.store.create_mailbox(f.account, "a/b", None).unwrap();
    assert!(over(f.store.rename_mailbox(f.account, "Sent", "x/Sent")));
    f.store.rename_mailbox(f.account, "Sent", "a/Sent").unwrap();
    f.store.delete_mailbox(f.account, "a/b").unwrap();
    f.store.create_mailbox(f.account, "c", None).unwrap();
    assert!(over(f.store.create_mailbox(f.account, "d", None)));

    f.store.subscribe(f.account, "elsewhere").unwrap();
    f.store.subscribe(f.account, "elsewhere").unwrap();
    assert!(over(f.store.subscribe(f.account, "more")));
    f.store.unsubscribe(f.account, "INBOX").unwrap();
    f.store.subscribe(f.account, "more").unwrap();

    let first = f.store.remote_account(f.account, "imap:one").unwrap();
    f.store.remote_account(f.account, "imap:two").unwrap();
    assert!(over(f.store.remote_account(f.account, "imap:three")));
    assert_eq!(f.store.remote_account(f.account, "imap:one").unwrap().id, first.id);
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.subscriptions, usage.remote_accounts), (8, 7, 2));
}

#[test]
fn limits_keywords_of_a_mailbox() {
    let f = fixture(|quota| quota.keywords = 3);
    f.append(&[f.inbox], 1, &["one", "Two"]).unwrap();
    assert!(!f.store.keywords(f.inbox).unwrap().is_full());
    f.append(&[f.inbox], 1, &["ONE", "three"]).unwrap();
    let known = f.store.keywords(f.inbox).unwrap();
    assert_eq!(known.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["one", "Two", "three"]);
    assert!(known.is_full() && f.store.select(f.inbox, Access::ReadOnly).unwrap().keywords.is_full());
    let add = |keyword: &str| {
        let flags = Flags::parse([keyword]).unwrap();
        f.store.store_flags(f.inbox, &UidSet::one(1), StoreMode::Add, &flags, None, 100)
    };
    assert!(over(add("four")) && over(f.append(&[f.inbox], 1, &["four"])));
    add("THREE").unwrap();
    add("\\Flagged").unwrap();
    f.append(&[f.trash], 1, &["other"]).unwrap();
    assert!(over(f.store.copy(f.trash, &UidSet::one(1), f.inbox, 100)));
    assert!(over(f.store.move_messages(f.trash, &UidSet::one(1), f.inbox, 100)));
    f.append(&[f.trash], 1, &["other", "TWO"]).unwrap();
}

#[test]
fn keyword_limit_does_not_fail_other_deliveries_of_the_batch() {
    let f = fixture(|_| ());
    for chunk in (0..MAILBOX_KEYWORD_LIMIT).collect::<Vec<_>>().chunks(100) {
        let names: Vec<String> = chunk.iter().map(|n| format!("k{n}")).collect();
        f.append(&[f.inbox], 1, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    let delivery = |mailbox, keyword| {
        let mut upload = f.store.upload().unwrap();
        upload.write(b"x").unwrap();
        let flags = Flags::parse([keyword]).unwrap();
        let target = Target { mailbox, flags, internal_date: InternalDate::default() };
        Delivery { upload, targets: vec![target] }
    };
    let batch = vec![delivery(f.inbox, "new"), delivery(f.inbox, "k1"), delivery(f.trash, "new")];
    let outcomes = f.store.append_batch(batch).unwrap();
    let refused: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, Err(Error::Limit(_)))).collect();
    assert_eq!(refused, [true, false, false]);
}

#[test]
fn counts_messages_of_a_deleted_mailbox_until_they_are_removed() {
    let f = fixture(|_| ());
    let large = f.store.create_mailbox(f.account, "large", None).unwrap();
    (0..WRITE_SLICE + 10).for_each(|_| drop(f.append(&[large], 2, &[]).unwrap()));
    f.store.delete_mailbox(f.account, "large").unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.messages, usage.bytes), (6, 10, 20));
    while f.store.purge_deleted(f.account).unwrap() {}
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.messages, usage.bytes), (6, 0, 0));
}

#[test]
fn recent_counts_only_messages_no_session_has_seen() {
    let f = fixture(|_| ());
    (0..4).for_each(|_| drop(f.append(&[f.inbox], 1, &[]).unwrap()));
    let recent = || f.store.status(f.inbox).unwrap().recent;
    f.store.select(f.inbox, Access::ReadOnly).unwrap();
    assert_eq!(recent(), 4);
    f.store.expunge(f.inbox, &Expunge::Exactly(UidSet::one(2)), 100).unwrap();
    assert_eq!(recent(), 3);
    assert_eq!(f.store.select(f.inbox, Access::ReadWrite).unwrap().first_recent_uid, 1);
    assert_eq!(recent(), 0);
    f.append(&[f.inbox], 1, &[]).unwrap();
    f.store.expunge(f.inbox, &Expunge::Exactly(UidSet::one(1)), 100).unwrap();
    assert_eq!(recent(), 1);
    f.store.copy(f.inbox, &UidSet::one(3), f.inbox, 100).unwrap();
    assert_eq!(recent(), 2);
}

#[test]
fn adds_counters_when_upgrading_from_version_3() {
    let f = fixture(|_| ());
    f.append(&[f.inbox, f.trash], 30, &["One"]).unwrap();
    f.store.select(f.trash, Access::ReadWrite).unwrap();
    f.append(&[f.inbox], 12, &["one", "Two"]).unwrap();
    f.store.remote_account(f.account, "imap:one").unwrap();
    let before = f.store.usage(f.account).unwrap();
    assert_eq!((before.messages, before.bytes, before.remote_accounts), (3, 72, 1));
    let Fixture { directory, store, account, inbox, trash } = f;
    drop(store);
    for _ in 0..2 {
        downgrade(directory.path());
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.usage(account).unwrap(), before);
        assert_eq!((store.status(inbox).unwrap().recent, store.status(trash).unwrap().recent), (2, 0));
        assert_eq!(store.keywords(inbox).unwrap().names.len(), 2);
        store.copy(trash, &UidSet::all(), inbox, 100).unwrap();
        store
            .expunge(inbox, &Expunge::Exactly(UidSet::one(store.status(inbox).unwrap().uid_next - 1)), 100)
            .unwrap();
        assert_eq!(store.usage(account).unwrap(), before);
        assert_eq!(store.status(inbox).unwrap().messages, 2);
    }
}

#[test]
fn lists_mailboxes_in_pages() {
    let f = fixture(|_| ());
    for n in 0..25 {
        f.store.create_mailbox(f.account, &format!("box {n:02}"), None).unwrap();
    }
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let page = f.store.list_page(f.account, &after, 10).unwrap();
        names.extend(page.iter().map(|mailbox| mailbox.name.clone()));
        match page.last() {
            Some(last) if page.len() == 10 => after.clone_from(&last.name),
            _ => break,
        }
    }
    let all: Vec<_> = f.store.list(f.account).unwrap().into_iter().map(|mailbox| mailbox.name).collect();
    assert_eq!((names.len(), &names), (31, &all));
}

#[test]
fn copies_share_an_email_id_that_finds_them() {
    let f = fixture(|_| ());
    let other = f.store.create_account("bob", b"password").unwrap().id;
    let theirs = f.store.mailbox(other, "INBOX").unwrap().id;
    let appended = f.append(&[f.inbox, f.trash, theirs], 5, &[]).unwrap();
    f.store.copy(f.inbox, &UidSet::one(1), f.inbox, 100).unwrap();
    f.append(&[f.inbox], 5, &[]).unwrap();
    let content = appended[0].content;
    let id = f.store.email_id(f.account, content);
    assert_eq!(f.store.find_email_id(f.account, &id), Some(content));
    let page = f.store.fetch_page(f.inbox, &UidSet::one(2), Columns::summary().with_email_id(), 1).unwrap();
    assert_eq!(page.messages[0].email_id.as_ref(), Some(&id));
    assert_eq!(f.store.find_email_id(other, &id), None);
    assert_ne!(f.store.email_id(other, content), id);
    assert_eq!(f.store.uids_of_content(f.inbox, content).unwrap().ranges(), [1..=2]);
    assert!(f.store.uids_of_content(f.inbox, ContentId(99)).unwrap().is_empty());
    let Fixture { directory, store, account, .. } = f;
    drop(store);
    assert_eq!(
        SqliteStore::open(directory.path()).unwrap().email_id(account, content),
        id,
        "the same after reopening"
    );
}

#[test]
fn distinguishes_unreadable_files_from_expunged_messages() {
    let f = fixture(|_| ());
    let content = f.append(&[f.inbox], 200_000, &[]).unwrap()[0].content;
    let messages = f.directory.path().join("messages");
    let file = std::fs::read_dir(&messages).unwrap().next().unwrap().unwrap().path();
    let hidden = f.directory.path().join("hidden");
    std::fs::rename(&file, &hidden).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::Corrupt(_))), "the row is there");
    std::os::unix::fs::symlink(&file, &file).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::Io(_))), "a loop of links");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&hidden, &file).unwrap();
    assert_eq!(f.store.open_content(content).unwrap().size(), 200_000);
    f.store.expunge(f.inbox, &Expunge::Exactly(UidSet::all()), 100).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::NotFound(_))));
}

#[test]
fn imports_equal_messages_in_linear_time() {
    let f = fixture(|_| ());
    let remote = f.store.remote_account(f.account, "imap:one").unwrap().id;
    let import = |validity: u32, from: u32, count: u32| {
        let mailbox = f.store.remote_mailbox(remote, "INBOX", f.inbox, validity).unwrap();
        let clock = std::time::Instant::now();
        for start in (from..from + count).step_by(100) {
            let message = |uid| {
                let mut upload = f.store.upload().unwrap();
                upload.write(b"Subject: the same\r\n\r\n").unwrap();
                let (flags, internal_date) = (Flags::new(), InternalDate::default());
                RemoteMessage { uid, upload, flags, internal_date }
            };
            f.store.record_imports(mailbox.id, (start..start + 100).map(message).collect()).unwrap();
        }
        clock.elapsed()
    };
    let first = import(7, 1, 500);
    import(7, 501, 3_500);
    let last = import(7, 4_001, 500);
    assert!(last < first * 6, "{first:?} for the first 500, {last:?} for those after 4,000 equal ones");
    // Under another UIDVALIDITY each message is assigned once.
    import(8, 1, 4_500);
    assert_eq!(f.store.status(f.inbox).unwrap().messages, 4_500);
}
