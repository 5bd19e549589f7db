//! Which messages a sequence set names: sequence numbers, UIDs and `$` (RFC 9051 §6.4, RFC 5182).

use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::view::MailboxView;
use crate::types::{NumberKind, NumberRange, PartialRange, SequenceSet};

/// Up to this many ranges of sequence numbers, each is looked up on its own.
const FEW_RANGES: usize = 32;

/// Why a sequence set was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// A sequence number is not in use. The server answers BAD (RFC 9051 §9 `seq-number`).
    NoSuchMessage,
    /// The set has too many ranges. The server answers NO or BAD with `LIMIT`.
    TooManyRanges,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchMessage => "no message has that number",
            Self::TooManyRanges => "the sequence set has too many ranges: use several commands",
        })
    }
}

impl core::error::Error for ResolveError {}

impl ErrorDetails for ResolveError {}

impl MailboxView {
    /// Returns the UIDs that a set names, as at most `limit` ascending ranges that neither overlap nor touch.
    ///
    /// A range of UIDs may contain UIDs of no message. It never extends beyond the last message of this view, so it
    /// contains no message that arrived later. `$` is the saved result of a search, for either kind of numbers. In an
    /// empty mailbox, a set with `*` names no messages.
    ///
    /// # Errors
    /// * [`ResolveError::NoSuchMessage`] if a sequence number is not in use. UIDs need not be in use.
    /// * [`ResolveError::TooManyRanges`] if the set has more than `limit` ranges.
    pub fn resolve(
        &self,
        set: SequenceSet<'_>,
        kind: NumberKind,
        limit: usize,
    ) -> Result<Vec<NumberRange>, ResolveError> {
        if set.is_saved() {
            let ranges: Vec<_> = self.saved.ranges().take(limit.saturating_add(1)).collect();
            return if ranges.len() > limit { Err(ResolveError::TooManyRanges) } else { Ok(ranges) };
        }
        match kind {
            NumberKind::Uids => self.resolve_uids(set, limit),
            NumberKind::SequenceNumbers => Ok(self.uids_of_numbers(&self.resolve_numbers(set, limit)?)),
        }
    }

    /// Like [`resolve`](Self::resolve) with sequence numbers, but numbers beyond the last message name no messages.
    ///
    /// # Errors
    /// [`ResolveError::TooManyRanges`]
    pub fn resolve_existing(
        &self,
        set: SequenceSet<'_>,
        limit: usize,
    ) -> Result<Vec<NumberRange>, ResolveError> {
        if set.is_saved() {
            return self.resolve(set, NumberKind::SequenceNumbers, limit);
        }
        let numbers = set.resolve(self.exists());
        if numbers.len() > limit {
            return Err(ResolveError::TooManyRanges);
        }
        let numbers: Vec<NumberRange> = numbers.into_iter().map(NumberRange::from).collect();
        Ok(self.uids_of_numbers(&numbers))
    }

    /// Returns the part of these ascending ranges of UIDs that is on a page of their messages (RFC 9394 §3.3), as ranges
    /// that begin and end with a message.
    #[must_use]
    pub fn page(&self, uids: &[NumberRange], page: PartialRange) -> Vec<NumberRange> {
        let before = |range: &NumberRange| self.uids.count_up_to(range.first().saturating_sub(1));
        let count = |range: &NumberRange| self.uids.count_up_to(range.last()).saturating_sub(before(range));
        let places = page.places(uids.iter().map(count).fold(0, u32::saturating_add));
        let mut passed: u32 = 0;
        let mut on_page = Vec::new();
        for range in uids {
            let (from, to) = (passed, passed.saturating_add(count(range)));
            passed = to;
            let (first, end) = (places.start.max(from), places.end.min(to));
            if first >= end {
                continue;
            }
            let uid = |place: u32| self.uids.nth(before(range).saturating_add(place - from));
            if let (Some(first), Some(last)) = (uid(first), uid(end - 1)) {
                on_page.push(NumberRange::new(first, last));
            }
        }
        on_page
    }

    /// Returns the sequence numbers that a set names.
    fn resolve_numbers(&self, set: SequenceSet<'_>, limit: usize) -> Result<Vec<NumberRange>, ResolveError> {
        let exists = self.exists();
        let mut numbers = Vec::new();
        for range in set.ranges() {
            let range = range.resolve(exists);
            if exists == 0 && *range.start() == 0 {
                // Many clients request `1:*` of an empty mailbox and expect an empty result.
                continue;
            }
            if *range.start() == 0 || *range.end() > exists {
                return Err(ResolveError::NoSuchMessage);
            }
            push(&mut numbers, range.into(), limit)?;
        }
        Ok(merged(numbers))
    }

    /// Returns the UIDs of ascending ranges of sequence numbers.
    fn uids_of_numbers(&self, numbers: &[NumberRange]) -> Vec<NumberRange> {
        if numbers.len() <= FEW_RANGES {
            let uids =
                numbers.iter().filter_map(|range| Some((self.uid(range.first())?, self.uid(range.last())?)));
            return uids.map(|(first, last)| NumberRange::new(first, last)).collect();
        }
        // One pass over the mailbox, instead of one search for each range.
        let mut runs = self.uids.ranges();
        let mut run = runs.next();
        let mut before = 0;
        let mut uid_of = |number: u32| loop {
            let this = run?;
            let position = number - before - 1;
            if position <= this.last() - this.first() {
                return Some(this.first() + position);
            }
            before += this.last() - this.first() + 1;
            run = runs.next();
        };
        let uids = numbers.iter().filter_map(|range| Some((uid_of(range.first())?, uid_of(range.last())?)));
        uids.map(|(first, last)| NumberRange::new(first, last)).collect()
    }

    /// Returns the UIDs that a set names, up to the last one of the view. `*` means the last message even if the other end
    /// of its range is beyond it.
    fn resolve_uids(&self, set: SequenceSet<'_>, limit: usize) -> Result<Vec<NumberRange>, ResolveError> {
        let Some(largest) = self.uids.last() else { return Ok(Vec::new()) };
        let mut uids = Vec::new();
        for range in set.ranges() {
            let (first, last) = range.resolve(largest).into_inner();
            if first <= largest {
                push(&mut uids, NumberRange::new(first, last.min(largest)), limit)?;
            }
        }
        Ok(merged(uids))
    }
}

fn push(ranges: &mut Vec<NumberRange>, range: NumberRange, limit: usize) -> Result<(), ResolveError> {
    if ranges.len() >= limit {
        return Err(ResolveError::TooManyRanges);
    }
    ranges.push(range);
    Ok(())
}

/// Sorts ranges, and merges those that overlap or touch.
pub(crate) fn merged(mut ranges: Vec<NumberRange>) -> Vec<NumberRange> {
    ranges.sort_unstable_by_key(|range| range.first());
    ranges.dedup_by(|next, kept| {
        let touches = next.first() <= kept.last().saturating_add(1);
        if touches {
            *kept = NumberRange::new(kept.first(), kept.last().max(next.last()));
        }
        touches
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox_view::UidBitmap;
    use alloc::format;
    use alloc::string::String;

    const LIMIT: usize = 100;

    fn view() -> MailboxView {
        MailboxView::new([3, 5, 9, 10].into_iter().collect::<UidBitmap>())
    }

    fn uids(view: &MailboxView, set: &str, kind: NumberKind) -> Option<Vec<u32>> {
        let ranges = view.resolve(SequenceSet::from_text(set).unwrap(), kind, LIMIT).ok()?;
        Some(view.messages(ranges).map(|(_, uid)| uid).collect())
    }

    #[test]
    fn sequence_numbers_must_exist() {
        let of = |set| uids(&view(), set, NumberKind::SequenceNumbers);
        assert_eq!(of("2:3"), Some(Vec::from([5, 9])));
        assert_eq!(of("3:2"), Some(Vec::from([5, 9])));
        assert_eq!(of("*"), Some(Vec::from([10])));
        assert_eq!(of("1:*"), Some(Vec::from([3, 5, 9, 10])));
        assert_eq!(of("4,1"), Some(Vec::from([3, 10])));
        assert_eq!(of("5"), None);
        assert_eq!(of("2:5"), None);
        assert_eq!(of("5:*"), None);
    }

    #[test]
    fn uids_need_not_exist() {
        let of = |set| uids(&view(), set, NumberKind::Uids);
        assert_eq!(of("4:9"), Some(Vec::from([5, 9])));
        assert_eq!(of("1:4294967295"), Some(Vec::from([3, 5, 9, 10])));
        assert_eq!(of("100:*"), Some(Vec::from([10])));
        assert_eq!(of("100:200"), Some(Vec::new()));
        assert_eq!(of("*:1"), Some(Vec::from([3, 5, 9, 10])));
    }

    #[test]
    fn star_selects_nothing_in_an_empty_mailbox() {
        let empty = MailboxView::default();
        assert_eq!(uids(&empty, "1:*", NumberKind::Uids), Some(Vec::new()));
        assert_eq!(uids(&empty, "1:*", NumberKind::SequenceNumbers), Some(Vec::new()));
        assert_eq!(uids(&empty, "1", NumberKind::SequenceNumbers), None);
    }

    #[test]
    fn a_range_excludes_messages_that_arrived_later() {
        let ranges = view().resolve(SequenceSet::from_text("1:99").unwrap(), NumberKind::Uids, LIMIT);
        assert_eq!(ranges, Ok(Vec::from([NumberRange::new(1, 10)])));
    }

    #[test]
    fn a_saved_result_is_named_by_either_kind_of_numbers() {
        let mut view = view();
        view.save([5, 10].into_iter().collect());
        for kind in [NumberKind::Uids, NumberKind::SequenceNumbers] {
            assert_eq!(uids(&view, "$", kind), Some(Vec::from([5, 10])));
            assert_eq!(view.resolve(SequenceSet::SAVED, kind, 1), Err(ResolveError::TooManyRanges));
        }
    }

    #[test]
    fn many_ranges_are_resolved_in_one_pass() {
        // Two messages of every three.
        let view = MailboxView::new((1..=3_000).filter(|uid| uid % 3 != 0).collect::<UidBitmap>());
        let numbers: Vec<String> = (1..=1_000).rev().map(|number| format!("{}", number * 2)).collect();
        let set = numbers.join(",");
        let set = SequenceSet::from_text(&set).unwrap();
        let found = view.resolve(set, NumberKind::SequenceNumbers, 1_000).unwrap();
        let expected: Vec<NumberRange> = (1..=1_000).map(|number| (number * 3 - 1).into()).collect();
        assert_eq!(found, expected);
        let singles = (1..=1_000).filter_map(|number| view.uid(number * 2)).map(NumberRange::from);
        assert_eq!(found, singles.collect::<Vec<_>>());
        assert_eq!(view.resolve(set, NumberKind::SequenceNumbers, 999), Err(ResolveError::TooManyRanges));
    }

    #[test]
    fn a_page_counts_the_messages_of_a_set() {
        // 1, 2, 4, 5, 7, 8, ...
        let view = MailboxView::new((1..=3_000).filter(|uid| uid % 3 != 0).collect::<UidBitmap>());
        let ranges = [(1, 9), (12, 12), (30, 400), (2_999, 4_000)].map(|(a, b)| NumberRange::new(a, b));
        let all: Vec<u32> = view.messages(ranges).map(|(_, uid)| uid).collect();
        for (first, last) in [(1, 1), (1, 6), (3, 9), (6, 7), (200, 300), (1, u32::MAX), (254, 900)] {
            let range = NumberRange::new(first, last);
            let place = |number: u32| (number as usize).min(all.len());
            let expected = &all[place(first - 1)..place(last)];
            let of =
                |page| -> Vec<u32> { view.messages(view.page(&ranges, page)).map(|(_, uid)| uid).collect() };
            assert_eq!(of(PartialRange::FromFirst(range)), expected, "{range:?}");
            let expected = &all[all.len() - place(last)..all.len() - place(first - 1)];
            assert_eq!(of(PartialRange::FromLast(range)), expected, "{range:?}");
        }
    }

    #[test]
    fn ignores_unused_numbers_where_they_are_allowed() {
        let of = |set| {
            let ranges = view().resolve_existing(SequenceSet::from_text(set).unwrap(), LIMIT).unwrap();
            view().messages(ranges).map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(of("3:9"), [3, 4]);
        assert_eq!(of("7,2,9:12"), [2]);
        assert_eq!(of("*"), [4]);
        let empty = MailboxView::default();
        let all = SequenceSet::from_text("1:*,7").unwrap();
        assert_eq!(empty.resolve_existing(all, LIMIT), Ok(Vec::new()));
    }

    #[test]
    fn merges_ranges_and_limits_their_number() {
        let set = SequenceSet::from_text("9,1:3,4:5,9:10,2").unwrap();
        let ranges = view().resolve(set, NumberKind::Uids, 5);
        assert_eq!(ranges, Ok(Vec::from([NumberRange::new(1, 5), NumberRange::new(9, 10)])));
        assert_eq!(view().resolve(set, NumberKind::Uids, 4), Err(ResolveError::TooManyRanges));
    }
}
