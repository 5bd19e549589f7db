//! The thin runner of a diagnosis on tokio.

use crate::endpoint::{Endpoint, Protocol};
use crate::error::Error;
use crate::imap::LogIn as ImapLogIn;
use crate::imap::tokio::{self as imap, ImapChannel};
use crate::login::Renewal;
use crate::smtp::LogIn as SmtpLogIn;
use crate::smtp::tokio::{self as smtp, SmtpChannel};
use crate::tokio::{SharedCredentials, connector, credentials};

use super::progress::{DiagnosisEvent, Progress};
use super::results::Diagnosis;
use super::session::{ImapSteps, SessionOutcome, SmtpSteps};
use super::stage::Stage;

/// Connects, and runs the stages until `last` or the first failure. `observer` is told each result at once, and must not
/// block. Dropping the future ends the diagnosis.
///
/// Without credentials, the diagnosis ends after the capabilities. The result's [`error`](Diagnosis::error) says why a
/// stage failed.
pub async fn diagnose(
    endpoint: &Endpoint,
    source: Option<&SharedCredentials>,
    last: Stage,
    observer: impl FnMut(DiagnosisEvent<'_>) + Send + 'static,
) -> Diagnosis {
    let progress = Progress::start(endpoint, last, observer);
    let observing = progress.clone();
    let connector = connector(endpoint, move |report| observing.observe(report));
    let run = Run { endpoint, source, progress: progress.clone() };
    let outcome = match endpoint.url().protocol {
        Protocol::Imap => imap::with_session(endpoint, &connector, run).await,
        Protocol::Smtp => smtp::with_session(endpoint, &connector, endpoint.smtp_config(), run).await,
    };
    progress.finish(endpoint, last, outcome)
}

/// The session of a diagnosis.
struct Run<'d, O> {
    endpoint: &'d Endpoint,
    source: Option<&'d SharedCredentials>,
    progress: Progress<O>,
}

impl<O: FnMut(DiagnosisEvent<'_>) + Send> imap::SessionTask for Run<'_, O> {
    type Output = SessionOutcome;
    type Error = Error;

    async fn run<C: ImapChannel>(self, mut session: imap::Session<C>) -> Result<SessionOutcome, Error> {
        let outcome = self.imap(&mut session).await;
        session.log_out().await;
        outcome
    }
}

impl<O: FnMut(DiagnosisEvent<'_>) + Send> Run<'_, O> {
    async fn imap<C: ImapChannel>(&self, session: &mut imap::Session<C>) -> Result<SessionOutcome, Error> {
        let Some(greeting) = self.progress.session_start() else {
            return Ok(SessionOutcome::Complete);
        };
        let login = match self.source {
            Some(source) => {
                Some(ImapLogIn::new(self.endpoint, credentials(source).await?, Renewal::Possible))
            }
            None => None,
        };
        let mut steps = ImapSteps::new(greeting, login, |stage| self.progress.passed(stage));
        session.run(&mut steps, self.source).await
    }
}

impl<O: FnMut(DiagnosisEvent<'_>) + Send> smtp::SessionTask for Run<'_, O> {
    type Output = SessionOutcome;
    type Error = Error;

    async fn run<C: SmtpChannel>(self, session: &mut smtp::Session<C>) -> Result<SessionOutcome, Error> {
        if self.progress.session_start().is_none() {
            return Ok(SessionOutcome::Complete);
        }
        let login = match self.source {
            Some(source) => {
                Some(SmtpLogIn::new(self.endpoint, credentials(source).await?, Renewal::Possible))
            }
            None => None,
        };
        let mut steps = SmtpSteps::new(login, |stage| self.progress.passed(stage));
        session.run(&mut steps, self.source).await
    }
}
