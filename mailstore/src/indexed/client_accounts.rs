//! The accounts of a mail client, and their encrypted secrets.

use crate::client_accounts::*;
use crate::error::{Error, Result};
use crate::types::ClientAccountId;
use std::collections::BTreeMap;

/// All accounts of a client, and the key in force.
#[derive(Clone, Default)]
pub(crate) struct ClientAccounts {
    last: i64,
    accounts: BTreeMap<ClientAccountId, Entry>,
    key: Option<SecretKeyRecord>,
}

#[derive(Clone)]
struct Entry {
    described: ClientAccount,
    secrets: BTreeMap<String, SealedSecret>,
}

impl ClientAccounts {
    pub(crate) fn add(&mut self, name: &str, settings: &str, state: &str) -> Result<ClientAccountId> {
        check_name(name)?;
        check_settings(settings)?;
        check_state(state)?;
        if self.find(name).is_some() {
            return Err(Error::Exists("account"));
        }
        check_account_count(self.accounts.len())?;
        self.last += 1;
        let id = ClientAccountId(self.last);
        let described = ClientAccount {
            id,
            name: name.to_owned(),
            settings: settings.to_owned(),
            state: state.to_owned(),
            last_sync: None,
        };
        self.accounts.insert(id, Entry { described, secrets: BTreeMap::new() });
        Ok(id)
    }

    pub(crate) fn list(&self) -> Vec<ClientAccount> {
        let mut listed: Vec<_> = self.accounts.values().map(|entry| entry.described.clone()).collect();
        listed.sort_by_cached_key(|account| account.name.to_ascii_lowercase());
        listed
    }

    pub(crate) fn find(&self, name: &str) -> Option<ClientAccount> {
        let mut all = self.accounts.values().map(|entry| &entry.described);
        all.find(|account| account.name.eq_ignore_ascii_case(name)).cloned()
    }

    fn entry(&mut self, account: ClientAccountId) -> Result<&mut Entry> {
        self.accounts.get_mut(&account).ok_or(Error::NotFound("account"))
    }

    pub(crate) fn set_settings(&mut self, account: ClientAccountId, settings: &str) -> Result<()> {
        check_settings(settings)?;
        settings.clone_into(&mut self.entry(account)?.described.settings);
        Ok(())
    }

    pub(crate) fn set_state(
        &mut self,
        account: ClientAccountId,
        state: &str,
        unless: Option<&str>,
    ) -> Result<bool> {
        check_state(state)?;
        let described = &mut self.entry(account)?.described;
        let is_replaced = unless.is_none_or(|unless| described.state != unless);
        if is_replaced {
            state.clone_into(&mut described.state);
        }
        Ok(is_replaced)
    }

    pub(crate) fn record_sync(&mut self, account: ClientAccountId, sync: &ClientSync) -> Result<()> {
        check_sync(sync)?;
        self.entry(account)?.described.last_sync = Some(sync.clone());
        Ok(())
    }

    pub(crate) fn remove(&mut self, account: ClientAccountId) -> Result<()> {
        self.accounts.remove(&account).map(|_| ()).ok_or(Error::NotFound("account"))
    }

    pub(crate) fn key(&self) -> Option<SecretKeyRecord> {
        self.key.clone()
    }

    pub(crate) fn set_first_key(&mut self, first: &SecretKeyRecord) -> SecretKeyRecord {
        self.key.get_or_insert_with(|| first.clone()).clone()
    }

    pub(crate) fn secrets(&mut self, account: ClientAccountId) -> Result<Vec<SealedSecret>> {
        Ok(self.entry(account)?.secrets.values().cloned().collect())
    }

    pub(crate) fn change_secrets(
        &mut self,
        account: ClientAccountId,
        changes: &[SecretChange],
    ) -> Result<()> {
        let number = self.key.as_ref().map(|key| key.number);
        let entry = self.entry(account)?;
        let mut secrets = entry.secrets.clone();
        for change in changes {
            match change {
                SecretChange::Set(secret) => {
                    check_secret(secret, number)?;
                    secrets.insert(secret.field.clone(), secret.clone());
                }
                SecretChange::Remove(field) => {
                    secrets.remove(field);
                }
            }
        }
        check_secret_count(secrets.len())?;
        entry.secrets = secrets;
        Ok(())
    }

    pub(crate) fn replace_key(&mut self, next: &SecretKeyRecord, reseal: &mut Reseal<'_>) -> Result<u64> {
        check_next_key(next, self.key.as_ref().map(|key| key.number))?;
        let mut accounts = self.accounts.clone();
        let mut count = 0;
        for (id, entry) in &mut accounts {
            for secret in entry.secrets.values_mut() {
                *secret = resealed(*id, secret, next, reseal)?;
                count += 1;
            }
        }
        self.accounts = accounts;
        self.key = Some(next.clone());
        Ok(count)
    }
}
