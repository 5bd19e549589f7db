//! The server's side of COMPRESS (RFC 4978): the gate between uncompressed and compressed bytes.
//!
//! The application accepts COMPRESS. Then the machine marks the gate in both buffers
//! ([`RecvBuffer::begin_compression`], [`SendBuffer::begin_compression`]) and reads nothing until the driver has taken
//! the compressed bytes. The machine does not compress. Bytes behind the command end the session.

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer};

use super::Server;
use super::compression::Compression;
use super::event::CompressRequest;
use super::reply::outcome;
use super::session::{Session, Turn};
use super::unfinished::Unfinished;
use crate::state::Outcome;
use crate::types::StatusResponse;

impl Server<proto_mail::Secure> {
    /// Agrees to compress: everything behind the reply is compressed with DEFLATE, in both directions. The driver must
    /// support it: see [`SendBuffer::begin_compression`] and [`RecvBuffer::begin_compression`].
    ///
    /// # Errors
    /// [`Misuse::StaleToken`] if the request is not the open one; [`Misuse::WrongLength`] if a FETCH response is not
    /// finished.
    pub fn accept_compression(&mut self, request: CompressRequest, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.answer(|session| session.accept_compression(&request, tx))
    }

    /// Refuses to compress.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`] if the request is not the open one; [`Misuse::WrongState`] if the status is not NO or BAD;
    /// [`Misuse::ForbiddenByte`] if it cannot be written.
    pub fn refuse_compression(
        &mut self,
        request: CompressRequest,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer(|session| session.refuse_compression(&request, status, tx))
    }
}

impl Session {
    fn check_compress_request(&self, request: &CompressRequest) -> Result<(), Error> {
        self.check_token(&request.token)?;
        if matches!(self.turn, Turn::Compress) { Ok(()) } else { Err(Misuse::StaleToken.into()) }
    }

    fn accept_compression(&mut self, request: &CompressRequest, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_compress_request(request)?;
        if self.unfinished != Unfinished::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        self.put_tagged("OK", "DEFLATE active", tx);
        tx.begin_compression();
        self.compression = Compression::Agreed;
        self.turn = Turn::Command;
        self.command_ended();
        Ok(())
    }

    fn refuse_compression(
        &mut self,
        request: &CompressRequest,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_compress_request(request)?;
        if outcome(status)? == Outcome::Success {
            return Err(Misuse::WrongState.into());
        }
        self.put_status(status, tx)?;
        self.turn = Turn::Command;
        self.command_ended();
        Ok(())
    }

    /// Passes the gate. Returns false while the driver has not taken the compressed bytes: nothing may be read then.
    pub(super) const fn passes_compression_gate(&mut self, rx: &mut RecvBuffer) -> bool {
        if matches!(self.compression, Compression::Agreed) {
            rx.begin_compression();
            self.compression = Compression::On;
        }
        !rx.is_compression_due()
    }
}
