//! The table of command parsers: it maps each command to the function that parses its arguments.

use crate::acl::parse::{mailbox_identifier, set_acl};
use crate::cancel_update::cancel_update;
use crate::capability::parse::enable;
use crate::command::Command;
use crate::command::raw::RawCommand;
use crate::command_name::{CommandName, UnparsedCommand, end, name, tag_sp};
use crate::copy::copy;
use crate::create::create;
use crate::fetch_command::parse::{Vanished, fetch};
use crate::grammar::primitive::sp;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use crate::language;
use crate::list::parse::{list, lsub};
use crate::mailbox_name::parse::mailbox;
use crate::metadata::parse::{get_metadata, set_metadata};
use crate::multi_search::multi_search;
use crate::notify::notify;
use crate::quota::parse::set_quota;
use crate::rename::rename;
use crate::search::parse::search_command;
use crate::select::select;
use crate::sequence_set::sequence_set;
use crate::sort::sort;
use crate::status::parse::status;
use crate::store::store;
use crate::tag::Tag;
use crate::thread::parse::thread;
use crate::uid_batches::uid_batches;
use crate::url_auth::parse::{gen_url_auth, reset_key, url_fetch};

/// Parses a complete frame as a command: `command = tag SP (…) CRLF`.
///
/// APPEND, AUTHENTICATE, LOGIN and STARTTLS have their own parsers: see
/// [`append_prefix`](crate::parse::append_prefix), [`authentication`](fn@crate::parse::authentication) and
/// [`no_arguments`](crate::parse::no_arguments).
///
/// # Errors
/// [`UnparsedCommand`] if the frame is not such a command.
pub fn command<'i>(frame: &'i [u8], cx: &Context) -> Result<(Tag<'i>, Command<'i>), UnparsedCommand<'i>> {
    let (rest, tag) = tag_sp(frame).map_err(|error| UnparsedCommand::new(frame, None, error))?;
    match named(rest, cx) {
        Ok((_, command)) => Ok((tag, command)),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error)),
    }
}

/// Parses a command after its tag.
fn named<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Command<'i>> {
    let (rest, (name, word)) = name(i)?;
    let (rest, command) = match name {
        CommandName::Capability => (rest, Command::Capability),
        CommandName::Check => (rest, Command::Check),
        CommandName::Close => (rest, Command::Close),
        CommandName::Expunge => (rest, Command::Expunge),
        CommandName::GetJmapAccess => (rest, Command::GetJmapAccess),
        CommandName::Idle => (rest, Command::Idle),
        CommandName::Logout => (rest, Command::Logout),
        CommandName::Namespace => (rest, Command::Namespace),
        CommandName::Noop => (rest, Command::Noop),
        CommandName::Unauthenticate => (rest, Command::Unauthenticate),
        CommandName::Unselect => (rest, Command::Unselect),
        CommandName::Append
        | CommandName::Authenticate
        | CommandName::Compress
        | CommandName::Login
        | CommandName::Replace
        | CommandName::StartTls
        | CommandName::UidReplace => {
            return expected(i, "a command that a machine does not handle itself");
        }
        CommandName::Comparator => both(language::arguments(rest, cx)?, Command::Comparator),
        CommandName::Language => both(language::arguments(rest, cx)?, Command::Language),
        CommandName::ResetKey => both(reset_key(rest, cx)?, Command::ResetKey),
        CommandName::Other => return raw(rest, word, cx),
        _ if rest.first() != Some(&b' ') => return expected(rest, "a space and arguments"),
        _ => arguments(sp(rest, cx)?.0, name, cx)?,
    };
    end(rest, cx).map(|(rest, ())| (rest, command))
}

/// Parses the arguments of a command that has some.
fn arguments<'i>(i: &'i [u8], name: CommandName, cx: &Context) -> Parsed<'i, Command<'i>> {
    Ok(match name {
        CommandName::CancelUpdate => both(cancel_update(i, cx)?, Command::CancelUpdate),
        CommandName::Copy => both(copy(i, cx)?, Command::Copy),
        CommandName::Create => both(create(i, cx)?, Command::Create),
        CommandName::Delete => both(mailbox(i, cx)?, Command::Delete),
        CommandName::DeleteAcl => both(mailbox_identifier(i, cx)?, Command::DeleteAcl),
        CommandName::Enable => both(enable(i, cx)?, Command::Enable),
        CommandName::Esearch => both(multi_search(i, cx)?, Command::Esearch),
        CommandName::Examine => both(select(i, cx)?, Command::Examine),
        CommandName::Fetch => both(fetch(i, Vanished::Refused, cx)?, Command::Fetch),
        CommandName::GenUrlAuth => both(gen_url_auth(i, cx)?, Command::GenUrlAuth),
        CommandName::GetAcl => both(mailbox(i, cx)?, Command::GetAcl),
        CommandName::GetMetadata => both(get_metadata(i, cx)?, Command::GetMetadata),
        CommandName::GetQuota => both(astring(i, cx)?, Command::GetQuota),
        CommandName::GetQuotaRoot => both(mailbox(i, cx)?, Command::GetQuotaRoot),
        CommandName::Id => both(crate::id::parse::id_params_list(i, cx)?, Command::Id),
        CommandName::List => both(list(i, cx)?, Command::List),
        CommandName::ListRights => both(mailbox_identifier(i, cx)?, Command::ListRights),
        CommandName::Lsub => both(lsub(i, cx)?, Command::Lsub),
        CommandName::Move => both(copy(i, cx)?, Command::Move),
        CommandName::MyRights => both(mailbox(i, cx)?, Command::MyRights),
        CommandName::Notify => both(notify(i, cx)?, Command::Notify),
        CommandName::Rename => both(rename(i, cx)?, Command::Rename),
        CommandName::Rlist => both(lsub(i, cx)?, Command::Rlist),
        CommandName::Rlsub => both(lsub(i, cx)?, Command::Rlsub),
        CommandName::Search => both(search_command(i, cx)?, Command::Search),
        CommandName::Select => both(select(i, cx)?, Command::Select),
        CommandName::SetAcl => both(set_acl(i, cx)?, Command::SetAcl),
        CommandName::SetMetadata => both(set_metadata(i, cx)?, Command::SetMetadata),
        CommandName::SetQuota => both(set_quota(i, cx)?, Command::SetQuota),
        CommandName::Sort => both(sort(i, cx)?, Command::Sort),
        CommandName::Status => both(status(i, cx)?, Command::Status),
        CommandName::Store => both(store(i, cx)?, Command::Store),
        CommandName::Subscribe => both(mailbox(i, cx)?, Command::Subscribe),
        CommandName::Thread => both(thread(i, cx)?, Command::Thread),
        CommandName::UidBatches => both(uid_batches(i, cx)?, Command::UidBatches),
        CommandName::UidCopy => both(copy(i, cx)?, Command::UidCopy),
        CommandName::UidExpunge => both(sequence_set(i)?, Command::UidExpunge),
        CommandName::UidFetch => both(fetch(i, Vanished::Allowed, cx)?, Command::UidFetch),
        CommandName::UidMove => both(copy(i, cx)?, Command::UidMove),
        CommandName::UidSearch => both(search_command(i, cx)?, Command::UidSearch),
        CommandName::UidSort => both(sort(i, cx)?, Command::UidSort),
        CommandName::UidStore => both(store(i, cx)?, Command::UidStore),
        CommandName::UidThread => both(thread(i, cx)?, Command::UidThread),
        CommandName::Unsubscribe => both(mailbox(i, cx)?, Command::Unsubscribe),
        CommandName::UrlFetch => both(url_fetch(i, cx)?, Command::UrlFetch),
        _ => return expected(i, "a command that takes arguments"),
    })
}

fn both<'i, A>(
    (rest, arguments): (&'i [u8], A),
    command: impl Fn(A) -> Command<'i>,
) -> (&'i [u8], Command<'i>) {
    (rest, command(arguments))
}

/// Parses an unknown command. The bytes after its name are kept exactly as received.
fn raw<'i>(i: &'i [u8], name: &'i [u8], cx: &Context) -> Parsed<'i, Command<'i>> {
    let end_of_line = match i {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] if cx.is_tolerant() => 1,
        _ => return expected(b"", "the end of the line"),
    };
    let (arguments, line_end) = i.split_at(i.len() - end_of_line);
    if !matches!(arguments.first(), None | Some(b' ')) {
        return expected(i, "a space after the command name");
    }
    end(line_end, cx).map(|(rest, ())| (rest, Command::Raw(RawCommand::wire(name, arguments))))
}
