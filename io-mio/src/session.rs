//! One session of a server: a link, the phase that its machine is in, and the application's handler.
//!
//! This is the loop, and the only one: it is the same for every protocol. It knows neither the poll nor other
//! sessions; the reactor calls [`SessionTask::turn`] when something may have changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use proto_mail::{Machine, PeerError, Secure, StartTlsRequest, Upgrade, Wait, WaitFor};

use crate::{
    CloseReason, Context, Error, Handler, MachineMut, Next, Peer, ServerProtocol, SessionHandle,
    TimeoutStage,
    admission::Admission,
    handler::Login,
    listener::{ListenerTls, Listening, Terms},
    session_task::{SessionTask, TurnOutcome, WakeReason},
    timers::{Clock, Expired, Reading, longest},
    trace::Role,
    transport::{Begin, Ports, Received, Scratch, Transport},
};

/// How many reads and how many events one session gets before the others have their turn.
const READS: usize = 8;
const EVENTS: usize = 512;
/// How long one session works before the others have their turn. One call of a handler may exceed it.
const TURN: Duration = Duration::from_millis(5);
/// Below this much waiting output a handler that has more is asked for it.
pub(crate) const LOW_WATER: usize = 64 * 1024;
/// A session that did nothing for so long gives its buffers back.
const IDLE: Duration = Duration::from_secs(3);
/// How long a closed session waits for the peer to see the farewell, and how much it reads meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 32;
/// How long work goes on for a peer that closed its side and may still read the answer (`printf ... | nc`). What was sent
/// or received meanwhile starts it again.
const HALF_CLOSED: Duration = Duration::from_secs(30);
/// The same where the peer cut TLS off without its closing alert: it reads nothing more, most probably.
const CUT_OFF: Duration = Duration::from_secs(2);

enum Phase<P: ServerProtocol> {
    Cleartext(P::Cleartext),
    Handshaking(Goal<P>),
    Secure(P::Secure),
    /// Everything is said; what is still in the way is sent, and the peer is given time to read it.
    Closing {
        until: Instant,
        shut: bool,
        reads: usize,
    },
}

/// Where a handshake leads.
enum Goal<P: ServerProtocol> {
    Upgrade(P::Upgrade),
    Greeting,
    TurnAway,
}

/// What the handler wants to be called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Events,
    More,
    Paused,
}

pub(crate) struct Session<P: ServerProtocol, H: Handler<P>> {
    link: Transport,
    phase: Option<Phase<P>>,
    handler: Option<H>,
    flow: Flow,
    listening: Arc<Listening<P, H>>,
    /// The settings of the listener when the session began: it keeps them.
    terms: Arc<Terms<P>>,
    handle: SessionHandle,
    peer: Peer,
    login: Login,
    clock: Clock,
    wake_at: Option<Instant>,
    active: Instant,
    /// When a peer that closed its side counts as gone, and the bytes received and sent when that was computed.
    gone_at: Option<(Instant, (u64, u64))>,
    released: bool,
    draining: bool,
    /// The handler was told that the session begins.
    opened: bool,
}

impl<P: ServerProtocol, H: Handler<P>> Session<P, H> {
    pub(crate) fn begin(
        socket: TcpStream,
        peer: Peer,
        handle: SessionHandle,
        listening: Arc<Listening<P, H>>,
        admission: Admission,
        now: Instant,
    ) -> Result<Self, Error> {
        let terms = listening.settings.current();
        let mut link = Transport::new(socket, Ports::of::<P>());
        if let Some(tracer) = &listening.tracer {
            link.trace(tracer(), Role::Server, peer.address, now);
        }
        let (phase, handler) = match (&terms.tls, admission) {
            (ListenerTls::Implicit(tls), _) => {
                link.begin_tls(tls.accept()?, None, Begin::Implicit)?;
                let welcome = admission == Admission::Welcome;
                (Phase::Handshaking(if welcome { Goal::Greeting } else { Goal::TurnAway }), None)
            }
            (_, Admission::TurnedAway) => {
                P::refuse(&terms.config, &mut link.tx);
                (Phase::Closing { until: now + LINGER, shut: false, reads: LINGER_READS }, None)
            }
            (ListenerTls::StartTls(_) | ListenerTls::None, Admission::Welcome) => {
                let machine = P::open(&terms.config, &mut link.tx);
                (Phase::Cleartext(machine), Some((listening.factory)(&peer)))
            }
            (ListenerTls::TrustedLocal, Admission::Welcome)
                if peer.address.ip().to_canonical().is_loopback() =>
            {
                let machine = P::open_secure(&terms.config, Secure::trusted_local(), &mut link.tx);
                (Phase::Secure(machine), Some((listening.factory)(&peer)))
            }
            (ListenerTls::TrustedLocal, Admission::Welcome) => {
                return Err(Error::Config(
                    "a connection from elsewhere to a listener for this machine".into(),
                ));
            }
        };
        let login = Login { until: now.checked_add(terms.deadlines.login), delay: Duration::ZERO };
        Ok(Self {
            link,
            phase: Some(phase),
            handler,
            flow: Flow::Events,
            listening,
            terms,
            handle,
            peer,
            login,
            clock: Clock::default(),
            wake_at: None,
            active: now,
            gone_at: None,
            released: false,
            draining: false,
            opened: false,
        })
    }

    /// Does everything that can be done now, within the limits of one turn. True: there is more.
    fn run(&mut self, cause: WakeReason, now: Instant, scratch: &mut Scratch) -> Result<bool, Error> {
        if !self.opened && self.handler.is_some() {
            self.opened = true;
            self.call(now, |handler, machine, tx, cx| handler.opened(machine, tx, cx))?;
        }
        if cause.woken || self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = self.wake_at.filter(|&at| at > now);
            self.call(now, |handler, machine, tx, cx| handler.woken(machine, tx, cx))?;
        }
        let again = self.work(now, scratch)?;
        if self.is_gone(now) {
            return Err(Error::Closed);
        }
        if self.login.until.is_some_and(|until| until <= now) {
            return self.login_too_late();
        }
        // What has come is looked at first: if this process was held up, that is not the peer's fault.
        if cause.timer && self.check_clock(now)? {
            return self.work(now, scratch);
        }
        Ok(again)
    }

    fn work(&mut self, now: Instant, scratch: &mut Scratch) -> Result<bool, Error> {
        let start = Instant::now();
        for round in 0..READS {
            if round > 0 && start.elapsed() >= TURN {
                break;
            }
            let all = self.pull(now)?;
            self.link.transmit()?;
            if self.flow == Flow::More && self.link.tx.len() < LOW_WATER {
                self.call(now, |handler, machine, tx, cx| handler.drained(machine, tx, cx))?;
                self.link.transmit()?;
                if self.flow != Flow::Paused && !self.link.is_blocked() {
                    continue;
                }
            }
            self.end_if_draining(now);
            if all && !self.read(now, scratch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes events to the handler. False: there are more.
    fn pull(&mut self, now: Instant) -> Result<bool, Error> {
        for _ in 0..EVENTS {
            if self.flow != Flow::Events {
                return Ok(true);
            }
            let Some(handler) = &mut self.handler else { return Ok(true) };
            let wake_at = &mut self.wake_at;
            let login = &mut self.login;
            let mut cx = Context { peer: &self.peer, handle: &self.handle, now, wake_at, login };
            let link = &mut self.link;
            let next = match &mut self.phase {
                Some(Phase::Cleartext(machine)) => {
                    let event = machine.next_event(&mut link.rx, &mut link.tx)?;
                    event.map(|event| handler.cleartext(event, machine, &mut link.tx, &mut cx))
                }
                Some(Phase::Secure(machine)) => {
                    let event = machine.next_event(&mut link.rx, &mut link.tx)?;
                    event.map(|event| handler.secure(event, machine, &mut link.tx, &mut cx))
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
        ask: impl FnOnce(&mut H, MachineMut<'_, P>, &mut proto_mail::SendBuffer, &mut Context<'_>) -> Next,
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
        let next = ask(handler, machine, &mut self.link.tx, &mut cx);
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

    /// The gate, outer half: cleartext ends here.
    fn accept(&mut self, request: StartTlsRequest) -> Result<(), Error> {
        let ListenerTls::StartTls(tls) = &self.terms.tls else {
            return Err(Error::Config("STARTTLS was agreed to on a listener that has no certificate".into()));
        };
        if !self.link.rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        match self.phase.take() {
            Some(Phase::Cleartext(machine)) => {
                let upgrade = P::accept(machine, request, &mut self.link.tx)?;
                self.link.begin_tls(tls.accept()?, None, Begin::StartTls)?;
                self.phase = Some(Phase::Handshaking(Goal::Upgrade(upgrade)));
                Ok(())
            }
            other => {
                self.phase = other;
                Err(proto_mail::Error::Misuse(proto_mail::Misuse::WrongState).into())
            }
        }
    }

    /// The gate, inner half: a machine that remembers nothing, and a handler that remembers nothing.
    fn secured(&mut self, now: Instant) -> Result<(), Error> {
        let own = match &self.terms.tls {
            ListenerTls::StartTls(tls) | ListenerTls::Implicit(tls) => Some(tls.leaf()),
            ListenerTls::None | ListenerTls::TrustedLocal => None,
        };
        let Some((secure, info)) = self.link.vouch(own) else { return Ok(()) };
        let Some(Phase::Handshaking(goal)) = self.phase.take() else {
            return Err(proto_mail::Error::Misuse(proto_mail::Misuse::WrongState).into());
        };
        let machine = match goal {
            Goal::Upgrade(upgrade) => upgrade.complete(secure, &mut self.link.rx)?,
            Goal::Greeting => P::open_secure(&self.terms.config, secure, &mut self.link.tx),
            Goal::TurnAway => {
                P::refuse_secure(&self.terms.config, secure, &mut self.link.tx);
                self.close(&CloseReason::Done, now);
                return Ok(());
            }
        };
        self.phase = Some(Phase::Secure(machine));
        self.peer.tls = Some(info);
        self.wake_at = None;
        self.handler = Some((self.listening.factory)(&self.peer));
        if !self.opened {
            self.opened = true;
            self.call(now, |handler, machine, tx, cx| handler.opened(machine, tx, cx))?;
        }
        self.call(now, |handler, machine, tx, cx| match machine {
            MachineMut::Secure(machine) => handler.secured(machine, tx, cx),
            MachineMut::Cleartext(_) => Next::Close,
        })?;
        self.link.open()
    }

    /// Reads once, if reading is wanted. True: something may have changed.
    fn read(&mut self, now: Instant, scratch: &mut Scratch) -> Result<bool, Error> {
        if !self.wants_read() || !self.link.is_readable() || self.link.rx.is_closed() {
            return Ok(false);
        }
        match self.link.receive(scratch)? {
            Received::Nothing => return Ok(false),
            Received::Octets | Received::End => {}
        }
        self.active = now;
        self.released = false;
        if self.link.handshake_done() {
            self.secured(now)?;
        }
        Ok(true)
    }

    fn wants_read(&self) -> bool {
        match &self.phase {
            Some(Phase::Handshaking(_)) => true,
            Some(Phase::Cleartext(machine)) => self.flow == Flow::Events && machine.wants_read(&self.link.tx),
            Some(Phase::Secure(machine)) => self.flow == Flow::Events && machine.wants_read(&self.link.tx),
            Some(Phase::Closing { .. }) | None => false,
        }
    }

    /// Whether the peer is gone while an answer is worked on. Nothing is read then, so that no read tells.
    fn is_gone(&mut self, now: Instant) -> bool {
        let works = matches!(self.phase, Some(Phase::Cleartext(_) | Phase::Secure(_))) && !self.wants_read();
        let closed = self.link.is_read_closed() || self.link.rx.is_closed();
        if !works || !closed {
            self.gone_at = None;
            return false;
        }
        if self.link.is_hung_up() {
            return true;
        }
        let counts = self.link.counts();
        let gone_at = self.gone_at.filter(|(_, before)| *before == counts && !self.link.has_output());
        let more = || if self.link.is_cut_off() { CUT_OFF } else { HALF_CLOSED };
        let gone_at = gone_at.unwrap_or_else(|| (now + more(), counts));
        let (at, _) = *self.gone_at.insert(gone_at);
        at <= now
    }

    fn machine_closed(&self) -> bool {
        match &self.phase {
            Some(Phase::Cleartext(machine)) => machine.is_closed(),
            Some(Phase::Secure(machine)) => machine.is_closed(),
            _ => false,
        }
    }

    /// The machine says that the session has ended, or the peer left while nothing was owed to it.
    fn close_if_ended(&mut self, now: Instant) {
        if self.machine_closed() || (self.link.rx.is_closed() && self.wants_read()) {
            self.close(&CloseReason::Done, now);
        }
    }

    /// A server that goes down says so as soon as the session waits for a new command.
    fn end_if_draining(&mut self, now: Instant) {
        let waits = matches!(self.wait().awaited, WaitFor::Command | WaitFor::Idle | WaitFor::Greeting);
        if !self.draining || !waits || !self.link.rx.is_empty() {
            return;
        }
        match &mut self.phase {
            Some(Phase::Cleartext(machine)) => P::shutdown(MachineMut::Cleartext(machine), &mut self.link.tx),
            Some(Phase::Secure(machine)) => P::shutdown(MachineMut::Secure(machine), &mut self.link.tx),
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
                let after = wait.after.unwrap_or(Duration::MAX).saturating_add(self.login.delay);
                Wait::new(wait.awaited, after, wait.generation)
            }
            Flow::Events => wait,
            Flow::More | Flow::Paused => Wait::forever(WaitFor::Application, wait.generation),
        }
    }

    fn reading(&self, now: Instant) -> Reading {
        let (received, sent) = self.link.counts();
        let blocked = self.link.is_blocked();
        Reading { now, wait: self.wait(), received, sent, blocked, reading: self.wants_read() }
    }

    /// True: a wait was over, and the machine goes on.
    fn check_clock(&mut self, now: Instant) -> Result<bool, Error> {
        let deadlines = &self.terms.deadlines;
        let reading = self.reading(now);
        let Some(expired) = self.clock.expired(reading, deadlines) else { return Ok(false) };
        let stage = match expired {
            Expired::Stalled => {
                return Err(Error::TimedOut { stage: TimeoutStage::Send, after: deadlines.rate.per });
            }
            Expired::Wait(awaited) => TimeoutStage::Wait(awaited),
            Expired::TooSlow => TimeoutStage::MinimumRate,
        };
        let after = longest(reading.wait, deadlines);
        match &mut self.phase {
            Some(Phase::Cleartext(machine)) => machine.timed_out(&mut self.link.tx)?,
            Some(Phase::Secure(machine)) => machine.timed_out(&mut self.link.tx)?,
            _ => return Err(Error::TimedOut { stage, after }),
        }
        match expired {
            // A delay that is over, or a wait that the machine goes on with.
            Expired::Wait(_) => {
                self.clock.rearm();
                Ok(true)
            }
            _ => Err(Error::TimedOut { stage, after }),
        }
    }

    /// Ends a session whose client did not log in in time.
    fn login_too_late(&mut self) -> Result<bool, Error> {
        let closing = matches!(self.phase, Some(Phase::Closing { .. }) | None) || self.machine_closed();
        self.login.until = None;
        if closing {
            return Ok(false);
        }
        if !matches!(self.phase, Some(Phase::Handshaking(_))) {
            self.link.tx.put(P::LOGIN_TIMED_OUT);
        }
        Err(Error::TimedOut { stage: TimeoutStage::Login, after: self.terms.deadlines.login })
    }

    fn fail(&mut self, error: Error, now: Instant) {
        let truncated = matches!(
            error,
            Error::Protocol(proto_mail::Error::Peer(PeerError::Truncated)) | Error::Io { .. }
        );
        let why =
            if truncated && self.machine_closed() { CloseReason::Done } else { CloseReason::Failed(error) };
        self.close(&why, now);
    }

    fn close(&mut self, why: &CloseReason, now: Instant) {
        if matches!(self.phase, Some(Phase::Closing { .. })) {
            return;
        }
        match why {
            CloseReason::Failed(error) => {
                tracing::debug!(protocol = P::NAME, peer = %self.peer.address, %error, "session failed");
                self.link.note(error);
            }
            CloseReason::Done | CloseReason::Shutdown => {
                tracing::debug!(protocol = P::NAME, peer = %self.peer.address, "session over");
            }
        }
        self.handle.end();
        if let Some(mut handler) = self.handler.take() {
            handler.closed(why);
        }
        self.link.say_end();
        self.flow = Flow::Events;
        self.phase = Some(Phase::Closing { until: now + LINGER, shut: false, reads: LINGER_READS });
    }

    /// Brings the last octets out, then waits a moment for the peer to read them.
    fn linger(&mut self, now: Instant, scratch: &mut Scratch) -> TurnOutcome {
        let sent = self.link.transmit();
        let output = self.link.has_output();
        let Some(Phase::Closing { until, shut, reads }) = &mut self.phase else { return TurnOutcome::Over };
        if sent.is_err() || *until <= now {
            return TurnOutcome::Over;
        }
        if !output && self.link.rx.is_closed() {
            // Both sides have said everything.
            return TurnOutcome::Over;
        }
        if !output && !*shut {
            *shut = true;
            self.link.shut();
        }
        while *reads > 0 {
            *reads -= 1;
            match self.link.discard(scratch) {
                Received::Octets => {}
                Received::Nothing => return TurnOutcome::Waits(Some(*until)),
                Received::End if output => return TurnOutcome::Waits(Some(*until)),
                Received::End => return TurnOutcome::Over,
            }
        }
        TurnOutcome::Over
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let reading = self.reading(now);
        let clock = self.clock.observe(reading, &self.terms.deadlines);
        if !self.released && now.saturating_duration_since(self.active) >= IDLE {
            self.released = true;
            self.link.release();
        }
        let idle = (!self.released).then(|| self.active + IDLE);
        [clock, self.wake_at, idle, self.gone_at.map(|(at, _)| at), self.login.until]
            .into_iter()
            .flatten()
            .min()
    }
}

impl<P: ServerProtocol, H: Handler<P>> Drop for Session<P, H> {
    fn drop(&mut self) {
        // A handler that panicked was not told that the session is over.
        self.handle.end();
    }
}

impl<P: ServerProtocol, H: Handler<P>> SessionTask for Session<P, H> {
    fn ready(&mut self, event: &mio::event::Event) {
        self.link.ready(event);
    }

    fn may_read(&mut self) {
        self.link.may_read();
    }

    fn turn(&mut self, cause: WakeReason, now: Instant, scratch: &mut Scratch) -> TurnOutcome {
        self.draining |= cause.drain;
        let again = match self.run(cause, now, scratch) {
            Ok(again) => again,
            Err(error) => {
                self.fail(error, now);
                false
            }
        };
        if matches!(self.phase, Some(Phase::Closing { .. }) | None) {
            return self.linger(now, scratch);
        }
        if again {
            return TurnOutcome::Again;
        }
        TurnOutcome::Waits(self.deadline(now))
    }

    fn is_blocked(&self) -> bool {
        self.link.is_blocked()
    }

    fn abort(&mut self, now: Instant) {
        self.close(&CloseReason::Shutdown, now);
        let _ = self.link.transmit();
    }

    fn make_room(&mut self, now: Instant) {
        if matches!(self.phase, Some(Phase::Cleartext(_) | Phase::Secure(_))) && !self.machine_closed() {
            self.link.tx.put(P::TOO_MANY_CONNECTIONS);
        }
        self.close(&CloseReason::Failed(Error::QueueFull), now);
        let _ = self.link.transmit();
    }

    fn socket(&mut self) -> Option<&mut TcpStream> {
        Some(self.link.socket())
    }

    fn awaits_login(&self) -> bool {
        self.login.until.is_some()
    }
}
