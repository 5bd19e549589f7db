//! Lists the messages in ranges of UIDs, and isolates those that the server fails on.

use proto_mail::{Channel, SendBuffer};

use super::machine::{Resync, Step};
use super::ranges::RangeQueue;
use super::types::ResyncError;
use crate::client::Client;
use crate::types::{Command, FetchCommand, LazyList, NumberRange, SequenceRange, SequenceSet};
use crate::uid_bitmap::UidBitmap;

impl Resync {
    /// Lists all UIDs up to UIDNEXT in ranges, or up to the largest UID if the server sent no UIDNEXT.
    pub(super) fn all_ranges(&self) -> RangeQueue {
        let last = self.selected.uid_next.map_or(u32::MAX, |next| (next.get() - 1).max(1));
        RangeQueue::new(NumberRange::new(1, last))
    }

    /// Lists the messages in ranges of UIDs: those that SEARCH has found and no response has shown, or all.
    pub(super) fn fetch_ranges<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let ranges = self.ranges.get_or_insert_default();
        let Some(range) = ranges.next() else {
            self.compare_ranges();
            return Ok(());
        };
        let set = [SequenceRange::from(range)];
        let fetch = FetchCommand::new(SequenceSet::new(&set), LazyList::new(self.attributes(client)));
        self.sends();
        self.step = Step::FetchingRange(client.send(&Command::UidFetch(fetch), tx)?, range);
        Ok(())
    }

    /// Splits a range that the server has rejected, and requests the next one.
    pub(super) fn range_rejected<C: Channel>(
        &mut self,
        range: NumberRange,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let isolated = self.ranges.as_mut().and_then(|ranges| ranges.rejected(range));
        self.unreadable.extend(isolated);
        self.fetch_ranges(client, tx)
    }

    /// Splits a range that ended the session. Returns false if too many sessions were lost.
    pub(super) fn range_lost(&mut self, range: NumberRange) -> bool {
        match self.ranges.as_mut().and_then(|ranges| ranges.lost(range)) {
            Some(isolated) => {
                self.unreadable.extend(isolated);
                true
            }
            None => false,
        }
    }

    /// Compares what the ranges have shown with what was known. A UID that the server fails on counts as a message: a
    /// client that fetches it finds out.
    fn compare_ranges(&mut self) {
        if self.has_found {
            self.unreadable.intersect_with(&self.found);
            self.mark_unreadable();
            return self.finish();
        }
        let mut present = self.seen.difference(&self.vanished);
        present.union_with(&self.unreadable);
        self.compare_present(&present);
        self.finish();
    }

    /// Finds out what has vanished if `present` holds as many messages as the server counts.
    pub(super) fn compare_present(&mut self, present: &UidBitmap) {
        let exists = self.selected.exists.unwrap_or(0);
        self.unlisted = exists.saturating_sub(present.len());
        self.vanished = if self.unlisted == 0 { self.uids.difference(present) } else { UidBitmap::default() };
    }
}
