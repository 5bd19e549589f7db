//! A client's connection for programs that do one thing after the other.
//!
//! This file is the loop of a linear program: it moves octets, keeps the clock and passes events to a closure. It
//! knows no protocol; what a command is, the program and the machine know.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use proto_mail::{
    Machine, PeerError, Secure, SendBuffer, Upgrade, Wait, WaitFor,
    machine::{Negotiation, StartTlsNegotiation},
};

use crate::{
    ClientProtocol, Deadlines, Error, TimeoutStage, TlsClientConfig, TlsInfo,
    session::LOW_WATER,
    timers::{Clock, Expired, Reading, longest},
    transport::{self, Begin, Received, Scratch, Transport},
};

/// While output is stuck, so much input is read nevertheless: two peers that both only write would wait for ever.
const READ_AHEAD: usize = 256 * 1024;
/// So often is read behind the caller's own time: what has come by then is looked at, but no stream without an end.
const READ_ON: usize = 8;
/// A negotiation of STARTTLS may take so many times what its first answer may.
const NEGOTIATION: u32 = 3;
/// How long closing waits for the peer.
const CLOSE: Duration = Duration::from_secs(2);

/// Why the closure of [`Connection::drive`] is called.
pub enum ConnectionEvent<'e, M: Machine> {
    /// Something happened.
    Machine(M::Event<'e>),
    /// Little waits to be sent: this is the time to queue more of an upload. May come without cause.
    Writable,
}

impl<M: Machine> fmt::Debug for ConnectionEvent<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(event) => f.debug_tuple("Machine").field(event).finish(),
            Self::Writable => f.write_str("Writable"),
        }
    }
}

/// A client and its connection.
///
/// ```text
/// let mut connection = connector.connect::<ImapClient>(&target, config)?;
/// let capabilities = connection.drive(|turn, client, tx| match turn {
///     ConnectionEvent::Machine(Event::Greeting(greeting)) => { client.send(Command::Capability, tx)?; Ok(None) }
///     ConnectionEvent::Machine(Event::Capability(list))   => Ok(Some(list.into_owned())),
///     _                                      => Ok(None),
/// })?;
/// connection.close()?;
/// ```
///
/// Dropped without [`close`](Self::close), it is cut off: under TLS the server then knows that what came last may be
/// incomplete.
pub struct Connection<M: Machine> {
    transport: BlockingTransport,
    machine: M,
    tls: Option<Arc<TlsInfo>>,
}

impl<M: Machine> Connection<M> {
    pub(crate) const fn new(transport: BlockingTransport, machine: M, tls: Option<Arc<TlsInfo>>) -> Self {
        Self { transport, machine, tls }
    }

    /// Reads, writes and waits until `step` returns a value. It is called with each event, and with
    /// [`ConnectionEvent::Writable`] whenever there is room for more output.
    ///
    /// # Errors
    /// What `step` returns; whatever ends the connection; [`Error::TimedOut`] when the machine's patience, or the
    /// [`Deadlines`] of this connection, ends; [`Error::Closed`] if the session ends before `step` is done.
    pub fn drive<T, E: From<Error>>(
        &mut self,
        step: impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let timed_out = || Error::TimedOut { stage: TimeoutStage::Goal, after: Duration::MAX };
        self.run(None, step)?.ok_or_else(|| timed_out().into())
    }

    /// As [`drive`](Self::drive), until `until` at the latest; then `None`, and nothing is lost. What has come by then
    /// is still looked at, but a peer that never stops talking is not waited for.
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
        let mut left = READ_ON;
        loop {
            if let Some(done) = self.pull(&mut step)? {
                return Ok(Some(done));
            }
            if left == 0 {
                return Ok(None);
            }
            let link = &mut self.transport.link;
            let queued = link.tx.queued_total();
            let asked = link.tx.len() < LOW_WATER;
            if asked {
                let done = step(ConnectionEvent::Writable, &mut self.machine, &mut link.tx)?;
                if done.is_some() {
                    link.transmit()?;
                    return Ok(done);
                }
            }
            link.transmit()?;
            let asked_in_vain = asked && link.tx.queued_total() == queued;
            if link.tx.len() < LOW_WATER && !asked_in_vain {
                continue;
            }
            if self.machine.is_closed() {
                return Err(Error::Closed.into());
            }
            let wants_read = self.machine.wants_read(&self.transport.link.tx);
            match self.transport.step(self.machine.wait(), wants_read, until)? {
                Step::Moved if until.is_some_and(|until| until <= Instant::now()) => left -= 1,
                Step::Moved => {}
                Step::Until => return Ok(None),
                Step::Late(stage, after) => self.late(stage, after)?,
            }
        }
    }

    /// Passes on every event that there is, until `step` is done.
    fn pull<T, E: From<Error>>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut M, &mut SendBuffer) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            let link = &mut self.transport.link;
            let told = match self.machine.next_event(&mut link.rx, &mut link.tx) {
                Ok(Some(event)) => {
                    Ok(step(ConnectionEvent::Machine(event), &mut self.machine, &mut link.tx)?)
                }
                Ok(None) => return Ok(None),
                Err(error) => Err(error),
            };
            match told {
                Ok(None) => {}
                Ok(done) => {
                    self.transport.link.transmit()?;
                    return Ok(done);
                }
                Err(error) => return Err(self.transport.failed(error).into()),
            }
        }
    }

    fn late(&mut self, stage: TimeoutStage, after: Duration) -> Result<(), Error> {
        let farewell = self.machine.timed_out(&mut self.transport.link.tx);
        match (stage, farewell) {
            // A delay that is over, or a wait that the machine goes on with.
            (TimeoutStage::Wait(_), Ok(())) => {
                self.transport.clock.rearm();
                Ok(())
            }
            _ => {
                let _ = self.transport.link.transmit();
                Err(Error::TimedOut { stage, after })
            }
        }
    }

    /// Gives commands, without waiting for anything.
    pub fn with<R>(&mut self, give: impl FnOnce(&mut M, &mut SendBuffer) -> R) -> R {
        give(&mut self.machine, &mut self.transport.link.tx)
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    /// The connection broke, or the peer does not take it in time.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.transport.flush()
    }

    /// Looks, without waiting, whether a connection on which nothing is awaited is still as it was: the peer has neither
    /// closed it nor said anything. Nothing is sent for it.
    ///
    /// A yes is no promise: the peer may be closing it at this moment.
    pub fn is_quiet(&mut self) -> bool {
        if self.transport.poll(Some(Duration::ZERO)).is_err() {
            return false;
        }
        let heard = self.drive_until(Instant::now(), |turn, _, _| {
            Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(_)).then_some(()))
        });
        matches!(heard, Ok(None)) && !self.machine.is_closed() && self.transport.link.rx.is_empty()
    }

    /// What was negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// The peer's address.
    #[must_use]
    pub const fn peer_address(&self) -> SocketAddr {
        self.transport.address
    }

    /// How long is waited for what, from now on.
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.transport.deadlines = deadlines;
        self.transport.clock.rearm();
    }

    /// Sends everything that waits and closes in order, TLS included.
    ///
    /// # Errors
    /// What waited could not be sent.
    pub fn close(mut self) -> Result<(), Error> {
        self.transport.flush()?;
        self.transport.link.say_end();
        self.transport.flush()?;
        self.transport.link.shut();
        self.transport.linger();
        Ok(())
    }

    /// Gives STARTTLS and makes the handshake with the server of this name. Everything that the machine was told
    /// before is forgotten.
    ///
    /// # Errors
    /// It is not offered, refused, tampered with, or TLS fails: the connection is gone then, and nothing falls back.
    pub fn starttls<P: ClientProtocol<Cleartext = M>>(
        self,
        tls: &TlsClientConfig,
        name: &str,
    ) -> Result<Connection<P::Secure>, Error> {
        let (mut transport, upgrade) = self.negotiate::<P>()?;
        transport.begin_tls(tls, name, Begin::StartTls)?;
        let (secure, info) = transport.handshake()?;
        Connection::complete(transport, upgrade, secure, info)
    }

    /// The gate, outer half: cleartext ends here.
    pub(crate) fn negotiate<P: ClientProtocol<Cleartext = M>>(
        mut self,
    ) -> Result<(BlockingTransport, P::Upgrade), Error> {
        let upgrade = self.transport.negotiate::<P>(self.machine)?;
        Ok((self.transport, upgrade))
    }

    /// The gate, inner half: a machine that remembers nothing.
    pub(crate) fn complete(
        mut transport: BlockingTransport,
        upgrade: impl Upgrade<Secured = M>,
        secure: Secure,
        info: Arc<TlsInfo>,
    ) -> Result<Self, Error> {
        let machine = upgrade.complete(secure, &mut transport.link.rx)?;
        transport.link.open()?;
        Ok(Self::new(transport, machine, Some(info)))
    }

    /// Whether the peer has not said anything yet.
    pub(crate) const fn is_silent(&self) -> bool {
        self.transport.link.counts().0 == 0
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

/// A link with a poll and a clock of its own.
pub(crate) struct BlockingTransport {
    pub(crate) link: Transport,
    address: SocketAddr,
    poll: Poll,
    events: Events,
    scratch: Scratch,
    clock: Clock,
    pub(crate) deadlines: Deadlines,
}

/// What a step of the pump led to.
enum Step {
    Moved,
    /// The caller's own time is over.
    Until,
    /// What the machine awaits did not come.
    Late(TimeoutStage, Duration),
}

impl BlockingTransport {
    pub(crate) fn new(mut link: Transport, address: SocketAddr, deadlines: Deadlines) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("opening a poll"))?;
        poll.registry()
            .register(link.socket(), Token(0), Interest::READABLE | Interest::WRITABLE)
            .map_err(Error::io("watching a connection"))?;
        let events = Events::with_capacity(4);
        Ok(Self {
            link,
            address,
            poll,
            events,
            scratch: transport::scratch(),
            clock: Clock::default(),
            deadlines,
        })
    }

    /// Reads what is there, or waits.
    fn step(&mut self, wait: Wait, wants_read: bool, until: Option<Instant>) -> Result<Step, Error> {
        let stuck = self.link.is_blocked() && self.link.rx.len() < READ_AHEAD;
        let reads = (wants_read || stuck) && !self.link.rx.is_closed();
        if reads && self.link.is_readable() {
            match self.link.receive(&mut self.scratch)? {
                Received::Octets | Received::End => return Ok(Step::Moved),
                Received::Nothing => {}
            }
        } else if wants_read && self.link.rx.is_closed() {
            // The machine was told and has nothing to say about it.
            return Err(Error::Closed);
        }
        self.sleep(wait, wants_read, until)
    }

    fn sleep(&mut self, wait: Wait, reading: bool, until: Option<Instant>) -> Result<Step, Error> {
        let now = Instant::now();
        let see = self.reading(now, wait, reading);
        let deadlines = &self.deadlines;
        if let Some(expired) = self.clock.expired(see, deadlines) {
            return match expired {
                Expired::Stalled => {
                    Err(Error::TimedOut { stage: TimeoutStage::Send, after: deadlines.rate.per })
                }
                Expired::TooSlow => Ok(Step::Late(TimeoutStage::MinimumRate, deadlines.rate.per)),
                Expired::Wait(awaited) => {
                    Ok(Step::Late(TimeoutStage::Wait(awaited), longest(wait, deadlines)))
                }
            };
        }
        if until.is_some_and(|until| until <= now) {
            return Ok(Step::Until);
        }
        let first = self.clock.observe(see, deadlines).into_iter().chain(until).min();
        let timeout = first.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        self.poll(timeout)?;
        Ok(Step::Moved)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::io("polling")(error)),
        }
        for event in &self.events {
            self.link.ready(event);
        }
        Ok(())
    }

    fn reading(&self, now: Instant, wait: Wait, reading: bool) -> Reading {
        let (received, sent) = self.link.counts();
        Reading { now, wait, received, sent, blocked: self.link.is_blocked(), reading }
    }

    /// The machine has ended the session: its farewell goes out, and its error is told.
    fn failed(&mut self, error: proto_mail::Error) -> Error {
        let _ = self.link.transmit();
        match error {
            proto_mail::Error::Peer(PeerError::TlsInCleartext) => self.link.wrong_mode(),
            proto_mail::Error::Peer(PeerError::InvalidGreeting) if !self.link.rx.is_empty() => {
                let received = self.link.rx.bytes();
                let end = received.iter().position(|byte| *byte == b'\n').unwrap_or(received.len());
                Error::InvalidGreeting { line: last_line(&received[..end]) }
            }
            error => error.into(),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        loop {
            self.link.transmit()?;
            if !self.link.has_output() {
                return Ok(());
            }
            if let Step::Late(stage, after) = self.sleep(Wait::forever(WaitFor::Nothing, 0), false, None)? {
                return Err(Error::TimedOut { stage, after });
            }
        }
    }

    /// Waits a moment for the peer to close too, so that what it has not read yet is not destroyed.
    fn linger(&mut self) {
        let end = Instant::now() + CLOSE;
        for _ in 0..64 {
            match self.link.discard(&mut self.scratch) {
                Received::End => return,
                Received::Octets => {}
                Received::Nothing => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.poll(Some(left)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn negotiate<P: ClientProtocol>(&mut self, machine: P::Cleartext) -> Result<P::Upgrade, Error> {
        let mut negotiation = P::starttls(machine, &mut self.link.tx).map_err(|error| self.failed(error))?;
        let (begun, first) = (Instant::now(), negotiation.wait());
        // Each answer has its own time; a peer that says something else all the while must not have all of it.
        let most = longest(first, &self.deadlines).saturating_mul(NEGOTIATION);
        loop {
            let wait = negotiation.wait();
            let link = &mut self.link;
            let reply = last_line(link.rx.bytes());
            match negotiation.advance(&mut link.rx, &mut link.tx) {
                Ok(Negotiation::Ready(upgrade)) => return Ok(upgrade),
                Ok(Negotiation::Refused(_)) => {
                    let is_temporary = reply.starts_with('4');
                    return Err(Error::StartTlsRefused { reply, is_temporary });
                }
                Ok(Negotiation::Pending(more)) => negotiation = more,
                Err(proto_mail::Error::Peer(PeerError::ServerClosing)) => {
                    return Err(Error::StartTlsRefused { reply, is_temporary: true });
                }
                Err(error) => return Err(self.failed(error)),
            }
            self.link.transmit()?;
            if let Step::Late(stage, after) = self.step(wait, true, None)? {
                return Err(Error::TimedOut { stage, after });
            }
            if begun.elapsed() >= most {
                return Err(Error::TimedOut { stage: TimeoutStage::Wait(WaitFor::Reply), after: most });
            }
        }
    }

    /// From here on TLS is spoken, with the server of this name.
    pub(crate) fn begin_tls(&mut self, tls: &TlsClientConfig, name: &str, begin: Begin) -> Result<(), Error> {
        let (connection, seen) = tls.connect(name)?;
        self.link.begin_tls(connection, Some(seen), begin)
    }

    /// Makes the handshake.
    pub(crate) fn handshake(&mut self) -> Result<(Secure, Arc<TlsInfo>), Error> {
        let wait = Wait::new(WaitFor::TlsHandshake, self.deadlines.tls, 0);
        self.clock.rearm();
        loop {
            if let Some(vouched) = self.link.vouch(None) {
                self.clock.rearm();
                return Ok(vouched);
            }
            let moved = self.link.transmit().and_then(|()| self.step(wait, true, None));
            match moved {
                Ok(Step::Late(_, after)) => return Err(Error::TimedOut { stage: TimeoutStage::Tls, after }),
                Ok(Step::Moved | Step::Until) => {}
                Err(error) => {
                    // The alert that says why.
                    let _ = self.link.transmit();
                    return Err(error);
                }
            }
        }
    }
}

/// The last line in cleartext that came before TLS, for people. IMAP names the reason there, and so does SMTP.
fn last_line(received: &[u8]) -> String {
    const LONGEST: usize = 1000;
    let received = received.trim_ascii_end();
    let line = received.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line.get(..LONGEST).unwrap_or(line)).into_owned()
}
