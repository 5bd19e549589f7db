//! The thin runner of a diagnosis for blocking threads.

use crate::blocking::connector;
use crate::endpoint::{CredentialSource, Endpoint, Protocol};
use crate::error::Error;
use crate::imap::{self, ImapChannel};
use crate::login::Renewal;
use crate::smtp::{self, SmtpChannel};

use super::progress::{DiagnosisEvent, Progress};
use super::results::Diagnosis;
use super::session::{ImapSteps, SessionOutcome, SmtpSteps};
use super::stage::Stage;

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
    let progress = Progress::start(endpoint, last, observer);
    let observing = progress.clone();
    let connector = connector(endpoint, move |report| observing.observe(report));
    let run = Run { endpoint, credentials, progress: progress.clone() };
    let outcome = match endpoint.url().protocol {
        Protocol::Imap => imap::with_session(endpoint, &connector, run),
        Protocol::Smtp => smtp::with_session(endpoint, &connector, endpoint.smtp_config(), run),
    };
    progress.finish(endpoint, last, outcome)
}

/// The session of a diagnosis.
struct Run<'d, O> {
    endpoint: &'d Endpoint,
    credentials: Option<&'d dyn CredentialSource>,
    progress: Progress<O>,
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
        let Some(greeting) = self.progress.session_start() else {
            return Ok(SessionOutcome::Complete);
        };
        let credentials = self.credentials.map(CredentialSource::credentials).transpose()?;
        let login = credentials.map(|given| imap::LogIn::new(self.endpoint, given, Renewal::Possible));
        let mut steps = ImapSteps::new(greeting, login, |stage| self.progress.passed(stage));
        session.run(&mut steps, || self.renewed())
    }
}

impl<O: FnMut(DiagnosisEvent<'_>)> smtp::SessionTask for Run<'_, O> {
    type Output = SessionOutcome;
    type Error = Error;

    fn run<C: SmtpChannel>(self, session: &mut smtp::Session<C>) -> Result<SessionOutcome, Error> {
        if self.progress.session_start().is_none() {
            return Ok(SessionOutcome::Complete);
        }
        let credentials = self.credentials.map(CredentialSource::credentials).transpose()?;
        let login = credentials.map(|given| smtp::LogIn::new(self.endpoint, given, Renewal::Possible));
        let mut steps = SmtpSteps::new(login, |stage| self.progress.passed(stage));
        session.run(&mut steps, || self.renewed())
    }
}
