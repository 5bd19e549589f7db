//! The engine as the task of a session.

use proto_imap::client::{Client, Event};
use proto_mail::{Credentials, SendBuffer};

use super::engine::{SessionState, State, SyncEngine};
use crate::channel::ClientChannel;
use crate::error::Error;
use crate::task::{Task, TaskStep};

/// One [`Drive`](super::SyncAction::Drive): done when the engine needs something else. If a method fails, the session must end:
/// pass the error to [`SyncEngine::session_failed`].
impl<C: ClientChannel> Task<Client<C>> for SyncEngine {
    type Output = ();

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        match (&mut self.session, &mut self.state) {
            (SessionState::LoggingIn(login), _) => {
                let step = login.ready(client, tx)?;
                Ok(self.logging_in(step, client))
            }
            (SessionState::Compressing(command), _) => {
                if command.is_none() {
                    *command = C::start_compression(client, tx)?;
                    if command.is_none() {
                        self.logged_in();
                        return Ok(TaskStep::Done(()));
                    }
                }
                Ok(TaskStep::Waiting)
            }
            (SessionState::Enabling(enable), _) => {
                let step = enable.ready(client, tx)?;
                Ok(self.enabled(step))
            }
            (_, State::Listing(list)) => {
                let step = list.ready(client, tx)?;
                Ok(self.listed(step))
            }
            (_, State::Status(run)) => {
                let step = run.ready(client, tx)?;
                Ok(self.status_known(step))
            }
            (_, State::Folder(folder)) => {
                let step = folder.ready(client, tx)?;
                Ok(self.folder_step(step))
            }
            (_, State::Watching(watching)) => {
                let step = watching.ready(client, tx)?;
                Ok(self.watched(step))
            }
            (_, State::Notified(notified)) => {
                let step = notified.ready(client, tx)?;
                Ok(self.watched(step))
            }
            (_, State::Planning | State::Gone(_) | State::Over(_)) => Ok(TaskStep::Done(())),
        }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        match (&mut self.session, &mut self.state) {
            (SessionState::LoggingIn(login), _) => {
                let step = login.event(event, client, tx)?;
                Ok(self.logging_in(step, client))
            }
            (SessionState::Compressing(command), _) => match event {
                // Without compression, if the server refuses it.
                Event::Completed { id, .. } if *command == Some(id) => {
                    self.logged_in();
                    Ok(TaskStep::Done(()))
                }
                _ => Ok(TaskStep::Waiting),
            },
            (SessionState::Enabling(enable), _) => {
                let step = enable.event(event, client, tx)?;
                Ok(self.enabled(step))
            }
            (_, State::Listing(list)) => {
                let step = list.event(event, client, tx)?;
                Ok(self.listed(step))
            }
            (_, State::Status(run)) => {
                let step = run.event(event, client, tx)?;
                Ok(self.status_known(step))
            }
            (_, State::Folder(folder)) => {
                let step = folder.event(event, client, tx, &mut self.limits)?;
                Ok(self.folder_step(step))
            }
            (_, State::Watching(watching)) => {
                let step = watching.event(event, client, tx)?;
                Ok(self.watched(step))
            }
            (_, State::Notified(notified)) => {
                let step = notified.event(event, client, tx)?;
                Ok(self.watched(step))
            }
            (_, State::Planning | State::Gone(_) | State::Over(_)) => Ok(TaskStep::Waiting),
        }
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        let SessionState::LoggingIn(login) = &mut self.session else { return Ok(TaskStep::Waiting) };
        let step = login.renewed(credentials, client, tx)?;
        Ok(self.logging_in(step, client))
    }
}
