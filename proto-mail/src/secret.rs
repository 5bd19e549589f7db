//! Secrets: values that are never shown, never copied by accident, and wiped when they are dropped.

use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroize;

/// A value that must not be seen: redacted in every build, not `Clone`, wiped on drop.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Looks at the value. The name is meant to be searched for.
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

/// Who somebody says they are, and how they prove it.
///
/// `Debug` shows the kind only: a user name is personal data.
#[non_exhaustive]
pub enum Credentials {
    /// A user name and a password (PLAIN, LOGIN, the IMAP LOGIN command).
    Password {
        /// Whose rights are asked for; empty means those of `username` (RFC 4616 §2).
        authorization: String,
        /// Who is authenticating.
        username: String,
        /// The proof: octets, UTF-8 by convention.
        password: Secret<Vec<u8>>,
    },
    /// An OAuth 2 access token (XOAUTH2, OAUTHBEARER).
    Bearer {
        /// Whose mailbox is asked for; may be empty with OAUTHBEARER (RFC 7628 §3.1).
        username: String,
        /// The access token, without the word "Bearer".
        token: Secret<String>,
    },
    /// What the channel itself has proved: a client's certificate, a unix socket's peer (EXTERNAL, RFC 4422 §A).
    External {
        /// Whose rights are asked for; empty means those of whoever was proved.
        authorization: String,
    },
    /// Nobody in particular (ANONYMOUS, RFC 4505).
    Anonymous {
        /// What the server may note of the visitor: a mail address or any text, at most 255 characters.
        trace: String,
    },
}

impl Credentials {
    /// A user name and a password, with the user's own rights.
    pub fn password(username: impl Into<String>, password: impl Into<Secret<Vec<u8>>>) -> Self {
        Self::Password { authorization: String::new(), username: username.into(), password: password.into() }
    }

    /// A user name and an OAuth 2 access token.
    pub fn bearer(username: impl Into<String>, token: impl Into<Secret<String>>) -> Self {
        Self::Bearer { username: username.into(), token: token.into() }
    }

    /// What the channel has proved, with the rights of whoever that is.
    #[must_use]
    pub const fn external() -> Self {
        Self::External { authorization: String::new() }
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous(trace: impl Into<String>) -> Self {
        Self::Anonymous { trace: trace.into() }
    }

    /// The same once more, for another try. There is no `Clone`: each copy of a secret is one more to be wiped, and whoever
    /// looks for them finds this name.
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

    /// Who is authenticating, as far as the credentials say. Personal data: do not log it.
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
    fn debug_shows_neither_name_nor_proof() {
        let password = Credentials::password("alice", &b"hunter2"[..]);
        let bearer = Credentials::bearer("alice", "ya29.token");
        let shown = alloc::format!("{password:?} {bearer:?} {:?}", Secret::new(String::from("hunter2")));
        for part in ["alice", "hunter2", "ya29"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn a_duplicate_is_the_same() {
        let of = |credentials: &Credentials| match credentials {
            Credentials::Password { authorization, username, password } => {
                (authorization.clone(), username.clone(), password.expose().clone())
            }
            Credentials::Bearer { username, token } => {
                (String::from("token"), username.clone(), token.expose().clone().into_bytes())
            }
            Credentials::External { authorization } => ("channel".into(), authorization.clone(), Vec::new()),
            Credentials::Anonymous { trace } => ("nobody".into(), trace.clone(), Vec::new()),
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
