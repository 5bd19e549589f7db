//! Mailboxes: names, hierarchy, subscriptions (RFC 9051 §6.3.3 to §6.3.9).

use super::state::State;
use super::storage::StoredMailbox;
use super::transaction::Transaction;
use super::{acl, messages, metadata};
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::mailbox_name::canonical;
use crate::quota::check;
use crate::types::{ContentId, Mailbox, MailboxId, NameSelection, Quota, SpecialUse, Subscription, UidSet};
use std::ops::{Bound, Range};
use std::time::SystemTime;

/// Returns at most `limit` mailboxes whose names follow `after`.
pub(super) fn list(state: &State, after: &str, limit: usize) -> Vec<Mailbox> {
    let names = state.account.names.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
    names.filter_map(|(_, id)| state.describe(*id)).take(limit).collect()
}

pub(super) fn find(state: &State, name: &str) -> Result<Mailbox> {
    // An invalid name belongs to no mailbox.
    let name = canonical(name).map_err(|_| Error::NotFound("mailbox"))?;
    let id = state.account.names.get(&name).ok_or(Error::NotFound("mailbox"))?;
    state.describe(*id).ok_or(Error::NotFound("mailbox"))
}

pub(super) fn create(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId> {
    let name = canonical(name)?;
    create_parents(tx, quota, &name)?;
    let Some(&id) = tx.state.account.names.get(&name) else {
        return insert(tx, quota, name, special_use);
    };
    let acl = match tx.state.mailboxes.get(&id) {
        Some(mailbox) if !mailbox.header.no_select => return Err(Error::Exists("mailbox")),
        found => found.map(|mailbox| mailbox.header.acl.clone()).unwrap_or_default(),
    };
    let uid_validity = next_uid_validity(tx.state)?;
    let header = StoredMailbox { special_use, uid_validity, acl, ..new_mailbox(id, name) };
    tx.reset_mailbox(header);
    Ok(id)
}

pub(super) fn delete(tx: &mut Transaction<'_>, name: &str) -> Result<()> {
    let mailbox = find(tx.state, name)?;
    if mailbox.name == "INBOX" {
        return Err(Error::Refused("INBOX can't be deleted"));
    }
    if mailbox.no_select && mailbox.has_children {
        return Err(Error::Refused("the mailbox holds others: delete those first"));
    }
    metadata::remove_all(tx, mailbox.id);
    tx.remove_mailbox(mailbox.id)?;
    if mailbox.has_children {
        let header = new_header(tx.state, mailbox.name)?;
        tx.add_mailbox(StoredMailbox { no_select: true, ..header });
    }
    Ok(())
}

/// Removes at most `limit` messages of deleted mailboxes. Returns the contents that no message refers to, and whether
/// to call it again.
pub(super) fn purge(state: &mut State, limit: usize) -> (Vec<ContentId>, bool) {
    let Some(mut mailbox) = state.account.deleted.pop_front() else { return (Vec::new(), false) };
    let mut freed = Vec::new();
    let uids: Vec<u32> = mailbox.messages.keys().copied().take(limit).collect();
    for uid in uids {
        if let Some(entry) = mailbox.take(uid)
            && state.release(mailbox.header.id, uid, &entry)
        {
            freed.push(entry.content.id);
        }
    }
    let account = &mut state.account;
    if !mailbox.messages.is_empty() {
        account.deleted.push_front(mailbox);
    }
    (freed, !account.deleted.is_empty())
}

pub(super) fn rename(tx: &mut Transaction<'_>, quota: &Quota, from: &str, to: &str) -> Result<()> {
    let mailbox = find(tx.state, from)?;
    let to = canonical(to)?;
    if tx.state.account.names.contains_key(&to) {
        return Err(Error::Exists("mailbox"));
    }
    if mailbox.name == "INBOX" {
        create_parents(tx, quota, &to)?;
        let destination = insert(tx, quota, to, None)?;
        let all = messages::entries(tx.state, mailbox.id, &UidSet::all(), usize::MAX)?;
        let moved = messages::add_copies(tx, quota, destination, all)?;
        return messages::remove_moved(tx, mailbox.id, &moved);
    }
    let below = format!("{}/", mailbox.name);
    if to.starts_with(&below) {
        return Err(Error::Refused("a mailbox can't be moved below itself"));
    }
    create_parents(tx, quota, &to)?;
    let children = tx.state.account.children(&mailbox.name);
    let children: Vec<(String, MailboxId)> = children.map(|(name, id)| (name.clone(), *id)).collect();
    tx.rename_mailbox(mailbox.id, to.clone())?;
    for (name, id) in children {
        let new = canonical(&format!("{to}/{}", name.get(below.len()..).unwrap_or_default()))?;
        tx.rename_mailbox(id, new)?;
    }
    tx.note(AccountChange::Renamed { from: mailbox.name, to });
    Ok(())
}

pub(super) fn subscribe(tx: &mut Transaction<'_>, quota: &Quota, name: &str) -> Result<()> {
    let name = canonical(name)?;
    let known = &tx.state.account.subscriptions;
    if known.contains(&name) {
        return Ok(());
    }
    check(known.len() as u64, 1, quota.subscriptions, "the number of the account's subscriptions")?;
    tx.subscribe(name);
    Ok(())
}

/// Returns at most `limit` subscriptions whose names follow `after`.
pub(super) fn subscriptions(state: &State, after: &str, limit: usize) -> Vec<Subscription> {
    let account = &state.account;
    let names = account.subscriptions.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
    let subscription = |name: &String| {
        let mailbox = account.names.get(name).and_then(|id| state.describe(*id));
        Subscription { name: name.clone(), mailbox }
    };
    names.take(limit).map(subscription).collect()
}

/// Returns whether `selection` selects a name in the range.
pub(super) fn has_selected_name(state: &State, selection: NameSelection, names: &Range<&str>) -> bool {
    if names.is_empty() {
        return false;
    }
    let account = &state.account;
    let range = || (Bound::Included(names.start), Bound::Excluded(names.end));
    let has_use = |name: &str| {
        let mailbox = account.names.get(name).and_then(|id| state.mailboxes.get(id));
        mailbox.is_some_and(|mailbox| mailbox.header.special_use.is_some())
    };
    match selection {
        NameSelection::Subscribed => account.subscriptions.range::<str, _>(range()).next().is_some(),
        NameSelection::SpecialUse => account.names.range::<str, _>(range()).any(|(name, _)| has_use(name)),
        NameSelection::SubscribedSpecialUse => {
            account.subscriptions.range::<str, _>(range()).any(|name| has_use(name))
        }
    }
}

fn create_parents(tx: &mut Transaction<'_>, quota: &Quota, name: &str) -> Result<()> {
    for (at, _) in name.match_indices('/') {
        let parent = name.get(..at).unwrap_or_default();
        if !tx.state.account.names.contains_key(parent) {
            check_count(tx, quota)?;
            let acl = acl::inherited(tx.state, parent)?;
            let header = new_header(tx.state, parent.to_owned())?;
            tx.add_mailbox(StoredMailbox { no_select: true, acl, ..header });
        }
    }
    Ok(())
}

/// Checks that the account may have another mailbox.
fn check_count(tx: &Transaction<'_>, quota: &Quota) -> Result<()> {
    let has = tx.state.account.names.len() as u64;
    check(has, 1, quota.mailboxes, "the number of the account's mailboxes")
}

fn insert(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    name: String,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId> {
    check_count(tx, quota)?;
    let acl = acl::inherited(tx.state, &name)?;
    let header = StoredMailbox { special_use, acl, ..new_header(tx.state, name)? };
    let id = header.id;
    tx.add_mailbox(header);
    Ok(id)
}

fn new_header(state: &mut State, name: String) -> Result<StoredMailbox> {
    let uid_validity = next_uid_validity(state)?;
    Ok(StoredMailbox { uid_validity, ..new_mailbox(state.next_mailbox(), name) })
}

/// An empty mailbox, whose first message will be recent.
fn new_mailbox(id: MailboxId, name: String) -> StoredMailbox {
    StoredMailbox { highest_modseq: 1, first_recent_uid: 1, ..StoredMailbox::new(id, name) }
}

/// Returns a UIDVALIDITY that no mailbox of the account ever had.
pub(super) fn next_uid_validity(state: &mut State) -> Result<u32> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let account = &mut state.account;
    let next = account
        .last_uid_validity
        .checked_add(1)
        .ok_or(Error::Limit("the UIDVALIDITY values of an account"))?;
    account.last_uid_validity = next.max(u32::try_from(now).unwrap_or_default());
    Ok(account.last_uid_validity)
}
