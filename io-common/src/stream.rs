//! What a session needs of a connection: non-blocking reads and writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::address::Address;

/// A connected stream that never blocks: a read or write that would have to wait fails with
/// [`WouldBlock`](io::ErrorKind::WouldBlock). Each driver implements it for its sockets.
pub trait Stream: Read + Write + Send + 'static {
    /// Turns off delays of small writes (TCP_NODELAY), if the stream has them.
    fn set_nodelay(&self);

    /// Returns the address of this side.
    ///
    /// # Errors
    /// The operating system's error.
    fn local_address(&self) -> io::Result<Address>;

    /// Reads without removing the bytes from the stream.
    ///
    /// # Errors
    /// As a read; [`Unsupported`](io::ErrorKind::Unsupported) if the stream cannot do this.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Closes the direction to the peer.
    fn shutdown_write(&mut self);
}

/// What a driver knows about a stream without reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// A read may return bytes, the end, or an error.
    pub readable: bool,
    /// A write may succeed or fail.
    pub writable: bool,
    /// The peer closed its direction. Some of what it sent may still be unread.
    pub read_closed: bool,
    /// Both directions are closed.
    pub hung_up: bool,
}

impl Readiness {
    /// Returns what one or both say.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            readable: self.readable || other.readable,
            writable: self.writable || other.writable,
            read_closed: self.read_closed || other.read_closed,
            hung_up: self.hung_up || other.hung_up,
        }
    }
}

/// A socket in non-blocking mode.
impl Stream for TcpStream {
    fn set_nodelay(&self) {
        let _ = Self::set_nodelay(self, true);
    }

    fn local_address(&self) -> io::Result<Address> {
        self.local_addr().map(Address::Ip)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::peek(self, buffer)
    }

    fn shutdown_write(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}
