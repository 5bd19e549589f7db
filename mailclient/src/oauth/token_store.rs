//! Where tokens are kept. The store encrypts them; this trait is what [`AccessTokens`](super::AccessTokens) needs of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{OAuthError, OAuthErrorCode};
use super::token_set::TokenSet;

/// Whether the consent of an account is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// The refresh token was not refused.
    Valid,
    /// The provider refused the refresh token. The account needs a new consent.
    AuthenticationError,
}

/// The tokens of an account, as they are stored.
#[derive(Debug)]
pub struct StoredTokens {
    /// The tokens.
    pub tokens: TokenSet,
    /// Whether the consent is valid.
    pub state: TokenState,
}

/// Why the store failed. The text holds no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStoreError {
    what: String,
    is_retryable: bool,
}

impl TokenStoreError {
    /// An error that a retry does not repair, such as a missing key.
    #[must_use]
    pub fn permanent(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_retryable: false }
    }

    /// An error that a retry may repair, such as a full disk.
    #[must_use]
    pub fn temporary(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_retryable: true }
    }
}

impl fmt::Display for TokenStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for TokenStoreError {}

impl From<TokenStoreError> for OAuthError {
    fn from(error: TokenStoreError) -> Self {
        let new = Self::new(OAuthErrorCode::StoreFailed, error.what);
        if error.is_retryable { new.retryable() } else { new }
    }
}

/// Keeps other processes from refreshing an account's tokens. Dropping it releases the account.
pub trait RefreshLock {}

/// No lock, for a store that only one process uses.
impl RefreshLock for () {}

/// Keeps the tokens of accounts.
pub trait TokenStore: Send + Sync {
    /// Returns the tokens of an account, or `None` if it has none.
    ///
    /// # Errors
    /// They cannot be read or decrypted.
    fn load(&self, account: &str) -> Result<Option<StoredTokens>, TokenStoreError>;

    /// Replaces the tokens of an account in one step, and sets [`TokenState::Valid`]. If `tokens` has no refresh token, the
    /// stored one stays. When this returns, the tokens survive a crash.
    ///
    /// # Errors
    /// They cannot be stored. The old tokens are unchanged.
    fn save(&self, account: &str, tokens: &TokenSet) -> Result<(), TokenStoreError>;

    /// Sets [`TokenState::AuthenticationError`].
    ///
    /// # Errors
    /// It cannot be stored.
    fn set_authentication_error(&self, account: &str) -> Result<(), TokenStoreError>;

    /// Waits until no other process refreshes this account's tokens, at most some seconds. Default: there is no other
    /// process.
    ///
    /// # Errors
    /// The wait took too long.
    fn lock(&self, account: &str) -> Result<Box<dyn RefreshLock>, TokenStoreError> {
        let _ = account;
        Ok(Box::new(()))
    }
}

/// Keeps tokens in memory, for tests and for programs that ask for consent at each start.
#[derive(Debug, Default)]
pub struct MemoryTokenStore {
    accounts: Mutex<HashMap<String, StoredTokens>>,
}

impl MemoryTokenStore {
    fn lock_accounts(&self) -> MutexGuard<'_, HashMap<String, StoredTokens>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryTokenStore {
    fn load(&self, account: &str) -> Result<Option<StoredTokens>, TokenStoreError> {
        let accounts = self.lock_accounts();
        Ok(accounts
            .get(account)
            .map(|stored| StoredTokens { tokens: stored.tokens.duplicate(), state: stored.state }))
    }

    fn save(&self, account: &str, tokens: &TokenSet) -> Result<(), TokenStoreError> {
        let mut accounts = self.lock_accounts();
        let mut tokens = tokens.duplicate();
        let old = accounts.remove(account).and_then(|old| old.tokens.refresh);
        tokens.refresh = tokens.refresh.or(old);
        accounts.insert(account.to_owned(), StoredTokens { tokens, state: TokenState::Valid });
        Ok(())
    }

    fn set_authentication_error(&self, account: &str) -> Result<(), TokenStoreError> {
        if let Some(stored) = self.lock_accounts().get_mut(account) {
            stored.state = TokenState::AuthenticationError;
        }
        Ok(())
    }
}
