//! Sessions and rounds: every message in as few sessions as the server lets it be, and those that wait once more
//! behind a pause.
//!
//! It knows when a session is over and when another is worth a try. What becomes of a message stands in its report.

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

/// Sends what is in the queue.
///
/// A failure is one before anything was known of any message; what happens later stands in the reports.
pub(super) fn deliver(
    way: &Way,
    credentials: Option<&Credentials>,
    policy: &RetryPolicy,
    mut queue: Queue<'_>,
    output: Output,
) -> Result<Tally, Failure> {
    let bar = output.progress(queue.octets(), "sending");
    let mut clock = Patient { clock: SystemClock::start(), output, bar: bar.clone() };
    // What was tried: rounds, and connections that came to nothing, one behind the other.
    let (mut rounds, mut failures) = (0, 0);
    let failed = loop {
        if !queue.has_more() && rounds == 0 {
            // Nothing is open: nobody needs to be called.
            break None;
        }
        let connector = way.connector(|_: &Report| {});
        let credentials = credentials.map(credentials::copy);
        let config = Config::default().dialect(queue.envelope().dialect());
        let work = Work { way, credentials, queue: &mut queue, clock: &mut clock };
        let failure = match with_session(way, &connector, config, work) {
            Ok(Ended::AtOnce) if queue.has_more() => Some(
                Failure::new(Kind::TryAgain, "the server ends each session with its first message")
                    .advise("try again later"),
            ),
            Ok(_) => None,
            Err(failure) => Some(failure),
        };
        match &failure {
            // The session is over before the round is.
            None if queue.has_more() => {
                failures = 0;
                continue;
            }
            None => rounds += 1,
            Some(_) => failures += 1,
        }
        let hopeless = failure.as_ref().is_some_and(|failure| !failure.is_transient());
        let tries: u32 = rounds + failures;
        if hopeless || tries >= policy.tries || (failure.is_none() && !queue.waits()) {
            break failure;
        }
        let chance = clock.clock.chance();
        clock.pause(policy.pause_after(tries, chance));
        if failure.is_none() {
            queue.begin_round();
        }
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

/// How a session ended that began well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server ended it with the first message.
    AtOnce,
    /// It was of use.
    Late,
}

/// One session: messages until there are none left, or the session is over.
struct Work<'a, 'q> {
    way: &'a Way,
    credentials: Option<Credentials>,
    queue: &'a mut Queue<'q>,
    clock: &'a mut Patient,
}

impl Task for Work<'_, '_> {
    type Output = Ended;
    type Error = Failure;

    fn run<C: Channel>(self, session: &mut Session<C>) -> Result<Ended, Failure>
    where
        Client<C>: Authenticate,
    {
        session.ready(|_| Ok::<_, Failure>(()))?;
        if let Some(credentials) = self.credentials {
            session.log_in(credentials, self.way.mechanism())?;
        }
        let offered = session.connection.machine().extensions().set();
        let envelope = self.queue.envelope();
        if envelope.needs_chunking() && !offered.contains(Extension::Chunking) {
            return Err(super::no_chunking());
        }
        if let Some(missing) = envelope.not_offered(offered) {
            self.clock.hint(&missing);
        }
        let mut first = true;
        while let Some((mut job, mut message)) = self.queue.next() {
            let bar = &self.clock.bar;
            let sent = |octets| bar.inc(octets);
            let mut clock = SystemClock::start();
            let tried =
                delivery::transact(&mut session.connection, &mut message, &mut job.report, &mut clock, sent);
            let client = session.connection.machine();
            let over = client.is_closed() || !client.is_idle();
            let delivered = job.report.pending().is_empty();
            match tried {
                Err(error) => self.queue.invalid(job, &Failure::from(error)),
                // What the session has no room for is the first in the next one.
                Ok(()) if !first && was_not_begun(&job.report) => {
                    self.queue.give_back(job);
                    return Ok(Ended::Late);
                }
                Ok(()) => self.queue.settle(job),
            }
            if let Some(failure) = self.queue.halt() {
                return Err(failure);
            }
            if over {
                return Ok(if first && !delivered { Ended::AtOnce } else { Ended::Late });
            }
            first = false;
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
