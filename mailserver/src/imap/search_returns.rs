//! The return options of a searching command (RFC 4731 §3.1, RFC 5182, RFC 5267 §4, RFC 9394 §3.1), and what they
//! select from a result.

use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::{NeededMatches, SearchMatch};
use proto_imap::types::{LazyList, PartialRange, SearchReturnOption};

use super::scores::NeededScores;
use super::search::{Collected, Results};
use super::sort_collector::NeededOrder;

/// The options of `RETURN (...)`, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Returns(Vec<SearchReturnOption>);

/// The numbers that a response lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Nothing,
    All,
    Page(PartialRange),
}

/// Whether the result becomes the value of `$`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SavesResult {
    Yes,
    No,
}

impl SavesResult {
    pub(super) const fn new(asked: bool) -> Self {
        if asked { Self::Yes } else { Self::No }
    }
}

impl Returns {
    /// Checks the options. Returns why they were rejected.
    pub(super) fn new(options: LazyList<'_, SearchReturnOption>) -> Result<Self, &'static str> {
        use SearchReturnOption::{All, Context, Count, Max, Min, Partial, Relevancy, Save, Update};
        let options: Vec<_> = options.iter().collect();
        if !options.iter().all(|option| {
            matches!(option, All | Context | Count | Max | Min | Partial(_) | Relevancy | Save | Update)
        }) {
            return Err("unsupported result option");
        }
        // RFC 9394 §3.1.
        if options.iter().filter(|option| matches!(option, All | Partial(_))).count() > 1 {
            return Err("a search returns either ALL or one PARTIAL");
        }
        Ok(Self(options))
    }

    pub(super) fn has(&self, option: SearchReturnOption) -> bool {
        self.0.contains(&option)
    }

    /// Returns the numbers to list. Without an option that selects something, they are all (RFC 4731 §3.1).
    pub(super) fn listed(&self) -> Listed {
        let page = self.0.iter().find_map(|option| match option {
            SearchReturnOption::Partial(page) => Some(*page),
            _ => None,
        });
        match page {
            Some(page) => Listed::Page(page),
            None if self.has(SearchReturnOption::All) => Listed::All,
            None if self.0.iter().all(|option| {
                matches!(option, SearchReturnOption::Context | SearchReturnOption::Relevancy)
            }) =>
            {
                Listed::All
            }
            None => Listed::Nothing,
        }
    }

    /// Returns whether there is no ESEARCH response: the result is only saved, or kept up to date (RFC 5182 §2.1).
    pub(super) fn is_silent(&self) -> bool {
        use SearchReturnOption::{Context, Save, Update};
        self.listed() == Listed::Nothing
            && self.0.iter().all(|option| matches!(option, Save | Update | Context))
    }

    /// Returns whether the response has scores.
    pub(super) fn scores(&self) -> NeededScores {
        NeededScores::new(self.has(SearchReturnOption::Relevancy))
    }

    /// Returns which matches a SEARCH needs to find.
    pub(super) fn needed(&self) -> NeededMatches {
        NeededMatches::of(Some(&self.0))
    }

    /// Returns which part of the order a SORT needs.
    pub(super) fn needed_order(&self) -> NeededOrder {
        match self.listed() {
            Listed::Nothing if !self.has(SearchReturnOption::Update) => NeededOrder::Ends,
            _ => NeededOrder::All,
        }
    }

    /// Returns the value of MODSEQ (RFC 4731 §3.2): the highest mod-sequence of all matches, or, with MIN and MAX alone,
    /// of the messages that they return. `None` if nothing was found.
    pub(super) fn mod_sequence(&self, found: &Results) -> Option<u64> {
        let modseq = |found: Option<SearchMatch>| found.map(|found| found.mod_sequence);
        let (first, last) = (modseq(found.first()), modseq(found.last()));
        match self.needed() {
            NeededMatches::All => found.matches.mod_sequence(NeededMatches::All),
            NeededMatches::First => first,
            NeededMatches::Last => last,
            NeededMatches::FirstAndLast => first.max(last),
        }
    }

    /// Returns the messages that `$` stands for after a search with these options (RFC 5182 §2.4, RFC 9394 §3.2).
    pub(super) fn saved(&self, found: &Results) -> UidBitmap {
        use SearchReturnOption::{Count, Max, Min};
        let listed = self.listed();
        let selects = self.has(Min) || self.has(Max) || matches!(listed, Listed::Page(_));
        if !selects || self.has(Count) || listed == Listed::All {
            return found.matches.uids().clone();
        }
        let mut saved: UidBitmap = match listed {
            Listed::Page(page) => found.page(page).collect(),
            Listed::All | Listed::Nothing => UidBitmap::new(),
        };
        saved.extend(found.first().filter(|_| self.has(Min)).map(|found| found.uid));
        saved.extend(found.last().filter(|_| self.has(Max)).map(|found| found.uid));
        saved
    }
}

impl Results {
    /// Returns the first match in the order of the command.
    pub(super) fn first(&self) -> Option<SearchMatch> {
        match &self.collected {
            Collected::Sorted(sorted, _) => sorted.first,
            Collected::Set | Collected::Scores(_) | Collected::Threads(..) => self.matches.first(),
        }
    }

    /// Returns the last match in the order of the command.
    pub(super) fn last(&self) -> Option<SearchMatch> {
        match &self.collected {
            Collected::Sorted(sorted, _) => sorted.last,
            Collected::Set | Collected::Scores(_) | Collected::Threads(..) => self.matches.last(),
        }
    }

    /// Returns the UIDs of a page.
    fn page(&self, page: PartialRange) -> Box<dyn Iterator<Item = u32> + '_> {
        let uids = self.matches.uids();
        let places = page.places(uids.len());
        let (skipped, count) = (places.start as usize, places.len());
        match &self.collected {
            Collected::Sorted(sorted, _) => Box::new(sorted.uids.iter().copied().skip(skipped).take(count)),
            Collected::Set | Collected::Scores(_) | Collected::Threads(..) => match uids.nth(places.start) {
                Some(first) => Box::new(uids.iter_range(first..=u32::MAX).take(count)),
                None => Box::new(std::iter::empty()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proto_imap::search_query::SearchResults;
    use proto_imap::types::NumberRange;

    use super::*;
    use crate::imap::search::Unread;

    fn returns(options: &[SearchReturnOption]) -> Returns {
        Returns::new(LazyList::new(options)).unwrap()
    }

    #[test]
    fn saves_what_the_options_return() {
        use SearchReturnOption::{All, Context, Count, Max, Min, Partial, Save, Update};
        let mut matches = SearchResults::default();
        for (uid, mod_sequence) in [(2, 9), (10, 4), (11, 5), (12, 3), (21, 7)] {
            matches.add(SearchMatch { uid, mod_sequence });
        }
        let found = Results { matches, collected: Collected::Set, unread: Unread::default() };
        let page = Partial(PartialRange::FromLast(NumberRange::new(2, 3)));
        let beyond = Partial(PartialRange::FromFirst(NumberRange::new(6, 9)));
        let everything = &[2, 10, 11, 12, 21][..];
        for (options, saved, mod_sequence) in [
            (&[Save][..], everything, 9),
            (&[Save, Update, Context], everything, 9),
            (&[All, Save], everything, 9),
            (&[Save, Min], &[2], 9),
            (&[Max, Save, Min], &[2, 21], 9),
            (&[Save, Max], &[21], 7),
            (&[Max, Save, Min, Count], everything, 9),
            (&[Save, page], &[11, 12], 9),
            (&[Save, page, Min], &[2, 11, 12], 9),
            (&[Save, page, Max], &[11, 12, 21], 9),
            (&[Save, page, Min, Max], &[2, 11, 12, 21], 9),
            (&[Save, page, Count, Min], everything, 9),
            (&[Save, beyond], &[], 9),
        ] {
            let returns = returns(options);
            assert_eq!(returns.saved(&found).iter().collect::<Vec<_>>(), saved, "{options:?}");
            assert_eq!(returns.mod_sequence(&found), Some(mod_sequence), "{options:?}");
        }
    }

    #[test]
    fn rejects_two_lists_of_numbers() {
        use SearchReturnOption::{All, Min, Partial};
        let page = Partial(PartialRange::FromFirst(NumberRange::new(1, 2)));
        for options in [&[All, page][..], &[page, Min, page], &[All, All]] {
            assert!(Returns::new(LazyList::new(options)).is_err(), "{options:?}");
        }
    }

    #[test]
    fn only_saved_and_updated_results_are_not_listed() {
        use SearchReturnOption::{All, Context, Count, Relevancy, Save, Update};
        for (options, listed, silent) in [
            (&[][..], Listed::All, false),
            (&[Context], Listed::All, false),
            (&[Relevancy], Listed::All, false),
            (&[Relevancy, Count], Listed::Nothing, false),
            (&[Save], Listed::Nothing, true),
            (&[Update, Context], Listed::Nothing, true),
            (&[Update, Count], Listed::Nothing, false),
            (&[Save, All], Listed::All, false),
        ] {
            let returns = returns(options);
            assert_eq!((returns.listed(), returns.is_silent()), (listed, silent), "{options:?}");
        }
    }
}
