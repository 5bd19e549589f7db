//! What one session knows of its mailbox: which message has which number (RFC 9051 §2.3.1.2).
//!
//! The numbers change only when this session is told so. This file knows numbers and UIDs; it does not know the store,
//! and a message that came there meanwhile does not exist here.

use std::ops::RangeInclusive;

use mailstore::UidSet;
use proto_imap::types::{SequenceNumber, SequenceSet};

/// Whether the numbers of a set are sequence numbers or UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    Sequence,
    Uid,
}

/// A set has a sequence number that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchMessage;

/// The messages that a session was told of, by sequence number.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    uids: Vec<u32>,
}

impl View {
    pub(super) fn new(uids: Vec<u32>) -> Self {
        Self { uids }
    }

    pub(super) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// EXISTS.
    pub(super) fn exists(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// The sequence number of a UID.
    pub(super) fn sequence(&self, uid: u32) -> Option<u32> {
        let index = self.uids.binary_search(&uid).ok()?;
        u32::try_from(index + 1).ok()
    }

    /// The UIDs that a set names. What is between two messages of the set and no message of this view is in it too,
    /// which is why nothing that came later can be: no range goes beyond the last message.
    pub(super) fn resolve(
        &self,
        set: SequenceSet<'_>,
        numbering: Numbering,
    ) -> Result<UidSet, NoSuchMessage> {
        let ranges: Result<Vec<_>, _> = set
            .ranges()
            .filter_map(|range| self.range(range.first, range.last, numbering).transpose())
            .collect();
        Ok(ranges?.into_iter().collect())
    }

    fn range(
        &self,
        a: SequenceNumber,
        b: SequenceNumber,
        numbering: Numbering,
    ) -> Result<Option<RangeInclusive<u32>>, NoSuchMessage> {
        let last = match numbering {
            Numbering::Sequence => self.exists(),
            Numbering::Uid => self.uids.last().copied().unwrap_or(0),
        };
        let number = |bound| match bound {
            SequenceNumber::Number(number) => number,
            SequenceNumber::Largest => last,
        };
        let (low, high) = (number(a).min(number(b)), number(a).max(number(b)));
        if numbering == Numbering::Uid {
            // `*` is the last message even where the other end is beyond it.
            return Ok((low <= last && last > 0).then(|| low..=high.min(last)));
        }
        if self.uids.is_empty() && (a == SequenceNumber::Largest || b == SequenceNumber::Largest) {
            // `1:*` of an empty mailbox: many clients ask for it, and nothing is what they mean.
            return Ok(None);
        }
        let uid = |number: u32| {
            let index =
                usize::try_from(number.checked_sub(1).ok_or(NoSuchMessage)?).map_err(|_| NoSuchMessage)?;
            self.uids.get(index).copied().ok_or(NoSuchMessage)
        };
        Ok(Some(uid(low)?..=uid(high)?))
    }

    /// New messages: those above the last that is known. Whether there were any.
    pub(super) fn extend(&mut self, uids: impl IntoIterator<Item = u32>) -> bool {
        let before = self.uids.len();
        let last = self.uids.last().copied().unwrap_or(0);
        self.uids.extend(uids.into_iter().filter(|&uid| uid > last));
        self.uids.len() > before
    }

    /// Takes messages (in order of UID) out and returns the numbers to announce, each as it is when its turn comes.
    pub(super) fn remove(&mut self, gone: &[u32]) -> Vec<u32> {
        let mut announced = Vec::new();
        let mut number = 0_u32;
        self.uids.retain(|uid| {
            if gone.binary_search(uid).is_ok() {
                announced.push(number + 1);
                false
            } else {
                number += 1;
                true
            }
        });
        announced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new(vec![3, 5, 9, 10])
    }

    fn uids(view: &View, set: &str, numbering: Numbering) -> Option<Vec<u32>> {
        let set = view.resolve(SequenceSet::from_text(set).unwrap(), numbering).ok()?;
        Some(view.uids().iter().copied().filter(|&uid| set.contains(uid)).collect())
    }

    #[test]
    fn sequence_numbers_are_strict() {
        let of = |set| uids(&view(), set, Numbering::Sequence);
        assert_eq!(of("2:3"), Some(vec![5, 9]));
        assert_eq!(of("3:2"), Some(vec![5, 9]));
        assert_eq!(of("*"), Some(vec![10]));
        assert_eq!(of("1:*"), Some(vec![3, 5, 9, 10]));
        assert_eq!(of("4,1"), Some(vec![3, 10]));
        assert_eq!(of("5"), None);
        assert_eq!(of("2:5"), None);
        assert_eq!(of("5:*"), None);
    }

    #[test]
    fn uids_need_not_exist() {
        let of = |set| uids(&view(), set, Numbering::Uid);
        assert_eq!(of("4:9"), Some(vec![5, 9]));
        assert_eq!(of("1:4294967295"), Some(vec![3, 5, 9, 10]));
        assert_eq!(of("100:*"), Some(vec![10]));
        assert_eq!(of("100:200"), Some(vec![]));
        assert_eq!(of("*:1"), Some(vec![3, 5, 9, 10]));
    }

    #[test]
    fn an_empty_mailbox_has_no_last_message() {
        let empty = View::default();
        assert_eq!(uids(&empty, "1:*", Numbering::Uid), Some(vec![]));
        assert_eq!(uids(&empty, "1:*", Numbering::Sequence), Some(vec![]));
        assert_eq!(uids(&empty, "1", Numbering::Sequence), None);
    }

    #[test]
    fn a_range_never_reaches_what_came_later() {
        let set = view().resolve(SequenceSet::from_text("1:99").unwrap(), Numbering::Uid).unwrap();
        assert!(!set.contains(11));
    }

    #[test]
    fn each_expunge_moves_the_numbers_behind_it() {
        let mut view = view();
        assert_eq!(view.remove(&[3, 4, 9]), [1, 2]);
        assert_eq!(view.uids(), [5, 10]);
        assert_eq!((view.sequence(10), view.sequence(9)), (Some(2), None));
        assert!(view.extend([7, 10, 11]));
        assert_eq!(view.uids(), [5, 10, 11]);
        assert!(!view.extend([11]));
    }
}
