//! What happens in a server's session.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use proto_mail::{AuthRequest, Channel, Secret, StartTlsRequest};

use crate::attributes::Attributes;
use crate::chunking::ChunkEnd;
use crate::command::Verb;
use crate::etrn::EtrnNode;
use crate::hello::ClientName;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::response::Response;
use crate::server::Reply;

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
    /// The message is complete. Answer with 250 once it is safe, or refuse; in LMTP for each recipient, and
    /// where the client asked for it ([`Mail::prdr`](crate::mail::Mail::prdr)) so if you like.
    DataEnd(Reply),
    /// The client asks whether an address is good.
    Vrfy(Cow<'i, str>, Reply),
    /// The client asks who is on a list.
    Expn(Cow<'i, str>, Reply),
    /// The client asks about a command or another topic: HELP with an argument. Answer with 214, or refuse with 504.
    Help(Cow<'i, str>, Reply),
    /// ETRN (RFC 1985): what waits for this node is to be sent, over a connection that the server makes. Answer with
    /// 250 to 253, or refuse with 458 or 459. It is for you to know whose mail this client may ask for.
    Etrn(EtrnNode<'i>, Reply),
    /// BURL (RFC 4468): a part of the message is what this URL stands for, and the whole ends with it if it is the
    /// [`Last`](ChunkEnd::Last). It comes in place of a chunk, so that the first part may be one and no
    /// [`Data`](Self::Data) came. The client has authenticated. Fetch it, keep to your limit of size, and answer as
    /// [`DataEnd`](Self::DataEnd) is answered, or refuse: 554 5.6.6 if it cannot be resolved, 554 5.7.14 if its server
    /// is none that you trust. A refusal ends the transaction, as for a chunk. URLs that lead to anywhere else than
    /// IMAP servers that you know are a way into your network: refuse them.
    Burl(Secret<String>, ChunkEnd, Reply),
    /// XCLIENT: a proxy says whom it speaks for. Whatever says yes begins the session anew: it is answered with the
    /// greeting, and everything is forgotten, what you have [offered](crate::server::Server::offer) too. The new
    /// session is not authenticated, whoever is said to have logged in, unless you answer with
    /// [`trust_login`](crate::server::Server::trust_login).
    XClient(Attributes<'i>, Reply),
    /// XFORWARD: a proxy says where the next message came from. Once you say yes, it stands in
    /// [`forwarded`](crate::server::Server::forwarded) up to the end of the transaction.
    XForward(Attributes<'i>, Reply),
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
    Vrfy(Cow<'i, str>, Reply),
    Expn(Cow<'i, str>, Reply),
    Help(Cow<'i, str>, Reply),
    Etrn(EtrnNode<'i>, Reply),
    Burl(Secret<String>, ChunkEnd, Reply),
    XClient(Attributes<'i>, Reply),
    XForward(Attributes<'i>, Reply),
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
            Self::DataChunk(bytes) => Event::DataChunk(bytes),
            Self::DataEnd(reply) => Event::DataEnd(reply),
            Self::Vrfy(text, reply) => Event::Vrfy(text, reply),
            Self::Expn(text, reply) => Event::Expn(text, reply),
            Self::Help(text, reply) => Event::Help(text, reply),
            Self::Etrn(node, reply) => Event::Etrn(node, reply),
            Self::Burl(url, end, reply) => Event::Burl(url, end, reply),
            Self::XClient(said, reply) => Event::XClient(said, reply),
            Self::XForward(said, reply) => Event::XForward(said, reply),
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
