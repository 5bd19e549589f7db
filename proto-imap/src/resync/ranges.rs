//! The ranges of UIDs that are left to list. A range on which the server fails is split until the message is isolated.

use alloc::collections::VecDeque;

use crate::types::NumberRange;

/// The most ranges to request, and the most sessions to lose while ranges are requested.
const MAX_REQUESTS: u32 = 2000;
const MAX_LOSSES: u32 = 12;

/// Into how many parts a range is split after a rejection, which costs one command, and after a lost session.
const PARTS_AFTER_REJECTION: u32 = 2;
const PARTS_AFTER_LOSS: u32 = 16;

/// The ranges of UIDs still to list.
#[derive(Debug, Clone, Default)]
pub(super) struct RangeQueue {
    ranges: VecDeque<NumberRange>,
    /// How many more ranges may be requested.
    requests_left: u32,
    /// How many more sessions may be lost.
    losses_left: u32,
}

impl RangeQueue {
    pub(super) fn new(all: NumberRange) -> Self {
        Self { ranges: VecDeque::from([all]), requests_left: MAX_REQUESTS, losses_left: MAX_LOSSES }
    }

    /// Returns the next range, or `None` when all are listed or too many were requested.
    pub(super) fn next(&mut self) -> Option<NumberRange> {
        self.requests_left = self.requests_left.checked_sub(1)?;
        self.ranges.pop_front()
    }

    /// Splits a range that the server rejected. Returns the UID, once it is isolated.
    pub(super) fn rejected(&mut self, range: NumberRange) -> Option<u32> {
        self.split(range, PARTS_AFTER_REJECTION)
    }

    /// Splits a range that ended the session. Returns the UID, once it is isolated, and `None` if too many sessions were
    /// lost.
    pub(super) fn lost(&mut self, range: NumberRange) -> Option<Option<u32>> {
        self.losses_left = self.losses_left.checked_sub(1)?;
        Some(self.split(range, PARTS_AFTER_LOSS))
    }

    fn split(&mut self, range: NumberRange, parts: u32) -> Option<u32> {
        let (first, last) = (range.first(), range.last());
        if first >= last {
            return Some(first);
        }
        // The range has at least two UIDs, and `first` is at least 1, so the size does not overflow.
        let size = (last - first + 1).div_ceil(parts);
        let mut end = last;
        // The first part goes to the front last, so that it is requested next.
        loop {
            let start = if end - first < size { first } else { end - size + 1 };
            self.ranges.push_front(NumberRange::new(start, end));
            if start == first {
                return None;
            }
            end = start - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn isolates_the_uid_that_cannot_be_listed() {
        for (last, bad) in [(450, 5), (450, 450), (u32::MAX, 5), (1, 1)] {
            for by_loss in [false, true] {
                let mut queue = RangeQueue::new(NumberRange::new(1, last));
                let (mut isolated, mut failed, mut covered) = (Vec::new(), 0, 0_u64);
                while let Some(range) = queue.next() {
                    if !(range.first()..=range.last()).contains(&bad) {
                        covered += u64::from(range.last() - range.first()) + 1;
                        continue;
                    }
                    failed += 1;
                    let uid = if by_loss { queue.lost(range).unwrap() } else { queue.rejected(range) };
                    isolated.extend(uid);
                }
                assert_eq!(isolated, [bad]);
                assert_eq!(covered, u64::from(last) - 1);
                assert!(failed <= if by_loss { 10 } else { 34 }, "{failed}");
            }
        }
    }
}
