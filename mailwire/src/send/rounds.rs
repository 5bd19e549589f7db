//! Sessions and rounds: every message in as few sessions as the server lets it be, and those that wait once more
//! behind a pause.
//!
//! It knows when a session is over and when another is worth a try. What becomes of a message stands in its report.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use io_mio::Report;
use io_mio::delivery::{self, Answer, Clock, DeliveryReport, Obstacle, RetryPolicy, Status, SystemClock};
use proto_core::{Channel, Credentials};
use proto_smtp::Config;
use proto_smtp::client::Client;
use proto_smtp::types::Extension;

use super::queue::Queue;
use super::show::Tally;
use crate::connect::Way;
use crate::credentials;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::smtp::{Authenticate, Session, Task, with_session};

/// Sends what is in the queue, in so many sessions at once.
///
/// A failure is one before anything was known of any message; what happens later stands in the reports.
pub(super) fn deliver(
    way: &Way,
    credentials: Option<&Credentials>,
    policy: &RetryPolicy,
    mut queue: Queue<'_>,
    concurrency: usize,
    output: Output,
) -> Result<Tally, Failure> {
    let bar = output.progress(queue.octets(), "sending");
    queue.show_beside(&bar);
    let mut clock = Patient { clock: SystemClock::start(), output, bar: bar.clone() };
    // Rounds, and connections that came to nothing.
    let mut tries = 0;
    let failed = loop {
        let round = Round { way, credentials, policy, tries, queue: Mutex::new((&mut queue, concurrency)) };
        let (failure, failures) = round.run(concurrency, &clock);
        tries += 1 + failures;
        if failure.is_some() || tries >= policy.tries || !queue.waits() {
            break failure;
        }
        let chance = clock.clock.chance();
        clock.pause(policy.pause_after(tries, chance));
        queue.begin_round();
    };
    bar.finish_and_clear();
    match failed {
        Some(failure) if !queue.has_answer() => Err(failure),
        failure => {
            queue.give_up(failure);
            Ok(queue.finish())
        }
    }
}

/// Every message that is not waiting, once.
struct Round<'a, 'q> {
    way: &'a Way,
    credentials: Option<&'a Credentials>,
    policy: &'a RetryPolicy,
    /// What was tried before.
    tries: u32,
    /// The messages, and how many are at work on them.
    queue: Mutex<(&'a mut Queue<'q>, usize)>,
}

impl<'q> Round<'_, 'q> {
    /// Works in so many threads. Returns why nothing can be sent any more, and how many connections in a row came to
    /// nothing.
    fn run(&self, concurrency: usize, clock: &Patient) -> (Option<Failure>, u32) {
        std::thread::scope(|scope| {
            let more = |_| scope.spawn(|| self.work(clock.clone()));
            let others: Vec<_> = (1..concurrency).map(more).collect();
            let mut ended = vec![self.work(clock.clone())];
            ended.extend(
                others
                    .into_iter()
                    .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            );
            let failures = ended.iter().map(|(_, failures)| *failures).max().unwrap_or(0);
            (ended.into_iter().find_map(|(failure, _)| failure), failures)
        })
    }

    /// Works in one session after the other until there is nothing left.
    fn work(&self, mut clock: Patient) -> (Option<Failure>, u32) {
        let mut failures = 0;
        while self.with(|queue, _| queue.has_more()) {
            let connector = self.way.connector(|_: &Report| {});
            let config = Config::default().dialect(self.with(|queue, _| queue.envelope().dialect()));
            let failure =
                match with_session(self.way, &connector, config, Work { round: self, clock: &clock }) {
                    Ok(Ended::AtOnce) if self.with(|queue, _| queue.has_more()) => {
                        Failure::new(Kind::TryAgain, "the server ends each session with its first message")
                            .advise("try again later")
                    }
                    Ok(_) => {
                        failures = 0;
                        continue;
                    }
                    Err(failure) => failure,
                };
            // Servers take so many sessions and no more. The others go on; who is the last tries again.
            let others = self.with(|_, at_work| {
                let others = *at_work - 1;
                *at_work = others.max(1);
                others
            });
            if others > 0 {
                clock.hint(&format!("{}: going on in {others} sessions at most", failure.what));
                return (None, 0);
            }
            failures += 1;
            let tries = self.tries + failures;
            if !failure.is_transient() || tries >= self.policy.tries {
                return (Some(failure), failures);
            }
            let chance = clock.clock.chance();
            clock.pause(self.policy.pause_after(tries, chance));
        }
        (None, failures)
    }

    fn with<T>(&self, give: impl FnOnce(&mut Queue<'q>, &mut usize) -> T) -> T {
        let mut guard = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, at_work) = &mut *guard;
        give(queue, at_work)
    }
}

/// How a session ended that began well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server ended it with the first message.
    AtOnce,
    /// It was of use.
    Late,
}

/// One session: messages until there are none left, or the session is over.
struct Work<'a, 'r, 'q> {
    round: &'a Round<'r, 'q>,
    clock: &'a Patient,
}

impl Task for Work<'_, '_, '_> {
    type Output = Ended;
    type Error = Failure;

    fn run<C: Channel>(self, session: &mut Session<C>) -> Result<Ended, Failure>
    where
        Client<C>: Authenticate,
    {
        let Self { round, clock } = self;
        session.ready(|_| Ok::<_, Failure>(()))?;
        if let Some(credentials) = round.credentials {
            session.log_in(credentials::copy(credentials), round.way.mechanism())?;
        }
        let offered = session.connection.machine().extensions().set();
        let envelope = round.with(|queue, _| queue.envelope());
        if envelope.needs_chunking() && !offered.contains(Extension::Chunking) {
            return Err(super::no_chunking());
        }
        if let Some(missing) = envelope.not_offered(offered) {
            clock.hint(&missing);
        }
        let mut first = true;
        while let Some((mut job, mut message)) = round.with(|queue, _| queue.next()) {
            let sent = |octets| clock.bar.inc(octets);
            let mut time = clock.clock;
            let tried =
                delivery::transact(&mut session.connection, &mut message, &mut job.report, &mut time, sent);
            let client = session.connection.machine();
            let over = client.is_closed() || !client.is_idle();
            let delivered = job.report.pending().is_empty();
            let halt = round.with(|queue, _| {
                match tried {
                    Err(error) => queue.invalid(job, &Failure::from(error)),
                    // What the session has no room for is the first in the next one.
                    Ok(()) if !first && was_not_begun(&job.report) => {
                        queue.give_back(job);
                        return Err(Ended::Late);
                    }
                    Ok(()) => queue.settle(job),
                }
                Ok(queue.halt())
            });
            match halt {
                Err(ended) => return Ok(ended),
                Ok(Some(failure)) => return Err(failure),
                Ok(None) if over => return Ok(if first && !delivered { Ended::AtOnce } else { Ended::Late }),
                Ok(None) => first = false,
            }
        }
        Ok(Ended::Late)
    }
}

/// Whether nothing came of a message, since the session ended before it: the server takes no more messages in one
/// session, or has gone in between.
fn was_not_begun(report: &DeliveryReport) -> bool {
    let mut waiting = report.recipients.iter().filter(|one| one.status == Status::Retry).peekable();
    let unanswered = |answer: &Answer| matches!(answer.code, None | Some(421));
    waiting.peek().is_some() && waiting.all(|one| one.answer.as_ref().is_some_and(unanswered))
}

impl Obstacle for Failure {
    fn is_transient(&self) -> bool {
        self.kind == Kind::TryAgain
    }

    fn what(&self) -> String {
        self.what.clone()
    }
}

/// The clock of this machine, which says that it waits.
#[derive(Clone)]
struct Patient {
    clock: SystemClock,
    output: Output,
    bar: ProgressBar,
}

impl Patient {
    fn pause(&mut self, pause: Duration) {
        let seconds = pause.as_secs_f64();
        self.hint(&format!("the server says to try again later: waiting {seconds:.1} s"));
        self.clock.pause(pause);
    }

    fn hint(&self, text: &str) {
        self.bar.suspend(|| self.output.hint(text));
    }
}
