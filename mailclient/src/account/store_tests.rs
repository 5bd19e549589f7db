//! Tests of [`AccountStore`] over both stores.

use std::sync::Arc;

use mailstore::{ClientAccountStore, MemoryStore, SealedSecret, SecretChange};
use proto_mail::{Credentials, Secret};

use super::*;
use crate::endpoint::{CredentialSource, Protocol};
use crate::error::{Error, ErrorKind};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn key() -> EncryptionKey {
    EncryptionKey::from_base64(KEY).unwrap()
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new().unwrap())
}

fn settings(address: &str) -> AccountSettings {
    let server = ServerForm { host: "mail.example".to_owned(), ..ServerForm::default() };
    let form = AccountForm {
        address: address.to_owned(),
        imap: Some(server.clone()),
        smtp: Some(server),
        ..AccountForm::default()
    };
    form.check().unwrap().1
}

fn put(store: &AccountStore, account: AccountId, field: SecretField, secret: &str) {
    store.put_secrets(account, &[(field, Some(&Secret::from(secret)))]).unwrap();
}

fn text(store: &AccountStore, account: AccountId, field: SecretField) -> Option<String> {
    let secret = store.secret(account, field).unwrap();
    secret.map(|secret| String::from_utf8(secret.expose().clone()).unwrap())
}

#[test]
fn keeps_accounts_states_and_reports() {
    let store = AccountStore::new(memory(), []);
    let id = store.add("work", &settings("ann@example.org")).unwrap();
    assert!(matches!(store.add("Work", &settings("b@example.org")), Err(AccountError::Exists(_))));
    assert!(matches!(store.get("other"), Err(AccountError::NotFound(_))));
    let account = store.get("WORK").unwrap();
    assert_eq!((account.state, account.last_sync.as_ref()), (AccountState::Unset, None));
    assert_eq!(account.settings, settings("ann@example.org"));
    for state in AccountState::ALL {
        store.set_state(id, state).unwrap();
        assert_eq!(store.get("work").unwrap().state, state);
    }
    // The last state was `Paused`.
    store.set_state(id, AccountState::Connected).unwrap();
    assert_eq!(store.get("work").unwrap().state, AccountState::Paused);
    store.resume("work").unwrap();
    assert_eq!(store.get("work").unwrap().state, AccountState::Unset);
    store.set_state(id, AccountState::Connected).unwrap();
    store.resume("work").unwrap();
    let report = SyncReport {
        at: 1_700_000_000,
        status: SyncStatus::Partial,
        error: Some("é".repeat(2_000)),
        imported: 3,
        duplicates: 1,
    };
    store.record_sync(id, &report).unwrap();
    store.set_settings(id, &settings("new@example.org")).unwrap();
    let json = serde_json::to_value(&store.list().unwrap()[0]).unwrap();
    assert_eq!(json["last_sync_error"].as_str().unwrap().len(), 1024);
    assert_eq!(json["imap"]["security"], "tls");
    for (field, value) in [
        ("name", "work"),
        ("address", "new@example.org"),
        ("state", "connected"),
        ("auth_mode", "password"),
        ("last_sync_at", "2023-11-14T22:13:20Z"),
        ("last_sync_status", "partial"),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    assert_eq!((&json["last_sync_imported"], &json["last_sync_duplicates"]), (&3.into(), &1.into()));
    store.remove(id).unwrap();
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn without_a_key_no_secret_is_stored_or_read() {
    let shared = memory();
    let (locked, open) = (AccountStore::new(shared.clone(), []), AccountStore::new(shared.clone(), [key()]));
    let id = locked.add("work", &settings("ann@example.org")).unwrap();
    let missing = |outcome: Result<(), AccountError>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "email_encryption_key_missing");
        let error = Error::from(error);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Configuration, Some("email_encryption_key_missing"))
        );
    };
    missing(locked.check_key());
    missing(locked.put_secrets(id, &[(SecretField::Password, Some(&Secret::from("hunter2")))]));
    missing(locked.put_secrets(id, &[(SecretField::Password, None)]));
    missing(locked.secret(id, SecretField::Password).map(|_| ()));
    assert!(shared.sealed_secrets(id).unwrap().is_empty() && shared.secret_key().unwrap().is_none());
    put(&open, id, SecretField::Password, "hunter2");
    missing(locked.check_key());
    missing(locked.secret(id, SecretField::Password).map(|_| ()));
    missing(locked.rekey(&key()).map(|_| ()));
    let account = open.get("work").unwrap();
    missing(AccountCredentials::new(&locked, &account, Protocol::Imap).map(|_| ()));
    assert_eq!(locked.secret_fields(id).unwrap(), [SecretField::Password]);
}

#[test]
fn replaces_several_secrets_together() {
    let store = AccountStore::new(memory(), [key()]);
    let id = store.add("work", &settings("ann@example.org")).unwrap();
    let (refresh, access) = (Secret::from("refresh-1"), Secret::from("access-1"));
    let both = [(SecretField::RefreshToken, Some(&refresh)), (SecretField::AccessToken, Some(&access))];
    store.put_secrets(id, &both).unwrap();
    let long = Secret::new(vec![b'x'; SECRET_LIMIT + 1]);
    let changes = [
        (SecretField::RefreshToken, Some(&access)),
        (SecretField::AccessToken, None),
        (SecretField::Password, Some(&long)),
    ];
    assert!(matches!(
        store.put_secrets(id, &changes),
        Err(AccountError::SecretLength(SecretField::Password))
    ));
    assert_eq!(text(&store, id, SecretField::RefreshToken).as_deref(), Some("refresh-1"));
    store.put_secrets(id, &changes[..2]).unwrap();
    assert_eq!(text(&store, id, SecretField::RefreshToken).as_deref(), Some("access-1"));
    assert_eq!(text(&store, id, SecretField::AccessToken), None);
}

#[test]
fn a_wrong_key_or_a_moved_secret_is_an_error() {
    let shared = memory();
    let store = AccountStore::new(shared.clone(), [key()]);
    let one = store.add("one", &settings("one@example.org")).unwrap();
    let two = store.add("two", &settings("two@example.org")).unwrap();
    put(&store, one, SecretField::Password, "hunter2");

    let wrong = AccountStore::new(shared.clone(), [EncryptionKey::generate().unwrap()]);
    for outcome in [
        wrong.check_key(),
        wrong.secret(one, SecretField::Password).map(|_| ()),
        wrong.put_secrets(two, &[(SecretField::Password, Some(&Secret::from("x")))]),
        wrong.rekey(&key()).map(|_| ()),
    ] {
        assert_eq!(outcome.unwrap_err().code(), "email_encryption_key_mismatch");
    }

    let sealed = shared.sealed_secrets(one).unwrap().remove(0);
    shared.change_secrets(two, &[SecretChange::Set(sealed.clone())]).unwrap();
    let moved = SealedSecret { field: "refresh_token".to_owned(), ..sealed.clone() };
    shared.change_secrets(one, &[SecretChange::Set(moved)]).unwrap();
    let mut flipped = sealed;
    *flipped.sealed.last_mut().unwrap() ^= 1;
    shared.change_secrets(one, &[SecretChange::Set(flipped)]).unwrap();
    for (account, field) in
        [(two, SecretField::Password), (one, SecretField::RefreshToken), (one, SecretField::Password)]
    {
        let error = store.secret(account, field).unwrap_err();
        assert!(matches!(error, AccountError::SecretDamaged(found) if found == field), "{error:?}");
        assert_eq!(error.code(), "secret_damaged");
    }
    let error = store.rekey(&EncryptionKey::generate().unwrap()).unwrap_err();
    assert_eq!(error.code(), "secret_damaged");
    assert_eq!(shared.secret_key().unwrap().unwrap().number, 1, "nothing has changed");
}

#[test]
fn rekey_encrypts_all_secrets_with_the_next_key() {
    let shared = memory();
    let store = AccountStore::new(shared.clone(), [key()]);
    let ids: Vec<AccountId> = (0..5)
        .map(|n| store.add(&format!("a{n}"), &settings("ann@example.org")).unwrap())
        .inspect(|id| put(&store, *id, SecretField::Password, &format!("secret-{}", id.0)))
        .collect();
    put(&store, ids[0], SecretField::RefreshToken, "refresh");
    let before = shared.sealed_secrets(ids[0]).unwrap();
    let next = EncryptionKey::generate().unwrap();
    assert_eq!(store.rekey(&next).unwrap(), 6);
    assert_eq!(
        store.secret(ids[0], SecretField::Password).unwrap_err().code(),
        "email_encryption_key_mismatch"
    );
    let with_next = AccountStore::new(shared.clone(), [key(), next]);
    for id in &ids {
        assert_eq!(text(&with_next, *id, SecretField::Password), Some(format!("secret-{}", id.0)));
    }
    let after = shared.sealed_secrets(ids[0]).unwrap();
    assert!(after.iter().all(|secret| secret.key_number == 2 && !before.contains(secret)));
    // A process that still has the earlier key cannot store anything any more.
    let outcome = store.put_secrets(ids[0], &[(SecretField::Password, Some(&Secret::from("x")))]);
    assert_eq!(outcome.unwrap_err().code(), "email_encryption_key_mismatch");
}

#[test]
fn credentials_are_those_of_the_server() {
    let store = AccountStore::new(memory(), [key()]);
    let id = store.add("work", &settings("ann@example.org")).unwrap();
    let account = store.get("work").unwrap();
    let error = AccountCredentials::new(&store, &account, Protocol::Imap).unwrap_err();
    assert_eq!(error.code(), "password_missing");
    put(&store, id, SecretField::Password, "hunter2");
    let source = AccountCredentials::new(&store, &account, Protocol::Smtp).unwrap();
    assert!(!format!("{source:?} {store:?}").contains("hunter2"));
    let Credentials::Password { username, password, .. } = source.credentials().unwrap() else {
        panic!("not a password");
    };
    assert_eq!((username.as_str(), password.expose().as_slice()), ("ann@example.org", &b"hunter2"[..]));
}
