//! What an authorization server may do wrong.

use std::time::Duration;

/// What the server does wrong, once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// The redirect has another `state`.
    WrongState,
    /// The redirect has this error in place of a code, such as `access_denied`.
    ErrorRedirect(&'static str),
    /// The token endpoint waits before it answers.
    Slow(Duration),
    /// The token endpoint answers with status 200 and HTML.
    Html,
    /// The token endpoint answers with so many bytes of JSON.
    HugeBody(usize),
    /// The token endpoint redirects to this URL (status 307, which repeats the form).
    RedirectTo(String),
    /// The answer has no refresh token.
    NoRefreshToken,
    /// The answer has this token type.
    TokenType(&'static str),
    /// The answer has this scope.
    Scope(&'static str),
    /// The token endpoint answers with this status, and an empty page.
    Status(u16),
    /// The token endpoint answers with this error and status 400, such as `invalid_grant`.
    Error(&'static str),
    /// The token endpoint does what was asked, and closes the connection without an answer.
    LostAnswer,
}

impl Misbehaviour {
    /// Returns whether this applies to the authorization endpoint.
    pub(super) const fn is_of_redirect(&self) -> bool {
        matches!(self, Self::WrongState | Self::ErrorRedirect(_))
    }
}

/// What a refresh does to the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// There is a new one, and the use of an old one revokes the consent (RFC 9700 §4.14.2).
    Strict,
    /// There is a new one, and the old one stays valid until the new one was used.
    Lenient,
    /// The refresh token stays the same.
    None,
}
