//! Stream sockets of both kinds, TCP and Unix.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
};

use io_common::{
    Address,
    stream::{Readiness, Stream},
};
use mio::{Interest, Registry, Token, event::Source, net::TcpStream};

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
                Ok(TcpStream::from_std(socket).into())
            }
            #[cfg(unix)]
            Connected::StdUnix(socket) => {
                socket.set_nonblocking(true)?;
                Ok(mio::net::UnixStream::from_std(socket).into())
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

/// A connected stream socket of this driver.
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self(Kind::Tcp(socket))
    }
}

#[cfg(unix)]
impl From<mio::net::UnixStream> for Socket {
    fn from(socket: mio::net::UnixStream) -> Self {
        Self(Kind::Unix(socket))
    }
}

impl Socket {
    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Tcp(socket) => socket.peer_addr().map(Address::Ip),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.peer_addr().map(|address| Address::from(&address)),
        }
    }
}

impl Stream for Socket {
    fn set_nodelay(&self) {
        if let Kind::Tcp(socket) = &self.0 {
            let _ = socket.set_nodelay(true);
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Tcp(socket) => socket.local_addr().map(Address::Ip),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.local_addr().map(|address| Address::from(&address)),
        }
    }

    /// TCP only.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tcp(socket) => socket.peek(buffer),
            #[cfg(unix)]
            Kind::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn shutdown_write(&mut self) {
        let _ = match &self.0 {
            Kind::Tcp(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.read(buffer),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.write(buffer),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.write(buffer),
        }
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.write_vectored(buffers),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.register(registry, token, interests),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.reregister(registry, token, interests),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(socket) => socket.deregister(registry),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.deregister(registry),
        }
    }
}

/// Returns what an event of the poll says about a socket.
pub(crate) fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || event.is_error(),
        writable: event.is_writable() || event.is_error(),
        read_closed: event.is_read_closed() || event.is_error(),
        hung_up: event.is_error() || event.is_read_closed() && event.is_write_closed(),
    }
}
