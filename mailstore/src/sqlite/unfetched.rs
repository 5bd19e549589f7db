//! Remote messages that could not be fetched, which a later sync retries at its end.
//!
//! They belong to the current UIDVALIDITY. Those of another one are removed.

use super::remote;
use crate::error::Result;
use crate::limits::UNFETCHED_LIMIT;
use crate::types::{RemoteMailboxId, UidSet};
use rusqlite::Connection;

pub(super) const TABLE: &str = "
CREATE TABLE remote_unfetched (
    remote_mailbox INTEGER NOT NULL REFERENCES remote_mailboxes (id),
    uid_validity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (remote_mailbox, uid_validity, uid)
) STRICT, WITHOUT ROWID;
";

pub(super) fn record(tx: &Connection, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
    let (_, uid_validity) = remote::load(tx, remote)?;
    tx.prepare_cached("DELETE FROM remote_unfetched WHERE remote_mailbox = ?1 AND uid_validity != ?2")?
        .execute((remote.0, uid_validity))?;
    let known: i64 = tx
        .prepare_cached(
            "SELECT count(*) FROM remote_unfetched WHERE remote_mailbox = ?1 AND uid_validity = ?2",
        )?
        .query_row((remote.0, uid_validity), |row| row.get(0))?;
    let mut left = UNFETCHED_LIMIT.saturating_sub(usize::try_from(known).unwrap_or(usize::MAX));
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO remote_unfetched (remote_mailbox, uid_validity, uid) VALUES (?1, ?2, ?3)",
    )?;
    for uid in uids.ranges().iter().cloned().flatten() {
        if left == 0 {
            break;
        }
        left -= 1;
        insert.execute((remote.0, uid_validity, uid))?;
    }
    Ok(())
}

pub(super) fn list(tx: &Connection, remote: RemoteMailboxId) -> Result<UidSet> {
    let (_, uid_validity) = remote::load(tx, remote)?;
    let mut statement = tx.prepare_cached(
        "SELECT uid FROM remote_unfetched WHERE remote_mailbox = ?1 AND uid_validity = ?2 ORDER BY uid",
    )?;
    let rows = statement.query_map((remote.0, uid_validity), |row| row.get::<_, u32>(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<u32>>>()?.into_iter().collect())
}

/// Removes UIDs from the record of unfetched messages.
pub(super) fn remove(tx: &Connection, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
    let mut delete = tx
        .prepare_cached("DELETE FROM remote_unfetched WHERE remote_mailbox = ?1 AND uid BETWEEN ?2 AND ?3")?;
    for range in uids.ranges() {
        delete.execute((remote.0, range.start(), range.end()))?;
    }
    Ok(())
}
