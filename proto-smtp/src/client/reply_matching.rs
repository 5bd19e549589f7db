//! Matches replies to commands. A reply belongs to the oldest command whose reply is pending, and counts only if the
//! command was sent completely before the reply began.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use proto_mail::{CommandMark, ReceiveMark, RecvBuffer, SendBuffer};

use super::event::Step;

/// A command whose reply was not received yet.
#[derive(Debug, Clone, Copy)]
struct PendingReply {
    step: Step,
    /// The place of the command in the output, and of its reply in the input.
    mark: CommandMark,
}

/// The commands whose replies are pending. A reply belongs to the oldest one, and only if it was received after the last
/// byte of the command was sent.
#[derive(Debug, Default)]
pub(super) struct ReplyMatcher {
    queue: VecDeque<PendingReply>,
    received: ReceiveMark,
    /// The number of the current wait.
    pub(super) generation: u32,
}

impl ReplyMatcher {
    /// The greeting is pending; no command precedes it.
    pub(super) fn greeting() -> Self {
        let mut replies = Self::default();
        replies.push_front(Step::Greeting);
        replies
    }

    /// Looks at the input. What is received before a command is sent is not its reply, nor the beginning of it.
    pub(super) fn note_received(&mut self, rx: &RecvBuffer, tx: &SendBuffer) {
        if self.received.note_received(rx) {
            let unsent = self.queue.iter_mut().rev().take_while(|pending| !pending.mark.is_sent(tx));
            unsent.for_each(|pending| pending.mark.exclude_received(&self.received));
        }
    }

    /// Adds the command that was written last.
    pub(super) fn push(&mut self, step: Step, tx: &SendBuffer) {
        if self.queue.is_empty() {
            self.begin_wait();
        }
        self.queue.push_back(PendingReply { step, mark: CommandMark::new(&self.received, tx) });
    }

    /// The oldest command has another part, which was written last: its reply follows that.
    pub(super) fn extend_first(&mut self, tx: &SendBuffer) {
        if let Some(pending) = self.queue.front_mut() {
            pending.mark = CommandMark::new(&self.received, tx);
        }
    }

    /// Adds a reply that precedes the others and whose command was sent long ago.
    fn push_front(&mut self, step: Step) {
        self.queue.push_front(PendingReply { step, mark: CommandMark::BEFORE_SESSION });
    }

    /// Adds the replies of PRDR: one for each recipient, then the one for the message.
    pub(super) fn push_verdicts(&mut self, recipients: Vec<usize>) {
        self.push_front(Step::Message(None));
        recipients.into_iter().rev().map(Step::Verdict).for_each(|step| self.push_front(step));
    }

    /// Returns the command that the reply in the input belongs to. `None`: it belongs to none.
    pub(super) fn matching(&self, tx: &SendBuffer) -> Option<Step> {
        self.queue
            .front()
            .filter(|pending| pending.mark.accepts_reply(&self.received, tx))
            .map(|pending| pending.step)
    }

    /// The reply to the oldest command was received.
    pub(super) fn pop(&mut self) {
        self.queue.pop_front();
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the command whose reply is next.
    pub(super) fn first(&self) -> Option<Step> {
        self.queue.front().map(|pending| pending.step)
    }

    /// Returns the command that was given last.
    pub(super) fn last(&self) -> Option<Step> {
        self.queue.back().map(|pending| pending.step)
    }

    /// Whether the last byte of the oldest command was sent.
    pub(super) fn is_first_sent(&self, tx: &SendBuffer) -> bool {
        self.queue.front().is_some_and(|pending| pending.mark.is_sent(tx))
    }

    /// Whether a complete message was sent whose reply is pending.
    pub(super) fn has_sent_message(&self, tx: &SendBuffer) -> bool {
        self.queue.iter().any(|pending| matches!(pending.step, Step::Message(_)) && pending.mark.is_sent(tx))
    }

    pub(super) const fn begin_wait(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}
