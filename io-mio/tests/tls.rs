//! Session resumption, which carries nothing over from one session to another, and peers that never stop sending under
//! TLS.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use io_mio::{ConnectionEvent, Error, ListenerTls, Security, TlsClientConfig, TlsErrorKind, TlsServerConfig};
use rustls::HandshakeKind;
use toy::{Authority, Identity, Server, ask, connect, line, localhost};

/// Starts a server that issues resumption tickets, as most do, and reports how each handshake went.
fn with_tickets(
    config: Arc<rustls::ServerConfig>,
    sessions: usize,
) -> (SocketAddr, JoinHandle<Vec<HandshakeKind>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let mut kinds = Vec::new();
        for _ in 0..sessions {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            tls.writer().write_all(b"220 toy\r\n").unwrap();
            while tls.is_handshaking() || tls.wants_write() {
                tls.complete_io(&mut socket).unwrap();
            }
            kinds.push(tls.handshake_kind().unwrap());
            let _ = socket.read_to_end(&mut Vec::new());
        }
        kinds
    };
    (address, std::thread::spawn(serve))
}

fn ticketing(identity: &Identity) -> Arc<rustls::ServerConfig> {
    let mut config = Arc::unwrap_or_clone(identity.rustls());
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    Arc::new(config)
}

#[test]
fn a_client_resumes_no_session_and_looks_at_each_certificate() {
    let (authority, identity) = localhost();
    let (address, server) = with_tickets(ticketing(&identity), 2);
    let tls = authority.trust();
    for _ in 0..2 {
        let mut connection = connect(address, Security::ImplicitTls, tls.clone()).unwrap();
        assert_eq!(line(&mut connection).unwrap(), "220 toy");
    }
    assert_eq!(server.join().unwrap(), [HandshakeKind::Full, HandshakeKind::Full]);
    // A server that replaces the first one is verified as if it were new.
    let impostor = Authority::new("Another Authority").identity("localhost", |_| {});
    let server = Server::start(ListenerTls::Implicit(impostor.server()));
    let Err(Error::Tls(error)) = connect(server.address, Security::ImplicitTls, tls) else {
        panic!("accepted")
    };
    assert_eq!(error.kind, TlsErrorKind::UnknownIssuer);
}

#[test]
fn a_session_that_a_client_resumes_begins_anew() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let config = toy::rustls_client_config(&authority);
    for (number, kind) in [HandshakeKind::Full, HandshakeKind::Resumed].into_iter().enumerate() {
        let name = "localhost".try_into().unwrap();
        let tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(server.address).unwrap());
        let mut greeting = [0; 9];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 toy\r\n");
        stream.write_all(b"PING x\r\n").unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        assert_eq!(stream.conn.handshake_kind(), Some(kind));
        let secured = server.logged().iter().filter(|line| line.contains("secured")).count();
        assert_eq!(secured, number + 1, "each session has a handler of its own: {:?}", server.logged());
    }
}

#[test]
fn a_peer_that_never_stops_talking_does_not_outlast_a_deadline() {
    let (authority, identity) = localhost();
    let config = ticketing(&identity);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), socket);
        while stream.write_all(&b"250 still here\r\n".repeat(500)).is_ok() {}
    });
    let mut connection = connect(address, Security::ImplicitTls, authority.trust()).unwrap();
    let (begun, mut heard) = (Instant::now(), 0);
    let until = begun + Duration::from_millis(300);
    let waited = connection.drive_until(until, |turn, _, _| {
        heard += usize::from(matches!(turn, ConnectionEvent::Machine(_)));
        Ok::<Option<()>, Error>(None)
    });
    assert_eq!(waited.unwrap(), None);
    assert!(heard > 100 && begun.elapsed() < Duration::from_secs(10), "{heard} in {:?}", begun.elapsed());
    drop(connection);
    server.join().unwrap();
    // The bytes that the old session had received still belong to it: none is lost or passed to another session.
    let other = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(other.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    assert_eq!(ask(&mut connection, "PING x").unwrap(), "PONG x");
}

/// Loads and trusts the certificates in the files. A file without a certificate is an error and not an empty list.
#[test]
fn certificates_are_read_from_files() {
    let folder = std::env::temp_dir().join(format!("io-mio-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (authority, identity) = localhost();
    let (other, _) = localhost();
    let chain = file("chain", &identity.chain);
    let key = file("key", &identity.key);
    let both = [file("other", &other.pem), file("authority", &authority.pem)];
    let empty = file("empty", "nothing in here\n");

    let shown = TlsServerConfig::from_files(&chain, &key).unwrap();
    assert_eq!(shown.fingerprint(), identity.server().fingerprint());
    let server = Server::start(ListenerTls::Implicit(shown));
    let trust = TlsClientConfig::authorities(&both).unwrap();
    let mut connection = connect(server.address, Security::ImplicitTls, trust).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    let stranger = TlsClientConfig::authorities(&both[..1]).unwrap();
    assert!(connect(server.address, Security::ImplicitTls, stranger).is_err());

    let says = |error: io_mio::tls::TlsConfigError| error.to_string();
    assert!(says(TlsClientConfig::authorities([&empty]).unwrap_err()).contains("contains no certificate"));
    assert!(says(TlsServerConfig::from_files(&empty, &key).unwrap_err()).contains("contains no certificate"));
    assert!(TlsClientConfig::authorities([folder.join("none")]).is_err());
    assert!(TlsServerConfig::from_files(&chain, &chain).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Both sides end TLS with close_notify, so that the peer knows that nothing was truncated.
#[test]
fn the_end_is_said_under_tls() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut tls = rustls::StreamOwned::new(toy::rustls_client(&authority), socket);
    tls.write_all(b"QUIT\r\n").unwrap();
    let mut heard = String::new();
    // Without close_notify this is an error.
    tls.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "220 toy\r\n221 bye\r\n");
    drop(tls);

    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    connection.close().unwrap();
    server.saw("closed: done");
    assert!(server.logged().iter().all(|line| !line.contains("closing alert")), "{:?}", server.logged());
}
