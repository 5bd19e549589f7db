//! The order of messages in the result of a SORT (RFC 5256 §2, §3, RFC 5957). For authors of servers.
//!
//! A [`SortOrder`] turns the attributes of each message into a [`SortEntry`], which is small and compares quickly. The
//! server collects the entries of the messages that a search finds, sorts them, and writes their numbers.
//!
//! ```
//! use proto_imap::sort_order::{Collation, SortOrder, SortableMessage};
//! use proto_imap::types::{LazyList, SortCriterion, SortKey};
//!
//! struct Mail { sequence: u32, subject: &'static str, date: i64 }
//!
//! impl SortableMessage for Mail {
//!     fn sequence(&self) -> u32 { self.sequence }
//!     fn internal_date(&self) -> i64 { self.date }
//!     fn sent_date(&self) -> Option<i64> { Some(self.date) }
//!     fn size(&self) -> u64 { 0 }
//!     fn text(&self, key: SortKey) -> &str {
//!         if key == SortKey::Subject { self.subject } else { "" }
//!     }
//! }
//!
//! // SORT (SUBJECT REVERSE DATE) UTF-8 ALL
//! let criteria = [SortCriterion::new(SortKey::Subject), SortCriterion::reverse(SortKey::Date)];
//! let order = SortOrder::new(LazyList::new(&criteria), Collation::UnicodeCasemap)?;
//! let mails = [
//!     Mail { sequence: 1, subject: "Lunch", date: 10 },
//!     Mail { sequence: 2, subject: "Re: lunch", date: 20 },
//!     Mail { sequence: 3, subject: "Agenda", date: 5 },
//! ];
//! let mut found: Vec<_> = mails.iter().map(|mail| order.entry(mail)).collect();
//! found.sort_unstable();
//! assert_eq!(found.iter().map(|one| one.sequence()).collect::<Vec<_>>(), [3, 2, 1]);
//! # Ok::<(), proto_imap::sort_order::TooManyCriteria>(())
//! ```

mod base_subject;
mod collation;
mod entry;

pub use base_subject::BaseSubject;
pub use collation::Collation;
pub(crate) use collation::fold_character;
pub use entry::{SortEntry, SortOrder, SortableMessage, TooManyCriteria};
