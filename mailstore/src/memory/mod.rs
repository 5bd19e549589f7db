//! A store in memory: [`MemoryStore`].

mod budget;
mod client_accounts;
mod storage;
mod sync;

pub(crate) use budget::{BudgetedBytes, MemoryBudget};
pub use storage::{MEMORY_LIMIT, MemoryStorage};

use crate::error::Result;
use crate::indexed::IndexedStore;

/// A store in memory, for tests and for mail that is not kept after the process ends. It behaves like
/// `SqliteStore`, except that nothing is durable.
///
/// All messages together take at most [`MEMORY_LIMIT`] bytes, or the limit that was given; beyond it, appends and copies
/// fail with [`Error::Full`](crate::Error::Full). Threads read and write at the same time.
pub type MemoryStore = IndexedStore<MemoryStorage>;

impl MemoryStore {
    /// Creates an empty store with the default limit.
    ///
    /// # Errors
    /// `Crypto` if the random number generator fails.
    pub fn new() -> Result<Self> {
        Self::with_limit(MEMORY_LIMIT)
    }

    /// Creates an empty store for at most `bytes` bytes of messages, including those that are being uploaded.
    ///
    /// # Errors
    /// `Crypto` if the random number generator fails.
    pub fn with_limit(bytes: u64) -> Result<Self> {
        Self::open(MemoryStorage::with_limit(bytes))
    }
}
