//! Parses APPEND up to the header of its message literal.

use crate::append::AppendCommand;
use crate::command_name::{CommandName, UnparsedCommand, command_name, tag_sp};
use crate::date_time::parse::date_time;
use crate::flags::FlagList;
use crate::flags::parse::settable_flags;
use crate::frame::{Binary, LiteralHeader, Sync};
use crate::grammar::primitive::{sp, taken};
use crate::grammar::string::parse::literal_size;
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_name::parse::mailbox;
use crate::tag::Tag;

/// Parses `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`, up to and including the line end
/// after the announcement of the message. Returns the announcement too.
///
/// # Errors
/// [`UnparsedCommand`] if the frame is not an APPEND, or does not end there.
pub fn append_prefix<'i>(
    frame: &'i [u8],
    cx: &Context,
) -> Result<(Tag<'i>, AppendCommand<'i>, LiteralHeader), UnparsedCommand<'i>> {
    let (tag, name, rest) = command_name(frame)?;
    let read = match name {
        CommandName::Append => append(rest, cx),
        _ => expected(tag_sp(frame).map_or(rest, |(rest, _)| rest), "APPEND"),
    };
    match read {
        Ok((_, (append, announced))) => Ok((tag, append, announced)),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error)),
    }
}

/// Returns whether the literal announced at the end of `frame` is the message of an APPEND, and not its mailbox name
/// or another command's string. `frame` is the command so far, up to and including the line end.
///
/// The grammar decides this, not the size: everything before the literal must be what an APPEND can have there.
///
/// If a frame announces several literals, calling this for each costs time linear in the frame's length in total.
#[must_use]
pub fn is_append_payload(frame: &[u8]) -> bool {
    is_in_place(frame) == Some(true) && append_prefix(frame, &Context::strict()).is_ok()
}

/// Returns whether the last line is the first one, or follows a mailbox name that is a literal. Only the bytes back
/// to the previous line end are searched, so that earlier lines are not parsed again for each literal.
fn is_in_place(frame: &[u8]) -> Option<bool> {
    let (_, name, rest) = command_name(frame).ok()?;
    let mailbox = rest.strip_prefix(b" ")?;
    let last = if mailbox.first() == Some(&b'{') {
        let (behind, size) = literal_size(mailbox, &Context::strict()).ok()?;
        behind.get(usize::try_from(size).ok()?..)?
    } else {
        mailbox
    };
    let line = last.strip_suffix(b"\r\n")?;
    Some(name == CommandName::Append && memchr::memrchr(b'\n', line).is_none())
}

fn append<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (AppendCommand<'i>, LiteralHeader)> {
    let (rest, mailbox) = mailbox(sp(i, cx)?.0, cx)?;
    let (mut rest, ()) = sp(rest, cx)?;
    let mut append = AppendCommand { mailbox, flags: FlagList::EMPTY, date: None };
    if rest.first() == Some(&b'(') {
        let (behind, flags) = settable_flags(rest, cx)?;
        append.flags = flags;
        (rest, ()) = sp(behind, cx)?;
    }
    if rest.first() == Some(&b'"') {
        let (behind, date) = date_time(rest)?;
        append.date = Some(date);
        (rest, ()) = sp(behind, cx)?;
    }
    let (rest, announced) = announcement(rest)?;
    Ok((rest, (append, announced)))
}

/// `"{" number64 ["+"] "}" CRLF` or `"~{" number64 ["+"] "}" CRLF`, at the end of the input
fn announcement(i: &[u8]) -> Parsed<'_, LiteralHeader> {
    let (brace, binary) = match i {
        [b'~', rest @ ..] => (rest, Binary::Yes),
        _ => (i, Binary::No),
    };
    if brace.first() != Some(&b'{') {
        return expected(i, "flags, a date and time or the message as a literal");
    }
    let (rest, size) = literal_size(brace, &Context::strict())?;
    if !rest.is_empty() {
        return expected(rest, "no bytes after the announcement of the message");
    }
    let sync =
        if taken(brace, rest).ends_with(b"+}\r\n") { Sync::NonSynchronising } else { Sync::Synchronising };
    Ok((rest, LiteralHeader { size, sync, binary }))
}
