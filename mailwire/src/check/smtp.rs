//! The stages of `check` after the connection, for SMTP.

use io_mio::Connector;
use proto_mail::Credentials;

use super::arguments::Stage;
use super::progress::{End, Progress};
use crate::endpoint::Endpoint;
use crate::smtp::{Session, SessionChannel, Task, with_session};

/// Connects and runs the stages of the session.
pub(super) fn check(
    endpoint: &Endpoint,
    connector: &Connector,
    credentials: Option<Credentials>,
    progress: &Progress,
) -> Result<(), End> {
    with_session(endpoint, connector, endpoint.smtp_config(), Check { endpoint, credentials, progress })
}

struct Check<'a> {
    endpoint: &'a Endpoint,
    credentials: Option<Credentials>,
    progress: &'a Progress,
}

impl Task for Check<'_> {
    type Output = ();
    type Error = End;

    fn run<C: SessionChannel>(self, session: &mut Session<C>) -> Result<(), End> {
        let progress = self.progress;
        progress.connected()?;
        session.ready(|response| {
            if progress.is_pending(Stage::Greeting) {
                progress.passed(Stage::Greeting, response.to_string())
            } else {
                Ok(())
            }
        })?;
        progress.passed(Stage::Capabilities, session.extensions().join(", "))?;
        let Some(credentials) = self.credentials else { return Err(progress.end_without_user()) };
        let logged_in = session.log_in(self.endpoint, &credentials)?;
        progress.logged_in(&logged_in)
    }
}
