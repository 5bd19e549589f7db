//! APPEND from the client's side: the payload goes out as the application gives it, never collected
//! (RFC 9051 §6.3.12, RFC 7888).
//!
//! This file counts octets. When the last announced one was given, the command's line end follows by itself.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::core::{Core, Deferred};
use super::queue::{CommandId, Floor};

impl Core {
    /// The server asks for the payload, or needs not to.
    pub(super) fn begin_payload(&mut self, id: CommandId, tx: &mut SendBuffer) {
        let size = self.queue.payload_of(id);
        self.queue.floor = Floor::Append(id, size);
        self.queue.ready = Some(id);
        self.stepped();
        self.end_payload(tx);
    }

    /// Tells the application of an APPEND whose payload is awaited.
    pub(super) fn announce_append(&mut self, tx: &mut SendBuffer) {
        if let Some(id) = self.queue.ready.take() {
            self.deferred.push_back(Deferred::AppendReady(id));
            self.end_payload(tx);
        }
    }

    /// The next octets of the payload. Returns how many are missing.
    pub(super) fn payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.count_payload(payload.len() as u64)?;
        tx.put_payload(payload);
        Ok(self.end_payload(tx))
    }

    /// The next octets of the payload were written past the buffer.
    pub(super) fn pass(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        if !tx.is_empty() {
            // They would have overtaken what waits.
            return Err(Misuse::WrongState.into());
        }
        self.count_payload(count)?;
        Ok(self.end_payload(tx))
    }

    fn count_payload(&mut self, count: u64) -> Result<(), Error> {
        let Floor::Append(id, left) = self.queue.floor else { return Err(Misuse::WrongState.into()) };
        let left = left.checked_sub(count).ok_or(Misuse::WrongLength)?;
        self.queue.floor = Floor::Append(id, left);
        self.stepped();
        Ok(())
    }

    /// Ends the command behind the payload's last octet.
    fn end_payload(&mut self, tx: &mut SendBuffer) -> u64 {
        match self.queue.floor {
            Floor::Append(id, 0) => {
                tx.put(b"\r\n");
                self.queue.said(id, tx);
                self.queue.release(tx);
                0
            }
            Floor::Append(_, left) => left,
            _ => 0,
        }
    }
}
