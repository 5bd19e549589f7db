//! One session of a server: its transport, the phase of its machine, and the application's handler.
//!
//! This loop is the same for every protocol. The driver calls [`SessionTask::turn`] when something may have changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto_mail::{Machine, PeerError, StartTlsRequest, Wait, WaitFor};

use super::{
    admission::Admission,
    half_closed::HalfClosed,
    handler::{CloseReason, Context, Handler, LoginState, Next, Peer},
    listener_settings::{ListenerShared, ListenerTls, SessionSettings},
    session_handle::SessionHandle,
    session_task::{SessionTask, TurnOutcome, WakeReason},
};
use crate::{
    error::{Error, TimeoutStage},
    protocol::{
        ports::ProtocolPorts,
        traits::{MachineMut, ServerProtocol},
    },
    session_timer::{ExpiredLimit, SessionActivity, SessionTimer},
    stream::{Readiness, Stream},
    trace::record::Role,
    transport::{LOW_WATER, ReadBuffer, Received, TlsStart, Transport},
};

/// How many reads and how many events a session gets per turn.
const READS: usize = 8;
const EVENTS: usize = 512;
/// How long one session works before the others have their turn. A single call of a handler may exceed it.
const TURN: Duration = Duration::from_millis(5);
/// After this time without input a session frees its buffers.
const IDLE: Duration = Duration::from_secs(3);
/// How long a closed session waits for the peer to read the farewell, and how often it reads meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 32;
/// The phase of a session.
enum Phase<P: ServerProtocol> {
    Cleartext(P::Cleartext),
    Handshaking(AfterHandshake<P>),
    Secure(P::Secure),
    /// All output is queued. It is sent, and the peer gets time to read it.
    Closing {
        until: Instant,
        is_shut: bool,
        reads: usize,
    },
}

/// What follows a handshake.
enum AfterHandshake<P: ServerProtocol> {
    Upgrade(P::Upgrade),
    Greeting,
    Refuse,
}

/// What the handler is called for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Events,
    More,
    Paused,
}

/// One session of a server: the loop over its transport, machine and handler.
pub(crate) struct Session<P: ServerProtocol, H: Handler<P>, S: Stream> {
    transport: Transport<S>,
    phase: Option<Phase<P>>,
    handler: Option<H>,
    flow: Flow,
    listener: Arc<ListenerShared<P, H>>,
    /// The listener's settings when the session started.
    settings: Arc<SessionSettings<P>>,
    handle: SessionHandle,
    peer: Peer,
    login: LoginState,
    timer: SessionTimer,
    wake_at: Option<Instant>,
    last_input: Instant,
    half_closed: HalfClosed,
    released: bool,
    draining: bool,
    /// Whether `Handler::opened` was called.
    opened: bool,
}

impl<P: ServerProtocol, H: Handler<P>, S: Stream> Session<P, H, S> {
    pub(crate) fn start(
        socket: S,
        peer: Peer,
        handle: SessionHandle,
        listener: Arc<ListenerShared<P, H>>,
        admission: Admission,
        now: Instant,
    ) -> Result<Self, Error> {
        let settings = listener.settings.current();
        let mut transport = Transport::new(socket, ProtocolPorts::of::<P>());
        transport.filter_output(listener.settings.new_filter());
        if let Some(tracer) = &listener.tracer {
            transport.trace(tracer(), Role::Server, &peer.address, now);
        }
        let (phase, handler) = match (&settings.tls, admission) {
            (ListenerTls::Implicit(tls), _) => {
                transport.begin_server_tls(tls, TlsStart::Implicit)?;
                let admitted = admission == Admission::Admitted;
                (
                    Phase::Handshaking(if admitted {
                        AfterHandshake::Greeting
                    } else {
                        AfterHandshake::Refuse
                    }),
                    None,
                )
            }
            (_, Admission::Refused) => {
                P::refuse(&settings.config, &mut transport.tx);
                (Phase::Closing { until: now + LINGER, is_shut: false, reads: LINGER_READS }, None)
            }
            (ListenerTls::StartTls(_) | ListenerTls::None, Admission::Admitted) => {
                let machine = P::open(&settings.config, &mut transport.tx);
                (Phase::Cleartext(machine), Some((listener.factory)(&peer)))
            }
            (ListenerTls::TrustedLocal, Admission::Admitted) => {
                let Some(secure) = settings.tls.trusted(&peer.address) else {
                    return Err(Error::Config(
                        "a remote client connected to a listener for local programs".into(),
                    ));
                };
                let machine = P::open_secure(&settings.config, secure, &mut transport.tx);
                (Phase::Secure(machine), Some((listener.factory)(&peer)))
            }
        };
        let login = LoginState { deadline: settings.login_deadline(now), extra_delay: Duration::ZERO };
        Ok(Self {
            transport,
            phase: Some(phase),
            handler,
            flow: Flow::Events,
            listener,
            settings,
            handle,
            peer,
            login,
            timer: SessionTimer::default(),
            wake_at: None,
            last_input: now,
            half_closed: HalfClosed::default(),
            released: false,
            draining: false,
            opened: false,
        })
    }

    /// Does what can be done now, within the limits of one turn. Returns whether there is more to do.
    fn run(&mut self, reason: WakeReason, now: Instant, buffer: &mut ReadBuffer) -> Result<bool, Error> {
        if !self.opened && self.handler.is_some() {
            self.opened = true;
            self.call(now, |handler, machine, tx, cx| handler.opened(machine, tx, cx))?;
        }
        if reason.woken || self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = self.wake_at.filter(|&at| at > now);
            self.call(now, |handler, machine, tx, cx| handler.woken(machine, tx, cx))?;
        }
        let again = self.work(now, buffer)?;
        if self.is_gone(now) {
            return Err(Error::Closed);
        }
        if self.login.deadline.is_some_and(|until| until <= now) {
            return self.login_timed_out();
        }
        // Input is processed first: the peer is not at fault if this process was delayed.
        if reason.timer && self.check_timer(now)? {
            return self.work(now, buffer);
        }
        Ok(again)
    }

    fn work(&mut self, now: Instant, buffer: &mut ReadBuffer) -> Result<bool, Error> {
        let start = Instant::now();
        for round in 0..READS {
            if round > 0 && start.elapsed() >= TURN {
                break;
            }
            let all = self.pull(now)?;
            self.transport.transmit()?;
            if self.flow == Flow::More && self.transport.tx.len() < LOW_WATER {
                self.call(now, |handler, machine, tx, cx| handler.drained(machine, tx, cx))?;
                self.transport.transmit()?;
                if self.flow != Flow::Paused && !self.transport.is_blocked() {
                    continue;
                }
            }
            self.end_if_draining(now);
            if all && !self.read(now, buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes events to the handler. Returns false if there are more.
    fn pull(&mut self, now: Instant) -> Result<bool, Error> {
        for _ in 0..EVENTS {
            if self.flow != Flow::Events {
                return Ok(true);
            }
            let Some(handler) = &mut self.handler else { return Ok(true) };
            let wake_at = &mut self.wake_at;
            let login = &mut self.login;
            let mut cx = Context { peer: &self.peer, handle: &self.handle, now, wake_at, login };
            let transport = &mut self.transport;
            let next = match &mut self.phase {
                Some(Phase::Cleartext(machine)) => {
                    let event = machine.next_event(&mut transport.rx, &mut transport.tx)?;
                    event.map(|event| handler.cleartext(event, machine, &mut transport.tx, &mut cx))
                }
                Some(Phase::Secure(machine)) => {
                    let event = machine.next_event(&mut transport.rx, &mut transport.tx)?;
                    event.map(|event| handler.secure(event, machine, &mut transport.tx, &mut cx))
                }
                _ => return Ok(true),
            };
            match next {
                Some(next) => self.apply(next, now)?,
                None => {
                    self.close_if_ended(now);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn call(
        &mut self,
        now: Instant,
        method: impl FnOnce(&mut H, MachineMut<'_, P>, &mut proto_mail::SendBuffer, &mut Context<'_>) -> Next,
    ) -> Result<(), Error> {
        let machine = match &mut self.phase {
            Some(Phase::Cleartext(machine)) => MachineMut::Cleartext(machine),
            Some(Phase::Secure(machine)) => MachineMut::Secure(machine),
            _ => return Ok(()),
        };
        let Some(handler) = &mut self.handler else { return Ok(()) };
        let wake_at = &mut self.wake_at;
        let login = &mut self.login;
        let mut cx = Context { peer: &self.peer, handle: &self.handle, now, wake_at, login };
        let next = method(handler, machine, &mut self.transport.tx, &mut cx);
        self.apply(next, now)
    }

    fn apply(&mut self, next: Next, now: Instant) -> Result<(), Error> {
        match next {
            Next::Continue => self.flow = Flow::Events,
            Next::More => self.flow = Flow::More,
            Next::Pause => self.flow = Flow::Paused,
            Next::Close => self.close(&CloseReason::Done, now),
            Next::StartTls(request) => {
                self.flow = Flow::Events;
                self.accept(request)?;
            }
        }
        Ok(())
    }

    /// The outer half of the TLS gate: consumes the cleartext machine.
    fn accept(&mut self, request: StartTlsRequest) -> Result<(), Error> {
        let ListenerTls::StartTls(tls) = &self.settings.tls else {
            return Err(Error::Config("STARTTLS was accepted on a listener without a certificate".into()));
        };
        if !self.transport.rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        match self.phase.take() {
            Some(Phase::Cleartext(machine)) => {
                let upgrade = P::accept(machine, request, &mut self.transport.tx)?;
                self.transport.begin_server_tls(tls, TlsStart::StartTls)?;
                self.phase = Some(Phase::Handshaking(AfterHandshake::Upgrade(upgrade)));
                Ok(())
            }
            other => {
                self.phase = other;
                Err(proto_mail::Error::Misuse(proto_mail::Misuse::WrongState).into())
            }
        }
    }

    /// The inner half of the TLS gate: makes a machine and a handler without memory of the cleartext session.
    fn secured(&mut self, now: Instant) -> Result<(), Error> {
        let Some(Phase::Handshaking(after)) = self.phase.take() else {
            return Err(proto_mail::Error::Misuse(proto_mail::Misuse::WrongState).into());
        };
        let config = &self.settings.config;
        let (machine, info) = match after {
            AfterHandshake::Upgrade(upgrade) => self.transport.complete_upgrade(upgrade)?,
            AfterHandshake::Greeting => self.transport.open_server::<P>(config)?,
            AfterHandshake::Refuse => {
                self.transport.refuse_server::<P>(config)?;
                self.close(&CloseReason::Done, now);
                return Ok(());
            }
        };
        self.phase = Some(Phase::Secure(machine));
        self.peer.tls = Some(info);
        self.wake_at = None;
        self.handler = Some((self.listener.factory)(&self.peer));
        if !self.opened {
            self.opened = true;
            self.call(now, |handler, machine, tx, cx| handler.opened(machine, tx, cx))?;
        }
        self.call(now, |handler, machine, tx, cx| match machine {
            MachineMut::Secure(machine) => handler.secured(machine, tx, cx),
            MachineMut::Cleartext(_) => Next::Close,
        })
    }

    /// Reads once, if input is wanted. Returns whether something may have changed.
    fn read(&mut self, now: Instant, buffer: &mut ReadBuffer) -> Result<bool, Error> {
        if !self.wants_read() || !self.transport.is_readable() || self.transport.rx.is_closed() {
            return Ok(false);
        }
        match self.transport.receive(buffer)? {
            Received::WouldBlock => return Ok(false),
            Received::Bytes | Received::Closed => {}
        }
        self.last_input = now;
        self.released = false;
        if self.transport.handshake_done() {
            self.secured(now)?;
        }
        Ok(true)
    }

    fn wants_read(&self) -> bool {
        match &self.phase {
            Some(Phase::Handshaking(_)) => true,
            Some(Phase::Cleartext(machine)) => {
                self.flow == Flow::Events && machine.wants_read(&self.transport.tx)
            }
            Some(Phase::Secure(machine)) => {
                self.flow == Flow::Events && machine.wants_read(&self.transport.tx)
            }
            Some(Phase::Closing { .. }) | None => false,
        }
    }

    /// Whether the peer left while the application works on a reply.
    fn is_gone(&mut self, now: Instant) -> bool {
        let is_working =
            matches!(self.phase, Some(Phase::Cleartext(_) | Phase::Secure(_))) && !self.wants_read();
        if !is_working {
            self.half_closed.forget();
            return false;
        }
        self.half_closed.is_gone(&self.transport, now)
    }

    fn machine_closed(&self) -> bool {
        match &self.phase {
            Some(Phase::Cleartext(machine)) => machine.is_closed(),
            Some(Phase::Secure(machine)) => machine.is_closed(),
            _ => false,
        }
    }

    /// Closes if the machine ended the session, or if the peer left and no reply is due.
    fn close_if_ended(&mut self, now: Instant) {
        if self.machine_closed() || (self.transport.rx.is_closed() && self.wants_read()) {
            self.close(&CloseReason::Done, now);
        }
    }

    /// Says goodbye during a shutdown, once the session waits for a new command.
    fn end_if_draining(&mut self, now: Instant) {
        let is_waiting = matches!(self.wait().awaited, WaitFor::Command | WaitFor::Idle | WaitFor::Greeting);
        if !self.draining || !is_waiting || !self.transport.rx.is_empty() {
            return;
        }
        match &mut self.phase {
            Some(Phase::Cleartext(machine)) => {
                P::shutdown(MachineMut::Cleartext(machine), &mut self.transport.tx)
            }
            Some(Phase::Secure(machine)) => P::shutdown(MachineMut::Secure(machine), &mut self.transport.tx),
            _ => return,
        }
        self.close(&CloseReason::Shutdown, now);
    }

    fn wait(&self) -> Wait {
        let wait = match &self.phase {
            Some(Phase::Cleartext(machine)) => machine.wait(),
            Some(Phase::Secure(machine)) => machine.wait(),
            Some(Phase::Handshaking(_)) => Wait::forever(WaitFor::TlsHandshake, 0),
            Some(Phase::Closing { .. }) | None => Wait::forever(WaitFor::Nothing, 0),
        };
        match self.flow {
            Flow::Events if wait.awaited == WaitFor::Delay => {
                let after = wait.after.unwrap_or(Duration::MAX).saturating_add(self.login.extra_delay);
                Wait::new(wait.awaited, after, wait.generation)
            }
            Flow::Events => wait,
            Flow::More | Flow::Paused => Wait::forever(WaitFor::Application, wait.generation),
        }
    }

    fn activity(&self, now: Instant) -> SessionActivity {
        let (received, sent) = self.transport.counts();
        let blocked = self.transport.is_blocked();
        SessionActivity { now, wait: self.wait(), received, sent, blocked, reading: self.wants_read() }
    }

    /// Returns true if a wait is over and the machine goes on.
    fn check_timer(&mut self, now: Instant) -> Result<bool, Error> {
        let deadlines = &self.settings.deadlines;
        let activity = self.activity(now);
        let Some(expired) = self.timer.expired_limit(activity, deadlines) else { return Ok(false) };
        let stage = match expired {
            ExpiredLimit::Stalled => {
                return Err(Error::TimedOut { stage: TimeoutStage::Send, after: deadlines.rate.per });
            }
            ExpiredLimit::Wait(awaited) => TimeoutStage::Wait(awaited),
            ExpiredLimit::TooSlow => TimeoutStage::MinimumRate,
        };
        let after = deadlines.longest(activity.wait);
        match &mut self.phase {
            Some(Phase::Cleartext(machine)) => machine.timed_out(&mut self.transport.tx)?,
            Some(Phase::Secure(machine)) => machine.timed_out(&mut self.transport.tx)?,
            _ => return Err(Error::TimedOut { stage, after }),
        }
        match expired {
            // A delay that is over, or a wait that the machine continues.
            ExpiredLimit::Wait(_) => {
                self.timer.rearm();
                Ok(true)
            }
            _ => Err(Error::TimedOut { stage, after }),
        }
    }

    /// Ends a session whose client did not log in in time.
    fn login_timed_out(&mut self) -> Result<bool, Error> {
        let closing = matches!(self.phase, Some(Phase::Closing { .. }) | None) || self.machine_closed();
        self.login.deadline = None;
        if closing {
            return Ok(false);
        }
        if !matches!(self.phase, Some(Phase::Handshaking(_))) {
            self.transport.tx.put(P::LOGIN_TIMED_OUT);
        }
        Err(Error::TimedOut { stage: TimeoutStage::Login, after: self.settings.deadlines.login })
    }

    fn fail(&mut self, error: Error, now: Instant) {
        let truncated = matches!(
            error,
            Error::Protocol(proto_mail::Error::Peer(PeerError::Truncated)) | Error::Io { .. }
        );
        let reason =
            if truncated && self.machine_closed() { CloseReason::Done } else { CloseReason::Failed(error) };
        self.close(&reason, now);
    }

    fn close(&mut self, reason: &CloseReason, now: Instant) {
        if matches!(self.phase, Some(Phase::Closing { .. })) {
            return;
        }
        match reason {
            CloseReason::Failed(error) => {
                tracing::debug!(protocol = P::NAME, peer = %self.peer.address, %error, "session failed");
                self.transport.note(error);
            }
            CloseReason::Done | CloseReason::Shutdown => {
                tracing::debug!(protocol = P::NAME, peer = %self.peer.address, "session over");
            }
        }
        self.handle.end();
        if let Some(mut handler) = self.handler.take() {
            handler.closed(reason);
        }
        self.transport.send_close_notify();
        self.flow = Flow::Events;
        self.phase = Some(Phase::Closing { until: now + LINGER, is_shut: false, reads: LINGER_READS });
    }

    /// Sends the last output, then waits a moment for the peer to read it.
    fn linger(&mut self, now: Instant, buffer: &mut ReadBuffer) -> TurnOutcome {
        let sent = self.transport.transmit();
        let output = self.transport.has_output();
        let Some(Phase::Closing { until, is_shut, reads }) = &mut self.phase else {
            return TurnOutcome::Finished;
        };
        if sent.is_err() || *until <= now {
            return TurnOutcome::Finished;
        }
        if !output && self.transport.rx.is_closed() {
            // Both sides have closed.
            return TurnOutcome::Finished;
        }
        if !output && !*is_shut {
            *is_shut = true;
            self.transport.shutdown_write();
        }
        while *reads > 0 {
            *reads -= 1;
            match self.transport.discard(buffer) {
                Received::Bytes => {}
                Received::WouldBlock => return TurnOutcome::Waiting(Some(*until)),
                Received::Closed if output => return TurnOutcome::Waiting(Some(*until)),
                Received::Closed => return TurnOutcome::Finished,
            }
        }
        TurnOutcome::Finished
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let activity = self.activity(now);
        let limit = self.timer.observe(activity, &self.settings.deadlines);
        if !self.released && now.saturating_duration_since(self.last_input) >= IDLE {
            self.released = true;
            self.transport.release();
        }
        let idle = (!self.released).then(|| self.last_input + IDLE);
        [limit, self.wake_at, idle, self.half_closed.deadline(), self.login.deadline]
            .into_iter()
            .flatten()
            .min()
    }
}

impl<P: ServerProtocol, H: Handler<P>, S: Stream> Drop for Session<P, H, S> {
    fn drop(&mut self) {
        // A handler that panicked has not reported the end.
        self.handle.end();
    }
}

impl<P: ServerProtocol, H: Handler<P>, S: Stream> SessionTask<S> for Session<P, H, S> {
    fn ready(&mut self, readiness: Readiness) {
        self.transport.ready(readiness);
    }

    fn may_read(&mut self) {
        self.transport.may_read();
    }

    fn turn(&mut self, reason: WakeReason, now: Instant, buffer: &mut ReadBuffer) -> TurnOutcome {
        self.draining |= reason.drain;
        let again = match self.run(reason, now, buffer) {
            Ok(again) => again,
            Err(error) => {
                self.fail(error, now);
                false
            }
        };
        if matches!(self.phase, Some(Phase::Closing { .. }) | None) {
            return self.linger(now, buffer);
        }
        if again {
            return TurnOutcome::Again;
        }
        TurnOutcome::Waiting(self.deadline(now))
    }

    fn is_blocked(&self) -> bool {
        self.transport.is_blocked()
    }

    fn abort(&mut self, now: Instant) {
        self.close(&CloseReason::Shutdown, now);
        let _ = self.transport.transmit();
    }

    fn make_room(&mut self, now: Instant) {
        if matches!(self.phase, Some(Phase::Cleartext(_) | Phase::Secure(_))) && !self.machine_closed() {
            self.transport.tx.put(P::TOO_MANY_CONNECTIONS);
        }
        self.close(&CloseReason::Failed(Error::QueueFull), now);
        let _ = self.transport.transmit();
    }

    fn socket(&mut self) -> Option<&mut S> {
        Some(self.transport.socket())
    }

    fn awaits_login(&self) -> bool {
        self.login.deadline.is_some()
    }
}
