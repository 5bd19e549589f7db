//! A server that plays a script.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use io_common::{Security, Target, TlsClientConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::certificates;
use crate::error::Error;
use crate::script::{NumberedStep, ScriptError, Step, Variables, parse};
use crate::server::{target, trust};

/// How long the server waits for a client, and for each line.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often it looks whether it is dropped.
const INTERVAL: Duration = Duration::from_millis(10);
/// The longest line that is accepted from a client, in bytes.
const MAX_LINE: usize = 1 << 20;

/// A server that plays a script with one client, for what no real server does. It knows no protocol, so scripts of IMAP use
/// tags (`C: $tag LOGIN *`, `S: $tag NO no`).
///
/// Each line of the script is one step:
///
/// | step | meaning |
/// |---|---|
/// | `S: TEXT` | the server sends the text and CRLF |
/// | `S-: TEXT` | the server sends the text without a line end |
/// | `C: PATTERN` | the client must send a line that matches: `*` is any text, `$name` is one word, which later steps can use. Letters match in any case |
/// | `tls` | TLS starts, with the certificate of [`Server::ca_pem`](crate::Server::ca_pem) |
/// | `wait TIME` | the server does nothing: `250ms`, `2s` |
/// | `close` | the server closes the connection; so does the end of the script |
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
///
/// let server = mailtest::FakeServer::start("S: 220 fake\nC: EHLO $name\nS: 550 go away, $name\n")?;
/// let mut client = std::net::TcpStream::connect(server.address())?;
/// client.write_all(b"EHLO client.test\r\n")?;
/// let lines: Vec<_> = BufReader::new(client).lines().collect::<Result<_, _>>()?;
/// assert_eq!(lines, ["220 fake", "550 go away, client.test"]);
/// server.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FakeServer {
    address: SocketAddr,
    dropped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ScriptError>>>,
}

impl FakeServer {
    /// Starts a server on a free port of loopback.
    ///
    /// # Errors
    /// The operating system has no port or thread; or [`Error::Io`] with a [`ScriptError`] for a line that is no step.
    pub fn start(script: &str) -> Result<Self, Error> {
        let steps = parse(script).map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tls = tls_config()?;
        let dropped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("fake-server".to_owned())
            .spawn(move || play(&listener, &steps, &tls, &stop))?;
        Ok(Self { address, dropped, thread: Some(thread) })
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the server as a target for Mailwire's clients. `security` is what the client is to expect.
    #[must_use]
    pub fn target(&self, security: Security) -> Target {
        target(self.address, security)
    }

    /// Returns a TLS configuration for Mailwire's clients that trusts the server, as that of
    /// [`Server::tls`](crate::Server::tls).
    ///
    /// # Errors
    /// None is expected.
    pub fn tls(&self) -> Result<TlsClientConfig, Error> {
        trust()
    }

    /// Waits until the script is over.
    ///
    /// # Errors
    /// No client connected, or it departed from the script.
    pub fn finish(mut self) -> Result<(), ScriptError> {
        let played = self.thread.take().map(JoinHandle::join);
        match played {
            Some(Ok(played)) => played,
            Some(Err(_)) => Err(ScriptError::Io { line: 0, source: io::Error::other("the server panicked") }),
            None => Ok(()),
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer").field("address", &self.address).finish_non_exhaustive()
    }
}

fn tls_config() -> Result<Arc<ServerConfig>, Error> {
    let issued = &certificates()?.server;
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem().as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().expose().as_bytes());
    let (chain, key) = (chain.map_err(io::Error::other)?, key.map_err(io::Error::other)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    Ok(Arc::new(config.map_err(io::Error::other)?))
}

/// A connection, on cleartext or under TLS.
enum Channel {
    Cleartext(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Channel {
    fn stream(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Cleartext(socket) => socket,
            Self::Tls(stream) => stream,
        }
    }

    fn start_tls(self, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let Self::Cleartext(socket) = self else { return Err(io::Error::other("TLS has started already")) };
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    fn end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn play(
    listener: &TcpListener,
    steps: &[NumberedStep],
    tls: &Arc<ServerConfig>,
    dropped: &AtomicBool,
) -> Result<(), ScriptError> {
    let socket = accept(listener, dropped)?;
    let mut channel = Channel::Cleartext(socket);
    let mut variables = Variables::default();
    for (number, step) in steps {
        let broken = |source| ScriptError::Io { line: *number, source };
        match step {
            Step::Send(text) => {
                let line = variables.expand(text) + "\r\n";
                channel.stream().write_all(line.as_bytes()).map_err(broken)?;
            }
            Step::SendBytes(text) => {
                channel.stream().write_all(variables.expand(text).as_bytes()).map_err(broken)?;
            }
            Step::Expect(pattern) => {
                let received = read_line(channel.stream(), dropped).map_err(broken)?;
                if !received.as_deref().is_some_and(|line| variables.matches(pattern, line)) {
                    channel.end();
                    return Err(ScriptError::Unexpected {
                        line: *number,
                        expected: pattern.clone(),
                        received,
                    });
                }
            }
            Step::Tls => channel = channel.start_tls(tls).map_err(broken)?,
            Step::Wait(time) => sleep(*time, dropped),
            Step::Close => break,
        }
        channel.stream().flush().map_err(broken)?;
    }
    channel.end();
    Ok(())
}

fn accept(listener: &TcpListener, dropped: &AtomicBool) -> Result<TcpStream, ScriptError> {
    let until = Instant::now() + TIMEOUT;
    while Instant::now() < until && !dropped.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((socket, _)) => {
                let set =
                    socket.set_nonblocking(false).and_then(|()| socket.set_read_timeout(Some(INTERVAL)));
                set.and_then(|()| socket.set_write_timeout(Some(TIMEOUT)))
                    .map_err(|source| ScriptError::Io { line: 1, source })?;
                return Ok(socket);
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
    Err(ScriptError::NoClient)
}

fn sleep(time: Duration, dropped: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !dropped.load(Ordering::Relaxed) {
        std::thread::sleep(INTERVAL.min(until.saturating_duration_since(Instant::now())));
    }
}

/// Reads a line, without its line end. `None`: the client closed the connection or sent no whole line in time. One byte is
/// read at a time, so that what follows the line, such as the first bytes of TLS, stays in the socket.
fn read_line(stream: &mut dyn ReadWrite, dropped: &AtomicBool) -> io::Result<Option<String>> {
    let until = Instant::now() + TIMEOUT;
    let mut line = Vec::new();
    while Instant::now() < until && !dropped.load(Ordering::Relaxed) && line.len() < MAX_LINE {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte == *b"\n" => {
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            Ok(_) => line.extend(byte),
            Err(error) if is_temporary(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_temporary(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
