//! Framing of command lines: where a line ends.
//!
//! A line ends with CRLF and nothing else, unless [`BareNewline::Accept`] is set. A rejected line is skipped up to its
//! end, so that its rest is never parsed as another command. The cost is linear in the bytes received, however they are
//! split.

use proto_mail::trace::TraceKind;
use proto_mail::{Line, RecvBuffer};

use crate::data::BareNewline;

/// What is at the beginning of the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A complete line.
    Line {
        /// The length without the line end.
        len: usize,
        /// The length with the line end.
        whole: usize,
    },
    /// The line end was not received yet.
    Partial,
    /// The line is rejected and must be skipped by a [`LineSkipper`].
    Rejected(LineFault),
}

/// Why a line is rejected before it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// The line is longer than the limit.
    TooLong,
    /// The line holds a bare CR, a bare LF or a NUL.
    Forbidden,
}

/// Looks for one line at the beginning of the buffer. `limit` is the longest line in bytes, with its end.
pub(crate) fn frame(rx: &mut RecvBuffer, limit: usize, bare: BareNewline) -> Frame {
    let whole = match rx.find_line(limit) {
        Line::Complete(whole) => whole,
        Line::Partial => return Frame::Partial,
        Line::TooLong => return Frame::Rejected(LineFault::TooLong),
    };
    let line = rx.bytes().get(..whole - 1).unwrap_or_default();
    match (line.strip_suffix(b"\r"), bare) {
        (Some(line), BareNewline::Reject) if memchr::memchr2(b'\r', 0, line).is_some() => {
            Frame::Rejected(LineFault::Forbidden)
        }
        (None, BareNewline::Reject) => Frame::Rejected(LineFault::Forbidden),
        (line, _) => Frame::Line { len: line.map_or(whole - 1, <[u8]>::len), whole },
    }
}

/// Skips the rest of a rejected line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineSkipper {
    pub(crate) fault: LineFault,
    after_cr: bool,
    left: usize,
}

/// How far a [`LineSkipper`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// The line has ended.
    Whole,
    /// The line has not ended yet.
    Part,
    /// The line has not ended within the limit.
    Endless,
}

/// The most bytes of a line that are skipped before the session ends.
const MAX_SKIPPED: usize = 1024 * 1024;

impl LineSkipper {
    pub(crate) const fn new(fault: LineFault) -> Self {
        Self { fault, after_cr: false, left: MAX_SKIPPED }
    }

    /// Consumes the received bytes up to the end of the line, and wipes them: they may hold a secret.
    pub(crate) fn advance(&mut self, rx: &mut RecvBuffer) -> Skipped {
        let bytes = rx.bytes();
        let (mut at, mut end) = (0, None);
        while let Some(found) = memchr::memchr(b'\n', bytes.get(at..).unwrap_or_default()) {
            let lf = at + found;
            let after_cr = match lf.checked_sub(1) {
                Some(before) => bytes.get(before) == Some(&b'\r'),
                None => self.after_cr,
            };
            at = lf + 1;
            if after_cr {
                end = Some(at);
                break;
            }
        }
        let skipped = end.unwrap_or(bytes.len());
        self.after_cr = bytes.last().map_or(self.after_cr, |&last| last == b'\r');
        // Only the line end is known.
        rx.trace_span(skipped - usize::from(end.is_some()), TraceKind::Unknown);
        rx.trace_span(skipped, TraceKind::Text);
        rx.consume_wiping(skipped);
        // The limit applies at the same byte however the line was split.
        match (self.left.checked_sub(skipped), end) {
            (None, _) => Skipped::Endless,
            (Some(left), None) => {
                self.left = left;
                Skipped::Part
            }
            (Some(_), Some(_)) => Skipped::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn framed(input: &[u8], bare: BareNewline) -> Frame {
        let mut rx = RecvBuffer::new();
        rx.extend(input);
        frame(&mut rx, 32, bare)
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let line = |len, whole| Frame::Line { len, whole };
        assert_eq!(framed(b"NOOP\r\nX", BareNewline::Reject), line(4, 6));
        assert_eq!(framed(b"\r\n", BareNewline::Reject), line(0, 2));
        assert_eq!(framed(b"NOOP\r", BareNewline::Reject), Frame::Partial);
        for bad in [&b"NOOP\nNOOP\r\n"[..], b"\n", b"NO\rOP\r\n", b"NO\0OP\r\n", b"NOOP\r\r\n"] {
            assert_eq!(framed(bad, BareNewline::Reject), Frame::Rejected(LineFault::Forbidden), "{bad:?}");
        }
        assert_eq!(framed(b"NOOP\nX", BareNewline::Accept), line(4, 5));
        assert_eq!(framed(&[b'x'; 32], BareNewline::Reject), Frame::Rejected(LineFault::TooLong));
    }

    #[test]
    fn skips_a_rejected_line_to_its_end() {
        let input = b"x\nRSET\n\r\r\nNOOP\r\n";
        for split in 1..input.len() {
            let mut rx = RecvBuffer::new();
            let mut skipper = LineSkipper::new(LineFault::Forbidden);
            let mut left = Vec::new();
            let mut done = false;
            for piece in [&input[..split], &input[split..]] {
                rx.extend(piece);
                if !done {
                    done = skipper.advance(&mut rx) == Skipped::Whole;
                }
            }
            left.extend_from_slice(rx.bytes());
            assert!(done && left == b"NOOP\r\n", "{split}: {left:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_skipped() {
        let mut rx = RecvBuffer::new();
        let mut skipper = LineSkipper::new(LineFault::TooLong);
        let mut rounds = 0;
        loop {
            rx.extend(&[b'A'; 4096]);
            rounds += 1;
            match skipper.advance(&mut rx) {
                Skipped::Part => assert!(rx.is_empty() && rounds < 300),
                Skipped::Endless => break,
                Skipped::Whole => panic!("the line has no end"),
            }
        }
    }
}
