//! Messages fetched from remote servers: which are already stored, and how the last sync ended.

use super::content::Content;
use super::messages::{add, check_after};
use super::remote_records::{Digest, RemoteRecord};
use super::state::State;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::NAME_LIMIT;
use crate::quota::check;
use crate::types::{
    AccountId, ImportOutcome, InternalDate, MailboxId, Quota, RemoteAccount, RemoteAccountId, RemoteMailbox,
    RemoteMailboxId, Target,
};
use std::sync::Arc;

/// A fetched message whose bytes are stored.
pub(crate) struct Import {
    pub(crate) uid: u32,
    pub(crate) flags: Flags,
    pub(crate) internal_date: InternalDate,
    pub(crate) digest: Digest,
    pub(crate) content: Arc<Content>,
}

/// Returns the remote account with this key, and creates it at its first use.
pub(crate) fn account(
    state: &mut State,
    quota: &Quota,
    account: AccountId,
    url_key: &str,
) -> Result<RemoteAccount> {
    if url_key.len() > NAME_LIMIT {
        return Err(Error::Limit("the length of a remote account's key"));
    }
    state.account(account)?;
    let remotes = &mut state.remotes;
    if let Some(found) = remotes.find(account, url_key) {
        return Ok(found);
    }
    let what = "the number of the account's remote accounts";
    check(remotes.count(account), 1, quota.remote_accounts, what)?;
    Ok(remotes.add(account, url_key))
}

pub(crate) fn mailbox(
    state: &mut State,
    remote: RemoteAccountId,
    name: &str,
    mailbox: MailboxId,
    uid_validity: u32,
) -> Result<RemoteMailbox> {
    state.mailbox(mailbox)?;
    state.remotes.open_mailbox(remote, name, mailbox, uid_validity)
}

/// Returns the local mailbox that the messages of a remote mailbox go to.
pub(crate) fn local_mailbox(state: &State, remote: RemoteMailboxId) -> Result<MailboxId> {
    let mailbox = state.remotes.mailbox(remote)?.mailbox;
    state.mailbox(mailbox).map(|_| mailbox)
}

/// Appends the messages that are new, and records all of them.
pub(crate) fn import(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    remote: RemoteMailboxId,
    imports: &[Import],
) -> Result<Vec<ImportOutcome>> {
    let mailbox = local_mailbox(tx.state, remote)?;
    let outcomes = imports
        .iter()
        .map(|import| import_one(tx, quota, remote, mailbox, import))
        .collect::<Result<Vec<_>>>()?;
    if outcomes.iter().any(|outcome| matches!(outcome, ImportOutcome::Imported(_))) {
        check_after(tx.state, quota, tx.state.mailbox(mailbox)?.account)?;
    }
    Ok(outcomes)
}

fn import_one(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    remote: RemoteMailboxId,
    mailbox: MailboxId,
    import: &Import,
) -> Result<ImportOutcome> {
    let found = tx.state.remotes.mailbox(remote)?;
    let key = (found.uid_validity, import.uid);
    if let Some(known) = found.local_uid(import.uid) {
        return Ok(ImportOutcome::Known(known));
    }
    // A message that was imported under another UIDVALIDITY is assigned to its new UID once, so that two equal messages
    // of a mailbox stay two.
    let here = &tx.state.mailbox(mailbox)?.messages;
    let equal = found.equal(&import.digest).find(|(_, record)| here.contains_key(&record.uid));
    let outcome = match equal {
        Some((earlier, record)) => {
            tx.set_remote(remote, earlier, None)?;
            ImportOutcome::Duplicate(record.uid)
        }
        None => {
            let Import { flags, internal_date, content, .. } = import;
            let target = Target { mailbox, flags: flags.clone(), internal_date: *internal_date };
            ImportOutcome::Imported(add(tx, quota, &target, content, None)?)
        }
    };
    if let ImportOutcome::Imported(uid) | ImportOutcome::Duplicate(uid) = outcome {
        tx.set_remote(remote, key, Some(RemoteRecord { mailbox, uid, digest: import.digest }))?;
    }
    Ok(outcome)
}
