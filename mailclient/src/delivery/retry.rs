//! Retry policy: when a message is tried again.

use std::time::Duration;

use super::{diagnostic::Diagnostic, status::DeliveryStatus};

/// How often, after which delays and after which replies a message is tried again.
///
/// The delay before the second attempt is [`initial_delay`](Self::initial_delay). Each further one is twice as long, up to
/// [`max_delay`](Self::max_delay). A random part of up to [`jitter_percent`](Self::jitter_percent) is added, so that
/// senders that were refused together do not return together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts; 0 counts as 1. Default: 4.
    pub attempts: u32,
    /// The delay before the second attempt. Default: 1 s.
    pub initial_delay: Duration,
    /// The maximum delay, without its random part. Default: 60 s.
    pub max_delay: Duration,
    /// The maximum random part of a delay, in percent. Default: 50.
    pub jitter_percent: u32,
    /// Fixed delays instead of the ones above: before the second attempt, the third and so on. The last one is repeated,
    /// and nothing random is added. Default: none.
    pub fixed_delays: Vec<Duration>,
    /// No attempt starts later than this after the first one. Default: no limit.
    pub deadline: Option<Duration>,
    /// The replies after which a message is tried again.
    pub codes: RetryCodes,
}

/// The replies after which a message is tried again. They never include 5yz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RetryCodes {
    /// 421, 450, 451 and 452, and any other 4yz whose enhanced code is about the mailbox, the mail system or the
    /// network (RFC 3463 §3.3 to §3.5). The others (454, 455) are about the command itself, which the server would
    /// refuse again.
    #[default]
    Usual,
    /// Every 4yz.
    EveryTransient,
}

impl RetryCodes {
    /// Returns whether a reply is one of them. A diagnostic without a reply is not.
    #[must_use]
    pub fn include(self, reply: &Diagnostic) -> bool {
        match (self, reply.code) {
            (_, Some(421 | 450..=452)) => true,
            (Self::EveryTransient, Some(400..=499)) => true,
            (Self::Usual, Some(400..=499)) => {
                reply.subject().is_some_and(|subject| matches!(subject.as_bytes(), [b'2'..=b'4', b'.', ..]))
            }
            _ => false,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            jitter_percent: 50,
            fixed_delays: Vec::new(),
            deadline: None,
            codes: RetryCodes::default(),
        }
    }
}

impl RetryPolicy {
    /// Returns the delay after this many attempts (at least one). `random` is a uniformly distributed number.
    #[must_use]
    pub fn delay_after(&self, attempts: u32, random: u64) -> Duration {
        if let Some(last) = self.fixed_delays.last() {
            let number = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
            return *self.fixed_delays.get(number).unwrap_or(last);
        }
        let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let delay = self.initial_delay.saturating_mul(doubled).min(self.max_delay);
        let most = delay.saturating_mul(self.jitter_percent) / 100;
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let added = most.checked_add(1).map_or(random, |most| random % most);
        delay.saturating_add(Duration::from_millis(added))
    }

    /// Returns the delay before the next attempt, after attempt `number`. `None`: there is no further attempt.
    pub(super) fn next_delay(
        &self,
        number: u32,
        has_pending: bool,
        elapsed: Duration,
        random: u64,
    ) -> Option<Duration> {
        if number >= self.attempts.max(1) || !has_pending {
            return None;
        }
        let delay = self.delay_after(number, random);
        let late = self.deadline.is_some_and(|deadline| elapsed.saturating_add(delay) > deadline);
        (!late).then_some(delay)
    }
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    Retry,
    GiveUp,
}

impl RetryDecision {
    /// Returns the status of recipients without a reply.
    pub(super) const fn status_without_reply(self) -> DeliveryStatus {
        match self {
            Self::Retry => DeliveryStatus::Retry,
            Self::GiveUp => DeliveryStatus::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::diagnostic::DeliveryStage, *};

    #[test]
    fn delays_double_up_to_the_maximum() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..=8).map(|tries| policy.delay_after(tries, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.delay_after(u32::MAX, 0), policy.max_delay);
    }

    #[test]
    fn adds_no_more_than_the_jitter() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (0..2000).map(|chance| policy.delay_after(1, chance).as_millis()).collect();
        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&1000), Some(&1500)));
        let longest = RetryPolicy {
            initial_delay: Duration::MAX,
            max_delay: Duration::MAX,
            jitter_percent: u32::MAX,
            ..RetryPolicy::default()
        };
        assert_eq!(longest.delay_after(9, u64::MAX), Duration::MAX);
    }

    #[test]
    fn keeps_fixed_delays_and_repeats_the_last() {
        let fixed_delays: Vec<_> = [1, 5, 30].map(Duration::from_secs).into();
        let policy = RetryPolicy { fixed_delays, ..RetryPolicy::default() };
        let pauses: Vec<_> = (1..=5).map(|tries| policy.delay_after(tries, 77).as_secs()).collect();
        assert_eq!(pauses, [1, 5, 30, 30, 30]);
    }

    #[test]
    fn retries_after_temporary_replies() {
        let answer = |code, enhanced: Option<&str>| Diagnostic {
            code: Some(code),
            enhanced: enhanced.map(str::to_owned),
            ..Diagnostic::without_reply(DeliveryStage::Rcpt, "")
        };
        let usual = |code, enhanced| RetryCodes::Usual.include(&answer(code, enhanced));
        for code in [421, 450, 451, 452] {
            assert!(usual(code, None) && usual(code, Some("4.7.0")), "{code}");
        }
        for (code, enhanced) in [(432, "4.2.1"), (454, "4.3.0"), (458, "4.4.1")] {
            assert!(usual(code, Some(enhanced)) && !usual(code, None), "{code}");
        }
        for (code, enhanced) in [(454, "4.7.0"), (455, "4.5.4"), (550, "4.2.1"), (250, "2.0.0")] {
            assert!(!usual(code, Some(enhanced)), "{code} {enhanced}");
        }
        assert!(RetryCodes::EveryTransient.include(&answer(455, None)));
        assert!(!RetryCodes::EveryTransient.include(&answer(554, Some("4.3.2"))));
        assert!(!RetryCodes::EveryTransient.include(&Diagnostic::without_reply(DeliveryStage::Connect, "")));
    }

    #[test]
    fn starts_no_attempt_after_the_deadline() {
        let policy = RetryPolicy {
            deadline: Some(Duration::from_secs(5)),
            jitter_percent: 0,
            ..RetryPolicy::default()
        };
        let after = |number, elapsed| policy.next_delay(number, true, Duration::from_secs(elapsed), 0);
        assert_eq!(after(1, 3), Some(Duration::from_secs(1)));
        assert_eq!(after(2, 3), Some(Duration::from_secs(2)));
        assert_eq!(after(2, 4), None);
        assert_eq!(after(4, 0), None);
    }
}
