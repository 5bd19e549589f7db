//! The records of remote accounts, mailboxes and messages.

use crate::error::{Error, Result};
use crate::limits::UNFETCHED_LIMIT;
use crate::remote_types::{ImportRecord, RemoteAccount, RemoteFolder, RemoteMailbox, RemoteState};
use crate::types::{AccountId, MailboxId, RemoteAccountId, RemoteMailboxId, UidSet};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};

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
    pub(crate) mailbox: MailboxId,
    pub(crate) uid: u32,
    pub(crate) digest: Digest,
    /// Whether the remote server has removed the message.
    pub(crate) is_removed: bool,
}

pub(crate) struct RemoteMailboxState {
    pub(crate) mailbox: MailboxId,
    pub(crate) uid_validity: u32,
    messages: BTreeMap<RemoteKey, RemoteRecord>,
    by_digest: BTreeMap<Digest, BTreeSet<RemoteKey>>,
    /// Messages under the current UIDVALIDITY that could not be fetched.
    unfetched: BTreeSet<u32>,
    state: RemoteState,
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

    pub(crate) fn mailbox(&self, id: RemoteMailboxId) -> Result<&RemoteMailboxState> {
        let found = position(id.0).and_then(|at| self.mailboxes.get(at));
        found.ok_or(Error::NotFound("remote mailbox"))
    }

    pub(crate) fn mailbox_mut(&mut self, id: RemoteMailboxId) -> Result<&mut RemoteMailboxState> {
        let found = position(id.0).and_then(|at| self.mailboxes.get_mut(at));
        found.ok_or(Error::NotFound("remote mailbox"))
    }

    /// Returns where messages of the same bytes of other mailboxes of the remote account are, except those marked as
    /// removed.
    pub(crate) fn equal_elsewhere(
        &self,
        id: RemoteMailboxId,
        record: &ImportRecord,
    ) -> Vec<(MailboxId, u32)> {
        let key = (record.uid_validity, record.uid);
        let Some(digest) =
            self.mailbox(id).ok().and_then(|here| here.messages.get(&key)).map(|one| one.digest)
        else {
            return Vec::new();
        };
        let account = self.accounts.iter().find(|account| account.names.values().any(|other| *other == id));
        let others =
            account.into_iter().flat_map(|account| account.names.values()).filter(|other| **other != id);
        let others = others.filter_map(|other| self.mailbox(*other).ok());
        let equal = others.flat_map(|other| {
            let keys = other.by_digest.get(&digest).into_iter().flatten().take(EQUAL_LIMIT);
            keys.filter_map(|key| other.messages.get(key))
        });
        equal.filter(|found| !found.is_removed).map(|found| (found.mailbox, found.uid)).collect()
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

    /// Returns the remote account with this key.
    pub(crate) fn find(&self, account: AccountId, url_key: &str) -> Option<RemoteAccount> {
        self.of(account).find(|one| one.url_key == url_key).cloned()
    }

    /// Adds a remote account.
    pub(crate) fn add(&mut self, account: AccountId, url_key: &str) -> RemoteAccount {
        let described = RemoteAccount {
            id: RemoteAccountId(identifier(self.accounts.len())),
            url_key: url_key.to_owned(),
            last_sync_at: None,
            status: None,
            error: None,
        };
        let names = BTreeMap::new();
        self.accounts.push(RemoteAccountState { account, described: described.clone(), names });
        described
    }

    /// Returns a remote mailbox, and adds it at its first use.
    pub(crate) fn open_mailbox(
        &mut self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox> {
        let new = RemoteMailboxId(identifier(self.mailboxes.len()));
        let id = *self.account_mut(remote)?.names.entry(name.to_owned()).or_insert(new);
        if id == new {
            self.mailboxes.push(RemoteMailboxState {
                mailbox,
                uid_validity,
                messages: BTreeMap::new(),
                by_digest: BTreeMap::new(),
                unfetched: BTreeSet::new(),
                state: RemoteState::default(),
            });
        }
        let found = self.mailbox_mut(id)?;
        if found.uid_validity != uid_validity {
            found.unfetched.clear();
        }
        if (found.mailbox, found.uid_validity) != (mailbox, uid_validity) {
            found.state.highest_modseq = 0;
        }
        found.state.is_gone = false;
        (found.mailbox, found.uid_validity) = (mailbox, uid_validity);
        let known = u32::try_from(found.known().count()).unwrap_or(u32::MAX);
        Ok(RemoteMailbox { id, mailbox, uid_validity, known })
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

    /// Returns the remote mailboxes and their states, ordered by name.
    pub(crate) fn folders(&self, remote: RemoteAccountId) -> Vec<RemoteFolder> {
        let found = position(remote.0).and_then(|at| self.accounts.get(at));
        let names = found.into_iter().flat_map(|account| &account.names);
        let folder = |(name, id): (&String, &RemoteMailboxId)| {
            let found = self.mailbox(*id).ok()?;
            Some(RemoteFolder {
                id: *id,
                name: name.clone(),
                mailbox: found.mailbox,
                uid_validity: found.uid_validity,
                state: found.state.clone(),
            })
        };
        names.filter_map(folder).collect()
    }

    pub(crate) fn set_state(&mut self, remote: RemoteMailboxId, state: &RemoteState) -> Result<()> {
        self.mailbox_mut(remote)?.state.clone_from(state);
        Ok(())
    }

    /// Gives remote mailboxes other names.
    pub(crate) fn rename(
        &mut self,
        remote: RemoteAccountId,
        renamed: &[(RemoteMailboxId, String)],
    ) -> Result<()> {
        let names = &mut self.account_mut(remote)?.names;
        let is_here = |id: &RemoteMailboxId| names.values().any(|known| known == id);
        if !renamed.iter().all(|(id, _)| is_here(id)) {
            return Err(Error::NotFound("remote mailbox"));
        }
        names.retain(|_, id| !renamed.iter().any(|(other, _)| other == id));
        let mut detached = Vec::new();
        for (id, name) in renamed {
            if let Some(other) = names.insert(name.clone(), *id) {
                names.insert(format!("\0{}", other.0), other);
                detached.push(other);
            }
        }
        for id in detached {
            let state = &mut self.mailbox_mut(id)?.state;
            (state.is_gone, state.highest_modseq) = (true, 0);
        }
        Ok(())
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
        let here = current.filter(|(_, record)| record.mailbox == self.mailbox && !record.is_removed);
        here.map(|((_, uid), _)| *uid)
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

    /// Returns the record of a message under the current UIDVALIDITY, if it is recorded for this local mailbox.
    pub(crate) fn record(&self, uid: u32) -> Option<RemoteRecord> {
        let record = self.messages.get(&(self.uid_validity, uid))?;
        (record.mailbox == self.mailbox).then_some(*record)
    }

    /// Returns the records of this range of keys for the current local mailbox, without those marked as removed.
    fn present(&self, keys: impl RangeBounds<RemoteKey>) -> impl Iterator<Item = ImportRecord> {
        let here = self.messages.range(keys);
        let here = here.filter(|(_, record)| record.mailbox == self.mailbox && !record.is_removed);
        here.map(|((uid_validity, uid), record)| ImportRecord {
            uid_validity: *uid_validity,
            uid: *uid,
            local_uid: record.uid,
        })
    }

    pub(crate) fn import_records(&self, uids: &UidSet, limit: usize) -> Vec<ImportRecord> {
        let validity = self.uid_validity;
        let ranges = uids.ranges().iter().map(|range| (validity, *range.start())..=(validity, *range.end()));
        ranges.flat_map(|keys| self.present(keys)).take(limit).collect()
    }

    pub(crate) fn earlier_import_records(&self, limit: usize) -> Vec<ImportRecord> {
        let validity = self.uid_validity;
        let later = (Bound::Excluded((validity, u32::MAX)), Bound::Unbounded);
        self.present(..(validity, 0)).chain(self.present(later)).take(limit).collect()
    }

    /// Forgets a record, if it exists.
    pub(crate) fn forget(&mut self, record: ImportRecord) {
        let key = (record.uid_validity, record.uid);
        if self.messages.get(&key).is_some_and(|found| found.uid == record.local_uid) {
            self.set(key, None);
        }
    }

    /// Marks the message of a record as removed, if the record exists.
    pub(crate) fn mark_removed(&mut self, record: ImportRecord) {
        let found = self.messages.get_mut(&(record.uid_validity, record.uid));
        if let Some(found) = found.filter(|found| found.uid == record.local_uid) {
            found.is_removed = true;
        }
    }

    /// Returns the records of equal messages of other UIDVALIDITY values.
    pub(crate) fn equal(&self, digest: &Digest) -> impl Iterator<Item = (RemoteKey, RemoteRecord)> {
        let current = self.uid_validity;
        let equal = self.by_digest.get(digest).into_iter().flat_map(move |equal| {
            let earlier = equal.range(..(current, 0)).take(EQUAL_LIMIT);
            earlier.chain(equal.range((current, u32::MAX)..).take(EQUAL_LIMIT))
        });
        let records = equal.filter_map(|key| Some((*key, *self.messages.get(key)?)));
        records.filter(move |((validity, _), record)| *validity != current && record.mailbox == self.mailbox)
    }
}
