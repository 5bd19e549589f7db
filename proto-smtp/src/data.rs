//! Transparency of DATA (RFC 5321 §4.5.2): the dot that is added to lines that begin with one, and the end of the data.
//!
//! [`DotUnstuffer`] removes the dots in place and finds the end; [`DotStuffer`] returns the bytes to write. The data ends
//! with CRLF "." CRLF and nothing else. A bare CR, a bare LF and NUL are rejected or kept, as [`BareNewline`] says, and
//! never end the data.
//!
//! ```text
//!              CR            LF             "."            CR             LF
//!   Text ───────────► Cr ─────────► Start ─────────► Dot ─────────► DotCr ─────────► the end
//!    ▲  ◄─ other ─────┘             │  ▲             │ dropped       │ stays in the input until
//!    └──────── other ───────────────┘  └─── the message begins here  │ the next byte is received
//!    ▲ ◄──────────── other ──────────────────────────┘               │
//!    └───────────────────────── other ───────────────────────────────┘
//! ```

use core::ops::Range;
use proto_mail::error::ErrorDetails;

use crate::scan::{find_suspicious, is_forbidden};

/// What to do with a bare CR, a bare LF or a NUL in received bytes (RFC 5321 §2.3.8 forbids them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BareNewline {
    /// Reject the line, or the whole message. The default.
    #[default]
    Reject,
    /// Keep them. In a message they end no line; a command or reply may end with a bare LF.
    Accept,
}

/// The position of a reader or writer of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the start of a line: at the beginning, or after CRLF.
    Start,
    /// Inside a line.
    Text,
    /// After a CR.
    Cr,
    /// After a dot that began a line and was dropped. The position `DotCr` is not stored: the CR stays in the input
    /// until the next byte is received.
    Dot,
}

/// Removes the dots that a client has added to DATA.
#[derive(Debug, Clone)]
pub struct DotUnstuffer {
    position: Position,
    bare: BareNewline,
}

/// The result of [`DotUnstuffer::unstuff`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstuffed {
    /// The place of the message content in the input, moved together. The other consumed bytes are meaningless.
    pub content: Range<usize>,
    /// The number of input bytes that are consumed. The rest is a CR that may belong to the end, or follows what `stop`
    /// reports.
    pub consumed: usize,
    /// Why the reader stopped.
    pub stop: Stop,
}

/// Why [`DotUnstuffer::unstuff`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It needs more input, or returns early: call it again until it consumes nothing.
    More,
    /// The data has ended.
    End,
    /// After the consumed bytes stands a byte that [`BareNewline::Reject`] forbids. From here on the reader accepts such
    /// bytes, so that it finds the real end.
    Forbidden,
}

/// Once this much content is collected, a further call costs less than moving what follows a dropped dot.
const MIN_PIECE: usize = 1024;

/// The next step of a reader.
enum Piece {
    /// Skip `skip` bytes; the next `len` bytes, at least one, are content.
    Content { skip: usize, len: usize },
    /// Skip this many bytes and stop.
    Stop(usize, Stop),
}

impl DotUnstuffer {
    /// A reader at the beginning of the data.
    #[must_use]
    pub const fn new(bare: BareNewline) -> Self {
        Self { position: Position::Start, bare }
    }

    /// Removes the dots in place: what follows a dot moves up. The caller takes the content, consumes `consumed` bytes,
    /// and calls again with the rest and the bytes that follow.
    ///
    /// The cost is linear in the number of consumed bytes.
    pub fn unstuff(&mut self, input: &mut [u8]) -> Unstuffed {
        let mut content = 0..0;
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            if content.len() >= MIN_PIECE && self.position == Position::Start && rest.starts_with(b".") {
                return Unstuffed { content, consumed, stop: Stop::More };
            }
            match self.next_piece(rest) {
                Piece::Content { skip, len } => {
                    let from = consumed + skip;
                    consumed = from + len;
                    if content.is_empty() {
                        content = from..consumed;
                    } else {
                        input.copy_within(from..consumed, content.end);
                        content.end += len;
                    }
                }
                Piece::Stop(skip, stop) => return Unstuffed { content, consumed: consumed + skip, stop },
            }
        }
    }

    /// Examines the beginning of `input`.
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
            // A dot after CRLF was handled above: only a forbidden byte stops at once.
            self.bare = BareNewline::Accept;
            return Piece::Stop(skip, Stop::Forbidden);
        }
        self.position = self.position_after(rest.get(..stop).unwrap_or_default());
        Piece::Content { skip, len: stop }
    }

    /// The number of content bytes up to a dot that begins a line, a forbidden byte, or the end of the input.
    fn scan(&self, input: &[u8]) -> usize {
        let before = match self.position {
            Position::Start => b'\n',
            Position::Cr => b'\r',
            Position::Text | Position::Dot => b' ',
        };
        // The predecessor of the first byte is in the state, that of all others in the input.
        if let Some(&first) = input.first()
            && self.bare == BareNewline::Reject
            && is_forbidden(before, first)
        {
            return 0;
        }
        let mut at = 1;
        while let Some(candidate) = find_suspicious(input, at) {
            // If every LF has its CR, each candidate is a stop.
            if self.bare == BareNewline::Reject || self.begins_line(input, candidate) {
                return candidate;
            }
            at = candidate + 1;
        }
        input.len()
    }

    /// Whether the byte is a dot after CRLF. Its predecessor is in the input.
    fn begins_line(&self, input: &[u8], at: usize) -> bool {
        let crlf = match input.get(..at) {
            Some([.., b'\r', b'\n']) => true,
            Some([b'\n']) => self.position == Position::Cr,
            _ => false,
        };
        crlf && input.get(at) == Some(&b'.')
    }

    /// The position after `content`.
    fn position_after(&self, content: &[u8]) -> Position {
        match content {
            [.., b'\r', b'\n'] => Position::Start,
            [b'\n'] if self.position == Position::Cr => Position::Start,
            [.., b'\r'] => Position::Cr,
            _ => Position::Text,
        }
    }
}

/// What a client does with line ends of a message that are not CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LineEndings {
    /// They are errors: the message is sent byte for byte, or not at all. The default.
    #[default]
    Require,
    /// A bare LF and a bare CR each become CRLF, as for a message from a file.
    Normalize,
}

/// Adds dots to the lines of a message for DATA.
#[derive(Debug, Clone)]
pub struct DotStuffer {
    position: Position,
    endings: LineEndings,
}

/// The message holds a byte that cannot be sent: NUL, or under [`LineEndings::Require`] a bare CR or LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForbiddenByte;

impl core::fmt::Display for ForbiddenByte {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the message holds a NUL, or a bare CR or LF: remove it, or normalize line ends")
    }
}

impl core::error::Error for ForbiddenByte {}

impl ErrorDetails for ForbiddenByte {}

impl DotStuffer {
    /// A writer at the beginning of a message.
    #[must_use]
    pub const fn new(endings: LineEndings) -> Self {
        Self { position: Position::Start, endings }
    }

    /// Passes the bytes to write for the next part of the message to `put`: slices of `message`, and the bytes between
    /// them.
    ///
    /// # Errors
    /// The part holds a byte that cannot be sent. Some of it was passed to `put`: the data must not be finished.
    pub fn write<'m>(
        &mut self,
        message: &'m [u8],
        mut put: impl FnMut(&'m [u8]),
    ) -> Result<(), ForbiddenByte> {
        let mut rest = message;
        while let Some((&first, tail)) = rest.split_first() {
            match (self.position, first) {
                (Position::Cr, b'\n') => {
                    put(b"\n");
                    self.position = Position::Start;
                    rest = tail;
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
                    rest = tail;
                    continue;
                }
                (_, 0) => return Err(ForbiddenByte),
                (Position::Start, b'.') => put(b"."),
                _ => {}
            }
            // Up to the next dot that begins a line, or a byte that cannot be sent as it is.
            let len = find_suspicious(rest, 1).unwrap_or(rest.len());
            let (run, tail) = rest.split_at_checked(len).unwrap_or((rest, b""));
            put(run);
            self.position = match run {
                [.., b'\r', b'\n'] => Position::Start,
                [.., b'\r'] => Position::Cr,
                _ => Position::Text,
            };
            rest = tail;
        }
        Ok(())
    }

    fn normalize(&self) -> Result<(), ForbiddenByte> {
        match self.endings {
            LineEndings::Normalize => Ok(()),
            LineEndings::Require => Err(ForbiddenByte),
        }
    }

    /// Passes the end of the data to `put`. A last line without CRLF gets one.
    ///
    /// # Errors
    /// The message ended with a bare CR, under [`LineEndings::Require`].
    pub fn finish(self, mut put: impl FnMut(&'static [u8])) -> Result<(), ForbiddenByte> {
        match (self.position, self.endings) {
            (Position::Start, _) => put(b".\r\n"),
            (Position::Cr, LineEndings::Require) => return Err(ForbiddenByte),
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

    /// The result for a whole input.
    #[derive(Debug, PartialEq, Eq, Clone)]
    struct Read {
        content: Vec<u8>,
        /// The content bytes before a forbidden byte.
        forbidden: Option<usize>,
        /// The input bytes of the data.
        end: Option<usize>,
    }

    /// The definition, byte by byte: slow and simple.
    fn reference(input: &[u8], bare: BareNewline) -> Read {
        let mut read = Read { content: Vec::new(), forbidden: None, end: None };
        // The CRLF of the DATA command precedes the data.
        let mut seen = b"\r\n".to_vec();
        for (at, &byte) in input.iter().enumerate() {
            let before = *seen.last().unwrap();
            if (seen.len() > 2 || byte == 0 || byte == b'\n')
                && ((before == b'\r') != (byte == b'\n') || byte == 0)
                && bare == BareNewline::Reject
                && read.forbidden.is_none()
            {
                // A dot that began the line is dropped, a CR after it is not.
                read.forbidden = Some(plain(&seen[2..]).len());
            }
            seen.push(byte);
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

    /// Drops every dot after CRLF.
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

    /// Feeds the pieces one after another, as a machine does.
    fn read(pieces: &[&[u8]], bare: BareNewline) -> Read {
        let mut reader = DotUnstuffer::new(bare);
        let mut result = Read { content: Vec::new(), forbidden: None, end: None };
        let (mut buffer, mut consumed) = (Vec::new(), 0);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let Unstuffed { content, consumed: consumed_now, stop } = reader.unstuff(&mut buffer);
                assert!(content.end <= consumed_now);
                result.content.extend(&buffer[content]);
                buffer.drain(..consumed_now);
                consumed += consumed_now;
                match stop {
                    Stop::More if consumed_now > 0 => {}
                    Stop::More => break,
                    Stop::End => {
                        result.end = Some(consumed);
                        return result;
                    }
                    Stop::Forbidden => assert_eq!(result.forbidden.replace(result.content.len()), None),
                }
            }
            assert!(buffer.len() <= 1, "only a CR is ever held back");
        }
        result
    }

    /// Calls `check` with every string over the alphabet up to a length.
    fn every_string(alphabet: &[u8], longest: u32, mut check: impl FnMut(&[u8])) {
        for len in 0..=longest {
            for number in 0..alphabet.len().pow(len) {
                let mut left = number;
                let string: Vec<u8> = (0..len)
                    .map(|_| {
                        let byte = alphabet[left % alphabet.len()];
                        left /= alphabet.len();
                        byte
                    })
                    .collect();
                check(&string);
            }
        }
    }

    #[test]
    fn reads_every_short_string_at_every_split_as_defined() {
        for bare in [BareNewline::Reject, BareNewline::Accept] {
            every_string(b".\r\nx", 8, |string| {
                let expected = reference(string, bare);
                assert_eq!(read(&[string], bare), expected, "{string:?} {bare:?}");
                for split in 1..string.len() {
                    let (head, tail) = string.split_at(split);
                    assert_eq!(read(&[head, tail], bare), expected, "{string:?} at {split} {bare:?}");
                }
                let bytes: Vec<&[u8]> = string.chunks(1).collect();
                assert_eq!(read(&bytes, bare), expected, "{string:?} byte by byte {bare:?}");
            });
            every_string(b".\r\n\0", 5, |string| {
                assert_eq!(read(&[string], bare), reference(string, bare), "{string:?} {bare:?}");
            });
        }
    }

    #[test]
    fn reads_sequences_alike_at_every_place_of_a_block() {
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
    fn ends_data_by_crlf_dot_crlf_only() {
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

    fn stuffed(pieces: &[&[u8]], endings: LineEndings) -> Result<Vec<u8>, ForbiddenByte> {
        let mut writer = DotStuffer::new(endings);
        let mut data = Vec::new();
        for piece in pieces {
            writer.write(piece, |bytes| data.extend_from_slice(bytes))?;
        }
        writer.finish(|bytes| data.extend_from_slice(bytes))?;
        Ok(data)
    }

    /// Converts every line end to CRLF, byte by byte.
    fn normalized(message: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for (at, &byte) in message.iter().enumerate() {
            match byte {
                b'\n' if at > 0 && message[at - 1] == b'\r' => {}
                b'\r' | b'\n' => lines.extend(b"\r\n"),
                byte => lines.push(byte),
            }
        }
        if !lines.is_empty() && !lines.ends_with(b"\r\n") {
            lines.extend(b"\r\n");
        }
        lines
    }

    #[test]
    fn reads_every_short_message_as_written() {
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
    fn writes_the_examples_of_the_rules() {
        let written = |message: &str| stuffed(&[message.as_bytes()], LineEndings::Require);
        assert_eq!(written("").unwrap(), b".\r\n");
        assert_eq!(written(".").unwrap(), b"..\r\n.\r\n");
        assert_eq!(written("a").unwrap(), b"a\r\n.\r\n");
        assert_eq!(written("a\r\n.\r\n").unwrap(), b"a\r\n..\r\n.\r\n");
        assert_eq!(written(".\r\nMAIL FROM:<e@e>\r\n").unwrap(), b"..\r\nMAIL FROM:<e@e>\r\n.\r\n");
        for bad in ["a\nb", "a\rb", "a\0", "a\n.\nMAIL", "a\r", "\n"] {
            assert_eq!(written(bad), Err(ForbiddenByte), "{bad:?}");
        }
        assert_eq!(stuffed(&[b"a\0"], LineEndings::Normalize), Err(ForbiddenByte));
        assert_eq!(stuffed(&[b"a\n.\nb"], LineEndings::Normalize).unwrap(), b"a\r\n..\r\nb\r\n.\r\n");
    }
}
