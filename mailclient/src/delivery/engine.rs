//! The decisions of a dispatcher as a state machine, without I/O and without a clock.
//!
//! Another driver than those of this crate works like this: it does what [`DeliveryEngine::next_action`] says, with a
//! [`SessionPool`] that says which sessions may be opened or used, and an [`Attempt`] that says what to do in a session.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

pub use super::{
    attempt::{Attempt, AttemptEnd, AttemptStep, TransactionStep},
    clock::Moment,
    held_delivery::{
        AttemptOutcome, DecidedAttempt, Delivery, DeliveryParts, FinishedDelivery, RecordedAttempt, Reported,
        WaitingDelivery,
    },
    message_attempts::{AfterAttempt, MessageAttempts},
    route_key::{Keyed, RouteKey},
    session_pool::{Lease, PooledSession, SessionCondition, SessionPool},
    session_usage::SessionUsage,
};
use super::{
    diagnostic::{DeliveryStage, Diagnostic, Retryable},
    held_delivery::{Next, RouteFailure},
    report::DeliveryReport,
    request::{DeliveryRequest, DeliveryResult},
    retry::{RetryDecision, RetryPolicy},
    status::DeliveryStatus,
};

/// The default number of messages that are held.
const MAX_HELD: usize = 256;
/// At this many bytes of untried messages, the engine wants no more.
const MAX_UNTRIED_BYTES: u64 = 4 << 20;

/// The messages of a dispatcher: which one is next, which waits, and which routes are paused.
///
/// A route fails if no session can be opened, or if the server ends a session with its first message. It is then paused
/// with all messages that wait for it, so that they do not all try a failing server. After as many failures in a row as
/// the policy has attempts, or after a permanent refusal, all messages that are held for the route fail. The route is
/// then paused for [`RetryPolicy::max_delay`].
///
/// If a server refuses a session and the route has others, the server accepts no more. The message then waits for one
/// of those, and this does not count as an attempt.
///
/// `T` is the caller's identifier, `S` the source of a message, `R` a route and `E` the error of an attempt.
pub struct DeliveryEngine<T, S, R, E> {
    policy: RetryPolicy,
    checks: Checks,
    held: usize,
    ahead: usize,
    waiting: VecDeque<Box<Delivery<T, S, R, E>>>,
    /// How many of the waiting messages were never tried, and their bytes.
    untried: (usize, u64),
    /// How many messages are being checked or tried.
    active: usize,
    requests: Requests,
    /// Whether the run ends early.
    is_stopped: bool,
    /// The paused routes.
    pauses: BTreeMap<u64, RoutePause>,
}

/// Whether messages are checked before their first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// The driver checks each message.
    EachMessage,
    /// Messages are not checked.
    Off,
}

/// The state of the caller's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requests {
    Open,
    /// The driver takes requests.
    Taking,
    Ended,
}

/// A route that failed: how many times in a row, and until when it is paused.
#[derive(Debug, Clone, Copy)]
struct RoutePause {
    failures: u32,
    until: Duration,
}

/// What to do next. `L` is the right to use a session.
#[derive(Debug)]
pub enum DeliveryAction<T, S, R, E, L> {
    /// Check the message, and call [`DeliveryEngine::checked`].
    Check(Box<Delivery<T, S, R, E>>),
    /// Run the attempt in the session and in further ones if needed, and call [`DeliveryEngine::attempted`].
    Attempt(Box<Delivery<T, S, R, E>>, L),
    /// Give the result to the caller.
    Report(Box<DeliveryResult<T, S, E>>),
    /// Take requests from the caller while [`DeliveryEngine::has_room`], call [`DeliveryEngine::add`] with each, and then
    /// [`DeliveryEngine::pause_requests`] or [`DeliveryEngine::end_requests`]. The caller may have none for a long time;
    /// the other actions must not wait for that.
    TakeRequests,
    /// Nothing: wait.
    Wait(Pause),
    /// Nothing: every message has its result.
    End,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Until this time of the clock, or until the caller has a request. Nothing is in progress.
    Until(Duration, IdleSessions),
    /// Until something in progress is done, the caller has a request, a session is free, or this time has come.
    Event(Option<Duration>),
}

/// What becomes of idle sessions during a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleSessions {
    /// They are kept.
    Keep,
    /// They are closed: there is nothing for them to do but to wait with a server that refused temporarily.
    Close,
}

impl<T, S, R: Keyed, E: Retryable> DeliveryEngine<T, S, R, E> {
    /// An engine without messages.
    #[must_use]
    pub const fn new(policy: RetryPolicy, checks: Checks) -> Self {
        Self {
            policy,
            checks,
            held: MAX_HELD,
            ahead: MAX_HELD,
            waiting: VecDeque::new(),
            untried: (0, 0),
            active: 0,
            requests: Requests::Open,
            is_stopped: false,
            pauses: BTreeMap::new(),
        }
    }

    /// Sets how many messages are held at most: waiting for a delay or a session, or being sent. 0 counts as 1.
    /// Default: 256.
    #[must_use]
    pub const fn hold_at_most(mut self, messages: usize) -> Self {
        self.held = if messages == 0 { 1 } else { messages };
        self
    }

    /// Sets how many untried messages are held at most. 0 counts as 1. Default: 256. At 4 MiB of them the engine wants no
    /// more.
    #[must_use]
    pub const fn look_ahead(mut self, messages: usize) -> Self {
        self.ahead = if messages == 0 { 1 } else { messages };
        self
    }

    /// Ends the run early: no further attempt begins, and messages that wait have their result.
    pub const fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Returns what to do at this time of the clock. `lease` returns the right to use a session of a route, if the limits
    /// of the pool allow one.
    pub fn next_action<L>(
        &mut self,
        now: Duration,
        lease: impl FnMut(&R) -> Option<L>,
    ) -> DeliveryAction<T, S, R, E, L> {
        if self.is_stopped {
            return match (self.take(0), self.active) {
                (Some(delivery), _) => DeliveryAction::Report(Box::new(delivery.conclude(now))),
                (None, 0) => DeliveryAction::End,
                (None, _) => DeliveryAction::Wait(Pause::Event(None)),
            };
        }
        if let Some(action) = self.pick(now, lease) {
            return action;
        }
        match self.requests {
            Requests::Open if self.wants_requests() => {
                self.requests = Requests::Taking;
                DeliveryAction::TakeRequests
            }
            Requests::Ended if self.waiting.is_empty() && self.active == 0 => DeliveryAction::End,
            _ => DeliveryAction::Wait(self.pause(now)),
        }
    }

    /// Returns the first message with something to do now.
    fn pick<L>(
        &mut self,
        now: Duration,
        mut lease: impl FnMut(&R) -> Option<L>,
    ) -> Option<DeliveryAction<T, S, R, E, L>> {
        let mut full = Vec::new();
        for at in 0..self.waiting.len() {
            let Some(held) = self.waiting.get(at) else { continue };
            let host = held.route.key().host_port();
            if held.route_failed || (held.is_checked && !held.attempts.report().has_pending()) {
                let result = self.take(at)?.conclude(now);
                return Some(DeliveryAction::Report(Box::new(result)));
            }
            if !held.is_checked {
                self.active += 1;
                return self.take(at).map(DeliveryAction::Check);
            }
            if self.due(held) > now || full.contains(host) {
                continue;
            }
            let Some(lease) = lease(&held.route) else {
                full.push(host.clone());
                continue;
            };
            self.active += 1;
            let mut delivery = self.take(at)?;
            delivery.start_attempt(&self.policy, now);
            return Some(DeliveryAction::Attempt(delivery, lease));
        }
        None
    }

    /// Returns what to wait for.
    fn pause(&self, now: Duration) -> Pause {
        let due = self.waiting.iter().map(|held| self.due(held));
        let later = due.clone().filter(|due| *due > now);
        match (later.clone().min(), later.count() == due.count() && self.active == 0) {
            (Some(due), true) => {
                let has_ended = self.requests == Requests::Ended;
                Pause::Until(due, if has_ended { IdleSessions::Close } else { IdleSessions::Keep })
            }
            (due, _) => Pause::Event(due),
        }
    }

    /// Adds a request. It can be tried at once.
    pub fn add(&mut self, request: DeliveryRequest<T, S, R>) {
        let mut delivery = Box::new(Delivery::new(request));
        delivery.is_checked = self.checks == Checks::Off;
        self.count_untried(&delivery);
        self.waiting.push_back(delivery);
    }

    /// Returns whether another request may be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_room_for(self.ahead, MAX_UNTRIED_BYTES)
    }

    /// Returns whether the driver shall take requests as soon as it can.
    #[must_use]
    pub fn wants_requests(&self) -> bool {
        let is_low = self.has_room_for(self.ahead.div_ceil(2), MAX_UNTRIED_BYTES / 2);
        self.requests == Requests::Open && is_low
    }

    /// Returns whether messages wait.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether fewer messages are held than allowed, and fewer untried ones than this, with fewer than this many bytes.
    fn has_room_for(&self, ahead: usize, most: u64) -> bool {
        let (count, bytes) = self.untried;
        self.waiting.len() + self.active < self.held && count < ahead && (count == 0 || bytes < most)
    }

    /// Says that the driver takes no more requests for now. [`DeliveryAction::TakeRequests`] will ask again.
    pub const fn pause_requests(&mut self) {
        self.requests = Requests::Open;
    }

    /// Says that there are no more requests.
    pub const fn end_requests(&mut self) {
        self.requests = Requests::Ended;
    }

    /// Continues with a message that was checked. `error` is why it could not be read, if so. Returns its result then.
    pub fn checked(
        &mut self,
        mut delivery: Box<Delivery<T, S, R, E>>,
        error: Option<E>,
        now: Duration,
    ) -> Option<FinishedDelivery<T, S, E>> {
        delivery.is_checked = true;
        delivery.attempts = MessageAttempts::new(delivery.message.report());
        let Some(error) = error else {
            self.wait(WaitingDelivery { delivery, is_next: true });
            return None;
        };
        let report = delivery.attempts.report_mut();
        report.postpone(&error.diagnostic(), Duration::ZERO, DeliveryStatus::Failed);
        delivery.error = Some(error);
        Some(FinishedDelivery { result: delivery.conclude(now), reported: Reported { failed_route: None } })
    }

    /// Decides what follows an attempt, at this time of the clock. `random` is a uniformly distributed number.
    pub fn attempted(
        &mut self,
        mut delivery: Box<Delivery<T, S, R, E>>,
        outcome: AttemptOutcome<E>,
        now: Duration,
        random: u64,
    ) -> DecidedAttempt<T, S, R, E> {
        let mut reason = None;
        match &outcome {
            AttemptOutcome::NotOpened(error, others) if *others > 0 => {
                let next = Next::Continue(error.diagnostic(), *others);
                delivery.is_interrupted = true;
                return DecidedAttempt {
                    delivery,
                    next,
                    route_failure: None,
                    decision: RetryDecision::Retry,
                };
            }
            AttemptOutcome::NotOpened(error, _) => reason = Some(error.diagnostic()),
            AttemptOutcome::LostAtOnce if delivery.attempts.report().has_pending() => {
                let text = "the server ends each session with its first message";
                reason = Some(Diagnostic::without_reply(DeliveryStage::Connect, text));
            }
            _ => {}
        }
        let (error, route) = (outcome.into_error(), delivery.route.key().number());
        let decision = delivery.attempts.record(error.as_ref(), now);
        delivery.error = error;
        let route_failure = match reason {
            Some(reason) => Some((reason, self.route_failed(route, decision, now, random))),
            None => {
                self.pauses.remove(&route);
                None
            }
        };
        delivery.route_failed = matches!(route_failure, Some((_, RouteFailure::Final)));
        let decision_here = if delivery.route_failed { RetryDecision::GiveUp } else { decision };
        let delay = delivery.attempts.next_delay(&self.policy, decision_here, now, random);
        let next = match delay {
            Some(delay) => {
                delivery.due = now.saturating_add(delay);
                Next::Retry(delay)
            }
            None => Next::Over,
        };
        DecidedAttempt { delivery, next, route_failure, decision }
    }

    /// Takes back a message that waits.
    pub fn wait(&mut self, waiting: WaitingDelivery<T, S, R, E>) {
        let WaitingDelivery { delivery, is_next } = waiting;
        self.active = self.active.saturating_sub(1);
        self.count_untried(&delivery);
        if is_next {
            self.waiting.push_front(delivery);
        } else {
            self.waiting.push_back(delivery);
        }
    }

    /// Continues after a result was given to the caller, at this time of the clock.
    pub fn reported(&mut self, reported: Reported, now: Duration) {
        self.active = self.active.saturating_sub(1);
        let Some((route, reason, decision)) = reported.failed_route else { return };
        for held in self.waiting.iter_mut().filter(|held| held.route.key().number() == route) {
            let elapsed = held.attempts.elapsed(now);
            held.attempts.report_mut().postpone(&reason, elapsed, decision.status_without_reply());
            held.route_failed = true;
        }
    }

    /// Records a failure of a route and pauses it.
    fn route_failed(
        &mut self,
        route: u64,
        decision: RetryDecision,
        now: Duration,
        random: u64,
    ) -> RouteFailure {
        let policy = &self.policy;
        let route_pause = self.pauses.entry(route).or_insert(RoutePause { failures: 0, until: now });
        route_pause.failures = route_pause.failures.saturating_add(1);
        let is_final = decision == RetryDecision::GiveUp || route_pause.failures >= policy.attempts.max(1);
        let pause =
            if is_final { policy.max_delay } else { policy.delay_after(route_pause.failures, random) };
        route_pause.until = route_pause.until.max(now.saturating_add(pause));
        if is_final { RouteFailure::Final } else { RouteFailure::Paused(pause) }
    }

    /// Returns when a message may be tried, its route included.
    fn due(&self, held: &Delivery<T, S, R, E>) -> Duration {
        let pause = self.pauses.get(&held.route.key().number());
        pause.map_or(held.due, |pause| held.due.max(pause.until))
    }

    /// Removes a waiting message.
    fn take(&mut self, at: usize) -> Option<Box<Delivery<T, S, R, E>>> {
        let delivery = self.waiting.remove(at)?;
        if delivery.attempts.count() == 0 {
            self.untried.0 = self.untried.0.saturating_sub(1);
            self.untried.1 = self.untried.1.saturating_sub(delivery.message.size().unwrap_or_default());
        }
        Some(delivery)
    }

    fn count_untried(&mut self, delivery: &Delivery<T, S, R, E>) {
        if delivery.attempts.count() == 0 {
            self.untried.0 += 1;
            self.untried.1 = self.untried.1.saturating_add(delivery.message.size().unwrap_or_default());
        }
    }
}

impl<T, S, R, E> DeliveryEngine<T, S, R, E> {
    /// Returns the messages whose attempt has begun and waits for a session, with their reports: a driver that gives up
    /// before the end of a run records them.
    pub fn interrupted(&self) -> impl Iterator<Item = (&T, &DeliveryReport)> {
        let interrupted = self.waiting.iter().filter(|held| held.is_interrupted);
        interrupted.map(|held| (&held.id, held.attempts.report()))
    }
}

impl<T, S, R, E> fmt::Debug for DeliveryEngine<T, S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryEngine")
            .field("waiting", &self.waiting.len())
            .field("active", &self.active)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}
