//! An mbox file, message by message, in bounded memory.
//!
//! A line that begins with `From ` behind an empty line, or at the very beginning, stands in front of a message
//! (RFC 4155, appendix A). In a message such a line has a `>` more than it was written with, which is taken away
//! again, from those that had some already, too (mboxrd). What a message must be like, `spool` knows.

use std::io::{BufRead, Read};

use super::spool::{Spool, SpoolWriter};
use crate::failure::{Failure, Kind};

/// How much of a line is looked at together, in octets. A longer one comes in parts.
const PART: u64 = 64 * 1024;

const FROM: &[u8] = b"From ";

/// Reads an mbox file from its beginning, or from a message that was found in it before.
#[derive(Debug)]
pub(super) struct Mbox<R> {
    source: R,
    /// How much was read, in octets.
    read: u64,
    part: Vec<u8>,
    /// The line in front of a message was read: the message follows.
    announced: bool,
    /// The next part begins a line.
    fresh: bool,
    /// It cannot be read any further.
    broken: bool,
}

impl<R: BufRead> Mbox<R> {
    /// Reads from the beginning of a file.
    pub(super) const fn new(source: R) -> Self {
        Self { source, read: 0, part: Vec::new(), announced: false, fresh: true, broken: false }
    }

    /// Reads from where a message begins, as [`next`](Self::next) has told.
    pub(super) const fn at(source: R, begin: u64) -> Self {
        Self { source, read: begin, part: Vec::new(), announced: true, fresh: true, broken: false }
    }

    /// Whether no message is left, as far as that was read.
    pub(super) const fn is_done(&self) -> bool {
        self.broken || (self.read > 0 && !self.announced)
    }

    /// The next message, with where it begins. One that cannot be sent costs nothing but itself.
    pub(super) fn next(&mut self) -> Option<(u64, Result<Spool, Failure>)> {
        if self.broken {
            return None;
        }
        if let Err(failure) = self.approach() {
            return Some((self.read, Err(failure)));
        }
        self.announced.then(|| (self.read, self.message()))
    }

    /// Goes to the next message, if none was announced.
    fn approach(&mut self) -> Result<(), Failure> {
        while !self.announced && self.advance()? {
            self.announced = self.begins_message();
        }
        // What is left of a long line in front of a message.
        while self.announced && !self.fresh && self.advance()? {}
        Ok(())
    }

    fn message(&mut self) -> Result<Spool, Failure> {
        self.announced = false;
        let mut writer = SpoolWriter::new();
        // An empty line belongs to the message unless the next one shows that it stood between two.
        let mut held: Option<&'static [u8]> = Some(b"");
        loop {
            let fresh = self.fresh;
            if !self.advance()? {
                break;
            }
            if fresh && held.is_some() && self.begins_message() {
                self.announced = true;
                break;
            }
            if let Some(line) = held.take() {
                put(&mut writer, line);
            }
            match self.part.as_slice() {
                b"\n" if fresh => held = Some(b"\n"),
                b"\r\n" if fresh => held = Some(b"\r\n"),
                part => put(&mut writer, if fresh { unquoted(part) } else { part }),
            }
        }
        match writer?.finish()? {
            spool if spool.facts.octets == 0 => Err(Failure::new(Kind::Data, "the message is empty")),
            spool => Ok(spool),
        }
    }

    fn begins_message(&self) -> bool {
        self.part.starts_with(FROM)
    }

    /// Reads the next part of a line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.part.clear();
        let read = self.source.by_ref().take(PART).read_until(b'\n', &mut self.part);
        let count = read.map_err(|error| {
            self.broken = true;
            Failure::new(Kind::Data, format!("the mbox file cannot be read any further: {error}"))
        })?;
        self.read += count as u64;
        self.fresh = self.part.last() == Some(&b'\n');
        Ok(count > 0)
    }
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
        spool.file.rewind().unwrap();
        spool.file.read_to_string(&mut text).unwrap();
        text
    }

    fn all(text: &[u8]) -> Vec<Result<String, String>> {
        // Buffers of one octet and of more than the file show the same.
        let read = |size| {
            let mut mbox = Mbox::new(std::io::BufReader::with_capacity(size, text));
            let mut messages = Vec::new();
            while let Some((begin, message)) = mbox.next() {
                let message = message.map(|mut spool| octets(&mut spool)).map_err(|why| why.what);
                let mut again = Mbox::at(&text[usize::try_from(begin).unwrap()..], begin);
                let told = again.next().unwrap().1.map(|mut spool| octets(&mut spool));
                assert_eq!(told.map_err(|why| why.what), message);
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
    fn a_long_line_is_never_held_whole_and_begins_nothing_in_its_middle() {
        let long = "x".repeat(3 * 64 * 1024);
        // Each part of 64 KiB behind the first begins with what would divide messages at the begin of a line.
        let cut = format!("{}From ", "y".repeat(64 * 1024)).repeat(3);
        let text = format!("From {long}\nSubject: 1\n\n{cut}\n\nFrom b\n\n{long}");
        let messages = all(text.as_bytes()).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(messages, [format!("Subject: 1\r\n\r\n{cut}\r\n"), format!("\r\n{long}\r\n")]);
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
