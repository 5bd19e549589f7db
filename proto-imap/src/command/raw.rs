//! Commands as text, for those without a variant of [`Command`](crate::types::Command).

use crate::command_name::CommandName;
use crate::frame;
use crate::frame::LineEnd;
use crate::grammar::characters::is_atom_char;
use crate::grammar::owned::owned_struct;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// A command as text, for commands without a variant of [`Command`](crate::types::Command).
///
/// A client can send one whose name is known too, to ask for what this library doesn't know of it. What moves a
/// session, takes credentials or streams has no raw form: the machines must know of it.
///
/// The client does not check whether the server offers what a raw command requires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawCommand<'i> {
    name: &'i [u8],
    arguments: &'i [u8],
}

/// Why a text is no raw command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// It does not begin with a name.
    Name,
    /// CR, LF or NUL is in it.
    ForbiddenByte,
    /// It ends with the announcement of a literal: the server would take the next command for the literal.
    Literal,
    /// That command moves the session, takes credentials or streams: use what the machine has for it.
    HasItsOwn,
}

impl fmt::Display for InvalidCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a raw command begins with its name, an atom",
            Self::ForbiddenByte => "a raw command is one line: no CR, no LF, no NUL",
            Self::Literal => "a raw command cannot end with the announcement of a literal: quote the string",
            Self::HasItsOwn => "this command has no raw form: use its variant, or the client's method for it",
        })
    }
}

impl core::error::Error for InvalidCommand {}

impl ErrorDetails for InvalidCommand {}

impl<'i> RawCommand<'i> {
    /// The command that is written so, its tag and its line end left out: `GETQUOTAROOT INBOX`.
    ///
    /// # Errors
    /// [`InvalidCommand`] says which rule the text breaks.
    pub fn new(text: &'i str) -> Result<Self, InvalidCommand> {
        let bytes = text.as_bytes();
        if memchr::memchr3(b'\r', b'\n', 0, bytes).is_some() {
            return Err(InvalidCommand::ForbiddenByte);
        }
        if frame::ending(bytes) != LineEnd::Plain {
            return Err(InvalidCommand::Literal);
        }
        let (name, arguments) = match bytes.iter().position(|byte| *byte == b' ') {
            Some(end) => bytes.split_at(end),
            None => (bytes, &b""[..]),
        };
        if name.is_empty() || !name.iter().copied().all(is_atom_char) {
            return Err(InvalidCommand::Name);
        }
        let raw = Self { name, arguments };
        if raw.has_its_own() { Err(InvalidCommand::HasItsOwn) } else { Ok(raw) }
    }

    pub(crate) const fn wire(name: &'i [u8], arguments: &'i [u8]) -> Self {
        Self { name, arguments }
    }

    /// Whether the machines must know of it.
    fn has_its_own(&self) -> bool {
        const MORE: [&[u8]; 3] = [b"COMPRESS", b"DONE", b"REPLACE"];
        matches!(
            self.name(),
            CommandName::Append
                | CommandName::Authenticate
                | CommandName::Close
                | CommandName::Enable
                | CommandName::Examine
                | CommandName::Idle
                | CommandName::Login
                | CommandName::Logout
                | CommandName::Select
                | CommandName::StartTls
                | CommandName::Unauthenticate
                | CommandName::Unselect
        ) || MORE.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// The command's name, if it is one that is known; that of a UID command is [`Other`](CommandName::Other).
    #[must_use]
    pub fn name(&self) -> CommandName {
        crate::command_name::known_name(self.name)
    }

    /// The name as it came.
    #[must_use]
    pub const fn raw_name(&self) -> &'i [u8] {
        self.name
    }

    /// What is behind the name, up to the line end: begins with a space, if there is anything. What a server is told
    /// can have literals in it.
    #[must_use]
    pub const fn arguments(&self) -> &'i [u8] {
        self.arguments
    }
}

/// Shows the name and how much is behind it: a mistyped LOGIN holds a password like a right one.
impl fmt::Debug for RawCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = alloc::string::String::from_utf8_lossy(self.name);
        write!(f, "{name} and {} bytes", self.arguments.len())
    }
}

owned_struct!(RawCommand { name, arguments });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_raw_commands_of_more_than_one_line() {
        assert_eq!(RawCommand::new("GETQUOTAROOT INBOX").unwrap().arguments(), b" INBOX");
        assert_eq!(
            alloc::format!("{:?}", RawCommand::new("LOGN alice wonder").unwrap()),
            "LOGN and 13 bytes"
        );
        assert_eq!(RawCommand::new("fetch 1 (X-NEW)").unwrap().name(), CommandName::Fetch);
        for (text, why) in [
            ("", InvalidCommand::Name),
            (" NOOP", InvalidCommand::Name),
            ("A(", InvalidCommand::Name),
            ("X a\r\nb NOOP", InvalidCommand::ForbiddenByte),
            ("X a\nb", InvalidCommand::ForbiddenByte),
            ("X a\0", InvalidCommand::ForbiddenByte),
            ("X {5}", InvalidCommand::Literal),
            ("X {5+}", InvalidCommand::Literal),
            ("X ~{5}", InvalidCommand::Literal),
            ("X {99999999999999999999}", InvalidCommand::Literal),
            ("login a b", InvalidCommand::HasItsOwn),
            ("Authenticate PLAIN", InvalidCommand::HasItsOwn),
            ("STARTTLS", InvalidCommand::HasItsOwn),
            ("compress DEFLATE", InvalidCommand::HasItsOwn),
            ("DONE", InvalidCommand::HasItsOwn),
        ] {
            assert_eq!(RawCommand::new(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn finds_every_name() {
        for name in CommandName::ALL {
            assert_eq!(CommandName::from_upper(name.as_str().as_bytes()), *name);
        }
        assert_eq!(CommandName::from_upper(b""), CommandName::Other);
    }
}
