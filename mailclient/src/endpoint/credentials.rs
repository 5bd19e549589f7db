//! Where the credentials of a session come from.

use proto_mail::Credentials;

use crate::error::Error;

/// Supplies the credentials of each session, so that a token can be renewed and a password need not be kept.
///
/// [`Credentials`] are a source that always supplies the same. The calls may block; a program with an event loop makes
/// them on a worker.
pub trait CredentialSource {
    /// Returns the credentials for a new session.
    ///
    /// # Errors
    /// They cannot be read.
    fn credentials(&self) -> Result<Credentials, Error>;

    /// Returns a new token after the server refused one, or `None` if this source has no other.
    ///
    /// # Errors
    /// It cannot be read.
    fn renewed_token(&self) -> Result<Option<Credentials>, Error> {
        Ok(None)
    }
}

impl CredentialSource for Credentials {
    fn credentials(&self) -> Result<Credentials, Error> {
        Ok(self.duplicate())
    }
}
