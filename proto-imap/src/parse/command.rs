//! Commands (RFC 9051 §9 `command`): from one whole frame, line and literals, to a [`Command`].
//!
//! A server asks for the [`command_name`] first and judges by it whether the command may be given at all; then it reads
//! the rest with the function that fits the name. This file knows which arguments belong to which command; how each
//! argument is written is in the files beside it.

use core::fmt;

use super::arguments::{
    Vanished, copy, create, fetch, list, lsub, mailbox, rename, search, select, status, store,
};
use super::primitive::{atom, crlf, sp, tag};
use super::sequence::sequence_set;
use super::{Context, Expected, Parsed, expected, extension, status as capability};
use crate::types::command::{Command, CommandName, RawCommand};
use crate::types::{Repair, Tag};

/// A command that the grammar does not cover. It costs itself alone: answer `tag BAD`, or `* BAD` where there is no
/// tag.
///
/// Nothing of what came is kept but the tag and a harmless token: it could be a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnparsedCommand<'i> {
    /// The command's tag, if it has one.
    pub tag: Option<Tag<'i>>,
    /// How many octets of the frame stand before the place where it went wrong.
    pub at: usize,
    /// The element of the grammar that was due there.
    pub why: &'static str,
    /// The atom that stands there instead; empty if something else does, or if it could be a secret.
    pub found: &'i [u8],
}

impl fmt::Display for UnparsedCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected {} at octet {}", self.why, self.at)?;
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
            .field("at", &self.at)
            .field("why", &self.why)
            .finish()
    }
}

impl core::error::Error for UnparsedCommand<'_> {}

/// How much of a token is shown.
const FOUND: usize = 32;

impl<'i> UnparsedCommand<'i> {
    /// `frame` is what was read, `tag` what is known of its tag.
    pub(super) fn new(frame: &'i [u8], tag: Option<Tag<'i>>, error: nom::Err<Expected<'i>>) -> Self {
        let error = super::why(error);
        let found = atom(error.rest).map_or(&b""[..], |(_, atom)| atom);
        let found = found.get(..FOUND).unwrap_or(found);
        Self { tag, at: error.offset_in(frame), why: error.what, found }
    }

    /// The same, showing nothing of what came.
    pub(super) const fn secret(self) -> Self {
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

/// `command = tag SP (…) CRLF`: reads a whole frame.
///
/// APPEND, AUTHENTICATE, LOGIN and STARTTLS are not read here: see [`append_prefix`](fn@super::append_prefix),
/// [`authentication`](fn@super::authentication) and [`no_arguments`].
///
/// # Errors
/// [`UnparsedCommand`] if the frame is no such command.
pub fn command<'i>(frame: &'i [u8], cx: &Context) -> Result<(Tag<'i>, Command<'i>), UnparsedCommand<'i>> {
    let (rest, tag) = tag_sp(frame).map_err(|error| UnparsedCommand::new(frame, None, error))?;
    match named(rest, cx) {
        Ok((_, command)) => Ok((tag, command)),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error)),
    }
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
pub(super) fn tag_sp(frame: &[u8]) -> Parsed<'_, Tag<'_>> {
    let (rest, tag) = tag(frame)?;
    match rest {
        [b' ', rest @ ..] => Ok((rest, tag)),
        _ => expected(rest, "a space behind the tag"),
    }
}

/// The longest name that is known, and one octet more.
const LONGEST: usize = 16;

/// The name of a command, and as it came. Of a UID command both words.
#[inline]
fn name(i: &[u8]) -> Parsed<'_, (CommandName, &[u8])> {
    let Ok((rest, word)) = atom(i) else { return expected(i, "a command's name") };
    if word.eq_ignore_ascii_case(b"UID") {
        let behind = rest.strip_prefix(b" ").unwrap_or_default();
        let Ok((rest, second)) = atom(behind) else {
            return expected(rest, "a space and a command's name behind UID");
        };
        return match known_name(super::value::taken(i, rest)) {
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

/// A command behind its tag.
fn named<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Command<'i>> {
    let (rest, (name, word)) = name(i)?;
    let (rest, command) = match name {
        CommandName::Capability => (rest, Command::Capability),
        CommandName::Check => (rest, Command::Check),
        CommandName::Close => (rest, Command::Close),
        CommandName::Expunge => (rest, Command::Expunge),
        CommandName::Idle => (rest, Command::Idle),
        CommandName::Logout => (rest, Command::Logout),
        CommandName::Namespace => (rest, Command::Namespace),
        CommandName::Noop => (rest, Command::Noop),
        CommandName::Unselect => (rest, Command::Unselect),
        CommandName::Append | CommandName::Authenticate | CommandName::Login | CommandName::StartTls => {
            return expected(i, "a command that is neither APPEND, AUTHENTICATE, LOGIN nor STARTTLS");
        }
        CommandName::Other => return raw(rest, word, cx),
        _ if rest.first() != Some(&b' ') => return expected(rest, "a space and arguments"),
        _ => arguments(sp(rest, cx)?.0, name, cx)?,
    };
    end(rest, cx).map(|(rest, ())| (rest, command))
}

/// The arguments of a command that has some.
fn arguments<'i>(i: &'i [u8], name: CommandName, cx: &Context) -> Parsed<'i, Command<'i>> {
    Ok(match name {
        CommandName::Copy => both(copy(i, cx)?, Command::Copy),
        CommandName::Create => both(create(i, cx)?, Command::Create),
        CommandName::Delete => both(mailbox(i, cx)?, Command::Delete),
        CommandName::Enable => return enable(i, cx),
        CommandName::Examine => both(select(i, cx)?, Command::Examine),
        CommandName::Fetch => both(fetch(i, Vanished::Refused, cx)?, Command::Fetch),
        CommandName::Id => both(extension::id_params_list(i, cx)?, Command::Id),
        CommandName::List => both(list(i, cx)?, Command::List),
        CommandName::Lsub => both(lsub(i, cx)?, Command::Lsub),
        CommandName::Move => both(copy(i, cx)?, Command::Move),
        CommandName::Rename => both(rename(i, cx)?, Command::Rename),
        CommandName::Search => both(search(i, cx)?, Command::Search),
        CommandName::Select => both(select(i, cx)?, Command::Select),
        CommandName::Status => both(status(i, cx)?, Command::Status),
        CommandName::Store => both(store(i, cx)?, Command::Store),
        CommandName::Subscribe => both(mailbox(i, cx)?, Command::Subscribe),
        CommandName::UidCopy => both(copy(i, cx)?, Command::UidCopy),
        CommandName::UidExpunge => both(sequence_set(i)?, Command::UidExpunge),
        CommandName::UidFetch => both(fetch(i, Vanished::Allowed, cx)?, Command::UidFetch),
        CommandName::UidMove => both(copy(i, cx)?, Command::UidMove),
        CommandName::UidSearch => both(search(i, cx)?, Command::UidSearch),
        CommandName::UidStore => both(store(i, cx)?, Command::UidStore),
        CommandName::Unsubscribe => both(mailbox(i, cx)?, Command::Unsubscribe),
        _ => return expected(i, "a command that takes arguments"),
    })
}

fn both<'i, A>(
    (rest, arguments): (&'i [u8], A),
    command: impl Fn(A) -> Command<'i>,
) -> (&'i [u8], Command<'i>) {
    (rest, command(arguments))
}

/// `enable = "ENABLE" 1*(SP capability)`
fn enable<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Command<'i>> {
    let (mut rest, _) = atom(i)?;
    while rest.first() == Some(&b' ') {
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b'\r' | b'\n')) && cx.repair(Repair::ExtraSpace) {
            break;
        }
        (rest, _) = atom(behind)?;
    }
    Ok((rest, Command::Enable(capability::capability_list(super::value::taken(i, rest)))))
}

/// A command that is not known: what is behind its name is kept as it came.
fn raw<'i>(i: &'i [u8], name: &'i [u8], cx: &Context) -> Parsed<'i, Command<'i>> {
    let end_of_line = match i {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] if cx.is_tolerant() => 1,
        _ => return expected(b"", "the end of the line"),
    };
    let (arguments, line_end) = i.split_at(i.len() - end_of_line);
    if !matches!(arguments.first(), None | Some(b' ')) {
        return expected(i, "a space behind the command's name");
    }
    end(line_end, cx).map(|(rest, ())| (rest, Command::Raw(RawCommand::wire(name, arguments))))
}

/// The line end, with nothing behind it.
pub(super) fn end<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let (rest, ()) = crlf(i, cx)?;
    if rest.is_empty() { Ok((rest, ())) } else { expected(rest, "nothing behind the line end") }
}
