//! Parses APPEND up to the header of its message literal.

use crate::append::AppendCommand;
use crate::command_name::{CommandName, UnparsedCommand, command_name, tag_sp};
use crate::date_time::DateTime;
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

fn append<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (AppendCommand<'i>, LiteralHeader)> {
    let (rest, mailbox) = mailbox(sp(i, cx)?.0, cx)?;
    let (rest, (flags, date)) = options(sp(rest, cx)?.0, cx)?;
    let append = AppendCommand { mailbox, flags, date };
    let (rest, announced) = announcement(rest)?;
    Ok((rest, (append, announced)))
}

/// `[flag-list SP] [date-time SP]`
pub(crate) fn options<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (FlagList<'i>, Option<DateTime>)> {
    let (mut rest, mut flags, mut date) = (i, FlagList::EMPTY, None);
    if rest.first() == Some(&b'(') {
        (rest, flags) = settable_flags(rest, cx)?;
        (rest, ()) = sp(rest, cx)?;
    }
    if rest.first() == Some(&b'"') {
        let (behind, found) = date_time(rest)?;
        date = Some(found);
        (rest, ()) = sp(behind, cx)?;
    }
    Ok((rest, (flags, date)))
}

/// `"{" number64 ["+"] "}" CRLF` or `"~{" number64 ["+"] "}" CRLF`, at the end of the input
pub(crate) fn announcement(i: &[u8]) -> Parsed<'_, LiteralHeader> {
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
