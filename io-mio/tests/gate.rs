//! The TLS gate from both sides: only the handshake passes it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use io_mio::{ConnectionLimits, Deadlines, Error, ErrorKind, ListenerTls, Security, TlsVersions};
use proto_mail::{ChannelBinding, PeerError};
use toy::{Config, Server, ask, connect, line, localhost};

#[test]
fn implicit_tls_of_both_versions() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    for (versions, name) in [(TlsVersions::Tls12, "TLSv1.2"), (TlsVersions::Tls13, "TLSv1.3")] {
        let tls = authority.trust().versions(versions).unwrap();
        let mut connection = connect(server.address, Security::ImplicitTls, tls).unwrap();
        assert_eq!(connection.tls_info().unwrap().version, name);
        assert_eq!(line(&mut connection).unwrap(), "220 toy");
        assert_eq!(ask(&mut connection, "PING one").unwrap(), "PONG one");
        assert_eq!(ask(&mut connection, "QUIT").unwrap(), "221 bye");
        connection.close().unwrap();
        server.saw(&format!("secured {name} Some(\"localhost\")"));
    }
    server.saw("closed: done");
}

#[test]
fn starttls_of_both_versions() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    for (versions, name) in [(TlsVersions::Tls12, "TLSv1.2"), (TlsVersions::Tls13, "TLSv1.3")] {
        let tls = authority.trust().versions(versions).unwrap();
        let mut connection = connect(server.address, Security::StartTls, tls).unwrap();
        let info = connection.tls_info().unwrap().clone();
        assert_eq!(info.version, name);
        assert_eq!(info.certificate.unwrap().names, ["localhost"]);
        assert_eq!(ask(&mut connection, "PING two").unwrap(), "PONG two");
        server.saw(&format!("secured {name}"));
        server.saw("tls PING two");
    }
}

#[test]
fn channel_bindings_are_those_of_the_version() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let binding = |versions| {
        let tls = authority.trust().versions(versions).unwrap();
        let connection = connect(server.address, Security::ImplicitTls, tls).unwrap();
        connection.machine().1.binding().clone()
    };
    assert!(matches!(binding(TlsVersions::Tls13), ChannelBinding::TlsExporter(bytes) if bytes != [0; 32]));
    assert_ne!(binding(TlsVersions::Tls13), binding(TlsVersions::Tls13), "each connection has its own");
    let ChannelBinding::TlsServerEndPoint(hash) = binding(TlsVersions::Tls12) else { panic!("TLS 1.2") };
    assert_eq!(
        hash,
        identity.server().fingerprint().unwrap().as_bytes(),
        "a SHA-256 signature: the fingerprint itself"
    );
}

/// Sends `bytes` that a peer injects after STARTTLS, split at `at`. Returns what the server sends.
fn inject(address: SocketAddr, bytes: &[u8], at: usize) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut greeting = [0; 9];
    socket.read_exact(&mut greeting).unwrap();
    socket.write_all(&bytes[..at]).unwrap();
    std::thread::sleep(Duration::from_millis(3));
    // The server may have closed the connection already.
    let _ = socket.write_all(&bytes[at..]);
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    rest
}

#[test]
fn a_command_behind_starttls_is_fatal_at_every_split() {
    let (_, identity) = localhost();
    let hello = client_hello();
    let bare = b"STARTTLS\r\nPING evil\r\n".to_vec();
    let glued = [b"STARTTLS\r\nPING evil\r\n", &hello[..]].concat();
    let early = [b"STARTTLS\r\n", &hello[..]].concat();
    for (bytes, splits) in [(&bare, 0..bare.len()), (&glued, 0..40), (&early, 0..10)] {
        let server = Server::start(ListenerTls::StartTls(identity.server()));
        for at in splits.clone() {
            let answer = inject(server.address, bytes, at);
            // The server sends nothing, or the reply to STARTTLS and perhaps a TLS alert, but never a reply to the
            // command.
            let rest = answer.strip_prefix(b"220 ready\r\n").unwrap_or(&answer);
            assert!(rest.is_empty() || rest[0] == 0x15, "split {at}: {answer:?}");
        }
        let log = server.logged();
        assert!(log.iter().all(|line| !line.contains("PING") && !line.contains("secured")), "{log:?}");
        let closed = log.iter().filter(|line| line.contains("cleartext after STARTTLS")).count();
        assert_eq!(closed, splits.len(), "{log:?}");
    }
}

#[test]
fn an_answer_behind_starttls_is_fatal_at_every_split() {
    let (authority, _) = localhost();
    let answer = b"220 ready\r\nPONG forged\r\n";
    for at in 0..=answer.len() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.write_all(b"220 toy\r\n").unwrap();
            let mut command = [0; 10];
            socket.read_exact(&mut command).unwrap();
            assert_eq!(&command, b"STARTTLS\r\n");
            socket.write_all(&answer[..at]).unwrap();
            std::thread::sleep(Duration::from_millis(3));
            let _ = socket.write_all(&answer[at..]);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let error = connect(address, Security::StartTls, authority.trust()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Security, "split {at}: {error}");
        let plaintext = proto_mail::Error::Peer(PeerError::PlaintextAfterStartTls);
        assert!(matches!(error, Error::Protocol(error) if error == plaintext), "split {at}");
        server.join().unwrap();
    }
}

#[test]
fn starttls_refused_does_not_fall_back() {
    let (authority, _) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"220 toy\r\n").unwrap();
        let mut command = [0; 10];
        socket.read_exact(&mut command).unwrap();
        socket.write_all(b"454 not now\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        (rest, listener)
    });
    let error = connect(address, Security::StartTls, authority.trust()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Security, "{error}");
    let (rest, listener) = server.join().unwrap();
    assert!(rest.is_empty(), "nothing more was said in cleartext");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "and nothing else was tried");
}

#[test]
fn a_handshake_that_never_comes_is_not_waited_for() {
    let (_, identity) = localhost();
    let mut deadlines = Deadlines::default();
    deadlines.tls = Duration::from_millis(200);
    let tls = ListenerTls::StartTls(identity.server());
    let server = Server::with(tls, Config::default(), deadlines.clone(), ConnectionLimits::default());
    let begun = Instant::now();
    let answer = inject(server.address, b"STARTTLS\r\n", 10);
    let rest = answer.strip_prefix(b"220 ready\r\n").unwrap();
    assert!(rest.is_empty() || rest[0] == 0x15, "a closing alert at most: {rest:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    server.saw("closed: the TLS handshake did not finish within 200ms");
    // Single bytes of a handshake do not extend the limit either.
    let implicit = ListenerTls::Implicit(identity.server());
    let server = Server::with(implicit, Config::default(), deadlines, ConnectionLimits::default());
    let mut socket = TcpStream::connect(server.address).unwrap();
    let begun = Instant::now();
    let hello = client_hello();
    let dripped = hello.iter().take_while(|&&byte| {
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(&[byte]).is_ok()
    });
    assert!(dripped.count() < 150);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn what_was_said_in_cleartext_leaves_before_tls_begins() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let filler = "z".repeat(900);
    let thread = std::thread::spawn({
        let filler = filler.clone();
        move || {
            let batch = format!("PING {filler}\r\n").repeat(10_000);
            writer.write_all(batch.as_bytes()).unwrap();
            writer.write_all(b"STARTTLS\r\n").unwrap();
        }
    });
    // The replies accumulate until neither side can send.
    std::thread::sleep(Duration::from_millis(300));
    let mut expected = b"220 toy\r\n".to_vec();
    expected.extend(format!("PONG {filler}\r\n").repeat(10_000).bytes());
    expected.extend(b"220 ready\r\n");
    let mut got = vec![0; expected.len()];
    socket.read_exact(&mut got).unwrap();
    assert!(got == expected, "everything in order, and nothing in between");
    thread.join().unwrap();
    let mut tls = toy::rustls_client(&authority);
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    let mut stream = rustls::StreamOwned::new(tls, socket);
    stream.write_all(b"PING after\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"PONG after\r\n");
}

#[test]
fn truncation_is_no_end_of_data() {
    let (authority, identity) = localhost();
    let config = identity.rustls();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for orderly in [true, false] {
        let (listener, config) = (listener.try_clone().unwrap(), config.clone());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            tls.writer().write_all(b"220 toy\r\nDATA 100\r\nhalf of it").unwrap();
            while tls.is_handshaking() || tls.wants_write() {
                tls.complete_io(&mut socket).unwrap();
            }
            if orderly {
                tls.send_close_notify();
                tls.complete_io(&mut socket).unwrap();
            }
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let mut connection = connect(address, Security::ImplicitTls, authority.trust()).unwrap();
        let error = connection.drive(|_, _, _| Ok::<Option<()>, Error>(None)).unwrap_err();
        let expected = if orderly { PeerError::UnexpectedEnd } else { PeerError::Truncated };
        assert!(matches!(error, Error::Protocol(proto_mail::Error::Peer(why)) if why == expected), "{error}");
        drop(connection);
        server.join().unwrap();
    }
}

#[test]
fn plaintext_in_an_established_session_is_fatal() {
    let (authority, identity) = localhost();
    let config = identity.rustls();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(config).unwrap();
        tls.writer().write_all(b"220 toy\r\n").unwrap();
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut socket).unwrap();
        }
        socket.write_all(b"235 forged\r\n250 forged\r\n").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let mut connection = connect(address, Security::ImplicitTls, authority.trust()).unwrap();
    let mut lines = Vec::new();
    let error = connection.drive(|turn, _, _| {
        lines.push(format!("{turn:?}"));
        Ok::<Option<()>, Error>(None)
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Security);
    assert!(lines.iter().all(|line| !line.contains("forged")), "{lines:?}");
    drop(connection);
    server.join().unwrap();
}

#[test]
fn secure_channels_are_created_in_one_place() {
    fn count(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| match path.is_dir() {
                true => count(&path),
                false => std::fs::read_to_string(path).unwrap().matches("Secure::tls(").count(),
            })
            .sum()
    }
    let drivers = ["../io-common/src", "src"]
        .map(|folder| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert_eq!(drivers.map(|folder| count(&folder)), [1, 0]);
}

#[test]
fn a_client_that_cuts_tls_off_is_noticed() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    drop(connection);
    server.saw("closed: the TLS connection ended without a closing alert");
}

fn client_hello() -> Vec<u8> {
    let mut hello = Vec::new();
    toy::rustls_client(&localhost().0).write_tls(&mut hello).unwrap();
    hello
}
