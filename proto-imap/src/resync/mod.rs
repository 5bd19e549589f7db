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
mod machine;
mod selected;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU32;

use proto_mail::error::ErrorDetails;

pub use crate::uid_bitmap::{UidBitmap, number_ranges};
pub use machine::Resync;

use crate::types::{FlagList, Owned, StatusResponse};

/// What a client knows of a mailbox. The default is a mailbox of which it knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownMailbox {
    /// UIDVALIDITY. With `None` all messages are new.
    pub uid_validity: Option<NonZeroU32>,
    /// UIDNEXT, if the server has told it.
    pub uid_next: Option<NonZeroU32>,
    /// The highest mod-sequence, below 2⁶³. All changes up to it are known (RFC 7162 §3.1.1).
    pub highest_mod_sequence: Option<u64>,
    /// The UIDs of the messages.
    pub uids: UidBitmap,
}

/// The flags of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResyncedMessage {
    /// The UID.
    pub uid: u32,
    /// All flags, including keywords.
    pub flags: Owned<FlagList<'static>>,
    /// The mod-sequence, if the server has sent it.
    pub mod_sequence: Option<u64>,
}

/// A difference between what the client knew and what the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResyncEvent {
    /// The mailbox has another UIDVALIDITY: all that the client knew is void. Every message follows as [`New`](Self::New).
    /// Comes first.
    Reset,
    /// A message that the client did not know.
    New(ResyncedMessage),
    /// A message that the client knew. Its flags may have changed, or are the same: without mod-sequences, every message
    /// is reported.
    Changed(ResyncedMessage),
    /// These messages no longer exist. Comes once, after all messages.
    Vanished(UidBitmap),
    /// The resynchronisation is complete. Comes last.
    Done(Box<ResyncedMailbox>),
}

/// The result of a resynchronisation. The mailbox is still selected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResyncedMailbox {
    /// What the client knows now. Pass it to the next resynchronisation.
    ///
    /// If a response could not be read, the highest mod-sequence is the old one, so that the next resynchronisation asks
    /// again.
    pub mailbox: KnownMailbox,
    /// How the changes were found.
    pub method: ResyncMethod,
    /// Whether the mailbox cannot be changed in this session.
    pub is_read_only: bool,
}

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResyncMethod {
    /// The server reports flags and vanished messages that have changed since a mod-sequence (RFC 7162 §3.2).
    QResync,
    /// The server reports flags that have changed since a mod-sequence (RFC 7162 §3.1).
    CondStore,
    /// The server lists all messages.
    Full,
}

/// Why a resynchronisation failed. The session goes on, unless the cause is [`Machine`](Self::Machine).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ResyncError {
    /// The server has rejected a command.
    Rejected(Box<Owned<StatusResponse<'static>>>),
    /// The mailbox has more messages than the [limit](Resync::with_message_limit), or the server says so.
    TooManyMessages {
        /// The limit.
        limit: u32,
    },
    /// The machine has refused a command.
    Machine(proto_mail::Error),
}

impl fmt::Display for ResyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(status) => {
                let status = status.view();
                write!(f, "the server rejected the command: {} {}", status.condition.as_str(), status.text)
            }
            Self::TooManyMessages { limit } => write!(f, "the mailbox has more than {limit} messages"),
            Self::Machine(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ResyncError {}

impl ErrorDetails for ResyncError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Machine(error) => error.is_retryable(),
            Self::Rejected(_) | Self::TooManyMessages { .. } => false,
        }
    }
}

impl From<proto_mail::Error> for ResyncError {
    fn from(error: proto_mail::Error) -> Self {
        Self::Machine(error)
    }
}
