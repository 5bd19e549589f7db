//! Many sessions on one thread: the poll, the slab, the timers and the waker.
//!
//! This file knows who has a turn and when. It knows no protocol: a session is a thing that takes turns, whatever it speaks.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::{
    BoundPort, Deadlines, Error, Handler, ListenerSettings, Peer, ServerProtocol, Trace, TrustedProxies,
    admission::{Admission, AdmissionControl, Entry},
    listener::{Listener, ListenerTls, Listening},
    session_handle::{Key, SESSIONS, SLOT_BITS, Shared},
    session_task::{SessionTask, TurnOutcome, WakeReason},
    timers::Timers,
    trace::Tracer,
    transport::{self, Scratch},
};

pub use crate::admission::ReactorLimits;
pub use crate::session_handle::SessionHandle;

/// Drives any number of server sessions, of any protocols, on one thread.
///
/// ```text
/// let mut reactor = Reactor::new(ReactorLimits::default())?;
/// let port = reactor.listen::<SmtpServer, _>(address, ListenerTls::StartTls(tls), config, deadlines, |peer| Session::new(peer))?;
/// let handle = reactor.handle();        // handle.shut_down(Duration::from_secs(10)) from any thread
/// reactor.run()?;
/// ```
pub struct Reactor {
    poll: Poll,
    events: Events,
    pub(crate) shared: Arc<Shared>,
    listeners: Vec<Listener>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    admission: AdmissionControl,
    timers: Timers<Key>,
    ready: Vec<u32>,
    scratch: Scratch,
    /// When a shutdown began to drain, and until when it may.
    draining: Option<Instant>,
    tracer: Option<Arc<Tracer>>,
}

/// A handle on a running reactor, for other threads and signal handlers' threads.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<dyn SessionTask>>,
    entry: Entry,
    /// When the connection came.
    since: Option<Instant>,
    cause: WakeReason,
    /// Whether it stands in `ready`.
    queued: bool,
    /// Whether the poll watches for room to write: not before it was once missing.
    writable: bool,
    /// The earliest entry in `timers`, and when the session wants to be looked at.
    armed: Option<Instant>,
    deadline: Option<Instant>,
}

/// Tokens: the waker, then the listeners, then the sessions from [`SESSIONS`] on.
const WAKER: Token = Token(0);
/// A client that has not logged in after this time gives its place to a new one, if there is no other place.
const TIME_TO_LOG_IN: Duration = Duration::from_secs(1);
/// How many connections one listener accepts before the sessions have their turn.
const ACCEPTS: usize = 64;

impl Reactor {
    /// A reactor without listeners.
    ///
    /// # Errors
    /// The operating system gives no poll.
    pub fn new(limits: ReactorLimits) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("opening a poll"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(Error::io("opening a waker"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            shared: Arc::new(Shared { waker, open: AtomicUsize::new(0), calls: Mutex::default() }),
            listeners: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            admission: AdmissionControl::new(limits, (1 << SLOT_BITS) - 1),
            timers: Timers::new(),
            ready: Vec::new(),
            scratch: transport::scratch(),
            draining: None,
            tracer: None,
        })
    }

    /// Makes a trace for each connection of the listeners that are added from here on.
    pub fn trace(&mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) {
        self.tracer = Some(Arc::new(tracer));
    }

    /// Listens on `address` (port 0: any) and returns the address that it got. `factory` makes a handler for each
    /// session, and another one when TLS is in place.
    ///
    /// # Errors
    /// The address cannot be had, or there are too many listeners (63).
    pub fn listen<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        config: P::Config,
        deadlines: Deadlines,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        let settings = ListenerSettings::new(config, tls, deadlines);
        self.listen_on(BoundPort::bind(address)?, None, &settings, factory)
    }

    /// Listens on a port that was bound before, with settings that may be replaced while it listens. With `proxies`, only
    /// those may connect, as for [`listen_behind`](Self::listen_behind).
    ///
    /// # Errors
    /// There are too many listeners (63).
    pub fn listen_on<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        port: BoundPort,
        proxies: Option<TrustedProxies>,
        settings: &ListenerSettings<P>,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        let tracer = self.tracer.clone();
        let listening = Listening { settings: settings.clone(), factory: Box::new(factory), tracer };
        self.watch(Listener::new::<P, H>(port, proxies, listening))
    }

    /// The same for an address that only these proxies connect to, each connection beginning with a header of the PROXY
    /// protocol: [`Peer::address`] is the client's then. A connection of anybody else, and one that begins otherwise, is
    /// closed. [`connections_per_address`](ReactorLimits::connections_per_address) counts the announced addresses.
    ///
    /// # Errors
    /// As above.
    pub fn listen_behind<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        proxies: TrustedProxies,
        address: SocketAddr,
        tls: ListenerTls,
        config: P::Config,
        deadlines: Deadlines,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        let settings = ListenerSettings::new(config, tls, deadlines);
        self.listen_on(BoundPort::bind(address)?, Some(proxies), &settings, factory)
    }

    fn watch(&mut self, mut listener: Listener) -> Result<SocketAddr, Error> {
        let token = Token(self.listeners.len() + 1);
        if token.0 >= SESSIONS {
            return Err(Error::Config(format!("there are more than {} listeners", SESSIONS - 1)));
        }
        let address = listener.address();
        self.poll
            .registry()
            .register(listener.socket(), token, Interest::READABLE)
            .map_err(Error::io("watching a listening port"))?;
        self.listeners.push(listener);
        Ok(address)
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> ReactorHandle {
        ReactorHandle { shared: self.shared.clone() }
    }

    /// How many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.admission.sessions()
    }

    /// Runs until it was [shut down](ReactorHandle::shut_down) and every session is over.
    ///
    /// # Errors
    /// The poll itself failed; what happens to one session or listener ends that one only.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.draining.is_none() || self.sessions() > 0 {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Waits for something to happen, `deadlines` at most, and gives everyone concerned a turn.
    ///
    /// # Errors
    /// The poll itself failed.
    pub fn turn(&mut self, deadlines: Option<Duration>) -> Result<(), Error> {
        let timeout = self.timeout(deadlines);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::io("polling")(error)),
        }
        let now = Instant::now();
        self.note_events();
        self.note_calls(now);
        self.note_timers(now);
        self.accept(now);
        self.give_turns(now);
        if self.draining.is_some_and(|until| until <= now) {
            self.close_all(now);
        }
        Ok(())
    }

    fn timeout(&self, deadlines: Option<Duration>) -> Option<Duration> {
        let accept_now = self.listeners.iter().any(|listener| listener.ready && listener.retry_at.is_none());
        if !self.ready.is_empty() || (accept_now && self.draining.is_none()) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let retries = self.listeners.iter().filter_map(|listener| listener.retry_at);
        let first = retries.chain(self.timers.next()).chain(self.draining).min();
        // A whole millisecond more: the poll rounds, and waking up too early is a turn for nothing.
        let until = first.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        until.into_iter().chain(deadlines).min()
    }

    fn note_events(&mut self) {
        for event in &self.events {
            match event.token() {
                WAKER => {}
                Token(number) if number < SESSIONS => {
                    if let Some(listener) = self.listeners.get_mut(number - 1) {
                        listener.ready = true;
                    }
                }
                token => {
                    let index = (token.0 - SESSIONS) & ((1 << SLOT_BITS) - 1);
                    let Some(slot) = self.slots.get_mut(index) else { continue };
                    let key = Key { slot: index as u32, generation: slot.generation };
                    if let (true, Some(session)) = (key.token() == token, &mut slot.session) {
                        session.ready(event);
                        queue(&mut self.ready, slot, index as u32);
                    }
                }
            }
        }
    }

    fn note_calls(&mut self, now: Instant) {
        let calls = std::mem::take(&mut *self.shared.lock());
        for key in calls.woken {
            if let Some(slot) = self.slot(key) {
                slot.cause.woken = true;
                self.queue(key.slot);
            }
        }
        if let Some(limits) = calls.limits {
            self.admission.set_limits(limits);
        }
        if let (Some(grace), None) = (calls.shut_down, self.draining) {
            self.begin_draining(now, grace);
        }
    }

    fn begin_draining(&mut self, now: Instant, grace: Duration) {
        self.draining = Some(now + grace.min(Duration::from_secs(24 * 3600)));
        for mut listener in self.listeners.drain(..) {
            let _ = self.poll.registry().deregister(listener.socket());
        }
        for index in 0..self.slots.len() {
            if self.slots[index].session.is_some() {
                self.slots[index].cause.drain = true;
                self.queue(index as u32);
            }
        }
    }

    fn note_timers(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(slot) = self.slot(key) else { continue };
            if slot.armed == Some(at) {
                slot.armed = None;
            }
            match slot.deadline {
                Some(deadline) if deadline <= now => {
                    slot.cause.timer = true;
                    self.queue(key.slot);
                }
                Some(deadline) => self.arm(key, deadline),
                None => {}
            }
        }
    }

    /// One entry for each session, as early as it is needed: entries are never removed, only found too early.
    fn arm(&mut self, key: Key, deadline: Instant) {
        let Some(slot) = self.slot(key) else { return };
        slot.deadline = Some(deadline);
        if slot.armed.is_none_or(|armed| deadline < armed) {
            slot.armed = Some(deadline);
            self.timers.push(deadline, key);
        }
    }

    fn accept(&mut self, now: Instant) {
        for index in 0..self.listeners.len() {
            if self.listeners[index].retry_at.is_some_and(|at| at <= now) {
                self.listeners[index].retry_at = None;
            }
            for _ in 0..ACCEPTS {
                let listener = &mut self.listeners[index];
                if !listener.ready || listener.retry_at.is_some() {
                    break;
                }
                let Some((socket, address)) = listener.accept(now) else { break };
                if !listener.takes(address.ip()) {
                    tracing::warn!(peer = %address, "this is none of the proxies, and is turned away");
                    continue;
                }
                let counted = listener.counts().then(|| address.ip());
                if self.admission.lacks_place(counted) {
                    self.make_room(now);
                }
                match self.admission.admits(counted) {
                    Some(admission) => {
                        let entry = Entry { admission, address: counted, awaits_login: true };
                        self.admit(index, socket, address, entry, now);
                    }
                    None => self.listeners[index].cut_off(socket),
                }
            }
        }
    }

    /// Closes the oldest connection whose client has still to log in, unless it came just now. Silent connections, or
    /// many that guess passwords, keep no new client out.
    fn make_room(&mut self, now: Instant) {
        let waits = |slot: &Slot| slot.entry.awaits_login && slot.entry.admission == Admission::Welcome;
        let slots = self.slots.iter().zip(0..).filter(|(slot, _)| slot.session.is_some() && waits(slot));
        let oldest = slots.filter_map(|(slot, index)| Some((slot.since?, index))).min();
        let Some((since, index)) = oldest else { return };
        if now.saturating_duration_since(since) < TIME_TO_LOG_IN {
            return;
        }
        if let Some(session) = self.slots.get_mut(index as usize).and_then(|slot| slot.session.as_mut()) {
            let _ = catch_unwind(AssertUnwindSafe(|| session.make_room(now)));
        }
        self.remove(index);
    }

    fn admit(
        &mut self,
        listener: usize,
        socket: mio::net::TcpStream,
        address: SocketAddr,
        entry: Entry,
        now: Instant,
    ) {
        let Some(local) = self.listeners[listener].local(&socket) else { return };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let key = Key { slot: index, generation: self.slots[index as usize].generation };
        let peer = Peer { address, local, tls: None };
        let open = Arc::new(AtomicBool::new(true));
        let handle = SessionHandle { key, shared: self.shared.clone(), open };
        let begin =
            AssertUnwindSafe(|| self.listeners[listener].begin(socket, peer, handle, entry.admission, now));
        // A factory that panics costs that one connection.
        let Ok(Ok(mut session)) = catch_unwind(begin) else {
            self.free.push(index);
            return;
        };
        let Some(socket) = session.socket() else { return self.free.push(index) };
        if let Err(error) = self.poll.registry().register(socket, key.token(), Interest::READABLE) {
            tracing::warn!(%error, "a connection cannot be watched");
            self.free.push(index);
            return;
        }
        tracing::debug!(peer = %address, "session begins");
        self.admission.enter(entry);
        self.shared.open.store(self.sessions(), Ordering::Relaxed);
        self.slots[index as usize].session = Some(session);
        self.slots[index as usize].entry = entry;
        self.slots[index as usize].since = Some(now);
        self.queue(index);
    }

    fn give_turns(&mut self, now: Instant) {
        // Who has more to do after this turn stands in the next one's queue.
        let queue = std::mem::take(&mut self.ready);
        for &index in &queue {
            let slot = &mut self.slots[index as usize];
            slot.queued = false;
            let cause = std::mem::take(&mut slot.cause);
            let Some(session) = &mut slot.session else { continue };
            let scratch = &mut self.scratch;
            let turned = catch_unwind(AssertUnwindSafe(|| session.turn(cause, now, scratch)));
            let key = Key { slot: index, generation: slot.generation };
            if !slot.writable && session.is_blocked() {
                slot.writable = true;
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                let watched =
                    session.socket().map(|socket| registry.reregister(socket, key.token(), interest));
                if !matches!(watched, Some(Ok(()))) {
                    self.remove(index);
                    continue;
                }
            }
            if slot.entry.awaits_login && !session.awaits_login() {
                self.admission.logged_in(&mut slot.entry);
            }
            match turned {
                Ok(TurnOutcome::Again) => self.queue(index),
                Ok(TurnOutcome::Announced(client)) => {
                    match self.admission.announce(&mut slot.entry, client) {
                        Some(admission) => {
                            session.admit(admission, now);
                            self.queue(index);
                        }
                        None => self.remove(index),
                    }
                }
                Ok(TurnOutcome::Waits(Some(deadline))) => self.arm(key, deadline),
                Ok(TurnOutcome::Waits(None)) => slot.deadline = None,
                Ok(TurnOutcome::Over) => self.remove(index),
                Err(_) => {
                    tracing::error!("a handler panicked; its session is closed");
                    self.remove(index);
                }
            }
        }
    }

    fn remove(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(session) = slot.session.take() else { return };
        let generation = slot.generation.wrapping_add(1);
        let entry = slot.entry;
        *slot = Slot { generation, queued: slot.queued, ..Slot::default() };
        self.admission.leave(entry);
        self.shared.open.store(self.sessions(), Ordering::Relaxed);
        // Closing the socket is enough for the poll. What a handler does when it is dropped is its own affair as well.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(session)));
        self.free.push(index);
    }

    fn close_all(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            if let Some(session) = &mut self.slots[index].session {
                let _ = catch_unwind(AssertUnwindSafe(|| session.abort(now)));
            }
            self.remove(index as u32);
        }
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation)
    }

    fn queue(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            queue(&mut self.ready, slot, index);
        }
    }
}

fn queue(ready: &mut Vec<u32>, slot: &mut Slot, index: u32) {
    if !slot.queued {
        slot.queued = true;
        ready.push(index);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("listeners", &self.listeners)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

impl ReactorHandle {
    /// Sets other limits. Sessions that are there stay, even where there are more than the new limits allow.
    pub fn set_limits(&self, limits: ReactorLimits) {
        self.shared.lock().limits = Some(limits);
        self.shared.wake();
    }

    /// Accepts nobody any more, lets each session finish what it is doing and says good-bye to it, and closes what is
    /// still open after `grace`.
    pub fn shut_down(&self, grace: Duration) {
        self.shared.lock().shut_down.get_or_insert(grace);
        self.shared.wake();
    }
}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReactorHandle")
    }
}
