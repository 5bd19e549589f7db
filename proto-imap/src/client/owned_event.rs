//! The owned form of a client's events.

use alloc::string::String;
use alloc::vec::Vec;

use super::command_id::CommandId;
use super::event::{AuthOutcome, Event};
use crate::types::{FetchItem, Owned, SearchHead, SearchPiece, Section, StatusResponse, Unparsed, Untagged};

/// An [`Event`] that borrows nothing: a channel, another thread or an async stream can carry it.
///
/// Returned by [`Event::into_owned`] and [`proto_mail::Driver::next_owned`]. It has the variants of [`Event`]. Each
/// borrowed value is an [`Owned`] copy; [`Owned::view`] returns it. To handle owned and borrowed events with the same
/// code, use [`view`](Self::view). `Debug` prints the same as for the [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedEvent {
    /// See [`Event::Greeting`].
    Greeting(Owned<StatusResponse<'static>>),
    /// See [`Event::Capabilities`].
    Capabilities,
    /// See [`Event::Status`].
    Status(Owned<StatusResponse<'static>>),
    /// See [`Event::Data`].
    Data(Owned<Untagged<'static>>),
    /// See [`Event::FetchStart`].
    FetchStart {
        /// The message's sequence number.
        sequence: u32,
    },
    /// See [`Event::UidFetchStart`].
    UidFetchStart {
        /// The message's UID.
        uid: u32,
    },
    /// See [`Event::FetchItem`].
    FetchItem(Owned<FetchItem<'static>>),
    /// See [`Event::BodyStart`].
    BodyStart {
        /// The section.
        section: Owned<Section<'static>>,
        /// The offset of the contents in the section, in bytes, if a part of it was requested.
        origin: Option<u64>,
        /// The size of the contents in bytes; `None` if the server has no such section.
        size: Option<u64>,
    },
    /// See [`Event::BodyChunk`].
    BodyChunk(Vec<u8>),
    /// See [`Event::BodyEnd`].
    BodyEnd,
    /// See [`Event::FetchEnd`].
    FetchEnd,
    /// See [`Event::SearchStart`].
    SearchStart(Owned<SearchHead<'static>>),
    /// See [`Event::SearchPiece`].
    SearchPiece(Owned<SearchPiece<'static>>),
    /// See [`Event::SearchEnd`].
    SearchEnd,
    /// See [`Event::AppendReady`].
    AppendReady(CommandId),
    /// See [`Event::Idling`].
    Idling(CommandId),
    /// See [`Event::Completed`].
    Completed {
        /// The command.
        id: CommandId,
        /// The server's tagged response.
        status: Owned<StatusResponse<'static>>,
    },
    /// See [`Event::Auth`].
    Auth(OwnedAuthOutcome),
    /// See [`Event::Unparsed`].
    Unparsed(Owned<Unparsed<'static>>),
    /// See [`Event::Bye`].
    Bye(Owned<StatusResponse<'static>>),
    /// See [`Event::Closed`].
    Closed,
}

/// An [`AuthOutcome`] that borrows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedAuthOutcome {
    /// See [`AuthOutcome::Accepted`].
    Accepted {
        /// The command that logged in.
        id: CommandId,
        /// The server's tagged response.
        status: Owned<StatusResponse<'static>>,
    },
    /// See [`AuthOutcome::Rejected`].
    Rejected {
        /// The command that failed.
        id: CommandId,
        /// The server's tagged response.
        status: Owned<StatusResponse<'static>>,
        /// The server's error message in the mechanism (the JSON of XOAUTH2 and OAUTHBEARER).
        reason: Option<String>,
    },
    /// See [`AuthOutcome::Cancelled`].
    Cancelled {
        /// The command that failed.
        id: CommandId,
        /// The server's tagged response.
        status: Owned<StatusResponse<'static>>,
        /// Why the client has cancelled the exchange.
        reason: Option<String>,
    },
}

impl Event<'_> {
    /// Returns an owned copy, which outlives the receive buffer.
    #[must_use]
    pub fn into_owned(self) -> OwnedEvent {
        match self {
            Self::Greeting(status) => OwnedEvent::Greeting(status.into_owned()),
            Self::Capabilities => OwnedEvent::Capabilities,
            Self::Status(status) => OwnedEvent::Status(status.into_owned()),
            Self::Data(data) => OwnedEvent::Data(data.into_owned()),
            Self::FetchStart { sequence } => OwnedEvent::FetchStart { sequence },
            Self::UidFetchStart { uid } => OwnedEvent::UidFetchStart { uid },
            Self::FetchItem(item) => OwnedEvent::FetchItem(item.into_owned()),
            Self::BodyStart { section, origin, size } => {
                OwnedEvent::BodyStart { section: section.into_owned(), origin, size }
            }
            Self::BodyChunk(bytes) => OwnedEvent::BodyChunk(bytes.to_vec()),
            Self::BodyEnd => OwnedEvent::BodyEnd,
            Self::FetchEnd => OwnedEvent::FetchEnd,
            Self::SearchStart(head) => OwnedEvent::SearchStart(head.into_owned()),
            Self::SearchPiece(piece) => OwnedEvent::SearchPiece(piece.into_owned()),
            Self::SearchEnd => OwnedEvent::SearchEnd,
            Self::AppendReady(id) => OwnedEvent::AppendReady(id),
            Self::Idling(id) => OwnedEvent::Idling(id),
            Self::Completed { id, status } => OwnedEvent::Completed { id, status: status.into_owned() },
            Self::Auth(outcome) => OwnedEvent::Auth(outcome.into_owned()),
            Self::Unparsed(unparsed) => OwnedEvent::Unparsed(unparsed.into_owned()),
            Self::Bye(status) => OwnedEvent::Bye(status.into_owned()),
            Self::Closed => OwnedEvent::Closed,
        }
    }
}

impl OwnedEvent {
    /// Returns the event. It borrows from this value.
    #[must_use]
    pub fn view(&self) -> Event<'_> {
        match self {
            Self::Greeting(status) => Event::Greeting(status.view()),
            Self::Capabilities => Event::Capabilities,
            Self::Status(status) => Event::Status(status.view()),
            Self::Data(data) => Event::Data(data.view()),
            Self::FetchStart { sequence } => Event::FetchStart { sequence: *sequence },
            Self::UidFetchStart { uid } => Event::UidFetchStart { uid: *uid },
            Self::FetchItem(item) => Event::FetchItem(item.view()),
            Self::BodyStart { section, origin, size } => {
                Event::BodyStart { section: section.view(), origin: *origin, size: *size }
            }
            Self::BodyChunk(bytes) => Event::BodyChunk(bytes),
            Self::BodyEnd => Event::BodyEnd,
            Self::FetchEnd => Event::FetchEnd,
            Self::SearchStart(head) => Event::SearchStart(head.view()),
            Self::SearchPiece(piece) => Event::SearchPiece(piece.view()),
            Self::SearchEnd => Event::SearchEnd,
            Self::AppendReady(id) => Event::AppendReady(*id),
            Self::Idling(id) => Event::Idling(*id),
            Self::Completed { id, status } => Event::Completed { id: *id, status: status.view() },
            Self::Auth(outcome) => Event::Auth(outcome.view()),
            Self::Unparsed(unparsed) => Event::Unparsed(unparsed.view()),
            Self::Bye(status) => Event::Bye(status.view()),
            Self::Closed => Event::Closed,
        }
    }
}

impl AuthOutcome<'_> {
    /// Returns an owned copy, which outlives the receive buffer.
    #[must_use]
    pub fn into_owned(self) -> OwnedAuthOutcome {
        match self {
            Self::Accepted { id, status } => OwnedAuthOutcome::Accepted { id, status: status.into_owned() },
            Self::Rejected { id, status, reason } => {
                OwnedAuthOutcome::Rejected { id, status: status.into_owned(), reason }
            }
            Self::Cancelled { id, status, reason } => {
                OwnedAuthOutcome::Cancelled { id, status: status.into_owned(), reason }
            }
        }
    }
}

impl OwnedAuthOutcome {
    /// Returns the outcome. It borrows from this value, except for a copy of the reason.
    #[must_use]
    pub fn view(&self) -> AuthOutcome<'_> {
        match self {
            Self::Accepted { id, status } => AuthOutcome::Accepted { id: *id, status: status.view() },
            Self::Rejected { id, status, reason } => {
                AuthOutcome::Rejected { id: *id, status: status.view(), reason: reason.clone() }
            }
            Self::Cancelled { id, status, reason } => {
                AuthOutcome::Cancelled { id: *id, status: status.view(), reason: reason.clone() }
            }
        }
    }
}
