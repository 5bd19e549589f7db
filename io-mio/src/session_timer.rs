//! The time limits of one session. The caller passes the time in.

use std::time::Instant;

use proto_mail::{Deadline, Wait, WaitFor};

use crate::deadlines::{Deadlines, MinimumRate};

/// Which limit of a session passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// What the machine waits for did not arrive in time.
    Wait(WaitFor),
    /// A message arrives below the minimum rate.
    TooSlow,
    /// The peer reads output below the minimum rate.
    Stalled,
}

/// The timer of one session.
///
/// * A new generation of a wait starts its limit again. Within a generation nothing does, however many bytes arrive.
/// * While output is blocked, the limit pauses: a peer that is busy reading is not late. Output has its own minimum rate.
/// * The limit of a reply starts again whenever bytes are sent: the peer cannot answer what it has not received.
/// * Each part of a message is a new generation, so a message has a minimum rate as well.
#[derive(Debug, Default)]
pub(crate) struct SessionTimer {
    wait: Option<WaitFor>,
    deadline: Deadline<Instant>,
    blocked_since: Option<Instant>,
    sent: u64,
    incoming: Option<Window>,
    outgoing: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    until: Option<Instant>,
    from: u64,
}

/// What a timer looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionActivity {
    pub(crate) now: Instant,
    pub(crate) wait: Wait,
    /// How many bytes were received and sent so far, on the wire.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Whether output waits and the socket does not accept it.
    pub(crate) blocked: bool,
    /// Whether this side reads: back-pressure is not the peer's fault.
    pub(crate) reading: bool,
}

impl SessionTimer {
    /// Takes the state of the session and returns when to look again at the latest.
    pub(crate) fn observe(&mut self, see: SessionActivity, deadlines: &Deadlines) -> Option<Instant> {
        self.observe_wait(see, deadlines);
        let rate = deadlines.rate;
        let slow = see.wait.awaited == WaitFor::Data && see.reading && !see.blocked;
        watch(&mut self.incoming, slow, see.received, see.now, rate);
        watch(&mut self.outgoing, see.blocked, see.sent, see.now, rate);
        self.deadline()
    }

    /// Returns which limit has passed, if any. A window with enough bytes starts again.
    pub(crate) fn expired(&mut self, see: SessionActivity, deadlines: &Deadlines) -> Option<Expired> {
        self.observe(see, deadlines);
        if see.blocked {
            return overdue(&mut self.outgoing, see.sent, see.now, deadlines.rate)
                .then_some(Expired::Stalled);
        }
        match self.wait {
            Some(awaited) if self.deadline.is_due(see.now) => Some(Expired::Wait(awaited)),
            _ => {
                overdue(&mut self.incoming, see.received, see.now, deadlines.rate).then_some(Expired::TooSlow)
            }
        }
    }

    /// Starts the limit of the same generation again: the machine handled a timeout and goes on.
    pub(crate) fn rearm(&mut self) {
        self.wait = None;
        self.deadline.disarm();
    }

    fn observe_wait(&mut self, see: SessionActivity, deadlines: &Deadlines) {
        let wait = see.wait.at_most(deadlines.limit(see.wait.awaited));
        let is_reply = matches!(see.wait.awaited, WaitFor::Reply | WaitFor::DataReply);
        let has_sent = is_reply && see.sent != self.sent;
        self.sent = see.sent;
        if has_sent {
            self.deadline.disarm();
        }
        self.wait = Some(wait.awaited);
        if self.deadline.arm(wait, see.now) {
            self.blocked_since = None;
        } else if let (Some(since), false) = (self.blocked_since, see.blocked) {
            // The time during which output was blocked does not count.
            self.deadline.postpone(see.now.saturating_duration_since(since));
        }
        self.blocked_since = match self.blocked_since {
            Some(since) if see.blocked => Some(since),
            None if see.blocked => Some(see.now),
            _ => None,
        };
    }

    fn deadline(&self) -> Option<Instant> {
        let wait = match (self.blocked_since, &self.wait) {
            (None, Some(_)) => self.deadline.at(),
            _ => None,
        };
        let windows = [self.incoming, self.outgoing].into_iter().flatten().filter_map(|window| window.until);
        windows.chain(wait).min()
    }
}

fn watch(window: &mut Option<Window>, on: bool, count: u64, now: Instant, rate: MinimumRate) {
    match (&window, on) {
        (Some(_), true) | (None, false) => {}
        (None, true) => *window = Some(Window { until: now.checked_add(rate.per), from: count }),
        (Some(_), false) => *window = None,
    }
}

fn overdue(window: &mut Option<Window>, count: u64, now: Instant, rate: MinimumRate) -> bool {
    let Some(seen) = *window else { return false };
    if seen.until.is_none_or(|until| now < until) {
        return false;
    }
    if count.saturating_sub(seen.from) < rate.bytes {
        return true;
    }
    *window = Some(Window { until: now.checked_add(rate.per), from: count });
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn see(now: Instant, awaited: WaitFor, generation: u32) -> SessionActivity {
        let wait = Wait::new(awaited, 10 * SECOND, generation);
        SessionActivity { now, wait, received: 0, sent: 0, blocked: false, reading: true }
    }

    #[test]
    fn dripped_bytes_do_not_extend_a_wait() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        for second in 0..10 {
            let mut reading = see(start + second * SECOND, WaitFor::Command, 1);
            reading.received = u64::from(second);
            assert_eq!(clock.expired(reading, &deadlines), None);
            assert_eq!(clock.observe(reading, &deadlines), Some(start + 10 * SECOND));
        }
        let late = see(start + 10 * SECOND, WaitFor::Command, 1);
        assert_eq!(clock.expired(late, &deadlines), Some(Expired::Wait(WaitFor::Command)));
        let next = see(start + 10 * SECOND, WaitFor::Command, 2);
        assert_eq!(clock.expired(next, &deadlines), None, "a new generation extends it");
    }

    #[test]
    fn a_wait_pauses_while_output_is_blocked() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        clock.observe(see(start, WaitFor::Reply, 1), &deadlines);
        let mut blocked = see(start + 2 * SECOND, WaitFor::Reply, 1);
        blocked.blocked = true;
        clock.observe(blocked, &deadlines);
        let freed = see(start + 32 * SECOND, WaitFor::Reply, 1);
        assert_eq!(clock.expired(freed, &deadlines), None);
        assert_eq!(clock.observe(freed, &deadlines), Some(start + 40 * SECOND));
    }

    #[test]
    fn the_limit_of_a_reply_starts_when_the_command_is_sent() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = SessionActivity { sent, ..see(start + second * SECOND, WaitFor::Reply, 1) };
            assert_eq!(clock.observe(reading, &deadlines), Some(start + (second + 10) * SECOND));
        }
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = SessionActivity { sent, ..see(start + second * SECOND, WaitFor::Command, 2) };
            assert_eq!(
                clock.observe(reading, &deadlines),
                Some(start + 10 * SECOND),
                "a command is not a reply"
            );
        }
    }

    #[test]
    fn a_message_must_keep_the_minimum_rate() {
        let (start, mut clock) = (Instant::now(), SessionTimer::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let mut seen = None;
        for second in 0..12u32 {
            // Each byte is a new part with a new generation: the wait itself never ends.
            let mut reading = see(start + second * SECOND, WaitFor::Data, second);
            reading.received = if second < 5 { 30 * u64::from(second) } else { 150 + u64::from(second) };
            seen = seen.or(clock.expired(reading, &deadlines).map(|why| (second, why)));
        }
        assert_eq!(
            seen,
            Some((10, Expired::TooSlow)),
            "the first period was fast enough, the second was not"
        );
    }

    #[test]
    fn output_must_be_read_at_the_minimum_rate() {
        let (start, mut clock) = (Instant::now(), SessionTimer::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let at = |second: u32, sent| SessionActivity {
            sent,
            blocked: true,
            ..see(start + second * SECOND, WaitFor::Reply, 1)
        };
        assert_eq!(clock.expired(at(0, 0), &deadlines), None);
        assert_eq!(clock.expired(at(5, 500), &deadlines), None);
        assert_eq!(clock.expired(at(10, 501), &deadlines), Some(Expired::Stalled));
    }
}
