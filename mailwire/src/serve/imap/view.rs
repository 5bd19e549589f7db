//! A session's view of its mailbox: which message has which sequence number (RFC 9051 §2.3.1.2).
//!
//! Sequence numbers change only when the session reports a change to its client. Messages that arrived in the store
//! since then are not part of the view. This module does not access the store.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mailstore::UidSet;
use proto_imap::types::{NumberRange, SequenceNumber, SequenceSet};
use roaring::RoaringBitmap;

/// Whether a set contains sequence numbers or UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    Sequence,
    Uid,
}

/// A sequence set names a message that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchMessage;

/// The messages that a client has been told about, ordered by sequence number.
///
/// A compressed bitmap of UIDs: at most 8 KiB for 65,536 UIDs, and a few bytes for a contiguous range. Sessions with
/// the same messages share one bitmap; see [`share`](Self::share).
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    uids: Arc<RoaringBitmap>,
}

impl View {
    pub(super) fn new(uids: RoaringBitmap) -> Self {
        Self { uids: Arc::new(uids) }
    }

    /// Returns the number of messages (EXISTS).
    pub(super) fn exists(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// Returns the range from the first to the last UID.
    pub(super) fn bounds(&self) -> Option<RangeInclusive<u32>> {
        Some(self.uids.min()?..=self.uids.max()?)
    }

    /// Returns the sequence number of a UID.
    pub(super) fn sequence(&self, uid: u32) -> Option<u32> {
        if !self.uids.contains(uid) {
            return None;
        }
        u32::try_from(self.uids.rank(uid)).ok()
    }

    /// Returns the UIDs that a set names. A range also contains UIDs between two messages of this view. It never
    /// extends beyond the last message, so it contains no message that arrived later.
    pub(super) fn resolve(
        &self,
        set: SequenceSet<'_>,
        numbering: Numbering,
    ) -> Result<UidSet, NoSuchMessage> {
        let exists = self.exists();
        let last = self.uids.max().unwrap_or(0);
        let ranges: Result<Vec<_>, _> = set
            .ranges()
            .filter_map(|range| match numbering {
                Numbering::Uid => uid_range(range.first, range.last, last).map(Ok),
                Numbering::Sequence => self.range(range.first, range.last, exists).transpose(),
            })
            .collect();
        Ok(ranges?.into_iter().collect())
    }

    /// Returns the UIDs of a range of sequence numbers.
    fn range(
        &self,
        a: SequenceNumber,
        b: SequenceNumber,
        exists: u32,
    ) -> Result<Option<RangeInclusive<u32>>, NoSuchMessage> {
        if exists == 0 && (a == SequenceNumber::Largest || b == SequenceNumber::Largest) {
            // Many clients request `1:*` of an empty mailbox and expect an empty result.
            return Ok(None);
        }
        let (a, b) = (number(a, exists), number(b, exists));
        let uid = |number: u32| {
            number.checked_sub(1).and_then(|index| self.uids.select(index)).ok_or(NoSuchMessage)
        };
        let low = uid(a.min(b))?;
        Ok(Some(low..=if a == b { low } else { uid(a.max(b))? }))
    }

    /// Appends the UIDs above the last known one. Returns whether there were any.
    pub(super) fn extend(&mut self, uids: impl IntoIterator<Item = u32>) -> bool {
        let mut last = self.uids.max().unwrap_or(0);
        let mut any = false;
        for uid in uids {
            if uid > last {
                (last, any) = (uid, true);
                Arc::make_mut(&mut self.uids).insert(uid);
            }
        }
        any
    }

    /// Removes a message and returns the sequence number that it had.
    pub(super) fn remove(&mut self, uid: u32) -> Option<u32> {
        let number = self.sequence(uid)?;
        Arc::make_mut(&mut self.uids).remove(uid);
        Some(number)
    }

    /// Removes the last message and returns the sequence number that it had.
    pub(super) fn remove_last(&mut self) -> Option<u32> {
        self.remove(self.uids.max()?)
    }

    /// Compacts the bitmap after changes, and replaces it by the equal one that `share` returns, if there is one.
    pub(super) fn share(&mut self, share: impl FnOnce(Arc<RoaringBitmap>) -> Arc<RoaringBitmap>) {
        let mut uids = std::mem::take(&mut self.uids);
        if let Some(own) = Arc::get_mut(&mut uids) {
            own.optimize();
            // A clone has no spare capacity.
            *own = own.clone();
        }
        self.uids = share(uids);
    }
}

const fn number(number: SequenceNumber, last: u32) -> u32 {
    match number {
        SequenceNumber::Number(number) => number,
        SequenceNumber::Largest => last,
    }
}

/// Returns the UIDs of a range that are at most `last`. `*` means the last message even if the other end is beyond it.
fn uid_range(a: SequenceNumber, b: SequenceNumber, last: u32) -> Option<RangeInclusive<u32>> {
    let (a, b) = (number(a, last), number(b, last));
    (a.min(b) <= last && last > 0).then(|| a.min(b)..=a.max(b).min(last))
}

/// Returns a set without open ends as a bitmap.
#[cfg(test)]
pub(super) fn bitmap(set: &UidSet) -> RoaringBitmap {
    let mut bitmap = RoaringBitmap::new();
    for range in set.ranges() {
        bitmap.insert_range(range.clone());
    }
    bitmap.optimize();
    bitmap.clone()
}

/// Returns the UIDs of a bitmap as a set.
pub(super) fn uid_set(bitmap: &RoaringBitmap) -> UidSet {
    uid_ranges(bitmap).collect()
}

/// Returns the ranges of a bitmap, in ascending order.
pub(super) fn uid_ranges(bitmap: &RoaringBitmap) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
    let mut iter = bitmap.iter();
    let mut next = iter.next_range();
    std::iter::from_fn(move || {
        let mut range = next.take()?;
        loop {
            // A range may continue in the next container of the bitmap.
            match iter.next_range() {
                Some(more) if range.end().checked_add(1) == Some(*more.start()) => {
                    range = *range.start()..=*more.end();
                }
                more => {
                    next = more;
                    return Some(range);
                }
            }
        }
    })
}

/// Returns the number of UIDs in a bitmap.
pub(super) fn count(uids: &RoaringBitmap) -> u32 {
    u32::try_from(uids.len()).unwrap_or(u32::MAX)
}

/// Combines ascending numbers into ranges.
pub(super) fn number_ranges(numbers: impl IntoIterator<Item = u32>) -> Vec<NumberRange> {
    let mut ranges: Vec<NumberRange> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(number) => {
                *last = NumberRange::new(last.first(), number);
            }
            _ => ranges.push(number.into()),
        }
    }
    ranges
}

/// Returns the ranges of a bitmap, in ascending order.
pub(super) fn bitmap_ranges(bitmap: &RoaringBitmap) -> Vec<NumberRange> {
    uid_ranges(bitmap).map(|range| NumberRange::new(*range.start(), *range.end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combines_numbers_into_ranges() {
        let of = |numbers: &[u32]| number_ranges(numbers.iter().copied());
        assert_eq!(of(&[1, 2, 3, 7]), [NumberRange::new(1, 3), 7.into()]);
        assert!(of(&[]).is_empty());
    }

    fn view() -> View {
        View::new([3, 5, 9, 10].into_iter().collect())
    }

    fn all(view: &View) -> Vec<u32> {
        view.uids.iter().collect()
    }

    fn uids(view: &View, set: &str, numbering: Numbering) -> Option<Vec<u32>> {
        let set = view.resolve(SequenceSet::from_text(set).unwrap(), numbering).ok()?;
        Some(all(view).into_iter().filter(|&uid| set.contains(uid)).collect())
    }

    #[test]
    fn sequence_numbers_must_exist() {
        let of = |set| uids(&view(), set, Numbering::Sequence);
        assert_eq!(of("2:3"), Some(vec![5, 9]));
        assert_eq!(of("3:2"), Some(vec![5, 9]));
        assert_eq!(of("*"), Some(vec![10]));
        assert_eq!(of("1:*"), Some(vec![3, 5, 9, 10]));
        assert_eq!(of("4,1"), Some(vec![3, 10]));
        assert_eq!(of("5"), None);
        assert_eq!(of("2:5"), None);
        assert_eq!(of("5:*"), None);
    }

    #[test]
    fn uids_need_not_exist() {
        let of = |set| uids(&view(), set, Numbering::Uid);
        assert_eq!(of("4:9"), Some(vec![5, 9]));
        assert_eq!(of("1:4294967295"), Some(vec![3, 5, 9, 10]));
        assert_eq!(of("100:*"), Some(vec![10]));
        assert_eq!(of("100:200"), Some(vec![]));
        assert_eq!(of("*:1"), Some(vec![3, 5, 9, 10]));
    }

    #[test]
    fn star_selects_nothing_in_an_empty_mailbox() {
        let empty = View::default();
        assert_eq!(uids(&empty, "1:*", Numbering::Uid), Some(vec![]));
        assert_eq!(uids(&empty, "1:*", Numbering::Sequence), Some(vec![]));
        assert_eq!(uids(&empty, "1", Numbering::Sequence), None);
    }

    #[test]
    fn a_range_excludes_messages_that_arrived_later() {
        let set = view().resolve(SequenceSet::from_text("1:99").unwrap(), Numbering::Uid).unwrap();
        assert!(!set.contains(11));
    }

    #[test]
    fn each_expunge_renumbers_the_messages_after_it() {
        let mut view = view();
        let numbers: Vec<_> = [3, 4, 9].into_iter().map(|uid| view.remove(uid)).collect();
        assert_eq!(numbers, [Some(1), None, Some(2)]);
        assert_eq!(all(&view), [5, 10]);
        assert_eq!((view.sequence(10), view.sequence(9)), (Some(2), None));
        assert!(view.extend([7, 10, 11]));
        assert_eq!(all(&view), [5, 10, 11]);
        assert!(!view.extend([11]));
        assert_eq!((view.remove_last(), view.exists()), (Some(3), 2));
    }

    #[test]
    fn sessions_with_the_same_messages_share_one_bitmap() {
        let (mut one, mut other) = (view(), view());
        let mut shared = None;
        one.share(|uids| Arc::clone(shared.insert(uids)));
        other.share(|uids| if shared.as_ref() == Some(&uids) { shared.clone().unwrap() } else { uids });
        assert!(Arc::ptr_eq(&one.uids, &other.uids));
        other.remove(5);
        assert_eq!((all(&one).len(), all(&other).len()), (4, 3));
    }

    #[test]
    fn the_view_of_a_large_mailbox_is_small() {
        let sequence: RoaringBitmap = (1..=131_072).collect();
        let every_second: RoaringBitmap = (1..=66_000).step_by(2).collect();
        for (mut uids, most) in [(sequence, 100), (every_second, 9_000)] {
            uids.optimize();
            assert!(uids.serialized_size() < most, "{}", uids.serialized_size());
            let view = View::new(uids);
            assert_eq!(view.sequence(view.uids.max().unwrap()), Some(view.exists()));
        }
    }

    #[test]
    fn converts_between_sets_and_bitmaps() {
        let set: UidSet = [1..=3, 60_000..=200_000, 300_000..=300_000].into_iter().collect();
        assert_eq!(uid_set(&bitmap(&set)), set);
        assert_eq!(uid_set(&RoaringBitmap::new()), UidSet::default());
    }
}
