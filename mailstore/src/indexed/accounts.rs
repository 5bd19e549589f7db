//! The accounts of an [`IndexedStore`], and how they log in.

use super::directory::{AccountIndex, Credentials};
use super::load::{self, Loaded};
use super::state::State;
use super::storage::{Storage, StorageChange, StoredAccount};
use super::store::IndexedStore;
use super::transaction::Transactions;
use crate::accounts::Accounts;
use crate::error::{Error, Result};
use crate::passwords::{PasswordRecord, check_account_name};
use crate::types::{Account, AccountId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<S: Storage> IndexedStore<S> {
    /// Adds an account with a verifier that was made before: an Argon2 hash in PHC format. SCRAM keys cannot be derived from
    /// it, so a server that is started over this store from now on does not offer SCRAM.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name that is too long; the errors of the storage.
    pub fn add_account(&self, name: &str, verifier: &str) -> Result<Account> {
        let account =
            self.insert_account(name, Credentials { verifier: verifier.to_owned(), keys: Vec::new() })?;
        self.has_foreign_verifiers.store(true, Ordering::Relaxed);
        Ok(account)
    }

    fn insert_account(&self, name: &str, credentials: Credentials) -> Result<Account> {
        check_account_name(name)?;
        let _creating = self.directory.begin_creation();
        let account = self.directory.next(name)?;
        let loaded = Loaded::read(&self.storage, &account)?;
        let state = self.load(account.id, loaded, Some(credentials.describe(&account)))?;
        self.directory.add(account.clone(), credentials, state);
        Ok(account)
    }

    /// Adds an account that the storage has.
    pub(super) fn restore_account(&self, stored: StoredAccount) -> Result<()> {
        let StoredAccount { account, verifier, keys } = stored;
        check_account_name(&account.name)?;
        if self.directory.account(account.id).is_ok() || self.directory.find(&account.name).is_some() {
            return Err(Error::Corrupt("the accounts of a storage"));
        }
        let state = self.load(account.id, Loaded::read(&self.storage, &account)?, None)?;
        if keys.is_empty() {
            self.has_foreign_verifiers.store(true, Ordering::Relaxed);
        }
        self.directory.add(account, Credentials { verifier, keys }, state);
        Ok(())
    }

    /// Makes the index of an account, and records the account if it is `new`.
    fn load(&self, account: AccountId, loaded: Loaded, new: Option<StoredAccount>) -> Result<State> {
        let mut state = State::new(account, Arc::clone(&self.directory.last_mailbox));
        // Messages of other accounts may have the same contents, which must not be freed meanwhile.
        let others = if loaded.is_empty() { Vec::new() } else { self.directory.all() };
        let locked: Vec<_> = others.iter().map(|other| other.read()).collect();
        let others: Vec<&State> = locked.iter().map(|other| &**other).collect();
        let mut txs = Transactions::new(std::iter::once(&mut state), BTreeMap::new());
        let created = txs.only().and_then(|tx| {
            new.into_iter().for_each(|account| tx.set_account(account));
            load::create(tx, loaded, &others)
        });
        match created.and_then(|()| txs.commit(|changes| self.storage.record(changes))) {
            Ok(_) => Ok(state),
            Err(error) => {
                load::release_all(&mut state);
                Err(error)
            }
        }
    }

    /// Replaces how an account logs in, if `may` allows it, once that is recorded.
    fn set_credentials(
        &self,
        account: &AccountIndex,
        new: Credentials,
        may: impl FnOnce(&Credentials) -> bool,
    ) -> Result<()> {
        // The changes of an account are recorded one at a time. A login does not wait for that.
        let _index = account.write();
        if may(&account.credentials()) {
            self.storage.record(&[StorageChange::AccountSet(new.describe(&account.account))])?;
            *account.credentials() = new;
        }
        Ok(())
    }
}

impl Credentials {
    fn describe(&self, account: &Account) -> StoredAccount {
        let Self { verifier, keys } = self.clone();
        StoredAccount { keys, ..StoredAccount::new(account.clone(), verifier) }
    }
}

impl From<PasswordRecord> for Credentials {
    fn from(record: PasswordRecord) -> Self {
        Self { verifier: record.verifier, keys: record.keys }
    }
}

impl<S: Storage> Accounts for IndexedStore<S> {
    fn accounts(&self) -> Result<Vec<Account>> {
        let mut accounts: Vec<Account> =
            self.directory.all().iter().map(|found| found.account.clone()).collect();
        accounts.sort_unstable_by_key(|account| account.name.to_ascii_lowercase());
        Ok(accounts)
    }

    fn account(&self, name: &str) -> Result<Option<Account>> {
        Ok(self.directory.find(name).map(|found| found.account.clone()))
    }

    fn account_by_id(&self, account: AccountId) -> Result<Account> {
        Ok(self.directory.account(account)?.account.clone())
    }

    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account> {
        check_account_name(name)?;
        let derived = PasswordRecord::derive(password, &self.login_keys, self.cost)?;
        self.insert_account(name, derived.into())
    }

    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()> {
        let derived = PasswordRecord::derive(password, &self.login_keys, self.cost)?;
        let account = self.directory.account(account)?;
        self.set_credentials(&account, derived.into(), |_| true)
    }

    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.directory.find(name);
        let stored = found.as_ref().map(|found| found.stored());
        let verified = self.passwords.verify(stored.as_ref(), password)?;
        if let (Some(_), Some(found), Some(stored)) = (verified, found, stored)
            && self.login_keys.is_some()
            && !stored.has_keys
        {
            let new = Credentials {
                verifier: stored.verifier.clone(),
                keys: self.login_keys.derive(password, self.cost),
            };
            // Unless the password was changed meanwhile. A login does not fail because its keys can't be recorded: they are
            // derived again at the next one.
            let _ = self.set_credentials(&found, new, |now| now.verifier == stored.verifier);
        }
        Ok(verified)
    }

    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        Ok(self.directory.find(name).and_then(|found| self.passwords.recall(&found.stored(), password)))
    }

    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>> {
        Ok(self.directory.find(name).and_then(|found| {
            let credentials = found.credentials();
            credentials.keys.iter().find(|keys| keys.kind == kind).map(|keys| keys.text.clone())
        }))
    }

    fn has_login_keys(&self) -> bool {
        self.login_keys.is_some() && !self.has_foreign_verifiers.load(Ordering::Relaxed)
    }

    fn store_secret(&self) -> Result<Vec<u8>> {
        Ok(self.secret.to_vec())
    }
}
