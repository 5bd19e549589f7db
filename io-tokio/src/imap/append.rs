//! APPEND: a message from memory, or written piece by piece.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use io_common::client::{AppendProgress, AppendedUid, ConnectionEvent, ImapState};
use proto_imap::{client::Client, types::AppendCommand};
use proto_mail::{Channel, Secure, SendBuffer};
use tokio::io::AsyncWrite;

use super::client::ImapClient;
use crate::error::Error;

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
            writer.put(message.split_to(writer.progress.next_piece(message.len())))?;
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
        let begin = |state: &mut ImapState, client: &mut Client<C>, tx: &mut SendBuffer| {
            AppendProgress::start(&append, size, state, client, tx)
        };
        let progress = self.session.start(begin).await?;
        self.session.until(|event, state, _, _| progress.ready(&event, state)).await?;
        Ok(AppendWriter { client: self, progress })
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
    progress: AppendProgress,
}

impl<C: Channel> AppendWriter<'_, C> {
    /// Returns how many bytes are still to be written.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.progress.left()
    }

    /// Waits until there is room for the next piece, if as many bytes are there to write.
    fn poll_room(&mut self, offered: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let waiting = self.progress.room(offered);
        self.client.session.poll_drive(
            &mut |event: ConnectionEvent<'_, Client<C>>,
                  _: &mut ImapState,
                  _: &mut Client<C>,
                  tx: &mut SendBuffer| {
                let has_room = matches!(event, ConnectionEvent::Writable) && tx.len() <= waiting;
                Ok(has_room.then_some(()))
            },
            cx,
        )
    }

    fn put(&mut self, piece: Bytes) -> Result<(), Error> {
        let progress = &mut self.progress;
        self.client.session.with(|state, client, tx| progress.write(piece, state, client, tx))
    }

    /// Waits until the server has stored the message. Returns its UID, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// [`Error::Imap`] if the server rejects it; [`Error::Invalid`] if bytes are missing, which ends the session; the
    /// connection or the session failed.
    pub async fn finish(self) -> Result<Option<AppendedUid>, Error> {
        let Self { client, progress } = self;
        match progress.finish(&mut client.session.state)? {
            Some(uid) => Ok(uid),
            None => client.session.until(|event, state, _, _| progress.completion(event, state)).await,
        }
    }
}

impl<C: Channel> AsyncWrite for AppendWriter<'_, C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.left() == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        ready!(this.poll_room(bytes.len(), cx))?;
        let count = this.progress.next_piece(bytes.len());
        this.put(Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default()))?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written leaves with the next write, or while `finish` waits.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
