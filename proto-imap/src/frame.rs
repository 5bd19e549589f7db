//! Framing: where one message ends (RFC 9051 §2.2, §4.3; RFC 7888).
//!
//! This module defines how a literal is announced: `{n}`, `{n+}` or `~{n}` at the end of a line. It finds one
//! complete message: a line with all literals that its lines announce. It stores its position, so that no byte is
//! scanned twice, regardless of the chunks. It does not use the grammar: the machine decides whether an announcement
//! counts, and whether the literal is kept, streamed or rejected.
//!
//! Only CRLF ends a line. A lone LF or CR is part of the line, and the grammar rejects it.

use proto_mail::{Limit, Limits, Line, RecvBuffer};

/// The maximum size of a literal that a client sends without waiting, if the server lists `LITERAL-` or the client
/// has not logged in yet: 4096 bytes (RFC 7888 §5).
pub const LITERAL_MINUS: u64 = 4096;

/// Whether the sender of a literal waits for a continuation request (RFC 7888 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// `{n}`: a client sends the literal after a continuation request; a server sends it at once.
    Synchronising,
    /// `{n+}`: the literal follows at once.
    NonSynchronising,
}

/// The announcement of a literal, at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiteralHeader {
    /// The number of bytes that follow the line.
    pub size: u64,
    /// Whether the sender waits.
    pub sync: Sync,
    /// `~{n}`: the literal may contain NUL (RFC 3516).
    pub binary: Binary,
}

/// Whether a literal may contain NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `{n}`: text.
    No,
    /// `~{n}`: any byte.
    Yes,
}

/// The end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// The line ends its message.
    Plain,
    /// A literal follows.
    Literal(LiteralHeader),
    /// An announcement of 2^63 bytes or more. The end of such a literal cannot be found.
    Endless(Sync),
}

/// A step of the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameStep {
    /// More bytes are needed.
    More,
    /// The message is complete; its length in bytes.
    Complete(usize),
    /// A line announces a literal; the length of the message up to it.
    Literal(usize, LiteralHeader),
    /// A line announces an impossible size; the length of the message up to it.
    Endless(usize, Sync),
}

/// A step of the framing of a message that can be read in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceStep {
    /// No line is longer than a piece so far.
    Framed(FrameStep),
    /// A line is longer than a piece; the length of the message up to the end of the piece.
    Piece(usize),
}

/// Finds the messages at the front of a [`RecvBuffer`], one at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Framer {
    /// The offset of the current line in the message.
    line: usize,
    /// The offset up to which the current line was searched for CRLF.
    searched: usize,
}

impl Framer {
    /// Searches for the end of the message, with limits in bytes on a line and on the message. Returns the same step
    /// until [`keep`](Self::keep) or [`reset`](Self::reset) is called.
    pub(crate) fn step(
        &mut self,
        rx: &mut RecvBuffer,
        line: usize,
        frame: usize,
    ) -> Result<FrameStep, Limit> {
        if rx.len() <= self.searched {
            return Ok(FrameStep::More);
        }
        loop {
            let room = line.saturating_sub(self.searched - self.line);
            let end = match rx.find_line_from(self.searched, room) {
                Line::Complete(len) => self.searched + len,
                Line::Partial if rx.len() > frame => return Err(Limit::Frame),
                Line::Partial => return Ok(FrameStep::More),
                Line::TooLong => return Err(Limit::Line),
            };
            if end > frame {
                return Err(Limit::Frame);
            }
            let text = rx.bytes().get(self.line..end).unwrap_or_default();
            let Some(text) = text.strip_suffix(b"\r\n") else {
                self.searched = end;
                continue;
            };
            return Ok(match ending(text) {
                LineEnd::Plain => FrameStep::Complete(end),
                LineEnd::Literal(announced) => FrameStep::Literal(end, announced),
                LineEnd::Endless(sync) => FrameStep::Endless(end, sync),
            });
        }
    }

    /// Searches like [`step`](Self::step), for a message that is read in pieces if a line is longer than `piece` bytes:
    /// then the step is [`Piece`](PieceStep::Piece). Looks at no byte behind the piece.
    pub(crate) fn step_in_pieces(&mut self, rx: &RecvBuffer, piece: usize) -> PieceStep {
        let bytes = rx.bytes();
        let limit = self.line.saturating_add(piece);
        loop {
            let held = bytes.get(self.searched..limit.min(bytes.len())).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', held) else {
                self.searched += held.len();
                return if bytes.len() >= limit {
                    PieceStep::Piece(limit)
                } else {
                    PieceStep::Framed(FrameStep::More)
                };
            };
            let end = self.searched + at + 1;
            let text = bytes.get(self.line..end).unwrap_or_default();
            let Some(text) = text.strip_suffix(b"\r\n") else {
                self.searched = end;
                continue;
            };
            return PieceStep::Framed(match ending(text) {
                LineEnd::Plain => FrameStep::Complete(end),
                LineEnd::Literal(announced) => FrameStep::Literal(end, announced),
                LineEnd::Endless(sync) => FrameStep::Endless(end, sync),
            });
        }
    }

    /// Keeps the literal at `end` in the message. The next line starts after it.
    pub(crate) fn keep(
        &mut self,
        end: usize,
        announced: LiteralHeader,
        limits: &Limits,
    ) -> Result<(), Limit> {
        let size = usize::try_from(announced.size).map_err(|_| Limit::Literal)?;
        if size > limits.literal {
            return Err(Limit::Literal);
        }
        let next = end.checked_add(size).filter(|next| *next <= limits.frame).ok_or(Limit::Frame)?;
        self.line = next;
        self.searched = next;
        Ok(())
    }

    /// Records that the bytes before `end` were consumed. The message continues with a new line.
    pub(crate) const fn reset(&mut self) {
        self.line = 0;
        self.searched = 0;
    }

    /// Returns the current line of the message.
    pub(crate) fn line<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(self.line..).unwrap_or_default()
    }

    /// Returns the offset of the current line in the message.
    pub(crate) const fn line_offset(&self) -> usize {
        self.line
    }

    /// Returns whether the current line is the first of the message.
    pub(crate) const fn is_first_line(&self) -> bool {
        self.line == 0
    }
}

/// Returns the end of a line without its CRLF. Anything that only resembles an announcement (`{}`,
/// `{-1}`, `{ 5}`, `{5++}`) is part of the line.
#[must_use]
pub fn ending(line: &[u8]) -> LineEnd {
    announcement(line).unwrap_or(LineEnd::Plain)
}

fn announcement(line: &[u8]) -> Option<LineEnd> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, sync) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, Sync::NonSynchronising),
        None => (inside, Sync::Synchronising),
    };
    let digits = inside.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = inside.split_at_checked(inside.len() - digits)?;
    let before = before.strip_suffix(b"{")?;
    if number.is_empty() {
        return None;
    }
    let binary = if before.ends_with(b"~") { Binary::Yes } else { Binary::No };
    let size = number.iter().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|sum| *sum <= i64::MAX as u64)
    });
    Some(match size {
        Some(size) => LineEnd::Literal(LiteralHeader { size, sync, binary }),
        None => LineEnd::Endless(sync),
    })
}

/// Returns whether a line without its CRLF contains a byte that no IMAP line may contain: CR, LF, NUL.
pub(crate) fn has_forbidden(line: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, line).is_some()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn literal(size: u64, sync: Sync, binary: Binary) -> LineEnd {
        LineEnd::Literal(LiteralHeader { size, sync, binary })
    }

    #[test]
    fn only_a_well_formed_announcement_announces() {
        use super::Sync::{NonSynchronising, Synchronising};
        assert_eq!(ending(b"a LOGIN {5}"), literal(5, Synchronising, Binary::No));
        assert_eq!(ending(b"a LOGIN {0+}"), literal(0, NonSynchronising, Binary::No));
        assert_eq!(ending(b"a APPEND x ~{007}"), literal(7, Synchronising, Binary::Yes));
        assert_eq!(ending(b"{9223372036854775807}"), literal(i64::MAX as u64, Synchronising, Binary::No));
        for huge in [&b"{9223372036854775808}"[..], b"{99999999999999999999999999}"] {
            assert_eq!(ending(huge), LineEnd::Endless(Synchronising));
        }
        assert_eq!(ending(b"{99999999999999999999+}"), LineEnd::Endless(NonSynchronising));
        for no in [
            &b""[..],
            b"}",
            b"{}",
            b"{+}",
            b"{-1}",
            b"{ 5}",
            b"{5 }",
            b"{+5}",
            b"{5++}",
            b"{0x1}",
            b"{5",
            b"5}",
            b"\"foo {5}\"",
            b"{5} ",
            b"{5}\r",
        ] {
            assert_eq!(ending(no), LineEnd::Plain, "{no:?}");
        }
    }

    /// Frames `input` in chunks of `size` bytes, and keeps each literal.
    fn frames(input: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut rx, mut framer, limits) = (RecvBuffer::new(), Framer::default(), Limits::default());
        let mut found = Vec::new();
        for piece in input.chunks(size) {
            rx.extend(piece);
            loop {
                match framer.step(&mut rx, limits.line, limits.frame).unwrap() {
                    FrameStep::More => break,
                    FrameStep::Literal(end, announced) => framer.keep(end, announced, &limits).unwrap(),
                    FrameStep::Complete(len) => {
                        found.push(rx.bytes()[..len].to_vec());
                        rx.consume(len);
                        framer.reset();
                    }
                    FrameStep::Endless(..) => panic!("endless"),
                }
            }
        }
        assert!(rx.is_empty());
        found
    }

    #[test]
    fn a_message_is_found_in_every_chunking() {
        let parts = [
            &b"* LIST () \"/\" {5}\r\na\r\n{3\r\n"[..],
            b"* OK {5\r\n",
            b"* x\ny\rz\0 {2+}\r\n\r\n\r\n",
            b"\r\n",
            b"a {0}\r\n{1}\r\n}\r\n",
        ];
        let input = parts.concat();
        for size in 1..=input.len() {
            assert_eq!(frames(&input, size), parts, "pieces of {size}");
        }
    }

    #[test]
    fn limits_hold_before_anything_is_stored() {
        let mut limits = Limits::default();
        (limits.line, limits.literal, limits.frame) = (16, 8, 24);
        let step = |input: &[u8]| {
            let (mut rx, mut framer) = (RecvBuffer::new(), Framer::default());
            rx.extend(input);
            loop {
                match framer.step(&mut rx, limits.line, limits.frame)? {
                    FrameStep::Literal(end, announced) => framer.keep(end, announced, &limits)?,
                    other => return Ok(other),
                }
            }
        };
        assert_eq!(step(b"0123456789abcd\r\n"), Ok(FrameStep::Complete(16)));
        assert_eq!(step(b"0123456789abcde\r\n"), Err(Limit::Line));
        assert_eq!(step(b"0123456789abcdef"), Err(Limit::Line));
        assert_eq!(step(b"01234\n6789a\ncdef"), Err(Limit::Line));
        assert_eq!(step(b"{9}\r\n"), Err(Limit::Literal));
        assert_eq!(step(b"{9999999999}\r\n"), Err(Limit::Literal));
        assert_eq!(step(b"{8}\r\n12345678{7}\r\n"), Err(Limit::Frame));
        assert_eq!(step(b"{8}\r\n12345678x\r\n"), Ok(FrameStep::Complete(16)));
    }
}
