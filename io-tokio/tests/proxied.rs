//! Listeners behind proxies: the header first, then the session, with TLS or without; for handlers and async functions.

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
    time::Duration,
};

use common::Identity;
use io_tokio::{
    Address, ConnectionLimits, Connector, Context, Deadlines, Error, Handler, ListenerSettings, ListenerTls,
    MachineMut, Next, Peer, Security, Server, SmtpServer, Socket, Target,
    server::{BoundPort, CleartextSession, SecureSession, Service},
};
use proto_mail::{Cleartext, Secure, SendBuffer};
use proto_smtp::server::{self, Event};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

type Seen = Arc<Mutex<Vec<SocketAddr>>>;

/// Records the address of each client.
#[derive(Clone)]
struct App(Seen);

impl App {
    fn note(&self, address: &Address) {
        self.0.lock().unwrap().push(address.as_socket_addr().unwrap());
    }
}

impl Handler<SmtpServer> for App {
    fn opened(&mut self, _: MachineMut<'_, SmtpServer>, _: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        self.note(&cx.peer().address);
        Next::Continue
    }

    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        _: &mut server::Server<Cleartext>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        if matches!(event, Event::Closed) { Next::Close } else { Next::Continue }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        _: &mut server::Server<Secure>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        if matches!(event, Event::Closed) { Next::Close } else { Next::Continue }
    }
}

impl Service<SmtpServer> for App {
    async fn secure(&self, mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
        self.note(&session.peer().address);
        while session.next_event().await?.is_some() {}
        Ok(())
    }

    async fn cleartext(&self, mut session: CleartextSession<SmtpServer>) -> Result<(), Error> {
        self.note(&session.peer().address);
        while session.next_event().await?.is_some() {}
        Ok(())
    }
}

/// What serves the sessions.
#[derive(Debug, Clone, Copy)]
enum By {
    Handler,
    Service,
}

const BOTH: [By; 2] = [By::Handler, By::Service];

struct Running {
    address: SocketAddr,
    seen: Seen,
    server: Server,
}

impl Running {
    async fn start(by: By, proxies: &str, tls: ListenerTls) -> Self {
        let mut limits = ConnectionLimits::default();
        limits.connections_per_address = 1;
        let (mut server, seen) = (Server::new(limits), Seen::default());
        let port = BoundPort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = port.address().as_socket_addr().unwrap();
        let settings = ListenerSettings::<SmtpServer>::new(Arc::default(), tls, Deadlines::default());
        let (proxies, app) = (Some(proxies.parse().unwrap()), App(seen.clone()));
        match by {
            By::Handler => server.listen_on(port, proxies, &settings, move |_: &Peer| app.clone()).unwrap(),
            By::Service => server.serve_on(port, proxies, &settings, app).unwrap(),
        }
        Self { address, seen, server }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n";

/// A version 2 header for 192.0.2.8:513, with an extension after the addresses.
fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 8, 198, 51, 100, 2, 2, 1, 0, 25];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10", &addresses[..], &[4, 0, 1, 0]].concat()
}

async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    timeout(Duration::from_secs(10), reader.read_line(&mut line)).await.unwrap().unwrap();
    line
}

/// Returns whether the server sends nothing and closes the connection.
async fn is_closed(mut socket: TcpStream) -> bool {
    let mut bytes = Vec::new();
    match timeout(Duration::from_secs(5), socket.read_to_end(&mut bytes)).await {
        Ok(Ok(_)) => bytes.is_empty(),
        Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Err(_) => false,
    }
}

#[tokio::test]
async fn the_session_is_that_of_the_client() {
    for by in BOTH {
        let server = Running::start(by, "127.0.0.0/8", ListenerTls::None).await;
        // The header in one piece with other input, byte by byte, and with an unknown address. All come from one proxy,
        // to which no limit applies.
        let mut together = BufReader::new(server.connect().await);
        together.get_mut().write_all(&[V1, b"EHLO early.test\r\n"].concat()).await.unwrap();
        assert!(line(&mut together).await.starts_with("220 "), "{by:?}");
        let mut apart = BufReader::new(server.connect().await);
        for byte in v2() {
            apart.get_mut().write_all(&[byte]).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        assert!(line(&mut apart).await.starts_with("220 "), "{by:?}");
        let mut own = server.connect().await;
        own.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        let own_address = own.local_addr().unwrap().to_string();
        let mut own = BufReader::new(own);
        assert!(line(&mut own).await.starts_with("220 "), "{by:?}");
        assert_eq!(server.seen(), ["192.0.2.7:40000", "192.0.2.8:513", own_address.as_str()], "{by:?}");
    }
}

/// The limit of connections for each address counts the clients that the proxy announces.
#[tokio::test]
async fn limits_count_the_announced_client() {
    for by in BOTH {
        let server = Running::start(by, "127.0.0.1", ListenerTls::None).await;
        let mut first = BufReader::new(server.connect().await);
        first.get_mut().write_all(V1).await.unwrap();
        assert!(line(&mut first).await.starts_with("220 "), "{by:?}");
        let mut second = BufReader::new(server.connect().await);
        second.get_mut().write_all(V1).await.unwrap();
        assert!(!line(&mut second).await.starts_with("220 "), "{by:?}");
        let mut other = BufReader::new(server.connect().await);
        other.get_mut().write_all(&v2()).await.unwrap();
        assert!(line(&mut other).await.starts_with("220 "), "{by:?}");
    }
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    let identity = Identity::localhost();
    for by in BOTH {
        let server = Running::start(by, "127.0.0.1", ListenerTls::Implicit(identity.server())).await;
        for wait in [0, 50] {
            let mut stream = server.connect().await;
            sleep(Duration::from_millis(wait)).await;
            stream.write_all(&v2()).await.unwrap();
            let target = Target::new("localhost", 465, Security::ImplicitTls);
            let connector = Connector::new(identity.trust());
            let socket = Socket::try_from(stream).unwrap();
            let connected = connector
                .connect_over::<io_tokio::io_common::SmtpClientProtocol>(socket, &target, &Arc::default())
                .await;
            let connection = connected.unwrap();
            timeout(Duration::from_secs(10), connection.close()).await.unwrap().unwrap();
            // Until the session has ended, the client counts.
            while server.server.sessions() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(server.seen(), ["192.0.2.8:513", "192.0.2.8:513"], "{by:?}");
    }
}

/// A listener that trusts loopback clients does not trust a remote client that a local proxy announces.
#[tokio::test]
async fn a_remote_client_behind_a_local_proxy_is_not_local() {
    for by in BOTH {
        let server = Running::start(by, "127.0.0.1", ListenerTls::TrustedLocal).await;
        for elsewhere in [V1, &v2(), b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n"] {
            let mut socket = server.connect().await;
            socket.write_all(elsewhere).await.unwrap();
            assert!(is_closed(socket).await, "{by:?} {}", elsewhere.escape_ascii());
        }
        assert!(server.seen().is_empty());
        for here in ["PROXY TCP4 127.0.0.9 127.0.0.1 40000 25\r\n", "PROXY TCP6 ::1 ::1 40000 25\r\n"] {
            let mut socket = BufReader::new(server.connect().await);
            socket.get_mut().write_all(here.as_bytes()).await.unwrap();
            assert!(line(&mut socket).await.starts_with("220 "), "{by:?} {here}");
        }
        assert_eq!(server.seen(), ["127.0.0.9:40000", "[::1]:40000"], "{by:?}");
    }
}

#[tokio::test]
async fn refuses_untrusted_addresses_and_anything_but_a_header() {
    for by in BOTH {
        let server = Running::start(by, "192.0.2.0/24", ListenerTls::None).await;
        let mut socket = server.connect().await;
        let _ = socket.write_all(V1).await;
        assert!(is_closed(socket).await, "{by:?}");
        assert!(server.seen().is_empty());
        let server = Running::start(by, "127.0.0.1", ListenerTls::None).await;
        for odd in [
            &b"EHLO client.test\r\n"[..],
            b"PROXY TCP4 192.0.2.7 1 2 3\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        ] {
            let mut socket = server.connect().await;
            socket.write_all(odd).await.unwrap();
            assert!(is_closed(socket).await, "{by:?} {}", odd.escape_ascii());
        }
        drop(server.connect().await);
        assert!(server.seen().is_empty(), "{by:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_sends_no_header_does_not_delay_the_shutdown() {
    for by in BOTH {
        let server = Running::start(by, "127.0.0.1", ListenerTls::None).await;
        let socket = server.connect().await;
        while server.server.sessions() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let ended = timeout(Duration::from_secs(5), server.server.shut_down(Duration::from_secs(60)));
        ended.await.unwrap_or_else(|_| panic!("{by:?}"));
        assert!(is_closed(socket).await, "{by:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn proxies_cannot_stand_before_a_unix_socket() {
    let folder = common::Folder::new();
    let mut server = Server::new(ConnectionLimits::default());
    let settings =
        ListenerSettings::<SmtpServer>::new(Arc::default(), ListenerTls::None, Deadlines::default());
    let app = App(Seen::default());
    let proxies = || Some("127.0.0.1".parse().unwrap());
    let port = BoundPort::bind_unix(folder.0.join("one")).unwrap();
    assert!(matches!(server.serve_on(port, proxies(), &settings, app.clone()), Err(Error::Invalid(_))));
    let port = BoundPort::bind_unix(folder.0.join("two")).unwrap();
    let refused = server.listen_on(port, proxies(), &settings, move |_: &Peer| app.clone());
    assert!(matches!(refused, Err(Error::Invalid(_))));
}
