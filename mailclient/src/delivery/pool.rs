//! A pool of SMTP sessions that are kept open for the next message.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Seek},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    attempt::{AttemptEnd, DeliveryAttempt, SessionUsage},
    clock::Clock,
    deliver::retry,
    diagnostic::Retryable,
    journal::UploadObserver,
    message::Message,
    report::DeliveryReport,
    retry::RetryPolicy,
    route::{HostPort, Route},
    smtp_session::quit,
};
use io_mio::{Connection, Error};

/// The limits of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// The maximum number of sessions, including those that are being opened or closed; 0 counts as 1. Default: 16.
    pub sessions: usize,
    /// The maximum number of sessions with one host and port, of all routes; 0 counts as 1. Default: 4, because many
    /// servers refuse more.
    pub sessions_per_host: usize,
    /// How long a session is kept unused. Default: 30 s. Servers wait for at least five minutes (RFC 5321 §4.5.3.2.7),
    /// but open sessions cost them resources.
    pub idle: Duration,
    /// The maximum age of a session that is used again. Default: 10 min.
    pub lifetime: Duration,
    /// The maximum number of transactions of a session; 0 counts as 1. Default: 100.
    pub messages: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            sessions: 16,
            sessions_per_host: 4,
            idle: Duration::from_secs(30),
            lifetime: Duration::from_secs(600),
            messages: 100,
        }
    }
}

/// A pool of open sessions, in use or idle.
///
/// The next call that needs a session closes expired sessions, and so does [`sweep`](Self::sweep). While a
/// [`Dispatcher`](super::Dispatcher) runs on the pool, they are closed soon after they expire. The pool has no thread
/// of its own: a program that leaves it unused for long calls `sweep` at the time that `sweep` returned, or
/// [`close_idle`](Self::close_idle). Dropping the pool sends QUIT in idle sessions.
///
/// An idle session is used only for the [`Route`] that opened it. The pool checks at the socket whether the session is
/// still open, and sends no command for that. If the server has closed it after all, another session replaces it.
pub struct Pool<C: Channel> {
    limits: PoolLimits,
    state: Mutex<State<C>>,
    available: Condvar,
}

/// The sessions of a pool.
struct State<C: Channel> {
    /// The sessions with each host, including those that are being opened or closed.
    hosts: BTreeMap<HostPort, HostSessions>,
    /// The idle sessions, the last used one last.
    idle: Vec<PooledSession<C>>,
}

/// The sessions with one host.
struct HostSessions {
    /// The route of each session.
    routes: Vec<u64>,
    /// The maximum number: lower than the pool's limit once the host has refused more. The pool forgets it with the
    /// last session.
    limit: usize,
}

/// A session with what its limits count.
struct PooledSession<C: Channel> {
    connection: Connection<Client<C>>,
    route: u64,
    host: HostPort,
    opened_at: Instant,
    used_at: Instant,
    usage: SessionUsage,
}

/// A session that is being closed, with its slot.
struct Closing<'p, C: Channel> {
    connection: Connection<Client<C>>,
    slot: Slot<'p, C>,
}

/// The right to use a session, which exists or may be opened now.
pub(super) struct Lease<'p, C: Channel> {
    slot: Slot<'p, C>,
    found: Option<PooledSession<C>>,
    /// The sessions to close first: replaced or expired ones.
    closing: Vec<Closing<'p, C>>,
}

/// One of the sessions that the limits allow. Dropping it frees it.
struct Slot<'p, C: Channel> {
    pool: &'p Pool<C>,
    /// The host and the route; `None` if the session is idle in the pool, which then owns the slot.
    owner: Option<(HostPort, u64)>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(super) struct OpenError<E> {
    pub(super) error: E,
    /// How many other sessions the route has with the host. If it has any, the host accepts no more.
    pub(super) others: usize,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum AttemptError<E> {
    /// No session could be opened.
    OpenError(OpenError<E>),
    /// The message cannot be sent in any session.
    Message(E),
}

impl<E> AttemptError<E> {
    pub(super) fn into_error(self) -> E {
        match self {
            Self::OpenError(OpenError { error, .. }) | Self::Message(error) => error,
        }
    }
}

/// How the last session of an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The session was useful.
    Useful,
    /// The session was lost with its first message.
    LostAtOnce,
}

/// A session of a pool, ready for a transaction. Dropping it returns it to the pool, or closes it if it cannot be used
/// again: a reply is outstanding, it is lost, or its limits are reached.
pub struct Session<'p, C: Channel> {
    held: Option<PooledSession<C>>,
    slot: Slot<'p, C>,
}

impl<C: Channel> Pool<C> {
    /// A pool without sessions.
    #[must_use]
    pub const fn new(limits: PoolLimits) -> Self {
        let state = State { hosts: BTreeMap::new(), idle: Vec::new() };
        Self { limits, state: Mutex::new(state), available: Condvar::new() }
    }

    /// Returns the limits.
    #[must_use]
    pub const fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// Returns the number of sessions, and how many of them are idle.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        let state = self.lock();
        (state.count(), state.idle.len())
    }

    /// Whether a session is idle or another may be opened, apart from the limits per host.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.idle.is_empty() || state.count() < self.limits.sessions.max(1)
    }

    /// Returns an idle or new session of this route. Waits until the limits allow one.
    ///
    /// # Errors
    /// A new session could not be opened.
    pub fn session<E>(&self, route: &Route<C, E>) -> Result<Session<'_, C>, E> {
        let mut state = self.lock();
        loop {
            match self.lease_in(&mut state, route) {
                Some(lease) => {
                    drop(state);
                    return lease.open(route).map_err(|unopened| unopened.error);
                }
                None => state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Delivers a message on sessions of this pool, with retries. As [`deliver()`](super::deliver()), but sessions are kept
    /// for the next message.
    ///
    /// # Errors
    /// As [`deliver()`](super::deliver())
    pub fn deliver<S: Read + Seek, E: Retryable + From<Error>>(
        &self,
        route: &Route<C, E>,
        message: &mut Message<S>,
        policy: &RetryPolicy,
        clock: &mut impl Clock,
    ) -> Result<DeliveryReport, E> {
        let mut report = message.report();
        let started = clock.elapsed();
        retry(policy, clock, &mut report, |clock, report| {
            let mut current = DeliveryAttempt::new(report, policy.codes, started);
            let session = self.session(route)?;
            let outcome = session.run(route, &mut current, message, report, clock, &());
            outcome.map(|_| ()).map_err(AttemptError::into_error)
        })?;
        Ok(report)
    }

    /// Closes expired idle sessions. Returns the time until the next one expires; `None` if no session is idle.
    pub fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        let closing = self.expired(&mut state, now);
        let next = state.idle.iter().map(|held| self.time_left(held, now)).min();
        drop(state);
        close_all(closing);
        next
    }

    /// Closes every idle session.
    pub fn close_idle(&self) {
        let mut state = self.lock();
        let closing = state.idle.drain(..).map(|held| self.closing(held)).collect();
        drop(state);
        close_all(closing);
    }

    /// Returns the right to use a session of this route; `None` if the limits allow none now.
    pub(super) fn lease<E>(&self, route: &Route<C, E>) -> Option<Lease<'_, C>> {
        self.lease_in(&mut self.lock(), route)
    }

    fn lease_in<E>(&self, state: &mut State<C>, route: &Route<C, E>) -> Option<Lease<'_, C>> {
        let now = Instant::now();
        let host = route.host_port();
        let mut closing = Vec::new();
        let fits = |held: &PooledSession<C>| held.route == route.number() && !self.is_over(held, now);
        let found = state.idle.iter().rposition(fits).map(|at| state.idle.remove(at));
        if found.is_none() {
            let limit_here = self.limits.sessions_per_host.max(1);
            let here = state.hosts.get(host);
            let full_here = here.is_some_and(|here| here.routes.len() >= here.limit.min(limit_here));
            if full_here || state.count() >= self.limits.sessions.max(1) {
                // Close the session that was idle longest. If the host's limit is the reason, choose one with this
                // host. The new session is opened once the old one is closed.
                let at = state.idle.iter().position(|held| !full_here || held.host == *host)?;
                closing.push(self.closing(state.idle.remove(at)));
            }
            let new = || HostSessions { routes: Vec::new(), limit: usize::MAX };
            state.hosts.entry(host.clone()).or_insert_with(new).routes.push(route.number());
        }
        closing.extend(self.expired(state, now));
        let slot = Slot { pool: self, owner: Some((host.clone(), route.number())) };
        Some(Lease { slot, found, closing })
    }

    /// Frees the slot of a session that could not be opened. If the route has other sessions, their number becomes the
    /// host's limit. Returns how many other sessions the route has.
    fn free_unopened<E>(&self, route: &Route<C, E>, mut slot: Slot<'_, C>) -> usize {
        let mut state = self.lock();
        slot.owner = None;
        state.remove(route.host_port(), route.number());
        let Some(here) = state.hosts.get_mut(route.host_port()) else { return 0 };
        let others = here.routes.iter().filter(|number| **number == route.number()).count();
        if others > 0 {
            here.limit = here.routes.len();
        }
        drop(state);
        self.available.notify_all();
        others
    }

    fn expired(&self, state: &mut State<C>, now: Instant) -> Vec<Closing<'_, C>> {
        let is_over = |held: &mut PooledSession<C>| self.is_over(held, now);
        state.idle.extract_if(.., is_over).map(|held| self.closing(held)).collect()
    }

    /// Whether an idle session has expired.
    fn is_over(&self, held: &PooledSession<C>, now: Instant) -> bool {
        let idle = now.saturating_duration_since(held.used_at);
        idle >= self.limits.idle || self.is_used_up(held, now)
    }

    fn is_used_up(&self, held: &PooledSession<C>, now: Instant) -> bool {
        held.usage.is_used_up() || now.saturating_duration_since(held.opened_at) >= self.limits.lifetime
    }

    /// Returns the time until an idle session expires.
    fn time_left(&self, held: &PooledSession<C>, now: Instant) -> Duration {
        let idle = self.limits.idle.saturating_sub(now.saturating_duration_since(held.used_at));
        idle.min(self.limits.lifetime.saturating_sub(now.saturating_duration_since(held.opened_at)))
    }

    fn closing(&self, held: PooledSession<C>) -> Closing<'_, C> {
        let slot = Slot { pool: self, owner: Some((held.host.clone(), held.route)) };
        Closing { connection: held.connection, slot }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // The guarded data are valid at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Channel> Drop for Pool<C> {
    fn drop(&mut self) {
        self.close_idle();
    }
}

impl<C: Channel> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, idle) = self.sessions();
        f.debug_struct("Pool")
            .field("limits", &self.limits)
            .field("sessions", &sessions)
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}

impl<C: Channel> State<C> {
    fn count(&self) -> usize {
        self.hosts.values().map(|host| host.routes.len()).sum()
    }

    /// Removes a session of this route.
    fn remove(&mut self, host: &HostPort, route: u64) {
        let Some(open) = self.hosts.get_mut(host) else { return };
        if let Some(at) = open.routes.iter().position(|number| *number == route) {
            open.routes.swap_remove(at);
        }
        if open.routes.is_empty() {
            self.hosts.remove(host);
        }
    }
}

impl<'p, C: Channel> Lease<'p, C> {
    /// Returns the found session if it is still open, or a new one.
    pub(super) fn open<E>(self, route: &Route<C, E>) -> Result<Session<'p, C>, OpenError<E>> {
        close_all(self.closing);
        let mut session = Session { held: self.found, slot: self.slot };
        if session.held.as_mut().is_some_and(|held| held.connection.is_quiet()) {
            Ok(session)
        } else {
            session.replaced(route)
        }
    }
}

impl<C: Channel> Session<'_, C> {
    /// Runs or continues an attempt, in further sessions if needed.
    pub(super) fn run<S: Read + Seek, E: From<Error>>(
        mut self,
        route: &Route<C, E>,
        attempt: &mut DeliveryAttempt,
        message: &mut Message<S>,
        report: &mut DeliveryReport,
        clock: &mut impl Clock,
        observer: &dyn UploadObserver,
    ) -> Result<SessionEnd, AttemptError<E>> {
        loop {
            let Some(held) = &mut self.held else { return Err(AttemptError::Message(Error::Closed.into())) };
            let (connection, usage) = (&mut held.connection, &mut held.usage);
            let ended = attempt.run(connection, usage, message, report, clock, observer);
            match ended.map_err(|error| AttemptError::Message(error.into()))? {
                AttemptEnd::Lost if usage.is_first() => return Ok(SessionEnd::LostAtOnce),
                AttemptEnd::Completed | AttemptEnd::Lost => return Ok(SessionEnd::Useful),
                AttemptEnd::Stale | AttemptEnd::LimitReached => {
                    self = self.replaced(route).map_err(AttemptError::OpenError)?
                }
            }
        }
    }

    /// Replaces this session by a new one.
    fn replaced<E>(mut self, route: &Route<C, E>) -> Result<Self, OpenError<E>> {
        if let Some(held) = self.held.take() {
            close(held.connection);
        }
        match route.open() {
            Ok(connection) => {
                let now = Instant::now();
                let usage = SessionUsage::with_limit(self.slot.pool.limits.messages);
                let (route, host) = (route.number(), route.host_port().clone());
                self.held =
                    Some(PooledSession { connection, route, host, opened_at: now, used_at: now, usage });
                Ok(self)
            }
            Err(error) => {
                let pool = self.slot.pool;
                let slot = std::mem::replace(&mut self.slot, Slot { pool, owner: None });
                Err(OpenError { error, others: pool.free_unopened(route, slot) })
            }
        }
    }
}

impl<C: Channel> Drop for Session<'_, C> {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let pool = self.slot.pool;
        let now = Instant::now();
        if held.connection.machine().is_idle() && !pool.is_used_up(&held, now) {
            held.used_at = now;
            pool.lock().idle.push(held);
            self.slot.owner = None;
            pool.available.notify_all();
        } else {
            close(held.connection);
        }
    }
}

impl<C: Channel> fmt::Debug for Session<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.held.as_ref().map(|held| &held.connection);
        f.debug_struct("Session").field("connection", &connection).finish_non_exhaustive()
    }
}

impl<C: Channel> Drop for Slot<'_, C> {
    fn drop(&mut self) {
        let Some((host, route)) = self.owner.take() else { return };
        self.pool.lock().remove(&host, route);
        self.pool.available.notify_all();
    }
}

/// Closes a session, with QUIT if that can be sent.
fn close<C: Channel>(connection: Connection<Client<C>>) {
    if connection.machine().is_idle() {
        quit(connection);
    }
}

/// Sends QUIT in all sessions, then closes each.
fn close_all<C: Channel>(mut closing: Vec<Closing<'_, C>>) {
    for session in &mut closing {
        if session.connection.with(|client, tx| client.quit(tx)).is_ok() {
            let _ = session.connection.flush();
        }
    }
    for Closing { connection, slot } in closing {
        let _ = connection.close();
        drop(slot);
    }
}
