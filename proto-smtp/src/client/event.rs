//! What happens in a client's session.

use crate::capabilities::Capabilities;
use crate::response::Response;

/// Something that happened.
///
/// An event borrows the receive buffer and never the client. Text from the server is the word of a stranger; on
/// cleartext it may be the word of anybody.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The server has greeted. The client says EHLO by itself.
    Greeting(Response<'i>),
    /// The server has said what it offers: the session is ready. After a fallback to HELO nothing is offered.
    Capabilities(Capabilities<'i>),
    /// A command was accepted.
    Accepted(Step, Response<'i>),
    /// A command was refused: an outcome and no error.
    Rejected(Step, Response<'i>),
    /// `354`: write the message with [`data_writer`](crate::client::Client::data_writer).
    SendData(Response<'i>),
    /// The server has taken responsibility for the message; in LMTP for this recipient, counted from 0 in the order
    /// of the RCPT commands.
    Delivered(Option<usize>, Response<'i>),
    /// How the authentication ended.
    Auth(AuthOutcome<'i>),
    /// The session is over in order: after QUIT, after 421, or because the server closed between two commands.
    Closed(Option<Response<'i>>),
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The connection itself.
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
    /// DATA, before the message; or the message, by DATA or BDAT, before its last byte was sent. Then nothing more of
    /// it is, and the session [is closed](crate::client::Client::is_closed).
    Data,
    /// A chunk of BDAT, or a BURL, that is not the last.
    Chunk,
    /// The message; in LMTP for this recipient.
    Message(Option<usize>),
    /// What was found of the message for this recipient, counted from 0 since MAIL (PRDR). A yes is none before
    /// [`Delivered`](Event::Delivered) says so for all of those.
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
    /// XCLIENT. Behind it, where it was accepted, everything is as it was before the greeting.
    XClient,
    /// XFORWARD.
    XForward,
    /// QUIT.
    Quit,
}

/// How an authentication ended.
#[derive(Debug)]
pub enum AuthOutcome<'i> {
    /// The server knows who we are.
    Accepted(Response<'i>),
    /// It does not believe it, or cannot tell now.
    Rejected(Response<'i>),
    /// The client gave up: a challenge made no sense.
    Cancelled(Response<'i>),
}

/// An event before it borrows the buffer.
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
    /// Closed without a word.
    Gone,
}

impl Kind {
    /// The event; `response` is the reply that made it happen.
    pub(super) fn event(
        self,
        response: Response<'_>,
        lines: impl FnOnce() -> Capabilities<'static>,
    ) -> Event<'_> {
        match self {
            Self::Greeting => Event::Greeting(response),
            Self::Capabilities => Event::Capabilities(lines()),
            Self::Accepted(step) => Event::Accepted(step, response),
            Self::Rejected(step) => Event::Rejected(step, response),
            Self::SendData => Event::SendData(response),
            Self::Delivered(recipient) => Event::Delivered(recipient, response),
            Self::AuthAccepted => Event::Auth(AuthOutcome::Accepted(response)),
            Self::AuthRejected => Event::Auth(AuthOutcome::Rejected(response)),
            Self::AuthCancelled => Event::Auth(AuthOutcome::Cancelled(response)),
            Self::Closed => Event::Closed(Some(response)),
            Self::Gone => Event::Closed(None),
        }
    }
}
