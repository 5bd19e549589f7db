//! The elements that all others are made of: spaces, atoms, tags, flags, and by re-export numbers, strings and dates
//! (RFC 9051 §9).
//!
//! Each function says under *Tolerant* what it accepts beyond the grammar. This file knows nothing of commands and
//! responses.

pub use super::date::{date, date_time};
pub use super::number::{number, number64, nz_number};
pub use super::string::{astring, literal, literal_size, literal8, nstring, quoted, string};

use super::{Context, Parsed, expected};
use crate::types::{Flag, FlagList, Repair, Tag};

const ATOM: u8 = 1;
pub(super) const ASTRING: u8 = 2;
const LIST: u8 = 4;
const TAG: u8 = 8;
pub(super) const QUOTED: u8 = 16;
const LENIENT_ATOM: u8 = 32;
const LENIENT_FLAG: u8 = 64;
pub(super) const ENDS_STRING: u8 = 128;

/// Which octets may stand where, one bit for each class.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let octet = index as u8;
        let printable = octet > b' ' && octet < 0x7f;
        let atom = printable && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
        let mut class = 0;
        if atom {
            class |= ATOM;
        }
        if atom || octet == b']' {
            class |= ASTRING;
        }
        if atom || matches!(octet, b']' | b'%' | b'*') {
            class |= LIST;
        }
        if (atom || octet == b']') && octet != b'+' {
            class |= TAG;
        }
        if octet < 0x80 && !matches!(octet, 0 | b'\r' | b'\n' | b'"' | b'\\') {
            class |= QUOTED;
        }
        if octet > b' ' && octet != 0x7f && !matches!(octet, b'(' | b')') {
            class |= LENIENT_FLAG;
            if octet != b'"' {
                class |= LENIENT_ATOM;
            }
        }
        if matches!(octet, b' ' | b')' | b']' | b'\r' | b'\n') {
            class |= ENDS_STRING;
        }
        table[index] = class;
        index += 1;
    }
    table
}

#[inline]
pub(super) fn is(octet: u8, class: u8) -> bool {
    CLASSES[octet as usize] & class != 0
}

/// `ATOM-CHAR = <any CHAR except atom-specials>`
#[must_use]
#[inline]
pub fn is_atom_char(octet: u8) -> bool {
    is(octet, ATOM)
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
#[must_use]
#[inline]
pub fn is_astring_char(octet: u8) -> bool {
    is(octet, ASTRING)
}

/// `list-char = ATOM-CHAR / list-wildcards / resp-specials`
#[must_use]
#[inline]
pub fn is_list_char(octet: u8) -> bool {
    is(octet, LIST)
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
#[must_use]
#[inline]
pub fn is_tag_char(octet: u8) -> bool {
    is(octet, TAG)
}

/// What cannot end a flag in the tolerant reading: all but spaces, parentheses and control characters.
#[must_use]
#[inline]
pub(crate) fn is_lenient_flag_char(octet: u8) -> bool {
    is(octet, LENIENT_FLAG)
}

/// What may stand in an atom in the tolerant reading: as for flags, without the double quote.
#[must_use]
#[inline]
pub(crate) fn is_lenient_atom_char(octet: u8) -> bool {
    is(octet, LENIENT_ATOM)
}

/// Splits `i` behind its first octets that are of a class.
#[inline]
pub(super) fn span(i: &[u8], class: u8) -> (&[u8], &[u8]) {
    let end = i.iter().position(|octet| !is(*octet, class)).unwrap_or(i.len());
    i.split_at(end)
}

/// `SP`. *Tolerant*: more than one.
#[inline]
pub fn sp<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    match i {
        [b' ', rest @ ..] if rest.first() != Some(&b' ') || !cx.is_tolerant() => Ok((rest, ())),
        [b' ', ..] => Ok((spaces(i, cx), ())),
        _ => expected(i, "a space"),
    }
}

/// Spaces that may not be there. *Tolerant* only: skips them. Without them nothing is done.
#[inline]
pub(crate) fn spaces<'i>(i: &'i [u8], cx: &Context) -> &'i [u8] {
    if i.first() != Some(&b' ') || !cx.repair(Repair::ExtraSpace) {
        return i;
    }
    behind_spaces(i)
}

fn behind_spaces(i: &[u8]) -> &[u8] {
    let end = i.iter().position(|octet| *octet != b' ').unwrap_or(i.len());
    i.get(end..).unwrap_or_default()
}

/// One given octet.
#[inline]
pub fn octet<'i>(i: &'i [u8], octet: u8, what: &'static str) -> Parsed<'i, ()> {
    match i.split_first() {
        Some((first, rest)) if *first == octet => Ok((rest, ())),
        _ => expected(i, what),
    }
}

/// `"("`. *Tolerant*: spaces behind it.
#[inline]
pub fn open<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let (i, ()) = octet(i, b'(', "an opening parenthesis")?;
    Ok((spaces(i, cx), ()))
}

/// `")"`. *Tolerant*: spaces before it.
#[inline]
pub fn close<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    octet(spaces(i, cx), b')', "a closing parenthesis")
}

/// `CRLF`. *Tolerant*: spaces before it; LF alone.
#[inline]
pub fn crlf<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    match i {
        [b'\r', b'\n', rest @ ..] => Ok((rest, ())),
        // Spaces before anything else are not repaired here: what is there has a repair of its own.
        [b' ', ..] if cx.is_tolerant() && matches!(behind_spaces(i), [b'\r' | b'\n', ..]) => {
            crlf(spaces(i, cx), cx)
        }
        [b'\n', rest @ ..] if cx.repair(Repair::StrayLineEnd) => Ok((rest, ())),
        _ => expected(i, "the end of the line"),
    }
}

/// The literal text `word` in any case, which must not go on as an atom.
#[inline]
pub fn word<'i>(i: &'i [u8], word: &[u8], what: &'static str) -> Parsed<'i, ()> {
    match i.split_at_checked(word.len()) {
        Some((first, rest)) if first.eq_ignore_ascii_case(word) && !starts_atom(rest) => Ok((rest, ())),
        _ => expected(i, what),
    }
}

#[inline]
fn starts_atom(i: &[u8]) -> bool {
    i.first().is_some_and(|octet| is_atom_char(*octet))
}

/// `nil = "NIL"`
#[inline]
pub fn nil(i: &[u8]) -> Parsed<'_, ()> {
    match i {
        [b'N' | b'n', b'I' | b'i', b'L' | b'l', rest @ ..] if !starts_atom(rest) => Ok((rest, ())),
        _ => expected(i, "NIL"),
    }
}

/// `atom = 1*ATOM-CHAR`
#[inline]
pub fn atom(i: &[u8]) -> Parsed<'_, &[u8]> {
    match span(i, ATOM) {
        ([], _) => expected(i, "an atom"),
        (atom, rest) => Ok((rest, atom)),
    }
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
#[inline]
pub fn tag(i: &[u8]) -> Parsed<'_, Tag<'_>> {
    match span(i, TAG) {
        ([], _) => expected(i, "a tag"),
        (tag, rest) => Ok((rest, Tag::checked(tag))),
    }
}

/// An atom with more characters than the grammar allows. *Tolerant* only.
pub(crate) fn lenient_atom<'i>(i: &'i [u8], cx: &Context, repair: Repair) -> Parsed<'i, &'i [u8]> {
    match span(i, LENIENT_ATOM) {
        (atom @ [first, ..], rest) if *first != b'{' && cx.repair(repair) => {
            if !atom.is_ascii() {
                cx.repairs.note(Repair::EightBit);
            }
            Ok((rest, atom))
        }
        _ => expected(i, "a string"),
    }
}

/// `flag`: see [`Flag`]. *Tolerant*: any characters but spaces, parentheses and control characters.
pub fn flag<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Flag<'i>> {
    let (rest, name) = flag_name(i, cx)?;
    if name == b"\\*" && !cx.repair(Repair::FlagCharacter) {
        return expected(i, "a flag");
    }
    Ok((rest, Flag::from_wire(name)))
}

#[inline]
fn flag_name<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let (name, rest) = span(i, LENIENT_FLAG);
    let atom = match name {
        [b'\\', b'*'] => return Ok((rest, name)),
        [b'\\', atom @ ..] => atom,
        atom => atom,
    };
    if name.is_empty() {
        return expected(i, "a flag");
    }
    if (atom.is_empty() || !atom.iter().all(|octet| is(*octet, ATOM))) && !cx.repair(Repair::FlagCharacter) {
        return expected(i, "a flag");
    }
    Ok((rest, name))
}

/// `flag-list = "(" [flag *(SP flag)] ")"`. *Tolerant*: see [`flag`]; `\*`; `NIL` for the empty list.
#[inline]
pub fn flag_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    flags(i, cx, Wildcard::Odd)
}

/// `"(" [flag-perm *(SP flag-perm)] ")"`: as [`flag_list`], and `\*`.
#[inline]
pub fn flag_perm_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    flags(i, cx, Wildcard::Due)
}

/// Whether `\*` may stand in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    Due,
    Odd,
}

#[inline]
fn flags<'i>(i: &'i [u8], cx: &Context, wildcard: Wildcard) -> Parsed<'i, FlagList<'i>> {
    if cx.is_tolerant()
        && let Ok((rest, ())) = nil(i)
    {
        cx.repairs.note(Repair::NilForValue);
        return Ok((rest, FlagList::EMPTY));
    }
    let (inner, ()) = open(i, cx)?;
    let mut rest = inner;
    if rest.first() != Some(&b')') {
        loop {
            let name;
            (rest, name) = flag_name(rest, cx)?;
            if wildcard == Wildcard::Odd && name == b"\\*" && !cx.repair(Repair::FlagCharacter) {
                return expected(i, "a flag");
            }
            match rest.first() {
                Some(b')') => break,
                _ => (rest, ()) = sp(rest, cx)?,
            }
            if rest.first() == Some(&b')') && cx.repair(Repair::ExtraSpace) {
                break;
            }
        }
    }
    let list = inner.get(..inner.len() - rest.len()).unwrap_or_default();
    let (rest, ()) = octet(rest, b')', "a closing parenthesis")?;
    Ok((rest, FlagList::wire(list, cx.attempt())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn classes_are_those_of_the_grammar() {
        for octet in 0..=255_u8 {
            let special =
                matches!(octet, b'(' | b')' | b'{' | b' ' | 0..=0x1f | 0x7f..) || b"%*\"\\]".contains(&octet);
            assert_eq!(is_atom_char(octet), !special, "{octet}");
            assert_eq!(is_astring_char(octet), !special || octet == b']', "{octet}");
            assert_eq!(is_tag_char(octet), (!special || octet == b']') && octet != b'+', "{octet}");
            assert_eq!(is_list_char(octet), !special || b"]%*".contains(&octet), "{octet}");
        }
    }

    #[test]
    fn separators() {
        let cases: &[(&[u8], Option<usize>, Option<usize>)] = &[
            (b" x", Some(1), Some(1)),
            (b"   x", Some(3), Some(1)),
            (b"x", None, None),
            (b"\tx", None, None),
        ];
        for (input, strict, tolerant) in cases {
            let left = |cx: &Context| sp(input, cx).ok().map(|(rest, ())| rest.len());
            assert_eq!(left(&Context::strict()), *strict);
            assert_eq!(left(&Context::tolerant()), *tolerant);
        }
        assert!(crlf(b"\n", &Context::strict()).is_err());
        assert!(crlf(b" \r\n", &Context::strict()).is_err());
        assert_eq!(crlf(b"  \n", &Context::tolerant()), Ok((&b""[..], ())));
        assert!(crlf(b"\r", &Context::tolerant()).is_err());
    }

    #[test]
    fn flags_strict_and_tolerant() {
        let cases: &[(&[u8], Option<&str>, Option<&str>)] = &[
            (b"()", Some("[]"), Some("[]")),
            (
                br"(\Seen $Junk \Recent \X)",
                Some(r"[\Seen, $Junk, \Recent, \X]"),
                Some(r"[\Seen, $Junk, \Recent, \X]"),
            ),
            (br"(\Seen  a )", None, Some(r"[\Seen, a]")),
            (br"( \Seen)", None, Some(r"[\Seen]")),
            (br"(\*)", None, Some(r"[\*]")),
            (br#"(a]b "x")"#, None, Some(r#"[a]b, "x"]"#)),
            (b"NIL", None, Some("[]")),
            (b"(a", None, None),
            (b"(a\r\n)", None, None),
        ];
        for (input, strict, tolerant) in cases {
            let read = |cx: &Context| flag_list(input, cx).ok().map(|(_, list)| format!("{list:?}"));
            assert_eq!(read(&Context::strict()).as_deref(), *strict);
            assert_eq!(read(&Context::tolerant()).as_deref(), *tolerant);
        }
        assert!(flag_perm_list(br"(\Seen \*)", &Context::strict()).is_ok());
    }
}
