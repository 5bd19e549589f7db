//! The commands that a client sends: their tags, their order, and the command that later ones wait for.
//!
//! [`reply_matching`](super::reply_matching) matches replies to commands.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use proto_mail::{PeerError, RecvBuffer, SendBuffer};

use super::authentication::Authentication;
use super::command_id::CommandId;
use super::outgoing::{
    ActiveCommand, CommandKind, Outgoing, OutgoingCommand, Payload, PayloadProgress, PayloadVerdict, Sent,
};
use super::reply_matching::ReplyMatcher;
use crate::frame::Sync;
use crate::state::{Outcome, State};

/// The commands of one session.
#[derive(Debug)]
pub(super) struct CommandQueue {
    last_id: u32,
    pub(super) replies: ReplyMatcher,
    waiting: VecDeque<Outgoing>,
    pub(super) active: ActiveCommand,
}

impl CommandQueue {
    pub(super) const fn new() -> Self {
        Self {
            last_id: 0,
            replies: ReplyMatcher::new(),
            waiting: VecDeque::new(),
            active: ActiveCommand::None,
        }
    }

    /// Records where the next response starts.
    pub(super) fn note_received(&mut self, rx: &RecvBuffer, tx: &SendBuffer) {
        self.replies.note_received(rx, tx);
    }

    /// Returns the id of the next command.
    pub(super) const fn next_id(&mut self) -> CommandId {
        self.last_id = self.last_id.wrapping_add(1);
        if self.last_id == 0 {
            self.last_id = 1;
        }
        CommandId(self.last_id)
    }

    /// Sends a command, or queues it until the commands before it are sent.
    pub(super) fn submit(&mut self, outgoing: Outgoing, tx: &mut SendBuffer) {
        self.replies.expect(outgoing.id, outgoing.command.kind());
        if self.active.is_none() && self.waiting.is_empty() {
            self.write(outgoing, tx);
        } else {
            self.waiting.push_back(outgoing);
        }
    }

    fn write(&mut self, mut outgoing: Outgoing, tx: &mut SendBuffer) {
        let id = outgoing.id;
        if outgoing.line.write_announcement(tx) {
            self.replies.literal_announced(id, tx);
        }
        let sent = outgoing.line.write(tx);
        self.replies.part_queued(tx);
        match sent {
            Sent::Completely => {}
            Sent::UpToAPause => {
                self.active = ActiveCommand::Literal(outgoing);
                return;
            }
            Sent::UpToPayload(Payload { size, sync: Sync::Synchronising, .. }) => {
                self.active = ActiveCommand::AppendOffered(outgoing, size);
                return;
            }
            Sent::UpToPayload(Payload { size, sync: Sync::NonSynchronising, .. }) => {
                self.active = ActiveCommand::AppendPayload(PayloadProgress::new(outgoing, size));
                return;
            }
        }
        self.active = match outgoing.command {
            OutgoingCommand::Authenticate(authentication) => ActiveCommand::Authenticate(id, authentication),
            OutgoingCommand::Idle => ActiveCommand::IdleRequested(id),
            OutgoingCommand::StartTls => ActiveCommand::StartTls(id),
            OutgoingCommand::Compress => ActiveCommand::Compress(id),
            OutgoingCommand::Application(_)
            | OutgoingCommand::Capability
            | OutgoingCommand::Login
            | OutgoingCommand::Append => ActiveCommand::None,
        };
        // AUTHENTICATE and IDLE are complete after each line, so the mark moves with each line.
        self.replies.all_queued(id, tx);
    }

    /// Records that a later line of a command was queued: a SASL response, or DONE.
    pub(super) fn line_queued(&mut self, id: CommandId, tx: &SendBuffer) {
        self.replies.part_queued(tx);
        self.replies.all_queued(id, tx);
    }

    /// Sends queued commands, up to the next one that becomes active.
    fn flush(&mut self, tx: &mut SendBuffer) {
        while self.active.is_none() {
            let Some(next) = self.waiting.pop_front() else { break };
            self.write(next, tx);
        }
    }

    /// Ends the active command and sends the commands that waited for it. Returns the command that was active.
    pub(super) fn release(&mut self, tx: &mut SendBuffer) -> ActiveCommand {
        let ended = core::mem::replace(&mut self.active, ActiveCommand::None);
        self.flush(tx);
        ended
    }

    /// Ends a completed command. If it was the active one, the next one may be sent. Returns its SASL exchange.
    pub(super) fn end(&mut self, id: CommandId, tx: &mut SendBuffer) -> Option<Box<Authentication>> {
        if let ActiveCommand::AppendPayload(progress) = &mut self.active
            && progress.outgoing.id == id
        {
            progress.verdict = PayloadVerdict::Rejected;
        }
        if self.active.ends_with() != Some(id) {
            return None;
        }
        match self.release(tx) {
            ActiveCommand::Authenticate(_, authentication) => Some(authentication),
            _ => None,
        }
    }

    /// Continues the active command: the server has asked for its next literal, or its message was sent.
    ///
    /// After a rejection only a line end follows the message. The server discards both (RFC 7888 §3).
    pub(super) fn continue_command(&mut self, tx: &mut SendBuffer) {
        match core::mem::replace(&mut self.active, ActiveCommand::None) {
            ActiveCommand::Literal(outgoing) => self.write(outgoing, tx),
            ActiveCommand::AppendOffered(outgoing, size) => {
                self.active = ActiveCommand::AppendPayload(PayloadProgress::new(outgoing, size));
            }
            ActiveCommand::AppendPayload(progress) if progress.verdict == PayloadVerdict::Rejected => {
                tx.put(b"\r\n");
            }
            ActiveCommand::AppendPayload(progress) => self.write(progress.outgoing, tx),
            other => self.active = other,
        }
        self.flush(tx);
    }

    /// Matches a completion to its command.
    pub(super) fn complete(
        &mut self,
        tag: &[u8],
        outcome: Outcome,
        tx: &SendBuffer,
    ) -> Result<(CommandId, CommandKind), PeerError> {
        self.replies.complete(tag, outcome, tx)
    }

    /// Returns the SASL exchange in progress.
    pub(super) fn authentication(&self) -> Option<&Authentication> {
        match &self.active {
            ActiveCommand::Authenticate(_, authentication) => Some(authentication),
            _ => None,
        }
    }

    /// Returns the state that the session will have if every command in progress succeeds.
    pub(super) fn expected_state(&self, state: State) -> State {
        self.replies.expected_state(state)
    }

    /// Returns whether no command is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}
