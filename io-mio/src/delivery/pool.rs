//! Sessions that are kept open for the next message: how many, for how long, for whom.
//!
//! It knows limits, those that a server keeps to itself included, and who may have a session. What is sent in one, it
//! does not know.

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
    Clock, DeliveryReport, Message, RetryPolicy, Retryable, Route,
    attempt::{End, SessionUsage, Try},
    journal::Watch,
    quit, retry,
    route::Place,
};
use crate::{Connection, Error};

/// How many sessions there are, and how long one is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Sessions in all, those included that are being opened or closed; 0 counts as 1. 16 unless set.
    pub sessions: usize,
    /// Sessions with one host and port, whoever uses them; 0 counts as 1. 4 unless set: many servers refuse more.
    pub sessions_per_host: usize,
    /// A session that was not used for so long is closed. 30 seconds unless set: a server waits five minutes at least
    /// (RFC 5321 §4.5.3.2.7), but every one that is open costs it something.
    pub idle: Duration,
    /// A session is not used any more when it is so old. Ten minutes unless set.
    pub lifetime: Duration,
    /// A session is closed after so many messages; 0 counts as 1. 100 unless set.
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

/// Sessions that are open, in use or idle.
///
/// A session whose idle time or lifetime is over is closed with the next call that asks for a session, by
/// [`sweep`](Self::sweep), and within a moment as long as a [`Dispatcher`](super::Dispatcher) runs on the pool. The pool
/// has no thread of its own: a program that leaves it alone for long calls `sweep` when that says, or
/// [`close_idle`](Self::close_idle). Dropped, it says QUIT in those that are idle.
///
/// An idle session is only used for the [`Route`] that opened it. Whether it is still there is seen at its socket and
/// never asked with a command; where the server turns out to have closed it after all, another one takes its place
/// before anybody notices.
pub struct Pool<C: Channel> {
    limits: PoolLimits,
    state: Mutex<State<C>>,
    freed: Condvar,
}

struct State<C: Channel> {
    /// The sessions that there are with each host, those included that are being opened or closed.
    open: BTreeMap<Place, Open>,
    /// Those that nobody uses; who was used last stands last.
    idle: Vec<Held<C>>,
}

/// The sessions with one host.
struct Open {
    /// The route of each.
    routes: Vec<u64>,
    /// So many there may be: less than the pool's limit when the host was seen to take no more. That is forgotten with
    /// the last of them.
    most: usize,
}

/// A session, and what its limits count.
struct Held<C: Channel> {
    connection: Connection<Client<C>>,
    route: u64,
    place: Place,
    opened: Instant,
    used: Instant,
    spent: SessionUsage,
}

/// A session that is to be closed, and its place until it is.
struct Closing<'p, C: Channel> {
    connection: Connection<Client<C>>,
    seat: Slot<'p, C>,
}

/// A right to a session, which is either there or may be opened now.
pub(super) struct Lease<'p, C: Channel> {
    seat: Slot<'p, C>,
    found: Option<Held<C>>,
    /// Those that give way, or are too old.
    leaving: Vec<Closing<'p, C>>,
}

/// One of the sessions that there may be. It becomes free when this is dropped.
struct Slot<'p, C: Channel> {
    pool: &'p Pool<C>,
    /// Where it leads, and for which route; `None`: the session is idle in the pool, and keeps its place.
    place: Option<(Place, u64)>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub(super) struct OpenError<E> {
    pub(super) error: E,
    /// How many others the same route has with the host: if there are some, the host takes no more.
    pub(super) others: usize,
}

/// Why a try could not be made.
#[derive(Debug)]
pub(super) enum AttemptError<E> {
    /// There is no session.
    OpenError(OpenError<E>),
    /// The message cannot be sent, in whichever session.
    Message(E),
}

impl<E> AttemptError<E> {
    pub(super) fn into_obstacle(self) -> E {
        match self {
            Self::OpenError(OpenError { error: obstacle, .. }) | Self::Message(obstacle) => obstacle,
        }
    }
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The session was of use.
    Late,
    /// The session was lost with its first message.
    AtOnce,
}

/// A session of a pool, ready for a transaction. Dropped, it goes back to the pool, or is closed if it cannot be used
/// again: something is outstanding in it, it is lost, or its limits are reached.
pub struct Session<'p, C: Channel> {
    held: Option<Held<C>>,
    seat: Slot<'p, C>,
}

impl<C: Channel> Pool<C> {
    /// A pool without sessions.
    #[must_use]
    pub const fn new(limits: PoolLimits) -> Self {
        let state = State { open: BTreeMap::new(), idle: Vec::new() };
        Self { limits, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// How many sessions there are, and how many of them nobody uses.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        let state = self.lock();
        (state.count(), state.idle.len())
    }

    /// Whether a session is idle, or another may be opened; not whether it may be with a given host.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.idle.is_empty() || state.count() < self.limits.sessions.max(1)
    }

    /// A session of this route: an idle one, or a new one. Waits until there may be one more.
    ///
    /// # Errors
    /// One that had to be opened could not be.
    pub fn session<E>(&self, route: &Route<C, E>) -> Result<Session<'_, C>, E> {
        let mut state = self.lock();
        loop {
            match self.claim_in(&mut state, route) {
                Some(claim) => {
                    drop(state);
                    return claim.open(route).map_err(|unopened| unopened.error);
                }
                None => state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Delivers a message on sessions of this pool, and tries again for those that the server refuses for now. As
    /// [`deliver`](super::deliver), but a session is kept for the next message.
    ///
    /// # Errors
    /// As [`deliver`](super::deliver).
    pub fn deliver<S: Read + Seek, E: Retryable + From<Error>>(
        &self,
        route: &Route<C, E>,
        message: &mut Message<S>,
        policy: &RetryPolicy,
        clock: &mut impl Clock,
    ) -> Result<DeliveryReport, E> {
        let mut report = message.report();
        let began = clock.elapsed();
        retry(policy, clock, &mut report, |clock, report| {
            let mut one_try = Try::new(report, policy.codes, began);
            let session = self.session(route)?;
            let tried = session.run(route, &mut one_try, message, report, clock, &());
            tried.map(|_| ()).map_err(AttemptError::into_obstacle)
        })?;
        Ok(report)
    }

    /// Closes the idle sessions whose time is over. Returns how long it is until that is so of another one; `None`: no
    /// session is idle.
    pub fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        let leaving = self.expired(&mut state, now);
        let next = state.idle.iter().map(|held| self.left(held, now)).min();
        drop(state);
        leave(leaving);
        next
    }

    /// Closes every idle session.
    pub fn close_idle(&self) {
        let mut state = self.lock();
        let leaving = state.idle.drain(..).map(|held| self.leaver(held)).collect();
        drop(state);
        leave(leaving);
    }

    /// A right to a session of this route; `None`: there is none now.
    pub(super) fn claim<E>(&self, route: &Route<C, E>) -> Option<Lease<'_, C>> {
        self.claim_in(&mut self.lock(), route)
    }

    fn claim_in<E>(&self, state: &mut State<C>, route: &Route<C, E>) -> Option<Lease<'_, C>> {
        let now = Instant::now();
        let place = route.place();
        let mut leaving = Vec::new();
        let fits = |held: &Held<C>| held.route == route.number() && !self.is_over(held, now);
        let found = state.idle.iter().rposition(fits).map(|at| state.idle.remove(at));
        if found.is_none() {
            let most_here = self.limits.sessions_per_host.max(1);
            let here = state.open.get(place);
            let full_here = here.is_some_and(|here| here.routes.len() >= here.most.min(most_here));
            if full_here || state.count() >= self.limits.sessions.max(1) {
                // Who was idle longest gives way, with this host where that is the reason. The new session is opened
                // when the old one is closed.
                let at = state.idle.iter().position(|held| !full_here || held.place == *place)?;
                leaving.push(self.leaver(state.idle.remove(at)));
            }
            let new = || Open { routes: Vec::new(), most: usize::MAX };
            state.open.entry(place.clone()).or_insert_with(new).routes.push(route.number());
        }
        leaving.extend(self.expired(state, now));
        let seat = Slot { pool: self, place: Some((place.clone(), route.number())) };
        Some(Lease { seat, found, leaving })
    }

    /// A session of this route could not be opened, and its place is given up. Where the route has others, the host
    /// takes no more than there are: returns how many the route has.
    fn give_up<E>(&self, route: &Route<C, E>, mut seat: Slot<'_, C>) -> usize {
        let mut state = self.lock();
        seat.place = None;
        state.leave(route.place(), route.number());
        let Some(here) = state.open.get_mut(route.place()) else { return 0 };
        let others = here.routes.iter().filter(|number| **number == route.number()).count();
        if others > 0 {
            here.most = here.routes.len();
        }
        drop(state);
        self.freed.notify_all();
        others
    }

    fn expired(&self, state: &mut State<C>, now: Instant) -> Vec<Closing<'_, C>> {
        let over = |held: &mut Held<C>| self.is_over(held, now);
        state.idle.extract_if(.., over).map(|held| self.leaver(held)).collect()
    }

    /// Whether an idle session is not to be used any more.
    fn is_over(&self, held: &Held<C>, now: Instant) -> bool {
        let idle = now.saturating_duration_since(held.used);
        idle >= self.limits.idle || self.is_used_up(held, now)
    }

    fn is_used_up(&self, held: &Held<C>, now: Instant) -> bool {
        held.spent.is_over() || now.saturating_duration_since(held.opened) >= self.limits.lifetime
    }

    /// How long it is until an idle session is over.
    fn left(&self, held: &Held<C>, now: Instant) -> Duration {
        let idle = self.limits.idle.saturating_sub(now.saturating_duration_since(held.used));
        idle.min(self.limits.lifetime.saturating_sub(now.saturating_duration_since(held.opened)))
    }

    fn leaver(&self, held: Held<C>) -> Closing<'_, C> {
        let seat = Slot { pool: self, place: Some((held.place.clone(), held.route)) };
        Closing { connection: held.connection, seat }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // What the lock guards is valid at any time.
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
        self.open.values().map(|open| open.routes.len()).sum()
    }

    /// There is one session less.
    fn leave(&mut self, place: &Place, route: u64) {
        let Some(open) = self.open.get_mut(place) else { return };
        if let Some(at) = open.routes.iter().position(|number| *number == route) {
            open.routes.swap_remove(at);
        }
        if open.routes.is_empty() {
            self.open.remove(place);
        }
    }
}

impl<'p, C: Channel> Lease<'p, C> {
    /// The session: the one that was found, if it is still there, or a new one.
    pub(super) fn open<E>(self, route: &Route<C, E>) -> Result<Session<'p, C>, OpenError<E>> {
        leave(self.leaving);
        let mut session = Session { held: self.found, seat: self.seat };
        if session.held.as_mut().is_some_and(|held| held.connection.is_quiet()) {
            Ok(session)
        } else {
            session.renewed(route)
        }
    }
}

impl<C: Channel> Session<'_, C> {
    /// Makes a try, or goes on with it, in further sessions where one is not enough.
    pub(super) fn run<S: Read + Seek, E: From<Error>>(
        mut self,
        route: &Route<C, E>,
        one_try: &mut Try,
        message: &mut Message<S>,
        report: &mut DeliveryReport,
        clock: &mut impl Clock,
        watch: &dyn Watch,
    ) -> Result<Ended, AttemptError<E>> {
        loop {
            let Some(held) = &mut self.held else { return Err(AttemptError::Message(Error::Closed.into())) };
            let (connection, spent) = (&mut held.connection, &mut held.spent);
            let ended = one_try.run(connection, spent, message, report, clock, watch);
            match ended.map_err(|error| AttemptError::Message(error.into()))? {
                End::Lost if spent.is_first() => return Ok(Ended::AtOnce),
                End::Over | End::Lost => return Ok(Ended::Late),
                End::Stale | End::UsedUp => self = self.renewed(route).map_err(AttemptError::OpenError)?,
            }
        }
    }

    /// A new session in the place of this one.
    fn renewed<E>(mut self, route: &Route<C, E>) -> Result<Self, OpenError<E>> {
        if let Some(held) = self.held.take() {
            part(held.connection);
        }
        match route.open() {
            Ok(connection) => {
                let now = Instant::now();
                let spent = SessionUsage::of(self.seat.pool.limits.messages);
                let (route, place) = (route.number(), route.place().clone());
                self.held = Some(Held { connection, route, place, opened: now, used: now, spent });
                Ok(self)
            }
            Err(obstacle) => {
                let pool = self.seat.pool;
                let seat = std::mem::replace(&mut self.seat, Slot { pool, place: None });
                Err(OpenError { error: obstacle, others: pool.give_up(route, seat) })
            }
        }
    }
}

impl<C: Channel> Drop for Session<'_, C> {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let pool = self.seat.pool;
        let now = Instant::now();
        if held.connection.machine().is_idle() && !pool.is_used_up(&held, now) {
            held.used = now;
            pool.lock().idle.push(held);
            self.seat.place = None;
            pool.freed.notify_all();
        } else {
            part(held.connection);
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
        let Some((place, route)) = self.place.take() else { return };
        self.pool.lock().leave(&place, route);
        self.pool.freed.notify_all();
    }
}

/// Says good-bye where it can still be said.
fn part<C: Channel>(connection: Connection<Client<C>>) {
    if connection.machine().is_idle() {
        quit(connection);
    }
}

/// Says good-bye to all, and then waits for each to hear it.
fn leave<C: Channel>(mut leaving: Vec<Closing<'_, C>>) {
    for leaver in &mut leaving {
        if leaver.connection.with(|client, tx| client.quit(tx)).is_ok() {
            let _ = leaver.connection.flush();
        }
    }
    for Closing { connection, seat } in leaving {
        let _ = connection.close();
        drop(seat);
    }
}
