//! What passed, as typed events that hold no secret: for traces that are safe to paste.
//!
//! Nothing is recognised by looking at it. A received octet is told of when a machine has understood what it is part of,
//! and as what it was understood; one that nobody vouches for is only counted. A sent octet is told of as what it was
//! queued. This file knows kinds of octets, and no protocol.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// Something that passed, or happened, on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer said this, and the machine has read it.
    Received(TraceSpan),
    /// This was sent.
    Sent(TraceSpan),
    /// TLS is in place: what follows is said under it.
    TlsStarted,
    /// The connection is over.
    Closed,
}

/// What octets were: the next part of a line, or something between two lines.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceSpan {
    /// Octets of lines, their ends (LF) included. They may be shown.
    Text(Vec<u8>),
    /// So many octets more stood in a line that is longer than what is shown of one.
    Elided(u64),
    /// A literal of so many octets: more than are shown of one.
    Literal(u64),
    /// So many octets of a secret, or of the messages that prove one.
    Secret(u64),
    /// So many octets of a message, as they pass on the wire.
    Data(u64),
    /// So many octets of which nobody knows what they were. They may be a secret in a wrong place.
    Unknown(u64),
}

/// As what octets are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// Part of a line that may be shown.
    Text,
    /// Part of a literal that may be shown.
    Literal,
    /// A secret, or what proves one.
    Secret,
    /// A message, or a part of one.
    Data,
    /// Nobody knows.
    Unknown,
}

/// How many events wait to be taken; what comes behind them is only counted.
const WAITING: usize = 4096;
/// How much text waits to be taken; what comes behind it is only counted.
const TEXT: usize = 256 * 1024;

/// Collects what one direction's octets were, until somebody takes it.
///
/// It is bounded: what nobody takes is counted and no longer kept.
#[derive(Debug, Default)]
pub(crate) struct TraceBuffer {
    /// How many octets of a line, or of a literal, are shown.
    limit: usize,
    /// How many octets of the line that is not complete were shown.
    line: usize,
    /// How much text waits.
    text: usize,
    events: Vec<TraceSpan>,
}

impl TraceBuffer {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, line: 0, text: 0, events: Vec::new() }
    }

    /// The next octets of this direction, and what they are.
    pub(crate) fn push(&mut self, bytes: &[u8], kind: TraceKind) {
        match kind {
            TraceKind::Text => bytes.split_inclusive(|byte| *byte == b'\n').for_each(|line| self.line(line)),
            TraceKind::Literal if bytes.len() <= self.limit => self.text(bytes),
            TraceKind::Literal => self.count(TraceSpan::Literal, bytes.len()),
            TraceKind::Secret => self.count(TraceSpan::Secret, bytes.len()),
            TraceKind::Data => self.count(TraceSpan::Data, bytes.len()),
            TraceKind::Unknown => self.count(TraceSpan::Unknown, bytes.len()),
        }
    }

    /// What was collected. The tape goes on.
    pub(crate) fn take(&mut self) -> Vec<TraceSpan> {
        self.text = 0;
        core::mem::take(&mut self.events)
    }

    fn line(&mut self, line: &[u8]) {
        // An end is always shown: it is what tells two lines apart.
        let (end, length) = match line {
            [before @ .., b'\r', b'\n'] => (&line[before.len()..], before.len()),
            [before @ .., b'\n'] => (&line[before.len()..], before.len()),
            _ => (&[][..], line.len()),
        };
        let shown = length.min(self.limit.saturating_sub(self.line));
        let (shown, elided) = line.split_at(shown);
        self.text(shown);
        self.count(TraceSpan::Elided, elided.len() - end.len());
        self.line = if end.is_empty() { self.line.saturating_add(length) } else { 0 };
        self.text(end);
    }

    fn text(&mut self, bytes: &[u8]) {
        if self.text.saturating_add(bytes.len()) > TEXT {
            return self.count(TraceSpan::Elided, bytes.len());
        }
        if bytes.is_empty() {
            return;
        }
        self.text += bytes.len();
        match self.events.last_mut() {
            Some(TraceSpan::Text(text)) => text.extend_from_slice(bytes),
            _ => self.push_span(TraceSpan::Text(bytes.to_vec())),
        }
    }

    fn count(&mut self, what: fn(u64) -> TraceSpan, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let more = bytes as u64;
        let same = core::mem::discriminant(&what(0));
        match self.events.last_mut() {
            // Two literals are two.
            Some(
                last @ (TraceSpan::Elided(_)
                | TraceSpan::Secret(_)
                | TraceSpan::Data(_)
                | TraceSpan::Unknown(_)),
            ) if core::mem::discriminant(last) == same => last.add(more),
            _ => self.push_span(what(more)),
        }
    }

    fn push_span(&mut self, span: TraceSpan) {
        if self.events.len() < WAITING {
            self.events.push(span);
            return;
        }
        let more = span.byte_count();
        match self.events.last_mut() {
            Some(TraceSpan::Elided(count)) => *count = count.saturating_add(more),
            _ => self.events.push(TraceSpan::Elided(more)),
        }
    }
}

impl TraceSpan {
    /// How many octets passed.
    #[must_use]
    pub const fn byte_count(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Elided(count)
            | Self::Literal(count)
            | Self::Secret(count)
            | Self::Data(count)
            | Self::Unknown(count) => *count,
        }
    }

    fn add(&mut self, more: u64) {
        match self {
            Self::Text(_) => {}
            Self::Elided(count)
            | Self::Literal(count)
            | Self::Secret(count)
            | Self::Data(count)
            | Self::Unknown(count) => *count = count.saturating_add(more),
        }
    }
}

impl fmt::Debug for TraceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = match self {
            // It may be shown: that is why it is text.
            Self::Text(text) => return write!(f, "Text(\"{}\")", text.escape_ascii()),
            Self::Elided(count) => ("Elided", count),
            Self::Literal(count) => ("Literal", count),
            Self::Secret(count) => ("Secret", count),
            Self::Data(count) => ("Data", count),
            Self::Unknown(count) => ("Unknown", count),
        };
        f.debug_tuple(name).field(count).finish()
    }
}

/// The tape of a receive buffer, and how far what is in the buffer was told of.
#[derive(Debug)]
pub(crate) struct RecvTrace {
    pub(crate) buffer: TraceBuffer,
    /// How many octets at the front of the buffer were told of.
    pub(crate) traced: usize,
}

/// The tape of a send buffer, and what is in it that is no text.
#[derive(Debug)]
pub(crate) struct SendTrace {
    pub(crate) buffer: TraceBuffer,
    /// What was queued as something other than text: from, to and what, counted from the first octet ever queued.
    marks: VecDeque<(u64, u64, TraceKind)>,
}

impl SendTrace {
    pub(crate) const fn new(buffer: TraceBuffer) -> Self {
        Self { buffer, marks: VecDeque::new() }
    }

    /// What is queued from here to there is of this kind.
    pub(crate) fn mark(&mut self, from: u64, to: u64, kind: TraceKind) {
        match self.marks.back_mut() {
            Some((_, end, last)) if *end == from && *last == kind => *end = to,
            _ => self.marks.push_back((from, to, kind)),
        }
    }

    /// These octets, the first of which is number `from`, were sent.
    pub(crate) fn sent(&mut self, mut from: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (kind, until) = match self.marks.front() {
                Some((_, end, _)) if *end <= from => {
                    self.marks.pop_front();
                    continue;
                }
                Some((begin, end, kind)) if *begin <= from => (*kind, *end),
                Some((begin, ..)) => (TraceKind::Text, *begin),
                None => (TraceKind::Text, u64::MAX),
            };
            let count = usize::try_from(until - from).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(count);
            self.buffer.push(now, kind);
            bytes = later;
            from += count as u64;
        }
    }
}
