//! Access control lists (RFC 4314).

use super::state::State;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::rights::{
    AclChange, AclEntry, Rights, canonical_identifier, changed, check_counts, identifiers_of, rights_of,
    set_entry,
};
use crate::types::{Mailbox, MailboxId};

pub(super) fn entries(state: &State, mailbox: MailboxId) -> Result<Vec<AclEntry>> {
    Ok(state.mailboxes.get(&mailbox).ok_or(Error::NotFound("mailbox"))?.header.acl.clone())
}

pub(super) fn set(
    tx: &mut Transaction<'_>,
    mailbox: MailboxId,
    identifier: &str,
    change: AclChange,
    rights: Rights,
) -> Result<()> {
    let identifier = canonical_identifier(identifier)?;
    let mut entries = entries(tx.state, mailbox)?;
    let before = entries.iter().find(|entry| entry.identifier == identifier);
    let (count, before) = (entries.len(), before.map(|entry| entry.rights).unwrap_or_default());
    set_entry(&mut entries, identifier, changed(before, change, rights));
    if entries.len() > count {
        check_counts(entries.len(), count_all(tx.state) + 1)?;
    }
    tx.set_acl(mailbox, entries)
}

/// Returns the entries that a new mailbox has: those of its parent (RFC 4314 §4).
pub(super) fn inherited(state: &State, name: &str) -> Result<Vec<AclEntry>> {
    let parent = name.rsplit_once('/').and_then(|(parent, _)| state.account.names.get(parent));
    let parent = parent.and_then(|parent| state.mailboxes.get(parent));
    let entries = parent.map(|parent| parent.header.acl.clone()).unwrap_or_default();
    if !entries.is_empty() {
        check_counts(entries.len(), count_all(state) + entries.len())?;
    }
    Ok(entries)
}

fn count_all(state: &State) -> usize {
    state.mailboxes.values().map(|mailbox| mailbox.header.acl.len()).sum()
}

/// Returns whether a mailbox has an entry for an account.
pub(super) fn is_shared_with(state: &State, account: &str) -> bool {
    let identifiers = identifiers_of(account);
    let concerns =
        |entry: &AclEntry| !entry.identifier.starts_with('-') && identifiers.contains(&entry.identifier);
    state.mailboxes.values().any(|mailbox| mailbox.header.acl.iter().any(concerns))
}

/// Returns the mailboxes with an entry for an account, in the order of their names, and the rights.
pub(super) fn shared_mailboxes(state: &State, account: &str) -> Vec<(Mailbox, Rights)> {
    let identifiers = identifiers_of(account);
    let concerns = |entry: &AclEntry| identifiers.contains(&entry.identifier);
    let shared = state.account.names.values().filter_map(|id| {
        let acl = &state.mailboxes.get(id)?.header.acl;
        let has_entry = acl.iter().any(concerns);
        Some((state.describe(*id).filter(|_| has_entry)?, rights_of(account, acl)))
    });
    shared.collect()
}
