//! Which connections are refused, and what the user is told: certificates, versions, wrong TLS modes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use io_mio::{
    ConnectStage, Connector, Error, ErrorKind, Fingerprint, ListenerTls, Security, TlsClientConfig, TlsError,
    TlsErrorKind, TlsVersions, Trace, TraceWriter, tls::DetectedProtocol,
};
use toy::{Authority, Config, Identity, Server, Toy, ask, bridge, connect, line, localhost, target};

/// Returns the error of a client that trusts `tls`, for a server with this identity. The server must not see a session.
fn refused(identity: &Identity, tls: TlsClientConfig) -> TlsError {
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let Err(Error::Tls(error)) = connect(server.address, Security::ImplicitTls, tls) else {
        panic!("accepted")
    };
    assert!(server.logged().iter().all(|line| !line.contains("secured")), "{:?}", server.logged());
    *error
}

#[test]
fn an_unknown_authority() {
    let (_, identity) = localhost();
    let error = refused(&identity, Authority::new("Another Authority").trust());
    assert_eq!(error.kind, TlsErrorKind::UnknownIssuer);
    assert!(error.to_string().contains("Toy Authority"), "{error}");
    assert!(error.hint().unwrap().contains("CA file"));
}

#[test]
fn an_expired_certificate_and_one_from_the_future() {
    let authority = Authority::new("Toy Authority");
    let expired = authority.identity("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    let error = refused(&expired, authority.trust());
    assert_eq!(error.kind, TlsErrorKind::Expired("2020-02-03".into()));
    let future =
        authority.identity("localhost", |params| params.not_before = rcgen::date_time_ymd(2090, 1, 2));
    let error = refused(&future, authority.trust());
    assert_eq!(error.kind, TlsErrorKind::NotYetValid("2090-01-02".into()));
    assert!(error.hint().unwrap().contains("clock"));
}

#[test]
fn a_certificate_for_another_name() {
    let authority = Authority::new("Toy Authority");
    let error = refused(&authority.identity("mail.example", |_| {}), authority.trust());
    let expected =
        TlsErrorKind::WrongName { expected: "localhost".into(), found: vec!["mail.example".into()] };
    assert_eq!(error.kind, expected);
    assert!(error.hint().unwrap().contains("perhaps mail.example"));
}

#[test]
fn the_name_to_verify_is_the_users() {
    let authority = Authority::new("Toy Authority");
    let identity = authority.identity("mail.example", |_| {});
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let target = target(server.address, Security::ImplicitTls).verify_name("mail.example.");
    let connector = Connector::new(authority.trust());
    let mut connection = connector.connect::<Toy>(&target, &Config::default()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    server.saw("secured TLSv1.3 Some(\"mail.example\")");
}

#[test]
fn a_self_signed_authority_as_leaf_passes_by_its_pin_only() {
    let identity = bridge();
    let error = refused(&identity, Authority::new("Another Authority").trust());
    assert_eq!(error.kind, TlsErrorKind::CaUsedAsEndEntity);
    let pin = identity.server().fingerprint().unwrap();
    assert!(error.hint().unwrap().contains(&pin.to_string()), "the hint says what to pin");
    // Trust in a certificate as an authority does not make it a valid leaf.
    let error = refused(&identity, TlsClientConfig::authorities_pem(identity.chain.as_bytes()).unwrap());
    assert_eq!(error.kind, TlsErrorKind::CaUsedAsEndEntity);
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let server = Server::start(ListenerTls::StartTls(identity.server()));
        let tls = TlsClientConfig::pinned([pin]).unwrap().versions(versions).unwrap();
        let mut connection = connect(server.address, Security::StartTls, tls).unwrap();
        assert_eq!(ask(&mut connection, "PING pinned").unwrap(), "PONG pinned");
    }
}

#[test]
fn a_self_signed_certificate_is_called_so() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let identity = Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let error = refused(&identity, Authority::new("Another Authority").trust());
    assert_eq!(error.kind, TlsErrorKind::SelfSigned);
    assert!(error.hint().unwrap().contains(&identity.server().fingerprint().unwrap().to_string()));
}

#[test]
fn another_certificate_than_the_pinned_one() {
    let identity = bridge();
    let error = refused(&identity, TlsClientConfig::pinned([Fingerprint::of(b"another")]).unwrap());
    assert_eq!(error.kind, TlsErrorKind::PinMismatch { found: identity.server().fingerprint().unwrap() });
    assert!(TlsClientConfig::pinned([]).is_err(), "no pin is not every pin");
}

#[test]
fn any_certificate_by_its_dangerous_name() {
    let server = Server::start(ListenerTls::Implicit(bridge().server()));
    for versions in [TlsVersions::default(), TlsVersions::Tls12] {
        let tls = TlsClientConfig::danger_accept_any_certificate().unwrap().versions(versions).unwrap();
        let mut connection = connect(server.address, Security::ImplicitTls, tls).unwrap();
        assert_eq!(line(&mut connection).unwrap(), "220 toy");
        assert!(
            !connection.machine().1.is_verified(),
            "the machine knows that the certificate was not verified"
        );
    }
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert!(connection.machine().1.is_verified());
}

#[test]
fn no_version_in_common() {
    let (authority, identity) = localhost();
    for (ours, theirs) in [(TlsVersions::Tls12, TlsVersions::Tls13), (TlsVersions::Tls13, TlsVersions::Tls12)]
    {
        let server = Server::start(ListenerTls::Implicit(identity.server_with(theirs)));
        let tls = authority.trust().versions(ours).unwrap();
        let error = connect(server.address, Security::ImplicitTls, tls).unwrap_err();
        assert!(
            matches!(&error, Error::Tls(error) if error.kind == TlsErrorKind::NoCommonVersion),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("TLS 1.2 or 1.3"));
    }
}

#[test]
fn a_server_that_offers_only_old_versions() {
    // A ServerHello that selects TLS 1.1, and an alert with the same meaning.
    let hello =
        [&b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"[..], &[7; 32], b"\x00\xc0\x09\x00"].concat();
    let alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    for answer in [hello, alert] {
        let (address, thread) = raw(answer, 1);
        let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
        let error = connect(address, Security::ImplicitTls, tls).unwrap_err();
        assert!(
            matches!(&error, Error::Tls(error) if error.kind == TlsErrorKind::NoCommonVersion),
            "{error}"
        );
        thread.join().unwrap();
    }
    let (address, thread) = raw(b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), 1);
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    let error = connect(address, Security::ImplicitTls, tls).unwrap_err();
    assert!(
        matches!(&error, Error::Tls(error) if error.kind == TlsErrorKind::NoCommonCipherSuite),
        "{error}"
    );
    thread.join().unwrap();
}

#[test]
fn a_server_that_hangs_up_during_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // Read the whole ClientHello: otherwise closing would reset the connection.
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        socket.read_exact(&mut vec![0; usize::from(head[3]) << 8 | usize::from(head[4])]).unwrap();
    });
    let error =
        connect(address, Security::ImplicitTls, TlsClientConfig::danger_accept_any_certificate().unwrap());
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    thread.join().unwrap();
}

#[test]
fn the_wrong_mode_is_recognised_in_all_four_ways() {
    let (authority, identity) = localhost();
    let begun = Instant::now();
    // Implicit TLS to a port that sends a cleartext greeting.
    for (greeting, found) in [
        (&b"220 mx.example ESMTP\r\n"[..], DetectedProtocol::Smtp),
        (b"* OK ready\r\n", DetectedProtocol::Imap),
        (b"+OK pop\r\n", DetectedProtocol::Pop3),
    ] {
        let (address, thread) = raw(greeting.to_vec(), 0);
        let error = connect(address, Security::ImplicitTls, authority.trust()).unwrap_err();
        assert!(matches!(&error, Error::WrongTlsMode { found: seen, .. } if *seen == found), "{error}");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        thread.join().unwrap();
    }
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let error = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap_err();
    assert!(error.hint().unwrap().contains("STARTTLS (toy://, usually port 143)"), "{error}");
    server.saw("the port speaks TLS from the first byte");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // STARTTLS to a port that waits for TLS and sends nothing.
    let begun = Instant::now();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let error = connect(server.address, Security::StartTls, authority.trust()).unwrap_err();
    assert!(matches!(error, Error::WrongTlsMode { found: DetectedProtocol::Tls, .. }), "{error}");
    assert!(error.hint().unwrap().contains("implicit TLS (toys://, usually port 993)"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // Cleartext from another program to the same port.
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.write_all(b"EHLO toy\r\n").unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
    // An alert instead of a greeting.
    let (address, thread) = raw(b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), 0);
    let error = connect(address, Security::StartTls, authority.trust()).unwrap_err();
    assert!(matches!(error, Error::WrongTlsMode { found: DetectedProtocol::Tls, .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_server_that_is_only_slow_is_waited_for() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let behind = server.address;
    // A relay delays everything for longer than the client waits before it probes the server.
    let thread = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let (_probe, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(behind).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut client, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
        let _ = back.join();
    });
    let mut connection = connect(address, Security::StartTls, authority.trust()).unwrap();
    assert_eq!(ask(&mut connection, "PING slow").unwrap(), "PONG slow");
    connection.close().unwrap();
    thread.join().unwrap();
}

#[test]
fn each_stage_is_told_and_a_refused_certificate_too() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let told = |tls: TlsClientConfig| {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let heard = steps.clone();
        let connector = Connector::new(tls).observer(move |report| {
            let name = match &report.stage {
                ConnectStage::Resolved(_) => "resolved".into(),
                ConnectStage::Connected(_) => "connected".into(),
                ConnectStage::Greeted => "greeted".into(),
                ConnectStage::TlsStarted => "tls begun".into(),
                ConnectStage::Certificate(seen) => format!("certificate of {}", seen.names.join(" ")),
                ConnectStage::TlsDone(info) => info.version.into(),
                _ => "?".to_owned(),
            };
            heard.lock().unwrap().push(name);
        });
        let target = target(server.address, Security::StartTls);
        let made = connector.connect::<Toy>(&target, &Config::default()).is_ok();
        let steps = steps.lock().unwrap().clone();
        (made, steps)
    };
    let begin = ["resolved", "connected", "greeted", "tls begun", "certificate of localhost"];
    assert_eq!(
        told(authority.trust()),
        (true, [&begin[..], &["TLSv1.3"]].concat().iter().map(|s| (*s).into()).collect())
    );
    let other = Authority::new("Another Authority").trust();
    assert_eq!(told(other), (false, begin.iter().map(|s| (*s).into()).collect()));
}

#[test]
fn a_trace_shows_the_conversation_and_no_secret() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let out = Shared::default();
    let sink = out.clone();
    let connector = Connector::new(authority.trust())
        .trace(move || Box::new(TraceWriter::new(sink.clone())) as Box<dyn Trace>);
    let target = target(server.address, Security::StartTls);
    let mut connection = connector.connect::<Toy>(&target, &Config::default()).unwrap();
    connection.with(|machine, tx| machine.0.secret("PASS hunter2", tx));
    assert_eq!(ask(&mut connection, "PING x").unwrap(), "PONG x");
    connection.close().unwrap();
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    for part in [
        "S: 220 toy",
        "C: STARTTLS",
        "S: 220 ready",
        "-- TLSv1.3 TLS_",
        "C= [12 bytes redacted]",
        "S= PONG x",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

/// Starts a server that sends `answer` after it has received `hears` bytes. It then waits until the client disconnects.
fn raw(answer: Vec<u8>, hears: usize) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.read_exact(&mut vec![0; hears]).unwrap();
        socket.write_all(&answer).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    (address, thread)
}
