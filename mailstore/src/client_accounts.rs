//! The interface for a mail client that keeps its accounts in a store: settings, secrets that the client has encrypted, and
//! the report of the last sync.
//!
//! The store interprets none of it: the client chooses the format of settings and states, and holds the key of the secrets.

use crate::error::{Error, Result};
use crate::types::ClientAccountId;

/// The most accounts of a client in one store.
pub const CLIENT_ACCOUNT_LIMIT: usize = 1_000;

/// The most bytes of the name of a client's account.
pub const CLIENT_ACCOUNT_NAME_LIMIT: usize = 255;

/// The most bytes of the settings of a client's account.
pub const CLIENT_ACCOUNT_SETTINGS_LIMIT: usize = 64 * 1024;

/// The most bytes of a state, of a status, and of an error of a sync.
pub const CLIENT_ACCOUNT_TEXT_LIMIT: usize = 4 * 1024;

/// The most bytes of an encrypted secret.
pub const SEALED_SECRET_LIMIT: usize = 128 * 1024;

/// The most secrets of one account.
pub const SEALED_SECRET_COUNT_LIMIT: usize = 16;

/// An account of a mail client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAccount {
    /// Its identifier.
    pub id: ClientAccountId,
    /// Its name, which no other account of this store has, without regard to ASCII case.
    pub name: String,
    /// Its settings without secrets, in the client's format.
    pub settings: String,
    /// Its state: a word chosen by the client.
    pub state: String,
    /// How its last sync ended.
    pub last_sync: Option<ClientSync>,
}

/// How a sync of a client's account ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSync {
    /// When it ended, in seconds since 1970.
    pub at: i64,
    /// How it ended: a word chosen by the client.
    pub status: String,
    /// Why it failed: a text chosen by the client, without secrets.
    pub error: Option<String>,
    /// The number of new messages.
    pub imported: u64,
    /// The number of messages that the store had already.
    pub duplicates: u64,
}

/// A secret that the client has encrypted. `Debug` shows neither the secret nor its ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// What it is: a word chosen by the client, which an account has once.
    pub field: String,
    /// The number of the key that it is encrypted with.
    pub key_number: u32,
    /// The ciphertext.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecret")
            .field("field", &self.field)
            .field("key_number", &self.key_number)
            .finish_non_exhaustive()
    }
}

/// A change of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// Adds or replaces the secret of this field.
    Set(SealedSecret),
    /// Removes the secret of this field, if there is one.
    Remove(String),
}

/// The key in force. The store does not have the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKeyRecord {
    /// Its number.
    pub number: u32,
    /// A value by which the client recognizes the key, without revealing it.
    pub check: Vec<u8>,
}

/// Encrypts a secret with the next key, or returns `None` to stop.
pub type Reseal<'r> = dyn FnMut(ClientAccountId, &SealedSecret) -> Option<SealedSecret> + 'r;

/// A store that keeps the accounts of a mail client. A server does not need it.
///
/// Each method makes all of its changes or none. Methods that take an identifier fail with `NotFound` if there is no such
/// account. A text, a secret or a number above its limit fails with `Limit`.
pub trait ClientAccountStore: Send + Sync {
    /// Adds an account.
    ///
    /// # Errors
    /// `Exists` if the name is in use.
    fn add_client_account(&self, name: &str, settings: &str, state: &str) -> Result<ClientAccountId>;

    /// Returns all accounts, ordered by name.
    fn client_accounts(&self) -> Result<Vec<ClientAccount>>;

    /// Returns the account with this name, without regard to ASCII case.
    fn client_account(&self, name: &str) -> Result<Option<ClientAccount>>;

    /// Replaces the settings of an account.
    fn set_client_account_settings(&self, account: ClientAccountId, settings: &str) -> Result<()>;

    /// Replaces the state of an account, unless it is `unless`. Returns whether it was replaced.
    fn set_client_account_state(
        &self,
        account: ClientAccountId,
        state: &str,
        unless: Option<&str>,
    ) -> Result<bool>;

    /// Replaces the report of the last sync.
    fn record_client_sync(&self, account: ClientAccountId, sync: &ClientSync) -> Result<()>;

    /// Removes an account and its secrets. Its identifier is never used again.
    fn remove_client_account(&self, account: ClientAccountId) -> Result<()>;

    /// Returns the key in force, or `None` before the first one.
    fn secret_key(&self) -> Result<Option<SecretKeyRecord>>;

    /// Sets the first key, unless there is one. Returns the key in force.
    fn set_first_secret_key(&self, first: &SecretKeyRecord) -> Result<SecretKeyRecord>;

    /// Returns the secrets of an account, ordered by field.
    fn sealed_secrets(&self, account: ClientAccountId) -> Result<Vec<SealedSecret>>;

    /// Changes secrets of an account.
    ///
    /// # Errors
    /// `Refused` if a secret is not encrypted with the key in force.
    fn change_secrets(&self, account: ClientAccountId, changes: &[SecretChange]) -> Result<()>;

    /// Replaces the key in force and all secrets, each by what `reseal` returns. Returns the number of secrets.
    ///
    /// # Errors
    /// `Refused` if `reseal` returned `None`, another field or another key number, or if the key in force does not have the
    /// number before that of `next`.
    fn replace_secret_key(&self, next: &SecretKeyRecord, reseal: &mut Reseal<'_>) -> Result<u64>;
}

/// Checks the name of an account.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::InvalidName("an account's name is text without control characters"));
    }
    at_most(name.len(), CLIENT_ACCOUNT_NAME_LIMIT, "the length of an account's name")
}

/// Checks the settings of an account.
pub(crate) fn check_settings(settings: &str) -> Result<()> {
    at_most(settings.len(), CLIENT_ACCOUNT_SETTINGS_LIMIT, "the length of an account's settings")
}

/// Checks the state of an account.
pub(crate) fn check_state(state: &str) -> Result<()> {
    at_most(state.len(), CLIENT_ACCOUNT_TEXT_LIMIT, "the length of an account's state")
}

/// Checks the report of a sync.
pub(crate) fn check_sync(sync: &ClientSync) -> Result<()> {
    let longest = sync.status.len().max(sync.error.as_deref().map_or(0, str::len));
    at_most(longest, CLIENT_ACCOUNT_TEXT_LIMIT, "the length of a sync's status or error")
}

/// Checks the number of accounts before one is added.
pub(crate) fn check_account_count(count: usize) -> Result<()> {
    at_most(count.saturating_add(1), CLIENT_ACCOUNT_LIMIT, "the number of accounts")
}

/// Checks the number of an account's secrets after a change.
pub(crate) fn check_secret_count(count: usize) -> Result<()> {
    at_most(count, SEALED_SECRET_COUNT_LIMIT, "the number of an account's secrets")
}

/// Checks a secret against its limits and the number of the key in force.
pub(crate) fn check_secret(secret: &SealedSecret, key_number: Option<u32>) -> Result<()> {
    at_most(secret.sealed.len(), SEALED_SECRET_LIMIT, "the length of a secret")?;
    at_most(secret.field.len(), CLIENT_ACCOUNT_NAME_LIMIT, "the length of a secret's field")?;
    if key_number == Some(secret.key_number) {
        return Ok(());
    }
    Err(Error::Refused("the secret is not encrypted with the key in force"))
}

/// Checks that a key follows the one in force.
pub(crate) fn check_next_key(next: &SecretKeyRecord, in_force: Option<u32>) -> Result<()> {
    at_most(next.check.len(), SEALED_SECRET_LIMIT, "the length of a key's check")?;
    if in_force.and_then(|number| number.checked_add(1)) == Some(next.number) {
        return Ok(());
    }
    Err(Error::Refused("the key does not follow the key in force"))
}

/// Returns the secret that replaces `old`.
pub(crate) fn resealed(
    account: ClientAccountId,
    old: &SealedSecret,
    next: &SecretKeyRecord,
    reseal: &mut Reseal<'_>,
) -> Result<SealedSecret> {
    let new = reseal(account, old).filter(|new| new.field == old.field);
    let new = new.ok_or(Error::Refused("a secret could not be encrypted with the new key"))?;
    check_secret(&new, Some(next.number))?;
    Ok(new)
}

fn at_most(length: usize, limit: usize, what: &'static str) -> Result<()> {
    if length > limit { Err(Error::Limit(what)) } else { Ok(()) }
}
