//! Access tokens as the credentials of sessions.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use proto_mail::Credentials;

use super::access_tokens::AccessTokens;
use super::provider::Provider;
use super::token_set::AccessToken;
use crate::endpoint::CredentialSource;
use crate::error::Error;

/// Supplies a valid access token to each session of an account, and another one if the server refuses it.
pub struct OAuthCredentials {
    tokens: Arc<AccessTokens>,
    provider: Arc<Provider>,
    account: String,
    user: String,
    /// The token that was supplied last.
    last: Mutex<Option<AccessToken>>,
}

impl OAuthCredentials {
    /// Supplies the tokens of `account`, for logins as `user`.
    #[must_use]
    pub fn new(
        tokens: Arc<AccessTokens>,
        provider: Arc<Provider>,
        account: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        Self { tokens, provider, account: account.into(), user: user.into(), last: Mutex::default() }
    }

    /// Returns the name of the account.
    #[must_use]
    pub fn account_name(&self) -> &str {
        &self.account
    }

    fn keep(&self, token: AccessToken) -> Credentials {
        let credentials = token.credentials(&self.user);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        credentials
    }
}

impl fmt::Debug for OAuthCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthCredentials").field("account", &self.account).finish_non_exhaustive()
    }
}

impl CredentialSource for OAuthCredentials {
    fn credentials(&self) -> Result<Credentials, Error> {
        Ok(self.keep(self.tokens.access_token(&self.account, &self.provider)?))
    }

    fn renewed_token(&self) -> Result<Option<Credentials>, Error> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let renewed = match last {
            Some(refused) => self.tokens.renewed(&self.account, &self.provider, &refused)?,
            None => self.tokens.access_token(&self.account, &self.provider)?,
        };
        Ok(Some(self.keep(renewed)))
    }
}
