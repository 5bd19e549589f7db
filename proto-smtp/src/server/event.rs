//! What happens in a server's session.

use core::fmt;

use proto_core::{AuthRequest, Channel, StartTlsRequest};

use crate::server::Reply;
use crate::types::{ClientName, Mail, Rcpt, Response, Verb};

/// Something that happened, and for most of it a token that wants an answer.
///
/// An event borrows the receive buffer and never the server. A [`Reply`], a request to authenticate and a request to
/// begin TLS must be answered: until then the server pauses and yields nothing. On cleartext the `Auth` arm has no
/// value, under TLS the `StartTls` arm has none; a `match` on a concrete channel may leave them out.
#[derive(Debug)]
pub enum Event<'i, C: Channel> {
    /// The client has said who it is. It is answered when the next event is asked for, with what is offered then
    /// ([`offer`](crate::server::Server::offer)), unless you [refuse](crate::server::Server::refuse_hello) it. An open
    /// transaction ends with the answer: [`Reset`](Self::Reset) follows.
    Hello(Verb, ClientName<'i>),
    /// The client wants to authenticate: give a verdict.
    Auth(C::Auth<AuthRequest>),
    /// The client wants TLS: accept or refuse.
    StartTls(C::StartTls<StartTlsRequest>),
    /// A transaction begins. Answer with 250, or refuse.
    Mail(Mail<'i>, Reply),
    /// A recipient. Answer with 250 or 251, or refuse this one.
    Rcpt(Rcpt<'i>, Reply),
    /// The message is about to come, by DATA or BDAT. Answer with 354 (or 250), or refuse.
    Data(Reply),
    /// A part of the message, with the stuffing taken off.
    DataChunk(&'i [u8]),
    /// The message is complete. Answer with 250 once it is safe, or refuse; in LMTP for each recipient.
    DataEnd(Reply),
    /// The client asks whether an address is good.
    Vrfy(&'i str, Reply),
    /// The client asks who is on a list.
    Expn(&'i str, Reply),
    /// The transaction is over and nothing is to be delivered: forget what has come of it.
    Reset,
    /// The server has refused a command by itself; for your records.
    Refused(Verb, Response<'static>),
    /// The session is over in order: forget an open transaction, send what waits, close.
    Closed,
}

/// The same without a channel: what the core yields.
pub(crate) enum CoreEvent<'i> {
    Hello(Verb, ClientName<'i>),
    Auth(AuthRequest),
    StartTls(StartTlsRequest),
    Mail(Mail<'i>, Reply),
    Rcpt(Rcpt<'i>, Reply),
    Data(Reply),
    DataChunk(&'i [u8]),
    DataEnd(Reply),
    Vrfy(&'i str, Reply),
    Expn(&'i str, Reply),
    Reset,
    Refused(Verb, Response<'static>),
    Closed,
}

impl<'i> CoreEvent<'i> {
    /// The event on this channel; `None` if it cannot exist there, which the core makes sure of before.
    #[inline]
    pub(crate) fn on<C: Channel>(self) -> Option<Event<'i, C>> {
        Some(match self {
            Self::Hello(verb, name) => Event::Hello(verb, name),
            Self::Auth(request) => Event::Auth(C::auth(request)?),
            Self::StartTls(request) => Event::StartTls(C::starttls(request)?),
            Self::Mail(mail, reply) => Event::Mail(mail, reply),
            Self::Rcpt(rcpt, reply) => Event::Rcpt(rcpt, reply),
            Self::Data(reply) => Event::Data(reply),
            Self::DataChunk(octets) => Event::DataChunk(octets),
            Self::DataEnd(reply) => Event::DataEnd(reply),
            Self::Vrfy(text, reply) => Event::Vrfy(text, reply),
            Self::Expn(text, reply) => Event::Expn(text, reply),
            Self::Reset => Event::Reset,
            Self::Refused(verb, response) => Event::Refused(verb, response),
            Self::Closed => Event::Closed,
        })
    }
}

impl fmt::Debug for CoreEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreEvent")
    }
}
