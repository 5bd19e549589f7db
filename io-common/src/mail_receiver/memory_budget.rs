//! The memory that the messages of all sessions share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes of messages may be held at a time.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }
}

/// The part of the budget that one message uses. Dropping it returns the part.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    pub(super) const fn empty(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Reserves more bytes. Returns false, and changes nothing, if the budget has not so many left.
    pub(super) fn grow(&mut self, by: usize) -> bool {
        let limit = self.budget.limit;
        let reserve = |used: usize| used.checked_add(by).filter(|used| *used <= limit);
        let grown = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok();
        self.bytes += if grown { by } else { 0 };
        grown
    }

    /// Returns everything to the budget.
    pub(super) fn clear(&mut self) {
        self.budget.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_share_the_budget() {
        let budget = MemoryBudget::new(10);
        let mut one = Reservation::empty(budget.clone());
        let mut other = Reservation::empty(budget.clone());
        assert!(one.grow(6) && !other.grow(5) && other.grow(4) && !one.grow(1) && !one.grow(usize::MAX));
        drop(other);
        assert!(one.grow(4));
        one.clear();
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
