//! Reads an mbox file message by message, in bounded memory.
//!
//! [`separator`] decides which lines separate messages. Writers put `>` before a line that begins with any number of `>`
//! and `From ` (mboxrd); the reader removes it.

use std::io::{BufRead, Read};

use super::separator::{self, FirstLine, FromLine, LineKind, PreviousLine};
use super::spool::{Spool, SpoolWriter};
use crate::command_error::{CommandError, ExitCode};

/// The maximum number of bytes of a line to read at once. A longer line comes in parts.
const MAX_PART_BYTES: u64 = 64 * 1024;

/// How many bytes to search for a line that may separate messages.
const SEARCH_WINDOW: usize = 8 * 1024;

const FROM: &[u8] = b"From ";

/// A reader of an mbox file, from its beginning or from the offset of a message.
#[derive(Debug)]
pub(super) struct Mbox<R> {
    source: R,
    /// How many bytes were read, including `ahead`.
    bytes_read: u64,
    /// The current line, or a part of it.
    part: Vec<u8>,
    /// The part after it, if it was read already.
    ahead: Option<Vec<u8>>,
    /// The number of the current line, from 1.
    line: u64,
    /// Whether the separator before a message was read.
    at_message: bool,
    /// Whether the next part begins a line.
    at_line_start: bool,
    /// The form of the first line. If it has no date, `From NAME` separates messages.
    first_line: FirstLine,
    /// Whether the file cannot be read any further.
    is_broken: bool,
}

/// The offset of a message in an mbox file, and the file's kind of separators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MboxOffset {
    bytes: u64,
    first_line: FirstLine,
}

impl MboxOffset {
    /// Returns the offset in bytes from the beginning of the file.
    pub(super) const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl<R: BufRead> Mbox<R> {
    /// Creates a reader at the beginning of a file.
    pub(super) const fn new(source: R) -> Self {
        Self {
            source,
            bytes_read: 0,
            part: Vec::new(),
            ahead: None,
            line: 0,
            at_message: false,
            at_line_start: true,
            first_line: FirstLine::Dated,
            is_broken: false,
        }
    }

    /// Creates a reader at a message, whose offset [`next`](Self::next) has returned. `source` must be at that offset.
    pub(super) fn at(source: R, offset: MboxOffset) -> Self {
        Self {
            bytes_read: offset.bytes,
            at_message: true,
            first_line: offset.first_line,
            ..Self::new(source)
        }
    }

    /// Returns whether the part read so far contains no further message.
    pub(super) const fn is_done(&self) -> bool {
        self.is_broken || (self.bytes_read > 0 && !self.at_message)
    }

    /// Returns the next message with its offset. A message that cannot be sent does not stop the others.
    pub(super) fn next(&mut self) -> Option<(MboxOffset, Result<Spool, CommandError>)> {
        if self.is_broken {
            return None;
        }
        let found = self.find_message();
        let ahead = self.ahead.as_ref().map_or(0, Vec::len) as u64;
        let offset = MboxOffset { bytes: self.bytes_read - ahead, first_line: self.first_line };
        if let Err(failure) = found {
            return Some((offset, Err(failure)));
        }
        self.at_message.then(|| (offset, self.read_message()))
    }

    /// Reads up to the next message, unless the reader is at one.
    fn find_message(&mut self) -> Result<(), CommandError> {
        while !self.at_message && self.advance()? {
            let line = self.part.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.part);
            if line.starts_with(FROM) {
                self.at_message = true;
                self.first_line = match separator::from_line(line) {
                    FromLine::Dated => FirstLine::Dated,
                    FromLine::Bare | FromLine::Prose => FirstLine::Bare,
                };
            }
        }
        // Skip the rest of a long separator line.
        while self.at_message && !self.at_line_start && self.advance()? {}
        Ok(())
    }

    fn read_message(&mut self) -> Result<Spool, CommandError> {
        self.at_message = false;
        let mut writer = Ok(SpoolWriter::new());
        // An empty line before a separator is not part of the message.
        let mut held: Option<&'static [u8]> = Some(b"");
        let mut has_lines = false;
        loop {
            if self.at_line_start && self.copy_plain_lines(&mut writer, held) {
                (held, has_lines) = (None, true);
            }
            let at_line_start = self.at_line_start;
            if !self.advance()? {
                break;
            }
            let previous = if held.is_some() { PreviousLine::Empty } else { PreviousLine::Text };
            if at_line_start && self.is_separator(previous)? {
                if !has_lines {
                    // A second separator before the same message.
                    continue;
                }
                self.at_message = true;
                break;
            }
            has_lines = true;
            if let Some(line) = held.take() {
                put(&mut writer, line);
            }
            match self.part.as_slice() {
                b"\n" if at_line_start => held = Some(b"\n"),
                b"\r\n" if at_line_start => held = Some(b"\r\n"),
                part => put(&mut writer, if at_line_start { unquoted(part) } else { part }),
            }
        }
        writer?.finish()
    }

    /// Fast path: copies lines that cannot be separators, after `held`. Returns whether there were any.
    fn copy_plain_lines(
        &mut self,
        writer: &mut Result<SpoolWriter, CommandError>,
        held: Option<&'static [u8]>,
    ) -> bool {
        if self.ahead.is_some() {
            return false;
        }
        // The next read reports the error.
        let Ok(buffer) = self.source.fill_buf() else { return false };
        let text = plain_lines(buffer);
        if text.is_empty() {
            return false;
        }
        put(writer, held.unwrap_or_default());
        put(writer, text);
        let count = text.len();
        self.line += memchr::memchr_iter(b'\n', text).count() as u64;
        self.bytes_read += count as u64;
        self.source.consume(count);
        true
    }

    /// Returns whether the current line separates messages.
    fn is_separator(&mut self, previous: PreviousLine) -> Result<bool, CommandError> {
        // A separator is short, so the part holds the whole line.
        if !self.part.starts_with(FROM) || !self.at_line_start {
            return Ok(false);
        }
        let line = separator::from_line(&self.part);
        let next = separator::next_line(self.look_ahead()?);
        match separator::classify(line, next, self.first_line, previous) {
            LineKind::Separator => Ok(true),
            LineKind::Text => Ok(false),
            LineKind::Ambiguous => {
                self.is_broken = true;
                let what = format!(
                    "line {} begins with \"From \" and may be a separator or text, so reading ends there",
                    self.line
                );
                Err(CommandError::new(ExitCode::Data, what).advise(
                    "if the line is text, put > before it; otherwise add an address and a date, or an empty line before it",
                ))
            }
        }
    }

    /// Reads the next part of a line. Returns false at the end of the file.
    fn advance(&mut self) -> Result<bool, CommandError> {
        self.line += u64::from(self.at_line_start);
        match self.ahead.take() {
            Some(part) => self.part = part,
            None => {
                let mut part = std::mem::take(&mut self.part);
                self.read_part(&mut part)?;
                self.part = part;
            }
        }
        self.at_line_start = self.part.last() == Some(&b'\n');
        Ok(!self.part.is_empty())
    }

    /// Returns the part after the current one, or `None` at the end of the file.
    fn look_ahead(&mut self) -> Result<Option<&[u8]>, CommandError> {
        if self.ahead.is_none() {
            let mut part = Vec::new();
            self.read_part(&mut part)?;
            self.ahead = Some(part);
        }
        Ok(self.ahead.as_deref().filter(|part| !part.is_empty()))
    }

    fn read_part(&mut self, part: &mut Vec<u8>) -> Result<(), CommandError> {
        part.clear();
        let read = self.source.by_ref().take(MAX_PART_BYTES).read_until(b'\n', part);
        let count = read.map_err(|error| {
            self.is_broken = true;
            CommandError::new(ExitCode::Data, format!("the mbox file cannot be read further: {error}"))
        })?;
        self.bytes_read += count as u64;
        Ok(())
    }
}

/// Returns the lines at the start of a buffer that are certainly text. They end before a line that begins with `From `
/// or `>`, or before an empty line that may precede such a line. The buffer must begin at the start of a line.
fn plain_lines(buffer: &[u8]) -> &[u8] {
    // A longer search would waste time if there are many such lines.
    let window = buffer.get(..SEARCH_WINDOW).unwrap_or(buffer);
    let begins = |line: &[u8]| line.starts_with(FROM) || line.starts_with(b">");
    let Some(last) = memchr::memrchr(b'\n', window).filter(|_| !begins(buffer)) else { return &[] };
    let mut lines = window.get(..=last).unwrap_or_default();
    for mark in [&b"\n>"[..], b"\nFrom "] {
        let stop = memchr::memmem::find(lines, mark).map_or(lines.len(), |at| at + 1);
        lines = lines.get(..stop).unwrap_or_default();
    }
    while let Some(rest) = lines.strip_suffix(b"\r\n").or_else(|| lines.strip_suffix(b"\n")) {
        if !rest.is_empty() && !rest.ends_with(b"\n") {
            break;
        }
        lines = rest;
    }
    lines
}

/// Writes bytes, unless writing has failed before. The rest of a message that cannot be sent is skipped.
fn put(writer: &mut Result<SpoolWriter, CommandError>, bytes: &[u8]) {
    if let Ok(spool) = writer
        && let Err(failure) = spool.push(bytes)
    {
        *writer = Err(failure);
    }
}

/// Removes the quoting of a line.
fn unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|byte| **byte == b'>').count();
    match line.split_first() {
        Some((b'>', rest)) if line.get(quotes..).is_some_and(|line| line.starts_with(FROM)) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    fn contents(spool: &mut Spool) -> String {
        let mut text = String::new();
        spool.contents.rewind().unwrap();
        spool.contents.read_to_string(&mut text).unwrap();
        text
    }

    fn all(text: &[u8]) -> Vec<Result<String, String>> {
        // The size of the buffer must make no difference.
        let read = |size| {
            let mut mbox = Mbox::new(std::io::BufReader::with_capacity(size, text));
            let mut messages = Vec::new();
            while let Some((offset, message)) = mbox.next() {
                let message = message.map(|mut spool| contents(&mut spool)).map_err(|why| why.what);
                let mut again = Mbox::at(&text[usize::try_from(offset.bytes()).unwrap()..], offset);
                let reread = again.next().unwrap().1.map(|mut spool| contents(&mut spool));
                if !mbox.is_broken {
                    assert_eq!(reread.map_err(|why| why.what), message);
                }
                messages.push(message);
            }
            assert!(mbox.is_done());
            messages
        };
        let (small, large) = (read(1), read(100_000));
        assert_eq!(small, large);
        large
    }

    #[test]
    fn splits_messages_and_removes_quoting() {
        let text = b"From a@x Sat Jan  3 01:05:34 1996\nSubject: 1\n\n>From here\n>>From there\n> From x\nFrom now\n\n\
            From b@x Sat Jan  3 01:05:34 1996\r\nSubject: 2\r\n\r\n\r\n\r\nend\r\n\r\nFrom c\nSubject: 3\n\nno end";
        let messages = all(text).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(
            messages,
            [
                "Subject: 1\r\n\r\nFrom here\r\n>From there\r\n> From x\r\nFrom now\r\n",
                "Subject: 2\r\n\r\n\r\n\r\nend\r\n",
                "Subject: 3\r\n\r\nno end\r\n",
            ]
        );
    }

    #[test]
    fn continues_after_an_invalid_message() {
        let text = b"From a\nSubject: 1\n\na\0b\n\nFrom b\n\nFrom c\nSubject: 3\n\nbare\rreturn\n\nFrom d\nSubject: 4\n\nx\n";
        let messages = all(text);
        assert_eq!(messages.len(), 4);
        assert!(messages[0].as_ref().is_err_and(|why| why.contains("NUL")), "{messages:?}");
        assert!(messages[1].as_ref().is_err_and(|why| why.contains("empty")), "{messages:?}");
        assert!(messages[2].as_ref().is_err_and(|why| why.contains("CR")), "{messages:?}");
        assert_eq!(messages[3].as_deref(), Ok("Subject: 4\r\n\r\nx\r\n"));
    }

    #[test]
    fn plain_lines_end_before_possible_separators() {
        for (buffer, expected) in [
            ("a\nb\nc", "a\nb\n"),
            ("a\n\n", "a\n"),
            ("a\r\n\r\n\n", "a\r\n"),
            ("a\n\nb\nFrom x\n", "a\n\nb\n"),
            ("a\n>b\nc\n", "a\n"),
            ("From x\na\n", ""),
            (">a\n", ""),
            ("\n\n", ""),
            ("a", ""),
        ] {
            assert_eq!(plain_lines(buffer.as_bytes()), expected.as_bytes(), "{buffer:?}");
        }
    }

    #[test]
    fn splits_long_lines_without_finding_separators_in_them() {
        let long = "x".repeat(3 * 64 * 1024);
        // Each part of 64 KiB after the first begins with `From `, which at the start of a line would be a separator.
        let cut = format!("{}From ", "y".repeat(64 * 1024)).repeat(3);
        let text = format!("From {long}\nSubject: 1\n\n{cut}\n\nFrom b\n\n{long}");
        let messages = all(text.as_bytes()).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(messages, [format!("Subject: 1\r\n\r\n{cut}\r\n"), format!("\r\n{long}\r\n")]);
    }

    #[test]
    fn body_lines_that_begin_with_from_are_not_separators() {
        let text = b"From a@x Sat Jan  3 01:05:34 1996\nSubject: 1\n\ntext\n\nFrom my (non technical end) some queries;\n\
            Question: this is text\n\nFrom b@x Sat Jan  3 01:05:34 1996\nwas the line.\n";
        let messages = all(text).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].ends_with("\r\nFrom b@x Sat Jan  3 01:05:34 1996\r\nwas the line.\r\n"),
            "{messages:?}"
        );
    }

    #[test]
    fn recognises_separators_without_an_empty_line_or_a_date() {
        let subjects = |text: &str| {
            let found = all(text.as_bytes()).into_iter().map(Result::unwrap);
            found.map(|message| message.lines().next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let date = "Sat Jan  3 01:05:34 1996";
        for text in [
            format!(
                "From a@x {date}\nSubject: 1\n\none\nFrom b@x {date}\nSubject: 2\n\ntwo\nFrom c@x {date} +0100\nX-Id: 3\n\n"
            ),
            "From \nSubject: 1\n\none\n\nFrom \nSubject: 2\n\ntwo\n\nFrom \nX-Id: 3\n\nthree\n".to_owned(),
            "From \nSubject: 1\n\none\nFrom \nSubject: 2\n\ntwo\nFrom \nX-Id: 3\n\nthree\n".to_owned(),
            format!(
                "From a@x {date}\r\nSubject: 1\r\n\r\n\r\nFrom -\r\nSubject: 2\r\n\r\nFrom c@x {date}\r\n>From d@x {date}\r\nX-Id: 3\r\n"
            ),
            format!(
                "\u{feff}From a@x {date}\nFrom b@x {date}\nSubject: 1\n\nFrom c@x {date}\nSubject: 2\n\nFrom c@x {date}\nX-Id: 3"
            ),
        ] {
            assert_eq!(subjects(&text), ["Subject: 1", "Subject: 2", "X-Id: 3"], "{text:?}");
        }
    }

    #[test]
    fn reports_an_ambiguous_line_by_its_number() {
        let text = b"From a@x Sat Jan  3 01:05:34 1996\nSubject: 1\n\ntext\nFrom \nSubject: 2\n\ntwo\n";
        let messages = all(text);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].as_ref().is_err_and(|why| why.contains("line 5 ")), "{messages:?}");
    }

    #[test]
    fn a_read_error_ends_the_file() {
        struct FailingReader<'a>(&'a [u8]);
        impl Read for FailingReader<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() {
                    Err(std::io::ErrorKind::InvalidData.into())
                } else {
                    self.0.read(buffer)
                }
            }
        }
        let source = FailingReader(b"From a\nSubject: 1\n\nx\n\nFrom b\nSubject: 2\n");
        let mut mbox = Mbox::new(std::io::BufReader::new(source));
        assert!(mbox.next().unwrap().1.is_ok());
        assert!(mbox.next().unwrap().1.is_err());
        assert!(mbox.next().is_none());
    }
}
