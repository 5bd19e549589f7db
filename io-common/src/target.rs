//! The server that a client connects to.

use std::path::{Path, PathBuf};

use crate::tls::client::{HandshakeNames, ServerNameIndication};

/// How a connection is encrypted. Cleartext is not among the options: a driver has
/// a `danger_` method for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// TLS from the first byte (RFC 8314 §3).
    ImplicitTls,
    /// STARTTLS, required.
    StartTls,
}

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: u16,
    security: Security,
    connect_to: Option<DialAddress>,
    verify_name: Option<String>,
    sni: ServerNameIndication,
}

/// The destination of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum DialAddress {
    Host(String, u16),
    Unix(PathBuf),
}

impl Target {
    /// The server with this name (or IP address) at this port.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, security: Security) -> Self {
        let sni = ServerNameIndication::Verified;
        Self { host: host.into(), port, security, connect_to: None, verify_name: None, sni }
    }

    /// Connects to another host and port. The certificate must still be for the name given to [`new`](Self::new).
    #[must_use]
    pub fn dial_to(mut self, host: impl Into<String>, port: u16) -> Self {
        self.connect_to = Some(DialAddress::Host(host.into(), port));
        self
    }

    /// Connects to a Unix socket. TLS is used as over TCP, and the certificate must be for the name given to
    /// [`new`](Self::new).
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.connect_to = Some(DialAddress::Unix(path.into()));
        self
    }

    /// Requires the certificate to be for this name, which is also sent in SNI, instead of the host's.
    #[must_use]
    pub fn verify_name(mut self, name: impl Into<String>) -> Self {
        self.verify_name = Some(name.into());
        self
    }

    /// Sends this name in SNI (RFC 6066 §3). The certificate must still be for [`server_name`](Self::server_name).
    #[must_use]
    pub fn sni(mut self, name: impl Into<String>) -> Self {
        self.sni = ServerNameIndication::Other(name.into());
        self
    }

    /// Sends no SNI.
    #[must_use]
    pub fn without_sni(mut self) -> Self {
        self.sni = ServerNameIndication::None;
        self
    }

    /// Returns the name of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns how the connection is encrypted.
    #[must_use]
    pub const fn security(&self) -> Security {
        self.security
    }

    /// Returns the name that the certificate must be for.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let name = self.verify_name.as_deref().unwrap_or(&self.host);
        let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        // DNS allows a trailing dot, certificates do not.
        name.strip_suffix('.').unwrap_or(name)
    }

    /// Returns the host and port to connect to. For a Unix socket these are the server's own.
    #[must_use]
    pub fn dial_address(&self) -> (&str, u16) {
        match &self.connect_to {
            Some(DialAddress::Host(host, port)) => (host, *port),
            Some(DialAddress::Unix(_)) | None => (&self.host, self.port),
        }
    }

    /// Returns the path of the Unix socket to connect to, if it is one.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.connect_to {
            Some(DialAddress::Unix(path)) => Some(path),
            _ => None,
        }
    }

    /// Returns the names for the TLS handshake.
    #[must_use]
    pub fn handshake_names(&self) -> HandshakeNames {
        HandshakeNames { verified: self.server_name().to_owned(), sni: self.sni.clone() }
    }
}
