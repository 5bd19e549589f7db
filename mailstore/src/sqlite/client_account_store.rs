//! The accounts of a mail client, as [`ClientAccountStore`].

use super::{SqliteStore, client_accounts};
use crate::client_accounts::*;
use crate::error::Result;
use crate::types::ClientAccountId;

impl ClientAccountStore for SqliteStore {
    fn add_client_account(&self, name: &str, settings: &str, state: &str) -> Result<ClientAccountId> {
        self.write(|tx, _| client_accounts::add(tx, name, settings, state))
    }

    fn client_accounts(&self) -> Result<Vec<ClientAccount>> {
        self.read(|tx| client_accounts::list(tx))
    }

    fn client_account(&self, name: &str) -> Result<Option<ClientAccount>> {
        self.read(|tx| client_accounts::find(tx, name))
    }

    fn set_client_account_settings(&self, account: ClientAccountId, settings: &str) -> Result<()> {
        self.write(|tx, _| client_accounts::set_settings(tx, account, settings))
    }

    fn set_client_account_state(
        &self,
        account: ClientAccountId,
        state: &str,
        unless: Option<&str>,
    ) -> Result<bool> {
        self.write(|tx, _| client_accounts::set_state(tx, account, state, unless))
    }

    fn record_client_sync(&self, account: ClientAccountId, sync: &ClientSync) -> Result<()> {
        self.write(|tx, _| client_accounts::record_sync(tx, account, sync))
    }

    fn remove_client_account(&self, account: ClientAccountId) -> Result<()> {
        self.write_erasing(|tx| client_accounts::remove(tx, account))
    }

    fn secret_key(&self) -> Result<Option<SecretKeyRecord>> {
        self.read(|tx| client_accounts::key(tx))
    }

    fn set_first_secret_key(&self, first: &SecretKeyRecord) -> Result<SecretKeyRecord> {
        self.write(|tx, _| client_accounts::set_first_key(tx, first))
    }

    fn sealed_secrets(&self, account: ClientAccountId) -> Result<Vec<SealedSecret>> {
        self.read(|tx| client_accounts::secrets(tx, account))
    }

    fn change_secrets(&self, account: ClientAccountId, changes: &[SecretChange]) -> Result<()> {
        self.write_erasing(|tx| client_accounts::change_secrets(tx, account, changes))
    }

    fn replace_secret_key(&self, next: &SecretKeyRecord, reseal: &mut Reseal<'_>) -> Result<u64> {
        self.write_erasing(|tx| client_accounts::replace_key(tx, next, reseal))
    }
}
