//! Pages of a result: `1:500`, `-1:-500` (RFC 9394 `partial-range`).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::number::nz_number;
use crate::grammar::owned::plain;
use crate::grammar::primitive::byte;
use crate::grammar::sink::{Sink, number};
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::NumberRange;
use core::ops::Range;

/// A page of a search's result (RFC 9394 `partial-range`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialRange {
    /// `1:500`: counted from the first result.
    FromFirst(NumberRange),
    /// `-1:-500`: counted from the last result.
    FromLast(NumberRange),
}

impl PartialRange {
    /// Returns the places of the results on this page, from 0, in a result of `count` messages (RFC 5267 §4.4, RFC 9394 §3).
    /// It is empty where the page is beyond the result.
    ///
    /// ```
    /// use proto_imap::types::{NumberRange, PartialRange};
    /// assert_eq!(PartialRange::FromFirst(NumberRange::new(1, 100)).places(250), 0..100);
    /// assert_eq!(PartialRange::FromLast(NumberRange::new(1, 100)).places(250), 150..250);
    /// ```
    #[must_use]
    pub fn places(self, count: u32) -> Range<u32> {
        let place = |number: u32| number.saturating_sub(1).min(count);
        match self {
            Self::FromFirst(range) => place(range.first())..range.last().min(count),
            Self::FromLast(range) => count - range.last().min(count)..count - place(range.first()),
        }
    }
}

/// `partial-range = nz-number ":" nz-number / "-" nz-number ":-" nz-number`
pub(crate) fn partial_range<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, PartialRange> {
    let (rest, from_last) = match i {
        [b'-', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let (rest, first) = nz_number(rest, cx)?;
    let (rest, ()) = byte(rest, b':', "a colon")?;
    let rest = match (rest, from_last) {
        ([b'-', rest @ ..], true) => rest,
        (rest, false) => rest,
        (rest, true) => return expected(rest, "a minus sign"),
    };
    let (rest, last) = nz_number(rest, cx)?;
    let range = NumberRange::new(first, last);
    Ok((rest, if from_last { PartialRange::FromLast(range) } else { PartialRange::FromFirst(range) }))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `partial-range` (RFC 9394)
    pub(crate) fn page(&mut self, page: PartialRange) -> Written {
        let (sign, range): (&[u8], _) = match page {
            PartialRange::FromFirst(range) => (b"", range),
            PartialRange::FromLast(range) => (b"-", range),
        };
        if range.first() == 0 {
            return fault("page", ArgumentFault::OutOfRange);
        }
        self.put(sign);
        self.number(u64::from(range.first()));
        self.put(b":");
        self.put(sign);
        self.number(u64::from(range.last()));
        Ok(())
    }
}

pub(crate) fn write_partial_range(page: PartialRange, out: &mut (impl Sink + ?Sized)) {
    let (sign, range): (&[u8], _) = match page {
        PartialRange::FromFirst(range) => (b"", range),
        PartialRange::FromLast(range) => (b"-", range),
    };
    out.put(sign);
    number(range.first().max(1).into(), out);
    out.put(b":");
    out.put(sign);
    number(range.last().max(1).into(), out);
}

plain!(PartialRange);
