//! A pool of SMTP sessions that are kept open for the next message, on tokio.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ::tokio::{runtime::Handle, sync::Notify};
use io_tokio::Connection;
use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    flights::Flights,
    route_key::{Keyed, RouteKey},
    session_pool::{self, PoolLimits, PooledSession, SessionCondition, SessionPool},
    tokio_route::{Route, quit},
};

pub(super) type HeldSession<C> = PooledSession<Connection<Client<C>>>;

/// A pool of open sessions, in use or idle.
///
/// A [`Dispatcher`](super::tokio::Dispatcher) that runs on the pool closes expired sessions. A program that leaves the pool
/// unused for long calls [`sweep`](Self::sweep) at the time that it returned, or [`close_idle`](Self::close_idle). Dropping
/// the pool in a runtime spawns tasks that send QUIT in idle sessions; elsewhere their connections are cut.
///
/// An idle session is used only for the [`Route`] that opened it. If the server has closed it, another session replaces it.
pub struct Pool<C: Channel + Send> {
    limits: PoolLimits,
    state: Mutex<SessionPool<Connection<Client<C>>>>,
    available: Notify,
}

/// A session that is being closed, with its slot.
pub(super) struct Closing<'p, C: Channel + Send> {
    connection: Connection<Client<C>>,
    slot: Slot<'p, C>,
}

/// The right to use a session, which exists or may be opened now.
pub(super) struct Lease<'p, C: Channel + Send> {
    slot: Slot<'p, C>,
    found: Option<HeldSession<C>>,
    /// The sessions to close first: replaced or expired ones.
    closing: Vec<Closing<'p, C>>,
}

/// One of the sessions that the limits allow. Dropping it frees it.
struct Slot<'p, C: Channel + Send> {
    pool: &'p Pool<C>,
    /// The route; `None` if the pool owns the slot, as it does that of an idle session.
    owner: Option<RouteKey>,
}

/// A session in use. Dropping it returns it to the pool, or cuts its connection if it cannot be used again.
pub(super) struct Session<'p, C: Channel + Send> {
    pub(super) held: Option<HeldSession<C>>,
    slot: Slot<'p, C>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(super) struct OpenError<E> {
    pub(super) error: E,
    /// How many other sessions the route has with the host. If it has any, the host accepts no more.
    pub(super) others: usize,
}

impl<C: Channel + Send> Pool<C> {
    /// A pool without sessions.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self { limits, state: Mutex::new(SessionPool::new(limits)), available: Notify::new() }
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

    /// Closes expired idle sessions. Returns the time until the next one expires; `None` if no session is idle.
    pub async fn sweep(&self) -> Option<Duration> {
        close_all(self.expired()).await;
        self.lock().next_expiry(Instant::now())
    }

    /// Closes every idle session.
    pub async fn close_idle(&self) {
        close_all(self.idle()).await;
    }

    /// Returns the expired sessions, which must be closed.
    pub(super) fn expired(&self) -> Vec<Closing<'_, C>> {
        let expired = self.lock().expired(Instant::now());
        self.closing(expired)
    }

    /// Returns the idle sessions, which must be closed.
    pub(super) fn idle(&self) -> Vec<Closing<'_, C>> {
        let idle = self.lock().take_idle();
        self.closing(idle)
    }

    /// Waits until a session may be free.
    pub(super) async fn changed(&self) {
        self.available.notified().await;
    }

    /// Returns the right to use a session of this route; `None` if the limits allow none now.
    pub(super) fn lease(&self, route: &RouteKey) -> Option<Lease<'_, C>> {
        let session_pool::Lease { session, to_close } = self.lock().lease(route, Instant::now())?;
        let slot = Slot { pool: self, owner: Some(route.clone()) };
        Some(Lease { slot, found: session, closing: self.closing(to_close) })
    }

    fn closing(&self, sessions: Vec<HeldSession<C>>) -> Vec<Closing<'_, C>> {
        let closing = |held: HeldSession<C>| {
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

impl<C: Channel + Send> Drop for Pool<C> {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let idle = self.lock().take_idle();
        for held in idle {
            drop(runtime.spawn(quit(held.connection)));
        }
    }
}

impl<C: Channel + Send> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("sessions", &*self.lock()).finish_non_exhaustive()
    }
}

impl<'p, C: Channel + Send> Lease<'p, C> {
    /// Returns the found session if it is still open, or a new one.
    pub(super) async fn open<E>(self, route: &Route<C, E>) -> Result<Session<'p, C>, OpenError<E>> {
        close_all(self.closing).await;
        let mut session = Session { held: self.found, slot: self.slot };
        if let Some(held) = &mut session.held
            && held.connection.is_quiet().await
        {
            return Ok(session);
        }
        session.replaced(route).await
    }
}

impl<'p, C: Channel + Send> Session<'p, C> {
    /// Replaces this session by a new one.
    pub(super) async fn replaced<E>(mut self, route: &Route<C, E>) -> Result<Self, OpenError<E>> {
        if let Some(held) = self.held.take() {
            quit(held.connection).await;
        }
        let pool = self.slot.pool;
        match route.open().await {
            Ok(connection) => {
                self.held = Some(pool.lock().opened(route.key().clone(), connection, Instant::now()));
                Ok(self)
            }
            Err(error) => {
                self.slot.owner = None;
                let others = pool.lock().open_failed(route.key());
                pool.available.notify_waiters();
                Err(OpenError { error, others })
            }
        }
    }

    /// Returns the session to the pool. If it cannot be used again, it is returned here and must be closed.
    pub(super) fn release(mut self) -> Option<Closing<'p, C>> {
        let connection = self.give_back()?.connection;
        let slot = Slot { pool: self.slot.pool, owner: self.slot.owner.take() };
        Some(Closing { connection, slot })
    }

    /// Returns the session to the pool. If it must be closed, it is returned here.
    fn give_back(&mut self) -> Option<HeldSession<C>> {
        let held = self.held.take()?;
        let is_idle = held.connection.machine().is_idle();
        let condition = if is_idle { SessionCondition::Idle } else { SessionCondition::Unusable };
        let pool = self.slot.pool;
        let returned = pool.lock().give_back(held, condition, Instant::now());
        if returned.is_none() {
            self.slot.owner = None;
            pool.available.notify_waiters();
        }
        returned
    }
}

impl<C: Channel + Send> Drop for Session<'_, C> {
    fn drop(&mut self) {
        drop(self.give_back());
    }
}

impl<C: Channel + Send> Drop for Slot<'_, C> {
    fn drop(&mut self) {
        let Some(route) = self.owner.take() else { return };
        self.pool.lock().closed(&route);
        self.pool.available.notify_waiters();
    }
}

/// Closes these sessions, with QUIT, all at the same time.
pub(super) async fn close_all<C: Channel + Send>(closing: Vec<Closing<'_, C>>) {
    let mut quits = Flights::new();
    for Closing { connection, slot } in closing {
        quits.push(async move {
            quit(connection).await;
            drop(slot);
        });
    }
    quits.join().await;
}
