//! Sending a message: from memory, or written piece by piece.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use io_common::client::{ConnectionEvent, MessageTransfer, PIECE, Report, SmtpState};
use proto_mail::{Channel, Secure, SendBuffer};
use proto_smtp::client::{Client, Content, Progress, Transaction};
use tokio::io::AsyncWrite;

use super::client::SmtpClient;
use crate::error::Error;

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
    pub async fn send(
        &mut self,
        envelope: impl Into<Transaction>,
        message: impl Into<Bytes>,
    ) -> Result<Report, Error> {
        let message = message.into();
        match self.send_stream(envelope.into().with_content(Content::of(&message))).await? {
            EnvelopeOutcome::Rejected(report) => Ok(report),
            EnvelopeOutcome::Accepted(writer) => Ok(writer.send_all(message).await),
        }
    }

    /// Sends the envelope, and returns the writer for the message when the server waits for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_stream(
        &mut self,
        envelope: impl Into<Transaction>,
    ) -> Result<EnvelopeOutcome<'_, C>, Error> {
        let mut transfer = MessageTransfer::new(envelope.into());
        let mut progress =
            Ok(self.session.start(|state, client, tx| transfer.start(state, client, tx)).await?);
        if matches!(progress, Ok(Progress::Continue)) {
            progress = self
                .session
                .until(|event, state, client, tx| transfer.event(&event, state, client, tx))
                .await;
        }
        match progress {
            Ok(Progress::SendData) => Ok(EnvelopeOutcome::Accepted(MessageWriter { client: self, transfer })),
            Ok(_) => Ok(EnvelopeOutcome::Rejected(transfer.report())),
            Err(error) => Ok(EnvelopeOutcome::Rejected(self.lost(transfer, error))),
        }
    }

    fn lost(&mut self, transfer: MessageTransfer, error: Error) -> Report {
        self.session.with(|_, client, tx| transfer.lost(error, client, tx))
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
    transfer: MessageTransfer,
}

impl<C: Channel> MessageWriter<'_, C> {
    /// Sends a whole message.
    async fn send_all(mut self, mut message: Bytes) -> Report {
        while !message.is_empty() && !self.transfer.is_done() {
            let written = poll_fn(|cx| {
                ready!(self.poll_room(cx))?;
                let piece = message.split_to(message.len().min(PIECE));
                let transfer = &self.transfer;
                Poll::Ready(
                    self.client.session.with(|_, client, tx| transfer.write_payload(&piece, client, tx)),
                )
            });
            if let Err(error) = written.await {
                return self.failed(error);
            }
        }
        self.finish().await
    }

    /// Ends the message and waits for the server's replies.
    pub async fn finish(mut self) -> Report {
        if self.transfer.is_done() {
            return self.transfer.report();
        }
        let Self { client, transfer } = &mut self;
        let ended = client.session.with(|state, client, tx| transfer.end(state, client, tx));
        let replied = match ended {
            Ok(()) => client.session.until(|event, _, client, tx| transfer.replied(&event, client, tx)).await,
            Err(error) => Err(error),
        };
        match replied {
            Ok(()) => self.transfer.report(),
            Err(error) => self.failed(error),
        }
    }

    fn failed(self, error: Error) -> Report {
        // A message that cannot be sent must not be completed by accident.
        self.client.session.connection.cut();
        self.client.lost(self.transfer, error)
    }

    /// Waits until there is room for output, or the server has rejected the message early.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let transfer = &mut self.transfer;
        self.client.session.poll_drive(
            &mut |event: ConnectionEvent<'_, Client<C>>,
                  state: &mut SmtpState,
                  client: &mut Client<C>,
                  tx: &mut SendBuffer| match event {
                ConnectionEvent::Writable => Ok(Some(())),
                ConnectionEvent::Machine(event) => {
                    let progress = transfer.event(&event, state, client, tx)?;
                    Ok((progress == Some(Progress::Done)).then_some(()))
                }
            },
            cx,
        )
    }
}

impl<C: Channel> AsyncWrite for MessageWriter<'_, C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.transfer.is_done() {
            ready!(this.poll_room(cx))?;
        }
        if this.transfer.is_done() {
            // Rejected early: the server wants no more of it.
            return Poll::Ready(Ok(bytes.len()));
        }
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        let transfer = &this.transfer;
        this.client.session.with(|_, client, tx| transfer.write(piece, client, tx))?;
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
