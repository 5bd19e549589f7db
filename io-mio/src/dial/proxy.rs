//! Proxies for outgoing connections, and why one refused.

use std::{fmt, sync::Arc};

use proto_mail::Secret;

/// A proxy that opens connections for a client: SOCKS5 (RFC 1928) or HTTP CONNECT (RFC 9110 §9.3.6).
///
/// The proxy resolves the server's name, so that the name is not looked up on this machine. Credentials for the proxy are
/// sent to it in cleartext, as both protocols define it. TLS with the server runs through the tunnel end to end.
///
/// ```
/// use io_mio::Proxy;
///
/// let proxy = Proxy::socks5("127.0.0.1", 1080).with_credentials("user", "password");
/// assert!(!format!("{proxy:?}").contains("password"));
/// ```
#[derive(Clone)]
pub struct Proxy {
    pub(super) kind: ProxyKind,
    host: String,
    port: u16,
    pub(super) credentials: Option<ProxyCredentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Socks5,
    HttpConnect,
}

#[derive(Clone)]
pub(super) struct ProxyCredentials {
    pub(super) user: String,
    pub(super) password: Arc<Secret<String>>,
}

impl Proxy {
    /// A SOCKS5 proxy.
    #[must_use]
    pub fn socks5(host: impl Into<String>, port: u16) -> Self {
        Self { kind: ProxyKind::Socks5, host: host.into(), port, credentials: None }
    }

    /// An HTTP proxy that supports CONNECT.
    #[must_use]
    pub fn http_connect(host: impl Into<String>, port: u16) -> Self {
        Self { kind: ProxyKind::HttpConnect, host: host.into(), port, credentials: None }
    }

    /// Logs in to the proxy: user and password of RFC 1929 for SOCKS5, `Proxy-Authorization: Basic` (RFC 7617) for HTTP.
    ///
    /// SOCKS5 allows 255 bytes for each. In HTTP the user must not contain a colon.
    #[must_use]
    pub fn with_credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = Arc::new(Secret::new(password.into()));
        self.credentials = Some(ProxyCredentials { user: user.into(), password });
        self
    }

    /// Returns the proxy's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the proxy's port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why a proxy did not open a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy closed the connection.
    Closed,
    /// The proxy sent something that its protocol does not allow.
    InvalidReply(&'static str),
    /// The proxy requires credentials, or other ones than a user and a password.
    AuthenticationRequired,
    /// The proxy refused the credentials.
    AuthenticationFailed,
    /// The proxy refused to connect to the server.
    Refused {
        /// The reply code of SOCKS5 (RFC 1928 §6), or the status code of HTTP.
        code: u16,
        /// The meaning of the code, or the proxy's own words; at most 200 characters.
        text: String,
    },
}

impl ProxyError {
    /// Returns whether the same connection may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Closed => true,
            // SOCKS5: general failure, network or host unreachable, refused, expired. HTTP: 429 and 5yz.
            Self::Refused { code, .. } => matches!(code, 1 | 3..=6 | 429 | 500..=599),
            Self::InvalidReply(_) | Self::AuthenticationRequired | Self::AuthenticationFailed => false,
        }
    }

    /// A refusal with text of the proxy, made harmless for terminals.
    pub(super) fn refused(code: u16, text: &str) -> Self {
        let text = text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self::Refused { code, text }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the proxy closed the connection"),
            Self::InvalidReply(what) => write!(f, "the proxy sent an invalid reply: {what}"),
            Self::AuthenticationRequired => f.write_str("the proxy requires credentials"),
            Self::AuthenticationFailed => f.write_str("the proxy refused the credentials"),
            Self::Refused { code, text } => write!(f, "the proxy refused the connection: {code} {text}"),
        }
    }
}

impl std::error::Error for ProxyError {}

/// The client's side of a proxy handshake, without I/O: requests out, replies in, one after the other.
pub(super) trait ProxyHandshake {
    /// Returns the next request. `None`: the tunnel is open.
    fn request(&mut self) -> Option<Secret<Vec<u8>>>;

    /// Parses the reply at the beginning of `received` and returns its length. `None`: it is incomplete.
    ///
    /// # Errors
    /// The proxy refused, or its reply is invalid.
    fn reply(&mut self, received: &[u8]) -> Result<Option<usize>, ProxyError>;
}

/// The longest reply that is accepted from a proxy, in bytes.
pub(super) const MAX_REPLY_LEN: usize = 8 * 1024;
