//! How long the slices of jobs take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What [`Workers`](super::Workers) have done since they started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerStatistics {
    /// The jobs that wait for a thread now.
    pub waiting: usize,
    /// How many slices took no longer than each of [`BOUNDS`](Self::BOUNDS). A job without slices counts as one.
    pub slices_within: [u64; 6],
    /// All slices.
    pub slices: u64,
    /// The time that all slices took.
    pub time: Duration,
}

impl WorkerStatistics {
    /// The bounds of [`slices_within`](Self::slices_within).
    pub const BOUNDS: [Duration; 6] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(20),
        Duration::from_millis(60),
        Duration::from_millis(200),
        Duration::from_millis(1000),
    ];
}

/// Counts slices by their time.
#[derive(Debug, Default)]
pub(super) struct SliceTimes {
    /// The slices within each bound that exceed the bound before; the last are those that exceed all bounds.
    counts: [AtomicU64; WorkerStatistics::BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl SliceTimes {
    pub(super) fn add(&self, took: Duration) {
        let place = WorkerStatistics::BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn read(&self, waiting: usize) -> WorkerStatistics {
        let mut statistics = WorkerStatistics { waiting, ..WorkerStatistics::default() };
        for (place, count) in self.counts.iter().enumerate() {
            statistics.slices += count.load(Ordering::Relaxed);
            if let Some(within) = statistics.slices_within.get_mut(place) {
                *within = statistics.slices;
            }
        }
        statistics.time = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed));
        statistics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_slice_within_every_bound_that_it_keeps() {
        let times = SliceTimes::default();
        for milliseconds in [0, 1, 2, 60, 61, 5000] {
            times.add(Duration::from_millis(milliseconds));
        }
        let read = times.read(3);
        assert_eq!((read.waiting, read.slices, read.slices_within), (3, 6, [2, 3, 3, 4, 5, 5]));
        assert_eq!(read.time, Duration::from_millis(5124));
    }
}
