//! Resynchronisation of a mailbox (RFC 7162).

use proto_imap::{
    client::{Client, Event},
    resync::{Resync, ResyncError, ResyncEvent, ResyncedMailbox},
};
use proto_mail::{Channel, SendBuffer};

use super::{error::ClientError, imap_state::ImapState};

impl ImapState {
    /// Starts a resynchronisation.
    ///
    /// # Errors
    /// Those of [`Resync::start`].
    pub fn start_resync<C: Channel>(
        &mut self,
        resync: &mut Resync,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError> {
        resync.start(client, tx)?;
        self.await_resync(resync);
        Ok(())
    }

    /// Passes an event to a resynchronisation, and what it has found to `found`. Returns the result at the end.
    ///
    /// # Errors
    /// Those of [`Resync::take`].
    pub fn resync_step<C: Channel>(
        &mut self,
        resync: &mut Resync,
        found: &mut impl FnMut(ResyncEvent),
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<ResyncedMailbox>, ClientError> {
        let taken = resync.take(event, client, tx);
        self.await_resync(resync);
        while let Some(event) = resync.next_event() {
            match event {
                ResyncEvent::Done(done) => return Ok(Some(*done)),
                event => found(event),
            }
        }
        taken?;
        Ok(None)
    }

    /// Notes which command is awaited, so that the next one waits for its end if the resynchronisation is dropped.
    fn await_resync(&mut self, resync: &Resync) {
        if let Some(id) = resync.command() {
            self.await_completion(id);
        }
    }
}

impl From<ResyncError> for ClientError {
    fn from(error: ResyncError) -> Self {
        match error {
            ResyncError::Rejected(status) => Self::Imap(status),
            ResyncError::TooManyMessages { limit } => Self::TooManyMessages(limit),
            ResyncError::Machine(error) => error.into(),
            _ => Self::Invalid(error.to_string()),
        }
    }
}
