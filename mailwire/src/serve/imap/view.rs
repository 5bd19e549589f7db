//! What one session knows of its mailbox: which message has which number (RFC 9051 §2.3.1.2).
//!
//! The numbers change only when this session is told so. This file knows numbers and UIDs; it does not know the store,
//! and a message that came there meanwhile does not exist here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mailstore::UidSet;
use proto_imap::types::{SequenceNumber, SequenceSet};
use roaring::RoaringBitmap;

/// Whether the numbers of a set are sequence numbers or UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    Sequence,
    Uid,
}

/// A set has a sequence number that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchMessage;

/// The messages that a session was told of, by sequence number.
///
/// A compressed bitmap of UIDs: 8 KiB at most for 65,536 UIDs, and a few bytes for a run. Sessions that know the same
/// messages share it; see [`share`](Self::share).
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    uids: Arc<RoaringBitmap>,
}

impl View {
    pub(super) fn new(uids: RoaringBitmap) -> Self {
        Self { uids: Arc::new(uids) }
    }

    /// EXISTS.
    pub(super) fn exists(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// From the first UID to the last.
    pub(super) fn bounds(&self) -> Option<RangeInclusive<u32>> {
        Some(self.uids.min()?..=self.uids.max()?)
    }

    /// The sequence number of a UID.
    pub(super) fn sequence(&self, uid: u32) -> Option<u32> {
        if !self.uids.contains(uid) {
            return None;
        }
        u32::try_from(self.uids.rank(uid)).ok()
    }

    /// The UIDs that a set names. What is between two messages of the set and no message of this view is in it too,
    /// which is why nothing that came later can be: no range goes beyond the last message.
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

    /// The UIDs of a range of sequence numbers.
    fn range(
        &self,
        a: SequenceNumber,
        b: SequenceNumber,
        exists: u32,
    ) -> Result<Option<RangeInclusive<u32>>, NoSuchMessage> {
        if exists == 0 && (a == SequenceNumber::Largest || b == SequenceNumber::Largest) {
            // `1:*` of an empty mailbox: many clients ask for it, and nothing is what they mean.
            return Ok(None);
        }
        let (a, b) = (number(a, exists), number(b, exists));
        let uid = |number: u32| {
            number.checked_sub(1).and_then(|index| self.uids.select(index)).ok_or(NoSuchMessage)
        };
        let low = uid(a.min(b))?;
        Ok(Some(low..=if a == b { low } else { uid(a.max(b))? }))
    }

    /// New messages: those above the last that is known. Whether there were any.
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

    /// Takes a message out. Returns the sequence number that it had.
    pub(super) fn remove(&mut self, uid: u32) -> Option<u32> {
        let number = self.sequence(uid)?;
        Arc::make_mut(&mut self.uids).remove(uid);
        Some(number)
    }

    /// Takes the last message out. Returns the sequence number that it had.
    pub(super) fn remove_last(&mut self) -> Option<u32> {
        self.remove(self.uids.max()?)
    }

    /// Makes the bitmap small after changes, and uses the one that `share` has, if it is equal.
    pub(super) fn share(&mut self, share: impl FnOnce(Arc<RoaringBitmap>) -> Arc<RoaringBitmap>) {
        let mut uids = std::mem::take(&mut self.uids);
        if let Some(own) = Arc::get_mut(&mut uids) {
            own.optimize();
            // A clone has no room to grow.
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

/// `*` is the last message even where the other end is beyond it.
fn uid_range(a: SequenceNumber, b: SequenceNumber, last: u32) -> Option<RangeInclusive<u32>> {
    let (a, b) = (number(a, last), number(b, last));
    (a.min(b) <= last && last > 0).then(|| a.min(b)..=a.max(b).min(last))
}

/// The UIDs of a set that has no open ends, as a bitmap.
#[cfg(test)]
pub(super) fn bitmap(set: &UidSet) -> RoaringBitmap {
    let mut bitmap = RoaringBitmap::new();
    for range in set.ranges() {
        bitmap.insert_range(range.clone());
    }
    bitmap.optimize();
    bitmap.clone()
}

/// The UIDs of a bitmap, as ranges.
pub(super) fn uid_set(bitmap: &RoaringBitmap) -> UidSet {
    ranges(bitmap).collect()
}

/// The runs of a bitmap, rising.
pub(super) fn ranges(bitmap: &RoaringBitmap) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
    let mut iter = bitmap.iter();
    let mut next = iter.next_range();
    std::iter::from_fn(move || {
        let mut range = next.take()?;
        loop {
            // A run goes on in the next container of the bitmap.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn sequence_numbers_are_strict() {
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
    fn an_empty_mailbox_has_no_last_message() {
        let empty = View::default();
        assert_eq!(uids(&empty, "1:*", Numbering::Uid), Some(vec![]));
        assert_eq!(uids(&empty, "1:*", Numbering::Sequence), Some(vec![]));
        assert_eq!(uids(&empty, "1", Numbering::Sequence), None);
    }

    #[test]
    fn a_range_never_reaches_what_came_later() {
        let set = view().resolve(SequenceSet::from_text("1:99").unwrap(), Numbering::Uid).unwrap();
        assert!(!set.contains(11));
    }

    #[test]
    fn each_expunge_moves_the_numbers_behind_it() {
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
    fn sessions_that_know_the_same_messages_share_them() {
        let (mut one, mut other) = (view(), view());
        let mut shared = None;
        one.share(|uids| Arc::clone(shared.insert(uids)));
        other.share(|uids| if shared.as_ref() == Some(&uids) { shared.clone().unwrap() } else { uids });
        assert!(Arc::ptr_eq(&one.uids, &other.uids));
        other.remove(5);
        assert_eq!((all(&one).len(), all(&other).len()), (4, 3));
    }

    #[test]
    fn a_large_mailbox_is_small_in_memory() {
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
    fn sets_become_bitmaps_and_come_back() {
        let set: UidSet = [1..=3, 60_000..=200_000, 300_000..=300_000].into_iter().collect();
        assert_eq!(uid_set(&bitmap(&set)), set);
        assert_eq!(uid_set(&RoaringBitmap::new()), UidSet::default());
    }
}
