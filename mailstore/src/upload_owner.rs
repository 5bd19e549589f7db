//! Which store began an upload.
//!
//! A store keeps the file or the memory of an upload as it is. That of another store is in another directory, or counts for
//! another limit: the message would be lost, or take more than it may.

use crate::error::Error;
#[cfg(feature = "sqlite")]
use crate::error::Result;
#[cfg(feature = "sqlite")]
use crate::types::{Appended, Delivery};
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

/// The outcome of each delivery.
#[cfg(feature = "sqlite")]
type Outcomes = Vec<Result<Vec<Appended>>>;

/// Appends the deliveries whose uploads this store began, and refuses each of the others.
#[cfg(feature = "sqlite")]
pub(crate) fn append_own(
    store: StoreId,
    deliveries: Vec<Delivery>,
    append: impl FnOnce(Vec<Delivery>) -> Result<Outcomes>,
) -> Result<Outcomes> {
    let is_own: Vec<bool> = deliveries.iter().map(|delivery| delivery.upload.is_of(store)).collect();
    if is_own.iter().all(|own| *own) {
        return append(deliveries);
    }
    let own = deliveries.into_iter().zip(&is_own).filter(|(_, own)| **own).map(|(delivery, _)| delivery);
    let mut outcomes = append(own.collect())?.into_iter();
    let outcome = |own: &bool| match own {
        true => outcomes.next().unwrap_or(Err(Error::NotFound("delivery"))),
        false => Err(StoreId::refusal()),
    };
    Ok(is_own.iter().map(outcome).collect())
}
