//! What OAuth needs of an HTTP client: one POST of a form, and the answer. The rest is up to the implementation.

use std::fmt;
use std::time::Duration;

use proto_mail::Secret;

/// A form to send to an endpoint of the provider by POST. `Debug` shows the URL only.
pub struct FormRequest {
    /// The endpoint.
    pub url: String,
    /// The value of the `Authorization` field, if the client authenticates with it.
    pub authorization: Option<Secret<String>>,
    /// The form, as `application/x-www-form-urlencoded`.
    pub body: Secret<Vec<u8>>,
}

impl fmt::Debug for FormRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer. `Debug` shows the status only: the body may hold tokens.
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: Option<String>,
    /// The time of `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Secret<Vec<u8>>,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The host name does not exist.
    NoHost,
    /// The connection failed or broke.
    Connection,
    /// The provider did not answer in time.
    Timeout,
    /// TLS failed, for example because the certificate is not trusted.
    Tls,
    /// The answer is longer than allowed.
    TooLong,
    /// The answer violates HTTP.
    Protocol,
    /// The request cannot be sent.
    Request,
}

impl HttpError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::NoHost | Self::Connection | Self::Timeout)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "its host name does not exist",
            Self::Connection => "the connection failed",
            Self::Timeout => "it did not answer in time",
            Self::Tls => "TLS failed, or its certificate is not trusted",
            Self::TooLong => "its answer is too long",
            Self::Protocol => "its answer is not valid HTTP",
            Self::Request => "the request cannot be sent",
        })
    }
}

impl std::error::Error for HttpError {}

/// Sends forms to the provider.
///
/// An implementation limits time and size, verifies the certificate, and follows no redirect: a redirect must not carry a
/// code or a token to another host.
pub trait HttpClient: Send + Sync {
    /// Sends a form by POST and returns the answer, whatever its status.
    ///
    /// # Errors
    /// There is no complete answer.
    fn post(&self, request: &FormRequest) -> Result<HttpResponse, HttpError>;
}

impl<C: HttpClient + ?Sized> HttpClient for &C {
    fn post(&self, request: &FormRequest) -> Result<HttpResponse, HttpError> {
        (**self).post(request)
    }
}

impl<C: HttpClient + ?Sized> HttpClient for std::sync::Arc<C> {
    fn post(&self, request: &FormRequest) -> Result<HttpResponse, HttpError> {
        (**self).post(request)
    }
}
