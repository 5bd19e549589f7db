//! A pool of SMTP sessions that are kept open for the next message, for blocking threads.

use std::{
    fmt,
    io::{Read, Seek},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    attempt::Attempt,
    clock::Clock,
    deliver::{AttemptRun, retry},
    diagnostic::Retryable,
    held_delivery::AttemptOutcome,
    journal::Journal,
    message::Message,
    report::DeliveryReport,
    retry::RetryPolicy,
    route::Route,
    route_key::{Keyed, RouteKey},
    session_pool::{self, PoolLimits, PooledSession, SessionCondition, SessionPool},
    smtp_session::quit,
};
use io_mio::{Connection, Error};

type Held<C> = PooledSession<Connection<Client<C>>>;

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
    state: Mutex<SessionPool<Connection<Client<C>>>>,
    available: Condvar,
}

/// A session that is being closed, with its slot.
struct Closing<'p, C: Channel> {
    connection: Connection<Client<C>>,
    slot: Slot<'p, C>,
}

/// The right to use a session, which exists or may be opened now.
pub(super) struct Lease<'p, C: Channel> {
    slot: Slot<'p, C>,
    found: Option<Held<C>>,
    /// The sessions to close first: replaced or expired ones.
    closing: Vec<Closing<'p, C>>,
}

/// One of the sessions that the limits allow. Dropping it frees it.
struct Slot<'p, C: Channel> {
    pool: &'p Pool<C>,
    /// The route; `None` if the pool owns the slot, as it does that of an idle session.
    owner: Option<RouteKey>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(super) struct OpenError<E> {
    pub(super) error: E,
    /// How many other sessions the route has with the host. If it has any, the host accepts no more.
    pub(super) others: usize,
}

/// A session of a pool, ready for a transaction. Dropping it returns it to the pool, or closes it if it cannot be used
/// again: a reply is outstanding, it is lost, or its limits are reached.
pub struct Session<'p, C: Channel> {
    held: Option<Held<C>>,
    slot: Slot<'p, C>,
}

impl<C: Channel> Pool<C> {
    /// A pool without sessions.
    #[must_use]
    pub const fn new(limits: PoolLimits) -> Self {
        Self { limits, state: Mutex::new(SessionPool::new(limits)), available: Condvar::new() }
    }

    /// Returns the limits.
    #[must_use]
    pub const fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// Returns the number of sessions, and how many of them are idle.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        self.lock().sessions()
    }

    /// Whether a session is idle or another may be opened, apart from the limits per host.
    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room()
    }

    /// Returns an idle or new session of this route. Waits until the limits allow one.
    ///
    /// # Errors
    /// A new session could not be opened.
    pub fn session<E>(&self, route: &Route<C, E>) -> Result<Session<'_, C>, E> {
        let mut state = self.lock();
        loop {
            if let Some(lease) = state.lease(route.key(), Instant::now()) {
                drop(state);
                return self.guarded(route.key(), lease).open(route).map_err(|unopened| unopened.error);
            }
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        let report = message.report();
        retry(policy, clock, report, |clock, mut attempt, report| {
            let session = self.session(route)?;
            let run = AttemptRun { message, report, clock, journal: &(), id: &() };
            session.run(route, &mut attempt, run).into_error().map_or(Ok(()), Err)
        })
    }

    /// Closes expired idle sessions. Returns the time until the next one expires; `None` if no session is idle.
    pub fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        let (expired, next) = (state.expired(now), state.next_expiry(now));
        drop(state);
        close_all(self.closing(expired));
        next
    }

    /// Closes every idle session.
    pub fn close_idle(&self) {
        let idle = self.lock().take_idle();
        close_all(self.closing(idle));
    }

    /// Returns the right to use a session of this route; `None` if the limits allow none now.
    pub(super) fn lease(&self, route: &RouteKey) -> Option<Lease<'_, C>> {
        let lease = self.lock().lease(route, Instant::now())?;
        Some(self.guarded(route, lease))
    }

    /// A lease that ends when it is dropped.
    fn guarded(&self, route: &RouteKey, lease: session_pool::Lease<Connection<Client<C>>>) -> Lease<'_, C> {
        let slot = Slot { pool: self, owner: Some(route.clone()) };
        Lease { slot, found: lease.session, closing: self.closing(lease.to_close) }
    }

    fn closing(&self, sessions: Vec<Held<C>>) -> Vec<Closing<'_, C>> {
        let closing = |held: Held<C>| {
            let slot = Slot { pool: self, owner: Some(held.route().clone()) };
            Closing { connection: held.connection, slot }
        };
        sessions.into_iter().map(closing).collect()
    }

    fn lock(&self) -> MutexGuard<'_, SessionPool<Connection<Client<C>>>> {
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
        f.debug_struct("Pool").field("sessions", &*self.lock()).finish_non_exhaustive()
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
    pub(super) fn run<T, S: Read + Seek, E: From<Error>>(
        mut self,
        route: &Route<C, E>,
        attempt: &mut Attempt,
        mut run: AttemptRun<'_, T, S, impl Clock, impl Journal<T> + ?Sized>,
    ) -> AttemptOutcome<E> {
        loop {
            let Some(held) = &mut self.held else { return AttemptOutcome::from(Error::Closed) };
            let (connection, usage) = (&mut held.connection, &mut held.usage);
            let end = match run.in_session(attempt, connection, usage) {
                Ok(end) => end,
                Err(error) => return AttemptOutcome::from(error),
            };
            if let Some(outcome) = AttemptOutcome::of(end, usage) {
                return outcome;
            }
            self = match self.replaced(route) {
                Ok(session) => session,
                Err(unopened) => return AttemptOutcome::NotOpened(unopened.error, unopened.others),
            };
        }
    }

    /// Replaces this session by a new one.
    fn replaced<E>(mut self, route: &Route<C, E>) -> Result<Self, OpenError<E>> {
        if let Some(held) = self.held.take() {
            close(held.connection);
        }
        let pool = self.slot.pool;
        match route.open() {
            Ok(connection) => {
                self.held = Some(pool.lock().opened(route.key().clone(), connection, Instant::now()));
                Ok(self)
            }
            Err(error) => {
                self.slot.owner = None;
                let others = pool.lock().open_failed(route.key());
                pool.available.notify_all();
                Err(OpenError { error, others })
            }
        }
    }
}

impl<C: Channel> Drop for Session<'_, C> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let is_idle = held.connection.machine().is_idle();
        let condition = if is_idle { SessionCondition::Idle } else { SessionCondition::Unusable };
        let returned = self.slot.pool.lock().give_back(held, condition, Instant::now());
        match returned {
            Some(held) => close(held.connection),
            None => {
                self.slot.owner = None;
                self.slot.pool.available.notify_all();
            }
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
        let Some(route) = self.owner.take() else { return };
        self.pool.lock().closed(&route);
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
