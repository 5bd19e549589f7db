//! Wire traces as typed events without secrets, which are safe to publish.
//!
//! Nothing is classified by its appearance. A received byte is traced when a machine has parsed it, as the kind of data
//! that it was parsed as; a byte that no machine has classified is only counted. A sent byte is traced as the kind that
//! it was queued as.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// An event of a connection's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer sent this, and the machine has processed it.
    Received(TraceSpan),
    /// This was sent to the peer.
    Sent(TraceSpan),
    /// TLS is in place: everything that follows is encrypted.
    TlsStarted,
    /// The connection is over.
    Closed,
}

/// A span of traced bytes: the next part of a line, or something between two lines.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceSpan {
    /// Bytes of lines, including their ends (LF). They may be shown.
    Text(Vec<u8>),
    /// More bytes of a line than a trace shows.
    Elided(u64),
    /// A literal with more bytes than a trace shows.
    Literal(u64),
    /// Bytes of a secret, or of SASL messages.
    Secret(u64),
    /// Bytes of a message, as sent on the wire.
    Data(u64),
    /// Bytes that no machine has classified. They may be a secret in a wrong place.
    Unknown(u64),
}

/// The kind of a span of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// Part of a line that may be shown.
    Text,
    /// Part of a literal that may be shown.
    Literal,
    /// A secret, or a SASL message.
    Secret,
    /// A message, or a part of one.
    Data,
    /// Not classified.
    Unknown,
}

/// The most spans that wait to be taken; later ones are only counted.
const MAX_SPANS: usize = 4096;
/// The most text that waits to be taken, in bytes; later text is only counted.
const MAX_TEXT: usize = 256 * 1024;

/// The trace of one direction, until the driver takes it.
///
/// It is bounded: if the driver does not take it, further bytes are only counted.
#[derive(Debug, Default)]
pub(crate) struct TraceBuffer {
    /// The most bytes of a line or literal that are shown.
    limit: usize,
    /// How many bytes of the incomplete line were traced.
    line: usize,
    /// How many bytes of text wait to be taken.
    text: usize,
    spans: Vec<TraceSpan>,
}

impl TraceBuffer {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, line: 0, text: 0, spans: Vec::new() }
    }

    /// Adds the next bytes of this direction, which are of this kind.
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

    /// Returns what was collected and continues.
    pub(crate) fn take(&mut self) -> Vec<TraceSpan> {
        self.text = 0;
        core::mem::take(&mut self.spans)
    }

    fn line(&mut self, line: &[u8]) {
        // The end is always shown: it separates two lines.
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
        if self.text.saturating_add(bytes.len()) > MAX_TEXT {
            return self.count(TraceSpan::Elided, bytes.len());
        }
        if bytes.is_empty() {
            return;
        }
        self.text += bytes.len();
        match self.spans.last_mut() {
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
        match self.spans.last_mut() {
            // Two literals are never merged.
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
        if self.spans.len() < MAX_SPANS {
            self.spans.push(span);
            return;
        }
        let more = span.byte_count();
        match self.spans.last_mut() {
            Some(TraceSpan::Elided(count)) => *count = count.saturating_add(more),
            _ => self.spans.push(TraceSpan::Elided(more)),
        }
    }
}

impl TraceSpan {
    /// Returns how many bytes this span has.
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
            // Text may be shown.
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

/// The trace of a receive buffer.
#[derive(Debug)]
pub(crate) struct RecvTrace {
    pub(crate) buffer: TraceBuffer,
    /// How many bytes at the front of the receive buffer are traced already.
    pub(crate) traced: usize,
}

/// The trace of a send buffer.
#[derive(Debug)]
pub(crate) struct SendTrace {
    pub(crate) buffer: TraceBuffer,
    /// What was queued as another kind than text: from, to and kind, in bytes ever queued.
    marks: VecDeque<(u64, u64, TraceKind)>,
}

impl SendTrace {
    pub(crate) const fn new(buffer: TraceBuffer) -> Self {
        Self { buffer, marks: VecDeque::new() }
    }

    /// Marks what is queued from `from` to `to` as of this kind.
    pub(crate) fn mark(&mut self, from: u64, to: u64, kind: TraceKind) {
        match self.marks.back_mut() {
            Some((_, end, last)) if *end == from && *last == kind => *end = to,
            _ => self.marks.push_back((from, to, kind)),
        }
    }

    /// Forgets what is marked from this position on.
    pub(crate) fn forget_marks(&mut self, from: u64) {
        self.marks.retain(|(begin, ..)| *begin < from);
        if let Some((_, end, _)) = self.marks.back_mut() {
            *end = (*end).min(from);
        }
    }

    /// Traces these bytes, which were sent. The first one has the position `from`.
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
