//! The state of a run: the results so far, the journal entries after each attempt, and when the run ends early.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use mailclient::delivery::{
    DeliveryReport, DeliveryResult, DeliveryStage, DeliveryStatus, Diagnostic, Journal, RecipientReport,
    Retryable, StopSignal,
};

use super::job::Job;
use super::message_reader::MessageReader;
use super::report::{self, Counters};
use super::run_journal::RunJournal;
use super::stop_control::StopControl;
use crate::command_error::{CommandError, ExitCode};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// How many messages a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunSize {
    Single,
    Many,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// All messages were read.
    Complete,
    /// It stopped before that.
    Stopped,
}

/// The state of a run.
pub(super) struct RunState {
    output: Output,
    /// The progress bar, which results must not overwrite.
    bar: ProgressBar,
    journal: Option<RunJournal>,
    /// Stops the dispatcher.
    pub(super) stop: StopSignal,
    size: RunSize,
    /// Whether the result of any message is known.
    has_result: AtomicBool,
    pub(super) stop_control: StopControl,
    counters: Mutex<Counters>,
}

impl RunState {
    pub(super) fn new(output: Output, bar: ProgressBar, journal: Option<RunJournal>, size: RunSize) -> Self {
        Self {
            output,
            bar,
            journal,
            stop: StopSignal::default(),
            size,
            has_result: AtomicBool::new(false),
            stop_control: StopControl::default(),
            counters: Mutex::default(),
        }
    }

    /// Returns the journal, if there is one.
    pub(super) const fn journal(&self) -> Option<&RunJournal> {
        self.journal.as_ref()
    }

    /// Returns the progress bar.
    pub(super) const fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Returns the output.
    pub(super) const fn output(&self) -> Output {
        self.output
    }

    /// Records that a message can never be sent.
    pub(super) fn invalid(&self, job: &Job, mut report: DeliveryReport, why: &CommandError) {
        for recipient in report.recipients.iter_mut().filter(|one| is_open(one)) {
            recipient.status = DeliveryStatus::Invalid;
            recipient.diagnostic = Some(Diagnostic::without_reply(DeliveryStage::Check, &*why.what));
        }
        report.conclude();
        self.has_result.store(true, Ordering::SeqCst);
        self.conclude(job, &report);
    }

    /// Exits while messages are in progress, because they took too long after a stop.
    pub(super) fn exit(&self, interrupt: &Interrupt, unanswered: usize) {
        self.bar.finish_and_clear();
        if let Some(journal) = &self.journal {
            journal.close();
        }
        let failure = self.with_counters(|counters| {
            counters.is_incomplete = true;
            if self.size == RunSize::Many {
                counters.print(self.output);
            }
            if unanswered == 0 {
                return self.interrupted(interrupt, counters);
            }
            CommandError::new(
                ExitCode::Uncertain,
                format!(
                    "stopped: the server may have accepted {unanswered} of the messages, but did not reply"
                ),
            )
            .advise(report::CHECK_FIRST)
        });
        self.output.failure(&failure);
        std::process::exit(failure.exit_code.number().into());
    }

    /// Returns the error for an interrupted run: what was sent, and how to continue.
    fn interrupted(&self, interrupt: &Interrupt, counters: &Counters) -> CommandError {
        let failure = interrupt
            .check()
            .err()
            .unwrap_or_else(|| CommandError::new(ExitCode::Interrupted, "interrupted"));
        let what = match (self.size, counters.successes()) {
            (RunSize::Single, _) => "the message was not sent to all recipients".to_owned(),
            (RunSize::Many, 1) => "1 message was sent, others were not".to_owned(),
            (RunSize::Many, sent) => format!("{sent} messages were sent, others were not"),
        };
        let advice = match (&self.journal, self.size) {
            (Some(_), _) => "run the same command again: it sends only what was not sent",
            (None, RunSize::Single) => "run the same command again",
            (None, RunSize::Many) => {
                "use --journal FILE: without it, the same command sends every message again"
            }
        };
        CommandError::new(failure.exit_code, format!("{}: {what}", failure.what)).advise(advice)
    }

    /// Handles the result of a message. Breaks if the run must end.
    pub(super) fn delivered(
        &self,
        result: DeliveryResult<Job, MessageReader, CommandError>,
    ) -> ControlFlow<()> {
        let DeliveryResult { id: job, report, error, route_failed, .. } = result;
        let write_failure = self.journal.as_ref().and_then(RunJournal::write_failure);
        let must_end = route_failed || write_failure.is_some();
        let was_tried = report.recipients.iter().any(|one| one.attempts > 0) && !route_failed;
        match error {
            Some(error) if !must_end && !error.is_retryable() => self.invalid(&job, report, &error),
            // No attempt was made, so the message is unchanged.
            _ if report.recipients.iter().any(is_open) && !was_in_transaction(&report) && !was_tried => {
                self.with_counters(|counters| counters.is_incomplete = true);
                if route_failed {
                    self.with_counters(|counters| counters.failure = counters.failure.take().or(error));
                }
            }
            error => {
                if route_failed {
                    let failure = error.unwrap_or_else(server_ends_sessions);
                    self.with_counters(|counters| _ = counters.failure.get_or_insert(failure));
                }
                self.conclude(&job, &report);
            }
        }
        if let Some(failure) = write_failure {
            self.with_counters(|counters| (counters.is_incomplete, counters.failure) = (true, Some(failure)));
        }
        if must_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Counts and prints the final report of a message.
    fn conclude(&self, job: &Job, report: &DeliveryReport) {
        self.with_counters(|counters| counters.count(report));
        self.bar.suspend(|| match &job.source {
            None => report::print_single(report, self.output),
            Some(source) => report::print_one_of_many(source, report, self.output),
        });
    }

    /// Ends the run and returns the counters. Deletes an automatic journal if the server accepted every message.
    pub(super) fn finish(self, end: RunEnd, interrupt: &Interrupt) -> Result<Counters, CommandError> {
        self.bar.finish_and_clear();
        let mut counters = self.with_counters(std::mem::take);
        counters.is_incomplete |= end == RunEnd::Stopped;
        if let Some(journal) = self.journal.as_ref().filter(|_| !counters.is_success()) {
            journal.close();
        }
        if interrupt.is_requested() && !counters.is_success() {
            let failure = self.interrupted(interrupt, &counters);
            if self.size == RunSize::Single && counters.is_empty() {
                return Err(failure);
            }
            (counters.is_incomplete, counters.failure) = (true, Some(failure));
            return Ok(counters);
        }
        if let Some(failure) = counters.failure.take_if(|_| !self.has_result.load(Ordering::SeqCst)) {
            return Err(failure);
        }
        if let Some(journal) = self.journal
            && counters.is_success()
        {
            journal.complete();
        }
        Ok(counters)
    }

    fn with_counters<T>(&self, with: impl FnOnce(&mut Counters) -> T) -> T {
        with(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hint(&self, text: &str) {
        self.bar.suspend(|| self.output.hint(text));
    }
}

impl Journal<Job> for RunState {
    fn before_final_bytes(&self, job: &Job, recipients: &[usize]) -> io::Result<()> {
        self.stop_control.before_final_bytes(&job.unanswered)?;
        if let Some(journal) = &self.journal {
            let keys: Vec<_> =
                recipients.iter().filter_map(|number| job.keys.get(*number).copied()).collect();
            // If this write fails, the writes for later messages would fail too.
            journal.ending(&keys).inspect_err(|_| self.stop.trigger())?;
        }
        Ok(())
    }

    fn attempt_finished(&self, job: &Job, report: &DeliveryReport, pause: Option<Duration>) {
        job.contents.close();
        self.stop_control.answered(&job.unanswered);
        if let Some(journal) = &self.journal {
            journal.note(&job.keys, report);
        }
        if was_in_transaction(report) {
            self.has_result.store(true, Ordering::SeqCst);
        }
        if let (Some(pause), RunSize::Single) = (pause, self.size) {
            let waiting = report.recipients.iter().find(|one| one.status == DeliveryStatus::Retry);
            let why =
                waiting.and_then(|one| one.diagnostic.as_ref()).map(report::one_line).unwrap_or_default();
            self.hint(&format!("{why}: waiting {:.1} s", pause.as_secs_f64()));
        }
    }

    fn bytes_queued(&self, _: &Job, count: u64) {
        self.bar.inc(count);
    }

    fn route_paused(&self, why: &Diagnostic, pause: Duration) {
        if self.size == RunSize::Many {
            self.hint(&format!("{}: waiting {:.1} s", report::one_line(why), pause.as_secs_f64()));
        }
    }

    fn session_limit_reached(&self, why: &Diagnostic, sessions: usize) {
        self.hint(&format!("{}: continuing with at most {sessions} sessions", report::one_line(why)));
    }
}

impl Retryable for CommandError {
    fn is_retryable(&self) -> bool {
        self.is_transient
    }

    fn description(&self) -> String {
        self.what.clone()
    }

    fn diagnostic(&self) -> Diagnostic {
        let stage =
            if self.exit_code == ExitCode::Refused { DeliveryStage::Auth } else { DeliveryStage::Connect };
        let Some(server) = &self.server else { return Diagnostic::without_reply(stage, self.description()) };
        // The code is `535 5.7.8` or `535`.
        let mut codes = server.code.iter().flat_map(|code| code.split(' '));
        let code = codes.next().and_then(|code| code.parse().ok());
        Diagnostic {
            code,
            enhanced: codes.next().map(str::to_owned),
            ..Diagnostic::without_reply(stage, &*server.text)
        }
    }
}

/// Returns the error for a server that ends every session at its first message.
fn server_ends_sessions() -> CommandError {
    CommandError::new(ExitCode::TryAgain, "the server ends every session at the first message")
        .advise("try again later")
}

/// Returns whether the recipient may still get the message: it failed temporarily, or because of the session.
fn is_open(recipient: &RecipientReport) -> bool {
    let failed_before = || recipient.diagnostic.as_ref().is_none_or(is_session_stage);
    match recipient.status {
        DeliveryStatus::Retry | DeliveryStatus::TempFailed => true,
        DeliveryStatus::Failed => failed_before(),
        _ => false,
    }
}

/// Returns whether this run has tried the message in a transaction.
fn was_in_transaction(report: &DeliveryReport) -> bool {
    let has_transaction =
        |one: &RecipientReport| one.diagnostic.iter().chain(&one.earlier).any(|it| !is_session_stage(it));
    report.recipients.iter().any(|one| one.attempts > 0 && has_transaction(one))
}

/// Returns whether the diagnostic is from a stage before the transaction.
const fn is_session_stage(diagnostic: &Diagnostic) -> bool {
    matches!(
        diagnostic.stage,
        DeliveryStage::Check | DeliveryStage::Connect | DeliveryStage::Greeting | DeliveryStage::Auth
    )
}
