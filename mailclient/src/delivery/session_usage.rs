//! How much a session was used.

/// How many transactions a session has had, and how many it may have.
#[derive(Debug, Clone, Copy)]
pub struct SessionUsage {
    transactions: u32,
    limit: u32,
}

impl SessionUsage {
    /// An unused session with this limit; 0 counts as 1.
    #[must_use]
    pub const fn with_limit(limit: u32) -> Self {
        Self { transactions: 0, limit: if limit == 0 { 1 } else { limit } }
    }

    /// Counts a transaction.
    pub(super) const fn count(&mut self) {
        self.transactions = self.transactions.saturating_add(1);
    }

    /// Returns whether the limit is reached.
    #[must_use]
    pub const fn is_used_up(self) -> bool {
        self.transactions >= self.limit
    }

    /// Returns whether the session was used before, so that the server may have closed it while idle.
    #[must_use]
    pub const fn is_used(self) -> bool {
        self.transactions > 0
    }

    /// Returns whether it had only one transaction.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.transactions == 1
    }
}
