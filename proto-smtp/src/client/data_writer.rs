//! Writing a message: DATA with its dots, BDAT with its counted chunks.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer, trace::TraceKind};

use super::core::{Core, State};
use super::event::Step;
use crate::chunking::ChunkEnd;

/// Writes a message, or one chunk of it, part by part. It holds no state: get one whenever there is something to write.
/// Dropping it does not end the message.
///
/// Written bytes wait in the send buffer. Use [`SendBuffer::len`] to limit them.
#[derive(Debug)]
pub struct DataWriter<'c> {
    core: &'c mut Core,
}

impl<'c> DataWriter<'c> {
    pub(super) fn new(core: &'c mut Core) -> Result<Self, Error> {
        match &core.state {
            State::Data(_) | State::Chunk { .. } => Ok(Self { core }),
            State::Failed(error) => Err(error.clone()),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next part. DATA adds dots where needed; a chunk is written unchanged.
    ///
    /// # Errors
    /// [`InvalidMessage`](Misuse::InvalidMessage): the part holds a NUL, or a bare CR or LF under
    /// [`LineEndings::Require`](crate::data::LineEndings::Require). Some of it was written, so the session is over:
    /// close the connection, and the server discards the message. [`WrongLength`](Misuse::WrongLength): the part exceeds
    /// the announced size of the chunk; nothing was written.
    pub fn write(&mut self, bytes: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Data(stuffer) => {
                let written = stuffer.write(bytes, |piece| tx.put_as(piece, TraceKind::Data));
                written.map_err(|_| self.core.fail(Misuse::InvalidMessage.into()))
            }
            State::Chunk { left, .. } => {
                subtract(left, bytes.len() as u64)?;
                tx.put_as(bytes, TraceKind::Data);
                Ok(())
            }
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next part without copying it. Only added dots and line ends are written in between.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_payload(&mut self, payload: &Bytes, tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Data(stuffer) => {
                let written = stuffer.write(payload, |piece| match offset_in(payload, piece) {
                    Some(at) => tx.put_payload(payload.slice(at..at + piece.len())),
                    None => tx.put_as(piece, TraceKind::Data),
                });
                written.map_err(|_| self.core.fail(Misuse::InvalidMessage.into()))
            }
            State::Chunk { left, .. } => {
                subtract(left, payload.len() as u64)?;
                tx.put_payload(payload.clone());
                Ok(())
            }
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Counts `count` bytes of a chunk that the driver has written to the network itself, after everything in `tx`.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) in DATA, which may need dots, or if `tx` is not empty;
    /// [`WrongLength`](Misuse::WrongLength) as for [`write`](Self::write).
    pub fn written_externally(&mut self, count: u64, tx: &SendBuffer) -> Result<(), Error> {
        match &mut self.core.state {
            State::Chunk { left, .. } if tx.is_empty() => subtract(left, count),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Ends the message, or the chunk. The replies come as events.
    ///
    /// # Errors
    /// [`InvalidMessage`](Misuse::InvalidMessage): the message ends with a bare CR; the session is over.
    /// [`WrongLength`](Misuse::WrongLength): the chunk is shorter than announced.
    pub fn finish(self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.core.state {
            State::Data(stuffer) => {
                let finished = stuffer.clone().finish(|piece| tx.put(piece));
                if finished.is_err() {
                    return Err(self.core.fail(Misuse::InvalidMessage.into()));
                }
                self.core.expect_message_replies(tx);
            }
            State::Chunk { left: 0, end: ChunkEnd::More } => {
                self.core.state = State::Session;
                self.core.replies.push(Step::Chunk, tx);
            }
            State::Chunk { left: 0, end: ChunkEnd::Last } => self.core.expect_message_replies(tx),
            State::Chunk { .. } => return Err(Misuse::WrongLength.into()),
            _ => return Err(Misuse::WrongState.into()),
        }
        Ok(())
    }
}

fn subtract(left: &mut u64, bytes: u64) -> Result<(), Error> {
    *left = left.checked_sub(bytes).ok_or(Misuse::WrongLength)?;
    Ok(())
}

/// Returns the offset of a piece in the payload; `None` if it was added between pieces.
fn offset_in(payload: &[u8], piece: &[u8]) -> Option<usize> {
    let at = piece.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
    (at.checked_add(piece.len())? <= payload.len()).then_some(at)
}
