//! Reaching a server through proxies, Unix sockets and sockets of the caller.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use io_mio::{
    Address, BoundPort, ConnectStage, ConnectionLimits, Connector, Deadlines, Error, ErrorKind,
    ListenerSettings, ListenerTls, Proxy, ProxyError, Reactor, Security, Target, TimeoutStage,
    TlsClientConfig,
};
use toy::{Config, Server, Toy, ask, line, localhost};

/// What a proxy received before the tunnel.
type Received = Arc<Mutex<Vec<u8>>>;

/// Starts a proxy that answers the client's requests with these replies, one for each read, and then relays to `server`.
fn proxy(replies: Vec<Vec<u8>>, server: Option<SocketAddr>) -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let log = received.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            for reply in &replies {
                let mut buffer = [0; 1024];
                let Ok(count) = client.read(&mut buffer) else { return };
                log.lock().unwrap().extend_from_slice(&buffer[..count]);
                if client.write_all(reply).is_err() {
                    break;
                }
            }
            let Some(server) = server else { continue };
            let Ok(upstream) = TcpStream::connect(server) else { continue };
            relay(client.try_clone().unwrap(), upstream.try_clone().unwrap());
            relay(upstream, client);
        }
    });
    (address, received)
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn socks5(address: SocketAddr) -> Proxy {
    Proxy::socks5(address.ip().to_string(), address.port())
}

fn http(address: SocketAddr) -> Proxy {
    Proxy::http_connect(address.ip().to_string(), address.port())
}

fn connector(tls: TlsClientConfig) -> Connector {
    Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(5)))
}

/// Returns a server by a name that only the proxy resolves. Its certificate is for "localhost".
fn behind_proxy(security: Security) -> Target {
    Target::new("mail.invalid", 993, security).verify_name("localhost")
}

const SOCKS_OK: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00";

#[test]
fn reaches_servers_through_proxies_with_both_kinds_of_tls() {
    let (authority, identity) = localhost();
    for security in [Security::ImplicitTls, Security::StartTls] {
        let tls = match security {
            Security::ImplicitTls => ListenerTls::Implicit(identity.server()),
            Security::StartTls => ListenerTls::StartTls(identity.server()),
        };
        let server = Server::start(tls);
        let socks = proxy(vec![b"\x05\x00".to_vec(), SOCKS_OK.to_vec()], Some(server.address));
        let web = proxy(vec![b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n".to_vec()], Some(server.address));
        for (proxy, (_, received)) in [(socks5(socks.0), &socks), (http(web.0), &web)] {
            let stages = Arc::new(Mutex::new(Vec::new()));
            let seen = stages.clone();
            let connector = connector(authority.trust()).proxy(proxy).observer(move |report| {
                let is_tunnelled = matches!(report.stage, ConnectStage::Tunnelled);
                seen.lock().unwrap().push(is_tunnelled);
            });
            let mut connection =
                connector.connect::<Toy>(&behind_proxy(security), &Config::default()).unwrap();
            if security == Security::ImplicitTls {
                assert_eq!(line(&mut connection).unwrap(), "220 toy");
            }
            assert!(ask(&mut connection, "PING").is_ok());
            assert!(stages.lock().unwrap().contains(&true));
            let received = received.lock().unwrap();
            assert!(received.windows(12).any(|name| name == b"mail.invalid"), "the proxy resolves the name");
        }
    }
}

#[test]
fn logs_in_to_proxies_and_shows_no_password() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let socks =
        proxy(vec![b"\x05\x02".to_vec(), b"\x01\x00".to_vec(), SOCKS_OK.to_vec()], Some(server.address));
    let web = proxy(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], Some(server.address));
    for (proxy, (_, received), sent) in [
        (socks5(socks.0), &socks, &b"\x01\x04user\x06s3cret"[..]),
        (http(web.0), &web, b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n"),
    ] {
        let connector = connector(authority.trust()).proxy(proxy.with_credentials("user", "s3cret"));
        assert!(!format!("{connector:?}").contains("s3cret"));
        connector.connect::<Toy>(&behind_proxy(Security::ImplicitTls), &Config::default()).unwrap();
        assert!(received.lock().unwrap().windows(sent.len()).any(|part| part == sent));
    }
    let refusing = proxy(vec![b"\x05\x02".to_vec(), b"\x01\x01".to_vec()], None).0;
    let connector = connector(authority.trust()).proxy(socks5(refusing).with_credentials("user", "s3cret"));
    let error =
        connector.connect::<Toy>(&behind_proxy(Security::ImplicitTls), &Config::default()).unwrap_err();
    assert!(matches!(error, Error::Proxy(ProxyError::AuthenticationFailed)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?} {error} {:?}", error.hint()).contains("s3cret"));
}

#[test]
fn a_greeting_behind_the_proxys_reply_is_the_servers() {
    // The greeting arrives in the same segment as the proxy's reply and belongs to the server.
    let greeting = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n220 toy\r\n".to_vec();
    let address = proxy(vec![greeting], None).0;
    let (authority, _) = localhost();
    let connector = connector(authority.trust()).proxy(http(address));
    let target = behind_proxy(Security::StartTls);
    let mut connection = connector.danger_connect_cleartext::<Toy>(&target, &Config::default()).unwrap();
    let greeting = connection.drive(|event, _, _| match event {
        io_mio::ConnectionEvent::Machine(toy::Event::Line(line)) => Ok::<_, Error>(Some(line.to_owned())),
        _ => Ok(None),
    });
    assert_eq!(greeting.unwrap(), "220 toy");
    // With implicit TLS nothing may precede the server's handshake: the client does not take cleartext there for TLS.
    let error =
        connector.connect::<Toy>(&behind_proxy(Security::ImplicitTls), &Config::default()).unwrap_err();
    assert!(matches!(error, Error::WrongTlsMode { .. }), "{error}");
}

#[test]
fn refuses_hostile_proxies() {
    let (authority, _) = localhost();
    let endless = vec![b'x'; 64 * 1024];
    let mut headers = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    headers.extend(&endless);
    let error = |proxy: Proxy, target: &Target| {
        let connector = connector(authority.trust()).proxy(proxy);
        connector.connect::<Toy>(target, &Config::default()).unwrap_err()
    };
    let target = behind_proxy(Security::ImplicitTls);
    for reply in [endless, headers, b"HTTP/1.1 2\r\n\r\n".to_vec()] {
        let address = proxy(vec![reply], None).0;
        let error = error(http(address), &target);
        assert!(matches!(error, Error::Proxy(ProxyError::InvalidReply(_))), "{error}");
    }
    // The proxy sends both replies at once: the second one arrives before its request.
    let mut early = b"\x05\x00".to_vec();
    early.extend(SOCKS_OK);
    let error_early = error(socks5(proxy(vec![early], None).0), &target);
    assert!(matches!(error_early, Error::Proxy(ProxyError::InvalidReply(_))), "{error_early}");
    let refused = error(socks5(proxy(vec![b"\x05\x00".to_vec(), b"\x05\x02".to_vec()], None).0), &target);
    assert!(matches!(&refused, Error::Proxy(ProxyError::Refused { code: 2, .. })) && !refused.is_retryable());
    let closed = error(http(proxy(vec![Vec::new()], None).0), &target);
    assert!(matches!(closed, Error::Proxy(ProxyError::Closed)) && closed.is_retryable(), "{closed}");
    for host in ["a b", "a\r\nX: y", ""] {
        let address = proxy(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], None).0;
        let injected = Target::new(host, 993, Security::ImplicitTls).verify_name("localhost");
        assert!(matches!(error(http(address), &injected), Error::Config(_)), "{host:?}");
    }
}

#[test]
fn does_not_wait_for_a_silent_proxy() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (authority, _) = localhost();
    let mut deadlines = Deadlines::default();
    deadlines.proxy = Duration::from_millis(200);
    let connector =
        Connector::new(authority.trust()).deadlines(deadlines).proxy(socks5(silent.local_addr().unwrap()));
    let started = Instant::now();
    let error = connector.connect::<Toy>(&behind_proxy(Security::StartTls), &Config::default()).unwrap_err();
    assert!(matches!(error, Error::TimedOut { stage: TimeoutStage::Proxy, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

/// Starts a server on a Unix socket. It runs as long as the test.
fn on_unix_socket(tls: ListenerTls) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!(
        "io-mio-{}-{:?}.sock",
        std::process::id(),
        std::thread::current().id()
    ));
    let _ = std::fs::remove_file(&path);
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let port = BoundPort::bind_unix(&path).unwrap();
    assert_eq!(port.address(), &Address::Unix(Some(path.clone())));
    let settings = ListenerSettings::<Toy>::new(Config::default(), tls, Deadlines::default());
    reactor
        .listen_on(port, None, &settings, |peer| {
            assert!(peer.address.is_local() && matches!(peer.address, Address::Unix(_)));
            toy::App::new()
        })
        .unwrap();
    std::thread::spawn(move || reactor.run());
    path
}

#[test]
fn speaks_tls_over_unix_sockets_and_connected_sockets() {
    let (authority, identity) = localhost();
    for security in [Security::ImplicitTls, Security::StartTls] {
        let tls = || match security {
            Security::ImplicitTls => ListenerTls::Implicit(identity.server()),
            Security::StartTls => ListenerTls::StartTls(identity.server()),
        };
        let path = on_unix_socket(tls());
        let server = Server::start(tls());
        let connector = connector(authority.trust());
        let target = Target::new("localhost", 993, security);
        let config = Config::default();
        let over_path = target.clone().unix_socket(&path);
        let connections = [
            connector.connect::<Toy>(&over_path, &config),
            connector.connect_over::<Toy>(UnixStream::connect(&path).unwrap(), &target, &config),
            connector.connect_over::<Toy>(TcpStream::connect(server.address).unwrap(), &target, &config),
            connector.connect_over::<Toy>(
                mio::net::TcpStream::from_std({
                    let socket = TcpStream::connect(server.address).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    socket
                }),
                &target,
                &config,
            ),
        ];
        for (number, connection) in connections.into_iter().enumerate() {
            let mut connection = connection.unwrap();
            if security == Security::ImplicitTls {
                assert_eq!(line(&mut connection).unwrap(), "220 toy");
            }
            assert!(ask(&mut connection, "PING").is_ok());
            assert_eq!(matches!(connection.peer_address(), Address::Unix(_)), number < 2);
        }
        std::fs::remove_file(&path).unwrap();
    }
    let missing = Target::new("localhost", 993, Security::StartTls).unix_socket("/nonexistent/socket");
    assert!(connector(authority.trust()).connect::<Toy>(&missing, &Config::default()).is_err());
}

#[test]
fn proxies_cannot_stand_before_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("io-mio-proxied-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let settings = ListenerSettings::<Toy>::new(Config::default(), ListenerTls::None, Deadlines::default());
    let port = BoundPort::bind_unix(&path).unwrap();
    let proxies = Some("127.0.0.1".parse().unwrap());
    let refused = reactor.listen_on(port, proxies, &settings, |_| toy::App::new());
    assert!(matches!(refused, Err(Error::Config(_))));
    std::fs::remove_file(&path).unwrap();
}
