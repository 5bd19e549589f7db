//! How well messages match a search: RELEVANCY (RFC 6203 §4).

use proto_imap::search_query::SearchQuery;
use proto_imap::types::RelevancyScore;

use crate::search_memory::Reservation;

/// Whether a command uses scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeededScores {
    Yes,
    No,
}

impl NeededScores {
    pub(super) const fn new(needed: bool) -> Self {
        if needed { Self::Yes } else { Self::No }
    }

    /// Prepares a query to find out the scores, if the command uses them. That requires a FUZZY key (RFC 6203 §4). Returns why
    /// the command is BAD.
    pub(super) fn prepare(self, query: SearchQuery) -> Result<SearchQuery, &'static str> {
        match self {
            Self::No => Ok(query),
            Self::Yes if query.is_fuzzy() => Ok(query.with_scores()),
            Self::Yes => Err("RELEVANCY requires the search key FUZZY"),
        }
    }
}

/// The scores of the matches, in their order.
#[derive(Debug)]
pub(super) struct Scores {
    list: Vec<RelevancyScore>,
    memory: Reservation,
}

impl Scores {
    pub(super) const fn new(memory: Reservation) -> Self {
        Self { list: Vec::new(), memory }
    }

    pub(super) fn add(&mut self, score: RelevancyScore) -> mailstore::Result<()> {
        self.list.push(score);
        // A list that grows takes up to twice its length.
        self.memory.grow_to(2 * self.list.len())
    }
}

/// The scores that are still to be written.
#[derive(Debug)]
pub(super) struct ScoresLeft {
    list: std::vec::IntoIter<RelevancyScore>,
    left: usize,
    /// Without one, the memory is reserved with the numbers.
    _memory: Option<Reservation>,
}

impl ScoresLeft {
    /// Takes the scores of the messages at these places.
    pub(super) fn new(
        list: Vec<RelevancyScore>,
        memory: Option<Reservation>,
        places: std::ops::Range<u32>,
    ) -> Self {
        let mut list = list.into_iter();
        if let Some(before) = places.start.checked_sub(1) {
            list.nth(before as usize);
        }
        Self { list, left: places.len(), _memory: memory }
    }

    pub(super) fn of(scores: Scores, places: std::ops::Range<u32>) -> Self {
        Self::new(scores.list, Some(scores.memory), places)
    }

    /// Takes the next scores, at most so many. There are none at the end.
    pub(super) fn take(&mut self, count: usize) -> Vec<RelevancyScore> {
        let taken: Vec<_> = self.list.by_ref().take(count.min(self.left)).collect();
        self.left = self.left.saturating_sub(taken.len());
        taken
    }
}
