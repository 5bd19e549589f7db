//! The result of a search, in the forms that RFC 4731 and RFC 5182 ask for.

use crate::mailbox_view::UidBitmap;
use crate::types::SearchReturnOption;

/// Which of the matches a search needs to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeededMatches {
    /// All.
    All,
    /// The first.
    First,
    /// The last.
    Last,
    /// The first and the last.
    FirstAndLast,
}

impl NeededMatches {
    /// Returns which matches the requested results depend on (RFC 4731 §3.1); `None` for a SEARCH without RETURN.
    #[must_use]
    pub fn of(returns: Option<&[SearchReturnOption]>) -> Self {
        use SearchReturnOption::{All, Count, Max, Min, Save};
        let Some(returns) = returns else { return Self::All };
        let has = |wanted| returns.contains(&wanted);
        let only_some = returns.iter().all(|option| matches!(option, Min | Max | Save | All | Count));
        if has(All) || has(Count) || !only_some {
            return Self::All;
        }
        match (has(Min), has(Max)) {
            (true, true) => Self::FirstAndLast,
            (true, false) => Self::First,
            (false, true) => Self::Last,
            (false, false) => Self::All,
        }
    }
}

/// A message that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchMatch {
    /// Its UID.
    pub uid: u32,
    /// Its mod-sequence (RFC 7162); 0 if the server has none.
    pub mod_sequence: u64,
}

/// The messages that match, found in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchResults {
    uids: UidBitmap,
    first: Option<SearchMatch>,
    last: Option<SearchMatch>,
    highest: u64,
}

impl SearchResults {
    /// Adds a match.
    pub fn add(&mut self, found: SearchMatch) {
        self.uids.insert(found.uid);
        self.highest = self.highest.max(found.mod_sequence);
        if self.first.is_none_or(|first| found.uid < first.uid) {
            self.first = Some(found);
        }
        if self.last.is_none_or(|last| found.uid > last.uid) {
            self.last = Some(found);
        }
    }

    /// Returns the UIDs of the matches.
    #[must_use]
    pub const fn uids(&self) -> &UidBitmap {
        &self.uids
    }

    /// Returns the UIDs of the matches, without a copy.
    #[must_use]
    pub fn into_uids(self) -> UidBitmap {
        self.uids
    }

    /// Returns the match with the smallest UID.
    #[must_use]
    pub const fn first(&self) -> Option<SearchMatch> {
        self.first
    }

    /// Returns the match with the largest UID.
    #[must_use]
    pub const fn last(&self) -> Option<SearchMatch> {
        self.last
    }

    /// Returns the value of MODSEQ (RFC 4731 §3.2): with MIN or MAX alone, the highest mod-sequence of the messages
    /// that they return; otherwise that of all matches. `None` if nothing was found.
    #[must_use]
    pub fn mod_sequence(&self, needed: NeededMatches) -> Option<u64> {
        let (first, last) = (self.first?.mod_sequence, self.last?.mod_sequence);
        Some(match needed {
            NeededMatches::All => self.highest,
            NeededMatches::First => first,
            NeededMatches::Last => last,
            NeededMatches::FirstAndLast => first.max(last),
        })
    }

    /// Returns the messages that `$` stands for after this search (RFC 5182 §2.1): with MIN or MAX alone, only those.
    #[must_use]
    pub fn saved(&self, needed: NeededMatches) -> UidBitmap {
        let uid = |found: Option<SearchMatch>| found.map(|found| found.uid);
        match needed {
            NeededMatches::All => self.uids.clone(),
            NeededMatches::First => uid(self.first).into_iter().collect(),
            NeededMatches::Last => uid(self.last).into_iter().collect(),
            NeededMatches::FirstAndLast => uid(self.first).into_iter().chain(uid(self.last)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn min_and_max_alone_need_no_other_matches() {
        use SearchReturnOption::{All, Count, Max, Min, Save};
        let needed = |returns: &[SearchReturnOption]| NeededMatches::of(Some(returns));
        assert_eq!(needed(&[Min]), NeededMatches::First);
        assert_eq!(needed(&[Max, Save]), NeededMatches::Last);
        assert_eq!(needed(&[Max, Min]), NeededMatches::FirstAndLast);
        for returns in [&[][..], &[Save], &[Min, All], &[Max, Count], &[Min, SearchReturnOption::Context]] {
            assert_eq!(needed(returns), NeededMatches::All, "{returns:?}");
        }
        assert_eq!(NeededMatches::of(None), NeededMatches::All);
    }

    #[test]
    fn mod_sequence_and_saved_result_depend_on_the_needed_matches() {
        let mut results = SearchResults::default();
        for (uid, mod_sequence) in [(5, 30), (2, 10), (9, 20)] {
            results.add(SearchMatch { uid, mod_sequence });
        }
        for (needed, mod_sequence, saved) in [
            (NeededMatches::All, 30, &[2, 5, 9][..]),
            (NeededMatches::First, 10, &[2]),
            (NeededMatches::Last, 20, &[9]),
            (NeededMatches::FirstAndLast, 20, &[2, 9]),
        ] {
            assert_eq!(results.mod_sequence(needed), Some(mod_sequence));
            assert_eq!(results.saved(needed).iter().collect::<Vec<_>>(), saved);
        }
        let none = SearchResults::default();
        assert_eq!(none.mod_sequence(NeededMatches::All), None);
        assert!(none.saved(NeededMatches::FirstAndLast).is_empty());
    }
}
