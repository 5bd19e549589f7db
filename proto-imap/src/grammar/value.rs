//! Values of any kind, for unknown extensions (RFC 4466 `tagged-ext-val`), and object identifiers (RFC 8474).

use crate::grammar::characters::is_lenient_atom_char;
use crate::grammar::lazy_list::Element;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::{atom, close, open, sp, spaces_before_close, taken};
use crate::grammar::repair::Repair;
use crate::grammar::sink::Sink;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{literal, literal8, quoted, skip_quoted};
use crate::grammar::{Context, MAX_DEPTH, Parsed, expected};

/// An item of the extended data of a LIST response or a namespace. Its value is kept as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedItem<'i> {
    /// The name of the item.
    pub name: IString<'i>,
    /// Its value: a string, a number, a sequence set, or a list in parentheses.
    pub value: IString<'i>,
}

impl Sealed for ExtendedItem<'_> {}

impl Sealed for IString<'_> {}

/// Parses one value: a string, a number, an atom, or a list of values in parentheses, up to [`MAX_DEPTH`] deep.
/// Returns its bytes as received.
///
/// The parser uses no recursion, and takes time linear in the value's length.
pub(crate) fn value<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let mut rest = i;
    let mut depth = 0_u8;
    loop {
        let before = rest;
        match rest {
            [b'(', behind @ ..] if depth < MAX_DEPTH => {
                depth += 1;
                rest = behind;
            }
            [b'(', ..] => return expected(rest, "fewer nested parentheses"),
            [b')', behind @ ..] if depth > 0 => {
                depth -= 1;
                rest = behind;
            }
            [b' ', behind @ ..] if depth > 0 => rest = behind,
            [b'"', ..] => (rest, _) = quoted(rest, cx)?,
            [b'{', ..] => (rest, _) = literal(rest, cx)?,
            [b'~', b'{', ..] => (rest, _) = literal8(rest, cx)?,
            _ => {
                let end = rest.iter().position(|byte| !is_lenient_atom_char(*byte)).unwrap_or(rest.len());
                if end == 0 {
                    return expected(rest, "a value");
                }
                rest = rest.get(end..).unwrap_or_default();
            }
        }
        if depth == 0 {
            return Ok((rest, taken(i, rest)));
        }
        if !cx.is_tolerant() && !are_neighbours(before, rest) {
            return expected(rest, "a space or a closing parenthesis");
        }
    }
}

/// Skips a list in parentheses that was parsed before and needed no repair. Looks only at parentheses and strings.
/// Returns the rest; `None` if the list does not end, or only [`value`] can tell where.
pub(crate) fn skip_list<'i>(i: &'i [u8], cx: &Context) -> Option<&'i [u8]> {
    let mut rest = i.strip_prefix(b"(")?;
    let mut depth = 1_usize;
    while depth > 0 {
        let here = rest;
        let (first, behind) = here.split_first()?;
        rest = behind;
        // Letters and digits are the most frequent.
        match first {
            b'0'..=b'z' | b' ' => {}
            b'"' => rest = skip_quoted(here, cx)?,
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'{' => rest = literal(here, cx).ok()?.0,
            _ => {}
        }
    }
    Some(rest)
}

/// Returns whether the input at `rest` may follow the value at `before` inside a list.
fn are_neighbours(before: &[u8], rest: &[u8]) -> bool {
    match (before.first(), rest.first()) {
        (Some(b'('), next) => next != Some(&b' '),
        (Some(b' '), next) => !matches!(next, Some(b' ' | b')')),
        (Some(b')'), next) => matches!(next, Some(b' ' | b'(' | b')')),
        (_, next) => matches!(next, Some(b' ' | b')')),
    }
}

/// Parses values up to a closing parenthesis, which is not consumed: `*(SP value)`.
#[inline]
pub(crate) fn values<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    if i.first() == Some(&b')') { Ok((i, b"")) } else { some_values(i, cx) }
}

fn some_values<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let mut rest = i;
    while rest.first() == Some(&b' ') {
        let behind = spaces_before_close(rest, cx);
        if behind.first() == Some(&b')') {
            return Ok((behind, taken(i, rest)));
        }
        let (behind, ()) = sp(rest, cx)?;
        (rest, _) = value(behind, cx)?;
    }
    Ok((rest, taken(i, rest)))
}

impl<'i> Element<'i> for IString<'i> {
    /// `NIL`s in a list of strings are left out.
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let mut rest = i;
        loop {
            rest = rest.trim_ascii_start();
            let string;
            (rest, string) = crate::grammar::string::parse::nstring(rest, cx).ok()?;
            if let Some(string) = string {
                return Some((rest, string));
            }
        }
    }
}

impl<'i> Element<'i> for ExtendedItem<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let (rest, item) = extended_item(i, cx).ok()?;
        Some((rest, item))
    }
}

/// `mbox-list-extended-item = astring SP tagged-ext-val`
pub(crate) fn extended_item<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ExtendedItem<'i>> {
    let (rest, name) = crate::grammar::string::parse::astring(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, value) = value(rest, cx)?;
    Ok((rest, ExtendedItem { name, value: IString::new(value) }))
}

/// `"(" objectid ")"` (RFC 8474). *Tolerant*: without the parentheses.
pub(crate) fn object_id<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    if i.first() != Some(&b'(') && cx.repair(Repair::StringForm) {
        return atom(i).map(|(rest, id)| (rest, IString::atom(id)));
    }
    let (rest, ()) = open(i, cx)?;
    let (rest, id) = atom(rest)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, IString::atom(id)))
}

/// Writes a value that was kept as received. A value that does not follow the grammar strictly is written as `NIL`.
pub(crate) fn write_value(value: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    let raw = value.raw();
    let strict = matches!(self::value(raw, &Context::strict()), Ok((b"", _)));
    out.put(if strict { raw } else { b"NIL" });
}

/// Returns whether the bytes are values separated by spaces, parsed strictly.
pub(crate) fn are_values(raw: &[u8]) -> bool {
    let mut rest = raw;
    loop {
        match value(rest, &Context::strict()) {
            Ok((b"", _)) => return true,
            Ok(([b' ', behind @ ..], _)) => rest = behind,
            _ => return false,
        }
    }
}

owned_struct!(ExtendedItem { name, value });

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn writes_only_valid_values() {
        let written = |raw: &'static [u8]| {
            let mut out = Vec::new();
            write_value(IString::new(raw), &mut out);
            out
        };
        assert_eq!(written(b"(a \"b\" {1}\r\nc)"), b"(a \"b\" {1}\r\nc)");
        for bad in [&b"a\r\nb"[..], b"a b", b"", b")", b"{9}\r\na"] {
            assert_eq!(written(bad), b"NIL");
        }
    }
}
