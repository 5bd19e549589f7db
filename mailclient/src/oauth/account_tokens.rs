//! The tokens of accounts in an [`AccountStore`], encrypted.
//!
//! The access token and the refresh token are secrets of the account, replaced in one transaction. The plaintext of the
//! access token has its times before it, and says whether the provider has refused the consent.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proto_mail::Secret;

use super::token_set::{AccessToken, TokenSet};
use super::token_store::{RefreshLock, StoredTokens, TokenState, TokenStore, TokenStoreError};
use crate::account::{Account, AccountError, AccountState, AccountStore, SecretField};

/// How long to wait for another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(45);
/// How often to look whether it is done.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
/// The word of a consent that the provider has refused.
const REFUSED: &str = "refused";
/// The word of a token that is valid until its expiry.
const VALID: &str = "valid";

/// Keeps the tokens of accounts, by the account's name, in the encrypted secrets of an [`AccountStore`]. Without a key nothing
/// is read or stored.
#[derive(Debug, Clone)]
pub struct AccountTokens {
    accounts: AccountStore,
    locks: Option<PathBuf>,
}

impl AccountTokens {
    /// Keeps tokens in these accounts.
    #[must_use]
    pub const fn new(accounts: AccountStore) -> Self {
        Self { accounts, locks: None }
    }

    /// Keeps other processes from refreshing the same account, by a lock on a file of this directory for each account. A
    /// program that others use at the same time needs it: two refreshes with the same token look like theft to a provider.
    #[must_use]
    pub fn lock_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.locks = Some(directory.into());
        self
    }

    fn account(&self, name: &str) -> Result<Account, TokenStoreError> {
        self.accounts.get(name).map_err(failed)
    }
}

impl TokenStore for AccountTokens {
    fn load(&self, name: &str) -> Result<Option<StoredTokens>, TokenStoreError> {
        let account = self.account(name)?;
        let Some(record) = self.accounts.secret(account.id, SecretField::AccessToken).map_err(failed)? else {
            return Ok(None);
        };
        let (mut tokens, state) = decode(&record).ok_or_else(damaged)?;
        let refresh = self.accounts.secret(account.id, SecretField::RefreshToken).map_err(failed)?;
        tokens.refresh = refresh.map(|refresh| utf8(&refresh)).transpose()?;
        Ok(Some(StoredTokens { tokens, state }))
    }

    fn save(&self, name: &str, tokens: &TokenSet) -> Result<(), TokenStoreError> {
        let account = self.account(name)?;
        let access = encode(tokens, VALID);
        let refresh =
            tokens.refresh.as_ref().map(|refresh| Secret::new(refresh.expose().clone().into_bytes()));
        let mut changes = vec![(SecretField::AccessToken, Some(&access))];
        changes.extend(refresh.as_ref().map(|refresh| (SecretField::RefreshToken, Some(refresh))));
        self.accounts.put_secrets(account.id, &changes).map_err(failed)?;
        if account.state == AccountState::AuthenticationError {
            self.accounts.set_state(account.id, AccountState::Unset).map_err(failed)?;
        }
        Ok(())
    }

    fn set_authentication_error(&self, name: &str) -> Result<(), TokenStoreError> {
        let account = self.account(name)?;
        let issued = Timestamp::now();
        let access = AccessToken::new(Secret::new(String::new()));
        let refused = encode(&TokenSet { access, refresh: None, issued, expires: None }, REFUSED);
        // The provider does not accept the refresh token any more, so there is no reason to keep it.
        let changes = [(SecretField::AccessToken, Some(&refused)), (SecretField::RefreshToken, None)];
        self.accounts.put_secrets(account.id, &changes).map_err(failed)?;
        self.accounts.set_state(account.id, AccountState::AuthenticationError).map_err(failed)
    }

    fn lock(&self, name: &str) -> Result<Box<dyn RefreshLock>, TokenStoreError> {
        let Some(directory) = &self.locks else { return Ok(Box::new(())) };
        let unusable = |error| TokenStoreError::temporary(format!("the lock of an account: {error}"));
        let path = directory.join(format!("oauth-{}.lock", self.account(name)?.id.0));
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(unusable)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(FileLock(file))),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= LOCK_TIMEOUT => {
                    return Err(TokenStoreError::temporary(
                        "another process refreshes this account's tokens",
                    ));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_INTERVAL),
            }
        }
    }
}

/// A lock that ends when its file is closed.
struct FileLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl RefreshLock for FileLock {}

/// Writes `STATE ISSUED EXPIRES TOKEN`, with times in seconds since 1970, and `-` for an expiry that is not known.
fn encode(tokens: &TokenSet, state: &str) -> Secret<Vec<u8>> {
    let expires = tokens.expires.map_or_else(|| "-".to_owned(), |expires| expires.as_second().to_string());
    let token = tokens.access.expose();
    let issued = tokens.issued.as_second();
    // The capacity keeps the buffer from moving, which would leave a copy of the token.
    let mut text = String::with_capacity(token.len() + 64);
    for part in [state, &issued.to_string(), &expires] {
        text.push_str(part);
        text.push(' ');
    }
    text.push_str(token);
    Secret::new(text.into_bytes())
}

fn decode(record: &Secret<Vec<u8>>) -> Option<(TokenSet, TokenState)> {
    let text = std::str::from_utf8(record.expose()).ok()?;
    let mut parts = text.splitn(4, ' ');
    let state = match parts.next()? {
        VALID => TokenState::Valid,
        REFUSED => TokenState::AuthenticationError,
        _ => return None,
    };
    let time = |text: &str| Timestamp::from_second(text.parse().ok()?).ok();
    let issued = time(parts.next()?)?;
    let expires = match parts.next()? {
        "-" => None,
        expires => Some(time(expires)?),
    };
    let access = AccessToken::new(Secret::new(parts.next()?.to_owned()));
    Some((TokenSet { access, refresh: None, issued, expires }, state))
}

fn utf8(secret: &Secret<Vec<u8>>) -> Result<Secret<String>, TokenStoreError> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| damaged())?;
    Ok(Secret::new(text.to_owned()))
}

fn damaged() -> TokenStoreError {
    TokenStoreError::permanent("the stored tokens of the account have another format")
}

fn failed(error: AccountError) -> TokenStoreError {
    let what = format!("{error} ({})", error.code());
    if error.is_retryable() { TokenStoreError::temporary(what) } else { TokenStoreError::permanent(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_times_and_the_token() {
        for expires in [None, Some(Timestamp::from_second(3600).unwrap())] {
            let access = AccessToken::new("a token".to_owned().into());
            let tokens = TokenSet { access, refresh: None, issued: Timestamp::UNIX_EPOCH, expires };
            let (read, state) = decode(&encode(&tokens, VALID)).unwrap();
            assert_eq!((&read.access, read.issued, read.expires), (&tokens.access, tokens.issued, expires));
            assert_eq!(state, TokenState::Valid);
            assert_eq!(decode(&encode(&tokens, REFUSED)).unwrap().1, TokenState::AuthenticationError);
        }
        for text in ["", "token", "valid 0 x token", "other 0 - token", "valid 0 -"] {
            assert!(decode(&Secret::from(text)).is_none(), "{text}");
        }
    }
}
