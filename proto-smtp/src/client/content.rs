//! Scans the content of a message before it is sent, and decides which extensions it needs. The content is never changed.

use crate::body_type::BodyType;
use crate::data::LineEndings;
use crate::scan::{find_suspicious, is_forbidden};

/// The longest line without its CRLF (RFC 5321 §4.5.3.1.6).
const MAX_LINE: usize = 998;

/// Which bytes and lines a message is made of.
///
/// ```
/// use proto_smtp::client::Content;
/// use proto_smtp::types::BodyType;
///
/// let content = Content::of("Subject: x\r\n\r\ncafé\r\n".as_bytes());
/// assert!(content.fits(BodyType::EightBitMime) && !content.fits(BodyType::SevenBit));
/// assert!(!content.needs_utf8());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    size: u64,
    /// There is a byte above 127.
    pub(super) eight_bit: bool,
    nul: bool,
    /// There is a CR or LF that is not part of a CRLF.
    bare_newline: bool,
    /// There is a line of more than 998 bytes.
    long_line: bool,
    /// Bytes follow the last line end.
    open_end: bool,
    /// See [`Content::needs_utf8`].
    utf8: bool,
}

/// Scans a message in pieces, however it is split, in linear time.
///
/// ```
/// use proto_smtp::client::{Content, ContentScan};
///
/// let mut scan = ContentScan::new();
/// scan.push(b"Subject: x\r");
/// scan.push(b"\n\r\nhello\r\n");
/// assert_eq!(scan.finish(), Content::of(b"Subject: x\r\n\r\nhello\r\n"));
/// ```
#[derive(Debug, Clone)]
pub struct ContentScan {
    content: Content,
    /// Bytes since the last CR or LF.
    line: usize,
    /// The line is empty so far.
    blank: bool,
    after_cr: bool,
    in_header: bool,
    /// The header may announce parts.
    parts: bool,
    /// The header has a byte above 127.
    eight_bit_header: bool,
    /// How much of each word that announces parts was found.
    words: [usize; 2],
}

/// Whether complete lines hold no NUL and no CR or LF that is not part of a CRLF.
fn is_all_crlf(lines: &[u8]) -> bool {
    if lines.first().is_none_or(|first| is_forbidden(b'\n', *first)) {
        return false;
    }
    let mut at = 1;
    while let Some(found) = find_suspicious(lines, at) {
        // A dot at the beginning of a line is allowed.
        if !matches!(lines.get(found - 1..=found), Some(b"\n.")) {
            return false;
        }
        at = found + 1;
    }
    true
}

/// Whether one of the lines, each of which ends with CRLF, is too long.
fn has_long_line(mut lines: &[u8]) -> bool {
    while !lines.is_empty() {
        let window = lines.get(..MAX_LINE + 2).unwrap_or(lines);
        let Some(end) = memchr::memrchr(b'\n', window) else { return true };
        lines = lines.get(end + 1..).unwrap_or_default();
    }
    false
}

/// Words in a header that may announce parts, which have headers of their own.
const WORDS: [&[u8]; 2] = [b"multipart", b"message"];

impl Content {
    /// Scans a whole message.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        let mut scan = ContentScan::new();
        scan.push(message);
        scan.finish()
    }

    /// Returns the size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the message may be sent unchanged as this type: US-ASCII in lines of at most 998 bytes that end with CRLF,
    /// any bytes except NUL in such lines, or any bytes.
    #[must_use]
    pub const fn fits(&self, body: BodyType) -> bool {
        let lines = !self.nul && !self.bare_newline && !self.long_line && !self.open_end;
        match body {
            BodyType::SevenBit => lines && !self.eight_bit,
            BodyType::EightBitMime => lines,
            BodyType::BinaryMime => true,
        }
    }

    /// Whether the header, or that of a part, may hold bytes outside US-ASCII. The headers of parts are not parsed: a message
    /// with parts and with such bytes anywhere counts as one that does.
    #[must_use]
    pub const fn needs_utf8(&self) -> bool {
        self.utf8
    }

    /// Whether DATA can write the message.
    pub(super) const fn is_writable_by_data(&self, endings: LineEndings) -> bool {
        !self.nul && (!self.bare_newline || matches!(endings, LineEndings::Normalize))
    }

    /// Whether DATA writes the message as US-ASCII in lines.
    pub(super) const fn is_seven_bit_in_data(&self, endings: LineEndings) -> bool {
        !self.eight_bit && !self.long_line && self.is_writable_by_data(endings)
    }
}

impl ContentScan {
    /// A scan at the beginning of a message.
    #[must_use]
    pub const fn new() -> Self {
        let content = Content {
            size: 0,
            eight_bit: false,
            nul: false,
            bare_newline: false,
            long_line: false,
            open_end: false,
            utf8: false,
        };
        Self {
            content,
            line: 0,
            blank: true,
            after_cr: false,
            in_header: true,
            parts: false,
            eight_bit_header: false,
            words: [0; 2],
        }
    }

    /// Scans the next piece.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.content.size = self.content.size.saturating_add(bytes.len() as u64);
        let lines = self.whole_lines(bytes);
        bytes = bytes.get(lines..).unwrap_or_default();
        self.content.nul |= memchr::memchr(0, bytes).is_some();
        while !bytes.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            let (text, rest) = bytes.split_at(end);
            self.text(text);
            bytes = match rest.split_first() {
                Some((b'\r', rest)) => {
                    self.carriage_return();
                    rest
                }
                Some((_, rest)) => {
                    self.line_feed();
                    rest
                }
                None => rest,
            };
        }
    }

    /// Ends the scan.
    #[must_use]
    pub const fn finish(mut self) -> Content {
        self.bare_if_after_cr();
        self.content.utf8 = self.content.eight_bit && (self.eight_bit_header || self.parts);
        self.content
    }

    /// Scans the whole lines of a piece of a body at once, if all of them end with CRLF and hold no NUL, and returns how
    /// many bytes they have. This is the fast path through most messages; zero is always a right answer.
    fn whole_lines(&mut self, bytes: &[u8]) -> usize {
        if self.in_header || self.after_cr || self.line > 0 || !self.blank {
            return 0;
        }
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1);
        let whole = bytes.get(..end).unwrap_or_default();
        if !is_all_crlf(whole) {
            return 0;
        }
        self.content.eight_bit |= !whole.is_ascii();
        self.content.long_line |= has_long_line(whole);
        self.content.open_end = false;
        end
    }

    fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.bare_if_after_cr();
        (self.blank, self.content.open_end) = (false, true);
        self.line = self.line.saturating_add(text.len());
        self.content.long_line |= self.line > MAX_LINE;
        let eight_bit = !text.is_ascii();
        self.content.eight_bit |= eight_bit;
        if self.in_header {
            self.eight_bit_header |= eight_bit;
            text.iter().for_each(|byte| self.find_words(byte.to_ascii_lowercase()));
        }
    }

    fn carriage_return(&mut self) {
        self.bare_if_after_cr();
        (self.line, self.words, self.content.open_end) = (0, [0; 2], true);
        self.after_cr = true;
    }

    fn line_feed(&mut self) {
        self.content.bare_newline |= !self.after_cr;
        self.content.open_end = !self.after_cr;
        self.in_header &= !self.blank;
        (self.line, self.words, self.blank, self.after_cr) = (0, [0; 2], true, false);
    }

    /// Notes a bare CR if the last byte was a CR.
    const fn bare_if_after_cr(&mut self) {
        if self.after_cr {
            self.content.bare_newline = true;
            self.blank = false;
            self.after_cr = false;
        }
    }

    fn find_words(&mut self, byte: u8) {
        for (word, read) in WORDS.iter().zip(&mut self.words) {
            // The first byte of each word occurs nowhere else in it.
            *read = match word.get(*read) {
                Some(next) if *next == byte => *read + 1,
                _ => usize::from(word.first() == Some(&byte)),
            };
            self.parts |= *read == word.len();
        }
    }
}

impl Default for ContentScan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_messages_alike_however_they_are_split() {
        // Every message of five bytes, after headers with and without the bytes and words that are searched for.
        let bytes = [b'x', b'\r', b'\n', 0, 0xe9];
        for begin in [&b""[..], b"a: mMultiPart\r\n", b"a: \xe9 mesSAGE\r\n", b"a: mesmessag\n"] {
            for number in 0..bytes.len().pow(5) {
                let digit = |place: u32| bytes[number / bytes.len().pow(place) % bytes.len()];
                let message = [begin, &[0, 1, 2, 3, 4].map(digit)].concat();
                let whole = Content::of(&message);
                let cuts: &[usize] = if number % 7 == 0 { &[1, 2, 3, 5, 7] } else { &[1] };
                for cut in cuts {
                    let mut scan = ContentScan::new();
                    message.chunks(*cut).for_each(|piece| scan.push(piece));
                    assert_eq!(scan.finish(), whole, "{} by {cut}", message.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_body_that_comes_whole_is_scanned_like_one_that_comes_byte_by_byte() {
        let assert_same = |body: &[u8]| {
            let scan = |cut: usize| {
                let mut scan = ContentScan::new();
                scan.push(b"a: b\r\n\r\n");
                body.chunks(cut).for_each(|piece| scan.push(piece));
                scan.finish()
            };
            assert_eq!(scan(body.len().max(1)), scan(1), "{}", body.escape_ascii());
        };
        let bytes = [b'x', b'\r', b'\n', b'.', 0, 0xe9];
        for number in 0..bytes.len().pow(5) {
            let digit = |place: u32| bytes[number / bytes.len().pow(place) % bytes.len()];
            let start = [0, 1, 2, 3, 4].map(digit);
            assert_same(&start);
            assert_same(&[b"line\r\n", &start[..], b"\r\n"].concat());
        }
        for length in (990..1005).chain(1990..2005) {
            let line = b"y".repeat(length);
            assert_same(&[&line[..], b"\r\n"].concat());
            assert_same(&[b"x\r\n", &line[..], b"\r\nz\r\n", &line[..], b"\r\n"].concat());
        }
    }

    #[test]
    fn classifies_messages() {
        let long = [&b"x: "[..], &b"a".repeat(996), b"\r\n"].concat();
        for (message, seven_bit, eight_bit, utf8) in [
            (&b""[..], true, true, false),
            (b"a: b\r\n\r\nc\r\n", true, true, false),
            (b"a: b\r\n\r\nc", false, false, false),
            (b"a: b\r\n\r\nc\r", false, false, false),
            (b"a: b\n\nc\r\n", false, false, false),
            (b"a: b\r\n\r\nc\rd\r\n", false, false, false),
            (b"a: b\r\n\r\nc\r\r\n", false, false, false),
            (b"a: b\r\n\r\n\0\r\n", false, false, false),
            (&long, false, false, false),
            (long.get(1..).unwrap_or_default(), true, true, false),
            (b"a: b\r\n\r\n\xe9\r\n", false, true, false),
            (b"a: \xe9\r\n\r\nb\r\n", false, true, true),
            (b"a: \xe9", false, false, true),
            (b"Content-Type: Multi\r\n\r\n\xe9\r\n", false, true, false),
            (b"Content-Type:\r\n MultiPart/mixed\r\n\r\n\xe9\r\n", false, true, true),
            (b"Content-Type: message/rfc822\r\n\r\n\xe9\r\n", false, true, true),
            (b"Content-Type: message/rfc822\r\n\r\ne\r\n", true, true, false),
        ] {
            let content = Content::of(message);
            let fits = (content.fits(BodyType::SevenBit), content.fits(BodyType::EightBitMime));
            assert_eq!(
                (fits, content.needs_utf8()),
                ((seven_bit, eight_bit), utf8),
                "{}",
                message.escape_ascii()
            );
            assert!(content.fits(BodyType::BinaryMime) && content.size() == message.len() as u64);
        }
    }
}
