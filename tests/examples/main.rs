//! Runs the examples of the crates against servers on this machine, and bounds the size of the programs that they show.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "programs as modules; a test fails by panicking"
)]

mod clients;
mod example;
mod first_test;
mod libraries;
mod manifests;
mod probe;
mod relay;
mod servers;
mod size;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use io_common::{Security, Target, TlsClientConfig, TlsServerConfig};
use mailserver::certificate::Authority;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long a message may take.
const SOON: Duration = Duration::from_secs(20);
/// What the examples send.
const MESSAGE: &[u8] = b"From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n";

/// A server with the account of the examples.
fn server() -> Result<mailtest::Server> {
    Ok(mailtest::Server::builder().account("alice", "secret").start()?)
}

fn starttls(address: SocketAddr) -> Target {
    Target::new("localhost", address.port(), Security::StartTls).dial_to("127.0.0.1", address.port())
}

fn implicit_tls(address: SocketAddr) -> Target {
    Target::new("localhost", address.port(), Security::ImplicitTls).dial_to("127.0.0.1", address.port())
}

/// What rustls alone needs to trust a server.
fn rustls_client(ca_pem: &str) -> Result<Arc<rustls::ClientConfig>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut authorities = rustls::RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(authorities);
    Ok(Arc::new(config.with_no_client_auth()))
}

/// The certificate of the servers that are examples, and what their clients trust.
fn certificate() -> Result<(TlsServerConfig, TlsClientConfig)> {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs())?;
    let authority = AUTHORITY.get_or_init(|| Authority::generate(&[], now).unwrap());
    let trust = TlsClientConfig::authorities_pem(authority.certificate_pem().as_bytes())?;
    Ok((authority.issue(&[], now)?.tls()?, trust))
}
