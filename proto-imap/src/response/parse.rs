//! The table of response parsers: it maps each response to the function that parses it.

use crate::acl::parse::{acl, list_rights, my_rights};
use crate::capability::parse::capabilities;
use crate::fetch::parse::{Found, ItemPosition, step};
use crate::fetch::{FetchItem, FetchResponse};
use crate::flags::parse::flag_list;
use crate::grammar::characters::is_atom_char;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::number::nz_number;
use crate::grammar::primitive::{byte, crlf, open, sp, spaces, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::quoted;
use crate::grammar::unparsed::Unparsed;
use crate::grammar::{Context, Parsed, expected};
use crate::id::parse::id_params_list;
use crate::language::{comparator_data, language_data};
use crate::list::parse::mailbox_list;
use crate::metadata::parse::metadata;
use crate::namespace::parse::namespaces;
use crate::quota::parse::{quota, quota_root};
use crate::response::{ContinuationRequest, Response, Untagged};
use crate::search::parse::{esearch_response, search};
use crate::status::parse::mailbox_status;
use crate::status_response::parse::{resp_cond, resp_text, text};
use crate::status_response::{Condition, StatusResponse, Text};
use crate::tag::tag;
use crate::thread::parse::thread_response;
use crate::uid_batches::uid_batches_response;
use crate::url_auth::parse::{gen_url_auth_data, url_fetch_data};
use crate::vanished::vanished;

/// Parses one complete response: a line with its CRLF and all literals that it announces.
///
/// The literals of section contents are included. To stream them, parse a FETCH response with
/// [`fetch`](crate::parse::fetch) instead.
///
/// *Tolerant*: NULs before the response; further spaces; a line `[CODE]` is parsed as `* OK [CODE]`; a line that is
/// not a response is an untagged `BAD` with that text.
#[must_use]
pub fn response<'i>(frame: &'i [u8], cx: &Context) -> Response<'i> {
    cx.repairs.begin();
    match cx.attempts(|| whole_response(frame, cx)) {
        Ok((_, response)) => response,
        Err(error) => Response::Unparsed(Unparsed::new(frame, error)),
    }
}

fn whole_response<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Response<'i>> {
    let i = behind_nuls(i, cx);
    let (rest, response) = match i.first() {
        Some(b'*') => {
            let (rest, ()) = sp(i.get(1..).unwrap_or_default(), cx)?;
            let (rest, data) = untagged(rest, cx)?;
            (rest, Response::Untagged(data))
        }
        Some(b'+') => continue_req(i, cx)?,
        Some(b'[') if cx.is_tolerant() => bare_code(i, cx)?,
        _ => match response_tagged(i, cx) {
            Err(_) if cx.is_tolerant() => stray_line(i, cx)?,
            tagged => tagged?,
        },
    };
    if matches!(response, Response::Untagged(Untagged::Fetch(_) | Untagged::UidFetch { .. })) {
        return Ok((rest, response));
    }
    match crlf(rest, cx) {
        Ok((b"", ())) => Ok((b"", response)),
        Ok((rest, ())) => expected(rest, "the end of the response"),
        Err(_) if !rest.is_empty() && cx.repair(Repair::TrailingData) => Ok((b"", response)),
        Err(error) => Err(error),
    }
}

fn behind_nuls<'i>(i: &'i [u8], cx: &Context) -> &'i [u8] {
    if i.first() != Some(&0) || !cx.repair(Repair::Nul) {
        return i;
    }
    let end = i.iter().position(|byte| *byte != 0).unwrap_or(i.len());
    i.get(end..).unwrap_or_default()
}

/// `response-tagged = tag SP resp-cond-state CRLF`, without the line end. *Tolerant*: `BYE` and `PREAUTH`.
fn response_tagged<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Response<'i>> {
    let (rest, tag) = tag(i)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, status) = resp_cond(rest, cx)?;
    if matches!(status.condition, Condition::Bye | Condition::PreAuth) && !cx.repair(Repair::TaggedBye) {
        return expected(i, "OK, NO or BAD");
    }
    Ok((rest, Response::Tagged { tag, status }))
}

/// `continue-req = "+" SP (resp-text / base64) CRLF`, without the line end.
///
/// *Tolerant*: no space; no text; `""` instead of no text.
fn continue_req<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Response<'i>> {
    let (rest, ()) = byte(i, b'+', "a plus sign")?;
    let rest = match rest {
        [b' ', rest @ ..] => rest,
        _ if cx.repair(Repair::MissingText) => rest,
        _ => return expected(rest, "a space"),
    };
    let (rest, (code, mut text)) = resp_text(rest, cx)?;
    if text.as_bytes() == b"\"\"" && cx.repair(Repair::StringForm) {
        text = Text::EMPTY;
    }
    Ok((rest, Response::Continue(ContinuationRequest { code, text })))
}

/// Parses a response code without the `* OK` before it. *Tolerant* only.
fn bare_code<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Response<'i>> {
    let (rest, (code, text)) = resp_text(i, cx)?;
    cx.repairs.note(Repair::MissingStatus);
    Ok((rest, Response::Untagged(Untagged::Status(StatusResponse { condition: Condition::Ok, code, text }))))
}

/// Parses a line of text that is not a response. It concerns no command. *Tolerant* only.
///
/// A line that may be a part of a broken response is not taken for text, and therefore causes no event of its own.
fn stray_line<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Response<'i>> {
    let (rest, text) = text(i, cx)?;
    if !matches!(rest, b"\r\n" | b"\n") || !are_words(text.as_bytes()) {
        return expected(i, "a response");
    }
    cx.repairs.note(Repair::StrayLine);
    Ok((rest, Response::Untagged(Untagged::Status(StatusResponse::new(Condition::Bad, text)))))
}

/// Returns whether a line starts with a letter and has no unbalanced quotes or parentheses.
fn are_words(line: &[u8]) -> bool {
    let depth = line.iter().try_fold(0_usize, |depth, byte| match byte {
        b'(' => depth.checked_add(1),
        b')' => depth.checked_sub(1),
        b'"' => None,
        _ => Some(depth),
    });
    depth == Some(0) && line.first().is_some_and(|first| first.is_ascii_alphabetic() || *first >= 0x80)
}

/// `response-data`, without the asterisk and the line end
fn untagged<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Untagged<'i>> {
    if i.first().is_some_and(u8::is_ascii_digit) {
        return numbered(i, cx);
    }
    let end = i.iter().position(|byte| !is_atom_char(*byte)).unwrap_or(i.len());
    let (name, rest) = i.split_at(end);
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    match name.len() {
        2 if is(b"ID") => argument(rest, cx, id_params_list, Untagged::Id),
        2 | 3 | 7 if is(b"OK") || is(b"NO") || is(b"BAD") || is(b"BYE") || is(b"PREAUTH") => {
            resp_cond(i, cx).map(|(rest, status)| (rest, Untagged::Status(status)))
        }
        3 if is(b"ACL") => argument(rest, cx, acl, Untagged::Acl),
        4 if is(b"LIST") => argument(rest, cx, mailbox_list, Untagged::List),
        4 if is(b"LSUB") => argument(rest, cx, mailbox_list, Untagged::Lsub),
        4 if is(b"SORT") => search(rest, cx).map(|(rest, search)| (rest, Untagged::Sort(search))),
        5 if is(b"FLAGS") => argument(rest, cx, flag_list, Untagged::Flags),
        5 if is(b"QUOTA") => argument(rest, cx, quota, Untagged::Quota),
        5 if is(b"XLIST") && cx.is_tolerant() => argument(rest, cx, mailbox_list, Untagged::Xlist),
        6 if is(b"SEARCH") => search(rest, cx).map(|(rest, search)| (rest, Untagged::Search(search))),
        6 if is(b"THREAD") => {
            thread_response(rest, cx).map(|(rest, threads)| (rest, Untagged::Thread(threads)))
        }
        6 if is(b"STATUS") => argument(rest, cx, mailbox_status, Untagged::MailboxStatus),
        7 if is(b"ENABLED") => capabilities(rest, cx).map(|(rest, list)| (rest, Untagged::Enabled(list))),
        7 if is(b"ESEARCH") => {
            esearch_response(rest, cx).map(|(rest, esearch)| (rest, Untagged::Esearch(esearch)))
        }
        8 if is(b"LANGUAGE") => argument(rest, cx, language_data, Untagged::Language),
        8 if is(b"METADATA") => argument(rest, cx, metadata, Untagged::Metadata),
        8 if is(b"MYRIGHTS") => argument(rest, cx, my_rights, Untagged::MyRights),
        8 if is(b"VANISHED") => {
            vanished(rest, cx).map(|(rest, (when, uids))| (rest, Untagged::Vanished { when, uids }))
        }
        8 if is(b"URLFETCH") => argument(rest, cx, url_fetch_data, Untagged::UrlFetch),
        9 if is(b"NAMESPACE") => namespaces(rest, cx).map(|(rest, names)| (rest, Untagged::Namespace(names))),
        9 if is(b"QUOTAROOT") => argument(rest, cx, quota_root, Untagged::QuotaRoot),
        10 if is(b"GENURLAUTH") => argument(rest, cx, gen_url_auth_data, Untagged::GenUrlAuth),
        10 if is(b"COMPARATOR") => argument(rest, cx, comparator_data, Untagged::Comparator),
        10 if is(b"JMAPACCESS") => argument(rest, cx, quoted, Untagged::JmapAccess),
        10 if is(b"LISTRIGHTS") => argument(rest, cx, list_rights, Untagged::ListRights),
        10 if is(b"UIDBATCHES") => {
            uid_batches_response(rest, cx).map(|(rest, batches)| (rest, Untagged::UidBatches(batches)))
        }
        10 if is(b"CAPABILITY") => {
            capabilities(rest, cx).map(|(rest, list)| (rest, Untagged::Capability(list)))
        }
        _ => other(i, name, rest),
    }
}

/// `SP value`
fn argument<'i, T>(
    i: &'i [u8],
    cx: &Context,
    value: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
    data: impl Fn(T) -> Untagged<'i>,
) -> Parsed<'i, Untagged<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, value) = value(rest, cx)?;
    Ok((rest, data(value)))
}

/// Parses a response that starts with a number: `number SP "EXISTS" / number SP "RECENT" / message-data`
fn numbered<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Untagged<'i>> {
    let (rest, number) = crate::grammar::number::number(i, cx)?;
    let (behind, ()) = sp(rest, cx)?;
    let end = behind.iter().position(|byte| !is_atom_char(*byte)).unwrap_or(behind.len());
    let (name, rest) = behind.split_at(end);
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    if is(b"EXISTS") {
        Ok((rest, Untagged::Exists(number)))
    } else if is(b"RECENT") {
        Ok((rest, Untagged::Recent(number)))
    } else if is(b"EXPUNGE") {
        let (_, number) = nz_number(i, cx)?;
        Ok((rest, Untagged::Expunge(number)))
    } else if is(b"FETCH") {
        let (_, sequence) = nz_number(i, cx)?;
        let (rest, fetch) = msg_att(sp(rest, cx)?.0, sequence, cx)?;
        Ok((rest, Untagged::Fetch(fetch)))
    } else if is(b"UIDFETCH") {
        let (_, uid) = nz_number(i, cx)?;
        let (rest, fetch) = msg_att(sp(rest, cx)?.0, uid, cx)?;
        Ok((rest, Untagged::UidFetch { uid, items: fetch.items }))
    } else {
        let numbered = if name.is_empty() { name } else { taken(i, rest) };
        other(i, numbered, rest)
    }
}

/// `msg-att = "(" (msg-att-dynamic / msg-att-static) *(SP (msg-att-dynamic / msg-att-static)) ")"`, and the line end
fn msg_att<'i>(i: &'i [u8], sequence: u32, cx: &Context) -> Parsed<'i, FetchResponse<'i>> {
    let (items, ()) = open(i, cx)?;
    let (mut rest, mut place) = (items, ItemPosition::First);
    let mut item = FetchItem::Uid(0);
    loop {
        let (behind, found) = step(rest, place, &mut item, cx)?;
        match found {
            Found::Item => {}
            Found::End if behind.is_empty() => break,
            Found::End => return expected(behind, "the end of the response"),
            // The frame is complete: the list was never closed.
            Found::LineEnd => break,
        }
        (rest, place) = (behind, ItemPosition::Later);
    }
    let items = LazyList::wire(taken(items, rest), cx.attempt());
    Ok((b"", FetchResponse { sequence, items }))
}

/// Returns a response of an extension, kept as received.
fn other<'i>(i: &'i [u8], name: &'i [u8], rest: &'i [u8]) -> Parsed<'i, Untagged<'i>> {
    if name.is_empty() {
        return expected(i, "the name of a response");
    }
    let text = spaces(rest, &Context::tolerant());
    let end = match text {
        [head @ .., b'\r', b'\n'] | [head @ .., b'\n'] => head.len(),
        all => all.len(),
    };
    let (text, rest) = text.split_at(end);
    Ok((rest, Untagged::Other { name: IString::new(name), rest: IString::new(text) }))
}
