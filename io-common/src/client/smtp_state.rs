//! The state of a typed SMTP client between and during its commands.

use proto_mail::{Channel, SendBuffer};
use proto_smtp::{
    client::{Client, Event, Progress, Step},
    types::Response,
};

use super::{error::ClientError, session_state::SessionState};
use crate::protocol::smtp::session_ready;

/// What a typed SMTP client has begun and not finished.
#[derive(Debug, Default)]
pub struct SmtpState {
    unfinished: Unfinished,
}

/// What the client has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unfinished {
    /// The server's capabilities are awaited.
    #[default]
    Greeting,
    /// Replies to commands are awaited.
    Replies,
    /// Replies to commands of a transaction are awaited, which is then reset.
    Envelope,
    /// The server waits for the rest of a message.
    Message,
    /// A message was not sent completely: the session cannot go on.
    Interrupted,
}

impl<C: Channel> SessionState<Client<C>> for SmtpState {
    fn note(&mut self, _: &Event<'_>) {}

    fn settle(
        &mut self,
        event: Option<&Event<'_>>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<bool, ClientError> {
        match (self.unfinished, event) {
            (Unfinished::Greeting, Some(event)) if session_ready(event)?.is_some() => {
                self.unfinished = Unfinished::Replies;
            }
            (Unfinished::Greeting, _) => return Ok(false),
            (Unfinished::Replies | Unfinished::Envelope, Some(Event::SendData(_))) => {
                self.unfinished = Unfinished::Message;
            }
            _ => {}
        }
        match self.unfinished {
            Unfinished::Message | Unfinished::Interrupted => {
                self.unfinished = Unfinished::Interrupted;
                Err(ClientError::Interrupted)
            }
            _ if !client.is_idle() => Ok(false),
            Unfinished::Envelope => {
                client.reset(tx)?;
                self.unfinished = Unfinished::Replies;
                Ok(false)
            }
            Unfinished::Greeting | Unfinished::Replies => Ok(true),
        }
    }
}

impl SmtpState {
    /// Notes that replies to commands are awaited.
    pub const fn await_replies(&mut self) {
        self.unfinished = Unfinished::Replies;
    }

    /// Notes that a transaction begins.
    pub(super) const fn begin_envelope(&mut self) {
        self.unfinished = Unfinished::Envelope;
    }

    /// Notes what the server waits for.
    pub(super) const fn note_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Continue => {}
            Progress::SendData => self.unfinished = Unfinished::Message,
            Progress::Done => self.unfinished = Unfinished::Replies,
        }
    }

    /// Returns the reply to the command of this step.
    ///
    /// # Errors
    /// [`ClientError::Smtp`] if the server rejects it.
    pub fn reply(step: Step, event: Event<'_>) -> Result<Option<Response<'static>>, ClientError> {
        match event {
            Event::Accepted(of, response) if of == step => Ok(Some(response.into_owned())),
            Event::Rejected(of, response) if of == step => {
                Err(ClientError::Smtp(Box::new(response.into_owned())))
            }
            _ => Ok(None),
        }
    }
}
