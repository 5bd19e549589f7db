//! APPEND: how much of the message was written, and its outcome.

use bytes::Bytes;
use proto_imap::{
    client::{Client, CommandId, Event},
    types::{AppendCommand, Owned, ResponseCode, StatusResponse},
};
use proto_mail::{Channel, SendBuffer};

use super::{
    error::ClientError,
    imap_state::{ImapState, accepted},
    session_state::PIECE,
};

/// The identity of an appended message (UIDPLUS, RFC 4315).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedUid {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// The message's UID.
    pub uid: u32,
}

impl AppendedUid {
    /// Returns the UID in the status of an APPEND or a REPLACE, if the server has sent one.
    #[must_use]
    pub fn of(status: &StatusResponse<'_>) -> Option<Self> {
        match status.code? {
            ResponseCode::AppendUid { uid_validity, uids } => {
                Some(Self { uid_validity, uid: uids.iter().next()? })
            }
            _ => None,
        }
    }
}

/// An APPEND whose message is being written.
#[derive(Debug)]
pub struct AppendProgress {
    id: CommandId,
    left: u64,
}

impl AppendProgress {
    /// Announces a message of `size` bytes.
    ///
    /// # Errors
    /// Those of [`Client::append`].
    pub fn start<C: Channel>(
        append: &AppendCommand<'_>,
        size: u64,
        state: &mut ImapState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Self, ClientError> {
        let id = state.send_append(append, size, client, tx)?;
        Ok(Self { id, left: size })
    }

    /// Returns `Some` once the server waits for the message.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server rejects the message before it began.
    pub fn ready(&self, event: &Event<'_>, state: &mut ImapState) -> Result<Option<()>, ClientError> {
        match event {
            Event::AppendReady(ready) if *ready == self.id => {
                self.note_written(state);
                Ok(Some(()))
            }
            Event::Completed { id, status } if *id == self.id => {
                state.forget_append();
                accepted(status).map(|_| Some(()))
            }
            _ => Ok(None),
        }
    }

    /// Returns how many bytes are still to be written.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Returns the length of the next piece, if `offered` bytes are there to write.
    #[must_use]
    pub fn next_piece(&self, offered: usize) -> usize {
        offered.min(PIECE).min(usize::try_from(self.left).unwrap_or(usize::MAX))
    }

    /// Returns how many bytes of output may wait in the send buffer when a piece is written, if `offered` bytes are there
    /// to write.
    #[must_use]
    pub fn room(&self, offered: usize) -> usize {
        // The last piece follows when everything before has left, so that an early rejection is still recognised as one:
        // a command that is queued completely cannot be answered before it was sent.
        let is_last = self.left <= offered.min(PIECE) as u64;
        if is_last { 0 } else { usize::MAX }
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// Those of [`Client::write_payload`].
    pub fn write<C: Channel>(
        &mut self,
        piece: Bytes,
        state: &mut ImapState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError> {
        self.left = client.write_payload(piece, tx)?;
        self.note_written(state);
        Ok(())
    }

    /// After the last byte only the completion is awaited.
    fn note_written(&self, state: &mut ImapState) {
        if self.left == 0 {
            state.note_message_written(self.id);
        }
    }

    /// Returns the status that has arrived already, or `None`: wait for the [`completion`](Self::completion) then.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server has rejected the message; [`ClientError::Invalid`] if bytes are missing, which
    /// ends the session.
    pub fn finish(&self, state: &mut ImapState) -> Result<Option<Option<AppendedUid>>, ClientError> {
        if self.left > 0 {
            return Err(ClientError::Invalid(format!(
                "the message is {} bytes shorter than announced",
                self.left
            )));
        }
        let Some(status) = state.take_early_status() else { return Ok(None) };
        accepted(&status.view()).map(|status| Some(AppendedUid::of(&status.view())))
    }

    /// Returns the UID of the message once the server has stored it; `Some(None)` if it has sent none.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server rejects the message.
    pub fn completion(
        &self,
        event: Event<'_>,
        state: &mut ImapState,
    ) -> Result<Option<Option<AppendedUid>>, ClientError> {
        let status: Option<Owned<_>> = state.completion(self.id, event)?;
        Ok(status.map(|status| AppendedUid::of(&status.view())))
    }
}
