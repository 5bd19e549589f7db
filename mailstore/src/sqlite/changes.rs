//! Changes flags, and lists the changes since a cursor (RFC 7162).

use super::after_commit::AfterCommit;
use super::keywords::Bits;
use super::mailbox_row::MailboxRow;
use super::removals;
use crate::error::Result;
use crate::flags::Flags;
use crate::types::{
    ChangeCursor, ChangedFlags, Changes, MailboxId, MessageFlags, Quota, StoreMode, Stored, UidSet,
};
use rusqlite::{Connection, Row};

/// A message whose flags may change.
struct Candidate {
    uid: u32,
    modseq: u64,
    system: u8,
    bits: Bits,
}

/// The change that a STORE makes, with the bits of its keywords.
struct FlagChange<'a> {
    mode: StoreMode,
    flags: &'a Flags,
    bits: Bits,
}

impl FlagChange<'_> {
    fn apply(&self, message: &Candidate) -> Result<(u8, Bits)> {
        let system = self.flags.system_bits();
        Ok(match self.mode {
            StoreMode::Add => (message.system | system, message.bits.with(&self.bits)?),
            StoreMode::Remove => (message.system & !system, message.bits.without(&self.bits)),
            StoreMode::Replace => (system, self.bits.clone()),
        })
    }
}

#[allow(clippy::too_many_arguments, reason = "the arguments of STORE, and how much of it")]
pub(super) fn store_flags(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    mailbox: MailboxId,
    uids: &UidSet,
    mode: StoreMode,
    flags: &Flags,
    unchanged_since: Option<u64>,
    limit: usize,
) -> Result<Stored> {
    let mut row = MailboxRow::load(tx, mailbox)?;
    let (candidates, next) = candidates(tx, mailbox, uids, limit)?;
    let mut stored = Stored { next, ..Stored::default() };
    if candidates.is_empty() {
        return Ok(stored);
    }
    if mode != StoreMode::Remove {
        row.keywords.check(tx, mailbox, flags, quota.keywords)?;
    }
    let bits = match mode {
        StoreMode::Remove => row.keywords.known_bits(tx, mailbox, flags)?,
        StoreMode::Add | StoreMode::Replace => row.keywords.bits(tx, mailbox, flags)?,
    };
    let change = FlagChange { mode, flags, bits };
    let mut update = tx.prepare_cached(
        "UPDATE messages SET flags = ?3, keyword_bits = ?4, modseq = ?5 WHERE mailbox = ?1 AND uid = ?2",
    )?;
    for message in candidates {
        if unchanged_since.is_some_and(|since| message.modseq > since) {
            stored.modified.push(message.uid);
            continue;
        }
        let (system, bits) = change.apply(&message)?;
        let unchanged = system == message.system && bits == message.bits;
        let flags = row.keywords.flags(tx, mailbox, system, bits.column())?;
        if unchanged {
            stored.unchanged.push(MessageFlags { uid: message.uid, modseq: message.modseq, flags });
            continue;
        }
        if stored.changed.is_empty() {
            row.modseq += 1;
        }
        update.execute((mailbox.0, message.uid, system, bits.column(), row.modseq))?;
        let Candidate { uid, modseq: previous_modseq, .. } = message;
        stored.changed.push(ChangedFlags { uid, modseq: row.modseq, previous_modseq, flags });
    }
    if !stored.changed.is_empty() {
        stored.modseq = Some(row.modseq);
        row.save_flags(tx, after_commit)?;
    }
    Ok(stored)
}

/// Returns the first messages of a set, and the UID at which to continue.
fn candidates(
    tx: &Connection,
    mailbox: MailboxId,
    uids: &UidSet,
    limit: usize,
) -> Result<(Vec<Candidate>, Option<u32>)> {
    let mut statement = tx.prepare_cached(
        "SELECT uid, modseq, flags, keyword_bits FROM messages
         WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    )?;
    let mut found = Vec::new();
    for range in uids.ranges() {
        let mut rows = statement.query((mailbox.0, range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            let uid = row.get(0)?;
            if found.len() >= limit.max(1) {
                return Ok((found, Some(uid)));
            }
            let bits = Bits::from_column(row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)?);
            found.push(Candidate { uid, modseq: row.get(1)?, system: row.get(2)?, bits });
        }
    }
    Ok((found, None))
}

pub(super) fn changes_since(
    tx: &Connection,
    mailbox: MailboxId,
    since: &ChangeCursor,
    limit: usize,
) -> Result<Changes> {
    let mut row = MailboxRow::load(tx, mailbox)?;
    let mut changes = Changes { cursor: *since, highest_modseq: row.modseq, ..Changes::default() };
    let limit = limit.clamp(1, crate::limits::ROWS_LIMIT);
    removals::add(tx, &row, limit, &mut changes)?;
    add_changed(tx, &mut row, since.uid_next, limit, &mut changes)?;
    add_new(tx, mailbox, row.uid_next, limit, &mut changes)?;
    Ok(changes)
}

fn add_changed(
    tx: &Connection,
    mailbox: &mut MailboxRow,
    known_below: u32,
    limit: usize,
    changes: &mut Changes,
) -> Result<()> {
    let (modseq, uid) = changes.cursor.flags;
    if (modseq, uid) == (mailbox.modseq, u32::MAX) {
        return Ok(());
    }
    let mut statement = tx.prepare_cached(
        "SELECT uid, modseq, flags, keyword_bits FROM messages WHERE mailbox = ?1 AND (modseq, uid) > (?2, ?3)
         ORDER BY modseq, uid LIMIT ?4",
    )?;
    let mut rows = statement.query((mailbox.id.0, modseq, uid, limit))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        seen += 1;
        let message = read_flags(tx, mailbox, row)?;
        changes.cursor.flags = (message.modseq, message.uid);
        // The flags of new messages are not reported: the client fetches them.
        if message.uid < known_below {
            changes.changed.push(message);
        }
    }
    if seen < limit {
        changes.cursor.flags = (mailbox.modseq, u32::MAX);
    } else {
        changes.more = true;
    }
    Ok(())
}

fn add_new(
    tx: &Connection,
    mailbox: MailboxId,
    uid_next: u32,
    limit: usize,
    changes: &mut Changes,
) -> Result<()> {
    if changes.cursor.uid_next >= uid_next {
        return Ok(());
    }
    let page = super::messages::uid_page(tx, mailbox, changes.cursor.uid_next, uid_next, limit)?;
    changes.cursor.uid_next = page.next.unwrap_or(uid_next);
    changes.more |= page.next.is_some();
    changes.new = page.uids;
    Ok(())
}

fn read_flags(tx: &Connection, mailbox: &mut MailboxRow, row: &Row<'_>) -> Result<MessageFlags> {
    let bits = row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let flags = mailbox.keywords.flags(tx, mailbox.id, row.get(2)?, bits)?;
    Ok(MessageFlags { uid: row.get(0)?, modseq: row.get(1)?, flags })
}
