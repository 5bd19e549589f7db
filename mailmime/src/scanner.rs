//! The scanner finds every part of a message in one pass, from chunks of any size.
//!
//! It recognizes lines, header fields and multipart boundaries, and writes derived data while it reads. It keeps one
//! field at a time, up to a limit, and no body, so its memory does not grow with the message. The result does not
//! depend on how the input is divided into chunks.

use crate::envelope_writer::{EnvelopeWriter, RecordRoom};
use crate::field_buffer::{Field, FieldBuffer, FieldKind};
use crate::limits::{BOUNDARY_LINE_LIMIT, CLOSING_RESERVE, Limits, PART_RESERVE};
use crate::mime_fields::MimeFields;
use crate::record::{RecordWriter, StructureRecord, text_size};
use crate::structure::{Part, Structure};
use memchr::memchr;

/// Reads a message chunk by chunk and returns its [`Structure`].
///
/// Uses at most about 200 KiB of memory for any message with the default [`Limits`], and time linear in its size. The
/// result does not depend on how the message is divided into chunks.
///
/// ```
/// let mut scanner = mailmime::Scanner::default();
/// scanner.push(b"Subject: hel");
/// scanner.push(b"lo\r\n\r\nworld\r\n");
/// let structure = scanner.finish();
/// assert_eq!(structure.envelope.subject.as_deref(), Some("hello"));
/// assert_eq!((structure.root.body.start, structure.root.body.end), (18, 25));
/// ```
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    /// The number of bytes read.
    position: u64,
    /// The number of line ends read.
    newlines: u64,
    line: Line,
    /// How the previous line ended.
    previous: LineEnd,
    /// The header being read, or `None` inside a body.
    header: Option<Header>,
    parts: usize,
    /// Open parts from the root to the innermost.
    open: Vec<OpenPart>,
    envelope: RecordWriter,
    structure: RecordWriter,
    date: Option<String>,
}

impl Structure {
    /// Reads a whole message in memory, with the default limits. Never fails: a malformed message has a simpler
    /// structure.
    pub fn parse(message: &[u8]) -> Self {
        let mut scanner = Scanner::default();
        scanner.push(message);
        scanner.finish()
    }
}

#[derive(Debug, Default)]
struct Line {
    start: u64,
    length: u64,
    /// The start of the line, kept while it can be a boundary.
    head: Vec<u8>,
    ends_with_cr: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct LineEnd {
    bytes: u64,
    empty_line: bool,
}

#[derive(Debug)]
struct Header {
    start: u64,
    field: FieldBuffer,
    mime: MimeFields,
    /// The envelope, if this is the header of a message and not of a part.
    envelope: Option<NestedEnvelope>,
}

#[derive(Debug)]
struct NestedEnvelope {
    writer: EnvelopeWriter,
    /// The length of the record when the envelope began.
    start: usize,
    /// Whether it is written into the structure: the envelope of an enclosed message.
    inside: bool,
}

#[derive(Debug)]
struct OpenPart {
    body_start: u64,
    first_line: u64,
    kind: PartKind,
    truncated: bool,
}

#[derive(Debug)]
enum PartKind {
    Leaf,
    Multipart {
        /// `None` after the closing boundary.
        boundary: Option<Box<[u8]>>,
        digest: bool,
        has_parts: bool,
    },
    Message,
}

impl Header {
    fn new(start: u64, envelope: Option<NestedEnvelope>) -> Self {
        Self { start, field: FieldBuffer::default(), mime: MimeFields::default(), envelope }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Scanner {
    /// Creates a scanner for a new message.
    pub fn new(limits: Limits) -> Self {
        let envelope = NestedEnvelope { writer: EnvelopeWriter::default(), start: 0, inside: false };
        Self {
            limits: limits.in_range(),
            position: 0,
            newlines: 0,
            line: Line::default(),
            previous: LineEnd::default(),
            header: Some(Header::new(0, Some(envelope))),
            parts: 0,
            open: Vec::new(),
            envelope: RecordWriter::default(),
            structure: RecordWriter::default(),
            date: None,
        }
    }

    /// Reads the next bytes of the message.
    pub fn push(&mut self, mut chunk: &[u8]) {
        while let Some(newline) = memchr(b'\n', chunk) {
            let (text, rest) = chunk.split_at(newline);
            self.extend_line(text);
            chunk = rest.get(1..).unwrap_or_default();
            self.position += 1;
            let end = 1 + u64::from(self.line.ends_with_cr);
            self.newlines += 1;
            self.end_line(end);
        }
        self.extend_line(chunk);
    }

    /// Ends the message and returns its structure.
    pub fn finish(self) -> Structure {
        let limits = self.limits.clone();
        // A record that was just written is never damaged.
        self.finish_record().decode(&limits).unwrap_or_default()
    }

    /// Ends the message and returns its structure as a record, to be stored.
    pub fn finish_record(mut self) -> StructureRecord {
        let unterminated = self.line.length > 0;
        if unterminated {
            self.end_line(0);
        }
        // The header of an enclosed message starts another header, which also ends here.
        while self.header.is_some() {
            self.end_header(self.position);
        }
        let last_line = self.newlines + u64::from(unterminated);
        while !self.open.is_empty() {
            self.close_innermost(self.position, last_line);
        }
        StructureRecord { envelope: self.envelope.finish(), root: self.structure.finish(), date: self.date }
    }

    fn extend_line(&mut self, text: &[u8]) {
        let Some(&last) = text.last() else { return };
        let (kept, length) = (self.line.head.len(), text.len() as u64);
        let first = self.line.length == 0;
        let candidate = kept > 0 || (first && text.first() == Some(&b'-'));
        if candidate && kept < BOUNDARY_LINE_LIMIT {
            let room = BOUNDARY_LINE_LIMIT - kept;
            self.line.head.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        }
        if self.header.is_some() {
            if first && !matches!(text.first(), Some(b' ' | b'\t')) {
                self.end_field();
                if let Some(header) = &mut self.header {
                    header.field.begin();
                }
            }
            let limits = &self.limits;
            if let Some(Header { field, envelope, .. }) = &mut self.header {
                field.extend(text, limits, |kind| match envelope {
                    Some(envelope) if kind.is_envelope_field() => envelope.writer.wants(kind, limits),
                    _ => !kind.is_envelope_field(),
                });
            }
        }
        self.line.length += length;
        self.line.ends_with_cr = last == b'\r';
        self.position += length;
    }

    /// Ends a line. `end` is the length of its line end: 0 at the end of the message.
    fn end_line(&mut self, end: u64) {
        let boundary = self.boundary_here();
        let empty_line = self.line.length == u64::from(self.line.ends_with_cr);
        if let Some((level, closing)) = boundary {
            self.end_at_boundary(level, closing);
        } else if empty_line {
            self.end_header(self.position);
        } else if let Some(header) = &mut self.header {
            header.field.end_line();
        }
        self.previous = LineEnd { bytes: end, empty_line };
        self.line.start = self.position;
        self.line.length = 0;
        self.line.head.clear();
        self.line.ends_with_cr = false;
    }

    /// Returns the open multipart whose boundary this line is, and whether it is the closing boundary.
    fn boundary_here(&self) -> Option<(usize, bool)> {
        let text = self.line.head.strip_prefix(b"--")?;
        if self.line.length > BOUNDARY_LINE_LIMIT as u64 {
            return None;
        }
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let PartKind::Multipart { boundary: Some(boundary), .. } = &open.kind else { return None };
            match text.strip_prefix(&**boundary)?.trim_ascii_end() {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        })
    }

    fn end_at_boundary(&mut self, level: usize, closing: bool) {
        while self.header.is_some() {
            self.end_header(self.line.start);
        }
        // The line end before a boundary belongs to the boundary, unless it ends a header.
        let mut end = self.line.start - self.previous.bytes;
        // Only a line with text counts as a line of the part.
        let newlines = self.newlines - u64::from(self.line.start < self.position && self.line_was_ended());
        let mut last_line = newlines - u64::from(self.previous.empty_line && newlines > 0);
        while self.open.len() > level + 1 {
            let closed = self.close_innermost(end, last_line);
            if closed > end {
                // The part ends with a header, and what holds the part ends there as well.
                (end, last_line) = (closed, newlines);
            }
        }
        let full = !self.has_room_for_part();
        if let Some(OpenPart { kind: PartKind::Multipart { boundary, .. }, truncated, .. }) =
            self.open.last_mut()
            && (closing || full)
        {
            *boundary = None;
            *truncated |= !closing;
        } else {
            self.header = Some(Header::new(self.position, None));
        }
    }

    /// Returns whether the current line ended with a line end, and not with the message.
    fn line_was_ended(&self) -> bool {
        self.position > self.line.start + self.line.length
    }

    /// Returns how many more bytes of derived data may be written. Depends on the start of the current line, and
    /// therefore not on the division into chunks.
    fn room(&self) -> usize {
        let more = usize::try_from(self.line.start / 10).unwrap_or(usize::MAX);
        let limit = self.limits.record_base.saturating_add(more);
        limit
            .min(self.limits.record)
            .saturating_sub(self.envelope.len() + self.structure.len() + CLOSING_RESERVE)
    }

    fn has_room_for_part(&self) -> bool {
        self.parts < self.limits.parts
            && self.structure.texts() + 8 <= self.limits.texts
            && self.room() >= PART_RESERVE
    }

    /// Ends the field that was read last.
    fn end_field(&mut self) {
        let room = self.room().saturating_sub(PART_RESERVE);
        let Some(Header { field, mime, envelope, .. }) = &mut self.header else { return };
        let Some(field) = field.take(&self.limits) else { return };
        if !field.kind.is_envelope_field() {
            return mime.field(field, &self.limits);
        }
        let Some(NestedEnvelope { writer, start, inside }) = envelope else { return };
        let record = if *inside { &mut self.structure } else { &mut self.envelope };
        let room = RecordRoom {
            bytes: room.min(self.limits.envelope.saturating_sub(record.len() - *start)),
            texts: if *inside { self.limits.texts.saturating_sub(record.texts() + 8) } else { usize::MAX },
        };
        writer.field(&field, record, room, &self.limits);
        if !*inside
            && self.date.is_none()
            && let Field { kind: FieldKind::Date, text, .. } = field
        {
            self.date = (!text.is_empty()).then_some(text);
        }
    }

    fn end_header(&mut self, end: u64) {
        self.end_field();
        let Some(Header { start, mime, envelope, .. }) = self.header.take() else { return };
        if let Some(NestedEnvelope { writer, inside, .. }) = envelope {
            writer.end(if inside { &mut self.structure } else { &mut self.envelope });
        }
        let digest = match self.open.last_mut() {
            Some(OpenPart { kind: PartKind::Multipart { digest, has_parts, .. }, .. }) => {
                *has_parts = true;
                *digest
            }
            _ => false,
        };
        let mut part = mime.into_part(if digest { ("message", "rfc822") } else { ("text", "plain") });
        self.parts += 1;
        let kind = self.kind_of(&mut part);
        let message = matches!(kind, PartKind::Message);
        let first_line = self.newlines - u64::from(end == self.line.start && self.line_was_ended());
        self.write_part(&mut part, start, end);
        self.open.push(OpenPart { body_start: end, first_line, kind, truncated: part.truncated });
        if message {
            self.structure.mark(b'M');
            let start = self.structure.len();
            let envelope = NestedEnvelope { writer: EnvelopeWriter::default(), start, inside: true };
            self.header = Some(Header::new(end, Some(envelope)));
        }
    }

    fn kind_of(&self, part: &mut Part) -> PartKind {
        let kind = match (part.media_type.as_str(), part.media_subtype.as_str()) {
            ("multipart", subtype) => PartKind::Multipart {
                boundary: part
                    .parameter("boundary")
                    .map(|boundary| boundary.trim_end().as_bytes())
                    .filter(|boundary| boundary.len() < BOUNDARY_LINE_LIMIT)
                    .map(Box::from),
                digest: subtype == "digest",
                has_parts: false,
            },
            ("message", "rfc822" | "global") => PartKind::Message,
            _ => return PartKind::Leaf,
        };
        // A container needs room for itself and for one part inside it.
        if self.open.len() + 1 >= self.limits.depth
            || !self.has_room_for_part()
            || self.room() < 2 * PART_RESERVE
        {
            (part.media_type, part.media_subtype) = ("application".to_owned(), "octet-stream".to_owned());
            part.parameters.clear();
            part.truncated = true;
            return PartKind::Leaf;
        }
        kind
    }

    /// Writes the fields of a part's header, and drops those for which there is no room.
    fn write_part(&mut self, part: &mut Part, start: u64, end: u64) {
        let mut budget = PartBudget {
            bytes: self.room().saturating_sub(PART_RESERVE),
            texts: self.limits.texts.saturating_sub(self.structure.texts() + 4),
            all: true,
        };
        budget.keep_parameters(&mut part.parameters);
        for text in [&mut part.id, &mut part.location, &mut part.description, &mut part.md5] {
            budget.keep_text(text);
        }
        if let Some(disposition) = &mut part.disposition {
            budget.keep_parameters(&mut disposition.parameters);
        }
        part.languages.retain(|tag| budget.takes(&[tag]));
        part.truncated |= !budget.all;
        let record = &mut self.structure;
        let parameters = |record: &mut RecordWriter, list: &[(String, String)]| {
            for (name, value) in list {
                record.text(name);
                record.text(value);
            }
            record.mark(b'.');
        };
        record.mark(b'P');
        record.text(&part.media_type);
        record.text(&part.media_subtype);
        parameters(record, &part.parameters);
        record.text(&part.encoding);
        for text in [&part.id, &part.description, &part.md5, &part.location] {
            record.optional(text.as_deref());
        }
        record.optional(part.disposition.as_ref().map(|disposition| disposition.kind.as_str()));
        if let Some(disposition) = &part.disposition {
            parameters(record, &disposition.parameters);
        }
        part.languages.iter().for_each(|tag| record.text(tag));
        record.mark(b'.');
        record.number(start);
        record.number(end.saturating_sub(start));
    }

    /// Ends the innermost part at `end`, or where its body starts if that is later. Returns the end.
    fn close_innermost(&mut self, end: u64, last_line: u64) -> u64 {
        let Some(OpenPart { body_start, first_line, kind, truncated }) = self.open.pop() else { return end };
        let end = end.max(body_start);
        if matches!(kind, PartKind::Multipart { has_parts: false, .. }) {
            let mut empty = MimeFields::default().into_part(("text", "plain"));
            self.write_part(&mut empty, end, end);
            self.parts += 1;
            self.write_end(0, 0, empty.truncated);
        }
        let lines = if end == body_start { 0 } else { last_line.saturating_sub(first_line) };
        self.write_end(lines, end - body_start, truncated);
        end
    }

    fn write_end(&mut self, lines: u64, length: u64, truncated: bool) {
        self.structure.mark(b')');
        if truncated {
            self.structure.mark(b'T');
        }
        self.structure.number(lines);
        self.structure.number(length);
    }
}

/// The room for a part's fields, besides its type and place.
struct PartBudget {
    bytes: usize,
    texts: usize,
    /// Whether nothing was dropped.
    all: bool,
}

impl PartBudget {
    fn takes(&mut self, texts: &[&str]) -> bool {
        let size = texts.iter().map(|text| text_size(text)).sum::<usize>();
        let fits = size <= self.bytes && texts.len() <= self.texts;
        if fits {
            self.bytes -= size;
            self.texts -= texts.len();
        }
        self.all &= fits;
        fits
    }

    fn keep_text(&mut self, text: &mut Option<String>) {
        if text.as_deref().is_some_and(|text| !self.takes(&[text])) {
            *text = None;
        }
    }

    fn keep_parameters(&mut self, parameters: &mut Vec<(String, String)>) {
        parameters.retain(|(name, value)| self.takes(&[name, value]));
    }
}
