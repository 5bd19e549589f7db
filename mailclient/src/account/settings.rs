//! The settings of an account, its state, and the report of its last sync.

use std::fmt;

use mailstore::ClientAccountId;
use serde::{Deserialize, Serialize};

use super::error::AccountError;
use crate::endpoint::{Protocol, TlsMode, Url};

/// The most identities of an account.
pub const IDENTITY_LIMIT: usize = 20;

/// How an account logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthMode {
    /// With a password.
    #[default]
    Password,
    /// With OAuth 2.0 tokens of Google.
    OauthGoogle,
    /// With OAuth 2.0 tokens of Microsoft.
    OauthMicrosoft,
    /// With OAuth 2.0 tokens of the provider in [`AccountSettings::oauth`].
    OauthCustom,
}

impl AuthMode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Password, Self::OauthGoogle, Self::OauthMicrosoft, Self::OauthCustom];

    /// Returns the name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::OauthGoogle => "oauth_google",
            Self::OauthMicrosoft => "oauth_microsoft",
            Self::OauthCustom => "oauth_custom",
        }
    }

    /// Parses a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Returns whether the account logs in with OAuth 2.0 tokens.
    #[must_use]
    pub fn is_oauth(self) -> bool {
        self != Self::Password
    }
}

impl fmt::Display for AuthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AccountState {
    /// It has not been connected yet.
    #[default]
    Unset,
    /// A connection is being made.
    Connecting,
    /// A sync is running.
    Syncing,
    /// The last connection succeeded.
    Connected,
    /// The server or the provider refused the login. The user has to act.
    AuthenticationError,
    /// The server could not be reached, or failed.
    ConnectError,
    /// The user has paused it: it is neither synced nor used for sending.
    Paused,
}

impl AccountState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Unset,
        Self::Connecting,
        Self::Syncing,
        Self::Connected,
        Self::AuthenticationError,
        Self::ConnectError,
        Self::Paused,
    ];

    /// Returns the name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Connected => "connected",
            Self::AuthenticationError => "authentication_error",
            Self::ConnectError => "connect_error",
            Self::Paused => "paused",
        }
    }

    /// Parses a name. One of a later version is `Unset`.
    pub(super) fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or_default()
    }
}

impl fmt::Display for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How TLS begins, as in JSON: `tls` from the first byte, or `starttls`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TlsMode", rename_all = "lowercase")]
enum TlsModeName {
    #[serde(rename = "tls")]
    Implicit,
    #[serde(rename = "starttls")]
    StartTls,
}

/// One server of an account. TLS is always required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSettings {
    /// A host name or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How TLS begins.
    #[serde(rename = "security", with = "TlsModeName")]
    pub tls: TlsMode,
    /// The user who logs in.
    pub user: String,
}

impl ServerSettings {
    /// Returns the URL of the server.
    #[must_use]
    pub fn url(&self, protocol: Protocol) -> Url {
        Url {
            protocol,
            tls: self.tls,
            user: Some(self.user.clone()),
            host: self.host.clone(),
            port: self.port,
        }
    }
}

/// A sender of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The display name; may be empty.
    #[serde(default)]
    pub name: String,
    /// The address.
    pub address: String,
}

/// An OAuth 2.0 provider of the user's own. The client secret, if there is one, is a
/// [secret](super::SecretField::ClientSecret) of the account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OAuthProvider {
    /// The authorization endpoint (RFC 6749 §3.1).
    pub authorization_endpoint: String,
    /// The token endpoint (RFC 6749 §3.2).
    pub token_endpoint: String,
    /// The device authorization endpoint (RFC 8628 §3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    /// The client identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// The scopes to request.
    pub scopes: Vec<String>,
}

/// The settings of an account, without secrets. They are personal data: do not log them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// The address.
    pub address: String,
    /// How the account logs in.
    pub auth_mode: AuthMode,
    /// The IMAP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<ServerSettings>,
    /// The submission server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<ServerSettings>,
    /// The senders, the default one first; at most [`IDENTITY_LIMIT`].
    #[serde(default)]
    pub identities: Vec<Identity>,
    /// The provider of [`AuthMode::OauthCustom`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthProvider>,
}

impl AccountSettings {
    /// Returns the URL of the server for this protocol.
    ///
    /// # Errors
    /// `NoServer` if the account has none.
    pub fn url(&self, protocol: Protocol) -> Result<Url, AccountError> {
        let (server, name) = match protocol {
            Protocol::Imap => (&self.imap, "imap"),
            Protocol::Smtp => (&self.smtp, "smtp"),
        };
        server.as_ref().map(|server| server.url(protocol)).ok_or(AccountError::NoServer(name))
    }
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncStatus {
    /// Everything was fetched.
    Success,
    /// Some messages or folders could not be fetched.
    Partial,
    /// The sync failed.
    Failed,
    /// The user stopped the sync.
    Interrupted,
}

impl SyncStatus {
    /// Returns the name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Parses a name. One of a later version is `Failed`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let others = [Self::Success, Self::Partial, Self::Interrupted];
        others.into_iter().find(|status| status.name() == name).unwrap_or(Self::Failed)
    }
}

/// The report of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// When it ended, in seconds since 1970.
    pub at: i64,
    /// How it ended.
    pub status: SyncStatus,
    /// Why it failed; without secrets and without the server's own text (see [`Error::storable`](crate::Error::storable)).
    pub error: Option<String>,
    /// The number of new messages.
    pub imported: u64,
    /// The number of messages that the store had already.
    pub duplicates: u64,
}

/// An account. Serialises with the keys `name`, those of [`AccountSettings`], `state`, and `last_sync_at` (RFC 3339),
/// `last_sync_status`, `last_sync_error`, `last_sync_imported` and `last_sync_duplicates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its identifier.
    pub id: ClientAccountId,
    /// Its name, which no other account of the store has.
    pub name: String,
    /// Its settings.
    pub settings: AccountSettings,
    /// Its state.
    pub state: AccountState,
    /// The report of its last sync.
    pub last_sync: Option<SyncReport>,
}

impl Serialize for Account {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            name: &'a str,
            #[serde(flatten)]
            settings: &'a AccountSettings,
            state: AccountState,
            last_sync_at: Option<String>,
            last_sync_status: Option<SyncStatus>,
            last_sync_error: Option<&'a str>,
            last_sync_imported: Option<u64>,
            last_sync_duplicates: Option<u64>,
        }
        let last = self.last_sync.as_ref();
        let at = last.and_then(|last| jiff::Timestamp::from_second(last.at).ok());
        Fields {
            name: &self.name,
            settings: &self.settings,
            state: self.state,
            last_sync_at: at.map(|at| at.to_string()),
            last_sync_status: last.map(|last| last.status),
            last_sync_error: last.and_then(|last| last.error.as_deref()),
            last_sync_imported: last.map(|last| last.imported),
            last_sync_duplicates: last.map(|last| last.duplicates),
        }
        .serialize(serializer)
    }
}
