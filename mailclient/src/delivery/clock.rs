//! The clock and the source of randomness of deliveries. A test replaces both.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// The clock and the source of randomness of a delivery.
pub trait Clock {
    /// Returns the time of day.
    fn now(&mut self) -> Timestamp;
    /// Returns the time since the delivery started, from a monotonic clock.
    fn elapsed(&mut self) -> Duration;
    /// Waits.
    fn sleep(&mut self, pause: Duration);
    /// Returns a uniformly distributed number. It need not be secret.
    fn random(&mut self) -> u64;

    /// Returns what the clock shows now, for a state machine.
    fn moment(&mut self) -> Moment {
        Moment { elapsed: self.elapsed(), time: self.now() }
    }
}

/// What a [`Clock`] shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time since the delivery started, from a monotonic clock.
    pub elapsed: Duration,
    /// The time of day.
    pub time: Timestamp,
}

/// The clock of this machine. Waiting puts the thread to sleep.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts the clock of a delivery.
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
