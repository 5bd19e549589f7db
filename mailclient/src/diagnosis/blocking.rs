//! The thin runner of a diagnosis for blocking threads.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use io_mio::StageReport;

use crate::blocking::connector;
use crate::endpoint::{CredentialSource, Endpoint, Protocol};
use crate::error::Error;
use crate::imap::{self, ImapChannel};
use crate::login::{LoggedIn, Renewal};
use crate::smtp::{self, SmtpChannel};

use super::results::{Diagnosis, StageResult};
use super::session::{GreetingState, ImapSteps, SessionOutcome, SessionStage, SmtpSteps};
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

/// Connects, and runs the stages until `last` or the first failure. `observer` is told each result at once. Blocks.
///
/// Without credentials, the diagnosis ends after the capabilities. The result's [`error`](Diagnosis::error) says why a
/// stage failed.
pub fn diagnose(
    endpoint: &Endpoint,
    credentials: Option<&dyn CredentialSource>,
    last: Stage,
    observer: impl FnMut(DiagnosisEvent<'_>) + Send + 'static,
) -> Diagnosis {
    let state = State { diagnosis: Diagnosis::new(endpoint, last), since: Instant::now(), observer };
    let shared = Shared(Arc::new(Mutex::new(state)));
    let observing = shared.clone();
    let connector = connector(endpoint, move |report| observing.lock().observe(report));
    let run = Run { endpoint, credentials, shared: shared.clone() };
    let outcome = match endpoint.url().protocol {
        Protocol::Imap => imap::with_session(endpoint, &connector, run),
        Protocol::Smtp => smtp::with_session(endpoint, &connector, endpoint.smtp_config(), run),
    };
    drop(connector);
    let mut state = shared.lock();
    match outcome {
        Ok(SessionOutcome::Complete) => {}
        Ok(SessionOutcome::NoCredentials) => (state.observer)(DiagnosisEvent::NoCredentials),
        Err(error) => state.failed(error),
    }
    let empty = Diagnosis::new(endpoint, last);
    std::mem::replace(&mut state.diagnosis, empty)
}

/// The diagnosis, the time, and the observer.
struct State<O> {
    diagnosis: Diagnosis,
    /// When the current stage began.
    since: Instant,
    observer: O,
}

struct Shared<O>(Arc<Mutex<State<O>>>);

impl<O> Clone for Shared<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O> Shared<O> {
    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// The session of a diagnosis.
struct Run<'d, O> {
    endpoint: &'d Endpoint,
    credentials: Option<&'d dyn CredentialSource>,
    shared: Shared<O>,
}

impl<O: FnMut(DiagnosisEvent<'_>)> Run<'_, O> {
    fn renewed(&self) -> Result<Option<proto_mail::Credentials>, Error> {
        self.credentials.map_or(Ok(None), CredentialSource::renewed_token)
    }
}

impl<O: FnMut(DiagnosisEvent<'_>)> imap::SessionTask for Run<'_, O> {
    type Output = SessionOutcome;
    type Error = Error;

    fn run<C: ImapChannel>(self, mut session: imap::Session<C>) -> Result<SessionOutcome, Error> {
        let outcome = self.imap(&mut session);
        session.log_out();
        outcome
    }
}

impl<O: FnMut(DiagnosisEvent<'_>)> Run<'_, O> {
    fn imap<C: ImapChannel>(&self, session: &mut imap::Session<C>) -> Result<SessionOutcome, Error> {
        let (is_over, awaits_greeting) = {
            let state = self.shared.lock();
            (state.diagnosis.has_passed_last(), state.diagnosis.is_pending(Stage::Greeting))
        };
        if is_over {
            return Ok(SessionOutcome::Complete);
        }
        let greeting = if awaits_greeting { GreetingState::Awaited } else { GreetingState::Received };
        let credentials = self.credentials.map(CredentialSource::credentials).transpose()?;
        let login = credentials.map(|given| imap::LogIn::new(self.endpoint, given, Renewal::Possible));
        let mut steps = ImapSteps::new(greeting, login, |stage| self.shared.lock().passed(stage));
        session.run(&mut steps, || self.renewed())
    }
}

impl<O: FnMut(DiagnosisEvent<'_>)> smtp::SessionTask for Run<'_, O> {
    type Output = SessionOutcome;
    type Error = Error;

    fn run<C: SmtpChannel>(self, session: &mut smtp::Session<C>) -> Result<SessionOutcome, Error> {
        if self.shared.lock().diagnosis.has_passed_last() {
            return Ok(SessionOutcome::Complete);
        }
        let credentials = self.credentials.map(CredentialSource::credentials).transpose()?;
        let login = credentials.map(|given| smtp::LogIn::new(self.endpoint, given, Renewal::Possible));
        let mut steps = SmtpSteps::new(login, |stage| self.shared.lock().passed(stage));
        session.run(&mut steps, || self.renewed())
    }
}
