//! A run of the command: its sessions, what it writes down behind each try, and what it tells of each message.
//!
//! It knows when a run ends early. Tries, pauses and sessions are those of [`io_mio::delivery`]; where messages come
//! from, `orders` knows.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use io_mio::delivery::{
    DeliveryReport, DeliveryResult, DeliveryStage, DeliveryStatus, Diagnostic, Dispatcher, Journal, Pool,
    PoolLimits, RecipientReport, RetryPolicy, Retryable, Route, StopSignal, SystemClock,
};
use proto_mail::{Channel, Cleartext, Credentials, Secure};
use proto_smtp::Config;
use proto_smtp::client::Client;
use proto_smtp::types::{Capabilities, Extension, ExtensionSet};

use super::envelope::Envelope;
use super::journal;
use super::ledger::Ledger;
use super::octets::Octets;
use super::orders::{Job, Messages, Orders};
use super::show::{self, Tally};
use super::stopping::Gate;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::smtp::{Authenticate, Session};

/// So many recipients are waited for at most, in all messages in hand.
const RECIPIENTS: usize = 50_000;
/// So many messages are in hand at most.
const MESSAGES: usize = 2_000;

/// How messages go to a server.
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) credentials: Option<Credentials>,
    pub(super) envelope: Envelope,
    pub(super) policy: RetryPolicy,
    /// Sessions at once.
    pub(super) concurrency: usize,
}

/// Sends these messages.
///
/// A failure is one before anything was known of any message; what happens later stands in the reports.
pub(super) fn deliver(
    plan: Plan,
    messages: Messages,
    ledger: Option<Ledger>,
    output: Output,
) -> Result<Tally, Failure> {
    let bar = output.progress(messages.octets(), "sending");
    let run = Run {
        output,
        bar,
        ledger,
        stop: StopSignal::default(),
        is_one: matches!(messages, Messages::Alone(_)),
        has_answer: AtomicBool::new(false),
        gate: Gate::default(),
        tally: Mutex::default(),
    };
    let plan = Arc::new(plan);
    let interrupt = Interrupt::install()?;
    let _graceful = interrupt.graceful();
    if plan.way.is_cleartext()? {
        run.work::<Cleartext>(&plan, messages, &interrupt, Session::<Cleartext>::open)
    } else {
        run.work::<Secure>(&plan, messages, &interrupt, Session::<Secure>::open)
    }
}

/// Opens a session.
type Open<C> = fn(&Way, &io_mio::Connector, Config) -> Result<Session<C>, Failure>;

/// What is known of the whole run by now.
pub(super) struct Run {
    output: Output,
    /// What results are shown beside.
    bar: ProgressBar,
    ledger: Option<Ledger>,
    stop: StopSignal,
    /// There is one message and no more.
    is_one: bool,
    /// Whether anything is known of any message.
    has_answer: AtomicBool,
    gate: Gate,
    tally: Mutex<Tally>,
}

impl Run {
    /// What earlier runs have come to, if that is kept.
    pub(super) const fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The message cannot be sent, now or later.
    pub(super) fn invalid(&self, job: &Job, mut report: DeliveryReport, why: &Failure) {
        for recipient in report.recipients.iter_mut().filter(|one| is_open(one)) {
            recipient.status = DeliveryStatus::Invalid;
            recipient.diagnostic = Some(Diagnostic::without_reply(DeliveryStage::Check, &*why.what));
        }
        report.conclude();
        self.has_answer.store(true, Ordering::SeqCst);
        self.conclude(job, &report);
    }

    fn work<C: Channel + Send + 'static>(
        self,
        plan: &Arc<Plan>,
        messages: Messages,
        interrupt: &Interrupt,
        open: Open<C>,
    ) -> Result<Tally, Failure>
    where
        Client<C>: Authenticate + Send,
    {
        let limits = PoolLimits {
            sessions: plan.concurrency,
            sessions_per_host: plan.concurrency,
            lifetime: Duration::MAX,
            messages: u32::MAX,
            ..PoolLimits::default()
        };
        let pool = Pool::new(limits);
        let (route, clock) = (route(plan, open, self.output, &self.bar), SystemClock::start());
        let held = (RECIPIENTS / plan.envelope.recipients.len().max(1)).clamp(2 * plan.concurrency, MESSAGES);
        let dispatcher = Dispatcher::new(&pool, clock)
            .policy(plan.policy.clone())
            .hold_at_most(held)
            .look_ahead(plan.concurrency.max(2 * journal::AHEAD))
            .stop_with(&self.stop);
        let mut orders = Orders::new(&plan.envelope, messages, &self, route);
        std::thread::scope(|scope| {
            let watch = || {
                if let Some(unanswered) = self.gate.watch(interrupt, &self.stop) {
                    self.abandon(interrupt, unanswered);
                }
            };
            scope.spawn(watch);
            // Also when a panic passes through here: the watch must end.
            let _end = OnDrop(|| self.gate.end());
            dispatcher.run_with(&self, &mut orders, |done| self.done(done));
        });
        let is_done = orders.is_done();
        self.bar.finish_and_clear();
        self.finish(is_done, interrupt)
    }

    /// Ends the program while messages are under way, when they have taken too long.
    fn abandon(&self, interrupt: &Interrupt, unanswered: usize) {
        self.bar.finish_and_clear();
        if let Some(ledger) = &self.ledger {
            ledger.close();
        }
        let failure = self.with_tally(|tally| {
            tally.is_incomplete = true;
            if !self.is_one {
                tally.show(self.output);
            }
            if unanswered == 0 {
                return self.interrupted(interrupt, tally);
            }
            Failure::new(
                Kind::Uncertain,
                format!("stopped: {unanswered} of the messages may have been taken, the answer did not come"),
            )
            .advise(show::LOOK_FIRST)
        });
        self.output.failure(&failure);
        std::process::exit(failure.kind.code().into());
    }

    /// The run was interrupted: what was sent, and how to go on.
    fn interrupted(&self, interrupt: &Interrupt, tally: &Tally) -> Failure {
        let failure =
            interrupt.check().err().unwrap_or_else(|| Failure::new(Kind::Interrupted, "interrupted"));
        let what = match (self.is_one, tally.successes()) {
            (true, _) => "the message was not sent to everybody it is for".to_owned(),
            (false, 1) => "1 message was sent, others were not".to_owned(),
            (false, sent) => format!("{sent} messages were sent, others were not"),
        };
        let advice = match (&self.ledger, self.is_one) {
            (Some(_), _) => "the same command again: it sends what was not sent",
            (None, true) => "the same command again",
            (None, false) => "--journal FILE: without one, the same command sends every message again",
        };
        Failure::new(failure.kind, format!("{}: {what}", failure.what)).advise(advice)
    }

    /// A message has met its fate, or is left for another run.
    fn done(&self, done: DeliveryResult<Job, Octets, Failure>) -> ControlFlow<()> {
        let DeliveryResult { id: job, report, error: obstacle, route_failed, .. } = done;
        let halt = self.ledger.as_ref().and_then(Ledger::halt);
        let is_over = route_failed || halt.is_some();
        let was_tried = report.recipients.iter().any(|one| one.attempts > 0) && !route_failed;
        match obstacle {
            Some(obstacle) if !is_over && !obstacle.is_retryable() => self.invalid(&job, report, &obstacle),
            // Nobody has heard of it: it stays as it was.
            _ if report.recipients.iter().any(is_open) && !is_known(&report) && !was_tried => {
                self.with_tally(|tally| tally.is_incomplete = true);
                if route_failed {
                    self.with_tally(|tally| tally.obstacle = tally.obstacle.take().or(obstacle));
                }
            }
            obstacle => {
                if route_failed {
                    let why = obstacle.unwrap_or_else(ends_sessions);
                    self.with_tally(|tally| _ = tally.obstacle.get_or_insert(why));
                }
                self.conclude(&job, &report);
            }
        }
        if let Some(halt) = halt {
            self.with_tally(|tally| (tally.is_incomplete, tally.obstacle) = (true, Some(halt)));
        }
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn conclude(&self, job: &Job, report: &DeliveryReport) {
        self.with_tally(|tally| tally.count(report));
        self.bar.suspend(|| match &job.source {
            None => show::alone(report, self.output),
            Some(source) => show::one_of_many(source, report, self.output),
        });
    }

    /// The fate of all. A journal that was not asked for is deleted when everything was taken.
    fn finish(self, is_done: bool, interrupt: &Interrupt) -> Result<Tally, Failure> {
        let mut tally = self.with_tally(std::mem::take);
        tally.is_incomplete |= !is_done;
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !tally.is_success()) {
            ledger.close();
        }
        if interrupt.is_requested() && !tally.is_success() {
            let failure = self.interrupted(interrupt, &tally);
            if self.is_one && tally.is_empty() {
                return Err(failure);
            }
            (tally.is_incomplete, tally.obstacle) = (true, Some(failure));
            return Ok(tally);
        }
        if let Some(failure) = tally.obstacle.take_if(|_| !self.has_answer.load(Ordering::SeqCst)) {
            return Err(failure);
        }
        if let Some(ledger) = self.ledger
            && tally.is_success()
        {
            ledger.complete();
        }
        Ok(tally)
    }

    fn with_tally<T>(&self, with: impl FnOnce(&mut Tally) -> T) -> T {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hint(&self, text: &str) {
        self.bar.suspend(|| self.output.hint(text));
    }
}

impl Journal<Job> for Run {
    fn before_final_bytes(&self, job: &Job, recipients: &[usize]) -> io::Result<()> {
        self.gate.pass(&job.unanswered)?;
        if let Some(ledger) = &self.ledger {
            let keys: Vec<_> =
                recipients.iter().filter_map(|number| job.keys.get(*number).copied()).collect();
            // What cannot be written down now cannot be either for the messages behind it.
            ledger.ending(&keys).inspect_err(|_| self.stop.trigger())?;
        }
        Ok(())
    }

    fn attempt_finished(&self, job: &Job, report: &DeliveryReport, pause: Option<Duration>) {
        job.copy.close();
        self.gate.answered(&job.unanswered);
        if let Some(ledger) = &self.ledger {
            ledger.note(&job.keys, report);
        }
        if is_known(report) {
            self.has_answer.store(true, Ordering::SeqCst);
        }
        if let (Some(pause), true) = (pause, self.is_one) {
            let waiting = report.recipients.iter().find(|one| one.status == DeliveryStatus::Retry);
            let why = waiting.and_then(|one| one.diagnostic.as_ref()).map(show::said).unwrap_or_default();
            self.hint(&format!("{why}: waiting {:.1} s", pause.as_secs_f64()));
        }
    }

    fn bytes_queued(&self, _: &Job, octets: u64) {
        self.bar.inc(octets);
    }

    fn route_paused(&self, why: &Diagnostic, pause: Duration) {
        if !self.is_one {
            self.hint(&format!("{}: waiting {:.1} s", show::said(why), pause.as_secs_f64()));
        }
    }

    fn session_limit_reached(&self, why: &Diagnostic, sessions: usize) {
        self.hint(&format!("{}: going on in {sessions} sessions at most", show::said(why)));
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Retryable for Failure {
    fn is_retryable(&self) -> bool {
        self.is_transient
    }

    fn description(&self) -> String {
        self.what.clone()
    }

    fn diagnostic(&self) -> Diagnostic {
        let stage = if self.kind == Kind::Refused { DeliveryStage::Auth } else { DeliveryStage::Connect };
        let Some(server) = &self.server else { return Diagnostic::without_reply(stage, self.description()) };
        // `535 5.7.8`, or less of it.
        let mut codes = server.code.iter().flat_map(|code| code.split(' '));
        let code = codes.next().and_then(|code| code.parse().ok());
        Diagnostic {
            code,
            enhanced: codes.next().map(str::to_owned),
            ..Diagnostic::without_reply(stage, &*server.text)
        }
    }
}

/// The way to the server, logged in if there is a user.
fn route<C: Channel + 'static>(
    plan: &Arc<Plan>,
    open: Open<C>,
    output: Output,
    bar: &ProgressBar,
) -> Route<C, Failure>
where
    Client<C>: Authenticate,
{
    let (plan, bar) = (Arc::clone(plan), bar.clone());
    let url = plan.way.url.clone();
    Route::new(&url.host, url.port, move || {
        let connector = plan.way.connector(|_: &io_mio::StageReport| {});
        let config = plan.way.smtp_config().dialect(plan.envelope.dialect());
        let mut session = open(&plan.way, &connector, config)?;
        session.ready(|_| Ok::<_, Failure>(()))?;
        if let Some(credentials) = &plan.credentials {
            session.log_in(&plan.way, credentials)?;
        }
        let offered =
            session.connection.machine().capabilities().map_or(ExtensionSet::NONE, Capabilities::extensions);
        if plan.envelope.needs_chunking() && !offered.contains(Extension::Chunking) {
            return Err(super::no_chunking());
        }
        if let Some(missing) = plan.envelope.not_offered(offered) {
            bar.suspend(|| output.hint(missing));
        }
        Ok(session.connection)
    })
}

fn ends_sessions() -> Failure {
    Failure::new(Kind::TryAgain, "the server ends each session with its first message")
        .advise("try again later")
}

/// Whether a recipient may still get the message: it failed for now, or because of what befell the session.
fn is_open(recipient: &RecipientReport) -> bool {
    let failed_before = || recipient.diagnostic.as_ref().is_none_or(is_of_session);
    match recipient.status {
        DeliveryStatus::Retry | DeliveryStatus::TempFailed => true,
        DeliveryStatus::Failed => failed_before(),
        _ => false,
    }
}

/// Whether this run has brought a message as far as a transaction.
fn is_known(report: &DeliveryReport) -> bool {
    let answers =
        |one: &RecipientReport| one.diagnostic.iter().chain(&one.earlier).any(|it| !is_of_session(it));
    report.recipients.iter().any(|one| one.attempts > 0 && answers(one))
}

const fn is_of_session(answer: &Diagnostic) -> bool {
    matches!(
        answer.stage,
        DeliveryStage::Check | DeliveryStage::Connect | DeliveryStage::Greeting | DeliveryStage::Auth
    )
}
