//! APPEND from the server's side: a message comes as it is, in pieces of the receive buffer (RFC 9051 §6.3.12,
//! RFC 7888).
//!
//! This file counts octets. What was announced and refused is swallowed, never obeyed.

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer};

use super::core::{Core, Found, Input, Owed};
use super::event::{Happened, LiteralOffer, Reply};
use super::fetch::Writing;
use super::reply::{Refusal, outcome};
use crate::frame::{Binary, LiteralHeader, Sync};
use crate::parse;
use crate::state::{Effect, Outcome};
use crate::types::StatusResponse;

impl Core {
    /// An APPEND command up to the announcement of its message.
    pub(super) fn append<'i>(
        &mut self,
        bytes: &'i [u8],
        announced: LiteralHeader,
        tx: &mut SendBuffer,
    ) -> Result<Happened<'i>, Error> {
        let len = bytes.len();
        let append = match parse::append_prefix(bytes, &self.context) {
            Ok((_, append, _)) => append,
            Err(unparsed) => {
                self.refuse_unparsed(len, announced, &unparsed, tx)?;
                return Ok(Happened::Unparsed(unparsed));
            }
        };
        if announced.binary == Binary::Yes && !self.config.extensions.iter().any(|name| *name == "BINARY") {
            let refusal = Refusal::bad("a literal8 needs BINARY, which is not offered");
            self.refuse_at_literal(len, announced, refusal, tx)?;
            return Ok(Happened::AppendAborted);
        }
        self.consume = len;
        self.command_ended();
        self.owed = Owed::Literal(announced.size, announced.sync);
        Ok(Happened::Append {
            offer: LiteralOffer { serial: self.next_serial() },
            mailbox: append.mailbox,
            flags: append.flags,
            date: append.date,
            size: announced.size,
        })
    }

    /// Refuses an APPEND that cannot be read, before its message comes.
    fn refuse_unparsed(
        &mut self,
        len: usize,
        announced: LiteralHeader,
        why: &parse::UnparsedCommand<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.consume = len;
        self.command_ended();
        match announced.sync {
            Sync::Synchronising => self.put_bad(why, tx),
            Sync::NonSynchronising => {
                self.count_error(&Refusal::bad(""), tx)?;
                self.refusal = self.line("BAD", &alloc::format!("{why}"));
                self.input = Input::Refused(announced.size);
                Ok(())
            }
        }
    }

    fn offered(&mut self, offer: &LiteralOffer) -> Result<(u64, Sync), Error> {
        self.check(offer.serial)?;
        match self.owed {
            Owed::Literal(size, sync) => Ok((size, sync)),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    /// The application wants the message.
    pub(super) fn accept_literal(&mut self, offer: &LiteralOffer, tx: &mut SendBuffer) -> Result<(), Error> {
        let (size, sync) = self.offered(offer)?;
        if self.writing != Writing::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        if sync == Sync::Synchronising {
            tx.put(b"+ go on\r\n");
        }
        self.owed = Owed::Nothing;
        self.input = Input::Payload(size);
        self.command_ended();
        Ok(())
    }

    /// The application does not want the message.
    pub(super) fn reject_literal(
        &mut self,
        offer: &LiteralOffer,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let (size, sync) = self.offered(offer)?;
        if outcome(status)? == Outcome::Success {
            return Err(Misuse::WrongState.into());
        }
        match sync {
            Sync::Synchronising => self.put_status(status, tx)?,
            Sync::NonSynchronising => {
                let mut later = SendBuffer::new();
                self.put_status(status, &mut later)?;
                self.refusal = later.take();
                self.input = Input::Refused(size);
            }
        }
        self.owed = Owed::Nothing;
        self.command_ended();
        Ok(())
    }

    /// The next octets of the message.
    pub(super) fn payload<'i>(&mut self, left: u64, rx: &'i RecvBuffer) -> Happened<'i> {
        let len = rx.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.consume = len;
        self.input = Input::Payload(left.saturating_sub(len as u64));
        self.stepped();
        Happened::AppendChunk(rx.bytes().get(..len).unwrap_or_default())
    }

    /// The line behind the message: it must be empty.
    pub(super) fn payload_end(
        &mut self,
        end: usize,
        announced: Option<LiteralHeader>,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        self.input = Input::Command;
        if end == 2 {
            self.owed = Owed::Reply(Effect::None);
            let reply = Reply { serial: self.next_serial() };
            return Ok(Found::Happened(Happened::AppendEnd(reply)));
        }
        let refusal = Refusal::bad("nothing may follow the message");
        match announced {
            Some(announced) => self.refuse_at_literal(end, announced, refusal, tx)?,
            None => self.refuse_command(end, refusal, tx)?,
        };
        Ok(Found::Happened(Happened::AppendAborted))
    }
}
