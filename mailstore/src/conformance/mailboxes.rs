//! Mailboxes: names, hierarchy, subscriptions, UIDVALIDITY.

use super::case::{Case, Feature};
use super::fixture::Fixture;
use crate::error::Error;
use crate::limits::{LEVEL_LIMIT, NAME_LIMIT, WRITE_SLICE};
use crate::store::Store;
use crate::types::*;
use std::collections::BTreeSet;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "inbox_matches_in_any_case", needs: &[], run: inbox_matches_in_any_case },
    Case { name: "rejects_bad_mailbox_names", needs: &[], run: rejects_bad_mailbox_names },
    Case { name: "creates_missing_parents", needs: &[], run: creates_missing_parents },
    Case {
        name: "deleted_mailbox_with_children_stays",
        needs: &[],
        run: deleted_mailbox_with_children_stays,
    },
    Case {
        name: "new_mailbox_has_another_uidvalidity",
        needs: &[],
        run: new_mailbox_has_another_uidvalidity,
    },
    Case { name: "rename_moves_children", needs: &[], run: rename_moves_children },
    Case { name: "rename_empties_inbox", needs: &[], run: rename_empties_inbox },
    Case { name: "failed_rename_changes_nothing", needs: &[], run: failed_rename_changes_nothing },
    Case { name: "lists_mailboxes_in_pages", needs: &[], run: lists_mailboxes_in_pages },
    Case { name: "keeps_special_uses", needs: &[], run: keeps_special_uses },
    Case {
        name: "subscriptions_outlive_mailboxes",
        needs: &[Feature::Subscriptions],
        run: subscriptions_outlive_mailboxes,
    },
    Case {
        name: "finds_selected_names_in_a_range",
        needs: &[Feature::Accounts, Feature::Subscriptions],
        run: finds_selected_names_in_a_range,
    },
    Case { name: "deletes_a_large_mailbox_in_slices", needs: &[], run: deletes_a_large_mailbox_in_slices },
];

fn inbox_matches_in_any_case(f: &Fixture) {
    assert_eq!(f.store.mailbox(f.account, "InBox").unwrap().name, "INBOX");
    assert!(matches!(f.store.create_mailbox(f.account, "inbox", None), Err(Error::Exists(_))));
    assert!(matches!(f.store.delete_mailbox(f.account, "iNBOX"), Err(Error::Refused(_))));
    f.create("Inbox/Sub/");
    assert!(f.names().contains(&"INBOX/Sub".to_owned()));
    assert!(f.store.mailbox(f.account, "inbox").unwrap().has_children);
}

fn rejects_bad_mailbox_names(f: &Fixture) {
    let before = f.names();
    for bad in ["", "/", "/a", "a//b", "a\r\nb", "a\0", "a%", "*", "a\u{85}"] {
        let created = f.store.create_mailbox(f.account, bad, None);
        assert!(matches!(created, Err(Error::InvalidName(_))), "{bad:?}");
        assert!(matches!(f.store.mailbox(f.account, bad), Err(Error::NotFound(_))), "{bad:?}");
    }
    for long in ["x".repeat(NAME_LIMIT + 1), "x/".repeat(LEVEL_LIMIT + 1)] {
        assert!(matches!(f.store.create_mailbox(f.account, &long, None), Err(Error::Limit(_))));
    }
    assert_eq!(f.names(), before);
    f.create("Entwürfe/日本");
    assert_eq!(f.store.mailbox(f.account, "Entwürfe/日本").unwrap().name, "Entwürfe/日本");
}

fn creates_missing_parents(f: &Fixture) {
    let last = f.create("Work/2026/Q1/");
    assert_eq!(f.store.mailbox(f.account, "Work/2026/Q1").unwrap().id, last);
    assert!(f.names().contains(&"Work/2026".to_owned()));
    let parent = f.store.mailbox(f.account, "Work").unwrap();
    assert!(parent.has_children && parent.no_select);
    assert!(matches!(f.store.select(parent.id, Access::ReadOnly), Err(Error::NoSelect)));
    // A parent that was created by itself can be selected, and has no messages.
    let created = f.create("Work/2026");
    assert_eq!(f.status(created).messages, 0);
    assert!(matches!(f.store.create_mailbox(f.account, "Work/2026", None), Err(Error::Exists(_))));
    f.create("Work!");
    f.store.delete_mailbox(f.account, "Work/2026/Q1").unwrap();
    assert!(!f.store.mailbox(f.account, "Work/2026").unwrap().has_children);
    f.store.delete_mailbox(f.account, "Work/2026").unwrap();
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(!f.names().contains(&"Work".to_owned()));
    assert!(matches!(f.store.delete_mailbox(f.account, "none"), Err(Error::NotFound(_))));
}

fn deleted_mailbox_with_children_stays(f: &Fixture) {
    f.create("Work");
    f.create("Work/2026");
    let work = f.store.mailbox(f.account, "Work").unwrap().id;
    f.deliver(b"x", &[work], &[]).unwrap();
    let validity = f.status(work).uid_validity;
    f.store.delete_mailbox(f.account, "Work").unwrap();
    let left = f.store.mailbox(f.account, "Work").unwrap();
    assert!(left.no_select && left.has_children);
    assert!(matches!(f.store.status(work), Err(Error::NotFound(_) | Error::NoSelect)));
    assert!(matches!(f.store.status(left.id), Err(Error::NoSelect)));
    assert!(matches!(f.store.select(left.id, Access::ReadOnly), Err(Error::NoSelect)));
    assert!(matches!(f.deliver(b"x", &[left.id], &[]), Err(Error::NoSelect)));
    assert!(matches!(f.store.delete_mailbox(f.account, "Work"), Err(Error::Refused(_))));
    let again = f.create("Work");
    let status = f.status(again);
    assert!(status.uid_validity > validity && status.messages == 0 && status.uid_next == 1);
    assert!(!f.store.mailbox(f.account, "Work").unwrap().no_select);
    f.store.delete_mailbox(f.account, "Work/2026").unwrap();
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(matches!(f.store.mailbox(f.account, "Work"), Err(Error::NotFound(_))));
}

fn new_mailbox_has_another_uidvalidity(f: &Fixture) {
    let mut validities = BTreeSet::new();
    let mut last = 0;
    for _ in 0..4 {
        let id = f.create("again");
        let validity = f.status(id).uid_validity;
        assert!(validity > last && validities.insert(validity));
        last = validity;
        f.store.delete_mailbox(f.account, "again").unwrap();
    }
    let all: BTreeSet<u32> =
        f.store.list(f.account).unwrap().iter().map(|mailbox| f.status(mailbox.id).uid_validity).collect();
    assert_eq!(all.len(), f.names().len(), "no two mailboxes share a UIDVALIDITY");
}

fn rename_moves_children(f: &Fixture) {
    f.create("a/b/c");
    f.create("ab");
    let id = f.store.mailbox(f.account, "a/b/c").unwrap().id;
    f.deliver(b"x", &[id], &["\\Seen"]).unwrap();
    let status = f.status(id);
    f.store.rename_mailbox(f.account, "a", "x/y").unwrap();
    assert_eq!(f.store.mailbox(f.account, "x/y/b/c").unwrap().id, id);
    assert_eq!(f.status(id), status, "a rename changes no message and no UIDVALIDITY");
    let names = f.names();
    assert!(names.contains(&"ab".into()) && !names.iter().any(|name| name == "a" || name.starts_with("a/")));
    f.store.rename_mailbox(f.account, "x/y/b/c", "c").unwrap();
    assert_eq!(f.store.mailbox(f.account, "c").unwrap().id, id);
}

fn rename_empties_inbox(f: &Fixture) {
    f.append("x");
    f.create("INBOX/child");
    f.store.rename_mailbox(f.account, "INBOX", "old/mail").unwrap();
    assert_eq!(f.status(f.inbox).messages, 0);
    assert_eq!(f.store.mailbox(f.account, "INBOX").unwrap().id, f.inbox);
    assert!(f.names().contains(&"INBOX/child".to_owned()), "children of INBOX stay");
    let old = f.store.mailbox(f.account, "old/mail").unwrap().id;
    assert_eq!((f.status(old).messages, f.page(old)[0].body.as_deref()), (1, Some(&b"x"[..])));
    assert_eq!(f.append("y"), 2);
}

fn failed_rename_changes_nothing(f: &Fixture) {
    f.create("a/b");
    let before = f.names();
    assert!(matches!(f.store.rename_mailbox(f.account, "a", "a/z"), Err(Error::Refused(_))));
    assert!(matches!(f.store.rename_mailbox(f.account, "a", "a/b"), Err(Error::Exists(_))));
    assert!(matches!(f.store.rename_mailbox(f.account, "a", "inbox"), Err(Error::Exists(_))));
    assert!(matches!(f.store.rename_mailbox(f.account, "none", "z"), Err(Error::NotFound(_))));
    assert!(matches!(f.store.rename_mailbox(f.account, "a", "z%"), Err(Error::InvalidName(_))));
    // The mailbox itself may have the name, its child may not.
    let long = format!("new/{}", "x".repeat(NAME_LIMIT - 5));
    assert!(matches!(f.store.rename_mailbox(f.account, "a", &long), Err(Error::Limit(_))));
    assert_eq!(f.names(), before);
    f.store.rename_mailbox(f.account, "a", "c").unwrap();
    assert!(f.store.mailbox(f.account, "c/b").is_ok());
}

fn lists_mailboxes_in_pages(f: &Fixture) {
    for n in 0..25 {
        f.create(&format!("box {n:02}"));
    }
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let page = f.store.list_page(f.account, &after, 10).unwrap();
        assert!(page.len() <= 10);
        names.extend(page.iter().map(|mailbox| mailbox.name.clone()));
        match page.last() {
            Some(last) if page.len() == 10 => after.clone_from(&last.name),
            _ => break,
        }
    }
    assert_eq!(names, f.names());
    assert!(names.is_sorted());
}

fn keeps_special_uses(f: &Fixture) {
    let id = f.store.create_mailbox(f.account, "Spam", Some(SpecialUse::Junk)).unwrap();
    f.store.rename_mailbox(f.account, "Spam", "Unwanted").unwrap();
    let renamed = f.store.mailbox(f.account, "Unwanted").unwrap();
    assert_eq!((renamed.id, renamed.special_use), (id, Some(SpecialUse::Junk)));
}

fn subscriptions_outlive_mailboxes(f: &Fixture) {
    f.create("Work");
    assert!(!f.store.mailbox(f.account, "Work").unwrap().subscribed);
    for name in ["Work", "Not/There", "Not/There"] {
        f.store.subscribe(f.account, name).unwrap();
    }
    assert!(f.store.mailbox(f.account, "Work").unwrap().subscribed);
    let all = || f.store.subscriptions_page(f.account, "", 100).unwrap();
    let found = |name: &str| all().into_iter().find(|subscription| subscription.name == name);
    assert!(found("Not/There").unwrap().mailbox.is_none());
    assert_eq!(found("Work").unwrap().mailbox, f.store.mailbox(f.account, "Work").ok());
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(found("Work").unwrap().mailbox.is_none(), "a subscription stays");
    f.store.unsubscribe(f.account, "Work").unwrap();
    f.store.unsubscribe(f.account, "Work").unwrap();
    assert!(found("Work").is_none());
    let all = all();
    let page = f.store.subscriptions_page(f.account, &all[1].name, 2).unwrap();
    assert_eq!(page, all[2..4]);
    assert!(matches!(f.store.subscribe(f.account, "a*"), Err(Error::InvalidName(_))));
}

fn finds_selected_names_in_a_range(f: &Fixture) {
    f.store.subscribe(f.account, "Not/There").unwrap();
    f.store.unsubscribe(f.account, "Junk").unwrap();
    for (selection, range, expected) in [
        (NameSelection::Subscribed, "Not/".."Not0", true),
        (NameSelection::Subscribed, "Junk".."Junk\0", false),
        (NameSelection::Subscribed, "Sent".."Junk", false),
        (NameSelection::SpecialUse, "Junk".."Junk\0", true),
        (NameSelection::SpecialUse, "Not/".."Not0", false),
        (NameSelection::SubscribedSpecialUse, "Junk".."Sent", false),
        (NameSelection::SubscribedSpecialUse, "Junk".."Sent\0", true),
    ] {
        let found = f.store.has_selected_name(f.account, selection, range.clone()).unwrap();
        assert_eq!(found, expected, "{selection:?} {range:?}");
    }
}

fn deletes_a_large_mailbox_in_slices(f: &Fixture) {
    let work = f.create("Work");
    f.create("Work/2026");
    let batch = |n: usize| (0..n).map(|_| f.delivery(b"x", &[work], &[])).collect();
    for outcome in f.store.append_batch(batch(WRITE_SLICE + 10)).unwrap() {
        outcome.unwrap();
    }
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert!(matches!(f.store.select(work, Access::ReadOnly), Err(Error::NotFound(_) | Error::NoSelect)));
    assert!(f.store.list(f.account).unwrap().iter().any(|one| one.name == "Work" && one.no_select));
    assert!(!f.names().iter().any(|name| name.contains('\u{1}')));
    while f.store.purge_deleted(f.account).unwrap() {}
    assert_eq!(f.store.usage(f.account).unwrap().messages, 0);
    f.store.delete_mailbox(f.account, "Work/2026").unwrap();
    f.store.delete_mailbox(f.account, "Work").unwrap();
    assert_eq!(f.status(f.create("Work")).messages, 0);
}
