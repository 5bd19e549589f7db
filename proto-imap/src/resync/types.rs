//! What a resynchronisation starts from, and what it reports.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::num::NonZeroU32;

use proto_mail::error::ErrorDetails;

use crate::types::{FlagList, Owned, StatusResponse};
use crate::uid_bitmap::UidBitmap;

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
    /// These messages exist, but the server does not tell their flags: it leaves them out, rejects the command that names
    /// one of them, or ends the session. They are among the UIDs of the result. Comes once, after all messages.
    Unreadable(UidBitmap),
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
    /// The number of messages that the server counts and does not list. If it is not 0, no message is reported as vanished.
    pub unlisted: u32,
}

/// What the server says about the mailbox when it is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenedMailbox {
    /// The number of messages.
    pub exists: u32,
    /// UIDVALIDITY, if the server has sent it.
    pub uid_validity: Option<NonZeroU32>,
    /// UIDNEXT, if the server has sent it.
    pub uid_next: Option<NonZeroU32>,
    /// The highest mod-sequence, if the mailbox has mod-sequences.
    pub highest_mod_sequence: Option<u64>,
    /// MAILBOXID (RFC 8474), if the server has sent it. At most 255 bytes.
    pub mailbox_id: Option<String>,
}

/// What a resynchronisation reports of messages that the client did not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NewMessages {
    /// Each as [`ResyncEvent::New`], with its flags.
    #[default]
    WithFlags,
    /// Nothing: their UIDs are in the result. For a client that fetches them anyway. The flags of a mailbox of which nothing
    /// is known are not requested.
    UidsOnly,
}

/// What follows the loss of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterLoss {
    /// [`start`](super::Resync::start) it again in another session. It continues in another way if there is one.
    Restart,
    /// The same. It has found out more about the message on which the server fails.
    RestartNarrowed,
    /// It has failed. Too many sessions were lost.
    Stop,
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
    /// The server has rejected the command that selects the mailbox. [`start`](super::Resync::start) tries it again.
    Rejected(Box<Owned<StatusResponse<'static>>>),
    /// The mailbox has more messages than the [limit](super::Resync::with_message_limit), or the server says so.
    TooManyMessages {
        /// The limit.
        limit: u32,
    },
    /// The server lists far more messages than it counts: more than twice as many, and 1,000.
    MoreThanCounted {
        /// EXISTS.
        exists: u32,
    },
    /// The mailbox got another UIDVALIDITY after it was selected.
    UidValidityChanged,
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
            Self::MoreThanCounted { exists } => {
                write!(f, "the server counts {exists} messages and lists more than twice as many")
            }
            Self::UidValidityChanged => {
                f.write_str("the server has changed the UIDs of all messages (UIDVALIDITY)")
            }
            Self::Machine(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ResyncError {}

impl ErrorDetails for ResyncError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Machine(error) => error.is_retryable(),
            Self::UidValidityChanged => true,
            Self::Rejected(_) | Self::TooManyMessages { .. } | Self::MoreThanCounted { .. } => false,
        }
    }
}

impl From<proto_mail::Error> for ResyncError {
    fn from(error: proto_mail::Error) -> Self {
        Self::Machine(error)
    }
}
