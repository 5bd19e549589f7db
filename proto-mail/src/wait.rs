//! Waits and deadlines: what a machine awaits and for how long. The machine names the wait, the driver has the clock.

use core::time::Duration;

/// How long a machine lets others run between two slices of a computation, which it begins in `next_event`: the key of a
/// SCRAM login with many iterations, for example. It awaits [`WaitFor::Delay`] meanwhile, and reads nothing.
pub const COMPUTATION_PAUSE: Duration = Duration::from_millis(1);

/// What a machine awaits, and for how long at most.
///
/// A driver arms one timer whenever the wait changes and calls the machine's `timed_out` when the timer fires;
/// [`Deadline`] does the bookkeeping. A machine changes the [`generation`](Self::generation) on complete steps only (a
/// whole line, a reply), so that a peer that sends one byte at a time cannot extend a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// What the machine awaits.
    pub awaited: WaitFor,
    /// The longest time to wait, counted from when the generation changed; `None` if there is no limit.
    pub after: Option<Duration>,
    /// The number of this wait. Every new wait has a new one.
    pub generation: u32,
}

/// The events that a mail session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFor {
    /// The server's greeting (RFC 5321 §4.5.3.2.1: 5 minutes).
    Greeting,
    /// The client's next command (RFC 5321 §4.5.3.2.7: 5 minutes; RFC 9051 §5.4: 30 minutes).
    Command,
    /// The server's reply to a command.
    Reply,
    /// The rest of a command or response that has begun.
    Remainder,
    /// The next part of a message or literal (RFC 5321 §4.5.3.2.5: 3 minutes). Each part is a new wait, so a driver
    /// should also require a minimum rate.
    Data,
    /// The server's reply to the end of a message (RFC 5321 §4.5.3.2.6: 10 minutes).
    DataReply,
    /// News from the server during IDLE (RFC 2177: a client ends IDLE within 29 minutes, and begins it again).
    Idle,
    /// The end of the TLS handshake.
    TlsHandshake,
    /// The end of a delay that a server imposes on a client, for example after a failed authentication. When it is over,
    /// `timed_out` continues the session. Or a pause in a computation of the client ([`COMPUTATION_PAUSE`]): `timed_out` and
    /// then `next_event` continue it.
    Delay,
    /// An answer of the application. The peer is waiting.
    Application,
    /// Nothing: the session is over.
    Nothing,
}

impl Wait {
    /// Creates a wait of at most `after`; [`Duration::MAX`] means without a limit.
    #[must_use]
    pub const fn new(awaited: WaitFor, after: Duration, generation: u32) -> Self {
        let unlimited = after.as_secs() == Duration::MAX.as_secs();
        Self { awaited, after: if unlimited { None } else { Some(after) }, generation }
    }

    /// Creates a wait without a limit.
    #[must_use]
    pub const fn forever(awaited: WaitFor, generation: u32) -> Self {
        Self { awaited, after: None, generation }
    }

    /// Returns the same wait with a limit of `limit` if it would last longer. [`Duration::MAX`] changes nothing.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        let limit = self.after.map_or(limit, |after| after.min(limit));
        Self::new(self.awaited, limit, self.generation)
    }
}

/// A point in time that a [`Deadline`] can compute with: `std::time::Instant` (feature `std`), or a [`Duration`] since
/// any fixed moment.
pub trait TimePoint: Copy + Ord {
    /// Returns the point in time `after` later, or `None` if it cannot be represented.
    fn checked_add(self, after: Duration) -> Option<Self>;
}

impl TimePoint for Duration {
    fn checked_add(self, after: Duration) -> Option<Self> {
        Self::checked_add(self, after)
    }
}

#[cfg(feature = "std")]
impl TimePoint for std::time::Instant {
    fn checked_add(self, after: Duration) -> Option<Self> {
        Self::checked_add(&self, after)
    }
}

/// The deadline of one session: turns a machine's [`Wait`] and the current time into the time to wait until.
///
/// A wait is armed once, when its generation changes. What arrives later does not extend it.
///
/// ```
/// use std::time::Duration;
/// use proto_mail::wait::{Deadline, Wait, WaitFor};
///
/// let wait = Wait::new(WaitFor::Command, Duration::from_secs(300), 1);
/// let mut deadline = Deadline::new();
/// let start = Duration::ZERO; // any clock: here, the time since the program began
/// deadline.arm(wait, start);
/// deadline.arm(wait, start + Duration::from_secs(200)); // the same wait: no change
/// assert_eq!(deadline.at(), Some(Duration::from_secs(300)));
/// assert!(deadline.is_due(Duration::from_secs(300)));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Deadline<T> {
    armed: Option<(WaitFor, u32)>,
    at: Option<T>,
}

impl<T: TimePoint> Deadline<T> {
    /// Creates a deadline that is not armed.
    #[must_use]
    pub const fn new() -> Self {
        Self { armed: None, at: None }
    }

    /// Arms the deadline if `wait` is a new wait. Returns true if it was.
    pub fn arm(&mut self, wait: Wait, now: T) -> bool {
        let wait_id = Some((wait.awaited, wait.generation));
        let is_new = self.armed != wait_id;
        if is_new {
            self.armed = wait_id;
            self.at = wait.after.and_then(|after| now.checked_add(after));
        }
        is_new
    }

    /// Returns when the wait ends; `None` if it has no limit or is not armed.
    #[must_use]
    pub const fn at(&self) -> Option<T> {
        self.at
    }

    /// Returns true if the wait has ended by `now`.
    #[must_use]
    pub fn is_due(&self, now: T) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// Moves the end of the wait by `by`, for example because output could not be sent for that long.
    pub fn postpone(&mut self, by: Duration) {
        self.at = self.at.and_then(|at| at.checked_add(by));
    }

    /// Disarms the deadline, so that the next call of [`arm`](Self::arm) counts from then, even for the same wait. A
    /// driver calls this after a `timed_out` that returned `Ok`.
    pub const fn disarm(&mut self) {
        self.armed = None;
        self.at = None;
    }
}

impl<T: TimePoint> Default for Deadline<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitFor {
    /// What an error says when the awaited event did not arrive in time.
    pub(crate) const fn timeout_text(self) -> &'static str {
        match self {
            Self::Greeting => {
                "the server sent no greeting in time: a server that expects TLS says nothing, so try implicit TLS, and \
                 check host and port"
            }
            Self::Command => "the client sent no command in time",
            Self::Reply => "the server did not reply in time: try again later",
            Self::Remainder => "the peer did not finish a command or response in time",
            Self::Data => "the next part of a message did not arrive in time",
            Self::DataReply => {
                "the server did not confirm the message in time: it may or may not have been delivered"
            }
            Self::Idle => "the server sent nothing during IDLE",
            Self::TlsHandshake => "the TLS handshake did not finish in time",
            Self::Delay => "the delay is over",
            Self::Application => "the application did not answer in time",
            Self::Nothing => "the session is over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_is_armed_once_per_generation() {
        let mut deadline = Deadline::new();
        assert_eq!((deadline.at(), deadline.is_due(Duration::MAX)), (None, false));
        let wait = Wait::new(WaitFor::Reply, 10 * SECOND, 1);
        assert!(deadline.arm(wait, SECOND));
        assert!(!deadline.arm(wait, 5 * SECOND));
        assert_eq!(deadline.at(), Some(11 * SECOND));
        assert!(!deadline.is_due(10 * SECOND) && deadline.is_due(11 * SECOND));
        assert!(deadline.arm(Wait { generation: 2, ..wait }, 5 * SECOND));
        assert_eq!(deadline.at(), Some(15 * SECOND));
        assert!(deadline.arm(Wait { awaited: WaitFor::Command, generation: 2, ..wait }, 6 * SECOND));
        assert_eq!(deadline.at(), Some(16 * SECOND));
    }

    #[test]
    fn a_wait_without_a_limit_is_never_due() {
        let mut deadline = Deadline::new();
        for wait in [
            Wait::forever(WaitFor::Application, 1),
            Wait::new(WaitFor::Command, Duration::MAX, 2),
            Wait::new(WaitFor::Command, Duration::from_secs(u64::MAX - 1), 3),
        ] {
            assert!(deadline.arm(wait, 2 * SECOND));
            assert_eq!(deadline.at(), None);
            assert!(!deadline.is_due(Duration::MAX));
        }
    }

    #[test]
    fn the_shorter_limit_counts() {
        let wait = Wait::new(WaitFor::Reply, 10 * SECOND, 1);
        assert_eq!(wait.at_most(SECOND).after, Some(SECOND));
        assert_eq!(wait.at_most(11 * SECOND), wait);
        assert_eq!(wait.at_most(Duration::MAX), wait);
        let forever = Wait::forever(WaitFor::Reply, 1);
        assert_eq!(forever.at_most(SECOND).after, Some(SECOND));
        assert_eq!(forever.at_most(Duration::MAX), forever);
    }

    #[test]
    fn a_deadline_can_be_postponed_and_disarmed() {
        let mut deadline = Deadline::new();
        let wait = Wait::new(WaitFor::Reply, 10 * SECOND, 1);
        deadline.arm(wait, SECOND);
        deadline.postpone(4 * SECOND);
        assert_eq!(deadline.at(), Some(15 * SECOND));
        deadline.disarm();
        assert_eq!(deadline.at(), None);
        assert!(deadline.arm(wait, 20 * SECOND));
        assert_eq!(deadline.at(), Some(30 * SECOND));
    }
}
