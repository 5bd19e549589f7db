//! Terminates TLS in front of a scripted server. It forwards bytes without reading them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// A port that speaks TLS and forwards everything to a scripted server.
pub(crate) struct TlsProxy {
    pub(crate) port: u16,
    /// The value for `--pin`.
    pub(crate) pin: String,
}

impl TlsProxy {
    /// Starts threads that end with the test's process.
    pub(crate) fn before(port: u16) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let hex: String = Sha256::digest(made.cert.der()).iter().map(|byte| format!("{byte:02x}")).collect();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Self { port: listener.local_addr().unwrap().port(), pin: format!("sha256:{hex}") };
        std::thread::spawn(move || {
            for outside in listener.incoming() {
                let (Ok(outside), Ok(inside)) = (outside, TcpStream::connect(("127.0.0.1", port))) else {
                    break;
                };
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                std::thread::spawn(move || pass(StreamOwned::new(tls, outside), inside));
            }
        });
        front
    }
}

/// Forwards bytes in both directions until one side has closed.
fn pass(mut outside: StreamOwned<ServerConnection, TcpStream>, mut inside: TcpStream) {
    // During the handshake a write would block until the client sends.
    while outside.conn.is_handshaking() {
        if outside.conn.complete_io(&mut outside.sock).is_err() {
            return;
        }
    }
    let turn = Some(Duration::from_millis(5));
    if outside.sock.set_read_timeout(turn).and(inside.set_read_timeout(turn)).is_err() {
        return;
    }
    let mut buffer = [0; 16 * 1024];
    loop {
        match outside.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if inside.write_all(&buffer[..length]).is_err() => break,
            Err(error) if !is_nothing(&error) => break,
            _ => {}
        }
        match inside.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if outside.write_all(&buffer[..length]).is_err() => break,
            Err(error) if !is_nothing(&error) => break,
            _ => {}
        }
    }
    outside.conn.send_close_notify();
    let _ = outside.flush();
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
