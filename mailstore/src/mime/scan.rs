//! The scanner: one pass over a message, in chunks of any size, that finds every part.
//!
//! Knows lines, header blocks and multipart boundaries. Keeps the headers of parts (up to a limit) and never a body,
//! so its memory does not grow with the message. The same input gives the same structure however it is divided.

use super::envelope::read_envelope;
use super::header::read_mime_fields;
use super::{ByteRange, Envelope, Part, Structure};
use memchr::memchr;

/// How many octets of header a message's summary is read from, all its parts together.
pub const HEADER_LIMIT: usize = 1024 * 1024;

/// How many levels of multiparts and enclosed messages are told apart.
pub const DEPTH_LIMIT: usize = 32;

/// How many parts of one message are told apart.
pub const PART_LIMIT: usize = 2_000;

/// The longest line that can be a boundary, blanks behind it included (RFC 2046 allows 70 octets and two hyphens).
const BOUNDARY_LINE_LIMIT: usize = 512;

/// Reads a message chunk by chunk and yields its [`Structure`].
#[derive(Debug)]
pub struct Scanner {
    /// The number of octets read.
    position: u64,
    /// The number of line ends read.
    newlines: u64,
    line: Line,
    /// How the line before this one ended.
    previous: LineEnd,
    /// The header being read, or none while inside a body.
    header: Option<Header>,
    header_budget: usize,
    parts: usize,
    /// Open parts from the root to the innermost.
    open: Vec<Open>,
    envelope: Envelope,
    root: Option<Part>,
}

#[derive(Debug, Default)]
struct Line {
    start: u64,
    length: u64,
    /// The beginning of the line, kept where it matters.
    head: Vec<u8>,
    ends_with_cr: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct LineEnd {
    octets: u64,
    empty_line: bool,
}

#[derive(Debug)]
struct Header {
    start: u64,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    part: Part,
    first_line: u64,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Leaf,
    /// Between its boundaries; `None` once closed.
    Multipart(Option<Vec<u8>>),
    Message(Box<Envelope>),
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the first octet of a message.
    pub fn new() -> Self {
        Self {
            position: 0,
            newlines: 0,
            line: Line::default(),
            previous: LineEnd::default(),
            header: Some(Header { start: 0, text: Vec::new() }),
            header_budget: HEADER_LIMIT,
            parts: 0,
            open: Vec::new(),
            envelope: Envelope::default(),
            root: None,
        }
    }

    /// Reads the next octets of the message.
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

    /// The message is complete.
    pub fn finish(mut self) -> Structure {
        let unterminated = self.line.length > 0;
        if unterminated {
            self.end_line(0);
        }
        // A header that names a message opens the next one: that ends here too.
        while self.header.is_some() {
            self.end_header(self.position);
        }
        let last_line = self.newlines + u64::from(unterminated);
        while !self.open.is_empty() {
            self.close_innermost(self.position, last_line);
        }
        Structure { envelope: self.envelope, root: self.root.unwrap_or_default() }
    }

    fn extend_line(&mut self, text: &[u8]) {
        let Some(&last) = text.last() else { return };
        let (kept, length) = (self.line.head.len(), text.len() as u64);
        let candidate = kept > 0 || (self.line.length == 0 && text.first() == Some(&b'-'));
        if candidate && kept < BOUNDARY_LINE_LIMIT {
            self.line.head.extend_from_slice(&text[..text.len().min(BOUNDARY_LINE_LIMIT - kept)]);
        }
        if let Some(header) = &mut self.header {
            let taken = text.len().min(self.header_budget);
            header.text.extend_from_slice(&text[..taken]);
            self.header_budget -= taken;
        }
        self.line.length += length;
        self.line.ends_with_cr = last == b'\r';
        self.position += length;
    }

    /// A line is complete; `end` is the length of its line end, 0 at the end of the message.
    fn end_line(&mut self, end: u64) {
        let boundary = self.boundary_here();
        let empty_line = self.line.length == u64::from(self.line.ends_with_cr);
        if let Some((level, closing)) = boundary {
            self.end_at_boundary(level, closing);
        } else if self.header.is_some() {
            if empty_line {
                self.end_header(self.position);
            } else if let Some(header) = &mut self.header
                && self.header_budget > 0
            {
                header.text.push(b'\n');
                self.header_budget -= 1;
            }
        }
        self.previous = LineEnd { octets: end, empty_line };
        self.line.start = self.position;
        self.line.length = 0;
        self.line.head.clear();
        self.line.ends_with_cr = false;
    }

    /// The open multipart whose boundary this line is, and whether it is the closing one.
    fn boundary_here(&self) -> Option<(usize, bool)> {
        let text = self.line.head.strip_prefix(b"--")?;
        if self.line.length > BOUNDARY_LINE_LIMIT as u64 {
            return None;
        }
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let Role::Multipart(Some(boundary)) = &open.role else { return None };
            match text.strip_prefix(boundary.as_slice())?.trim_ascii_end() {
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
        let end = self.line.start - self.previous.octets;
        // The line end before a boundary belongs to the boundary; only a line with text counts as one of the part.
        let newlines = self.newlines - u64::from(self.line.start < self.position && self.line_was_ended());
        let last_line = newlines - u64::from(self.previous.empty_line && newlines > 0);
        while self.open.len() > level + 1 {
            self.close_innermost(end, last_line);
        }
        if let Some(Open { role: Role::Multipart(boundary), .. }) = self.open.last_mut()
            && (closing || self.parts >= PART_LIMIT)
        {
            *boundary = None;
        } else {
            self.header = Some(Header { start: self.position, text: Vec::new() });
        }
    }

    /// Whether the line in hand ended with a line end (and not with the message).
    fn line_was_ended(&self) -> bool {
        self.position > self.line.start + self.line.length
    }

    fn end_header(&mut self, end: u64) {
        let Some(Header { start, text }) = self.header.take() else { return };
        let parent = self.open.last();
        let digest = parent.is_some_and(|open| is_digest(&open.part));
        let mut part = Part::default();
        read_mime_fields(&text, if digest { ("message", "rfc822") } else { ("text", "plain") }, &mut part);
        part.header = ByteRange { start, end };
        part.body = ByteRange { start: end, end };
        match self.open.last_mut() {
            None => self.envelope = read_envelope(&text),
            Some(Open { role: Role::Message(envelope), .. }) => **envelope = read_envelope(&text),
            Some(_) => {}
        }
        self.parts += 1;
        let role = self.role_of(&mut part);
        let message = matches!(role, Role::Message(_));
        let first_line = self.newlines - u64::from(end == self.line.start && self.line_was_ended());
        self.open.push(Open { part, first_line, role });
        if message {
            self.header = Some(Header { start: end, text: Vec::new() });
        }
    }

    fn role_of(&self, part: &mut Part) -> Role {
        let role = match (part.media_type.as_str(), part.media_subtype.as_str()) {
            ("multipart", _) => Role::Multipart(
                part.parameter("boundary").map(|boundary| boundary.trim_end().as_bytes().to_vec()),
            ),
            ("message", "rfc822" | "global") => Role::Message(Box::default()),
            _ => return Role::Leaf,
        };
        if self.open.len() + 1 >= DEPTH_LIMIT || self.parts >= PART_LIMIT {
            (part.media_type, part.media_subtype) = ("application".to_owned(), "octet-stream".to_owned());
            part.parameters.clear();
            return Role::Leaf;
        }
        role
    }

    fn close_innermost(&mut self, end: u64, last_line: u64) {
        let Some(Open { mut part, first_line, .. }) = self.open.pop() else { return };
        part.body.end = end.max(part.body.start);
        part.lines = if part.body.is_empty() { 0 } else { last_line.saturating_sub(first_line) };
        if part.media_type == "multipart" && part.children.is_empty() {
            part.children.push(empty_text(part.body.end));
        }
        match self.open.last_mut() {
            None => self.root = Some(part),
            Some(Open { part: parent, role: Role::Message(envelope), .. }) => {
                parent.message =
                    Some(Box::new(Structure { envelope: std::mem::take(&mut **envelope), root: part }));
            }
            Some(Open { part: parent, .. }) => parent.children.push(part),
        }
    }
}

fn is_digest(part: &Part) -> bool {
    part.media_type == "multipart" && part.media_subtype == "digest"
}

fn empty_text(at: u64) -> Part {
    let nowhere = ByteRange { start: at, end: at };
    Part {
        media_type: "text".to_owned(),
        media_subtype: "plain".to_owned(),
        parameters: vec![("charset".to_owned(), "us-ascii".to_owned())],
        encoding: "7bit".to_owned(),
        header: nowhere,
        body: nowhere,
        ..Part::default()
    }
}
