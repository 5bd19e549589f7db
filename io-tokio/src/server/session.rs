//! One session of a server, for an async function.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use io_common::{
    ListenerTls, Peer, Protocol, ServerProtocol, TimeoutStage, server::SessionSettings, transport::TlsStart,
};
use proto_mail::{SendBuffer, StartTlsRequest, WaitFor};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{
    async_protocol::{AsyncProtocol, Incoming, ServedMachine},
    session_signals::Signal,
    session_table::SessionSlot,
};
use crate::{
    connection::{Connection, ConnectionEvent},
    error::Error,
    timer::{Timer, now},
};

/// A session on cleartext.
pub type CleartextSession<P> = Session<<P as Protocol>::Cleartext>;
/// A session under TLS.
pub type SecureSession<P> = Session<<P as Protocol>::Secure>;

/// A session of a server: a stream of events, and the machine to answer them with.
///
/// Each event that asks for something has a token. Answer it with [`with`](Self::with); a token that is dropped is answered
/// with a temporary failure. Answers are sent, and input is read, only while a method such as
/// [`next_event`](Self::next_event) is awaited.
pub struct Session<M: ServedMachine> {
    connection: Connection<M>,
    state: SessionState<M::Protocol>,
    /// The rest of the chunk of a message that is being read.
    chunk: Chunk,
}

/// What a session has beside its connection.
pub(super) struct SessionState<P: ServerProtocol> {
    peer: Peer,
    slot: SessionSlot,
    settings: Arc<SessionSettings<P>>,
    /// When the client must have logged in.
    login_at: Option<Instant>,
    timer: Timer,
    /// How the session has ended. It is closed in order then.
    ended: Option<Result<(), Error>>,
}

impl<P: ServerProtocol> SessionState<P> {
    pub(super) fn new(
        peer: Peer,
        slot: SessionSlot,
        settings: Arc<SessionSettings<P>>,
        login_at: Option<Instant>,
    ) -> Self {
        let mut this = Self { peer, slot, settings, login_at, timer: Timer::default(), ended: None };
        if login_at.is_none() {
            this.slot.logged_in();
        }
        this
    }
}

/// A part of the receive buffer, or bytes of its own.
#[derive(Debug)]
enum Chunk {
    Received(std::ops::Range<usize>),
    Owned(Vec<u8>, usize),
}

impl<M: ServedMachine> Session<M> {
    pub(super) const fn new(connection: Connection<M>, state: SessionState<M::Protocol>) -> Self {
        Self { connection, state, chunk: Chunk::Received(0..0) }
    }

    /// Sends what was answered and returns the next event. `None`: the session is over, everything was sent and the
    /// connection is closed.
    ///
    /// Dropping the future loses nothing. While a token is kept, there is no further event: answer or drop it first.
    ///
    /// # Errors
    /// The client broke the protocol, a time limit passed, or the connection was lost. The farewell was sent, if the
    /// protocol has one.
    pub async fn next_event(&mut self) -> Result<Option<M::OwnedEvent>, Error> {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// As [`next_event`](Self::next_event), for a stream of the caller's own.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M::OwnedEvent>, Error>> {
        self.poll_event(&mut |event| Some(M::into_owned(event)), cx)
    }

    /// Waits for an event of which `wanted` returns something, or the end.
    fn poll_event<T>(
        &mut self,
        wanted: &mut impl FnMut(M::Event<'_>) -> Option<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.chunk = Chunk::Received(0..0);
        if self.state.ended.is_none() && self.state.login_at.is_some_and(|at| at <= now()) {
            // Also for a client that never stops sending.
            self.end_login();
        }
        if self.state.ended.is_none() {
            let step = &mut |event: ConnectionEvent<'_, M>, machine: &mut M, _: &mut SendBuffer| {
                Ok::<_, Error>(match event {
                    // The last event only says that the session is over.
                    ConnectionEvent::Machine(_) if machine.is_closed() => None,
                    ConnectionEvent::Machine(event) => wanted(event),
                    ConnectionEvent::Writable => None,
                })
            };
            match self.connection.poll_drive(step, cx) {
                Poll::Ready(Ok(found)) => return Poll::Ready(Ok(Some(found))),
                Poll::Ready(Err(Error::Session(io_common::Error::Closed))) => {
                    self.state.ended = Some(Ok(()));
                }
                Poll::Ready(Err(error)) => self.state.ended = Some(Err(error)),
                Poll::Pending => ready!(self.poll_end(cx)),
            }
        }
        // The farewell may get lost: the client may have left.
        let _ = ready!(self.connection.transport().poll_close(cx));
        Poll::Ready(match self.state.ended.replace(Ok(())) {
            Some(Err(error)) => Err(error),
            _ => Ok(None),
        })
    }

    /// Waits for a reason to end the session that is not the client's.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let signal = self.state.slot.signals.take(cx.waker());
        if signal.contains(Signal::DRAIN) && self.awaits_command() {
            self.connection.with(|machine, tx| M::Protocol::shutdown(machine.on_channel(), tx));
            self.state.ended = Some(Ok(()));
            return Poll::Ready(());
        }
        ready!(self.state.timer.poll_at(self.state.login_at, cx));
        self.end_login();
        Poll::Ready(())
    }

    /// Ends the session of a client that has not logged in in time.
    fn end_login(&mut self) {
        self.connection.with(|_, tx| tx.put(M::Protocol::LOGIN_TIMED_OUT));
        let after = self.state.settings.deadlines.login;
        self.state.ended = Some(Err(io_common::Error::TimedOut { stage: TimeoutStage::Login, after }.into()));
    }

    fn awaits_command(&self) -> bool {
        let awaited = self.connection.machine().wait().awaited;
        matches!(awaited, WaitFor::Command | WaitFor::Idle | WaitFor::Greeting)
            && self.connection.received().is_empty()
    }

    /// Gives access to the machine, to answer a token or to send data.
    pub fn with<R>(&mut self, give: impl FnOnce(&mut M, &mut SendBuffer) -> R) -> R {
        self.connection.with(give)
    }

    /// Sends all output now, instead of with the next event.
    ///
    /// # Errors
    /// The connection was lost, or the client does not read in time.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.connection.flush().await
    }

    /// Declares that the client has logged in, or does not need to. [`answer_auth`](Self::answer_auth) and
    /// [`answer_password`](Self::answer_password) do it themselves. [`Deadlines::login`](crate::Deadlines::login) no longer
    /// applies, nor does [`connections_before_login`](crate::ConnectionLimits::connections_before_login).
    pub fn logged_in(&mut self) {
        self.state.login_at = None;
        self.state.slot.logged_in();
    }

    /// Returns the two ends of the connection.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.state.peer
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        self.connection.machine()
    }

    /// Returns a reader for the message that the client sends now: after `354` to DATA, or after an APPEND was accepted.
    /// [`MessageBody::end`] has the token to answer it with.
    pub const fn message(&mut self) -> MessageBody<'_, M> {
        MessageBody { session: self, end: None, is_over: false }
    }

    /// Sends all output and closes in order. Without it, the session is closed in order when
    /// [`next_event`](Self::next_event) returns `None`, and cut when it is dropped.
    ///
    /// # Errors
    /// Some output could not be sent.
    pub async fn close(self) -> Result<(), Error> {
        self.connection.close().await
    }
}

impl<P, M> Session<M>
where
    P: AsyncProtocol<Cleartext = M>,
    M: ServedMachine<Protocol = P>,
{
    /// Accepts STARTTLS and makes the handshake. The new session knows nothing of what was received before.
    ///
    /// # Errors
    /// The listener has no certificate, bytes were injected, or TLS failed. The connection is lost then.
    pub async fn start_tls(self, request: StartTlsRequest) -> Result<SecureSession<P>, Error> {
        let Self { connection, mut state, .. } = self;
        let ListenerTls::StartTls(tls) = &state.settings.tls else {
            return Err(Error::Invalid("STARTTLS was accepted on a listener without a certificate".into()));
        };
        let (mut transport, machine) = connection.into_parts();
        if !transport.inner.rx.is_empty() {
            return Err(proto_mail::Error::from(proto_mail::PeerError::PlaintextAfterStartTls).into());
        }
        let upgrade = P::accept(machine, request, &mut transport.inner.tx)?;
        transport.accept_tls(tls, TlsStart::StartTls).await?;
        let connection = Connection::complete(transport, upgrade)?;
        state.peer.tls = connection.negotiated();
        Ok(Session::new(connection, state))
    }
}

/// A message that a client sends, as it arrives. As an [`AsyncBufRead`] it copies nothing: the bytes are those of the receive
/// buffer. The client is not read from faster than the message is.
#[must_use = "read it to its end, and answer the token"]
pub struct MessageBody<'s, M: ServedMachine> {
    session: &'s mut Session<M>,
    end: Option<M::Reply>,
    is_over: bool,
}

/// The part of an event of a message that was not read yet.
enum BodyStep<R> {
    Borrowed { address: usize, length: usize },
    Owned(Vec<u8>),
    End(R),
    Aborted,
}

impl<M: ServedMachine> MessageBody<'_, M> {
    /// Returns the token that answers the message, after everything was read. `None`: the message was not completed, and is
    /// to be discarded.
    pub fn end(self) -> Option<M::Reply> {
        self.end
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_over || !self.session.chunk().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let wanted = &mut |event: M::Event<'_>| match M::incoming(event) {
            Incoming::Chunk(bytes) if bytes.is_empty() => None,
            Incoming::Chunk(std::borrow::Cow::Borrowed(bytes)) => {
                Some(BodyStep::Borrowed { address: bytes.as_ptr().addr(), length: bytes.len() })
            }
            Incoming::Chunk(std::borrow::Cow::Owned(bytes)) => Some(BodyStep::Owned(bytes)),
            Incoming::End(reply) => Some(BodyStep::End(reply)),
            Incoming::Aborted => Some(BodyStep::Aborted),
            Incoming::Other => None,
        };
        match ready!(self.session.poll_event(wanted, cx))? {
            Some(BodyStep::Borrowed { address, length }) => {
                // The chunk is a part of the receive buffer, where it stays until the next event is taken.
                let received = self.session.connection.received().as_ptr().addr();
                let offset = address.saturating_sub(received);
                self.session.chunk = Chunk::Received(offset..offset.saturating_add(length));
            }
            Some(BodyStep::Owned(bytes)) => self.session.chunk = Chunk::Owned(bytes, 0),
            Some(BodyStep::End(reply)) => (self.end, self.is_over) = (Some(reply), true),
            Some(BodyStep::Aborted) | None => self.is_over = true,
        }
        Poll::Ready(Ok(()))
    }
}

impl<M: ServedMachine> Session<M> {
    fn chunk(&self) -> &[u8] {
        match &self.chunk {
            Chunk::Received(range) => self.connection.received().get(range.clone()).unwrap_or_default(),
            Chunk::Owned(bytes, start) => bytes.get(*start..).unwrap_or_default(),
        }
    }
}

impl<M: ServedMachine> AsyncBufRead for MessageBody<'_, M> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_chunk(cx))?;
        Poll::Ready(Ok(this.session.chunk()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        match &mut self.get_mut().session.chunk {
            Chunk::Received(range) => range.start = range.start.saturating_add(amount).min(range.end),
            Chunk::Owned(_, start) => *start = start.saturating_add(amount),
        }
    }
}

impl<M: ServedMachine> AsyncRead for MessageBody<'_, M> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<M: ServedMachine> fmt::Debug for MessageBody<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBody").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

impl<M: ServedMachine> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.state.peer).finish_non_exhaustive()
    }
}
