//! Sequence sets (RFC 9051 §9 `sequence-set`), one reading only: no client is known to write them wrongly.

use super::value::taken;
use super::{Parsed, expected};
use crate::types::{SequenceNumber, SequenceRange, SequenceSet};

/// `sequence-set = (seq-number / seq-range) ["," sequence-set] / "$"`
#[inline]
pub fn sequence_set(i: &[u8]) -> Parsed<'_, SequenceSet<'_>> {
    if let [b'$', rest @ ..] = i {
        return Ok((rest, SequenceSet::SAVED));
    }
    let (mut rest, _) = seq_range(i)?;
    while let [b',', behind @ ..] = rest {
        (rest, _) = seq_range(behind)?;
    }
    Ok((rest, SequenceSet::wire(taken(i, rest))))
}

/// `seq-range = seq-number ":" seq-number`, or a single `seq-number`.
#[inline]
pub fn seq_range(i: &[u8]) -> Parsed<'_, SequenceRange> {
    let (rest, first) = seq_number(i)?;
    let [b':', behind @ ..] = rest else { return Ok((rest, SequenceRange { first, last: first })) };
    let (rest, last) = seq_number(behind)?;
    Ok((rest, SequenceRange { first, last }))
}

/// `seq-number = nz-number / "*"`
#[inline]
fn seq_number(i: &[u8]) -> Parsed<'_, SequenceNumber> {
    if let [b'*', rest @ ..] = i {
        return Ok((rest, SequenceNumber::Largest));
    }
    let mut value = 0_u32;
    let mut rest = i;
    while let [octet @ b'0'..=b'9', behind @ ..] = rest {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(u32::from(octet - b'0')));
        let Some(next) = next else { return expected(i, "a number below 4294967296") };
        value = next;
        rest = behind;
    }
    // Also refuses a leading zero: nz-number = digit-nz *DIGIT.
    if value == 0 || i.first() == Some(&b'0') {
        return expected(i, "a sequence number");
    }
    Ok((rest, SequenceNumber::Number(value)))
}
