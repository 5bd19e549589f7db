//! The reactor: many sessions on one thread, with one poll, timers and a waker.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use io_common::{
    Address, ConnectionLimits, Deadlines, Error, Handler, ListenerSettings, ListenerTls, Peer,
    ServerProtocol, SessionHandle, Trace, TrustedProxies,
    server::{AdmissionControl, Entry, SessionFactory, SessionTask, TurnOutcome, WakeReason},
    trace::Tracer,
    transport::{ReadBuffer, read_buffer},
};
use mio::{Events, Interest, Poll, Token, Waker};

use super::{
    listener::{BoundPort, Listener},
    requests::{SESSIONS, SLOT_BITS, SessionKey, Shared},
};
use crate::{
    socket::{Socket, readiness},
    timer_queue::TimerQueue,
};

/// Drives any number of server sessions, of any protocol, on one thread.
///
/// The crate's first page has an example with a [`Handler`]. Any thread can end the reactor:
///
/// ```
/// use std::time::Duration;
///
/// use io_mio::{Reactor, ConnectionLimits};
///
/// # fn main() -> Result<(), io_mio::Error> {
/// let mut reactor = Reactor::new(ConnectionLimits::default())?;
/// let handle = reactor.handle();
/// std::thread::spawn(move || handle.shut_down(Duration::from_secs(10)));
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
pub struct Reactor {
    poll: Poll,
    events: Events,
    pub(crate) shared: Arc<Shared>,
    listeners: Vec<Listener>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    admission: AdmissionControl,
    timers: TimerQueue<SessionKey>,
    ready: Vec<u32>,
    buffer: ReadBuffer,
    /// When a shutdown closes the remaining sessions; `None` if there is no shutdown.
    draining: Option<Instant>,
    tracer: Option<Arc<Tracer>>,
}

/// A handle on a reactor, for other threads.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Arc<Shared>,
}

/// A place for a session.
#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<dyn SessionTask<Socket>>>,
    /// When the connection was accepted.
    accepted_at: Option<Instant>,
    /// How the session is counted.
    entry: Option<Entry>,
    reason: WakeReason,
    /// Whether it is in `ready`.
    queued: bool,
    /// Whether the poll watches for writability. It does so only after output was blocked once.
    writable: bool,
    /// The earliest entry in `timers`, and when the session wants its turn.
    armed: Option<Instant>,
    deadline: Option<Instant>,
}

/// The waker's token. Listeners follow, then sessions from [`SESSIONS`] on.
const WAKER: Token = Token(0);
/// How many connections a listener accepts per turn.
const ACCEPTS: usize = 64;

impl Reactor {
    /// A reactor without listeners.
    ///
    /// # Errors
    /// The operating system provides no poll.
    pub fn new(limits: ConnectionLimits) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("opening a poll"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(Error::io("opening a waker"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            shared: Arc::new(Shared { waker, open: AtomicUsize::new(0), requests: Mutex::default() }),
            listeners: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            admission: AdmissionControl::new(limits, (1 << SLOT_BITS) - 1),
            timers: TimerQueue::new(),
            ready: Vec::new(),
            buffer: read_buffer(),
            draining: None,
            tracer: None,
        })
    }

    /// Creates a trace for each connection of the listeners that are added after this call.
    pub fn trace(&mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) {
        self.tracer = Some(Arc::new(tracer));
    }

    /// Listens on `address` (port 0: any free port) and returns the bound address. `factory` makes a handler for each
    /// session, and another one when STARTTLS has put TLS in place.
    ///
    /// # Errors
    /// The operating system refuses the address, or there are more than 63 listeners.
    pub fn listen<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        config: P::Config,
        deadlines: Deadlines,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        let settings = ListenerSettings::new(config, tls, deadlines);
        let port = BoundPort::bind(address)?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        self.listen_on(port, None, &settings, factory)?;
        Ok(address)
    }

    /// Listens on a bound port or Unix socket, with settings that can be replaced while it listens. With `proxies`, only
    /// those may connect, as for [`listen_behind`](Self::listen_behind).
    ///
    /// # Errors
    /// There are more than 63 listeners, or `proxies` are given for a Unix socket.
    pub fn listen_on<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        port: BoundPort,
        proxies: Option<TrustedProxies>,
        settings: &ListenerSettings<P>,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let factory = SessionFactory::new(settings.clone(), proxies, self.tracer.clone(), factory);
        self.listen_with(port, factory)
    }

    /// Listens on a bound port or Unix socket, and starts sessions with this factory.
    ///
    /// # Errors
    /// There are more than 63 listeners, or a Unix socket is said to be behind proxies.
    pub fn listen_with(&mut self, port: BoundPort, sessions: SessionFactory<Socket>) -> Result<(), Error> {
        self.add_listener(Listener::new(port, sessions)?)
    }

    /// As [`listen`](Self::listen), behind these proxies. Each connection must begin with a header of the PROXY protocol,
    /// and [`Peer::address`] is the client's. Other connections are closed.
    /// [`connections_per_address`](ConnectionLimits::connections_per_address) counts the announced addresses.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
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
        let port = BoundPort::bind(address)?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        self.listen_on(port, Some(proxies), &settings, factory)?;
        Ok(address)
    }

    fn add_listener(&mut self, mut listener: Listener) -> Result<(), Error> {
        let token = Token(self.listeners.len() + 1);
        if token.0 >= SESSIONS {
            return Err(Error::Config(format!("there are more than {} listeners", SESSIONS - 1)));
        }
        listener.register(self.poll.registry(), token).map_err(Error::io("watching a listening port"))?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Returns a handle for other threads.
    #[must_use]
    pub fn handle(&self) -> ReactorHandle {
        ReactorHandle { shared: self.shared.clone() }
    }

    /// Returns how many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.admission.sessions()
    }

    /// Runs until [`ReactorHandle::shut_down`] was called and every session is over.
    ///
    /// # Errors
    /// The poll failed. An error of one session or listener ends only that one.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.draining.is_none() || self.sessions() > 0 {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Waits for events, `limit` at most, and gives each session concerned a turn.
    ///
    /// # Errors
    /// The poll failed.
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        let timeout = self.timeout(limit);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::io("polling")(error)),
        }
        let now = Instant::now();
        self.note_events();
        self.note_requests(now);
        self.note_timers(now);
        self.accept(now);
        self.give_turns(now);
        if self.draining.is_some_and(|until| until <= now) {
            self.close_all(now);
        }
        Ok(())
    }

    fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        let accept_now = self.listeners.iter().any(|listener| listener.ready && listener.retry_at.is_none());
        if !self.ready.is_empty() || (accept_now && self.draining.is_none()) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let retries = self.listeners.iter().filter_map(|listener| listener.retry_at);
        let first = retries.chain(self.timers.next()).chain(self.draining).min();
        // One millisecond more: the poll rounds down, and waking up too early wastes a turn.
        let until = first.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        until.into_iter().chain(limit).min()
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
                    let key = SessionKey { slot: index as u32, generation: slot.generation };
                    if let (true, Some(session)) = (key.token() == token, &mut slot.session) {
                        session.ready(readiness(event));
                        queue(&mut self.ready, slot, index as u32);
                    }
                }
            }
        }
    }

    fn note_requests(&mut self, now: Instant) {
        let requests = std::mem::take(&mut *self.shared.lock());
        for key in requests.woken {
            if let Some(slot) = self.slot(key) {
                slot.reason.woken = true;
                self.queue(key.slot);
            }
        }
        if let Some(limits) = requests.limits {
            self.admission.set_limits(limits);
        }
        if let (Some(grace), None) = (requests.shut_down, self.draining) {
            self.begin_draining(now, grace);
        }
    }

    fn begin_draining(&mut self, now: Instant, grace: Duration) {
        self.draining = Some(now + grace.min(Duration::from_secs(24 * 3600)));
        for mut listener in self.listeners.drain(..) {
            listener.deregister(self.poll.registry());
        }
        for index in 0..self.slots.len() {
            if self.slots[index].session.is_some() {
                self.slots[index].reason.drain = true;
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
                    slot.reason.timer = true;
                    self.queue(key.slot);
                }
                Some(deadline) => self.arm(key, deadline),
                None => {}
            }
        }
    }

    /// Arms a session's deadline. The queue gets a new entry only if it is the earliest of that session.
    fn arm(&mut self, key: SessionKey, deadline: Instant) {
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
                if !listener.factory.allows(address.ip()) {
                    tracing::warn!(peer = %address, "a connection that does not come from a proxy is closed");
                    continue;
                }
                let counted = listener.counts_addresses().then(|| address.ip());
                if self.admission.lacks_room(counted) {
                    self.make_room(now);
                }
                match self.admission.admit(counted) {
                    Some(entry) => {
                        if let Err(entry) = self.admit(index, socket, address, entry, now) {
                            self.admission.remove(entry);
                        }
                    }
                    None => self.listeners[index].factory.cut_off(socket),
                }
            }
        }
    }

    /// Closes the connection that makes room for a new one, if there is one.
    fn make_room(&mut self, now: Instant) {
        let connections = self
            .slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, index)| Some((index, slot.entry.as_ref()?, slot.accepted_at?)));
        let Some(index) = self.admission.gives_way(connections, now) else { return };
        if let Some(session) = self.slots.get_mut(index as usize).and_then(|slot| slot.session.as_mut()) {
            let _ = catch_unwind(AssertUnwindSafe(|| session.make_room(now)));
        }
        self.remove(index);
    }

    /// Starts the session of a connection. Returns the entry if no session was started.
    fn admit(
        &mut self,
        listener: usize,
        socket: Socket,
        address: Address,
        entry: Entry,
        now: Instant,
    ) -> Result<(), Entry> {
        let Some(local) = self.listeners[listener].local(&socket) else { return Err(entry) };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let key = SessionKey { slot: index, generation: self.slots[index as usize].generation };
        let peer = Peer::new(address, local);
        let handle = SessionHandle::new(key.number(), self.shared.clone());
        let start = AssertUnwindSafe(|| {
            self.listeners[listener].factory.start(socket, peer, handle, entry.admission(), now)
        });
        // A factory that panics ends only this connection.
        let started = catch_unwind(start).ok().and_then(Result::ok);
        let registry = self.poll.registry();
        let started = started.and_then(|mut session| {
            let registered = registry.register(session.socket()?, key.token(), Interest::READABLE);
            registered
                .inspect_err(|error| tracing::warn!(%error, "a connection cannot be registered"))
                .ok()
                .map(|()| session)
        });
        let Some(session) = started else {
            self.free.push(index);
            return Err(entry);
        };
        tracing::debug!("session starts");
        self.shared.open.store(self.sessions(), Ordering::Relaxed);
        self.slots[index as usize].session = Some(session);
        self.slots[index as usize].accepted_at = Some(now);
        self.slots[index as usize].entry = Some(entry);
        self.queue(index);
        Ok(())
    }

    fn give_turns(&mut self, now: Instant) {
        // Sessions with more to do are queued for the next turn.
        let queue = std::mem::take(&mut self.ready);
        for &index in &queue {
            let slot = &mut self.slots[index as usize];
            slot.queued = false;
            let reason = std::mem::take(&mut slot.reason);
            let Some(session) = &mut slot.session else { continue };
            let buffer = &mut self.buffer;
            let turned = catch_unwind(AssertUnwindSafe(|| session.turn(reason, now, buffer)));
            let key = SessionKey { slot: index, generation: slot.generation };
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
            if let (Some(entry), false) = (&mut slot.entry, session.awaits_login()) {
                self.admission.logged_in(entry);
            }
            match turned {
                Ok(TurnOutcome::Again) => self.queue(index),
                Ok(TurnOutcome::ClientAnnounced(client)) => {
                    let entry = slot.entry.as_mut();
                    match entry.and_then(|entry| self.admission.set_client_address(entry, client)) {
                        // A factory that panics ends only this connection: the next turn finds no session.
                        Some(admission) => {
                            let _ = catch_unwind(AssertUnwindSafe(|| session.admit(admission, now)));
                            self.queue(index);
                        }
                        None => self.remove(index),
                    }
                }
                Ok(TurnOutcome::Waiting(Some(deadline))) => self.arm(key, deadline),
                Ok(TurnOutcome::Waiting(None)) => slot.deadline = None,
                Ok(TurnOutcome::Finished) => self.remove(index),
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
        let entry = slot.entry.take();
        *slot = Slot { generation, queued: slot.queued, ..Slot::default() };
        if let Some(entry) = entry {
            self.admission.remove(entry);
        }
        self.shared.open.store(self.sessions(), Ordering::Relaxed);
        // Closing the socket removes it from the poll. Dropping a handler may panic, too.
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

    fn slot(&mut self, key: SessionKey) -> Option<&mut Slot> {
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
    /// Replaces the limits. Existing sessions stay, even if the new limits allow fewer.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.shared.lock().limits = Some(limits);
        self.shared.wake();
    }

    /// Stops accepting, lets each session finish its command and says goodbye, and closes what is still open after
    /// `grace` (at most 24 hours).
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
