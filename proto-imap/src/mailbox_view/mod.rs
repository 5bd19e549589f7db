//! The mailbox view: what one client knows of its selected mailbox. For authors of servers.
//!
//! A sequence number is a position in the list of messages *that the client has been told about*. Other sessions add
//! and remove messages at any time, but a client may be told that a message is gone only at certain moments (RFC 9051
//! §5.5, §7.5.1). Until then, the server must count the message, and answer with numbers that still mean the same.
//!
//! | type | what it is |
//! |---|---|
//! | [`MailboxView`] | the mailbox as one client knows it: sequence numbers, sequence sets, `$`, recent messages |
//! | [`MailboxTracker`] | the mailbox as it is, for all sessions that have selected it; computes what each must be told |
//! | [`TrackedView`] | the view of one of these sessions |
//! | [`ViewUpdate`] | one thing to tell: EXPUNGE, VANISHED, EXISTS, RECENT, changed flags, `[CLOSED]` |
//! | [`UidBitmap`] | a set of UIDs in little memory, shared by the sessions |
//!
//! A server that keeps its mailboxes in memory uses a tracker. A server whose store has a log of changes reads the
//! log instead, and passes each change to the [`MailboxView`] of the session.
//!
//! ```
//! use proto_imap::mailbox_view::{Expunges, MailboxTracker, RecentMessages, UidBitmap, ViewUpdate};
//! use proto_imap::types::{CommandName, NumberKind, SequenceSet};
//!
//! // The mailbox has the messages 4, 7 and 9. Two clients select it.
//! let mut mailbox = MailboxTracker::new(UidBitmap::from_iter([4, 7, 9]), 10);
//! let mut ann = mailbox.select(RecentMessages::Claimed);
//! let mut bob = mailbox.select(RecentMessages::Claimed);
//!
//! // Bob expunges a message, and a new one arrives.
//! mailbox.expunge(4);
//! mailbox.append(10)?;
//!
//! // Ann's client sends FETCH 2. It means message 7, and can't be told about the EXPUNGE yet.
//! let fetched = ann.view().resolve(SequenceSet::from_text("2")?, NumberKind::SequenceNumbers, 1_000)?;
//! assert_eq!(ann.view().messages(fetched).collect::<Vec<_>>(), [(2, 7)]);
//! let updates = mailbox.update(&mut ann, Expunges::during(CommandName::Fetch), 100);
//! assert_eq!(updates, [ViewUpdate::Exists(4), ViewUpdate::Recent(1)]);
//!
//! // With NOOP, it can. Each update has the response that the server passes to its state machine.
//! let updates = mailbox.update(&mut ann, Expunges::during(CommandName::Noop), 100);
//! assert_eq!(updates, [ViewUpdate::Expunge(1)]);
//! assert_eq!(ann.view().sequence_number(7), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batches;
mod flag_changes;
mod own_changes;
pub(crate) mod resolve;
mod tracker;
mod update;
mod view;

pub use resolve::ResolveError;
pub use tracker::{MailboxTracker, RecentMessages, TrackedView, UidNotAscending};
pub use update::{ExpungeForm, ViewUpdate};

pub use crate::server::Expunges;
pub use crate::uid_bitmap::{UidBitmap, number_ranges};
pub use view::MailboxView;
