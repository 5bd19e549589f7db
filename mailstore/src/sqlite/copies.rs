//! Copies that are made in several transactions and stay only as a whole: what was copied so far is recorded, so that it
//! can be removed after a crash.

use super::messages;
use super::{Aftermath, SqliteStore};
use crate::error::{Error, Result};
use crate::types::{Copied, CopyId, Expunge, MailboxId, Quota, UidSet};
use crate::{Store, WRITE_SLICE};
use rusqlite::{Connection, OptionalExtension};

/// What version 5 added. The messages from `first` to `last` are copies of a COPY that has not ended.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS unfinished_copies (
    copy INTEGER NOT NULL,
    mailbox INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (copy, first)
) STRICT, WITHOUT ROWID;
";

/// Copies a part and records it; the last part takes the records of all parts away.
pub(super) fn copy_part(
    tx: &Connection,
    aftermath: &mut Aftermath,
    quota: &Quota,
    (from, uids, to): (MailboxId, &UidSet, MailboxId),
    limit: usize,
    part_of: Option<CopyId>,
) -> Result<Copied> {
    let mut copied = messages::copy(tx, aftermath, quota, from, uids, to, limit)?;
    if copied.next.is_none() {
        if let Some(copy) = part_of {
            forget(tx, copy)?;
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
    // The writer has taken them one after the other.
    if let (Some((_, first)), Some((_, last))) = (copied.pairs.first(), copied.pairs.last()) {
        tx.prepare_cached(
            "INSERT INTO unfinished_copies (copy, mailbox, first, last) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((copy.0, to.0, first, last))?;
    }
    copied.unfinished = Some(copy);
    Ok(copied)
}

/// Takes the records of a copy away.
pub(super) fn forget(tx: &Connection, copy: CopyId) -> Result<()> {
    tx.prepare_cached("DELETE FROM unfinished_copies WHERE copy = ?1")?.execute([copy.0])?;
    Ok(())
}

/// Removes the messages of all copies that were not finished. Returns how many there were.
pub(super) fn undo_all(store: &SqliteStore) -> Result<u64> {
    let mut removed = 0;
    let next = || {
        store.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT copy, mailbox, first, last FROM unfinished_copies LIMIT 1")?;
            let found = statement.query_row((), |row| {
                Ok((
                    CopyId(row.get(0)?),
                    MailboxId(row.get(1)?),
                    row.get::<_, u32>(2)?,
                    row.get::<_, u32>(3)?,
                ))
            });
            Ok(found.optional()?)
        })
    };
    while let Some((copy, mailbox, first, last)) = next()? {
        let mut rest: UidSet = [first..=last].into_iter().collect();
        while !rest.is_empty() {
            match store.expunge(mailbox, &Expunge::Exactly(rest.clone()), WRITE_SLICE) {
                Ok(expunged) => {
                    removed += expunged.uids.len() as u64;
                    rest = expunged.next.map(|next| rest.starting_at(next)).unwrap_or_default();
                }
                // The mailbox was deleted, and they with it.
                Err(Error::NotFound(_) | Error::NoSelect) => break,
                Err(error) => return Err(error),
            }
        }
        store.write(|tx, _| {
            tx.prepare_cached("DELETE FROM unfinished_copies WHERE copy = ?1 AND first = ?2")?
                .execute((copy.0, first))?;
            Ok(())
        })?;
    }
    Ok(removed)
}
