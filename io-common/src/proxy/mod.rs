//! Proxies for outgoing connections: their handshakes without I/O, and why one refused.

pub(crate) mod handshake;
mod http_connect;
mod socks5;

pub use handshake::{MAX_REPLY_LEN, ProxyError, ProxyHandshake};

use std::{fmt, sync::Arc};

use proto_mail::Secret;

use self::{handshake::ProxyCredentials, http_connect::HttpConnect, socks5::Socks5};
use crate::error::Error;

/// A proxy that opens connections for a client: SOCKS5 (RFC 1928) or HTTP CONNECT (RFC 9110 §9.3.6).
///
/// The proxy resolves the server's name, so that the name is not looked up on this machine. Credentials for the proxy are
/// sent to it in cleartext, as both protocols define it. TLS with the server runs through the tunnel end to end.
///
/// ```
/// use io_common::Proxy;
///
/// let proxy = Proxy::socks5("127.0.0.1", 1080).with_credentials("user", "password");
/// assert!(!format!("{proxy:?}").contains("password"));
/// ```
#[derive(Clone)]
pub struct Proxy {
    kind: ProxyKind,
    host: String,
    port: u16,
    credentials: Option<ProxyCredentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProxyKind {
    Socks5,
    HttpConnect,
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

    /// Starts the handshake that asks this proxy for a connection to a host and port.
    ///
    /// # Errors
    /// [`Error::Config`]: the proxy cannot be asked for this host, or with these credentials.
    pub fn handshake(&self, host: &str, port: u16) -> Result<Box<dyn ProxyHandshake>, Error> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'%');
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(Error::Config(format!("a proxy cannot be asked for the host {host:?}")));
        }
        let credentials = self.credentials.as_ref();
        let wrong = |what: &str| Error::Config(what.into());
        Ok(match self.kind {
            ProxyKind::Socks5 => Box::new(Socks5::new(host, port, credentials).map_err(wrong)?),
            ProxyKind::HttpConnect => Box::new(HttpConnect::new(host, port, credentials).map_err(wrong)?),
        })
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
