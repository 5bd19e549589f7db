//! Translates search keys into conditions, within limits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::condition::{Condition, Days};
use super::filters::SearchFilters;
use super::fuzzy::{TextWord, search_words};
use super::message::MessagePart;
use super::terms::{SearchTerms, TextScope};
use crate::mailbox_view::{MailboxView, ResolveError};
use crate::sort_order::Collation;
use crate::types::{Date, Flag, IString, LazyList, NumberKind, SearchKey, SequenceSet};

/// The limits of one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchLimits {
    /// The maximum number of keys, including those in other keys. The default is 1,000.
    pub keys: usize,
    /// The maximum nesting depth. The default is 32. Testing a message takes one stack frame for each level.
    pub depth: usize,
    /// The maximum length of one text in bytes. The default is 4 KiB.
    pub text: usize,
    /// The maximum length of all texts together in bytes. The default is 16 KiB.
    pub texts: usize,
    /// The maximum number of different words that FUZZY matches approximately. The default is 32.
    pub words: usize,
    /// The maximum number of ranges of one sequence set. The default is 1,048,576; only `$` can have so many.
    pub ranges: usize,
}

impl Default for SearchLimits {
    fn default() -> Self {
        Self { keys: 1_000, depth: 32, text: 4 * 1024, texts: 16 * 1024, words: 32, ranges: 1 << 20 }
    }
}

/// Why a search was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchQueryError {
    /// A sequence number is not in use. The server answers BAD.
    NoSuchMessage,
    /// There are too many keys or ranges, or their texts are too long. The server answers NO or BAD with `LIMIT`.
    TooLarge,
    /// A key is not supported: those of Gmail, and filters that [`SearchOptions::filters`] does not have. The server answers
    /// BAD.
    Unsupported,
}

impl fmt::Display for SearchQueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchMessage => "no message has that number",
            Self::TooLarge => "too many search keys, or their text is too long",
            Self::Unsupported => "unsupported search key",
        })
    }
}

impl core::error::Error for SearchQueryError {}

impl ErrorDetails for SearchQueryError {}

impl From<ResolveError> for SearchQueryError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NoSuchMessage => Self::NoSuchMessage,
            ResolveError::TooManyRanges => Self::TooLarge,
        }
    }
}

/// Whether sequence numbers must be in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnusedNumbers {
    /// Numbers beyond the end of the mailbox are an error.
    #[default]
    Reject,
    /// They name no messages.
    Ignore,
}

/// How a search is prepared.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SearchOptions<'a> {
    /// The limits.
    pub limits: SearchLimits,
    /// How texts are compared: the active comparator (RFC 5255 §4.2). The default is `i;unicode-casemap`.
    pub collation: Collation,
    /// Whether sequence numbers must be in use.
    pub unused_numbers: UnusedNumbers,
    /// The filters that FILTER may name; `None` if the server has none. The keys of one are a group: `NOT FILTER x` matches
    /// what does not match all of them.
    pub filters: Option<&'a SearchFilters>,
}

impl<'a> SearchOptions<'a> {
    /// Returns the options with this comparator.
    #[must_use]
    pub const fn collation(mut self, collation: Collation) -> Self {
        self.collation = collation;
        self
    }

    /// Returns the options with these limits.
    #[must_use]
    pub const fn limits(mut self, limits: SearchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the options for numbers that are not in use.
    #[must_use]
    pub const fn unused_numbers(mut self, unused_numbers: UnusedNumbers) -> Self {
        self.unused_numbers = unused_numbers;
        self
    }

    /// Returns the options with these filters.
    #[must_use]
    pub const fn filters(mut self, filters: &'a SearchFilters) -> Self {
        self.filters = Some(filters);
        self
    }
}

/// How texts are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matching {
    Exact,
    /// Within FUZZY, and not within NOT there.
    Fuzzy,
}

/// Translates the keys of one search.
pub(super) struct Compiler<'a> {
    view: &'a MailboxView,
    /// The current time, in seconds since 1970.
    now: i64,
    options: SearchOptions<'a>,
    matching: Matching,
    terms: SearchTerms,
    /// The number of keys so far, and the bytes of text in them.
    keys: usize,
    text_bytes: usize,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(view: &'a MailboxView, now: i64, options: SearchOptions<'a>) -> Self {
        Self {
            view,
            now,
            options,
            matching: Matching::Exact,
            terms: SearchTerms::new(options.collation),
            keys: 0,
            text_bytes: 0,
        }
    }

    /// Translates all keys. Returns the condition and the texts in it.
    pub(super) fn compile(
        mut self,
        keys: LazyList<'_, SearchKey<'_>>,
    ) -> Result<(Condition, SearchTerms), SearchQueryError> {
        let condition = self.all(keys, 0)?;
        self.terms.build().map_err(|_| SearchQueryError::TooLarge)?;
        Ok((condition, self.terms))
    }

    fn all(
        &mut self,
        keys: LazyList<'_, SearchKey<'_>>,
        depth: usize,
    ) -> Result<Condition, SearchQueryError> {
        let conditions: Result<Vec<_>, _> = keys.iter().map(|key| self.key(key, depth)).collect();
        conditions.map(Condition::All)
    }

    fn key(&mut self, key: SearchKey<'_>, depth: usize) -> Result<Condition, SearchQueryError> {
        self.keys += 1;
        if depth > self.options.limits.depth || self.keys > self.options.limits.keys {
            return Err(SearchQueryError::TooLarge);
        }
        Ok(match key {
            // What a negated key finds is left out: an approximate match would leave out too much.
            SearchKey::Not(key) => self.matching(Matching::Exact, key.view(), depth)?.not(),
            SearchKey::Or(one, other) => {
                let one = self.inner(one.view(), depth)?;
                Condition::Or(Box::new((one, self.inner(other.view(), depth)?)))
            }
            SearchKey::Fuzzy(key) => {
                Condition::Fuzzy(Box::new(self.matching(Matching::Fuzzy, key.view(), depth)?))
            }
            SearchKey::And(keys) => self.all(keys, depth + 1)?,
            SearchKey::Filter(name) => {
                let filters = self.options.filters.ok_or(SearchQueryError::Unsupported)?;
                let keys = filters.keys(&name.to_str_lossy()).ok_or(SearchQueryError::Unsupported)?;
                self.all(keys, depth + 1)?
            }
            SearchKey::Sequence(set) => self.uids(set, NumberKind::SequenceNumbers)?,
            SearchKey::Uid(set) => self.uids(set, NumberKind::Uids)?,
            SearchKey::Recent => self.recent(),
            SearchKey::New => Condition::All(Vec::from([self.recent(), Condition::Flag(Flag::Seen).not()])),
            SearchKey::Old => self.recent().not(),
            SearchKey::Younger(seconds) => Condition::InternalSince(self.seconds_ago(seconds)),
            SearchKey::Older(seconds) => {
                Condition::InternalSince(self.seconds_ago(seconds).saturating_add(1)).not()
            }
            other => match attribute(other) {
                Some(condition) => condition,
                None => self.text(other)?,
            },
        })
    }

    fn inner(&mut self, key: Option<SearchKey<'_>>, depth: usize) -> Result<Condition, SearchQueryError> {
        self.key(key.ok_or(SearchQueryError::Unsupported)?, depth + 1)
    }

    /// Translates a key in which texts are matched like this.
    fn matching(
        &mut self,
        matching: Matching,
        key: Option<SearchKey<'_>>,
        depth: usize,
    ) -> Result<Condition, SearchQueryError> {
        let before = core::mem::replace(&mut self.matching, matching);
        let condition = self.inner(key, depth);
        self.matching = before;
        condition
    }

    fn uids(&self, set: SequenceSet<'_>, kind: NumberKind) -> Result<Condition, SearchQueryError> {
        let limit = self.options.limits.ranges;
        let uids = match (kind, self.options.unused_numbers) {
            (NumberKind::SequenceNumbers, UnusedNumbers::Ignore) => self.view.resolve_existing(set, limit)?,
            _ => self.view.resolve(set, kind, limit)?,
        };
        Ok(Condition::Uids(uids))
    }

    fn recent(&self) -> Condition {
        Condition::Uids(self.view.recent().ranges().collect())
    }

    const fn seconds_ago(&self, seconds: u32) -> i64 {
        self.now.saturating_sub(seconds as i64)
    }

    /// Translates a key with a text.
    fn text(&mut self, key: SearchKey<'_>) -> Result<Condition, SearchQueryError> {
        match key {
            SearchKey::From(text) => self.term(&[(MessagePart::Envelope, TextScope::From)], text),
            SearchKey::To(text) => self.term(&[(MessagePart::Envelope, TextScope::To)], text),
            SearchKey::Cc(text) => self.term(&[(MessagePart::Envelope, TextScope::Cc)], text),
            SearchKey::Bcc(text) => self.term(&[(MessagePart::Envelope, TextScope::Bcc)], text),
            SearchKey::Subject(text) => self.term(&[(MessagePart::Envelope, TextScope::Subject)], text),
            SearchKey::Header { name, text } => {
                self.count_text(name)?;
                self.term(&[(MessagePart::Header, TextScope::Field(&name.to_str_lossy()))], text)
            }
            SearchKey::Body(text) => self.term(&[(MessagePart::Text, TextScope::Body)], text),
            SearchKey::Text(text) => self.term(
                &[(MessagePart::Header, TextScope::Header), (MessagePart::Text, TextScope::Body)],
                text,
            ),
            _ => Err(SearchQueryError::Unsupported),
        }
    }

    /// Translates a text that occurs in one of these places: exactly, or if the search is fuzzy with all of its words.
    fn term(
        &mut self,
        places: &[(MessagePart, TextScope<'_>)],
        text: IString<'_>,
    ) -> Result<Condition, SearchQueryError> {
        self.count_text(text)?;
        let text = text.to_str_lossy();
        let exact = self.exact(places, &text);
        if self.matching == Matching::Exact {
            return Ok(exact);
        }
        let mut all = Vec::new();
        for word in search_words(&text) {
            all.push(match word {
                TextWord::Exact(word) => self.exact(places, &word),
                TextWord::Approximate(word) => {
                    Condition::either(places.iter().map(|(part, scope)| {
                        Condition::Word(*part, self.terms.add_word(*scope, word.clone()))
                    }))
                }
            });
            if all.len() > self.options.limits.words || self.terms.word_count() > self.options.limits.words {
                return Err(SearchQueryError::TooLarge);
            }
        }
        Ok(if all.is_empty() { exact } else { Condition::either([exact, Condition::All(all)]) })
    }

    fn exact(&mut self, places: &[(MessagePart, TextScope<'_>)], text: &str) -> Condition {
        Condition::either(
            places.iter().map(|(part, scope)| Condition::Term(*part, self.terms.add(*scope, text))),
        )
    }

    fn count_text(&mut self, text: IString<'_>) -> Result<(), SearchQueryError> {
        let length = text.to_str_lossy().len();
        self.text_bytes = self.text_bytes.saturating_add(length);
        if length > self.options.limits.text || self.text_bytes > self.options.limits.texts {
            return Err(SearchQueryError::TooLarge);
        }
        Ok(())
    }
}

/// Translates a key that depends on the message's flags, size, dates or identifiers.
fn attribute(key: SearchKey<'_>) -> Option<Condition> {
    let flag = Condition::Flag;
    let day = Date::days_since_epoch;
    Some(match key {
        SearchKey::All => Condition::All(Vec::new()),
        SearchKey::Answered => flag(Flag::Answered),
        SearchKey::Deleted => flag(Flag::Deleted),
        SearchKey::Draft => flag(Flag::Draft),
        SearchKey::Flagged => flag(Flag::Flagged),
        SearchKey::Seen => flag(Flag::Seen),
        SearchKey::Unanswered => flag(Flag::Answered).not(),
        SearchKey::Undeleted => flag(Flag::Deleted).not(),
        SearchKey::Undraft => flag(Flag::Draft).not(),
        SearchKey::Unflagged => flag(Flag::Flagged).not(),
        SearchKey::Unseen => flag(Flag::Seen).not(),
        SearchKey::Keyword(keyword) => Condition::keyword(keyword),
        SearchKey::Unkeyword(keyword) => Condition::keyword(keyword).not(),
        SearchKey::Larger(size) => Condition::Larger(size),
        SearchKey::Smaller(size) => Condition::Smaller(size),
        SearchKey::ModSeq { mod_sequence, .. } => Condition::ModSeq(mod_sequence),
        SearchKey::EmailId(id) => Condition::EmailId(id.to_str_lossy().into_owned()),
        SearchKey::ThreadId(id) => Condition::ThreadId(id.to_str_lossy().into_owned()),
        SearchKey::Before(date) => Condition::InternalDay(Days::Before(day(date))),
        SearchKey::On(date) => Condition::InternalDay(Days::On(day(date))),
        SearchKey::Since(date) => Condition::InternalDay(Days::Since(day(date))),
        SearchKey::SavedBefore(date) => Condition::SavedDay(Days::Before(day(date))),
        SearchKey::SavedOn(date) => Condition::SavedDay(Days::On(day(date))),
        SearchKey::SavedSince(date) => Condition::SavedDay(Days::Since(day(date))),
        SearchKey::SaveDateSupported => Condition::HasSavedDate,
        SearchKey::SentBefore(date) => Condition::SentDay(Days::Before(day(date))),
        SearchKey::SentOn(date) => Condition::SentDay(Days::On(day(date))),
        SearchKey::SentSince(date) => Condition::SentDay(Days::Since(day(date))),
        _ => return None,
    })
}
