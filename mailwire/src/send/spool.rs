//! Prepares a complete message for SMTP: CRLF line ends, no Bcc, and nothing before the header.

use std::io::{BufRead, BufReader, Read, Seek};

use proto_smtp::client::{Content, ContentScan};

use super::contents::Contents;
use super::header::{HeaderReader, Headers, LineEnd, LinePart};
use crate::command_error::{CommandError, ExitCode};

/// How many bytes to collect before they are scanned, and moved to a file if needed.
const BLOCK: usize = 64 * 1024;

/// A message with CRLF line ends.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) contents: Contents,
    pub(crate) info: MessageInfo,
}

/// The properties of a message, collected while it is read.
#[derive(Debug, Clone)]
pub(crate) struct MessageInfo {
    /// The size in bytes.
    pub(crate) size: u64,
    /// Whether the message has non-ASCII bytes (RFC 6152).
    pub(crate) eight_bit: bool,
    /// The bytes that the header consists of.
    pub(crate) header: HeaderBytes,
    /// The longest line without its end, in bytes (RFC 5321 §4.5.3.1.6: 998 at most).
    pub(crate) longest_line: u64,
    pub(crate) headers: Headers,
    /// The BLAKE3 hash of the message. Two messages with the same hash are the same message.
    pub(crate) digest: [u8; 32],
    /// What the message requires of a server.
    pub(crate) content: Content,
}

/// The bytes that a header consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderBytes {
    Ascii,
    /// Only SMTPUTF8 carries it (RFC 6531).
    Utf8,
    /// Another character set, which no standard allows; 8BITMIME carries it.
    Other,
}

impl Spool {
    /// Reads a complete message and adds the fields that `add_fields` returns.
    ///
    /// Converts bare LF to CRLF. Rejects a bare CR, which servers must reject, too (RFC 5321 §2.3.8).
    pub(crate) fn read(source: impl Read, add_fields: Option<AddFields>) -> Result<Self, CommandError> {
        Self::read_with(SpoolWriter::new().adding_fields(add_fields), source)
    }

    /// Reads a message from a file, like [`read`](Self::read).
    pub(crate) fn read_file(file: &std::fs::File) -> Result<Self, CommandError> {
        let length = file.metadata().map_err(|error| unreadable(&error))?.len();
        Self::read_with(SpoolWriter::expecting(length), file)
    }

    fn read_with(mut writer: SpoolWriter, source: impl Read) -> Result<Self, CommandError> {
        let mut source = BufReader::with_capacity(BLOCK, source);
        loop {
            let chunk = match source.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                chunk => chunk.map_err(|error| unreadable(&error))?,
            };
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len();
            writer.push(chunk)?;
            source.consume(taken);
        }
        writer.finish()
    }
}

fn unreadable(error: &std::io::Error) -> CommandError {
    CommandError::new(ExitCode::Data, format!("the message cannot be read: {error}"))
}

fn spooling(error: &std::io::Error) -> CommandError {
    CommandError::new(ExitCode::Unavailable, format!("the message cannot be stored: {error}"))
        .advise("free some space in the directory for temporary files, or set TMPDIR")
}

/// Returns the fields that a header lacks, each with its line end.
pub(crate) type AddFields = Box<dyn FnOnce(&Headers) -> String + Send>;

/// Reads a message in parts of any size.
pub(crate) struct SpoolWriter {
    contents: Contents,
    /// How many bytes in the memory of `contents` were scanned.
    scanned: usize,
    size: u64,
    line: u64,
    longest_line: u64,
    after_cr: bool,
    /// Whether any byte has followed the last line end.
    is_open: bool,
    header: Option<HeaderReader>,
    headers: Headers,
    add_fields: Option<AddFields>,
    eight_bit: bool,
    utf8: Utf8Check,
    digest: blake3::Hasher,
    content: ContentScan,
}

impl SpoolWriter {
    pub(crate) fn new() -> Self {
        Self::expecting(0)
    }

    /// Creates a writer for a message of about `length` bytes, with any line ends.
    fn expecting(length: u64) -> Self {
        // A line end of one byte becomes two: reserve space for that in lines of 32 bytes.
        let expected = length.saturating_add(length / 32).saturating_add(64);
        Self {
            contents: Contents::expecting(expected),
            scanned: 0,
            size: 0,
            line: 0,
            longest_line: 0,
            after_cr: false,
            is_open: false,
            add_fields: None,
            header: Some(HeaderReader::default()),
            headers: Headers::default(),
            eight_bit: false,
            utf8: Utf8Check::default(),
            digest: blake3::Hasher::new(),
            content: ContentScan::new(),
        }
    }

    /// Adds the fields that `add_fields` returns at the end of the header.
    pub(crate) fn adding_fields(mut self, add_fields: Option<AddFields>) -> Self {
        self.add_fields = add_fields;
        self
    }

    /// Reads the next part.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<(), CommandError> {
        if memchr::memchr(0, chunk).is_some() {
            return Err(CommandError::new(
                ExitCode::Data,
                "the message contains a NUL, which SMTP cannot carry",
            ));
        }
        while !chunk.is_empty() {
            if self.header.is_none() && !self.after_cr {
                let lines = self.body_lines(chunk)?;
                chunk = chunk.get(lines..).unwrap_or_default();
            }
            if self.after_cr {
                if chunk.first() != Some(&b'\n') {
                    return Err(CommandError::new(ExitCode::Data, "the message contains a CR without LF")
                        .advise("convert its line ends to CRLF or LF"));
                }
                self.after_cr = false;
                chunk = chunk.get(1..).unwrap_or_default();
                self.end_line()?;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', chunk).unwrap_or(chunk.len());
            let (text, rest) = chunk.split_at(end);
            self.text(text)?;
            chunk = match rest.split_first() {
                None => rest,
                Some((b'\n', rest)) => {
                    self.end_line()?;
                    rest
                }
                Some((_, rest)) => {
                    self.after_cr = true;
                    rest
                }
            };
        }
        Ok(())
    }

    /// Fast path: reads the complete lines at the start of a part of the body, if all have the same kind of line end. Returns
    /// their length in bytes.
    fn body_lines(&mut self, chunk: &[u8]) -> Result<usize, CommandError> {
        let Some(last) = memchr::memrchr(b'\n', chunk) else { return Ok(0) };
        let lines = chunk.get(..=last).unwrap_or_default();
        let longest = if memchr::memchr(b'\r', lines).is_none() {
            self.add_crlf(lines)
        } else if let Some(longest) = longest_crlf_line(self.line, lines) {
            self.contents.push(lines);
            longest
        } else {
            return Ok(0);
        };
        self.longest_line = self.longest_line.max(longest);
        (self.line, self.is_open) = (0, false);
        self.put_away(BLOCK)?;
        Ok(lines.len())
    }

    /// Adds lines that end with LF, and returns the length of the longest, in bytes.
    fn add_crlf(&mut self, lines: &[u8]) -> u64 {
        let (mut begin, mut longest, mut before) = (0, 0, self.line);
        for end in memchr::memchr_iter(b'\n', lines) {
            let line = lines.get(begin..end).unwrap_or_default();
            longest = longest.max(before + line.len() as u64);
            self.contents.push(line);
            self.contents.push(b"\r\n");
            (begin, before) = (end + 1, 0);
        }
        longest
    }

    fn text(&mut self, text: &[u8]) -> Result<(), CommandError> {
        self.is_open |= !text.is_empty();
        let Some(mut header) = self.header.take() else { return self.put(text) };
        if !text.is_empty() && self.keep(header.push(text))? {
            return self.begin_body(header);
        }
        self.header = Some(header);
        Ok(())
    }

    /// Writes a part of a header line. Returns whether the line is body text, which the reader holds.
    fn keep(&mut self, kept: LinePart<'_>) -> Result<bool, CommandError> {
        match kept {
            LinePart::Nothing => Ok(false),
            LinePart::Text => Ok(true),
            LinePart::Bytes(bytes) => {
                self.utf8.push(bytes);
                self.put(bytes)?;
                Ok(false)
            }
        }
    }

    /// Begins the body of a message without a header, with the text that the reader holds.
    fn begin_body(&mut self, mut header: HeaderReader) -> Result<(), CommandError> {
        let text = header.take_text();
        self.leave_header(header)?;
        self.new_line()?;
        self.put(&text)
    }

    fn leave_header(&mut self, header: HeaderReader) -> Result<(), CommandError> {
        self.headers = header.finish();
        let Some(add_fields) = self.add_fields.take() else { return Ok(()) };
        self.put(add_fields(&self.headers).as_bytes())
    }

    fn end_line(&mut self) -> Result<(), CommandError> {
        self.is_open = false;
        let Some(mut header) = self.header.take() else { return self.new_line() };
        if self.keep(header.finish_line())? {
            self.begin_body(header)?;
            return self.new_line();
        }
        let end = header.end_line();
        if end == LineEnd::HeaderEnd {
            self.leave_header(header)?;
        } else {
            self.header = Some(header);
        }
        self.utf8.push(b"\n");
        if end == LineEnd::Removed { Ok(()) } else { self.new_line() }
    }

    fn put(&mut self, text: &[u8]) -> Result<(), CommandError> {
        self.line += text.len() as u64;
        self.longest_line = self.longest_line.max(self.line);
        self.contents.push(text);
        self.put_away(BLOCK)
    }

    fn new_line(&mut self) -> Result<(), CommandError> {
        self.line = 0;
        self.contents.push(b"\r\n");
        self.put_away(BLOCK)
    }

    /// Scans the collected bytes if there are at least `least`, and applies the memory limits to them.
    fn put_away(&mut self, least: usize) -> Result<(), CommandError> {
        let block = self.contents.in_memory().get(self.scanned..).unwrap_or_default();
        if block.len() < least || block.is_empty() {
            return Ok(());
        }
        self.size += block.len() as u64;
        self.eight_bit |= !block.is_ascii();
        self.digest.update(block);
        self.content.push(block);
        self.contents.settle().map_err(|error| spooling(&error))?;
        self.scanned = self.contents.in_memory().len();
        Ok(())
    }

    /// Completes the message.
    pub(crate) fn finish(mut self) -> Result<Spool, CommandError> {
        if self.after_cr {
            return Err(CommandError::new(ExitCode::Data, "the message contains a CR without LF"));
        }
        if self.is_open {
            self.end_line()?;
        }
        if let Some(header) = self.header.take() {
            if header.is_empty() {
                return Err(CommandError::new(ExitCode::Data, "the message is empty"));
            }
            self.leave_header(header)?;
        }
        self.put_away(1)?;
        self.contents.rewind().map_err(|error| spooling(&error))?;
        let info = MessageInfo {
            size: self.size,
            eight_bit: self.eight_bit,
            header: self.utf8.finish(),
            longest_line: self.longest_line,
            headers: self.headers,
            digest: *self.digest.finalize().as_bytes(),
            content: self.content.finish(),
        };
        Ok(Spool { contents: self.contents, info })
    }
}

/// Returns the length of the longest line, in bytes without its end, or `None` if there is a bare CR or LF. `before` bytes of
/// the first line came earlier.
fn longest_crlf_line(before: u64, lines: &[u8]) -> Option<u64> {
    let (mut begin, mut longest, mut before, mut count) = (0, 0, before, 0);
    for end in memchr::memchr_iter(b'\n', lines) {
        let [text @ .., b'\r'] = lines.get(begin..end)? else { return None };
        longest = longest.max(before + text.len() as u64);
        (begin, before, count) = (end + 1, 0, count + 1);
    }
    (memchr::memchr_iter(b'\r', lines).count() == count).then_some(longest)
}

/// Checks whether bytes that come in parts are UTF-8.
#[derive(Debug, Default)]
struct Utf8Check {
    /// The beginning of an incomplete character.
    open: Vec<u8>,
    has_non_ascii: bool,
    is_invalid: bool,
}

impl Utf8Check {
    fn push(&mut self, bytes: &[u8]) {
        if bytes.is_ascii() && self.open.is_empty() {
            return;
        }
        self.has_non_ascii = true;
        self.open.extend_from_slice(bytes);
        match std::str::from_utf8(&self.open) {
            Ok(_) => self.open.clear(),
            Err(error) if error.error_len().is_none() => drop(self.open.drain(..error.valid_up_to())),
            Err(_) => {
                self.is_invalid = true;
                self.open.clear();
            }
        }
    }

    fn finish(&self) -> HeaderBytes {
        match (self.has_non_ascii, self.is_invalid || !self.open.is_empty()) {
            (false, _) => HeaderBytes::Ascii,
            (true, false) => HeaderBytes::Utf8,
            (true, true) => HeaderBytes::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &mut Spool) -> Vec<u8> {
        let mut bytes = Vec::new();
        spool.contents.rewind().unwrap();
        spool.contents.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Returns one byte at a time.
    struct ByteByByte<'a>(&'a [u8]);

    impl Read for ByteByByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    /// Reads a message at once and byte by byte. Both must give the same result.
    fn read(text: &[u8]) -> Result<(String, MessageInfo), String> {
        let read = |spool: Result<Spool, CommandError>| {
            let mut spool = spool.map_err(|failure| failure.what)?;
            let bytes = all(&mut spool);
            assert_eq!(spool.info.size, bytes.len() as u64);
            Ok((bytes, spool.info))
        };
        let (whole, dripped) = (read(Spool::read(text, None)), read(Spool::read(ByteByByte(text), None)));
        match (whole, dripped) {
            (Ok((bytes, facts)), Ok((other, dripped))) => {
                assert_eq!(bytes, other);
                assert_eq!(
                    (&facts.headers, facts.header, facts.digest),
                    (&dripped.headers, dripped.header, dripped.digest)
                );
                Ok((String::from_utf8_lossy(&bytes).into_owned(), facts))
            }
            (Err(why), Err(other)) => {
                assert_eq!(why, other);
                Err(why)
            }
            (whole, dripped) => panic!("{whole:?} {dripped:?}"),
        }
    }

    #[test]
    fn converts_line_ends_to_crlf_in_parts_of_any_size() {
        let text = "Subject: x\nMessage-ID: <1@example.com>\r\n\nGr\u{fc}\u{df}e\nlast";
        let expected = "Subject: x\r\nMessage-ID: <1@example.com>\r\n\r\nGr\u{fc}\u{df}e\r\nlast\r\n";
        let (found, facts) = read(text.as_bytes()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(facts.headers.message_id.as_deref(), Some("1@example.com"));
        assert!(facts.eight_bit && facts.header == HeaderBytes::Ascii);
        assert_eq!(facts.longest_line, 27);
    }

    #[test]
    fn finds_the_longest_line_in_parts_of_any_size() {
        for end in ["\n", "\r\n"] {
            for (before, length) in [(0, 998), (3, 70_000), (65_000, 2000), (65_500, 40)] {
                let lines = format!("{}{end}", "x".repeat(38)).repeat(before / 40);
                let body = format!("{lines}{}{end}last", "y".repeat(length));
                let (_, facts) = read(format!("Subject: x{end}{end}{body}").as_bytes()).unwrap();
                assert_eq!(facts.longest_line, length.max(38) as u64, "{before} {length}");
            }
        }
    }

    #[test]
    fn rejects_what_smtp_cannot_carry() {
        for bad in [&b"a\rb\n"[..], b"a\r", b"a\0b\n"] {
            assert!(Spool::read(bad, None).is_err(), "{bad:?}");
            assert!(Spool::read(ByteByByte(bad), None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refuses_an_empty_message() {
        for empty in [
            &b""[..],
            b"\n",
            b"\r\n \t\r\n",
            b"\xef\xbb\xbf",
            b"From a@x Sat Jan  3 01:05:34 1996\n\n",
            b"  ",
        ] {
            assert_eq!(read(empty).unwrap_err(), "the message is empty", "{empty:?}");
        }
        // A header alone is a message (RFC 5322 §2.1).
        assert_eq!(read(b"Subject: x").unwrap().0, "Subject: x\r\n");
    }

    #[test]
    fn removes_what_precedes_the_header() {
        for before in [
            "From 0123456789abcdef Mon Sep 17 00:00:00 2001\n",
            ">From a@x Sat Jan  3 01:05:34 1996\n",
            "From a@x Sat Jan  3 01:05:34 1996\r\n>From b@y Sat Jan  3 01:05:34 1996 remote from z\r\n",
            "\n\r\n  \n",
            "\u{feff}",
            "\u{feff}\nFrom x\n",
        ] {
            let (found, _) = read(format!("{before}Subject: x\n\nFrom y\n").as_bytes()).unwrap();
            assert_eq!(found, "Subject: x\r\n\r\nFrom y\r\n", "{before:?}");
        }
        assert_eq!(read(b"\njust text\nSubject: y\n").unwrap().0, "\r\njust text\r\nSubject: y\r\n");
        assert_eq!(read(b"Fro: x\n\n").unwrap().0, "Fro: x\r\n\r\n");
        assert_eq!(read(b"text").unwrap().0, "\r\ntext\r\n");
    }

    #[test]
    fn removes_bcc_and_finds_the_recipients() {
        let text = "To: A <a@x.example>,\n b@x.example\nBCC: c@x.example,\n\td@x.example\nSubject: x\nbcc : e@x.example\n\
                    Resent-bcc:\n f@x.example\nBccX: stays\nCc: g@x.example\n\nBcc: body\n";
        let (found, facts) = read(text.as_bytes()).unwrap();
        let expected = "To: A <a@x.example>,\r\n b@x.example\r\nSubject: x\r\nBccX: stays\r\nCc: g@x.example\r\n\r\nBcc: body\r\n";
        assert_eq!(found, expected);
        // A resent message ignores the original recipient fields.
        assert_eq!(facts.headers.recipients, ["f@x.example"]);
        let (_, facts) = read(text.replace("Resent-bcc", "X-Other").as_bytes()).unwrap();
        let recipients = ["a", "b", "c", "d", "e", "g"].map(|name| format!("{name}@x.example"));
        assert_eq!(facts.headers.recipients, recipients);
    }

    #[test]
    fn adds_missing_fields() {
        let complete = || -> Option<AddFields> {
            Some(Box::new(|headers| format!("X-Has-Date: {}\r\n", headers.has_date)))
        };
        for (text, expected) in [
            ("Date: x\n\nbody\n", "Date: x\r\nX-Has-Date: true\r\n\r\nbody\r\n"),
            ("Subject: x", "Subject: x\r\nX-Has-Date: false\r\n"),
            ("\nbody\n", "X-Has-Date: false\r\n\r\nbody\r\n"),
        ] {
            let mut spool = Spool::read(text.as_bytes(), complete()).unwrap();
            assert_eq!(String::from_utf8(all(&mut spool)).unwrap(), expected);
        }
    }

    #[test]
    fn classifies_the_bytes_of_a_header() {
        let of = |text: &[u8]| read(text).unwrap().1.header;
        assert_eq!(of(b"Subject: x\n\n\xe9\n"), HeaderBytes::Ascii);
        assert_eq!(of("Subject: é\nX: ü\n\n".as_bytes()), HeaderBytes::Utf8);
        assert_eq!(of(b"Subject: caf\xe9\n\n"), HeaderBytes::Other);
        assert_eq!(of(b"Subject: caf\xc3"), HeaderBytes::Other);
        assert_eq!(of(b"Subject: \xc3\n \xa9\n"), HeaderBytes::Other);
        assert_eq!(of(b"Bcc: \xe9@x.example\nSubject: x\n\n"), HeaderBytes::Ascii);
    }
}
