//! A machine and its connection.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

pub use io_common::client::ConnectionEvent;
use io_common::{
    Address, ClientProtocol, Deadlines, Target, TimeoutStage, TlsClientConfig, TlsInfo,
    transport::{LOW_WATER, TlsStart},
};
use proto_mail::{Machine, OwnedEvents, SendBuffer, Upgrade};

use crate::error::Error;
use crate::timed_transport::{Step, TimedTransport};
use crate::timer::{POLL_TIME, let_others_run};

/// A client's machine and its connection, for programs that speak to the machine themselves: with pipelined commands, or
/// extensions that [`ImapClient`](crate::ImapClient) and [`SmtpClient`](crate::SmtpClient) do not know.
///
/// * **Dropping a future of this type loses nothing**: what was received or is still to be sent stays in the connection,
///   and the next call continues.
/// * **It reads only while the machine wants input**, and while a method is being awaited.
/// * The time limits of the machine and of [`Deadlines`] end the session.
///
/// Dropping it without [`close`](Self::close) cuts the connection: under TLS the server then knows that the last data may
/// be incomplete.
pub struct Connection<M: Machine> {
    transport: TimedTransport,
    machine: M,
    tls: Option<Arc<TlsInfo>>,
    has_failed: bool,
    /// Since when there has always been something to do.
    busy_since: Option<Instant>,
}

impl<M: Machine> Connection<M> {
    pub(crate) const fn new(transport: TimedTransport, machine: M, tls: Option<Arc<TlsInfo>>) -> Self {
        Self { transport, machine, tls, has_failed: false, busy_since: None }
    }

    /// Reads, writes and waits until `step` returns a value. `step` is called with each event of the machine, and with
    /// [`ConnectionEvent::Writable`] whenever there is room for more output.
    ///
    /// # Errors
    /// An error of `step`; an error of the connection; a time limit that passed; [`Closed`](io_common::Error::Closed) if
    /// the session ends before `step` returns a value.
    pub async fn drive<T, E: From<Error>>(
        &mut self,
        mut step: impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        poll_fn(|cx| self.poll_drive(&mut step, cx)).await
    }

    /// As [`drive`](Self::drive), for a future or stream of the caller's own.
    ///
    /// # Errors
    /// As [`drive`](Self::drive).
    pub fn poll_drive<T, E: From<Error>>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        if self.has_failed {
            return Poll::Ready(Err(Error::from(io_common::Error::Closed).into()));
        }
        let driven = self.poll_busily(step, cx);
        if driven.is_pending() {
            self.busy_since = None;
        }
        driven
    }

    /// Reads and writes until `step` returns a value, there is nothing to do, or other tasks should have their turn.
    fn poll_busily<T, E: From<Error>>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        loop {
            // Not tokio's clock, which tests can pause.
            if self.busy_since.get_or_insert_with(Instant::now).elapsed() >= POLL_TIME {
                return let_others_run(cx);
            }
            if let Some(done) = self.pull(step, cx)? {
                return Poll::Ready(Ok(done));
            }
            let transport = &mut self.transport.inner;
            let queued = transport.tx.queued_total();
            let called = transport.tx.len() < LOW_WATER;
            if called {
                let done = step(ConnectionEvent::Writable, &mut self.machine, &mut transport.tx)?;
                if let Some(done) = done {
                    self.transmit(cx)?;
                    return Poll::Ready(Ok(done));
                }
            }
            let sent = self.transport.inner.tx.sent_total();
            self.transmit(cx)?;
            let transport = &self.transport.inner;
            let queued_nothing = called && transport.tx.queued_total() == queued;
            if transport.tx.len() < LOW_WATER && !queued_nothing || transport.tx.sent_total() != sent {
                continue;
            }
            if self.machine.is_closed() {
                return Poll::Ready(Err(Error::from(io_common::Error::Closed).into()));
            }
            ready!(self.poll_step(cx))?;
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let wants_read = self.machine.wants_read(&self.transport.inner.tx);
        let step = match ready!(self.transport.poll_step(self.machine.wait(), wants_read, cx)) {
            Ok(step) => step,
            Err(error) => return Poll::Ready(Err(self.fail(error))),
        };
        Poll::Ready(match step {
            Step::Progressed => Ok(()),
            Step::TimedOut(stage, after) => self.time_out(stage, after, cx),
        })
    }

    /// Calls `step` with each event of the machine until it returns a value.
    fn pull<T, E: From<Error>>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
        cx: &mut Context<'_>,
    ) -> Result<Option<T>, E> {
        loop {
            let transport = &mut self.transport.inner;
            let result = match self.machine.next_event(&mut transport.rx, &mut transport.tx) {
                Ok(Some(event)) => {
                    Ok(step(ConnectionEvent::Machine(event), &mut self.machine, &mut transport.tx)?)
                }
                Ok(None) => return Ok(None),
                Err(error) => Err(error),
            };
            match result {
                Ok(None) => {}
                Ok(done) => return Ok(done),
                Err(error) => {
                    // The farewell.
                    let _ = self.transport.transmit(cx);
                    let error = self.transport.inner.explain(error);
                    return Err(self.fail(error.into()).into());
                }
            }
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.transport.transmit(cx).map_err(|error| self.fail(error))
    }

    fn time_out(&mut self, stage: TimeoutStage, after: Duration, cx: &mut Context<'_>) -> Result<(), Error> {
        let farewell = self.machine.timed_out(&mut self.transport.inner.tx);
        match (stage, farewell) {
            // A delay that is over, or a wait that the machine continues.
            (TimeoutStage::Wait(_), Ok(())) => {
                self.transport.timer.rearm();
                Ok(())
            }
            _ => {
                let _ = self.transport.transmit(cx);
                Err(self.fail(io_common::Error::TimedOut { stage, after }.into()))
            }
        }
    }

    /// Ends the session: the connection is closed, and nothing can be done with it any more.
    fn fail(&mut self, error: Error) -> Error {
        self.cut();
        error
    }

    /// Closes the connection at once. The server discards what is incomplete.
    pub(crate) fn cut(&mut self) {
        self.has_failed = true;
        self.transport.inner.shutdown_write();
    }

    /// Returns the next event; `None` once the session has ended in order.
    ///
    /// # Errors
    /// As [`drive`](Self::drive).
    pub async fn next_event(&mut self) -> Result<Option<M::OwnedEvent>, Error>
    where
        M: OwnedEvents,
    {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// As [`next_event`](Self::next_event), for a stream of the caller's own.
    ///
    /// # Errors
    /// As [`drive`](Self::drive).
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M::OwnedEvent>, Error>>
    where
        M: OwnedEvents,
    {
        if self.machine.is_closed() {
            return Poll::Ready(Ok(None));
        }
        let step = &mut |event: ConnectionEvent<'_, M>, _: &mut M, _: &mut SendBuffer| {
            Ok::<_, Error>(match event {
                ConnectionEvent::Machine(event) => Some(M::into_owned(event)),
                ConnectionEvent::Writable => None,
            })
        };
        self.poll_drive(step, cx).map_ok(Some)
    }

    /// Gives access to the machine, to send commands for example. They leave with the next call that is awaited.
    pub fn with<R>(&mut self, give: impl FnOnce(&mut M, &mut SendBuffer) -> R) -> R {
        give(&mut self.machine, &mut self.transport.inner.tx)
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns how many bytes were received and sent on the wire.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        self.transport.inner.counts()
    }

    /// Returns what was received and not processed yet.
    pub(crate) fn received(&self) -> &[u8] {
        self.transport.inner.rx.bytes()
    }

    /// Sends all output.
    ///
    /// # Errors
    /// The connection broke, or the peer does not read in time.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.transport.poll_flush(cx)).await.map_err(|error| self.fail(error))
    }

    /// Returns whether an idle connection is still open and unused: the peer has neither closed it nor sent anything, as
    /// far as the runtime knows. It does not wait for the peer and sends nothing.
    ///
    /// The peer may still close it at the next moment.
    pub async fn is_quiet(&mut self) -> bool {
        let step = &mut |event: ConnectionEvent<'_, M>, _: &mut M, _: &mut SendBuffer| {
            Ok::<_, Error>(matches!(event, ConnectionEvent::Machine(_)).then_some(()))
        };
        // The poll must look at the connection, and not let other tasks run instead.
        self.busy_since = None;
        let is_pending = poll_fn(|cx| Poll::Ready(self.poll_drive(step, cx).is_pending())).await;
        is_pending && !self.machine.is_closed() && self.received().is_empty()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    pub(crate) fn negotiated(&self) -> Option<Arc<TlsInfo>> {
        self.tls.clone()
    }

    /// Returns the peer's address.
    pub fn peer_address(&mut self) -> &Address {
        self.transport.inner.socket().peer_address()
    }

    /// Sets the time limits from now on.
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.transport.deadlines = deadlines;
        self.transport.timer.rearm();
    }

    /// Sends all output and closes in order, TLS included.
    ///
    /// # Errors
    /// Some output could not be sent.
    pub async fn close(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.transport.poll_close(cx)).await
    }

    pub(crate) const fn transport(&mut self) -> &mut TimedTransport {
        &mut self.transport
    }

    pub(crate) fn into_parts(self) -> (TimedTransport, M) {
        (self.transport, self.machine)
    }

    /// Sends STARTTLS and makes the handshake with this server. The new machine knows nothing of what was received
    /// before.
    ///
    /// # Errors
    /// STARTTLS is not offered or refused, bytes were injected, or TLS failed. The connection is lost then: nothing falls
    /// back to cleartext.
    pub async fn starttls<P: ClientProtocol<Cleartext = M>>(
        self,
        tls: &TlsClientConfig,
        target: &Target,
    ) -> Result<Connection<P::Secure>, Error> {
        let Self { mut transport, machine, .. } = self;
        let upgrade = transport.negotiate::<P>(machine).await?;
        transport.handshake(tls, &target.handshake_names(), TlsStart::StartTls).await?;
        Connection::complete(transport, upgrade)
    }

    /// The inner half of the TLS gate: makes a machine without memory of the cleartext session.
    pub(crate) fn complete(
        mut transport: TimedTransport,
        upgrade: impl Upgrade<Secured = M>,
    ) -> Result<Self, Error> {
        let (machine, info) = transport.inner.complete_upgrade(upgrade)?;
        Ok(Self::new(transport, machine, Some(info)))
    }
}

impl<M: Machine> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tls", &self.tls).finish_non_exhaustive()
    }
}
