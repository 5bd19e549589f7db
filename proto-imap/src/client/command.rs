//! Saying commands: which may be said when, and how they become octets (RFC 9051 §6).

use alloc::vec::Vec;

use proto_core::{Error, Misuse, SendBuffer};

use super::core::{Core, Phase};
use super::queue::{CommandId, Job, Outgoing, Payload, Privacy};
use crate::frame::{Announced, Binary, Sync};
use crate::state::{Allowed, Effect};
use crate::types::Command;
use crate::types::arguments::Append;
use crate::types::command::CommandName;

impl Core {
    /// Says a command of the application.
    pub(super) fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let name = command.name();
        if name == CommandName::Idle {
            return self.idle(tx);
        }
        self.check(name)?;
        self.done(tx)?;
        let id = self.queue.next_id();
        let (bytes, pauses) = self.encoded(id, command)?;
        let job = if name == CommandName::Capability { Job::Command(Effect::None) } else { Job::Command(Effect::of(name)) };
        let privacy = Privacy::Public;
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
        append: &Append<'_>,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.check(CommandName::Append)?;
        self.done(tx)?;
        let id = self.queue.next_id();
        let sync = self.literal_sync(size);
        let (bytes, pauses) = self.encoded_append(id, append, Announced { size, sync, binary: Binary::No })?;
        let payload = Some(Payload { size, sync });
        self.say(Outgoing { id, job: Job::Append, bytes, pauses, privacy: Privacy::Public, payload }, tx);
        Ok(id)
    }

    fn encoded(&self, id: CommandId, command: &Command<'_>) -> Result<(Vec<u8>, Vec<usize>), Error> {
        Ok((alloc::format!("{id} {}\r\n", command.name()).into_bytes(), Vec::new()))
    }

    fn encoded_append(&self, id: CommandId, append: &Append<'_>, announced: Announced) -> Result<(Vec<u8>, Vec<usize>), Error> {
        let plus = if announced.sync == Sync::Synchronising { "" } else { "+" };
        Ok((alloc::format!("{id} APPEND {} {{{}{plus}}}\r\n", append.mailbox.to_str_lossy(crate::types::NameEncoding::Utf8), announced.size).into_bytes(), Vec::new()))
    }
}
