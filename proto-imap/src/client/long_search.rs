//! Reads long responses to searches piece by piece (SEARCH, SORT, THREAD, ESEARCH, and VANISHED).
//!
//! The results of a search are a single line, of any length. A line of up to [`Limits::line`](proto_mail::Limits::line) is
//! one event. A longer one is read in parts of that length, and the client holds one of them at a time. Where a part ends
//! depends on the response alone, never on how it was split on its way. The grammar parses the pieces; this module counts
//! how much of a part was used.

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Limit, PeerError, RecvBuffer};

use super::event::Event;
use super::reader::{Ending, Frame, Input, ReaderStep, SearchReader, SearchStage};
use super::session::Session;
use crate::frame::{FrameStep, PieceStep, Sync};
use crate::parse::search::{self, Part, PieceKind, SearchStep, SetOf};
use crate::redaction;
use crate::state::State;
use crate::types::{SearchHead, SearchPiece, SearchReturnData, Unparsed, Untagged};

/// The bytes that are kept at the end of a part that is skipped, because they may begin the announcement of a literal.
const ANNOUNCEMENT: usize = 64;

impl Session {
    /// Finds the next response that can be read in pieces, or its first piece.
    pub(super) fn find_pieces(&mut self, rx: &RecvBuffer) -> Result<Frame, Error> {
        let limits = &self.config.limits;
        let piece = limits.line.min(limits.frame);
        loop {
            let step = match self.reader.framer.step_in_pieces(rx, piece) {
                PieceStep::Piece(len) => return Ok(Frame::Piece(len)),
                PieceStep::Framed(step) => step,
            };
            match step {
                FrameStep::More => return Ok(Frame::More),
                FrameStep::Complete(len) => return Ok(Frame::Whole(len)),
                FrameStep::Endless(..) => return Err(Limit::Literal.into()),
                FrameStep::Literal(_, announced) if announced.sync == Sync::NonSynchronising => {
                    return Err(PeerError::Malformed.into());
                }
                FrameStep::Literal(end, announced) => self.reader.framer.keep(end, announced, limits)?,
            }
        }
    }

    /// Starts to read the response whose first `len` bytes have arrived.
    pub(super) fn begin_search(&mut self, len: usize, rx: &RecvBuffer) {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        self.context.repairs.begin();
        let begun = search::start(bytes, &self.context);
        let needs_mailbox = !matches!(begun, Ok((Some(SearchHead::Esearch(_)), ..)));
        let is_visible = !self.hides_untrusted_data()
            && if needs_mailbox {
                self.expects_message_data()
            } else {
                self.state().is_some_and(State::is_authenticated)
            };
        let (stage, at, ending) = match begun {
            _ if !is_visible => (SearchStage::Skip, 0, Ending::Silent),
            Ok((None, at, cursor)) => (SearchStage::Pieces(cursor), at, Ending::Silent),
            Ok((Some(_), at, cursor)) => (SearchStage::Start(cursor), at, Ending::Reported),
            Err(failure) => (SearchStage::Failed(failure), 0, Ending::Silent),
        };
        self.reader.input = Input::Search(SearchReader { stage, at, end: len, part: Part::More, ending });
        self.step_done();
    }

    /// Takes the next step in a long response to a search, up to the next event.
    pub(super) fn search_step(&mut self, rx: &mut RecvBuffer) -> Result<ReaderStep, Error> {
        loop {
            let Input::Search(reader) = &mut self.reader.input else { return Ok(ReaderStep::None) };
            match reader.stage {
                SearchStage::End if reader.ending == Ending::Silent => {
                    reader.stage = SearchStage::Done;
                    self.reader.borrowed = reader.end;
                    return Ok(ReaderStep::Silent);
                }
                SearchStage::Start(_)
                | SearchStage::Piece { .. }
                | SearchStage::Failed(_)
                | SearchStage::End
                | SearchStage::Done => return Ok(ReaderStep::Event),
                SearchStage::Pieces(mut cursor) => {
                    let text = rx.bytes().get(reader.at..reader.end).unwrap_or_default();
                    let at = reader.at;
                    reader.stage = match cursor.next(text, reader.part, &self.context) {
                        Ok(SearchStep::Piece(kind, from, to, used)) => {
                            SearchStage::Piece { cursor, kind, from: at + from, to: at + to, used: at + used }
                        }
                        Ok(SearchStep::End) => SearchStage::End,
                        Ok(SearchStep::More(used)) if at + used > 0 => {
                            self.reader.borrowed = at + used;
                            reader.stage = SearchStage::NextPart(cursor);
                            return Ok(ReaderStep::Silent);
                        }
                        Ok(SearchStep::More(_)) => SearchStage::Failed(search::Failure {
                            offset: 0,
                            expected: "a shorter element of the response",
                        }),
                        Err(_) if reader.part == Part::More && at > 0 => {
                            self.reader.borrowed = at;
                            reader.stage = SearchStage::NextPart(cursor);
                            return Ok(ReaderStep::Silent);
                        }
                        Err(failure) => {
                            SearchStage::Failed(search::Failure { offset: at + failure.offset, ..failure })
                        }
                    };
                }
                SearchStage::NextPart(cursor) => {
                    if !self.next_search_part(SearchStage::Pieces(cursor), rx)? {
                        return Ok(ReaderStep::More);
                    }
                }
                SearchStage::Skip => match reader.part {
                    Part::Last => reader.stage = SearchStage::End,
                    Part::More => {
                        self.reader.borrowed = reader.end - ANNOUNCEMENT.min(reader.end / 2);
                        reader.stage = SearchStage::SkipNextPart;
                        return Ok(ReaderStep::Silent);
                    }
                },
                SearchStage::SkipNextPart => {
                    if !self.next_search_part(SearchStage::Skip, rx)? {
                        return Ok(ReaderStep::More);
                    }
                }
            }
        }
    }

    /// Finds the next part of the response, to go on with this stage. Returns false if more bytes are needed.
    fn next_search_part(&mut self, stage: SearchStage, rx: &mut RecvBuffer) -> Result<bool, Error> {
        let (end, part) = match self.find_pieces(rx) {
            Ok(Frame::More) => return Ok(false),
            Ok(Frame::Whole(len)) => (len, Part::Last),
            Ok(Frame::Piece(len) | Frame::UpToBody(len, _)) => (len, Part::More),
            Err(error) => {
                rx.trace_span(rx.len(), TraceKind::Text);
                return Err(error);
            }
        };
        if rx.is_traced() {
            redaction::trace_frame(end, rx);
        }
        self.step_done();
        if let Input::Search(reader) = &mut self.reader.input {
            (reader.stage, reader.at, reader.end, reader.part) = (stage, 0, end, part);
        }
        Ok(true)
    }

    /// Reports what [`search_step`](Self::search_step) has found.
    pub(super) fn search_event<'i>(&mut self, rx: &'i RecvBuffer) -> Event<'i> {
        let Input::Search(reader) = &mut self.reader.input else { return Event::SearchEnd };
        let bytes = rx.bytes().get(..reader.end).unwrap_or_default();
        match reader.stage {
            SearchStage::Start(cursor) => {
                reader.stage = SearchStage::Pieces(cursor);
                let again = crate::parse::Context::new(self.config.reading);
                match search::start(bytes, &again) {
                    Ok((Some(head), ..)) => Event::SearchStart(head),
                    // It was parsed before.
                    _ => Event::SearchStart(SearchHead::Search),
                }
            }
            SearchStage::Piece { cursor, kind, from, to, used } => {
                reader.stage = SearchStage::Pieces(cursor);
                reader.at = used;
                let piece = kind.view(bytes.get(from..to).unwrap_or_default(), &self.context);
                match (kind, piece) {
                    (
                        PieceKind::Set(SetOf::Vanished(when)),
                        SearchPiece::Result(SearchReturnData::All(uids)),
                    ) => Event::Data(Untagged::Vanished { when, uids }),
                    (_, piece) => Event::SearchPiece(piece),
                }
            }
            SearchStage::Failed(failure) => {
                reader.stage = SearchStage::Skip;
                Event::Unparsed(Unparsed {
                    raw: bytes,
                    offset: failure.offset.min(bytes.len()),
                    expected: failure.expected,
                })
            }
            _ => {
                reader.stage = SearchStage::Done;
                self.reader.borrowed = reader.end;
                Event::SearchEnd
            }
        }
    }
}
