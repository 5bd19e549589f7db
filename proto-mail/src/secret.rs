//! Secrets and credentials: values that are never shown, never copied by accident, and wiped on drop.

use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroize;

/// A secret value: its `Debug` output is redacted, it is not `Clone`, and it is wiped on drop.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value. Search for this name to find every use of a secret.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self::new(value.into())
    }
}

impl From<&[u8]> for Secret<Vec<u8>> {
    fn from(value: &[u8]) -> Self {
        Self::new(value.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Secret<Vec<u8>> {
    fn from(value: &[u8; N]) -> Self {
        Self::new(value.into())
    }
}

impl From<&str> for Secret<Vec<u8>> {
    fn from(value: &str) -> Self {
        Self::new(value.into())
    }
}

impl From<&String> for Secret<Vec<u8>> {
    fn from(value: &String) -> Self {
        Self::from(value.as_str())
    }
}

impl From<String> for Secret<Vec<u8>> {
    fn from(value: String) -> Self {
        Self::new(value.into_bytes())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> core::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A user's identity and the proof of it.
///
/// `Debug` shows the kind only, because a user name is personal data.
#[non_exhaustive]
pub enum Credentials {
    /// A user name and a password (PLAIN, LOGIN, the IMAP LOGIN command).
    Password {
        /// The user to act as; empty means `username` (RFC 4616 §2).
        authorization: String,
        /// The user who authenticates.
        username: String,
        /// The password: bytes, by convention UTF-8.
        password: Secret<Vec<u8>>,
    },
    /// An OAuth 2 access token (XOAUTH2, OAUTHBEARER).
    Bearer {
        /// The user whose mailbox is opened; may be empty with OAUTHBEARER (RFC 7628 §3.1).
        username: String,
        /// The access token, without the word "Bearer".
        token: Secret<String>,
    },
    /// The identity that the channel has proved: a client certificate, the peer of a Unix socket (EXTERNAL, RFC 4422
    /// §A).
    External {
        /// The user to act as; empty means the user whom the channel has proved.
        authorization: String,
    },
    /// No identity (ANONYMOUS, RFC 4505).
    Anonymous {
        /// What the server may log about the user: an email address or any text, at most 255 characters.
        trace: String,
    },
}

impl Credentials {
    /// Creates credentials from a user name and a password.
    ///
    /// ```
    /// let credentials = proto_mail::Credentials::password("alice", "secret");
    /// assert_eq!(format!("{credentials:?}"), "Credentials::Password([redacted])");
    /// ```
    pub fn password(username: impl Into<String>, password: impl Into<Secret<Vec<u8>>>) -> Self {
        Self::Password { authorization: String::new(), username: username.into(), password: password.into() }
    }

    /// Creates credentials from a user name and an OAuth 2 access token.
    pub fn bearer(username: impl Into<String>, token: impl Into<Secret<String>>) -> Self {
        Self::Bearer { username: username.into(), token: token.into() }
    }

    /// Creates credentials for the user whom the channel has proved.
    #[must_use]
    pub const fn external() -> Self {
        Self::External { authorization: String::new() }
    }

    /// Creates credentials without an identity.
    #[must_use]
    pub fn anonymous(trace: impl Into<String>) -> Self {
        Self::Anonymous { trace: trace.into() }
    }

    /// Copies the credentials, for another attempt. This is not `Clone`, so that a search for the name finds every copy
    /// of a secret.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Password { authorization, username, password } => Self::Password {
                authorization: authorization.clone(),
                username: username.clone(),
                password: Secret::new(password.expose().clone()),
            },
            Self::Bearer { username, token } => {
                Self::Bearer { username: username.clone(), token: Secret::new(token.expose().clone()) }
            }
            Self::External { authorization } => Self::External { authorization: authorization.clone() },
            Self::Anonymous { trace } => Self::Anonymous { trace: trace.clone() },
        }
    }

    /// Returns the user name, or an empty string if there is none. It is personal data: do not log it.
    #[must_use]
    pub fn username(&self) -> &str {
        match self {
            Self::Password { username, .. } | Self::Bearer { username, .. } => username,
            Self::External { authorization } => authorization,
            Self::Anonymous { .. } => "",
        }
    }
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Password { .. } => f.write_str("Credentials::Password([redacted])"),
            Self::Bearer { .. } => f.write_str("Credentials::Bearer([redacted])"),
            Self::External { .. } => f.write_str("Credentials::External([redacted])"),
            Self::Anonymous { .. } => f.write_str("Credentials::Anonymous([redacted])"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_user_name_nor_password() {
        let password = Credentials::password("alice", "hunter2");
        let bearer = Credentials::bearer("alice", "ya29.token");
        let shown = alloc::format!("{password:?} {bearer:?} {:?}", Secret::new(String::from("hunter2")));
        for part in ["alice", "hunter2", "ya29"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn a_password_is_text_or_bytes() {
        let of = |credentials| match credentials {
            Credentials::Password { password, .. } => password.expose().clone(),
            _ => Vec::new(),
        };
        for credentials in [
            Credentials::password("alice", "hunter2"),
            Credentials::password("alice", String::from("hunter2")),
            Credentials::password("alice", b"hunter2"),
            Credentials::password("alice", &b"hunter2"[..]),
            Credentials::password("alice", b"hunter2".to_vec()),
        ] {
            assert_eq!(of(credentials), b"hunter2");
        }
    }

    #[test]
    fn a_duplicate_holds_the_same_values() {
        let of = |credentials: &Credentials| match credentials {
            Credentials::Password { authorization, username, password } => {
                (authorization.clone(), username.clone(), password.expose().clone())
            }
            Credentials::Bearer { username, token } => {
                (String::from("token"), username.clone(), token.expose().clone().into_bytes())
            }
            Credentials::External { authorization } => ("channel".into(), authorization.clone(), Vec::new()),
            Credentials::Anonymous { trace } => ("anonymous".into(), trace.clone(), Vec::new()),
        };
        let password = Secret::from(&b"hunter2"[..]);
        for credentials in [
            Credentials::Password { authorization: "boss".into(), username: "alice".into(), password },
            Credentials::bearer("alice", "ya29.token"),
            Credentials::External { authorization: "alice".into() },
            Credentials::anonymous("guest"),
        ] {
            assert_eq!(of(&credentials.duplicate()), of(&credentials));
        }
    }
}
