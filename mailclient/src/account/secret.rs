//! The secrets of an account, and the sizes of secrets and keys.

use std::fmt;

/// The environment variable that holds the key, in base64.
pub const KEY_VARIABLE: &str = "EMAIL_ENCRYPTION_KEY";

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The most bytes of a secret.
pub const SECRET_LIMIT: usize = 64 * 1024;

/// Which secret of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SecretField {
    /// The password.
    Password,
    /// The refresh token (RFC 6749 §1.5).
    RefreshToken,
    /// The access token (RFC 6749 §1.4), in a format of the caller's choice.
    AccessToken,
    /// The secret of the OAuth client, for a provider of the user's own.
    ClientSecret,
}

impl SecretField {
    /// All fields.
    pub const ALL: [Self; 4] = [Self::Password, Self::RefreshToken, Self::AccessToken, Self::ClientSecret];

    /// Returns the name in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
            Self::ClientSecret => "client_secret",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl fmt::Display for SecretField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh token",
            Self::AccessToken => "access token",
            Self::ClientSecret => "client secret",
        })
    }
}
