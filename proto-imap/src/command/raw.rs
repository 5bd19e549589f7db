//! Commands as text, for those without a variant of [`Command`](crate::types::Command).

use crate::command_name::{CommandName, known_name};
use crate::frame;
use crate::frame::{Binary, LineEnd};
use crate::grammar::characters::is_atom_char;
use crate::grammar::owned::owned_struct;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// A command as text, for commands without a variant of [`Command`](crate::types::Command).
///
/// A client can also send a known command as text, to use an argument that this library does not support. Commands
/// that change the session's state, take credentials or stream data have no raw form, because the machines must
/// handle them.
///
/// A raw command is sent unchecked, on purpose: the client does not know which capability it requires, and an
/// application can thus use an extension that the server does not list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawCommand<'i> {
    name: &'i [u8],
    arguments: &'i [u8],
}

/// The reason why a text is not a raw command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// The text does not start with a name.
    Name,
    /// The text contains CR, LF or NUL.
    ForbiddenByte,
    /// The text ends with the announcement of a literal, so the server would take the next command for the literal. Or a
    /// literal is shorter than announced.
    Literal,
    /// The command changes the session's state, takes credentials or streams data: use the machine's method for it.
    HasItsOwn,
}

impl fmt::Display for InvalidCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a raw command begins with its name, an atom",
            Self::ForbiddenByte => "a raw command is one line apart from its literals: no CR, no LF, no NUL",
            Self::Literal => "a raw command cannot end with the announcement of a literal: add its bytes, or quote the string",
            Self::HasItsOwn => "this command has no raw form: use its variant, or the client's method for it",
        })
    }
}

impl core::error::Error for InvalidCommand {}

impl ErrorDetails for InvalidCommand {}

impl<'i> RawCommand<'i> {
    /// Creates a command from its text without the tag and the line end: `GETQUOTAROOT INBOX`.
    ///
    /// # Errors
    /// [`InvalidCommand`] is the rule that the text violates.
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

    /// Creates a command with literals from its bytes without the tag and the last line end. Each literal is written as on
    /// the wire: its announcement at the end of a line (`{5}`, `{5+}` or `~{5}`), CRLF, and as many bytes.
    ///
    /// The client writes the announcements anew, so that it waits for the server where it must.
    ///
    /// ```
    /// use proto_imap::types::RawCommand;
    /// let command = RawCommand::with_literals(b"X-NOTE INBOX {3}\r\na\"b").unwrap();
    /// assert_eq!(command.arguments(), b" INBOX {3}\r\na\"b");
    /// ```
    ///
    /// # Errors
    /// [`InvalidCommand`] is the rule that the bytes violate. A NUL is allowed only in a literal that is announced with
    /// `~`.
    pub fn with_literals(bytes: &'i [u8]) -> Result<Self, InvalidCommand> {
        let end = bytes.iter().position(|byte| !is_atom_char(*byte)).unwrap_or(bytes.len());
        let (name, arguments) = bytes.split_at(end);
        if name.is_empty() || !matches!(arguments.first(), None | Some(b' ')) {
            return Err(InvalidCommand::Name);
        }
        let raw = Self { name, arguments };
        if raw.has_its_own() {
            return Err(InvalidCommand::HasItsOwn);
        }
        let mut pieces = raw.pieces();
        pieces.by_ref().for_each(drop);
        match pieces.fault {
            Some(fault) => Err(fault),
            None => Ok(raw),
        }
    }

    /// Returns the arguments in pieces: text, and the literal that its end announces.
    pub(crate) const fn pieces(&self) -> RawPieces<'i> {
        RawPieces { rest: Some(self.arguments), fault: None }
    }

    pub(crate) const fn wire(name: &'i [u8], arguments: &'i [u8]) -> Self {
        Self { name, arguments }
    }

    /// Returns whether the machines must handle the command.
    fn has_its_own(&self) -> bool {
        matches!(
            self.name(),
            CommandName::Append
                | CommandName::Authenticate
                | CommandName::Close
                | CommandName::Compress
                | CommandName::Enable
                | CommandName::Examine
                | CommandName::Idle
                | CommandName::Login
                | CommandName::Logout
                | CommandName::Replace
                | CommandName::Select
                | CommandName::StartTls
                | CommandName::Unauthenticate
                | CommandName::Unselect
        ) || self.name.eq_ignore_ascii_case(b"DONE")
    }

    /// Returns the command's name, if it is known. A UID command is [`Other`](CommandName::Other).
    #[must_use]
    pub fn name(&self) -> CommandName {
        known_name(self.name)
    }

    /// Returns the name as received.
    #[must_use]
    pub const fn raw_name(&self) -> &'i [u8] {
        self.name
    }

    /// Returns the bytes after the name, up to the line end. They start with a space, unless they are empty. Commands
    /// received by a server can contain literals.
    #[must_use]
    pub const fn arguments(&self) -> &'i [u8] {
        self.arguments
    }
}

/// A piece of a raw command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawPiece<'i> {
    /// The text before the announcement, with the `~` of a literal8.
    pub(crate) text: &'i [u8],
    /// The bytes of the literal; `None` in the last piece.
    pub(crate) literal: Option<&'i [u8]>,
}

/// An iterator over the pieces of a raw command's arguments. It ends early if they are invalid.
#[derive(Debug, Clone)]
pub(crate) struct RawPieces<'i> {
    rest: Option<&'i [u8]>,
    /// Why it has ended early.
    pub(crate) fault: Option<InvalidCommand>,
}

impl<'i> RawPieces<'i> {
    fn piece(&mut self, rest: &'i [u8]) -> Result<RawPiece<'i>, InvalidCommand> {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
            if frame::ending(rest) != LineEnd::Plain {
                return Err(InvalidCommand::Literal);
            }
            return if frame::has_forbidden(rest) {
                Err(InvalidCommand::ForbiddenByte)
            } else {
                Ok(RawPiece { text: rest, literal: None })
            };
        };
        let (line, behind) = rest.split_at(end);
        let LineEnd::Literal(announced) = frame::ending(line) else {
            return Err(InvalidCommand::ForbiddenByte);
        };
        let text = line.get(..memchr::memrchr(b'{', line).unwrap_or(0)).unwrap_or_default();
        let size = usize::try_from(announced.size).map_err(|_| InvalidCommand::Literal)?;
        let (literal, rest) = behind
            .get(2..)
            .and_then(|behind| behind.split_at_checked(size))
            .ok_or(InvalidCommand::Literal)?;
        let has_nul = memchr::memchr(0, literal).is_some();
        if frame::has_forbidden(text) || (has_nul && announced.binary == Binary::No) {
            return Err(InvalidCommand::ForbiddenByte);
        }
        self.rest = Some(rest);
        Ok(RawPiece { text, literal: Some(literal) })
    }
}

impl<'i> Iterator for RawPieces<'i> {
    type Item = RawPiece<'i>;

    fn next(&mut self) -> Option<RawPiece<'i>> {
        let rest = self.rest.take()?;
        match self.piece(rest) {
            Ok(piece) => Some(piece),
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }
}

/// Shows the name and the length of the arguments. A mistyped LOGIN contains a password too.
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
            assert_eq!(known_name(name.as_str().as_bytes()), *name);
        }
        for unknown in [&b""[..], b"NOOP\0", b"AUTHENTICATE-PLAIN"] {
            assert_eq!(known_name(unknown), CommandName::Other);
        }
    }
}
