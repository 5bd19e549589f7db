//! APPEND: a message from memory, or written piece by piece.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use proto_imap::{
    client::{Client, CommandId, Event},
    types::{AppendCommand, Owned, ResponseCode, StatusResponse},
};
use proto_mail::{Channel, Secure, SendBuffer};
use tokio::io::AsyncWrite;

use super::client::{ImapClient, Unfinished, accepted};
use crate::{connection::ConnectionEvent, error::Error};

/// The largest piece that a writer takes at once, in bytes.
const PIECE: usize = 32 * 1024;

/// The identity of an appended message (UIDPLUS, RFC 4315).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedUid {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// The message's UID.
    pub uid: u32,
}

impl<C: Channel> ImapClient<C> {
    /// Appends a message to a mailbox: `"INBOX"`, or an [`AppendCommand`] with flags and a date. The message is not copied.
    /// Returns its UID, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// [`Error::Imap`] if the server rejects it; the connection or the session failed.
    pub async fn append(
        &mut self,
        append: impl Into<AppendCommand<'_>>,
        message: impl Into<Bytes>,
    ) -> Result<Option<AppendedUid>, Error> {
        let mut message = message.into();
        let mut writer = self.append_stream(append, message.len() as u64).await?;
        while !message.is_empty() {
            poll_fn(|cx| writer.poll_room(message.len(), cx)).await?;
            writer.put(message.split_to(message.len().min(PIECE)))?;
        }
        writer.finish().await
    }

    /// Begins to append a message of `size` bytes, and returns the writer for it when the server waits for the message.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_stream(
        &mut self,
        append: impl Into<AppendCommand<'_>>,
        size: u64,
    ) -> Result<AppendWriter<'_, C>, Error> {
        let append = append.into();
        let id = self.start(|client, tx| client.append(&append, size, tx)).await?;
        (self.tracker.unfinished, self.tracker.early) = (Unfinished::Append(id), None);
        let begun = self.until(|event, tracker| match event {
            Event::AppendReady(ready) if ready == id => Ok(Some(Ok(()))),
            Event::Completed { id: completed, status } if completed == id => {
                // Refused before the message began.
                (tracker.unfinished, tracker.early) = (Unfinished::Nothing, None);
                Ok(Some(accepted(&status).map(drop)))
            }
            _ => Ok(None),
        });
        begun.await??;
        let mut writer = AppendWriter { client: self, id, left: size };
        writer.note_written();
        Ok(writer)
    }
}

/// Writes the message of an APPEND. Call [`finish`](Self::finish) at the end.
///
/// It takes a piece only when little output waits for the server. Dropping it before all bytes were written ends the
/// session with [`Error::Interrupted`]: the server waits for them.
#[derive(Debug)]
#[must_use = "write the message and call `finish`"]
pub struct AppendWriter<'c, C: Channel = Secure> {
    client: &'c mut ImapClient<C>,
    id: CommandId,
    left: u64,
}

impl<C: Channel> AppendWriter<'_, C> {
    /// Returns how many bytes are still to be written.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Waits until there is room for the next piece, of as many bytes.
    fn poll_room(&mut self, next: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // The last piece follows when everything before has left, so that an early rejection is still recognised as one:
        // a command that is queued completely cannot be answered before it was sent.
        let is_last = self.left <= next.min(PIECE) as u64;
        self.client.poll_room(if is_last { 0 } else { usize::MAX }, cx)
    }

    fn put(&mut self, piece: Bytes) -> Result<(), Error> {
        self.left = self.client.connection.with(|client, tx| client.write_payload(piece, tx))?;
        self.note_written();
        Ok(())
    }

    /// After the last byte only the completion is awaited.
    fn note_written(&mut self) {
        let tracker = &mut self.client.tracker;
        if self.left == 0 && tracker.unfinished == Unfinished::Append(self.id) {
            tracker.unfinished =
                if tracker.early.is_some() { Unfinished::Nothing } else { Unfinished::Command(self.id) };
        }
    }

    /// Waits until the server has stored the message. Returns its UID, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// [`Error::Imap`] if the server rejects it; [`Error::Invalid`] if bytes are missing, which ends the session; the
    /// connection or the session failed.
    pub async fn finish(self) -> Result<Option<AppendedUid>, Error> {
        if self.left > 0 {
            return Err(Error::Invalid(format!("the message is {} bytes shorter than announced", self.left)));
        }
        let status = match self.client.tracker.early.take() {
            Some(status) => accepted(&status.view())?,
            None => self.client.complete(self.id).await?,
        };
        Ok(appended(&status))
    }
}

fn appended(status: &Owned<StatusResponse<'static>>) -> Option<AppendedUid> {
    match status.view().code? {
        ResponseCode::AppendUid { uid_validity, uids } => {
            Some(AppendedUid { uid_validity, uid: uids.iter().next()? })
        }
        _ => None,
    }
}

impl<C: Channel> AsyncWrite for AppendWriter<'_, C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        ready!(this.poll_room(bytes.len(), cx))?;
        let left = usize::try_from(this.left).unwrap_or(usize::MAX);
        let piece = bytes.get(..bytes.len().min(PIECE).min(left)).unwrap_or_default();
        this.put(Bytes::copy_from_slice(piece))?;
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

impl<C: Channel> ImapClient<C> {
    /// Waits until there is room for output, and at most this much waits.
    fn poll_room(&mut self, waiting: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { connection, tracker, .. } = self;
        let step = &mut |event: ConnectionEvent<'_, Client<C>>, _: &mut Client<C>, tx: &mut SendBuffer| {
            match event {
                ConnectionEvent::Writable => Ok::<_, Error>((tx.len() <= waiting).then_some(())),
                ConnectionEvent::Machine(event) => {
                    tracker.note(&event);
                    Ok(None)
                }
            }
        };
        connection.poll_drive(step, cx)
    }
}
