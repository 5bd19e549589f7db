//! Accounts and passwords.

use super::case::{Case, Feature};
use super::fixture::Fixture;
use crate::error::Error;
use crate::store::Store;
use crate::types::{AccountId, SpecialUse};

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case {
        name: "new_account_has_default_mailboxes",
        needs: &[Feature::Accounts, Feature::Subscriptions],
        run: new_account_has_default_mailboxes,
    },
    Case { name: "finds_accounts_in_any_case", needs: &[], run: finds_accounts_in_any_case },
    Case { name: "verifies_passwords", needs: &[], run: verifies_passwords },
    Case {
        name: "new_password_replaces_the_old_one",
        needs: &[Feature::Accounts],
        run: new_password_replaces_the_old_one,
    },
    Case {
        name: "rejects_bad_account_names_and_long_passwords",
        needs: &[Feature::Accounts],
        run: rejects_bad_account_names_and_long_passwords,
    },
    Case { name: "accounts_are_separate", needs: &[Feature::Accounts], run: accounts_are_separate },
    Case { name: "secret_stays_the_same", needs: &[], run: secret_stays_the_same },
    Case { name: "error_texts_contain_no_names", needs: &[], run: error_texts_contain_no_names },
];

fn new_account_has_default_mailboxes(f: &Fixture) {
    assert_eq!(f.names(), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    let list = f.store.list(f.account).unwrap();
    assert_eq!((list[1].special_use, list[2].special_use), (Some(SpecialUse::Drafts), None));
    assert!(list.iter().all(|mailbox| mailbox.subscribed && !mailbox.no_select && !mailbox.has_children));
    assert!(matches!(f.store.create_account("ANN@example.org", b"x"), Err(Error::Exists(_))));
}

fn finds_accounts_in_any_case(f: &Fixture) {
    let found = f.store.account("Ann@Example.org").unwrap().unwrap();
    assert_eq!((found.id, found.name.as_str()), (f.account, "ann@example.org"));
    assert!(f.store.accounts().unwrap().contains(&found));
    assert_eq!(f.store.account_by_id(f.account).unwrap(), found);
    assert!(matches!(f.store.account_by_id(AccountId(-7)), Err(Error::NotFound(_))));
    assert_eq!(f.store.account("unknown").unwrap(), None);
}

fn verifies_passwords(f: &Fixture) {
    for name in ["Ann@example.org", "ann@example.org"] {
        assert_eq!(f.store.verify_password(name, b"right").unwrap(), Some(f.account));
    }
    for (name, password) in [("ann@example.org", &b"wrong"[..]), ("unknown", b"right"), ("unknown", b"")] {
        assert_eq!(f.store.verify_password(name, password).unwrap(), None);
        assert_eq!(f.store.verify_cached_password(name, password).unwrap(), None);
    }
    // It was verified, but a store needs no cache.
    let cached = f.store.verify_cached_password("ann@example.org", b"right").unwrap();
    assert!(cached.is_none_or(|account| account == f.account));
}

fn new_password_replaces_the_old_one(f: &Fixture) {
    assert_eq!(f.store.verify_password("ann@example.org", b"right").unwrap(), Some(f.account));
    f.store.set_password(f.account, b"another").unwrap();
    assert_eq!(f.store.verify_cached_password("ann@example.org", b"right").unwrap(), None);
    assert_eq!(f.store.verify_password("ann@example.org", b"right").unwrap(), None);
    assert_eq!(f.store.verify_password("ann@example.org", b"another").unwrap(), Some(f.account));
    assert!(matches!(f.store.set_password(AccountId(99), b"x"), Err(Error::NotFound(_))));
}

fn rejects_bad_account_names_and_long_passwords(f: &Fixture) {
    for bad in ["", "a\r\nb", "a\0"] {
        assert!(matches!(f.store.create_account(bad, b"x"), Err(Error::InvalidName(_))), "{bad:?}");
    }
    assert!(matches!(f.store.create_account(&"x".repeat(256), b"x"), Err(Error::Limit(_))));
    assert!(matches!(f.store.create_account("bob", &[b'x'; 1_025]), Err(Error::Limit(_))));
    assert_eq!(f.store.account("bob").unwrap(), None);
}

fn accounts_are_separate(f: &Fixture) {
    let bob = f.store.create_account("bob", b"password").unwrap().id;
    assert_ne!(bob, f.account);
    f.create("work");
    assert!(matches!(f.store.mailbox(bob, "work"), Err(Error::NotFound(_))));
    assert_ne!(f.store.mailbox(bob, "INBOX").unwrap().id, f.inbox);
    let names: Vec<String> = f.store.accounts().unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["ann@example.org", "bob"]);
}

fn secret_stays_the_same(f: &Fixture) {
    let secret = f.store.store_secret().unwrap();
    assert!(secret.len() == 32 && secret == f.store.store_secret().unwrap());
}

fn error_texts_contain_no_names(f: &Fixture) {
    let error = f.store.mailbox(f.account, "Affair with Bob").unwrap_err();
    assert!(!format!("{error}{error:?}").contains("Bob"));
}
