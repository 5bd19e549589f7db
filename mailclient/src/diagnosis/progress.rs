//! The progress of a diagnosis that a runner makes: results as they come, with the time of each stage.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use io_common::StageReport;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::login::LoggedIn;

use super::results::{Diagnosis, StageResult};
use super::session::{GreetingState, SessionOutcome, SessionStage};
use super::stage::Stage;

/// What happens during a diagnosis.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiagnosisEvent<'d> {
    /// A stage passed or failed. A failure is the last one.
    Stage(&'d StageResult, Option<&'d Error>),
    /// The user is logged in; the stage was reported before.
    LoggedIn(&'d LoggedIn),
    /// The login and later stages are not tried, because there are no credentials.
    NoCredentials,
}

/// A diagnosis that the connector's observer and the session's task share. It calls `observer` with each result at once.
pub(super) struct Progress<O>(Arc<Mutex<State<O>>>);

impl<O> Clone for Progress<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: FnMut(DiagnosisEvent<'_>)> Progress<O> {
    pub(super) fn start(endpoint: &Endpoint, last: Stage, observer: O) -> Self {
        let state = State { diagnosis: Diagnosis::new(endpoint, last), since: Instant::now(), observer };
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stage that the connector reports.
    pub(super) fn observe(&self, report: &StageReport) {
        self.lock().observe(report);
    }

    /// Takes a stage that the session has passed.
    pub(super) fn passed(&self, stage: SessionStage<'_>) -> ControlFlow<()> {
        self.lock().passed(stage)
    }

    /// Returns where the session begins; `None` if the diagnosis is complete without it.
    pub(super) fn session_start(&self) -> Option<GreetingState> {
        let state = self.lock();
        if state.diagnosis.has_passed_last() {
            return None;
        }
        let is_awaited = state.diagnosis.is_pending(Stage::Greeting);
        Some(if is_awaited { GreetingState::Awaited } else { GreetingState::Received })
    }

    /// Takes how the session ended, and returns the diagnosis.
    pub(super) fn finish(
        &self,
        endpoint: &Endpoint,
        last: Stage,
        outcome: Result<SessionOutcome, Error>,
    ) -> Diagnosis {
        let mut state = self.lock();
        match outcome {
            Ok(SessionOutcome::Complete) => {}
            Ok(SessionOutcome::NoCredentials) => (state.observer)(DiagnosisEvent::NoCredentials),
            Err(error) => state.failed(error),
        }
        std::mem::replace(&mut state.diagnosis, Diagnosis::new(endpoint, last))
    }
}

/// The diagnosis, the time, and the observer.
struct State<O> {
    diagnosis: Diagnosis,
    /// When the current stage began.
    since: Instant,
    observer: O,
}

impl<O: FnMut(DiagnosisEvent<'_>)> State<O> {
    fn observe(&mut self, report: &StageReport) {
        let added = self.diagnosis.observe(&report.stage, report.took);
        self.tell(added);
        self.since = Instant::now();
    }

    fn passed(&mut self, stage: SessionStage<'_>) -> ControlFlow<()> {
        let before = self.diagnosis.results().len();
        let logged_in = if let SessionStage::Login(logged_in) = &stage { Some(*logged_in) } else { None };
        let flow = self.diagnosis.passed(stage, self.since.elapsed());
        self.tell(self.diagnosis.results().len() - before);
        if let Some(logged_in) = logged_in {
            (self.observer)(DiagnosisEvent::LoggedIn(logged_in));
        }
        self.since = Instant::now();
        flow
    }

    fn failed(&mut self, error: Error) {
        let took: Duration = self.since.elapsed();
        self.diagnosis.failed(error, took);
        self.tell(1);
    }

    /// Tells the observer the newest results.
    fn tell(&mut self, count: usize) {
        let results = self.diagnosis.results();
        for result in results.iter().skip(results.len().saturating_sub(count)) {
            (self.observer)(DiagnosisEvent::Stage(result, self.diagnosis.error()));
        }
    }
}
