//! A message on its way to an SMTP server, and its outcome.

use bytes::Bytes;
use proto_mail::{Channel, SendBuffer};
use proto_smtp::client::{Client, Event, Outcome, Progress, Recipient, Transaction};

use super::{
    error::{ClientError, Undelivered},
    smtp_state::SmtpState,
};

/// The outcome of a message, for each recipient. [`into_result`](Self::into_result) makes anything but a delivery to all of
/// them an error.
#[derive(Debug)]
#[must_use = "the message may have been rejected"]
pub struct Report {
    transaction: Transaction,
    error: Option<ClientError>,
}

impl Report {
    /// Returns the recipients in their order, each with its outcome.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        self.transaction.recipients()
    }

    /// Returns whether the server has accepted the message for every recipient. False if there are none.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        !self.recipients().is_empty()
            && self.recipients().iter().all(|one| matches!(one.outcome(), Outcome::Delivered(_)))
    }

    /// Returns whether a later attempt may deliver the message to each recipient that does not have it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.undelivered().next().is_some() && self.undelivered().all(|one| one.outcome().is_retryable())
    }

    /// Returns `Ok` if the server has accepted the message for every recipient.
    ///
    /// # Errors
    /// [`ClientError::NotDelivered`] otherwise. Some recipients may have the message.
    pub fn into_result(self) -> Result<(), ClientError> {
        if self.is_delivered() {
            return Ok(());
        }
        let (of, recipients) = (self.recipients().len(), self.undelivered().cloned().collect());
        Err(ClientError::NotDelivered(Box::new(Undelivered { recipients, of, error: self.error })))
    }

    fn undelivered(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients().iter().filter(|one| !matches!(one.outcome(), Outcome::Delivered(_)))
    }

    /// Returns the error that ended the session, if one did. The outcomes say whether the message may have arrived.
    #[must_use]
    pub const fn error(&self) -> Option<&ClientError> {
        self.error.as_ref()
    }

    /// Returns the finished transaction: [`Transaction::rest`] has the recipients that did not fit into it.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}

/// A message that is being sent.
#[derive(Debug)]
pub struct MessageTransfer {
    transaction: Transaction,
}

impl MessageTransfer {
    /// A transfer that has not begun.
    #[must_use]
    pub const fn new(transaction: Transaction) -> Self {
        Self { transaction }
    }

    /// Gives the envelope. Returns what to do next.
    ///
    /// # Errors
    /// Those of [`Transaction::start`]. What was given is reset before the next command.
    pub fn start<C: Channel>(
        &mut self,
        state: &mut SmtpState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Progress, ClientError> {
        state.begin_envelope();
        let progress = self.transaction.start(client, tx)?;
        state.note_progress(progress);
        Ok(progress)
    }

    /// Handles an event. Returns `Some` when the server waits for the message, or every recipient has its outcome.
    ///
    /// # Errors
    /// Those of [`Transaction::event`].
    pub fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        state: &mut SmtpState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<Progress>, ClientError> {
        let progress = self.transaction.event(event, client, tx)?;
        state.note_progress(progress);
        Ok((progress != Progress::Continue).then_some(progress))
    }

    /// Returns whether every recipient has its outcome. The server may reject a message before it is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.transaction.is_done()
    }

    /// Writes a piece of the message. Ignores it if the server has rejected the message already.
    ///
    /// # Errors
    /// Those of [`DataWriter::write`](proto_smtp::client::DataWriter::write).
    pub fn write<C: Channel>(
        &self,
        piece: &[u8],
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError> {
        if !self.is_done() {
            client.data_writer()?.write(piece, tx)?;
        }
        Ok(())
    }

    /// As [`write`](Self::write), without copying.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_payload<C: Channel>(
        &self,
        piece: &Bytes,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError> {
        if !self.is_done() {
            client.data_writer()?.write_payload(piece, tx)?;
        }
        Ok(())
    }

    /// Ends the message. The replies are awaited then, with [`replied`](Self::replied).
    ///
    /// # Errors
    /// Those of [`DataWriter::finish`](proto_smtp::client::DataWriter::finish).
    pub fn end<C: Channel>(
        &self,
        state: &mut SmtpState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError> {
        client.data_writer()?.finish(tx)?;
        state.await_replies();
        Ok(())
    }

    /// Returns `Some` when every recipient has its outcome, after the message has ended.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn replied<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<()>, ClientError> {
        let progress = self.transaction.event(event, client, tx)?;
        Ok((progress == Progress::Done).then_some(()))
    }

    /// Returns the outcome.
    pub fn report(self) -> Report {
        Report { transaction: self.transaction, error: None }
    }

    /// Gives every recipient without an outcome one, after the session has failed, and returns the outcome.
    pub fn lost<C: Channel>(mut self, error: ClientError, client: &Client<C>, tx: &SendBuffer) -> Report {
        let _ = self.transaction.lost(client, tx);
        Report { transaction: self.transaction, error: Some(error) }
    }
}
