//! What the tests share: certificates and their files.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and must fail if it cannot continue"
)]

use std::path::PathBuf;

use io_tokio::{Address, Socket, TlsClientConfig, TlsServerConfig, TlsVersions};

/// A stream that leads to another program of this machine.
pub fn local(stream: tokio::io::DuplexStream) -> Socket {
    let here = Address::Unix(None);
    Socket::new(stream).with_addresses(here.clone(), here)
}

/// An authority and a certificate for localhost.
pub struct Identity {
    pub authority: String,
    pub chain: String,
    pub key: String,
}

impl Identity {
    pub fn localhost() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
        Self { authority, chain, key: key.serialize_pem() }
    }

    pub fn trust(&self) -> TlsClientConfig {
        TlsClientConfig::authorities_pem(self.authority.as_bytes()).unwrap()
    }

    pub fn server(&self) -> TlsServerConfig {
        TlsServerConfig::from_pem(self.chain.as_bytes(), self.key.as_bytes(), TlsVersions::default()).unwrap()
    }
}

/// A folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("io-tokio-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
