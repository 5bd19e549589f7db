//! The credentials of an account, for a session.

use proto_mail::{Credentials, Secret};

use super::error::AccountError;
use super::secret::SecretField;
use super::settings::{Account, AuthMode};
use super::store::AccountStore;
use crate::endpoint::{CredentialSource, Protocol};
use crate::error::{Error, ErrorKind};

/// The credentials of an account at one of its servers. Each session reads the secret from the store again, so that it is in
/// memory only for the login.
#[derive(Debug, Clone)]
pub struct AccountCredentials {
    store: AccountStore,
    account: Account,
    user: String,
}

impl AccountCredentials {
    /// The credentials of an account with a password, at its server for this protocol. Fails early if there is no key or no
    /// password.
    ///
    /// # Errors
    /// `NoServer`, `KeyMissing`, `KeyMismatch`, `SecretMissing`, `SecretDamaged`, `Store`.
    pub fn new(store: &AccountStore, account: &Account, protocol: Protocol) -> Result<Self, AccountError> {
        let user = account.settings.url(protocol)?.user.unwrap_or_default();
        let source = Self { store: store.clone(), account: account.clone(), user };
        source.secret()?;
        Ok(source)
    }

    /// Returns the name of the account.
    #[must_use]
    pub fn account_name(&self) -> &str {
        &self.account.name
    }

    /// The secret that the account logs in with.
    const fn field(&self) -> SecretField {
        match self.account.settings.auth_mode {
            AuthMode::Password => SecretField::Password,
            _ => SecretField::AccessToken,
        }
    }

    fn secret(&self) -> Result<Secret<Vec<u8>>, AccountError> {
        let field = self.field();
        self.store.secret(self.account.id, field)?.ok_or(AccountError::SecretMissing(field))
    }
}

impl CredentialSource for AccountCredentials {
    fn credentials(&self) -> Result<Credentials, Error> {
        let secret = self.secret()?;
        if self.field() == SecretField::Password {
            return Ok(Credentials::password(self.user.clone(), secret));
        }
        let token = String::from_utf8(secret.expose().clone()).map(Secret::new);
        let token =
            token.map_err(|_| Error::new(ErrorKind::Configuration, "the access token is not UTF-8"))?;
        Ok(Credentials::bearer(self.user.clone(), token))
    }
}
