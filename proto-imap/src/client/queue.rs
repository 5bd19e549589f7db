//! What a client has said and is about to say: the commands in progress, and the one that has the floor.
//!
//! This file knows tags, which commands await their completion, and how much of each has left. It knows no grammar:
//! a command comes as octets with pauses, places where the client waits to be asked for the rest.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::{CommandMark, PeerError, ReceiveMark, RecvBuffer, SendBuffer};
use zeroize::Zeroize;

use crate::state::{Effect, Outcome, State};

/// Which command a completion belongs to. Numbers rise by one with each command of a session.
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
    /// The id that this tag was made from, if it was one of ours.
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

/// What a command is to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// One of the application's; the completion is reported.
    Command(Effect),
    /// CAPABILITY, asked by the machine itself.
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

impl Job {
    pub(super) const fn effect(self) -> Effect {
        match self {
            Self::Command(effect) => effect,
            Self::Login | Self::Authenticate => Effect::Authenticate,
            Self::Capability | Self::StartTls | Self::Append | Self::Idle => Effect::None,
        }
    }
}

/// A command as octets, with the places where the client waits for a continuation request.
pub(super) struct Outgoing {
    pub(super) id: CommandId,
    pub(super) job: Job,
    pub(super) bytes: Vec<u8>,
    /// Positions in `bytes`, rising: what stands behind one waits to be asked for.
    pub(super) pauses: Vec<usize>,
    pub(super) privacy: Privacy,
    /// Announced size of a payload that the application streams behind the last octet, and whether it waits.
    pub(super) payload: Option<Payload>,
}

/// Whether octets may be shown in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privacy {
    Public,
    /// What stands behind so many octets is a secret.
    Secret {
        behind: usize,
    },
}

/// The payload of an APPEND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) size: u64,
    pub(super) sync: crate::frame::Sync,
}

impl Outgoing {
    /// Puts what may go now. The rest waits if there is one.
    fn put(&mut self, tx: &mut SendBuffer) -> Sent {
        let end = if self.pauses.is_empty() { self.bytes.len() } else { self.pauses.remove(0) };
        let end = end.min(self.bytes.len());
        let mut rest = self.bytes.split_off(end);
        core::mem::swap(&mut rest, &mut self.bytes);
        let done = self.bytes.is_empty();
        self.pauses.iter_mut().for_each(|pause| *pause = pause.saturating_sub(end));
        match self.privacy {
            Privacy::Public => tx.put(&rest),
            Privacy::Secret { behind } => {
                let end = rest.len() - if rest.ends_with(b"\r\n") { 2 } else { 0 };
                let behind = behind.min(end);
                tx.put(rest.get(..behind).unwrap_or_default());
                tx.put_secret(rest.get(behind..end).unwrap_or_default());
                tx.put(rest.get(end..).unwrap_or_default());
                self.privacy = Privacy::Secret { behind: 0 };
            }
        }
        rest.zeroize();
        if done { Sent::Whole } else { Sent::UpToAPause }
    }
}

/// Never what is said, nor how long it is: it may be a password.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, job, bytes: _, pauses, privacy, payload } = self;
        f.debug_struct("Outgoing")
            .field("id", id)
            .field("job", job)
            .field("pauses", &pauses.len())
            .field("privacy", privacy)
            .field("payload", payload)
            .finish()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.privacy != Privacy::Public {
            self.bytes.zeroize();
        }
    }
}

enum Sent {
    Whole,
    UpToAPause,
}

/// A command whose completion is awaited.
#[derive(Debug)]
struct InProgress {
    id: CommandId,
    job: Job,
    /// The announced size of its payload.
    payload: u64,
    /// When all of it was said.
    mark: CommandMark,
}

/// Who has the floor: what is half said and keeps later commands waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// Nobody: commands leave at once.
    Free,
    /// A command waits to be asked for its literal.
    Literal(CommandId),
    /// An APPEND waits to be asked for its payload.
    AppendOffered(CommandId),
    /// An APPEND's payload is on its way, so many octets are missing.
    Append(CommandId, u64),
    /// AUTHENTICATE: each line waits for the server's.
    Authenticate(CommandId),
    /// IDLE was said and not yet answered.
    IdleRequested(CommandId),
    /// IDLE was said and not yet answered, and the application wants it to end.
    IdleUnwanted(CommandId),
    /// The server is idling.
    Idle(CommandId),
    /// STARTTLS was said: nothing more is ever said in cleartext.
    StartTls(CommandId),
}

/// The commands of one session.
#[derive(Debug)]
pub(super) struct Queue {
    last: u32,
    in_progress: VecDeque<InProgress>,
    waiting: VecDeque<Outgoing>,
    half_said: Option<Outgoing>,
    pub(super) floor: Floor,
    /// When something was said last that the server may have to continue.
    asked: CommandMark,
    hearing: ReceiveMark,
    /// An APPEND whose payload is awaited and whose application does not know yet.
    pub(super) ready: Option<CommandId>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            last: 0,
            in_progress: VecDeque::new(),
            waiting: VecDeque::new(),
            half_said: None,
            floor: Floor::Free,
            asked: CommandMark::BEFORE_SESSION,
            hearing: ReceiveMark::INITIAL,
            ready: None,
        }
    }

    /// Looks at where the next response begins.
    pub(super) fn look(&mut self, rx: &RecvBuffer, tx: &SendBuffer) {
        if self.hearing.note_received(rx) {
            self.heard_more(tx);
        }
    }

    /// What has come while a command waits to be sent is no answer to it, nor the beginning of one.
    fn heard_more(&mut self, tx: &SendBuffer) {
        if !self.asked.is_sent(tx) {
            self.asked.exclude_received(&self.hearing);
        }
        let unsent = self.in_progress.iter_mut().rev().take_while(|command| !command.mark.is_sent(tx));
        unsent.for_each(|command| command.mark.exclude_received(&self.hearing));
    }

    /// The id of the next command.
    pub(super) const fn next_id(&mut self) -> CommandId {
        self.last = self.last.wrapping_add(1);
        if self.last == 0 {
            self.last = 1;
        }
        CommandId(self.last)
    }

    /// Says a command, or keeps it until those before it are said.
    pub(super) fn say(&mut self, outgoing: Outgoing, tx: &mut SendBuffer) {
        let (id, job) = (outgoing.id, outgoing.job);
        let payload = outgoing.payload.map_or(0, |payload| payload.size);
        self.in_progress.push_back(InProgress { id, job, payload, mark: CommandMark::NOT_SENT });
        if self.floor == Floor::Free && self.waiting.is_empty() {
            self.put(outgoing, tx);
        } else {
            self.waiting.push_back(outgoing);
        }
    }

    fn put(&mut self, mut outgoing: Outgoing, tx: &mut SendBuffer) {
        let sent = outgoing.put(tx);
        let id = outgoing.id;
        self.asked = CommandMark::new(&self.hearing, tx);
        if matches!(sent, Sent::UpToAPause) {
            self.half_said = Some(outgoing);
            self.floor = Floor::Literal(id);
            return;
        }
        self.floor = match (outgoing.job, outgoing.payload) {
            (Job::Append, Some(payload)) if payload.sync == crate::frame::Sync::Synchronising => {
                Floor::AppendOffered(id)
            }
            (Job::Append, Some(payload)) => {
                self.ready = Some(id);
                Floor::Append(id, payload.size)
            }
            (Job::Authenticate, _) => Floor::Authenticate(id),
            (Job::Idle, _) => Floor::IdleRequested(id),
            (Job::StartTls, _) => Floor::StartTls(id),
            _ => Floor::Free,
        };
        // A SASL exchange and IDLE are said in full line by line: the mark follows.
        if !matches!(self.floor, Floor::AppendOffered(_) | Floor::Append(..)) {
            self.mark(id, tx);
        }
    }

    /// Everything of `id` that can be said now was said.
    pub(super) fn mark(&mut self, id: CommandId, tx: &SendBuffer) {
        let said = CommandMark::new(&self.hearing, tx);
        if let Some(command) = self.in_progress.iter_mut().rev().find(|command| command.id == id) {
            command.mark = said;
        }
    }

    /// A line within a command (a SASL response, DONE, the end of a payload) was said.
    pub(super) fn said(&mut self, id: CommandId, tx: &SendBuffer) {
        self.asked = CommandMark::new(&self.hearing, tx);
        self.mark(id, tx);
    }

    /// The floor is free again: says what waited.
    pub(super) fn flush(&mut self, tx: &mut SendBuffer) {
        while self.floor == Floor::Free {
            let Some(next) = self.waiting.pop_front() else { break };
            self.put(next, tx);
        }
    }

    /// Gives the floor up and says what waited.
    pub(super) fn release(&mut self, tx: &mut SendBuffer) {
        self.floor = Floor::Free;
        self.half_said = None;
        self.flush(tx);
    }

    /// A command was completed: if it had the floor, others may speak now. A payload that is on its way is finished
    /// first, even when the server has refused it.
    pub(super) fn leave(&mut self, id: CommandId, tx: &mut SendBuffer) {
        let has_floor = match self.floor {
            Floor::Literal(floor)
            | Floor::AppendOffered(floor)
            | Floor::Authenticate(floor)
            | Floor::IdleRequested(floor)
            | Floor::IdleUnwanted(floor)
            | Floor::Idle(floor)
            | Floor::StartTls(floor) => floor == id,
            Floor::Append(..) | Floor::Free => false,
        };
        if has_floor {
            self.release(tx);
        }
    }

    /// The announced size of a command's payload.
    pub(super) fn payload_of(&self, id: CommandId) -> u64 {
        self.in_progress.iter().find(|command| command.id == id).map_or(0, |command| command.payload)
    }

    /// What the command of this tag is to the machine, if it is in progress.
    pub(super) fn job(&self, tag: &[u8]) -> Option<Job> {
        let id = CommandId::from_tag(tag)?;
        self.in_progress.iter().find(|command| command.id == id).map(|command| command.job)
    }

    /// The server asks to continue: can it have seen what there is to continue?
    pub(super) fn check_continuation(&self, tx: &SendBuffer) -> Result<(), PeerError> {
        if self.asked.accepts_reply(&self.hearing, tx) {
            Ok(())
        } else {
            Err(PeerError::UnexpectedContinuation)
        }
    }

    /// The server asked for the literal of the command that has the floor.
    pub(super) fn continue_literal(&mut self, tx: &mut SendBuffer) {
        if let Some(outgoing) = self.half_said.take() {
            self.floor = Floor::Free;
            self.put(outgoing, tx);
            self.flush(tx);
        }
    }

    /// A completion came under this tag: whose is it, and may it be?
    ///
    /// A command that was not said in full cannot be completed, with one exception: the server may refuse (NO, BAD)
    /// one that waits to be asked for its literal or whose payload is on its way.
    pub(super) fn complete(
        &mut self,
        tag: &[u8],
        outcome: Outcome,
        tx: &SendBuffer,
    ) -> Result<(CommandId, Job), PeerError> {
        let id = CommandId::from_tag(tag).ok_or(PeerError::UnknownTag)?;
        let place = self.in_progress.iter().position(|command| command.id == id);
        let place = place.ok_or(PeerError::UnknownTag)?;
        let Some(command) = self.in_progress.get(place) else { return Err(PeerError::UnknownTag) };
        if !command.mark.accepts_reply(&self.hearing, tx) && !self.may_refuse(id, outcome, tx) {
            return Err(PeerError::UnexpectedReply);
        }
        let job = command.job;
        self.in_progress.remove(place);
        Ok((id, job))
    }

    /// Whether this refuses a command of which a part was said.
    #[cold]
    fn may_refuse(&self, id: CommandId, outcome: Outcome, tx: &SendBuffer) -> bool {
        let half_said = matches!(
            self.floor,
            Floor::Literal(floor) | Floor::AppendOffered(floor) | Floor::Append(floor, _) if floor == id
        );
        half_said && outcome != Outcome::Success && self.asked.accepts_reply(&self.hearing, tx)
    }

    /// The state if every command in progress succeeds.
    pub(super) fn hoped(&self, state: State) -> State {
        self.in_progress
            .iter()
            .fold(state, |state, command| state.after(command.job.effect(), Outcome::Success))
    }

    /// Whether LOGOUT was said, and what is read now can be the answer: the server's farewell is.
    pub(super) fn leaves(&self, tx: &SendBuffer) -> bool {
        let logout = Job::Command(Effect::Logout);
        let answered = |command: &InProgress| command.mark.accepts_reply(&self.hearing, tx);
        self.in_progress.iter().any(|command| command.job == logout && answered(command))
    }

    /// Whether nothing is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.in_progress.is_empty()
    }

    /// Whether a command of this kind is in progress.
    pub(super) fn has(&self, predicate: impl Fn(Job) -> bool) -> bool {
        self.in_progress.iter().any(|command| predicate(command.job))
    }
}
