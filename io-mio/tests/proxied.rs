//! Listeners behind proxies: the header first, then the session, with TLS or without.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod toy;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use io_mio::{
    ConnectionLimits, Context, Deadlines, Handler, ListenerTls, MachineMut, Next, Peer, Reactor,
    ReactorHandle, SmtpServer, TrustedProxies,
};
use proto_mail::{Cleartext, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::server::{Event, Server};

type Seen = Arc<Mutex<Vec<SocketAddr>>>;

/// Records the address of each client.
struct App(Seen);

impl Handler<SmtpServer> for App {
    fn opened(&mut self, _: MachineMut<'_, SmtpServer>, _: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        self.0.lock().unwrap().push(cx.peer().address.as_socket_addr().unwrap());
        Next::Continue
    }

    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        _: &mut Server<Cleartext>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        if matches!(event, Event::Closed) { Next::Close } else { Next::Continue }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        _: &mut Server<Secure>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        if matches!(event, Event::Closed) { Next::Close } else { Next::Continue }
    }
}

struct Running {
    address: SocketAddr,
    seen: Seen,
    handle: ReactorHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(proxies: &str, tls: ListenerTls) -> Self {
        let seen = Seen::default();
        let mut limits = ConnectionLimits::default();
        limits.connections_per_address = 1;
        let mut reactor = Reactor::new(limits).unwrap();
        let made = seen.clone();
        let config = Arc::new(Config::mail_exchanger());
        let address = "127.0.0.1:0".parse().unwrap();
        let make = move |_: &Peer| App(made.clone());
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let bound =
            reactor.listen_behind::<SmtpServer, _>(proxies, address, tls, config, Deadlines::default(), make);
        let (address, handle) = (bound.unwrap(), reactor.handle());
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, seen, handle, thread }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::from_secs(2));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n";

/// A version 2 header for 192.0.2.8:513, with an extension after the addresses.
fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 8, 198, 51, 100, 2, 2, 1, 0, 25];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10", &addresses[..], &[4, 0, 1, 0]].concat()
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

/// Returns whether the server sends nothing and closes the connection.
fn is_closed(mut socket: TcpStream) -> bool {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => bytes.is_empty(),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_session_is_that_of_the_client() {
    let server = Running::start("127.0.0.0/8", ListenerTls::None);
    // The header in one piece with other input, byte by byte, and with an unknown address. All come from one proxy, to
    // which no limit applies.
    let mut together = BufReader::new(server.connect());
    together.get_mut().write_all(V1).unwrap();
    assert!(line(&mut together).starts_with("220 "));
    together.get_mut().write_all(b"QUIT\r\n").unwrap();
    assert!(line(&mut together).starts_with("221 "));
    let mut apart = BufReader::new(server.connect());
    for byte in v2() {
        apart.get_mut().write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(line(&mut apart).starts_with("220 "));
    let mut own = server.connect();
    own.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    let own_address = own.local_addr().unwrap().to_string();
    let mut own = BufReader::new(own);
    assert!(line(&mut own).starts_with("220 "));
    assert_eq!(server.seen(), ["192.0.2.7:40000", "192.0.2.8:513", own_address.as_str()]);
}

/// The header and the ClientHello arrive together, right after the proxy has connected or a while later.
#[test]
fn tls_begins_behind_the_header() {
    let (authority, identity) = toy::localhost();
    for wait in [0, 50] {
        let server = Running::start("127.0.0.1", ListenerTls::Implicit(identity.server()));
        let mut socket = server.connect();
        std::thread::sleep(Duration::from_millis(wait));
        let mut tls = toy::rustls_client(&authority);
        let mut flight = v2();
        tls.write_tls(&mut flight).unwrap();
        socket.write_all(&flight).unwrap();
        let mut stream = BufReader::new(rustls::StreamOwned::new(tls, socket));
        assert!(line(&mut stream).starts_with("220 "));
        assert_eq!(server.seen(), ["192.0.2.8:513"]);
    }
}

/// A listener that trusts loopback clients does not trust a remote client that a local proxy announces.
#[test]
fn who_comes_from_elsewhere_is_not_of_this_machine() {
    let server = Running::start("127.0.0.1", ListenerTls::TrustedLocal);
    for elsewhere in [V1, &v2(), b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n"] {
        let mut socket = server.connect();
        socket.write_all(elsewhere).unwrap();
        assert!(is_closed(socket), "{}", elsewhere.escape_ascii());
    }
    assert!(server.seen().is_empty());
    for here in ["PROXY TCP4 127.0.0.9 127.0.0.1 40000 25\r\n", "PROXY TCP6 ::1 ::1 40000 25\r\n"] {
        let mut socket = BufReader::new(server.connect());
        socket.get_mut().write_all(here.as_bytes()).unwrap();
        assert!(line(&mut socket).starts_with("220 "), "{here}");
    }
    assert_eq!(server.seen(), ["127.0.0.9:40000", "[::1]:40000"]);
}

#[test]
fn refuses_headers_from_untrusted_addresses() {
    let server = Running::start("192.0.2.0/24", ListenerTls::None);
    let mut socket = server.connect();
    let _ = socket.write_all(V1);
    assert!(is_closed(socket));
    assert!(server.seen().is_empty());
}

#[test]
fn a_proxy_that_says_something_else_is_closed() {
    let server = Running::start("127.0.0.1", ListenerTls::None);
    for odd in [
        &b"EHLO client.test\r\n"[..],
        b"PROXY TCP4 192.0.2.7 1 2 3\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
    ] {
        let mut socket = server.connect();
        socket.write_all(odd).unwrap();
        assert!(is_closed(socket), "{}", odd.escape_ascii());
    }
    drop(server.connect());
    assert!(server.seen().is_empty());
}

/// The header, commands and the end of the connection arrive together: the poll reports the end only once.
#[test]
fn a_client_that_has_sent_everything_and_left_ends_its_session() {
    let server = Running::start("127.0.0.1", ListenerTls::None);
    let mut socket = server.connect();
    // The session waits for the header, and the kernel holds the bytes back until the end follows.
    std::thread::sleep(Duration::from_millis(50));
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_cork(true).unwrap();
    let [header, commands] = [V1, b"NOOP\r\n"];
    socket.write_all(&[header, commands].concat()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("220 ") && said.contains("\r\n250 "), "{said}");
}

#[test]
fn a_factory_that_panics_ends_only_its_own_connection() {
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let factory = move |_: &Peer| {
        assert!(made.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0, "the test wants it");
        App(Seen::default())
    };
    let (proxies, address) = ("127.0.0.1".parse().unwrap(), "127.0.0.1:0".parse().unwrap());
    let (config, deadlines) = (Arc::new(Config::default()), Deadlines::default());
    let tls = ListenerTls::None;
    let bound = reactor.listen_behind::<SmtpServer, _>(proxies, address, tls, config, deadlines, factory);
    let (address, handle) = (bound.unwrap(), reactor.handle());
    let running = std::thread::spawn(move || reactor.run().is_ok());
    for is_served in [false, true] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(V1).unwrap();
        assert_eq!(socket.read_exact(&mut [0; 4]).is_ok(), is_served);
    }
    handle.shut_down(Duration::ZERO);
    assert!(running.join().unwrap());
}

#[test]
fn networks_are_read() {
    let mut proxies: TrustedProxies = "192.0.2.0/24".parse().unwrap();
    proxies.add(&"2001:db8::1".parse().unwrap());
    for (address, trusted) in [
        ("192.0.2.200", true),
        ("::ffff:192.0.2.200", true),
        ("192.0.3.1", false),
        ("2001:db8::1", true),
        ("2001:db8::2", false),
    ] {
        assert_eq!(proxies.contains(address.parse().unwrap()), trusted, "{address}");
    }
    assert!("example.test".parse::<TrustedProxies>().unwrap_err().contains("192.0.2.0/24"));
}
