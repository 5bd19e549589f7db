//! When a message is tried again, and by whose clock.
//!
//! It knows tries, pauses, chance, and which answers are worth a further try. It does not know what was tried. The
//! clock and chance come from the caller, so that a test decides both.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{DeliveryReport, Diagnostic, Retryable, queue::RetryDecision};

/// How often, after which pauses and on which answers a message is tried again.
///
/// The pause before the second try is [`initial_delay`](Self::initial_delay); each one after is twice as long, up to
/// [`max_delay`](Self::max_delay). Chance then adds up to [`jitter_percent`](Self::jitter_percent) percent, so that many
/// senders that were refused together do not come back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all; 0 counts as 1. 4 unless set.
    pub attempts: u32,
    /// The pause before the second try. One second unless set.
    pub initial_delay: Duration,
    /// The longest pause, before chance adds to it. One minute unless set.
    pub max_delay: Duration,
    /// So much is added to a pause at most, in percent of it. 50 unless set.
    pub jitter_percent: u32,
    /// The pauses themselves, in place of those above: before the second try, before the third and so on. The last one
    /// is used for all that follow, and chance adds nothing. Empty unless set.
    pub fixed_delays: Vec<Duration>,
    /// No try begins later than this after the first one began. None unless set: the tries alone end it.
    pub deadline: Option<Duration>,
    /// Which answers are worth a further try.
    pub codes: RetryCodes,
}

/// Which answers of a server are worth a further try. Whatever it says, 5yz is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RetryCodes {
    /// 421, 450, 451 and 452; and any other 4yz whose enhanced code speaks of the mailbox, the mail system or the
    /// network (RFC 3463 §3.3 to §3.5). What remains is about the command itself (454, 455), and the same command
    /// would be told the same.
    #[default]
    Usual,
    /// Every 4yz.
    EveryTransient,
}

impl RetryCodes {
    /// Whether an answer is among them. What is not an answer of a server never is.
    #[must_use]
    pub fn include(self, answer: &Diagnostic) -> bool {
        match (self, answer.code) {
            (_, Some(421 | 450..=452)) => true,
            (Self::EveryTransient, Some(400..=499)) => true,
            (Self::Usual, Some(400..=499)) => {
                answer.subject().is_some_and(|subject| matches!(subject.as_bytes(), [b'2'..=b'4', b'.', ..]))
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
    /// The pause after so many tries, of which there was at least one. `chance` is any number, evenly spread.
    #[must_use]
    pub fn pause_after(&self, attempts: u32, chance: u64) -> Duration {
        if let Some(last) = self.fixed_delays.last() {
            let number = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
            return *self.fixed_delays.get(number).unwrap_or(last);
        }
        let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.initial_delay.saturating_mul(doubled).min(self.max_delay);
        let most = pause.saturating_mul(self.jitter_percent) / 100;
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let added = most.checked_add(1).map_or(chance, |most| chance % most);
        pause.saturating_add(Duration::from_millis(added))
    }

    /// What follows the try of this number, which began the tries so long ago: the report learns what stood in the
    /// way, if something did. `None`: nothing more is tried.
    pub(super) fn after(
        &self,
        number: u32,
        obstacle: Option<&dyn Retryable>,
        report: &mut DeliveryReport,
        elapsed: Duration,
        chance: u64,
    ) -> Option<Duration> {
        match report.meet(obstacle, elapsed) {
            RetryDecision::Some => self.pause(number, report, elapsed, chance),
            RetryDecision::None => None,
        }
    }

    /// What follows the try of this number, if another makes sense.
    pub(super) fn pause(
        &self,
        number: u32,
        report: &DeliveryReport,
        elapsed: Duration,
        chance: u64,
    ) -> Option<Duration> {
        if number >= self.attempts.max(1) || report.pending().is_empty() {
            return None;
        }
        let pause = self.pause_after(number, chance);
        let late = self.deadline.is_some_and(|deadline| elapsed.saturating_add(pause) > deadline);
        (!late).then_some(pause)
    }
}

/// The clock and the chance of a delivery.
pub trait Clock {
    /// The time of day.
    fn now(&mut self) -> Timestamp;
    /// How long ago the delivery began, by a clock that never goes back.
    fn elapsed(&mut self) -> Duration;
    /// Lets so much time pass.
    fn sleep(&mut self, pause: Duration);
    /// Any number, evenly spread. It need not be secret.
    fn random(&mut self) -> u64;
}

/// The clock of this machine. A pause puts the thread to sleep.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A delivery begins.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&mut self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn random(&mut self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::DeliveryStage, *};

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..=8).map(|tries| policy.pause_after(tries, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.pause_after(u32::MAX, 0), policy.max_delay);
    }

    #[test]
    fn chance_adds_no_more_than_the_jitter() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (0..2000).map(|chance| policy.pause_after(1, chance).as_millis()).collect();
        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&1000), Some(&1500)));
        let longest = RetryPolicy {
            initial_delay: Duration::MAX,
            max_delay: Duration::MAX,
            jitter_percent: u32::MAX,
            ..RetryPolicy::default()
        };
        assert_eq!(longest.pause_after(9, u64::MAX), Duration::MAX);
    }

    #[test]
    fn delays_that_are_given_are_kept_and_the_last_is_repeated() {
        let fixed_delays: Vec<_> = [1, 5, 30].map(Duration::from_secs).into();
        let policy = RetryPolicy { fixed_delays, ..RetryPolicy::default() };
        let pauses: Vec<_> = (1..=5).map(|tries| policy.pause_after(tries, 77).as_secs()).collect();
        assert_eq!(pauses, [1, 5, 30, 30, 30]);
    }

    #[test]
    fn which_answers_are_worth_another_try() {
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
    fn no_try_begins_behind_the_deadline() {
        let policy = RetryPolicy {
            deadline: Some(Duration::from_secs(5)),
            jitter_percent: 0,
            ..RetryPolicy::default()
        };
        let mut report = DeliveryReport::new(None, ["a@x.example".to_owned()]);
        let mut after =
            |number, elapsed| policy.after(number, None, &mut report, Duration::from_secs(elapsed), 0);
        assert_eq!(after(1, 3), Some(Duration::from_secs(1)));
        assert_eq!(after(2, 3), Some(Duration::from_secs(2)));
        assert_eq!(after(2, 4), None);
        assert_eq!(after(4, 0), None);
    }
}
