//! The attempts of one message: how many there were, whether another one follows, and when.

use std::time::Duration;

use super::{
    attempt::Attempt,
    diagnostic::Retryable,
    report::DeliveryReport,
    retry::{RetryCodes, RetryDecision, RetryPolicy},
};

/// The attempts of one message so far, and its report, as a state machine without a clock.
#[derive(Debug)]
pub struct MessageAttempts {
    report: DeliveryReport,
    /// The number of attempts.
    number: u32,
    /// When the first attempt started, by the clock.
    started: Duration,
}

/// What follows an attempt of a message.
#[derive(Debug)]
pub enum AfterAttempt<E> {
    /// Another attempt, after this delay.
    Retry(Duration),
    /// Nothing: [`MessageAttempts::conclude`].
    Over,
    /// Nothing: the last attempt failed with this error, and no recipient has a diagnostic.
    Failed(E),
}

impl MessageAttempts {
    /// A message without attempts, with its report.
    #[must_use]
    pub const fn new(report: DeliveryReport) -> Self {
        Self { report, number: 0, started: Duration::ZERO }
    }

    /// Returns the report so far.
    #[must_use]
    pub const fn report(&self) -> &DeliveryReport {
        &self.report
    }

    /// Returns the report so far, to record outcomes.
    pub const fn report_mut(&mut self) -> &mut DeliveryReport {
        &mut self.report
    }

    /// Returns the number of attempts.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.number
    }

    /// Starts an attempt at this time of the clock.
    #[must_use]
    pub fn start(&mut self, codes: RetryCodes, now: Duration) -> Attempt {
        if self.number == 0 {
            self.started = now;
        }
        self.number = self.number.saturating_add(1);
        Attempt::new(&mut self.report, codes, self.started)
    }

    /// Decides what follows an attempt. `error` is the error of the attempt as a whole, if there was one, and `random` is a
    /// uniformly distributed number.
    pub fn finish<E: Retryable>(
        &mut self,
        error: Option<E>,
        policy: &RetryPolicy,
        now: Duration,
        random: u64,
    ) -> AfterAttempt<E> {
        let has_diagnostic = self.report.has_diagnostic();
        let decision = self.record(error.as_ref(), now);
        match (self.next_delay(policy, decision, now, random), error) {
            (Some(delay), _) => AfterAttempt::Retry(delay),
            (None, Some(error)) if !has_diagnostic => AfterAttempt::Failed(error),
            (None, _) => AfterAttempt::Over,
        }
    }

    /// Ends the delivery and returns its report.
    #[must_use]
    pub fn conclude(mut self, now: Duration) -> DeliveryReport {
        self.report.conclude_after(self.elapsed(now));
        self.report
    }

    /// Returns the time since the first attempt started.
    pub(super) fn elapsed(&self, now: Duration) -> Duration {
        if self.number == 0 { Duration::ZERO } else { now.saturating_sub(self.started) }
    }

    /// Records the error of an attempt, if there was one. Returns whether another attempt makes sense.
    pub(super) fn record<E: Retryable>(&mut self, error: Option<&E>, now: Duration) -> RetryDecision {
        let elapsed = self.elapsed(now);
        self.report.record_error(error.map(|error| error as &dyn Retryable), elapsed)
    }

    /// Returns the delay before the next attempt, or `None` if no attempt follows.
    pub(super) fn next_delay(
        &self,
        policy: &RetryPolicy,
        decision: RetryDecision,
        now: Duration,
        random: u64,
    ) -> Option<Duration> {
        let has_pending = decision == RetryDecision::Retry && !self.report.pending().is_empty();
        policy.next_delay(self.number, has_pending, self.elapsed(now), random)
    }
}

#[cfg(test)]
mod tests {
    use io_common::Error;

    use super::{
        super::{diagnostic::Diagnostic, status::DeliveryStatus},
        *,
    };

    fn attempts() -> MessageAttempts {
        MessageAttempts::new(DeliveryReport::new(None, ["a@x.example".to_owned()]))
    }

    /// Decides one recipient, as an attempt does.
    fn decide(attempts: &mut MessageAttempts, status: DeliveryStatus) {
        let diagnostic = Diagnostic::without_reply(super::super::diagnostic::DeliveryStage::Rcpt, "said");
        attempts.report_mut().exclude(0, status, diagnostic);
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn retries_until_no_recipient_waits() {
        let (mut attempts, policy) =
            (attempts(), RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() });
        for (number, delay) in [(1, seconds(1)), (2, seconds(2))] {
            let _ = attempts.start(policy.codes, seconds(10 * u64::from(number)));
            decide(&mut attempts, DeliveryStatus::Retry);
            let after = attempts.finish(None::<Error>, &policy, seconds(10 * u64::from(number)), 7);
            assert!(matches!(after, AfterAttempt::Retry(after) if after == delay), "{after:?}");
            assert_eq!(attempts.count(), number);
        }
        let _ = attempts.start(policy.codes, seconds(30));
        decide(&mut attempts, DeliveryStatus::Success);
        assert!(matches!(attempts.finish(None::<Error>, &policy, seconds(31), 7), AfterAttempt::Over));
        let report = attempts.conclude(seconds(32));
        // The time counts from the first attempt.
        assert_eq!(
            (report.status, report.retry_count, report.duration_ms),
            (DeliveryStatus::Success, 2, 22_000)
        );
    }

    #[test]
    fn an_uncertain_recipient_is_not_retried() {
        let (mut attempts, policy) = (attempts(), RetryPolicy::default());
        let _ = attempts.start(policy.codes, seconds(0));
        decide(&mut attempts, DeliveryStatus::Uncertain);
        assert!(matches!(attempts.finish(Some(Error::Closed), &policy, seconds(1), 7), AfterAttempt::Over));
        let report = attempts.conclude(seconds(1));
        assert_eq!((report.status, report.is_retryable), (DeliveryStatus::Uncertain, false));
    }

    #[test]
    fn returns_the_error_if_no_recipient_has_a_diagnostic() {
        let policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
        let permanent = || Error::ServiceRefused { code: 554, reply: "554 no".to_owned() };
        let mut refused = attempts();
        let _ = refused.start(policy.codes, seconds(0));
        let after = refused.finish(Some(permanent()), &policy, seconds(0), 0);
        assert!(matches!(after, AfterAttempt::Failed(Error::ServiceRefused { .. })), "{after:?}");
        // A temporary error is retried, and then its diagnostic is in the report.
        let mut lost = attempts();
        for expected in [true, false] {
            let _ = lost.start(policy.codes, seconds(0));
            let after = lost.finish(Some(Error::Closed), &policy, seconds(0), 0);
            assert_eq!(matches!(after, AfterAttempt::Retry(_)), expected, "{after:?}");
            assert!(!matches!(after, AfterAttempt::Failed(_)));
        }
    }
}
