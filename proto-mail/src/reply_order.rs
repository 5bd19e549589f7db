//! Reply order: whether a reply can belong to a command, by the positions of both in the two byte streams.
//!
//! A client that takes a reply which was sent before its command believes whatever an attacker prepared. A
//! [`CommandMark`] records how many bytes had been queued and received when a command was queued. A reply belongs to the
//! command only if it began to arrive after the command had been sent.

use crate::{RecvBuffer, SendBuffer};

/// How much a machine has received so far, and where the reply that it reads now begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceiveMark {
    /// How many bytes had been received at the last look.
    received: u64,
    /// The position of the first byte that is not consumed.
    head: u64,
}

/// When a command was queued, by the positions in both byte streams.
#[derive(Debug, Clone, Copy)]
pub struct CommandMark {
    /// The position after the command's last byte in the output.
    queued_at: u64,
    /// How many bytes of input cannot belong to its reply.
    received_at: u64,
}

impl ReceiveMark {
    /// The mark before anything is received.
    pub const INITIAL: Self = Self { received: 0, head: 0 };

    /// Records what `rx` holds now. Returns true if more has been received since the last call. A machine calls this
    /// whenever it looks at the start of `rx`.
    pub const fn note_received(&mut self, rx: &RecvBuffer) -> bool {
        let more = self.received != rx.received_total();
        self.received = rx.received_total();
        self.head = rx.received_total().saturating_sub(rx.len() as u64);
        more
    }
}

impl CommandMark {
    /// The mark of something that precedes the session: any reply can belong to it (the greeting).
    pub const BEFORE_SESSION: Self = Self { queued_at: 0, received_at: 0 };
    /// The mark of a command that is not queued yet: no reply can belong to it.
    pub const NOT_SENT: Self = Self { queued_at: u64::MAX, received_at: u64::MAX };

    /// Marks the command that was queued last in `tx`.
    #[must_use]
    pub const fn new(received: &ReceiveMark, tx: &SendBuffer) -> Self {
        Self { queued_at: tx.queued_total(), received_at: received.received }
    }

    /// Returns true if the whole command has been sent.
    #[must_use]
    pub const fn is_sent(&self, tx: &SendBuffer) -> bool {
        self.queued_at <= tx.sent_total()
    }

    /// Excludes what has been received so far from the reply. A machine calls this when it has received something while
    /// the command was not sent: not even the start of the reply can be in there.
    pub const fn exclude_received(&mut self, received: &ReceiveMark) {
        if self.received_at < received.received {
            self.received_at = received.received;
        }
    }

    /// Returns true if the reply that is read now can belong to the command: the command was sent, and the reply began
    /// to arrive afterwards.
    ///
    /// Checking only the first would be wrong where a driver writes between two events: replies that were prepared in
    /// one piece would be taken for replies to the commands that are sent in between.
    #[must_use]
    pub const fn accepts_reply(&self, received: &ReceiveMark, tx: &SendBuffer) -> bool {
        self.is_sent(tx) && self.received_at <= received.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_that_began_after_its_command_was_sent_is_accepted() {
        let (mut rx, mut tx, mut received) = (RecvBuffer::new(), SendBuffer::new(), ReceiveMark::default());
        rx.extend(b"220 hello\r\n250 early\r\n");
        received.note_received(&rx);
        tx.put(b"NOOP\r\n");
        let mark = CommandMark::new(&received, &tx);
        rx.consume(11);
        received.note_received(&rx);
        assert!(!mark.is_sent(&tx) && !mark.accepts_reply(&received, &tx), "the command was not sent");
        tx.sent(6);
        assert!(mark.is_sent(&tx) && !mark.accepts_reply(&received, &tx), "the reply was there before");
        rx.consume(5);
        rx.extend(b"250 ok\r\n");
        received.note_received(&rx);
        assert!(!mark.accepts_reply(&received, &tx), "the reply began before");
        rx.consume(5);
        received.note_received(&rx);
        assert!(!mark.accepts_reply(&received, &tx), "one byte of it is left");
        rx.consume(1);
        received.note_received(&rx);
        assert!(mark.accepts_reply(&received, &tx));
        rx.consume(rx.len());
        received.note_received(&rx);
        tx.put(b"NOOP\r\n");
        let mut mark = CommandMark::new(&received, &tx);
        rx.extend(b"2");
        assert!(received.note_received(&rx) && !received.note_received(&rx), "more was received, once");
        mark.exclude_received(&received);
        tx.sent(6);
        rx.extend(b"50 ok\r\n");
        received.note_received(&rx);
        assert!(!mark.accepts_reply(&received, &tx), "the reply began before the command was sent");
        rx.consume(rx.len());
        rx.extend(b"250 ok\r\n");
        received.note_received(&rx);
        assert!(mark.accepts_reply(&received, &tx), "this reply began afterwards");
        assert!(!CommandMark::NOT_SENT.accepts_reply(&received, &tx));
        assert!(CommandMark::BEFORE_SESSION.accepts_reply(&received, &tx));
    }
}
