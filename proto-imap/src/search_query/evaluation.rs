//! Tests one message, from its cheap parts to its costly ones.

use super::message::{MessagePart, ReadProgress, SearchTexts, SearchableMessage};
use super::query::SearchQuery;
use super::terms::{FoundTerms, TextProgress};
use crate::types::RelevancyScore;

/// The score of a message that cannot match better.
const BEST: RelevancyScore = RelevancyScore::BEST;

/// The search of one message: which parts were read, and which terms were found in them.
#[derive(Debug)]
pub struct MessageSearch {
    found: FoundTerms,
    /// The costliest part that was read.
    read: MessagePart,
    piece: TextProgress,
    /// Whether the condition may have been decided since it was last tested.
    news: bool,
}

impl MessageSearch {
    /// Starts to search a message.
    #[must_use]
    pub fn new(query: &SearchQuery) -> Self {
        Self {
            found: query.terms().none_found(),
            read: MessagePart::Attributes,
            piece: TextProgress::default(),
            news: true,
        }
    }

    /// Tests the message, or reads a little more of it. Returns whether it matches, or `None` if that is not certain
    /// yet. Each call reads one piece at most.
    ///
    /// # Errors
    /// Returns the message's error if it cannot be read.
    pub fn step<M: SearchableMessage>(
        &mut self,
        query: &SearchQuery,
        message: &mut M,
    ) -> Result<Option<bool>, M::Error> {
        let holds = if core::mem::take(&mut self.news) {
            query.condition().holds(message, self.read, &self.found)
        } else {
            None
        };
        let part = query.part_after(self.read);
        if let Some(holds) = holds
            && (!holds || part.is_none() || !query.is_scored() || self.relevancy(query, message) == BEST)
        {
            return Ok(Some(holds));
        }
        // Everything was read.
        let Some(part) = part else { return Ok(Some(false)) };
        let mut texts = SearchTexts::new(query.terms(), &mut self.found, &mut self.piece);
        let progress = message.read(part, &mut texts)?;
        self.news = texts.news();
        if progress == ReadProgress::Complete {
            (self.read, self.news) = (part, true);
        }
        Ok(None)
    }

    /// Returns how well a message matches, after [`step`](Self::step) has returned true (RFC 6203 §4). It is the highest score
    /// for a query without FUZZY. Without [`SearchQuery::with_scores`], better matches in parts that were not read are not
    /// considered.
    pub fn relevancy(&self, query: &SearchQuery, message: &impl SearchableMessage) -> RelevancyScore {
        let score = query.condition().relevancy(message, self.read, &self.found);
        score.and_then(|score| RelevancyScore::new(u8::try_from(score).ok()?)).unwrap_or(BEST)
    }
}

impl SearchQuery {
    /// Returns whether a message matches, and reads as much of it as that takes. See [`MessageSearch`] for a search that
    /// yields to other work.
    ///
    /// # Errors
    /// Returns the message's error if it cannot be read.
    pub fn matches<M: SearchableMessage>(&self, message: &mut M) -> Result<bool, M::Error> {
        let mut search = MessageSearch::new(self);
        loop {
            if let Some(matches) = search.step(self, message)? {
                return Ok(matches);
            }
        }
    }
}
