//! Sequence sets: the messages that a command names (RFC 9051 §9 `sequence-set`, RFC 5182 `$`).
//!
//! ```text
//! sequence-set = (seq-number / seq-range) ["," sequence-set] / "$"
//! seq-range    = seq-number ":" seq-number          seq-number = nz-number / "*"
//! ```
//!
//! A range is never expanded. The command determines whether the numbers are sequence numbers or UIDs.

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::owned::{owned_struct, plain, plain_slice, view_enum};
use crate::grammar::primitive::taken;
use crate::grammar::{Parsed, expected};
use crate::numbers::{NumberRange, Numbers};
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use proto_mail::error::ErrorDetails;

/// A sequence number or a UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SequenceNumber {
    /// A number. 0 is no message's number, and is never written.
    Number(u32),
    /// `*`: the largest number in use.
    Largest,
}

/// All numbers between two, inclusive, in either order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceRange {
    /// One end.
    pub first: SequenceNumber,
    /// The other end.
    pub last: SequenceNumber,
}

/// A set of messages, given by their numbers.
///
/// ```
/// use proto_imap::types::{SequenceRange, SequenceSet};
/// let unseen = [SequenceRange::new(2, 4), SequenceRange::from_number_on(9)];
/// let set = SequenceSet::new(&unseen);
/// assert_eq!(set.to_string(), "2:4,9:*");
/// assert!(set.contains(11, 12));
/// ```
#[derive(Clone, Copy)]
pub struct SequenceSet<'i>(Source<'i>);

#[derive(Clone, Copy)]
enum Source<'i> {
    /// The text, which the grammar has checked.
    Wire(&'i [u8]),
    Given(&'i [SequenceRange]),
    One(SequenceRange),
    Numbers(Numbers<'i>),
    Saved,
}

/// The error for a text that is not a sequence set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSequenceSet;

impl fmt::Display for InvalidSequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence set is like 1,3:5,9:* with numbers from 1 to 4294967295, or $")
    }
}

impl core::error::Error for InvalidSequenceSet {}

impl ErrorDetails for InvalidSequenceSet {}

impl SequenceNumber {
    /// Returns the number; `largest` is the largest number in use.
    #[must_use]
    pub const fn resolve(self, largest: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Largest => largest,
        }
    }
}

impl SequenceRange {
    /// All numbers: `1:*`.
    pub const ALL: Self = Self::from_number_on(1);

    /// Creates the range from `first` to `last`, or from `last` to `first`.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Self {
        Self { first: SequenceNumber::Number(first), last: SequenceNumber::Number(last) }
    }

    /// Creates a range of one number.
    #[must_use]
    pub const fn one(number: u32) -> Self {
        Self::new(number, number)
    }

    /// Creates the range `number:*`. It includes the largest number in use, even if that is less than `number`.
    #[must_use]
    pub const fn from_number_on(number: u32) -> Self {
        Self { first: SequenceNumber::Number(number), last: SequenceNumber::Largest }
    }

    /// Returns the numbers in ascending order; `largest` is the largest number in use.
    #[must_use]
    pub fn resolve(self, largest: u32) -> RangeInclusive<u32> {
        let (first, last) = (self.first.resolve(largest), self.last.resolve(largest));
        first.min(last)..=first.max(last)
    }

    /// Returns the range with the lesser end first and `*` last, an order that every server accepts.
    pub(crate) const fn ascending(self) -> Self {
        match (self.first, self.last) {
            (SequenceNumber::Number(first), SequenceNumber::Number(last)) if first > last => {
                Self::new(last, first)
            }
            (SequenceNumber::Largest, SequenceNumber::Number(_)) => {
                Self { first: self.last, last: self.first }
            }
            _ => self,
        }
    }
}

impl From<u32> for SequenceRange {
    fn from(number: u32) -> Self {
        Self::one(number)
    }
}

impl From<RangeInclusive<u32>> for SequenceRange {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self::new(*range.start(), *range.end())
    }
}

impl From<NumberRange> for SequenceRange {
    fn from(range: NumberRange) -> Self {
        Self::new(range.first(), range.last())
    }
}

impl<'i> SequenceSet<'i> {
    /// All messages: `1:*`.
    pub const ALL: SequenceSet<'static> = SequenceSet(Source::One(SequenceRange::ALL));

    /// `$`: the saved result of the last SEARCH with `RETURN (SAVE)` (RFC 5182).
    pub const SAVED: SequenceSet<'static> = SequenceSet(Source::Saved);

    /// Creates a set of these ranges. An empty set cannot be written.
    #[must_use]
    pub const fn new(ranges: &'i [SequenceRange]) -> Self {
        Self(Source::Given(ranges))
    }

    /// Parses a set from text: `1,3:5,9:*`.
    ///
    /// # Errors
    /// [`InvalidSequenceSet`] if the text is not a sequence set.
    pub fn from_text(text: &'i str) -> Result<Self, InvalidSequenceSet> {
        match sequence_set(text.as_bytes()) {
            Ok((b"", set)) => Ok(set),
            _ => Err(InvalidSequenceSet),
        }
    }

    pub(crate) const fn wire(text: &'i [u8]) -> Self {
        Self(Source::Wire(text))
    }

    /// Returns whether the set is `$`. It has no ranges, because the server stores the saved result.
    #[must_use]
    pub const fn is_saved(&self) -> bool {
        matches!(self.0, Source::Saved)
    }

    /// Returns an iterator over the ranges as received or given: in any order, perhaps overlapping.
    #[must_use]
    pub const fn ranges(&self) -> SequenceRanges<'i> {
        SequenceRanges(match self.0 {
            Source::Wire(text) => Walk::Wire(text),
            Source::Given(ranges) => Walk::Given(ranges),
            Source::One(range) => Walk::One(Some(range)),
            Source::Numbers(numbers) => Walk::Numbers(numbers.ranges()),
            Source::Saved => Walk::One(None),
        })
    }

    /// Returns the numbers up to `largest`, the largest number in use, as ascending ranges that neither overlap nor
    /// touch. Use it to iterate over messages: it has at most as many ranges as the set, and no number occurs twice.
    #[must_use]
    pub fn resolve(&self, largest: u32) -> Vec<RangeInclusive<u32>> {
        let mut all: Vec<_> = self
            .ranges()
            .map(|range| range.resolve(largest))
            .map(|range| (*range.start()).max(1)..=(*range.end()).min(largest))
            .filter(|range| !range.is_empty())
            .collect();
        let rising = all.windows(2).all(|pair| match pair {
            [a, b] => a.end().checked_add(1).is_some_and(|next| next < *b.start()),
            _ => true,
        });
        if !rising {
            all.sort_unstable_by_key(|range| *range.start());
            all.dedup_by(|next, kept| {
                let touches = *next.start() <= kept.end().saturating_add(1);
                if touches {
                    *kept = *kept.start()..=(*kept.end()).max(*next.end());
                }
                touches
            });
        }
        all
    }

    /// Returns whether `number` is in the set; `largest` is the largest number in use. `$` contains no numbers.
    #[must_use]
    pub fn contains(&self, number: u32, largest: u32) -> bool {
        number <= largest && self.ranges().any(|range| range.resolve(largest).contains(&number))
    }
}

impl From<SequenceRange> for SequenceSet<'_> {
    fn from(range: SequenceRange) -> Self {
        Self(Source::One(range))
    }
}

impl From<u32> for SequenceSet<'_> {
    fn from(number: u32) -> Self {
        Self(Source::One(SequenceRange::one(number)))
    }
}

impl From<RangeInclusive<u32>> for SequenceSet<'_> {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self(Source::One(range.into()))
    }
}

impl<'i> From<&'i [SequenceRange]> for SequenceSet<'i> {
    fn from(ranges: &'i [SequenceRange]) -> Self {
        Self::new(ranges)
    }
}

/// Converts the numbers that a server has found, copied or changed.
impl<'i> From<Numbers<'i>> for SequenceSet<'i> {
    fn from(numbers: Numbers<'i>) -> Self {
        Self(Source::Numbers(numbers))
    }
}

/// Two sets are equal if they list the same ranges in the same order.
impl PartialEq for SequenceSet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_saved() == other.is_saved() && self.ranges().eq(other.ranges())
    }
}

impl Eq for SequenceSet<'_> {}

impl fmt::Display for SequenceSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_saved() {
            return f.write_str("$");
        }
        for (index, range) in self.ranges().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(&range, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SequenceSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SequenceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.first, f)?;
        if self.first != self.last {
            write!(f, ":{}", self.last)?;
        }
        Ok(())
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Largest => f.write_str("*"),
        }
    }
}

/// An iterator over the ranges of a [`SequenceSet`].
#[derive(Debug, Clone)]
pub struct SequenceRanges<'i>(Walk<'i>);

#[derive(Debug, Clone)]
enum Walk<'i> {
    Wire(&'i [u8]),
    Given(&'i [SequenceRange]),
    One(Option<SequenceRange>),
    Numbers(crate::numbers::Ranges<'i>),
}

impl Iterator for SequenceRanges<'_> {
    type Item = SequenceRange;

    fn next(&mut self) -> Option<SequenceRange> {
        match &mut self.0 {
            Walk::Wire(rest) => {
                let text = rest.strip_prefix(b",").unwrap_or(rest);
                let (behind, range) = seq_range(text).ok()?;
                *rest = behind;
                Some(range)
            }
            Walk::Given(ranges) => {
                let (first, rest) = ranges.split_first()?;
                *ranges = rest;
                Some(*first)
            }
            Walk::One(range) => range.take(),
            Walk::Numbers(ranges) => ranges.next().map(SequenceRange::from),
        }
    }
}

/// `sequence-set = (seq-number / seq-range) ["," sequence-set] / "$"`
#[inline]
pub(crate) fn sequence_set(i: &[u8]) -> Parsed<'_, SequenceSet<'_>> {
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
pub(crate) fn seq_range(i: &[u8]) -> Parsed<'_, SequenceRange> {
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
    while let [byte @ b'0'..=b'9', behind @ ..] = rest {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(u32::from(byte - b'0')));
        let Some(next) = next else { return expected(i, "a number below 4294967296") };
        value = next;
        rest = behind;
    }
    // Also rejects a leading zero: nz-number = digit-nz *DIGIT.
    if value == 0 || i.first() == Some(&b'0') {
        return expected(i, "a sequence number");
    }
    Ok((rest, SequenceNumber::Number(value)))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `sequence-set`: ascending and without overlaps, because some servers accept only that.
    pub(crate) fn set(&mut self, set: SequenceSet<'_>) -> Written {
        if set.is_saved() {
            self.put(b"$");
            return Ok(());
        }
        let zero = |range: SequenceRange| [range.first, range.last].contains(&SequenceNumber::Number(0));
        if set.ranges().any(zero) {
            return fault("sequence set", ArgumentFault::OutOfRange);
        }
        let mut last = None;
        let rising = set.ranges().map(SequenceRange::ascending).all(|range| {
            let rises = last.is_none_or(|last| order(last) < order(range.first));
            last = Some(range.last);
            rises
        });
        match last {
            None => return fault("sequence set", ArgumentFault::Empty),
            Some(_) if rising => self.ranges(set.ranges()),
            Some(_) => self.ranges(sorted(set).into_iter()),
        }
        Ok(())
    }

    pub(crate) fn ranges(&mut self, ranges: impl Iterator<Item = SequenceRange>) {
        for (index, range) in ranges.map(SequenceRange::ascending).enumerate() {
            if index > 0 {
                self.put(b",");
            }
            self.end_of_range(range.first);
            if range.first != range.last {
                self.put(b":");
                self.end_of_range(range.last);
            }
        }
    }

    pub(crate) fn end_of_range(&mut self, end: SequenceNumber) {
        match end {
            SequenceNumber::Number(number) => self.number(u64::from(number)),
            SequenceNumber::Largest => self.put(b"*"),
        }
    }
}

/// Returns the sort key of a number; `*` sorts last.
const fn order(number: SequenceNumber) -> u64 {
    match number {
        SequenceNumber::Number(number) => number as u64,
        SequenceNumber::Largest => u64::MAX,
    }
}

/// Returns the ranges in ascending order, with overlapping ones merged.
fn sorted(set: SequenceSet<'_>) -> Vec<SequenceRange> {
    let mut ranges: Vec<_> = set.ranges().map(SequenceRange::ascending).collect();
    ranges.sort_unstable_by_key(|range| order(range.first));
    ranges.dedup_by(|next, kept| {
        let overlaps = order(next.first) <= order(kept.last);
        if overlaps && order(next.last) > order(kept.last) {
            kept.last = next.last;
        }
        overlaps
    });
    ranges
}

plain!(SequenceNumber, SequenceRange);

owned_struct!(SequenceSet { 0 });

plain_slice!(SequenceRange);

view_enum!(Source { Wire(a), Given(a), One(a), Numbers(a), Saved });

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn set(text: &str) -> SequenceSet<'_> {
        SequenceSet::from_text(text).unwrap()
    }

    #[test]
    fn resolves_sets_as_in_the_rfc() {
        // RFC 9051 §9, the comments of sequence-set and seq-range.
        let numbers =
            |text, largest| -> Vec<u32> { set(text).resolve(largest).into_iter().flatten().collect() };
        assert_eq!(numbers("2,4:7,9,12:*", 15), [2, 4, 5, 6, 7, 9, 12, 13, 14, 15]);
        assert_eq!(numbers("*:4,5:7", 10), [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(numbers("4:2", 9), [2, 3, 4]);
        assert_eq!(numbers("3291:*", 100), [100]);
        assert!(set("1:*,*,3").resolve(0).is_empty(), "an empty mailbox");
        assert_eq!(numbers("500:600,7", 100), [7]);
        assert!(set("3291:*").contains(100, 100));
        assert!(!set("3291:*").contains(99, 100));
    }

    #[test]
    fn resolves_repeated_ranges_once() {
        let text = ["1:4294967295"; 1000].join(",");
        assert_eq!(set(&text).resolve(u32::MAX), [1..=u32::MAX]);
        assert_eq!(set("1:2,3,4:5,7").resolve(9), [1..=5, 7..=7]);
        assert_eq!(set("7,5:6,1").resolve(9), [1..=1, 5..=7]);
    }

    #[test]
    fn rejects_invalid_sets() {
        for bad in [
            "",
            "0",
            "1,",
            ",1",
            "1:",
            ":1",
            "1::2",
            "1:2:3",
            "a",
            "1 2",
            "4294967296",
            "1,$",
            "$1",
            "-1",
            "+1",
            "1:0",
        ] {
            assert_eq!(SequenceSet::from_text(bad), Err(InvalidSequenceSet), "{bad:?}");
        }
        assert!(set("$").is_saved());
        assert_eq!(set("4294967295,*,*:3").to_string(), "4294967295,*,*:3");
    }
}
