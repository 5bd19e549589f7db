//! Saying commands: which may be said when, and how they become octets (RFC 9051 §6).

use proto_mail::{Error, Misuse, SendBuffer};

use super::core::{Core, Phase};
use super::queue::{CommandId, Job, Outgoing, Payload, Privacy};
use crate::encode::{self, ArgumentFault, CommandBuffer, InvalidArgument, LiteralMode, Options};
use crate::frame::{Binary, LiteralHeader};
use crate::state::{Allowed, Effect};
use crate::types::arguments::AppendCommand;
use crate::types::command::CommandName;
use crate::types::{Command, Tag};

impl Core {
    /// Says a command of the application.
    pub(super) fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let name = command.name();
        if name == CommandName::Idle {
            return self.idle(tx);
        }
        self.check(name)?;
        let id = self.queue.next_id();
        let options = self.options();
        let CommandBuffer { bytes, pauses } =
            with_tag(id, |tag, line| encode::command(tag, command, options, line))?;
        self.done(tx)?;
        let (job, privacy) = (Job::Command(Effect::of(name)), Privacy::Public);
        self.say(Outgoing { id, job, bytes, pauses, privacy, payload: None }, tx);
        Ok(id)
    }

    /// Whether the command of this name may be said, if those before it succeed.
    fn check(&self, name: CommandName) -> Result<(), Error> {
        let state = match self.phase {
            Phase::Failed(error) => return Err(error),
            Phase::Session(state) => state,
            Phase::Greeting => return Err(Misuse::WrongState.into()),
            Phase::Farewell(_) | Phase::Leaving | Phase::Closed => return Err(Misuse::Closed.into()),
        };
        let harmless = matches!(name, CommandName::Capability | CommandName::Noop | CommandName::Logout);
        if self.is_withheld() && !harmless {
            return Err(Misuse::WrongState.into());
        }
        let allowed = Allowed::of(name).unwrap_or(Allowed::Any);
        if allowed.holds_in(self.queue.hoped(state)) { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    /// Begins an APPEND: all but its payload.
    pub(super) fn append(
        &mut self,
        append: &AppendCommand<'_>,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.check(CommandName::Append)?;
        let id = self.queue.next_id();
        let sync = self.literal_sync(size);
        let (options, announced) = (self.options(), LiteralHeader { size, sync, binary: Binary::No });
        let CommandBuffer { bytes, pauses } =
            with_tag(id, |tag, line| encode::append_prefix(tag, append, announced, options, line))?;
        self.done(tx)?;
        let payload = Some(Payload { size, sync });
        self.say(Outgoing { id, job: Job::Append, bytes, pauses, privacy: Privacy::Public, payload }, tx);
        Ok(id)
    }

    /// How commands are written on this session.
    fn options(&self) -> Options {
        let literals = match self.unasked_literal() {
            0 => LiteralMode::Synchronising,
            u64::MAX => LiteralMode::Plus,
            _ => LiteralMode::Minus,
        };
        Options { literals, names: self.names }
    }
}

fn misuse(error: InvalidArgument) -> Misuse {
    match error.fault {
        ArgumentFault::ForbiddenByte => Misuse::ForbiddenByte,
        _ => Misuse::InvalidArgument,
    }
}

/// A tag as the grammar wants it.
fn with_tag<T>(
    id: CommandId,
    write: impl FnOnce(Tag<'_>, &mut CommandBuffer) -> Result<T, InvalidArgument>,
) -> Result<CommandBuffer, Error> {
    let text = alloc::format!("{id}");
    let tag = Tag::new(text.as_bytes()).map_err(|_| Misuse::InvalidArgument)?;
    let mut line = CommandBuffer::default();
    write(tag, &mut line).map_err(misuse)?;
    Ok(line)
}
