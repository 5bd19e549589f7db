//! Messages fetched from remote servers: which are already stored, and how the last sync ended.

use super::content::Content;
use super::messages::{add, check_after};
use super::remote_records::{Digest, RemoteKey, RemoteMailboxState, RemoteRecord, Remotes};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::NAME_LIMIT;
use crate::quota::check;
use crate::remote_types::{ImportOutcome, RemoteAccount};
use crate::types::{AccountId, InternalDate, Quota, Target};
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
    remotes: &mut Remotes,
    quota: &Quota,
    account: AccountId,
    url_key: &str,
) -> Result<RemoteAccount> {
    if url_key.len() > NAME_LIMIT {
        return Err(Error::Limit("the length of a remote account's key"));
    }
    if let Some(found) = remotes.find(account, url_key) {
        return Ok(found);
    }
    let what = "the number of the account's remote accounts";
    check(remotes.count(account), 1, quota.remote_accounts, what)?;
    Ok(remotes.add(account, url_key))
}

/// Which records of a remote mailbox an import has replaced, in order, and what they were.
pub(crate) type Replaced = Vec<(RemoteKey, Option<RemoteRecord>)>;

/// Appends the messages that are new, and records all of them in `remote`. If this or the commit fails, the caller restores
/// what was `replaced`.
pub(crate) fn import(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    remote: &mut RemoteMailboxState,
    imports: &[Import],
    replaced: &mut Replaced,
) -> Result<Vec<ImportOutcome>> {
    tx.state.mailbox(remote.mailbox)?;
    let outcomes = imports
        .iter()
        .map(|import| import_one(tx, quota, remote, import, replaced))
        .collect::<Result<Vec<_>>>()?;
    if outcomes.iter().any(|outcome| matches!(outcome, ImportOutcome::Imported(_))) {
        check_after(tx.state, quota)?;
    }
    Ok(outcomes)
}

fn import_one(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    remote: &mut RemoteMailboxState,
    import: &Import,
    replaced: &mut Replaced,
) -> Result<ImportOutcome> {
    let mailbox = remote.mailbox;
    let key = (remote.uid_validity, import.uid);
    if let Some(known) = remote.record(import.uid) {
        if known.is_removed {
            // The remote server has the message again.
            replaced.push((key, remote.set(key, Some(RemoteRecord { is_removed: false, ..known }))));
        }
        return Ok(ImportOutcome::Known(known.uid));
    }
    // A message that was imported under another UIDVALIDITY is assigned to its new UID once, so that two equal messages
    // of a mailbox stay two.
    let here = &tx.state.mailbox(mailbox)?.messages;
    let equal = remote.equal(&import.digest).find(|(_, record)| here.contains_key(&record.uid));
    let outcome = match equal {
        Some((earlier, record)) => {
            replaced.push((earlier, remote.set(earlier, None)));
            ImportOutcome::Duplicate(record.uid)
        }
        None => {
            let Import { flags, internal_date, content, .. } = import;
            let target = Target { mailbox, flags: flags.clone(), internal_date: *internal_date };
            ImportOutcome::Imported(add(tx, quota, &target, content, None)?)
        }
    };
    if let ImportOutcome::Imported(uid) | ImportOutcome::Duplicate(uid) = outcome {
        let record = RemoteRecord { mailbox, uid, digest: import.digest, is_removed: false };
        replaced.push((key, remote.set(key, Some(record))));
    }
    Ok(outcome)
}
