//! The accounts of an [`IndexedStore`], and how they log in.

use super::directory::Credentials;
use super::load::{self, Loaded};
use super::state::State;
use super::storage::Storage;
use super::store::IndexedStore;
use super::transaction::Transactions;
use crate::accounts::Accounts;
use crate::error::Result;
use crate::passwords::{PasswordRecord, check_account_name};
use crate::types::{Account, AccountId, LoginKeys};
use std::collections::BTreeMap;
use std::sync::Arc;

impl<S: Storage> IndexedStore<S> {
    /// Adds an account with a verifier that was made before: an Argon2 hash in PHC format.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name that is too long; the errors of the storage.
    pub fn add_account(&self, name: &str, verifier: &str) -> Result<Account> {
        self.insert_account(name, verifier.to_owned(), Vec::new())
    }

    fn insert_account(&self, name: &str, verifier: String, keys: Vec<LoginKeys>) -> Result<Account> {
        check_account_name(name)?;
        let _creating = self.directory.begin_creation();
        let account = self.directory.next(name)?;
        let loaded = Loaded::read(&self.storage, &account)?;
        let state = self.load(account.id, loaded)?;
        self.directory.add(account.clone(), Credentials { verifier, keys }, state);
        Ok(account)
    }

    /// Makes the index of a new account.
    fn load(&self, account: AccountId, loaded: Loaded) -> Result<State> {
        let mut state = State::new(account, Arc::clone(&self.directory.last_mailbox));
        // Messages of other accounts may have the same contents, which must not be freed meanwhile.
        let others = if loaded.is_empty() { Vec::new() } else { self.directory.all() };
        let locked: Vec<_> = others.iter().map(|other| other.read()).collect();
        let others: Vec<&State> = locked.iter().map(|other| &**other).collect();
        let mut txs = Transactions::new(std::iter::once(&mut state), BTreeMap::new());
        let created = txs.only().and_then(|tx| load::create(tx, loaded, &others));
        match created.and_then(|()| txs.commit(|changes| self.storage.record(changes))) {
            Ok(_) => Ok(state),
            Err(error) => {
                load::release_all(&mut state);
                Err(error)
            }
        }
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

    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account> {
        check_account_name(name)?;
        let derived = PasswordRecord::derive(password, self.key_maker.as_deref(), self.cost)?;
        self.insert_account(name, derived.verifier, derived.keys)
    }

    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()> {
        let derived = PasswordRecord::derive(password, self.key_maker.as_deref(), self.cost)?;
        let account = self.directory.account(account)?;
        *account.credentials() = Credentials { verifier: derived.verifier, keys: derived.keys };
        Ok(())
    }

    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.directory.find(name);
        let stored = found.as_ref().map(|found| found.stored());
        let verified = self.passwords.verify(stored.as_ref(), password)?;
        if let (Some(_), Some(found), Some(stored), Some(make)) = (verified, found, stored, &self.key_maker)
            && !stored.has_keys
        {
            let keys = make(password);
            let mut credentials = found.credentials();
            // Unless the password was changed meanwhile.
            if credentials.verifier == stored.verifier {
                credentials.keys = keys;
            }
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
        self.key_maker.is_some()
    }

    fn store_secret(&self) -> Result<Vec<u8>> {
        Ok(self.secret.to_vec())
    }
}
