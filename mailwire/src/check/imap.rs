//! The stages of `check` after the connection, for IMAP.

use io_mio::{ConnectionEvent, Connector};
use proto_imap::client::Event;
use proto_mail::Credentials;

use super::arguments::Stage;
use super::progress::{End, Progress};
use crate::endpoint::Endpoint;
use crate::imap::{Session, SessionChannel, Task, with_session};

/// Connects and runs the stages of the session.
pub(super) fn check(
    endpoint: &Endpoint,
    connector: &Connector,
    credentials: Option<Credentials>,
    progress: &Progress,
) -> Result<(), End> {
    with_session(endpoint, connector, Check { endpoint, credentials, progress })
}

struct Check<'a> {
    endpoint: &'a Endpoint,
    credentials: Option<Credentials>,
    progress: &'a Progress,
}

impl Task for Check<'_> {
    type Output = ();
    type Error = End;

    fn run<C: SessionChannel>(self, mut session: Session<C>) -> Result<(), End> {
        let result = self.run_stages(&mut session);
        session.log_out();
        result
    }
}

impl Check<'_> {
    fn run_stages<C: SessionChannel>(self, session: &mut Session<C>) -> Result<(), End> {
        let progress = self.progress;
        progress.connected()?;
        if progress.is_pending(Stage::Greeting) {
            session.drive(|turn, _, _, _| match turn {
                ConnectionEvent::Machine(Event::Greeting(_)) => Ok(Some(())),
                _ => Ok(None),
            })?;
            progress.passed(Stage::Greeting, "IMAP")?;
        }
        let capabilities = session.capabilities()?;
        progress.passed(Stage::Capabilities, capabilities.join(" "))?;
        let Some(credentials) = self.credentials else { return Err(progress.end_without_user()) };
        let logged_in = session.log_in(self.endpoint, &credentials)?;
        progress.logged_in(&logged_in)?;
        let folders = session.folders()?;
        progress.passed(Stage::Folders, format!("{} folders", folders.len()))
    }
}
