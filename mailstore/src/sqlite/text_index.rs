//! The text index of each mailbox: which messages may contain a string. See [`text_index`](crate::text_index) for the
//! signatures.
//!
//! A *segment* holds up to 512 signatures, turned round: for each bit, a bitmap of the signatures that have it. A lookup
//! reads the bitmaps of a few bits, 64 bytes for each segment, and no signatures.

use super::store::SqliteStore;
use crate::error::{Error, Result};
use crate::text_index::{BITS, TextIndex, TextIndexPosition, TextSignatures, bits_of};
use crate::types::{MailboxId, UidSet};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;
use std::ops::Range;

/// The most signatures of a segment.
const SEGMENT: usize = 512;

/// The bitmaps in one row.
const BITMAPS: usize = 8;

/// The segments that [`prune`] examines at a time.
const PRUNED: usize = 512;

impl TextIndex for SqliteStore {
    fn indexed_below(&self, mailbox: MailboxId) -> Result<u32> {
        self.read(|tx| indexed_below(tx, mailbox))
    }

    fn add(&self, mailbox: MailboxId, uids: Range<u32>, texts: &[(u32, TextSignatures)]) -> Result<()> {
        self.write_unsynced(|tx| add(tx, mailbox, uids, texts))
    }

    fn find(&self, mailbox: MailboxId, text: &str) -> Result<Option<UidSet>> {
        self.read(|tx| find(tx, mailbox, text))
    }

    fn prune(&self, after: Option<TextIndexPosition>) -> Result<Option<TextIndexPosition>> {
        self.write_unsynced(|tx| prune(tx, after))
    }
}

/// Returns the first UID that is not indexed.
fn indexed_below(tx: &Connection, mailbox: MailboxId) -> Result<u32> {
    let mut statement = tx.prepare_cached("SELECT below FROM text_indexes WHERE mailbox = ?1")?;
    Ok(statement.query_row([mailbox.0], |row| row.get(0)).optional()?.unwrap_or(1))
}

/// Adds messages. Does nothing if another process has added them in the meantime.
fn add(tx: &Connection, mailbox: MailboxId, uids: Range<u32>, texts: &[(u32, TextSignatures)]) -> Result<()> {
    if indexed_below(tx, mailbox)? != uids.start {
        return Ok(());
    }
    let signatures: Vec<(u32, &[u64])> =
        texts.iter().flat_map(|(uid, text)| text.signatures().map(|signature| (*uid, signature))).collect();
    let mut statement = tx.prepare_cached("SELECT segments FROM text_indexes WHERE mailbox = ?1")?;
    let mut segment: i64 = statement.query_row([mailbox.0], |row| row.get(0)).optional()?.unwrap_or(0);
    for chunk in signatures.chunks(SEGMENT) {
        insert_segment(tx, mailbox, segment, chunk)?;
        segment += 1;
    }
    tx.prepare_cached(
        "INSERT INTO text_indexes (mailbox, below, segments) VALUES (?1, ?2, ?3)
            ON CONFLICT (mailbox) DO UPDATE SET below = ?2, segments = ?3",
    )?
    .execute((mailbox.0, uids.end, segment))?;
    Ok(())
}

fn insert_segment(
    tx: &Connection,
    mailbox: MailboxId,
    segment: i64,
    signatures: &[(u32, &[u64])],
) -> Result<()> {
    let width = signatures.len().div_ceil(8);
    let mut bitmaps = vec![0_u8; BITS * width];
    for (column, (_, signature)) in signatures.iter().enumerate() {
        let mask = 1 << (column % 8);
        for (index, word) in signature.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = index * 64 + left.trailing_zeros() as usize;
                if let Some(byte) = bitmaps.get_mut(bit * width + column / 8) {
                    *byte |= mask;
                }
                left &= left - 1;
            }
        }
    }
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO text_bits (mailbox, bucket, segment, bits) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (bucket, bits) in bitmaps.chunks(BITMAPS * width).enumerate() {
        // A row without any bit is left out.
        if bits.iter().any(|byte| *byte != 0) {
            insert.execute((mailbox.0, bucket, segment, bits))?;
        }
    }
    let uids: Vec<u8> = signatures.iter().flat_map(|(uid, _)| uid.to_le_bytes()).collect();
    let first = signatures.iter().map(|(uid, _)| *uid).min();
    let last = signatures.iter().map(|(uid, _)| *uid).max();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO text_segments (mailbox, segment, first, last, uids) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((mailbox.0, segment, first, last, uids))?;
    Ok(())
}

/// Returns the UIDs of the messages that may contain a text, with all that are not indexed; `None` if the text is too
/// short.
fn find(tx: &Connection, mailbox: MailboxId, text: &str) -> Result<Option<UidSet>> {
    let Some(bits) = bits_of(text) else { return Ok(None) };
    // The signatures of each segment that have all bits so far.
    let mut segments: Option<BTreeMap<i64, Vec<u8>>> = None;
    let mut statement =
        tx.prepare_cached("SELECT segment, bits FROM text_bits WHERE mailbox = ?1 AND bucket = ?2")?;
    for bit in bits {
        let mut rows = statement.query((mailbox.0, bit / BITMAPS))?;
        let mut having = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (segment, bits) = (row.get(0)?, row.get_ref(1)?.as_blob().map_err(|_| CORRUPT)?);
            let width = bits.len() / BITMAPS;
            let start = bit % BITMAPS * width;
            let bitmap = bits.get(start..start + width).unwrap_or_default();
            let found: Vec<u8> = match &segments {
                None => bitmap.to_vec(),
                Some(before) => match before.get(&segment) {
                    Some(before) => before.iter().zip(bitmap).map(|(one, other)| one & other).collect(),
                    None => continue,
                },
            };
            if found.iter().any(|byte| *byte != 0) {
                having.insert(segment, found);
            }
        }
        let none = having.is_empty();
        segments = Some(having);
        if none {
            break;
        }
    }
    let mut uids = Vec::new();
    let mut statement =
        tx.prepare_cached("SELECT uids FROM text_segments WHERE mailbox = ?1 AND segment = ?2")?;
    for (segment, found) in segments.unwrap_or_default() {
        let of_segment: Vec<u8> =
            statement.query_row((mailbox.0, segment), |row| row.get(0)).optional()?.ok_or(CORRUPT)?;
        let columns = of_segment.chunks_exact(4).enumerate();
        let matching = columns
            .filter(|(column, _)| found.get(column / 8).is_some_and(|byte| byte & (1 << (column % 8)) != 0));
        uids.extend(matching.filter_map(|(_, uid)| Some(u32::from_le_bytes(uid.try_into().ok()?))));
    }
    uids.sort_unstable();
    uids.dedup();
    let rest = indexed_below(tx, mailbox)?..=u32::MAX;
    Ok(Some(uids.into_iter().map(|uid| uid..=uid).chain([rest]).collect()))
}

const CORRUPT: Error = Error::Corrupt("the text index");

/// Removes some of what no message needs any more: the indexes of mailboxes that were deleted, and segments whose messages
/// were all expunged. Begins with the
/// segment after `after`. Returns where to continue.
fn prune(tx: &Connection, after: Option<TextIndexPosition>) -> Result<Option<TextIndexPosition>> {
    let after = after.unwrap_or(TextIndexPosition { mailbox: 0, segment: -1 });
    let mut statement = tx.prepare_cached(
        "SELECT mailbox, segment,
            EXISTS (SELECT 1 FROM messages m WHERE m.mailbox = s.mailbox AND m.uid BETWEEN s.first AND s.last)
            FROM text_segments s WHERE (mailbox, segment) > (?1, ?2) ORDER BY mailbox, segment LIMIT ?3",
    )?;
    let rows = statement.query_map((after.mailbox, after.segment, PRUNED), |row| {
        Ok(((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?), row.get::<_, bool>(2)?))
    })?;
    let examined = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut removed = 0;
    // Each row is found by its whole key: the segment is the last part of it.
    let mut bits =
        tx.prepare_cached("DELETE FROM text_bits WHERE mailbox = ?1 AND bucket = ?2 AND segment = ?3")?;
    let mut segment_row =
        tx.prepare_cached("DELETE FROM text_segments WHERE mailbox = ?1 AND segment = ?2")?;
    for ((mailbox, segment), is_needed) in &examined {
        if *is_needed {
            continue;
        }
        for bucket in 0..BITS / BITMAPS {
            bits.execute((mailbox, bucket, segment))?;
        }
        segment_row.execute((mailbox, segment))?;
        removed += 1;
        // A segment is a thousand rows: other writers have their turn.
        if removed >= 4 {
            return Ok(Some(TextIndexPosition { mailbox: *mailbox, segment: *segment }));
        }
    }
    if examined.len() < PRUNED {
        tx.execute("DELETE FROM text_indexes WHERE mailbox NOT IN (SELECT id FROM mailboxes)", ())?;
        return Ok(None);
    }
    Ok(examined
        .last()
        .map(|((mailbox, segment), _)| TextIndexPosition { mailbox: *mailbox, segment: *segment }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accounts, Delivery, Expunge, Flags, InternalDate, Store, Target};

    fn signatures(text: &str) -> TextSignatures {
        let mut signatures = TextSignatures::default();
        signatures.add(text);
        signatures
    }

    fn found(store: &SqliteStore, mailbox: MailboxId, text: &str) -> Vec<(u32, u32)> {
        let uids = store.find(mailbox, text).unwrap().unwrap();
        uids.ranges().iter().map(|range| (*range.start(), *range.end())).collect()
    }

    #[test]
    fn finds_messages_in_several_segments_and_forgets_those_that_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let account = store.create_account("ann", b"a password").unwrap().id;
        let mailbox = store.mailbox(account, "INBOX").unwrap().id;
        let deliveries = (0..700).map(|_| {
            let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
            Delivery { upload: store.upload().unwrap(), targets: vec![target] }
        });
        store.append_batch(deliveries.collect()).unwrap();
        assert_eq!(found(&store, mailbox, "abc"), [(1, u32::MAX)], "nothing is indexed");
        let texts: Vec<_> = (1..=600_u32)
            .map(|uid| (uid, signatures(if uid % 250 == 0 { "a needle" } else { "hay and straw" })))
            .collect();
        store.add(mailbox, 1..601, &texts).unwrap();
        // Another process has indexed the same messages.
        store.add(mailbox, 1..601, &texts).unwrap();
        store.add(mailbox, 601..603, &[(602, TextSignatures::of_unknown_text())]).unwrap();
        assert_eq!(store.indexed_below(mailbox).unwrap(), 603);
        assert_eq!(found(&store, mailbox, "needle"), [(250, 250), (500, 500), (602, u32::MAX)]);
        assert_eq!(found(&store, mailbox, "nowhere"), [(602, u32::MAX)]);
        assert_eq!(found(&store, mailbox, "straw"), [(1, 249), (251, 499), (501, 600), (602, u32::MAX)]);
        assert_eq!(store.find(mailbox, "ab").unwrap(), None);

        let segments = || -> i64 {
            store
                .read(|tx| Ok(tx.query_row("SELECT count(*) FROM text_segments", (), |row| row.get(0))?))
                .unwrap()
        };
        let rows = || -> i64 {
            store
                .read(|tx| Ok(tx.query_row("SELECT count(*) FROM text_bits", (), |row| row.get(0))?))
                .unwrap()
        };
        assert_eq!(store.prune(None).unwrap(), None);
        assert_eq!(segments(), 3);
        // All messages of the first segment.
        let first = [1..=512].into_iter().collect();
        store.expunge(mailbox, &Expunge::Exactly(first), 1_000).unwrap();
        assert_eq!(store.prune(None).unwrap(), None);
        assert_eq!((segments(), store.indexed_below(mailbox).unwrap()), (2, 603));
        assert_eq!(found(&store, mailbox, "needle"), [(602, u32::MAX)]);
        let work = store.create_mailbox(account, "Work", None).unwrap();
        store.add(work, 1..2, &[(1, signatures("needle"))]).unwrap();
        store.delete_mailbox(account, "Work").unwrap();
        store.expunge(mailbox, &Expunge::Exactly(UidSet::all()), 1_000).unwrap();
        while store.prune(None).unwrap().is_some() {}
        assert_eq!((segments(), rows()), (0, 0));
    }
}
