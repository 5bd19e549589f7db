//! The state of a typed IMAP client between and during its commands.

use proto_imap::{
    client::{Client, CommandId, Event},
    types::{AppendCommand, Command, Condition, Owned, StatusResponse, Untagged},
};
use proto_mail::{Channel, SendBuffer};

use super::{error::ClientError, session_state::SessionState, updates::Updates};

/// The default limit of an answer that is collected in memory, in bytes as received.
const ANSWER_LIMIT: u64 = 16 << 20;
/// The default limit of what is skipped before a command, in bytes.
const SKIP_LIMIT: u64 = 64 << 20;
/// What an event without a chunk counts when it is skipped, in bytes: about the length of a short response.
const SKIPPED_EVENT: u64 = 16;

/// What a typed IMAP client has begun, and the changes of the mailbox that it has received.
#[derive(Debug)]
pub struct ImapState {
    unfinished: Unfinished,
    updates: Updates,
    /// The status of an APPEND that the server completed before it had received the message.
    early: Option<Owned<StatusResponse<'static>>>,
    answer_limit: u64,
    skip_limit: u64,
    /// How much was skipped since the last command was complete, in bytes.
    skipped: u64,
}

/// What the client has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    Nothing,
    /// The completion of a command is awaited.
    Command(CommandId),
    /// IDLE is in progress, and has to be ended first.
    Idle(CommandId),
    /// APPEND has announced a message that was not sent yet, or not completely.
    Append(CommandId),
    /// A message was not sent completely, or too much would have to be skipped: the session cannot go on.
    Interrupted,
}

impl Default for ImapState {
    fn default() -> Self {
        Self {
            unfinished: Unfinished::Nothing,
            updates: Updates::default(),
            early: None,
            answer_limit: ANSWER_LIMIT,
            skip_limit: SKIP_LIMIT,
            skipped: 0,
        }
    }
}

impl<C: Channel> SessionState<Client<C>> for ImapState {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Completed { id, status } => self.completed(*id, status),
            Event::Auth(outcome) => self.completed(outcome.id(), outcome.status()),
            _ => {}
        }
    }

    /// Also waits until the server's capabilities are known.
    fn settle(
        &mut self,
        event: Option<&Event<'_>>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<bool, ClientError> {
        self.count_skipped(event);
        match self.unfinished {
            Unfinished::Nothing => Ok(client.capabilities().is_some()),
            Unfinished::Command(_) => Ok(false),
            Unfinished::Idle(id) => {
                client.done(tx)?;
                self.unfinished = Unfinished::Command(id);
                Ok(false)
            }
            Unfinished::Append(_) | Unfinished::Interrupted => {
                self.unfinished = Unfinished::Interrupted;
                Err(ClientError::Interrupted)
            }
        }
    }
}

impl ImapState {
    fn completed(&mut self, id: CommandId, status: &StatusResponse<'_>) {
        match self.unfinished {
            Unfinished::Command(awaited) | Unfinished::Idle(awaited) if awaited == id => {
                self.unfinished = Unfinished::Nothing;
            }
            Unfinished::Append(awaited) if awaited == id => self.early = Some(status.into_owned()),
            _ => {}
        }
    }

    fn count_skipped(&mut self, event: Option<&Event<'_>>) {
        self.skipped = match event {
            None => 0,
            Some(Event::BodyChunk(bytes)) => self.skipped.saturating_add(bytes.len() as u64),
            Some(_) => self.skipped.saturating_add(SKIPPED_EVENT),
        };
        if self.skipped > self.skip_limit {
            self.unfinished = Unfinished::Interrupted;
        }
    }

    /// Sends a command, whose completion is then awaited.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub fn send<C: Channel>(
        &mut self,
        command: &Command<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, ClientError> {
        let id = client.send(command, tx)?;
        self.await_completion(id);
        Ok(id)
    }

    /// Asks the server to compress the session.
    ///
    /// # Errors
    /// Those of [`Client::compress`].
    #[cfg(feature = "compression")]
    pub fn send_compress(
        &mut self,
        client: &mut Client<proto_mail::Secure>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, ClientError> {
        let id = client.compress(tx)?;
        self.await_completion(id);
        Ok(id)
    }

    /// Sends APPEND for a message of `size` bytes.
    ///
    /// # Errors
    /// Those of [`Client::append`].
    pub(super) fn send_append<C: Channel>(
        &mut self,
        append: &AppendCommand<'_>,
        size: u64,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, ClientError> {
        let id = client.append(append, size, tx)?;
        (self.unfinished, self.early) = (Unfinished::Append(id), None);
        Ok(id)
    }

    /// Starts IDLE.
    ///
    /// # Errors
    /// Those of [`Client::idle`].
    pub fn send_idle<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, ClientError> {
        let id = client.idle(tx)?;
        self.unfinished = Unfinished::Idle(id);
        Ok(id)
    }

    /// Notes that the completion of a command is awaited.
    pub(super) const fn await_completion(&mut self, id: CommandId) {
        self.unfinished = Unfinished::Command(id);
    }

    /// Returns the status of a command that no data answer, once the server has completed it. What arrives before are
    /// changes of the mailbox.
    ///
    /// # Errors
    /// [`ClientError::Imap`] for NO and BAD.
    pub fn completion(
        &mut self,
        id: CommandId,
        event: Event<'_>,
    ) -> Result<Option<Owned<StatusResponse<'static>>>, ClientError> {
        match event {
            Event::Completed { id: completed, status } if completed == id => accepted(&status).map(Some),
            Event::Data(data) => {
                self.updates.add(&data);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Returns `Some` once the server has accepted IDLE.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server refuses it.
    pub fn idle_accepted(&mut self, id: CommandId, event: Event<'_>) -> Result<Option<()>, ClientError> {
        match event {
            Event::Idling(accepted) if accepted == id => Ok(Some(())),
            event => Ok(self.completion(id, event)?.map(drop)),
        }
    }

    /// Returns a change that the server reports during IDLE, or `Some(None)` if the server has ended IDLE: it is to be
    /// started again.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server ends IDLE with NO or BAD.
    pub fn idle_change(event: Event<'_>) -> Result<Option<Option<Owned<Untagged<'static>>>>, ClientError> {
        Ok(match event {
            Event::Data(data) => Some(Some(data.into_owned())),
            Event::Completed { status, .. } => accepted(&status).map(|_| Some(None))?,
            _ => None,
        })
    }

    /// Returns whether IDLE is in progress.
    #[must_use]
    pub const fn is_idling(&self) -> bool {
        matches!(self.unfinished, Unfinished::Idle(_))
    }

    /// Sets the limit of an answer that is collected in memory, in bytes as received. Default: 16 MiB.
    pub const fn set_answer_limit(&mut self, bytes: u64) {
        self.answer_limit = bytes;
    }

    pub(super) const fn answer_limit(&self) -> u64 {
        self.answer_limit
    }

    /// Sets how much of an unfinished answer is skipped before the next command, in bytes. Beyond it the session ends with
    /// [`ClientError::Interrupted`]. Default: 64 MiB.
    pub const fn set_skip_limit(&mut self, bytes: u64) {
        self.skip_limit = bytes;
    }

    /// Returns the changes of the mailbox that the server has reported during other commands, and forgets them.
    pub fn take_updates(&mut self) -> Updates {
        std::mem::take(&mut self.updates)
    }

    pub(super) fn add_update(&mut self, data: &Untagged<'_>) {
        self.updates.add(data);
    }

    /// Notes that a message was written completely: only the completion is awaited then.
    pub(super) fn note_message_written(&mut self, id: CommandId) {
        if self.unfinished == Unfinished::Append(id) {
            self.unfinished =
                if self.early.is_some() { Unfinished::Nothing } else { Unfinished::Command(id) };
        }
    }

    pub(super) const fn take_early_status(&mut self) -> Option<Owned<StatusResponse<'static>>> {
        self.early.take()
    }

    /// Notes that the server has rejected an APPEND before the message began.
    pub(super) fn forget_append(&mut self) {
        (self.unfinished, self.early) = (Unfinished::Nothing, None);
    }
}

/// Returns the status, or the rejection.
pub(super) fn accepted(status: &StatusResponse<'_>) -> Result<Owned<StatusResponse<'static>>, ClientError> {
    let owned = status.into_owned();
    match status.condition {
        Condition::No | Condition::Bad => Err(ClientError::Imap(Box::new(owned))),
        _ => Ok(owned),
    }
}
