//! The error of OAuth operations: a stable code, what happened, and what to try.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What failed, as a stable code for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OAuthErrorCode {
    /// `oauth_client_not_configured`: the client ID or secret is missing, or the provider does not accept it.
    ClientNotConfigured,
    /// `oauth_token_missing`: the account has no tokens, or the provider issued no refresh token.
    TokenMissing,
    /// `oauth_refresh_failed`: the provider no longer accepts the refresh token. The user must consent again.
    RefreshFailed,
    /// `oauth_access_denied`: the user or the provider refused.
    AccessDenied,
    /// `oauth_expired`: the consent took too long, or the code was used before.
    Expired,
    /// `oauth_state_mismatch`: the callback belongs to no authorization of this account and browser session.
    StateMismatch,
    /// `oauth_scope_missing`: the user did not grant access to mail.
    ScopeMissing,
    /// `oauth_request_refused`: the provider refused the request for another reason.
    RequestRefused,
    /// `oauth_invalid_response`: the provider's answer is not valid.
    InvalidResponse,
    /// `oauth_unavailable`: the provider cannot be reached or is overloaded. A retry may succeed.
    Unavailable,
    /// `oauth_busy`: too many authorizations or waits at a time. A retry may succeed.
    Busy,
    /// `oauth_provider_invalid`: a setting of the provider cannot be used.
    ProviderInvalid,
    /// `oauth_store_failed`: the tokens could not be read or stored.
    StoreFailed,
    /// `oauth_stopped`: the caller stopped the wait.
    Stopped,
}

impl OAuthErrorCode {
    /// Returns the code as text, such as `oauth_refresh_failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNotConfigured => "oauth_client_not_configured",
            Self::TokenMissing => "oauth_token_missing",
            Self::RefreshFailed => "oauth_refresh_failed",
            Self::AccessDenied => "oauth_access_denied",
            Self::Expired => "oauth_expired",
            Self::StateMismatch => "oauth_state_mismatch",
            Self::ScopeMissing => "oauth_scope_missing",
            Self::RequestRefused => "oauth_request_refused",
            Self::InvalidResponse => "oauth_invalid_response",
            Self::Unavailable => "oauth_unavailable",
            Self::Busy => "oauth_busy",
            Self::ProviderInvalid => "oauth_provider_invalid",
            Self::StoreFailed => "oauth_store_failed",
            Self::Stopped => "oauth_stopped",
        }
    }

    /// Returns what to try.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::ClientNotConfigured => "check the client ID and the client secret of the provider",
            Self::TokenMissing | Self::RefreshFailed => {
                "connect the account again, so that its user consents"
            }
            Self::AccessDenied => "connect the account again, and allow access to mail",
            Self::Expired | Self::StateMismatch => "connect the account again, and use the newest link only",
            Self::ScopeMissing => "connect the account again, and allow everything that is asked for",
            Self::Unavailable | Self::Busy => "try again later",
            Self::ProviderInvalid => "correct the provider's settings",
            Self::RequestRefused => {
                "check that the application at the provider allows this redirect address, these scopes and this flow"
            }
            Self::InvalidResponse => "check the endpoints of the provider",
            Self::StoreFailed | Self::Stopped => return None,
        })
    }
}

impl fmt::Display for OAuthErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an OAuth operation failed. It holds no token, code or verifier, no user name, and no text of a server beyond a
/// registered error code, so it may be stored and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    code: OAuthErrorCode,
    what: Cow<'static, str>,
    is_retryable: bool,
    retry_after: Option<Duration>,
}

impl OAuthError {
    /// Creates an error.
    #[must_use]
    pub fn new(code: OAuthErrorCode, what: impl Into<Cow<'static, str>>) -> Self {
        let is_retryable = matches!(code, OAuthErrorCode::Unavailable | OAuthErrorCode::Busy);
        Self { code, what: what.into(), is_retryable, retry_after: None }
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> OAuthErrorCode {
        self.code
    }

    /// Returns what happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.what
    }

    /// Returns whether the same request may succeed later without any change.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// Returns how long to wait before a retry, if that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether only the user can repair this, by a new consent.
    #[must_use]
    pub const fn needs_consent(&self) -> bool {
        matches!(self.code, OAuthErrorCode::TokenMissing | OAuthErrorCode::RefreshFailed)
    }

    /// Sets that a retry may succeed, whatever the code says.
    #[must_use]
    pub(super) const fn retryable(mut self) -> Self {
        self.is_retryable = true;
        self
    }

    /// Sets how long to wait before a retry.
    #[must_use]
    pub(super) const fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.code)
    }
}

impl std::error::Error for OAuthError {}

impl From<OAuthError> for Error {
    fn from(error: OAuthError) -> Self {
        use OAuthErrorCode as Code;
        let kind = match error.code {
            _ if error.is_retryable => ErrorKind::Temporary,
            Code::ClientNotConfigured | Code::ProviderInvalid => ErrorKind::Configuration,
            Code::InvalidResponse => ErrorKind::Protocol,
            Code::StoreFailed => ErrorKind::Unavailable,
            Code::Stopped => ErrorKind::Stopped,
            _ => ErrorKind::Refused,
        };
        let hint = error.code.hint();
        let new = Self::new(kind, error.to_string()).with_code(error.code.as_str());
        match hint {
            Some(hint) => new.advise(hint),
            None => new,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_code_and_retryability() {
        let busy = OAuthError::new(OAuthErrorCode::Unavailable, "the token endpoint answers 503");
        assert!(busy.is_retryable());
        let error = Error::from(busy);
        assert_eq!(error.kind(), ErrorKind::Temporary);
        assert_eq!(error.code(), Some("oauth_unavailable"));
        assert!(error.is_retryable() && error.message().ends_with("(oauth_unavailable)"));

        let refused = Error::from(OAuthError::new(OAuthErrorCode::RefreshFailed, "consent was withdrawn"));
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Refused, false));
        assert!(refused.to_string().contains("connect the account again"), "{refused}");
    }
}
