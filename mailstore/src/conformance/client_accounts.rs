//! The accounts of a mail client, and their encrypted secrets.

use super::case::Case;
use super::fixture::Fixture;
use crate::client_accounts::*;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::types::ClientAccountId;

pub(super) fn cases<S: Store + ClientAccountStore>() -> [Case<S>; 4] {
    [
        Case { name: "keeps_accounts_of_a_client", needs: &[], run: keeps_accounts },
        Case { name: "limits_accounts_of_a_client", needs: &[], run: limits_accounts },
        Case { name: "changes_secrets_together", needs: &[], run: changes_secrets },
        Case { name: "replaces_the_secret_key_completely_or_not", needs: &[], run: replaces_the_key },
    ]
}

const GONE: ClientAccountId = ClientAccountId(99);

fn keeps_accounts<S: Store + ClientAccountStore>(f: &Fixture<S>) {
    let store = &*f.store;
    let work = store.add_client_account("work", "{}", "unset").unwrap();
    let home = store.add_client_account("Home", "{1}", "unset").unwrap();
    assert!(matches!(store.add_client_account("WORK", "", ""), Err(Error::Exists(_))));
    let names: Vec<String> = store.client_accounts().unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["Home", "work"]);
    store.set_client_account_settings(work, "{2}").unwrap();
    assert!(store.set_client_account_state(work, "connected", Some("paused")).unwrap());
    assert!(!store.set_client_account_state(work, "syncing", Some("connected")).unwrap());
    assert!(store.set_client_account_state(home, "connected", None).unwrap());
    let sync = ClientSync {
        at: -1,
        status: "ok".to_owned(),
        error: Some("none".to_owned()),
        imported: 7,
        duplicates: 3,
    };
    store.record_client_sync(work, &sync).unwrap();
    let found = store.client_account("Work").unwrap().unwrap();
    assert_eq!((found.id, found.settings.as_str(), found.state.as_str()), (work, "{2}", "connected"));
    assert_eq!(found.last_sync, Some(sync.clone()));
    let other = store.client_account("home").unwrap().unwrap();
    assert_eq!((other.id, other.settings.as_str(), other.last_sync), (home, "{1}", None));
    store.remove_client_account(home).unwrap();
    store.remove_client_account(work).unwrap();
    assert!(store.client_accounts().unwrap().is_empty() && store.client_account("work").unwrap().is_none());
    let again = store.add_client_account("work", "", "").unwrap();
    assert!(again > home && again > work, "identifiers are not used again");
    for outcome in [
        store.set_client_account_settings(GONE, ""),
        store.set_client_account_state(GONE, "", Some("")).map(|_| ()),
        store.record_client_sync(GONE, &sync),
        store.remove_client_account(GONE),
        store.sealed_secrets(GONE).map(|_| ()),
        store.change_secrets(GONE, &[]),
    ] {
        assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
    }
}

fn limits_accounts<S: Store + ClientAccountStore>(f: &Fixture<S>) {
    let store = &*f.store;
    let long = "x".repeat(CLIENT_ACCOUNT_SETTINGS_LIMIT + 1);
    let over = |outcome: Result<()>| assert!(matches!(outcome, Err(Error::Limit(_))), "{outcome:?}");
    for name in ["", "a\nb"] {
        assert!(matches!(store.add_client_account(name, "", ""), Err(Error::InvalidName(_))));
    }
    over(store.add_client_account(&"x".repeat(CLIENT_ACCOUNT_NAME_LIMIT + 1), "", "").map(|_| ()));
    over(store.add_client_account("a", &long, "").map(|_| ()));
    let account = store.add_client_account("a", "", "").unwrap();
    over(store.set_client_account_settings(account, &long));
    over(store.set_client_account_state(account, &long, None).map(|_| ()));
    over(store.record_client_sync(account, &ClientSync { status: long.clone(), ..ClientSync::default() }));
    over(store.record_client_sync(account, &ClientSync { error: Some(long), ..ClientSync::default() }));
    store.set_first_secret_key(&key(1)).unwrap();
    let large = SealedSecret { sealed: vec![0; SEALED_SECRET_LIMIT + 1], ..secret("a", 1) };
    over(store.change_secrets(account, &[SecretChange::Set(large)]));
    let many: Vec<_> =
        (0..=SEALED_SECRET_COUNT_LIMIT).map(|n| SecretChange::Set(secret(&n.to_string(), 1))).collect();
    over(store.change_secrets(account, &many));
    assert!(store.sealed_secrets(account).unwrap().is_empty());
}

fn key(number: u32) -> SecretKeyRecord {
    SecretKeyRecord { number, check: vec![number.to_le_bytes()[0]; 9] }
}

fn secret(field: &str, key_number: u32) -> SealedSecret {
    SealedSecret { field: field.to_owned(), key_number, sealed: field.as_bytes().to_vec() }
}

fn changes_secrets<S: Store + ClientAccountStore>(f: &Fixture<S>) {
    let store = &*f.store;
    let account = store.add_client_account("a", "", "").unwrap();
    let set = |field: &str, number| SecretChange::Set(secret(field, number));
    assert!(matches!(store.change_secrets(account, &[set("password", 1)]), Err(Error::Refused(_))));
    assert_eq!(store.secret_key().unwrap(), None);
    assert_eq!(store.set_first_secret_key(&key(1)).unwrap(), key(1));
    assert_eq!(store.set_first_secret_key(&key(7)).unwrap(), key(1), "there is one already");
    store.change_secrets(account, &[set("refresh", 1), set("access", 1)]).unwrap();
    let changes = [SecretChange::Remove("access".to_owned()), set("password", 1), set("refresh", 2)];
    assert!(matches!(store.change_secrets(account, &changes), Err(Error::Refused(_))));
    assert_eq!(store.sealed_secrets(account).unwrap(), [secret("access", 1), secret("refresh", 1)]);
    let changed = SealedSecret { sealed: b"new".to_vec(), ..secret("refresh", 1) };
    let changes = [
        SecretChange::Remove("access".to_owned()),
        SecretChange::Remove("none".to_owned()),
        SecretChange::Set(changed.clone()),
    ];
    store.change_secrets(account, &changes).unwrap();
    assert_eq!(store.sealed_secrets(account).unwrap(), [changed]);
    store.remove_client_account(account).unwrap();
    let other = store.add_client_account("a", "", "").unwrap();
    assert!(store.sealed_secrets(other).unwrap().is_empty());
}

fn replaces_the_key<S: Store + ClientAccountStore>(f: &Fixture<S>) {
    let store = &*f.store;
    let (one, two) =
        (store.add_client_account("a", "", "").unwrap(), store.add_client_account("b", "", "").unwrap());
    let mut never = |_: ClientAccountId, _: &SealedSecret| None;
    assert!(matches!(store.replace_secret_key(&key(2), &mut never), Err(Error::Refused(_))));
    store.set_first_secret_key(&key(1)).unwrap();
    for (account, field) in [(one, "p"), (one, "q"), (two, "p")] {
        store.change_secrets(account, &[SecretChange::Set(secret(field, 1))]).unwrap();
    }
    let mut good = |account: ClientAccountId, old: &SealedSecret| {
        let sealed = format!("{}{}", account.0, old.field).into_bytes();
        Some(SealedSecret { sealed, key_number: 2, ..old.clone() })
    };
    let mut left = 2;
    let mut fails = |account, old: &SealedSecret| {
        left -= 1;
        (left > 0).then(|| good(account, old)).flatten()
    };
    assert!(matches!(store.replace_secret_key(&key(2), &mut fails), Err(Error::Refused(_))));
    let mut wrong_number = |_, old: &SealedSecret| Some(old.clone());
    assert!(matches!(store.replace_secret_key(&key(2), &mut wrong_number), Err(Error::Refused(_))));
    let mut wrong_field = |_, _: &SealedSecret| Some(secret("other", 2));
    assert!(matches!(store.replace_secret_key(&key(2), &mut wrong_field), Err(Error::Refused(_))));
    assert!(matches!(store.replace_secret_key(&key(3), &mut good), Err(Error::Refused(_))), "2 follows 1");
    assert_eq!(store.sealed_secrets(one).unwrap(), [secret("p", 1), secret("q", 1)]);
    assert_eq!(store.secret_key().unwrap(), Some(key(1)));
    assert_eq!(store.replace_secret_key(&key(2), &mut good).unwrap(), 3);
    assert_eq!(store.secret_key().unwrap(), Some(key(2)));
    let of = |account| -> Vec<_> {
        store.sealed_secrets(account).unwrap().into_iter().map(|one| (one.key_number, one.sealed)).collect()
    };
    assert_eq!(of(one), [(2, format!("{}p", one.0).into_bytes()), (2, format!("{}q", one.0).into_bytes())]);
    assert_eq!(of(two), [(2, format!("{}p", two.0).into_bytes())]);
}
