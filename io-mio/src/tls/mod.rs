//! TLS settings: whom a client trusts, what a server shows. TLS 1.2 and 1.3, nothing older; no early data; no ALPN
//! unless it is asked for; no fall-back of any kind.
//!
//! This module knows rustls. It knows no socket and no mail protocol.

mod certificate;
mod detect;
mod report;
mod verify;

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

pub use certificate::{Certificate, Fingerprint, FingerprintError};
pub use detect::DetectedProtocol;
pub use report::{TlsError, TlsErrorKind, TlsInfo};

pub(crate) use report::{binding, seed};
pub(crate) use verify::Seen;

use crate::Error;

/// Which versions of TLS may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    #[default]
    Both,
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

impl TlsVersions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
        static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::Both => rustls::ALL_VERSIONS,
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// Whom a client trusts, and how it speaks TLS. Cheap to clone.
///
/// Each connection makes a full handshake: no session is resumed, so that nothing is ever carried from one identity,
/// server or trust setting to another.
#[derive(Clone)]
pub struct TlsClientConfig {
    verifier: Arc<dyn ServerCertVerifier>,
    /// Whether that trusts anybody.
    anybody: bool,
    config: Arc<ClientConfig>,
}

impl TlsClientConfig {
    /// Trusts whom this machine trusts.
    ///
    /// # Errors
    /// This machine has no trust store.
    pub fn platform() -> Result<Self, Error> {
        let verifier = verify::platform(&provider()).map_err(|error| {
            Error::Config(format!(
                "this machine's trust store cannot be used ({error}): install its CA certificates, or give a CA file"
            ))
        })?;
        Self::with_verifier(verifier)
    }

    /// Trusts the authorities in these PEM files, and no others.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate.
    pub fn authorities<F: AsRef<Path>>(files: impl IntoIterator<Item = F>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for file in files {
            let file = file.as_ref();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unusable(file, &error))?;
            }
        }
        Self::with_verifier(verify::authorities(roots, &provider()).map_err(Error::Config)?)
    }

    /// Trusts the authorities in this PEM text, and no others.
    ///
    /// # Errors
    /// It holds no certificate.
    pub fn authorities_pem(pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Error::Config(error.to_string()))?;
            roots.add(certificate).map_err(|error| Error::Config(error.to_string()))?;
        }
        Self::with_verifier(verify::authorities(roots, &provider()).map_err(Error::Config)?)
    }

    /// Trusts the server certificates with these fingerprints, whatever they say of themselves, and no others. That
    /// the server holds the key is proved nevertheless.
    ///
    /// # Errors
    /// There is no fingerprint.
    pub fn pinned(pins: impl IntoIterator<Item = Fingerprint>) -> Result<Self, Error> {
        let pins: Vec<Fingerprint> = pins.into_iter().collect();
        if pins.is_empty() {
            return Err(Error::Config("a pin is wanted: sha256: and 64 hexadecimal digits".into()));
        }
        Self::with_verifier(Arc::new(verify::Pinned { pins: Some(pins), provider: provider() }))
    }

    /// Trusts anybody: whoever is in between can read and change everything.
    ///
    /// # Errors
    /// None is expected.
    pub fn danger_accept_any_certificate() -> Result<Self, Error> {
        let verifier = Arc::new(verify::Pinned { pins: None, provider: provider() });
        Ok(Self { anybody: true, ..Self::with_verifier(verifier)? })
    }

    /// Speaks only these versions.
    ///
    /// # Errors
    /// None is expected.
    pub fn versions(self, versions: TlsVersions) -> Result<Self, Error> {
        Ok(Self { anybody: self.anybody, ..Self::build(self.verifier, versions)? })
    }

    /// Offers these protocols (RFC 7301). Off by default: some servers end the handshake at a name they don't know.
    /// A server that chooses another one is refused.
    #[must_use]
    pub fn application_protocols(mut self, names: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, Error> {
        Self::build(verifier, TlsVersions::default())
    }

    fn build(verifier: Arc<dyn ServerCertVerifier>, versions: TlsVersions) -> Result<Self, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions.list())
            .map_err(|error| Error::Config(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Self { verifier, anybody: false, config: Arc::new(config) })
    }

    /// A new connection to the server of this name, and the place where its certificate will be seen.
    pub(crate) fn connect(&self, name: &str) -> Result<(Connection, Seen), Error> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::Config(format!("{name} is no name that a certificate can be for")))?;
        let seen = Seen::new(self.anybody);
        let recording = verify::Recording { inner: self.verifier.clone(), seen: seen.clone() };
        let mut config = ClientConfig::clone(&self.config);
        config.dangerous().set_certificate_verifier(Arc::new(recording));
        let connection = ClientConnection::new(Arc::new(config), server)
            .map_err(|error| Error::from(TlsError::new(&error, None)))?;
        Ok((connection.into(), seen))
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").finish_non_exhaustive()
    }
}

/// What a server shows. Cheap to clone.
#[derive(Clone)]
pub struct TlsServerConfig {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
}

impl TlsServerConfig {
    /// Shows the certificate chain of a PEM file, the server's own certificate first, with the key of another (or the
    /// same) file.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not fit the certificate.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, Error> {
        let chain_read = certificates(chain)?;
        let key_read = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
        Self::new(chain_read, key_read, TlsVersions::default())
            .map_err(|error| Error::Config(format!("{} with {}: {error}", chain.display(), key.display())))
    }

    /// As [`from_files`](Self::from_files), from PEM text.
    ///
    /// # Errors
    /// The text cannot be read, or the key does not fit the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], versions: TlsVersions) -> Result<Self, Error> {
        let wrong = |error: &dyn fmt::Display| Error::Config(format!("the certificate or key: {error}"));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| wrong(&error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&error))?;
        Self::new(chain, key, versions)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        versions: TlsVersions,
    ) -> Result<Self, Error> {
        let wrong = |error: rustls::Error| Error::Config(error.to_string());
        let leaf = chain.first().cloned().ok_or_else(|| Error::Config("there is no certificate".into()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions.list())
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(wrong)?;
        // Tickets keep the server free of a session store; early data stays off (RFC 9051 §11.1).
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(wrong)?;
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), leaf })
    }

    /// Takes clients that offer one of these protocols (RFC 7301) or none at all. A client that offers only others is
    /// refused, so that nothing meant for another service is ever read here.
    #[must_use]
    pub fn application_protocols(mut self, names: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// What the server's own certificate says.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate::read(&self.leaf)
    }

    /// The fingerprint of the server's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.leaf)
    }

    /// The server's own certificate.
    pub(crate) const fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// A new connection from a client.
    pub(crate) fn accept(&self) -> Result<Connection, Error> {
        ServerConnection::new(self.config.clone())
            .map(Into::into)
            .map_err(|error| TlsError::new(&error, None).into())
    }
}

impl fmt::Debug for TlsServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServerConfig").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, &error))?.collect();
    let read = read.map_err(|error| unusable(file, &error))?;
    if read.is_empty() {
        return Err(Error::Config(format!("{}: there is no certificate in it", file.display())));
    }
    Ok(read)
}

fn unusable(file: &Path, error: &dyn fmt::Display) -> Error {
    Error::Config(format!("{}: {error}", file.display()))
}
