//! The history of removed messages (RFC 7162 §3.2.5): the table `expunged`.
//!
//! A mailbox remembers a limited number of removals. Beyond it the oldest ones are forgotten, whole mod-sequences at a time,
//! and the mailbox keeps the last of these mod-sequences. Its row counts the removals, so that no call counts them.

use super::mailbox_row::MailboxRow;
use crate::error::Result;
use crate::limits::WRITE_SLICE;
use crate::removals::{STORED_REMOVALS, first_absent, report_absent};
use crate::types::{Changes, MailboxId, Removals};
use rusqlite::{Connection, OptionalExtension};

/// The columns of version 6: the number of rows that a mailbox has in `expunged`, and the mod-sequence up to which removals
/// are forgotten.
pub(super) const COLUMNS: &str = "
ALTER TABLE mailboxes ADD COLUMN removals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
UPDATE mailboxes SET removals = (SELECT count(*) FROM expunged e WHERE e.mailbox = mailboxes.id);
";

/// The number of removals that are forgotten at once, at least.
const FORGOTTEN_AT_ONCE: usize = 2 * WRITE_SLICE;

/// Records that messages were removed, after their rows were added to `expunged`. Forgets the oldest removals beyond the
/// limit.
pub(super) fn note(tx: &Connection, mailbox: MailboxId, count: usize) -> Result<()> {
    let removals: usize = tx
        .prepare_cached("UPDATE mailboxes SET removals = removals + ?2 WHERE id = ?1 RETURNING removals")?
        .query_row((mailbox.0, count), |row| row.get(0))?;
    if removals > STORED_REMOVALS { forget_oldest(tx, mailbox, FORGOTTEN_AT_ONCE) } else { Ok(()) }
}

/// Forgets at least `count` removals, and all others of the same mod-sequence.
fn forget_oldest(tx: &Connection, mailbox: MailboxId, count: usize) -> Result<()> {
    let through: Option<u64> = tx
        .prepare_cached("SELECT modseq FROM expunged WHERE mailbox = ?1 ORDER BY modseq LIMIT 1 OFFSET ?2")?
        .query_row((mailbox.0, count.saturating_sub(1)), |row| row.get(0))
        .optional()?;
    let Some(through) = through else { return Ok(()) };
    let forgotten = tx
        .prepare_cached("DELETE FROM expunged WHERE mailbox = ?1 AND modseq <= ?2")?
        .execute((mailbox.0, through))?;
    tx.prepare_cached("UPDATE mailboxes SET removals = removals - ?2, forgotten = ?3 WHERE id = ?1")?
        .execute((mailbox.0, forgotten, through))?;
    Ok(())
}

/// Returns the mod-sequence up to which removals are forgotten.
fn forgotten(tx: &Connection, mailbox: MailboxId) -> Result<u64> {
    let mut statement = tx.prepare_cached("SELECT forgotten FROM mailboxes WHERE id = ?1")?;
    Ok(statement.query_row([mailbox.0], |row| row.get(0))?)
}

/// Returns a page of the removals after a mod-sequence and UID.
pub(super) fn since(
    tx: &Connection,
    mailbox: MailboxId,
    after: (u64, u32),
    limit: usize,
) -> Result<Option<Removals>> {
    let row = MailboxRow::load(tx, mailbox)?;
    if after.0 < forgotten(tx, mailbox)? {
        return Ok(None);
    }
    // No mod-sequence of the mailbox is higher, and SQLite has no numbers above 2^63.
    let after = after.min((row.modseq, u32::MAX));
    let limit = limit.clamp(1, crate::limits::ROWS_LIMIT);
    let mut page = removed_after(tx, mailbox, after, limit)?;
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().copied().filter(|_| has_more);
    Ok(Some(Removals { uids: page.into_iter().map(|(_, uid)| uid).collect(), next }))
}

/// Adds removals to a page of changes.
pub(super) fn add(tx: &Connection, row: &MailboxRow, limit: usize, changes: &mut Changes) -> Result<()> {
    if changes.cursor.expunged >= (row.modseq, u32::MAX) {
        changes.cursor.expunged = (row.modseq, u32::MAX);
        return Ok(());
    }
    let forgotten = forgotten(tx, row.id)?;
    if let Some(start) = first_absent(changes, forgotten) {
        let mut statement =
            tx.prepare_cached("SELECT uid FROM messages WHERE mailbox = ?1 AND uid >= ?2 ORDER BY uid")?;
        let existing = statement.query_map((row.id.0, start), |row| row.get(0))?;
        let existing = existing.map(|uid| uid.map_err(Into::into));
        if report_absent(changes, start, (forgotten, row.uid_next, limit), existing)? {
            return Ok(());
        }
    }
    let left = limit.saturating_sub(changes.vanished.len());
    let mut page = removed_after(tx, row.id, changes.cursor.expunged, left)?;
    changes.more |= page.len() > left;
    page.truncate(left);
    changes.cursor.expunged = match page.last() {
        Some(last) if changes.more => *last,
        _ if changes.more => changes.cursor.expunged,
        _ => (row.modseq, u32::MAX),
    };
    changes.vanished.extend(page.into_iter().map(|(_, uid)| uid));
    Ok(())
}

/// Returns at most `limit + 1` removals after a mod-sequence and UID.
fn removed_after(
    tx: &Connection,
    mailbox: MailboxId,
    (modseq, uid): (u64, u32),
    limit: usize,
) -> Result<Vec<(u64, u32)>> {
    let mut statement = tx.prepare_cached(
        "SELECT modseq, uid FROM expunged WHERE mailbox = ?1 AND (modseq, uid) > (?2, ?3)
         ORDER BY modseq, uid LIMIT ?4",
    )?;
    let rows = statement
        .query_map((mailbox.0, modseq, uid, limit.saturating_add(1)), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ChangeCursor, Delivery, Expunge, InternalDate, Target, UidSet};
    use crate::{Accounts, Flags, SqliteStore, Store};

    /// A mailbox whose messages with odd UIDs below 40 were removed, each with a mod-sequence of its own.
    fn store() -> (tempfile::TempDir, SqliteStore, MailboxId) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let account = store.create_account("ann", b"a password").unwrap();
        let mailbox = store.mailbox(account.id, "INBOX").unwrap().id;
        for _ in 0..40 {
            let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
            store.append(Delivery { upload: store.upload().unwrap(), targets: vec![target] }).unwrap();
        }
        for uid in (1..40).step_by(2) {
            store.expunge(mailbox, &Expunge::Exactly(UidSet::one(uid)), 1).unwrap();
        }
        (directory, store, mailbox)
    }

    fn database(directory: &tempfile::TempDir) -> Connection {
        Connection::open(directory.path().join("mail.db")).unwrap()
    }

    fn counters(connection: &Connection, mailbox: MailboxId) -> (usize, u64) {
        let found = connection.query_row(
            "SELECT (SELECT count(*) FROM expunged WHERE mailbox = m.id), removals, forgotten FROM mailboxes m WHERE id = ?1",
            [mailbox.0],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        );
        let (rows, removals, forgotten): (usize, usize, u64) = found.unwrap();
        assert_eq!(rows, removals);
        (removals, forgotten)
    }

    #[test]
    fn forgets_the_oldest_removals() {
        let (directory, store, mailbox) = store();
        let connection = database(&directory);
        assert_eq!(counters(&connection, mailbox), (20, 0));
        let highest = store.status(mailbox).unwrap().highest_modseq;
        let all = store.removals(mailbox, (0, 0), 100).unwrap().unwrap();
        assert_eq!(all.uids, (1..40).step_by(2).collect::<Vec<u32>>());
        forget_oldest(&connection, mailbox, 5).unwrap();
        let (left, forgotten) = counters(&connection, mailbox);
        assert_eq!((left, forgotten), (15, highest - 15));
        assert_eq!(store.removals(mailbox, (forgotten - 1, u32::MAX), 100).unwrap(), None);
        let known = store.removals(mailbox, (forgotten, u32::MAX), 100).unwrap().unwrap();
        assert_eq!(known.uids, (11..40).step_by(2).collect::<Vec<u32>>());
    }

    #[test]
    fn expired_cursor_reports_every_uid_that_no_message_has() {
        let (directory, store, mailbox) = store();
        forget_oldest(&database(&directory), mailbox, 5).unwrap();
        let highest = store.status(mailbox).unwrap().highest_modseq;
        for limit in [1, 3, 1_000] {
            let mut cursor = ChangeCursor { uid_next: 41, flags: (highest, u32::MAX), expunged: (1, 0) };
            let mut vanished = std::collections::BTreeSet::new();
            loop {
                let page = store.changes_since(mailbox, &cursor, limit).unwrap();
                assert!(page.vanished.len() <= limit);
                vanished.extend(page.vanished);
                cursor = page.cursor;
                if !page.more {
                    break;
                }
            }
            assert_eq!(vanished, (1..40).step_by(2).collect());
            assert_eq!(cursor.expunged, (highest, u32::MAX));
        }
    }
}
