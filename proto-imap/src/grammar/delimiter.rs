//! The hierarchy delimiter of mailbox names: `DQUOTE QUOTED-CHAR DQUOTE / nil`.

use crate::grammar::expected;
use crate::grammar::primitive::nil;
use crate::grammar::repair::Repair;
use crate::grammar::sink::Sink;
use crate::grammar::string::parse::{quoted, string};
use crate::grammar::{Context, Parsed};

/// `DQUOTE QUOTED-CHAR DQUOTE / nil`. *Tolerant*: an empty string instead of `NIL`; a bare character, or a backslash
/// that is not escaped; the first character of a longer string.
pub(crate) fn delimiter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<char>> {
    if let [b'"', b'\\', b'"', rest @ ..] = i
        && rest.first() != Some(&b'"')
        && cx.repair(Repair::LoneBackslash)
    {
        return Ok((rest, Some('\\')));
    }
    if let Ok((rest, ())) = nil(i) {
        return Ok((rest, None));
    }
    let (rest, text) = match quoted(i, cx) {
        Err(_) if cx.is_tolerant() => string(i, cx)?,
        text => text?,
    };
    let lossy = text.to_str_lossy();
    let mut characters = lossy.chars();
    let first = characters.next();
    if (first.is_none() || characters.next().is_some()) && !cx.repair(Repair::Delimiter) {
        return expected(i, "one character");
    }
    Ok((rest, first))
}

/// `DQUOTE QUOTED-CHAR DQUOTE / nil`. A delimiter that is not ASCII or is a control character is written as `NIL`.
pub(crate) fn write_delimiter(delimiter: Option<char>, out: &mut (impl Sink + ?Sized)) {
    match delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()) {
        Some(byte @ (b'"' | b'\\')) => out.put(&[b'"', b'\\', byte, b'"']),
        Some(byte @ b' '..=b'~') => out.put(&[b'"', byte, b'"']),
        _ => out.put(b"NIL"),
    }
}
