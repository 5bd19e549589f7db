//! APPEND: a message from memory or a reader, or written piece by piece.

use std::io::{self, Read, Write};

use bytes::Bytes;
use io_common::client::{AppendProgress, AppendedUid, ClientError, ConnectionEvent};
use proto_imap::types::AppendCommand;
use proto_mail::{Channel, Secure};

use super::client::ImapClient;

impl<C: Channel> ImapClient<C> {
    /// Appends a message to a mailbox: `"INBOX"`, or an [`AppendCommand`] with flags and a date. The message is not copied.
    /// Returns its UID, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server rejects it; the connection or the session failed.
    pub fn append<'a>(
        &mut self,
        append: impl Into<AppendCommand<'a>>,
        message: impl Into<Bytes>,
    ) -> Result<Option<AppendedUid>, ClientError> {
        let mut message = message.into();
        let mut writer = self.append_stream(append, message.len() as u64)?;
        while !message.is_empty() {
            writer.await_room(message.len())?;
            writer.put(message.split_to(writer.progress.next_piece(message.len())))?;
        }
        writer.finish()
    }

    /// As [`append`](Self::append), with the message from a reader, which must return `size` bytes: not more of it is read.
    /// One piece is in memory at a time.
    ///
    /// # Errors
    /// As [`append`](Self::append). An error of the reader, or too few bytes, end the session.
    pub fn append_from<'a>(
        &mut self,
        append: impl Into<AppendCommand<'a>>,
        message: impl Read,
        size: u64,
    ) -> Result<Option<AppendedUid>, ClientError> {
        let mut writer = self.append_stream(append, size)?;
        io::copy(&mut message.take(size), &mut writer)?;
        writer.finish()
    }

    /// Begins to append a message of `size` bytes, and returns the writer for it when the server waits for the message.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_stream<'a>(
        &mut self,
        append: impl Into<AppendCommand<'a>>,
        size: u64,
    ) -> Result<AppendWriter<'_, C>, ClientError> {
        let append = append.into();
        let progress = self
            .session
            .start(|state, client, tx| AppendProgress::start(&append, size, state, client, tx))?;
        self.session.until(|event, state, _, _| progress.ready(&event, state))?;
        Ok(AppendWriter { client: self, progress })
    }
}

/// Writes the message of an APPEND. Call [`finish`](Self::finish) at the end.
///
/// It takes a piece only when little output waits for the server. Dropping it before all bytes were written ends the
/// session with [`ClientError::Interrupted`]: the server waits for them.
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
    fn await_room(&mut self, offered: usize) -> Result<(), ClientError> {
        let waiting = self.progress.room(offered);
        self.client.session.drive(|event, _, _, tx| {
            let has_room = matches!(event, ConnectionEvent::Writable) && tx.len() <= waiting;
            Ok(has_room.then_some(()))
        })
    }

    fn put(&mut self, piece: Bytes) -> Result<(), ClientError> {
        let progress = &mut self.progress;
        self.client.session.with(|state, client, tx| progress.write(piece, state, client, tx))
    }

    /// Waits until the server has stored the message. Returns its UID, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server rejects it; [`ClientError::Invalid`] if bytes are missing, which ends the
    /// session; the connection or the session failed.
    pub fn finish(self) -> Result<Option<AppendedUid>, ClientError> {
        let Self { client, progress } = self;
        match progress.finish(&mut client.session.state)? {
            Some(uid) => Ok(uid),
            None => client.session.until(|event, state, _, _| progress.completion(event, state)),
        }
    }
}

impl<C: Channel> Write for AppendWriter<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.left() == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.await_room(bytes.len())?;
        let count = self.progress.next_piece(bytes.len());
        self.put(Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default()))?;
        Ok(count)
    }

    /// Does nothing: what was written leaves with the next write, or while [`finish`](AppendWriter::finish) waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
