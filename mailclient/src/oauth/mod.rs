//! OAuth 2.0 for mail accounts: how a user consents, and how access tokens stay valid.
//!
//! * [`Provider`] has the endpoints and scopes of an authorization server, with presets for Google and Microsoft.
//! * [`PendingAuthorizations`] starts the authorization code flow with PKCE (RFC 7636) and `state`, and checks the
//!   [`Callback`]. The redirect comes to a [`LoopbackReceiver`] (RFC 8252 §7.3) or to a service ([`RedirectBase`]).
//! * [`DeviceAuthorization`] is the flow for devices without a browser (RFC 8628).
//! * [`exchange_code`] and [`refresh`] ask the token endpoint for a [`TokenSet`].
//! * [`AccessTokens`] keeps the access tokens of many accounts valid. One refresh at a time runs for each account, and a
//!   rotated refresh token is stored before the new access token is used.
//! * With the feature `accounts`, `AccountTokens` keeps the tokens encrypted in an `AccountStore`, and `Provider::of_account`
//!   returns the provider of an account.
//! * [`OAuthCredentials`] supplies the tokens to the sessions of an [`Endpoint`](crate::Endpoint).
//!
//! Codes, verifiers and tokens are [`Secret`](proto_mail::Secret)s: no `Debug` output, error or log has them. The text of
//! a server is never part of an error, except an error code of RFC 6749 or RFC 8628. The HTTP client sends requests to the
//! provider's endpoints only, and follows no redirect.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//!
//! use mailclient::oauth::{
//!     ClientRegistration, HttpsClient, LoopbackReceiver, PendingAuthorizations, Provider, ProviderSettings, Subject,
//!     exchange_code,
//! };
//!
//! let settings = ProviderSettings::google();
//! let client = ClientRegistration::from_environment(&settings)?;
//! let provider = Provider::new(settings, client)?;
//! let receiver = LoopbackReceiver::bind(provider.loopback_host())?;
//! let pending = PendingAuthorizations::default();
//! let subject = Subject::account("work");
//! let url = pending.begin(&provider, &subject, receiver.redirect_uri(), None, Instant::now())?;
//! println!("open {url}");
//! let granted = receiver.receive(Duration::from_secs(600), || false, |callback| {
//!     pending.take(&provider, callback, &subject, Instant::now())
//! })?;
//! let tokens = exchange_code(&provider, &HttpsClient::new()?, &granted, jiff::Timestamp::now())?;
//! # Ok::<(), mailclient::oauth::OAuthError>(())
//! ```

mod access_tokens;
#[cfg(feature = "accounts")]
mod account_provider;
#[cfg(feature = "accounts")]
mod account_tokens;
mod authorization;
mod backoff;
mod callback;
mod credentials;
mod device;
mod error;
mod http;
mod https_client;
mod loopback;
mod loopback_request;
mod provider;
mod redirect;
mod token_endpoint;
mod token_set;
mod token_store;

pub use access_tokens::{AccessTokens, RefreshEvent};
#[cfg(feature = "accounts")]
#[cfg_attr(docsrs, doc(cfg(feature = "accounts")))]
pub use account_tokens::AccountTokens;
pub use authorization::{AuthorizationLimits, Granted, PendingAuthorizations, Subject};
pub use callback::Callback;
pub use credentials::OAuthCredentials;
pub use device::{DeviceAuthorization, DevicePoll};
pub use error::{OAuthError, OAuthErrorCode};
pub use http::{FormRequest, HttpClient, HttpError, HttpResponse};
pub use https_client::{HttpsClient, HttpsClientBuilder};
pub use loopback::LoopbackReceiver;
pub use provider::{ClientRegistration, LoopbackHost, Provider, ProviderSettings, SecretRequirement};
pub use redirect::RedirectBase;
pub use token_endpoint::{exchange_code, refresh};
pub use token_set::{AccessToken, TokenSet};
pub use token_store::{MemoryTokenStore, RefreshLock, StoredTokens, TokenState, TokenStore, TokenStoreError};
