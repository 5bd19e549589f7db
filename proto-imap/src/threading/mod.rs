//! The algorithms of THREAD: ORDEREDSUBJECT, REFERENCES (RFC 5256 §3) and REFS (draft-ietf-morg-inthread). For authors of
//! servers.
//!
//! A [`Threader`] collects the messages that a search finds, in the order of the mailbox, and puts them into threads. The
//! result is a [`ThreadForest`], whose items are written with [`Server::thread_items`](crate::server::Server::thread_items).
//!
//! ```
//! use proto_imap::sort_order::Collation;
//! use proto_imap::threading::{ThreadLimits, ThreadableMessage, Threader};
//! use proto_imap::types::{ThreadAlgorithm, ThreadItem};
//!
//! let mut threader =
//!     Threader::new(ThreadAlgorithm::References, Collation::default(), ThreadLimits::default()).expect("is known");
//! for (number, subject, id, reference) in [(1, "Lunch", "<a@x>", ""), (2, "Re: Lunch", "<b@x>", "<a@x>")] {
//!     threader.add(&ThreadableMessage {
//!         number, subject, date: i64::from(number), message_id: id, references: reference, in_reply_to: "",
//!     })?;
//! }
//! let items: Vec<_> = threader.finish().items(256).collect();
//! assert_eq!(items, [ThreadItem::ListStart, ThreadItem::Message(1), ThreadItem::Message(2), ThreadItem::ListEnd]);
//! # Ok::<(), proto_imap::threading::TooManyMessages>(())
//! ```
//!
//! Time is linear in the messages and their references, apart from sorting, whatever the messages refer to.

mod finisher;
mod forest;
mod links;
mod message_id;
mod references;
mod subjects;
mod threader;

pub use finisher::ThreadFinisher;
pub use forest::{ForestItems, ThreadForest};
pub use message_id::message_ids;
pub use threader::{ThreadLimits, ThreadableMessage, Threader, TooManyMessages};
