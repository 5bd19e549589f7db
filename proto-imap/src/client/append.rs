//! Sends an APPEND's message in chunks, as the application provides them (RFC 9051 §6.3.12, RFC 7888).
//!
//! The message is never buffered as a whole. The client counts its bytes, and sends the command's line end after the
//! last announced byte.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::command_id::CommandId;
use super::outgoing::{ActiveCommand, Notified};
use super::session::{PendingEvent, Session};

impl Session {
    /// Handles the server's request for the message.
    pub(super) fn begin_payload(&mut self, id: CommandId, size: u64, tx: &mut SendBuffer) {
        self.commands.active = ActiveCommand::AppendPayload { id, left: size, announced: Notified::No };
        self.step_done();
        self.end_payload(tx);
    }

    /// Reports to the application that it may write an APPEND's message.
    pub(super) fn announce_append(&mut self, tx: &mut SendBuffer) {
        if self.commands.active.is_unannounced() {
            self.note_announced();
            self.end_payload(tx);
        }
    }

    fn note_announced(&mut self) {
        if let ActiveCommand::AppendPayload { id, announced: announced @ Notified::No, .. } =
            &mut self.commands.active
        {
            *announced = Notified::Yes;
            self.pending.push_back(PendingEvent::AppendReady(*id));
        }
    }

    /// Sends the next bytes of the message. Returns how many are still missing.
    pub(super) fn payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.count_payload(payload.len() as u64)?;
        tx.put_payload(payload);
        Ok(self.end_payload(tx))
    }

    /// Counts the next bytes of the message, which the driver writes itself. Returns how many are still missing.
    pub(super) fn written_externally(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        if !tx.is_empty() {
            // These bytes would overtake the ones in the buffer.
            return Err(Misuse::WrongState.into());
        }
        self.count_payload(count)?;
        Ok(self.end_payload(tx))
    }

    fn count_payload(&mut self, count: u64) -> Result<(), Error> {
        let ActiveCommand::AppendPayload { left, .. } = &mut self.commands.active else {
            return Err(Misuse::WrongState.into());
        };
        *left = left.checked_sub(count).ok_or(Misuse::WrongLength)?;
        self.step_done();
        Ok(())
    }

    /// Ends the command after the message's last byte.
    fn end_payload(&mut self, tx: &mut SendBuffer) -> u64 {
        match self.commands.active {
            ActiveCommand::AppendPayload { id, left: 0, .. } => {
                self.note_announced();
                tx.put(b"\r\n");
                self.commands.line_queued(id, tx);
                self.commands.release(tx);
                0
            }
            ActiveCommand::AppendPayload { left, .. } => left,
            _ => 0,
        }
    }
}
