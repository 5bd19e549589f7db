//! The HTTP client of OAuth: `ureq` over rustls, with limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto_mail::Secret;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Error as UreqError};

use super::error::{OAuthError, OAuthErrorCode};
use super::http::{FormRequest, HttpClient, HttpError, HttpResponse};
use super::provider::is_loopback_url;

/// The longest answer that is read, in bytes. Tokens of Microsoft have about 4 KiB.
const MAX_BODY: u64 = 64 * 1024;
/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// How long a request may take in all.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest accepted `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Configures an [`HttpsClient`].
#[derive(Debug, Default)]
pub struct HttpsClientBuilder {
    timeout: Option<Duration>,
    authorities: Option<Vec<u8>>,
}

impl HttpsClientBuilder {
    /// Sets how long a request may take in all. Default: 30 seconds.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Trusts these authorities, in PEM. Default: those that the operating system trusts.
    #[must_use]
    pub fn authorities_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`OAuthErrorCode::ProviderInvalid`] if the PEM text has no certificate.
    pub fn build(self) -> Result<HttpsClient, OAuthError> {
        let roots = match self.authorities {
            None => RootCerts::PlatformVerifier,
            Some(pem) => {
                let invalid = || {
                    let what = "the text with the trusted authorities has no certificate in PEM";
                    OAuthError::new(OAuthErrorCode::ProviderInvalid, what)
                };
                let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                let certificates: Vec<Certificate<'static>> = read
                    .map_err(|_| invalid())?
                    .iter()
                    .map(|der| Certificate::from_der(der).to_owned())
                    .collect();
                if certificates.is_empty() {
                    return Err(invalid());
                }
                RootCerts::new_with_certs(&certificates)
            }
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
            .user_agent(concat!("mailclient/", env!("CARGO_PKG_VERSION")))
            // A kept connection would save little: a refresh is needed once an hour.
            .max_idle_connections(0)
            .build()
            .new_agent();
        Ok(HttpsClient { agent })
    }
}

/// An HTTP client for the endpoints of providers: HTTPS with the system's authorities, and HTTP on loopback. It follows no
/// redirect. A request may take 30 seconds, and an answer has at most 64 KiB. The proxy of the environment
/// (`HTTPS_PROXY`, `NO_PROXY`) is used, except for loopback.
pub struct HttpsClient {
    agent: Agent,
}

impl HttpsClient {
    /// Returns a client with the defaults.
    ///
    /// # Errors
    /// None is expected.
    pub fn new() -> Result<Self, OAuthError> {
        Self::builder().build()
    }

    /// Configures a client.
    #[must_use]
    pub fn builder() -> HttpsClientBuilder {
        HttpsClientBuilder::default()
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient").finish_non_exhaustive()
    }
}

impl HttpClient for HttpsClient {
    fn post(&self, request: &FormRequest) -> Result<HttpResponse, HttpError> {
        let is_loopback = is_loopback_url(&request.url);
        let mut post = self
            .agent
            .post(&request.url)
            .header("Accept", "application/json")
            .content_type("application/x-www-form-urlencoded");
        if let Some(authorization) = &request.authorization {
            post = post.header("Authorization", authorization.expose());
        }
        let configured = post.config().https_only(!is_loopback);
        let configured = if is_loopback { configured.proxy(None) } else { configured };
        let sent = configured.build().send(request.body.expose().as_slice());
        let mut response = sent.map_err(|error| classify(&error))?;
        let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = field("content-type").map(str::to_owned);
        let retry_after = field("retry-after").and_then(|value| value.trim().parse().ok());
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        Ok(HttpResponse {
            status,
            content_type,
            retry_after: retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
            body: Secret::new(body.map_err(|error| classify(&error))?),
        })
    }
}

/// Classifies an error without its text, which may quote the server.
fn classify(error: &UreqError) -> HttpError {
    match error {
        UreqError::HostNotFound => HttpError::NoHost,
        UreqError::Timeout(_) => HttpError::Timeout,
        UreqError::Tls(_) | UreqError::Rustls(_) | UreqError::Pem(_) => HttpError::Tls,
        UreqError::BodyExceedsLimit(_) => HttpError::TooLong,
        UreqError::Protocol(_) | UreqError::LargeResponseHeader(..) => HttpError::Protocol,
        UreqError::Io(error) => classify_io(error),
        UreqError::ConnectionFailed => HttpError::Connection,
        _ => HttpError::Request,
    }
}

/// rustls reports its errors through [`std::io::Error`].
fn classify_io(error: &std::io::Error) -> HttpError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidData => HttpError::Tls,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => HttpError::Timeout,
        _ => HttpError::Connection,
    }
}
