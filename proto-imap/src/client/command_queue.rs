//! The commands that a client sends: their tags, their order, and the command that later ones wait for.
//!
//! A command is encoded before it is queued, as bytes with pauses. At a pause the client waits for a continuation
//! request before it sends the rest. [`reply_matching`](super::reply_matching) matches replies to commands.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::{PeerError, RecvBuffer, SendBuffer};
use zeroize::Zeroize;

use super::auth::Authentication;
use super::reply_matching::ReplyMatcher;
use crate::frame::Sync;
use crate::state::{Effect, Outcome, State};

/// Identifies a command of a session, to match its completion. Ids increase by one with each command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u32);

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({self})")
    }
}

/// The command's tag.
impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{}", self.0)
    }
}

impl CommandId {
    /// Returns the id that belongs to this tag; `None` if no id does.
    pub(super) fn from_tag(tag: &[u8]) -> Option<Self> {
        let digits = tag.strip_prefix(b"M")?;
        if digits.first() == Some(&b'0') || digits.is_empty() || digits.len() > 10 {
            return None;
        }
        let number = digits.iter().try_fold(0u32, |sum, digit| {
            let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })?;
        Some(Self(number))
    }
}

/// A command's kind, which decides how its completion is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandKind {
    /// A command of the application, which can only change the session's state.
    Application(Effect),
    /// CAPABILITY, sent by the machine.
    Capability,
    /// STARTTLS.
    StartTls,
    /// LOGIN.
    Login,
    /// AUTHENTICATE.
    Authenticate,
    /// APPEND.
    Append,
    /// IDLE.
    Idle,
}

impl CommandKind {
    pub(super) const fn effect(self) -> Effect {
        match self {
            Self::Application(effect) => effect,
            Self::Login | Self::Authenticate => Effect::Authenticate,
            Self::Capability | Self::StartTls | Self::Append | Self::Idle => Effect::None,
        }
    }
}

/// A command, with the data that the client needs while the command is active.
#[derive(Debug)]
pub(super) enum OutgoingCommand {
    Application(Effect),
    Capability,
    StartTls,
    Login,
    Authenticate(Box<Authentication>),
    Append(Payload),
    Idle,
}

impl OutgoingCommand {
    const fn kind(&self) -> CommandKind {
        match self {
            Self::Application(effect) => CommandKind::Application(*effect),
            Self::Capability => CommandKind::Capability,
            Self::StartTls => CommandKind::StartTls,
            Self::Login => CommandKind::Login,
            Self::Authenticate(_) => CommandKind::Authenticate,
            Self::Append(_) => CommandKind::Append,
            Self::Idle => CommandKind::Idle,
        }
    }
}

/// The message that follows an APPEND command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    /// The number of bytes announced.
    pub(super) size: u64,
    /// Whether the client waits for a continuation request before it sends them.
    pub(super) sync: Sync,
}

/// A command that has not been sent completely.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: CommandId,
    pub(super) command: OutgoingCommand,
    pub(super) line: OutgoingLine,
}

/// The bytes of a command that have not been sent.
pub(super) struct OutgoingLine {
    bytes: Vec<u8>,
    /// Offsets in `bytes`, ascending. The bytes after an offset wait for a continuation request.
    pauses: Vec<usize>,
    privacy: Privacy,
}

/// Whether bytes may be shown in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privacy {
    Public,
    /// The bytes after the first `after` are secret.
    Secret {
        after: usize,
    },
}

enum Sent {
    Completely,
    UpToAPause,
}

impl OutgoingLine {
    /// Creates a line without secrets.
    pub(super) const fn public(bytes: Vec<u8>, pauses: Vec<usize>) -> Self {
        Self { bytes, pauses, privacy: Privacy::Public }
    }

    /// Creates a line without literals and secrets.
    pub(super) const fn simple(bytes: Vec<u8>) -> Self {
        Self::public(bytes, Vec::new())
    }

    /// Creates a line whose bytes from `after` on are secret.
    pub(super) const fn secret(bytes: Vec<u8>, pauses: Vec<usize>, after: usize) -> Self {
        Self { bytes, pauses, privacy: Privacy::Secret { after } }
    }

    /// Writes the bytes up to the next pause.
    fn write(&mut self, tx: &mut SendBuffer) -> Sent {
        let end = if self.pauses.is_empty() { self.bytes.len() } else { self.pauses.remove(0) };
        let end = end.min(self.bytes.len());
        let mut part = self.bytes.split_off(end);
        core::mem::swap(&mut part, &mut self.bytes);
        self.pauses.iter_mut().for_each(|pause| *pause = pause.saturating_sub(end));
        match self.privacy {
            Privacy::Public => tx.put(&part),
            Privacy::Secret { after } => {
                let end = part.len() - if part.ends_with(b"\r\n") { 2 } else { 0 };
                let after = after.min(end);
                tx.put(part.get(..after).unwrap_or_default());
                tx.put_secret(part.get(after..end).unwrap_or_default());
                tx.put(part.get(end..).unwrap_or_default());
                self.privacy = Privacy::Secret { after: 0 };
            }
        }
        part.zeroize();
        if self.bytes.is_empty() { Sent::Completely } else { Sent::UpToAPause }
    }
}

/// Shows neither the bytes nor their number, because they may be a password.
impl fmt::Debug for OutgoingLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes: _, pauses, privacy } = self;
        f.debug_struct("OutgoingLine").field("pauses", &pauses.len()).field("privacy", privacy).finish()
    }
}

impl Drop for OutgoingLine {
    fn drop(&mut self) {
        if self.privacy != Privacy::Public {
            self.bytes.zeroize();
        }
    }
}

/// The command that was sent only in part, or that is still exchanging data. Later commands wait until it is done.
#[derive(Debug)]
pub(super) enum ActiveCommand {
    /// No command is active: commands are sent at once.
    None,
    /// The client waits for a continuation request before it sends the command's next literal.
    Literal(Outgoing),
    /// The client waits for a continuation request before it sends an APPEND's message of `size` bytes.
    AppendOffered { id: CommandId, size: u64 },
    /// An APPEND's message is being sent.
    AppendPayload { id: CommandId, left: u64, announced: Notified },
    /// AUTHENTICATE: the client sends a line for each line of the server.
    Authenticate(CommandId, Box<Authentication>),
    /// IDLE was sent; the server has not answered.
    IdleRequested(CommandId),
    /// IDLE was sent and the server has not answered, but the application already wants to end it.
    IdleCancelled(CommandId),
    /// The server reports changes as they happen, until the client sends DONE.
    Idle(CommandId),
    /// STARTTLS was sent: nothing else is sent in cleartext.
    StartTls(CommandId),
}

/// Whether the machine has reported that the application may write an APPEND's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notified {
    No,
    Yes,
}

impl ActiveCommand {
    /// Returns whether the next command can be sent.
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns whether the machine must still report that the application may write an APPEND's message.
    pub(super) const fn is_unannounced(&self) -> bool {
        matches!(self, Self::AppendPayload { announced: Notified::No, .. })
    }

    /// Returns the command that was sent only in part; the server may reject it nevertheless.
    pub(super) fn sent_in_part(&self) -> Option<CommandId> {
        match self {
            Self::Literal(outgoing) => Some(outgoing.id),
            Self::AppendOffered { id, .. } | Self::AppendPayload { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Returns the command whose completion lets the next one be sent. An APPEND's message is sent completely first,
    /// even if the server has rejected it.
    fn ends_with(&self) -> Option<CommandId> {
        match self {
            Self::Literal(outgoing) => Some(outgoing.id),
            Self::AppendOffered { id, .. }
            | Self::Authenticate(id, _)
            | Self::IdleRequested(id)
            | Self::IdleCancelled(id)
            | Self::Idle(id)
            | Self::StartTls(id) => Some(*id),
            Self::AppendPayload { .. } | Self::None => None,
        }
    }
}

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
        let sent = outgoing.line.write(tx);
        let id = outgoing.id;
        self.replies.part_queued(tx);
        if matches!(sent, Sent::UpToAPause) {
            self.active = ActiveCommand::Literal(outgoing);
            return;
        }
        self.active = match outgoing.command {
            OutgoingCommand::Append(Payload { size, sync: Sync::Synchronising }) => {
                self.active = ActiveCommand::AppendOffered { id, size };
                return;
            }
            OutgoingCommand::Append(Payload { size, sync: Sync::NonSynchronising }) => {
                self.active = ActiveCommand::AppendPayload { id, left: size, announced: Notified::No };
                return;
            }
            OutgoingCommand::Authenticate(authentication) => ActiveCommand::Authenticate(id, authentication),
            OutgoingCommand::Idle => ActiveCommand::IdleRequested(id),
            OutgoingCommand::StartTls => ActiveCommand::StartTls(id),
            OutgoingCommand::Application(_) | OutgoingCommand::Capability | OutgoingCommand::Login => {
                ActiveCommand::None
            }
        };
        // AUTHENTICATE and IDLE are complete after each line, so the mark moves with each line.
        self.replies.all_queued(id, tx);
    }

    /// Records that a later line of a command was queued: a SASL response, DONE, or the end of a message.
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
        if self.active.ends_with() != Some(id) {
            return None;
        }
        match self.release(tx) {
            ActiveCommand::Authenticate(_, authentication) => Some(authentication),
            _ => None,
        }
    }

    /// Sends the next literal of the active command, which the server has asked for.
    pub(super) fn continue_literal(&mut self, tx: &mut SendBuffer) {
        match core::mem::replace(&mut self.active, ActiveCommand::None) {
            ActiveCommand::Literal(outgoing) => {
                self.write(outgoing, tx);
                self.flush(tx);
            }
            other => self.active = other,
        }
    }

    /// Matches a completion to its command.
    pub(super) fn complete(
        &mut self,
        tag: &[u8],
        outcome: Outcome,
        tx: &SendBuffer,
    ) -> Result<(CommandId, CommandKind), PeerError> {
        self.replies.complete(tag, outcome, &self.active, tx)
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
        self.replies.kinds().fold(state, |state, kind| state.after(kind.effect(), Outcome::Success))
    }

    /// Returns whether no command is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }
}
