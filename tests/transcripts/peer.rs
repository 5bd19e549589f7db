//! The other end of a driver's connection: a socket, and TLS if the driver speaks it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use io_mio::{TlsClientConfig, TlsServerConfig, TlsVersions};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

/// The first byte of a TLS handshake, which is no text.
const HANDSHAKE: u8 = 0x16;

/// A certificate for localhost that is its own authority, and its key.
struct Identity {
    certificate: String,
    key: String,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    let key = rcgen::KeyPair::generate().unwrap();
    Identity { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
});

/// The TLS configuration of a client under test.
pub(crate) fn trust() -> TlsClientConfig {
    TlsClientConfig::authorities_pem(IDENTITY.certificate.as_bytes()).unwrap()
}

/// The TLS configuration of a server under test.
pub(crate) fn identity() -> TlsServerConfig {
    let Identity { certificate, key } = &*IDENTITY;
    TlsServerConfig::from_pem(certificate.as_bytes(), key.as_bytes(), TlsVersions::default()).unwrap()
}

pub(crate) struct Peer {
    socket: TcpStream,
    tls: Option<Connection>,
    /// The lines of an incomplete segment.
    segment: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, tls: None, segment: Vec::new() }
    }

    /// Makes the handshake with a client under test.
    pub(crate) fn accept_tls(&mut self) -> Result<(), String> {
        let chain = vec![CertificateDer::from_pem_slice(IDENTITY.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(IDENTITY.key.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        self.handshake(ServerConnection::new(config).unwrap().into())
    }

    /// Makes the handshake with a server under test.
    pub(crate) fn connect_tls(&mut self) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(IDENTITY.certificate.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = Arc::new(builder.with_no_client_auth());
        self.handshake(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap().into())
    }

    fn handshake(&mut self, mut tls: Connection) -> Result<(), String> {
        self.socket.set_nonblocking(false).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket).map_err(|error| format!("the handshake fails: {error}"))?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Sends these bytes, each alone if they are cut; `goes_on` if the next line is in the same segment.
    pub(crate) fn send(&mut self, bytes: &[u8], cut: crate::Cut, goes_on: bool) {
        self.segment.extend_from_slice(bytes);
        if goes_on && matches!(cut, crate::Cut::Whole) {
            return;
        }
        let segment = std::mem::take(&mut self.segment);
        let size = if matches!(cut, crate::Cut::Bytes) { 1 } else { segment.len() };
        self.socket.set_nonblocking(false).unwrap();
        for piece in segment.chunks(size.max(1)) {
            // A driver that has closed the connection receives nothing more.
            let _ = match &mut self.tls {
                None => self.socket.write_all(piece),
                Some(tls) => tls.writer().write_all(piece).and_then(|()| {
                    while tls.wants_write() {
                        tls.write_tls(&mut self.socket)?;
                    }
                    Ok(())
                }),
            };
        }
    }

    /// Returns what has arrived. A client may begin its handshake at once: that is left to [`accept_tls`](Self::accept_tls).
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        self.socket.set_nonblocking(true).unwrap();
        let (mut received, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let mut first = [0];
            if self.tls.is_none() && self.socket.peek(&mut first).is_ok() && first == [HANDSHAKE] {
                break;
            }
            match self.socket.read(&mut buffer) {
                Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let Some(tls) = &mut self.tls else { return received };
        let (mut rest, mut plaintext) = (received.as_slice(), Vec::new());
        // What came with the end of the handshake.
        let _ = tls.reader().read_to_end(&mut plaintext);
        while !rest.is_empty() && tls.read_tls(&mut rest).is_ok_and(|count| count > 0) {
            if tls.process_new_packets().is_err() {
                break;
            }
            let _ = tls.reader().read_to_end(&mut plaintext);
        }
        plaintext
    }

    /// Closes this side's direction.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.socket.set_nonblocking(false).unwrap();
            let _ = tls.write_tls(&mut self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
