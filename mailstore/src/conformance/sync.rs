//! Messages that were fetched from other servers.

use super::case::Case;
use super::fixture::{Fixture, over};
use crate::error::Error;
use crate::flags::Flags;
use crate::sync_store::SyncStore;
use crate::types::*;

pub(super) const CASES: &[Case<dyn SyncStore>] = &[
    Case { name: "imports_each_message_once", needs: &[], run: imports_each_message_once },
    Case { name: "recognizes_messages_after_a_new_uidvalidity", needs: &[], run: recognizes_messages },
    Case { name: "failed_import_records_nothing", needs: &[], run: failed_import_records_nothing },
    Case { name: "remembers_how_a_sync_ended", needs: &[], run: remembers_how_a_sync_ended },
    Case { name: "records_unfetched_messages_by_uidvalidity", needs: &[], run: records_unfetched_messages },
    Case { name: "limits_remote_accounts", needs: &[], run: limits_remote_accounts },
];

type SyncFixture = Fixture<dyn SyncStore>;

fn message(f: &SyncFixture, uid: u32, text: &str) -> RemoteMessage {
    RemoteMessage {
        uid,
        upload: f.upload(text.as_bytes()),
        flags: Flags::new(),
        internal_date: InternalDate::default(),
    }
}

fn remote(f: &SyncFixture, uid_validity: u32) -> RemoteMailboxId {
    let account = f.store.remote_account(f.account, "imaps://ann@other.example").unwrap();
    f.store.remote_mailbox(account.id, "INBOX", f.inbox, uid_validity).unwrap().id
}

fn imports_each_message_once(f: &SyncFixture) {
    let mailbox = remote(f, 7);
    let batch = vec![message(f, 3, "a"), message(f, 5, "a"), message(f, 9, "b")];
    let first = f.store.record_imports(mailbox, batch).unwrap();
    assert_eq!(first, [1, 2, 3].map(ImportOutcome::Imported));
    assert_eq!(f.store.known_uids(mailbox).unwrap(), [3, 5, 9].into_iter().collect());
    let again = f.store.record_imports(mailbox, vec![message(f, 5, "a"), message(f, 10, "c")]).unwrap();
    assert_eq!(again, [ImportOutcome::Known(2), ImportOutcome::Imported(4)]);
    f.remove(f.inbox, [3]);
    let known = f.store.known_uids(mailbox).unwrap();
    assert_eq!(known, [3, 5, 9, 10].into_iter().collect(), "messages deleted locally stay known");
    assert_eq!(f.store.record_imports(mailbox, vec![message(f, 9, "b")]).unwrap(), [ImportOutcome::Known(3)]);
    assert_eq!(f.page(f.inbox)[2].body.as_deref(), Some(&b"c"[..]));
    assert!(matches!(f.store.known_uids(RemoteMailboxId(99)), Err(Error::NotFound(_))));
    let account = f.store.remote_account(f.account, "imaps://ann@other.example").unwrap();
    let other = f.store.remote_mailbox(account.id, "INBOX", f.create("other"), 7).unwrap();
    assert_eq!((other.id, other.known), (mailbox, 0), "another local mailbox knows no messages");
    let moved = f.store.record_imports(mailbox, vec![message(f, 3, "a")]).unwrap();
    assert_eq!(moved, [ImportOutcome::Imported(1)]);
}

fn recognizes_messages(f: &SyncFixture) {
    let batch = |texts: &[&str]| (1..).zip(texts).map(|(uid, text)| message(f, uid, text)).collect();
    let mailbox = remote(f, 7);
    f.store.record_imports(mailbox, batch(&["a", "a", "b"])).unwrap();
    f.remove(f.inbox, [3]);
    assert_eq!(remote(f, 8), mailbox);
    assert!(f.store.known_uids(mailbox).unwrap().is_empty());
    let outcomes = f.store.record_imports(mailbox, batch(&["a", "a", "a", "b"])).unwrap();
    // Two equal messages stay two, and one that was deleted here comes again.
    let expected = [
        ImportOutcome::Duplicate(1),
        ImportOutcome::Duplicate(2),
        ImportOutcome::Imported(4),
        ImportOutcome::Imported(5),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(f.status(f.inbox).messages, 4);
    remote(f, 6);
    let outcomes = f.store.record_imports(mailbox, batch(&["b"])).unwrap();
    assert_eq!(outcomes, [ImportOutcome::Duplicate(5)], "a lower UIDVALIDITY is a new one too");
}

fn failed_import_records_nothing(f: &SyncFixture) {
    let mailbox = remote(f, 7);
    f.store.record_imports(mailbox, vec![message(f, 1, "a")]).unwrap();
    remote(f, 8);
    f.set_quota(|quota| quota.messages = 2);
    let batch = || vec![message(f, 1, "a"), message(f, 2, "b"), message(f, 3, "c")];
    assert!(over(f.store.record_imports(mailbox, batch())));
    assert!(f.store.known_uids(mailbox).unwrap().is_empty() && f.status(f.inbox).messages == 1);
    f.set_quota(|_| ());
    let outcomes = f.store.record_imports(mailbox, batch()).unwrap();
    assert_eq!(outcomes[0], ImportOutcome::Duplicate(1));
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, ImportOutcome::Imported(_))));
    assert_eq!(f.status(f.inbox).messages, 3);
}

fn remembers_how_a_sync_ended(f: &SyncFixture) {
    let account = f.store.remote_account(f.account, "imap:two").unwrap();
    assert_eq!(f.store.remote_account(f.account, "imap:two").unwrap(), account);
    let other = f.store.remote_account(f.account, "imap:one").unwrap();
    f.store.record_sync(account.id, 1_700_000_000, "failed", Some("timed out")).unwrap();
    let listed = f.store.remote_accounts(f.account).unwrap();
    assert_eq!(listed[0], other, "ordered by key");
    assert_eq!((listed[1].last_sync_at, listed[1].status.as_deref()), (Some(1_700_000_000), Some("failed")));
    assert_eq!(listed[1].error.as_deref(), Some("timed out"));
    f.store.record_sync(account.id, 1_700_000_001, "done", None).unwrap();
    assert_eq!(f.store.remote_accounts(f.account).unwrap()[1].error, None);
    assert!(matches!(f.store.record_sync(RemoteAccountId(99), 1, "x", None), Err(Error::NotFound(_))));
    let mailbox = f.store.remote_mailbox(account.id, "INBOX", f.inbox, 7).unwrap();
    assert_eq!((mailbox.mailbox, mailbox.uid_validity, mailbox.known), (f.inbox, 7, 0));
    assert_eq!(f.store.remote_mailboxes(account.id).unwrap(), [("INBOX".to_owned(), f.inbox)]);
    let gone = f.store.remote_mailbox(account.id, "INBOX", MailboxId(999_999), 7);
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

fn records_unfetched_messages(f: &SyncFixture) {
    let mailbox = remote(f, 7);
    assert!(f.store.unfetched(mailbox).unwrap().is_empty());
    f.store.record_unfetched(mailbox, &[5, 9, 10].into_iter().collect()).unwrap();
    f.store.record_unfetched(mailbox, &[5].into_iter().collect()).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap(), [5, 9, 10].into_iter().collect());
    f.store.forget_unfetched(mailbox, &[9, 10].into_iter().collect()).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap(), [5].into_iter().collect());
    remote(f, 8);
    assert!(f.store.unfetched(mailbox).unwrap().is_empty(), "the UIDVALIDITY changed");
    f.store.record_unfetched(mailbox, &[1..=20_000].into_iter().collect()).unwrap();
    assert_eq!(f.store.unfetched(mailbox).unwrap().ranges(), [1..=10_000]);
}

fn limits_remote_accounts(f: &SyncFixture) {
    f.set_quota(|quota| quota.remote_accounts = 2);
    let first = f.store.remote_account(f.account, "imap:one").unwrap();
    f.store.remote_account(f.account, "imap:two").unwrap();
    assert!(over(f.store.remote_account(f.account, "imap:three")));
    assert_eq!(f.store.remote_account(f.account, "imap:one").unwrap().id, first.id);
    assert_eq!(f.store.usage(f.account).unwrap().remote_accounts, 2);
    let long = "x".repeat(crate::NAME_LIMIT + 1);
    assert!(matches!(f.store.remote_account(f.account, &long), Err(Error::Limit(_))));
}
