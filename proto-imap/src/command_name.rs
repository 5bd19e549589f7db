//! Command names, and the start of every command line: `tag SP command-name` (RFC 9051 §9 `command`).

use crate::grammar::owned::{Keeper, Shower, View, into_owned};
use crate::grammar::primitive::{atom, crlf};
use crate::grammar::{Context, Expected, Parsed, expected};
use crate::tag::{Tag, tag};
use core::fmt;

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
    /// `UNAUTHENTICATE`
    Unauthenticate = "UNAUTHENTICATE",
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

/// A command that does not follow the grammar. The server answers `tag BAD`, or `* BAD` if the command has no tag.
///
/// It keeps only the tag and one harmless word of the command, because the rest may hold a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnparsedCommand<'i> {
    /// The command's tag, if it has one.
    pub tag: Option<Tag<'i>>,
    /// The offset of the error in the frame, in bytes.
    pub offset: usize,
    /// The element of the grammar that was expected there.
    pub expected: &'static str,
    /// The atom that was there instead; empty if it was no atom, or may be a secret.
    pub found: &'i [u8],
}

impl fmt::Display for UnparsedCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected {} at byte {}", self.expected, self.offset)?;
        match core::str::from_utf8(self.found) {
            Ok(found) if !found.is_empty() => write!(f, ", found {found}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for UnparsedCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnparsedCommand")
            .field("tag", &self.tag)
            .field("offset", &self.offset)
            .field("expected", &self.expected)
            .finish()
    }
}

impl core::error::Error for UnparsedCommand<'_> {}

impl<'i> View<'i> for UnparsedCommand<'i> {
    type Static = UnparsedCommand<'static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        UnparsedCommand {
            tag: self.tag.keep(keeper),
            offset: self.offset,
            expected: self.expected,
            found: self.found.keep(keeper),
        }
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self {
            tag: View::show(kept.tag, shower),
            offset: kept.offset,
            expected: kept.expected,
            found: shower.bytes(),
        }
    }
}

into_owned!(UnparsedCommand);

/// How much of a token is shown.
const FOUND: usize = 32;

impl<'i> UnparsedCommand<'i> {
    /// `frame` is what was read, `tag` what is known of its tag.
    pub(crate) fn new(frame: &'i [u8], tag: Option<Tag<'i>>, error: nom::Err<Expected<'i>>) -> Self {
        let error = crate::grammar::into_expected(error);
        let found = atom(error.rest).map_or(&b""[..], |(_, atom)| atom);
        let found = found.get(..FOUND).unwrap_or(found);
        Self { tag, offset: error.offset_in(frame), expected: error.what, found }
    }

    /// The same, showing nothing of what came.
    pub(crate) const fn secret(self) -> Self {
        Self { found: b"", ..self }
    }
}

/// Reads the tag and the name of a command, and nothing else. What is behind the name, from the space or the line
/// end on, comes third.
///
/// # Errors
/// [`UnparsedCommand`] if there is no tag or no name.
pub fn command_name(frame: &[u8]) -> Result<(Tag<'_>, CommandName, &[u8]), UnparsedCommand<'_>> {
    let (rest, tag) = tag_sp(frame).map_err(|error| UnparsedCommand::new(frame, None, error))?;
    let (rest, (name, _)) = name(rest).map_err(|error| UnparsedCommand::new(frame, Some(tag), error))?;
    Ok((tag, name, rest))
}

/// A command that takes no arguments: reads a whole frame and returns which.
///
/// # Errors
/// [`UnparsedCommand`] if there is anything behind the name.
pub fn no_arguments<'i>(
    frame: &'i [u8],
    cx: &Context,
) -> Result<(Tag<'i>, CommandName), UnparsedCommand<'i>> {
    let (tag, name, rest) = command_name(frame)?;
    match end(rest, cx) {
        Ok(_) => Ok((tag, name)),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error).secret()),
    }
}

#[inline]
pub(crate) fn tag_sp(frame: &[u8]) -> Parsed<'_, Tag<'_>> {
    let (rest, tag) = tag(frame)?;
    match rest {
        [b' ', rest @ ..] => Ok((rest, tag)),
        _ => expected(rest, "a space behind the tag"),
    }
}

/// The longest name that is known, and one byte more.
const LONGEST: usize = 16;

/// The name of a command, and as it came. Of a UID command both words.
#[inline]
pub(crate) fn name(i: &[u8]) -> Parsed<'_, (CommandName, &[u8])> {
    let Ok((rest, word)) = atom(i) else { return expected(i, "a command's name") };
    if word.eq_ignore_ascii_case(b"UID") {
        let behind = rest.strip_prefix(b" ").unwrap_or_default();
        let Ok((rest, second)) = atom(behind) else {
            return expected(rest, "a space and a command's name behind UID");
        };
        return match known_name(crate::grammar::primitive::taken(i, rest)) {
            CommandName::Other => expected(behind, "a command that UID can stand before"),
            name => Ok((rest, (name, second))),
        };
    }
    Ok((rest, (known_name(word), word)))
}

/// The command of this name, in any case.
pub(crate) fn known_name(name: &[u8]) -> CommandName {
    let mut upper = [0; LONGEST];
    let Some(upper) = upper.get_mut(..name.len()) else { return CommandName::Other };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    CommandName::from_upper(upper)
}

/// The line end, with nothing behind it.
pub(crate) fn end<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let (rest, ()) = crlf(i, cx)?;
    if rest.is_empty() { Ok((rest, ())) } else { expected(rest, "nothing behind the line end") }
}
