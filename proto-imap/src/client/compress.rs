//! The client's side of COMPRESS (RFC 4978): the gate between uncompressed and compressed bytes.
//!
//! Later commands wait for the server's reply. After OK the machine marks the gate in both buffers
//! ([`RecvBuffer::begin_compression`], [`SendBuffer::begin_compression`]) and reads nothing until the driver has taken
//! the compressed bytes. The machine does not compress.

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer};

use super::command_id::CommandId;
use super::compression::Compression;
use super::outgoing::{ActiveCommand, OutgoingCommand, OutgoingLine};
use super::session::{Session, Trust};
use crate::required_capabilities::is_command_offered;
use crate::state::State;
use crate::types::CommandName;

impl Session {
    /// Sends COMPRESS. Compression starts only after the login, so that no credentials are compressed.
    pub(super) fn compress(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.check(CommandName::Compress)?;
        let authenticated = self.state().is_some_and(State::is_authenticated);
        if self.trust == Trust::Cleartext || !authenticated || self.compression != Compression::Off {
            return Err(Misuse::WrongState.into());
        }
        if !is_command_offered(CommandName::Compress, |capability| self.offers(capability)) {
            return Err(Misuse::NotOffered.into());
        }
        self.done(tx)?;
        self.compression = Compression::Requested;
        let id = self.commands.next_id();
        let line = OutgoingLine::simple(alloc::format!("{id} COMPRESS DEFLATE\r\n").into_bytes());
        self.submit(id, OutgoingCommand::Compress, line, tx);
        Ok(id)
    }

    /// Handles the server's agreement. Everything that is queued from now on is compressed.
    pub(super) fn compression_agreed(&mut self, tx: &mut SendBuffer) {
        self.compression = Compression::Agreed;
        tx.begin_compression();
    }

    /// Passes the gate. Returns false while the driver has not taken the compressed bytes: nothing may be read then.
    pub(super) fn passes_compression_gate(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> bool {
        if self.compression == Compression::Agreed {
            rx.begin_compression();
            self.compression = Compression::Handover;
        }
        if self.compression == Compression::Handover {
            if rx.is_compression_due() {
                return false;
            }
            self.compression = Compression::On;
            if matches!(self.commands.active, ActiveCommand::Compress(_)) {
                self.commands.release(tx);
            }
        }
        true
    }
}
