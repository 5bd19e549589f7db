//! Certificates of every kind, their authorities, and a rustls client that trusts them.
//!
//! This module does not know the toy protocol.

use std::sync::Arc;

use io_mio::{TlsClientConfig, TlsServerConfig, TlsVersions};

/// Signs certificates.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub pem: String,
}

/// A certificate chain and its key, in PEM.
pub struct Identity {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    pub fn identity(&self, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    pub fn trust(&self) -> TlsClientConfig {
        TlsClientConfig::authorities_pem(self.pem.as_bytes()).unwrap()
    }
}

/// Returns a self-signed certificate with CA:TRUE, as some local bridges use it.
pub fn bridge() -> Identity {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Identity {
    pub fn server(&self) -> TlsServerConfig {
        self.server_with(TlsVersions::Both)
    }

    pub fn server_with(&self, versions: TlsVersions) -> TlsServerConfig {
        TlsServerConfig::from_pem(self.chain.as_bytes(), self.key.as_bytes(), versions).unwrap()
    }

    /// Returns the rustls settings of a server with this identity.
    pub fn rustls(&self) -> std::sync::Arc<rustls::ServerConfig> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap().into()
    }
}

pub fn localhost() -> (Authority, Identity) {
    let authority = Authority::new("Toy Authority");
    let identity = authority.identity("localhost", |_| {});
    (authority, identity)
}

/// Returns a rustls client that trusts this authority.
pub fn rustls_client(authority: &Authority) -> rustls::ClientConnection {
    rustls::ClientConnection::new(rustls_client_config(authority), "localhost".try_into().unwrap()).unwrap()
}

/// Returns the settings of such a client. They allow resumption.
pub fn rustls_client_config(authority: &Authority) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
