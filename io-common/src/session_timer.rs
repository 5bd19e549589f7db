//! The time limits of one session. The caller passes the time in.

use std::time::Instant;

use proto_mail::{Deadline, Wait, WaitFor};

use crate::deadlines::{Deadlines, MinimumRate};

/// Which limit of a session passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredLimit {
    /// What the machine waits for did not arrive in time.
    Wait(WaitFor),
    /// A message arrives below the minimum rate.
    TooSlow,
    /// The peer reads output below the minimum rate.
    Stalled,
}

/// The timer of one session.
///
/// * A new generation of a wait starts its limit again. Within a generation, received bytes do not start it again.
/// * While output is blocked, the limit pauses: a peer that is busy reading is not late. Output has its own minimum rate.
/// * The limit of a reply starts again whenever bytes are sent: the peer cannot answer what it has not received.
/// * Each part of a message is a new generation, so a message has a minimum rate as well.
#[derive(Debug, Default)]
pub struct SessionTimer {
    wait: Option<WaitFor>,
    deadline: Deadline<Instant>,
    blocked_since: Option<Instant>,
    sent: u64,
    incoming: Option<RateWindow>,
    outgoing: Option<RateWindow>,
}

/// A period in which a minimum number of bytes must be transferred.
#[derive(Debug, Clone, Copy)]
struct RateWindow {
    until: Option<Instant>,
    /// The byte count at its start.
    from: u64,
}

/// What a timer measures: the state of a session at one moment.
#[derive(Debug, Clone, Copy)]
pub struct SessionActivity {
    /// The time.
    pub now: Instant,
    /// What the machine waits for.
    pub wait: Wait,
    /// How many bytes were received so far, on the wire.
    pub received: u64,
    /// How many bytes were sent so far, on the wire.
    pub sent: u64,
    /// Whether output waits and the socket does not accept it.
    pub blocked: bool,
    /// Whether this side reads: back-pressure is not the peer's fault.
    pub reading: bool,
}

impl SessionTimer {
    /// Takes the state of the session and returns when to look again at the latest.
    pub fn observe(&mut self, activity: SessionActivity, deadlines: &Deadlines) -> Option<Instant> {
        self.observe_wait(activity, deadlines);
        let rate = deadlines.rate;
        let receives_message =
            activity.wait.awaited == WaitFor::Data && activity.reading && !activity.blocked;
        update_window(&mut self.incoming, receives_message, activity.received, activity.now, rate);
        update_window(&mut self.outgoing, activity.blocked, activity.sent, activity.now, rate);
        self.deadline()
    }

    /// Returns which limit has passed, if any. A window with enough bytes starts again.
    pub fn expired_limit(
        &mut self,
        activity: SessionActivity,
        deadlines: &Deadlines,
    ) -> Option<ExpiredLimit> {
        self.observe(activity, deadlines);
        if activity.blocked {
            return ended_below_rate(&mut self.outgoing, activity.sent, activity.now, deadlines.rate)
                .then_some(ExpiredLimit::Stalled);
        }
        match self.wait {
            Some(awaited) if self.deadline.is_due(activity.now) => Some(ExpiredLimit::Wait(awaited)),
            _ => ended_below_rate(&mut self.incoming, activity.received, activity.now, deadlines.rate)
                .then_some(ExpiredLimit::TooSlow),
        }
    }

    /// Starts the limit of the same generation again: the machine handled a timeout and goes on.
    pub fn rearm(&mut self) {
        self.wait = None;
        self.deadline.disarm();
    }

    fn observe_wait(&mut self, activity: SessionActivity, deadlines: &Deadlines) {
        let wait = activity.wait.at_most(deadlines.limit(activity.wait.awaited));
        let is_reply = matches!(activity.wait.awaited, WaitFor::Reply | WaitFor::DataReply);
        let has_sent = is_reply && activity.sent != self.sent;
        self.sent = activity.sent;
        if has_sent {
            self.deadline.disarm();
        }
        self.wait = Some(wait.awaited);
        if self.deadline.arm(wait, activity.now) {
            self.blocked_since = None;
        } else if let (Some(since), false) = (self.blocked_since, activity.blocked) {
            // The time during which output was blocked does not count.
            self.deadline.postpone(activity.now.saturating_duration_since(since));
        }
        self.blocked_since = match self.blocked_since {
            Some(since) if activity.blocked => Some(since),
            None if activity.blocked => Some(activity.now),
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

/// Starts the window when its direction is measured, and ends it when it no longer is.
fn update_window(
    window: &mut Option<RateWindow>,
    measured: bool,
    count: u64,
    now: Instant,
    rate: MinimumRate,
) {
    match (&window, measured) {
        (Some(_), true) | (None, false) => {}
        (None, true) => *window = Some(RateWindow { until: now.checked_add(rate.per), from: count }),
        (Some(_), false) => *window = None,
    }
}

/// Returns whether the window ended with fewer bytes than the minimum. A window with enough bytes starts again.
fn ended_below_rate(window: &mut Option<RateWindow>, count: u64, now: Instant, rate: MinimumRate) -> bool {
    let Some(current) = *window else { return false };
    if current.until.is_none_or(|until| now < until) {
        return false;
    }
    if count.saturating_sub(current.from) < rate.bytes {
        return true;
    }
    *window = Some(RateWindow { until: now.checked_add(rate.per), from: count });
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity(now: Instant, awaited: WaitFor, generation: u32) -> SessionActivity {
        let wait = Wait::new(awaited, 10 * SECOND, generation);
        SessionActivity { now, wait, received: 0, sent: 0, blocked: false, reading: true }
    }

    #[test]
    fn dripped_bytes_do_not_extend_a_wait() {
        let (start, deadlines, mut timer) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        for second in 0..10 {
            let mut reading = activity(start + second * SECOND, WaitFor::Command, 1);
            reading.received = u64::from(second);
            assert_eq!(timer.expired_limit(reading, &deadlines), None);
            assert_eq!(timer.observe(reading, &deadlines), Some(start + 10 * SECOND));
        }
        let late = activity(start + 10 * SECOND, WaitFor::Command, 1);
        assert_eq!(timer.expired_limit(late, &deadlines), Some(ExpiredLimit::Wait(WaitFor::Command)));
        let next = activity(start + 10 * SECOND, WaitFor::Command, 2);
        assert_eq!(timer.expired_limit(next, &deadlines), None, "a new generation extends it");
    }

    #[test]
    fn a_wait_pauses_while_output_is_blocked() {
        let (start, deadlines, mut timer) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        timer.observe(activity(start, WaitFor::Reply, 1), &deadlines);
        let mut blocked = activity(start + 2 * SECOND, WaitFor::Reply, 1);
        blocked.blocked = true;
        timer.observe(blocked, &deadlines);
        let freed = activity(start + 32 * SECOND, WaitFor::Reply, 1);
        assert_eq!(timer.expired_limit(freed, &deadlines), None);
        assert_eq!(timer.observe(freed, &deadlines), Some(start + 40 * SECOND));
    }

    #[test]
    fn the_limit_of_a_reply_starts_when_the_command_is_sent() {
        let (start, deadlines, mut timer) = (Instant::now(), Deadlines::default(), SessionTimer::default());
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = SessionActivity { sent, ..activity(start + second * SECOND, WaitFor::Reply, 1) };
            assert_eq!(timer.observe(reading, &deadlines), Some(start + (second + 10) * SECOND));
        }
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = SessionActivity { sent, ..activity(start + second * SECOND, WaitFor::Command, 2) };
            assert_eq!(
                timer.observe(reading, &deadlines),
                Some(start + 10 * SECOND),
                "a command is not a reply"
            );
        }
    }

    #[test]
    fn a_message_must_keep_the_minimum_rate() {
        let (start, mut timer) = (Instant::now(), SessionTimer::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let mut seen = None;
        for second in 0..12u32 {
            // Each byte is a new part with a new generation: the wait itself never ends.
            let mut reading = activity(start + second * SECOND, WaitFor::Data, second);
            reading.received = if second < 5 { 30 * u64::from(second) } else { 150 + u64::from(second) };
            seen = seen.or(timer.expired_limit(reading, &deadlines).map(|why| (second, why)));
        }
        assert_eq!(
            seen,
            Some((10, ExpiredLimit::TooSlow)),
            "the first period was fast enough, the second was not"
        );
    }

    #[test]
    fn output_must_be_read_at_the_minimum_rate() {
        let (start, mut timer) = (Instant::now(), SessionTimer::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let at = |second: u32, sent| SessionActivity {
            sent,
            blocked: true,
            ..activity(start + second * SECOND, WaitFor::Reply, 1)
        };
        assert_eq!(timer.expired_limit(at(0, 0), &deadlines), None);
        assert_eq!(timer.expired_limit(at(5, 500), &deadlines), None);
        assert_eq!(timer.expired_limit(at(10, 501), &deadlines), Some(ExpiredLimit::Stalled));
    }
}
