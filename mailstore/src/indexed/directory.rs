//! Which accounts there are, and which account each mailbox belongs to.
//!
//! Each account has a lock of its own, so that no call waits for the work of another account. A call that needs several
//! accounts locks them in the order of their identifiers. The directory is locked only to look something up.

use super::fair_lock::FairLock;
use super::state::State;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::passwords::LoginRecord;
use crate::types::{Account, AccountId, LoginKeys, MailboxId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An account and its index.
pub(super) struct AccountIndex {
    pub(super) account: Account,
    /// Apart from the index, so that a login does not wait for it.
    credentials: Mutex<Credentials>,
    state: FairLock<State>,
}

/// How an account logs in.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) verifier: String,
    pub(super) keys: Vec<LoginKeys>,
}

#[derive(Default)]
pub(super) struct Directory {
    maps: RwLock<Maps>,
    /// Held while an account is created.
    creating: Mutex<()>,
    /// The last identifier of a mailbox.
    pub(super) last_mailbox: Arc<AtomicI64>,
}

#[derive(Default)]
struct Maps {
    accounts: BTreeMap<AccountId, Arc<AccountIndex>>,
    /// Accounts by name, in lower case.
    names: BTreeMap<String, AccountId>,
    mailboxes: BTreeMap<MailboxId, AccountId>,
    /// The accounts that have shared a mailbox.
    sharing: BTreeSet<AccountId>,
}

impl AccountIndex {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    pub(super) fn credentials(&self) -> MutexGuard<'_, Credentials> {
        lock(&self.credentials)
    }

    pub(super) fn stored(&self) -> LoginRecord {
        let credentials = self.credentials();
        LoginRecord {
            account: self.account.clone(),
            verifier: credentials.verifier.clone(),
            has_keys: !credentials.keys.is_empty(),
        }
    }
}

impl Directory {
    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all accounts, in the order of their identifiers.
    pub(super) fn all(&self) -> Vec<Arc<AccountIndex>> {
        self.read().accounts.values().cloned().collect()
    }

    /// Returns the account with this name, in any case.
    pub(super) fn find(&self, name: &str) -> Option<Arc<AccountIndex>> {
        let maps = self.read();
        maps.accounts.get(maps.names.get(&name.to_ascii_lowercase())?).cloned()
    }

    pub(super) fn account(&self, account: AccountId) -> Result<Arc<AccountIndex>> {
        self.read().accounts.get(&account).cloned().ok_or(Error::NotFound("account"))
    }

    /// Returns the account of a mailbox.
    pub(super) fn account_of(&self, mailbox: MailboxId) -> Result<Arc<AccountIndex>> {
        let maps = self.read();
        let account = maps.mailboxes.get(&mailbox).and_then(|account| maps.accounts.get(account));
        account.cloned().ok_or(Error::NotFound("mailbox"))
    }

    /// Returns the accounts of these mailboxes, in the order of their identifiers, and the position of each mailbox's
    /// account. Mailboxes that do not exist are left out.
    pub(super) fn accounts_of(
        &self,
        mailboxes: impl Iterator<Item = MailboxId>,
    ) -> (Vec<Arc<AccountIndex>>, BTreeMap<MailboxId, usize>) {
        let maps = self.read();
        let owners: Vec<(MailboxId, AccountId)> =
            mailboxes.filter_map(|id| Some((id, *maps.mailboxes.get(&id)?))).collect();
        let mut ids: Vec<AccountId> = owners.iter().map(|(_, account)| *account).collect();
        ids.sort_unstable();
        ids.dedup();
        let position = |account: &AccountId| ids.binary_search(account).ok();
        let positions = owners.iter().filter_map(|(id, account)| Some((*id, position(account)?))).collect();
        (ids.iter().filter_map(|id| maps.accounts.get(id).cloned()).collect(), positions)
    }

    /// Locks the creation of accounts.
    pub(super) fn begin_creation(&self) -> MutexGuard<'_, ()> {
        lock(&self.creating)
    }

    /// Returns the account that a name would get.
    pub(super) fn next(&self, name: &str) -> Result<Account> {
        let maps = self.read();
        if maps.names.contains_key(&name.to_ascii_lowercase()) {
            return Err(Error::Exists("account"));
        }
        let last = maps.accounts.last_key_value().map_or(0, |(id, _)| id.0);
        Ok(Account { id: AccountId(last + 1), name: name.to_owned() })
    }

    /// Adds an account with its mailboxes.
    pub(super) fn add(&self, account: Account, credentials: Credentials, state: State) {
        let mut maps = self.write();
        maps.names.insert(account.name.to_ascii_lowercase(), account.id);
        maps.mailboxes.extend(state.mailboxes.keys().map(|mailbox| (*mailbox, account.id)));
        if state.mailboxes.values().any(|mailbox| !mailbox.header.acl.is_empty()) {
            maps.sharing.insert(account.id);
        }
        let (id, credentials) = (account.id, Mutex::new(credentials));
        maps.accounts
            .insert(id, Arc::new(AccountIndex { account, credentials, state: FairLock::new(state) }));
    }

    /// Notes that an account shares a mailbox.
    pub(super) fn note_sharing(&self, account: AccountId) {
        self.write().sharing.insert(account);
    }

    /// Returns the accounts after `after` that have shared a mailbox, in the order of their identifiers.
    pub(super) fn sharing_after(&self, after: AccountId) -> Vec<Arc<AccountIndex>> {
        let maps = self.read();
        let after = maps.sharing.range((Bound::Excluded(after), Bound::Unbounded));
        after.filter_map(|account| maps.accounts.get(account).cloned()).collect()
    }

    /// Notes which mailboxes exist now, with their accounts, and which are gone.
    pub(super) fn note(&self, mailboxes: &[(MailboxId, Option<AccountId>)]) {
        if mailboxes.is_empty() {
            return;
        }
        let mut maps = self.write();
        for (mailbox, account) in mailboxes {
            match account {
                Some(account) => maps.mailboxes.insert(*mailbox, *account),
                None => maps.mailboxes.remove(mailbox),
            };
        }
    }
}
