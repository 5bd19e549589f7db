//! FETCH responses, item by item, with bodies streamed (RFC 9051 §7.5.2).
//!
//! This file knows where in a FETCH response the reading stands. What an item looks like is the grammar's business,
//! where a body ends is counted. A response that is not to be heard is read past, its bodies too.

use proto_mail::{Error, RecvBuffer, trace::TraceKind};

use super::core::{Core, Framed, Input, Knowledge, Phase};
use super::event::Event;
use crate::parse::fetch::{self, ItemPosition};
use crate::types::{FetchItem, IString, Repair, Strictness, Unparsed};

/// Where the reading of a FETCH response stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    stage: Stage,
    /// The part of the response that is in the buffer: up to where it was read, and where it ends.
    at: usize,
    end: usize,
    /// The size of the body that is announced at the end of the part.
    body: Option<u64>,
    place: ItemPosition,
    hearing: Hearing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The sequence number was read and not yet reported.
    Start(u32),
    /// The next item is due.
    Items,
    /// A body that stands in the frame as a string: these positions of it are to be reported.
    Inline(usize, usize, Escapes),
    /// A body that stands in the frame was reported.
    InlineEnd,
    /// So many octets of a body follow.
    Body(u64),
    /// The rest of the part is to be read past.
    Skip,
    /// So many octets of a body are to be read past.
    Past(u64),
    /// The next line is due.
    Between,
    /// The line ended and the list did not: the next line belongs here if it begins with `)`.
    LineEnd,
    /// The end is to be reported.
    End,
    /// Everything was reported.
    Over,
}

/// Whether backslashes in an inline body escape something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Some,
}

/// What the application hears of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// All of it.
    All,
    /// No more of it than its end: an item could not be read.
    End,
    /// Nothing.
    Nothing,
}

/// What the next look at a FETCH response found.
pub(super) enum Walked {
    /// More octets are needed.
    More,
    /// Something of which the application hears nothing.
    Silent,
    /// Something to be reported, see [`Core::walk_event`].
    Event,
}

impl Walk {
    /// Whether octets of a body are awaited.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.stage, Stage::Body(_) | Stage::Past(_))
    }

    /// What is to be read when this was: the rest of the response, or the next one.
    pub(super) const fn then(self) -> Input {
        if matches!(self.stage, Stage::Over) { Input::Message } else { Input::Fetch(self) }
    }
}

impl Core {
    /// Begins to walk the response of `len` octets, if it is a FETCH response; `body` is the size of the body that
    /// is announced at its end.
    pub(super) fn begin_walk(&mut self, len: usize, body: Option<u64>, rx: &RecvBuffer) -> bool {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        if !may_be_fetch(bytes) {
            return false;
        }
        self.context.repairs.begin();
        let Ok((sequence, at)) = fetch::start(bytes, &self.context) else { return false };
        let (stage, hearing) = if self.is_fetch_heard() {
            (Stage::Start(sequence), Hearing::All)
        } else {
            (Stage::Skip, Hearing::Nothing)
        };
        self.input = Input::Fetch(Walk { stage, at, end: len, body, place: ItemPosition::First, hearing });
        self.stepped();
        true
    }

    /// Whether the application hears of a FETCH response that comes now.
    fn is_fetch_heard(&self) -> bool {
        self.is_selecting() && !self.is_withheld()
    }

    /// How many octets of a body have come that only have to be handed on, which is quick. All else is for
    /// [`walk`](Self::walk).
    #[inline]
    pub(super) fn body_octets(&mut self, rx: &mut RecvBuffer) -> Option<usize> {
        let Input::Fetch(Walk { stage: Stage::Body(left @ 1..), .. }) = self.input else { return None };
        let undisturbed = matches!(self.phase, Phase::Session(_))
            && self.deferred.is_empty()
            && self.queue.ready.is_none()
            && self.knowledge != Knowledge::Unknown;
        if !undisturbed {
            return None;
        }
        self.give_up(rx);
        if rx.is_empty() {
            return None;
        }
        self.consume = at_most(rx.len(), left);
        rx.trace_span(self.consume, TraceKind::Data);
        self.stepped();
        if let Input::Fetch(walk) = &mut self.input {
            walk.stage = Stage::Body(left.saturating_sub(self.consume as u64));
        }
        Some(self.consume)
    }

    /// Looks on in a FETCH response.
    pub(super) fn walk(&mut self, walk: &mut Walk, rx: &mut RecvBuffer) -> Result<Walked, Error> {
        match walk.stage {
            Stage::Skip => {
                walk.stage = match (walk.body, walk.hearing) {
                    (Some(size), _) => Stage::Past(size),
                    (None, Hearing::Nothing) => Stage::Over,
                    (None, _) => return Ok(Walked::Event),
                };
                self.consume = walk.end;
                Ok(Walked::Silent)
            }
            Stage::Past(0) => {
                walk.stage = Stage::Between;
                Ok(Walked::Silent)
            }
            Stage::Body(left) | Stage::Past(left) if left > 0 && rx.is_empty() => Ok(Walked::More),
            Stage::Past(left) => {
                self.consume = at_most(rx.len(), left);
                rx.trace_span(self.consume, TraceKind::Data);
                walk.stage = Stage::Past(left.saturating_sub(self.consume as u64));
                self.stepped();
                Ok(Walked::Silent)
            }
            Stage::Body(left) => {
                rx.trace_span(at_most(rx.len(), left), TraceKind::Data);
                Ok(Walked::Event)
            }
            Stage::Between => self.next_part(walk, rx),
            Stage::Items if walk.body.is_none() && self.is_line_end(walk, rx) => {
                self.context.repairs.note(Repair::StrayLineEnd);
                self.consume = walk.end;
                walk.stage = Stage::LineEnd;
                Ok(Walked::Silent)
            }
            Stage::LineEnd => match rx.bytes().first() {
                None => Ok(Walked::More),
                Some(b')') => {
                    walk.stage = Stage::Between;
                    Ok(Walked::Silent)
                }
                Some(_) => {
                    (walk.stage, walk.end) = (Stage::End, 0);
                    Ok(Walked::Event)
                }
            },
            _ => Ok(Walked::Event),
        }
    }

    /// Whether nothing is left of the part but its line end, where an item or `)` is due: some servers write one
    /// behind a body.
    fn is_line_end(&self, walk: &Walk, rx: &RecvBuffer) -> bool {
        let rest = rx.bytes().get(walk.at..walk.end).unwrap_or_default();
        self.context.reading() == Strictness::Tolerant && rest.len() < 16 && rest.trim_ascii().is_empty()
    }

    /// The line behind a body: the rest of the response, up to its end or to the next body.
    fn next_part(&mut self, walk: &mut Walk, rx: &mut RecvBuffer) -> Result<Walked, Error> {
        let (end, body) = match self.frame(rx)? {
            Framed::More => return Ok(Walked::More),
            Framed::Whole(len) => (len, None),
            Framed::UpToBody(len, size) => (len, Some(size)),
        };
        self.stepped();
        let stage = if walk.hearing == Hearing::All { Stage::Items } else { Stage::Skip };
        (walk.at, walk.end, walk.body, walk.stage) = (0, end, body, stage);
        Ok(Walked::Silent)
    }

    /// Reports what [`walk`](Self::walk) found.
    pub(super) fn walk_event<'i>(&mut self, walk: &mut Walk, rx: &'i RecvBuffer) -> Event<'i> {
        let bytes = rx.bytes();
        match walk.stage {
            Stage::Start(sequence) => {
                walk.stage = Stage::Items;
                Event::FetchStart { sequence }
            }
            Stage::Items => self.item(walk, bytes),
            Stage::Inline(from, to, escapes) => {
                let (chunk, next) = inline(bytes.get(from..to).unwrap_or_default(), escapes);
                let from = from + next.max(1);
                walk.stage = if from < to { Stage::Inline(from, to, escapes) } else { Stage::InlineEnd };
                Event::BodyChunk(chunk)
            }
            Stage::InlineEnd => {
                walk.stage = Stage::Items;
                Event::BodyEnd
            }
            Stage::Body(0) => {
                walk.stage = Stage::Between;
                Event::BodyEnd
            }
            Stage::Body(left) => {
                self.consume = at_most(bytes.len(), left);
                self.stepped();
                walk.stage = Stage::Body(left.saturating_sub(self.consume as u64));
                Event::BodyChunk(bytes.get(..self.consume).unwrap_or_default())
            }
            Stage::Skip | Stage::Past(_) | Stage::Between | Stage::LineEnd | Stage::End | Stage::Over => {
                walk.stage = Stage::Over;
                self.consume = walk.end;
                Event::FetchEnd
            }
        }
    }

    /// The next item, or the end.
    fn item<'i>(&mut self, walk: &mut Walk, bytes: &'i [u8]) -> Event<'i> {
        let part = bytes.get(..walk.end).unwrap_or_default();
        let rest = part.get(walk.at..).unwrap_or_default();
        let (used, step) = match fetch::next_item(rest, walk.place, &self.context) {
            Ok(found) => found,
            Err(unparsed) => return self.broken(walk, part, unparsed.at, unparsed.why),
        };
        let item = match step {
            fetch::ParsedItem::Item(item) => item,
            fetch::ParsedItem::End | fetch::ParsedItem::LineEnd if walk.body.is_some() => {
                // The list is closed and yet a body is announced: the announcement is honoured, not believed.
                return self.broken(walk, part, used, "the end of the line");
            }
            // Of a line end, `walk` has taken care.
            fetch::ParsedItem::End | fetch::ParsedItem::LineEnd => {
                walk.stage = Stage::Over;
                self.consume = walk.end;
                return Event::FetchEnd;
            }
        };
        walk.at = walk.at.saturating_add(used);
        walk.place = ItemPosition::Later;
        match item {
            FetchItem::Section { section, origin, value } => {
                let (stage, size) = inline_stage(part, value);
                walk.stage = stage;
                Event::BodyStart { section, origin, size }
            }
            FetchItem::SectionLiteral { section, origin, size } if walk.body == Some(size) => {
                self.consume = walk.end;
                walk.stage = Stage::Body(size);
                Event::BodyStart { section, origin, size: Some(size) }
            }
            FetchItem::SectionLiteral { .. } => self.broken(walk, part, 0, "the section's contents"),
            item => Event::FetchItem(item),
        }
    }

    /// The rest of the response can't be read: it is read past.
    fn broken<'i>(&mut self, walk: &mut Walk, raw: &'i [u8], at: usize, why: &'static str) -> Event<'i> {
        walk.hearing = Hearing::End;
        walk.stage = Stage::Skip;
        Event::Unparsed(Unparsed { raw, at: walk.at.saturating_add(at).min(raw.len()), why })
    }
}

/// Whether the grammar is worth asking: a repair that it makes in what turns out to be no FETCH would count.
fn may_be_fetch(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.trim_ascii_start().strip_prefix(b"*") else { return false };
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit() || **octet == b'-').count();
    let word = rest.get(digits..).unwrap_or_default().trim_ascii_start();
    digits > 0 && word.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"))
}

fn at_most(held: usize, left: u64) -> usize {
    held.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// How a body that stands in `part` is to be reported, and its size.
fn inline_stage(part: &[u8], value: Option<IString<'_>>) -> (Stage, Option<u64>) {
    let Some(value) = value else { return (Stage::InlineEnd, None) };
    let raw = value.raw();
    if raw.is_empty() {
        return (Stage::InlineEnd, Some(0));
    }
    let size = value.iter().count();
    let escapes = if size == raw.len() { Escapes::None } else { Escapes::Some };
    // `raw` is a piece of `part`.
    let from = raw.as_ptr().addr().saturating_sub(part.as_ptr().addr());
    (Stage::Inline(from, from.saturating_add(raw.len()), escapes), Some(size as u64))
}

/// The first octets of a string's contents that stand together, and how many octets of it they take.
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
    fn a_quoted_body_is_split_at_its_backslashes() {
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
