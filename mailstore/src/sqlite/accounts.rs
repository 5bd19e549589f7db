//! The statements about accounts, their passwords and their keys.

use super::after_commit::AfterCommit;
use super::mailboxes;
use crate::error::{Error, Result};
use crate::passwords::{LoginRecord, PasswordRecord};
use crate::types::{Account, AccountId, LoginKeys, Quota, SpecialUse};
use rusqlite::{Connection, OptionalExtension};

pub(super) fn create(tx: &Connection, name: &str, derived: &PasswordRecord) -> Result<Account> {
    if find(tx, name)?.is_some() {
        return Err(Error::Exists("account"));
    }
    tx.execute(
        "INSERT INTO accounts (name, verifier, last_uid_validity) VALUES (?1, ?2, 0)",
        (name, &derived.verifier),
    )?;
    let id = AccountId(tx.last_insert_rowid());
    insert_keys(tx, id, &derived.keys)?;
    // No session of the new account is there to be told.
    let (quota, after_commit) = (&Quota::UNLIMITED, &mut AfterCommit::default());
    mailboxes::create(tx, after_commit, quota, id, "INBOX", None)?;
    mailboxes::subscribe(tx, after_commit, quota, id, "INBOX")?;
    for special_use in SpecialUse::ALL {
        mailboxes::create(tx, after_commit, quota, id, special_use.mailbox_name(), Some(special_use))?;
        mailboxes::subscribe(tx, after_commit, quota, id, special_use.mailbox_name())?;
    }
    Ok(Account { id, name: name.to_owned() })
}

pub(super) fn list(tx: &rusqlite::Transaction<'_>) -> Result<Vec<Account>> {
    let mut statement = tx.prepare_cached("SELECT id, name FROM accounts ORDER BY name")?;
    let rows =
        statement.query_map([], |row| Ok(Account { id: AccountId(row.get(0)?), name: row.get(1)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn find(tx: &Connection, name: &str) -> Result<Option<LoginRecord>> {
    let text = "SELECT id, name, verifier, EXISTS (SELECT 1 FROM login_keys WHERE account = id) \
                FROM accounts WHERE name = ?1";
    Ok(tx
        .prepare_cached(text)?
        .query_row([name], |row| {
            let account = Account { id: AccountId(row.get(0)?), name: row.get(1)? };
            Ok(LoginRecord { account, verifier: row.get(2)?, has_keys: row.get(3)? })
        })
        .optional()?)
}

/// Returns the account with this identifier.
pub(super) fn find_by_id(tx: &Connection, account: AccountId) -> Result<Account> {
    let text = "SELECT name FROM accounts WHERE id = ?1";
    let name = tx.prepare_cached(text)?.query_row([account.0], |row| row.get(0)).optional()?;
    Ok(Account { id: account, name: name.ok_or(Error::NotFound("account"))? })
}

/// Sets a new password and deletes the keys of the old one.
pub(super) fn replace(tx: &Connection, account: AccountId, derived: &PasswordRecord) -> Result<()> {
    if tx.execute("UPDATE accounts SET verifier = ?2 WHERE id = ?1", (account.0, &derived.verifier))? == 0 {
        return Err(Error::NotFound("account"));
    }
    tx.execute("DELETE FROM login_keys WHERE account = ?1", [account.0])?;
    insert_keys(tx, account, &derived.keys)
}

/// Stores keys of the password that `stored` was verified with, unless the password was changed since.
pub(super) fn add_keys(tx: &Connection, stored: &LoginRecord, keys: &[LoginKeys]) -> Result<()> {
    match find(tx, &stored.account.name)? {
        Some(now) if now.verifier == stored.verifier && !now.has_keys => {
            insert_keys(tx, now.account.id, keys)
        }
        _ => Ok(()),
    }
}

pub(super) fn login_keys(tx: &Connection, name: &str, kind: &str) -> Result<Option<String>> {
    let text = "SELECT keys FROM login_keys JOIN accounts ON id = account WHERE name = ?1 AND kind = ?2";
    Ok(tx.prepare_cached(text)?.query_row((name, kind), |row| row.get(0)).optional()?)
}

pub(super) fn store_secret(tx: &Connection) -> Result<Vec<u8>> {
    Ok(tx.query_row("SELECT secret FROM own_secret", [], |row| row.get(0))?)
}

fn insert_keys(tx: &Connection, account: AccountId, keys: &[LoginKeys]) -> Result<()> {
    let mut insert = tx.prepare_cached("INSERT INTO login_keys (account, kind, keys) VALUES (?1, ?2, ?3)")?;
    for keys in keys {
        insert.execute((account.0, &*keys.kind, &keys.text))?;
    }
    Ok(())
}
