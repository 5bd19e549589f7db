//! Framing of replies: where a reply of one or more lines ends. The cost is linear in the bytes received, however they
//! are split.

use proto_mail::{Limit, Limits, Line, PeerError, RecvBuffer};

use crate::config::MixedCodes;
use crate::data::BareNewline;
use crate::reply_code::{Code, Severity};
use crate::response::{LineHead, line_head};

/// Looks for the end of a reply line by line, and remembers how far it has looked.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplyFramer {
    /// The bytes of the lines that were examined.
    examined: usize,
    lines: usize,
    first: Option<Code>,
    mixed: bool,
    /// The replies that broke a rule and were accepted.
    pub(crate) repairs: Repairs,
}

/// The replies of a session that broke a rule of the RFC and were accepted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    mixed_codes: u32,
}

/// What was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repair {
    /// The lines of a reply had different codes (RFC 5321 §4.2.1); the last one was a rejection and was used.
    MixedReplyCodes,
}

impl Repairs {
    const fn note_mixed_codes(&mut self) {
        self.mixed_codes = self.mixed_codes.saturating_add(1);
    }

    /// Returns how many replies were repaired.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.mixed_codes
    }

    /// Iterates over the kinds of repair that were made, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Repair, u32)> {
        [(Repair::MixedReplyCodes, self.mixed_codes)].into_iter().filter(|(_, count)| *count > 0)
    }
}

/// A complete reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyFrame {
    pub(crate) code: Code,
    pub(crate) len: usize,
}

/// Why the received bytes are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyFault {
    Peer(PeerError),
    Limit(Limit),
}

impl ReplyFramer {
    /// Looks for one complete reply at the beginning of the buffer. `None`: more input is needed.
    pub(crate) fn find(
        &mut self,
        rx: &mut RecvBuffer,
        limits: &Limits,
        bare: BareNewline,
        mixed_codes: MixedCodes,
    ) -> Result<Option<ReplyFrame>, ReplyFault> {
        loop {
            // A line that exceeds the limit of the reply is rejected before its end is received.
            let room = limits.frame.saturating_sub(self.examined);
            let whole = match rx.find_line_from(self.examined, limits.line.min(room)) {
                Line::Complete(whole) => whole,
                Line::Partial => return Ok(None),
                Line::TooLong if room < limits.line => return Err(ReplyFault::Limit(Limit::Frame)),
                Line::TooLong => return Err(ReplyFault::Limit(Limit::Line)),
            };
            let line = rx.bytes().get(self.examined..self.examined + whole).unwrap_or_default();
            if bare == BareNewline::Reject && !line.ends_with(b"\r\n") {
                return Err(ReplyFault::Peer(PeerError::ForbiddenByte));
            }
            let Some(head) = line_head(line) else {
                return Err(ReplyFault::Peer(PeerError::Malformed));
            };
            self.examined += whole;
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
            repairs.note_mixed_codes();
        }
        let frame = ReplyFrame { code, len: self.examined };
        *self = Self { repairs, ..Self::default() };
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn rejects_a_reply_over_the_limit_before_its_end() {
        let (mut limits, mut rx) = (Limits::default(), RecvBuffer::new());
        limits.frame = 20;
        let mut framer = ReplyFramer::default();
        let mut find = |bytes: &[u8]| {
            rx.extend(bytes);
            framer.find(&mut rx, &limits, BareNewline::Reject, MixedCodes::Refuse).map(|_| ())
        };
        assert!(find(b"250-first\r\n250 1234").is_ok());
        assert!(matches!(find(b"x"), Err(ReplyFault::Limit(Limit::Frame))));
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
    fn finds_replies_however_they_are_split() {
        let found = replies(b"220-a\r\n220 b\r\n250\r\n354 go\r\n", MixedCodes::Refuse).unwrap();
        assert_eq!(found, [(220, 14), (250, 5), (354, 8)]);
    }

    #[test]
    fn never_takes_mixed_codes_for_success() {
        let blocked = b"220-mx.example\r\n521 5.7.1 blocked\r\n";
        assert_eq!(replies(blocked, MixedCodes::LastRefusal).unwrap(), [(521, blocked.len())]);
        for (input, mixed) in
            [(&blocked[..], MixedCodes::Refuse), (b"250-a\r\n550-b\r\n250 c\r\n", MixedCodes::LastRefusal)]
        {
            assert_eq!(replies(input, mixed), Err(ReplyFault::Peer(PeerError::MixedReplyCodes)));
        }
    }

    #[test]
    fn limits_the_lines_of_a_reply() {
        let endless = b"250-x\r\n".repeat(100_000);
        assert_eq!(replies(&endless, MixedCodes::Refuse), Err(ReplyFault::Limit(Limit::ReplyLines)));
        assert_eq!(replies(b"220 x\n", MixedCodes::Refuse), Err(ReplyFault::Peer(PeerError::ForbiddenByte)));
    }
}
