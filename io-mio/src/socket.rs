//! Stream sockets of both kinds, TCP and Unix, and their addresses.

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    path::PathBuf,
};

use mio::{Interest, Registry, Token, event::Source, net::TcpStream};

/// The address of one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket; its path if it has one. Clients usually have none.
    Unix(Option<PathBuf>),
}

impl Address {
    /// Returns the IP address. For a Unix socket it is `127.0.0.1`: its peer runs on this machine.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Ip(address) => address.ip(),
            Self::Unix(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Returns the IP address and port; `None` for a Unix socket.
    #[must_use]
    pub const fn as_socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether this is a Unix socket or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix socket"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// A socket that is already connected, for [`Connector::connect_over`](crate::Connector::connect_over).
///
/// It is made from a [`TcpStream`](std::net::TcpStream), a [`UnixStream`](std::os::unix::net::UnixStream), or one of
/// their mio counterparts. The connector makes it non-blocking.
#[derive(Debug)]
pub struct ConnectedSocket(Connected);

#[derive(Debug)]
enum Connected {
    StdTcp(std::net::TcpStream),
    #[cfg(unix)]
    StdUnix(std::os::unix::net::UnixStream),
}

impl ConnectedSocket {
    /// Makes the socket non-blocking.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        match self.0 {
            Connected::StdTcp(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Socket::Tcp(TcpStream::from_std(socket)))
            }
            #[cfg(unix)]
            Connected::StdUnix(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Socket::Unix(mio::net::UnixStream::from_std(socket)))
            }
        }
    }
}

impl From<std::net::TcpStream> for ConnectedSocket {
    fn from(socket: std::net::TcpStream) -> Self {
        Self(Connected::StdTcp(socket))
    }
}

impl From<TcpStream> for ConnectedSocket {
    fn from(socket: TcpStream) -> Self {
        Self(Connected::StdTcp(socket.into()))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixStream> for ConnectedSocket {
    fn from(socket: std::os::unix::net::UnixStream) -> Self {
        Self(Connected::StdUnix(socket))
    }
}

#[cfg(unix)]
impl From<mio::net::UnixStream> for ConnectedSocket {
    fn from(socket: mio::net::UnixStream) -> Self {
        Self(Connected::StdUnix(socket.into()))
    }
}

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Sends small writes at once, where the socket could delay them.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().map(Address::Ip),
            #[cfg(unix)]
            Self::Unix(socket) => socket.peer_addr().map(|address| unix_address(&address)),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Ip),
            #[cfg(unix)]
            Self::Unix(socket) => socket.local_addr().map(|address| unix_address(&address)),
        }
    }

    /// Reads without taking the bytes out of the socket. TCP only.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.peek(buffer),
            #[cfg(unix)]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn shutdown_write(&self) {
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

#[cfg(unix)]
pub(crate) fn unix_address(address: &std::os::unix::net::SocketAddr) -> Address {
    Address::Unix(address.as_pathname().map(Into::into))
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            #[cfg(unix)]
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(buffer),
            #[cfg(unix)]
            Self::Unix(socket) => socket.write(buffer),
        }
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write_vectored(buffers),
            #[cfg(unix)]
            Self::Unix(socket) => socket.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
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
