//! Metadata of mailboxes and of the server, and the changes of an account that subscribers receive.

use super::case::{Case, Feature};
use super::fixture::{Fixture, over};
use crate::callback::AccountChange;
use crate::error::Error;
use crate::metadata::*;
use crate::store::Store;
use crate::types::*;
use std::sync::{Arc, Mutex};

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "keeps_metadata_in_order", needs: &[Feature::Metadata], run: keeps_metadata_in_order },
    Case {
        name: "metadata_follows_its_mailbox",
        needs: &[Feature::Metadata],
        run: metadata_follows_its_mailbox,
    },
    Case { name: "sets_all_metadata_or_none", needs: &[Feature::Metadata], run: sets_all_metadata_or_none },
    Case {
        name: "limits_metadata_and_counts_its_bytes",
        needs: &[Feature::Metadata, Feature::Quotas],
        run: limits_metadata,
    },
    Case {
        name: "keeps_metadata_of_accounts_apart",
        needs: &[Feature::Metadata, Feature::Accounts],
        run: keeps_metadata_of_accounts_apart,
    },
    Case {
        name: "reads_much_metadata_in_pages",
        needs: &[Feature::Metadata],
        run: reads_much_metadata_in_pages,
    },
    Case {
        name: "reports_changes_of_an_account",
        needs: &[Feature::Metadata, Feature::Subscriptions],
        run: reports_changes_of_an_account,
    },
];

fn change(name: &str, value: Option<&str>) -> MetadataChange {
    MetadataChange { name: name.to_owned(), value: value.map(|value| value.as_bytes().to_vec()) }
}

fn set(f: &Fixture, of: Annotated, name: &str, value: Option<&str>) -> crate::Result<()> {
    f.store.set_metadata(f.account, of, &[change(name, value)])
}

/// All entries, as `name=value`.
fn entries(f: &Fixture, account: AccountId, of: Annotated) -> Vec<String> {
    let page = f.store.metadata_page(account, of, "/".."0", u64::MAX).unwrap();
    assert_eq!(page.next, None);
    let show =
        |entry: MetadataEntry| format!("{}={}", entry.name, String::from_utf8(entry.value.unwrap()).unwrap());
    page.entries.into_iter().map(show).collect()
}

fn keeps_metadata_in_order(f: &Fixture) {
    let inbox = Annotated::Mailbox(f.inbox);
    for of in [inbox, Annotated::Server] {
        assert!(entries(f, f.account, of).is_empty());
        set(f, of, "/shared/comment", Some("all")).unwrap();
        set(f, of, "/Private/Comment", Some("mine")).unwrap();
        set(f, of, "/private/comment/x", Some("")).unwrap();
        assert_eq!(
            entries(f, f.account, of),
            ["/private/comment=mine", "/private/comment/x=", "/shared/comment=all"]
        );
        set(f, of, "/private/COMMENT", Some("new")).unwrap();
        set(f, of, "/shared/comment", None).unwrap();
        set(f, of, "/shared/comment", None).unwrap();
        assert_eq!(entries(f, f.account, of), ["/private/comment=new", "/private/comment/x="]);
        let page = f.store.metadata_page(f.account, of, "/private/comment".."/private/comment\0", 2).unwrap();
        let long = &page.entries[..];
        assert!(matches!(long, [MetadataEntry { size: 3, value: None, .. }]), "{long:?}");
        assert!(f.store.metadata_page(f.account, of, "b".."a", 2).unwrap().entries.is_empty());
    }
    let bytes = [0, 13, 10, 255];
    let binary = MetadataChange { name: "/private/bytes".into(), value: Some(bytes.to_vec()) };
    f.store.set_metadata(f.account, inbox, &[binary]).unwrap();
    let page = f.store.metadata_page(f.account, inbox, "/private/b".."/private/c", 4).unwrap();
    assert_eq!(page.entries[0].value.as_deref(), Some(&bytes[..]));
}

fn metadata_follows_its_mailbox(f: &Fixture) {
    let before = f.store.usage(f.account).unwrap();
    let (parent, child) = (f.create("work"), f.create("work/child"));
    for mailbox in [parent, child] {
        set(f, Annotated::Mailbox(mailbox), "/private/comment", Some("text")).unwrap();
    }
    f.store.rename_mailbox(f.account, "work", "play").unwrap();
    let child = f.store.mailbox(f.account, "play/child").unwrap().id;
    assert_eq!(entries(f, f.account, Annotated::Mailbox(child)), ["/private/comment=text"]);
    // The parent stays as one that can't be selected, without its metadata.
    f.store.delete_mailbox(f.account, "play").unwrap();
    let parent = f.store.mailbox(f.account, "play").unwrap();
    assert!(parent.no_select && entries(f, f.account, Annotated::Mailbox(parent.id)).is_empty());
    set(f, Annotated::Mailbox(parent.id), "/private/comment", Some("again")).unwrap();
    f.store.delete_mailbox(f.account, "play/child").unwrap();
    f.store.delete_mailbox(f.account, "play").unwrap();
    assert_eq!(f.store.usage(f.account).unwrap(), before);
    let gone = Annotated::Mailbox(child);
    assert!(matches!(set(f, gone, "/private/comment", None), Err(Error::NotFound(_))));
    let read = f.store.metadata_page(f.account, gone, "/".."0", 1);
    assert!(matches!(read, Err(Error::NotFound(_))));
    let again = f.create("play");
    assert!(entries(f, f.account, Annotated::Mailbox(again)).is_empty());
}

fn sets_all_metadata_or_none(f: &Fixture) {
    let of = Annotated::Server;
    set(f, of, "/private/a", Some("old")).unwrap();
    let long = "x".repeat(METADATA_VALUE_LIMIT + 1);
    for bad in
        [change("/private/b", Some(&long)), change("/nowhere/b", Some("b")), change("/private//b", None)]
    {
        let changes = [change("/private/a", Some("new")), bad];
        assert!(f.store.set_metadata(f.account, of, &changes).is_err());
        assert_eq!(entries(f, f.account, of), ["/private/a=old"]);
    }
    let twice = [change("/private/a", Some("one")), change("/private/a", Some("two"))];
    f.store.set_metadata(f.account, of, &twice).unwrap();
    assert_eq!(entries(f, f.account, of), ["/private/a=two"]);
    set(f, of, "/private/long", Some(&long[1..])).unwrap();
}

fn limits_metadata(f: &Fixture) {
    let before = f.store.usage(f.account).unwrap();
    f.set_quota(|quota| (quota.bytes, quota.metadata) = (100, 3));
    let inbox = Annotated::Mailbox(f.inbox);
    set(f, inbox, "/private/a", Some(&"x".repeat(40))).unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.bytes, usage.metadata), (before.bytes + 50, before.metadata + 1));
    assert!(over(set(f, inbox, "/private/b", Some(&"x".repeat(41)))));
    assert!(over(f.deliver(&[b'x'; 51], &[f.inbox], &[])));
    f.deliver(&[b'x'; 20], &[f.inbox], &[]).unwrap();
    set(f, inbox, "/private/a", Some("")).unwrap();
    set(f, Annotated::Server, "/private/b", Some("")).unwrap();
    set(f, Annotated::Server, "/private/c", Some("")).unwrap();
    assert!(matches!(set(f, inbox, "/private/d", Some("")), Err(Error::TooManyMetadata)));
    f.set_quota(|quota| (quota.bytes, quota.metadata) = (1, 1));
    set(f, Annotated::Server, "/private/b", None).unwrap();
    let usage = f.store.usage(f.account).unwrap();
    assert_eq!((usage.bytes, usage.metadata), (before.bytes + 40, before.metadata + 2));

    f.set_quota(|quota| quota.metadata = u64::MAX);
    let many = |from: u64, to| {
        let changes = (from..to).map(|number| change(&format!("/private/many/{number}"), Some("")));
        f.store.set_metadata(f.account, inbox, &changes.collect::<Vec<_>>())
    };
    assert!(matches!(many(0, METADATA_ENTRY_LIMIT), Err(Error::TooManyMetadata)));
    many(1, METADATA_ENTRY_LIMIT).unwrap();
    assert!(matches!(many(0, 1), Err(Error::TooManyMetadata)));
}

fn keeps_metadata_of_accounts_apart(f: &Fixture) {
    let other = f.store.create_account("bob", b"password").unwrap().id;
    set(f, Annotated::Server, "/private/comment", Some("mine")).unwrap();
    set(f, Annotated::Mailbox(f.inbox), "/shared/comment", Some("mine")).unwrap();
    assert!(entries(f, other, Annotated::Server).is_empty());
    let inbox = Annotated::Mailbox(f.inbox);
    let read = f.store.metadata_page(other, inbox, "/".."0", 1);
    assert!(matches!(read, Err(Error::NotFound(_))), "{read:?}");
    let written = f.store.set_metadata(other, inbox, &[change("/shared/comment", None)]);
    assert!(matches!(written, Err(Error::NotFound(_))), "{written:?}");
    assert_eq!(entries(f, f.account, inbox), ["/shared/comment=mine"]);
}

fn reads_much_metadata_in_pages(f: &Fixture) {
    let value = "x".repeat(1_000);
    let changes: Vec<_> =
        (0..500).map(|number| change(&format!("/private/many/{number:03}"), Some(&value))).collect();
    f.store.set_metadata(f.account, Annotated::Server, &changes).unwrap();
    let (mut from, mut names) = ("/private/many/".to_owned(), Vec::new());
    loop {
        let page =
            f.store.metadata_page(f.account, Annotated::Server, &from.."/private/many0", u64::MAX).unwrap();
        assert!((1..=200).contains(&page.entries.len()), "{}", page.entries.len());
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    let expected: Vec<String> = changes.into_iter().map(|change| change.name).collect();
    assert_eq!(names, expected);
}

fn reports_changes_of_an_account(f: &Fixture) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&seen);
    let account = f.account;
    let subscription = f.store.subscribe_account_changes(Arc::new(move |of, change: &AccountChange| {
        assert_eq!(of, account);
        told.lock().unwrap().push(format!("{change:?}"));
    }));
    let taken = || std::mem::take(&mut *seen.lock().unwrap());
    f.create("a/b");
    assert_eq!(taken(), ["Created(\"a\")", "Created(\"a/b\")"]);
    f.store.rename_mailbox(f.account, "a", "c").unwrap();
    assert_eq!(taken(), ["Renamed { from: \"a\", to: \"c\" }"]);
    let child = f.store.mailbox(f.account, "c/b").unwrap();
    assert_eq!(f.store.mailbox_by_id(f.account, child.id).unwrap(), child);
    f.store.delete_mailbox(f.account, "c/b").unwrap();
    let gone = f.store.mailbox_by_id(f.account, child.id);
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    assert_eq!(taken(), ["Deleted(\"c/b\")"]);
    f.store.subscribe(f.account, "x").unwrap();
    f.store.subscribe(f.account, "x").unwrap();
    f.store.unsubscribe(f.account, "x").unwrap();
    f.store.unsubscribe(f.account, "x").unwrap();
    assert_eq!(taken(), ["Subscribed(\"x\")", "Unsubscribed(\"x\")"]);
    set(f, Annotated::Server, "/private/A", Some("x")).unwrap();
    assert_eq!(taken(), ["Metadata(Server, [\"/private/a\"])"]);
    f.append("x");
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    f.remove(f.inbox, [1]);
    let messages = format!("{:?}", AccountChange::Messages(f.inbox));
    let flags = format!("{:?}", AccountChange::Flags(f.inbox));
    assert_eq!(taken(), [messages.clone(), flags, messages]);
    // What fails is not reported.
    assert!(f.store.create_mailbox(f.account, "INBOX", None).is_err());
    assert!(f.store.rename_mailbox(f.account, "c", "INBOX").is_err());
    assert!(set(f, Annotated::Server, "/bad", Some("x")).is_err());
    assert!(taken().is_empty());
    drop(subscription);
    f.append("x");
    assert!(taken().is_empty());
}
