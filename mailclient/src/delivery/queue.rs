//! The messages that a dispatcher holds: which one is next, which waits, and which routes are paused.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Seek},
    time::Duration,
};

use proto_mail::Channel;

use super::{
    attempt::DeliveryAttempt,
    diagnostic::Diagnostic,
    pool::{Lease, Pool},
    report::DeliveryReport,
    request::DeliveryRequest,
    retry::{RetryCodes, RetryDecision, RetryPolicy},
};

/// A message that the dispatcher holds.
pub(super) struct QueuedMessage<T, S, C: Channel, E> {
    pub(super) request: DeliveryRequest<T, S, C, E>,
    pub(super) report: DeliveryReport,
    pub(super) error: Option<E>,
    /// Whether it was checked, or need not be.
    pub(super) is_checked: bool,
    /// The number of attempts.
    pub(super) attempts: u32,
    /// When the first attempt started, by the clock.
    pub(super) started: Duration,
    /// When the next attempt may start.
    pub(super) due: Duration,
    /// An attempt that continues when there is a session for it.
    pub(super) current: Option<DeliveryAttempt>,
    /// Whether its route failed finally, so that it is not tried again.
    pub(super) route_failed: bool,
}

impl<T, S: Read + Seek, C: Channel, E> QueuedMessage<T, S, C, E> {
    pub(super) fn new(request: DeliveryRequest<T, S, C, E>) -> Self {
        let report = request.message.report();
        Self {
            request,
            report,
            error: None,
            is_checked: true,
            attempts: 0,
            started: Duration::ZERO,
            due: Duration::ZERO,
            current: None,
            route_failed: false,
        }
    }

    /// Starts an attempt, or continues the one that waited for a session.
    pub(super) fn start_attempt(&mut self, codes: RetryCodes, now: Duration) -> DeliveryAttempt {
        if let Some(current) = self.current.take() {
            return current;
        }
        if self.attempts == 0 {
            self.started = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        DeliveryAttempt::new(&mut self.report, codes, self.started)
    }

    /// Returns the time since the first attempt started.
    pub(super) fn elapsed(&self, now: Duration) -> Duration {
        if self.attempts == 0 { Duration::ZERO } else { now.saturating_sub(self.started) }
    }
}

/// The held messages, and the state of the caller's requests.
pub(super) struct Queue<T, S, C: Channel, E> {
    pub(super) waiting: VecDeque<QueuedMessage<T, S, C, E>>,
    /// How many messages are being checked or tried.
    pub(super) active: usize,
    /// How many threads wait for work.
    pub(super) sleepers: usize,
    pub(super) source: SourceState,
    /// Whether a thread watches the clock for all.
    pub(super) has_watcher: bool,
    /// The paused routes.
    pauses: BTreeMap<u64, RoutePause>,
}

/// The state of the caller's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceState {
    Open,
    /// A thread waits for the next request.
    Waiting,
    Ended,
}

/// A route that failed: how many times in a row, and until when it is paused.
#[derive(Debug, Clone, Copy)]
struct RoutePause {
    failures: u32,
    until: Duration,
}

/// What happens after a route has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteFailure {
    /// The route is paused for this time.
    Paused(Duration),
    /// The route failed finally, with all messages that are held for it.
    Final,
}

/// The next task of a thread.
pub(super) enum WorkerTask<'p, T, S, C: Channel, E> {
    Check(QueuedMessage<T, S, C, E>),
    Try(QueuedMessage<T, S, C, E>, Box<Lease<'p, C>>),
    Finish(QueuedMessage<T, S, C, E>),
    FetchRequests,
    SweepPool,
    Sleep(Duration),
    End,
}

impl<T, S: Read + Seek, C: Channel, E> Queue<T, S, C, E> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            active: 0,
            sleepers: 0,
            source: SourceState::Open,
            has_watcher: false,
            pauses: BTreeMap::new(),
        }
    }

    /// Returns the first message with a task now.
    pub(super) fn pick<'p>(
        &mut self,
        pool: &'p Pool<C>,
        now: Duration,
    ) -> Option<WorkerTask<'p, T, S, C, E>> {
        let mut full = Vec::new();
        for at in 0..self.waiting.len() {
            let Some(held) = self.waiting.get(at) else { continue };
            let route = &held.request.route;
            if held.route_failed || (held.is_checked && held.report.pending().is_empty()) {
                return self.waiting.remove(at).map(WorkerTask::Finish);
            }
            if !held.is_checked {
                self.active += 1;
                return self.waiting.remove(at).map(WorkerTask::Check);
            }
            if self.due(held) > now || full.contains(route.host_port()) {
                continue;
            }
            let Some(lease) = pool.lease(route) else {
                full.push(route.host_port().clone());
                continue;
            };
            self.active += 1;
            return self.waiting.remove(at).map(|held| WorkerTask::Try(held, Box::new(lease)));
        }
        None
    }

    /// Whether another request may be taken: fewer than `limit` messages are held, and fewer than `ahead` untried ones, with
    /// fewer than this many bytes.
    pub(super) fn has_room(&self, limit: usize, ahead: usize, bytes: u64) -> bool {
        let untried = self.waiting.iter().filter(|held| held.attempts == 0);
        let sizes = untried.map(|held| held.request.message.size().unwrap_or_default());
        let (count, size) =
            sizes.fold((0, 0_u64), |(count, sum), size| (count + 1, sum.saturating_add(size)));
        self.waiting.len() + self.active < limit && count < ahead && (count == 0 || size < bytes)
    }

    /// Returns when the next message is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.iter().map(|held| self.due(held)).min()
    }

    /// Returns when a message may be tried, its route included.
    fn due(&self, held: &QueuedMessage<T, S, C, E>) -> Duration {
        let pause = self.pauses.get(&held.request.route.number());
        pause.map_or(held.due, |pause| held.due.max(pause.until))
    }

    /// Records a success of a route.
    pub(super) fn route_succeeded(&mut self, route: u64) {
        self.pauses.remove(&route);
    }

    /// Records a failure of a route and pauses it.
    pub(super) fn route_failed(
        &mut self,
        route: u64,
        decision: RetryDecision,
        policy: &RetryPolicy,
        now: Duration,
        random: u64,
    ) -> RouteFailure {
        let route_pause = self.pauses.entry(route).or_insert(RoutePause { failures: 0, until: now });
        route_pause.failures = route_pause.failures.saturating_add(1);
        let is_final = decision == RetryDecision::GiveUp || route_pause.failures >= policy.attempts.max(1);
        let pause =
            if is_final { policy.max_delay } else { policy.delay_after(route_pause.failures, random) };
        route_pause.until = route_pause.until.max(now.saturating_add(pause));
        if is_final { RouteFailure::Final } else { RouteFailure::Paused(pause) }
    }

    /// Fails the messages that wait for this route.
    pub(super) fn fail_route(
        &mut self,
        route: u64,
        reason: &Diagnostic,
        decision: RetryDecision,
        now: Duration,
    ) {
        for held in self.waiting.iter_mut().filter(|held| held.request.route.number() == route) {
            let elapsed = held.elapsed(now);
            held.report.postpone(reason, elapsed, decision.status_without_reply());
            held.route_failed = true;
        }
    }
}
