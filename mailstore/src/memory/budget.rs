//! The limit of the bytes that a store keeps in memory.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that all parts of a store share.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    limit: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Counter { limit, used: AtomicU64::new(0) }))
    }

    /// Returns the bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Acquire)
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// `Full` if fewer are left.
    pub(crate) fn take(&self, bytes: u64) -> Result<()> {
        let enough = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, enough)
            .map(drop)
            .map_err(|_| Error::Full)
    }

    /// Gives bytes back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Bytes that count for a budget until they are dropped.
#[derive(Debug)]
pub(crate) struct BudgetedBytes {
    bytes: Vec<u8>,
    budget: MemoryBudget,
}

impl BudgetedBytes {
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        Self { bytes: Vec::new(), budget: budget.clone() }
    }

    /// Returns whether the bytes count for this budget.
    pub(crate) fn counts_for(&self, budget: &MemoryBudget) -> bool {
        Arc::ptr_eq(&self.budget.0, &budget.0)
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// `Full` beyond the budget.
    pub(crate) fn extend(&mut self, chunk: &[u8]) -> Result<()> {
        let (length, capacity) = (self.bytes.len() + chunk.len(), self.bytes.capacity());
        if length > capacity {
            // At most a quarter of the message is reserved and unused.
            let wanted = length.max(capacity + capacity / 4);
            self.budget.take((wanted - capacity) as u64)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
            self.settle(wanted);
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Returns the memory that no byte uses.
    pub(crate) fn shrink(&mut self) {
        let counted = self.bytes.capacity();
        self.bytes.shrink_to_fit();
        self.settle(counted);
    }

    /// Corrects the budget, in which `counted` bytes are counted, to the real capacity.
    fn settle(&mut self, counted: usize) {
        let capacity = self.bytes.capacity();
        if counted > capacity {
            self.budget.give_back((counted - capacity) as u64);
        } else {
            self.budget.0.used.fetch_add((capacity - counted) as u64, Ordering::AcqRel);
        }
    }
}

impl AsRef<[u8]> for BudgetedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for BudgetedBytes {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes.capacity() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_they_are_dropped() {
        let budget = MemoryBudget::new(1_000);
        let mut bytes = BudgetedBytes::new(&budget);
        for _ in 0..9 {
            bytes.extend(&[b'x'; 90]).unwrap();
        }
        assert!((810..=1_000).contains(&budget.used()), "{}", budget.used());
        bytes.shrink();
        assert_eq!(budget.used(), 810);
        let mut more = BudgetedBytes::new(&budget);
        assert!(matches!(more.extend(&[0; 191]), Err(Error::Full)));
        more.extend(&[0; 190]).unwrap();
        assert!(matches!(budget.take(1), Err(Error::Full)));
        drop(bytes);
        assert_eq!(budget.used(), 190);
        drop(more);
        assert_eq!(budget.used(), 0);
    }
}
