//! Resynchronisation: what has changed in a mailbox since the client last saw it (RFC 7162, RFC 4549 §4.3). For authors of
//! clients.
//!
//! A client keeps a [`KnownMailbox`] for each mailbox: UIDVALIDITY, the highest mod-sequence, and the UIDs. [`Resync`]
//! selects the mailbox and reports as [`ResyncEvent`]s which messages are new, which flags may have changed and which messages
//! have vanished. It ends with the new state. Like the client machine it does no I/O: it sends commands to the machine and
//! takes the machine's events.
//!
//! | the server offers | commands | the answer holds |
//! |---|---|---|
//! | QRESYNC | ENABLE once, SELECT (QRESYNC …) | what has changed |
//! | CONDSTORE | SELECT, UID FETCH (CHANGEDSINCE …), UID SEARCH if messages have vanished | changed flags, and all UIDs if some have vanished |
//! | neither | SELECT, UID FETCH 1:* (FLAGS) | the flags of all messages |
//!
//! A server may fail on one message and work on all others. If it rejects UID FETCH of all messages, UID SEARCH lists them, and
//! UID FETCH shows their flags in ranges, which are split until the message is isolated ([`ResyncEvent::Unreadable`]). If the
//! server ends the session instead, [`Resync::connection_lost`] continues in another one.
//!
//! A mailbox with another UIDVALIDITY is new. A server whose answer contradicts itself is not believed: a message counts as
//! vanished only if the number of messages that remain is the EXISTS of the server, or if UID SEARCH does not find it.
//!
//! ```
//! use proto_imap::Config;
//! use proto_imap::client::{Client, Event};
//! use proto_imap::resync::{KnownMailbox, Resync, ResyncEvent};
//! use proto_imap::types::{MailboxName, NumberRange};
//! use proto_mail::{RecvBuffer, Secure, SendBuffer};
//!
//! let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
//! let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
//! // What the client knows of the mailbox from an earlier session.
//! let mut known = KnownMailbox::default();
//! known.uid_validity = std::num::NonZeroU32::new(7);
//! known.highest_mod_sequence = Some(40);
//! known.uids = [NumberRange::new(1, 3)].into_iter().collect();
//! let mut resync = Resync::select(MailboxName::new("INBOX"), known);
//!
//! // Stands in for a socket: each read returns the next item.
//! let mut server = [
//!     "* PREAUTH [CAPABILITY IMAP4rev1 ENABLE CONDSTORE QRESYNC] ready\r\n",
//!     "* ENABLED QRESYNC\r\nM1 OK enabled\r\n",
//!     "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 5] x\r\n* OK [HIGHESTMODSEQ 44] x\r\n\
//!      * VANISHED (EARLIER) 2\r\n* 3 FETCH (UID 4 FLAGS () MODSEQ (43))\r\nM2 OK [READ-WRITE] selected\r\n",
//! ].into_iter();
//! let mut changes = Vec::new();
//! while !resync.is_done() {
//!     rx.extend(server.next().ok_or("the server is gone")?.as_bytes());
//!     while let Some(event) = client.next_event(&mut rx, &mut tx)? {
//!         match event {
//!             Event::Greeting(_) => {}
//!             Event::Capabilities => resync.start(&mut client, &mut tx)?,
//!             event => resync.take(&event, &mut client, &mut tx)?,
//!         }
//!         while let Some(change) = resync.next_event() {
//!             changes.push(match change {
//!                 ResyncEvent::New(message) => format!("new {}", message.uid),
//!                 ResyncEvent::Vanished(uids) => format!("vanished {uids:?}"),
//!                 ResyncEvent::Done(done) => format!("now {:?}", done.mailbox.uids),
//!                 other => format!("{other:?}"),
//!             });
//!         }
//!     }
//!     let written = tx.len();
//!     tx.sent(written);
//! }
//! assert_eq!(changes, ["new 4", "vanished {2..=2}", "now {1..=1, 3..=4}"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compare;
mod fetched;
mod isolation;
mod machine;
mod ranges;
mod selected;
#[cfg(test)]
mod tests;
mod types;

pub use crate::uid_bitmap::{UidBitmap, number_ranges};
pub use machine::Resync;
pub use types::{
    AfterLoss, KnownMailbox, NewMessages, OpenedMailbox, ResyncError, ResyncEvent, ResyncMethod,
    ResyncedMailbox, ResyncedMessage,
};
