//! Sets of UIDs.

use std::ops::RangeInclusive;

/// A set of UIDs, as ordered, disjoint ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet(Vec<RangeInclusive<u32>>);

impl UidSet {
    /// Returns the set of all UIDs.
    pub fn all() -> Self {
        Self(vec![1..=u32::MAX])
    }

    /// Returns the set of one UID.
    pub fn one(uid: u32) -> Self {
        Self(vec![uid..=uid])
    }

    /// Returns the ranges, in ascending order.
    pub fn ranges(&self) -> &[RangeInclusive<u32>] {
        &self.0
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the set contains `uid`.
    pub fn contains(&self, uid: u32) -> bool {
        let next = self.0.partition_point(|range| *range.end() < uid);
        self.0.get(next).is_some_and(|range| range.contains(&uid))
    }

    /// Returns the UIDs below `uid`.
    pub(crate) fn ending_before(&self, uid: u32) -> Self {
        let below = self.0.iter().filter(|range| *range.start() < uid);
        below.map(|range| *range.start()..=(*range.end()).min(uid.saturating_sub(1))).collect()
    }

    /// Returns the UIDs of the set that are at least `uid`: the rest of the set after a page.
    pub fn starting_at(&self, uid: u32) -> Self {
        self.0
            .iter()
            .filter(|range| *range.end() >= uid)
            .map(|range| (*range.start()).max(uid)..=*range.end())
            .collect()
    }
}

impl FromIterator<RangeInclusive<u32>> for UidSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u32>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=(*last.end()).max(*range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        uids.into_iter().map(|uid| uid..=uid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_ranges_and_continues_after_a_page() {
        let set: UidSet = [5..=7, 1..=2, 3..=3, 7..=9].into_iter().collect();
        assert_eq!(set.ranges(), [1..=3, 5..=9]);
        assert!(set.contains(9) && !set.contains(4) && !set.contains(0));
        assert_eq!(set.starting_at(6).ranges(), [6..=9]);
        assert!(set.starting_at(10).is_empty());
        assert_eq!([9_u32, 8, 1].into_iter().collect::<UidSet>().ranges(), [1..=1, 8..=9]);
        assert!(UidSet::all().contains(u32::MAX));
    }
}
