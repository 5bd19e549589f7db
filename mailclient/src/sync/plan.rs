//! Plans which messages to request next: new ones in batches, and those of a failed command in smaller batches, until
//! the message that the server cannot send is isolated.
//!
//! After a refusal (NO, BAD), which costs one command, the batch is halved. After a lost connection, which costs a new
//! session, a batch of n messages is split into about √n parts: one bad message in 200 is isolated after three lost
//! connections. The plan handles UIDs only and does no I/O.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use mailstore::UidSet;

/// The most messages that one FETCH requests.
pub(super) const BATCH: usize = 200;
/// How many FETCH commands are sent ahead, so that the server never waits for the next one.
const PIPELINED: usize = 2;

/// After a lost connection, a batch of at most this many messages is requested one by one.
const ONE_BY_ONE: usize = 16;

/// The messages still to request, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Messages not requested yet.
    new: VecDeque<RangeInclusive<u32>>,
    /// Batches to request again after a failure, in order.
    retry: VecDeque<Vec<u32>>,
    /// Messages to request alone, after all others.
    suspects: VecDeque<u32>,
}

impl Plan {
    /// Plans to request `new`, and then each of `suspects` alone.
    pub(super) fn new(new: &UidSet, suspects: &UidSet) -> Self {
        Self {
            new: new.ranges().iter().cloned().collect(),
            retry: VecDeque::new(),
            suspects: suspects.ranges().iter().cloned().flatten().collect(),
        }
    }

    /// Returns the next batch to request.
    pub(super) fn next(&mut self) -> Option<Vec<u32>> {
        if let Some(batch) = self.retry.pop_front() {
            return Some(batch);
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(range) = self.new.pop_front()
        {
            let (start, end) = (*range.start(), *range.end());
            let room = u32::try_from(BATCH - batch.len()).unwrap_or(u32::MAX);
            let last = start.saturating_add(room - 1).min(end);
            batch.extend(start..=last);
            if last < end {
                self.new.push_front(last + 1..=end);
            }
        }
        if batch.is_empty() { self.suspects.pop_front().map(|uid| vec![uid]) } else { Some(batch) }
    }

    /// Returns how many commands may be open at once: one while a bad message is being isolated.
    pub(super) fn max_open(&self) -> usize {
        if self.retry.is_empty() && !self.new.is_empty() { PIPELINED } else { 1 }
    }

    /// Returns whether nothing is left to request.
    pub(super) fn is_done(&self) -> bool {
        self.new.is_empty() && self.retry.is_empty() && self.suspects.is_empty()
    }

    /// Records that the server refused a command, and that these messages are missing. Returns the bad message, once it
    /// is isolated.
    pub(super) fn refused(&mut self, mut batch: Vec<u32>) -> Option<u32> {
        if batch.len() <= 1 {
            return batch.pop();
        }
        let second = batch.split_off(batch.len() / 2);
        self.retry.push_front(second);
        self.retry.push_front(batch);
        None
    }

    /// Records that the connection was lost while `batch` was missing. `later` are the batches of later commands.
    /// `broken_at` is the message that was being received or fetched next, if it is known. Returns the bad message, once it
    /// is isolated.
    pub(super) fn lost(
        &mut self,
        mut batch: Vec<u32>,
        later: Vec<Vec<u32>>,
        broken_at: Option<u32>,
    ) -> Option<u32> {
        for other in later.into_iter().rev().filter(|other| !other.is_empty()) {
            self.retry.push_front(other);
        }
        if batch.len() <= 1 {
            return batch.pop();
        }
        if let Some(uid) = broken_at.filter(|uid| batch.contains(uid)) {
            batch.retain(|other| *other != uid);
            self.retry.push_front(batch);
            self.suspects.push_back(uid);
            return None;
        }
        let size = if batch.len() <= ONE_BY_ONE { 1 } else { batch.len().isqrt() };
        let parts: Vec<Vec<u32>> = batch.chunks(size).map(<[u32]>::to_vec).collect();
        for part in parts.into_iter().rev() {
            self.retry.push_front(part);
        }
        None
    }

    /// Removes and returns the messages to request again.
    pub(super) fn abandon_retries(&mut self) -> Vec<u32> {
        self.retry.drain(..).flatten().collect()
    }

    /// Removes all messages. Returns how many there were.
    pub(super) fn abandon(&mut self) -> u64 {
        let new: u64 = self.new.drain(..).map(|range| u64::from(range.end() - range.start()) + 1).sum();
        let retry = self.retry.drain(..).map(|batch| batch.len() as u64).sum::<u64>();
        new + retry + self.suspects.drain(..).count() as u64
    }
}

/// Returns the number of UIDs in a set.
pub(super) fn count(set: &UidSet) -> u64 {
    set.ranges().iter().map(|range| u64::from(range.end() - range.start()) + 1).sum()
}

/// Returns the UIDs of both sets.
pub(super) fn union(a: &UidSet, b: &UidSet) -> UidSet {
    a.ranges().iter().chain(b.ranges()).cloned().collect()
}

/// Returns the UIDs of `from` that are not in `minus`.
pub(super) fn difference(from: &UidSet, minus: &UidSet) -> UidSet {
    let mut left = Vec::new();
    let mut minus = minus.ranges().iter().peekable();
    for range in from.ranges() {
        let (mut start, end) = (*range.start(), *range.end());
        let mut is_covered = false;
        while let Some(next) = minus.peek() {
            if *next.end() < start {
                minus.next();
                continue;
            }
            if *next.start() > end {
                break;
            }
            if *next.start() > start {
                left.push(start..=*next.start() - 1);
            }
            if *next.end() >= end {
                is_covered = true;
                break;
            }
            start = *next.end() + 1;
        }
        if !is_covered {
            left.push(start..=end);
        }
    }
    left.into_iter().collect()
}

/// Formats UIDs as a sequence set: `1:3,5` for 1, 2, 3 and 5.
#[must_use]
pub fn sequence_set(uids: &[u32]) -> String {
    let set: UidSet = uids.iter().copied().collect();
    let parts: Vec<String> = set
        .ranges()
        .iter()
        .map(|range| {
            if range.start() == range.end() {
                range.start().to_string()
            } else {
                format!("{}:{}", range.start(), range.end())
            }
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[RangeInclusive<u32>]) -> UidSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn formats_uids_as_ranges() {
        assert_eq!(sequence_set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(sequence_set(&[4]), "4");
    }

    #[test]
    fn difference_removes_known_uids() {
        let all = set(&[1..=10, 20..=30, u32::MAX..=u32::MAX]);
        assert_eq!(difference(&all, &set(&[])), all);
        assert_eq!(
            difference(&all, &set(&[3..=4, 9..=21, 30..=40])).ranges(),
            [1..=2, 5..=8, 22..=29, u32::MAX..=u32::MAX]
        );
        assert_eq!(difference(&all, &UidSet::all()).ranges(), []);
        assert_eq!(difference(&set(&[5..=6]), &set(&[5..=5])).ranges(), [6..=6]);
        assert_eq!(count(&all), 22);
    }

    /// Simulates a server that cannot send `bad`. Returns the number of failures, the messages fetched, and the messages
    /// reported as bad.
    fn simulate(
        total: u32,
        bad: &[u32],
        fail: impl Fn(&mut Plan, Vec<u32>) -> Option<u32>,
    ) -> (usize, Vec<u32>, Vec<u32>) {
        let mut plan = Plan::new(&set(&[1..=total]), &UidSet::default());
        let (mut failures, mut fetched, mut reported) = (0, Vec::new(), Vec::new());
        while let Some(batch) = plan.next() {
            if batch.iter().any(|uid| bad.contains(uid)) {
                failures += 1;
                reported.extend(fail(&mut plan, batch));
            } else {
                fetched.extend(batch);
            }
        }
        fetched.sort_unstable();
        (failures, fetched, reported)
    }

    #[test]
    fn isolates_a_bad_message_after_few_refusals_or_lost_connections() {
        for bad in [1, 5, 200, 201, 449, 450] {
            let good: Vec<u32> = (1..=450).filter(|uid| *uid != bad).collect();
            let (refusals, fetched, reported) = simulate(450, &[bad], |plan, batch| plan.refused(batch));
            assert_eq!((fetched, reported), (good.clone(), vec![bad]));
            assert!(refusals <= 9, "{refusals}");
            let (losses, fetched, reported) =
                simulate(450, &[bad], |plan, batch| plan.lost(batch, Vec::new(), None));
            assert_eq!((fetched, reported), (good, vec![bad]));
            assert!(losses <= 3, "{losses}");
        }
    }

    #[test]
    fn requests_the_message_that_broke_the_connection_alone_at_the_end() {
        let mut plan = Plan::new(&set(&[1..=4]), &UidSet::default());
        let batch = plan.next().unwrap();
        assert_eq!(plan.lost(batch[1..].to_vec(), vec![vec![9]], Some(3)), None);
        assert_eq!(plan.next(), Some(vec![2, 4]));
        assert_eq!(plan.next(), Some(vec![9]));
        assert_eq!(plan.next(), Some(vec![3]));
        assert_eq!(plan.lost(vec![3], Vec::new(), Some(3)), Some(3));
        assert!(plan.is_done());
    }
}
