//! A client under attack over sockets and with real TLS: the same rows, through the driver.
//!
//! This module plays the server: a listener on loopback, valid and invalid certificates, and the handshake. Other
//! modules interpret a row's steps and answer commands. Every run takes a few seconds at most.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use io_mio::{
    Connection, ConnectionEvent, Connector, Deadlines, Protocol, Target, TlsClientConfig, TraceWriter,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::client::{Application, Next, Server};
use crate::script::{self, Row, Security, Serve, Step, Tls};
use crate::verdict::{Observed, Piece, holds_secret, judge};

/// How long the server waits before it treats the client as silent.
const SILENCE: Duration = Duration::from_millis(60);
/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(3);

/// A certificate chain and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// An authority that the clients trust, certificates that it signed, and others.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) good: Identity,
    wrong_host: Identity,
    expired: Identity,
    self_signed: Identity,
}

/// The certificates of all tests here.
pub(crate) fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let signed = |name: &str, until: i32| {
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            Identity { chain: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
        };
        let alone = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Certificates {
            good: signed("localhost", 2100),
            wrong_host: signed("elsewhere.example.test", 2100),
            expired: signed("localhost", 2001),
            self_signed: Identity { chain: alone.cert.pem(), key: alone.signing_key.serialize_pem() },
            authority,
        }
    })
}

/// Runs a row against a client with its driver.
///
/// # Panics
/// If the result is not what the row requires.
pub(crate) fn run<A: Application, S: Server + Send>(row: &Row) {
    let Some((application, config)) = A::new(&row.config) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::default();
    let (mut seen, client) = thread::scope(|scope| {
        let server = scope.spawn(|| serve::<S>(&listener, row));
        let client = connect(port, row, application, &config, &log);
        (server.join().unwrap(), client)
    });
    seen.client = Some(client.0);
    seen.shown = client.1;
    // A second attempt would be accepted here.
    listener.set_nonblocking(true).unwrap();
    seen.second_listener = Some(listener.accept().is_ok());
    assert_eq!(seen.second_listener, Some(false), "{}: the client opened another connection", row.id);
    judge(row, &seen).unwrap_or_else(|why| panic!("{}, {}: {why}\n{seen:?}", row.id, row.title));
    let trace = log.0.lock().unwrap();
    let told = String::from_utf8_lossy(&trace);
    assert!(!holds_secret(&trace, &row.config.password), "{}: the trace holds the password: {told}", row.id);
}

/// A trace of a connection, as a log would contain it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A connector that trusts the authority.
pub(crate) fn connector() -> Connector {
    let tls = TlsClientConfig::authorities_pem(certificates().authority.as_bytes()).unwrap();
    // A diagnostic connection would look like a second attempt.
    Connector::new(tls).deadlines(Deadlines::uniform(PATIENCE)).without_probe()
}

pub(crate) fn target(port: u16, security: io_mio::Security) -> Target {
    Target::new("localhost", port, security).dial_to("127.0.0.1", port)
}

fn connect<A: Application>(
    port: u16,
    row: &Row,
    application: A,
    config: &<A::Protocol as Protocol>::Config,
    log: &Log,
) -> (bool, Vec<u8>) {
    let security = match row.config.security {
        Security::ImplicitTls => io_mio::Security::ImplicitTls,
        _ => io_mio::Security::StartTls,
    };
    let log = log.clone();
    let connector = connector().trace(move || Box::new(TraceWriter::new(log.clone())));
    match connector.connect::<A::Protocol>(&target(port, security), config) {
        Ok(connection) => converse(connection, application),
        Err(error) => (false, format!("{error}\n{error:?}").into_bytes()),
    }
}

/// Runs the application. Returns whether it did its task, and what it was shown.
pub(crate) fn converse<A: Application>(
    mut connection: Connection<<A::Protocol as Protocol>::Secure>,
    mut application: A,
) -> (bool, Vec<u8>) {
    let done = connection.drive(|turn, machine, tx| {
        let next = match turn {
            ConnectionEvent::Machine(event) => application.secure(event, machine, tx),
            ConnectionEvent::Writable => application.rest(machine, tx).unwrap_or(Next::GoOn),
        };
        Ok::<_, io_mio::Error>((next != Next::GoOn).then_some(next == Next::Done))
    });
    let mut shown = application.shown();
    let done = done.unwrap_or_else(|error| {
        shown.extend(format!("{error}\n{error:?}").into_bytes());
        false
    });
    (done, shown)
}

/// The server's end of a connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

/// A server that plays a row.
struct Player<'r, S> {
    row: &'r Row,
    stream: Stream,
    server: S,
    seen: Observed,
    put_out: usize,
    over: bool,
}

fn serve<S: Server>(listener: &TcpListener, row: &Row) -> Observed {
    let (socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let begun = Instant::now();
    let mut player = Player {
        row,
        stream: Stream::Plain(socket),
        server: S::default(),
        seen: Observed::default(),
        put_out: 0,
        over: false,
    };
    row.steps.iter().for_each(|step| player.step(step));
    // Reads what the client still sends, and whether it closes by itself.
    while player.read() {}
    player.seen.closed = player.over;
    player.socket().shutdown(Shutdown::Both).ok();
    player.server.told(&mut player.seen);
    player.seen.seconds = begun.elapsed().as_secs_f64();
    player.seen
}

impl<S: Server> Player<'_, S> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Receive(bytes) => self.say(bytes),
            Step::Raw(bytes) => {
                let _ = self.socket().write_all(&script::bytes(bytes));
            }
            Step::Tls(tls) => self.handshake(tls),
            Step::Serve(serve) => self.serve(serve),
            Step::Mark { name, .. } => self.seen.marks.push((name.clone(), self.put_out)),
            // Long enough for everything that the client does immediately.
            Step::Sleep(_) => {
                self.read();
            }
            Step::End(_) => {
                self.socket().shutdown(Shutdown::Write).ok();
            }
            other => panic!("{}: not over sockets: {other:?}", self.row.id),
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match &mut self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }

    fn say(&mut self, template: &str) {
        let text = script::filled_for(self.row, &self.server.tag(), template);
        // The client may be gone.
        let _ = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(&text),
            Stream::Tls(stream) => stream.write_all(&text).and_then(|()| stream.flush()),
        };
    }

    /// Reads what the client sends next. Returns false if it is silent or gone.
    fn read(&mut self) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        self.socket().set_read_timeout(Some(SILENCE)).unwrap();
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut bytes),
            Stream::Tls(stream) => stream.read(&mut bytes),
        };
        match read {
            Ok(0) => self.over = true,
            Ok(count) => {
                bytes.truncate(count);
                self.server.hear(&bytes);
                self.put_out += count;
                let under_tls = matches!(self.stream, Stream::Tls(_));
                self.seen.output.push(Piece { bytes, under_tls });
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.over = true,
        }
        false
    }

    fn serve(&mut self, serve: &Serve) {
        if serve.silent {
            return;
        }
        // A client that is busy (deriving keys, verifying) gets more time.
        let mut quiet = 0;
        while !self.over && quiet < 5 {
            let Some(verb) = self.server.next() else {
                quiet = if self.read() { 0 } else { quiet + 1 };
                continue;
            };
            if serve.until.as_ref() == Some(&verb) {
                return self.server.leave();
            }
            let answer = self.server.answer(serve);
            self.say(&answer.text);
            if let Some(mark) = answer.mark {
                self.seen.marks.push((mark.to_owned(), self.put_out));
            }
            if answer.stop {
                return;
            }
        }
    }

    fn handshake(&mut self, tls: &Tls) {
        let Stream::Plain(socket) = &mut self.stream else { panic!("{}: TLS in TLS", self.row.id) };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Some(version) = &tls.version {
            assert_eq!(version, "1.1", "{}: unknown version", self.row.id);
            self.seen.tls = Some(false);
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(&old_hello());
            return;
        }
        let certificates = certificates();
        let identity = match tls.certificate.as_deref() {
            None => &certificates.good,
            Some("wronghost") => &certificates.wrong_host,
            Some("expired") => &certificates.expired,
            Some("selfsigned") => &certificates.self_signed,
            Some(other) => panic!("{}: unknown certificate {other}", self.row.id),
        };
        let connection = rustls::ServerConnection::new(Arc::new(server_config(identity))).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket.try_clone().unwrap());
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                self.seen.tls = Some(false);
                self.over = true;
                return;
            }
        }
        self.seen.tls = Some(true);
        self.stream = Stream::Tls(Box::new(stream));
        self.server.secured();
    }
}

/// A ServerHello that selects TLS 1.1.
fn old_hello() -> Vec<u8> {
    [&b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"[..], &[7; 32], b"\x00\xc0\x09\x00"].concat()
}

/// Default settings for a server with this certificate.
pub(crate) fn server_config(identity: &Identity) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap()
}
