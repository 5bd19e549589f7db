//! The two buffers that the caller owns: [`RecvBuffer`] holds what came from the peer, [`SendBuffer`] what is to go.
//!
//! This file knows bytes, positions and which bytes are secret. It knows no protocol: a line end is the only
//! structure that it looks for.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use zeroize::Zeroize;

use crate::trace::{RecvTrace, SendTrace, TraceBuffer, TraceKind, TraceSpan};

/// What came from the peer and was not yet consumed.
///
/// The driver reads straight into [`spare_mut`](Self::spare_mut) and then tells how much came with
/// [`filled`](Self::filled); a machine looks at [`bytes`](Self::bytes) and gives up what it has understood with
/// [`consume`](Self::consume). The buffer remembers how far it has been searched for a line end, so that a peer
/// who sends one octet at a time costs linear and not quadratic time.
///
/// The storage is plain initialised memory with two cursors: it can be read into without `unsafe` and without
/// clearing it anew for each read. It is given back whenever the buffer runs empty and
/// [`release`](Self::release) is called, so that an idle session holds none.
#[derive(Default)]
pub struct RecvBuffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
    searched: usize,
    received: u64,
    closed: bool,
    reading: Option<Box<RecvTrace>>,
}

/// The result of looking for a line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line of so many octets, its CRLF (or bare LF) included, is complete.
    Complete(usize),
    /// No line end yet, and the limit is not reached.
    Partial,
    /// No line end within the limit.
    TooLong,
}

impl RecvBuffer {
    /// An empty buffer that holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { memory: Vec::new(), start: 0, end: 0, searched: 0, received: 0, closed: false, reading: None }
    }

    /// Everything that was received and not consumed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// The same, for a machine that decodes what it was sent where it stands.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How many octets were received and not consumed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether everything received was consumed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for at least `at_least` octets to read into. What is behind it may be larger.
    ///
    /// Old octets are moved to the front when that makes room; each octet is moved a bounded number of times
    /// because the memory at least doubles whenever moving would not be worth it.
    pub fn spare_mut(&mut self, at_least: usize) -> &mut [u8] {
        if self.memory.len() - self.end < at_least {
            if self.start >= self.len() && self.memory.len() - self.len() >= at_least {
                self.memory.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.grow(at_least);
            }
        }
        let end = self.end;
        &mut self.memory[end..]
    }

    /// Moves what is there to new, larger memory; the old one is wiped, since it may have held a secret.
    fn grow(&mut self, at_least: usize) {
        let held = self.len();
        let wanted = held.saturating_add(at_least.max(held));
        // Rounded up, or each new record of what is left over from a read would cost a move.
        let wanted = wanted.checked_next_multiple_of(1024).unwrap_or(wanted);
        let mut memory = alloc::vec![0; wanted];
        memory[..held].copy_from_slice(self.bytes());
        self.memory.zeroize();
        self.memory = memory;
        self.start = 0;
        self.end = held;
    }

    /// Says that `count` octets were read into what [`spare_mut`](Self::spare_mut) returned. A count larger than
    /// that is cut.
    pub fn filled(&mut self, count: usize) {
        let count = count.min(self.memory.len() - self.end);
        self.end += count;
        self.received = self.received.saturating_add(count as u64);
    }

    /// Appends a copy of `bytes`: for tests and for callers that have the bytes elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.spare_mut(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Gives up the first `count` octets (all, if there are fewer).
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.len());
        if self.reading.is_some() {
            self.trace_consumed(count);
        }
        self.start += count;
        self.searched = self.searched.saturating_sub(count);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives up the first `count` octets and overwrites them: for what may have held a secret.
    pub fn consume_wiping(&mut self, count: usize) {
        let count = count.min(self.len());
        self.trace_span(count, TraceKind::Secret);
        let start = self.start;
        self.memory[start..start + count].zeroize();
        self.consume(count);
    }

    /// Looks for the next line end (LF), from where the last search stopped. `limit` is the greatest length of a
    /// line, its end included.
    pub fn find_line(&mut self, limit: usize) -> Line {
        self.find_line_from(0, limit)
    }

    /// As [`find_line`](Self::find_line), for a line that begins `from` octets into the buffer (behind a literal,
    /// say). The length returned counts from there.
    pub fn find_line_from(&mut self, from: usize, limit: usize) -> Line {
        let held = self.len();
        let begin = self.searched.max(from).min(held);
        let found = memchr::memchr(b'\n', &self.bytes()[begin..]);
        match found {
            Some(at) if begin + at + 1 - from <= limit => {
                // Not remembered: the same line may be asked for again before it is consumed.
                Line::Complete(begin + at + 1 - from)
            }
            Some(_) => Line::TooLong,
            None => {
                self.searched = held;
                if held.saturating_sub(from) >= limit { Line::TooLong } else { Line::Partial }
            }
        }
    }

    /// From here on what is read is told of, see [`take_trace`](Self::take_trace); of a line, or of a literal, at most
    /// `limit` octets are shown.
    pub fn trace(&mut self, limit: usize) {
        self.reading = Some(Box::new(RecvTrace { buffer: TraceBuffer::new(limit), traced: 0 }));
    }

    /// Whether somebody wants to know how octets are read.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.reading.is_some()
    }

    /// A machine has read the first `up_to` octets, and those that it has not told of yet were of this kind. What it
    /// consumes without a word is [`Unknown`](TraceKind::Unknown), and what it wipes is [`Secret`](TraceKind::Secret).
    pub fn trace_span(&mut self, up_to: usize, kind: TraceKind) {
        let Some(reading) = &mut self.reading else { return };
        let held = self.memory.get(self.start..self.end).unwrap_or_default();
        let up_to = up_to.min(held.len());
        if let Some(bytes) = held.get(reading.traced..up_to) {
            reading.buffer.push(bytes, kind);
            reading.traced = up_to;
        }
    }

    #[cold]
    fn trace_consumed(&mut self, count: usize) {
        self.trace_span(count, TraceKind::Unknown);
        if let Some(reading) = &mut self.reading {
            reading.traced -= count;
        }
    }

    /// What was told of since the last call. Nothing, if nothing is [traced](Self::trace).
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceSpan> {
        self.reading.as_mut().map(|reading| reading.buffer.take()).unwrap_or_default()
    }

    /// How many octets were received since the buffer was made.
    #[must_use]
    pub const fn received_total(&self) -> u64 {
        self.received
    }

    /// Says that the peer will send no more. What is still in the buffer can be read.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the peer will send no more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives the memory back if nothing is held: what an idle session should do.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.memory.zeroize();
            self.memory = Vec::new();
            self.start = 0;
            self.end = 0;
            self.searched = 0;
        }
    }
}

impl Drop for RecvBuffer {
    fn drop(&mut self) {
        self.memory.zeroize();
    }
}

impl core::fmt::Debug for RecvBuffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the octets: they may be a password.
        f.debug_struct("RecvBuffer")
            .field("len", &self.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Payloads below this size are copied into the current segment rather than queued by themselves: a system
/// call's worth of small pieces costs more than the copy.
const COPY_BELOW: usize = 4096;

/// A new segment is begun when the current one is this large, so that what was sent is freed soon.
const SEGMENT: usize = 32 * 1024;

/// What is to go to the peer: a queue of segments, ready for a vectored write.
///
/// A machine appends with [`put`](Self::put) (copied), [`put_payload`](Self::put_payload) (large payloads pass
/// uncopied) and [`put_secret`](Self::put_secret) (kept in a segment of its own, which no trace shows and which is
/// wiped once it was sent). The driver writes [`chunks`](Self::chunks) and reports with [`sent`](Self::sent).
///
/// Two counters never go back: [`queued_total`](Self::queued_total) and [`sent_total`](Self::sent_total). By them a
/// machine knows whether the last octet of a command has left before its answer came.
#[derive(Default)]
pub struct SendBuffer {
    segments: VecDeque<Segment>,
    /// How much of the first segment was sent.
    offset: usize,
    queued: u64,
    sent: u64,
    writing: Option<Box<SendTrace>>,
}

enum Segment {
    Text(Vec<u8>),
    Payload(Bytes),
    Secret(Vec<u8>),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) | Self::Secret(bytes) => bytes,
            Self::Payload(bytes) => bytes,
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Self::Secret(bytes) = self {
            bytes.zeroize();
        }
    }
}

/// A piece of what is to be sent, and whether it may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The octets to send.
    pub bytes: &'a [u8],
    /// Whether they hold a secret: a trace must show their length at most.
    pub secret: bool,
}

impl core::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunk").field("len", &self.bytes.len()).field("secret", &self.secret).finish()
    }
}

impl SendBuffer {
    /// An empty queue that holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: VecDeque::new(), offset: 0, queued: 0, sent: 0, writing: None }
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.queued = self.queued.saturating_add(bytes.len() as u64);
        if let Some(Segment::Text(last)) = self.segments.back_mut()
            && (last.len() < SEGMENT || last.capacity() - last.len() >= bytes.len())
        {
            last.extend_from_slice(bytes);
            return;
        }
        self.segments.push_back(Segment::Text(bytes.to_vec()));
    }

    /// Appends a copy of `bytes` that a trace is to tell of as of this kind.
    pub fn put_as(&mut self, bytes: &[u8], kind: TraceKind) {
        self.mark(bytes.len(), kind);
        self.put(bytes);
    }

    /// The next so many octets are of this kind.
    fn mark(&mut self, count: usize, kind: TraceKind) {
        if let Some(writing) = &mut self.writing
            && count > 0
        {
            writing.mark(self.queued, self.queued.saturating_add(count as u64), kind);
        }
    }

    /// Appends a payload without copying it (unless it is small): a message, or a part of one.
    pub fn put_payload(&mut self, payload: Bytes) {
        self.mark(payload.len(), TraceKind::Data);
        if payload.len() < COPY_BELOW {
            self.put(&payload);
        } else {
            self.queued = self.queued.saturating_add(payload.len() as u64);
            self.segments.push_back(Segment::Payload(payload));
        }
    }

    /// Appends octets that hold a secret. They are wiped when they were sent, or when the buffer is dropped.
    pub fn put_secret(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.mark(bytes.len(), TraceKind::Secret);
        self.queued = self.queued.saturating_add(bytes.len() as u64);
        self.segments.push_back(Segment::Secret(bytes.to_vec()));
    }

    /// How many octets wait to be sent.
    #[must_use]
    pub const fn len(&self) -> usize {
        // The difference fits: it is what is in memory.
        (self.queued - self.sent) as usize
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.queued == self.sent
    }

    /// The octets that wait, in order, as contiguous pieces.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let mut skip = self.offset;
        let all = self.segments.iter().map(move |segment| {
            let bytes = segment.bytes().get(skip..).unwrap_or_default();
            skip = 0;
            Chunk { bytes, secret: matches!(segment, Segment::Secret(_)) }
        });
        // A segment that is kept for its memory may be empty.
        all.filter(|chunk| !chunk.bytes.is_empty())
    }

    /// Says that the first `count` octets were sent (all, if there are fewer).
    pub fn sent(&mut self, count: usize) {
        let mut count = count.min(self.len());
        if self.writing.is_some() {
            self.trace_sent(count);
        }
        self.sent += count as u64;
        while let Some(first) = self.segments.front_mut() {
            let left = first.bytes().len() - self.offset;
            if count < left {
                self.offset += count;
                return;
            }
            count -= left;
            self.offset = 0;
            // The last text segment is kept with its memory: the next answer goes there.
            if self.segments.len() == 1
                && let Some(Segment::Text(text)) = self.segments.front_mut()
                && text.capacity() <= SEGMENT
            {
                text.clear();
                return;
            }
            self.segments.pop_front();
        }
    }

    /// From here on what is sent is told of, see [`take_trace`](Self::take_trace); of a line at most `limit` octets are
    /// shown. To be called while nothing waits: of what does, nobody has noted what it is, and it is told of as unknown.
    pub fn trace(&mut self, limit: usize) {
        let mut writing = SendTrace::new(TraceBuffer::new(limit));
        writing.mark(self.sent, self.queued, TraceKind::Unknown);
        self.writing = Some(Box::new(writing));
    }

    #[cold]
    fn trace_sent(&mut self, count: usize) {
        let Some(mut writing) = self.writing.take() else { return };
        let (mut from, mut left) = (self.sent, count);
        for chunk in self.chunks() {
            let bytes = chunk.bytes.get(..left).unwrap_or(chunk.bytes);
            writing.sent(from, bytes);
            from = from.saturating_add(bytes.len() as u64);
            left -= bytes.len();
        }
        self.writing = Some(writing);
    }

    /// What was sent since the last call. Nothing, if nothing is [traced](Self::trace).
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceSpan> {
        self.writing.as_mut().map(|writing| writing.buffer.take()).unwrap_or_default()
    }

    /// Forgets what waits, as if it had been sent: for a peer that will not hear it.
    pub fn discard(&mut self) {
        let writing = self.writing.take();
        self.sent(self.len());
        self.writing = writing;
    }

    /// How many octets were ever queued.
    #[must_use]
    pub const fn queued_total(&self) -> u64 {
        self.queued
    }

    /// How many octets were ever sent.
    #[must_use]
    pub const fn sent_total(&self) -> u64 {
        self.sent
    }

    /// Gives the memory back if nothing waits: what an idle session should do.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.segments = VecDeque::new();
            self.offset = 0;
        }
    }

    /// Everything that waits, taken out and marked as sent: for tests and for callers that do not write vectors.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        for chunk in self.chunks() {
            all.extend_from_slice(chunk.bytes);
        }
        self.sent(all.len());
        all
    }
}

impl core::fmt::Debug for SendBuffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SendBuffer")
            .field("len", &self.len())
            .field("queued_total", &self.queued)
            .field("sent_total", &self.sent)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "std")]
mod io;
#[cfg(test)]
mod tests;
