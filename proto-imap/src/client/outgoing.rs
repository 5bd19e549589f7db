//! A command on its way to the server: its meaning, and how much of it was sent.
//!
//! A command is encoded before it is queued, as bytes with pauses. At a pause the client waits for a continuation
//! request before it sends the rest.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::SendBuffer;
use zeroize::Zeroize;

use super::authentication::Authentication;
use super::command_id::CommandId;
use crate::encode::{CommandSink, Sink};
use crate::frame::{self, LineEnd, Sync};
use crate::state::Effect;

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
    /// COMPRESS.
    Compress,
}

impl CommandKind {
    pub(super) const fn effect(self) -> Effect {
        match self {
            Self::Application(effect) => effect,
            Self::Login | Self::Authenticate => Effect::Authenticate,
            Self::Capability | Self::StartTls | Self::Append | Self::Idle | Self::Compress => Effect::None,
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
    Append,
    Idle,
    Compress,
}

impl OutgoingCommand {
    pub(super) const fn kind(&self) -> CommandKind {
        match self {
            Self::Application(effect) => CommandKind::Application(*effect),
            Self::Capability => CommandKind::Capability,
            Self::StartTls => CommandKind::StartTls,
            Self::Login => CommandKind::Login,
            Self::Authenticate(_) => CommandKind::Authenticate,
            Self::Append => CommandKind::Append,
            Self::Idle => CommandKind::Idle,
            Self::Compress => CommandKind::Compress,
        }
    }
}

/// A message of an APPEND command, or a part of one. The application provides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    /// The offset in the command's bytes.
    pub(super) at: usize,
    /// The number of bytes announced.
    pub(super) size: u64,
    /// Whether the client waits for a continuation request before it sends them.
    pub(super) sync: Sync,
}

/// An encoded APPEND command, with the places where the client waits or sends a message.
#[derive(Debug, Default)]
pub(super) struct AppendBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) pauses: Vec<usize>,
    pub(super) payloads: VecDeque<Payload>,
}

impl Sink for AppendBuffer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl CommandSink for AppendBuffer {
    fn pause(&mut self) {
        self.pauses.push(self.bytes.len());
    }

    fn payload(&mut self, size: u64, sync: Sync) {
        self.payloads.push_back(Payload { at: self.bytes.len(), size, sync });
    }
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
    /// The messages between the bytes.
    payloads: VecDeque<Payload>,
    privacy: Privacy,
    begun: Begun,
}

/// Whether the first line of a command was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
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

/// How much of a command was sent.
pub(super) enum Sent {
    Completely,
    UpToAPause,
    UpToPayload(Payload),
}

impl OutgoingLine {
    /// Creates a line without secrets.
    pub(super) const fn public(bytes: Vec<u8>, pauses: Vec<usize>) -> Self {
        Self::new(bytes, pauses, VecDeque::new(), Privacy::Public)
    }

    const fn new(bytes: Vec<u8>, pauses: Vec<usize>, payloads: VecDeque<Payload>, privacy: Privacy) -> Self {
        Self { bytes, pauses, payloads, privacy, begun: Begun::No }
    }

    /// Creates a line with messages between its bytes.
    pub(super) fn append(buffer: AppendBuffer) -> Self {
        let AppendBuffer { bytes, pauses, payloads } = buffer;
        Self::new(bytes, pauses, payloads, Privacy::Public)
    }

    /// Creates a line without literals and secrets.
    pub(super) const fn simple(bytes: Vec<u8>) -> Self {
        Self::public(bytes, Vec::new())
    }

    /// Creates a line whose bytes from `after` on are secret.
    pub(super) const fn secret(bytes: Vec<u8>, pauses: Vec<usize>, after: usize) -> Self {
        Self::new(bytes, pauses, VecDeque::new(), Privacy::Secret { after })
    }

    /// Writes the first line if it announces a literal. Returns false if it ends the command, or was written before.
    pub(super) fn write_announcement(&mut self, tx: &mut SendBuffer) -> bool {
        if core::mem::replace(&mut self.begun, Begun::Yes) == Begun::Yes {
            return false;
        }
        // Only a literal has a line end inside a command, and only after its announcement.
        let end = memchr::memchr(b'\n', &self.bytes).map_or(self.bytes.len(), |end| end + 1);
        let announces = frame::ending(self.bytes.get(..end.saturating_sub(2)).unwrap_or_default());
        if announces == LineEnd::Plain {
            return false;
        }
        self.put(end, tx);
        true
    }

    /// Writes the bytes up to the next pause or message.
    pub(super) fn write(&mut self, tx: &mut SendBuffer) -> Sent {
        let pause = self.pauses.first().copied();
        let payload = self.payloads.front().copied();
        match (payload, pause) {
            (Some(payload), pause) if pause.is_none_or(|pause| payload.at <= pause) => {
                self.payloads.pop_front();
                self.put(payload.at, tx);
                Sent::UpToPayload(payload)
            }
            (_, Some(pause)) => {
                self.pauses.remove(0);
                self.put(pause, tx);
                Sent::UpToAPause
            }
            _ => {
                self.put(self.bytes.len(), tx);
                Sent::Completely
            }
        }
    }

    /// Writes the first `end` bytes.
    fn put(&mut self, end: usize, tx: &mut SendBuffer) {
        let end = end.min(self.bytes.len());
        let mut part = self.bytes.split_off(end);
        core::mem::swap(&mut part, &mut self.bytes);
        self.pauses.iter_mut().for_each(|pause| *pause = pause.saturating_sub(end));
        self.payloads.iter_mut().for_each(|payload| payload.at = payload.at.saturating_sub(end));
        match self.privacy {
            Privacy::Public => tx.put(&part),
            Privacy::Secret { after } => {
                self.privacy = Privacy::Secret { after: after.saturating_sub(end) };
                let end = part.len() - if part.ends_with(b"\r\n") { 2 } else { 0 };
                let after = after.min(end);
                tx.put(part.get(..after).unwrap_or_default());
                tx.put_secret(part.get(after..end).unwrap_or_default());
                tx.put(part.get(end..).unwrap_or_default());
            }
        }
        part.zeroize();
    }
}

/// Shows neither the bytes nor their number, because they may be a password.
impl fmt::Debug for OutgoingLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes: _, pauses, payloads, privacy, begun } = self;
        f.debug_struct("OutgoingLine")
            .field("pauses", &pauses.len())
            .field("payloads", payloads)
            .field("privacy", privacy)
            .field("begun", begun)
            .finish()
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
    AppendOffered(Outgoing, u64),
    /// An APPEND's message is being sent, or a part of one.
    AppendPayload(PayloadProgress),
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
    /// COMPRESS was sent: nothing else is sent before compression has started, or was refused.
    Compress(CommandId),
}

/// A message that is being sent, and the command to which it belongs.
#[derive(Debug)]
pub(super) struct PayloadProgress {
    /// The rest of the command.
    pub(super) outgoing: Outgoing,
    /// How many bytes of the message are missing.
    pub(super) left: u64,
    pub(super) announced: Notified,
    pub(super) verdict: PayloadVerdict,
}

impl PayloadProgress {
    pub(super) const fn new(outgoing: Outgoing, size: u64) -> Self {
        Self { outgoing, left: size, announced: Notified::No, verdict: PayloadVerdict::Open }
    }
}

/// Whether the server has rejected a command whose message is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadVerdict {
    Open,
    /// The client sends the message to its end, and nothing of the rest of the command.
    Rejected,
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
        matches!(self, Self::AppendPayload(PayloadProgress { announced: Notified::No, .. }))
    }

    /// Returns the command whose completion lets the next one be sent. An APPEND's message is sent completely first,
    /// even if the server has rejected it.
    pub(super) fn ends_with(&self) -> Option<CommandId> {
        match self {
            Self::Literal(outgoing) | Self::AppendOffered(outgoing, _) => Some(outgoing.id),
            Self::Authenticate(id, _)
            | Self::IdleRequested(id)
            | Self::IdleCancelled(id)
            | Self::Idle(id)
            | Self::Compress(id)
            | Self::StartTls(id) => Some(*id),
            Self::AppendPayload(_) | Self::None => None,
        }
    }
}
