//! What a client can ask a server for (RFC 9051 §6).
//!
//! The same [`Command`] is what a client gives to be sent and what a server is told that came. Lists and strings in it
//! are borrowed: from the application's values there, from the frame here.
//!
//! A command has no credentials: LOGIN, AUTHENTICATE and STARTTLS are no variants of it, and the machines alone handle
//! them. APPEND's message is streamed, so [`AppendCommand`] holds only what stands before it. This
//! file doesn't know in which state a command may be given.

use core::fmt;

use super::arguments::{
    CopyCommand, CreateCommand, FetchCommand, ListCommand, LsubCommand, RenameCommand, SearchCommand,
    SelectCommand, StatusCommand, StoreCommand,
};
use super::body::IdFields;
use super::capability::CapabilityList;
use super::mailbox::MailboxName;
use super::sequence::SequenceSet;
use crate::frame::{self, LineEnd};
use crate::parse::primitive::is_atom_char;

/// A command without its tag.
///
/// ```
/// use proto_imap::types::{Command, FetchAttribute, FetchCommand, LazyList, SequenceSet};
/// let command = Command::UidFetch(FetchCommand::new(
///     SequenceSet::from(1..=100),
///     LazyList::new(&[FetchAttribute::Flags, FetchAttribute::Envelope]),
/// ));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// `CAPABILITY` (RFC 9051 §6.1.1)
    Capability,
    /// `NOOP` (§6.1.2)
    Noop,
    /// `LOGOUT` (§6.1.3)
    Logout,
    /// `ID` (RFC 2971): who the client is; without parameters `ID NIL`.
    Id(IdFields<'i>),
    /// `ENABLE` (§6.3.1)
    Enable(CapabilityList<'i>),
    /// `SELECT` (§6.3.2)
    Select(SelectCommand<'i>),
    /// `EXAMINE` (§6.3.3)
    Examine(SelectCommand<'i>),
    /// `CREATE` (§6.3.4, RFC 6154)
    Create(CreateCommand<'i>),
    /// `DELETE` (§6.3.5)
    Delete(MailboxName<'i>),
    /// `RENAME` (§6.3.6)
    Rename(RenameCommand<'i>),
    /// `SUBSCRIBE` (§6.3.7)
    Subscribe(MailboxName<'i>),
    /// `UNSUBSCRIBE` (§6.3.8)
    Unsubscribe(MailboxName<'i>),
    /// `LIST` (§6.3.9, RFC 5258)
    List(ListCommand<'i>),
    /// `LSUB` (RFC 3501 §6.3.9)
    Lsub(LsubCommand<'i>),
    /// `NAMESPACE` (§6.3.10)
    Namespace,
    /// `STATUS` (§6.3.11)
    Status(StatusCommand<'i>),
    /// `IDLE` (§6.3.13). It ends with a line `DONE`, which the machines handle.
    Idle,
    /// `CLOSE` (§6.4.1)
    Close,
    /// `UNSELECT` (§6.4.2)
    Unselect,
    /// `CHECK` (RFC 3501 §6.4.1)
    Check,
    /// `EXPUNGE` (§6.4.3)
    Expunge,
    /// `UID EXPUNGE` (§6.4.9)
    UidExpunge(SequenceSet<'i>),
    /// `SEARCH` (§6.4.4)
    Search(SearchCommand<'i>),
    /// `UID SEARCH` (§6.4.9)
    UidSearch(SearchCommand<'i>),
    /// `FETCH` (§6.4.5)
    Fetch(FetchCommand<'i>),
    /// `UID FETCH` (§6.4.9)
    UidFetch(FetchCommand<'i>),
    /// `STORE` (§6.4.6)
    Store(StoreCommand<'i>),
    /// `UID STORE` (§6.4.9)
    UidStore(StoreCommand<'i>),
    /// `COPY` (§6.4.7)
    Copy(CopyCommand<'i>),
    /// `UID COPY` (§6.4.9)
    UidCopy(CopyCommand<'i>),
    /// `MOVE` (§6.4.8)
    Move(CopyCommand<'i>),
    /// `UID MOVE` (§6.4.9)
    UidMove(CopyCommand<'i>),
    /// Any other, as text.
    Raw(RawCommand<'i>),
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a command, `UID` and what is behind it being one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CommandName {
            $($(#[$doc])* $name,)*
            /// One that this library does not know.
            Other,
        }

        impl CommandName {
            /// Every name that is known.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in upper case; empty for [`Other`](Self::Other).
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other => "",
                }
            }

            /// The command whose name is `name`, which is in upper case.
            pub(crate) fn from_upper(name: &[u8]) -> Self {
                match core::str::from_utf8(name) {
                    $(Ok($text) => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

names! {
    /// `APPEND`
    Append = "APPEND",
    /// `AUTHENTICATE`
    Authenticate = "AUTHENTICATE",
    /// `CAPABILITY`
    Capability = "CAPABILITY",
    /// `CHECK`
    Check = "CHECK",
    /// `CLOSE`
    Close = "CLOSE",
    /// `COPY`
    Copy = "COPY",
    /// `CREATE`
    Create = "CREATE",
    /// `DELETE`
    Delete = "DELETE",
    /// `ENABLE`
    Enable = "ENABLE",
    /// `EXAMINE`
    Examine = "EXAMINE",
    /// `EXPUNGE`
    Expunge = "EXPUNGE",
    /// `FETCH`
    Fetch = "FETCH",
    /// `ID`
    Id = "ID",
    /// `IDLE`
    Idle = "IDLE",
    /// `LIST`
    List = "LIST",
    /// `LOGIN`
    Login = "LOGIN",
    /// `LOGOUT`
    Logout = "LOGOUT",
    /// `LSUB`
    Lsub = "LSUB",
    /// `MOVE`
    Move = "MOVE",
    /// `NAMESPACE`
    Namespace = "NAMESPACE",
    /// `NOOP`
    Noop = "NOOP",
    /// `RENAME`
    Rename = "RENAME",
    /// `SEARCH`
    Search = "SEARCH",
    /// `SELECT`
    Select = "SELECT",
    /// `STARTTLS`
    StartTls = "STARTTLS",
    /// `STATUS`
    Status = "STATUS",
    /// `STORE`
    Store = "STORE",
    /// `SUBSCRIBE`
    Subscribe = "SUBSCRIBE",
    /// `UID COPY`
    UidCopy = "UID COPY",
    /// `UID EXPUNGE`
    UidExpunge = "UID EXPUNGE",
    /// `UID FETCH`
    UidFetch = "UID FETCH",
    /// `UID MOVE`
    UidMove = "UID MOVE",
    /// `UID SEARCH`
    UidSearch = "UID SEARCH",
    /// `UID STORE`
    UidStore = "UID STORE",
    /// `UNSELECT`
    Unselect = "UNSELECT",
    /// `UNSUBSCRIBE`
    Unsubscribe = "UNSUBSCRIBE",
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Command<'_> {
    /// The command's name.
    #[must_use]
    pub fn name(&self) -> CommandName {
        match self {
            Self::Capability => CommandName::Capability,
            Self::Noop => CommandName::Noop,
            Self::Logout => CommandName::Logout,
            Self::Id(_) => CommandName::Id,
            Self::Enable(_) => CommandName::Enable,
            Self::Select(_) => CommandName::Select,
            Self::Examine(_) => CommandName::Examine,
            Self::Create(_) => CommandName::Create,
            Self::Delete(_) => CommandName::Delete,
            Self::Rename(_) => CommandName::Rename,
            Self::Subscribe(_) => CommandName::Subscribe,
            Self::Unsubscribe(_) => CommandName::Unsubscribe,
            Self::List(_) => CommandName::List,
            Self::Lsub(_) => CommandName::Lsub,
            Self::Namespace => CommandName::Namespace,
            Self::Status(_) => CommandName::Status,
            Self::Idle => CommandName::Idle,
            Self::Close => CommandName::Close,
            Self::Unselect => CommandName::Unselect,
            Self::Check => CommandName::Check,
            Self::Expunge => CommandName::Expunge,
            Self::UidExpunge(_) => CommandName::UidExpunge,
            Self::Search(_) => CommandName::Search,
            Self::UidSearch(_) => CommandName::UidSearch,
            Self::Fetch(_) => CommandName::Fetch,
            Self::UidFetch(_) => CommandName::UidFetch,
            Self::Store(_) => CommandName::Store,
            Self::UidStore(_) => CommandName::UidStore,
            Self::Copy(_) => CommandName::Copy,
            Self::UidCopy(_) => CommandName::UidCopy,
            Self::Move(_) => CommandName::Move,
            Self::UidMove(_) => CommandName::UidMove,
            Self::Raw(raw) => raw.name(),
        }
    }
}

/// A command as text, for what has no variant of its own.
///
/// A client can send one whose name is known too, to ask for what this library doesn't know of it. What moves a
/// session, takes credentials or streams has no raw form: the machines must know of it.
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

impl<'i> RawCommand<'i> {
    /// The command that is written so, its tag and its line end left out: `GETQUOTAROOT INBOX`.
    ///
    /// # Errors
    /// [`InvalidCommand`] says which rule the text breaks.
    pub fn new(text: &'i str) -> Result<Self, InvalidCommand> {
        let octets = text.as_bytes();
        if memchr::memchr3(b'\r', b'\n', 0, octets).is_some() {
            return Err(InvalidCommand::ForbiddenByte);
        }
        if frame::ending(octets) != LineEnd::Plain {
            return Err(InvalidCommand::Literal);
        }
        let (name, arguments) = match octets.iter().position(|octet| *octet == b' ') {
            Some(end) => octets.split_at(end),
            None => (octets, &b""[..]),
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
        const MORE: [&[u8]; 4] = [b"COMPRESS", b"DONE", b"REPLACE", b"UNAUTHENTICATE"];
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
                | CommandName::Unselect
        ) || MORE.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// The command's name, if it is one that is known; that of a UID command is [`Other`](CommandName::Other).
    #[must_use]
    pub fn name(&self) -> CommandName {
        crate::parse::command::known_name(self.name)
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
        write!(f, "{name} and {} octets", self.arguments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_command_is_one_line_and_never_more() {
        assert_eq!(RawCommand::new("GETQUOTAROOT INBOX").unwrap().arguments(), b" INBOX");
        assert_eq!(
            alloc::format!("{:?}", RawCommand::new("LOGN alice wonder").unwrap()),
            "LOGN and 13 octets"
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
    fn names_are_unique_and_found() {
        for name in CommandName::ALL {
            assert_eq!(CommandName::from_upper(name.as_str().as_bytes()), *name);
        }
        assert_eq!(CommandName::from_upper(b""), CommandName::Other);
    }
}
