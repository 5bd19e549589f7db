//! A client's connection with its own poll: blocking reads, writes and handshakes with time limits.

use std::time::{Duration, Instant};

use io_common::{
    Address, ClientProtocol, Deadlines, Error, TimeoutStage, TlsClientConfig,
    session_timer::{ExpiredLimit, SessionActivity, SessionTimer},
    tls::HandshakeNames,
    transport::{ReadBuffer, Received, TlsStart, Transport, read_buffer},
};
use mio::{Events, Interest, Poll, Token};
use proto_mail::{
    Wait, WaitFor,
    machine::{Negotiation, StartTlsNegotiation},
};

use crate::socket::{Socket, readiness};

/// While output is blocked, this many bytes are read nevertheless: two peers that only write would block each other.
const READ_AHEAD: usize = 256 * 1024;
/// How many times the limit of its first reply a STARTTLS negotiation may take.
const STARTTLS_REPLIES: u32 = 3;
/// How long closing waits for the peer.
const CLOSE: Duration = Duration::from_secs(2);

/// A transport with a poll and a timer of its own.
pub(crate) struct BlockingTransport {
    pub(crate) inner: Transport<Socket>,
    pub(super) address: Address,
    poll: Poll,
    events: Events,
    buffer: ReadBuffer,
    pub(super) timer: SessionTimer,
    pub(crate) deadlines: Deadlines,
}

/// The result of one step.
pub(super) enum TransportStep {
    /// Something may have changed.
    Progressed,
    /// The caller's own time limit passed.
    UntilReached,
    /// A time limit passed.
    TimedOut(TimeoutStage, Duration),
}

impl BlockingTransport {
    pub(crate) fn new(
        mut inner: Transport<Socket>,
        address: Address,
        deadlines: Deadlines,
    ) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("opening a poll"))?;
        poll.registry()
            .register(inner.socket(), Token(0), Interest::READABLE | Interest::WRITABLE)
            .map_err(Error::io("watching a connection"))?;
        let events = Events::with_capacity(4);
        Ok(Self {
            inner,
            address,
            poll,
            events,
            buffer: read_buffer(),
            timer: SessionTimer::default(),
            deadlines,
        })
    }

    /// Reads once, or waits for the socket or a time limit.
    pub(super) fn step(
        &mut self,
        wait: Wait,
        wants_read: bool,
        until: Option<Instant>,
    ) -> Result<TransportStep, Error> {
        let stuck = self.inner.is_blocked() && self.inner.rx.len() < READ_AHEAD;
        let reads = (wants_read || stuck) && !self.inner.rx.is_closed();
        if reads && self.inner.is_readable() {
            match self.inner.receive(&mut self.buffer)? {
                Received::Bytes | Received::Closed => return Ok(TransportStep::Progressed),
                Received::WouldBlock => {}
            }
        } else if wants_read && self.inner.rx.is_closed() {
            // The machine saw the end and reports nothing.
            return Err(Error::Closed);
        }
        self.wait_for_socket(wait, wants_read, until)
    }

    /// Waits until the socket is ready or a time limit passes.
    fn wait_for_socket(
        &mut self,
        wait: Wait,
        reading: bool,
        until: Option<Instant>,
    ) -> Result<TransportStep, Error> {
        let now = Instant::now();
        let activity = self.activity(now, wait, reading);
        let deadlines = &self.deadlines;
        if let Some(expired) = self.timer.expired_limit(activity, deadlines) {
            return match expired {
                ExpiredLimit::Stalled => {
                    Err(Error::TimedOut { stage: TimeoutStage::Send, after: deadlines.rate.per })
                }
                ExpiredLimit::TooSlow => {
                    Ok(TransportStep::TimedOut(TimeoutStage::MinimumRate, deadlines.rate.per))
                }
                ExpiredLimit::Wait(awaited) => {
                    Ok(TransportStep::TimedOut(TimeoutStage::Wait(awaited), deadlines.longest(wait)))
                }
            };
        }
        if until.is_some_and(|until| until <= now) {
            return Ok(TransportStep::UntilReached);
        }
        let first = self.timer.observe(activity, deadlines).into_iter().chain(until).min();
        let timeout = first.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        self.poll(timeout)?;
        Ok(TransportStep::Progressed)
    }

    pub(super) fn poll(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::io("polling")(error)),
        }
        for event in &self.events {
            self.inner.ready(readiness(event));
        }
        Ok(())
    }

    fn activity(&self, now: Instant, wait: Wait, reading: bool) -> SessionActivity {
        let (received, sent) = self.inner.counts();
        SessionActivity { now, wait, received, sent, blocked: self.inner.is_blocked(), reading }
    }

    /// Sends the farewell of a machine that failed, and returns its error.
    pub(super) fn machine_error(&mut self, error: proto_mail::Error) -> Error {
        let _ = self.inner.transmit();
        self.inner.explain(error)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        loop {
            self.inner.transmit()?;
            if !self.inner.has_output() {
                return Ok(());
            }
            if let TransportStep::TimedOut(stage, after) =
                self.wait_for_socket(Wait::forever(WaitFor::Nothing, 0), false, None)?
            {
                return Err(Error::TimedOut { stage, after });
            }
        }
    }

    /// Waits a moment for the peer to close too, so that it can read everything that was sent.
    pub(super) fn linger(&mut self) {
        let end = Instant::now() + CLOSE;
        for _ in 0..64 {
            match self.inner.discard(&mut self.buffer) {
                Received::Closed => return,
                Received::Bytes => {}
                Received::WouldBlock => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.poll(Some(left)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Negotiates STARTTLS, up to the server's positive reply. Together the replies have a time limit too.
    pub(super) fn negotiate_starttls<P: ClientProtocol>(
        &mut self,
        machine: P::Cleartext,
    ) -> Result<P::Upgrade, Error> {
        let mut negotiation =
            P::starttls(machine, &mut self.inner.tx).map_err(|error| self.machine_error(error))?;
        let (started, first) = (Instant::now(), negotiation.wait());
        // Each reply has its own time limit. Together they have another, for a peer that keeps sending something else.
        let limit = self.deadlines.longest(first).saturating_mul(STARTTLS_REPLIES);
        loop {
            let wait = negotiation.wait();
            let transport = &mut self.inner;
            let reply = transport.last_received_line();
            match negotiation.advance(&mut transport.rx, &mut transport.tx) {
                Ok(Negotiation::Ready(upgrade)) => return Ok(upgrade),
                Ok(Negotiation::Refused(_)) => {
                    let is_temporary = reply.starts_with('4');
                    return Err(Error::StartTlsRefused { reply, is_temporary });
                }
                Ok(Negotiation::Pending(more)) => negotiation = more,
                Err(proto_mail::Error::Rejected(_)) => {
                    return Err(Error::StartTlsRefused { reply, is_temporary: true });
                }
                Err(error) => return Err(self.machine_error(error)),
            }
            self.inner.transmit()?;
            if let TransportStep::TimedOut(stage, after) = self.step(wait, true, None)? {
                return Err(Error::TimedOut { stage, after });
            }
            if started.elapsed() >= limit {
                return Err(Error::TimedOut { stage: TimeoutStage::Wait(WaitFor::Reply), after: limit });
            }
        }
    }

    /// Switches to TLS with the server of these names.
    pub(super) fn begin_tls(
        &mut self,
        tls: &TlsClientConfig,
        names: &HandshakeNames,
        start: TlsStart,
    ) -> Result<(), Error> {
        self.inner.begin_client_tls(tls, names, start)
    }

    /// Runs the TLS handshake to its end.
    pub(crate) fn handshake(&mut self) -> Result<(), Error> {
        let wait = Wait::new(WaitFor::TlsHandshake, self.deadlines.tls, 0);
        self.timer.rearm();
        loop {
            if self.inner.handshake_done() {
                self.timer.rearm();
                return Ok(());
            }
            let step = self.inner.transmit().and_then(|()| self.step(wait, true, None));
            match step {
                Ok(TransportStep::TimedOut(_, after)) => {
                    return Err(Error::TimedOut { stage: TimeoutStage::Tls, after });
                }
                Ok(TransportStep::Progressed | TransportStep::UntilReached) => {}
                Err(error) => {
                    // Send the alert.
                    let _ = self.inner.transmit();
                    return Err(error);
                }
            }
        }
    }
}
