//! What stores remember of removed messages: a bounded history, and what they report without it.

use crate::error::Result;
use crate::limits::SCAN_LIMIT;
use crate::types::Changes;

/// The most removed messages of a mailbox that the SQLite store remembers one by one.
#[cfg(feature = "sqlite")]
pub(crate) const STORED_REMOVALS: usize = 100_000;

/// The most removed messages of a mailbox that a store with its index in memory remembers one by one.
pub(crate) const INDEXED_REMOVALS: usize = 10_000;

/// Returns the first UID to examine with [`report_absent`]; `None` if no removal after the cursor is forgotten. Removals up
/// to the mod-sequence `forgotten` are.
pub(crate) fn first_absent(changes: &Changes, forgotten: u64) -> Option<u32> {
    match changes.cursor.expunged {
        cursor if cursor >= (forgotten, u32::MAX) => None,
        (modseq, uid) if modseq == forgotten => Some(uid.saturating_add(1)),
        _ => Some(1),
    }
}

/// Reports every UID from `start` to below `uid_next` that no message has, because some removals after the cursor are
/// forgotten: a session ignores UIDs that it does not know. The cursor stays at the mod-sequence `forgotten` until the last
/// UID. `existing` are the UIDs of the messages from `start` on, in ascending order.
///
/// Returns whether the page is complete: there are more such UIDs.
pub(crate) fn report_absent(
    changes: &mut Changes,
    start: u32,
    (forgotten, uid_next, limit): (u64, u32, usize),
    mut existing: impl Iterator<Item = Result<u32>>,
) -> Result<bool> {
    let mut next = existing.next().transpose()?;
    for (examined, uid) in (start..uid_next).enumerate() {
        if changes.vanished.len() >= limit || examined >= SCAN_LIMIT {
            changes.more = true;
            return Ok(true);
        }
        changes.cursor.expunged = (forgotten, uid);
        if next == Some(uid) {
            next = existing.next().transpose()?;
        } else {
            changes.vanished.push(uid);
        }
    }
    changes.cursor.expunged = (forgotten, u32::MAX);
    Ok(false)
}
