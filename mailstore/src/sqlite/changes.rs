//! Changes: of flags, and what changed since a mod-sequence (RFC 7162).

use super::{Aftermath, MailboxRow};
use crate::error::Result;
use crate::flags::Flags;
use crate::types::{Changes, MailboxId, MessageFlags, StoreMode, Stored, UidSet};
use rusqlite::{Connection, Row};

pub(super) fn store_flags(
    tx: &Connection,
    aftermath: &mut Aftermath,
    mailbox: MailboxId,
    uids: &UidSet,
    mode: StoreMode,
    flags: &Flags,
    unchanged_since: Option<u64>,
) -> Result<Stored> {
    let mut row = MailboxRow::load(tx, mailbox)?;
    let mut stored = Stored::default();
    for mut message in flags_of(tx, mailbox, uids)? {
        if unchanged_since.is_some_and(|since| message.modseq > since) {
            stored.modified.push(message.uid);
            continue;
        }
        let mut after = message.flags.clone();
        match mode {
            StoreMode::Add => after.add(flags)?,
            StoreMode::Remove => after.remove(flags),
            StoreMode::Replace => after = flags.clone(),
        }
        if after == message.flags {
            stored.unchanged.push(message);
            continue;
        }
        if stored.changed.is_empty() {
            row.modseq += 1;
        }
        (message.modseq, message.flags) = (row.modseq, after);
        tx.prepare_cached(
            "UPDATE messages SET flags = ?3, keywords = ?4, modseq = ?5 WHERE mailbox = ?1 AND uid = ?2",
        )?
        .execute((
            mailbox.0,
            message.uid,
            message.flags.system_bits(),
            message.flags.keyword_column(),
            row.modseq,
        ))?;
        stored.changed.push(message);
    }
    if !stored.changed.is_empty() {
        row.save(tx, aftermath)?;
    }
    Ok(stored)
}

pub(super) fn changes_since(tx: &Connection, mailbox: MailboxId, modseq: u64) -> Result<Changes> {
    let row = MailboxRow::load(tx, mailbox)?;
    let mut changes = Changes { highest_modseq: row.modseq, uid_next: row.uid_next, ..Changes::default() };
    if modseq >= row.modseq {
        return Ok(changes);
    }
    let mut statement = tx.prepare_cached(
        "SELECT uid, modseq, flags, keywords, created > ?2 FROM messages
         WHERE mailbox = ?1 AND modseq > ?2 ORDER BY uid",
    )?;
    let mut rows = statement.query((mailbox.0, modseq))?;
    while let Some(row) = rows.next()? {
        let list = if row.get(4)? { &mut changes.new } else { &mut changes.changed };
        list.push(read_flags(row)?);
    }
    let mut statement = tx.prepare_cached(
        "SELECT uid FROM expunged WHERE mailbox = ?1 AND modseq > ?2 AND created <= ?2 ORDER BY uid",
    )?;
    let rows = statement.query_map((mailbox.0, modseq), |row| row.get(0))?;
    changes.vanished = rows.collect::<rusqlite::Result<_>>()?;
    Ok(changes)
}

fn flags_of(tx: &Connection, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<MessageFlags>> {
    let mut statement = tx.prepare_cached(
        "SELECT uid, modseq, flags, keywords FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    )?;
    let mut found = Vec::new();
    for range in uids.ranges() {
        for message in statement.query_map((mailbox.0, range.start(), range.end()), read_flags)? {
            found.push(message?);
        }
    }
    Ok(found)
}

fn read_flags(row: &Row<'_>) -> rusqlite::Result<MessageFlags> {
    let keywords = row.get_ref(3)?;
    Ok(MessageFlags {
        uid: row.get(0)?,
        modseq: row.get(1)?,
        flags: Flags::from_columns(row.get(2)?, keywords.as_str_or_null()?),
    })
}
