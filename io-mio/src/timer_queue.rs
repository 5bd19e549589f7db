//! The deadlines of all sessions, earliest first.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines by key. Entries are never removed early: a session that is visited too early is queued again.
#[derive(Debug)]
pub(crate) struct TimerQueue<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> TimerQueue<K> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// Returns when the first entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes and returns an entry that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn returns_due_entries_in_order() {
        let now = Instant::now();
        let mut timers = TimerQueue::new();
        for key in [3u32, 1, 2] {
            timers.push(now + key * SECOND, key);
        }
        assert_eq!(timers.next(), Some(now + SECOND));
        assert_eq!(timers.pop_due(now), None);
        let due: Vec<u32> =
            std::iter::from_fn(|| timers.pop_due(now + 2 * SECOND)).map(|(_, key)| key).collect();
        assert_eq!(due, [1, 2]);
    }
}
