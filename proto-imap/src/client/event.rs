//! The events of a client.
//!
//! Events borrow from the receive buffer; [`Event::into_owned`] copies an event to keep. They report what the server
//! sent, without judging it.

use alloc::string::String;

use super::command_id::CommandId;
use crate::types::{FetchItem, SearchHead, SearchPiece, Section, StatusResponse, Unparsed, Untagged};

/// An event of the session.
///
/// A message's data arrive as [`FetchStart`](Self::FetchStart), items and bodies in the server's order, and
/// [`FetchEnd`](Self::FetchEnd). A body is never buffered: its chunks are slices of the receive buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The server's greeting: OK or PREAUTH. In cleartext its text and code are withheld.
    Greeting(StatusResponse<'i>),
    /// The server's capabilities are known, or have changed: see
    /// [`Client::capabilities`](super::Client::capabilities). Reported after the greeting, after TLS and after
    /// authentication. The machine asks for them if the server does not list them.
    Capabilities,
    /// An untagged OK, NO or BAD: for information, or a warning.
    Status(StatusResponse<'i>),
    /// Untagged data other than a message's. Never a status, capabilities or FETCH.
    ///
    /// A VANISHED response that is longer than [`Limits::line`](proto_mail::Limits::line) arrives as several.
    Data(Untagged<'i>),
    /// The data of the message with this sequence number follow.
    FetchStart {
        /// The message's sequence number.
        sequence: u32,
    },
    /// The data of the message with this UID follow, after the server has enabled UIDONLY (RFC 9586).
    UidFetchStart {
        /// The message's UID.
        uid: u32,
    },
    /// One item of the message's data. Never the contents of a section.
    FetchItem(FetchItem<'i>),
    /// The contents of a section follow, in chunks.
    BodyStart {
        /// The section.
        section: Section<'i>,
        /// The offset of the contents in the section, in bytes, if the client requested only a part.
        origin: Option<u64>,
        /// The size of the contents in bytes; `None` if the server has no such section (NIL), and then no chunk
        /// follows.
        size: Option<u64>,
    },
    /// The next bytes of the contents.
    BodyChunk(&'i [u8]),
    /// The contents are complete.
    BodyEnd,
    /// The message's data are complete.
    FetchEnd,
    /// The results of a search follow in pieces, because the response is longer than
    /// [`Limits::line`](proto_mail::Limits::line). A shorter one is [`Data`](Self::Data).
    /// [`SearchCollector`](super::SearchCollector) and [`ThreadCollector`](super::ThreadCollector) take both.
    SearchStart(SearchHead<'i>),
    /// The next piece of the results.
    SearchPiece(SearchPiece<'i>),
    /// The response is complete.
    SearchEnd,
    /// The server waits for an APPEND's message. Send it with
    /// [`Client::write_payload`](super::Client::write_payload).
    AppendReady(CommandId),
    /// The server has accepted IDLE. Changes arrive as data, until [`Client::done`](super::Client::done).
    Idling(CommandId),
    /// A command has ended: OK, NO or BAD.
    Completed {
        /// The command.
        id: CommandId,
        /// The server's response. In cleartext its text and code are withheld.
        status: StatusResponse<'i>,
    },
    /// A login has ended.
    Auth(AuthOutcome<'i>),
    /// A response that does not follow the grammar. Only this response, or this item of a FETCH, is lost.
    Unparsed(Unparsed<'i>),
    /// The server has sent BYE. Unless the client has sent LOGOUT, the next call returns an error.
    Bye(StatusResponse<'i>),
    /// The session has ended normally.
    Closed,
}

/// The outcome of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthOutcome<'i> {
    /// The server has accepted the client, and the mechanism confirms it.
    Accepted {
        /// The command that logged in.
        id: CommandId,
        /// The server's response.
        status: StatusResponse<'i>,
    },
    /// The server has rejected the client, or cannot decide now.
    Rejected {
        /// The command that failed.
        id: CommandId,
        /// The server's response.
        status: StatusResponse<'i>,
        /// The server's error message in the mechanism (the JSON of XOAUTH2 and OAUTHBEARER).
        reason: Option<String>,
    },
    /// The client has cancelled the exchange because of an invalid challenge.
    Cancelled {
        /// The command that failed.
        id: CommandId,
        /// The server's response.
        status: StatusResponse<'i>,
        /// Why the client has cancelled the exchange.
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

    /// Returns the server's response.
    #[must_use]
    pub const fn status(&self) -> &StatusResponse<'i> {
        match self {
            Self::Accepted { status, .. }
            | Self::Rejected { status, .. }
            | Self::Cancelled { status, .. } => status,
        }
    }

    /// Returns the mechanism's reason for the failure.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected { reason, .. } | Self::Cancelled { reason, .. } => reason.as_deref(),
        }
    }
}
