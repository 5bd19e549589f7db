//! Message numbers and UIDs as listed in responses: `2 84 882` and `1:3,7` (RFC 9051 §9 `sequence-set` without `*`).
//!
//! A range is never expanded: `1:4294967295` costs no more than `1`. The response determines whether the numbers are
//! sequence numbers or UIDs.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::owned::{owned_struct, plain, plain_slice, view_enum};
use core::fmt;
use core::ops::RangeInclusive;

/// A list of numbers and ranges of numbers, parsed when it is iterated.
#[derive(Clone, Copy)]
pub struct Numbers<'i>(Source<'i>);

#[derive(Clone, Copy)]
enum Source<'i> {
    /// Digits, colons, commas and spaces, which the grammar has checked.
    Wire(&'i [u8]),
    Given(&'i [NumberRange]),
}

/// An inclusive range of numbers. The first is never greater than the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRange {
    first: u32,
    last: u32,
}

impl NumberRange {
    /// Creates the range from `first` to `last`, or from `last` to `first`.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Self {
        if first <= last { Self { first, last } } else { Self { first: last, last: first } }
    }

    /// Returns the smallest number.
    #[must_use]
    pub const fn first(self) -> u32 {
        self.first
    }

    /// Returns the largest number.
    #[must_use]
    pub const fn last(self) -> u32 {
        self.last
    }
}

impl From<u32> for NumberRange {
    fn from(number: u32) -> Self {
        Self::new(number, number)
    }
}

impl From<RangeInclusive<u32>> for NumberRange {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self::new(*range.start(), *range.end())
    }
}

impl From<NumberRange> for RangeInclusive<u32> {
    fn from(range: NumberRange) -> Self {
        range.first..=range.last
    }
}

impl<'i> Numbers<'i> {
    /// No numbers.
    pub const EMPTY: Numbers<'static> = Numbers(Source::Given(&[]));

    /// Creates a list of these ranges.
    #[must_use]
    pub const fn new(ranges: &'i [NumberRange]) -> Self {
        Self(Source::Given(ranges))
    }

    pub(crate) const fn wire(text: &'i [u8]) -> Self {
        Self(Source::Wire(text))
    }

    /// Returns an iterator over the ranges, in the order received. A single number is a range of one.
    #[must_use]
    pub const fn ranges(&self) -> Ranges<'i> {
        Ranges(self.0)
    }

    /// Returns an iterator over the numbers. A range such as `1:4294967295` yields very many.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'i> {
        self.ranges().flat_map(RangeInclusive::from)
    }

    /// Returns how many numbers there are. A number that is listed twice counts twice.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges().fold(0, |all: u64, range| all.saturating_add(u64::from(range.last - range.first) + 1))
    }

    /// Returns whether `number` is listed.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.ranges().any(|range| range.first <= number && number <= range.last)
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges().next().is_none()
    }
}

impl PartialEq for Numbers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.ranges().eq(other.ranges())
    }
}

impl Eq for Numbers<'_> {}

impl fmt::Debug for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for range in self.ranges() {
            if range.first == range.last {
                list.entry(&range.first)
            } else {
                list.entry(&RangeInclusive::from(range))
            };
        }
        list.finish()
    }
}

/// An iterator over the ranges of [`Numbers`].
#[derive(Clone)]
pub struct Ranges<'i>(Source<'i>);

impl fmt::Debug for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Numbers(self.0).fmt(f)
    }
}

impl Iterator for Ranges<'_> {
    type Item = NumberRange;

    fn next(&mut self) -> Option<NumberRange> {
        match &mut self.0 {
            Source::Given(ranges) => {
                let (first, rest) = ranges.split_first()?;
                *ranges = rest;
                Some(*first)
            }
            Source::Wire(rest) => {
                while let Some((b' ' | b',', behind)) = rest.split_first() {
                    *rest = behind;
                }
                let first = take_number(rest)?;
                let last = match rest.split_first() {
                    Some((b':', behind)) => {
                        *rest = behind;
                        take_number(rest)?
                    }
                    _ => first,
                };
                Some(NumberRange::new(first, last))
            }
        }
    }
}

pub(crate) fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    let mut digits = 0;
    for byte in *rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.saturating_mul(10).saturating_add(u64::from(digit));
        digits += 1;
    }
    if digits == 0 {
        return None;
    }
    *rest = rest.get(digits..)?;
    Some(u32::try_from(value).unwrap_or(u32::MAX))
}

plain!(NumberRange);

owned_struct!(Numbers { 0 });

plain_slice!(NumberRange);

view_enum!(Source { Wire(a), Given(a) });

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn never_expands_ranges() {
        let all = Numbers::wire(b"1:4294967295,7");
        assert_eq!(all.count(), 4_294_967_296);
        assert!(all.contains(4_000_000_000));
        assert_eq!(alloc::format!("{all:?}"), "[1..=4294967295, 7]");
        assert_eq!(Numbers::wire(b"3:1").iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(Numbers::wire(b"2 84  882 ").iter().collect::<Vec<_>>(), [2, 84, 882]);
        assert!(Numbers::wire(b" ").is_empty());
    }
}
