//! [`AccountStore`]: the accounts of a client and their secrets, in a store.

use std::sync::Arc;

use mailstore::{ClientAccount, ClientAccountId, ClientAccountStore, ClientSync, SealedSecret, SecretChange};
use proto_mail::Secret;

use super::error::AccountError;
use super::key::EncryptionKey;
use super::seal::Cipher;
use super::secret::SecretField;
use super::settings::{Account, AccountSettings, AccountState, SyncReport, SyncStatus};

/// The most bytes of an error that is recorded with a report.
const ERROR_LIMIT: usize = 1024;

/// The number of the first key.
const FIRST_KEY: u32 = 1;

/// The accounts of a client. Cheap to clone; a clone has the same accounts and keys.
///
/// Settings can be read and changed without a key. Secrets cannot: the calls fail with
/// [`KeyMissing`](AccountError::KeyMissing).
#[derive(Clone)]
pub struct AccountStore {
    store: Arc<dyn ClientAccountStore>,
    keys: Arc<[EncryptionKey]>,
}

impl std::fmt::Debug for AccountStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountStore").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl AccountStore {
    /// Opens the accounts in a store. Of several keys, for example during a rotation, the one in force is used; the first one
    /// encrypts the first secret of the store.
    #[must_use]
    pub fn new(store: Arc<dyn ClientAccountStore>, keys: impl IntoIterator<Item = EncryptionKey>) -> Self {
        Self { store, keys: keys.into_iter().collect() }
    }

    /// Adds an account without secrets.
    ///
    /// # Errors
    /// `Exists`, `Store`.
    pub fn add(&self, name: &str, settings: &AccountSettings) -> Result<ClientAccountId, AccountError> {
        let text = to_json(name, settings)?;
        match self.store.add_client_account(name, &text, AccountState::Unset.name()) {
            Err(mailstore::Error::Exists(_)) => Err(AccountError::Exists(name.to_owned())),
            added => Ok(added?),
        }
    }

    /// Returns all accounts, ordered by name.
    ///
    /// # Errors
    /// `SettingsDamaged`, `Store`.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        self.store.client_accounts()?.into_iter().map(read).collect()
    }

    /// Returns the account with this name, without regard to ASCII case.
    ///
    /// # Errors
    /// `NotFound`, `SettingsDamaged`, `Store`.
    pub fn get(&self, name: &str) -> Result<Account, AccountError> {
        let found = self.store.client_account(name)?;
        read(found.ok_or_else(|| AccountError::NotFound(name.to_owned()))?)
    }

    /// Replaces the settings of an account.
    ///
    /// # Errors
    /// `Store`.
    pub fn set_settings(
        &self,
        account: ClientAccountId,
        settings: &AccountSettings,
    ) -> Result<(), AccountError> {
        Ok(self.store.set_client_account_settings(account, &to_json("", settings)?)?)
    }

    /// Replaces the state of an account. A paused account stays paused until it is [resumed](Self::resume).
    ///
    /// # Errors
    /// `Store`.
    pub fn set_state(&self, account: ClientAccountId, state: AccountState) -> Result<(), AccountError> {
        let paused = Some(AccountState::Paused.name());
        Ok(self.store.set_client_account_state(account, state.name(), paused).map(|_| ())?)
    }

    /// Pauses an account.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub fn pause(&self, name: &str) -> Result<(), AccountError> {
        self.set_state(self.get(name)?.id, AccountState::Paused)
    }

    /// Makes a paused account `Unset`. Leaves one that is not paused as it is.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub fn resume(&self, name: &str) -> Result<(), AccountError> {
        let account = self.get(name)?;
        if account.state == AccountState::Paused {
            self.store.set_client_account_state(account.id, AccountState::Unset.name(), None)?;
        }
        Ok(())
    }

    /// Replaces the report of the last sync. An error is cut to 1,024 bytes.
    ///
    /// # Errors
    /// `Store`.
    pub fn record_sync(&self, account: ClientAccountId, report: &SyncReport) -> Result<(), AccountError> {
        let sync = ClientSync {
            at: report.at,
            status: report.status.name().to_owned(),
            error: report.error.as_deref().map(|error| cut(error, ERROR_LIMIT).to_owned()),
            imported: report.imported,
            duplicates: report.duplicates,
        };
        Ok(self.store.record_client_sync(account, &sync)?)
    }

    /// Removes an account and its secrets.
    ///
    /// # Errors
    /// `Store`.
    pub fn remove(&self, account: ClientAccountId) -> Result<(), AccountError> {
        Ok(self.store.remove_client_account(account)?)
    }

    /// Checks that there is a key and that it is the one in force. Call it before work that needs secrets, such as asking for
    /// a password.
    ///
    /// # Errors
    /// `KeyMissing`, `KeyMismatch`, `Store`.
    pub fn check_key(&self) -> Result<(), AccountError> {
        let first = self.keys.first().ok_or(AccountError::KeyMissing)?;
        match self.store.secret_key()? {
            None => Cipher::new(first, FIRST_KEY).record().map(|_| ()),
            Some(record) => self.cipher_of(&record).map(|_| ()),
        }
    }

    /// Adds, replaces (`Some`) or removes (`None`) secrets of an account: all of them or none.
    ///
    /// # Errors
    /// `KeyMissing`, `KeyMismatch`, `SecretLength`, `Random`, `Store`.
    pub fn put_secrets(
        &self,
        account: ClientAccountId,
        changes: &[(SecretField, Option<&Secret<Vec<u8>>>)],
    ) -> Result<(), AccountError> {
        let cipher = self.cipher_for_writing()?;
        let changes = changes.iter().map(|(field, secret)| match secret {
            Some(secret) => cipher.seal(account, *field, secret.expose()).map(SecretChange::Set),
            None => Ok(SecretChange::Remove(field.name().to_owned())),
        });
        match self.store.change_secrets(account, &changes.collect::<Result<Vec<_>, _>>()?) {
            // Another process has replaced the key.
            Err(mailstore::Error::Refused(_)) => Err(AccountError::KeyMismatch),
            changed => Ok(changed?),
        }
    }

    /// Returns a secret of an account, or `None` if the account has no such secret.
    ///
    /// # Errors
    /// `KeyMissing`, `KeyMismatch`, `SecretDamaged`, `Store`.
    pub fn secret(
        &self,
        account: ClientAccountId,
        field: SecretField,
    ) -> Result<Option<Secret<Vec<u8>>>, AccountError> {
        if self.keys.is_empty() {
            return Err(AccountError::KeyMissing);
        }
        let Some(record) = self.store.secret_key()? else { return Ok(None) };
        let cipher = self.cipher_of(&record)?;
        let secrets = self.store.sealed_secrets(account)?;
        let found = secrets.iter().find(|secret| secret.field == field.name());
        found.map(|sealed| cipher.open(account, field, sealed)).transpose()
    }

    /// Returns which secrets an account has. Needs no key.
    ///
    /// # Errors
    /// `Store`.
    pub fn secret_fields(&self, account: ClientAccountId) -> Result<Vec<SecretField>, AccountError> {
        let secrets = self.store.sealed_secrets(account)?;
        Ok(secrets.iter().filter_map(|secret| SecretField::from_name(&secret.field)).collect())
    }

    /// Encrypts all secrets with `next` in one transaction, and returns their number. Afterwards `next` is the key in force,
    /// and this value has only the earlier one.
    ///
    /// # Errors
    /// `KeyMissing`, `KeyMismatch`, `SecretDamaged`, `Random`, `Store`. Nothing has changed.
    pub fn rekey(&self, next: &EncryptionKey) -> Result<u64, AccountError> {
        let cipher = self.cipher_for_writing()?;
        let number = cipher.number.checked_add(1).ok_or(AccountError::KeyMismatch)?;
        let next = Cipher::new(next, number);
        let mut failure = None;
        let mut reseal = |account: ClientAccountId, old: &SealedSecret| {
            let resealed = reseal(&cipher, &next, account, old);
            resealed.map_err(|error| failure = Some(error)).ok()
        };
        let replaced = self.store.replace_secret_key(&next.record()?, &mut reseal);
        match (replaced, failure) {
            (Err(_), Some(failure)) => Err(failure),
            (Err(mailstore::Error::Refused(_)), None) => Err(AccountError::KeyMismatch),
            (replaced, _) => Ok(replaced?),
        }
    }

    /// Returns the key in force, and sets it if this is the first secret of the store.
    fn cipher_for_writing(&self) -> Result<Cipher<'_>, AccountError> {
        let first = self.keys.first().ok_or(AccountError::KeyMissing)?;
        let record = match self.store.secret_key()? {
            Some(record) => record,
            None => self.store.set_first_secret_key(&Cipher::new(first, FIRST_KEY).record()?)?,
        };
        self.cipher_of(&record)
    }

    fn cipher_of(&self, record: &mailstore::SecretKeyRecord) -> Result<Cipher<'_>, AccountError> {
        let mut ciphers = self.keys.iter().map(|key| Cipher::new(key, record.number));
        ciphers.find(|cipher| cipher.matches(record)).ok_or(match self.keys.is_empty() {
            true => AccountError::KeyMissing,
            false => AccountError::KeyMismatch,
        })
    }
}

fn reseal(
    from: &Cipher<'_>,
    to: &Cipher<'_>,
    account: ClientAccountId,
    old: &SealedSecret,
) -> Result<SealedSecret, AccountError> {
    let field = SecretField::from_name(&old.field).ok_or(AccountError::KeyMismatch)?;
    let secret = from.open(account, field, old)?;
    to.seal(account, field, secret.expose())
}

fn to_json(name: &str, settings: &AccountSettings) -> Result<String, AccountError> {
    serde_json::to_string(settings).map_err(|_| AccountError::SettingsDamaged(name.to_owned()))
}

fn read(stored: ClientAccount) -> Result<Account, AccountError> {
    let Ok(settings) = serde_json::from_str(&stored.settings) else {
        return Err(AccountError::SettingsDamaged(stored.name));
    };
    let last_sync = stored.last_sync.map(|sync| SyncReport {
        at: sync.at,
        status: SyncStatus::from_name(&sync.status),
        error: sync.error,
        imported: sync.imported,
        duplicates: sync.duplicates,
    });
    let state = AccountState::from_name(&stored.state);
    Ok(Account { id: stored.id, name: stored.name, settings, state, last_sync })
}

/// Cuts a text to at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
