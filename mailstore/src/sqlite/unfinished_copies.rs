//! Copies that are made in several transactions and must be complete to stay. Each part is recorded, so that it can be
//! removed after a crash.

use super::after_commit::AfterCommit;
use super::messages;
use crate::error::Result;
use crate::types::{Copied, CopyId, MailboxId, Quota, UidSet};
use rusqlite::{Connection, OptionalExtension};

/// Version 5 added the parts of unfinished copies: the messages from `first` to `last` in the destination.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS unfinished_copies (
    copy INTEGER NOT NULL,
    mailbox INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (copy, first)
) STRICT, WITHOUT ROWID;
";

/// Copies one part and records it. The last part deletes the records of all parts.
pub(super) fn copy_part(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    (from, uids, to): (MailboxId, &UidSet, MailboxId),
    limit: usize,
    part_of: Option<CopyId>,
) -> Result<Copied> {
    let mut copied = messages::copy(tx, after_commit, quota, from, uids, to, limit)?;
    if copied.next.is_none() {
        if let Some(copy) = part_of {
            delete_records(tx, copy)?;
        }
        return Ok(copied);
    }
    let copy = match part_of {
        Some(copy) => copy,
        None => CopyId(
            tx.prepare_cached("SELECT coalesce(max(copy), 0) + 1 FROM unfinished_copies")?
                .query_row((), |row| row.get(0))?,
        ),
    };
    // The writer assigned these UIDs one after the other.
    if let (Some((_, first)), Some((_, last))) = (copied.pairs.first(), copied.pairs.last()) {
        tx.prepare_cached(
            "INSERT INTO unfinished_copies (copy, mailbox, first, last) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((copy.0, to.0, first, last))?;
    }
    copied.unfinished = Some(copy);
    Ok(copied)
}

/// Deletes the records of a copy.
pub(super) fn delete_records(tx: &Connection, copy: CopyId) -> Result<()> {
    tx.prepare_cached("DELETE FROM unfinished_copies WHERE copy = ?1")?.execute([copy.0])?;
    Ok(())
}

/// The copies that one part of an unfinished COPY made.
pub(super) struct CopiedPart {
    copy: CopyId,
    /// The destination.
    pub(super) mailbox: MailboxId,
    /// The first UID in the destination.
    pub(super) first: u32,
    /// The last UID in the destination.
    pub(super) last: u32,
}

impl CopiedPart {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            copy: CopyId(row.get(0)?),
            mailbox: MailboxId(row.get(1)?),
            first: row.get(2)?,
            last: row.get(3)?,
        })
    }
}

/// Returns any recorded part of an unfinished copy.
pub(super) fn first_part(tx: &Connection) -> Result<Option<CopiedPart>> {
    let mut statement =
        tx.prepare_cached("SELECT copy, mailbox, first, last FROM unfinished_copies LIMIT 1")?;
    Ok(statement.query_row((), CopiedPart::read).optional()?)
}

/// Returns any recorded part of this copy.
pub(super) fn part_of(tx: &Connection, copy: CopyId) -> Result<Option<CopiedPart>> {
    let mut statement = tx
        .prepare_cached("SELECT copy, mailbox, first, last FROM unfinished_copies WHERE copy = ?1 LIMIT 1")?;
    Ok(statement.query_row([copy.0], CopiedPart::read).optional()?)
}

/// Deletes the record of one part.
pub(super) fn delete_part_record(tx: &Connection, part: &CopiedPart) -> Result<()> {
    tx.prepare_cached("DELETE FROM unfinished_copies WHERE copy = ?1 AND first = ?2")?
        .execute((part.copy.0, part.first))?;
    Ok(())
}
