//! How a message comes in: DATA with its dots, BDAT with its counted chunks (RFC 5321 §4.1.1.4, RFC 3030).
//!
//! What was refused in the middle is swallowed to its real end and answered there; its rest is never read as commands.

use core::ops::Range;

use proto_mail::{Error, PeerError, RecvBuffer, SendBuffer, trace::TraceKind};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::reply::{self, Question};
use super::transaction::syntax;
use crate::chunking::ChunkEnd;
use crate::command::{Command, Verb, split_verb};
use crate::data::{DotUnstuffer, Stop, Unstuffed};
use crate::response::Response;
use crate::status_code::Code;

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    source: Source,
    /// What the source said to stand behind the content that was handed on last.
    behind: Stop,
    /// How many bytes of the message have come.
    size: u64,
    /// SyntaxFault it is refused, once it is: the rest is swallowed.
    refusal: Option<Response<'static>>,
    /// Whether the application must still be told.
    news: News,
    /// How many replies the end has: in LMTP one for each recipient.
    replies: usize,
}

#[derive(Debug)]
enum Source {
    Data(DotUnstuffer),
    Chunk {
        left: u64,
        end: ChunkEnd,
    },
    /// A part that is refused and has no bytes here: its URL was refused.
    Nothing {
        verb: Verb,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Reset,
}

impl IncomingMessage {
    const fn new(source: Source, replies: usize) -> Self {
        Self { source, behind: Stop::More, size: 0, refusal: None, news: News::None, replies }
    }
}

impl Source {
    /// Takes what has come: where the content stands, how much is done with, and what is behind it.
    fn take(&mut self, bytes: &mut [u8]) -> Unstuffed {
        match self {
            Self::Data(unstuffing) => unstuffing.unstuff(bytes),
            Self::Chunk { left, .. } => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                Unstuffed {
                    content: 0..len,
                    consumed: len,
                    stop: if *left == 0 { Stop::End } else { Stop::More },
                }
            }
            Self::Nothing { .. } => Unstuffed { content: 0..0, consumed: 0, stop: Stop::End },
        }
    }

    const fn verb(&self) -> Verb {
        match self {
            Self::Data(_) => Verb::Data,
            Self::Chunk { .. } => Verb::Bdat,
            Self::Nothing { verb } => *verb,
        }
    }
}

impl Core {
    pub(super) fn begin_data(&mut self) {
        let source = Source::Data(DotUnstuffer::new(self.config.bare_newline));
        let replies = self.replies_behind_data();
        self.enter(State::IncomingMessage(IncomingMessage::new(source, replies)));
    }

    /// A chunk begins; `refusal` is what the application said against the message.
    pub(super) fn begin_chunk(&mut self, size: u64, end: ChunkEnd, refusal: Option<Response<'static>>) {
        let before = self.transaction.as_ref().and_then(|transaction| transaction.chunked).unwrap_or(0);
        let limit = self.config.limits.message;
        let refusal =
            refusal.or_else(|| (before.saturating_add(size) > limit).then_some(reply::MESSAGE_TOO_LARGE));
        let replies = if end == ChunkEnd::Last { self.replies_behind_data() } else { 1 };
        let news = if refusal.is_some() && self.transaction.is_some() { News::Reset } else { News::None };
        if refusal.is_some() {
            self.transaction = None;
        }
        let source = Source::Chunk { left: size, end };
        self.enter(State::IncomingMessage(IncomingMessage {
            size: before,
            refusal,
            news,
            ..IncomingMessage::new(source, replies)
        }));
    }

    /// A part of a message that is not there is refused, and with it the message.
    pub(super) fn refuse_part(&mut self, verb: Verb, refusal: Response<'static>, end: ChunkEnd) -> Step {
        let replies = if end == ChunkEnd::Last { self.replies_behind_data() } else { 1 };
        let news = if self.transaction.take().is_some() { News::Reset } else { News::None };
        let reception = IncomingMessage::new(Source::Nothing { verb }, replies);
        self.enter(State::IncomingMessage(IncomingMessage { refusal: Some(refusal), news, ..reception }));
        Step::Again
    }

    /// `BDAT`, where the state allows it.
    pub(super) fn bdat(
        &mut self,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let (size, end) = match extent(rx.bytes().get(..len).unwrap_or_default()) {
            Ok(extent) => extent,
            Err(refusal) => return self.lost_extent(&refusal, tx),
        };
        rx.consume(whole);
        if self.transaction.as_ref().is_some_and(|transaction| transaction.chunked.is_some()) {
            self.begin_chunk(size, end, None);
            return Ok(Step::Again);
        }
        Ok(Step::event(CoreEvent::Data(self.ask(Verb::Bdat, Question::Chunk { size, end }))))
    }

    /// `BDAT`, where it may not come: the chunk is swallowed, then refused.
    pub(super) fn refuse_chunk(
        &mut self,
        response: Response<'static>,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let (size, end) = match extent(rx.bytes().get(..len).unwrap_or_default()) {
            Ok(extent) => extent,
            Err(refusal) => return self.lost_extent(&refusal, tx),
        };
        rx.consume(whole);
        let source = Source::Chunk { left: size, end };
        // RFC 2033 §4.3: the last chunk has a reply for each recipient, and none where there is none.
        let replies = if end == ChunkEnd::Last { self.replies_behind_data() } else { 1 };
        let reception = IncomingMessage { refusal: Some(response), ..IncomingMessage::new(source, replies) };
        self.enter(State::IncomingMessage(reception));
        Ok(Step::Again)
    }

    /// Where a chunk ends is not known: nothing that follows can be read.
    fn lost_extent(&mut self, refusal: &Response<'_>, tx: &mut SendBuffer) -> Result<Step, Error> {
        refusal.encode(tx);
        Err(self.end(PeerError::Malformed.into()))
    }

    /// Where the next bytes of a message stand that is neither refused nor too large: nearly always, so that this
    /// is quick. All else is for [`receive`](Self::receive).
    #[inline]
    pub(super) fn content(&mut self, rx: &mut RecvBuffer) -> Option<Range<usize>> {
        let State::IncomingMessage(reception) = &mut self.state else { return None };
        if !(reception.behind == Stop::More && reception.news == News::None && reception.refusal.is_none()) {
            return None;
        }
        rx.consume(core::mem::take(&mut self.given_up));
        let room = self.config.limits.message.saturating_sub(reception.size);
        if rx.is_empty() || rx.len() as u64 > room {
            return None;
        }
        let Unstuffed { content, consumed: passed, stop } = reception.source.take(rx.bytes_mut());
        reception.behind = stop;
        rx.trace_span(passed, TraceKind::Data);
        reception.size += content.len() as u64;
        if content.is_empty() {
            rx.consume(passed);
            return None;
        }
        self.given_up = passed;
        self.generation = self.generation.wrapping_add(1);
        Some(content)
    }

    /// Takes the next part of a message.
    pub(super) fn receive(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let limit = self.config.limits.message;
        let State::IncomingMessage(reception) = &mut self.state else { return Ok(Step::Again) };
        if reception.news == News::Reset {
            reception.news = News::None;
            return Ok(Step::event(CoreEvent::Reset));
        }
        match reception.behind {
            Stop::More => {}
            Stop::Forbidden => {
                reception.behind = Stop::More;
                if reception.refusal.is_none() {
                    reception.refusal = Some(reply::BARE_NEWLINE_IN_DATA);
                    reception.news = News::Reset;
                }
                return Ok(Step::Again);
            }
            Stop::End => return self.received(tx),
        }
        let Unstuffed { content, consumed: passed, stop } = reception.source.take(rx.bytes_mut());
        reception.behind = stop;
        rx.trace_span(passed, TraceKind::Data);
        let room = limit.saturating_sub(reception.size);
        reception.size = reception.size.saturating_add(content.len() as u64);
        if reception.refusal.is_none() && reception.size > limit {
            // Up to the limit exactly, so that chunking changes nothing; then nothing more of it.
            reception.refusal = Some(reply::MESSAGE_TOO_LARGE);
            reception.news = News::Reset;
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(content.len());
            if room > 0 {
                return Ok(self.piece(content.start, room, passed));
            }
        } else if reception.refusal.is_none() && !content.is_empty() {
            return Ok(self.piece(content.start, content.len(), passed));
        }
        rx.consume(passed);
        Ok(if passed == 0 && stop == Stop::More { Step::Wait } else { Step::Again })
    }

    /// The message, or the chunk, is complete.
    fn received(&mut self, tx: &mut SendBuffer) -> Result<Step, Error> {
        let State::IncomingMessage(reception) = core::mem::replace(&mut self.state, State::Command) else {
            return Ok(Step::Again);
        };
        let verb = reception.source.verb();
        self.enter(State::Command);
        if let Some(refusal) = reception.refusal {
            (1..reception.replies).for_each(|_| refusal.encode(tx));
            if reception.replies == 0 {
                return Ok(Step::event(CoreEvent::Refused(verb, refusal)));
            }
            if verb == Verb::Data {
                self.transaction = None;
            }
            return self.refused(verb, refusal, tx);
        }
        if let Source::Chunk { end: ChunkEnd::More, .. } = reception.source {
            if let Some(transaction) = &mut self.transaction {
                transaction.chunked = Some(reception.size);
            }
            Self::ok(tx);
            return Ok(Step::Again);
        }
        Ok(Step::event(CoreEvent::DataEnd(self.ask(verb, Question::DataEnd))))
    }
}

/// How many bytes follow a BDAT, and whether they are the last; where that cannot be read, what is said.
fn extent(line: &[u8]) -> Result<(u64, ChunkEnd), Response<'static>> {
    let (verb, rest) = split_verb(line);
    match Command::parse_arguments(verb, line, rest) {
        Ok(Command::Bdat { size, end }) => Ok((size, end)),
        Ok(_) => Err(Response::fixed(Code::ARGUMENTS, (5, 4), "A chunk is expected")),
        Err(error) => Err(syntax(Verb::Bdat, error)),
    }
}
