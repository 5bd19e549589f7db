//! The changes that a session made itself, which need not be reported to it again.

use mailstore::ChangeCursor;

/// The mod-sequences of the transactions whose changes this session made and reported in the responses to its own
/// commands. They are not reported again.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    /// Ascending.
    ranges: Vec<(u64, u64)>,
}

impl OwnChanges {
    /// The maximum number of ranges. A forgotten change is reported again, which is harmless.
    const LIMIT: usize = 64;

    pub(super) fn insert(&mut self, modseq: u64) {
        match self.ranges.last_mut() {
            Some((_, last)) if modseq <= *last => {}
            Some((_, last)) if modseq == *last + 1 => *last = modseq,
            _ => {
                if self.ranges.len() >= Self::LIMIT {
                    self.ranges.remove(0);
                }
                self.ranges.push((modseq, modseq));
            }
        }
    }

    pub(super) fn contains(&self, modseq: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&modseq))
    }

    /// Advances a cursor past the session's own changes that come next, and forgets those before it.
    pub(super) fn skip(&mut self, cursor: &mut ChangeCursor) {
        for (first, last) in &self.ranges {
            if cursor.flags.1 == u32::MAX && *first <= cursor.flags.0 + 1 && cursor.flags.0 < *last {
                cursor.flags.0 = *last;
            }
        }
        self.ranges.retain(|(_, last)| *last > cursor.flags.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_and_forgets_own_changes() {
        let mut own = OwnChanges::default();
        [5, 6, 7, 9].into_iter().for_each(|modseq| own.insert(modseq));
        assert!(own.contains(6) && own.contains(9) && !own.contains(8));
        let mut cursor = ChangeCursor { uid_next: 1, flags: (4, u32::MAX), expunged: (4, u32::MAX) };
        own.skip(&mut cursor);
        assert_eq!(cursor.flags, (7, u32::MAX), "the change of another session at 8 is not yet reported");
        assert!(own.contains(9) && !own.contains(5));
        cursor.flags = (8, 3);
        own.skip(&mut cursor);
        assert_eq!(cursor.flags, (8, 3), "the page ended within the changes of 8");
        for modseq in (100..1_000).step_by(2) {
            own.insert(modseq);
        }
        assert_eq!(own.ranges.len(), OwnChanges::LIMIT);
    }
}
