//! Framing of lines and replies: where one ends.
//!
//! This file knows CRLF, limits, and the shape of a multi-line reply. It does not know what a line says. A line ends
//! with CRLF and nothing else, unless [`BareNewline::Accept`] was asked for. What is refused is swallowed whole: its
//! rest is never read as another line. Work is linear in the octets received, for every chunking.

use proto_mail::trace::TraceKind;
use proto_mail::{Limit, Limits, Line, PeerError, RecvBuffer};

use crate::config::MixedCodes;
use crate::data::BareNewline;
use crate::parse::{LineHead, line_head};
use crate::types::{Code, Severity};

/// What was found at the beginning of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A line: `len` octets without its end, `whole` octets with it.
    Line {
        /// Without the line end.
        len: usize,
        /// With it.
        whole: usize,
    },
    /// No line end has come yet.
    Partial,
    /// A line that is refused has begun: it must be swallowed.
    Refused(Refusal),
}

/// Why a line is refused before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is longer than the limit.
    TooLong,
    /// It holds a bare CR, a bare LF or a NUL.
    Forbidden,
}

/// Looks for one line.
pub(crate) fn frame(rx: &mut RecvBuffer, limit: usize, bare: BareNewline) -> Frame {
    let whole = match rx.find_line(limit) {
        Line::Complete(whole) => whole,
        Line::Partial => return Frame::Partial,
        Line::TooLong => return Frame::Refused(Refusal::TooLong),
    };
    let line = rx.bytes().get(..whole - 1).unwrap_or_default();
    match (line.strip_suffix(b"\r"), bare) {
        (Some(line), BareNewline::Reject) if memchr::memchr2(b'\r', 0, line).is_some() => {
            Frame::Refused(Refusal::Forbidden)
        }
        (None, BareNewline::Reject) => Frame::Refused(Refusal::Forbidden),
        (line, _) => Frame::Line { len: line.map_or(whole - 1, <[u8]>::len), whole },
    }
}

/// Swallows the rest of a line that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swallow {
    pub(crate) why: Refusal,
    behind_cr: bool,
    left: usize,
}

/// How far swallowing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swallowed {
    /// The line has ended.
    All,
    /// It goes on.
    Part,
    /// It goes on and has been far too long.
    Endless,
}

/// How much of a line is swallowed before the peer is sent away.
const ENDLESS: usize = 1024 * 1024;

impl Swallow {
    pub(crate) const fn new(why: Refusal) -> Self {
        Self { why, behind_cr: false, left: ENDLESS }
    }

    /// Gives up what is there, up to the end of the line. It may have held a secret: it is wiped.
    pub(crate) fn advance(&mut self, rx: &mut RecvBuffer) -> Swallowed {
        let octets = rx.bytes();
        let (mut at, mut end) = (0, None);
        while let Some(found) = memchr::memchr(b'\n', octets.get(at..).unwrap_or_default()) {
            let lf = at + found;
            let behind_cr = match lf.checked_sub(1) {
                Some(before) => octets.get(before) == Some(&b'\r'),
                None => self.behind_cr,
            };
            at = lf + 1;
            if behind_cr {
                end = Some(at);
                break;
            }
        }
        let given_up = end.unwrap_or(octets.len());
        self.behind_cr = octets.last().map_or(self.behind_cr, |&last| last == b'\r');
        // The end of the line alone is sure.
        rx.trace_span(given_up - usize::from(end.is_some()), TraceKind::Unknown);
        rx.trace_span(given_up, TraceKind::Text);
        rx.consume_wiping(given_up);
        // The same place for every chunking, whether the end has come meanwhile or not.
        match (self.left.checked_sub(given_up), end) {
            (None, _) => Swallowed::Endless,
            (Some(left), None) => {
                self.left = left;
                Swallowed::Part
            }
            (Some(_), Some(_)) => Swallowed::All,
        }
    }
}

/// Looks for one reply, line by line, and remembers how far it has looked.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplyFramer {
    /// The octets of the lines that were looked at.
    seen: usize,
    lines: usize,
    first: Option<Code>,
    mixed: bool,
    /// How many replies were read that break the rules and could be read all the same.
    pub(crate) repairs: u32,
}

/// A complete reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyFrame {
    pub(crate) code: Code,
    pub(crate) len: usize,
}

/// Why what came is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyFault {
    Peer(PeerError),
    Limit(Limit),
}

impl ReplyFramer {
    /// Looks for one complete reply at the beginning of the buffer.
    pub(crate) fn find(
        &mut self,
        rx: &mut RecvBuffer,
        limits: &Limits,
        bare: BareNewline,
        mixed_codes: MixedCodes,
    ) -> Result<Option<ReplyFrame>, ReplyFault> {
        loop {
            // A line that leaves the frame is refused before it is complete: nobody waits for its end.
            let room = limits.frame.saturating_sub(self.seen);
            let whole = match rx.find_line_from(self.seen, limits.line.min(room)) {
                Line::Complete(whole) => whole,
                Line::Partial => return Ok(None),
                Line::TooLong if room < limits.line => return Err(ReplyFault::Limit(Limit::Frame)),
                Line::TooLong => return Err(ReplyFault::Limit(Limit::Line)),
            };
            let line = rx.bytes().get(self.seen..self.seen + whole).unwrap_or_default();
            if bare == BareNewline::Reject && !line.ends_with(b"\r\n") {
                return Err(ReplyFault::Peer(PeerError::ForbiddenByte));
            }
            let Some(head) = line_head(line) else {
                return Err(ReplyFault::Peer(PeerError::Malformed));
            };
            self.seen += whole;
            self.lines += 1;
            if self.lines > limits.reply_lines {
                return Err(ReplyFault::Limit(Limit::ReplyLines));
            }
            let (LineHead::Continued(code) | LineHead::Last(code)) = head;
            self.mixed |= *self.first.get_or_insert(code) != code;
            if let LineHead::Last(code) = head {
                return self.finish(code, mixed_codes).map(Some);
            }
        }
    }

    fn finish(&mut self, code: Code, mixed_codes: MixedCodes) -> Result<ReplyFrame, ReplyFault> {
        let refusal = matches!(code.severity(), Severity::Transient | Severity::Permanent);
        let mut repairs = self.repairs;
        if self.mixed {
            if mixed_codes == MixedCodes::Refuse || !refusal {
                return Err(ReplyFault::Peer(PeerError::MixedReplyCodes));
            }
            repairs = repairs.saturating_add(1);
        }
        let frame = ReplyFrame { code, len: self.seen };
        *self = Self { repairs, ..Self::default() };
        Ok(frame)
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
    fn a_line_that_leaves_the_frame_is_not_awaited() {
        let (mut limits, mut rx) = (Limits::default(), RecvBuffer::new());
        limits.frame = 20;
        let mut framer = ReplyFramer::default();
        let mut find = |octets: &[u8]| {
            rx.extend(octets);
            framer.find(&mut rx, &limits, BareNewline::Reject, MixedCodes::Refuse).map(|_| ())
        };
        assert!(find(b"250-first\r\n250 1234").is_ok());
        assert!(matches!(find(b"x"), Err(ReplyFault::Limit(Limit::Frame))));
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let line = |len, whole| Frame::Line { len, whole };
        assert_eq!(framed(b"NOOP\r\nX", BareNewline::Reject), line(4, 6));
        assert_eq!(framed(b"\r\n", BareNewline::Reject), line(0, 2));
        assert_eq!(framed(b"NOOP\r", BareNewline::Reject), Frame::Partial);
        for bad in [&b"NOOP\nNOOP\r\n"[..], b"\n", b"NO\rOP\r\n", b"NO\0OP\r\n", b"NOOP\r\r\n"] {
            assert_eq!(framed(bad, BareNewline::Reject), Frame::Refused(Refusal::Forbidden), "{bad:?}");
        }
        assert_eq!(framed(b"NOOP\nX", BareNewline::Accept), line(4, 5));
        assert_eq!(framed(&[b'x'; 32], BareNewline::Reject), Frame::Refused(Refusal::TooLong));
    }

    #[test]
    fn a_refused_line_is_swallowed_to_its_real_end() {
        let input = b"x\nRSET\n\r\r\nNOOP\r\n";
        for split in 1..input.len() {
            let mut rx = RecvBuffer::new();
            let mut swallow = Swallow::new(Refusal::Forbidden);
            let mut left = Vec::new();
            let mut done = false;
            for piece in [&input[..split], &input[split..]] {
                rx.extend(piece);
                if !done {
                    done = swallow.advance(&mut rx) == Swallowed::All;
                }
            }
            left.extend_from_slice(rx.bytes());
            assert!(done && left == b"NOOP\r\n", "{split}: {left:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut rx = RecvBuffer::new();
        let mut swallow = Swallow::new(Refusal::TooLong);
        let mut rounds = 0;
        loop {
            rx.extend(&[b'A'; 4096]);
            rounds += 1;
            match swallow.advance(&mut rx) {
                Swallowed::Part => assert!(rx.is_empty() && rounds < 300),
                Swallowed::Endless => break,
                Swallowed::All => panic!("it has no end"),
            }
        }
    }

    fn replies(input: &[u8], mixed: MixedCodes) -> Result<Vec<(u16, usize)>, ReplyFault> {
        let mut found = Vec::new();
        for size in [1, 3, input.len()] {
            let (mut rx, mut framer) = (RecvBuffer::new(), ReplyFramer::default());
            found.clear();
            for piece in input.chunks(size) {
                rx.extend(piece);
                while let Some(frame) =
                    framer.find(&mut rx, &Limits::default(), BareNewline::Reject, mixed)?
                {
                    found.push((frame.code.get(), frame.len));
                    rx.consume(frame.len);
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn replies_are_found_whatever_the_chunks() {
        let found = replies(b"220-a\r\n220 b\r\n250\r\n354 go\r\n", MixedCodes::Refuse).unwrap();
        assert_eq!(found, [(220, 14), (250, 5), (354, 8)]);
    }

    #[test]
    fn mixed_codes_never_read_as_success() {
        let blocked = b"220-mx.example\r\n521 5.7.1 blocked\r\n";
        assert_eq!(replies(blocked, MixedCodes::LastRefusal).unwrap(), [(521, blocked.len())]);
        for (input, mixed) in
            [(&blocked[..], MixedCodes::Refuse), (b"250-a\r\n550-b\r\n250 c\r\n", MixedCodes::LastRefusal)]
        {
            assert_eq!(replies(input, mixed), Err(ReplyFault::Peer(PeerError::MixedReplyCodes)));
        }
    }

    #[test]
    fn a_reply_has_a_limit() {
        let endless = b"250-x\r\n".repeat(100_000);
        assert_eq!(replies(&endless, MixedCodes::Refuse), Err(ReplyFault::Limit(Limit::ReplyLines)));
        assert_eq!(replies(b"220 x\n", MixedCodes::Refuse), Err(ReplyFault::Peer(PeerError::ForbiddenByte)));
    }
}
