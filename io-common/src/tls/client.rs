//! The TLS configuration of a client: trust, versions, client certificate.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore,
    client::{ResolvesClientCert, Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    certificate::Fingerprint,
    error::{TlsConfigError, TlsError},
    pem,
    verify::{self, ObservedCertificate},
    versions::TlsVersions,
};

/// The TLS configuration of a client: which servers it trusts and how it speaks TLS. Cheap to clone.
///
/// The constructors of this type make a full handshake for each connection. Session resumption is off, so that no session
/// is carried over to another identity, server or trust setting. ALPN is off unless
/// [`application_protocols`](Self::application_protocols) sets it.
#[derive(Clone)]
pub struct TlsClientConfig {
    config: Arc<ClientConfig>,
    /// Decides about certificates. `None` for a caller's configuration, whose verifier rustls does not give out.
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    accepts_any: bool,
}

/// The names that a client uses in a handshake.
#[derive(Debug, Clone)]
pub struct HandshakeNames {
    /// The name that the certificate must be for.
    pub(crate) verified: String,
    pub(crate) sni: ServerNameIndication,
}

impl HandshakeNames {
    /// The certificate must be for `name`, and SNI sends it.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { verified: name.into(), sni: ServerNameIndication::Verified }
    }
}

/// The name that a client sends in the SNI extension (RFC 6066 §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) enum ServerNameIndication {
    /// The name that the certificate must be for.
    #[default]
    Verified,
    Other(String),
    None,
}

impl TlsClientConfig {
    /// Trusts the authorities that the operating system trusts.
    ///
    /// # Errors
    /// The operating system has no trust store.
    #[cfg(feature = "platform-verifier")]
    pub fn platform() -> Result<Self, TlsConfigError> {
        let verifier = verify::platform(&default_provider()).map_err(|error| {
            TlsConfigError::new(format!(
                "this machine's trust store cannot be used ({error}): install its CA certificates, or give a CA file"
            ))
        })?;
        Self::verified_by(verifier)
    }

    /// Trusts only the authorities in these PEM files.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate.
    pub fn authorities<F: AsRef<Path>>(files: impl IntoIterator<Item = F>) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        for file in files {
            let file = file.as_ref();
            for certificate in pem::certificates_from_file(file)? {
                roots.add(certificate).map_err(|error| pem::unusable(file, &error))?;
            }
        }
        Self::trusting(roots)
    }

    /// Trusts only the authorities in this PEM text.
    ///
    /// # Errors
    /// The text holds no certificate, or one that cannot be used.
    pub fn authorities_pem(pem: &[u8]) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates_from_slice(pem)? {
            roots.add(certificate).map_err(TlsConfigError::new)?;
        }
        Self::trusting(roots)
    }

    /// Trusts only the server certificates with these fingerprints, whatever names, dates and issuers they contain. The
    /// server still has to prove that it holds the key.
    ///
    /// # Errors
    /// `pins` is empty.
    pub fn pinned(pins: impl IntoIterator<Item = Fingerprint>) -> Result<Self, TlsConfigError> {
        let pins: Vec<Fingerprint> = pins.into_iter().collect();
        if pins.is_empty() {
            return Err(TlsConfigError::new(
                "at least one fingerprint is required: sha256: and 64 hexadecimal digits",
            ));
        }
        Self::verified_by(Arc::new(verify::FingerprintVerifier::new(Some(pins), default_provider())))
    }

    /// Accepts any certificate: an attacker between client and server can read and change everything.
    ///
    /// # Errors
    /// None is expected.
    pub fn danger_accept_any_certificate() -> Result<Self, TlsConfigError> {
        let verifier = verify::FingerprintVerifier::new(None, default_provider());
        Ok(Self { accepts_any: true, ..Self::verified_by(Arc::new(verifier))? })
    }

    /// Uses a caller's own rustls configuration unchanged, with its verifier, versions, client certificate, ALPN and
    /// session resumption.
    ///
    /// rustls does not give out the verifier of a configuration. Therefore a refused certificate is not reported in
    /// [`TlsError::certificate`](super::TlsError), and [`Target::sni`](crate::Target::sni) cannot be used, unless
    /// [`verifier`](Self::verifier) is set too.
    #[must_use]
    pub fn from_rustls(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: config.into(), verifier: None, accepts_any: false }
    }

    /// Replaces the verifier of server certificates and turns session resumption off.
    #[must_use]
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.dangerous().set_certificate_verifier(verifier.clone());
        config.resumption = Resumption::disabled();
        Self { verifier: Some(verifier), accepts_any: false, ..self }
    }

    /// Declares that the verifier of this configuration accepts any certificate. The machines then refuse what needs a
    /// verified server, such as REQUIRETLS (RFC 8689 §2).
    #[must_use]
    pub const fn danger_unverified(mut self) -> Self {
        self.accepts_any = true;
        self
    }

    /// Speaks only these versions of TLS.
    ///
    /// # Errors
    /// This is a caller's own rustls configuration, which has its versions already.
    pub fn versions(self, versions: TlsVersions) -> Result<Self, TlsConfigError> {
        let Some(verifier) = self.verifier.clone() else {
            return Err(TlsConfigError::new("set the TLS versions in the rustls configuration instead"));
        };
        let mut config = build(verifier, self.config.crypto_provider().clone(), versions)?;
        config.alpn_protocols.clone_from(&self.config.alpn_protocols);
        config.client_auth_cert_resolver = self.config.client_auth_cert_resolver.clone();
        Ok(Self { config: Arc::new(config), ..self })
    }

    /// Offers these application protocols (ALPN, RFC 7301). Off by default: some servers abort the handshake when they do
    /// not know a name. A server that selects another protocol is refused.
    #[must_use]
    pub fn application_protocols(mut self, names: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Presents this certificate chain, the client's own certificate first, to servers that ask for one. SASL EXTERNAL
    /// then logs in as the certificate's owner.
    ///
    /// # Errors
    /// The key is of an unsupported kind or does not belong to the certificate.
    pub fn client_certificate(
        self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsConfigError> {
        let key = CertifiedKey::from_der(chain, key, self.config.crypto_provider())
            .map_err(|error| TlsConfigError::new(format!("the client certificate: {error}")))?;
        Ok(self.client_certificate_resolver(Arc::new(SingleCertAndKey::from(key))))
    }

    /// As [`client_certificate`](Self::client_certificate), from PEM text.
    ///
    /// # Errors
    /// As [`client_certificate`](Self::client_certificate), or the text cannot be read.
    pub fn client_certificate_pem(self, chain: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        self.client_certificate(pem::certificates_from_slice(chain)?, pem::key_from_slice(key)?)
    }

    /// As [`client_certificate`](Self::client_certificate), from PEM files.
    ///
    /// # Errors
    /// As [`client_certificate`](Self::client_certificate), or a file cannot be read.
    pub fn client_certificate_files(
        self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsConfigError> {
        self.client_certificate(
            pem::certificates_from_file(chain.as_ref())?,
            pem::key_from_file(key.as_ref())?,
        )
    }

    /// Chooses the client certificate for each handshake.
    #[must_use]
    pub fn client_certificate_resolver(mut self, resolver: Arc<dyn ResolvesClientCert>) -> Self {
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = resolver;
        self
    }

    fn trusting(roots: RootCertStore) -> Result<Self, TlsConfigError> {
        Self::verified_by(verify::authorities(roots, &default_provider()).map_err(TlsConfigError::new)?)
    }

    fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, TlsConfigError> {
        let config = build(verifier.clone(), default_provider(), TlsVersions::default())?;
        Ok(Self { verifier: Some(verifier), accepts_any: false, config: Arc::new(config) })
    }

    /// Returns the first bytes of a handshake, for asking whether a port speaks TLS.
    ///
    /// # Errors
    /// A name cannot be one of a certificate.
    pub fn client_hello(&self, names: &HandshakeNames) -> Result<Vec<u8>, TlsConfigError> {
        let (mut connection, _) = self.connect(names).map_err(|error| match error {
            ConnectTlsError::Config(error) => error,
            ConnectTlsError::Tls(error) => TlsConfigError::new(error),
        })?;
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).map_err(TlsConfigError::new)?;
        Ok(bytes)
    }

    /// Returns a new connection, and the place where the server's certificate will be recorded.
    pub(crate) fn connect(
        &self,
        names: &HandshakeNames,
    ) -> Result<(Connection, ObservedCertificate), ConnectTlsError> {
        let verified = server_name(&names.verified)?;
        let observed = if self.accepts_any {
            ObservedCertificate::accepting_any()
        } else {
            ObservedCertificate::default()
        };
        let mut config = ClientConfig::clone(&self.config);
        let mut sent = verified.clone();
        let mut expected = None;
        match &names.sni {
            ServerNameIndication::Verified => {}
            ServerNameIndication::None => config.enable_sni = false,
            ServerNameIndication::Other(name) => {
                if self.verifier.is_none() {
                    return Err(TlsConfigError::new(
                        "a different name for SNI requires a verifier: call TlsClientConfig::verifier",
                    )
                    .into());
                }
                sent = server_name(name)?;
                expected = Some(verified);
                // rustls files sessions under the name that is sent: one of another verified name must not be resumed.
                config.resumption = Resumption::disabled();
            }
        }
        if let Some(verifier) = &self.verifier {
            let recording =
                verify::RecordingVerifier { inner: verifier.clone(), expected, observed: observed.clone() };
            config.dangerous().set_certificate_verifier(Arc::new(recording));
        }
        let connection = ClientConnection::new(Arc::new(config), sent)
            .map_err(|error| ConnectTlsError::Tls(TlsError::new(&error, None)))?;
        Ok((connection.into(), observed))
    }
}

/// Why a handshake could not be started.
#[derive(Debug)]
pub(crate) enum ConnectTlsError {
    Config(TlsConfigError),
    Tls(TlsError),
}

impl From<TlsConfigError> for ConnectTlsError {
    fn from(error: TlsConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").field("accepts_any", &self.accepts_any).finish_non_exhaustive()
    }
}

fn build(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
    versions: TlsVersions,
) -> Result<ClientConfig, TlsConfigError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions.list())
        .map_err(TlsConfigError::new)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| TlsConfigError::new(format!("{name} is not a name that a certificate can have")))
}

fn default_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
