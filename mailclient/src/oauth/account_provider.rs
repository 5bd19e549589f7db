//! The provider of an account.

use proto_mail::Secret;

use super::error::{OAuthError, OAuthErrorCode};
use super::provider::{ClientRegistration, LoopbackHost, Provider, ProviderSettings, SecretRequirement};
use crate::account::{Account, AccountStore, AuthMode, SecretField};

/// The environment variable with the directory of Microsoft accounts.
const TENANT_VARIABLE: &str = "MICROSOFT_TENANT";
/// The directory of Microsoft accounts if the variable is not set: any.
const TENANT: &str = "common";

impl Provider {
    /// Returns the provider of an account. The client registration for Google and Microsoft comes from
    /// `GOOGLE_CLIENT_ID`, `GOOGLE_CLIENT_SECRET`, `MICROSOFT_CLIENT_ID` and `MICROSOFT_CLIENT_SECRET`, and the directory of
    /// Microsoft from `MICROSOFT_TENANT` (default: `common`). That of another provider is in the account.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ClientNotConfigured`]: a variable is not set, or the account logs in with a password.
    /// [`OAuthErrorCode::StoreFailed`]: the client secret cannot be decrypted. Otherwise as [`Provider::new`].
    pub fn of_account(accounts: &AccountStore, account: &Account) -> Result<Self, OAuthError> {
        let from_environment = |settings: ProviderSettings| {
            let client = ClientRegistration::from_environment(&settings)?;
            Self::new(settings, client)
        };
        match account.settings.auth_mode {
            AuthMode::OauthGoogle => from_environment(ProviderSettings::google()),
            AuthMode::OauthMicrosoft => {
                let tenant = std::env::var(TENANT_VARIABLE).ok().filter(|tenant| !tenant.is_empty());
                from_environment(ProviderSettings::microsoft(tenant.as_deref().unwrap_or(TENANT))?)
            }
            AuthMode::OauthCustom => custom(accounts, account),
            AuthMode::Password => Err(OAuthError::new(
                OAuthErrorCode::ClientNotConfigured,
                "the account logs in with a password, not with OAuth 2.0",
            )),
        }
    }
}

fn custom(accounts: &AccountStore, account: &Account) -> Result<Provider, OAuthError> {
    let settings = account.settings.oauth.as_ref().ok_or_else(|| {
        OAuthError::new(OAuthErrorCode::ClientNotConfigured, "the account has no settings of a provider")
    })?;
    let unreadable =
        |error| OAuthError::new(OAuthErrorCode::StoreFailed, format!("the client secret: {error}"));
    let secret = accounts
        .secret(account.id, SecretField::ClientSecret)
        .map_err(unreadable)?
        .map(|secret| String::from_utf8(secret.expose().clone()).map(Secret::new))
        .transpose()
        .map_err(|_| OAuthError::new(OAuthErrorCode::StoreFailed, "the client secret is not UTF-8"))?;
    let client = ClientRegistration { id: settings.client_id.clone(), secret };
    let settings = ProviderSettings {
        name: "the provider of the account".to_owned(),
        authorization_endpoint: settings.authorization_endpoint.clone(),
        token_endpoint: settings.token_endpoint.clone(),
        device_endpoint: settings.device_authorization_endpoint.clone(),
        scopes: settings.scopes.clone(),
        authorization_parameters: Vec::new(),
        issuer: None,
        client_variables: String::new(),
        client_secret: SecretRequirement::Optional,
        loopback_host: LoopbackHost::Address,
    };
    Provider::new(settings, client)
}
