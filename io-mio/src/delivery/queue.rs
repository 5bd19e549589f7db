//! What a dispatcher has in hand: who may go now, who waits for what, and which routes are left alone for a while.
//!
//! It knows messages and their turns. It makes no try, and knows no thread.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Seek},
    time::Duration,
};

use proto_mail::Channel;

use super::{
    DeliveryReport, DeliveryRequest, DeliveryStatus, Diagnostic, Pool, RetryCodes, RetryPolicy, attempt::Try,
    pool::Lease,
};

/// A message that is in hand.
pub(super) struct Held<T, S, C: Channel, E> {
    pub(super) order: DeliveryRequest<T, S, C, E>,
    pub(super) report: DeliveryReport,
    pub(super) error: Option<E>,
    /// It was looked at, or nobody wants it to be.
    pub(super) is_checked: bool,
    /// How many tries were begun.
    pub(super) attempts: u32,
    /// When the first began, by the clock.
    pub(super) began: Duration,
    /// When the next may begin.
    pub(super) due: Duration,
    /// A try that goes on when there is a session for it.
    pub(super) one_try: Option<Try>,
    /// It is not tried again, since its route is given up.
    pub(super) route_failed: bool,
}

impl<T, S: Read + Seek, C: Channel, E> Held<T, S, C, E> {
    pub(super) fn new(order: DeliveryRequest<T, S, C, E>) -> Self {
        let report = order.message.report();
        Self {
            order,
            report,
            error: None,
            is_checked: true,
            attempts: 0,
            began: Duration::ZERO,
            due: Duration::ZERO,
            one_try: None,
            route_failed: false,
        }
    }

    /// Begins a try, or goes on with the one that was put off for want of a session.
    pub(super) fn begin_try(&mut self, codes: RetryCodes, now: Duration) -> Try {
        if let Some(one_try) = self.one_try.take() {
            return one_try;
        }
        if self.attempts == 0 {
            self.began = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        Try::new(&mut self.report, codes, self.began)
    }

    /// How long ago the first try began.
    pub(super) fn elapsed(&self, now: Duration) -> Duration {
        if self.attempts == 0 { Duration::ZERO } else { now.saturating_sub(self.began) }
    }
}

/// The messages in hand, and where the caller's orders stand.
pub(super) struct Queue<T, S, C: Channel, E> {
    pub(super) waiting: VecDeque<Held<T, S, C, E>>,
    /// How many are being tried.
    pub(super) active: usize,
    /// How many threads wait for something to do.
    pub(super) sleepers: usize,
    pub(super) orders: Orders,
    /// Somebody looks at the clock for all.
    pub(super) is_watched: bool,
    /// The routes that came to nothing, by their number.
    rests: BTreeMap<u64, Rest>,
}

/// Where the caller's orders stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    Open,
    /// Somebody asks for the next.
    BeingAsked,
    Ended,
}

/// A route that came to nothing, so many times in a row, and when it may be tried again.
#[derive(Debug, Clone, Copy)]
struct Rest {
    failures: u32,
    until: Duration,
}

/// What a route that came to nothing comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It is left alone for so long.
    Rests(Duration),
    /// What is in hand for it is given up.
    GivenUp,
}

/// What a thread does next.
pub(super) enum Next<'p, T, S, C: Channel, E> {
    Check(Held<T, S, C, E>),
    Try(Held<T, S, C, E>, Box<Lease<'p, C>>),
    Finish(Held<T, S, C, E>),
    Ask,
    Sweep,
    Pause(Duration),
    End,
}

impl<T, S: Read + Seek, C: Channel, E> Queue<T, S, C, E> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            active: 0,
            sleepers: 0,
            orders: Orders::Open,
            is_watched: false,
            rests: BTreeMap::new(),
        }
    }

    /// The first message that may go now, and its session.
    pub(super) fn pick<'p>(&mut self, pool: &'p Pool<C>, now: Duration) -> Option<Next<'p, T, S, C, E>> {
        let mut full = Vec::new();
        for at in 0..self.waiting.len() {
            let Some(held) = self.waiting.get(at) else { continue };
            let route = &held.order.route;
            if held.route_failed || (held.is_checked && held.report.pending().is_empty()) {
                return self.waiting.remove(at).map(Next::Finish);
            }
            if !held.is_checked {
                self.active += 1;
                return self.waiting.remove(at).map(Next::Check);
            }
            if self.due(held) > now || full.contains(route.place()) {
                continue;
            }
            let Some(claim) = pool.claim(route) else {
                full.push(route.place().clone());
                continue;
            };
            self.active += 1;
            return self.waiting.remove(at).map(|held| Next::Try(held, Box::new(claim)));
        }
        None
    }

    /// Whether another order may be taken: less than `most` are in hand, and of those that were not tried yet there are
    /// less than `ahead`, which have less than so many bytes.
    pub(super) fn has_room(&self, most: usize, ahead: usize, bytes: u64) -> bool {
        let untried = self.waiting.iter().filter(|held| held.attempts == 0);
        let sizes = untried.map(|held| held.order.message.size().unwrap_or_default());
        let (count, size) =
            sizes.fold((0, 0_u64), |(count, sum), size| (count + 1, sum.saturating_add(size)));
        self.waiting.len() + self.active < most && count < ahead && (count == 0 || size < bytes)
    }

    /// When the next message may go.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.iter().map(|held| self.due(held)).min()
    }

    /// When a message and its route may be tried.
    fn due(&self, held: &Held<T, S, C, E>) -> Duration {
        let rest = self.rests.get(&held.order.route.number());
        rest.map_or(held.due, |rest| held.due.max(rest.until))
    }

    /// A route was of use.
    pub(super) fn was_of_use(&mut self, route: u64) {
        self.rests.remove(&route);
    }

    /// A route came to nothing: for now, or for good.
    pub(super) fn came_to_nothing(
        &mut self,
        route: u64,
        hope: RetryDecision,
        policy: &RetryPolicy,
        now: Duration,
        chance: u64,
    ) -> Route {
        let rest = self.rests.entry(route).or_insert(Rest { failures: 0, until: now });
        rest.failures = rest.failures.saturating_add(1);
        let is_over = hope == RetryDecision::None || rest.failures >= policy.attempts.max(1);
        let pause = if is_over { policy.max_delay } else { policy.pause_after(rest.failures, chance) };
        rest.until = rest.until.max(now.saturating_add(pause));
        if is_over { Route::GivenUp } else { Route::Rests(pause) }
    }

    /// Whatever waits for this route is not tried any more, and this is why.
    pub(super) fn give_up(&mut self, route: u64, why: &Diagnostic, hope: RetryDecision, now: Duration) {
        for held in self.waiting.iter_mut().filter(|held| held.order.route.number() == route) {
            let elapsed = held.elapsed(now);
            held.report.put_off(why, elapsed, hope.of_the_unknown());
            held.route_failed = true;
        }
    }
}

/// Whether trying again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    Some,
    None,
}

impl RetryDecision {
    /// What becomes of those of whom nothing is known.
    pub(super) const fn of_the_unknown(self) -> DeliveryStatus {
        match self {
            Self::Some => DeliveryStatus::Retry,
            Self::None => DeliveryStatus::Failed,
        }
    }
}
