//! A message that a dispatcher holds, and the steps between its attempts: decided, recorded in the journal, given back.

use std::{fmt, time::Duration};

use io_common::Error;

use super::{
    attempt::{Attempt, AttemptEnd},
    diagnostic::Diagnostic,
    journal::Journal,
    message::Message,
    message_attempts::MessageAttempts,
    report::DeliveryReport,
    request::{DeliveryRequest, DeliveryResult},
    retry::{RetryDecision, RetryPolicy},
    route_key::Keyed,
    session_usage::SessionUsage,
};

/// A message that the engine holds, or that its driver checks or tries.
pub struct Delivery<T, S, R, E> {
    pub(super) id: T,
    pub(super) message: Message<S>,
    pub(super) route: R,
    pub(super) attempts: MessageAttempts,
    pub(super) error: Option<E>,
    /// Whether it was checked, or need not be.
    pub(super) is_checked: bool,
    /// When the next attempt may start.
    pub(super) due: Duration,
    /// The current or last attempt.
    attempt: Attempt,
    /// Whether the attempt waits for a session and continues then.
    pub(super) is_interrupted: bool,
    /// Whether its route failed finally, so that it is not tried again.
    pub(super) route_failed: bool,
}

/// What an attempt works with.
#[derive(Debug)]
pub struct DeliveryParts<'d, T, S, R> {
    /// The caller's identifier.
    pub id: &'d T,
    /// The route.
    pub route: &'d R,
    /// The message.
    pub message: &'d mut Message<S>,
    /// The report so far.
    pub report: &'d mut DeliveryReport,
    /// The attempt.
    pub attempt: &'d mut Attempt,
}

/// What happens after a route has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteFailure {
    /// The route is paused for this time.
    Paused(Duration),
    /// The route failed finally, with all messages that are held for it.
    Final,
}

/// The outcome of an attempt.
#[derive(Debug)]
pub enum AttemptOutcome<E> {
    /// Each recipient has a reply or waits. The last session was useful.
    Ended,
    /// The last session was lost with its first message.
    LostAtOnce,
    /// No session could be opened. The route has this many other ones: if it has any, the server accepts no more.
    NotOpened(E, usize),
    /// The message cannot be sent in any session.
    Failed(E),
}

impl<E> AttemptOutcome<E> {
    /// Returns the outcome of an attempt that ended like this in a session with this usage. `None`: the attempt
    /// continues in a new session, which replaces this one.
    #[must_use]
    pub const fn of(end: AttemptEnd, usage: &SessionUsage) -> Option<Self> {
        match end {
            AttemptEnd::Lost if usage.is_first() => Some(Self::LostAtOnce),
            AttemptEnd::Completed | AttemptEnd::Lost => Some(Self::Ended),
            AttemptEnd::Stale | AttemptEnd::LimitReached => None,
        }
    }

    /// Returns the error of an attempt without a report.
    pub(super) fn into_error(self) -> Option<E> {
        match self {
            Self::Ended | Self::LostAtOnce => None,
            Self::NotOpened(error, _) | Self::Failed(error) => Some(error),
        }
    }
}

/// An attempt whose consequences are decided and not yet in the journal: [`record`](Self::record) follows.
#[must_use = "record it"]
pub struct DecidedAttempt<T, S, R, E> {
    pub(super) delivery: Box<Delivery<T, S, R, E>>,
    pub(super) next: Next,
    /// The route's failure, with its reason.
    pub(super) route_failure: Option<(Diagnostic, RouteFailure)>,
    pub(super) decision: RetryDecision,
}

/// What follows an attempt.
pub(super) enum Next {
    /// The attempt continues when there is a session. The server accepts only this many.
    Continue(Diagnostic, usize),
    /// Another attempt follows after this delay.
    Retry(Duration),
    /// The message has its result.
    Over,
}

/// An attempt whose consequences are in the journal.
#[must_use = "give it back to the engine"]
pub enum RecordedAttempt<T, S, R, E> {
    /// The message waits: call [`DeliveryEngine::wait`](super::engine::DeliveryEngine::wait).
    Waiting(WaitingDelivery<T, S, R, E>),
    /// The message is done.
    Done(Box<FinishedDelivery<T, S, E>>),
}

/// A message that is done: give the result to the caller, and then call
/// [`DeliveryEngine::reported`](super::engine::DeliveryEngine::reported).
#[derive(Debug)]
pub struct FinishedDelivery<T, S, E> {
    /// The result.
    pub result: DeliveryResult<T, S, E>,
    /// What remains to do then.
    pub reported: Reported,
}

/// A message that waits for another attempt or a session.
#[must_use = "give it back to the engine"]
pub struct WaitingDelivery<T, S, R, E> {
    pub(super) delivery: Box<Delivery<T, S, R, E>>,
    /// Whether it is the next one.
    pub(super) is_next: bool,
}

/// What remains to do after a result was given to the caller.
#[must_use = "give it back to the engine"]
#[derive(Debug)]
pub struct Reported {
    /// The route that failed finally.
    pub(super) failed_route: Option<(u64, Diagnostic, RetryDecision)>,
}

impl<T, S, R, E> Delivery<T, S, R, E> {
    pub(super) fn new(request: DeliveryRequest<T, S, R>) -> Self {
        let DeliveryRequest { id, message, route } = request;
        Self {
            attempts: MessageAttempts::new(message.report()),
            id,
            message,
            route,
            error: None,
            is_checked: true,
            due: Duration::ZERO,
            attempt: Attempt::none(),
            is_interrupted: false,
            route_failed: false,
        }
    }

    /// Returns the caller's identifier.
    #[must_use]
    pub const fn id(&self) -> &T {
        &self.id
    }

    /// Returns the route.
    #[must_use]
    pub const fn route(&self) -> &R {
        &self.route
    }

    /// Returns the message.
    pub const fn message_mut(&mut self) -> &mut Message<S> {
        &mut self.message
    }

    /// Returns the report so far.
    pub const fn report_mut(&mut self) -> &mut DeliveryReport {
        self.attempts.report_mut()
    }

    /// Returns everything that an attempt needs.
    pub const fn parts_mut(&mut self) -> DeliveryParts<'_, T, S, R> {
        DeliveryParts {
            id: &self.id,
            route: &self.route,
            message: &mut self.message,
            report: self.attempts.report_mut(),
            attempt: &mut self.attempt,
        }
    }

    /// Starts an attempt, or continues the one that waited for a session.
    pub(super) fn start_attempt(&mut self, policy: &RetryPolicy, now: Duration) {
        if !std::mem::take(&mut self.is_interrupted) {
            self.attempt = self.attempts.start(policy.codes, now);
        }
    }

    pub(super) fn conclude(self, now: Duration) -> DeliveryResult<T, S, E> {
        let Self { id, message, attempts, error, route_failed, .. } = self;
        DeliveryResult { id, message, report: attempts.conclude(now), error, route_failed }
    }
}

impl<T, S, R: Keyed, E> DecidedAttempt<T, S, R, E> {
    /// Writes the journal, at this time of the clock.
    pub fn record(self, journal: &(impl Journal<T> + ?Sized), now: Duration) -> RecordedAttempt<T, S, R, E> {
        let Self { delivery, next, route_failure, decision } = self;
        let delay = match next {
            Next::Continue(reason, sessions) => {
                journal.session_limit_reached(&reason, sessions);
                return RecordedAttempt::Waiting(WaitingDelivery { delivery, is_next: true });
            }
            Next::Retry(delay) => Some(delay),
            Next::Over => None,
        };
        journal.attempt_finished(&delivery.id, delivery.attempts.report(), delay);
        if let Some((reason, RouteFailure::Paused(pause))) = &route_failure {
            journal.route_paused(reason, *pause);
        }
        if delay.is_some() {
            return RecordedAttempt::Waiting(WaitingDelivery { delivery, is_next: false });
        }
        let route = delivery.route.key().number();
        let failed_route = match route_failure {
            Some((reason, RouteFailure::Final)) => Some((route, reason, decision)),
            _ => None,
        };
        let (result, reported) = (delivery.conclude(now), Reported { failed_route });
        RecordedAttempt::Done(Box::new(FinishedDelivery { result, reported }))
    }
}

impl<E: From<Error>> From<Error> for AttemptOutcome<E> {
    /// An error of the message itself.
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl<T, S, R, E> fmt::Debug for Delivery<T, S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl<T, S, R, E> fmt::Debug for DecidedAttempt<T, S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecidedAttempt").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl<T, S, R, E> fmt::Debug for WaitingDelivery<T, S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingDelivery").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl<T, S, R, E> fmt::Debug for RecordedAttempt<T, S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(waiting) => waiting.fmt(f),
            Self::Done(done) => f.debug_tuple("Done").field(&done.result.report).finish(),
        }
    }
}
