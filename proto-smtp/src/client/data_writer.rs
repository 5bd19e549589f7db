//! Writing a message: DATA with its dots, BDAT with its counted chunks.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer, trace::TraceKind};

use super::core::{Core, State};
use super::event::Step;
use crate::chunking::ChunkEnd;

/// Writes a message, or one chunk of it, part by part. Get one whenever there is something to write: it holds nothing
/// itself, and dropping it ends nothing.
///
/// Watch [`SendBuffer::len`]: what is written waits there until it is sent.
#[derive(Debug)]
pub struct DataWriter<'c> {
    core: &'c mut Core,
}

impl<'c> DataWriter<'c> {
    pub(super) fn new(core: &'c mut Core) -> Result<Self, Error> {
        match core.state {
            State::Data(_) | State::Chunk { .. } => Ok(Self { core }),
            State::Failed(error) => Err(error),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next part. In DATA dots are stuffed; in a chunk bytes go as they are.
    ///
    /// # Errors
    /// [`ForbiddenByte`](Misuse::ForbiddenByte): the message holds a NUL, or a bare CR or LF under
    /// [`LineEndings::Require`](crate::data::LineEndings::Require). Part of it is written, so that the session is over:
    /// close the connection, and the server has no message. [`WrongLength`](Misuse::WrongLength): more than the chunk
    /// was announced to hold; nothing was written.
    pub fn write(&mut self, bytes: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Data(stuffing) => {
                let written = stuffing.write(bytes, |piece| tx.put_as(piece, TraceKind::Data));
                written.map_err(|_| self.core.fail(Misuse::ForbiddenByte.into()))
            }
            State::Chunk { left, .. } => {
                take(left, bytes.len() as u64)?;
                tx.put_as(bytes, TraceKind::Data);
                Ok(())
            }
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next part without copying it: what needs no stuffing passes as it is.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_payload(&mut self, payload: &Bytes, tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Data(stuffing) => {
                let written = stuffing.write(payload, |piece| match place(payload, piece) {
                    Some(at) => tx.put_payload(payload.slice(at..at + piece.len())),
                    None => tx.put_as(piece, TraceKind::Data),
                });
                written.map_err(|_| self.core.fail(Misuse::ForbiddenByte.into()))
            }
            State::Chunk { left, .. } => {
                take(left, payload.len() as u64)?;
                tx.put_payload(payload.clone());
                Ok(())
            }
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Accounts for bytes of a chunk that the driver has written itself, past `tx` and after everything in it.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) in DATA, where dots must be looked for, or if something waits in `tx`;
    /// [`WrongLength`](Misuse::WrongLength) as for [`write`](Self::write).
    pub fn written_externally(&mut self, bytes: u64, tx: &SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Chunk { left, .. } if tx.is_empty() => take(left, bytes),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Ends the message, or the chunk. The replies are events.
    ///
    /// # Errors
    /// [`ForbiddenByte`](Misuse::ForbiddenByte): the message ends with a bare CR; the session is over.
    /// [`WrongLength`](Misuse::WrongLength): the chunk has fewer bytes than were announced.
    pub fn finish(self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.core.state {
            State::Data(stuffing) => {
                let finished = stuffing.clone().finish(|piece| tx.put(piece));
                if finished.is_err() {
                    return Err(self.core.fail(Misuse::ForbiddenByte.into()));
                }
                self.core.expect_message(tx);
            }
            State::Chunk { left: 0, end: ChunkEnd::More } => {
                self.core.state = State::Session;
                self.core.expect(Step::Chunk, tx);
            }
            State::Chunk { left: 0, end: ChunkEnd::Last } => self.core.expect_message(tx),
            State::Chunk { .. } => return Err(Misuse::WrongLength.into()),
            _ => return Err(Misuse::WrongState.into()),
        }
        Ok(())
    }
}

fn take(left: &mut u64, bytes: u64) -> Result<(), Error> {
    *left = left.checked_sub(bytes).ok_or(Misuse::WrongLength)?;
    Ok(())
}

/// Where a piece lies in the payload; what was put between the pieces does not.
fn place(payload: &[u8], piece: &[u8]) -> Option<usize> {
    let at = piece.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
    (at.checked_add(piece.len())? <= payload.len()).then_some(at)
}
