//! Matches replies to commands. A reply counts only if its command was sent completely before the reply began.
//!
//! There is one exception: a server may reject (NO, BAD) a command as soon as it has received the announcement of the
//! command's first literal (RFC 9051 §4.3, RFC 7888 §4). Such a reply never reports success.
//!
//! The session ends on a completion with an unknown tag, any other completion of a command that is still in the send
//! buffer, or an unexpected continuation request. On such a connection no reply can be trusted.

use alloc::collections::VecDeque;

use proto_mail::{CommandMark, PeerError, ReceiveMark, RecvBuffer, SendBuffer};

use super::command_id::CommandId;
use super::outgoing::CommandKind;
use crate::state::{Effect, Outcome, State};

/// A command that awaits its completion.
#[derive(Debug)]
struct InProgress {
    id: CommandId,
    kind: CommandKind,
    /// When all of the command was queued.
    mark: CommandMark,
    /// When the announcement of its first literal was queued. The server may reject the command from then on.
    announced: CommandMark,
}

/// The commands that await completion, oldest first, with the marks that decide which reply can answer them.
#[derive(Debug)]
pub(super) struct ReplyMatcher {
    in_progress: VecDeque<InProgress>,
    /// How many of them change the state if they succeed.
    state_changes: usize,
    /// When the last bytes were queued that the server may ask to continue.
    last_part: CommandMark,
    received: ReceiveMark,
}

impl ReplyMatcher {
    pub(super) const fn new() -> Self {
        Self {
            in_progress: VecDeque::new(),
            state_changes: 0,
            last_part: CommandMark::BEFORE_SESSION,
            received: ReceiveMark::INITIAL,
        }
    }

    /// Records where the next response begins. Data that arrive while a command is still in the send buffer cannot
    /// answer it, and neither can the beginning of an answer.
    pub(super) fn note_received(&mut self, rx: &RecvBuffer, tx: &SendBuffer) {
        if self.received.note_received(rx) {
            self.exclude_received(tx);
        }
    }

    fn exclude_received(&mut self, tx: &SendBuffer) {
        if !self.last_part.is_sent(tx) {
            self.last_part.exclude_received(&self.received);
        }
        let unsent = self.in_progress.iter_mut().rev().take_while(|command| !command.mark.is_sent(tx));
        for command in unsent {
            command.mark.exclude_received(&self.received);
            if !command.announced.is_sent(tx) {
                command.announced.exclude_received(&self.received);
            }
        }
    }

    /// Expects the completion of a command that has not been queued yet.
    pub(super) fn expect(&mut self, id: CommandId, kind: CommandKind) {
        self.state_changes += usize::from(kind.effect() != Effect::None);
        let (mark, announced) = (CommandMark::NOT_SENT, CommandMark::NOT_SENT);
        self.in_progress.push_back(InProgress { id, kind, mark, announced });
    }

    /// Records that a command's first line was queued, which announces a literal.
    pub(super) fn literal_announced(&mut self, id: CommandId, tx: &SendBuffer) {
        let mark = CommandMark::new(&self.received, tx);
        if let Some(command) = self.in_progress.iter_mut().rev().find(|command| command.id == id) {
            command.announced = mark;
        }
    }

    /// Records that a part of a command was queued; the server may ask for the next part.
    pub(super) const fn part_queued(&mut self, tx: &SendBuffer) {
        self.last_part = CommandMark::new(&self.received, tx);
    }

    /// Records that all bytes of a command that can be sent now were queued.
    pub(super) fn all_queued(&mut self, id: CommandId, tx: &SendBuffer) {
        let mark = CommandMark::new(&self.received, tx);
        if let Some(command) = self.in_progress.iter_mut().rev().find(|command| command.id == id) {
            command.mark = mark;
        }
    }

    /// Checks a continuation request: the server must have received the part that it asks to continue.
    pub(super) fn check_continuation(&self, tx: &SendBuffer) -> Result<(), PeerError> {
        if self.last_part.accepts_reply(&self.received, tx) {
            Ok(())
        } else {
            Err(PeerError::UnexpectedContinuation)
        }
    }

    /// Returns the command that this completion belongs to, and removes it.
    ///
    /// A command that was not sent completely cannot be completed, with one exception: the server may reject (NO,
    /// BAD) a command with literals once the announcement of the first one was sent.
    pub(super) fn complete(
        &mut self,
        tag: &[u8],
        outcome: Outcome,
        tx: &SendBuffer,
    ) -> Result<(CommandId, CommandKind), PeerError> {
        let id = CommandId::from_tag(tag).ok_or(PeerError::UnknownTag)?;
        let place = self.in_progress.iter().position(|command| command.id == id);
        let place = place.ok_or(PeerError::UnknownTag)?;
        let Some(command) = self.in_progress.get(place) else { return Err(PeerError::UnknownTag) };
        if !command.mark.accepts_reply(&self.received, tx) && !self.may_reject(command, outcome, tx) {
            return Err(PeerError::UnexpectedReply);
        }
        let kind = command.kind;
        self.in_progress.remove(place);
        let changes = usize::from(kind.effect() != Effect::None);
        self.state_changes = self.state_changes.saturating_sub(changes);
        Ok((id, kind))
    }

    /// Returns whether this completion rejects a command that was sent in part.
    #[cold]
    fn may_reject(&self, command: &InProgress, outcome: Outcome, tx: &SendBuffer) -> bool {
        outcome != Outcome::Success && command.announced.accepts_reply(&self.received, tx)
    }

    /// Returns the kind of the command with this tag, if it awaits its completion.
    pub(super) fn kind_of(&self, tag: &[u8]) -> Option<CommandKind> {
        let id = CommandId::from_tag(tag)?;
        self.in_progress.iter().find(|command| command.id == id).map(|command| command.kind)
    }

    /// Returns whether LOGOUT was sent and the response that is being read can answer it. Then a BYE is expected.
    pub(super) fn expects_bye(&self, tx: &SendBuffer) -> bool {
        let logout = CommandKind::Application(Effect::Logout);
        let answered = |command: &InProgress| command.mark.accepts_reply(&self.received, tx);
        self.in_progress.iter().any(|command| command.kind == logout && answered(command))
    }

    /// Returns the state that the session will have if every command in progress succeeds. Most commands do not change
    /// it: many of them in a row cost no more than one.
    pub(super) fn expected_state(&self, state: State) -> State {
        if self.state_changes == 0 {
            return state;
        }
        self.effects().fold(state, |state, effect| state.after(effect, Outcome::Success))
    }

    /// Returns the effects of the commands in progress, oldest first.
    pub(super) fn effects(&self) -> impl Iterator<Item = Effect> {
        self.in_progress.iter().map(|command| command.kind.effect())
    }

    /// Returns whether no command awaits its completion.
    pub(super) fn is_empty(&self) -> bool {
        self.in_progress.is_empty()
    }
}
