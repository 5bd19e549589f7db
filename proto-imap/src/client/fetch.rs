//! Reads FETCH responses item by item and streams their bodies (RFC 9051 §7.5.2).
//!
//! This module tracks the position in a FETCH response. The grammar parses the items. The bytes of a body are counted
//! to find its end. A response that the application must not see is skipped, including its bodies.

use proto_mail::{Error, RecvBuffer, SendBuffer, trace::TraceKind};

use super::event::Event;
use super::reader::{Escapes, FetchReader, Frame, Input, Reader, ReaderStep, Stage, Visibility};
use super::session::{Phase, Session};
use crate::parse::Context;
use crate::parse::fetch::{self, ItemPosition};
use crate::types::{FetchItem, IString, Repair, Strictness, Unparsed};

impl Session {
    /// Starts to read the response of `len` bytes, if it is a FETCH response. `body` is the size of the body that is
    /// announced at its end. Returns whether it is a FETCH response.
    pub(super) fn begin_fetch(&mut self, len: usize, body: Option<u64>, rx: &RecvBuffer) -> bool {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        let Some((start, at)) = self.fetch_start(bytes) else { return false };
        let (stage, visibility) =
            if self.shows_fetch() { (start, Visibility::All) } else { (Stage::Skip, Visibility::Hidden) };
        let place = ItemPosition::First;
        self.reader.input = Input::Fetch(FetchReader { stage, at, end: len, body, place, visibility });
        self.step_done();
        true
    }

    /// Parses the beginning of a FETCH or UIDFETCH response. Returns the first stage and the offset of the first item.
    fn fetch_start(&self, bytes: &[u8]) -> Option<(Stage, usize)> {
        let plain = fetch::plain_start(bytes);
        if plain.is_none() && !may_be_fetch(bytes) {
            return None;
        }
        self.context.repairs.begin();
        if let Some((sequence, at)) = plain {
            return Some((Stage::Start(sequence), at));
        }
        match fetch::start(bytes, &self.context) {
            Ok((sequence, at)) => Some((Stage::Start(sequence), at)),
            Err(_) => fetch::uid_start(bytes, &self.context).ok().map(|(uid, at)| (Stage::UidStart(uid), at)),
        }
    }

    /// Returns whether the application sees a FETCH response that arrives now.
    fn shows_fetch(&self) -> bool {
        self.expects_message_data() && !self.hides_untrusted_data()
    }

    /// Returns how many bytes of a body have arrived, if the next event is simply a chunk. This is the fast path;
    /// [`fetch_step`](Self::fetch_step) does the rest.
    #[inline]
    pub(super) fn next_body_chunk(&mut self, rx: &mut RecvBuffer, tx: &SendBuffer) -> Option<usize> {
        let Input::Fetch(FetchReader { stage: Stage::Body(left @ 1..), .. }) = self.reader.input else {
            return None;
        };
        let nothing_else_to_do = matches!(self.phase, Phase::Open(_))
            && self.pending.is_empty()
            && !self.commands.active.is_unannounced()
            && !self.capabilities.is_unknown();
        if !nothing_else_to_do {
            return None;
        }
        self.consume(rx);
        if rx.is_empty() {
            return None;
        }
        // A reply after the body may have arrived with it.
        self.commands.note_received(rx, tx);
        let len = at_most(rx.len(), left);
        self.reader.borrowed = len;
        rx.trace_span(len, TraceKind::Data);
        self.step_done();
        if let Input::Fetch(fetch) = &mut self.reader.input {
            fetch.stage = Stage::Body(left.saturating_sub(len as u64));
        }
        Some(len)
    }

    /// Takes the next step in a FETCH response, if one is being read.
    #[inline]
    pub(super) fn fetch_step(&mut self, rx: &mut RecvBuffer) -> Result<ReaderStep, Error> {
        match &self.reader.input {
            Input::Fetch(FetchReader { stage: Stage::Start(_) | Stage::UidStart(_), .. }) => {
                Ok(ReaderStep::Event)
            }
            Input::Fetch(fetch) if fetch.is_at_item(rx) => Ok(ReaderStep::Event),
            _ => self.other_step(rx),
        }
    }

    /// Takes a step that is not simply an item.
    fn other_step(&mut self, rx: &mut RecvBuffer) -> Result<ReaderStep, Error> {
        let Reader { input: Input::Fetch(fetch), borrowed, .. } = &mut self.reader else {
            return Ok(ReaderStep::None);
        };
        match fetch.stage {
            Stage::Skip => {
                fetch.stage = match (fetch.body, fetch.visibility) {
                    (Some(size), _) => Stage::SkipBody(size),
                    (None, Visibility::Hidden) => Stage::Done,
                    (None, _) => return Ok(ReaderStep::Event),
                };
                *borrowed = fetch.end;
                Ok(ReaderStep::Silent)
            }
            Stage::SkipBody(0) => {
                fetch.stage = Stage::NextPart;
                Ok(ReaderStep::Silent)
            }
            Stage::Body(left) | Stage::SkipBody(left) if left > 0 && rx.is_empty() => Ok(ReaderStep::More),
            Stage::SkipBody(left) => {
                let len = at_most(rx.len(), left);
                *borrowed = len;
                rx.trace_span(len, TraceKind::Data);
                fetch.stage = Stage::SkipBody(left.saturating_sub(len as u64));
                self.step_done();
                Ok(ReaderStep::Silent)
            }
            Stage::Body(left) => {
                rx.trace_span(at_most(rx.len(), left), TraceKind::Data);
                if left > 0 {
                    self.step_done();
                }
                Ok(ReaderStep::Event)
            }
            Stage::NextPart => self.next_part(rx),
            Stage::Items if fetch.is_at_line_end(rx, self.context.reading()) => {
                self.context.repairs.note(Repair::StrayLineEnd);
                *borrowed = fetch.end;
                fetch.stage = Stage::LineEnd;
                Ok(ReaderStep::Silent)
            }
            Stage::LineEnd => match rx.bytes().first() {
                None => Ok(ReaderStep::More),
                Some(b')') => {
                    fetch.stage = Stage::NextPart;
                    Ok(ReaderStep::Silent)
                }
                Some(_) => {
                    (fetch.stage, fetch.end) = (Stage::End, 0);
                    Ok(ReaderStep::Event)
                }
            },
            _ => Ok(ReaderStep::Event),
        }
    }

    /// Reads the line after a body: the rest of the response, up to its end or to the next body.
    fn next_part(&mut self, rx: &mut RecvBuffer) -> Result<ReaderStep, Error> {
        let (end, body) = match self.find_response(rx)? {
            Frame::More | Frame::Piece(_) => return Ok(ReaderStep::More),
            Frame::Whole(len) => (len, None),
            Frame::UpToBody(len, size) => (len, Some(size)),
        };
        self.step_done();
        if let Input::Fetch(fetch) = &mut self.reader.input {
            let stage = if fetch.visibility == Visibility::All { Stage::Items } else { Stage::Skip };
            (fetch.at, fetch.end, fetch.body, fetch.stage) = (0, end, body, stage);
        }
        Ok(ReaderStep::Silent)
    }

    /// Reports what [`fetch_step`](Self::fetch_step) has found.
    #[inline]
    pub(super) fn fetch_event<'i>(&mut self, rx: &'i RecvBuffer) -> Event<'i> {
        let Reader { input: Input::Fetch(fetch), borrowed, .. } = &mut self.reader else {
            return Event::FetchEnd;
        };
        match fetch.stage {
            Stage::Start(sequence) => {
                fetch.stage = Stage::Items;
                Event::FetchStart { sequence }
            }
            Stage::UidStart(uid) => {
                fetch.stage = Stage::Items;
                Event::UidFetchStart { uid }
            }
            Stage::Items => fetch.item(rx.bytes(), borrowed, &self.context),
            _ => fetch.other_event(rx.bytes(), borrowed),
        }
    }
}

impl FetchReader {
    /// Returns whether an item or the closing parenthesis is certainly next.
    fn is_at_item(&self, rx: &RecvBuffer) -> bool {
        let rest = rx.bytes().get(self.at..self.end).unwrap_or_default();
        matches!(self.stage, Stage::Items)
            && matches!(rest, [b' ', next, ..] | [next, ..] if !next.is_ascii_whitespace())
    }

    /// Returns whether only the line end is left of the part although an item or `)` is expected. Some servers write
    /// a line end after a body.
    fn is_at_line_end(&self, rx: &RecvBuffer, reading: Strictness) -> bool {
        let rest = rx.bytes().get(self.at..self.end).unwrap_or_default();
        self.body.is_none()
            && reading == Strictness::Tolerant
            && rest.len() < 16
            && rest.trim_ascii().is_empty()
    }

    /// Returns the event of a part of a body, or the end. `borrowed` becomes the number of bytes that the next call
    /// consumes.
    fn other_event<'i>(&mut self, bytes: &'i [u8], borrowed: &mut usize) -> Event<'i> {
        match self.stage {
            Stage::Inline(from, to, escapes) => {
                let (chunk, next) = inline(bytes.get(from..to).unwrap_or_default(), escapes);
                let from = from + next.max(1);
                self.stage = if from < to { Stage::Inline(from, to, escapes) } else { Stage::InlineEnd };
                Event::BodyChunk(chunk)
            }
            Stage::InlineEnd => {
                self.stage = Stage::Items;
                Event::BodyEnd
            }
            Stage::Body(0) => {
                self.stage = Stage::NextPart;
                Event::BodyEnd
            }
            Stage::Body(left) => {
                let len = at_most(bytes.len(), left);
                *borrowed = len;
                self.stage = Stage::Body(left.saturating_sub(len as u64));
                Event::BodyChunk(bytes.get(..len).unwrap_or_default())
            }
            Stage::Start(_)
            | Stage::UidStart(_)
            | Stage::Items
            | Stage::Skip
            | Stage::SkipBody(_)
            | Stage::NextPart
            | Stage::LineEnd
            | Stage::End
            | Stage::Done => {
                self.stage = Stage::Done;
                *borrowed = self.end;
                Event::FetchEnd
            }
        }
    }

    /// Returns the next item, or the end. `borrowed` becomes the number of bytes that the next call consumes.
    fn item<'i>(&mut self, bytes: &'i [u8], borrowed: &mut usize, context: &Context) -> Event<'i> {
        let part = bytes.get(..self.end).unwrap_or_default();
        let rest = part.get(self.at..).unwrap_or_default();
        let (used, step) = match fetch::next_item(rest, self.place, context) {
            Ok(found) => found,
            Err(unparsed) => return self.skip_rest(part, unparsed.offset, unparsed.expected),
        };
        let item = match step {
            fetch::ParsedItem::Item(item) => item,
            fetch::ParsedItem::End | fetch::ParsedItem::LineEnd if self.body.is_some() => {
                // The list is closed but a body is announced: its bytes are skipped and not reported.
                return self.skip_rest(part, used, "the end of the line");
            }
            // `fetch_step` has handled the line end.
            fetch::ParsedItem::End | fetch::ParsedItem::LineEnd => {
                self.stage = Stage::Done;
                *borrowed = self.end;
                return Event::FetchEnd;
            }
        };
        self.at = self.at.saturating_add(used);
        self.place = ItemPosition::Later;
        match item {
            FetchItem::Section { section, origin, value } => {
                let (stage, size) = inline_stage(part, value);
                self.stage = stage;
                Event::BodyStart { section, origin, size }
            }
            FetchItem::SectionLiteral { section, origin, size } if self.body == Some(size) => {
                *borrowed = self.end;
                self.stage = Stage::Body(size);
                Event::BodyStart { section, origin, size: Some(size) }
            }
            FetchItem::SectionLiteral { .. } => self.skip_rest(part, 0, "the section's contents"),
            item => Event::FetchItem(item),
        }
    }

    /// Skips the rest of the response, which cannot be parsed.
    #[cold]
    fn skip_rest<'i>(&mut self, raw: &'i [u8], at: usize, why: &'static str) -> Event<'i> {
        self.visibility = Visibility::End;
        self.stage = Stage::Skip;
        Event::Unparsed(Unparsed { raw, offset: self.at.saturating_add(at).min(raw.len()), expected: why })
    }
}

/// Returns whether a response may be FETCH. Otherwise the grammar is not tried, so that it counts no repairs for
/// another response.
fn may_be_fetch(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.trim_ascii_start().strip_prefix(b"*") else { return false };
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let word = rest.get(digits..).unwrap_or_default().trim_ascii_start();
    let begins = |name: &[u8]| word.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name));
    digits > 0 && (begins(b"FETCH") || begins(b"UIDFETCH"))
}

fn at_most(held: usize, left: u64) -> usize {
    held.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Returns how to report a body that is a string in `part`, and its size in bytes.
fn inline_stage(part: &[u8], value: Option<IString<'_>>) -> (Stage, Option<u64>) {
    let Some(value) = value else { return (Stage::InlineEnd, None) };
    let raw = value.raw();
    if raw.is_empty() {
        return (Stage::InlineEnd, Some(0));
    }
    let size = value.iter().count();
    let escapes = if size == raw.len() { Escapes::None } else { Escapes::Some };
    // `raw` is a slice of `part`.
    let from = raw.as_ptr().addr().saturating_sub(part.as_ptr().addr());
    (Stage::Inline(from, from.saturating_add(raw.len()), escapes), Some(size as u64))
}

/// Returns the leading bytes of a string that need no unescaping, and how many bytes of the encoded string they take.
fn inline(raw: &[u8], escapes: Escapes) -> (&[u8], usize) {
    if escapes == Escapes::None {
        return (raw, raw.len());
    }
    let (start, searched) = match raw {
        [b'\\', _, ..] => (1, 2),
        _ => (0, 1),
    };
    let rest = raw.get(searched..).unwrap_or_default();
    let end = memchr::memchr(b'\\', rest).map_or(raw.len(), |at| searched + at);
    (raw.get(start..end).unwrap_or_default(), end)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn splits_a_quoted_body_at_its_backslashes() {
        let mut raw = &br#"a\"b\\\"c"#[..];
        let mut whole = Vec::new();
        while !raw.is_empty() {
            let (chunk, next) = inline(raw, Escapes::Some);
            assert!(!chunk.is_empty());
            whole.extend_from_slice(chunk);
            raw = &raw[next..];
        }
        assert_eq!(whole, br#"a"b\"c"#);
    }
}
