//! The owned form of a server's events.

use alloc::vec::Vec;
use core::fmt;

use proto_mail::{AuthRequest, Channel, StartTlsRequest};

use super::event::{CompressRequest, Event, LiteralOffer, Reply};
use crate::parse::UnparsedCommand;
use crate::types::{
    AppendForm, CatenatePart, Command, DateTime, FlagList, MailboxName, Owned, ReplacedMessage,
};

/// An [`Event`] that borrows nothing: a channel, another thread or an async stream can carry it.
///
/// Returned by [`Event::into_owned`] and [`proto_mail::Driver::next_owned`]. It has the variants of [`Event`]. Each
/// borrowed value is an [`Owned`] copy; [`Owned::view`] returns it. To handle owned and borrowed events with the same
/// code, use [`with_event`](Self::with_event). `Debug` prints the same as for the [`Event`].
///
/// It holds the event's token. If it is dropped, the server answers with a temporary failure (see
/// [`proto_mail::token`]). It is not `Clone`, because a token can be answered only once.
pub enum OwnedEvent<C: Channel> {
    /// See [`Event::Command`].
    Command(Owned<Command<'static>>, Reply),
    /// See [`Event::Auth`].
    Auth(C::Auth<AuthRequest>),
    /// See [`Event::StartTls`].
    StartTls(C::StartTls<StartTlsRequest>),
    /// See [`Event::Append`].
    Append {
        /// The mailbox.
        mailbox: Owned<MailboxName<'static>>,
        /// The message that the new one replaces.
        replaced: Option<ReplacedMessage>,
        /// The message's flags.
        flags: Owned<FlagList<'static>>,
        /// The message's internal date; `None` means now.
        date: Option<DateTime>,
        /// How the message is sent.
        form: AppendForm,
        /// The message's size in bytes.
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// See [`Event::AppendNext`].
    AppendNext {
        /// The message's flags.
        flags: Owned<FlagList<'static>>,
        /// The message's internal date; `None` means now.
        date: Option<DateTime>,
        /// How the message is sent.
        form: AppendForm,
        /// The message's size in bytes.
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// See [`Event::AppendPart`].
    AppendPart {
        /// The part.
        part: Owned<CatenatePart<'static>>,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// See [`Event::AppendChunk`].
    AppendChunk(Vec<u8>),
    /// See [`Event::AppendEnd`].
    AppendEnd(Reply),
    /// See [`Event::AppendAborted`].
    AppendAborted,
    /// See [`Event::Compress`].
    Compress(CompressRequest),
    /// See [`Event::Idle`].
    Idle(Reply),
    /// See [`Event::Done`].
    Done,
    /// See [`Event::Unparsed`].
    Unparsed(Owned<UnparsedCommand<'static>>),
    /// See [`Event::Closed`].
    Closed,
}

impl<C: Channel> Event<'_, C> {
    /// Returns an owned copy, which outlives the receive buffer. The token moves into it.
    #[must_use]
    pub fn into_owned(self) -> OwnedEvent<C> {
        match self {
            Self::Command(command, reply) => OwnedEvent::Command(command.into_owned(), reply),
            Self::Auth(request) => OwnedEvent::Auth(request),
            Self::StartTls(request) => OwnedEvent::StartTls(request),
            Self::Append { mailbox, replaced, flags, date, form, size, offer } => OwnedEvent::Append {
                mailbox: mailbox.into_owned(),
                replaced,
                flags: flags.into_owned(),
                date,
                form,
                size,
                offer,
            },
            Self::AppendNext { flags, date, form, size, offer } => {
                OwnedEvent::AppendNext { flags: flags.into_owned(), date, form, size, offer }
            }
            Self::AppendPart { part, offer } => OwnedEvent::AppendPart { part: part.into_owned(), offer },
            Self::AppendChunk(bytes) => OwnedEvent::AppendChunk(bytes.to_vec()),
            Self::AppendEnd(reply) => OwnedEvent::AppendEnd(reply),
            Self::AppendAborted => OwnedEvent::AppendAborted,
            Self::Compress(request) => OwnedEvent::Compress(request),
            Self::Idle(reply) => OwnedEvent::Idle(reply),
            Self::Done => OwnedEvent::Done,
            Self::Unparsed(unparsed) => OwnedEvent::Unparsed(unparsed.into_owned()),
            Self::Closed => OwnedEvent::Closed,
        }
    }
}

impl<C: Channel> OwnedEvent<C> {
    /// Calls `handle` with the event, which borrows from this value, and returns its result. The token moves into the
    /// event.
    pub fn with_event<R>(self, handle: impl FnOnce(Event<'_, C>) -> R) -> R {
        match self {
            Self::Command(command, reply) => handle(Event::Command(command.view(), reply)),
            Self::Auth(request) => handle(Event::Auth(request)),
            Self::StartTls(request) => handle(Event::StartTls(request)),
            Self::Append { mailbox, replaced, flags, date, form, size, offer } => handle(Event::Append {
                mailbox: mailbox.view(),
                replaced,
                flags: flags.view(),
                date,
                form,
                size,
                offer,
            }),
            Self::AppendNext { flags, date, form, size, offer } => {
                handle(Event::AppendNext { flags: flags.view(), date, form, size, offer })
            }
            Self::AppendPart { part, offer } => handle(Event::AppendPart { part: part.view(), offer }),
            Self::AppendChunk(bytes) => handle(Event::AppendChunk(&bytes)),
            Self::AppendEnd(reply) => handle(Event::AppendEnd(reply)),
            Self::AppendAborted => handle(Event::AppendAborted),
            Self::Compress(request) => handle(Event::Compress(request)),
            Self::Idle(reply) => handle(Event::Idle(reply)),
            Self::Done => handle(Event::Done),
            Self::Unparsed(unparsed) => handle(Event::Unparsed(unparsed.view())),
            Self::Closed => handle(Event::Closed),
        }
    }
}

impl<C: Channel> fmt::Debug for OwnedEvent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command, reply) => f.debug_tuple("Command").field(command).field(reply).finish(),
            Self::Auth(request) => f.debug_tuple("Auth").field(request).finish(),
            Self::StartTls(request) => f.debug_tuple("StartTls").field(request).finish(),
            Self::Append { mailbox, replaced, flags, date, form, size, .. } => f
                .debug_struct("Append")
                .field("mailbox", mailbox)
                .field("replaced", replaced)
                .field("flags", flags)
                .field("date", date)
                .field("form", form)
                .field("size", size)
                .finish_non_exhaustive(),
            Self::AppendNext { flags, date, form, size, .. } => f
                .debug_struct("AppendNext")
                .field("flags", flags)
                .field("date", date)
                .field("form", form)
                .field("size", size)
                .finish_non_exhaustive(),
            Self::AppendPart { part, .. } => {
                f.debug_struct("AppendPart").field("part", part).finish_non_exhaustive()
            }
            Self::AppendChunk(chunk) => f.debug_tuple("AppendChunk").field(&chunk.len()).finish(),
            Self::AppendEnd(reply) => f.debug_tuple("AppendEnd").field(reply).finish(),
            Self::AppendAborted => f.write_str("AppendAborted"),
            Self::Compress(request) => f.debug_tuple("Compress").field(request).finish(),
            Self::Idle(reply) => f.debug_tuple("Idle").field(reply).finish(),
            Self::Done => f.write_str("Done"),
            Self::Unparsed(unparsed) => f.debug_tuple("Unparsed").field(unparsed).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}
