//! A transport with its time limits. Each call does what can be done now, so that a future that uses it may be
//! dropped at any point.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use io_common::{
    ClientProtocol, Deadlines, Protocol, TimeoutStage, TlsClientConfig, TlsServerConfig,
    protocol::ProtocolPorts,
    session_timer::{ExpiredLimit, SessionActivity, SessionTimer},
    tls::HandshakeNames,
    transport::{Received, TlsStart, Transport},
};
use proto_mail::{
    Wait, WaitFor,
    machine::{Negotiation, StartTlsNegotiation},
};

use crate::{
    error::Error,
    socket::{Socket, with_buffer},
    timer::{Timer, now},
};

/// While output is blocked, this many bytes are read nevertheless: two peers that only write would block each other.
const READ_AHEAD: usize = 256 * 1024;
/// How many times the limit of its first reply a STARTTLS negotiation may take.
const STARTTLS_REPLIES: u32 = 3;
/// How long closing waits for the peer, and how often it reads meanwhile.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_READS: usize = 64;
/// After this time without input the buffers are freed.
const RELEASE_AFTER: Duration = Duration::from_secs(3);

/// A transport with a timer.
pub(crate) struct TimedTransport {
    pub(crate) inner: Transport<Socket>,
    pub(crate) timer: SessionTimer,
    pub(crate) deadlines: Deadlines,
    sleep: Timer,
    closing: Closing,
    last_input: Instant,
}

/// How far the connection is closed.
#[derive(Debug, Clone, Copy)]
enum Closing {
    No,
    /// The closing alert of TLS is queued.
    Notified,
    /// This side's direction is closed.
    Lingering {
        until: Instant,
        reads: usize,
    },
}

/// The result of one step.
pub(crate) enum Step {
    /// Something may have changed.
    Progressed,
    /// A time limit passed.
    TimedOut(TimeoutStage, Duration),
}

impl TimedTransport {
    pub(crate) fn new<P: Protocol>(socket: Socket, deadlines: Deadlines) -> Self {
        let inner = Transport::new(socket, ProtocolPorts::of::<P>());
        Self {
            inner,
            timer: SessionTimer::default(),
            deadlines,
            sleep: Timer::default(),
            closing: Closing::No,
            last_input: now(),
        }
    }

    /// Sends what the stream accepts now.
    pub(crate) fn transmit(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.inner.socket().begin_turn(cx);
        let readiness = self.inner.socket().readiness();
        self.inner.ready(readiness);
        let sent = self.inner.transmit();
        self.inner.socket().pass_on(cx);
        Ok(sent?)
    }

    /// Reads once, if something has arrived. Otherwise the task waits for the stream or a time limit.
    pub(crate) fn poll_step(
        &mut self,
        wait: Wait,
        wants_read: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step, Error>> {
        let stuck = self.inner.is_blocked() && self.inner.rx.len() < READ_AHEAD;
        if (wants_read || stuck) && !self.inner.rx.is_closed() {
            self.inner.socket().begin_turn(cx);
            self.inner.may_read();
            match with_buffer(|buffer| self.inner.receive(buffer))? {
                Received::Bytes | Received::Closed => {
                    self.last_input = now();
                    return Poll::Ready(Ok(Step::Progressed));
                }
                Received::WouldBlock => {}
            }
        } else if wants_read && self.inner.rx.is_closed() {
            // The machine saw the end and reports nothing.
            return Poll::Ready(Err(io_common::Error::Closed.into()));
        }
        self.poll_timer(wait, wants_read, cx)
    }

    /// Waits for a time limit.
    fn poll_timer(&mut self, wait: Wait, reading: bool, cx: &mut Context<'_>) -> Poll<Result<Step, Error>> {
        loop {
            let (received, sent) = self.inner.counts();
            let blocked = self.inner.is_blocked();
            let activity = SessionActivity { now: now(), wait, received, sent, blocked, reading };
            let deadlines = &self.deadlines;
            let (stage, after) = match self.timer.expired_limit(activity, deadlines) {
                Some(ExpiredLimit::Stalled) => {
                    let (stage, after) = (TimeoutStage::Send, deadlines.rate.per);
                    return Poll::Ready(Err(io_common::Error::TimedOut { stage, after }.into()));
                }
                Some(ExpiredLimit::TooSlow) => (TimeoutStage::MinimumRate, deadlines.rate.per),
                Some(ExpiredLimit::Wait(awaited)) => (TimeoutStage::Wait(awaited), deadlines.longest(wait)),
                None => {
                    let limit = self.timer.observe(activity, deadlines);
                    let idle_at = self.last_input + RELEASE_AFTER;
                    let is_idle = idle_at <= activity.now;
                    if is_idle {
                        self.inner.release();
                    }
                    let at = limit.into_iter().chain((!is_idle).then_some(idle_at)).min();
                    ready!(self.sleep.poll_at(at, cx));
                    continue;
                }
            };
            return Poll::Ready(Ok(Step::TimedOut(stage, after)));
        }
    }

    /// Sends all output.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.transmit(cx)?;
            if !self.inner.has_output() {
                return Poll::Ready(Ok(()));
            }
            let nothing = Wait::forever(WaitFor::Nothing, 0);
            if let Step::TimedOut(stage, after) = ready!(self.poll_timer(nothing, false, cx))? {
                return Poll::Ready(Err(io_common::Error::TimedOut { stage, after }.into()));
            }
        }
    }

    /// Sends all output and closes in order, TLS included. Waits a moment for the peer to close too, so that it can read
    /// everything that was sent.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            match self.closing {
                Closing::No => {
                    ready!(self.poll_flush(cx))?;
                    self.inner.send_close_notify();
                    self.closing = Closing::Notified;
                }
                Closing::Notified => {
                    ready!(self.poll_flush(cx))?;
                    self.inner.shutdown_write();
                    self.closing = Closing::Lingering { until: now() + CLOSE_TIMEOUT, reads: CLOSE_READS };
                }
                Closing::Lingering { reads: 0, .. } => return Poll::Ready(Ok(())),
                Closing::Lingering { until, reads } => {
                    self.closing = Closing::Lingering { until, reads: reads - 1 };
                    self.inner.socket().begin_turn(cx);
                    match with_buffer(|buffer| self.inner.discard(buffer)) {
                        Received::Closed => self.closing = Closing::Lingering { until, reads: 0 },
                        Received::Bytes => {}
                        Received::WouldBlock => {
                            ready!(self.sleep.poll_at(Some(until), cx));
                            self.closing = Closing::Lingering { until, reads: 0 };
                        }
                    }
                }
            }
        }
    }

    /// Switches to TLS with a client, and makes the handshake.
    pub(crate) async fn accept_tls(&mut self, tls: &TlsServerConfig, start: TlsStart) -> Result<(), Error> {
        self.inner.begin_server_tls(tls, start)?;
        self.finish_handshake().await
    }

    /// The outer half of the TLS gate: sends STARTTLS and waits for the server's agreement.
    pub(crate) async fn negotiate<P: ClientProtocol>(
        &mut self,
        machine: P::Cleartext,
    ) -> Result<P::Upgrade, Error> {
        let started = P::starttls(machine, &mut self.inner.tx);
        let mut negotiation = started.map_err(|error| self.inner.explain(error))?;
        let (begun, first) = (now(), negotiation.wait());
        // Each reply has its own time limit. Together they have another, for a peer that keeps sending something else.
        let limit = self.deadlines.longest(first).saturating_mul(STARTTLS_REPLIES);
        loop {
            let wait = negotiation.wait();
            let reply = self.inner.last_received_line();
            match negotiation.advance(&mut self.inner.rx, &mut self.inner.tx) {
                Ok(Negotiation::Ready(upgrade)) => return Ok(upgrade),
                Ok(Negotiation::Refused(_)) => {
                    let is_temporary = reply.starts_with('4');
                    return Err(io_common::Error::StartTlsRefused { reply, is_temporary }.into());
                }
                Ok(Negotiation::Pending(more)) => negotiation = more,
                Err(proto_mail::Error::Rejected(_)) => {
                    return Err(io_common::Error::StartTlsRefused { reply, is_temporary: true }.into());
                }
                Err(error) => return Err(self.inner.explain(error).into()),
            }
            let step = poll_fn(|cx| {
                self.transmit(cx)?;
                self.poll_step(wait, true, cx)
            });
            if let Step::TimedOut(stage, after) = step.await? {
                return Err(io_common::Error::TimedOut { stage, after }.into());
            }
            if now().saturating_duration_since(begun) >= limit {
                let stage = TimeoutStage::Wait(WaitFor::Reply);
                return Err(io_common::Error::TimedOut { stage, after: limit }.into());
            }
        }
    }

    /// Switches to TLS with the server of these names, and makes the handshake.
    pub(crate) async fn handshake(
        &mut self,
        tls: &TlsClientConfig,
        names: &HandshakeNames,
        start: TlsStart,
    ) -> Result<(), Error> {
        self.inner.begin_client_tls(tls, names, start)?;
        self.finish_handshake().await
    }

    async fn finish_handshake(&mut self) -> Result<(), Error> {
        let wait = Wait::new(WaitFor::TlsHandshake, self.deadlines.tls, 0);
        self.timer.rearm();
        loop {
            if self.inner.handshake_done() {
                self.timer.rearm();
                return Ok(());
            }
            let step = poll_fn(|cx| {
                self.transmit(cx)?;
                let step = ready!(self.poll_step(wait, true, cx));
                if step.is_err() {
                    // Send the alert.
                    let _ = self.transmit(cx);
                }
                Poll::Ready(step)
            });
            if let Step::TimedOut(_, after) = step.await? {
                return Err(io_common::Error::TimedOut { stage: TimeoutStage::Tls, after }.into());
            }
        }
    }
}
