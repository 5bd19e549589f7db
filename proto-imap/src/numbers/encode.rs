//! Writes sets of numbers.

use crate::grammar::sink::{Sink, number};
use crate::numbers::{NumberRange, Numbers};

/// `sequence-set` without `*`. Zeros are left out; an empty set writes nothing.
pub(crate) fn sequence_set(numbers: Numbers<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut first = true;
    for range in numbers.ranges().filter(|range| range.last() > 0) {
        if !first {
            out.put(b",");
        }
        first = false;
        seq_range(NumberRange::new(range.first().max(1), range.last()), out);
    }
}

fn seq_range(range: NumberRange, out: &mut (impl Sink + ?Sized)) {
    number(range.first().into(), out);
    if range.last() != range.first() {
        out.put(b":");
        number(range.last().into(), out);
    }
}
