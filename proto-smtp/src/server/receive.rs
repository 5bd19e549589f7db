//! Receiving a message: DATA with its dots, BDAT with its counted chunks, BURL (RFC 5321 §4.1.1.4, RFC 3030, RFC 4468).
//!
//! A message that is rejected midway is skipped to its real end and answered there; its rest is never parsed as commands.

use alloc::string::String;
use core::ops::Range;

use proto_mail::{Error, PeerError, RecvBuffer, Secret, SendBuffer, trace::TraceKind};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::fixed_replies::{self as reply, syntax};
use super::incoming_message::{Fate, IncomingMessage, ResetNotice, Source};
use super::question::Question;
use crate::chunking::ChunkEnd;
use crate::command::{Command, Verb, split_verb};
use crate::data::{DotUnstuffer, Stop, Unstuffed};
use crate::reply_code::Code;
use crate::response::Response;
use crate::secret_bytes::SecretBytes;

impl Core {
    pub(super) fn begin_data(&mut self) {
        let source = Source::Data(DotUnstuffer::new(self.config.bare_newline));
        let replies = self.replies_after_message();
        self.enter(State::Message(IncomingMessage::new(source, replies)));
    }

    /// Begins a chunk. `rejection` is the application's reply if it has rejected the message.
    pub(super) fn begin_chunk(&mut self, size: u64, end: ChunkEnd, rejection: Option<Response<'static>>) {
        let before = self.session.transaction().and_then(|transaction| transaction.chunked).unwrap_or(0);
        let is_too_large = before.saturating_add(size) > self.config.limits.message;
        let rejection = rejection.or_else(|| is_too_large.then_some(reply::MESSAGE_TOO_LARGE));
        let message = IncomingMessage {
            size: before,
            ..IncomingMessage::new(Source::Chunk { left: size, end }, self.replies_after_part(end))
        };
        self.enter_message(message, rejection);
    }

    /// Rejects a part of a message that has no bytes here, and with it the message.
    pub(super) fn reject_part(&mut self, verb: Verb, rejection: Response<'static>, end: ChunkEnd) -> Step {
        let message = IncomingMessage::new(Source::Nothing { verb }, self.replies_after_part(end));
        self.enter_message(message, Some(rejection));
        Step::Again
    }

    fn enter_message(&mut self, message: IncomingMessage, rejection: Option<Response<'static>>) {
        let message = match rejection {
            Some(response) if self.session.end_transaction() => message.rejected(response, ResetNotice::Due),
            Some(response) => message.rejected(response, ResetNotice::NotDue),
            None => message,
        };
        self.enter(State::Message(message));
    }

    fn replies_after_part(&self, end: ChunkEnd) -> usize {
        if end == ChunkEnd::Last { self.replies_after_message() } else { 1 }
    }

    /// Performs BDAT, which the state allows.
    pub(super) fn bdat(
        &mut self,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let (size, end) = match chunk_size(rx.bytes().get(..len).unwrap_or_default()) {
            Ok(chunk) => chunk,
            Err(rejection) => return self.unknown_chunk_size(&rejection, tx),
        };
        rx.consume(whole);
        if self.session.transaction().is_some_and(|transaction| transaction.chunked.is_some()) {
            self.begin_chunk(size, end, None);
            return Ok(Step::Again);
        }
        Ok(Step::event(CoreEvent::Data(self.ask(Verb::Bdat, Question::Chunk { size, end }))))
    }

    /// Performs BDAT where it is not allowed: the chunk is skipped, then rejected.
    pub(super) fn skip_chunk(
        &mut self,
        response: Response<'static>,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let (size, end) = match chunk_size(rx.bytes().get(..len).unwrap_or_default()) {
            Ok(chunk) => chunk,
            Err(rejection) => return self.unknown_chunk_size(&rejection, tx),
        };
        rx.consume(whole);
        // RFC 2033 §4.3: the last chunk has a reply for each recipient, and none if there is no recipient.
        let message = IncomingMessage::new(Source::Chunk { left: size, end }, self.replies_after_part(end));
        self.enter(State::Message(message.rejected(response, ResetNotice::NotDue)));
        Ok(Step::Again)
    }

    /// The end of a chunk is unknown, and so nothing that follows can be parsed.
    fn unknown_chunk_size(&mut self, rejection: &Response<'_>, tx: &mut SendBuffer) -> Result<Step, Error> {
        rejection.encode(tx);
        Err(self.end(PeerError::Malformed.into()))
    }

    /// Performs BURL, which the state allows. The line is wiped: the URL is a secret.
    pub(super) fn burl(&mut self, (len, whole): (usize, usize), rx: &mut RecvBuffer) -> Result<Step, Error> {
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        let parsed = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Burl { url, end }) => Ok((owned_url(&url), end)),
            Ok(_) => return Ok(Step::Again),
            Err(error) => Err(syntax(verb, error)),
        };
        rx.consume_wiping(whole);
        Ok(match parsed {
            Ok((url, end)) => {
                let reply = self.ask(verb, Question::Burl(end));
                Step::event(CoreEvent::Burl(url, end, reply))
            }
            Err(rejection) => self.reject_part(verb, rejection, ChunkEnd::More),
        })
    }

    /// BURL was accepted: the message goes on, or is complete.
    pub(super) fn burl_accepted(&mut self, end: ChunkEnd) {
        match end {
            ChunkEnd::More => {
                if let Some(transaction) = self.session.transaction_mut() {
                    transaction.chunked = Some(transaction.chunked.unwrap_or(0));
                }
            }
            ChunkEnd::Last => {
                self.session.end_transaction();
            }
        }
    }

    /// Returns the place of the next content bytes of a message that is accepted and within the limit. This is the fast
    /// path; [`receive`](Self::receive) handles all other cases.
    #[inline]
    pub(super) fn content(&mut self, rx: &mut RecvBuffer) -> Option<Range<usize>> {
        let State::Message(message) = &mut self.state else { return None };
        if message.next != Stop::More || !message.is_accepted() {
            return None;
        }
        rx.consume(core::mem::take(&mut self.position.borrowed));
        let room = self.config.limits.message.saturating_sub(message.size);
        if rx.is_empty() || rx.len() as u64 > room {
            return None;
        }
        let Unstuffed { content, consumed, stop } = message.source.take(rx.bytes_mut());
        message.next = stop;
        rx.trace_span(consumed, TraceKind::Data);
        message.size += content.len() as u64;
        if content.is_empty() {
            rx.consume(consumed);
            return None;
        }
        self.position.borrowed = consumed;
        self.generation = self.generation.wrapping_add(1);
        Some(content)
    }

    /// Processes the next bytes of a message.
    pub(super) fn receive(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let limit = self.config.limits.message;
        let State::Message(message) = &mut self.state else { return Ok(Step::Again) };
        if let Fate::Rejected { reset, .. } = &mut message.fate
            && core::mem::replace(reset, ResetNotice::NotDue) == ResetNotice::Due
        {
            return Ok(Step::event(CoreEvent::Reset));
        }
        match message.next {
            Stop::More => {}
            Stop::Forbidden => {
                message.next = Stop::More;
                if message.is_accepted() {
                    message.reject(reply::BARE_NEWLINE_IN_DATA);
                }
                return Ok(Step::Again);
            }
            Stop::End => return self.received(tx),
        }
        let Unstuffed { content, consumed, stop } = message.source.take(rx.bytes_mut());
        message.next = stop;
        rx.trace_span(consumed, TraceKind::Data);
        let room = limit.saturating_sub(message.size);
        message.size = message.size.saturating_add(content.len() as u64);
        if message.is_accepted() && message.size > limit {
            // The content up to the limit is yielded, so that the split of the input changes nothing.
            message.reject(reply::MESSAGE_TOO_LARGE);
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(content.len());
            if room > 0 {
                return Ok(self.content_event(content.start, room, consumed));
            }
        } else if message.is_accepted() && !content.is_empty() {
            return Ok(self.content_event(content.start, content.len(), consumed));
        }
        rx.consume(consumed);
        Ok(if consumed == 0 && stop == Stop::More { Step::NeedsInput } else { Step::Again })
    }

    /// The message, or the chunk, is complete.
    fn received(&mut self, tx: &mut SendBuffer) -> Result<Step, Error> {
        let State::Message(message) = core::mem::replace(&mut self.state, State::Command) else {
            return Ok(Step::Again);
        };
        let verb = message.source.verb();
        self.enter(State::Command);
        if let Fate::Rejected { response, .. } = message.fate {
            (1..message.replies).for_each(|_| response.encode(tx));
            if message.replies == 0 {
                return Ok(Step::event(CoreEvent::Refused(verb, response)));
            }
            if verb == Verb::Data {
                self.session.end_transaction();
            }
            return self.reject_and_report(verb, response, tx);
        }
        if let Source::Chunk { end: ChunkEnd::More, .. } = message.source {
            let mut grew = message.size > 0;
            if let Some(transaction) = self.session.transaction_mut() {
                grew = transaction.chunked.map_or(grew, |before| message.size > before);
                transaction.chunked = Some(message.size);
            }
            // An empty chunk is no progress, or a client could send them forever.
            if grew {
                self.counters.note_progress();
            }
            Self::encode_ok(tx);
            return Ok(Step::Again);
        }
        Ok(Step::event(CoreEvent::DataEnd(self.ask(verb, Question::DataEnd))))
    }
}

/// Parses the size of a chunk, and whether it is the last. Fails with the reply to a malformed BDAT.
fn chunk_size(line: &[u8]) -> Result<(u64, ChunkEnd), Response<'static>> {
    let (verb, rest) = split_verb(line);
    match Command::parse_arguments(verb, line, rest) {
        Ok(Command::Bdat { size, end }) => Ok((size, end)),
        Ok(_) => Err(Response::fixed(Code::ARGUMENTS, (5, 4), "A chunk is expected")),
        Err(error) => Err(syntax(Verb::Bdat, error)),
    }
}

/// The URL as an owned secret. The grammar allows US-ASCII only.
fn owned_url(url: &SecretBytes<'_>) -> Secret<String> {
    Secret::new(core::str::from_utf8(url.expose()).unwrap_or_default().into())
}
