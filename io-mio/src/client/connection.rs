//! A client's connection for programs that block.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub use io_common::client::ConnectionEvent;
use io_common::{
    Address, ClientProtocol, Deadlines, Error, TimeoutStage, TlsClientConfig, TlsInfo,
    tls::HandshakeNames,
    transport::{LOW_WATER, TlsStart},
};
use proto_mail::{Machine, SendBuffer, Upgrade};

use super::blocking::{BlockingTransport, TransportStep};

/// How many reads follow once the caller's own time limit has passed.
const LATE_READS: usize = 8;

/// A client and its connection, for programs that block.
///
/// ```no_run
/// use io_mio::{Connection, ConnectionEvent, Error};
/// use proto_mail::Secure;
/// use proto_smtp::client::{Client, Event};
///
/// /// Waits for the greeting and the reply to EHLO.
/// fn wait_until_ready(connection: &mut Connection<Client<Secure>>) -> Result<(), Error> {
///     connection.drive(|event, _client, _tx| match event {
///         ConnectionEvent::Machine(Event::Capabilities(_)) => Ok(Some(())),
///         ConnectionEvent::Machine(Event::Closed(_)) => Err(Error::Closed),
///         _ => Ok(None),
///     })
/// }
/// ```
///
/// Dropping it without [`close`](Self::close) cuts the connection: under TLS the server then knows that the last data may
/// be incomplete.
pub struct Connection<M: Machine> {
    transport: BlockingTransport,
    machine: M,
    tls: Option<Arc<TlsInfo>>,
    was_cut: bool,
}

impl<M: Machine> Connection<M> {
    pub(crate) const fn new(transport: BlockingTransport, machine: M, tls: Option<Arc<TlsInfo>>) -> Self {
        Self { transport, machine, tls, was_cut: false }
    }

    /// Reads, writes and waits until `step` returns a value. `step` is called with each event of the machine, and with
    /// [`ConnectionEvent::Writable`] whenever there is room for more output.
    ///
    /// # Errors
    /// An error of `step`; an error of the connection; [`Error::TimedOut`] when a time limit of the machine or of
    /// [`Deadlines`] passes; [`Error::Closed`] if the session ends before `step` returns a value.
    pub fn drive<T, E: From<Error>>(
        &mut self,
        step: impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let timed_out = || Error::TimedOut { stage: TimeoutStage::Operation, after: Duration::MAX };
        self.run(None, step)?.ok_or_else(|| timed_out().into())
    }

    /// As [`drive`](Self::drive), but returns `None` at `until` at the latest. Nothing is lost then. What was received by
    /// then is still processed, within limits: a peer that never stops sending does not extend the wait.
    ///
    /// # Errors
    /// As [`drive`](Self::drive).
    pub fn drive_until<T, E: From<Error>>(
        &mut self,
        until: Instant,
        step: impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        self.run(Some(until), step)
    }

    fn run<T, E: From<Error>>(
        &mut self,
        until: Option<Instant>,
        mut step: impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        if self.was_cut {
            return Err(Error::Closed.into());
        }
        let mut reads_left = LATE_READS;
        loop {
            if let Some(done) = self.pull(&mut step)? {
                return Ok(Some(done));
            }
            if reads_left == 0 {
                return Ok(None);
            }
            let transport = &mut self.transport.inner;
            let queued = transport.tx.queued_total();
            let called = transport.tx.len() < LOW_WATER;
            if called {
                let done = step(ConnectionEvent::Writable, &mut self.machine, &mut transport.tx)?;
                if done.is_some() {
                    transport.transmit()?;
                    return Ok(done);
                }
            }
            let sent = transport.tx.sent_total();
            transport.transmit()?;
            let queued_nothing = called && transport.tx.queued_total() == queued;
            if transport.tx.len() < LOW_WATER && !queued_nothing || transport.tx.sent_total() != sent {
                continue;
            }
            if self.machine.is_closed() {
                return Err(Error::Closed.into());
            }
            let wants_read = self.machine.wants_read(&self.transport.inner.tx);
            match self.transport.step(self.machine.wait(), wants_read, until)? {
                TransportStep::Progressed if until.is_some_and(|until| until <= Instant::now()) => {
                    reads_left -= 1
                }
                TransportStep::Progressed => {}
                TransportStep::UntilReached => return Ok(None),
                TransportStep::TimedOut(stage, after) => self.time_out(stage, after)?,
            }
        }
    }

    /// Calls `step` with each event of the machine until it returns a value.
    fn pull<T, E: From<Error>>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
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
                Ok(done) => {
                    self.transport.inner.transmit()?;
                    return Ok(done);
                }
                Err(error) => return Err(self.transport.machine_error(error).into()),
            }
        }
    }

    fn time_out(&mut self, stage: TimeoutStage, after: Duration) -> Result<(), Error> {
        let farewell = self.machine.timed_out(&mut self.transport.inner.tx);
        match (stage, farewell) {
            // A delay that is over, or a wait that the machine continues.
            (TimeoutStage::Wait(_), Ok(())) => {
                self.transport.timer.rearm();
                Ok(())
            }
            _ => {
                let _ = self.transport.inner.transmit();
                Err(Error::TimedOut { stage, after })
            }
        }
    }

    /// Gives access to the machine, to send commands for example. It does not wait.
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

    /// Closes the connection at once. The server discards what is incomplete.
    pub(crate) fn cut(&mut self) {
        self.was_cut = true;
        self.transport.inner.shutdown_write();
    }

    /// Sends all output.
    ///
    /// # Errors
    /// The connection broke, or the peer does not read in time.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.transport.flush()
    }

    /// Returns whether an idle connection is still open and unused: the peer has neither closed it nor sent anything.
    /// Does not wait and sends nothing.
    ///
    /// The peer may still close it at the next moment.
    pub fn is_quiet(&mut self) -> bool {
        if self.transport.poll(Some(Duration::ZERO)).is_err() {
            return false;
        }
        let received = self.drive_until(Instant::now(), |turn, _, _| {
            Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(_)).then_some(()))
        });
        matches!(received, Ok(None)) && !self.machine.is_closed() && self.transport.inner.rx.is_empty()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// Returns the peer's address. With a proxy, it is the proxy's.
    #[must_use]
    pub const fn peer_address(&self) -> &Address {
        &self.transport.address
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
    pub fn close(mut self) -> Result<(), Error> {
        self.transport.flush()?;
        self.transport.inner.send_close_notify();
        self.transport.flush()?;
        self.transport.inner.shutdown_write();
        self.transport.linger();
        Ok(())
    }

    /// Sends STARTTLS and makes the handshake with the server of this name. The new machine knows nothing of what was
    /// received before.
    ///
    /// # Errors
    /// STARTTLS is not offered or refused, bytes were injected, or TLS failed. The connection is lost then: nothing falls
    /// back to cleartext.
    pub fn starttls<P: ClientProtocol<Cleartext = M>>(
        self,
        tls: &TlsClientConfig,
        name: &str,
    ) -> Result<Connection<P::Secure>, Error> {
        let (mut transport, upgrade) = self.negotiate_starttls::<P>()?;
        let names = HandshakeNames::new(name);
        transport.begin_tls(tls, &names, TlsStart::StartTls)?;
        transport.handshake()?;
        Connection::complete(transport, upgrade)
    }

    /// The outer half of the TLS gate: consumes the cleartext machine.
    pub(crate) fn negotiate_starttls<P: ClientProtocol<Cleartext = M>>(
        mut self,
    ) -> Result<(BlockingTransport, P::Upgrade), Error> {
        let upgrade = self.transport.negotiate_starttls::<P>(self.machine)?;
        Ok((self.transport, upgrade))
    }

    /// The inner half of the TLS gate: makes a machine without memory of the cleartext session.
    pub(crate) fn complete(
        mut transport: BlockingTransport,
        upgrade: impl Upgrade<Secured = M>,
    ) -> Result<Self, Error> {
        let (machine, info) = transport.inner.complete_upgrade(upgrade)?;
        Ok(Self::new(transport, machine, Some(info)))
    }

    pub(crate) fn negotiated(&self) -> Option<Arc<TlsInfo>> {
        self.tls.clone()
    }

    /// Whether the peer has not sent anything yet.
    pub(crate) const fn is_silent(&self) -> bool {
        self.transport.inner.counts().0 == 0
    }
}

impl<M: Machine> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.transport.address)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
