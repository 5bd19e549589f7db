//! Encodes the binary parts of a message in base64, so that it can be stored and fetched as text (RFC 3516 §4.4).
//!
//! The message passes through in pieces. A part whose Content-Transfer-Encoding is `binary` becomes one in base64; a
//! multipart or an enclosed message with that encoding is labelled `8bit`, and its parts are encoded. Everything else stays
//! as it is. Held at a time: one header, the start of a line, and the boundaries of the open multiparts.

use mailmime::{HeaderFields, Structure};

/// The longest header that is understood. The rest of a message with a longer one is not encoded.
const HEADER_LIMIT: usize = 64 * 1024;

/// The longest line that can be a boundary: two hyphens twice, 70 bytes, and blanks.
const BOUNDARY_LINE_LIMIT: usize = 256;

/// How many multiparts may be open. The parts of deeper ones are not encoded.
const DEPTH_LIMIT: usize = 32;

/// The bytes of a line of base64 before the encoding: 76 characters.
const BASE64_LINE: usize = 57;

/// The state of a message that passes through.
#[derive(Debug)]
pub(super) struct BinaryEncoder {
    place: Place,
    /// The boundaries of the open multiparts, the innermost last.
    boundaries: Vec<Vec<u8>>,
    /// The line end before the current line. It belongs to a boundary that follows.
    line_end: Vec<u8>,
    /// The start of the current line, while the line can be a boundary.
    line: Vec<u8>,
    /// The current line is too long for a boundary, and its start was written.
    is_long: bool,
}

#[derive(Debug)]
enum Place {
    /// In a header, of which these bytes have arrived.
    Header(Vec<u8>),
    /// In a body that stays as it is.
    Plain,
    /// In a body that becomes base64. These bytes do not fill a line yet.
    Base64(Vec<u8>),
}

impl BinaryEncoder {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Header(Vec::new()),
            boundaries: Vec::new(),
            line_end: Vec::new(),
            line: Vec::new(),
            is_long: false,
        }
    }

    /// Encodes the next bytes of the message.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(end);
            bytes = rest;
            if self.is_long {
                self.content(piece, out);
            } else {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line(out);
            } else if self.line.len() > BOUNDARY_LINE_LIMIT {
                self.is_long = true;
                let line = std::mem::take(&mut self.line);
                self.content(&line, out);
            }
        }
    }

    /// Ends the message.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.end_line(out);
        match std::mem::replace(&mut self.place, Place::Plain) {
            Place::Header(header) => out.extend_from_slice(&header),
            Place::Plain => out.append(&mut self.line_end),
            Place::Base64(mut waiting) => {
                waiting.append(&mut self.line_end);
                encode_all(&waiting, out);
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let was_long = std::mem::take(&mut self.is_long);
        if !was_long && let Some((level, is_last)) = self.boundary(&line) {
            return self.at_boundary(level, is_last, &line, out);
        }
        let is_header_end = matches!(&*line, b"\r\n" | b"\n") && !was_long;
        self.content(&line, out);
        if is_header_end && let Place::Header(header) = &mut self.place {
            let header = std::mem::take(header);
            self.end_header(&header, out);
        }
    }

    /// Returns which open multipart a line is a boundary of, and whether it is its last one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        self.boundaries.iter().enumerate().rev().find_map(|(level, boundary)| {
            match text.strip_prefix(&**boundary)?.trim_ascii_end() {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        })
    }

    fn at_boundary(&mut self, level: usize, is_last: bool, line: &[u8], out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.place, Place::Plain) {
            Place::Header(header) => out.extend_from_slice(&header),
            Place::Plain => {}
            Place::Base64(waiting) => encode_all(&waiting, out),
        }
        out.append(&mut self.line_end);
        out.extend_from_slice(line);
        if is_last {
            self.boundaries.truncate(level);
        } else {
            self.boundaries.truncate(level + 1);
            self.place = Place::Header(Vec::new());
        }
    }

    /// Takes bytes of the current line that are no boundary.
    fn content(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &mut self.place {
            Place::Header(header) => {
                header.extend_from_slice(bytes);
                if header.len() > HEADER_LIMIT {
                    out.append(header);
                    self.boundaries.clear();
                    self.place = Place::Plain;
                }
            }
            Place::Plain => {
                out.append(&mut self.line_end);
                let (text, end) = split_line_end(bytes);
                out.extend_from_slice(text);
                self.line_end.extend_from_slice(end);
            }
            Place::Base64(waiting) => {
                waiting.append(&mut self.line_end);
                let (text, end) = split_line_end(bytes);
                waiting.extend_from_slice(text);
                self.line_end.extend_from_slice(end);
                let whole = waiting.len() - waiting.len() % BASE64_LINE;
                for line in waiting.get(..whole).unwrap_or_default().chunks(BASE64_LINE) {
                    encode_line(line, out);
                }
                waiting.drain(..whole);
            }
        }
    }

    /// Writes a header that has ended, and begins its body.
    fn end_header(&mut self, header: &[u8], out: &mut Vec<u8>) {
        self.place = Place::Plain;
        let part = Structure::parse(header).root;
        let is_binary = part.encoding.eq_ignore_ascii_case("binary");
        let is_multipart = part.media_type.eq_ignore_ascii_case("multipart");
        let is_message = part.media_type.eq_ignore_ascii_case("message")
            && part.media_subtype.eq_ignore_ascii_case("rfc822");
        if is_binary {
            write_header(header, if is_multipart || is_message { "8bit" } else { "base64" }, out);
        } else {
            out.extend_from_slice(header);
        }
        if is_multipart {
            if let Some(boundary) = part.parameter("boundary")
                && self.boundaries.len() < DEPTH_LIMIT
                && !boundary.is_empty()
            {
                self.boundaries.push(boundary.trim_end().as_bytes().to_vec());
            }
        } else if is_message {
            self.place = Place::Header(Vec::new());
        } else if is_binary {
            self.place = Place::Base64(Vec::new());
        }
    }
}

/// Writes a header with another Content-Transfer-Encoding.
fn write_header(header: &[u8], encoding: &str, out: &mut Vec<u8>) {
    let mut written = 0;
    for field in HeaderFields::new(header) {
        written += field.raw.len();
        if field.name.trim_ascii().eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            out.extend_from_slice(b"Content-Transfer-Encoding: ");
            out.extend_from_slice(encoding.as_bytes());
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(header.get(written..).unwrap_or_default());
}

/// Splits bytes before their line end.
fn split_line_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    let text = match bytes {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
        _ => bytes,
    };
    bytes.split_at(text.len())
}

/// Writes lines of base64; the last one has no line end if it is not full.
fn encode_all(bytes: &[u8], out: &mut Vec<u8>) {
    for line in bytes.chunks(BASE64_LINE) {
        encode_line(line, out);
    }
    // The line end before the boundary, or at the end of the message, follows.
    if out.ends_with(b"\r\n") && !bytes.is_empty() {
        out.truncate(out.len() - 2);
    }
}

/// Writes one line of base64 (RFC 4648 §4) with its line end.
fn encode_line(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for index in 0..4 {
            let digit = usize::try_from((bits >> (18 - 6 * index)) & 63).unwrap_or_default();
            let is_padding = index > group.len() as u32;
            out.push(if is_padding { b'=' } else { ALPHABET.get(digit).copied().unwrap_or(b'=') });
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &[u8], piece: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (BinaryEncoder::new(), Vec::new());
        for piece in message.chunks(piece) {
            encoder.push(piece, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    /// Encodes in pieces of any size, which must not matter.
    fn check(message: &[u8], expected: &[u8]) {
        for piece in [1, 2, 3, 7, 100, message.len().max(1)] {
            let found = encoded(message, piece);
            assert_eq!(
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(expected),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn leaves_other_messages_as_they_are() {
        for message in [
            &b""[..],
            b"\r\n",
            b"Subject: x",
            b"Subject: x\r\n\r\n",
            b"Subject: x\r\n\r\nbody",
            b"Subject: x\r\n\r\nbody\r\n--b\r\n",
            b"Subject: x\n\nbody\n",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\nA: b\r\n\r\n\r\n--b--\r\nend\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\nA: b\r\n--b--",
            b"Content-Transfer-Encoding: 8bit\r\n\r\n\xff\r\r\n",
        ] {
            check(message, message);
        }
    }

    #[test]
    fn encodes_a_whole_message() {
        check(
            b"A: b\r\nContent-Transfer-Encoding:\r\n BINARY\r\nC: d\r\n\r\na\0b\r\n",
            b"A: b\r\nContent-Transfer-Encoding: base64\r\nC: d\r\n\r\nYQBiDQo=",
        );
        check(b"Content-Transfer-Encoding: binary\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n\r\n");
    }

    #[test]
    fn encodes_parts_without_the_line_end_of_their_boundary() {
        check(
            b"Content-Type: multipart/mixed; boundary=\"b c\"\r\nContent-Transfer-Encoding: binary\r\n\r\n--b c\r\n\
              Content-Transfer-Encoding: binary\r\n\r\n\0\n\r\n--b\r\n--b c \r\n\r\nplain\r\n--b c\r\n\
              Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: x\r\n\
              Content-Transfer-Encoding: binary\r\n\r\ny\r\n--b c--\r\nend\r\n",
            b"Content-Type: multipart/mixed; boundary=\"b c\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b c\r\n\
              Content-Transfer-Encoding: base64\r\n\r\nAAoNCi0tYg==\r\n--b c \r\n\r\nplain\r\n--b c\r\n\
              Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: x\r\n\
              Content-Transfer-Encoding: base64\r\n\r\neQ==\r\n--b c--\r\nend\r\n",
        );
    }

    #[test]
    fn decodes_to_what_was_sent() {
        for length in 0..200_usize {
            let body: Vec<u8> = (0..length).map(|at| (at * 37 % 256) as u8).collect();
            let message = [b"Content-Transfer-Encoding: binary\r\n\r\n", &*body].concat();
            for piece in [1, 56, 58, 1_000] {
                let found = encoded(&message, piece);
                let start = found.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                let decoded = mailmime::decode::transfer_encoding("base64", &found[start..]).unwrap();
                assert_eq!(decoded, body);
                assert!(found.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
            }
        }
    }

    #[test]
    fn a_long_header_ends_the_encoding() {
        let long =
            [&b"X: "[..], &[b'x'; HEADER_LIMIT], b"\r\nContent-Transfer-Encoding: binary\r\n\r\n\0"].concat();
        check(&long, &long);
    }
}
