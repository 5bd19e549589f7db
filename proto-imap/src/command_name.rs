//! Command names, and the start of every command line: `tag SP command-name` (RFC 9051 §9 `command`).

use crate::grammar::owned::{Keeper, Shower, View, into_owned};
use crate::grammar::primitive::{atom, crlf};
use crate::grammar::{Context, Expected, Parsed, expected};
use crate::tag::{Tag, tag};
use core::fmt;
use proto_mail::SyntaxLocation;
use proto_mail::error::ErrorDetails;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a command. For UID commands it is both words, such as `UID FETCH`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CommandName {
            $($(#[$doc])* $name,)*
            /// A name that this library does not know.
            Other,
        }

        impl CommandName {
            /// All known names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name in upper case; empty for [`Other`](Self::Other).
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other => "",
                }
            }

            /// Returns the command with this key.
            const fn from_key(key: u128) -> Self {
                match key {
                    $(keys::$name => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }

        /// The key of each name.
        #[expect(non_upper_case_globals, reason = "a key has the name of its variant")]
        mod keys {
            $(pub(super) const $name: u128 = super::key_of($text);)*
        }
    };
}

names! {
    /// `APPEND`
    Append = "APPEND",
    /// `AUTHENTICATE`
    Authenticate = "AUTHENTICATE",
    /// `CANCELUPDATE`
    CancelUpdate = "CANCELUPDATE",
    /// `CAPABILITY`
    Capability = "CAPABILITY",
    /// `CHECK`
    Check = "CHECK",
    /// `CLOSE`
    Close = "CLOSE",
    /// `COMPARATOR`
    Comparator = "COMPARATOR",
    /// `COMPRESS`
    Compress = "COMPRESS",
    /// `COPY`
    Copy = "COPY",
    /// `CREATE`
    Create = "CREATE",
    /// `DELETE`
    Delete = "DELETE",
    /// `DELETEACL`
    DeleteAcl = "DELETEACL",
    /// `ENABLE`
    Enable = "ENABLE",
    /// `ESEARCH`
    Esearch = "ESEARCH",
    /// `EXAMINE`
    Examine = "EXAMINE",
    /// `EXPUNGE`
    Expunge = "EXPUNGE",
    /// `FETCH`
    Fetch = "FETCH",
    /// `GENURLAUTH`
    GenUrlAuth = "GENURLAUTH",
    /// `GETACL`
    GetAcl = "GETACL",
    /// `GETJMAPACCESS`
    GetJmapAccess = "GETJMAPACCESS",
    /// `GETMETADATA`
    GetMetadata = "GETMETADATA",
    /// `GETQUOTA`
    GetQuota = "GETQUOTA",
    /// `GETQUOTAROOT`
    GetQuotaRoot = "GETQUOTAROOT",
    /// `ID`
    Id = "ID",
    /// `IDLE`
    Idle = "IDLE",
    /// `LANGUAGE`
    Language = "LANGUAGE",
    /// `LIST`
    List = "LIST",
    /// `LISTRIGHTS`
    ListRights = "LISTRIGHTS",
    /// `LOGIN`
    Login = "LOGIN",
    /// `LOGOUT`
    Logout = "LOGOUT",
    /// `LSUB`
    Lsub = "LSUB",
    /// `MOVE`
    Move = "MOVE",
    /// `MYRIGHTS`
    MyRights = "MYRIGHTS",
    /// `NAMESPACE`
    Namespace = "NAMESPACE",
    /// `NOOP`
    Noop = "NOOP",
    /// `NOTIFY`
    Notify = "NOTIFY",
    /// `RENAME`
    Rename = "RENAME",
    /// `REPLACE`
    Replace = "REPLACE",
    /// `RESETKEY`
    ResetKey = "RESETKEY",
    /// `RLIST`
    Rlist = "RLIST",
    /// `RLSUB`
    Rlsub = "RLSUB",
    /// `SEARCH`
    Search = "SEARCH",
    /// `SELECT`
    Select = "SELECT",
    /// `SETACL`
    SetAcl = "SETACL",
    /// `SETMETADATA`
    SetMetadata = "SETMETADATA",
    /// `SETQUOTA`
    SetQuota = "SETQUOTA",
    /// `SORT`
    Sort = "SORT",
    /// `STARTTLS`
    StartTls = "STARTTLS",
    /// `STATUS`
    Status = "STATUS",
    /// `STORE`
    Store = "STORE",
    /// `SUBSCRIBE`
    Subscribe = "SUBSCRIBE",
    /// `THREAD`
    Thread = "THREAD",
    /// `UID COPY`
    UidCopy = "UID COPY",
    /// `UID EXPUNGE`
    UidExpunge = "UID EXPUNGE",
    /// `UID FETCH`
    UidFetch = "UID FETCH",
    /// `UID MOVE`
    UidMove = "UID MOVE",
    /// `UID REPLACE`
    UidReplace = "UID REPLACE",
    /// `UID SEARCH`
    UidSearch = "UID SEARCH",
    /// `UID SORT`
    UidSort = "UID SORT",
    /// `UID STORE`
    UidStore = "UID STORE",
    /// `UID THREAD`
    UidThread = "UID THREAD",
    /// `UIDBATCHES`
    UidBatches = "UIDBATCHES",
    /// `UNAUTHENTICATE`
    Unauthenticate = "UNAUTHENTICATE",
    /// `UNSELECT`
    Unselect = "UNSELECT",
    /// `UNSUBSCRIBE`
    Unsubscribe = "UNSUBSCRIBE",
    /// `URLFETCH`
    UrlFetch = "URLFETCH",
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that does not follow the grammar. The server answers `tag BAD`, or `* BAD` if the command has no tag.
///
/// The rest of the command may hold a password, so `Debug` and `Display` show no more of it than its tag and one word.
/// [`location`](Self::location) has an excerpt where that is safe.
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
    /// Up to 64 bytes of the command from `offset`; `None` if they may hold a secret.
    excerpt: Option<&'i [u8]>,
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

impl ErrorDetails for UnparsedCommand<'_> {}

impl<'i> View<'i> for UnparsedCommand<'i> {
    type Static = UnparsedCommand<'static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        UnparsedCommand {
            tag: self.tag.keep(keeper),
            offset: self.offset,
            expected: self.expected,
            found: self.found.keep(keeper),
            excerpt: self.excerpt.keep(keeper),
        }
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self {
            tag: View::show(kept.tag, shower),
            offset: kept.offset,
            expected: kept.expected,
            found: shower.bytes(),
            excerpt: View::show(kept.excerpt, shower),
        }
    }
}

into_owned!(UnparsedCommand);

/// The maximum number of bytes of a token that is shown.
const FOUND: usize = 32;

impl<'i> UnparsedCommand<'i> {
    /// Creates the error from the frame, its tag if it is known, and the parser's error.
    pub(crate) fn new(frame: &'i [u8], tag: Option<Tag<'i>>, error: nom::Err<Expected<'i>>) -> Self {
        let error = crate::grammar::into_expected(error);
        let found = atom(error.rest).map_or(&b""[..], |(_, atom)| atom);
        let found = found.get(..FOUND).unwrap_or(found);
        let offset = error.offset_in(frame);
        let rest = frame.get(offset..).unwrap_or_default();
        let excerpt = rest.get(..SyntaxLocation::MAX_EXCERPT).unwrap_or(rest);
        let excerpt = is_without_credentials(frame).then_some(excerpt);
        Self { tag, offset, expected: error.what, found, excerpt }
    }

    /// Returns the place of the error: its offset in the frame, and up to 64 bytes from there.
    ///
    /// The bytes are redacted in LOGIN, in AUTHENTICATE, and in a line without the name of a known command: it may be
    /// a mistyped LOGIN, or a SASL message at the wrong time. In other commands they can hold personal data, for
    /// example the text of a SEARCH.
    #[must_use]
    pub fn location(&self) -> SyntaxLocation {
        SyntaxLocation::excerpted(self.offset, self.excerpt)
    }

    /// Returns the error without any bytes of the command.
    pub(crate) const fn secret(self) -> Self {
        Self { found: b"", excerpt: None, ..self }
    }
}

/// Returns true if the frame is a known command that takes no credentials.
fn is_without_credentials(frame: &[u8]) -> bool {
    let known = tag_sp(frame).and_then(|(rest, _)| name(rest));
    known.is_ok_and(|(_, (name, _))| {
        !matches!(name, CommandName::Login | CommandName::Authenticate | CommandName::Other)
    })
}

/// Parses the tag and the name of a command. The third value is the rest: the bytes from the space or line end after
/// the name.
///
/// # Errors
/// [`UnparsedCommand`] if there is no tag or no name.
pub fn command_name(frame: &[u8]) -> Result<(Tag<'_>, CommandName, &[u8]), UnparsedCommand<'_>> {
    let (rest, tag) = tag_sp(frame).map_err(|error| UnparsedCommand::new(frame, None, error))?;
    let (rest, (name, _)) = name(rest).map_err(|error| UnparsedCommand::new(frame, Some(tag), error))?;
    Ok((tag, name, rest))
}

/// Parses a complete frame as a command that takes no arguments, and returns its tag and name.
///
/// # Errors
/// [`UnparsedCommand`] if anything follows the name.
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
        _ => expected(rest, "a space after the tag"),
    }
}

/// The length of the longest known name, plus one byte.
const LONGEST: usize = 16;

/// Returns a name in upper case as one number, which is faster to look up: its bytes, and zeros up to [`LONGEST`].
const fn key_of(name: &str) -> u128 {
    let mut padded = [0; LONGEST];
    padded.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
    u128::from_le_bytes(padded)
}

/// Parses the name of a command. Returns it with its bytes as received; for a UID command both words.
#[inline]
pub(crate) fn name(i: &[u8]) -> Parsed<'_, (CommandName, &[u8])> {
    let Ok((rest, word)) = atom(i) else { return expected(i, "a command name") };
    if word.eq_ignore_ascii_case(b"UID") {
        let behind = rest.strip_prefix(b" ").unwrap_or_default();
        let Ok((rest, second)) = atom(behind) else {
            return expected(rest, "a space and a command name after UID");
        };
        return match known_name(crate::grammar::primitive::taken(i, rest)) {
            CommandName::Other => expected(behind, "a command that can follow UID"),
            name => Ok((rest, (name, second))),
        };
    }
    Ok((rest, (known_name(word), word)))
}

/// Returns the command with this name. Case is ignored.
pub(crate) fn known_name(name: &[u8]) -> CommandName {
    let mut upper = [0; LONGEST];
    // A NUL at the end would be taken for padding.
    let Some(padded) = upper.get_mut(..name.len()).filter(|_| name.last() != Some(&0)) else {
        return CommandName::Other;
    };
    padded.copy_from_slice(name);
    upper.make_ascii_uppercase();
    CommandName::from_key(u128::from_le_bytes(upper))
}

/// Parses the line end. Nothing may follow it.
pub(crate) fn end<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let (rest, ()) = crlf(i, cx)?;
    if rest.is_empty() { Ok((rest, ())) } else { expected(rest, "no bytes after the line end") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// Returns the excerpt of the error of this frame; `None` if it is redacted.
    fn excerpt(frame: &str) -> Option<alloc::string::String> {
        let (frame, cx) = (frame.as_bytes(), Context::strict());
        let error = match command_name(frame) {
            Ok((_, CommandName::Login | CommandName::Authenticate, _)) => {
                parse::authentication(frame, &cx).unwrap_err()
            }
            Ok((_, CommandName::StartTls, _)) => parse::no_arguments(frame, &cx).unwrap_err(),
            Ok((_, CommandName::Append, _)) => parse::append_prefix(frame, &cx).unwrap_err(),
            _ => parse::command(frame, &cx).unwrap_err(),
        };
        let location = error.location();
        assert_eq!(location.offset(), error.offset);
        assert_eq!(error.into_owned().view().location(), location);
        location.excerpt().map(|excerpt| alloc::string::String::from_utf8_lossy(excerpt).into_owned())
    }

    #[test]
    fn a_syntax_error_shows_what_was_there() {
        assert_eq!(excerpt("a FETCH 1 (FLAGS (x\r\n").as_deref(), Some("(x\r\n"));
        assert_eq!(excerpt("a SELECT INBOX extra\r\n").as_deref(), Some(" extra\r\n"));
        assert_eq!(
            excerpt(&alloc::format!("a NOOP {}\r\n", "x".repeat(100))).map(|shown| shown.len()),
            Some(64)
        );
    }

    #[test]
    fn a_syntax_error_shows_nothing_that_may_be_a_credential() {
        for frame in [
            "a LOGIN bob hunter2 extra\r\n",
            "a login bob\r\n",
            "a AUTHENTICATE PLAIN AGEAaHVudGVyMg== x\r\n",
            "a LOGN bob hunter2",
            "LOGIN bob hunter2",
            "a  LOGIN bob hunter2\r\n",
            "AGEAaHVudGVyMg==\r\n",
            "a UID LOGIN bob hunter2\r\n",
            "a STARTTLS hunter2\r\n",
            "hunter2\r\n",
            "\r\n",
        ] {
            assert_eq!(excerpt(frame), None, "{frame:?}");
        }
    }
}
