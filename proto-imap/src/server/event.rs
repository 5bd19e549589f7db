//! The events of a server, and the tokens that answer them.
//!
//! Events borrow from the receive buffer. Tokens are owned, and may be answered later and from another thread. An
//! open token pauses the session. If it is dropped, the server answers with a temporary failure (see
//! [`proto_mail::token`]).

use core::fmt;

use proto_mail::token::Token;
use proto_mail::{AuthRequest, Channel, StartTlsRequest};

use crate::parse::UnparsedCommand;
use crate::types::{AppendForm, CatenatePart, Command, DateTime, FlagList, MailboxName, ReplacedMessage};

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
    /// The client wants to append a message to a mailbox (APPEND, REPLACE). Answer with
    /// [`Server::accept_literal`](super::Server::accept_literal) or
    /// [`Server::reject_literal`](super::Server::reject_literal). The chunks of the message follow, or its parts if it
    /// consists of parts; then [`AppendNext`](Self::AppendNext) or [`AppendEnd`](Self::AppendEnd).
    Append {
        /// The mailbox.
        mailbox: MailboxName<'i>,
        /// The message of the selected mailbox that the new one replaces (REPLACE, RFC 8508). Remove it only when the
        /// whole command succeeds. `None` for APPEND.
        replaced: Option<ReplacedMessage>,
        /// The message's flags.
        flags: FlagList<'i>,
        /// The message's internal date; `None` means now.
        date: Option<DateTime>,
        /// How the message is sent. The server checks that the configuration offers the form.
        form: AppendForm,
        /// The message's size in bytes; 0 for [`AppendForm::Catenate`].
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// The message is complete, and the client wants to append another one to the same mailbox (MULTIAPPEND, RFC 3502).
    /// Answer as [`Append`](Self::Append). Only [`AppendEnd`](Self::AppendEnd) makes the messages permanent, all of them
    /// or none.
    AppendNext {
        /// The message's flags.
        flags: FlagList<'i>,
        /// The message's internal date; `None` means now.
        date: Option<DateTime>,
        /// How the message is sent.
        form: AppendForm,
        /// The message's size in bytes; 0 for [`AppendForm::Catenate`].
        size: u64,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// The next part of a message that consists of parts (CATENATE, RFC 4469). Answer as [`Append`](Self::Append). The
    /// chunks of a literal follow; a URL is complete. Reject a URL that cannot be resolved with
    /// [`ResponseCode::BadUrl`](crate::types::ResponseCode::BadUrl). The server limits the sum of the literals to
    /// [`Limits::message`](proto_mail::Limits::message); the application counts the contents of URLs as well.
    AppendPart {
        /// The part.
        part: CatenatePart<'i>,
        /// The token that answers.
        offer: LiteralOffer,
    },
    /// The next bytes of the message or of its part.
    AppendChunk(&'i [u8]),
    /// All messages are complete. Answer with [`Server::reply`](super::Server::reply).
    AppendEnd(Reply),
    /// The server has rejected an APPEND or REPLACE: invalid bytes follow a message, a form is not offered, a limit is
    /// exceeded, or the client has cancelled the command. Discard all of its messages.
    AppendAborted,
    /// The client asks to compress the session (COMPRESS, RFC 4978). Answer with
    /// [`Server::accept_compression`](super::Server::accept_compression) or
    /// [`Server::refuse_compression`](super::Server::refuse_compression). It needs a login, so it never arrives in
    /// cleartext.
    Compress(CompressRequest),
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

/// An event on either channel; [`Server`](super::Server) turns it into an [`Event`].
pub(super) enum CoreEvent<'i> {
    Command(Command<'i>, Reply),
    Auth(AuthRequest),
    StartTls(StartTlsRequest),
    Append {
        mailbox: MailboxName<'i>,
        replaced: Option<ReplacedMessage>,
        flags: FlagList<'i>,
        date: Option<DateTime>,
        form: AppendForm,
        size: u64,
        offer: LiteralOffer,
    },
    AppendNext {
        flags: FlagList<'i>,
        date: Option<DateTime>,
        form: AppendForm,
        size: u64,
        offer: LiteralOffer,
    },
    AppendPart {
        part: CatenatePart<'i>,
        offer: LiteralOffer,
    },
    AppendChunk(&'i [u8]),
    AppendEnd(Reply),
    AppendAborted,
    Compress(CompressRequest),
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
            Self::Append { mailbox, replaced, flags, date, form, size, offer } => {
                Event::Append { mailbox, replaced, flags, date, form, size, offer }
            }
            Self::AppendNext { flags, date, form, size, offer } => {
                Event::AppendNext { flags, date, form, size, offer }
            }
            Self::AppendPart { part, offer } => Event::AppendPart { part, offer },
            Self::AppendChunk(chunk) => Event::AppendChunk(chunk),
            Self::AppendEnd(reply) => Event::AppendEnd(reply),
            Self::AppendAborted => Event::AppendAborted,
            Self::Compress(request) => Event::Compress(request),
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

/// The token that accepts or refuses compression. If it is dropped, the server refuses.
#[derive(Debug)]
#[must_use = "the client waits: accept or refuse"]
pub struct CompressRequest {
    pub(super) token: Token,
}
