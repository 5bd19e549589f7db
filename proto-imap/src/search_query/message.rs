//! What a search asks of a message, and in which order.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::terms::{FoundTerms, SearchTerms, TextProgress, TextScope};
use crate::types::{DateTime, Flag};

/// The parts of a message that a search may depend on, from cheap to costly. A part is read only if the parts before it
/// do not decide whether the message matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessagePart {
    /// UID, flags, size, internal date and so on, which are at hand.
    Attributes,
    /// The envelope: addresses, subject and the `Date:` field.
    Envelope,
    /// All header fields.
    Header,
    /// The text parts of the body.
    Text,
}

/// A point in time and its time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchDate {
    /// The number of seconds since 1970-01-01 in UTC.
    pub timestamp: i64,
    /// The offset from UTC in minutes.
    pub zone: i16,
}

impl SearchDate {
    /// Returns the day in the date's own time zone, as the number of days since 1970-01-01.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.timestamp.saturating_add(self.zone as i64 * 60).div_euclid(86_400)
    }
}

impl From<DateTime> for SearchDate {
    fn from(date: DateTime) -> Self {
        Self { timestamp: date.timestamp(), zone: date.zone() }
    }
}

/// Whether a part of a message was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadProgress {
    /// There is more of this part.
    More,
    /// The part is complete.
    Complete,
}

/// A message that can be searched. A server implements it for its messages.
pub trait SearchableMessage {
    /// Why a part of the message cannot be read.
    type Error;

    /// Returns the message's UID.
    fn uid(&self) -> u32;

    /// Returns whether the message has a flag: a system flag or a keyword, never `\Recent`.
    fn has_flag(&self, flag: Flag<'_>) -> bool;

    /// Returns the size in bytes.
    fn size(&self) -> u64;

    /// Returns the internal date.
    fn internal_date(&self) -> SearchDate;

    /// Returns when the message was saved in its mailbox (RFC 8514), or `None` if that is unknown. The search then takes the
    /// internal date instead.
    fn saved_date(&self) -> Option<SearchDate> {
        None
    }

    /// Returns the mod-sequence (RFC 7162); 0 if the server has none.
    fn mod_sequence(&self) -> u64;

    /// Returns whether the message has this EMAILID (RFC 8474).
    fn has_email_id(&self, _id: &str) -> bool {
        false
    }

    /// Returns whether the message has this THREADID (RFC 8474).
    fn has_thread_id(&self, _id: &str) -> bool {
        false
    }

    /// Returns the date of the `Date:` field, or `None` if the field is missing or invalid. Called only after the
    /// envelope was read.
    fn sent_date(&self) -> Option<SearchDate>;

    /// Reads some of a part, and passes its decoded texts to `texts`. Parts are read in their order, and only those
    /// that the query needs. A message that reads one piece at a time lets the server do other work in between.
    ///
    /// # Errors
    /// Returned by the search, which then ends.
    fn read(&mut self, part: MessagePart, texts: &mut SearchTexts<'_>) -> Result<ReadProgress, Self::Error>;
}

/// Takes the texts of a message: finds the search's terms in them, or collects them.
pub struct SearchTexts<'a>(Target<'a>);

enum Target<'a> {
    Search(TermSearch<'a>),
    Collect(&'a mut dyn FnMut(&str)),
}

/// The search for the terms of a query.
struct TermSearch<'a> {
    terms: &'a SearchTerms,
    found: &'a mut FoundTerms,
    piece: &'a mut TextProgress,
    /// Whether a new term was found.
    news: bool,
}

impl fmt::Debug for SearchTexts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchTexts").finish_non_exhaustive()
    }
}

impl<'a> SearchTexts<'a> {
    pub(super) const fn new(
        terms: &'a SearchTerms,
        found: &'a mut FoundTerms,
        piece: &'a mut TextProgress,
    ) -> Self {
        Self(Target::Search(TermSearch { terms, found, piece, news: false }))
    }

    /// Collects every text in which a search could find something, for an index. A text may come in pieces.
    ///
    /// The index must find at least the messages that contain a term of [`SearchQuery::candidates`] after both were
    /// [folded].
    ///
    /// [`SearchQuery::candidates`]: super::SearchQuery::candidates
    /// [folded]: super::fold_text
    pub fn collecting(collect: &'a mut dyn FnMut(&str)) -> Self {
        Self(Target::Collect(collect))
    }

    /// Returns whether a new term was found.
    pub(super) const fn news(&self) -> bool {
        match &self.0 {
            Target::Search(search) => search.news,
            Target::Collect(_) => false,
        }
    }

    /// Returns whether the query searches in this scope. Other texts need not be passed.
    #[must_use]
    pub fn wants(&self, scope: TextScope<'_>) -> bool {
        match &self.0 {
            Target::Search(search) => search.terms.has(scope),
            Target::Collect(_) => true,
        }
    }

    /// Searches a whole text.
    pub fn text(&mut self, scope: TextScope<'_>, text: &str) {
        match &mut self.0 {
            Target::Search(search) => {
                let mut whole = TextProgress::default();
                search.news |= search.terms.read(scope, text, &mut whole, search.found);
                search.news |= search.terms.end(scope, &mut whole, search.found);
            }
            Target::Collect(collect) => collect(text),
        }
    }

    /// Searches a header field, by its name and as a whole. `value` returns the decoded value; it is called only if the
    /// query needs it.
    pub fn header_field(&mut self, name: &str, value: impl FnOnce() -> String) {
        let (by_name, by_text) = (self.wants(TextScope::Field(name)), self.wants(TextScope::Header));
        if !by_name && !by_text {
            return;
        }
        let value = value();
        if by_name {
            self.text(TextScope::Field(name), &value);
        }
        if by_text {
            self.text(TextScope::Header, &format!("{name}: {value}"));
        }
    }

    /// Searches the next piece of a text part of the body. A term is found across the pieces of one part.
    pub fn body_piece(&mut self, text: &str) {
        match &mut self.0 {
            Target::Search(search) => {
                search.news |= search.terms.read(TextScope::Body, text, search.piece, search.found);
            }
            Target::Collect(collect) => collect(text),
        }
    }

    /// Ends a text part of the body.
    pub fn end_body_part(&mut self) {
        if let Target::Search(search) = &mut self.0 {
            search.news |= search.terms.end(TextScope::Body, search.piece, search.found);
        }
    }
}
