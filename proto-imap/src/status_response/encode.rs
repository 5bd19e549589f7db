//! Writes status responses and response codes.

use crate::annotation::put_support;
use crate::capability::encode::{can_write_any, capabilities};
use crate::grammar::sink::{Sink, number, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{astring, is_atom, nstring};
use crate::numbers::Numbers;
use crate::numbers::encode::sequence_set;
use crate::status_response::{Progress, ResponseCode, StatusResponse, Text};

/// `("OK" / "NO" / "BAD" / "PREAUTH" / "BYE") SP resp-text`, without the line end
pub(crate) fn resp_cond(status: &StatusResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(status.condition.as_str().as_bytes());
    out.put(b" ");
    resp_text(status.code.as_ref(), status.text, out);
}

/// `["[" resp-text-code "]" SP] text`
///
/// If the grammar cannot express the code (a `UIDNEXT` of 0, an empty set), only the text is written.
pub(crate) fn resp_text(code: Option<&ResponseCode<'_>>, line: Text<'_>, out: &mut (impl Sink + ?Sized)) {
    match code.filter(|code| can_be_written(code)) {
        Some(code) => {
            out.put(b"[");
            resp_text_code(code, out);
            out.put(b"] ");
        }
        // A bracket at the start of the text would be parsed as the start of a code.
        None if line.as_bytes().first() == Some(&b'[') => out.put(b" "),
        None => {}
    }
    text(line, out);
}

/// `text`: bytes that are not UTF-8, NULs and CRs are written as `?`; only the tolerant parser accepts such texts. An
/// empty text is written as a full stop, because clients that implement only RFC 3501 require a text.
pub(crate) fn text(text: Text<'_>, out: &mut (impl Sink + ?Sized)) {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        out.put(b".");
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            out.put(rest.get(..at).unwrap_or_default());
            out.put(b"?");
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        out.put(rest);
        if !chunk.invalid().is_empty() {
            out.put(b"?");
        }
    }
}

fn can_be_written(code: &ResponseCode<'_>) -> bool {
    let listed = |numbers: &Numbers<'_>| !numbers.is_empty() && !numbers.contains(0);
    match code {
        ResponseCode::AppendUid { uid_validity, uids } => *uid_validity > 0 && listed(uids),
        ResponseCode::CopyUid { uid_validity, source, target } => {
            *uid_validity > 0 && listed(source) && listed(target)
        }
        ResponseCode::Capability(list) => can_write_any(*list),
        ResponseCode::BadEvent(names) => !names.is_empty() && names.iter().all(is_atom),
        ResponseCode::HighestModSeq(value) => *value > 0,
        ResponseCode::MailboxId(id) => is_atom(*id),
        ResponseCode::MessageLimit { limit, .. } => *limit > 0,
        ResponseCode::InProgress(progress) => {
            progress.tag.is_none_or(|tag| crate::tag::Tag::is_valid(&tag.as_bytes()))
                && (progress.done.is_some() || progress.goal.is_none())
        }
        ResponseCode::Modified(numbers) => listed(numbers),
        ResponseCode::Referral(url) | ResponseCode::BadUrl(url) => is_argument(*url),
        ResponseCode::NoUpdate(tag) => crate::tag::Tag::is_valid(&tag.as_bytes()),
        ResponseCode::UndefinedFilter(name) => is_atom(*name) && !name.raw().contains(&b'/'),
        ResponseCode::UidNext(uid) | ResponseCode::Unseen(uid) => uid.is_some(),
        ResponseCode::UidValidity(value) => *value > 0,
        ResponseCode::Other { name, argument } => {
            is_atom(*name) && argument.is_none_or(is_argument) && !is_misread(*name)
        }
        _ => true,
    }
}

/// Returns whether the code has its own variant. It was then kept as raw text because it did not follow its grammar.
fn is_misread(name: IString<'_>) -> bool {
    const TYPED: &[&[u8]] = &[
        b"APPENDUID",
        b"BADCHARSET",
        b"BADEVENT",
        b"BADURL",
        b"CAPABILITY",
        b"COPYUID",
        b"HIGHESTMODSEQ",
        b"INPROGRESS",
        b"MAILBOXID",
        b"MESSAGELIMIT",
        b"METADATA",
        b"MODIFIED",
        b"NOUPDATE",
        b"PERMANENTFLAGS",
        b"REFERRAL",
        b"UNDEFINED-FILTER",
        b"UIDNEXT",
        b"UIDVALIDITY",
        b"UNSEEN",
    ];
    TYPED.iter().any(|typed| name.eq_ignore_ascii_case(typed))
}

/// `1*<any TEXT-CHAR except "]">`
fn is_argument(argument: IString<'_>) -> bool {
    let raw = argument.raw();
    !raw.is_empty()
        && raw.iter().all(|byte| matches!(byte, 1..=0x7f) && !matches!(byte, b']' | b'\r' | b'\n'))
}

fn resp_text_code<S: Sink + ?Sized>(code: &ResponseCode<'_>, out: &mut S) {
    let named = |name: &[u8], out: &mut S| {
        out.put(name);
        out.put(b" ");
    };
    let with_number = |name: &[u8], value: u64, out: &mut S| {
        named(name, out);
        number(value, out);
    };
    match *code {
        ResponseCode::Plain(plain) => out.put(plain.as_str().as_bytes()),
        ResponseCode::AppendUid { uid_validity, uids } => {
            with_number(b"APPENDUID", uid_validity.into(), out);
            out.put(b" ");
            sequence_set(uids, out);
        }
        ResponseCode::BadCharset(charsets) => {
            out.put(b"BADCHARSET");
            if !charsets.is_empty() {
                out.put(b" ");
                parenthesised(charsets, out, |charset, out| astring(charset, out));
            }
        }
        ResponseCode::BadEvent(names) => {
            out.put(b"BADEVENT ");
            parenthesised(names, out, |name, out| out.put(name.raw()));
        }
        ResponseCode::Capability(list) => {
            out.put(b"CAPABILITY ");
            capabilities(list, out);
        }
        ResponseCode::CopyUid { uid_validity, source, target } => {
            with_number(b"COPYUID", uid_validity.into(), out);
            out.put(b" ");
            sequence_set(source, out);
            out.put(b" ");
            sequence_set(target, out);
        }
        ResponseCode::HighestModSeq(value) => with_number(b"HIGHESTMODSEQ", value, out),
        ResponseCode::MailboxId(id) => {
            out.put(b"MAILBOXID (");
            out.put(id.raw());
            out.put(b")");
        }
        ResponseCode::InProgress(progress) => put_progress(&progress, out),
        ResponseCode::MessageLimit { limit, lowest_uid } => {
            with_number(b"MESSAGELIMIT", limit.into(), out);
            if let Some(uid) = lowest_uid {
                out.put(b" ");
                number(uid.get().into(), out);
            }
        }
        ResponseCode::AnnotateTooBig => out.put(b"ANNOTATE TOOBIG"),
        ResponseCode::AnnotateTooMany => out.put(b"ANNOTATE TOOMANY"),
        ResponseCode::Annotations(support) => {
            out.put(b"ANNOTATIONS ");
            put_support(support, out);
        }
        ResponseCode::MetadataLongEntries(size) => with_number(b"METADATA LONGENTRIES", size.into(), out),
        ResponseCode::MetadataMaxSize(size) => with_number(b"METADATA MAXSIZE", size.into(), out),
        ResponseCode::MetadataNoPrivate => out.put(b"METADATA NOPRIVATE"),
        ResponseCode::MetadataTooMany => out.put(b"METADATA TOOMANY"),
        ResponseCode::Modified(numbers) => {
            out.put(b"MODIFIED ");
            sequence_set(numbers, out);
        }
        ResponseCode::PermanentFlags(flags) => {
            out.put(b"PERMANENTFLAGS ");
            crate::flags::encode::flag_perm_list(flags, out);
        }
        ResponseCode::Referral(url) => {
            out.put(b"REFERRAL ");
            out.put(url.raw());
        }
        ResponseCode::UidNext(uid) => with_number(b"UIDNEXT", uid.map_or(0, |uid| uid.get().into()), out),
        ResponseCode::UidValidity(value) => with_number(b"UIDVALIDITY", value.into(), out),
        ResponseCode::Unseen(sequence) => {
            with_number(b"UNSEEN", sequence.map_or(0, |sequence| sequence.get().into()), out);
        }
        ResponseCode::BadUrl(url) => {
            out.put(b"BADURL ");
            out.put(url.raw());
        }
        ResponseCode::NoUpdate(tag) => {
            out.put(b"NOUPDATE ");
            crate::grammar::string::encode::string(tag, out);
        }
        ResponseCode::UndefinedFilter(name) => {
            out.put(b"UNDEFINED-FILTER ");
            out.put(name.raw());
        }
        ResponseCode::Other { name, argument } => {
            out.put(name.raw());
            if let Some(argument) = argument {
                out.put(b" ");
                out.put(argument.raw());
            }
        }
    }
}

/// `"INPROGRESS" [SP "(" (quoted / nil) SP (number / nil) SP (nz-number / nil) ")"]`
fn put_progress(progress: &Progress<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"INPROGRESS");
    if *progress == Progress::default() {
        return;
    }
    out.put(b" (");
    nstring(progress.tag, out);
    for value in [progress.done, progress.goal.map(|goal| goal.get())] {
        out.put(b" ");
        match value {
            Some(value) => number(value.into(), out),
            None => out.put(b"NIL"),
        }
    }
    out.put(b")");
}
