//! Messages that were fetched from other servers.

use super::case::Case;
use super::fixture::{Fixture, over};
use crate::error::Error;
use crate::flags::Flags;
use crate::remote_types::*;
use crate::sync_store::SyncStore;
use crate::types::*;

pub(super) const CASES: &[Case<dyn SyncStore>] = &[
    Case { name: "imports_each_message_once", needs: &[], run: imports_each_message_once },
    Case { name: "recognizes_messages_after_a_new_uidvalidity", needs: &[], run: recognizes_messages },
    Case { name: "failed_import_records_nothing", needs: &[], run: failed_import_records_nothing },
    Case { name: "remembers_how_a_sync_ended", needs: &[], run: remembers_how_a_sync_ended },
    Case { name: "records_unfetched_messages_by_uidvalidity", needs: &[], run: records_unfetched_messages },
    Case { name: "marks_and_forgets_imports", needs: &[], run: marks_and_forgets_imports },
    Case { name: "remembers_the_state_of_remote_mailboxes", needs: &[], run: remembers_states },
    Case { name: "renames_remote_mailboxes_together", needs: &[], run: renames_remote_mailboxes },
    Case {
        name: "finds_equal_messages_of_other_mailboxes",
        needs: &[],
        run: finds_equal_messages_of_other_mailboxes,
    },
    Case { name: "changes_the_special_use", needs: &[], run: changes_the_special_use },
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

fn marks_and_forgets_imports(f: &SyncFixture) {
    let mailbox = remote(f, 7);
    let texts = ["a", "b", "c", "d"];
    f.store
        .record_imports(mailbox, (1..).zip(texts).map(|(uid, text)| message(f, 10 * uid, text)).collect())
        .unwrap();
    let record = |uid: u32| ImportRecord { uid_validity: 7, uid, local_uid: uid / 10 };
    let records = |uids: UidSet, limit| f.store.import_records(mailbox, &uids, limit).unwrap();
    assert_eq!(records([10..=20, 30..=40].into_iter().collect(), 3), [record(10), record(20), record(30)]);
    assert_eq!(records(UidSet::one(11), 3), []);
    f.store.mark_imports_removed(mailbox, &[record(20), record(99)]).unwrap();
    f.store.forget_imports(mailbox, &[record(30), ImportRecord { local_uid: 9, ..record(40) }]).unwrap();
    assert_eq!(f.store.known_uids(mailbox).unwrap(), [10, 40].into_iter().collect());
    assert_eq!(records(UidSet::all(), 9), [record(10), record(40)]);
    let again = f.store.record_imports(mailbox, vec![message(f, 20, "b"), message(f, 30, "c")]).unwrap();
    assert_eq!(again, [ImportOutcome::Known(2), ImportOutcome::Imported(5)]);
    assert_eq!(f.store.known_uids(mailbox).unwrap(), [10, 20, 30, 40].into_iter().collect());
    f.store.mark_imports_removed(mailbox, &[record(40)]).unwrap();
    for validity in [8, 6] {
        remote(f, validity);
        assert!(f.store.known_uids(mailbox).unwrap().is_empty());
        let earlier = f.store.earlier_import_records(mailbox, 2).unwrap();
        assert_eq!(
            earlier,
            [record(10), record(20)],
            "the marked one and those beyond the limit are left out"
        );
    }
    f.store.record_imports(mailbox, vec![message(f, 1, "a"), message(f, 2, "d")]).unwrap();
    let earlier: Vec<u32> =
        f.store.earlier_import_records(mailbox, 9).unwrap().iter().map(|record| record.uid).collect();
    assert_eq!(earlier, [20, 30], "the others were assigned to new UIDs");
}

fn remembers_states(f: &SyncFixture) {
    let account = f.store.remote_account(f.account, "imaps://ann@other.example").unwrap().id;
    let mailbox = remote(f, 7);
    let folder = || f.store.remote_folders(account).unwrap().remove(0);
    assert_eq!(folder().state, RemoteState::default());
    let state = RemoteState {
        object_id: Some("x-1".to_owned()),
        highest_modseq: (1 << 63) - 1,
        uid_next: u32::MAX,
        messages: 3,
        is_gone: false,
    };
    f.store.set_remote_state(mailbox, &state).unwrap();
    remote(f, 7);
    let found = folder();
    assert_eq!((found.id, found.mailbox, found.uid_validity, &found.state), (mailbox, f.inbox, 7, &state));
    remote(f, 8);
    assert_eq!(folder().state, RemoteState { highest_modseq: 0, ..state.clone() }, "the UIDVALIDITY changed");
    f.store.set_remote_state(mailbox, &RemoteState { is_gone: true, ..state.clone() }).unwrap();
    assert!(folder().state.is_gone);
    remote(f, 8);
    assert_eq!(folder().state, state, "it is there again");
    assert!(matches!(f.store.set_remote_state(RemoteMailboxId(99), &state), Err(Error::NotFound(_))));
}

fn renames_remote_mailboxes(f: &SyncFixture) {
    let account = f.store.remote_account(f.account, "imap:one").unwrap().id;
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let mailbox = f.create(name);
        f.store.remote_mailbox(account, name, mailbox, 7).unwrap().id
    });
    let names = || -> Vec<_> {
        f.store.remote_folders(account).unwrap().into_iter().map(|folder| (folder.name, folder.id)).collect()
    };
    let rename = |names: &[(RemoteMailboxId, &str)]| {
        let names: Vec<_> = names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
        f.store.rename_remote_mailboxes(account, &names)
    };
    rename(&[(a, "b"), (b, "a")]).unwrap();
    assert_eq!(names(), [("a".to_owned(), b), ("b".to_owned(), a), ("c".to_owned(), c)]);
    rename(&[(a, "c")]).unwrap();
    assert_eq!(names()[1..], [("a".to_owned(), b), ("c".to_owned(), a)]);
    let gone = f.store.remote_folders(account).unwrap().remove(0);
    assert!(gone.id == c && gone.state.is_gone && gone.name.starts_with('\0'));
    assert!(matches!(rename(&[(b, "d"), (RemoteMailboxId(99), "e")]), Err(Error::NotFound(_))));
    assert_eq!(names()[1].0, "a", "all or none");
}

fn finds_equal_messages_of_other_mailboxes(f: &SyncFixture) {
    let account = f.store.remote_account(f.account, "imap:equal").unwrap().id;
    let [a, b] = ["a", "b"].map(|name| {
        let mailbox = f.create(name);
        (f.store.remote_mailbox(account, name, mailbox, 7).unwrap().id, mailbox)
    });
    f.store
        .record_imports(a.0, vec![message(f, 1, "moved"), message(f, 2, "moved"), message(f, 3, "other")])
        .unwrap();
    let has_equal = |uid: u32| {
        let record = f.store.import_records(a.0, &UidSet::one(uid), 1).unwrap().remove(0);
        f.store.has_equal_message(a.0, &record).unwrap()
    };
    assert!(!has_equal(1), "the same mailbox does not count");
    f.store.record_imports(b.0, vec![message(f, 5, "moved")]).unwrap();
    assert_eq!([1, 2, 3].map(has_equal), [true, true, false]);
    let there = f.store.import_records(b.0, &UidSet::all(), 9).unwrap();
    f.store.mark_imports_removed(b.0, &there).unwrap();
    assert!(!has_equal(1), "the server has removed it there");
    f.store.record_imports(b.0, vec![message(f, 5, "moved")]).unwrap();
    f.store.expunge(b.1, &Expunge::Exactly(UidSet::all()), 9).unwrap();
    assert!(!has_equal(1), "it is not stored any more");
}

fn changes_the_special_use(f: &SyncFixture) {
    let mailbox = f.create("Odd");
    let special_use = || f.store.mailbox(f.account, "Odd").unwrap().special_use;
    f.store.set_special_use(mailbox, Some(SpecialUse::Archive)).unwrap();
    assert_eq!(special_use(), Some(SpecialUse::Archive));
    f.store.set_special_use(mailbox, None).unwrap();
    assert_eq!(special_use(), None);
    assert!(matches!(f.store.set_special_use(MailboxId(999_999), None), Err(Error::NotFound(_))));
}
