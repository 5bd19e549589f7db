//! A stream of tokio as the non-blocking stream of a session: a read or write that would have to wait fails with
//! `WouldBlock`, and the task is woken when it may succeed.

use std::{
    cell::RefCell,
    fmt,
    io::{self, IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use io_common::{
    Address,
    stream::{Readiness, Stream},
    transport::{ReadBuffer, read_buffer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// A connected stream: TCP, a Unix socket, or any other stream of tokio.
pub struct Socket {
    stream: Inner,
    waker: Waker,
    peer: Address,
    local: Address,
    turn: Turn,
    /// Whether the session has looked at input without reading it.
    has_peeked: AtomicBool,
}

/// What a session did with its socket since [`Socket::begin_turn`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    /// It has read something and not met the end of what had arrived.
    pub(crate) has_read: bool,
    /// The task is woken when more can be read.
    pub(crate) awaits_input: bool,
}

enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Other(Box<dyn AnyStream>),
}

trait AnyStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AnyStream for T {}

impl Socket {
    /// Wraps any stream, for example one through a tunnel. [`with_addresses`](Self::with_addresses) says where it leads.
    /// Until then the peer's address is `0.0.0.0:0`, so that no listener for this machine takes the peer for a local one.
    #[must_use]
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let [peer, local] =
            [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].map(|address| SocketAddr::from((address, 0)).into());
        Self::of(Inner::Other(Box::new(stream)), peer, local)
    }

    /// Sets the addresses of both ends.
    #[must_use]
    pub fn with_addresses(self, peer: Address, local: Address) -> Self {
        Self { peer, local, ..self }
    }

    fn of(stream: Inner, peer: Address, local: Address) -> Self {
        Self {
            stream,
            waker: Waker::noop().clone(),
            peer,
            local,
            turn: Turn::default(),
            has_peeked: AtomicBool::new(false),
        }
    }

    /// Returns the peer's address.
    #[must_use]
    pub const fn peer_address(&self) -> &Address {
        &self.peer
    }

    /// Returns this side's address.
    pub(crate) const fn local_end(&self) -> &Address {
        &self.local
    }

    /// Waits until something can be written.
    pub(crate) async fn writable(&mut self) {
        let _ = match &self.stream {
            Inner::Tcp(stream) => stream.writable().await,
            #[cfg(unix)]
            Inner::Unix(stream) => stream.writable().await,
            Inner::Other(_) => Ok(()),
        };
    }

    /// Begins a turn of the task: reads and writes wake it from now on.
    pub(crate) fn begin_turn(&mut self, cx: &Context<'_>) {
        self.waker.clone_from(cx.waker());
        self.turn = Turn::default();
        *self.has_peeked.get_mut() = false;
    }

    pub(crate) fn has_peeked(&self) -> bool {
        self.has_peeked.load(Ordering::Relaxed)
    }

    pub(crate) const fn turn(&self) -> Turn {
        self.turn
    }

    /// Returns what is known without reading or writing. Reads and writes are always worth trying.
    pub(crate) fn readiness(&self) -> Readiness {
        let (read_closed, hung_up) = self.closed_directions();
        Readiness { readable: true, writable: true, read_closed, hung_up }
    }

    /// Returns whether the peer has closed its direction, and whether both are closed.
    fn closed_directions(&self) -> (bool, bool) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let cx = &mut Context::from_waker(Waker::noop());
        let ready = match &self.stream {
            Inner::Tcp(stream) => pin!(stream.ready(interest)).poll(cx),
            #[cfg(unix)]
            Inner::Unix(stream) => pin!(stream.ready(interest)).poll(cx),
            Inner::Other(_) => return (false, false),
        };
        match ready {
            Poll::Ready(Ok(ready)) => {
                (ready.is_read_closed(), ready.is_read_closed() && ready.is_write_closed())
            }
            Poll::Ready(Err(_)) => (true, true),
            Poll::Pending => (false, false),
        }
    }

    /// Has the task woken when something arrives or the peer closes. Returns false if input waits already: then nothing
    /// wakes the task.
    pub(crate) fn await_input(&self, cx: &mut Context<'_>) -> bool {
        match &self.stream {
            Inner::Tcp(stream) => stream.poll_read_ready(cx).is_pending(),
            #[cfg(unix)]
            Inner::Unix(stream) => stream.poll_read_ready(cx).is_pending(),
            Inner::Other(_) => false,
        }
    }

    /// Has a stream that buffers output pass it on.
    pub(crate) fn pass_on(&mut self, cx: &mut Context<'_>) {
        if let Inner::Other(stream) = &mut self.stream {
            let _ = Pin::new(stream).poll_flush(cx);
        }
    }
}

/// Makes a call that waits one that does not.
fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Inner {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let cx = &mut Context::from_waker(&self.waker);
        let mut buffer = ReadBuf::new(buffer);
        let polled = self.stream.poll_read(cx, &mut buffer);
        self.turn.awaits_input = polled.is_pending();
        self.turn.has_read |= polled.is_ready();
        now(polled).map(|()| buffer.filled().len())
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        now(self.stream.poll_write(&mut Context::from_waker(&self.waker), buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn set_nodelay(&self) {
        if let Inner::Tcp(stream) = &self.stream {
            let _ = stream.set_nodelay(true);
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(self.local.clone())
    }

    /// TCP only.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.stream {
            Inner::Tcp(stream) => {
                self.has_peeked.store(true, Ordering::Relaxed);
                now(stream.poll_peek(&mut Context::from_waker(&self.waker), &mut ReadBuf::new(buffer)))
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn shutdown_write(&mut self) {
        let _ = self.stream.poll_shutdown(&mut Context::from_waker(&self.waker));
    }
}

impl TryFrom<TcpStream> for Socket {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Self> {
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        Ok(Self::of(Inner::Tcp(stream), peer.into(), local.into()))
    }
}

#[cfg(unix)]
impl TryFrom<tokio::net::UnixStream> for Socket {
    type Error = io::Error;

    fn try_from(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let address = |address: tokio::net::unix::SocketAddr| {
            Address::Unix(address.as_pathname().map(std::path::Path::to_path_buf))
        };
        let (peer, local) = (address(stream.peer_addr()?), address(stream.local_addr()?));
        Ok(Self::of(Inner::Unix(stream), peer, local))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Calls `work` with this thread's buffer for ciphertext.
pub(crate) fn with_buffer<R>(work: impl FnOnce(&mut ReadBuffer) -> R) -> R {
    thread_local! {
        static BUFFER: RefCell<Option<ReadBuffer>> = const { RefCell::new(None) };
    }
    // A stream that polls another session inside of a read gets a buffer of its own.
    let mut buffer = BUFFER.with(RefCell::take).unwrap_or_else(read_buffer);
    let result = work(&mut buffer);
    BUFFER.with(|kept| kept.replace(Some(buffer)));
    result
}
