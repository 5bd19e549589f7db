//! Numbers (RFC 9051 §9 `number`, `nz-number`, `number64`), and the forms that some servers write instead.
//!
//! No number overflows: the strict parser rejects a number that is too large, the tolerant one clamps it.

use crate::grammar::primitive::{byte, nil};
use crate::grammar::repair::Repair;
use crate::grammar::{Context, Parsed, expected};

/// `number = 1*DIGIT`, below 2³². *Tolerant*: `-n`, `NIL` and `()` as 0; an exponent; a quoted number; a number that
/// is too large is clamped.
#[inline]
pub(crate) fn number<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u32> {
    let (rest, value) = number_up_to(i, cx, u64::from(u32::MAX))?;
    Ok((rest, u32::try_from(value).unwrap_or(u32::MAX)))
}

/// `nz-number = digit-nz *DIGIT`, below 2³². *Tolerant*: like [`number`], and 0.
#[inline]
pub(crate) fn nz_number<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u32> {
    let (rest, value) = number(i, cx)?;
    if (value == 0 || i.first() == Some(&b'0')) && !cx.repair(Repair::ZeroNumber) {
        return expected(i, "a non-zero number");
    }
    Ok((rest, value))
}

/// `number64 = 1*DIGIT`, below 2⁶³. *Tolerant*: like [`number`], below 2⁶⁴.
#[inline]
pub(crate) fn number64<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u64> {
    number_up_to(i, cx, if cx.is_tolerant() { u64::MAX } else { i64::MAX as u64 })
}

#[inline]
fn number_up_to<'i>(i: &'i [u8], cx: &Context, greatest: u64) -> Parsed<'i, u64> {
    /// The number of digits that no `u64` overflows with.
    const DIGITS: usize = 19;
    let mut value = 0_u64;
    let mut end = 0;
    while let Some(digit @ b'0'..=b'9') = i.get(end) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        end += 1;
    }
    let rest = i.get(end..).unwrap_or_default();
    let plain = (1..=DIGITS).contains(&end) && !matches!(rest.first(), Some(b'.' | b'e' | b'E'));
    if plain && value <= greatest { Ok((rest, value)) } else { odd_number(i, cx, greatest) }
}

/// Parses a number in any form.
#[cold]
fn odd_number<'i>(i: &'i [u8], cx: &Context, greatest: u64) -> Parsed<'i, u64> {
    let Ok((rest, digits)) = plain_digits(i) else { return lenient_number(i, cx, greatest) };
    if matches!(rest.first(), Some(b'.' | b'e' | b'E')) && cx.is_tolerant() {
        return lenient_number(i, cx, greatest);
    }
    let value = digits.iter().try_fold(0_u64, |all, digit| {
        all.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|value| *value <= greatest)
    });
    match value {
        Some(value) => Ok((rest, value)),
        None if cx.repair(Repair::NumberTooLarge) => Ok((rest, greatest)),
        None => expected(i, "a smaller number"),
    }
}

#[cold]
fn lenient_number<'i>(i: &'i [u8], cx: &Context, greatest: u64) -> Parsed<'i, u64> {
    if !cx.is_tolerant() {
        return expected(i, "a number");
    }
    match i {
        [b'-', digits @ ..] => {
            let (rest, _) = plain_digits(digits)?;
            cx.repairs.note(Repair::NegativeNumber);
            Ok((rest, 0))
        }
        [b'(', b')', rest @ ..] => {
            cx.repairs.note(Repair::NilForValue);
            Ok((rest, 0))
        }
        [b'"', inner @ ..] => {
            let (rest, value) = number_up_to(inner, cx, greatest)?;
            let (rest, ()) = byte(rest, b'"', "a number")?;
            cx.repairs.note(Repair::StringForm);
            Ok((rest, value))
        }
        [b'0'..=b'9', ..] => {
            let (rest, value) = exponent_number(i)?;
            cx.repairs.note(Repair::ExponentNumber);
            Ok((rest, value.min(greatest)))
        }
        _ => {
            let Ok((rest, ())) = nil(i) else { return expected(i, "a number") };
            cx.repairs.note(Repair::NilForValue);
            Ok((rest, 0))
        }
    }
}

pub(crate) fn plain_digits(i: &[u8]) -> Parsed<'_, &[u8]> {
    let end = i.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(i.len());
    match i.split_at(end) {
        ([], _) => expected(i, "a number"),
        (digits, rest) => Ok((rest, digits)),
    }
}

/// Parses a number such as `9.3736e+06`, as some servers write large ones. Digits that remain behind the point after the
/// exponent is applied are dropped.
fn exponent_number(i: &[u8]) -> Parsed<'_, u64> {
    let (mut rest, whole) = plain_digits(i)?;
    let mut fraction: &[u8] = b"";
    if let [b'.', more @ ..] = rest {
        (rest, fraction) = plain_digits(more)?;
    }
    let mut exponent = 0_usize;
    if let [b'e' | b'E', more @ ..] = rest {
        let negative = more.first() == Some(&b'-');
        let more = more.strip_prefix(b"+").or_else(|| more.strip_prefix(b"-")).unwrap_or(more);
        let digits;
        (rest, digits) = plain_digits(more)?;
        if negative {
            return Ok((rest, 0));
        }
        exponent = digits.iter().fold(0, |all: usize, digit| (all * 10 + usize::from(digit - b'0')).min(99));
    }
    let shifted = fraction.iter().copied().chain(core::iter::repeat(b'0')).take(exponent);
    let value =
        whole.iter().copied().chain(shifted).fold(0_u64, |all, digit| {
            all.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
        });
    Ok((rest, value))
}

/// `mod-sequence-value`, 63 bits, not 0 (RFC 7162). *Tolerant*: 0.
pub(crate) fn mod_sequence_value<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u64> {
    let (rest, value) = number64(i, cx)?;
    if value == 0 && !cx.repair(Repair::ZeroNumber) {
        return expected(i, "a non-zero number");
    }
    Ok((rest, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_strict_and_tolerant() {
        let cases: &[(&[u8], Option<u32>, Option<u32>)] = &[
            (b"0", Some(0), Some(0)),
            (b"007", Some(7), Some(7)),
            (b"4294967295", Some(u32::MAX), Some(u32::MAX)),
            (b"4294967296", None, Some(u32::MAX)),
            (b"99999999999999999999999", None, Some(u32::MAX)),
            (b"-1", None, Some(0)),
            (b"NIL", None, Some(0)),
            (b"()", None, Some(0)),
            (b"\"12\"", None, Some(12)),
            (b"1.5e3", None, Some(1500)),
            (b"9.3736e+06", None, Some(9_373_600)),
            (b"12e-3", None, Some(0)),
            (b"1e99999999999", None, Some(u32::MAX)),
            (b"", None, None),
            (b"x", None, None),
            (b"-", None, None),
        ];
        for (input, strict, tolerant) in cases {
            let read = |cx: &Context| {
                number(input, cx).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
            };
            assert_eq!(read(&Context::strict()), *strict, "{input:?}");
            let cx = Context::tolerant();
            assert_eq!(read(&cx), *tolerant, "{input:?}");
            assert_eq!(cx.repairs.total() > 0, strict.is_none() && tolerant.is_some(), "{input:?}");
        }
    }

    #[test]
    fn non_zero_numbers_and_64_bits() {
        assert!(nz_number(b"0", &Context::strict()).is_err());
        assert!(nz_number(b"01", &Context::strict()).is_err());
        assert_eq!(nz_number(b"0", &Context::tolerant()), Ok((&b""[..], 0)));
        let greatest = i64::MAX as u64;
        assert_eq!(number64(b"9223372036854775807", &Context::strict()), Ok((&b""[..], greatest)));
        assert!(number64(b"9223372036854775808", &Context::strict()).is_err());
        assert_eq!(number64(b"18446744073709551615", &Context::tolerant()), Ok((&b""[..], u64::MAX)));
    }
}
