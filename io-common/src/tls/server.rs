//! The TLS configuration of a server: certificate, versions, client certificates.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    Connection, RootCertStore, ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{
        ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    certificate::{Certificate, Fingerprint},
    error::{TlsConfigError, TlsError},
    pem,
    versions::TlsVersions,
};

/// The TLS configuration of a server: its certificate and how it speaks TLS. Cheap to clone.
#[derive(Clone)]
pub struct TlsServerConfig {
    config: Arc<ServerConfig>,
    /// `None` for a caller's own rustls configuration.
    versions: Option<TlsVersions>,
    /// The only certificate, if there is only one.
    certificate: Option<CertificateDer<'static>>,
}

/// Whether a server asks clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Asks for one and goes on without.
    Optional,
    /// Refuses clients without one.
    Required,
}

impl TlsServerConfig {
    /// Presents the certificate chain of a PEM file, the server's own certificate first, with the key of another (or the
    /// same) file.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not belong to the certificate.
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsConfigError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let chain_read = pem::certificates_from_file(chain)?;
        let key_read = pem::key_from_file(key)?;
        Self::single(chain_read, key_read, TlsVersions::default()).map_err(|error| {
            TlsConfigError::new(format!("{} with {}: {error}", chain.display(), key.display()))
        })
    }

    /// As [`from_files`](Self::from_files), from PEM text.
    ///
    /// # Errors
    /// The text cannot be read, or the key does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], versions: TlsVersions) -> Result<Self, TlsConfigError> {
        Self::single(pem::certificates_from_slice(chain)?, pem::key_from_slice(key)?, versions)
    }

    /// Chooses the certificate for each handshake, by SNI for example. A resolver that loads its certificates again
    /// renews them without a restart and without closing sessions.
    ///
    /// # Errors
    /// None is expected.
    pub fn with_resolver(
        resolver: Arc<dyn ResolvesServerCert>,
        versions: TlsVersions,
    ) -> Result<Self, TlsConfigError> {
        let provider = default_provider();
        let mut config = build(resolver, Arc::new(NoClientAuth), provider, versions)?;
        // Tickets need no session store on the server. Early data stays off (RFC 9051 §11.1).
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsConfigError::new)?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), versions: Some(versions), certificate: None })
    }

    /// Uses a caller's own rustls configuration.
    ///
    /// Early data is turned off: a replayed command must not be executed (RFC 9051 §11.1).
    #[must_use]
    pub fn from_rustls(config: impl Into<Arc<ServerConfig>>) -> Self {
        let mut config = config.into();
        if config.max_early_data_size != 0 {
            Arc::make_mut(&mut config).max_early_data_size = 0;
        }
        Self { config, versions: None, certificate: None }
    }

    fn single(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        versions: TlsVersions,
    ) -> Result<Self, TlsConfigError> {
        let leaf = chain.first().cloned().ok_or_else(|| TlsConfigError::new("there is no certificate"))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(TlsConfigError::new)?;
        let resolver = Arc::new(SingleCertAndKey::from(key));
        Ok(Self { certificate: Some(leaf), ..Self::with_resolver(resolver, versions)? })
    }

    /// Asks clients for a certificate of one of these authorities (PEM). A handler finds it in
    /// [`TlsInfo::certificate`](super::TlsInfo::certificate), to accept SASL EXTERNAL for example.
    ///
    /// # Errors
    /// There is no authority, or this is a caller's own rustls configuration, which has its client verifier already.
    pub fn client_certificates(
        self,
        mode: ClientCertificates,
        authorities_pem: &[u8],
    ) -> Result<Self, TlsConfigError> {
        let Some(versions) = self.versions else {
            return Err(TlsConfigError::new("set the client verifier in the rustls configuration instead"));
        };
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates_from_slice(authorities_pem)? {
            roots.add(certificate).map_err(TlsConfigError::new)?;
        }
        let provider = self.config.crypto_provider().clone();
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = match mode {
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required => builder,
        };
        let verifier = verifier.build().map_err(TlsConfigError::new)?;
        let mut config = build(self.config.cert_resolver.clone(), verifier, provider, versions)?;
        config.alpn_protocols.clone_from(&self.config.alpn_protocols);
        // A ticket of the old configuration must not skip the new verifier.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsConfigError::new)?;
        config.send_tls13_tickets = self.config.send_tls13_tickets;
        Ok(Self { config: Arc::new(config), ..self })
    }

    /// Accepts clients that offer one of these application protocols (ALPN, RFC 7301) or none. A client that offers only
    /// others is refused, so that a request meant for another service is never read as mail.
    #[must_use]
    pub fn application_protocols(mut self, names: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Returns what the server's certificate says; `None` if a resolver chooses it.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.certificate.as_ref().map(Certificate::read)
    }

    /// Returns the fingerprint of the server's certificate; `None` if a resolver chooses it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.certificate.as_ref().map(|certificate| Fingerprint::of(certificate))
    }

    /// Returns the rustls configuration, for a server of another protocol with the same certificate.
    #[must_use]
    pub fn rustls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns a new connection, and the place where the certificate will be recorded that is presented on it.
    pub(crate) fn accept(&self) -> Result<(Connection, PresentedCertificate), TlsError> {
        let presented = PresentedCertificate::default();
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver =
            Arc::new(RecordingResolver { inner: config.cert_resolver, presented: presented.clone() });
        let connection =
            ServerConnection::new(Arc::new(config)).map_err(|error| TlsError::new(&error, None))?;
        Ok((connection.into(), presented))
    }
}

impl fmt::Debug for TlsServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServerConfig").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// The certificate that a server presented on a connection: channel binding needs it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PresentedCertificate(Arc<Mutex<Option<Arc<CertifiedKey>>>>);

impl PresentedCertificate {
    pub(crate) fn get(&self) -> Option<CertificateDer<'static>> {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        key.as_ref()?.cert.first().cloned()
    }
}

#[derive(Debug)]
struct RecordingResolver {
    inner: Arc<dyn ResolvesServerCert>,
    presented: PresentedCertificate,
}

impl ResolvesServerCert for RecordingResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.inner.resolve(hello)?;
        *self.presented.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Some(key)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.inner.only_raw_public_keys()
    }
}

fn build(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
    versions: TlsVersions,
) -> Result<ServerConfig, TlsConfigError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions.list())
        .map_err(TlsConfigError::new)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.max_early_data_size = 0;
    Ok(config)
}

fn default_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
