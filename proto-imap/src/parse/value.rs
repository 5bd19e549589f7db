//! Values of any form: what is skipped, or kept as it came (RFC 4466 `tagged-ext-val`, RFC 9051 `body-extension`).

use super::envelope::spaces_before_close;
use super::primitive::{is_lenient_atom_char, literal, literal8, quoted, sp};
use super::{Context, MAX_DEPTH, Parsed, expected};
use crate::types::IString;
use crate::types::mailbox_data::ExtendedItem;
use crate::types::view::Element;

/// One value: a string, a number, an atom, or a list of values in parentheses, up to [`MAX_DEPTH`] deep. Returns it
/// as it came.
///
/// It is walked without recursion, in time linear in its length.
pub fn value<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let mut rest = i;
    let mut depth = 0_u8;
    loop {
        let before = rest;
        match rest {
            [b'(', behind @ ..] if depth < MAX_DEPTH => {
                depth += 1;
                rest = behind;
            }
            [b'(', ..] => return expected(rest, "values nested less deeply"),
            [b')', behind @ ..] if depth > 0 => {
                depth -= 1;
                rest = behind;
            }
            [b' ', behind @ ..] if depth > 0 => rest = behind,
            [b'"', ..] => (rest, _) = quoted(rest, cx)?,
            [b'{', ..] => (rest, _) = literal(rest, cx)?,
            [b'~', b'{', ..] => (rest, _) = literal8(rest, cx)?,
            _ => {
                let end = rest.iter().position(|octet| !is_lenient_atom_char(*octet)).unwrap_or(rest.len());
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

/// Whether what was read at `before` may be followed by what is at `rest`, inside of a list.
fn are_neighbours(before: &[u8], rest: &[u8]) -> bool {
    match (before.first(), rest.first()) {
        (Some(b'('), next) => next != Some(&b' '),
        (Some(b' '), next) => !matches!(next, Some(b' ' | b')')),
        (Some(b')'), next) => matches!(next, Some(b' ' | b'(' | b')')),
        (_, next) => matches!(next, Some(b' ' | b')')),
    }
}

/// Values up to a closing parenthesis, which stays: `*(SP value)`.
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

/// What of `i` was read when `rest` is left.
#[inline]
pub(crate) fn taken<'i>(i: &'i [u8], rest: &[u8]) -> &'i [u8] {
    i.get(..i.len().saturating_sub(rest.len())).unwrap_or_default()
}

impl<'i> Element<'i> for IString<'i> {
    /// `NIL`s in a list of strings are left out.
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let mut rest = i;
        loop {
            rest = rest.trim_ascii_start();
            let string;
            (rest, string) = super::primitive::nstring(rest, cx).ok()?;
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
    let (rest, name) = super::primitive::astring(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, value) = value(rest, cx)?;
    Ok((rest, ExtendedItem { name, value: IString::new(value) }))
}
