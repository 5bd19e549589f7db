//! The events of a client's session.

use crate::capabilities::Capabilities;
use crate::response::Response;

/// An event of a client's session.
///
/// An event borrows the receive buffer, never the client. Text of the server is untrusted; on cleartext an attacker may
/// have changed it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The greeting. The client sends EHLO by itself.
    Greeting(Response<'i>),
    /// The capabilities of the server, its reply to EHLO: commands may be given. After a fallback to HELO they are empty.
    Capabilities(Capabilities<'i>),
    /// The server has accepted a command.
    Accepted(Step, Response<'i>),
    /// The server has rejected a command. This is an outcome, not an error.
    Rejected(Step, Response<'i>),
    /// `354`: write the message with [`data_writer`](crate::client::Client::data_writer).
    SendData(Response<'i>),
    /// The server has accepted the message, in LMTP for this recipient, counted from 0 in the order of the RCPT commands.
    Delivered(Option<usize>, Response<'i>),
    /// The authentication has ended.
    Auth(AuthOutcome<'i>),
    /// The session ended in order: after QUIT, after 421, or because the server closed the connection between two commands.
    Closed(Option<Response<'i>>),
}

// Events are moved often: keep them small.
const _: () = assert!(size_of::<Event<'_>>() <= 128);

impl Event<'_> {
    /// Converts to an owned event, which a channel or another thread can take.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Greeting(response) => Event::Greeting(response.into_owned()),
            Self::Capabilities(capabilities) => Event::Capabilities(capabilities.into_owned()),
            Self::Accepted(step, response) => Event::Accepted(step, response.into_owned()),
            Self::Rejected(step, response) => Event::Rejected(step, response.into_owned()),
            Self::SendData(response) => Event::SendData(response.into_owned()),
            Self::Delivered(recipient, response) => Event::Delivered(recipient, response.into_owned()),
            Self::Auth(outcome) => Event::Auth(outcome.into_owned()),
            Self::Closed(response) => Event::Closed(response.map(Response::into_owned)),
        }
    }
}

impl AuthOutcome<'_> {
    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> AuthOutcome<'static> {
        match self {
            Self::Accepted(response) => AuthOutcome::Accepted(response.into_owned()),
            Self::Rejected(response) => AuthOutcome::Rejected(response.into_owned()),
            Self::Cancelled(response) => AuthOutcome::Cancelled(response.into_owned()),
        }
    }
}

/// An event that borrows nothing: a channel, another thread or an async stream can carry it. Returned by
/// [`Event::into_owned`] and [`proto_mail::Driver::next_owned`].
pub type OwnedEvent = Event<'static>;

/// The command, or other step of the session, that a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The connection: its reply is the greeting.
    Greeting,
    /// EHLO, LHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT, counted from 0 since MAIL.
    Rcpt(usize),
    /// DATA, before the message; or a message by DATA or BDAT that is rejected before its last byte was sent. The rest of
    /// it is not sent then, and the session [is closed](crate::client::Client::is_closed).
    Data,
    /// A chunk of BDAT, or a part of BURL, that is not the last.
    Chunk,
    /// The message, in LMTP for this recipient.
    Message(Option<usize>),
    /// The result for one recipient, counted from 0 since MAIL (PRDR). An acceptance is final only once
    /// [`Delivered`](Event::Delivered) follows.
    Verdict(usize),
    /// RSET.
    Reset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// ETRN.
    Etrn,
    /// XCLIENT. Once it is accepted, the session restarts.
    XClient,
    /// XFORWARD.
    XForward,
    /// QUIT.
    Quit,
}

/// The outcome of an authentication.
#[derive(Debug)]
pub enum AuthOutcome<'i> {
    /// The server has accepted it.
    Accepted(Response<'i>),
    /// The server has rejected it, or cannot check it now.
    Rejected(Response<'i>),
    /// The client has cancelled it, because a challenge was not valid.
    Cancelled(Response<'i>),
}

/// An event that does not borrow the buffer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Greeting,
    Capabilities,
    Accepted(Step),
    Rejected(Step),
    SendData,
    Delivered(Option<usize>),
    AuthAccepted,
    AuthRejected,
    AuthCancelled,
    Closed,
    /// Closed without a reply.
    ClosedWithoutReply,
}

impl Kind {
    /// Returns the event. `response` is the reply that caused it.
    pub(super) fn event(
        self,
        response: Response<'_>,
        capabilities: impl FnOnce() -> Capabilities<'static>,
    ) -> Event<'_> {
        match self {
            Self::Greeting => Event::Greeting(response),
            Self::Capabilities => Event::Capabilities(capabilities()),
            Self::Accepted(step) => Event::Accepted(step, response),
            Self::Rejected(step) => Event::Rejected(step, response),
            Self::SendData => Event::SendData(response),
            Self::Delivered(recipient) => Event::Delivered(recipient, response),
            Self::AuthAccepted => Event::Auth(AuthOutcome::Accepted(response)),
            Self::AuthRejected => Event::Auth(AuthOutcome::Rejected(response)),
            Self::AuthCancelled => Event::Auth(AuthOutcome::Cancelled(response)),
            Self::Closed => Event::Closed(Some(response)),
            Self::ClosedWithoutReply => Event::Closed(None),
        }
    }
}
