//! Metadata (RFC 5464). Triggers of the database count the entries and bytes of each account.

use super::after_commit::AfterCommit;
use super::mailbox_row::check_exists;
use super::quota;
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::metadata::{Annotated, MetadataChange, MetadataEntry, MetadataPage, check};
use crate::quota::check_metadata;
use crate::types::{AccountId, Quota};
use rusqlite::Connection;
use std::ops::Range;

/// The value of the column `mailbox` for the entries of the server.
const SERVER: i64 = 0;

pub(super) fn page(
    tx: &Connection,
    account: AccountId,
    of: Annotated,
    names: &Range<&str>,
    max_size: u64,
) -> Result<MetadataPage> {
    let mailbox = column(tx, account, of)?;
    let mut statement = tx.prepare_cached(
        "SELECT name, length(value), CASE WHEN length(value) <= ?5 THEN value END FROM metadata
         WHERE account = ?1 AND mailbox = ?2 AND name >= ?3 AND name < ?4 ORDER BY name",
    )?;
    let max_size = i64::try_from(max_size).unwrap_or(i64::MAX);
    let rows = statement.query_map((account.0, mailbox, names.start, names.end, max_size), |row| {
        Ok(MetadataEntry { name: row.get(0)?, size: row.get(1)?, value: row.get(2)? })
    })?;
    MetadataPage::collect(rows.map(|row| row.map_err(Error::from)))
}

pub(super) fn set(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    account: AccountId,
    of: Annotated,
    changes: &[MetadataChange],
) -> Result<()> {
    let names = check(changes)?;
    let mailbox = column(tx, account, of)?;
    let mut delete =
        tx.prepare_cached("DELETE FROM metadata WHERE account = ?1 AND mailbox = ?2 AND name = ?3")?;
    let mut insert =
        tx.prepare_cached("INSERT INTO metadata (account, mailbox, name, value) VALUES (?1, ?2, ?3, ?4)")?;
    for (name, change) in names.iter().zip(changes) {
        delete.execute((account.0, mailbox, name))?;
        if let Some(value) = &change.value {
            insert.execute((account.0, mailbox, name, value))?;
        }
    }
    // Entries can be removed over quota.
    if changes.iter().any(|change| change.value.is_some()) {
        let count = tx
            .prepare_cached("SELECT count(*) FROM metadata WHERE account = ?1 AND mailbox = ?2")?
            .query_row((account.0, mailbox), |row| row.get(0))?;
        check_metadata(quota, &quota::usage(tx, account)?, count)?;
    }
    after_commit.note(account, AccountChange::Metadata(of, names));
    Ok(())
}

/// Returns the value of the column `mailbox`.
fn column(tx: &Connection, account: AccountId, of: Annotated) -> Result<i64> {
    let Annotated::Mailbox(mailbox) = of else { return Ok(SERVER) };
    check_exists(tx, account, mailbox)?;
    Ok(mailbox.0)
}
