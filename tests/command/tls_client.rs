//! Conversations under TLS with a running server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::RunningServer;

/// A TLS client that trusts the server and speaks one version.
pub(crate) fn tls(
    served: &RunningServer,
    socket: TcpStream,
    version: &'static rustls::SupportedProtocolVersion,
) -> Tls {
    open(&served.ca, socket, &[version], &[])
}

/// A TLS client that trusts this authority and offers these application protocols.
pub(crate) fn open(
    authority: &str,
    socket: TcpStream,
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
) -> Tls {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    Tls(rustls::StreamOwned::new(session, socket))
}

impl RunningServer {
    /// Opens a connection under TLS; the greeting is unread.
    pub(crate) fn tls(&self, service: &str) -> Tls {
        let socket = TcpStream::connect(self.address(service)).unwrap();
        tls(self, socket, &rustls::version::TLS13)
    }
}

pub(crate) struct Tls(rustls::StreamOwned<rustls::ClientConnection, TcpStream>);

impl Tls {
    pub(crate) fn say(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    /// The server's own certificate, in DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn ask(&mut self, bytes: &str) -> String {
        self.say(bytes);
        self.answer()
    }

    /// Everything until the connection ends.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // The server may close without a notice.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }

    /// All lines of a reply, or as much as came before the connection ended.
    pub(crate) fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        let mut byte = [0];
        loop {
            let begin = answer.len();
            while answer.last() != Some(&b'\n') || answer.len() == begin {
                if !matches!(self.0.read(&mut byte), Ok(1..)) {
                    return String::from_utf8(answer).unwrap();
                }
                answer.push(byte[0]);
            }
            if answer[begin..].get(3) != Some(&b'-') {
                return String::from_utf8(answer).unwrap();
            }
        }
    }
}
