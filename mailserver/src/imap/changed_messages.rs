//! Reads which messages have changed since a mod-sequence and which were expunged: the worker's part of a FETCH with
//! CHANGEDSINCE, and the state of the VANISHED response before it.

use io_common::Slice;
use mailstore::{ChangeCursor, MailboxId, Store, UidSet};
use proto_imap::mailbox_view::{MailboxView, UidBitmap};
use proto_imap::types::NumberRange;

use super::command_state::{FetchEnd, FetchInProgress};
use super::fetch_items::FetchRequest;
use super::translate::uid_set;

/// The number of changes that are read at a time.
const PAGE: usize = 500;

/// If more messages than these have changed, all requested messages are read instead, and those that have not changed are
/// left out.
const CHANGED_LIMIT: usize = 20_000;

/// The maximum number of ranges in one VANISHED response.
const VANISHED_RANGES: usize = 1_000;

/// A FETCH of the messages that have changed.
pub(super) struct ChangedFetch {
    pub(super) end: FetchEnd,
    pub(super) request: FetchRequest,
    /// The messages about which the client asks.
    pub(super) uids: UidSet,
    pub(super) since: u64,
    /// The UIDs among which vanished messages are reported; `None` if the client does not ask for them.
    pub(super) vanished_among: Option<UidSet>,
}

/// A VANISHED (EARLIER) response that is being written, and the FETCH after it.
pub(super) struct VanishedInProgress {
    pub(super) vanished: Vanished,
    /// The lowest UID that is not written yet.
    pub(super) next: Option<u32>,
    pub(super) fetch: Box<FetchInProgress>,
}

/// The messages that have vanished.
#[derive(Debug)]
pub(super) enum Vanished {
    Known(UidBitmap),
    /// All of these UIDs that no message has.
    Absent(UidSet),
}

impl Vanished {
    /// Returns the first ranges from a UID on.
    pub(super) fn ranges(&self, from: u32, view: &MailboxView) -> Vec<NumberRange> {
        match self {
            Self::Known(uids) => {
                uids.ranges_within(NumberRange::new(from, u32::MAX)).take(VANISHED_RANGES).collect()
            }
            Self::Absent(among) => {
                let ranges = among.ranges();
                let first = ranges.partition_point(|range| *range.end() < from);
                let left = ranges.get(first..).unwrap_or_default().iter();
                let left = left.map(|range| NumberRange::new((*range.start()).max(from), *range.end()));
                left.flat_map(|range| view.uids().gaps_within(range)).take(VANISHED_RANGES).collect()
            }
        }
    }
}

/// Reads which messages have changed, and which have vanished.
pub(super) struct ChangesJob {
    pub(super) mailbox: MailboxId,
    pub(super) uids: UidSet,
    pub(super) cursor: ChangeCursor,
    pub(super) changed: UidBitmap,
    /// The number of changed messages that were read.
    pub(super) read: usize,
    /// Where the removals continue; `None` if they are not requested or complete.
    pub(super) removals: Option<(u64, u32)>,
    pub(super) vanished: Option<Vanished>,
    pub(super) vanished_among: UidSet,
}

impl ChangesJob {
    pub(super) fn new(mailbox: MailboxId, fetch: &mut ChangedFetch) -> Self {
        let vanished_among = fetch.vanished_among.take();
        let after = (fetch.since, u32::MAX);
        // Only flags are read with this cursor: no message is new, and none was removed.
        let cursor =
            ChangeCursor { uid_next: u32::MAX, flags: after, expunged: (i64::MAX.unsigned_abs(), u32::MAX) };
        Self {
            mailbox,
            uids: fetch.uids.clone(),
            cursor,
            changed: UidBitmap::new(),
            read: 0,
            removals: vanished_among.as_ref().map(|_| after),
            vanished: vanished_among.as_ref().map(|_| Vanished::Known(UidBitmap::new())),
            vanished_among: vanished_among.unwrap_or_default(),
        }
    }

    /// Reads until the slice is over. Returns whether the job is done.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
        while !slice.is_over() {
            if let Some(after) = self.removals {
                self.read_removals(store, after)?;
                continue;
            }
            let page = store.changes_since(self.mailbox, &self.cursor, PAGE)?;
            self.read += page.changed.len();
            let changed = page.changed.iter().map(|message| message.uid);
            self.changed.extend(changed.filter(|uid| self.uids.contains(*uid)));
            self.cursor = page.cursor;
            if !page.more || self.read > CHANGED_LIMIT {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_removals(&mut self, store: &dyn Store, after: (u64, u32)) -> mailstore::Result<()> {
        let page = store.removals(self.mailbox, after, PAGE)?;
        self.removals = page.as_ref().and_then(|page| page.next);
        match (page, &mut self.vanished) {
            (Some(page), Some(Vanished::Known(uids))) => {
                uids.extend(page.uids.into_iter().filter(|uid| self.vanished_among.contains(*uid)));
            }
            _ => self.vanished = Some(Vanished::Absent(std::mem::take(&mut self.vanished_among))),
        }
        Ok(())
    }

    /// Returns the messages to fetch.
    pub(super) fn take_uids(&mut self) -> UidSet {
        match self.read > CHANGED_LIMIT {
            true => std::mem::take(&mut self.uids),
            false => uid_set(self.changed.ranges()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_uids_are_listed_in_parts() {
        let view = MailboxView::new((2..=5_000).step_by(2).collect::<UidBitmap>());
        let vanished = Vanished::Absent([1..=10, 12..=12, 101..=6_000].into_iter().collect());
        let (mut next, mut all) = (Some(1), Vec::new());
        while let Some(from) = next {
            let some = vanished.ranges(from, &view);
            assert!(some.len() <= VANISHED_RANGES);
            next = some.last().and_then(|last| last.last().checked_add(1));
            all.extend(some);
        }
        let mut expected: Vec<NumberRange> = [1, 3, 5, 7, 9].map(NumberRange::from).to_vec();
        expected.extend((101..5_000).step_by(2).map(NumberRange::from));
        expected.push(NumberRange::new(5_001, 6_000));
        // 4,999 is followed by the message 5,000.
        assert_eq!(all, expected);
    }
}
