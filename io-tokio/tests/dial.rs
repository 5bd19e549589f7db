//! Reaching a server through proxies, and what the connector reports and asks on the way.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::Identity;
use io_tokio::{
    ConnectStage, Connection, ConnectionLimits, Connector, Deadlines, Error, ErrorKind, ListenerTls, Proxy,
    ProxyError, Security, Server, SmtpServer, Target,
    io_common::{self, SmtpClientProtocol, TimeoutStage},
    server::SecureSession,
};
use proto_mail::Secure;
use proto_smtp::client::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SOCKS_OK: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00";

/// What a proxy received before the tunnel.
type Received = Arc<Mutex<Vec<u8>>>;

/// Starts a proxy that answers the client's requests with these replies, one for each read, and then relays to `server`.
async fn proxy(replies: Vec<Vec<u8>>, server: Option<SocketAddr>) -> (SocketAddr, Received) {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let log = received.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            for reply in &replies {
                let mut buffer = [0; 1024];
                let Ok(count) = client.read(&mut buffer).await else { return };
                log.lock().unwrap().extend_from_slice(&buffer[..count]);
                // In two parts, so that a reply is not always complete at once.
                let (first, second) = reply.split_at(reply.len() / 2);
                if client.write_all(first).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                if client.write_all(second).await.is_err() {
                    break;
                }
            }
            let Some(server) = server else { continue };
            let Ok(mut upstream) = TcpStream::connect(server).await else { continue };
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut upstream).await });
        }
    });
    (address, received)
}

fn socks5(address: SocketAddr) -> Proxy {
    Proxy::socks5(address.ip().to_string(), address.port())
}

fn http(address: SocketAddr) -> Proxy {
    Proxy::http_connect(address.ip().to_string(), address.port())
}

fn connector(identity: &Identity) -> Connector {
    Connector::new(identity.trust()).deadlines(Deadlines::uniform(Duration::from_secs(5)))
}

/// Returns a server by a name that only the proxy resolves. Its certificate is for "localhost".
fn behind_proxy(security: Security) -> Target {
    Target::new("mail.invalid", 993, security).verify_name("localhost")
}

async fn connect(connector: &Connector, target: &Target) -> Result<Connection<Client<Secure>>, Error> {
    connector.connect::<SmtpClientProtocol>(target, &Arc::default()).await
}

/// Returns the first event of the session under TLS, as text.
async fn first_event(connection: &mut Connection<Client<Secure>>) -> String {
    format!("{:?}", connection.next_event().await.unwrap())
}

/// Starts a server that answers EHLO.
async fn server(identity: &Identity, security: Security) -> (Server, SocketAddr) {
    let tls = match security {
        Security::ImplicitTls => ListenerTls::Implicit(identity.server()),
        Security::StartTls => ListenerTls::StartTls(identity.server()),
    };
    let mut server = Server::new(ConnectionLimits::default());
    let serve = |mut session: SecureSession<SmtpServer>| async move {
        while session.next_event().await?.is_some() {}
        Ok(())
    };
    let address =
        server.serve::<SmtpServer>(ANY_PORT, tls, Arc::default(), Deadlines::default(), serve).await.unwrap();
    (server, address)
}

fn refusal(error: &Error) -> &ProxyError {
    match error {
        Error::Session(io_common::Error::Proxy(error)) => error,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn reaches_servers_through_proxies_with_both_kinds_of_tls() {
    let identity = Identity::localhost();
    for security in [Security::ImplicitTls, Security::StartTls] {
        let (_server, address) = server(&identity, security).await;
        let socks = proxy(vec![b"\x05\x00".to_vec(), SOCKS_OK.to_vec()], Some(address)).await;
        let web = proxy(vec![b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n".to_vec()], Some(address)).await;
        for (proxy, (_, received)) in [(socks5(socks.0), &socks), (http(web.0), &web)] {
            let stages = Arc::new(Mutex::new(Vec::new()));
            let seen = stages.clone();
            let connector = connector(&identity).proxy(proxy).observer(move |report| {
                let is_tunnelled = matches!(report.stage, ConnectStage::Tunnelled);
                seen.lock().unwrap().push(is_tunnelled);
            });
            let mut connection = connect(&connector, &behind_proxy(security)).await.unwrap();
            assert!(first_event(&mut connection).await.starts_with("Some("));
            assert!(stages.lock().unwrap().contains(&true));
            let received = received.lock().unwrap();
            assert!(received.windows(12).any(|name| name == b"mail.invalid"), "the proxy resolves the name");
        }
    }
}

#[tokio::test]
async fn logs_in_to_proxies_and_shows_no_password() {
    let identity = Identity::localhost();
    let (_server, address) = server(&identity, Security::ImplicitTls).await;
    let replies = vec![b"\x05\x02".to_vec(), b"\x01\x00".to_vec(), SOCKS_OK.to_vec()];
    let socks = proxy(replies, Some(address)).await;
    let web = proxy(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], Some(address)).await;
    for (proxy, (_, received), sent) in [
        (socks5(socks.0), &socks, &b"\x01\x04user\x06s3cret"[..]),
        (http(web.0), &web, b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n"),
    ] {
        let connector = connector(&identity).proxy(proxy.with_credentials("user", "s3cret"));
        assert!(!format!("{connector:?}").contains("s3cret"));
        connect(&connector, &behind_proxy(Security::ImplicitTls)).await.unwrap();
        assert!(received.lock().unwrap().windows(sent.len()).any(|part| part == sent));
    }
    let refusing = proxy(vec![b"\x05\x02".to_vec(), b"\x01\x01".to_vec()], None).await.0;
    let connector = connector(&identity).proxy(socks5(refusing).with_credentials("user", "s3cret"));
    let error = connect(&connector, &behind_proxy(Security::ImplicitTls)).await.unwrap_err();
    assert_eq!(refusal(&error), &ProxyError::AuthenticationFailed);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?} {error} {:?}", error.hint()).contains("s3cret"));
}

#[tokio::test]
async fn a_greeting_behind_the_proxys_reply_is_the_servers() {
    // The greeting arrives with the proxy's reply and belongs to the server.
    let greeting = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n220 mx.example ready\r\n".to_vec();
    let address = proxy(vec![greeting], None).await.0;
    let connector = connector(&Identity::localhost()).proxy(http(address));
    let target = behind_proxy(Security::StartTls);
    let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
    let mut connection =
        connector.danger_connect_cleartext::<SmtpClientProtocol>(&target, &config).await.unwrap();
    let greeting = format!("{:?}", connection.next_event().await.unwrap());
    assert!(greeting.contains("mx.example ready"), "{greeting}");
    // With implicit TLS nothing may precede the server's handshake: the client does not take cleartext there for TLS.
    let error = connect(&connector, &behind_proxy(Security::ImplicitTls)).await.unwrap_err();
    assert!(matches!(error, Error::Session(io_common::Error::WrongTlsMode { .. })), "{error}");
}

#[tokio::test]
async fn refuses_hostile_proxies() {
    let identity = Identity::localhost();
    let endless = vec![b'x'; 64 * 1024];
    let mut headers = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    headers.extend(&endless);
    let target = behind_proxy(Security::ImplicitTls);
    let error = async |proxy: Proxy, target: &Target| {
        connect(&connector(&identity).proxy(proxy), target).await.unwrap_err()
    };
    for reply in [endless, headers, b"HTTP/1.1 2\r\n\r\n".to_vec()] {
        let address = proxy(vec![reply], None).await.0;
        let error = error(http(address), &target).await;
        assert!(matches!(refusal(&error), ProxyError::InvalidReply(_)), "{error}");
    }
    // The proxy sends both replies before the second request.
    let early = [b"\x05\x00", SOCKS_OK].concat();
    let early = error(socks5(proxy(vec![early], None).await.0), &target).await;
    assert!(matches!(refusal(&early), ProxyError::InvalidReply(_) | ProxyError::Closed), "{early}");
    let replies = vec![b"\x05\x00".to_vec(), b"\x05\x02".to_vec()];
    let refused = error(socks5(proxy(replies, None).await.0), &target).await;
    assert!(matches!(refusal(&refused), ProxyError::Refused { code: 2, .. }) && !refused.is_retryable());
    let closed = error(http(proxy(vec![Vec::new()], None).await.0), &target).await;
    assert!(matches!(refusal(&closed), ProxyError::Closed) && closed.is_retryable(), "{closed}");
    for host in ["a b", "a\r\nX: y", ""] {
        let address = proxy(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], None).await.0;
        let injected = Target::new(host, 993, Security::ImplicitTls).verify_name("localhost");
        let error = error(http(address), &injected).await;
        assert!(matches!(error, Error::Session(io_common::Error::Config(_))), "{host:?}");
    }
}

#[tokio::test]
async fn does_not_wait_for_a_proxy_that_is_silent_or_never_completes_its_reply() {
    let silent = TcpListener::bind(ANY_PORT).await.unwrap();
    let partial = proxy(vec![b"HTTP/1.1 200 OK\r\n".to_vec(), Vec::new()], None).await.0;
    let mut deadlines = Deadlines::default();
    deadlines.proxy = Duration::from_millis(200);
    for proxy in [socks5(silent.local_addr().unwrap()), http(partial)] {
        let connector =
            Connector::new(Identity::localhost().trust()).deadlines(deadlines.clone()).proxy(proxy);
        let started = Instant::now();
        let error = connect(&connector, &behind_proxy(Security::StartTls)).await.unwrap_err();
        let is_limit =
            matches!(error, Error::Session(io_common::Error::TimedOut { stage: TimeoutStage::Proxy, .. }));
        assert!(is_limit, "{error}");
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn reports_each_stage_and_a_certificate_that_is_refused() {
    let (ours, theirs) = (Identity::localhost(), Identity::localhost());
    for security in [Security::ImplicitTls, Security::StartTls] {
        let (_server, address) = server(&theirs, security).await;
        let target = Target::new("localhost", address.port(), security);
        for (identity, is_trusted) in [(&theirs, true), (&ours, false)] {
            let stages = Arc::new(Mutex::new(Vec::new()));
            let seen = stages.clone();
            let connector = connector(identity).observer(move |report| {
                let name = format!("{:?}", report.stage);
                seen.lock().unwrap().push(name.split('(').next().unwrap_or_default().to_owned());
            });
            assert_eq!(connect(&connector, &target).await.is_ok(), is_trusted);
            let mut expected = vec!["Resolved", "Connected"];
            expected.extend((security == Security::StartTls).then_some("Greeted"));
            expected.extend(["TlsStarted", "Certificate"]);
            expected.extend(is_trusted.then_some("TlsDone"));
            assert_eq!(*stages.lock().unwrap(), expected);
        }
    }
}

/// A client that expects STARTTLS at a port with implicit TLS learns it at once instead of waiting for the greeting.
#[tokio::test]
async fn asks_a_silent_server_whether_it_speaks_tls() {
    let identity = Identity::localhost();
    let (_server, address) = server(&identity, Security::ImplicitTls).await;
    let target = Target::new("localhost", address.port(), Security::StartTls);
    let started = Instant::now();
    let error = connect(&connector(&identity), &target).await.unwrap_err();
    assert!(matches!(error, Error::Session(io_common::Error::WrongTlsMode { .. })), "{error}");
    assert!(started.elapsed() < Duration::from_secs(4));
    let mut deadlines = Deadlines::default();
    deadlines.greeting = Duration::from_millis(600);
    let without = connector(&identity).deadlines(deadlines).without_probe();
    let error = connect(&without, &target).await.unwrap_err();
    assert!(matches!(error, Error::Session(io_common::Error::TimedOut { .. })), "{error}");
}
