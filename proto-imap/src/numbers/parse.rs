//! Parses lists and sets of numbers.

use crate::grammar::number::nz_number;
use crate::grammar::repair::Repair;
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::Numbers;

/// Parses a `sequence-set` without `*`, as in responses: `1:3,7` (RFC 9051 §9, RFC 7162 `known-sequence-set`).
///
/// *Tolerant*: 0; spaces after commas; a comma at the end.
pub(crate) fn known_sequence_set<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Numbers<'i>> {
    let mut rest = i;
    loop {
        (rest, _) = plain_nz_number(rest, cx)?;
        if let [b':', behind @ ..] = rest {
            (rest, _) = plain_nz_number(behind, cx)?;
        }
        let [b',', behind @ ..] = rest else { break };
        rest = crate::grammar::primitive::spaces(behind, cx);
        if !rest.first().is_some_and(u8::is_ascii_digit) && cx.repair(Repair::ExtraSpace) {
            break;
        }
    }
    Ok((rest, Numbers::wire(crate::grammar::primitive::taken(i, rest))))
}

/// Parses `nz-number *(SP nz-number)` after a space, or nothing. Stops before anything that is not a number (RFC 9051
/// §9 `mailbox-data`).
///
/// *Tolerant*: 0; further spaces, also at the end.
pub(crate) fn numbers<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Numbers<'i>> {
    let mut rest = i;
    while let [b' ', behind @ ..] = rest {
        let at = match behind.first() {
            Some(b'0'..=b'9') => behind,
            Some(b' ') => crate::grammar::primitive::spaces(rest, cx),
            _ => break,
        };
        if !at.first().is_some_and(u8::is_ascii_digit) {
            break;
        }
        (rest, _) = plain_nz_number(at, cx)?;
    }
    Ok((rest, Numbers::wire(crate::grammar::primitive::taken(i, rest))))
}

/// Parses an `nz-number` that has only digits.
#[inline]
pub(crate) fn plain_nz_number<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u32> {
    if !i.first().is_some_and(u8::is_ascii_digit) {
        return expected(i, "a non-zero number");
    }
    nz_number(i, cx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_lists() {
        for (input, strict, tolerant) in [
            (&b"1:3,7"[..], Some(4), Some(4)),
            (b"4294967295", Some(1), Some(1)),
            (b"0:2", None, Some(3)),
            (b"1, 2", None, Some(2)),
            (b"1,2,", None, Some(2)),
            (b"*", None, None),
            (b"", None, None),
        ] {
            let read = |cx: &Context| {
                known_sequence_set(input, cx)
                    .ok()
                    .filter(|(rest, _)| rest.is_empty())
                    .map(|(_, set)| set.count())
            };
            assert_eq!(read(&Context::strict()), strict, "{input:?}");
            assert_eq!(read(&Context::tolerant()), tolerant, "{input:?}");
        }
        assert_eq!(
            numbers(b" 2 84 882\r\n", &Context::strict()).map(|(rest, list)| (rest, list.count())),
            Ok((&b"\r\n"[..], 3))
        );
        assert!(numbers(b" 2 99999999999\r\n", &Context::strict()).is_err());
    }
}
