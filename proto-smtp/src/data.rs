//! Transparency of DATA (RFC 5321 §4.5.2): the dot before a line that begins with one, and the end of the data.
//!
//! This file knows five positions in the octets of a message and how each is left. It knows no buffer and no machine:
//! [`Unstuffing`] moves the message's own octets together, [`Stuffing`] says which octets to write. The
//! end of the data is CRLF "." CRLF and nothing else; a bare CR, a bare LF and NUL are refused or kept, as
//! [`BareNewline`] says, and never end anything.
//!
//! ```text
//!              CR            LF             "."            CR             LF
//!   Text ───────────► Cr ─────────► Start ─────────► Dot ─────────► DotCr ─────────► the end
//!    ▲  ◄─ other ─────┘             │  ▲             │ dropped       │ left in the input until
//!    └──────── other ───────────────┘  └─── a message begins here    │ its successor has come
//!    ▲ ◄──────────── other ──────────────────────────┘               │
//!    └───────────────────────── other ───────────────────────────────┘
//! ```

use core::ops::Range;

use crate::scan::{find_suspicious, is_forbidden};

/// What is to be done with a bare CR, a bare LF or a NUL (RFC 5321 §2.3.8 allows none of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BareNewline {
    /// Refuse the line, or the message as a whole.
    #[default]
    Reject,
    /// Keep them: in a message they are octets like others and end no line; a command or reply may end with a bare
    /// LF.
    Accept,
}

/// Where a reader of data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the start of a line: the beginning, or behind CRLF.
    Start,
    /// Inside a line.
    Text,
    /// Behind a CR.
    Cr,
    /// Behind a dot that began a line, and that was dropped. The fifth position, `DotCr`, is never kept: the CR stays
    /// in the input until its successor is there.
    Dot,
}

/// Takes the stuffing off: a reader of DATA.
#[derive(Debug, Clone)]
pub struct Unstuffing {
    position: Position,
    bare: BareNewline,
}

/// What a reader of data made of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstuffed {
    /// Where the message's own octets stand now, moved together. What is around them in the `passed` octets is void.
    pub content: Range<usize>,
    /// How many octets of the input are done with. Of the rest nothing can be said before more has come (a CR, that
    /// may belong to the end), or it stands behind what `stop` tells.
    pub passed: usize,
    /// Why the reader stopped there.
    pub stop: Stop,
}

/// Why a reader of data stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It needs more input, or has enough for now: come again until nothing is passed.
    More,
    /// The data has ended.
    End,
    /// Behind the octets that were passed stands what [`BareNewline::Reject`] forbids. From here on the reader
    /// accepts it, so that the real end can be found.
    Forbidden,
}

/// Moving what stands behind a dropped dot costs more than to come again, when there are so many octets before it.
const ENOUGH: usize = 1024;

/// The next step of a reader: a run of content, or none.
enum Piece {
    /// Skip so many octets; so many behind them, and not 0, are the message's own.
    Content { skip: usize, len: usize },
    /// Skip so many octets, and stop.
    Stop(usize, Stop),
}

impl Unstuffing {
    /// A reader at the beginning of the data.
    #[must_use]
    pub const fn new(bare: BareNewline) -> Self {
        Self { position: Position::Start, bare }
    }

    /// Takes the stuffing off what has come, in place: the dots are dropped, and what stood behind them moves up. The
    /// caller takes the content, gives up what was passed, and comes again with the rest and what follows it.
    ///
    /// The cost is linear in the octets that are passed.
    pub fn unstuff(&mut self, input: &mut [u8]) -> Unstuffed {
        let mut content = 0..0;
        let mut passed = 0;
        loop {
            let rest = input.get(passed..).unwrap_or_default();
            if content.len() >= ENOUGH && self.position == Position::Start && rest.starts_with(b".") {
                return Unstuffed { content, passed, stop: Stop::More };
            }
            match self.next_piece(rest) {
                Piece::Content { skip, len } => {
                    let from = passed + skip;
                    passed = from + len;
                    if content.is_empty() {
                        content = from..passed;
                    } else {
                        input.copy_within(from..passed, content.end);
                        content.end += len;
                    }
                }
                Piece::Stop(skip, stop) => return Unstuffed { content, passed: passed + skip, stop },
            }
        }
    }

    /// Looks at the beginning of `input`.
    #[inline]
    fn next_piece(&mut self, input: &[u8]) -> Piece {
        let mut skip = 0;
        if self.position == Position::Start && input.first() == Some(&b'.') {
            self.position = Position::Dot;
            skip = 1;
        }
        let rest = input.get(skip..).unwrap_or_default();
        if self.position == Position::Dot {
            match rest {
                [] | [b'\r'] => return Piece::Stop(skip, Stop::More),
                [b'\r', b'\n', ..] => return Piece::Stop(skip + 2, Stop::End),
                _ => self.position = Position::Text,
            }
        } else if rest.is_empty() {
            return Piece::Stop(skip, Stop::More);
        }
        let stop = self.scan(rest);
        if stop == 0 {
            // A dot behind CRLF was looked at above: only what is forbidden stops at once.
            self.bare = BareNewline::Accept;
            return Piece::Stop(skip, Stop::Forbidden);
        }
        self.position = self.position_behind(rest.get(..stop).unwrap_or_default());
        Piece::Content { skip, len: stop }
    }

    /// How many octets belong together: up to a dot that begins a line, to what is forbidden, or to the end.
    fn scan(&self, input: &[u8]) -> usize {
        let before = match self.position {
            Position::Start => b'\n',
            Position::Cr => b'\r',
            Position::Text | Position::Dot => b' ',
        };
        // The first octet has its predecessor in the state; all others have it in the input.
        if let Some(&first) = input.first()
            && self.bare == BareNewline::Reject
            && is_forbidden(before, first)
        {
            return 0;
        }
        let mut at = 1;
        while let Some(candidate) = find_suspicious(input, at) {
            // Where every LF has its CR, each candidate is a stop.
            if self.bare == BareNewline::Reject || self.begins_line(input, candidate) {
                return candidate;
            }
            at = candidate + 1;
        }
        input.len()
    }

    /// Whether CRLF stands before this octet and it is a dot; its predecessor is in the input.
    fn begins_line(&self, input: &[u8], at: usize) -> bool {
        let crlf = match input.get(..at) {
            Some([.., b'\r', b'\n']) => true,
            Some([b'\n']) => self.position == Position::Cr,
            _ => false,
        };
        crlf && input.get(at) == Some(&b'.')
    }

    /// Where the reader is once it has passed `content`.
    fn position_behind(&self, content: &[u8]) -> Position {
        match content {
            [.., b'\r', b'\n'] => Position::Start,
            [b'\n'] if self.position == Position::Cr => Position::Start,
            [.., b'\r'] => Position::Cr,
            _ => Position::Text,
        }
    }
}

/// What is to be done with line ends of a message that are not CRLF, before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LineEndings {
    /// They are errors: the message goes out octet by octet as it is, or not at all.
    #[default]
    Require,
    /// A bare LF and a bare CR each become CRLF, as in a message that comes from a file.
    Normalize,
}

/// Puts the stuffing on: a writer of DATA.
#[derive(Debug, Clone)]
pub struct Stuffing {
    position: Position,
    endings: LineEndings,
}

/// A message holds what may not be sent: NUL, or, under [`LineEndings::Require`], a bare CR or LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsendable;

impl Stuffing {
    /// A writer at the beginning of a message.
    #[must_use]
    pub const fn new(endings: LineEndings) -> Self {
        Self { position: Position::Start, endings }
    }

    /// Gives the octets to write for the next part of the message to `put`: sub-slices of `message`, and what must
    /// stand between them.
    ///
    /// # Errors
    /// The message holds what may not be sent. Part of it was given to `put`: the data must not be ended.
    pub fn write<'m>(&mut self, message: &'m [u8], mut put: impl FnMut(&'m [u8])) -> Result<(), Unsendable> {
        let mut rest = message;
        while let Some((&first, behind)) = rest.split_first() {
            match (self.position, first) {
                (Position::Cr, b'\n') => {
                    put(b"\n");
                    self.position = Position::Start;
                    rest = behind;
                    continue;
                }
                (Position::Cr, _) => {
                    self.normalize()?;
                    put(b"\n");
                    self.position = Position::Start;
                    continue;
                }
                (_, b'\n') => {
                    self.normalize()?;
                    put(b"\r\n");
                    self.position = Position::Start;
                    rest = behind;
                    continue;
                }
                (_, 0) => return Err(Unsendable),
                (Position::Start, b'.') => put(b"."),
                _ => {}
            }
            // Up to the next dot that begins a line, or to what cannot go out as it is: that comes first then.
            let len = find_suspicious(rest, 1).unwrap_or(rest.len());
            let (run, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            put(run);
            self.position = match run {
                [.., b'\r', b'\n'] => Position::Start,
                [.., b'\r'] => Position::Cr,
                _ => Position::Text,
            };
            rest = behind;
        }
        Ok(())
    }

    fn normalize(&self) -> Result<(), Unsendable> {
        match self.endings {
            LineEndings::Normalize => Ok(()),
            LineEndings::Require => Err(Unsendable),
        }
    }

    /// Gives the end of the data to `put`; a last line without CRLF gets one.
    ///
    /// # Errors
    /// The message ended with a bare CR, under [`LineEndings::Require`].
    pub fn finish(self, mut put: impl FnMut(&'static [u8])) -> Result<(), Unsendable> {
        match (self.position, self.endings) {
            (Position::Start, _) => put(b".\r\n"),
            (Position::Cr, LineEndings::Require) => return Err(Unsendable),
            (Position::Cr, LineEndings::Normalize) => put(b"\n.\r\n"),
            (Position::Text | Position::Dot, _) => put(b"\r\n.\r\n"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What a reader says of a whole input.
    #[derive(Debug, PartialEq, Eq, Clone)]
    struct Read {
        content: Vec<u8>,
        /// How many octets of content came before what is forbidden.
        forbidden: Option<usize>,
        /// How many octets of input the data has.
        end: Option<usize>,
    }

    /// The definition, octet by octet: slow, and plain enough to be right.
    fn reference(input: &[u8], bare: BareNewline) -> Read {
        let mut read = Read { content: Vec::new(), forbidden: None, end: None };
        // The CRLF of the DATA command stands before the data.
        let mut seen = b"\r\n".to_vec();
        for (at, &octet) in input.iter().enumerate() {
            let before = *seen.last().unwrap();
            if (seen.len() > 2 || octet == 0 || octet == b'\n')
                && ((before == b'\r') != (octet == b'\n') || octet == 0)
                && bare == BareNewline::Reject
                && read.forbidden.is_none()
            {
                // A dot that began the line is dropped, a CR behind it is not.
                read.forbidden = Some(plain(&seen[2..]).len());
            }
            seen.push(octet);
            if seen.ends_with(b"\r\n.\r\n") {
                read.content = plain(&seen[2..seen.len() - 3]);
                read.end = Some(at + 1);
                return read;
            }
        }
        // An unfinished end is not content yet.
        let held = if seen.ends_with(b"\r\n.\r") {
            2
        } else if seen.ends_with(b"\r\n.") {
            1
        } else {
            0
        };
        read.content = plain(&seen[2..seen.len() - held]);
        read
    }

    /// Every dot behind CRLF dropped.
    fn plain(data: &[u8]) -> Vec<u8> {
        let mut framed = b"\r\n".to_vec();
        framed.extend(data);
        let mut content = Vec::new();
        for at in 2..framed.len() {
            let starts_line = framed[..at].ends_with(b"\r\n");
            if !(starts_line && framed[at] == b'.') {
                content.push(framed[at]);
            }
        }
        content
    }

    /// Feeds the pieces one after the other, as a machine does with its buffer.
    fn read(pieces: &[&[u8]], bare: BareNewline) -> Read {
        let mut reader = Unstuffing::new(bare);
        let mut result = Read { content: Vec::new(), forbidden: None, end: None };
        let (mut buffer, mut passed) = (Vec::new(), 0);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let Unstuffed { content, passed: given_up, stop } = reader.unstuff(&mut buffer);
                assert!(content.end <= given_up);
                result.content.extend(&buffer[content]);
                buffer.drain(..given_up);
                passed += given_up;
                match stop {
                    Stop::More if given_up > 0 => {}
                    Stop::More => break,
                    Stop::End => {
                        result.end = Some(passed);
                        return result;
                    }
                    Stop::Forbidden => assert_eq!(result.forbidden.replace(result.content.len()), None),
                }
            }
            assert!(buffer.len() <= 1, "only a CR is ever held back");
        }
        result
    }

    /// Calls `check` with every string over the alphabet up to that length.
    fn every_string(alphabet: &[u8], longest: u32, mut check: impl FnMut(&[u8])) {
        for len in 0..=longest {
            for number in 0..alphabet.len().pow(len) {
                let mut left = number;
                let string: Vec<u8> = (0..len)
                    .map(|_| {
                        let octet = alphabet[left % alphabet.len()];
                        left /= alphabet.len();
                        octet
                    })
                    .collect();
                check(&string);
            }
        }
    }

    #[test]
    fn every_short_string_at_every_split_is_read_as_defined() {
        for bare in [BareNewline::Reject, BareNewline::Accept] {
            every_string(b".\r\nx", 8, |string| {
                let expected = reference(string, bare);
                assert_eq!(read(&[string], bare), expected, "{string:?} {bare:?}");
                for split in 1..string.len() {
                    let (head, tail) = string.split_at(split);
                    assert_eq!(read(&[head, tail], bare), expected, "{string:?} at {split} {bare:?}");
                }
                let octets: Vec<&[u8]> = string.chunks(1).collect();
                assert_eq!(read(&octets, bare), expected, "{string:?} octet by octet {bare:?}");
            });
            every_string(b".\r\n\0", 5, |string| {
                assert_eq!(read(&[string], bare), reference(string, bare), "{string:?} {bare:?}");
            });
        }
    }

    #[test]
    fn a_sequence_is_read_alike_wherever_it_stands_in_a_block() {
        every_string(b".\r\nx", 5, |sequence| {
            for before in [13, 14, 15, 16, 17, 30, 47, 63, 64, 111, 112] {
                let mut string = alloc::vec![b'a'; before];
                string.extend_from_slice(sequence);
                string.extend_from_slice(&[b'b'; 40]);
                let expected = reference(&string, BareNewline::Reject);
                assert_eq!(read(&[&string], BareNewline::Reject), expected, "{before} {sequence:?}");
            }
        });
    }

    #[test]
    fn what_is_no_end_of_data_ends_nothing() {
        for fake in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n\0.\r\n",
            "\r\r\n.\r\r\n",
            "\r\n.\r\r\n",
            "\n\r.\r\n",
            "\r\n. \r\n",
            "\r\n..\r\n",
            "\r\n.\u{b}\r\n",
            "\n\n.\r\n",
            "\r\n.\r",
        ] {
            for bare in [BareNewline::Reject, BareNewline::Accept] {
                let input = alloc::format!("line{fake}MAIL FROM:<e@e>\r\n");
                assert_eq!(read(&[input.as_bytes()], bare).end, None, "{fake:?}");
            }
        }
        assert_eq!(read(&[b".\r\nMAIL"], BareNewline::Reject).end, Some(3));
        assert_eq!(read(&[b"a\r\n.\r\nMAIL"], BareNewline::Reject).end, Some(6));
    }

    fn stuffed(pieces: &[&[u8]], endings: LineEndings) -> Result<Vec<u8>, Unsendable> {
        let mut writer = Stuffing::new(endings);
        let mut data = Vec::new();
        for piece in pieces {
            writer.write(piece, |octets| data.extend_from_slice(octets))?;
        }
        writer.finish(|octets| data.extend_from_slice(octets))?;
        Ok(data)
    }

    /// A message with every line end made CRLF: octet by octet.
    fn normalized(message: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for (at, &octet) in message.iter().enumerate() {
            match octet {
                b'\n' if at > 0 && message[at - 1] == b'\r' => {}
                b'\r' | b'\n' => lines.extend(b"\r\n"),
                octet => lines.push(octet),
            }
        }
        if !lines.is_empty() && !lines.ends_with(b"\r\n") {
            lines.extend(b"\r\n");
        }
        lines
    }

    #[test]
    fn every_short_message_is_read_as_it_was_written() {
        every_string(b".\r\nx", 8, |message| {
            let lines = normalized(message);
            let data = stuffed(&[message], LineEndings::Normalize).unwrap();
            let back = read(&[&data], BareNewline::Reject);
            assert_eq!(
                back,
                Read { content: lines.clone(), forbidden: None, end: Some(data.len()) },
                "{message:?}"
            );
            let mut ended = message.to_vec();
            if !ended.is_empty() && !ended.ends_with(b"\r\n") {
                ended.extend(b"\r\n");
            }
            let strict = stuffed(&[message], LineEndings::Require);
            assert_eq!(strict.is_ok(), ended == lines && !message.ends_with(b"\r"), "{message:?}");
            if let Ok(strict) = strict {
                assert_eq!(strict, data);
            }
            for split in 1..message.len() {
                let (head, tail) = message.split_at(split);
                assert_eq!(
                    stuffed(&[head, tail], LineEndings::Normalize),
                    Ok(data.clone()),
                    "{message:?} at {split}"
                );
            }
        });
    }

    #[test]
    fn the_examples_of_the_rules_are_written_so() {
        let written = |message: &str| stuffed(&[message.as_bytes()], LineEndings::Require);
        assert_eq!(written("").unwrap(), b".\r\n");
        assert_eq!(written(".").unwrap(), b"..\r\n.\r\n");
        assert_eq!(written("a").unwrap(), b"a\r\n.\r\n");
        assert_eq!(written("a\r\n.\r\n").unwrap(), b"a\r\n..\r\n.\r\n");
        assert_eq!(written(".\r\nMAIL FROM:<e@e>\r\n").unwrap(), b"..\r\nMAIL FROM:<e@e>\r\n.\r\n");
        for bad in ["a\nb", "a\rb", "a\0", "a\n.\nMAIL", "a\r", "\n"] {
            assert_eq!(written(bad), Err(Unsendable), "{bad:?}");
        }
        assert_eq!(stuffed(&[b"a\0"], LineEndings::Normalize), Err(Unsendable));
        assert_eq!(stuffed(&[b"a\n.\nb"], LineEndings::Normalize).unwrap(), b"a\r\n..\r\nb\r\n.\r\n");
    }
}
