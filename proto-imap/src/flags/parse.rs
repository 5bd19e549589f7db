//! Parses flags and flag lists.

use crate::flags::{Flag, FlagList};
use crate::grammar::characters::{ATOM, LENIENT_FLAG, is, span};
use crate::grammar::primitive::{byte, nil, open, sp, taken};
use crate::grammar::repair::Repair;
use crate::grammar::{Attempt, Context, Parsed, expected};

/// `flag`: see [`Flag`]. *Tolerant*: any characters except spaces, parentheses and control characters.
pub(crate) fn flag<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Flag<'i>> {
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
    if (atom.is_empty() || !atom.iter().all(|byte| is(*byte, ATOM))) && !cx.repair(Repair::FlagCharacter) {
        return expected(i, "a flag");
    }
    Ok((rest, name))
}

/// `flag-list = "(" [flag *(SP flag)] ")"`. *Tolerant*: see [`flag`]; `\*`; `NIL` for the empty list.
#[inline]
pub(crate) fn flag_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    flags(i, cx, Wildcard::Odd)
}

/// `"(" [flag-perm *(SP flag-perm)] ")"`: a [`flag_list`] that can contain `\*`.
#[inline]
pub(crate) fn flag_perm_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    flags(i, cx, Wildcard::Due)
}

/// Whether a list may contain `\*`.
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
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((rest, FlagList::wire(list, cx.attempt())))
}

/// `flag-list` without `\Recent`, which only a server can set.
pub(crate) fn settable_flags<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    let (rest, flags) = flag_list(i, cx)?;
    if flags.contains(Flag::Recent) {
        expected(i, "flags without \\Recent, which only a server sets")
    } else {
        Ok((rest, flags))
    }
}

/// `flag *(SP flag)`, without `\Recent`.
pub(crate) fn bare_flags<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    let mut rest = i;
    loop {
        let flag_begins = rest;
        let read;
        (rest, read) = flag(rest, cx)?;
        if read == Flag::Recent {
            return expected(flag_begins, "a flag other than \\Recent, which only a server sets");
        }
        if rest.first() != Some(&b' ') {
            return Ok((rest, FlagList::wire(taken(i, rest), Attempt::First)));
        }
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b'\r' | b'\n')) && cx.repair(Repair::ExtraSpace) {
            return Ok((behind, FlagList::wire(taken(i, rest), Attempt::First)));
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn parses_flags_strictly_and_tolerantly() {
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
