//! The redirect address of a service, below the base of its own address (`OAUTH_REDIRECT_BASE`).

use super::error::{OAuthError, OAuthErrorCode};
use super::provider::check_endpoint;

/// The environment variable with the base.
const VARIABLE: &str = "OAUTH_REDIRECT_BASE";
/// The path below the base.
const PATH: &str = "oauth/callback";

/// The base of a service's redirect addresses, such as `https://mail.example.com/app/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectBase {
    base: oauth2::url::Url,
}

impl RedirectBase {
    /// Checks a base: an `https` URL, or an `http` URL of loopback, without user, query and fragment.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ProviderInvalid`] says what is wrong.
    pub fn new(base: &str) -> Result<Self, OAuthError> {
        let mut base = check_endpoint(VARIABLE, base)?;
        if base.query().is_some() {
            let what = format!("{VARIABLE}: the URL must have no query");
            return Err(OAuthError::new(OAuthErrorCode::ProviderInvalid, what));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base })
    }

    /// Reads the base from `OAUTH_REDIRECT_BASE`. `None` if it is not set.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_environment() -> Result<Option<Self>, OAuthError> {
        std::env::var(VARIABLE).ok().filter(|base| !base.is_empty()).map(|base| Self::new(&base)).transpose()
    }

    /// Returns the redirect address, to register at the provider and to use in
    /// [`PendingAuthorizations::begin`](super::PendingAuthorizations::begin).
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("{}{PATH}", self.base)
    }

    /// Returns the path of the redirect address, for the router of the service.
    #[must_use]
    pub fn callback_path(&self) -> String {
        format!("{}{PATH}", self.base.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_redirect_address() {
        for (base, uri, path) in [
            ("https://mail.example.com", "https://mail.example.com/oauth/callback", "/oauth/callback"),
            ("https://example.com/mail", "https://example.com/mail/oauth/callback", "/mail/oauth/callback"),
            ("https://example.com/mail/", "https://example.com/mail/oauth/callback", "/mail/oauth/callback"),
            ("http://localhost:8080", "http://localhost:8080/oauth/callback", "/oauth/callback"),
        ] {
            let base = RedirectBase::new(base).unwrap();
            assert_eq!((base.redirect_uri().as_str(), base.callback_path().as_str()), (uri, path));
        }
    }

    #[test]
    fn rejects_bases_that_are_not_secure_or_ambiguous() {
        for base in [
            "http://mail.example.com",
            "https://mail.example.com/?a=b",
            "https://mail.example.com/#a",
            "https://user@mail.example.com/",
            "mail.example.com",
            "javascript:alert(1)",
        ] {
            let refused = RedirectBase::new(base).unwrap_err();
            assert_eq!(refused.code(), OAuthErrorCode::ProviderInvalid, "{base}");
            assert!(refused.message().contains("OAUTH_REDIRECT_BASE"), "{refused}");
        }
    }
}
