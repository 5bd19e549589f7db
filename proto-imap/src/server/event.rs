//! The events of a server, and the tokens that answer them.
//!
//! Events borrow from the receive buffer. Tokens are owned, and may be answered later and from another thread. An
//! open token pauses the session. If it is dropped, the server answers with a temporary failure (see
//! [`proto_mail::token`]).

use core::fmt;

use proto_mail::token::Token;
use proto_mail::{AuthRequest, Channel, StartTlsRequest};

use crate::parse::UnparsedCommand;
use crate::types::{Command, DateTime, FlagList, MailboxName};

/// An event of the session.
pub enum Event<'i, C: Channel> {
    /// A command for the application. Send its data, then answer with [`Server::reply`](super::Server::reply).
    Command(Command<'i>, Reply),
    /// The client wants to log in. Answer with [`Server::answer_auth`](super::Server::answer_auth). In cleartext this
    /// variant has no values.
    Auth(C::Auth<AuthRequest>),
    /// The client asks to start TLS. Answer with [`Server::accept_starttls`](super::Server::accept_starttls) or
    /// [`Server::refuse_starttls`](super::Server::refuse_starttls). Under TLS this variant has no values.
    StartTls(C::StartTls<StartTlsRequest>),
    /// The client wants to append a message to a mailbox. Answer with
    /// [`Server::accept_literal`](super::Server::accept_literal) or
    /// [`Server::reject_literal`](super::Server::reject_literal).
    Append {
        /// The mailbox.
        mailbox: MailboxName<'i>,
        /// The message's flags.
        flags: FlagList<'i>,
        /// The message's internal date; `None` means now.
        date: Option<DateTime>,
        /// The message's size in bytes.
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// The next bytes of the message.
    AppendChunk(&'i [u8]),
    /// The message is complete. Answer with [`Server::reply`](super::Server::reply).
    AppendEnd(Reply),
    /// The bytes after the message were invalid, and the command was rejected. Discard the message.
    AppendAborted,
    /// The client has started IDLE. Report changes as data. Answer the token after [`Done`](Self::Done).
    Idle(Reply),
    /// The client has ended IDLE. Answer the token of [`Idle`](Self::Idle).
    Done,
    /// A command that does not follow the grammar. The server has already answered BAD; the event is for a log.
    Unparsed(UnparsedCommand<'i>),
    /// The session has ended normally. Send the contents of `tx` and close the connection.
    Closed,
}

impl<C: Channel> fmt::Debug for Event<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command, reply) => f.debug_tuple("Command").field(command).field(reply).finish(),
            Self::Auth(request) => f.debug_tuple("Auth").field(request).finish(),
            Self::StartTls(request) => f.debug_tuple("StartTls").field(request).finish(),
            Self::Append { mailbox, flags, date, size, .. } => f
                .debug_struct("Append")
                .field("mailbox", mailbox)
                .field("flags", flags)
                .field("date", date)
                .field("size", size)
                .finish_non_exhaustive(),
            Self::AppendChunk(chunk) => f.debug_tuple("AppendChunk").field(&chunk.len()).finish(),
            Self::AppendEnd(reply) => f.debug_tuple("AppendEnd").field(reply).finish(),
            Self::AppendAborted => f.write_str("AppendAborted"),
            Self::Idle(reply) => f.debug_tuple("Idle").field(reply).finish(),
            Self::Done => f.write_str("Done"),
            Self::Unparsed(unparsed) => f.debug_tuple("Unparsed").field(unparsed).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

/// An event on either channel; [`Server`](super::Server) turns it into an [`Event`].
pub(super) enum CoreEvent<'i> {
    Command(Command<'i>, Reply),
    Auth(AuthRequest),
    StartTls(StartTlsRequest),
    Append {
        mailbox: MailboxName<'i>,
        flags: FlagList<'i>,
        date: Option<DateTime>,
        size: u64,
        offer: LiteralOffer,
    },
    AppendChunk(&'i [u8]),
    AppendEnd(Reply),
    AppendAborted,
    Idle(Reply),
    Done,
    Unparsed(UnparsedCommand<'i>),
    Closed,
}

impl<'i> CoreEvent<'i> {
    /// Returns the event on this channel; `None` if the channel does not allow it.
    pub(super) fn on<C: Channel>(self) -> Option<Event<'i, C>> {
        Some(match self {
            Self::Auth(request) => return C::auth(request).map(Event::Auth),
            Self::StartTls(request) => return C::starttls(request).map(Event::StartTls),
            Self::Command(command, reply) => Event::Command(command, reply),
            Self::Append { mailbox, flags, date, size, offer } => {
                Event::Append { mailbox, flags, date, size, offer }
            }
            Self::AppendChunk(chunk) => Event::AppendChunk(chunk),
            Self::AppendEnd(reply) => Event::AppendEnd(reply),
            Self::AppendAborted => Event::AppendAborted,
            Self::Idle(reply) => Event::Idle(reply),
            Self::Done => Event::Done,
            Self::Unparsed(unparsed) => Event::Unparsed(unparsed),
            Self::Closed => Event::Closed,
        })
    }
}

/// The token that answers a command.
#[derive(Debug)]
#[must_use = "the client waits: reply"]
pub struct Reply {
    pub(super) token: Token,
}

/// The token that accepts or rejects an offered message.
#[derive(Debug)]
#[must_use = "the client waits: accept or reject"]
pub struct LiteralOffer {
    pub(super) token: Token,
}
