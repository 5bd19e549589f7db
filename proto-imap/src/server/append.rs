//! The server's side of APPEND: a message arrives as slices of the receive buffer (RFC 9051 §6.3.12, RFC 7888).
//!
//! The server counts the message's bytes. It discards an announced message that was rejected, and never parses it as
//! commands.

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer};

use super::event::{CoreEvent, LiteralOffer, Reply};
use super::expunges::Expunges;
use super::refusal::Refusal;
use super::reply::outcome;
use super::session::{Found, Session, Turn};
use super::unfinished::Unfinished;
use crate::frame::{Binary, LiteralHeader, Sync};
use crate::parse;
use crate::state::{Effect, Outcome};
use crate::types::StatusResponse;

impl Session {
    /// Handles an APPEND command up to the announcement of its message.
    pub(super) fn append<'i>(
        &mut self,
        bytes: &'i [u8],
        announced: LiteralHeader,
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        let len = bytes.len();
        let append = match parse::append_prefix(bytes, &self.context) {
            Ok((_, append, _)) => append,
            Err(unparsed) => {
                self.refuse_unparsed(len, announced, &unparsed, tx)?;
                return Ok(CoreEvent::Unparsed(unparsed));
            }
        };
        if announced.binary == Binary::Yes && !self.config.offers("BINARY") {
            let refusal = Refusal::bad("a literal8 requires the BINARY extension, which is not offered");
            self.refuse_at_literal(len, announced, refusal, tx)?;
            return Ok(CoreEvent::AppendAborted);
        }
        self.reader.borrowed = len;
        self.command_ended();
        self.turn = Turn::Literal(announced.size, announced.sync);
        Ok(CoreEvent::Append {
            offer: LiteralOffer { token: self.tokens.issue() },
            mailbox: append.mailbox,
            flags: append.flags,
            date: append.date,
            size: announced.size,
        })
    }

    /// Rejects an APPEND that does not follow the grammar, before its message arrives.
    fn refuse_unparsed(
        &mut self,
        len: usize,
        announced: LiteralHeader,
        why: &parse::UnparsedCommand<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.reader.borrowed = len;
        self.command_ended();
        match announced.sync {
            Sync::Synchronising => self.put_bad(why, tx),
            Sync::NonSynchronising => {
                self.count_error(&Refusal::bad(""), tx)?;
                let refusal = self.line("BAD", &alloc::format!("{why}"));
                self.turn = Turn::Discarding { left: announced.size, refusal };
                Ok(())
            }
        }
    }

    fn offered(&mut self, offer: &LiteralOffer) -> Result<(u64, Sync), Error> {
        self.check_token(&offer.token)?;
        match self.turn {
            Turn::Literal(size, sync) => Ok((size, sync)),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    /// Accepts the message on behalf of the application.
    pub(super) fn accept_literal(&mut self, offer: &LiteralOffer, tx: &mut SendBuffer) -> Result<(), Error> {
        let (size, sync) = self.offered(offer)?;
        if self.unfinished != Unfinished::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        if sync == Sync::Synchronising {
            tx.put(b"+ go on\r\n");
        }
        self.turn = Turn::Message(size);
        self.command_ended();
        Ok(())
    }

    /// Rejects the message on behalf of the application.
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
            Sync::Synchronising => {
                self.put_status(status, tx)?;
                self.turn = Turn::Command;
            }
            Sync::NonSynchronising => {
                let mut later = SendBuffer::new();
                self.put_status(status, &mut later)?;
                self.turn = Turn::Discarding { left: size, refusal: later.take() };
            }
        }
        self.command_ended();
        Ok(())
    }

    /// Returns the next bytes of the message.
    pub(super) fn message_chunk<'i>(&mut self, left: u64, rx: &'i RecvBuffer) -> CoreEvent<'i> {
        let len = rx.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.reader.borrowed = len;
        self.turn = Turn::Message(left.saturating_sub(len as u64));
        self.step_done();
        CoreEvent::AppendChunk(rx.bytes().get(..len).unwrap_or_default())
    }

    /// Checks the line after the message: it must be empty.
    pub(super) fn message_end(
        &mut self,
        end: usize,
        announced: Option<LiteralHeader>,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        self.turn = Turn::Command;
        if end == 2 {
            self.turn = Turn::Reply { effect: Effect::None, expunges: Expunges::HeldBack };
            let reply = Reply { token: self.tokens.issue() };
            return Ok(Found::Event(CoreEvent::AppendEnd(reply)));
        }
        let refusal = Refusal::bad("only a line end may follow the message");
        match announced {
            Some(announced) => self.refuse_at_literal(end, announced, refusal, tx)?,
            None => self.refuse_command(end, refusal, tx)?,
        };
        Ok(Found::Event(CoreEvent::AppendAborted))
    }
}
