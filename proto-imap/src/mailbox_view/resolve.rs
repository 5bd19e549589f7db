//! Which messages a sequence set names: sequence numbers, UIDs and `$` (RFC 9051 §6.4, RFC 5182).

use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::view::MailboxView;
use crate::types::{NumberKind, NumberRange, SequenceRange, SequenceSet};

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
        let mut ranges = Vec::new();
        for range in set.ranges() {
            let uids = match kind {
                NumberKind::Uids => self.resolve_uids(range),
                NumberKind::SequenceNumbers => self.resolve_numbers(range)?,
            };
            if uids.is_some() && ranges.len() >= limit {
                return Err(ResolveError::TooManyRanges);
            }
            ranges.extend(uids);
        }
        Ok(merged(ranges))
    }

    /// Returns the UIDs of a range of sequence numbers.
    fn resolve_numbers(&self, range: SequenceRange) -> Result<Option<NumberRange>, ResolveError> {
        let exists = self.exists();
        let numbers = range.resolve(exists);
        if exists == 0 && *numbers.start() == 0 {
            // Many clients request `1:*` of an empty mailbox and expect an empty result.
            return Ok(None);
        }
        let first = self.uid(*numbers.start()).ok_or(ResolveError::NoSuchMessage)?;
        let last = self.uid(*numbers.end()).ok_or(ResolveError::NoSuchMessage)?;
        Ok(Some(NumberRange::new(first, last)))
    }

    /// Returns the UIDs of a range that are at most the last one of the view. `*` means the last message even if the
    /// other end is beyond it.
    fn resolve_uids(&self, range: SequenceRange) -> Option<NumberRange> {
        let last = self.uids.last()?;
        let range = range.resolve(last);
        (*range.start() <= last).then(|| NumberRange::new(*range.start(), (*range.end()).min(last)))
    }
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
    fn merges_ranges_and_limits_their_number() {
        let set = SequenceSet::from_text("9,1:3,4:5,9:10,2").unwrap();
        let ranges = view().resolve(set, NumberKind::Uids, 5);
        assert_eq!(ranges, Ok(Vec::from([NumberRange::new(1, 5), NumberRange::new(9, 10)])));
        assert_eq!(view().resolve(set, NumberKind::Uids, 4), Err(ResolveError::TooManyRanges));
    }
}
