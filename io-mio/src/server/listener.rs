//! Listening sockets, and how a connection becomes a session.

use std::{
    fmt, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use io_common::{Address, Error, server::SessionFactory, stream::Stream};
use mio::{Interest, Registry, Token, event::Source, net::TcpListener};

use crate::socket::Socket;

/// A bound listening socket. Connections wait in the operating system until a reactor
/// [listens](crate::Reactor::listen_on) on it.
#[derive(Debug)]
pub struct BoundPort {
    socket: ListeningSocket,
    address: Address,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(mio::net::UnixListener),
}

impl BoundPort {
    /// Binds a TCP address. Port 0 stands for any free port.
    ///
    /// # Errors
    /// The operating system refuses the address.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let socket = TcpListener::bind(address).map_err(Error::io("opening a listening port"))?;
        let address = socket.local_addr().map_err(Error::io("asking for the address of a listening port"))?;
        Ok(Self { socket: ListeningSocket::Tcp(socket), address: address.into() })
    }

    /// Binds a Unix socket. The file must not exist yet; the caller removes it when the server has ended, and sets its
    /// permissions: any program that can open the file can connect.
    ///
    /// # Errors
    /// The operating system refuses the path.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let socket =
            mio::net::UnixListener::bind(path).map_err(Error::io("opening a listening Unix socket"))?;
        Ok(Self { socket: ListeningSocket::Unix(socket), address: Address::Unix(Some(path.into())) })
    }

    /// Returns the address that it is bound to.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }
}

impl Source for ListeningSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.register(registry, token, interests),
            #[cfg(unix)]
            Self::Unix(socket) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.reregister(registry, token, interests),
            #[cfg(unix)]
            Self::Unix(socket) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.deregister(registry),
            #[cfg(unix)]
            Self::Unix(socket) => socket.deregister(registry),
        }
    }
}

impl ListeningSocket {
    fn accept(&self) -> io::Result<(Socket, Address)> {
        match self {
            Self::Tcp(socket) => socket.accept().map(|(socket, peer)| (socket.into(), peer.into())),
            #[cfg(unix)]
            Self::Unix(socket) => socket.accept().map(|(socket, peer)| (socket.into(), Address::from(&peer))),
        }
    }
}

/// How long accepting pauses when the system has no resources left.
const PAUSE: Duration = Duration::from_millis(100);
/// The minimum time between two warnings about that.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// A listening socket of any protocol.
pub(crate) struct Listener {
    socket: ListeningSocket,
    address: Address,
    pub(crate) factory: SessionFactory<Socket>,
    /// Whether an accept may return a connection.
    pub(crate) ready: bool,
    /// When accepting continues after a pause.
    pub(crate) retry_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Listener {
    pub(crate) fn new(port: BoundPort, factory: SessionFactory<Socket>) -> Result<Self, Error> {
        let BoundPort { socket, address } = port;
        if factory.is_behind_proxies() && matches!(address, Address::Unix(_)) {
            return Err(Error::Config("a Unix socket has no addresses of proxies to trust".into()));
        }
        Ok(Self { socket, address, factory, ready: true, retry_at: None, warned_at: None })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        let _ = self.socket.deregister(registry);
    }

    /// Returns this side's address of a connection: the listener's, unless that stands for every address.
    pub(crate) fn local(&self, socket: &Socket) -> Option<Address> {
        match &self.address {
            Address::Ip(address) if address.ip().is_unspecified() => socket.local_address().ok(),
            address => Some(address.clone()),
        }
    }

    /// Accepts the next connection, if there is one.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(Socket, Address)> {
        loop {
            match self.socket.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return None;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    // No file descriptor or memory is left. A client that takes them all must not fill the log as well.
                    if self.warned_at.is_none_or(|at| now.saturating_duration_since(at) >= WARN_INTERVAL) {
                        self.warned_at = Some(now);
                        tracing::warn!(%error, "accepting connections pauses");
                    }
                    self.retry_at = Some(now + PAUSE);
                    return None;
                }
            }
        }
    }

    /// Whether a connection counts for its own address. A proxy's connection counts for the client that it announces, and
    /// a Unix socket has no address.
    pub(crate) fn counts_addresses(&self) -> bool {
        !self.factory.is_behind_proxies() && matches!(self.address, Address::Ip(_))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether an accept failed for a reason that concerns one connection only.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::Interrupted
            | K::ConnectionAborted
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::TimedOut
            | K::PermissionDenied
    )
}
