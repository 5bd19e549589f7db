//! What can happen to a server, and the tokens with which it is answered.
//!
//! Events borrow the receive buffer; tokens are owned and may be answered later, from another thread's result. An
//! open token pauses the session. If it is dropped, the server answers with a temporary failure (see
//! [`proto_mail::token`]).

use core::fmt;

use proto_mail::token::Token;
use proto_mail::{AuthRequest, Channel, StartTlsRequest};

use crate::parse::UnparsedCommand;
use crate::types::{Command, DateTime, FlagList, MailboxName};

/// The next thing that happened.
pub enum Event<'i, C: Channel> {
    /// A command that the application carries out. Answer with data, then [`Server::reply`](super::Server::reply).
    Command(Command<'i>, Reply),
    /// The client wants to log in. Answer with [`Server::answer_auth`](super::Server::answer_auth). On cleartext there is no
    /// value of this.
    Auth(C::Auth<AuthRequest>),
    /// The client asks to begin TLS. Answer with [`Server::accept`](super::Server::accept) or
    /// [`Server::refuse`](super::Server::refuse). Under TLS there is no value of this.
    StartTls(C::StartTls<StartTlsRequest>),
    /// A message is to be added to a mailbox. Answer with [`Server::accept_literal`](super::Server::accept_literal) or
    /// [`Server::reject_literal`](super::Server::reject_literal).
    Append {
        /// Where to.
        mailbox: MailboxName<'i>,
        /// With these flags.
        flags: FlagList<'i>,
        /// With this internal date; `None`: now.
        date: Option<DateTime>,
        /// Its size in bytes.
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// The next bytes of the message.
    AppendChunk(&'i [u8]),
    /// The message is complete. Answer with [`Server::reply`](super::Server::reply).
    AppendEnd(Reply),
    /// What was behind the message made no sense: the command was refused. Forget the message.
    AppendAborted,
    /// The client idles: tell what changes. The token is answered after [`Done`](Self::Done).
    Idle(Reply),
    /// The client ends idling: answer the token of [`Idle`](Self::Idle).
    Done,
    /// A command that could not be read: it was refused with BAD. For a log; nothing is to be done.
    Unparsed(UnparsedCommand<'i>),
    /// The session has ended in order: send what is in `tx` and close.
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

/// What happened, whatever the channel: the shell turns it into an [`Event`].
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
    /// The event on this channel; `None` for what cannot exist there.
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

/// The right and the duty to answer one command.
#[derive(Debug)]
#[must_use = "the client waits: reply"]
pub struct Reply {
    pub(super) token: Token,
}

/// The right and the duty to say whether a message may be sent.
#[derive(Debug)]
#[must_use = "the client waits: accept or reject"]
pub struct LiteralOffer {
    pub(super) token: Token,
}
