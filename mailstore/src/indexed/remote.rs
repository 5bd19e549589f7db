//! Messages fetched from remote servers: which are already stored, and how the last sync ended.

use super::content::Content;
use super::messages::{add, check_after};
use super::state::State;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::{NAME_LIMIT, UNFETCHED_LIMIT};
use crate::quota::check;
use crate::types::{
    AccountId, ImportOutcome, InternalDate, MailboxId, Quota, RemoteAccount, RemoteAccountId, RemoteMailbox,
    RemoteMailboxId, Target, UidSet,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most equal messages of other UIDVALIDITY values that are examined for one import.
const EQUAL_LIMIT: usize = 100;

/// The SHA-256 digest of a message.
pub(crate) type Digest = [u8; 32];

/// All remote accounts and mailboxes. The identifier of each is its position from 1.
#[derive(Default)]
pub(crate) struct Remotes {
    accounts: Vec<RemoteAccountState>,
    mailboxes: Vec<RemoteMailboxState>,
}

struct RemoteAccountState {
    account: AccountId,
    described: RemoteAccount,
    names: BTreeMap<String, RemoteMailboxId>,
}

/// UIDVALIDITY and UID of a remote message.
pub(crate) type RemoteKey = (u32, u32);

/// Where a remote message is stored.
#[derive(Clone, Copy)]
pub(crate) struct RemoteRecord {
    mailbox: MailboxId,
    uid: u32,
    digest: Digest,
}

pub(crate) struct RemoteMailboxState {
    mailbox: MailboxId,
    uid_validity: u32,
    messages: BTreeMap<RemoteKey, RemoteRecord>,
    by_digest: BTreeMap<Digest, BTreeSet<RemoteKey>>,
    /// Messages under the current UIDVALIDITY that could not be fetched.
    unfetched: BTreeSet<u32>,
}

/// A fetched message whose bytes are stored.
pub(crate) struct Import {
    pub(crate) uid: u32,
    pub(crate) flags: Flags,
    pub(crate) internal_date: InternalDate,
    pub(crate) digest: Digest,
    pub(crate) content: Arc<Content>,
}

fn position(id: i64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

fn identifier(position: usize) -> i64 {
    i64::try_from(position + 1).unwrap_or(i64::MAX)
}

impl Remotes {
    fn account_mut(&mut self, id: RemoteAccountId) -> Result<&mut RemoteAccountState> {
        let found = position(id.0).and_then(|at| self.accounts.get_mut(at));
        found.ok_or(Error::NotFound("remote account"))
    }

    fn mailbox(&self, id: RemoteMailboxId) -> Result<&RemoteMailboxState> {
        let found = position(id.0).and_then(|at| self.mailboxes.get(at));
        found.ok_or(Error::NotFound("remote mailbox"))
    }

    pub(crate) fn mailbox_mut(&mut self, id: RemoteMailboxId) -> Result<&mut RemoteMailboxState> {
        let found = position(id.0).and_then(|at| self.mailboxes.get_mut(at));
        found.ok_or(Error::NotFound("remote mailbox"))
    }

    fn of(&self, account: AccountId) -> impl Iterator<Item = &RemoteAccount> {
        self.accounts.iter().filter(move |one| one.account == account).map(|one| &one.described)
    }

    /// Returns the number of an account's remote accounts.
    pub(crate) fn count(&self, account: AccountId) -> u64 {
        self.of(account).count() as u64
    }

    /// Returns all remote accounts of an account, ordered by key.
    pub(crate) fn list(&self, account: AccountId) -> Vec<RemoteAccount> {
        let mut listed: Vec<_> = self.of(account).cloned().collect();
        listed.sort_unstable_by(|a, b| a.url_key.cmp(&b.url_key));
        listed
    }

    pub(crate) fn record_sync(
        &mut self,
        remote: RemoteAccountId,
        at: i64,
        status: &str,
        error: Option<&str>,
    ) -> Result<()> {
        let described = &mut self.account_mut(remote)?.described;
        described.last_sync_at = Some(at);
        described.status = Some(status.to_owned());
        described.error = error.map(str::to_owned);
        Ok(())
    }

    /// Returns the names of the remote mailboxes, and the local mailboxes that their messages go to.
    pub(crate) fn mailboxes(&self, remote: RemoteAccountId) -> Vec<(String, MailboxId)> {
        let found = position(remote.0).and_then(|at| self.accounts.get(at));
        let names = found.into_iter().flat_map(|account| &account.names);
        names.filter_map(|(name, id)| Some((name.clone(), self.mailbox(*id).ok()?.mailbox))).collect()
    }

    pub(crate) fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        Ok(self.mailbox(remote)?.known().collect())
    }

    pub(crate) fn record_unfetched(&mut self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        let unfetched = &mut self.mailbox_mut(remote)?.unfetched;
        for uid in uids.ranges().iter().cloned().flatten() {
            if unfetched.len() >= UNFETCHED_LIMIT {
                break;
            }
            unfetched.insert(uid);
        }
        Ok(())
    }

    pub(crate) fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        Ok(self.mailbox(remote)?.unfetched.iter().copied().collect())
    }

    pub(crate) fn forget_unfetched(&mut self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        self.mailbox_mut(remote)?.unfetched.retain(|uid| !uids.contains(*uid));
        Ok(())
    }
}

impl RemoteMailboxState {
    /// Returns the UIDs that are recorded under the current UIDVALIDITY for the current local mailbox.
    fn known(&self) -> impl Iterator<Item = u32> {
        let current = self.messages.range((self.uid_validity, 0)..=(self.uid_validity, u32::MAX));
        current.filter(|(_, record)| record.mailbox == self.mailbox).map(|((_, uid), _)| *uid)
    }

    /// Replaces the record of a message and returns the old one.
    pub(crate) fn set(&mut self, key: RemoteKey, record: Option<RemoteRecord>) -> Option<RemoteRecord> {
        let old = match record {
            Some(record) => {
                self.by_digest.entry(record.digest).or_default().insert(key);
                self.messages.insert(key, record)
            }
            None => self.messages.remove(&key),
        };
        if let Some(old) = old
            && record.is_none_or(|record| record.digest != old.digest)
            && let Some(equal) = self.by_digest.get_mut(&old.digest)
        {
            equal.remove(&key);
            if equal.is_empty() {
                self.by_digest.remove(&old.digest);
            }
        }
        old
    }

    /// Finds an equal message of another UIDVALIDITY that still exists.
    fn find_equal(&self, state: &State, digest: &Digest) -> Option<(RemoteKey, RemoteRecord)> {
        let equal = self.by_digest.get(digest)?;
        let earlier = equal.range(..(self.uid_validity, 0)).take(EQUAL_LIMIT);
        let later = equal.range((self.uid_validity, u32::MAX)..).take(EQUAL_LIMIT);
        earlier.chain(later).filter(|(validity, _)| *validity != self.uid_validity).find_map(|key| {
            let record = self.messages.get(key).filter(|record| record.mailbox == self.mailbox)?;
            let mailbox = state.mailboxes.get(&record.mailbox)?;
            mailbox.messages.contains_key(&record.uid).then_some((*key, *record))
        })
    }
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
    if let Some(found) = remotes.of(account).find(|one| one.url_key == url_key) {
        return Ok(found.clone());
    }
    let what = "the number of the account's remote accounts";
    check(remotes.count(account), 1, quota.remote_accounts, what)?;
    let described = RemoteAccount {
        id: RemoteAccountId(identifier(remotes.accounts.len())),
        url_key: url_key.to_owned(),
        last_sync_at: None,
        status: None,
        error: None,
    };
    remotes.accounts.push(RemoteAccountState {
        account,
        described: described.clone(),
        names: BTreeMap::new(),
    });
    Ok(described)
}

pub(crate) fn mailbox(
    state: &mut State,
    remote: RemoteAccountId,
    name: &str,
    mailbox: MailboxId,
    uid_validity: u32,
) -> Result<RemoteMailbox> {
    state.mailbox(mailbox)?;
    let new = RemoteMailboxId(identifier(state.remotes.mailboxes.len()));
    let id = *state.remotes.account_mut(remote)?.names.entry(name.to_owned()).or_insert(new);
    if id == new {
        state.remotes.mailboxes.push(RemoteMailboxState {
            mailbox,
            uid_validity,
            messages: BTreeMap::new(),
            by_digest: BTreeMap::new(),
            unfetched: BTreeSet::new(),
        });
    }
    let found = state.remotes.mailbox_mut(id)?;
    if found.uid_validity != uid_validity {
        found.unfetched.clear();
    }
    (found.mailbox, found.uid_validity) = (mailbox, uid_validity);
    let known = u32::try_from(found.known().count()).unwrap_or(u32::MAX);
    Ok(RemoteMailbox { id, mailbox, uid_validity, known })
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
    if let Some(known) = found.messages.get(&key).filter(|record| record.mailbox == mailbox) {
        return Ok(ImportOutcome::Known(known.uid));
    }
    // A message that was imported under another UIDVALIDITY is assigned to its new UID once, so that two equal messages
    // of a mailbox stay two.
    let outcome = match found.find_equal(tx.state, &import.digest) {
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
