//! Searches: which messages match the keys of a SEARCH (RFC 9051 §6.4.4, RFC 4731, 5032, 5182, 5255, 5466, 6203, 7162, 8474). For authors
//! of servers.
//!
//! [`SearchContexts`] holds the results that a client wants to be kept up to date (RFC 5267).
//!
//! A [`SearchQuery`] checks the keys of a command and sorts them by cost. It then tests messages, which implement
//! [`SearchableMessage`]. A costly part of a message is read only if the cheap parts do not decide: the truth of a key
//! is *true*, *false*, or *not known yet*. All texts of a query are found in one pass, piece by piece, so a large message
//! is never held in memory and a search can yield at any time; see [`MessageSearch`].
//!
//! ```
//! use proto_imap::mailbox_view::{MailboxView, UidBitmap};
//! use proto_imap::search_query::*;
//! use proto_imap::types::{Flag, IString, LazyList, SearchKey};
//!
//! struct Mail { uid: u32, seen: bool, subject: &'static str, body: &'static str }
//!
//! impl SearchableMessage for Mail {
//!     type Error = std::io::Error;
//!     fn uid(&self) -> u32 { self.uid }
//!     fn has_flag(&self, flag: Flag<'_>) -> bool { flag == Flag::Seen && self.seen }
//!     fn size(&self) -> u64 { self.body.len() as u64 }
//!     fn internal_date(&self) -> SearchDate { SearchDate { timestamp: 0, zone: 0 } }
//!     fn mod_sequence(&self) -> u64 { 0 }
//!     fn sent_date(&self) -> Option<SearchDate> { None }
//!     fn read(&mut self, part: MessagePart, texts: &mut SearchTexts<'_>) -> Result<ReadProgress, Self::Error> {
//!         match part {
//!             MessagePart::Attributes => {}
//!             MessagePart::Envelope => texts.text(TextScope::Subject, self.subject),
//!             MessagePart::Header => texts.header_field("Subject", || self.subject.to_owned()),
//!             MessagePart::Text => texts.body_piece(self.body),
//!         }
//!         Ok(ReadProgress::Complete)
//!     }
//! }
//!
//! let mut mailbox = [
//!     Mail { uid: 4, seen: true, subject: "Lunch", body: "At noon?" },
//!     Mail { uid: 9, seen: false, subject: "Re: Lunch", body: "Yes!" },
//! ];
//! let view = MailboxView::new(mailbox.iter().map(|mail| mail.uid).collect::<UidBitmap>());
//!
//! // a1 SEARCH UNSEEN TEXT "lunch"
//! let keys = [SearchKey::Unseen, SearchKey::Text(IString::new(b"lunch"))];
//! let now = 1_700_000_000;
//! let query = SearchQuery::new(LazyList::new(&keys), &view, now, &SearchLimits::default())?;
//! let mut found = Vec::new();
//! for mail in &mut mailbox {
//!     if query.matches(mail)? {
//!         found.extend(view.sequence_number(mail.uid));
//!     }
//! }
//! assert_eq!(found, [2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod condition;
mod contexts;
mod evaluation;
#[cfg(test)]
mod evaluation_tests;
mod filters;
mod fuzzy;
mod message;
mod query;
mod results;
mod terms;

pub use compile::{SearchLimits, SearchOptions, SearchQueryError, UnusedNumbers};
pub use contexts::{ContextDifference, ContextLimits, ContextResult, ContextRun, NoContext, SearchContexts};
pub use evaluation::MessageSearch;
pub use filters::{FilterError, SearchFilters};
pub use message::{MessagePart, ReadProgress, SearchDate, SearchTexts, SearchableMessage};
pub use query::SearchQuery;
pub use results::{NeededMatches, SearchMatch, SearchResults};
pub use terms::{TextScope, fold_text};
