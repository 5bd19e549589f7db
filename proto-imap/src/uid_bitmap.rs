//! A compact set of UIDs.

use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use roaring::RoaringBitmap;

use crate::types::NumberRange;

/// A set of UIDs, kept as a compressed bitmap.
///
/// It takes at most 8 KiB for 65,536 UIDs in a row, and a few bytes if they have few gaps. Counting the UIDs up to
/// one, and finding the UID at a position, need no pass over all of them. 0 is no UID and is never a member.
///
/// ```
/// use proto_imap::mailbox_view::UidBitmap;
/// use proto_imap::types::NumberRange;
///
/// let uids: UidBitmap = [NumberRange::new(1, 1_000_000)].into_iter().collect();
/// assert_eq!((uids.len(), uids.count_up_to(70_000)), (1_000_000, 70_000));
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct UidBitmap(RoaringBitmap);

impl Eq for UidBitmap {}

impl UidBitmap {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(RoaringBitmap::new())
    }

    /// Returns the number of UIDs.
    #[must_use]
    pub fn len(&self) -> u32 {
        saturated(self.0.len())
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `uid` is in the set.
    #[must_use]
    pub fn contains(&self, uid: u32) -> bool {
        self.0.contains(uid)
    }

    /// Returns the smallest UID.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.0.min()
    }

    /// Returns the largest UID.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.0.max()
    }

    /// Returns the UID at a position; the first is at position 0.
    #[must_use]
    pub fn nth(&self, position: u32) -> Option<u32> {
        self.0.select(position)
    }

    /// Returns how many UIDs of the set are at most `uid`.
    #[must_use]
    pub fn count_up_to(&self, uid: u32) -> u32 {
        saturated(self.0.rank(uid))
    }

    /// Adds a UID. Returns whether it is new.
    pub fn insert(&mut self, uid: u32) -> bool {
        uid != 0 && self.0.insert(uid)
    }

    /// Adds all UIDs of a range.
    pub fn insert_range(&mut self, range: NumberRange) {
        self.0.insert_range(range.first().max(1)..=range.last());
    }

    /// Removes a UID. Returns whether it was in the set.
    pub fn remove(&mut self, uid: u32) -> bool {
        self.0.remove(uid)
    }

    /// Removes the smallest UIDs, at most `count` of them.
    pub fn remove_first(&mut self, count: u32) {
        self.0.remove_smallest(u64::from(count));
    }

    /// Removes all UIDs.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the UIDs of the other set.
    pub fn union_with(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Keeps only the UIDs that are in the other set as well.
    pub fn intersect_with(&mut self, other: &Self) {
        self.0 &= &other.0;
    }

    /// Removes the UIDs of the other set.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// Returns the UIDs that are not in the other set.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Returns an iterator over the UIDs, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// Returns an iterator over the UIDs in a range, in ascending order.
    pub fn iter_range(&self, range: RangeInclusive<u32>) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.0.range(range)
    }

    /// Returns an iterator over the ranges of consecutive UIDs, in ascending order. No two of them touch.
    pub fn ranges(&self) -> impl Iterator<Item = NumberRange> + '_ {
        self.ranges_within(NumberRange::new(1, u32::MAX))
    }

    /// Like [`ranges`](Self::ranges), for the UIDs in a range.
    pub fn ranges_within(&self, within: NumberRange) -> impl Iterator<Item = NumberRange> + '_ {
        let mut iter = self.0.range(RangeInclusive::from(within));
        let mut next = iter.next_range();
        core::iter::from_fn(move || {
            let mut range = next.take()?;
            loop {
                // A range may continue in the next container of the bitmap.
                match iter.next_range() {
                    Some(more) if range.end().checked_add(1) == Some(*more.start()) => {
                        range = *range.start()..=*more.end();
                    }
                    more => {
                        next = more;
                        return Some(range.into());
                    }
                }
            }
        })
    }

    /// Returns an iterator over the ranges of numbers within a range that are not in the set, in ascending order.
    pub fn gaps_within(&self, within: NumberRange) -> impl Iterator<Item = NumberRange> + '_ {
        let mut members = self.ranges_within(within);
        let mut from = Some(within.first().max(1));
        core::iter::from_fn(move || {
            loop {
                let first = from.filter(|first| *first <= within.last())?;
                let Some(member) = members.next() else {
                    from = None;
                    return Some(NumberRange::new(first, within.last()));
                };
                from = member.last().checked_add(1);
                if first < member.first() {
                    return Some(NumberRange::new(first, member.first() - 1));
                }
            }
        })
    }

    /// Stores the set in as little memory as possible. Worth a call after many changes.
    pub fn compact(&mut self) {
        self.0.optimize();
        // A clone has no spare capacity.
        self.0 = self.0.clone();
    }

    /// Returns about how many bytes of memory the set takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let statistics = self.0.statistics();
        // The statistics count 4 bytes for each element of an array, which has 2, and bits for a container of bits.
        let bytes = statistics.n_bytes_array_containers / 2
            + statistics.n_bytes_run_containers
            + u64::from(statistics.n_bitset_containers) * 8_192
            + u64::from(statistics.n_containers) * 40;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Extend<u32> for UidBitmap {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, uids: I) {
        self.0.extend(uids.into_iter().filter(|uid| *uid != 0));
    }
}

impl FromIterator<u32> for UidBitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        let mut set = Self::new();
        set.extend(uids);
        set
    }
}

impl Extend<NumberRange> for UidBitmap {
    fn extend<I: IntoIterator<Item = NumberRange>>(&mut self, ranges: I) {
        ranges.into_iter().for_each(|range| self.insert_range(range));
    }
}

impl FromIterator<NumberRange> for UidBitmap {
    fn from_iter<I: IntoIterator<Item = NumberRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl fmt::Debug for UidBitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ranges().map(RangeInclusive::from)).finish()
    }
}

/// Combines ascending numbers into ranges.
#[must_use]
pub fn number_ranges(numbers: impl IntoIterator<Item = u32>) -> Vec<NumberRange> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combines_numbers_into_ranges() {
        let of = |numbers: &[u32]| number_ranges(numbers.iter().copied());
        assert_eq!(of(&[1, 2, 3, 7]), [NumberRange::new(1, 3), 7.into()]);
        assert!(of(&[]).is_empty());
        assert_eq!(of(&[u32::MAX]), [u32::MAX.into()]);
    }

    #[test]
    fn converts_between_ranges_and_bitmaps() {
        let ranges = [(1, 3), (60_000, 200_000), (300_000, 300_000), (u32::MAX - 1, u32::MAX)];
        let ranges = ranges.map(|(first, last)| NumberRange::new(first, last));
        let set: UidBitmap = ranges.into_iter().collect();
        assert_eq!(set.ranges().collect::<Vec<_>>(), ranges);
        assert_eq!(set.len(), 3 + 140_001 + 1 + 2);
        assert_eq!(UidBitmap::new().ranges().count(), 0);
    }

    #[test]
    fn finds_the_gaps_of_a_range() {
        let set: UidBitmap = [1, 2, 5, 6, 65_536, 65_537, u32::MAX].into_iter().collect();
        let gaps = |first, last| -> Vec<_> {
            let gaps = set.gaps_within(NumberRange::new(first, last));
            gaps.map(|gap| (gap.first(), gap.last())).collect()
        };
        assert_eq!(gaps(1, 2), []);
        assert_eq!(gaps(0, 6), [(3, 4)]);
        assert_eq!(gaps(2, 70_000), [(3, 4), (7, 65_535), (65_538, 70_000)]);
        assert_eq!(gaps(80_000, u32::MAX), [(80_000, u32::MAX - 1)]);
        assert_eq!(gaps(80_000, 80_001), [(80_000, 80_001)]);
        let within = set.ranges_within(NumberRange::new(6, 65_536)).map(|one| (one.first(), one.last()));
        assert_eq!(within.collect::<Vec<_>>(), [(6, 6), (65_536, 65_536)]);
    }

    #[test]
    fn zero_is_no_member() {
        let mut set: UidBitmap = [0, 1].into_iter().collect();
        assert!(!set.insert(0));
        set.insert_range(NumberRange::new(0, 2));
        assert_eq!(alloc::format!("{set:?}"), "{1..=2}");
    }

    #[test]
    fn a_large_set_is_small() {
        let sequence: UidBitmap = [NumberRange::new(1, 131_072)].into_iter().collect();
        let every_second: UidBitmap = (1..=66_000).step_by(2).collect();
        for (mut uids, most) in [(sequence, 200), (every_second, 9_000)] {
            uids.compact();
            assert!(uids.memory() < most, "{}", uids.memory());
            assert_eq!(uids.last().map(|last| uids.count_up_to(last)), Some(uids.len()));
        }
    }
}
