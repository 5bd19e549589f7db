//! Attacks that need sockets and real TLS: certificates, truncation, bytes in the wrong place of the stream, and
//! sessions that are resumed, kept or spliced.
//!
//! `wire` plays rows with steps. Rows without steps have their own function here, selected by their id.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use io_mio::{
    CloseReason, ConnectionEvent, ConnectionLimits, Context, Deadlines, Error, ErrorKind, Handler,
    ImapClientProtocol, ImapServer, ListenerTls, Next, Peer, Reactor, ReactorHandle, Security,
    ServerProtocol, SmtpClientProtocol, SmtpServer, TlsClientConfig, TlsServerConfig, TlsVersions,
};
use mailclient::delivery::{Pool, PoolLimits, Route};
use proto_mail::{Machine, PeerError, SendBuffer, StartTlsRequest};

use crate::client::Server;
use crate::client::imap_peer::ImapPeer;
use crate::client::imap_program::ImapProgram;
use crate::client::smtp_peer::SmtpPeer;
use crate::client::smtp_program::SmtpProgram;
use crate::script::{Row, Serve, Step};
use crate::verdict::{Observed, judge};
use crate::wire::{self, certificates, connector, server_config, target};

/// Runs a row.
///
/// # Panics
/// If it does not hold, or has no function here.
pub(crate) fn run(row: &Row) {
    if !matches!(row.steps.as_slice(), [Step::Act { .. }]) {
        return over_sockets(row);
    }
    let holds = match row.id.as_str() {
        "DR-01" => a_pooled_session_serves_only_its_route(),
        "DR-02" => never_sends_or_accepts_early_data(),
        "DR-03" => rejects_a_protocol_that_was_not_offered(),
        "DR-04" => no_session_is_resumed(),
        "DR-05" => detects_bytes_that_arrive_with_the_starttls_reply(),
        "DR-09" => sessions_of_two_tls_modes_cannot_be_spliced(),
        "DR-10" => a_login_trace_holds_no_credential(),
        other => panic!("no function for row {other}"),
    };
    let seen = Observed { notes: Some(holds), ..Observed::default() };
    judge(row, &seen).unwrap_or_else(|why| panic!("{}, {}: {why}", row.id, row.title));
}

fn over_sockets(row: &Row) {
    match row.role.as_str() {
        "imap-client" => wire::run::<ImapProgram, ImapPeer>(row),
        "smtp-client" => wire::run::<SmtpProgram, SmtpPeer>(row),
        other => panic!("{}: {other} does not run over sockets", row.id),
    }
}

/// Rows of the clients that test a second connection, or how a handshake fails on bytes that are not TLS: the machine
/// alone has neither.
#[test]
fn never_retries_a_failed_handshake_with_less_security() {
    let rows = ["imap-client", "smtp-client"].into_iter().flat_map(crate::rows_of);
    let plaintext = |row: &Row| row.steps.windows(2).any(|pair| matches!(pair, [Step::Sleep(_), _]));
    let of_sockets = |row: &Row| {
        let starttls = row.config.security == crate::script::Security::StartTlsRequired;
        starttls && (row.reconnect.is_some() || plaintext(row))
    };
    let rows: Vec<Row> = rows.filter(of_sockets).collect();
    rows.iter().for_each(over_sockets);
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["IC-STRIP-13", "IC-STRIP-14", "SC-STRIP-16", "SC-STRIP-17", "SC-STRIP-18"]);
}

/// The numbers of the extensions in a ClientHello.
const EARLY_DATA: u16 = 42;
const PRE_SHARED_KEY: u16 = 41;
const APPLICATION_PROTOCOLS: u16 = 16;

/// Connects this often to a server that issues tickets. Returns each ClientHello's extensions, and whether each
/// handshake was a full one.
fn hellos(connections: usize) -> Vec<(Vec<u16>, bool)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = connector();
    let mut config = server_config(&certificates().good);
    config.max_early_data_size = 1 << 14;
    let config = Arc::new(config);
    (0..connections)
        .map(|_| {
            thread::scope(|scope| {
                let server = scope.spawn(|| {
                    let (mut socket, _) = listener.accept().unwrap();
                    let extensions = extensions(&client_hello(&socket));
                    let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                    while connection.is_handshaking() {
                        connection.complete_io(&mut socket).unwrap();
                    }
                    let full = connection.handshake_kind() == Some(rustls::HandshakeKind::Full);
                    // The greeting follows the tickets, so the client has received them.
                    connection.writer().write_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n").unwrap();
                    connection.complete_io(&mut socket).unwrap();
                    let _ = connection.complete_io(&mut socket);
                    (extensions, full)
                });
                let mut connection = connector
                    .connect::<ImapClientProtocol>(&target(port, Security::ImplicitTls), &Arc::default())
                    .unwrap();
                connection
                    .drive(|turn, _, _| {
                        Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(_)).then_some(()))
                    })
                    .unwrap();
                drop(connection);
                server.join().unwrap()
            })
        })
        .collect()
}

/// Peeks at the first record that a client sends.
fn client_hello(socket: &TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut hello = vec![0; 16 * 1024];
    loop {
        let count = socket.peek(&mut hello).unwrap();
        assert!(count > 0, "no ClientHello");
        if count > 5 && count >= 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])) {
            hello.truncate(count);
            return hello;
        }
    }
}

/// RFC 8446 §4.1.2.
fn extensions(record: &[u8]) -> Vec<u16> {
    let number = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    // The record's header, the message's, the version and the random.
    let mut rest = &record[5 + 4 + 2 + 32..];
    rest = &rest[1 + usize::from(rest[0])..];
    rest = &rest[2 + usize::from(number(rest))..];
    rest = &rest[1 + usize::from(rest[0])..];
    rest = &rest[2..];
    let mut found = Vec::new();
    while rest.len() >= 4 {
        found.push(number(rest));
        rest = &rest[4 + usize::from(number(&rest[2..]))..];
    }
    found
}

fn no_session_is_resumed() -> bool {
    hellos(2).iter().all(|(extensions, full)| *full && !extensions.contains(&PRE_SHARED_KEY))
}

/// A client sends no early data to a server that would accept it, and a server accepts none from a client that sends
/// it.
fn never_sends_or_accepts_early_data() -> bool {
    let server = TestServer::start::<ImapServer>(&Arc::default(), Mode::Implicit);
    let mut roots = rustls::RootCertStore::empty();
    let authority = rustls::pki_types::pem::PemObject::from_pem_slice(certificates().authority.as_bytes());
    roots.add(authority.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let taken = (0..2).map(|_| {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let name = "localhost".try_into().unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let may = connection.early_data().is_some();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"* OK");
        may || stream.conn.is_early_data_accepted()
    });
    let taken: Vec<bool> = taken.collect();
    taken == [false, false] && hellos(2).iter().all(|(extensions, _)| !extensions.contains(&EARLY_DATA))
}

/// A client offers no protocol unless configured, and requires the one that it offers: against a server that knows
/// other names only, and one that answers with another name.
fn rejects_a_protocol_that_was_not_offered() -> bool {
    let silent = hellos(1).iter().all(|(extensions, _)| !extensions.contains(&APPLICATION_PROTOCOLS));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = TlsClientConfig::authorities_pem(certificates().authority.as_bytes()).unwrap();
    let connector = io_mio::Connector::new(tls.application_protocols(&["imap"]));
    let connector = connector.deadlines(Deadlines::uniform(Duration::from_secs(3))).without_probe();
    let refused = |answer: fn(&mut TcpStream)| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut socket, _) = listener.accept().unwrap();
                assert!(extensions(&client_hello(&socket)).contains(&APPLICATION_PROTOCOLS));
                answer(&mut socket);
            });
            connector
                .connect::<ImapClientProtocol>(&target(port, Security::ImplicitTls), &Arc::default())
                .is_err()
        })
    };
    let knows_others = refused(|socket| {
        let mut config = server_config(&certificates().good);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() && connection.complete_io(socket).is_ok() {}
    });
    let chooses_another = refused(|socket| {
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(&hello_with_protocol(b"http/1.1"));
        // Whether the client continues; at most an alert comes.
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.first().is_none_or(|&kind| kind == 21), "the client continues: {answer:?}");
    });
    silent && knows_others && chooses_another
}

/// A ServerHello of TLS 1.2 that selects this protocol.
fn hello_with_protocol(name: &[u8]) -> Vec<u8> {
    let len = name.len() as u8;
    let protocol = [&[0, 16, 0, len + 3, 0, len + 1, len][..], name].concat();
    let extensions = [&[0xff, 0x01, 0, 1, 0, 0, 23, 0, 0][..], &protocol].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        // No session, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
        &[0, 0xc0, 0x2b, 0, 0, extensions.len() as u8],
        &extensions,
    ]
    .concat();
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 3, 0, message.len() as u8][..], &message].concat()
}

/// Bytes that arrive with the reply to STARTTLS are an injection, even if they are TLS, since the peer could not have
/// sent them yet. The same holds for a server.
fn detects_bytes_that_arrive_with_the_starttls_reply() -> bool {
    let record = b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n").unwrap();
            let _ = socket.read(&mut [0; 100]).unwrap();
            socket.write_all(&[b"M1 OK begin\r\n", &record[..]].concat()).unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest);
            assert_eq!(rest, b"", "the client continues");
        });
        connector()
            .connect::<ImapClientProtocol>(&target(port, Security::StartTls), &Arc::default())
            .unwrap_err()
    });
    let server = TestServer::start::<SmtpServer>(&Arc::default(), Mode::StartTls);
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let _ = socket.read(&mut [0; 100]).unwrap();
    socket.write_all(&[b"EHLO x.example.test\r\nSTARTTLS\r\n", &record[..]].concat()).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let closed = server.stop();
    is_injection(&client) && !String::from_utf8_lossy(&answer).contains("220 ") && closed == [true]
}

fn is_injection(error: &Error) -> bool {
    let injection = proto_mail::Error::Peer(PeerError::PlaintextAfterStartTls);
    error.kind() == ErrorKind::Security && matches!(error, Error::Protocol(error) if *error == injection)
}

/// An attacker sends STARTTLS to one side and splices the other side's TLS into it. The certificate is valid; a
/// greeting is missing or surplus.
fn sessions_of_two_tls_modes_cannot_be_spliced() -> bool {
    let imap = TestServer::start::<ImapServer>(&Arc::default(), Mode::StartTls);
    let implicit = spliced::<ImapPeer>(imap.port, &["", "x STARTTLS\r\n"], Security::ImplicitTls, |target| {
        let connector = connector().deadlines(Deadlines::uniform(Duration::from_millis(400)));
        let mut connection = connector.connect::<ImapClientProtocol>(target, &Arc::default()).unwrap();
        connection.drive(|_, _, _| Ok::<Option<()>, Error>(None)).is_err()
    });
    let smtp = TestServer::start::<SmtpServer>(&Arc::default(), Mode::Implicit);
    let starttls = spliced::<SmtpPeer>(smtp.port, &[], Security::StartTls, |target| {
        let mut connection = connector().connect::<SmtpClientProtocol>(target, &Arc::default()).unwrap();
        // The greeting answers no command of the client, so the client never continues.
        mailclient::delivery::wait_until_ready(&mut connection).is_err()
    });
    implicit && starttls
}

/// Connects through an attacker that sends these lines to the server first, and plays the server of the cleartext
/// part towards the client.
fn spliced<S: Server + Send>(
    port: u16,
    lines: &[&str],
    security: Security,
    connect: impl FnOnce(&io_mio::Target) -> bool,
) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (client, _) = listener.accept().unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for line in lines {
                server.write_all(line.as_bytes()).unwrap();
                let _ = server.read(&mut [0; 1000]).unwrap();
            }
            if security == Security::StartTls {
                lead_to_tls(&client, S::default());
            }
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            scope.spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                to.shutdown(std::net::Shutdown::Both).ok();
            });
            let (mut from, mut to) = (server, client);
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(std::net::Shutdown::Both).ok();
        });
        connect(&target(between, security))
    })
}

/// Serves a client up to its STARTTLS, and accepts that.
fn lead_to_tls<S: Server>(mut client: &TcpStream, mut server: S) {
    let serve = Serve { capabilities: vec!["STARTTLS".into()], ..Serve::default() };
    client.write_all(b"220 mx.example.test\r\n").unwrap();
    loop {
        let mut bytes = vec![0; 1000];
        let count = client.read(&mut bytes).unwrap();
        server.hear(&bytes[..count]);
        while let Some(verb) = server.next() {
            client.write_all(server.answer(&serve).text.as_bytes()).unwrap();
            if verb == "STARTTLS" {
                return;
            }
        }
    }
}

/// The control rows of both protocols: `wire` checks the trace of each of them.
fn a_login_trace_holds_no_credential() -> bool {
    let control = |file: &str, id: &str| crate::rows_of(file).into_iter().find(|row| row.id == id).unwrap();
    wire::run::<ImapProgram, ImapPeer>(&control("imap-client", "IC-OK-01"));
    wire::run::<SmtpProgram, SmtpPeer>(&control("smtp-client", "SC-OK-01"));
    true
}

/// Two routes to one host: a session of one is not used for the other, even while idle.
fn a_pooled_session_serves_only_its_route() -> bool {
    let server = TestServer::start::<SmtpServer>(&Arc::default(), Mode::StartTls);
    let way = target(server.port, Security::StartTls);
    let pool = Pool::new(PoolLimits::default());
    let other_name = way.clone().verify_name("localhost.");
    let routes =
        [&way, &other_name].map(|target| Route::without_login(&connector(), target, &Arc::default()));
    let count = |routes: &[&Route<proto_mail::Secure>]| {
        for route in routes {
            drop(pool.session(route).unwrap());
        }
        pool.sessions()
    };
    let (one, two) = (&routes[0], &routes[1]);
    count(&[one, one]) == (1, 1) && count(&[two, two]) == (2, 2) && count(&[one, &one.clone()]) == (2, 2)
}

/// How a server of these tests is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Implicit,
    StartTls,
}

/// A server of the library, on its own thread.
struct TestServer {
    port: u16,
    handle: ReactorHandle,
    thread: Option<thread::JoinHandle<()>>,
    /// For each failed session, whether bytes were injected.
    failed: Arc<Mutex<Vec<bool>>>,
}

impl TestServer {
    fn start<P: Greeting>(config: &P::Config, mode: Mode) -> Self {
        let identity = &certificates().good;
        let tls =
            TlsServerConfig::from_pem(identity.chain.as_bytes(), identity.key.as_bytes(), TlsVersions::Both);
        let tls = match mode {
            Mode::Implicit => ListenerTls::Implicit(tls.unwrap()),
            Mode::StartTls => ListenerTls::StartTls(tls.unwrap()),
        };
        let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
        let failed = Arc::<Mutex<Vec<bool>>>::default();
        let noted = Arc::clone(&failed);
        let factory = move |_: &Peer| Noting(Arc::clone(&noted));
        let any = "127.0.0.1:0".parse().unwrap();
        let address =
            reactor.listen::<P, Noting>(any, tls, config.clone(), Deadlines::default(), factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(thread::spawn(move || reactor.run().unwrap()));
        Self { port: address.port(), handle, thread, failed }
    }

    /// Stops the server; for each failed session, whether bytes were injected.
    fn stop(mut self) -> Vec<bool> {
        self.end();
        std::mem::take(&mut *self.failed.lock().unwrap())
    }

    fn end(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that greets, starts TLS, and does nothing else.
trait Greeting: ServerProtocol {
    fn starttls(event: <Self::Cleartext as Machine>::Event<'_>) -> Option<StartTlsRequest>;
}

impl Greeting for ImapServer {
    fn starttls(event: <Self::Cleartext as Machine>::Event<'_>) -> Option<StartTlsRequest> {
        match event {
            proto_imap::server::Event::StartTls(request) => Some(request),
            _ => None,
        }
    }
}

impl Greeting for SmtpServer {
    fn starttls(event: <Self::Cleartext as Machine>::Event<'_>) -> Option<StartTlsRequest> {
        match event {
            proto_smtp::server::Event::StartTls(request) => Some(request),
            _ => None,
        }
    }
}

struct Noting(Arc<Mutex<Vec<bool>>>);

impl<P: Greeting> Handler<P> for Noting {
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        _: &mut P::Cleartext,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        P::starttls(event).map_or(Next::Continue, Next::StartTls)
    }

    fn secure(
        &mut self,
        _: <P::Secure as Machine>::Event<'_>,
        _: &mut P::Secure,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        Next::Continue
    }

    fn closed(&mut self, why: &CloseReason) {
        if let CloseReason::Failed(error) = why {
            self.0.lock().unwrap().push(is_injection(error));
        }
    }
}
