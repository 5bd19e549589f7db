//! How a message comes in: DATA with its dots, BDAT with its counted chunks (RFC 5321 §4.1.1.4, RFC 3030).
//!
//! What was refused in the middle is swallowed to its real end and answered there; its rest is never read as commands.

use proto_core::{Error, PeerError, RecvBuffer, SendBuffer};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::reply::{self, Question};
use super::transaction::syntax;
use crate::data::{Piece, Unstuffing};
use crate::encode;
use crate::parse;
use crate::types::{ChunkEnd, Code, Command, Response, Verb};

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct Reception {
    source: Source,
    /// How many octets of the message have come.
    size: u64,
    /// Why it is refused, once it is: the rest is swallowed.
    refusal: Option<Response<'static>>,
    /// Whether the application must still be told.
    news: News,
    /// How many replies the end has: in LMTP one for each recipient.
    replies: usize,
}

#[derive(Debug)]
enum Source {
    Data(Unstuffing),
    Chunk { left: u64, end: ChunkEnd },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Reset,
}

/// What a source says of the beginning of the buffer.
enum Arrived {
    Content { skip: usize, len: usize },
    Forbidden { skip: usize },
    More { skip: usize },
    End { skip: usize },
}

impl Source {
    fn next(&mut self, octets: &[u8]) -> Arrived {
        match self {
            Self::Data(unstuffing) => match unstuffing.next_piece(octets) {
                Piece::Content { skip, len } => Arrived::Content { skip, len },
                Piece::Forbidden { skip } => Arrived::Forbidden { skip },
                Piece::More { skip } => Arrived::More { skip },
                Piece::End { skip } => Arrived::End { skip },
            },
            Self::Chunk { left: 0, .. } => Arrived::End { skip: 0 },
            Self::Chunk { .. } if octets.is_empty() => Arrived::More { skip: 0 },
            Self::Chunk { left, .. } => {
                let len = usize::try_from(*left).map_or(octets.len(), |left| left.min(octets.len()));
                *left -= len as u64;
                Arrived::Content { skip: 0, len }
            }
        }
    }

    const fn verb(&self) -> Verb {
        match self {
            Self::Data(_) => Verb::Data,
            Self::Chunk { .. } => Verb::Bdat,
        }
    }
}

impl Core {
    pub(super) fn begin_data(&mut self) {
        let source = Source::Data(Unstuffing::new(self.config.bare_newline));
        let replies = self.replies_behind_data();
        self.enter(State::Reception(Reception { source, size: 0, refusal: None, news: News::None, replies }));
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
        self.enter(State::Reception(Reception { source, size: before, refusal, news, replies }));
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
        let reception = Reception {
            source: Source::Chunk { left: size, end },
            size: 0,
            refusal: Some(response),
            news: News::None,
            replies: 1,
        };
        self.enter(State::Reception(reception));
        Ok(Step::Again)
    }

    /// Where a chunk ends is not known: nothing that follows can be read.
    fn lost_extent(&mut self, refusal: &Response<'_>, tx: &mut SendBuffer) -> Result<Step, Error> {
        encode::response(refusal, tx);
        Err(self.fail(PeerError::Malformed.into(), tx))
    }

    /// Takes the next part of a message.
    pub(super) fn receive(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let limit = self.config.limits.message;
        let State::Reception(reception) = &mut self.state else { return Ok(Step::Again) };
        if reception.news == News::Reset {
            reception.news = News::None;
            return Ok(Step::event(CoreEvent::Reset));
        }
        match reception.source.next(rx.bytes()) {
            Arrived::Content { skip, len } => {
                let room = limit.saturating_sub(reception.size);
                reception.size = reception.size.saturating_add(len as u64);
                if reception.refusal.is_some() {
                    rx.consume(skip + len);
                    return Ok(Step::Again);
                }
                if reception.size <= limit {
                    return Ok(self.piece(skip, len, skip + len));
                }
                // Up to the limit exactly, so that chunking changes nothing; then nothing more of it.
                reception.refusal = Some(reply::MESSAGE_TOO_LARGE);
                reception.news = News::Reset;
                match usize::try_from(room) {
                    Ok(room) if room > 0 => Ok(self.piece(skip, room.min(len), skip + len)),
                    _ => {
                        rx.consume(skip + len);
                        Ok(Step::Again)
                    }
                }
            }
            Arrived::Forbidden { skip } => {
                rx.consume(skip);
                if reception.refusal.is_none() {
                    reception.refusal = Some(reply::BARE_NEWLINE_IN_DATA);
                    reception.news = News::Reset;
                }
                Ok(Step::Again)
            }
            Arrived::More { skip } => {
                rx.consume(skip);
                Ok(Step::Wait)
            }
            Arrived::End { skip } => {
                rx.consume(skip);
                self.received(tx)
            }
        }
    }

    /// The message, or the chunk, is complete.
    fn received(&mut self, tx: &mut SendBuffer) -> Result<Step, Error> {
        let State::Reception(reception) = core::mem::replace(&mut self.state, State::Command) else {
            return Ok(Step::Again);
        };
        let verb = reception.source.verb();
        self.enter(State::Command);
        if let Some(refusal) = reception.refusal {
            (1..reception.replies).for_each(|_| encode::response(&refusal, tx));
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

/// How many octets follow a BDAT, and whether they are the last; where that cannot be read, what is said.
fn extent(line: &[u8]) -> Result<(u64, ChunkEnd), Response<'static>> {
    let (verb, rest) = parse::split_verb(line);
    match parse::arguments(verb, line, rest) {
        Ok(Command::Bdat { size, end }) => Ok((size, end)),
        Ok(_) => Err(Response::fixed(Code::ARGUMENTS, (5, 4), "A chunk is expected")),
        Err(error) => Err(syntax(Verb::Bdat, error)),
    }
}
