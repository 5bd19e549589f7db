//! How an account logs in: with its password, or with tokens that are refreshed in time.

use std::path::Path;
use std::sync::Arc;

use mailclient::account::{Account, AccountCredentials, AccountStore};
use mailclient::endpoint::{CredentialSource, Protocol};
use mailclient::oauth::{AccessTokens, AccountTokens, HttpsClient, OAuthCredentials, Provider};
use proto_mail::Credentials;

use crate::command_error::CommandError;

/// The credentials of an account at one of its servers.
pub(crate) enum AccountLogin {
    /// A password.
    Password(Box<AccountCredentials>),
    /// OAuth 2.0 tokens.
    OAuth(Box<OAuthCredentials>),
}

impl AccountLogin {
    /// Returns the credentials of an account.
    ///
    /// # Errors
    /// There is no key, no password, or no client registration.
    pub(crate) fn new(
        accounts: &AccountStore,
        directory: &Path,
        account: &Account,
        protocol: Protocol,
    ) -> Result<Self, CommandError> {
        if !account.settings.auth_mode.is_oauth() {
            let credentials = AccountCredentials::new(accounts, account, protocol)?;
            return Ok(Self::Password(Box::new(credentials)));
        }
        let provider = Provider::of_account(accounts, account).map_err(mailclient::Error::from)?;
        let user = account.settings.url(protocol)?.user.unwrap_or_default();
        let tokens = access_tokens(accounts, directory)?;
        let (tokens, provider) = (Arc::new(tokens), Arc::new(provider));
        Ok(Self::OAuth(Box::new(OAuthCredentials::new(tokens, provider, &account.name, user))))
    }

    /// Returns the name of the account.
    pub(crate) fn account_name(&self) -> &str {
        match self {
            Self::Password(credentials) => credentials.account_name(),
            Self::OAuth(credentials) => credentials.account_name(),
        }
    }
}

impl CredentialSource for AccountLogin {
    fn credentials(&self) -> Result<Credentials, mailclient::Error> {
        match self {
            Self::Password(credentials) => credentials.credentials(),
            Self::OAuth(credentials) => credentials.credentials(),
        }
    }

    fn renewed_token(&self) -> Result<Option<Credentials>, mailclient::Error> {
        match self {
            Self::Password(credentials) => credentials.renewed_token(),
            Self::OAuth(credentials) => credentials.renewed_token(),
        }
    }
}

/// Returns the access tokens of the accounts in a store. Other processes with the same store refresh none at the same time.
pub(crate) fn access_tokens(accounts: &AccountStore, directory: &Path) -> Result<AccessTokens, CommandError> {
    let http = HttpsClient::new().map_err(mailclient::Error::from)?;
    let store = AccountTokens::new(accounts.clone()).lock_in(directory);
    Ok(AccessTokens::new(Arc::new(store), Arc::new(http)))
}
