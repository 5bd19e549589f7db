//! The responses that many commands share: OK, NO and BAD with their codes, the server's identity, and mailbox names.

use io_common::Next;
use proto_imap::mailbox_view::ResolveError;
use proto_imap::server::{Reply, Server};
use proto_imap::types::{
    Condition, IString, IdField, LazyList, MailboxName, NameEncoding, PlainCode, ResponseCode,
    StatusResponse, Text, Untagged,
};
use proto_mail::Secure;

use crate::pending_result;

type Turn<'t, 'c> = pending_result::Turn<'t, 'c, Server<Secure>>;

/// Continues, or closes the session if the state machine rejected the call, which is a bug in this module.
pub(super) fn next_or_close(result: Result<(), proto_mail::Error>) -> Next {
    match result {
        Ok(()) => Next::Continue,
        Err(error) => {
            tracing::warn!(%error, "cannot send a response");
            Next::Close
        }
    }
}

pub(super) fn ok_status(text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::Ok, Text::first_line(text))
}

/// Answers OK.
pub(super) fn reply_ok(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(turn.machine.reply(reply, &ok_status(text), turn.tx))
}

/// Answers OK with a code.
pub(super) fn reply_ok_with_code(
    reply: Reply,
    code: ResponseCode<'_>,
    text: &str,
    turn: &mut Turn<'_, '_>,
) -> Next {
    next_or_close(turn.machine.reply(reply, &ok_status(text).with_code(code), turn.tx))
}

/// Answers BAD.
pub(super) fn reply_bad(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(turn.machine.reply(
        reply,
        &StatusResponse::new(Condition::Bad, Text::first_line(text)),
        turn.tx,
    ))
}

/// Answers BAD because a sequence set cannot be resolved.
pub(super) fn reply_unresolved(reply: Reply, error: ResolveError, turn: &mut Turn<'_, '_>) -> Next {
    match error {
        ResolveError::TooManyRanges => reply_limit(reply, "too many ranges: use smaller sets", turn),
        _ => reply_bad(reply, "no message has that number", turn),
    }
}

/// Answers BAD with LIMIT.
pub(super) fn reply_limit(reply: Reply, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    let status = StatusResponse::new(Condition::Bad, Text::first_line(text))
        .with_code(ResponseCode::Plain(PlainCode::Limit));
    next_or_close(turn.machine.reply(reply, &status, turn.tx))
}

/// Answers NO.
pub(super) fn reply_no(reply: Reply, code: PlainCode, text: &str, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(turn.machine.reply(reply, &no_status(code, text), turn.tx))
}

pub(super) fn no_status(code: PlainCode, text: &str) -> StatusResponse<'_> {
    StatusResponse::new(Condition::No, Text::first_line(text)).with_code(ResponseCode::Plain(code))
}

/// Answers with a status.
pub(super) fn reply_status(reply: Reply, status: &StatusResponse<'_>, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(turn.machine.reply(reply, status, turn.tx))
}

/// Answers NO with any code.
pub(super) fn reply_no_with_code(
    reply: Reply,
    code: ResponseCode<'_>,
    text: &str,
    turn: &mut Turn<'_, '_>,
) -> Next {
    let status = StatusResponse::new(Condition::No, Text::first_line(text)).with_code(code);
    next_or_close(turn.machine.reply(reply, &status, turn.tx))
}

/// Answers NO for an error of the store.
pub(super) fn reply_store_error(reply: Reply, error: &mailstore::Error, turn: &mut Turn<'_, '_>) -> Next {
    reply_no(reply, code_of(error), &error.to_string(), turn)
}

fn code_of(error: &mailstore::Error) -> PlainCode {
    use mailstore::Error;
    match error {
        Error::NotFound(_) => PlainCode::NonExistent,
        Error::Exists(_) => PlainCode::AlreadyExists,
        Error::InvalidName(_) | Error::Refused(_) | Error::NoSelect => PlainCode::Cannot,
        Error::Limit(_) | Error::TooManyMetadata => PlainCode::Limit,
        Error::NoRight => PlainCode::NoPerm,
        Error::OverQuota { .. } => PlainCode::OverQuota,
        Error::Full | Error::Busy | Error::Unavailable(_) => PlainCode::Unavailable,
        Error::Corrupt(_) => PlainCode::Corruption,
        error => {
            tracing::error!(%error, "store error");
            PlainCode::ServerBug
        }
    }
}

/// Like [`code_of`], for the destination mailbox of a message (RFC 9051 §6.3.12, §6.4.7).
pub(super) fn target_code_of(error: &mailstore::Error) -> PlainCode {
    match error {
        mailstore::Error::NotFound(_) | mailstore::Error::NoSelect => PlainCode::TryCreate,
        error => code_of(error),
    }
}

/// Returns the encoding of mailbox names in this session.
pub(super) fn encoding(machine: &Server<Secure>) -> NameEncoding {
    machine.name_encoding()
}

/// Decodes a mailbox name. Returns `None` if it is invalid.
pub(super) fn decode_name(mailbox: MailboxName<'_>, turn: &Turn<'_, '_>) -> Option<String> {
    mailbox.decode(turn.machine.name_encoding()).ok().map(std::borrow::Cow::into_owned)
}

/// Answers a command whose mailbox name is invalid.
pub(super) fn reply_invalid_name(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    reply_no(reply, PlainCode::Cannot, "invalid mailbox name", turn)
}

pub(super) fn identify(reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
    match turn.machine.data(&identity(), turn.tx) {
        Ok(()) => reply_ok(reply, "completed", turn),
        Err(error) => next_or_close(Err(error)),
    }
}

/// The server's answer to ID (RFC 2971). It contains no version, which would help an attacker.
pub(super) fn identity() -> Untagged<'static> {
    const NAME: IString<'static> = IString::new(b"name");
    const MAILWIRE: IString<'static> = IString::new(b"Mailwire");
    const FIELDS: &[IdField<'static>] = &[IdField { name: NAME, value: Some(MAILWIRE) }];
    Untagged::Id(LazyList::new(FIELDS))
}
