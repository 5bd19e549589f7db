//! Commands: what each sends, and what it takes from the responses.

use proto_imap::client::{Client, CommandId, Event};
use proto_imap::types::{Command, Condition, ListCommand, ListPattern, StatusResponse, Untagged};
use proto_mail::{Channel, SendBuffer};

use crate::error::Error;
use crate::folder::{Folder, Listing};
use crate::refusal_error::imap_command_error;
use crate::task::{Task, TaskStep};

/// A command, and what it takes from the responses.
pub trait Request {
    /// The result.
    type Output;

    /// Calls `send` with the command.
    ///
    /// # Errors
    /// Those of `send`, or the command cannot be made.
    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error>;

    /// Handles an event before the completion. Returns whether it was useful.
    ///
    /// # Errors
    /// The request failed.
    fn data(&mut self, event: Event<'_>) -> Result<bool, Error>;

    /// Returns the result after the server has accepted the command.
    ///
    /// # Errors
    /// The server did not send what is needed.
    fn finish(&mut self) -> Result<Self::Output, Error>;
}

/// The task that sends one command and waits for its completion.
#[derive(Debug)]
pub struct Requesting<R> {
    request: R,
    sent: Option<CommandId>,
}

impl<R> Requesting<R> {
    /// A task for this request.
    pub const fn new(request: R) -> Self {
        Self { request, sent: None }
    }

    /// Returns the request, to take what has come so far.
    pub const fn request_mut(&mut self) -> &mut R {
        &mut self.request
    }

    /// Returns the request, which keeps what came before a failure.
    pub fn into_request(self) -> R {
        self.request
    }
}

impl<C: Channel, R: Request> Task<Client<C>> for Requesting<R> {
    type Output = R::Output;

    fn ready(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<Self::Output>, Error> {
        if self.sent.is_none() {
            self.sent = Some(self.request.with_command(|command| Ok(client.send(command, tx)?))?);
        }
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        _: &mut Client<C>,
        _: &mut SendBuffer,
    ) -> Result<TaskStep<Self::Output>, Error> {
        match event {
            Event::Completed { id, status } if self.sent == Some(id) => {
                let name = self.request.with_command(|command| Ok(command.name().to_string()))?;
                accepted(&status, &format!("the server refused {name}"))?;
                Ok(TaskStep::Done(self.request.finish()?))
            }
            event => Ok(if self.request.data(event)? { TaskStep::Useful } else { TaskStep::Waiting }),
        }
    }
}

/// Returns `Ok` if the command succeeded. `what` says what the server refused otherwise.
pub(crate) fn accepted(status: &StatusResponse<'_>, what: &str) -> Result<(), Error> {
    if status.condition == Condition::Ok { Ok(()) } else { Err(imap_command_error(status, what)) }
}

/// Lists the folders of the account. A name that is too long is cut, and [`Folder::check_name`] refuses it.
///
/// It fails with [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if the server lists more than 100,000 folders, or more
/// than 16 MiB of names.
#[derive(Debug, Default)]
pub struct ListFolders {
    listing: Listing,
}

impl ListFolders {
    /// Returns the folders that came, sorted by name; also after a failure.
    #[must_use]
    pub fn into_folders(self) -> Vec<Folder> {
        self.listing.sorted()
    }
}

impl Request for ListFolders {
    type Output = Vec<Folder>;

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let patterns = [ListPattern::ALL];
        send(&Command::List(ListCommand::new(&patterns)))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        let Event::Data(Untagged::List(listed)) = event else { return Ok(false) };
        self.listing.add(&listed)?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<Folder>, Error> {
        Ok(std::mem::take(&mut self.listing).sorted())
    }
}
