//! When a message is tried again, and by whose clock.
//!
//! It knows tries, pauses and chance. It does not know what was tried. The clock and chance come from the caller, so
//! that a test decides both.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// How often and after which pauses a message is tried again.
///
/// The pause before the second try is [`first_pause`](Self::first_pause); each one after is twice as long, up to
/// [`longest_pause`](Self::longest_pause). Chance then adds up to [`jitter`](Self::jitter) percent, so that many
/// senders that were refused together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all; 0 counts as 1. 4 unless set.
    pub tries: u32,
    /// The pause before the second try. One second unless set.
    pub first_pause: Duration,
    /// The longest pause, before chance adds to it. One minute unless set.
    pub longest_pause: Duration,
    /// So much is added to a pause at most, in percent of it. 50 unless set.
    pub jitter: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            jitter: 50,
        }
    }
}

impl RetryPolicy {
    /// The pause after so many tries, of which there was at least one. `chance` is any number, evenly spread.
    #[must_use]
    pub fn pause_after(&self, tries: u32, chance: u64) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let most = pause.saturating_mul(self.jitter) / 100;
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let added = most.checked_add(1).map_or(chance, |most| chance % most);
        pause.saturating_add(Duration::from_millis(added))
    }
}

/// The clock and the chance of a delivery.
pub trait Clock {
    /// The time of day.
    fn now(&mut self) -> Timestamp;
    /// How long ago the delivery began, by a clock that never goes back.
    fn elapsed(&mut self) -> Duration;
    /// Lets so much time pass.
    fn pause(&mut self, pause: Duration);
    /// Any number, evenly spread. It need not be secret.
    fn chance(&mut self) -> u64;
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

    fn pause(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn chance(&mut self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..=8).map(|tries| policy.pause_after(tries, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.pause_after(u32::MAX, 0), policy.longest_pause);
    }

    #[test]
    fn chance_adds_no_more_than_the_jitter() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (0..2000).map(|chance| policy.pause_after(1, chance).as_millis()).collect();
        assert_eq!((pauses.iter().min(), pauses.iter().max()), (Some(&1000), Some(&1500)));
        let longest = RetryPolicy {
            first_pause: Duration::MAX,
            longest_pause: Duration::MAX,
            jitter: u32::MAX,
            ..policy
        };
        assert_eq!(longest.pause_after(9, u64::MAX), Duration::MAX);
    }
}
