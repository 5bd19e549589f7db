//! What can happen to a client.
//!
//! Events borrow the receive buffer; [`Event::into_owned`] copies one that the application keeps. They hold what the
//! server says and judge nothing.

use alloc::string::String;

use super::command_queue::CommandId;
use crate::types::{FetchItem, Section, StatusResponse, Unparsed, Untagged};

/// The next thing that happened.
///
/// A message's data come as [`FetchStart`](Self::FetchStart), items and bodies in the server's order, and
/// [`FetchEnd`](Self::FetchEnd). A body is never collected: its chunks are pieces of the receive buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The server greets: OK or PREAUTH. On cleartext its text and code are withheld.
    Greeting(StatusResponse<'i>),
    /// The server's capabilities are known, or known anew: see [`Client::capabilities`](super::Client::capabilities).
    /// Comes after the greeting, after TLS and after authentication; the machine asks where the server doesn't tell.
    Capabilities,
    /// An untagged OK, NO or BAD: for information, or a warning.
    Status(StatusResponse<'i>),
    /// Data that are not a message's. Never a status, capabilities or FETCH.
    Data(Untagged<'i>),
    /// Data of the message with this sequence number follow.
    FetchStart {
        /// The message's sequence number.
        sequence: u32,
    },
    /// One datum of the message. Never the contents of a section.
    FetchItem(FetchItem<'i>),
    /// The contents of a section follow, in chunks.
    BodyStart {
        /// Which section.
        section: Section<'i>,
        /// Where the contents begin in the section, if a piece of it was asked for.
        origin: Option<u64>,
        /// How many bytes follow; `None`: the server says that there is no such section (NIL), and no chunk follows.
        size: Option<u64>,
    },
    /// The next bytes of the contents.
    BodyChunk(&'i [u8]),
    /// The contents are complete.
    BodyEnd,
    /// The message's data are complete.
    FetchEnd,
    /// The server waits for an APPEND's payload: give it with [`Client::write_payload`](super::Client::write_payload).
    AppendReady(CommandId),
    /// The server is idling: changes come as data, until [`Client::done`](super::Client::done).
    Idling(CommandId),
    /// A command has ended: OK, NO or BAD.
    Completed {
        /// Which command.
        id: CommandId,
        /// How it ended. On cleartext its text and code are withheld.
        status: StatusResponse<'i>,
    },
    /// A login has ended.
    Auth(AuthOutcome<'i>),
    /// A response that can't be read. Only this response, or this item of a FETCH, is lost.
    Unparsed(Unparsed<'i>),
    /// The server says BYE. Unless the client has sent LOGOUT, the next call returns an error.
    Bye(StatusResponse<'i>),
    /// The session has ended in order.
    Closed,
}

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthOutcome<'i> {
    /// The server has accepted the client, and the mechanism agrees.
    Accepted {
        /// The command that logged in.
        id: CommandId,
        /// What the server says.
        status: StatusResponse<'i>,
    },
    /// The server has rejected the client, or cannot decide now.
    Rejected {
        /// The command that failed.
        id: CommandId,
        /// What the server says.
        status: StatusResponse<'i>,
        /// What the mechanism was told (the JSON of XOAUTH2 and OAUTHBEARER).
        reason: Option<String>,
    },
    /// The client has cancelled the exchange, because a challenge made no sense.
    Cancelled {
        /// The command that failed.
        id: CommandId,
        /// What the server says.
        status: StatusResponse<'i>,
        /// Why the client has cancelled it.
        reason: Option<String>,
    },
}

impl<'i> AuthOutcome<'i> {
    /// Returns the command that ended.
    #[must_use]
    pub const fn id(&self) -> CommandId {
        match self {
            Self::Accepted { id, .. } | Self::Rejected { id, .. } | Self::Cancelled { id, .. } => *id,
        }
    }

    /// Returns what the server says.
    #[must_use]
    pub const fn status(&self) -> &StatusResponse<'i> {
        match self {
            Self::Accepted { status, .. }
            | Self::Rejected { status, .. }
            | Self::Cancelled { status, .. } => status,
        }
    }

    /// Returns what the mechanism says of the failure.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected { reason, .. } | Self::Cancelled { reason, .. } => reason.as_deref(),
        }
    }
}
