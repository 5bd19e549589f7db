//! Parses status responses and response codes.

use crate::annotation::support;
use crate::capability::parse::capabilities;
use crate::flags::parse::flag_perm_list;
use crate::grammar::characters::is_atom_char;
use crate::grammar::lazy_list::{LazyList, one_or_more};
use crate::grammar::number::{mod_sequence_value, number, nz_number};
use crate::grammar::primitive::{atom, byte, close, nil, open, sp, spaces, taken, taken_len};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{astring, quoted};
use crate::grammar::value::object_id;
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::parse::known_sequence_set;
use crate::search_key::parse::filter_name;
use crate::status_response::{Condition, PlainCode, Progress, ResponseCode, StatusResponse, Text};
use core::num::NonZeroU32;
use memchr::memchr2;

/// `resp-cond-state`, `resp-cond-bye`, `resp-cond-auth`: `("OK" / "NO" / "BAD" / "PREAUTH" / "BYE") SP resp-text`
///
/// *Tolerant*: nothing after the condition.
pub(crate) fn resp_cond<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StatusResponse<'i>> {
    let Some((condition, rest)) = condition(i) else { return expected(i, "OK, NO, BAD, PREAUTH or BYE") };
    let rest = match rest.first() {
        Some(b'\r' | b'\n') if cx.repair(Repair::MissingText) => rest,
        _ => sp(rest, cx)?.0,
    };
    let (rest, (code, text)) = resp_text(rest, cx)?;
    Ok((rest, StatusResponse { condition, code, text }))
}

fn condition(i: &[u8]) -> Option<(Condition, &[u8])> {
    let end = i.iter().position(|byte| !is_atom_char(*byte)).unwrap_or(i.len());
    let (word, rest) = i.split_at_checked(end)?;
    let conditions = [Condition::Ok, Condition::No, Condition::Bad, Condition::Bye, Condition::PreAuth];
    let found = conditions.into_iter().find(|one| word.eq_ignore_ascii_case(one.as_str().as_bytes()))?;
    Some((found, rest))
}

/// `resp-text = ["[" resp-text-code "]" SP] [text]`, up to the line end, which is not consumed.
///
/// *Tolerant*: no space after the code; a code that does not follow its grammar is [`ResponseCode::Other`]; an
/// opening bracket that is never closed is text.
pub(crate) fn resp_text<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (Option<ResponseCode<'i>>, Text<'i>)> {
    let (rest, code) = if i.first() == Some(&b'[') { resp_code(i, cx)? } else { (i, None) };
    let rest = match rest.first() {
        Some(b' ') if code.is_some() => rest.get(1..).unwrap_or_default(),
        _ if code.is_some() && !cx.repair(Repair::MissingText) => {
            return expected(rest, "a space after the response code");
        }
        _ => rest,
    };
    let (rest, text) = text(rest, cx)?;
    Ok((rest, (code, text)))
}

/// `text = 1*TEXT-CHAR`, UTF-8, or nothing; up to the line end, which is not consumed. *Tolerant*: any bytes.
pub(crate) fn text<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Text<'i>> {
    let end = line_end(i);
    let (text, rest) = i.split_at(end);
    if !text.is_ascii() && core::str::from_utf8(text).is_err() && !cx.repair(Repair::EightBit) {
        return expected(i, "UTF-8");
    }
    if memchr2(0, b'\r', text).is_some() && !cx.repair(Repair::Nul) {
        return expected(i, "text without NUL and CR");
    }
    Ok((rest, Text::wire(text)))
}

/// Returns the offset of the line end: at its CRLF or LF, or at the end of the input.
fn line_end(i: &[u8]) -> usize {
    let end = memchr::memchr(b'\n', i).unwrap_or(i.len());
    match i.get(..end) {
        Some([.., b'\r']) => end - 1,
        _ => end,
    }
}

/// `"[" resp-text-code "]"`
fn resp_code<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<ResponseCode<'i>>> {
    let (inner, ()) = byte(i, b'[', "a response code")?;
    let before = cx.is_tolerant().then(|| cx.repairs.clone());
    let typed = resp_text_code(inner, cx).and_then(|(rest, code)| {
        let (rest, ()) = byte(spaces(rest, cx), b']', "a closing bracket")?;
        Ok((rest, Some(code)))
    });
    let Some(before) = before.filter(|_| typed.is_err()) else { return typed };
    cx.repairs.restore(&before);
    cx.repairs.note(Repair::ResponseCode);
    // Without a closing bracket it is not a code, even if another bracket closes later in the line.
    let Some(end) = balanced_bracket(inner) else { return Ok((i, None)) };
    let raw = inner.get(..end).unwrap_or_default();
    let rest = inner.get(end + 1..).unwrap_or_default();
    let name = raw.iter().position(|byte| *byte == b' ').unwrap_or(raw.len());
    let argument = raw.get(name + 1..).filter(|argument| !argument.is_empty());
    let name = IString::new(raw.get(..name).unwrap_or_default());
    Ok((rest, Some(ResponseCode::Other { name, argument: argument.map(IString::new) })))
}

/// Returns the offset of the closing bracket. If the brackets inside are not balanced, it is the first one in the
/// line, as in the grammar.
fn closing_bracket(i: &[u8]) -> Option<usize> {
    balanced_bracket(i).or_else(|| memchr::memchr(b']', i.get(..line_end(i))?))
}

/// Returns the offset of the closing bracket, if the brackets inside are balanced.
fn balanced_bracket(i: &[u8]) -> Option<usize> {
    let line = i.get(..line_end(i))?;
    let mut depth = 0_u32;
    line.iter().position(|byte| match byte {
        b'[' => {
            depth = depth.saturating_add(1);
            false
        }
        b']' if depth == 0 => true,
        b']' => {
            depth -= 1;
            false
        }
        _ => false,
    })
}

/// `resp-text-code`, without the brackets
fn resp_text_code<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (rest, name) = atom(i)?;
    if matches!(rest.first(), Some(b']') | None)
        && let Some(plain) = PlainCode::from_wire(name)
    {
        return Ok((rest, ResponseCode::Plain(plain)));
    }
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    match name.len() {
        6 if is(b"UNSEEN") => {
            one(rest, cx, nz_number, |number| ResponseCode::Unseen(NonZeroU32::new(number)))
        }
        6 if is(b"BADURL") => one(rest, cx, argument, |url| ResponseCode::BadUrl(IString::new(url))),
        8 if is(b"BADEVENT") => one(rest, cx, badevent, ResponseCode::BadEvent),
        7 if is(b"UIDNEXT") => {
            one(rest, cx, nz_number, |number| ResponseCode::UidNext(NonZeroU32::new(number)))
        }
        7 if is(b"COPYUID") => copyuid(rest, cx),
        8 if is(b"MODIFIED") => one(rest, cx, known_sequence_set, ResponseCode::Modified),
        8 if is(b"REFERRAL") => one(rest, cx, argument, |url| ResponseCode::Referral(IString::new(url))),
        8 if is(b"NOUPDATE") => one(rest, cx, quoted, ResponseCode::NoUpdate),
        8 if is(b"ANNOTATE") => annotate(rest, cx),
        8 if is(b"METADATA") => metadata(rest, cx),
        9 if is(b"APPENDUID") => appenduid(rest, cx),
        9 if is(b"MAILBOXID") => one(rest, cx, object_id, ResponseCode::MailboxId),
        10 if is(b"CAPABILITY") => {
            capabilities(rest, cx).map(|(rest, list)| (rest, ResponseCode::Capability(list)))
        }
        10 if is(b"INPROGRESS") => in_progress(rest, cx),
        12 if is(b"MESSAGELIMIT") => message_limit(rest, cx),
        10 if is(b"BADCHARSET") => badcharset(rest, cx),
        11 if is(b"ANNOTATIONS") => one(rest, cx, support, ResponseCode::Annotations),
        11 if is(b"UIDVALIDITY") => one(rest, cx, nz_number, ResponseCode::UidValidity),
        13 if is(b"HIGHESTMODSEQ") => one(rest, cx, mod_sequence_value, ResponseCode::HighestModSeq),
        14 if is(b"PERMANENTFLAGS") => one(rest, cx, flag_perm_list, ResponseCode::PermanentFlags),
        16 if is(b"UNDEFINED-FILTER") => one(rest, cx, |i, _| filter_name(i), ResponseCode::UndefinedFilter),
        _ => other_code(rest, name, cx),
    }
}

/// `SP argument`
fn one<'i, T, U>(
    i: &'i [u8],
    cx: &Context,
    argument: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
    code: impl Fn(T) -> U,
) -> Parsed<'i, U> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, argument) = argument(rest, cx)?;
    Ok((rest, code(argument)))
}

/// `1*<any TEXT-CHAR except "]">`
fn argument<'i>(i: &'i [u8], _: &Context) -> Parsed<'i, &'i [u8]> {
    let end = i.iter().position(|byte| matches!(byte, b']' | b'\r' | b'\n' | 0)).unwrap_or(i.len());
    if end == 0 {
        expected(i, "an argument")
    } else {
        Ok((i.get(end..).unwrap_or_default(), taken_len(i, end)))
    }
}

/// `atom [SP 1*<any TEXT-CHAR except "]">]`. *Tolerant*: brackets in the argument, if they are balanced.
fn other_code<'i>(i: &'i [u8], name: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let name = IString::new(name);
    if i.first() == Some(&b']') {
        return Ok((i, ResponseCode::Other { name, argument: None }));
    }
    let (rest, ()) = byte(i, b' ', "a closing bracket")?;
    if !cx.is_tolerant() {
        let (rest, argument) = argument(rest, cx)?;
        return Ok((rest, ResponseCode::Other { name, argument: Some(IString::new(argument)) }));
    }
    let Some(end) = closing_bracket(rest) else { return expected(rest, "a closing bracket") };
    let argument = Some(taken_len(rest, end)).filter(|argument| !argument.is_empty());
    Ok((
        rest.get(end..).unwrap_or_default(),
        ResponseCode::Other { name, argument: argument.map(IString::new) },
    ))
}

/// `resp-code-apnd = "APPENDUID" SP nz-number SP append-uid`
fn appenduid<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, uid_validity) = nz_number(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, uids) = known_sequence_set(rest, cx)?;
    Ok((rest, ResponseCode::AppendUid { uid_validity, uids }))
}

/// `resp-code-copy = "COPYUID" SP nz-number SP uid-set SP uid-set`
fn copyuid<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, uid_validity) = nz_number(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, source) = known_sequence_set(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, target) = known_sequence_set(rest, cx)?;
    Ok((rest, ResponseCode::CopyUid { uid_validity, source, target }))
}

/// `"METADATA" SP (("LONGENTRIES" / "MAXSIZE") SP number / "TOOMANY" / "NOPRIVATE")` (RFC 5464)
fn metadata<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (behind, ()) = sp(i, cx)?;
    let (rest, word) = atom(behind)?;
    let size = |rest| number(sp(rest, cx)?.0, cx);
    if word.eq_ignore_ascii_case(b"LONGENTRIES") {
        let (rest, size) = size(rest)?;
        return Ok((rest, ResponseCode::MetadataLongEntries(size)));
    }
    if word.eq_ignore_ascii_case(b"MAXSIZE") {
        let (rest, size) = size(rest)?;
        return Ok((rest, ResponseCode::MetadataMaxSize(size)));
    }
    if word.eq_ignore_ascii_case(b"TOOMANY") {
        return Ok((rest, ResponseCode::MetadataTooMany));
    }
    if word.eq_ignore_ascii_case(b"NOPRIVATE") {
        return Ok((rest, ResponseCode::MetadataNoPrivate));
    }
    expected(behind, "LONGENTRIES, MAXSIZE, TOOMANY or NOPRIVATE")
}

/// `"ANNOTATE" SP ("TOOBIG" / "TOOMANY")` (RFC 5257)
fn annotate<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (behind, ()) = sp(i, cx)?;
    let (rest, word) = atom(behind)?;
    match () {
        () if word.eq_ignore_ascii_case(b"TOOBIG") => Ok((rest, ResponseCode::AnnotateTooBig)),
        () if word.eq_ignore_ascii_case(b"TOOMANY") => Ok((rest, ResponseCode::AnnotateTooMany)),
        () => expected(behind, "TOOBIG or TOOMANY"),
    }
}

/// `"INPROGRESS" [SP "(" (quoted / nil) SP (number SP (nz-number / nil) / nil SP nil) ")"]`
fn in_progress<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    if i.first() == Some(&b']') {
        return Ok((i, ResponseCode::InProgress(Progress::default())));
    }
    let (rest, ()) = open(sp(i, cx)?.0, cx)?;
    let (rest, tag) = match nil(rest) {
        Ok((rest, ())) => (rest, None),
        Err(_) => quoted(rest, cx).map(|(rest, tag)| (rest, Some(tag)))?,
    };
    let (behind_tag, ()) = sp(rest, cx)?;
    let (rest, done) = match nil(behind_tag) {
        Ok((rest, ())) => (rest, None),
        Err(_) => number(behind_tag, cx).map(|(rest, done)| (rest, Some(done)))?,
    };
    let (behind_done, ()) = sp(rest, cx)?;
    let (rest, goal) = match nil(behind_done) {
        Ok((rest, ())) => (rest, None),
        Err(_) if done.is_none() => return expected(behind_done, "NIL"),
        Err(_) => nz_number(behind_done, cx).map(|(rest, goal)| (rest, NonZeroU32::new(goal)))?,
    };
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, ResponseCode::InProgress(Progress { tag, done, goal })))
}

/// `"MESSAGELIMIT" SP nz-number [SP nz-number]`
fn message_limit<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    let (rest, limit) = nz_number(sp(i, cx)?.0, cx)?;
    let (rest, lowest_uid) = match rest {
        [b' ', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            nz_number(digits, cx).map(|(rest, uid)| (rest, NonZeroU32::new(uid)))?
        }
        _ => (rest, None),
    };
    Ok((rest, ResponseCode::MessageLimit { limit, lowest_uid }))
}

/// `"(" event-name *(SP event-name) ")"`
fn badevent<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    one_or_more(i, cx, |i, _| atom(i).map(|(rest, name)| (rest, IString::atom(name))))
}

/// `"BADCHARSET" [SP "(" charset *(SP charset) ")" ]`
fn badcharset<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResponseCode<'i>> {
    if i.first() == Some(&b']') {
        return Ok((i, ResponseCode::BadCharset(LazyList::EMPTY)));
    }
    let (inner, ()) = open(sp(i, cx)?.0, cx)?;
    let mut rest = inner;
    loop {
        (rest, _) = astring(rest, cx)?;
        rest = crate::grammar::primitive::spaces_before_close(rest, cx);
        if rest.first() == Some(&b')') {
            break;
        }
        (rest, ()) = sp(rest, cx)?;
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, ResponseCode::BadCharset(list)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn read(input: &[u8], cx: &Context) -> Option<alloc::string::String> {
        let (rest, (code, text)) = resp_text(input, cx).ok()?;
        assert!(rest.is_empty());
        Some(format!("{code:?} {text:?}").replace("Some", ""))
    }

    #[test]
    fn codes_and_texts() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"done", Some("None \"done\"")),
            (b"[ALERT] look", Some("(Plain(Alert)) \"look\"")),
            (b"[read-write] ", Some("(Plain(ReadWrite)) \"\"")),
            (b"[UIDNEXT 4392] x", Some("(UidNext((4392))) \"x\"")),
            (b"[UNSEEN 17] x", Some("(Unseen((17))) \"x\"")),
            (b"[APPENDUID 38505 3955] x", Some("(AppendUid { uid_validity: 38505, uids: [3955] }) \"x\"")),
            (
                b"[COPYUID 38505 304,319:320 3956:3958] x",
                Some(
                    "(CopyUid { uid_validity: 38505, source: [304, 319..=320], target: [3956..=3958] }) \"x\"",
                ),
            ),
            (b"[HIGHESTMODSEQ 715194045007] x", Some("(HighestModSeq(715194045007)) \"x\"")),
            (b"[BADCHARSET (UTF-8 \"x\")] x", Some("(BadCharset([\"UTF-8\", \"x\"])) \"x\"")),
            (b"[BADCHARSET] x", Some("(BadCharset([])) \"x\"")),
            (b"[CAPABILITY IMAP4rev2 AUTH=PLAIN] x", Some("(Capability([IMAP4rev2, AUTH=PLAIN])) \"x\"")),
            (b"[PERMANENTFLAGS (\\Seen \\*)] x", Some("(PermanentFlags([\\Seen, \\*])) \"x\"")),
            (b"[ANNOTATE TOOBIG] x", Some("(AnnotateTooBig) \"x\"")),
            (
                b"[ANNOTATIONS 20480 NOPRIVATE] x",
                Some("(Annotations(AnnotationSupport { access: MaxSize(20480), no_private: true })) \"x\""),
            ),
            (b"[METADATA MAXSIZE 1024] x", Some("(MetadataMaxSize(1024)) \"x\"")),
            (b"[MAILBOXID (F22)] x", Some("(MailboxId(\"F22\")) \"x\"")),
            (b"[MODIFIED 7,9] x", Some("(Modified([7, 9])) \"x\"")),
            (b"[X-NEW a b] x", Some("(Other { name: \"X-NEW\", argument: (\"a b\") }) \"x\"")),
            (b"[UIDNEXT 0] x", None),
            (b"[UIDNEXT abc] x", None),
            (b"[UNSEEN 8]", None),
            (b"[never closed", None),
            (b"a\0b", None),
            (b"\xff", None),
        ];
        for (input, strict) in cases {
            assert_eq!(read(input, &Context::strict()).as_deref(), *strict);
            let cx = Context::tolerant();
            let tolerant = read(input, &cx);
            assert!(tolerant.is_some());
            if strict.is_some() {
                assert_eq!(tolerant.as_deref(), *strict);
                assert_eq!(cx.repairs.total(), 0);
            } else {
                assert!(cx.repairs.total() > 0, "{tolerant:?}");
            }
        }
    }
}
