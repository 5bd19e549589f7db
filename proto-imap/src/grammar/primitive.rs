//! Separators and words: `SP`, parentheses, `CRLF`, atoms, `NIL`.

use crate::grammar::characters::{ATOM, LENIENT_ATOM, is_atom_char, span};
use crate::grammar::repair::Repair;
use crate::grammar::{Context, Parsed, expected};

/// `SP`. *Tolerant*: more than one.
#[inline]
pub(crate) fn sp<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    match i {
        [b' ', rest @ ..] if rest.first() != Some(&b' ') || !cx.is_tolerant() => Ok((rest, ())),
        [b' ', ..] => Ok((spaces(i, cx), ())),
        _ => expected(i, "a space"),
    }
}

/// Skips optional spaces. *Tolerant* only.
#[inline]
pub(crate) fn spaces<'i>(i: &'i [u8], cx: &Context) -> &'i [u8] {
    if i.first() != Some(&b' ') || !cx.repair(Repair::ExtraSpace) {
        return i;
    }
    behind_spaces(i)
}

fn behind_spaces(i: &[u8]) -> &[u8] {
    let end = i.iter().position(|byte| *byte != b' ').unwrap_or(i.len());
    i.get(end..).unwrap_or_default()
}

/// Parses one given byte.
#[inline]
pub(crate) fn byte<'i>(i: &'i [u8], byte: u8, what: &'static str) -> Parsed<'i, ()> {
    match i.split_first() {
        Some((first, rest)) if *first == byte => Ok((rest, ())),
        _ => expected(i, what),
    }
}

/// `"("`. *Tolerant*: spaces after it.
#[inline]
pub(crate) fn open<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let (i, ()) = byte(i, b'(', "an opening parenthesis")?;
    Ok((spaces(i, cx), ()))
}

/// `")"`. *Tolerant*: spaces before it.
#[inline]
pub(crate) fn close<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    byte(spaces(i, cx), b')', "a closing parenthesis")
}

/// `CRLF`. *Tolerant*: spaces before it; LF alone.
#[inline]
pub(crate) fn crlf<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    match i {
        [b'\r', b'\n', rest @ ..] => Ok((rest, ())),
        // Spaces before anything else are not repaired here, because the next element has its own repair.
        [b' ', ..] if cx.is_tolerant() && matches!(behind_spaces(i), [b'\r' | b'\n', ..]) => {
            crlf(spaces(i, cx), cx)
        }
        [b'\n', rest @ ..] if cx.repair(Repair::StrayLineEnd) => Ok((rest, ())),
        _ => expected(i, "the end of the line"),
    }
}

/// Parses the literal text `word` in any case. The next byte must not continue an atom.
#[inline]
pub(crate) fn word<'i>(i: &'i [u8], word: &[u8], what: &'static str) -> Parsed<'i, ()> {
    match i.split_at_checked(word.len()) {
        Some((first, rest)) if first.eq_ignore_ascii_case(word) && !starts_atom(rest) => Ok((rest, ())),
        _ => expected(i, what),
    }
}

#[inline]
fn starts_atom(i: &[u8]) -> bool {
    i.first().is_some_and(|byte| is_atom_char(*byte))
}

/// `nil = "NIL"`
#[inline]
pub(crate) fn nil(i: &[u8]) -> Parsed<'_, ()> {
    match i {
        [b'N' | b'n', b'I' | b'i', b'L' | b'l', rest @ ..] if !starts_atom(rest) => Ok((rest, ())),
        _ => expected(i, "NIL"),
    }
}

/// `atom = 1*ATOM-CHAR`
#[inline]
pub(crate) fn atom(i: &[u8]) -> Parsed<'_, &[u8]> {
    match span(i, ATOM) {
        ([], _) => expected(i, "an atom"),
        (atom, rest) => Ok((rest, atom)),
    }
}

/// Parses an atom with more characters than the grammar allows. *Tolerant* only.
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

/// Skips spaces if a closing parenthesis follows them.
#[inline]
pub(crate) fn spaces_before_close<'i>(i: &'i [u8], cx: &Context) -> &'i [u8] {
    match i {
        [b' ', next, ..] if !matches!(next, b' ' | b')') => i,
        [b' ', ..] if i.trim_ascii_start().first() == Some(&b')') => spaces(i, cx),
        _ => i,
    }
}

/// Returns the part of `i` before `rest`.
#[inline]
pub(crate) fn taken<'i>(i: &'i [u8], rest: &[u8]) -> &'i [u8] {
    i.get(..i.len().saturating_sub(rest.len())).unwrap_or_default()
}

/// Returns the first `len` bytes of `i`.
pub(crate) fn taken_len(i: &[u8], len: usize) -> &[u8] {
    i.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
