//! Metadata (RFC 5464).

use super::state::State;
use super::transaction::Transaction;
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::metadata::{Annotated, MetadataChange, MetadataEntry, MetadataPage, check};
use crate::quota::check_metadata;
use crate::types::{MailboxId, Quota};
use std::ops::Range;

pub(super) fn page(state: &State, of: Annotated, names: &Range<&str>, max_size: u64) -> Result<MetadataPage> {
    check_exists(state, of)?;
    if names.is_empty() {
        return Ok(MetadataPage::default());
    }
    let range = (of, names.start.to_owned())..(of, names.end.to_owned());
    let entries = state.account.metadata.range(range);
    MetadataPage::collect(entries.map(|((_, name), value)| Ok(MetadataEntry::new(name, value, max_size))))
}

pub(super) fn set(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    of: Annotated,
    changes: &[MetadataChange],
) -> Result<()> {
    let names = check(changes)?;
    check_exists(tx.state, of)?;
    for (name, change) in names.iter().zip(changes) {
        tx.set_metadata(of, name, change.value.as_deref().map(Into::into));
    }
    // Entries can be removed over quota.
    if changes.iter().any(|change| change.value.is_some()) {
        let count = names_of(tx.state, of).count() as u64;
        check_metadata(quota, &tx.state.account.usage(0), count)?;
    }
    tx.note(AccountChange::Metadata(of, names));
    Ok(())
}

/// Removes the entries of a mailbox that is about to be removed.
pub(super) fn remove_all(tx: &mut Transaction<'_>, mailbox: MailboxId) {
    let of = Annotated::Mailbox(mailbox);
    let names: Vec<String> = names_of(tx.state, of).cloned().collect();
    names.iter().for_each(|name| tx.set_metadata(of, name, None));
}

fn names_of(state: &State, of: Annotated) -> impl Iterator<Item = &String> {
    let from_first = state.account.metadata.range((of, String::new())..);
    from_first.map(|(key, _)| key).take_while(move |key| key.0 == of).map(|(_, name)| name)
}

fn check_exists(state: &State, of: Annotated) -> Result<()> {
    match of {
        Annotated::Mailbox(mailbox) if !state.mailboxes.contains_key(&mailbox) => {
            Err(Error::NotFound("mailbox"))
        }
        _ => Ok(()),
    }
}
