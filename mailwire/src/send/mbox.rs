//! An mbox file, message by message, in bounded memory.
//!
//! `separator` says which lines divide it. In a message a line that begins with `From ` has a `>` more than it was
//! written with, which is taken away again, from those that had some already, too (mboxrd). What a message must be like,
//! `spool` knows.

use std::io::{BufRead, Read};

use super::separator::{self, FromLine, Verdict};
use super::spool::{Spool, SpoolWriter};
use crate::failure::{Failure, Kind};

/// How much of a line is looked at together, in bytes. A longer one comes in parts.
const PART: u64 = 64 * 1024;

/// How far is looked for a line that may divide messages, in bytes.
const WINDOW: usize = 8 * 1024;

const FROM: &[u8] = b"From ";

/// Reads an mbox file from its beginning, or from a message that was found in it before.
#[derive(Debug)]
pub(super) struct Mbox<R> {
    source: R,
    /// How much was read, in bytes, `ahead` included.
    read: u64,
    part: Vec<u8>,
    /// The part behind it, where that was looked at.
    ahead: Option<Vec<u8>>,
    /// The number of the line that `part` is in, from 1.
    line: u64,
    /// The line in front of a message was read: the message follows.
    announced: bool,
    /// The next part begins a line.
    fresh: bool,
    /// The first line has no date: `From NAME` alone divides messages.
    is_bare: bool,
    /// It cannot be read any further.
    broken: bool,
}

/// Where in a file a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// In bytes from the beginning of the file.
    offset: u64,
    is_bare: bool,
}

impl Begin {
    pub(super) const fn offset(self) -> u64 {
        self.offset
    }
}

impl<R: BufRead> Mbox<R> {
    /// Reads from the beginning of a file.
    pub(super) const fn new(source: R) -> Self {
        Self {
            source,
            read: 0,
            part: Vec::new(),
            ahead: None,
            line: 0,
            announced: false,
            fresh: true,
            is_bare: false,
            broken: false,
        }
    }

    /// Reads from where a message begins, as [`next`](Self::next) has told.
    pub(super) fn at(source: R, begin: Begin) -> Self {
        Self { read: begin.offset, announced: true, is_bare: begin.is_bare, ..Self::new(source) }
    }

    /// Whether no message is left, as far as that was read.
    pub(super) const fn is_done(&self) -> bool {
        self.broken || (self.read > 0 && !self.announced)
    }

    /// The next message, with where it begins. One that cannot be sent costs nothing but itself.
    pub(super) fn next(&mut self) -> Option<(Begin, Result<Spool, Failure>)> {
        if self.broken {
            return None;
        }
        let approached = self.approach();
        let ahead = self.ahead.as_ref().map_or(0, Vec::len) as u64;
        let begin = Begin { offset: self.read - ahead, is_bare: self.is_bare };
        if let Err(failure) = approached {
            return Some((begin, Err(failure)));
        }
        self.announced.then(|| (begin, self.message()))
    }

    /// Goes to the next message, if none was announced.
    fn approach(&mut self) -> Result<(), Failure> {
        while !self.announced && self.advance()? {
            let line = self.part.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.part);
            if line.starts_with(FROM) {
                self.announced = true;
                self.is_bare = separator::from_line(line) != FromLine::Dated;
            }
        }
        // What is left of a long line in front of a message.
        while self.announced && !self.fresh && self.advance()? {}
        Ok(())
    }

    fn message(&mut self) -> Result<Spool, Failure> {
        self.announced = false;
        let mut writer = Ok(SpoolWriter::new());
        // An empty line belongs to the message unless the next one shows that it stood between two.
        let mut held: Option<&'static [u8]> = Some(b"");
        let mut has_lines = false;
        loop {
            if self.fresh && self.pass_text(&mut writer, held) {
                (held, has_lines) = (None, true);
            }
            let fresh = self.fresh;
            if !self.advance()? {
                break;
            }
            if fresh && self.divides(held.is_some())? {
                if !has_lines {
                    // A second line of this kind in front of the same message.
                    continue;
                }
                self.announced = true;
                break;
            }
            has_lines = true;
            if let Some(line) = held.take() {
                put(&mut writer, line);
            }
            match self.part.as_slice() {
                b"\n" if fresh => held = Some(b"\n"),
                b"\r\n" if fresh => held = Some(b"\r\n"),
                part => put(&mut writer, if fresh { unquoted(part) } else { part }),
            }
        }
        writer?.finish()
    }

    /// Takes the lines that are text whatever follows them: the fast way. `held` goes before them. Returns whether there
    /// were any.
    fn pass_text(&mut self, writer: &mut Result<SpoolWriter, Failure>, held: Option<&'static [u8]>) -> bool {
        if self.ahead.is_some() {
            return false;
        }
        // An error is met again where it is told.
        let Ok(buffer) = self.source.fill_buf() else { return false };
        let text = plain_lines(buffer);
        if text.is_empty() {
            return false;
        }
        put(writer, held.unwrap_or_default());
        put(writer, text);
        let count = text.len();
        self.line += memchr::memchr_iter(b'\n', text).count() as u64;
        self.read += count as u64;
        self.source.consume(count);
        true
    }

    /// Whether the line that begins here stands in front of a message.
    fn divides(&mut self, after_empty: bool) -> Result<bool, Failure> {
        // A separator is short: its end was read.
        if !self.part.starts_with(FROM) || !self.fresh {
            return Ok(false);
        }
        let line = separator::from_line(&self.part);
        let next = separator::next_line(self.look_ahead()?);
        match separator::judge(line, next, self.is_bare, after_empty) {
            Verdict::Separator => Ok(true),
            Verdict::Text => Ok(false),
            Verdict::Ambiguous => {
                self.broken = true;
                let what = format!(
                    "line {} begins with \"From \" and may begin a message or be text: the file is read no further",
                    self.line
                );
                Err(Failure::new(Kind::Data, what).advise(
                    "put > in front of it if it is text; add an address and a date, or an empty line before it, if not",
                ))
            }
        }
    }

    /// Reads the next part of a line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.line += u64::from(self.fresh);
        match self.ahead.take() {
            Some(part) => self.part = part,
            None => {
                let mut part = std::mem::take(&mut self.part);
                self.read_part(&mut part)?;
                self.part = part;
            }
        }
        self.fresh = self.part.last() == Some(&b'\n');
        Ok(!self.part.is_empty())
    }

    /// The part behind the current one; `None` at the end of the file.
    fn look_ahead(&mut self) -> Result<Option<&[u8]>, Failure> {
        if self.ahead.is_none() {
            let mut part = Vec::new();
            self.read_part(&mut part)?;
            self.ahead = Some(part);
        }
        Ok(self.ahead.as_deref().filter(|part| !part.is_empty()))
    }

    fn read_part(&mut self, part: &mut Vec<u8>) -> Result<(), Failure> {
        part.clear();
        let read = self.source.by_ref().take(PART).read_until(b'\n', part);
        let count = read.map_err(|error| {
            self.broken = true;
            Failure::new(Kind::Data, format!("the mbox file cannot be read any further: {error}"))
        })?;
        self.read += count as u64;
        Ok(())
    }
}

/// The lines at the beginning of a buffer, which begins a line, up to one that must be looked at by itself: one that
/// begins with `From ` or `>`, or an empty one behind which there may be such a line.
fn plain_lines(buffer: &[u8]) -> &[u8] {
    // A longer look would be in vain where such lines are many.
    let window = buffer.get(..WINDOW).unwrap_or(buffer);
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

/// Writes unless writing has failed before: the rest of a message that cannot be sent is read past.
fn put(writer: &mut Result<SpoolWriter, Failure>, octets: &[u8]) {
    if let Ok(spool) = writer
        && let Err(failure) = spool.push(octets)
    {
        *writer = Err(failure);
    }
}

/// A line as it was before it was put into the file.
fn unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|octet| **octet == b'>').count();
    match line.split_first() {
        Some((b'>', rest)) if line.get(quotes..).is_some_and(|line| line.starts_with(FROM)) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    fn octets(spool: &mut Spool) -> String {
        let mut text = String::new();
        spool.contents.rewind().unwrap();
        spool.contents.read_to_string(&mut text).unwrap();
        text
    }

    fn all(text: &[u8]) -> Vec<Result<String, String>> {
        // Buffers of one octet and of more than the file show the same.
        let read = |size| {
            let mut mbox = Mbox::new(std::io::BufReader::with_capacity(size, text));
            let mut messages = Vec::new();
            while let Some((begin, message)) = mbox.next() {
                let message = message.map(|mut spool| octets(&mut spool)).map_err(|why| why.what);
                let mut again = Mbox::at(&text[usize::try_from(begin.offset()).unwrap()..], begin);
                let told = again.next().unwrap().1.map(|mut spool| octets(&mut spool));
                if !mbox.broken {
                    assert_eq!(told.map_err(|why| why.what), message);
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
    fn messages_are_divided_and_their_quotes_undone() {
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
    fn a_broken_message_costs_only_itself() {
        let text = b"From a\nSubject: 1\n\na\0b\n\nFrom b\n\nFrom c\nSubject: 3\n\nbare\rreturn\n\nFrom d\nSubject: 4\n\nx\n";
        let messages = all(text);
        assert_eq!(messages.len(), 4);
        assert!(messages[0].as_ref().is_err_and(|why| why.contains("NUL")), "{messages:?}");
        assert!(messages[1].as_ref().is_err_and(|why| why.contains("empty")), "{messages:?}");
        assert!(messages[2].as_ref().is_err_and(|why| why.contains("CR")), "{messages:?}");
        assert_eq!(messages[3].as_deref(), Ok("Subject: 4\r\n\r\nx\r\n"));
    }

    #[test]
    fn plain_lines_end_before_what_must_be_looked_at() {
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
    fn a_long_line_is_never_held_whole_and_begins_nothing_in_its_middle() {
        let long = "x".repeat(3 * 64 * 1024);
        // Each part of 64 KiB behind the first begins with what would divide messages at the begin of a line.
        let cut = format!("{}From ", "y".repeat(64 * 1024)).repeat(3);
        let text = format!("From {long}\nSubject: 1\n\n{cut}\n\nFrom b\n\n{long}");
        let messages = all(text.as_bytes()).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(messages, [format!("Subject: 1\r\n\r\n{cut}\r\n"), format!("\r\n{long}\r\n")]);
    }

    #[test]
    fn body_lines_that_begin_with_from_are_body() {
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
    fn separators_without_an_empty_line_or_a_date_divide_messages() {
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
    fn a_line_that_may_divide_messages_is_refused_by_its_number() {
        let text = b"From a@x Sat Jan  3 01:05:34 1996\nSubject: 1\n\ntext\nFrom \nSubject: 2\n\ntwo\n";
        let messages = all(text);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].as_ref().is_err_and(|why| why.contains("line 5 ")), "{messages:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_ends_there() {
        struct Breaks<'a>(&'a [u8]);
        impl Read for Breaks<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() {
                    Err(std::io::ErrorKind::InvalidData.into())
                } else {
                    self.0.read(buffer)
                }
            }
        }
        let source = Breaks(b"From a\nSubject: 1\n\nx\n\nFrom b\nSubject: 2\n");
        let mut mbox = Mbox::new(std::io::BufReader::new(source));
        assert!(mbox.next().unwrap().1.is_ok());
        assert!(mbox.next().unwrap().1.is_err());
        assert!(mbox.next().is_none());
    }
}
