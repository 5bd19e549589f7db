//! Which store began an upload.
//!
//! A store keeps the file or the memory of an upload as it is. That of another store is in another directory, or counts for
//! another limit: the message would be lost, or take more than it may.

use crate::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies an open store in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreId(u64);

impl StoreId {
    /// An identifier that no other store has.
    pub(crate) fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// The error for an upload that this store did not begin.
    pub(crate) const fn refusal() -> Error {
        Error::Refused("the upload was begun by another store")
    }
}
