//! Which messages are asked for next: fresh ones in batches, and what a server refused or broke on in smaller pieces,
//! until the message that it cannot send stands alone.
//!
//! A refusal (NO, BAD) costs one command, so the piece is halved. A lost connection costs a new session, so the piece is
//! cut into about as many parts as each part has messages: one in 200 is found after three lost connections.
//! It knows UIDs, and nothing of the network.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use mailstore::UidSet;

/// How many messages one FETCH asks for.
pub(super) const BATCH: usize = 200;
/// How many FETCH commands are on their way at once: while one is answered, the next is already there.
const AHEAD: usize = 2;

/// A lost piece of at most so many messages is asked for one by one.
const SINGLY: usize = 16;

/// The order in which messages are asked for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What was never asked for.
    fresh: VecDeque<RangeInclusive<u32>>,
    /// Pieces of what was refused or lost, next ones first.
    retry: VecDeque<Vec<u32>>,
    /// Asked for alone, behind all others.
    suspects: VecDeque<u32>,
}

impl Plan {
    pub(super) fn new(fresh: &UidSet, suspects: &UidSet) -> Self {
        Self {
            fresh: fresh.ranges().iter().cloned().collect(),
            retry: VecDeque::new(),
            suspects: suspects.ranges().iter().cloned().flatten().collect(),
        }
    }

    /// The next messages to ask for.
    pub(super) fn next(&mut self) -> Option<Vec<u32>> {
        if let Some(piece) = self.retry.pop_front() {
            return Some(piece);
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(range) = self.fresh.pop_front()
        {
            let (start, end) = (*range.start(), *range.end());
            let room = u32::try_from(BATCH - batch.len()).unwrap_or(u32::MAX);
            let last = start.saturating_add(room - 1).min(end);
            batch.extend(start..=last);
            if last < end {
                self.fresh.push_front(last + 1..=end);
            }
        }
        if batch.is_empty() { self.suspects.pop_front().map(|uid| vec![uid]) } else { Some(batch) }
    }

    /// How many commands may be on their way. One, while a message that breaks the connection is looked for.
    pub(super) fn ahead(&self) -> usize {
        if self.retry.is_empty() && !self.fresh.is_empty() { AHEAD } else { 1 }
    }

    /// Whether nothing is left to ask for.
    pub(super) fn is_done(&self) -> bool {
        self.fresh.is_empty() && self.retry.is_empty() && self.suspects.is_empty()
    }

    /// The server refused a command, and these messages did not come. Returns the one that is to blame, once it stands
    /// alone.
    pub(super) fn refused(&mut self, mut piece: Vec<u32>) -> Option<u32> {
        if piece.len() <= 1 {
            return piece.pop();
        }
        let behind = piece.split_off(piece.len() / 2);
        self.retry.push_front(behind);
        self.retry.push_front(piece);
        None
    }

    /// The connection was lost while `piece` was awaited; `behind` had been asked for too. `broken_at` is the message
    /// in whose middle, or before which, the connection was lost, if others of the command had come. Returns the one
    /// that is to blame, once it stands alone.
    pub(super) fn lost(
        &mut self,
        mut piece: Vec<u32>,
        behind: Vec<Vec<u32>>,
        broken_at: Option<u32>,
    ) -> Option<u32> {
        for other in behind.into_iter().rev().filter(|other| !other.is_empty()) {
            self.retry.push_front(other);
        }
        if piece.len() <= 1 {
            return piece.pop();
        }
        if let Some(uid) = broken_at.filter(|uid| piece.contains(uid)) {
            piece.retain(|other| *other != uid);
            self.retry.push_front(piece);
            self.suspects.push_back(uid);
            return None;
        }
        let size = if piece.len() <= SINGLY { 1 } else { piece.len().isqrt() };
        let parts: Vec<Vec<u32>> = piece.chunks(size).map(<[u32]>::to_vec).collect();
        for part in parts.into_iter().rev() {
            self.retry.push_front(part);
        }
        None
    }

    /// Takes what is still to be tried again, to go on behind it.
    pub(super) fn give_up_retries(&mut self) -> Vec<u32> {
        self.retry.drain(..).flatten().collect()
    }

    /// Takes everything that was not asked for or not answered, to end.
    pub(super) fn give_up(&mut self) -> u64 {
        let fresh: u64 = self.fresh.drain(..).map(|range| u64::from(range.end() - range.start()) + 1).sum();
        let retry = self.retry.drain(..).map(|piece| piece.len() as u64).sum::<u64>();
        fresh + retry + self.suspects.drain(..).count() as u64
    }
}

/// How many UIDs a set has.
pub(super) fn count(set: &UidSet) -> u64 {
    set.ranges().iter().map(|range| u64::from(range.end() - range.start()) + 1).sum()
}

/// The UIDs of `from` that are not in `minus`.
pub(super) fn difference(from: &UidSet, minus: &UidSet) -> UidSet {
    let mut left = Vec::new();
    let mut minus = minus.ranges().iter().peekable();
    for range in from.ranges() {
        let (mut start, end) = (*range.start(), *range.end());
        let mut is_used_up = false;
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
                is_used_up = true;
                break;
            }
            start = *next.end() + 1;
        }
        if !is_used_up {
            left.push(start..=end);
        }
    }
    left.into_iter().collect()
}

/// `1:3,5` for 1, 2, 3 and 5.
pub(super) fn ranges(uids: &[u32]) -> String {
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

/// UIDs as they come, in memory that grows with their gaps and not with their number.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<RangeInclusive<u32>>,
    /// How many were added.
    pub(super) count: usize,
}

impl Runs {
    pub(super) fn add(&mut self, uid: u32) {
        self.count += 1;
        match self.runs.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(uid) => *last = *last.start()..=uid,
            _ => self.runs.push(uid..=uid),
        }
    }

    /// How many ranges are kept.
    pub(super) fn ranges(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn into_set(self) -> UidSet {
        self.runs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[RangeInclusive<u32>]) -> UidSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn uids_are_asked_for_in_ranges() {
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(ranges(&[4]), "4");
    }

    #[test]
    fn what_is_known_is_left_out() {
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

    #[test]
    fn memory_for_uids_grows_with_their_gaps() {
        let mut runs = Runs::default();
        (1..=100_000).chain([200_000]).for_each(|uid| runs.add(uid));
        assert_eq!((runs.runs.len(), runs.count), (2, 100_001));
        assert_eq!(runs.into_set().ranges(), [1..=100_000, 200_000..=200_000]);
    }

    /// Plays a server that does not send `bad`: returns how often it was asked, and how often that failed.
    fn play(
        total: u32,
        bad: &[u32],
        fail: impl Fn(&mut Plan, Vec<u32>) -> Option<u32>,
    ) -> (usize, Vec<u32>, Vec<u32>) {
        let mut plan = Plan::new(&set(&[1..=total]), &UidSet::default());
        let (mut failures, mut came, mut blamed) = (0, Vec::new(), Vec::new());
        while let Some(piece) = plan.next() {
            if piece.iter().any(|uid| bad.contains(uid)) {
                failures += 1;
                blamed.extend(fail(&mut plan, piece));
            } else {
                came.extend(piece);
            }
        }
        came.sort_unstable();
        (failures, came, blamed)
    }

    #[test]
    fn one_message_is_found_after_few_refusals_and_lost_connections() {
        for bad in [1, 5, 200, 201, 449, 450] {
            let good: Vec<u32> = (1..=450).filter(|uid| *uid != bad).collect();
            let (refusals, came, blamed) = play(450, &[bad], |plan, piece| plan.refused(piece));
            assert_eq!((came, blamed), (good.clone(), vec![bad]));
            assert!(refusals <= 9, "{refusals}");
            let (losses, came, blamed) = play(450, &[bad], |plan, piece| plan.lost(piece, Vec::new(), None));
            assert_eq!((came, blamed), (good, vec![bad]));
            assert!(losses <= 3, "{losses}");
        }
    }

    #[test]
    fn a_message_in_whose_middle_the_connection_breaks_is_tried_alone_at_the_end() {
        let mut plan = Plan::new(&set(&[1..=4]), &UidSet::default());
        let piece = plan.next().unwrap();
        assert_eq!(plan.lost(piece[1..].to_vec(), vec![vec![9]], Some(3)), None);
        assert_eq!(plan.next(), Some(vec![2, 4]));
        assert_eq!(plan.next(), Some(vec![9]));
        assert_eq!(plan.next(), Some(vec![3]));
        assert_eq!(plan.lost(vec![3], Vec::new(), Some(3)), Some(3));
        assert!(plan.is_done());
    }
}
