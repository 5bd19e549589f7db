//! The accounts of a mail client, and their encrypted secrets.

use crate::client_accounts::{
    ClientAccount, ClientSync, Reseal, SealedSecret, SecretChange, SecretKeyRecord, check_account_count,
    check_name, check_next_key, check_secret, check_secret_count, check_settings, check_state, check_sync,
    resealed,
};
use crate::error::{Error, Result};
use crate::types::ClientAccountId;
use rusqlite::{Connection, OptionalExtension, Row};

/// Version 15 added the accounts of a client. An identifier is never used again, so that the secret of a removed account does not
/// decrypt as one of another account.
pub(super) const TABLES: &str = "
CREATE TABLE client_accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    settings TEXT NOT NULL,
    state TEXT NOT NULL,
    last_sync_at INTEGER,
    last_sync_status TEXT,
    last_sync_error TEXT,
    last_sync_imported INTEGER NOT NULL DEFAULT 0,
    last_sync_duplicates INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE client_secrets (
    account INTEGER NOT NULL REFERENCES client_accounts (id) ON DELETE CASCADE,
    field TEXT NOT NULL,
    key_number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account, field)
) STRICT;

-- The key in force. `key_check` is a value by which the client recognizes it.
CREATE TABLE client_secret_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    key_check BLOB NOT NULL
) STRICT;
";

const COLUMNS: &str =
    "id, name, settings, state, last_sync_at, last_sync_status, last_sync_error, last_sync_imported,
    last_sync_duplicates";

pub(super) fn add(tx: &Connection, name: &str, settings: &str, state: &str) -> Result<ClientAccountId> {
    check_name(name)?;
    check_settings(settings)?;
    check_state(state)?;
    if tx.prepare_cached("SELECT 1 FROM client_accounts WHERE name = ?1")?.exists([name])? {
        return Err(Error::Exists("account"));
    }
    check_account_count(tx.query_row("SELECT count(*) FROM client_accounts", (), |row| row.get(0))?)?;
    tx.execute(
        "INSERT INTO client_accounts (name, settings, state) VALUES (?1, ?2, ?3)",
        (name, settings, state),
    )?;
    Ok(ClientAccountId(tx.last_insert_rowid()))
}

pub(super) fn list(tx: &Connection) -> Result<Vec<ClientAccount>> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM client_accounts ORDER BY name"))?;
    let rows = statement.query_map((), read_account)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn find(tx: &Connection, name: &str) -> Result<Option<ClientAccount>> {
    let mut statement =
        tx.prepare_cached(&format!("SELECT {COLUMNS} FROM client_accounts WHERE name = ?1"))?;
    Ok(statement.query_row([name], read_account).optional()?)
}

pub(super) fn set_settings(tx: &Connection, account: ClientAccountId, settings: &str) -> Result<()> {
    check_settings(settings)?;
    changed(tx.execute("UPDATE client_accounts SET settings = ?2 WHERE id = ?1", (account.0, settings))?)
}

pub(super) fn set_state(
    tx: &Connection,
    account: ClientAccountId,
    state: &str,
    unless: Option<&str>,
) -> Result<bool> {
    check_state(state)?;
    require(tx, account)?;
    let changed = tx.execute(
        "UPDATE client_accounts SET state = ?2 WHERE id = ?1 AND (?3 IS NULL OR state != ?3)",
        (account.0, state, unless),
    )?;
    Ok(changed > 0)
}

pub(super) fn record_sync(tx: &Connection, account: ClientAccountId, sync: &ClientSync) -> Result<()> {
    check_sync(sync)?;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    changed(tx.execute(
        "UPDATE client_accounts SET last_sync_at = ?2, last_sync_status = ?3, last_sync_error = ?4,
            last_sync_imported = ?5, last_sync_duplicates = ?6 WHERE id = ?1",
        (account.0, sync.at, &sync.status, &sync.error, count(sync.imported), count(sync.duplicates)),
    )?)
}

pub(super) fn remove(tx: &Connection, account: ClientAccountId) -> Result<()> {
    changed(tx.execute("DELETE FROM client_accounts WHERE id = ?1", [account.0])?)
}

pub(super) fn key(tx: &Connection) -> Result<Option<SecretKeyRecord>> {
    let mut statement = tx.prepare_cached("SELECT number, key_check FROM client_secret_key")?;
    let read = |row: &Row<'_>| Ok(SecretKeyRecord { number: row.get(0)?, check: row.get(1)? });
    Ok(statement.query_row((), read).optional()?)
}

pub(super) fn set_first_key(tx: &Connection, first: &SecretKeyRecord) -> Result<SecretKeyRecord> {
    if let Some(in_force) = key(tx)? {
        return Ok(in_force);
    }
    set_key(tx, first)?;
    Ok(first.clone())
}

fn set_key(tx: &Connection, key: &SecretKeyRecord) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO client_secret_key (id, number, key_check) VALUES (1, ?1, ?2)",
        (key.number, &key.check),
    )?;
    Ok(())
}

pub(super) fn secrets(tx: &Connection, account: ClientAccountId) -> Result<Vec<SealedSecret>> {
    require(tx, account)?;
    let mut statement = tx.prepare_cached(
        "SELECT field, key_number, sealed FROM client_secrets WHERE account = ?1 ORDER BY field",
    )?;
    let rows = statement.query_map([account.0], |row| {
        Ok(SealedSecret { field: row.get(0)?, key_number: row.get(1)?, sealed: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn change_secrets(
    tx: &Connection,
    account: ClientAccountId,
    changes: &[SecretChange],
) -> Result<()> {
    require(tx, account)?;
    let number = key(tx)?.map(|key| key.number);
    for change in changes {
        match change {
            SecretChange::Set(secret) => {
                check_secret(secret, number)?;
                set_secret(tx, account, secret)?;
            }
            SecretChange::Remove(field) => {
                tx.execute(
                    "DELETE FROM client_secrets WHERE account = ?1 AND field = ?2",
                    (account.0, field),
                )?;
            }
        }
    }
    let count = "SELECT count(*) FROM client_secrets WHERE account = ?1";
    check_secret_count(tx.query_row(count, [account.0], |row| row.get(0))?)
}

/// Replaces the key in force and all secrets. The secrets of one account at a time are in memory.
pub(super) fn replace_key(tx: &Connection, next: &SecretKeyRecord, reseal: &mut Reseal<'_>) -> Result<u64> {
    check_next_key(next, key(tx)?.map(|key| key.number))?;
    let mut count = 0;
    let mut statement = tx.prepare_cached("SELECT id FROM client_accounts")?;
    let accounts: Vec<i64> = statement.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for account in accounts.into_iter().map(ClientAccountId) {
        for old in secrets(tx, account)? {
            set_secret(tx, account, &resealed(account, &old, next, reseal)?)?;
            count += 1;
        }
    }
    set_key(tx, next)?;
    Ok(count)
}

fn set_secret(tx: &Connection, account: ClientAccountId, secret: &SealedSecret) -> Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO client_secrets (account, field, key_number, sealed) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((account.0, &secret.field, secret.key_number, &secret.sealed))?;
    Ok(())
}

fn require(tx: &Connection, account: ClientAccountId) -> Result<()> {
    let found = tx.prepare_cached("SELECT 1 FROM client_accounts WHERE id = ?1")?.exists([account.0])?;
    changed(usize::from(found))
}

fn changed(rows: usize) -> Result<()> {
    if rows == 0 { Err(Error::NotFound("account")) } else { Ok(()) }
}

fn read_account(row: &Row<'_>) -> rusqlite::Result<ClientAccount> {
    let at: Option<i64> = row.get(4)?;
    let last_sync = at.map(|at| {
        Ok::<_, rusqlite::Error>(ClientSync {
            at,
            status: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            error: row.get(6)?,
            imported: row.get(7)?,
            duplicates: row.get(8)?,
        })
    });
    Ok(ClientAccount {
        id: ClientAccountId(row.get(0)?),
        name: row.get(1)?,
        settings: row.get(2)?,
        state: row.get(3)?,
        last_sync: last_sync.transpose()?,
    })
}
