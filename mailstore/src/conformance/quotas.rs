//! Quotas of an account and their counters.

use super::case::{Case, Feature};
use super::fixture::{ALL, Fixture, over};
use crate::error::Error;
use crate::limits::WRITE_SLICE;
use crate::store::Store;
use crate::types::*;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "usage_counts_what_is_there", needs: &[], run: usage_counts_what_is_there },
    Case {
        name: "rejects_messages_over_quota_but_allows_moves_and_deletes",
        needs: &[Feature::Quotas, Feature::Accounts],
        run: rejects_messages_over_quota,
    },
    Case {
        name: "counts_bytes_of_every_copy_and_marks_permanent_errors",
        needs: &[Feature::Quotas],
        run: counts_bytes_of_every_copy,
    },
    Case {
        name: "account_over_quota_does_not_fail_other_deliveries",
        needs: &[Feature::Quotas, Feature::Accounts],
        run: account_over_quota_does_not_fail_others,
    },
    Case {
        name: "limits_mailboxes_and_subscriptions",
        needs: &[Feature::Quotas, Feature::Accounts, Feature::Subscriptions],
        run: limits_mailboxes_and_subscriptions,
    },
    Case {
        name: "limits_keywords_of_a_mailbox",
        needs: &[Feature::Quotas, Feature::Keywords],
        run: limits_keywords_of_a_mailbox,
    },
    Case {
        name: "counts_messages_of_a_deleted_mailbox_until_they_are_removed",
        needs: &[Feature::Quotas],
        run: counts_messages_of_a_deleted_mailbox,
    },
];

fn sized(f: &Fixture, mailboxes: &[MailboxId], size: usize) -> crate::Result<Vec<Appended>> {
    f.deliver(&vec![b'x'; size], mailboxes, &[])
}

fn usage_counts_what_is_there(f: &Fixture) {
    let before = f.store.usage(f.account).unwrap();
    let work = f.create("work/sub");
    sized(f, &[f.inbox, work], 10).unwrap();
    f.store.copy(work, &UidSet::all(), work, ALL).unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.messages, usage.bytes, usage.mailboxes), (3, 30, before.mailboxes + 2));
    f.remove(f.inbox, [1]);
    f.store.delete_mailbox(f.account, "work/sub").unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.messages, usage.bytes, usage.mailboxes), (0, 0, before.mailboxes + 1));
}

fn rejects_messages_over_quota(f: &Fixture) {
    f.set_quota(|quota| quota.messages = 3);
    let trash = f.create("trash");
    sized(f, &[f.inbox, trash], 10).unwrap();
    assert!(over(sized(f, &[f.inbox, trash], 10)), "appends to all targets or none");
    sized(f, &[f.inbox], 10).unwrap();
    assert!(over(sized(f, &[f.inbox], 10)));
    assert!(over(f.store.copy(f.inbox, &UidSet::one(1), trash, ALL)));
    assert_eq!(f.store.usage(f.account).unwrap().messages, 3);
    // At the limit, messages can be moved, changed and deleted.
    f.store.move_messages(f.inbox, &UidSet::one(1), trash, ALL).unwrap();
    f.set_flags(trash, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    f.remove(trash, [1]);
    let last = f.uids(f.inbox)[0];
    f.store.copy(f.inbox, &UidSet::one(last), trash, ALL).unwrap();
    assert!(over(sized(f, &[f.inbox], 10)));
    let other = f.store.create_account("bob", b"password").unwrap().id;
    sized(f, &[f.store.mailbox(other, "INBOX").unwrap().id], 10).unwrap();
}

fn counts_bytes_of_every_copy(f: &Fixture) {
    f.set_quota(|quota| quota.bytes = 1_000);
    let trash = f.create("trash");
    sized(f, &[f.inbox], 400).unwrap();
    assert!(f.store.check_quota(f.inbox, 600).is_ok() && over(f.store.check_quota(f.inbox, 601)));
    assert!(matches!(f.store.check_quota(f.inbox, 1_001), Err(Error::OverQuota { permanent: true, .. })));
    assert!(matches!(sized(f, &[f.inbox], 1_001), Err(Error::OverQuota { permanent: true, .. })));
    assert!(over(sized(f, &[f.inbox, trash], 400)));
    f.store.copy(f.inbox, &UidSet::one(1), trash, ALL).unwrap();
    assert!(over(f.store.copy(f.inbox, &UidSet::one(1), trash, ALL)));
    assert_eq!(f.store.usage(f.account).unwrap().bytes, 800);
    f.expunge(trash, &Expunge::Exactly(UidSet::all()));
    sized(f, &[f.inbox], 600).unwrap();
    assert_eq!(f.store.usage(f.account).unwrap().bytes, 1_000);
}

fn account_over_quota_does_not_fail_others(f: &Fixture) {
    f.set_quota(|quota| quota.messages = 1);
    let other = f.store.create_account("bob", b"password").unwrap().id;
    let theirs = f.store.mailbox(other, "INBOX").unwrap().id;
    sized(f, &[f.inbox], 10).unwrap();
    let delivery = |mailbox| f.delivery(b"x", &[mailbox], &[]);
    let outcomes = f.store.append_batch(vec![delivery(f.inbox), delivery(theirs), delivery(theirs)]).unwrap();
    let refused: Vec<bool> = outcomes.into_iter().map(over).collect();
    assert_eq!(refused, [true, false, true], "messages of the same batch count too");
}

fn limits_mailboxes_and_subscriptions(f: &Fixture) {
    f.set_quota(|quota| (quota.mailboxes, quota.subscriptions) = (8, 7));
    assert_eq!(f.store.usage(f.account).unwrap().mailboxes, 6);
    assert!(over(f.store.create_mailbox(f.account, "a/b/c", None)), "parents count");
    assert_eq!(f.store.list(f.account).unwrap().len(), 6, "none of them was created");
    f.create("a/b");
    assert!(over(f.store.rename_mailbox(f.account, "Sent", "x/Sent")));
    f.store.rename_mailbox(f.account, "Sent", "a/Sent").unwrap();
    f.store.delete_mailbox(f.account, "a/b").unwrap();
    f.create("c");
    assert!(over(f.store.create_mailbox(f.account, "d", None)));

    f.store.subscribe(f.account, "elsewhere").unwrap();
    f.store.subscribe(f.account, "elsewhere").unwrap();
    assert!(over(f.store.subscribe(f.account, "more")));
    f.store.unsubscribe(f.account, "INBOX").unwrap();
    f.store.subscribe(f.account, "more").unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.subscriptions), (8, 7));
}

fn limits_keywords_of_a_mailbox(f: &Fixture) {
    f.set_quota(|quota| quota.keywords = 3);
    let trash = f.create("trash");
    let append = |mailbox, flags: &[&str]| f.deliver(b"x", &[mailbox], flags);
    append(f.inbox, &["one", "Two"]).unwrap();
    assert!(!f.store.keywords(f.inbox).unwrap().is_full());
    append(f.inbox, &["ONE", "three"]).unwrap();
    let known = f.store.keywords(f.inbox).unwrap();
    assert_eq!(known.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["one", "Two", "three"]);
    assert!(known.is_full() && f.store.select(f.inbox, Access::ReadOnly).unwrap().keywords.is_full());
    let add = |keyword: &str| f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Add, &[keyword]);
    assert!(over(add("four")) && over(append(f.inbox, &["four"])));
    add("THREE").unwrap();
    add("\\Flagged").unwrap();
    append(trash, &["other"]).unwrap();
    assert!(over(f.store.copy(trash, &UidSet::one(1), f.inbox, ALL)));
    assert!(over(f.store.move_messages(trash, &UidSet::one(1), f.inbox, ALL)));
    append(trash, &["other", "TWO"]).unwrap();
}

fn counts_messages_of_a_deleted_mailbox(f: &Fixture) {
    let before = f.store.usage(f.account).unwrap();
    let large = f.create("large");
    let batch = (0..WRITE_SLICE + 10).map(|_| f.delivery(b"xx", &[large], &[])).collect();
    f.store.append_batch(batch).unwrap().into_iter().for_each(|outcome| drop(outcome.unwrap()));
    f.store.delete_mailbox(f.account, "large").unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.messages, usage.bytes), (before.mailboxes, 10, 20));
    while f.store.purge_deleted(f.account).unwrap() {}
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.mailboxes, usage.messages, usage.bytes), (before.mailboxes, 0, 0));
}
