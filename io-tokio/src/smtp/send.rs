//! Sending a message: from memory, or written piece by piece.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use proto_mail::{Channel, Secure, SendBuffer};
use proto_smtp::client::{Client, Content, Outcome, Progress, Recipient, Transaction};
use tokio::io::AsyncWrite;

use super::client::{SmtpClient, Unfinished};
use crate::{connection::ConnectionEvent, error::Error};

/// The largest piece that is queued at once, in bytes.
const PIECE: usize = 32 * 1024;

/// The outcome of a message, for each recipient.
#[derive(Debug)]
pub struct Report {
    transaction: Transaction,
    error: Option<Error>,
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

    /// Returns the error that ended the session, if one did. The outcomes say whether the message may have arrived.
    #[must_use]
    pub const fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Returns the finished transaction: [`Transaction::rest`] has the recipients that did not fit into it.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}

/// What follows the envelope.
#[derive(Debug)]
pub enum Begun<'c, C: Channel = Secure> {
    /// At least one recipient was accepted: write the message.
    Writer(MessageWriter<'c, C>),
    /// The message is not wanted: every recipient has its outcome.
    Over(Report),
}

impl<C: Channel> SmtpClient<C> {
    /// Sends a message and returns the outcome for each recipient. The message is not copied. It must end its lines
    /// with CRLF, unless the configuration says
    /// [`LineEndings::Normalize`](proto_smtp::data::LineEndings::Normalize).
    ///
    /// A connection that is lost is reported in [`Report::error`]; the outcomes say whether the message may have arrived.
    ///
    /// # Errors
    /// The message was not sent: the session was over before, or the envelope cannot be written.
    pub async fn send(
        &mut self,
        envelope: impl Into<Transaction>,
        message: impl Into<Bytes>,
    ) -> Result<Report, Error> {
        let message = message.into();
        let transaction = envelope.into().with_content(Content::of(&message));
        match self.begin(transaction).await? {
            Begun::Over(report) => Ok(report),
            Begun::Writer(writer) => Ok(writer.send_all(message).await),
        }
    }

    /// Sends the envelope, and returns the writer for the message when the server waits for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn begin(&mut self, envelope: impl Into<Transaction>) -> Result<Begun<'_, C>, Error> {
        self.settle().await?;
        let mut transaction = envelope.into();
        self.unfinished = Unfinished::Envelope;
        let begun = match self.connection.with(|client, tx| transaction.start(client, tx)) {
            Ok(Progress::Continue) => {
                let unfinished = &mut self.unfinished;
                let step =
                    |event: ConnectionEvent<'_, Client<C>>, client: &mut Client<C>, tx: &mut SendBuffer| {
                        let ConnectionEvent::Machine(event) = event else { return Ok(None) };
                        let progress = transaction.event(&event, client, tx)?;
                        note(progress, unfinished);
                        Ok::<_, Error>((progress != Progress::Continue).then_some(progress))
                    };
                self.connection.drive(step).await
            }
            Ok(progress) => {
                note(progress, &mut self.unfinished);
                Ok(progress)
            }
            // The program's mistake, not the connection's. What was given is reset with the next command.
            Err(error) => return Err(error.into()),
        };
        match begun {
            Ok(Progress::SendData) => Ok(Begun::Writer(MessageWriter { client: self, transaction })),
            Ok(_) => Ok(Begun::Over(Report { transaction, error: None })),
            Err(error) => Ok(Begun::Over(self.lost(transaction, error))),
        }
    }

    /// Gives every recipient without an outcome one, after the session has failed.
    fn lost(&mut self, mut transaction: Transaction, error: Error) -> Report {
        let _ = self.connection.with(|client, tx| transaction.lost(client, tx));
        Report { transaction, error: Some(error) }
    }
}

/// Notes what the server waits for.
const fn note(progress: Progress, unfinished: &mut Unfinished) {
    match progress {
        Progress::Continue => {}
        Progress::SendData => *unfinished = Unfinished::Message,
        Progress::Done => *unfinished = Unfinished::Replies,
    }
}

/// Writes a message. Call [`finish`](Self::finish) at the end.
///
/// It takes a piece only when little output waits for the server. Dropping it without `finish` ends the session with
/// [`Error::Interrupted`], and the server discards the message.
#[derive(Debug)]
#[must_use = "write the message and call `finish`"]
pub struct MessageWriter<'c, C: Channel = Secure> {
    client: &'c mut SmtpClient<C>,
    transaction: Transaction,
}

impl<C: Channel> MessageWriter<'_, C> {
    /// Sends a whole message.
    async fn send_all(mut self, mut message: Bytes) -> Report {
        while !message.is_empty() {
            let written = std::future::poll_fn(|cx| {
                ready!(self.poll_room(cx))?;
                let piece = message.split_to(message.len().min(PIECE));
                let written = self.client.connection.with(|client, tx| {
                    client.data_writer().and_then(|mut writer| writer.write_payload(&piece, tx))
                });
                Poll::Ready(written.map_err(Error::from))
            });
            if let Err(error) = written.await {
                return self.failed(error);
            }
            if self.transaction.is_done() {
                break;
            }
        }
        self.finish().await
    }

    /// Ends the message and waits for the server's replies.
    pub async fn finish(mut self) -> Report {
        if !self.transaction.is_done() {
            let ended = self.client.connection.with(|client, tx| client.data_writer()?.finish(tx));
            if let Err(error) = ended {
                return self.failed(error.into());
            }
            self.client.unfinished = Unfinished::Replies;
            let transaction = &mut self.transaction;
            let replied = self.client.until(|event, client, tx| {
                let progress = transaction.event(&event, client, tx)?;
                Ok((progress == Progress::Done).then_some(()))
            });
            if let Err(error) = replied.await {
                return self.failed(error);
            }
        }
        Report { transaction: self.transaction, error: None }
    }

    fn failed(self, error: Error) -> Report {
        // A message that cannot be sent must not be completed by accident.
        self.client.connection.cut();
        self.client.lost(self.transaction, error)
    }

    /// Waits until there is room for output, or the server has rejected the message early.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let transaction = &mut self.transaction;
        let unfinished = &mut self.client.unfinished;
        let step =
            &mut |event: ConnectionEvent<'_, Client<C>>, client: &mut Client<C>, tx: &mut SendBuffer| {
                match event {
                    ConnectionEvent::Writable => Ok(Some(())),
                    ConnectionEvent::Machine(event) => {
                        let progress = transaction.event(&event, client, tx)?;
                        note(progress, unfinished);
                        Ok::<_, Error>((progress == Progress::Done).then_some(()))
                    }
                }
            };
        self.client.connection.poll_drive(step, cx)
    }
}

impl<C: Channel> AsyncWrite for MessageWriter<'_, C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.transaction.is_done() {
            // Rejected early: the server wants no more of it.
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_room(cx))?;
        if this.transaction.is_done() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        let written = this.client.connection.with(|client, tx| client.data_writer()?.write(piece, tx));
        written.map_err(Error::from)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written leaves with the next write, or while `finish` waits.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
