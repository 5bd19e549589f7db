//! The two buffers that the caller owns: [`RecvBuffer`] for input from the peer, [`SendBuffer`] for output to it.
//!
//! The buffers know no protocol. The only structure that they search for is a line end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use zeroize::Zeroize;

use crate::trace::{RecvTrace, SendTrace, TraceBuffer, TraceKind, TraceSpan};

/// Input that was received from the peer and not yet consumed.
///
/// The driver reads into [`spare_mut`](Self::spare_mut) and reports the number of bytes with
/// [`filled`](Self::filled). A machine parses [`bytes`](Self::bytes) and removes what it has processed with
/// [`consume`](Self::consume). The buffer remembers how far it has searched for a line end, so that a peer that sends
/// one byte at a time causes linear and not quadratic work.
///
/// The storage is initialised memory with two cursors: reading into it needs neither `unsafe` nor clearing. An empty
/// buffer frees it on [`release`](Self::release), so that an idle session holds none.
#[derive(Default)]
pub struct RecvBuffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
    searched: usize,
    received: u64,
    closed: bool,
    compression: InputCompression,
    reading: Option<Box<RecvTrace>>,
}

/// Whether what a driver receives is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum InputCompression {
    /// Nothing is compressed, or the driver decompresses.
    #[default]
    Settled,
    /// The driver has to take the compressed bytes.
    Due,
}

/// The result of a search for a line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line is complete. The value is its length in bytes, including its CRLF (or bare LF).
    Complete(usize),
    /// There is no line end yet, and the limit is not reached.
    Partial,
    /// There is no line end within the limit.
    TooLong,
}

impl RecvBuffer {
    /// Creates an empty buffer that holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: Vec::new(),
            start: 0,
            end: 0,
            searched: 0,
            received: 0,
            closed: false,
            compression: InputCompression::Settled,
            reading: None,
        }
    }

    /// Returns everything that was received and not consumed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the same bytes mutably, for a machine that decodes in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Returns how many bytes were received and not consumed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns true if everything received was consumed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns room for at least `at_least` bytes to read into.
    ///
    /// Bytes are moved to the front if that makes enough room. Each byte is moved a bounded number of times, because
    /// the memory at least doubles where moving would not pay.
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

    /// Moves the bytes to larger memory and wipes the old memory, which may have held a secret.
    fn grow(&mut self, at_least: usize) {
        let held = self.len();
        let wanted = held.saturating_add(at_least.max(held));
        // Rounded up: otherwise each further TLS record would cost a move.
        let wanted = wanted.checked_next_multiple_of(1024).unwrap_or(wanted);
        let mut memory = alloc::vec![0; wanted];
        memory[..held].copy_from_slice(self.bytes());
        self.memory.zeroize();
        self.memory = memory;
        self.start = 0;
        self.end = held;
    }

    /// Reports that `count` bytes were read into what [`spare_mut`](Self::spare_mut) returned. A larger count than its
    /// length counts as the length.
    pub fn filled(&mut self, count: usize) {
        let count = count.min(self.memory.len() - self.end);
        self.end += count;
        self.received = self.received.saturating_add(count as u64);
    }

    /// Appends a copy of `bytes`, for tests and for drivers that have the bytes elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.spare_mut(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Removes the first `count` bytes, or all if there are fewer.
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

    /// Removes the first `count` bytes and overwrites them, for bytes that may have held a secret.
    pub fn consume_wiping(&mut self, count: usize) {
        let count = count.min(self.len());
        self.trace_span(count, TraceKind::Secret);
        let start = self.start;
        self.memory[start..start + count].zeroize();
        self.consume(count);
    }

    /// Searches for the next line end (LF), from where the last search stopped. `limit` is the longest line, in bytes,
    /// including its end.
    pub fn find_line(&mut self, limit: usize) -> Line {
        self.find_line_from(0, limit)
    }

    /// Searches like [`find_line`](Self::find_line) for a line that begins at offset `from`, for example after a
    /// literal. The returned length counts from there.
    pub fn find_line_from(&mut self, from: usize, limit: usize) -> Line {
        let held = self.len();
        let begin = self.searched.max(from).min(held);
        let found = memchr::memchr(b'\n', &self.bytes()[begin..]);
        match found {
            Some(at) if begin + at + 1 - from <= limit => {
                // The position is not remembered: the caller may ask for the same line again.
                Line::Complete(begin + at + 1 - from)
            }
            Some(_) => Line::TooLong,
            None => {
                self.searched = held;
                if held.saturating_sub(from) >= limit { Line::TooLong } else { Line::Partial }
            }
        }
    }

    /// Starts a trace of the input, which [`take_trace`](Self::take_trace) returns. Of a line or a literal it shows at
    /// most `limit` bytes.
    pub fn trace(&mut self, limit: usize) {
        self.reading = Some(Box::new(RecvTrace { buffer: TraceBuffer::new(limit), traced: 0 }));
    }

    /// Returns true if a trace was started.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.reading.is_some()
    }

    /// Traces the bytes up to offset `up_to` that are not traced yet, as `kind`. For machines.
    ///
    /// Bytes that are consumed without this are traced as [`Unknown`](TraceKind::Unknown), and bytes that are wiped as
    /// [`Secret`](TraceKind::Secret). When tracing is off, the cost is one null check.
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

    /// Returns what was traced since the last call; nothing if no trace was [started](Self::trace).
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceSpan> {
        self.reading.as_mut().map(|reading| reading.buffer.take()).unwrap_or_default()
    }

    /// Returns how many bytes were received since the buffer was created.
    #[must_use]
    pub const fn received_total(&self) -> u64 {
        self.received
    }

    /// Reports that the peer will send no more. What is in the buffer can still be read.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Returns true if the peer will send no more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Frees the memory if the buffer is empty. An idle session should do that.
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
        // Never the bytes: they may be a password.
        f.debug_struct("RecvBuffer")
            .field("len", &self.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Smaller payloads are copied into the current segment: many small slices in a system call cost more than the copy.
const COPY_BELOW: usize = 4096;

/// A new segment begins when the current one has this size, so that sent bytes are freed soon.
const SEGMENT: usize = 32 * 1024;

/// Output to the peer: a queue of segments for vectored writes.
///
/// A machine appends with [`put`](Self::put) (copied), [`put_payload`](Self::put_payload) (large payloads are not
/// copied) and [`put_secret`](Self::put_secret) (a segment of its own, which no trace shows and which is wiped after it
/// was sent). With the feature `std`, a driver calls `write_to`. Without it, or to write in its own
/// way, it writes the [`chunks`](Self::chunks) and reports with [`sent`](Self::sent).
///
/// Two counters only grow: [`queued_total`](Self::queued_total) and [`sent_total`](Self::sent_total). With them a
/// machine knows whether a command was sent before its reply arrived; see [`reply_order`](crate::reply_order).
#[derive(Default)]
pub struct SendBuffer {
    segments: VecDeque<Segment>,
    /// How many bytes of the first segment were sent.
    offset: usize,
    queued: u64,
    sent: u64,
    /// The position from which on the driver has to compress.
    compress_from: Option<u64>,
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

/// A slice of the output, and whether it is secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The bytes to send.
    pub bytes: &'a [u8],
    /// True if they hold a secret: a trace must show at most their length.
    pub secret: bool,
}

impl core::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunk").field("len", &self.bytes.len()).field("secret", &self.secret).finish()
    }
}

impl SendBuffer {
    /// Creates an empty buffer that holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: VecDeque::new(), offset: 0, queued: 0, sent: 0, compress_from: None, writing: None }
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

    /// Appends a copy of `bytes`, which a trace shows as `kind`.
    pub fn put_as(&mut self, bytes: &[u8], kind: TraceKind) {
        self.mark(bytes.len(), kind);
        self.put(bytes);
    }

    /// Marks the next `count` bytes as of this kind.
    fn mark(&mut self, count: usize, kind: TraceKind) {
        if let Some(writing) = &mut self.writing
            && count > 0
        {
            writing.mark(self.queued, self.queued.saturating_add(count as u64), kind);
        }
    }

    /// Appends a message or a part of one. Payloads of 4 KiB and more are not copied.
    pub fn put_payload(&mut self, payload: Bytes) {
        self.mark(payload.len(), TraceKind::Data);
        if payload.len() < COPY_BELOW {
            self.put(&payload);
        } else {
            self.queued = self.queued.saturating_add(payload.len() as u64);
            self.segments.push_back(Segment::Payload(payload));
        }
    }

    /// Appends a copy of `bytes`, which hold a secret. The copy is wiped after it was sent, or when the buffer is dropped.
    pub fn put_secret(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.mark(bytes.len(), TraceKind::Secret);
        self.queued = self.queued.saturating_add(bytes.len() as u64);
        self.segments.push_back(Segment::Secret(bytes.to_vec()));
    }

    /// Returns how many bytes wait to be sent.
    #[must_use]
    pub const fn len(&self) -> usize {
        // The difference fits: it is what is in memory.
        (self.queued - self.sent) as usize
    }

    /// Returns true if nothing waits to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.queued == self.sent
    }

    /// Returns the bytes that wait, in order, as contiguous slices. None is empty.
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

    /// Reports that the first `count` bytes were sent, or all if there are fewer.
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
            // The last text segment is kept for its memory: the next line goes there.
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

    /// Starts a trace of what is sent, which [`take_trace`](Self::take_trace) returns. Of a line it shows at most
    /// `limit` bytes. Output that waits already is traced as [`Unknown`](TraceKind::Unknown).
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

    /// Returns what was sent since the last call; nothing if no trace was [started](Self::trace).
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceSpan> {
        self.writing.as_mut().map(|writing| writing.buffer.take()).unwrap_or_default()
    }

    /// Discards what waits, as if it had been sent, for a peer that will not receive it.
    pub fn discard(&mut self) {
        let writing = self.writing.take();
        self.sent(self.len());
        self.writing = writing;
    }

    /// Returns how many bytes were ever queued.
    #[must_use]
    pub const fn queued_total(&self) -> u64 {
        self.queued
    }

    /// Returns how many bytes were ever sent.
    #[must_use]
    pub const fn sent_total(&self) -> u64 {
        self.sent
    }

    /// Frees the memory if nothing waits. An idle session should do that.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.segments = VecDeque::new();
            self.offset = 0;
        }
    }

    /// Removes everything that waits and counts it as sent, for tests and for drivers without vectored writes.
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

mod compression;
#[cfg(feature = "std")]
mod io;
mod rewrite;
#[cfg(test)]
mod tests;
