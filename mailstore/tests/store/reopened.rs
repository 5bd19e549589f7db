//! Tests stores that are reopened: after a crash, by another process, from another version.

use super::{Fixture, fixture, support};
use mailstore::*;

#[test]
fn reopened_store_keeps_messages_and_deletes_orphaned_files() {
    let f = fixture();
    f.deliver(&vec![b'z'; 80_000], &[f.inbox], &[]);
    let orphan = f.directory.path().join("messages").join("0123");
    std::fs::write(&orphan, b"cut short").unwrap();
    let second = SqliteStore::open(f.directory.path()).unwrap();
    assert!(orphan.exists(), "an open store keeps its orphans");
    drop(second);
    let Fixture { store, inbox, directory, .. } = f;
    drop(store);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert!(!orphan.exists());
    let page = store.fetch_page(inbox, &UidSet::all(), Columns::summary(), 10).unwrap();
    assert_eq!(
        store.open_content(page.messages[0].content).unwrap().read(0, 90_000).unwrap(),
        [b'z'; 80_000]
    );
}

#[test]
fn removes_messages_of_interrupted_copies() {
    let f = fixture();
    for number in 0..25 {
        f.deliver(format!("Subject: {number}\r\n\r\nx\r\n").as_bytes(), &[f.inbox], &[]);
    }
    let [cut, whole, deleted] =
        ["cut", "whole", "deleted"].map(|name| f.store.create_mailbox(f.account, name, None).unwrap());
    f.deliver(b"Subject: before\r\n\r\nx\r\n", &[cut], &[]);
    let part = |to, from: u32, part_of| {
        f.store.copy_part(f.inbox, &UidSet::all().starting_at(from), to, 10, part_of).unwrap()
    };
    // Two interleaved copies: one is finished, the other is not.
    let (first, second) = (part(cut, 1, None), part(whole, 1, None));
    assert!(first.unfinished.is_some() && first.unfinished != second.unfinished);
    f.deliver(b"Subject: between\r\n\r\nx\r\n", &[cut], &[]);
    let going_on = part(cut, first.next.unwrap(), first.unfinished);
    assert_eq!(going_on.unfinished, first.unfinished);
    let going_on = part(whole, second.next.unwrap(), second.unfinished);
    let last = part(whole, going_on.next.unwrap(), going_on.unfinished);
    assert_eq!((last.next, last.unfinished), (None, None));
    part(deleted, 1, None);
    f.store.delete_mailbox(f.account, "deleted").unwrap();

    let Fixture { store, inbox, directory, .. } = f;
    drop(store);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.undo_unfinished_copies().unwrap(), 20);
    let left = |mailbox| store.uid_page(mailbox, 1, u32::MAX, 100).unwrap().uids;
    assert_eq!(left(cut), [1, 12]);
    assert_eq!((left(inbox).len(), left(whole).len()), (25, 25));
    assert_eq!(store.undo_unfinished_copies().unwrap(), 0);
}

#[test]
fn keeps_messages_of_a_forgotten_copy() {
    let f = fixture();
    for _ in 0..3 {
        f.deliver(b"Subject: x\r\n\r\nx\r\n", &[f.inbox], &[]);
    }
    let copied = f.store.copy_part(f.inbox, &UidSet::all(), f.inbox, 2, None).unwrap();
    f.store.forget_copy(copied.unfinished.unwrap()).unwrap();
    assert_eq!(f.store.undo_unfinished_copies().unwrap(), 0);
    assert_eq!(f.store.status(f.inbox).unwrap().messages, 5);
    // A copy of one part is not recorded.
    assert_eq!(f.store.copy_part(f.inbox, &UidSet::one(1), f.inbox, 2, None).unwrap().unfinished, None);
}

#[test]
fn rejects_newer_and_foreign_databases() {
    let f = fixture();
    drop(f.store);
    let database = f.directory.path().join("mail.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let written: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = SqliteStore::open(f.directory.path()).unwrap_err();
    let is_right = matches!(error, Error::NewerSchema { found: 99, supported } if supported == written);
    assert!(is_right, "{error}");

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("mail.db"), vec![b'?'; 8192]).unwrap();
    assert!(matches!(SqliteStore::open(other.path()), Err(Error::Corrupt(_))));
}

/// Converts a database from version 3 to version 2.
const TO_VERSION_2: &str =
    "DROP TABLE remote_unfetched; DROP TABLE mailbox_keywords; ALTER TABLE messages DROP COLUMN keyword_bits;
    ALTER TABLE messages ADD COLUMN keywords TEXT; PRAGMA user_version = 2";

#[test]
fn keeps_keywords_when_upgrading_from_version_2() {
    let f = fixture();
    let other = f.mailbox("other");
    for mailbox in [f.inbox, f.inbox, other] {
        f.deliver(b"x", &[mailbox], &[]);
    }
    drop(f.store);
    support::downgrade(f.directory.path());
    let connection = rusqlite::Connection::open(f.directory.path().join("mail.db")).unwrap();
    connection.execute_batch(TO_VERSION_2).unwrap();
    connection.execute_batch("UPDATE messages SET keywords = 'Beta $Work' WHERE uid = 1").unwrap();
    drop(connection);
    let store = SqliteStore::open(f.directory.path()).unwrap();
    let flags = |mailbox| {
        let page = store.fetch_page(mailbox, &UidSet::all(), Columns::summary(), 10).unwrap();
        page.messages.iter().map(|message| message.flags.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(flags(f.inbox), ["Beta $Work", ""]);
    assert_eq!(flags(other), ["Beta $Work"]);
}

/// Version 1 had no login keys and no secret.
#[test]
fn derives_login_keys_with_each_password_and_at_the_next_login() {
    let f = fixture();
    assert_eq!(f.store.login_keys("ann@example.org", "LENGTH").unwrap(), None);
    drop(f.store);
    support::downgrade(f.directory.path());
    let connection = rusqlite::Connection::open(f.directory.path().join("mail.db")).unwrap();
    connection
        .execute_batch(&format!(
            "DROP TABLE login_keys; DROP TABLE own_secret; {TO_VERSION_2}; PRAGMA user_version = 1"
        ))
        .unwrap();
    drop(connection);

    let make = |password: &[u8]| vec![LoginKeys { kind: "LENGTH".into(), text: password.len().to_string() }];
    let store = SqliteStore::open(f.directory.path()).unwrap().with_key_maker(std::sync::Arc::new(make));
    let keys = || store.login_keys("ANN@example.org", "LENGTH").unwrap();
    assert_eq!(store.verify_password("ann@example.org", b"wrong").unwrap(), None);
    assert_eq!(keys(), None, "a wrong password leaves nothing");
    assert_eq!(store.verify_password("ann@example.org", b"right").unwrap(), Some(f.account));
    assert_eq!(keys().as_deref(), Some("5"));
    store.set_password(f.account, b"another").unwrap();
    assert_eq!(keys().as_deref(), Some("7"));
    store.create_account("bob", b"x").unwrap();
    assert_eq!(store.login_keys("bob", "LENGTH").unwrap().as_deref(), Some("1"));
    assert_eq!(store.login_keys("bob", "OTHER").unwrap(), None);
    // Another process without a key maker sets a password: the keys of the old password must be deleted.
    SqliteStore::open(f.directory.path()).unwrap().set_password(f.account, b"third").unwrap();
    assert_eq!(keys(), None);
    let secret = store.store_secret().unwrap();
    assert!(secret.len() == 32 && secret == store.store_secret().unwrap());
}
