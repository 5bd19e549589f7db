//! Sending a message: from memory, or written piece by piece.

use std::io::{self, Write};

use bytes::Bytes;
use io_common::client::{ClientError, ConnectionEvent, MessageTransfer, PIECE, Report};
use proto_mail::{Channel, Secure};
use proto_smtp::client::{Content, Progress, Transaction};

use super::client::SmtpClient;

/// The server's answer to an envelope.
#[derive(Debug)]
pub enum EnvelopeOutcome<'c, C: Channel = Secure> {
    /// At least one recipient was accepted: write the message.
    Accepted(MessageWriter<'c, C>),
    /// The message is not sent: every recipient has its outcome.
    Rejected(Report),
}

impl<C: Channel> SmtpClient<C> {
    /// Sends a message and returns the outcome for each recipient. The message is not copied. It must end its lines
    /// with CRLF, unless the configuration says
    /// [`LineEndings::Normalize`](proto_smtp::data::LineEndings::Normalize).
    ///
    /// A recipient that was rejected and a connection that was lost are no errors of this call, but outcomes in the
    /// [`Report`]: see [`Report::into_result`].
    ///
    /// # Errors
    /// The message was not sent: the session was over before, the envelope cannot be written, or
    /// [`Misuse::InvalidMessage`](proto_mail::Misuse::InvalidMessage), after which the session goes on.
    pub fn send(
        &mut self,
        envelope: impl Into<Transaction>,
        message: impl Into<Bytes>,
    ) -> Result<Report, ClientError> {
        let message = message.into();
        match self.send_stream(envelope.into().with_content(Content::of(&message)))? {
            EnvelopeOutcome::Rejected(report) => Ok(report),
            EnvelopeOutcome::Accepted(writer) => Ok(writer.send_all(message)),
        }
    }

    /// Sends the envelope, and returns the writer for the message when the server waits for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_stream(
        &mut self,
        envelope: impl Into<Transaction>,
    ) -> Result<EnvelopeOutcome<'_, C>, ClientError> {
        let mut transfer = MessageTransfer::new(envelope.into());
        let mut progress = Ok(self.session.start(|state, client, tx| transfer.start(state, client, tx))?);
        if matches!(progress, Ok(Progress::Continue)) {
            progress =
                self.session.until(|event, state, client, tx| transfer.event(&event, state, client, tx));
        }
        match progress {
            Ok(Progress::SendData) => Ok(EnvelopeOutcome::Accepted(MessageWriter { client: self, transfer })),
            Ok(_) => Ok(EnvelopeOutcome::Rejected(transfer.report())),
            Err(error) => Ok(EnvelopeOutcome::Rejected(self.lost(transfer, error))),
        }
    }

    fn lost(&mut self, transfer: MessageTransfer, error: ClientError) -> Report {
        self.session.with(|_, client, tx| transfer.lost(error, client, tx))
    }
}

/// Writes a message. Call [`finish`](Self::finish) at the end.
///
/// It takes a piece only when little output waits for the server. Dropping it without `finish` ends the session with
/// [`ClientError::Interrupted`], and the server discards the message.
#[derive(Debug)]
#[must_use = "write the message and call `finish`"]
pub struct MessageWriter<'c, C: Channel = Secure> {
    client: &'c mut SmtpClient<C>,
    transfer: MessageTransfer,
}

impl<C: Channel> MessageWriter<'_, C> {
    /// Sends a whole message.
    fn send_all(mut self, message: Bytes) -> Report {
        match self.put_all(message) {
            Ok(()) => self.finish(),
            Err(error) => self.failed(error),
        }
    }

    fn put_all(&mut self, mut message: Bytes) -> Result<(), ClientError> {
        while !message.is_empty() && !self.transfer.is_done() {
            self.await_room()?;
            let piece = message.split_to(message.len().min(PIECE));
            let transfer = &self.transfer;
            self.client.session.with(|_, client, tx| transfer.write_payload(&piece, client, tx))?;
        }
        Ok(())
    }

    /// Ends the message and waits for the server's replies.
    pub fn finish(mut self) -> Report {
        if self.transfer.is_done() {
            return self.transfer.report();
        }
        let Self { client, transfer } = &mut self;
        let ended = client.session.with(|state, client, tx| transfer.end(state, client, tx));
        let replied = ended
            .and_then(|()| client.session.until(|event, _, client, tx| transfer.replied(&event, client, tx)));
        match replied {
            Ok(()) => self.transfer.report(),
            Err(error) => self.failed(error),
        }
    }

    fn failed(self, error: ClientError) -> Report {
        // A message that cannot be sent must not be completed by accident.
        self.client.session.connection.cut();
        self.client.lost(self.transfer, error)
    }

    /// Waits until there is room for output, or the server has rejected the message early.
    fn await_room(&mut self) -> Result<(), ClientError> {
        let transfer = &mut self.transfer;
        self.client.session.drive(|event, state, client, tx| match event {
            ConnectionEvent::Writable => Ok(Some(())),
            ConnectionEvent::Machine(event) => {
                let progress = transfer.event(&event, state, client, tx)?;
                Ok((progress == Some(Progress::Done)).then_some(()))
            }
        })
    }
}

impl<C: Channel> Write for MessageWriter<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.transfer.is_done() {
            self.await_room()?;
        }
        if self.transfer.is_done() {
            // Rejected early: the server wants no more of it.
            return Ok(bytes.len());
        }
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        let transfer = &self.transfer;
        self.client.session.with(|_, client, tx| transfer.write(piece, client, tx))?;
        Ok(piece.len())
    }

    /// Does nothing: what was written leaves with the next write, or while [`finish`](MessageWriter::finish) waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
