//! The accounts of a mail client in a store in memory.

use super::MemoryStore;
use crate::client_accounts::*;
use crate::error::Result;
use crate::lock::lock;
use crate::types::ClientAccountId;

impl ClientAccountStore for MemoryStore {
    fn add_client_account(&self, name: &str, settings: &str, state: &str) -> Result<ClientAccountId> {
        lock(&self.client_accounts).add(name, settings, state)
    }

    fn client_accounts(&self) -> Result<Vec<ClientAccount>> {
        Ok(lock(&self.client_accounts).list())
    }

    fn client_account(&self, name: &str) -> Result<Option<ClientAccount>> {
        Ok(lock(&self.client_accounts).find(name))
    }

    fn set_client_account_settings(&self, account: ClientAccountId, settings: &str) -> Result<()> {
        lock(&self.client_accounts).set_settings(account, settings)
    }

    fn set_client_account_state(
        &self,
        account: ClientAccountId,
        state: &str,
        unless: Option<&str>,
    ) -> Result<bool> {
        lock(&self.client_accounts).set_state(account, state, unless)
    }

    fn record_client_sync(&self, account: ClientAccountId, sync: &ClientSync) -> Result<()> {
        lock(&self.client_accounts).record_sync(account, sync)
    }

    fn remove_client_account(&self, account: ClientAccountId) -> Result<()> {
        lock(&self.client_accounts).remove(account)
    }

    fn secret_key(&self) -> Result<Option<SecretKeyRecord>> {
        Ok(lock(&self.client_accounts).key())
    }

    fn set_first_secret_key(&self, first: &SecretKeyRecord) -> Result<SecretKeyRecord> {
        Ok(lock(&self.client_accounts).set_first_key(first))
    }

    fn sealed_secrets(&self, account: ClientAccountId) -> Result<Vec<SealedSecret>> {
        lock(&self.client_accounts).secrets(account)
    }

    fn change_secrets(&self, account: ClientAccountId, changes: &[SecretChange]) -> Result<()> {
        lock(&self.client_accounts).change_secrets(account, changes)
    }

    fn replace_secret_key(&self, next: &SecretKeyRecord, reseal: &mut Reseal<'_>) -> Result<u64> {
        lock(&self.client_accounts).replace_key(next, reseal)
    }
}
