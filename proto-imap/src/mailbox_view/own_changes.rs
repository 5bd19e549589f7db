//! The changes that a session made itself, which need not be reported to it again.

use alloc::vec::Vec;

/// The mod-sequences of the changes that this session made and reported in the responses to its own commands. They are
/// not reported again.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnChanges {
    /// Ascending.
    ranges: Vec<(u64, u64)>,
}

impl OwnChanges {
    /// The maximum number of ranges. A forgotten change is reported again, which is harmless.
    const LIMIT: usize = 64;

    pub(super) fn insert(&mut self, mod_sequence: u64) {
        match self.ranges.last_mut() {
            Some((_, last)) if mod_sequence <= *last => {}
            Some((_, last)) if mod_sequence == *last + 1 => *last = mod_sequence,
            _ => {
                if self.ranges.len() >= Self::LIMIT {
                    self.ranges.remove(0);
                }
                self.ranges.push((mod_sequence, mod_sequence));
            }
        }
    }

    pub(super) fn contains(&self, mod_sequence: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&mod_sequence))
    }

    /// Returns the last of the own changes that follow `mod_sequence` without a gap, or `mod_sequence` itself.
    pub(super) fn skip(&self, mod_sequence: u64) -> u64 {
        let mut reached = mod_sequence;
        for (first, last) in &self.ranges {
            if first.saturating_sub(1) <= reached && reached < *last {
                reached = *last;
            }
        }
        reached
    }

    /// Forgets the changes up to `mod_sequence`.
    pub(super) fn forget(&mut self, mod_sequence: u64) {
        self.ranges.retain(|(_, last)| *last > mod_sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_and_forgets_own_changes() {
        let mut own = OwnChanges::default();
        [5, 6, 7, 9].into_iter().for_each(|mod_sequence| own.insert(mod_sequence));
        assert!(own.contains(6) && own.contains(9) && !own.contains(8));
        assert_eq!(own.skip(3), 3, "the change of another session at 4 is not yet reported");
        assert_eq!(own.skip(4), 7, "the change of another session at 8 is not yet reported");
        assert_eq!(own.skip(8), 9);
        own.forget(7);
        assert!(own.contains(9) && !own.contains(5));
        for mod_sequence in (100..1_000).step_by(2) {
            own.insert(mod_sequence);
        }
        assert_eq!(own.ranges.len(), OwnChanges::LIMIT);
        assert_eq!(own.skip(u64::MAX), u64::MAX);
    }
}
