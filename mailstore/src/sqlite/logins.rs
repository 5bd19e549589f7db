//! The accounts of a [`SqliteStore`], and how they log in.

use super::accounts;
use super::store::SqliteStore;
use crate::accounts::Accounts;
use crate::error::Result;
use crate::passwords::{PasswordCost, PasswordRecord, check_account_name};
use crate::types::{Account, AccountId};

impl Accounts for SqliteStore {
    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account> {
        check_account_name(name)?;
        let derived = PasswordRecord::derive(password, &self.login_keys, PasswordCost::Standard)?;
        self.write(|tx, _| accounts::create(tx, name, &derived))
    }

    fn accounts(&self) -> Result<Vec<Account>> {
        self.read(accounts::list)
    }

    fn account(&self, name: &str) -> Result<Option<Account>> {
        self.read(|tx| Ok(accounts::find(tx, name)?.map(|stored| stored.account)))
    }

    fn account_by_id(&self, account: AccountId) -> Result<Account> {
        self.read(|tx| accounts::find_by_id(tx, account))
    }

    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()> {
        let derived = PasswordRecord::derive(password, &self.login_keys, PasswordCost::Standard)?;
        self.write(|tx, _| accounts::replace(tx, account, &derived))
    }

    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.read(|tx| accounts::find(tx, name))?;
        let verified = self.passwords.verify(found.as_ref(), password)?;
        if let (Some(_), Some(stored)) = (verified, found)
            && self.login_keys.is_some()
            && !stored.has_keys
        {
            let keys = self.login_keys.derive(password, PasswordCost::Standard);
            // The login succeeds even if the keys can't be stored now.
            let _ = self.write(|tx, _| accounts::add_keys(tx, &stored, &keys));
        }
        Ok(verified)
    }

    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.read(|tx| accounts::find(tx, name))?;
        Ok(found.and_then(|stored| self.passwords.recall(&stored, password)))
    }

    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>> {
        self.read(|tx| accounts::login_keys(tx, name, kind))
    }

    fn has_login_keys(&self) -> bool {
        self.login_keys.is_some()
    }

    fn store_secret(&self) -> Result<Vec<u8>> {
        self.read(|tx| accounts::store_secret(tx))
    }
}
