//! What is known of remote mailboxes besides the messages themselves, and the records of imported messages.

use super::remote;
use crate::error::{Error, Result};
use crate::remote_types::{ImportRecord, RemoteFolder, RemoteState};
use crate::types::{MailboxId, RemoteAccountId, RemoteMailboxId, SpecialUse, UidSet};
use rusqlite::{Connection, OptionalExtension, Row};

/// Version 11 added the state of remote mailboxes, and a mark for messages that the remote server has removed.
pub(super) const COLUMNS: &str = "
ALTER TABLE remote_mailboxes ADD COLUMN object_id TEXT;
ALTER TABLE remote_mailboxes ADD COLUMN highest_modseq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE remote_mailboxes ADD COLUMN uid_next INTEGER NOT NULL DEFAULT 0;
ALTER TABLE remote_mailboxes ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE remote_mailboxes ADD COLUMN is_gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE remote_messages ADD COLUMN is_removed INTEGER NOT NULL DEFAULT 0;
";

pub(super) fn folders(tx: &Connection, remote: RemoteAccountId) -> Result<Vec<RemoteFolder>> {
    let mut statement = tx.prepare_cached(
        "SELECT id, name, mailbox, uid_validity, object_id, highest_modseq, uid_next, messages, is_gone
         FROM remote_mailboxes WHERE remote = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([remote.0], |row| {
        let state = RemoteState {
            object_id: row.get(4)?,
            highest_modseq: row.get(5)?,
            uid_next: row.get(6)?,
            messages: row.get(7)?,
            is_gone: row.get(8)?,
        };
        Ok(RemoteFolder {
            id: RemoteMailboxId(row.get(0)?),
            name: row.get(1)?,
            mailbox: MailboxId(row.get(2)?),
            uid_validity: row.get(3)?,
            state,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn set(tx: &Connection, remote: RemoteMailboxId, state: &RemoteState) -> Result<()> {
    let highest_modseq = i64::try_from(state.highest_modseq).unwrap_or_default();
    let changed = tx
        .prepare_cached(
            "UPDATE remote_mailboxes SET object_id = ?2, highest_modseq = ?3, uid_next = ?4, messages = ?5,
                 is_gone = ?6 WHERE id = ?1",
        )?
        .execute((
            remote.0,
            &state.object_id,
            highest_modseq,
            state.uid_next,
            state.messages,
            state.is_gone,
        ))?;
    if changed == 0 { Err(Error::NotFound("remote mailbox")) } else { Ok(()) }
}

/// Gives remote mailboxes other names. All of them get a name that no mailbox has first, so that two may swap names.
pub(super) fn rename(
    tx: &Connection,
    remote: RemoteAccountId,
    names: &[(RemoteMailboxId, String)],
) -> Result<()> {
    let mut clear =
        tx.prepare_cached("UPDATE remote_mailboxes SET name = char(0) || id WHERE id = ?1 AND remote = ?2")?;
    for (id, _) in names {
        if clear.execute((id.0, remote.0))? == 0 {
            return Err(Error::NotFound("remote mailbox"));
        }
    }
    let mut detach = tx.prepare_cached(
        "UPDATE remote_mailboxes SET name = char(0) || id, is_gone = 1, highest_modseq = 0
         WHERE remote = ?1 AND name = ?2",
    )?;
    let mut rename = tx.prepare_cached("UPDATE remote_mailboxes SET name = ?2 WHERE id = ?1")?;
    for (id, name) in names {
        detach.execute((remote.0, name))?;
        rename.execute((id.0, name))?;
    }
    Ok(())
}

/// Returns at most `limit` records of these UIDs under the current UIDVALIDITY, without those marked as removed.
pub(super) fn records(
    tx: &Connection,
    remote: RemoteMailboxId,
    uids: &UidSet,
    limit: usize,
) -> Result<Vec<ImportRecord>> {
    let (mailbox, uid_validity) = remote::load(tx, remote)?;
    let mut statement = tx.prepare_cached(
        "SELECT uid_validity, uid, local_uid FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2
            AND uid BETWEEN ?3 AND ?4 AND local_mailbox = ?5 AND is_removed = 0 ORDER BY uid LIMIT ?6",
    )?;
    let mut found: Vec<ImportRecord> = Vec::new();
    for range in uids.ranges() {
        let left = limit.saturating_sub(found.len());
        if left == 0 {
            break;
        }
        let key = (
            remote.0,
            uid_validity,
            range.start(),
            range.end(),
            mailbox.0,
            i64::try_from(left).unwrap_or(i64::MAX),
        );
        for record in statement.query_map(key, read_record)? {
            found.push(record?);
        }
    }
    Ok(found)
}

/// Returns at most `limit` records under other UIDVALIDITY values, without those marked as removed.
pub(super) fn earlier_records(
    tx: &Connection,
    remote: RemoteMailboxId,
    limit: usize,
) -> Result<Vec<ImportRecord>> {
    let (mailbox, uid_validity) = remote::load(tx, remote)?;
    let mut found = Vec::new();
    for (first, last) in [(0, uid_validity.saturating_sub(1)), (uid_validity.saturating_add(1), u32::MAX)] {
        let mut statement = tx.prepare_cached(
            "SELECT uid_validity, uid, local_uid FROM remote_messages WHERE remote_mailbox = ?1
                AND uid_validity BETWEEN ?2 AND ?3 AND uid_validity != ?6 AND local_mailbox = ?4
                AND is_removed = 0 ORDER BY uid_validity, uid LIMIT ?5",
        )?;
        let left = i64::try_from(limit.saturating_sub(found.len())).unwrap_or(i64::MAX);
        let key = (remote.0, first, last, mailbox.0, left, uid_validity);
        for record in statement.query_map(key, read_record)? {
            found.push(record?);
        }
    }
    Ok(found)
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<ImportRecord> {
    Ok(ImportRecord { uid_validity: row.get(0)?, uid: row.get(1)?, local_uid: row.get(2)? })
}

pub(super) fn forget(tx: &Connection, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3
            AND local_uid = ?4",
    )?;
    for record in records {
        statement.execute((remote.0, record.uid_validity, record.uid, record.local_uid))?;
    }
    Ok(())
}

pub(super) fn mark_removed(tx: &Connection, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "UPDATE remote_messages SET is_removed = 1 WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3
            AND local_uid = ?4",
    )?;
    for record in records {
        statement.execute((remote.0, record.uid_validity, record.uid, record.local_uid))?;
    }
    Ok(())
}

/// Returns whether a message of the same bytes of another mailbox of the account is stored. Each mailbox is searched by the
/// index of digests.
pub(super) fn has_equal(tx: &Connection, remote: RemoteMailboxId, record: &ImportRecord) -> Result<bool> {
    let digest: Option<Vec<u8>> = tx
        .prepare_cached(
            "SELECT digest FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3",
        )?
        .query_row((remote.0, record.uid_validity, record.uid), |row| row.get(0))
        .optional()?;
    let Some(digest) = digest else { return Ok(false) };
    let mut others = tx.prepare_cached(
        "SELECT other.id FROM remote_mailboxes this JOIN remote_mailboxes other ON other.remote = this.remote
            WHERE this.id = ?1 AND other.id <> this.id",
    )?;
    let mut equal = tx.prepare_cached(
        "SELECT 1 FROM (
            SELECT local_mailbox, local_uid, is_removed FROM remote_messages INDEXED BY remote_messages_digest
            WHERE remote_mailbox = ?1 AND digest = ?2 LIMIT 100) r
         JOIN messages m ON m.mailbox = r.local_mailbox AND m.uid = r.local_uid WHERE r.is_removed = 0",
    )?;
    let others = others.query_map([remote.0], |row| row.get::<_, i64>(0))?;
    for other in others {
        if equal.exists((other?, &digest))? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn set_special_use(
    tx: &Connection,
    mailbox: MailboxId,
    special_use: Option<SpecialUse>,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE mailboxes SET special_use = ?2 WHERE id = ?1 AND name >= char(2)",
        (mailbox.0, special_use.map(SpecialUse::attribute)),
    )?;
    if changed == 0 { Err(Error::NotFound("mailbox")) } else { Ok(()) }
}
