//! Keeps the uploads of other stores out of a batch of deliveries.

use super::files::{SealedUpload, seal, sync_directory};
use crate::error::{Error, Result};
use crate::types::{Appended, Delivery, Target};
use crate::upload_owner::StoreId;
use std::path::Path;

/// The outcome of each delivery.
type Outcomes = Vec<Result<Vec<Appended>>>;

/// Appends the deliveries whose uploads this store began, and refuses each of the others.
pub(super) fn append_own(
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

/// Syncs uploads and their directory, before one transaction appends them all. Refuses them if another store began one.
pub(super) fn seal_own(
    store: StoreId,
    directory: &Path,
    deliveries: Vec<Delivery>,
) -> Result<Vec<(SealedUpload, Vec<Target>)>> {
    if !deliveries.iter().all(|delivery| delivery.upload.is_of(store)) {
        return Err(StoreId::refusal());
    }
    let sealed = deliveries
        .into_iter()
        .map(|delivery| Ok((seal(delivery.upload)?, delivery.targets)))
        .collect::<Result<Vec<_>>>()?;
    if sealed.iter().any(|(sealed, _)| sealed.file_name().is_some()) {
        sync_directory(directory)?;
    }
    Ok(sealed)
}
