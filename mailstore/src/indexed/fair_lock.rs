//! A lock for many readers or one writer, which threads get in the order in which they came.
//!
//! The standard library's lock prefers writers, in any order. Threads that change something all the time would keep readers
//! waiting, and a delivery to several accounts, which holds the locks of some while it waits for the next.

use crate::lock::lock;
use std::sync::{Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A value that many threads read or one thread changes.
pub(crate) struct FairLock<T> {
    value: RwLock<T>,
    turns: Mutex<Turns>,
    passed: Condvar,
}

/// The order of the threads that wait for the lock.
#[derive(Default)]
struct Turns {
    /// The number of the next thread that comes.
    next: u64,
    /// The number of the thread whose turn it is.
    current: u64,
}

impl<T> FairLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), turns: Mutex::default(), passed: Condvar::new() }
    }

    /// Locks the value for reading. A thread must not hold the lock already.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.in_turn(|| self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Locks the value for changing it. A thread must not hold the lock already.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.in_turn(|| self.value.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `enter` when all threads that came before have entered.
    fn in_turn<G>(&self, enter: impl FnOnce() -> G) -> G {
        let mut turns = lock(&self.turns);
        let mine = turns.next;
        turns.next += 1;
        while turns.current != mine {
            turns = self.passed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        drop(turns);
        let guard = enter();
        let mut turns = lock(&self.turns);
        turns.current += 1;
        let others_wait = turns.current != turns.next;
        drop(turns);
        if others_wait {
            self.passed.notify_all();
        }
        guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    #[test]
    fn threads_enter_in_their_order() {
        let shared = FairLock::new(Vec::new());
        std::thread::scope(|scope| {
            let held = shared.write();
            for number in 0..6_u32 {
                let shared = &shared;
                scope.spawn(move || match number % 2 {
                    0 => shared.write().push(number),
                    _ => assert_eq!(shared.read().last(), Some(&(number - 1))),
                });
                while lock(&shared.turns).next != u64::from(number) + 2 {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(*shared.read(), [0, 2, 4]);
    }

    #[test]
    fn busy_writers_do_not_keep_a_reader_waiting() {
        let (shared, stop, writes) = (FairLock::new(0_u32), AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let mut value = shared.write();
                        *value = value.wrapping_add(1);
                        std::thread::sleep(Duration::from_millis(1));
                        writes.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while writes.load(Ordering::SeqCst) < 10 {
                std::thread::yield_now();
            }
            let waited: Vec<u32> = (0..20)
                .map(|_| {
                    let before = writes.load(Ordering::SeqCst);
                    drop(shared.read());
                    writes.load(Ordering::SeqCst) - before
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            let median = {
                let mut sorted = waited.clone();
                sorted.sort_unstable();
                sorted[10]
            };
            assert!(median <= 4, "writes while a reader waited: {waited:?}");
        });
    }
}
