//! When a session's patience ends: the clock of one session, and the queue of all of them.
//!
//! This file knows waits, rates and instants. It reads no clock: the loop passes the time in.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use proto_mail::{Deadline, Wait, WaitFor};

/// The least rate at which a message must come in, or output be taken: a peer below it is cut off, however often
/// it sends an octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinimumRate {
    /// So many octets ...
    pub bytes: u64,
    /// ... in each period of this length.
    pub per: Duration,
}

impl Default for MinimumRate {
    /// 4 KiB a minute.
    fn default() -> Self {
        Self { bytes: 4096, per: Duration::from_secs(60) }
    }
}

/// How long is waited at most, whatever a machine allows. A machine names each wait with its own (RFC) length;
/// the shorter of the two counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// For a name's addresses.
    pub lookup: Duration,
    /// For a connection, all addresses together.
    pub connect: Duration,
    /// For a greeting.
    pub greeting: Duration,
    /// For a command, as a server.
    pub command: Duration,
    /// For an answer, the rest of one, or the next part of a message: an absence of progress.
    pub reply: Duration,
    /// For the answer to the end of a message.
    pub data_end: Duration,
    /// For the TLS handshake.
    pub tls: Duration,
    /// For a client to log in, as a server: from its connection until the application says
    /// [`logged_in`](crate::Context::logged_in), TLS included.
    pub login: Duration,
    /// The least rate of messages and of output.
    pub rate: MinimumRate,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            lookup: Duration::from_secs(15),
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(5 * 60),
            command: Duration::MAX,
            reply: Duration::MAX,
            data_end: Duration::MAX,
            tls: Duration::from_secs(30),
            login: Duration::MAX,
            rate: MinimumRate::default(),
        }
    }
}

impl Deadlines {
    /// The same patience for everything: what a program's `--timeout` means.
    ///
    /// Except for the answer to the end of a message, which is worth ten minutes at least (RFC 5321 §4.5.3.2.6): who
    /// gives up earlier does not know whether the message was delivered, and sends it twice.
    #[must_use]
    pub fn uniform(limit: Duration) -> Self {
        Self {
            lookup: limit,
            connect: limit,
            greeting: limit,
            command: Duration::MAX,
            reply: limit,
            data_end: limit.max(Duration::from_secs(600)),
            tls: limit,
            login: Duration::MAX,
            rate: MinimumRate { bytes: 1, per: limit },
        }
    }

    /// What RFC 5321 §4.5.3.2 asks of a client that delivers mail: each answer has the time that the machine gives it, and
    /// a part of a message three minutes to be taken (§4.5.3.2.5).
    #[must_use]
    pub fn for_delivery() -> Self {
        Self { rate: MinimumRate { bytes: 1, per: Duration::from_secs(3 * 60) }, ..Self::default() }
    }

    /// How long this may be awaited, as far as the driver is concerned.
    #[must_use]
    pub const fn limit(&self, awaited: WaitFor) -> Duration {
        match awaited {
            WaitFor::Greeting => self.greeting,
            WaitFor::Command => self.command,
            WaitFor::Reply | WaitFor::Remainder | WaitFor::Data => self.reply,
            WaitFor::DataReply => self.data_end,
            WaitFor::TlsHandshake => self.tls,
            _ => Duration::MAX,
        }
    }
}

/// How long this wait may last: [`Duration::MAX`] if there is no limit.
pub(crate) fn longest(wait: Wait, deadlines: &Deadlines) -> Duration {
    wait.at_most(deadlines.limit(wait.awaited)).after.unwrap_or(Duration::MAX)
}

/// What a clock says when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The machine's wait is over.
    Wait(WaitFor),
    /// Too little came of a message.
    TooSlow,
    /// Too little of the output was taken.
    Stalled,
}

/// One session's clock.
///
/// * A new generation arms the wait anew; the same generation never does, whatever trickles in.
/// * While output cannot leave, the wait stands still: a peer that is busy reading is not late. The output's own
///   least rate is watched instead.
/// * What we say ourselves moves the wait for an answer to it: nobody can answer what has not left.
/// * While a message comes in, generations move with each part, so its least rate is watched too.
#[derive(Debug, Default)]
pub(crate) struct Clock {
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

/// What a clock looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) now: Instant,
    pub(crate) wait: Wait,
    /// How many octets came and went so far, on the wire.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Whether output waits that the socket does not take.
    pub(crate) blocked: bool,
    /// Whether we read at all: back-pressure is not the peer's fault.
    pub(crate) reading: bool,
}

impl Clock {
    /// Looks at the session and says when to look again at the latest.
    pub(crate) fn observe(&mut self, see: Reading, deadlines: &Deadlines) -> Option<Instant> {
        self.observe_wait(see, deadlines);
        let rate = deadlines.rate;
        let slow = see.wait.awaited == WaitFor::Data && see.reading && !see.blocked;
        watch(&mut self.incoming, slow, see.received, see.now, rate);
        watch(&mut self.outgoing, see.blocked, see.sent, see.now, rate);
        self.deadline()
    }

    /// What has run out by now, if anything. An expired window that saw enough begins anew.
    pub(crate) fn expired(&mut self, see: Reading, deadlines: &Deadlines) -> Option<Expired> {
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

    /// The machine took a time-out and goes on: the same generation counts anew.
    pub(crate) fn rearm(&mut self) {
        self.wait = None;
        self.deadline.disarm();
    }

    fn observe_wait(&mut self, see: Reading, deadlines: &Deadlines) {
        let wait = see.wait.at_most(deadlines.limit(see.wait.awaited));
        let answer = matches!(see.wait.awaited, WaitFor::Reply | WaitFor::DataReply);
        let spoke = answer && see.sent != self.sent;
        self.sent = see.sent;
        if spoke {
            self.deadline.disarm();
        }
        self.wait = Some(wait.awaited);
        if self.deadline.arm(wait, see.now) {
            self.blocked_since = None;
        } else if let (Some(since), false) = (self.blocked_since, see.blocked) {
            // What was blocked for a while is due that much later.
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

/// Who is to be looked at when. Entries may be stale: whoever is looked at too early says when to look again.
#[derive(Debug)]
pub(crate) struct Timers<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Timers<K> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// When the first entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// An entry that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn see(now: Instant, awaited: WaitFor, generation: u32) -> Reading {
        let wait = Wait::new(awaited, 10 * SECOND, generation);
        Reading { now, wait, received: 0, sent: 0, blocked: false, reading: true }
    }

    #[test]
    fn a_drip_does_not_extend_a_wait() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), Clock::default());
        for second in 0..10 {
            let mut reading = see(start + second * SECOND, WaitFor::Command, 1);
            reading.received = u64::from(second);
            assert_eq!(clock.expired(reading, &deadlines), None);
            assert_eq!(clock.observe(reading, &deadlines), Some(start + 10 * SECOND));
        }
        let late = see(start + 10 * SECOND, WaitFor::Command, 1);
        assert_eq!(clock.expired(late, &deadlines), Some(Expired::Wait(WaitFor::Command)));
        let next = see(start + 10 * SECOND, WaitFor::Command, 2);
        assert_eq!(clock.expired(next, &deadlines), None, "a complete step does extend it");
    }

    #[test]
    fn a_wait_stands_still_while_output_cannot_leave() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), Clock::default());
        clock.observe(see(start, WaitFor::Reply, 1), &deadlines);
        let mut blocked = see(start + 2 * SECOND, WaitFor::Reply, 1);
        blocked.blocked = true;
        clock.observe(blocked, &deadlines);
        let freed = see(start + 32 * SECOND, WaitFor::Reply, 1);
        assert_eq!(clock.expired(freed, &deadlines), None);
        assert_eq!(clock.observe(freed, &deadlines), Some(start + 40 * SECOND));
    }

    #[test]
    fn an_answer_is_awaited_from_when_the_question_has_left() {
        let (start, deadlines, mut clock) = (Instant::now(), Deadlines::default(), Clock::default());
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = Reading { sent, ..see(start + second * SECOND, WaitFor::Reply, 1) };
            assert_eq!(clock.observe(reading, &deadlines), Some(start + (second + 10) * SECOND));
        }
        for second in 0..30 {
            let sent = u64::from(second);
            let reading = Reading { sent, ..see(start + second * SECOND, WaitFor::Command, 2) };
            assert_eq!(
                clock.observe(reading, &deadlines),
                Some(start + 10 * SECOND),
                "no command is an answer"
            );
        }
    }

    #[test]
    fn a_message_must_keep_the_least_rate() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let mut seen = None;
        for second in 0..12u32 {
            // Each octet is a new part with a new generation: the wait itself never ends.
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
    fn output_must_be_taken_at_the_least_rate() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let deadlines =
            Deadlines { rate: MinimumRate { bytes: 100, per: 5 * SECOND }, ..Deadlines::default() };
        let at = |second: u32, sent| Reading {
            sent,
            blocked: true,
            ..see(start + second * SECOND, WaitFor::Reply, 1)
        };
        assert_eq!(clock.expired(at(0, 0), &deadlines), None);
        assert_eq!(clock.expired(at(5, 500), &deadlines), None);
        assert_eq!(clock.expired(at(10, 501), &deadlines), Some(Expired::Stalled));
    }

    #[test]
    fn timers_come_in_order() {
        let now = Instant::now();
        let mut timers = Timers::new();
        for key in [3u32, 1, 2] {
            timers.push(now + key * SECOND, key);
        }
        assert_eq!(timers.next(), Some(now + SECOND));
        assert_eq!(timers.pop_due(now), None);
        let due: Vec<u32> =
            std::iter::from_fn(|| timers.pop_due(now + 2 * SECOND)).map(|(_, key)| key).collect();
        assert_eq!(due, [1, 2]);
    }
}
