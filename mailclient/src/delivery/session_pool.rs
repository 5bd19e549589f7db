//! The bookkeeping of a pool of sessions, without I/O: which sessions are open, which may be opened or used again, and
//! which are closed.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use super::{
    route_key::{HostPort, RouteKey},
    session_usage::SessionUsage,
};

/// The limits of a pool.
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

/// A pool of sessions as a state machine: it decides which session is used next, which may be opened, and which must be
/// closed. `X` is a session, which the driver opens and closes.
///
/// A [`Lease`] reserves a session. The driver gives it back with [`give_back`](Self::give_back), or says with
/// [`closed`](Self::closed) or [`open_failed`](Self::open_failed) that it is gone; until then it counts.
pub struct SessionPool<X> {
    limits: PoolLimits,
    /// The sessions with each host, including those that are being opened or closed.
    hosts: BTreeMap<HostPort, HostSessions>,
    /// The idle sessions, the last used one last.
    idle: Vec<PooledSession<X>>,
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
pub struct PooledSession<X> {
    /// The session.
    pub connection: X,
    /// Its transactions.
    pub usage: SessionUsage,
    route: RouteKey,
    opened_at: Instant,
    used_at: Instant,
}

/// The right to use a session of a route.
#[must_use = "the session counts until it is given back"]
pub struct Lease<X> {
    /// An idle session of the route; `None` if a new one may be opened.
    pub session: Option<PooledSession<X>>,
    /// The sessions to close first: replaced or expired ones.
    pub to_close: Vec<PooledSession<X>>,
}

/// Whether a session can be used again, as far as its driver knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCondition {
    /// No reply is outstanding.
    Idle,
    /// It is lost, or a reply is outstanding.
    Unusable,
}

impl<X> SessionPool<X> {
    /// A pool without sessions.
    #[must_use]
    pub const fn new(limits: PoolLimits) -> Self {
        Self { limits, hosts: BTreeMap::new(), idle: Vec::new() }
    }

    /// Returns the number of sessions, and how many of them are idle.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        (self.count(), self.idle.len())
    }

    /// Returns whether a session is idle or another may be opened, apart from the limits per host.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.idle.is_empty() || self.count() < self.limits.sessions.max(1)
    }

    /// Returns the right to use a session of this route; `None` if the limits allow none now.
    pub fn lease(&mut self, route: &RouteKey, now: Instant) -> Option<Lease<X>> {
        let host = route.host_port();
        let mut to_close = Vec::new();
        let limits = &self.limits;
        let fits = |held: &PooledSession<X>| held.route == *route && !held.is_over(limits, now);
        let found = self.idle.iter().rposition(fits).map(|at| self.idle.remove(at));
        if found.is_none() {
            let limit_here = self.limits.sessions_per_host.max(1);
            let here = self.hosts.get(host);
            let full_here = here.is_some_and(|here| here.routes.len() >= here.limit.min(limit_here));
            if full_here || self.count() >= self.limits.sessions.max(1) {
                // Close the session that was idle longest. If the host's limit is the reason, choose one with this
                // host. The new session is opened once the old one is closed.
                let replaceable = |held: &PooledSession<X>| !full_here || held.route.host_port() == host;
                let at = self.idle.iter().position(replaceable)?;
                to_close.push(self.idle.remove(at));
            }
            let new = || HostSessions { routes: Vec::new(), limit: usize::MAX };
            self.hosts.entry(host.clone()).or_insert_with(new).routes.push(route.number());
        }
        to_close.extend(self.expired(now));
        Some(Lease { session: found, to_close })
    }

    /// Returns the new session of a lease.
    pub const fn opened(&self, route: RouteKey, connection: X, now: Instant) -> PooledSession<X> {
        let usage = SessionUsage::with_limit(self.limits.messages);
        PooledSession { connection, usage, route, opened_at: now, used_at: now }
    }

    /// Ends a lease whose session could not be opened. If the route has other sessions, their number becomes the host's
    /// limit. Returns how many other sessions the route has.
    pub fn open_failed(&mut self, route: &RouteKey) -> usize {
        self.closed(route);
        let Some(here) = self.hosts.get_mut(route.host_port()) else { return 0 };
        let others = here.routes.iter().filter(|number| **number == route.number()).count();
        if others > 0 {
            here.limit = here.routes.len();
        }
        others
    }

    /// Ends a lease. Returns the session if it must be closed: it counts until then.
    #[must_use = "a returned session must be closed"]
    pub fn give_back(
        &mut self,
        mut session: PooledSession<X>,
        condition: SessionCondition,
        now: Instant,
    ) -> Option<PooledSession<X>> {
        if condition == SessionCondition::Unusable || session.is_used_up(&self.limits, now) {
            return Some(session);
        }
        session.used_at = now;
        self.idle.push(session);
        None
    }

    /// Frees the place of a session of this route that is closed.
    pub fn closed(&mut self, route: &RouteKey) {
        let Some(open) = self.hosts.get_mut(route.host_port()) else { return };
        if let Some(at) = open.routes.iter().position(|number| *number == route.number()) {
            open.routes.swap_remove(at);
        }
        if open.routes.is_empty() {
            self.hosts.remove(route.host_port());
        }
    }

    /// Returns the expired idle sessions, which must be closed.
    #[must_use = "the sessions must be closed"]
    pub fn expired(&mut self, now: Instant) -> Vec<PooledSession<X>> {
        let limits = self.limits;
        self.idle.extract_if(.., |held| held.is_over(&limits, now)).collect()
    }

    /// Returns the time until the next idle session expires; `None` if no session is idle.
    #[must_use]
    pub fn next_expiry(&self, now: Instant) -> Option<Duration> {
        self.idle.iter().map(|held| held.time_left(&self.limits, now)).min()
    }

    /// Returns all idle sessions, which must be closed.
    #[must_use = "the sessions must be closed"]
    pub fn take_idle(&mut self) -> Vec<PooledSession<X>> {
        std::mem::take(&mut self.idle)
    }

    fn count(&self) -> usize {
        self.hosts.values().map(|host| host.routes.len()).sum()
    }
}

impl<X> PooledSession<X> {
    /// Returns the route that opened it.
    #[must_use]
    pub const fn route(&self) -> &RouteKey {
        &self.route
    }

    /// Whether an idle session has expired.
    fn is_over(&self, limits: &PoolLimits, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.used_at);
        idle >= limits.idle || self.is_used_up(limits, now)
    }

    fn is_used_up(&self, limits: &PoolLimits, now: Instant) -> bool {
        self.usage.is_used_up() || now.saturating_duration_since(self.opened_at) >= limits.lifetime
    }

    /// Returns the time until an idle session expires.
    fn time_left(&self, limits: &PoolLimits, now: Instant) -> Duration {
        let idle = limits.idle.saturating_sub(now.saturating_duration_since(self.used_at));
        idle.min(limits.lifetime.saturating_sub(now.saturating_duration_since(self.opened_at)))
    }
}

impl<X> fmt::Debug for SessionPool<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, idle) = self.sessions();
        f.debug_struct("SessionPool")
            .field("limits", &self.limits)
            .field("sessions", &sessions)
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}

impl<X> fmt::Debug for PooledSession<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledSession")
            .field("route", &self.route)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl<X> fmt::Debug for Lease<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("session", &self.session).field("to_close", &self.to_close).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool whose sessions are numbers, and a clock that the test moves.
    struct Fixture {
        pool: SessionPool<u32>,
        now: Instant,
        opened: u32,
    }

    impl Fixture {
        fn new(limits: PoolLimits) -> Self {
            Self { pool: SessionPool::new(limits), now: Instant::now(), opened: 0 }
        }

        /// Leases a session and opens it if it is new. Returns it with the numbers of the sessions to close, which are
        /// closed.
        fn lease(&mut self, route: &RouteKey) -> Option<(PooledSession<u32>, Vec<u32>)> {
            let Lease { session, to_close } = self.pool.lease(route, self.now)?;
            let closed = self.close(to_close);
            let session = session.unwrap_or_else(|| {
                self.opened += 1;
                self.pool.opened(route.clone(), self.opened, self.now)
            });
            Some((session, closed))
        }

        fn close(&mut self, sessions: impl IntoIterator<Item = PooledSession<u32>>) -> Vec<u32> {
            let close = |session: PooledSession<u32>| {
                self.pool.closed(session.route());
                session.connection
            };
            sessions.into_iter().map(close).collect()
        }

        /// Gives a session back. Returns whether it had to be closed.
        fn give_back(&mut self, session: PooledSession<u32>, condition: SessionCondition) -> bool {
            let returned = self.pool.give_back(session, condition, self.now);
            !self.close(returned).is_empty()
        }

        fn advance(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    use SessionCondition::{Idle, Unusable};

    #[test]
    fn reuses_the_last_used_session_of_the_same_route() {
        let mut fixture = Fixture::new(PoolLimits::default());
        let routes = [RouteKey::new("A.example", 25), RouteKey::new("a.example", 25)];
        assert_eq!((routes[0].host(), routes[0] == routes[1]), ("a.example", false));
        let sessions = [0, 0, 1].map(|route: usize| fixture.lease(&routes[route]).map(|leased| leased.0));
        for session in sessions.into_iter().flatten() {
            assert!(!fixture.give_back(session, Idle));
        }
        assert_eq!(fixture.pool.sessions(), (3, 3));
        for (route, number) in [(0, 2), (0, 1), (1, 3), (1, 4)] {
            let leased = fixture.lease(&routes[route]).map(|(session, closed)| (session.connection, closed));
            assert_eq!(leased, Some((number, Vec::new())));
        }
        assert_eq!(fixture.pool.sessions(), (4, 0));
        // The default limit for one host counts the sessions of all its routes.
        assert!(fixture.lease(&routes[0]).is_none());
        assert!(fixture.lease(&RouteKey::new("b.example", 25)).is_some());
    }

    #[test]
    fn closes_an_idle_session_where_a_limit_is_reached() {
        let limits = PoolLimits { sessions: 2, sessions_per_host: 1, ..PoolLimits::default() };
        let mut fixture = Fixture::new(limits);
        let [a, other_a, b, c] = ["a", "a", "b", "c"].map(|host| RouteKey::new(host, 25));
        for route in [&a, &b] {
            let leased = fixture.lease(route).map(|leased| fixture.give_back(leased.0, Idle));
            assert_eq!(leased, Some(false));
        }
        // Another route to the same host needs the place of its idle session; another host that of the oldest one.
        let leased =
            fixture.lease(&other_a).map(|(session, closed)| (fixture.give_back(session, Idle), closed));
        assert_eq!(leased, Some((false, vec![1])));
        let (session, closed) =
            fixture.lease(&c).map_or((None, Vec::new()), |(session, closed)| (Some(session), closed));
        assert_eq!((closed, fixture.pool.sessions()), (vec![2], (2, 1)));
        assert!(fixture.lease(&c).is_none());
        assert!(fixture.lease(&b).is_some_and(|leased| leased.1 == [3]));
        assert!(!fixture.pool.has_room());
        assert!(session.is_some_and(|session| fixture.give_back(session, Unusable)));
        assert!(fixture.pool.has_room());
    }

    #[test]
    fn sessions_expire_by_idle_time_age_and_use() {
        let limits = PoolLimits {
            idle: Duration::from_secs(30),
            lifetime: Duration::from_secs(50),
            messages: 2,
            ..PoolLimits::default()
        };
        let mut fixture = Fixture::new(limits);
        let route = RouteKey::new("a", 25);
        let lease_and_return = |fixture: &mut Fixture| {
            let (session, closed) = fixture.lease(&route)?;
            let number = session.connection;
            Some((number, closed, fixture.give_back(session, Idle)))
        };
        assert_eq!(lease_and_return(&mut fixture), Some((1, vec![], false)));
        assert_eq!(fixture.pool.next_expiry(fixture.now), Some(Duration::from_secs(30)));
        fixture.advance(29);
        assert_eq!(lease_and_return(&mut fixture), Some((1, vec![], false)));
        // The age limit comes first now.
        assert_eq!(fixture.pool.next_expiry(fixture.now), Some(Duration::from_secs(21)));
        fixture.advance(21);
        assert_eq!(lease_and_return(&mut fixture), Some((2, vec![1], false)));
        fixture.advance(30);
        let expired = fixture.pool.expired(fixture.now);
        assert_eq!((fixture.close(expired), fixture.pool.sessions()), (vec![2], (0, 0)));
        assert_eq!(fixture.pool.next_expiry(fixture.now), None);
        let used = fixture.lease(&route).map(|(mut session, _)| {
            session.usage.count();
            session.usage.count();
            fixture.give_back(session, Idle)
        });
        assert_eq!((used, fixture.pool.sessions()), (Some(true), (0, 0)));
    }

    #[test]
    fn remembers_how_many_sessions_a_host_accepts() {
        let mut fixture = Fixture::new(PoolLimits::default());
        let route = RouteKey::new("a", 25);
        let first = fixture.lease(&route);
        assert!(fixture.pool.lease(&route, fixture.now).is_some());
        assert_eq!(fixture.pool.open_failed(&route), 1);
        // The host accepts one session: no other is tried while it has that one.
        assert!(fixture.lease(&route).is_none());
        assert!(first.is_some_and(|first| fixture.give_back(first.0, Unusable)));
        assert!(fixture.pool.lease(&route, fixture.now).is_some());
        assert_eq!(fixture.pool.open_failed(&route), 0);
        assert_eq!(fixture.pool.sessions(), (0, 0));
    }
}
