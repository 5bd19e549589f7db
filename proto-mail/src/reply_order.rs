//! When something was said, by both buffers: what the peer says can answer it only if it came behind.
//!
//! This file counts octets. What an answer is, the machines know.

use crate::{RecvBuffer, SendBuffer};

/// What had come from the peer when a machine looked last, and where what it reads now begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceiveMark {
    heard: u64,
    head: u64,
}

/// The moment at which something was said that awaits an answer.
#[derive(Debug, Clone, Copy)]
pub struct CommandMark {
    queued_at: u64,
    heard_at: u64,
}

impl ReceiveMark {
    /// Before anything came.
    pub const INITIAL: Self = Self { heard: 0, head: 0 };

    /// For a machine, whenever it looks at what begins `rx`. Whether more has come since it looked last.
    pub const fn note_received(&mut self, rx: &RecvBuffer) -> bool {
        let more = self.heard != rx.received_total();
        self.heard = rx.received_total();
        self.head = rx.received_total().saturating_sub(rx.len() as u64);
        more
    }
}

impl CommandMark {
    /// Before the session began: everything can be the answer.
    pub const BEFORE_SESSION: Self = Self { queued_at: 0, heard_at: 0 };
    /// Before it was said: nothing answers.
    pub const NOT_SENT: Self = Self { queued_at: u64::MAX, heard_at: u64::MAX };

    /// What stands last in `tx` was said now.
    #[must_use]
    pub const fn new(hearing: &ReceiveMark, tx: &SendBuffer) -> Self {
        Self { queued_at: tx.queued_total(), heard_at: hearing.heard }
    }

    /// Whether all of it has left.
    #[must_use]
    pub const fn is_sent(&self, tx: &SendBuffer) -> bool {
        self.queued_at <= tx.sent_total()
    }

    /// For a machine that has heard more while this has not left: nothing of that is an answer, not even its beginning.
    pub const fn exclude_received(&mut self, hearing: &ReceiveMark) {
        if self.heard_at < hearing.heard {
            self.heard_at = hearing.heard;
        }
    }

    /// Whether what is read now can be an answer: all had left, and none of the answer had come before.
    ///
    /// The second matters where a driver writes between two events: a stream of answers that was prepared in one piece
    /// would otherwise be taken for the answers to what was said in between.
    #[must_use]
    pub const fn accepts_reply(&self, hearing: &ReceiveMark, tx: &SendBuffer) -> bool {
        self.is_sent(tx) && self.heard_at <= hearing.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_behind_what_it_answers() {
        let (mut rx, mut tx, mut hearing) = (RecvBuffer::new(), SendBuffer::new(), ReceiveMark::default());
        rx.extend(b"220 hello\r\n250 early\r\n");
        hearing.note_received(&rx);
        tx.put(b"NOOP\r\n");
        let said = CommandMark::new(&hearing, &tx);
        rx.consume(11);
        hearing.note_received(&rx);
        assert!(!said.is_sent(&tx) && !said.accepts_reply(&hearing, &tx), "it has not left");
        tx.sent(6);
        assert!(said.is_sent(&tx) && !said.accepts_reply(&hearing, &tx), "what lay there is no answer");
        rx.consume(5);
        rx.extend(b"250 ok\r\n");
        hearing.note_received(&rx);
        assert!(!said.accepts_reply(&hearing, &tx), "what began before is none");
        rx.consume(5);
        hearing.note_received(&rx);
        assert!(!said.accepts_reply(&hearing, &tx), "the last octet of it stands there");
        rx.consume(1);
        hearing.note_received(&rx);
        assert!(said.accepts_reply(&hearing, &tx));
        rx.consume(rx.len());
        hearing.note_received(&rx);
        tx.put(b"NOOP\r\n");
        let mut said = CommandMark::new(&hearing, &tx);
        rx.extend(b"2");
        assert!(hearing.note_received(&rx) && !hearing.note_received(&rx), "more has come, once");
        said.exclude_received(&hearing);
        tx.sent(6);
        rx.extend(b"50 ok\r\n");
        hearing.note_received(&rx);
        assert!(!said.accepts_reply(&hearing, &tx), "it began before the command had left");
        rx.consume(rx.len());
        rx.extend(b"250 ok\r\n");
        hearing.note_received(&rx);
        assert!(said.accepts_reply(&hearing, &tx), "this one began behind it");
        assert!(
            !CommandMark::NOT_SENT.accepts_reply(&hearing, &tx)
                && CommandMark::BEFORE_SESSION.accepts_reply(&hearing, &tx)
        );
    }
}
