//! Secrets in command lines.

use core::fmt;

use alloc::vec::Vec;

use proto_mail::Secret;

/// A secret argument of a command: the initial response of AUTH, or the URL of BURL.
///
/// Borrowed from the receive buffer, which wipes it, or owned and wiped on drop. `Debug` does not show it.
pub struct SecretBytes<'i>(Bytes<'i>);

enum Bytes<'i> {
    Borrowed(&'i [u8]),
    Owned(Secret<Vec<u8>>),
}

impl<'i> SecretBytes<'i> {
    /// Borrows a secret.
    #[must_use]
    pub const fn new(secret: &'i [u8]) -> Self {
        Self(Bytes::Borrowed(secret))
    }

    /// Returns the secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Bytes::Borrowed(secret) => secret,
            Bytes::Owned(secret) => secret.expose(),
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> SecretBytes<'static> {
        SecretBytes(Bytes::Owned(match self.0 {
            Bytes::Borrowed(secret) => Secret::from(secret),
            Bytes::Owned(secret) => secret,
        }))
    }
}

impl Clone for SecretBytes<'_> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Bytes::Borrowed(secret) => Bytes::Borrowed(secret),
            Bytes::Owned(secret) => Bytes::Owned(Secret::from(secret.expose().as_slice())),
        })
    }
}

impl PartialEq for SecretBytes<'_> {
    /// Compares the bytes, not in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretBytes<'_> {}

impl fmt::Debug for SecretBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
