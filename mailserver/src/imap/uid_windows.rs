//! Sets of UIDs that are processed window by window, so that each call of the store is short.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use mailstore::UidSet;

/// The maximum number of ranges in one window. Each range is one query of the store.
const WINDOW_RANGES: usize = 256;

/// The number of UIDs that the first window from the end spans.
pub(super) const SPAN: u32 = 1_000;

/// The remaining UIDs.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingUids {
    ranges: VecDeque<RangeInclusive<u32>>,
}

impl PendingUids {
    pub(super) fn new(uids: &UidSet) -> Self {
        Self { ranges: uids.ranges().iter().cloned().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Takes a window from the start.
    pub(super) fn take_first(&mut self) -> UidSet {
        let count = self.ranges.len().min(WINDOW_RANGES);
        self.ranges.drain(..count).collect()
    }

    /// Takes a window of `span` UIDs from the end.
    pub(super) fn take_last(&mut self, span: u32) -> UidSet {
        let (mut window, mut left) = (Vec::new(), span);
        while left > 0
            && window.len() < WINDOW_RANGES
            && let Some(range) = self.ranges.pop_back()
        {
            let (start, end) = (*range.start(), *range.end());
            let from = start.max(end.saturating_sub(left - 1));
            left = left.saturating_sub(end - from + 1);
            window.push(from..=end);
            if from > start {
                self.ranges.push_back(start..=from - 1);
            }
        }
        window.into_iter().collect()
    }

    /// Puts back the UIDs of a window from `next` on, because they were not read.
    pub(super) fn give_back(&mut self, window: &UidSet, next: u32) {
        for range in window.starting_at(next).ranges().iter().rev() {
            self.ranges.push_front(range.clone());
        }
    }
}

/// Returns the UIDs that are in both sets.
pub(super) fn intersection(one: &UidSet, other: &UidSet) -> UidSet {
    let (mut left, mut right) = (one.ranges().iter().peekable(), other.ranges().iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let common = *a.start().max(b.start())..=*a.end().min(b.end());
        if !common.is_empty() {
            both.push(common);
        }
        if a.end() < b.end() {
            left.next();
        } else {
            right.next();
        }
    }
    both.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u32, u32)]) -> UidSet {
        ranges.iter().map(|&(first, last)| first..=last).collect()
    }

    #[test]
    fn computes_the_intersection() {
        let (one, other) = (set(&[(1, 5), (9, 12), (20, 20)]), set(&[(4, 10), (12, 30)]));
        assert_eq!(intersection(&one, &other), set(&[(4, 5), (9, 10), (12, 12), (20, 20)]));
        assert!(intersection(&one, &UidSet::default()).is_empty());
    }

    #[test]
    fn takes_windows_from_both_ends() {
        let mut pending = PendingUids::new(&set(&[(1, 5), (10, 10), (2_000, 5_000)]));
        assert_eq!(pending.take_last(SPAN), set(&[(4_001, 5_000)]));
        assert_eq!(pending.take_last(SPAN), set(&[(3_001, 4_000)]));
        let window = pending.take_first();
        assert_eq!(window, set(&[(1, 5), (10, 10), (2_000, 3_000)]));
        assert!(pending.is_empty());
        pending.give_back(&window, 2_001);
        assert_eq!(pending.take_last(SPAN), set(&[(2_001, 3_000)]));
        assert!(pending.is_empty());
    }
}
