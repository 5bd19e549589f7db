//! A search whose keys were checked and sorted.

use alloc::vec::Vec;

use super::compile::{Compiler, SearchLimits, SearchOptions, SearchQueryError, UnusedNumbers};
use super::condition::Condition;
use super::message::MessagePart;
use super::terms::SearchTerms;
use crate::mailbox_view::MailboxView;
use crate::types::{LazyList, NumberRange, SearchKey};

/// The keys of a SEARCH, ready to test messages.
///
/// Its texts are found in one pass over each text of a message, however many there are. Testing a message takes time in
/// proportion to the number of keys and to the parts that are read.
#[derive(Debug)]
pub struct SearchQuery {
    condition: Condition,
    terms: SearchTerms,
    /// Whether the condition depends on each part.
    envelope: bool,
    header: bool,
    text: bool,
    /// Whether the search finds out how well each message matches.
    scores: bool,
}

impl SearchQuery {
    /// Prepares a search for the messages that match all keys.
    ///
    /// Sequence numbers, `$` and recent messages are those of `view` at this moment. `now` is the current time in
    /// seconds since 1970-01-01 in UTC, for OLDER and YOUNGER (RFC 5032).
    ///
    /// A text of a FUZZY key (RFC 6203) matches exactly, or if all of its words occur in any order. A word also finds words
    /// that begin with it, and those with one typing error if it has four letters or more; case and diacritics are ignored.
    /// Keys without a text, and keys in a NOT within FUZZY, match exactly.
    ///
    /// # Errors
    /// A key is not supported, names a message that does not exist, or exceeds the limits.
    pub fn new(
        keys: LazyList<'_, SearchKey<'_>>,
        view: &MailboxView,
        now: i64,
        limits: &SearchLimits,
    ) -> Result<Self, SearchQueryError> {
        Self::with_options(keys, view, now, &SearchOptions::default().limits(*limits))
    }

    /// Like [`new`](Self::new), but sequence numbers beyond the end of the mailbox name no messages and are no error. ESEARCH
    /// requires it (RFC 7377 §2), and clients expect it of SEARCH.
    ///
    /// # Errors
    /// As [`new`](Self::new), except [`SearchQueryError::NoSuchMessage`].
    pub fn ignoring_unused_numbers(
        keys: LazyList<'_, SearchKey<'_>>,
        view: &MailboxView,
        now: i64,
        limits: &SearchLimits,
    ) -> Result<Self, SearchQueryError> {
        let options = SearchOptions::default().limits(*limits).unused_numbers(UnusedNumbers::Ignore);
        Self::with_options(keys, view, now, &options)
    }

    /// Like [`new`](Self::new), with these options.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_options(
        keys: LazyList<'_, SearchKey<'_>>,
        view: &MailboxView,
        now: i64,
        options: &SearchOptions<'_>,
    ) -> Result<Self, SearchQueryError> {
        Self::compile(Compiler::new(view, now, *options), keys)
    }

    /// Finds out how well each message matches, as [`MessageSearch::relevancy`] returns it. The search then reads all parts of
    /// a message that may improve its score.
    ///
    /// [`MessageSearch::relevancy`]: super::MessageSearch::relevancy
    #[must_use]
    pub fn with_scores(mut self) -> Self {
        self.scores = self.is_fuzzy();
        self
    }

    /// Returns whether a key is FUZZY. RELEVANCY requires it (RFC 6203 §4).
    #[must_use]
    pub fn is_fuzzy(&self) -> bool {
        self.condition.any(&|one| matches!(one, Condition::Fuzzy(_)))
    }

    pub(super) const fn is_scored(&self) -> bool {
        self.scores
    }

    fn compile(compiler: Compiler<'_>, keys: LazyList<'_, SearchKey<'_>>) -> Result<Self, SearchQueryError> {
        let (condition, terms) = compiler.compile(keys)?;
        let condition = condition.cheap_first();
        let depends_on = |part| condition.any(&|one| one.is_test() && one.cost() == part);
        Ok(Self {
            envelope: depends_on(MessagePart::Envelope),
            header: depends_on(MessagePart::Header),
            text: depends_on(MessagePart::Text),
            scores: false,
            condition,
            terms,
        })
    }

    /// Returns the costliest part of a message that the query depends on.
    #[must_use]
    pub fn cost(&self) -> MessagePart {
        self.condition.cost()
    }

    /// Returns ascending ranges of UIDs that contain every match; `None` if any message may match. Other messages need
    /// not be tested.
    #[must_use]
    pub fn uids(&self) -> Option<Vec<NumberRange>> {
        self.condition.uids()
    }

    /// Returns ascending ranges of UIDs that contain every match, with the help of an index of texts; `None` if any
    /// message may match. Other messages need not be tested.
    ///
    /// `find` returns the UIDs of all messages that may contain a text anywhere, [folded](super::fold_text) as the message's
    /// texts were, as ascending ranges that neither overlap nor touch; `None` if the index does not know.
    ///
    /// # Errors
    /// That of `find`.
    pub fn candidates<E>(
        &self,
        find: &mut impl FnMut(&str) -> Result<Option<Vec<NumberRange>>, E>,
    ) -> Result<Option<Vec<NumberRange>>, E> {
        self.condition.candidates(&self.terms, find)
    }

    /// Returns the EMAILID that every match has; `None` if matches may have any.
    #[must_use]
    pub fn email_id(&self) -> Option<&str> {
        self.condition.email_id()
    }

    /// Returns all EMAILIDs in the keys, so that a server can look them up once.
    #[must_use]
    pub fn email_ids(&self) -> Vec<&str> {
        let mut ids = Vec::new();
        self.condition.collect_email_ids(&mut ids);
        ids
    }

    /// Returns whether the response includes a mod-sequence, because a key does (RFC 7162 §3.1.5).
    #[must_use]
    pub fn has_mod_sequence(&self) -> bool {
        self.condition.any(&|one| matches!(one, Condition::ModSeq(_)))
    }

    /// Returns about how many bytes of memory the query takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.condition.memory() + self.terms.memory()
    }

    pub(super) const fn condition(&self) -> &Condition {
        &self.condition
    }

    pub(super) const fn terms(&self) -> &SearchTerms {
        &self.terms
    }

    /// Returns the next part that the query depends on.
    pub(super) fn part_after(&self, read: MessagePart) -> Option<MessagePart> {
        let parts = [
            (MessagePart::Envelope, self.envelope),
            (MessagePart::Header, self.header),
            (MessagePart::Text, self.text),
        ];
        parts.into_iter().find(|(part, needed)| *part > read && *needed).map(|(part, _)| part)
    }
}
