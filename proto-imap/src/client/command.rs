//! Sends commands: in which state each may be sent, and how it is encoded (RFC 9051 §6).

use proto_mail::{Error, Misuse, SendBuffer};

use super::command_id::CommandId;
use super::compression::Compression;
use super::outgoing::{OutgoingCommand, OutgoingLine};
use super::session::{Numbering, Phase, Session};
use crate::encode::{self, ArgumentFault, CommandBuffer, InvalidArgument, LiteralMode, Options};
use crate::required_capabilities::is_offered;
use crate::state::{Allowed, Effect, State};
use crate::types::CommandName;
use crate::types::{Command, Tag};
use crate::uid_only::{names_sequence_numbers, uses_sequence_numbers};

impl Session {
    /// Sends a command of the application.
    pub(super) fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let name = command.name();
        if name == CommandName::Idle {
            return self.idle(tx);
        }
        self.check(name)?;
        if let Command::Esearch(search) = command
            && search.needs_selected_mailbox()
            && !self.expects_state(State::is_selected)
        {
            return Err(Misuse::WrongState.into());
        }
        let id = self.commands.next_id();
        let options = self.options();
        let CommandBuffer { bytes, pauses } =
            with_tag(id, |tag, line| encode::command(tag, command, options, line))?;
        if !is_offered(command, self.names, |capability| self.offers(capability)) {
            return Err(Misuse::NotOffered.into());
        }
        if self.numbering == Numbering::UidOnly && names_sequence_numbers(command) {
            return Err(Misuse::WrongState.into());
        }
        self.done(tx)?;
        let line = match name {
            // A URL with a token lets its bearer read the message (RFC 4467 §8).
            CommandName::UrlFetch => {
                let name_end = memchr::memmem::find(&bytes, name.as_str().as_bytes())
                    .map_or(0, |at| at + name.as_str().len());
                OutgoingLine::secret(bytes, pauses, name_end)
            }
            _ => OutgoingLine::public(bytes, pauses),
        };
        self.submit(id, OutgoingCommand::Application(Effect::of(name)), line, tx);
        Ok(id)
    }

    /// Checks that the command of this name may be sent if the commands before it succeed.
    pub(super) fn check(&self, name: CommandName) -> Result<(), Error> {
        let state = match self.phase {
            Phase::Open(state) => state,
            Phase::Greeting => return Err(Misuse::WrongState.into()),
            Phase::Bye(_) | Phase::LoggedOut => return Err(Misuse::Closed.into()),
        };
        let harmless = matches!(name, CommandName::Capability | CommandName::Noop | CommandName::Logout);
        if self.hides_untrusted_data() && !harmless {
            return Err(Misuse::WrongState.into());
        }
        if self.numbering == Numbering::UidOnly && uses_sequence_numbers(name) {
            return Err(Misuse::WrongState.into());
        }
        // No credentials are compressed, so a compressed session keeps its login.
        if name == CommandName::Unauthenticate && self.compression != Compression::Off {
            return Err(Misuse::WrongState.into());
        }
        let allowed = Allowed::of(name).unwrap_or(Allowed::Any);
        if !allowed.holds_in(self.commands.expected_state(state)) {
            return Err(Misuse::WrongState.into());
        }
        Ok(())
    }

    /// Returns whether the state will be such a one if the commands before succeed.
    fn expects_state(&self, is_so: impl Fn(State) -> bool) -> bool {
        self.state().is_some_and(|state| is_so(self.commands.expected_state(state)))
    }

    /// Returns how commands are written in this session.
    pub(super) fn options(&self) -> Options {
        let literals = match self.unasked_literal() {
            0 => LiteralMode::Synchronising,
            u64::MAX => LiteralMode::Plus,
            _ => LiteralMode::Minus,
        };
        Options { literals, names: self.names }
    }
}

pub(super) fn misuse(error: InvalidArgument) -> Misuse {
    match error.fault {
        ArgumentFault::ForbiddenByte => Misuse::ForbiddenByte,
        _ => Misuse::InvalidArgument,
    }
}

/// Encodes a command with the tag that belongs to this id.
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
