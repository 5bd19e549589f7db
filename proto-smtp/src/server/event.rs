//! The events of a server's session.

use alloc::borrow::Cow;
use alloc::string::String;

use proto_mail::{AuthRequest, Channel, Cleartext, Secret, Secure, StartTlsRequest};

use super::question::Reply;
use crate::attributes::Attributes;
use crate::chunking::ChunkEnd;
use crate::command::Verb;
use crate::etrn::EtrnNode;
use crate::hello::ClientName;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::response::Response;

/// An event of a server's session. Many carry a token that must be answered, as their last field.
///
/// An event borrows the receive buffer, never the server. The server pauses until a [`Reply`], an [`AuthRequest`] or a
/// [`StartTlsRequest`] is answered. On cleartext `Auth` has no value, under TLS `StartTls` has none; a `match` on a
/// concrete channel may leave them out.
#[derive(Debug)]
pub enum Event<'i, C: Channel> {
    /// The client has sent EHLO, HELO or LHLO. The reply is written when the next event is requested, with the extensions
    /// that are [offered](crate::server::Server::offer) then, unless you
    /// [reject](crate::server::Server::refuse_hello) it. It ends an open transaction: [`Reset`](Self::Reset) follows.
    Hello(Verb, ClientName<'i>),
    /// The client wants to authenticate. Answer with [`answer_auth`](crate::server::Server::answer_auth).
    Auth(C::Auth<AuthRequest>),
    /// The client wants to start TLS. Accept or refuse it.
    StartTls(C::StartTls<StartTlsRequest>),
    /// The client begins a transaction. Reply with 250, or reject it.
    Mail(Mail<'i>, Reply),
    /// The client names a recipient. Reply with 250 or 251, or reject it.
    Rcpt(Rcpt<'i>, Reply),
    /// The client wants to send the message, by DATA or BDAT. Reply with 354 (or 250), or reject it.
    Data(Reply),
    /// A part of the message, without the dots that the client has added.
    DataChunk(Cow<'i, [u8]>),
    /// The message is complete. Reply with 250 once it is stored safely, or reject it. In LMTP, and where the client has
    /// requested it ([`Mail::prdr`](crate::types::Mail::prdr)), you may reply
    /// [for each recipient](crate::server::Server::reply_each).
    DataEnd(Reply),
    /// VRFY: the client asks whether an address is valid.
    Vrfy(Cow<'i, str>, Reply),
    /// EXPN: the client asks for the members of a list.
    Expn(Cow<'i, str>, Reply),
    /// HELP with a topic. Reply with 214, or reject it with 504.
    Help(Cow<'i, str>, Reply),
    /// ETRN (RFC 1985): the client asks the server to deliver the mail that waits for the node. Reply with 250 to 253, or
    /// reject it with 458 or 459. The application decides whose mail a client may ask for.
    Etrn(EtrnNode<'i>, Reply),
    /// BURL (RFC 4468): the server is to fetch a part of the message from this URL. With [`ChunkEnd::Last`] the message
    /// ends with it. It replaces a chunk; if it is the first part, there was no [`Data`](Self::Data). The client has
    /// authenticated. Fetch the part, enforce your size limit, and reply as to [`DataEnd`](Self::DataEnd), or reject it:
    /// 554 5.6.6 if the URL cannot be resolved, 554 5.7.14 if you do not trust its server. A rejection ends the
    /// transaction. Fetch only from IMAP servers that you know: other URLs give clients access to your network.
    Burl(Secret<String>, ChunkEnd, Reply),
    /// XCLIENT: a proxy names the client that it acts for. A positive reply restarts the session: the server greets again
    /// and forgets everything, including what you have [offered](crate::server::Server::offer). The new session is not
    /// authenticated, unless you accept with [`trust_login`](crate::server::Server::trust_login).
    XClient(Attributes<'i>, Reply),
    /// XFORWARD: a proxy names the origin of the next message. After a positive reply,
    /// [`forwarded`](crate::server::Server::forwarded) returns it until the end of the transaction.
    XForward(Attributes<'i>, Reply),
    /// The transaction is over without a message: discard its data.
    Reset,
    /// The server has rejected a command by itself; for your log.
    Refused(Verb, Response<'static>),
    /// The session ended in order: discard an open transaction, send the output and close the connection.
    Closed,
}

// Events are moved often: keep them small.
const _: () = assert!(size_of::<Event<'_, Secure>>() <= 128 && size_of::<Event<'_, Cleartext>>() <= 128);

impl<C: Channel> Event<'_, C> {
    /// Converts to an owned event, which a channel or another thread can take.
    #[must_use]
    pub fn into_owned(self) -> Event<'static, C> {
        match self {
            Self::Hello(verb, name) => Event::Hello(verb, name.into_owned()),
            Self::Auth(request) => Event::Auth(request),
            Self::StartTls(request) => Event::StartTls(request),
            Self::Mail(mail, reply) => Event::Mail(mail.into_owned(), reply),
            Self::Rcpt(rcpt, reply) => Event::Rcpt(rcpt.into_owned(), reply),
            Self::Data(reply) => Event::Data(reply),
            Self::DataChunk(bytes) => Event::DataChunk(Cow::Owned(bytes.into_owned())),
            Self::DataEnd(reply) => Event::DataEnd(reply),
            Self::Vrfy(text, reply) => Event::Vrfy(Cow::Owned(text.into_owned()), reply),
            Self::Expn(text, reply) => Event::Expn(Cow::Owned(text.into_owned()), reply),
            Self::Help(text, reply) => Event::Help(Cow::Owned(text.into_owned()), reply),
            Self::Etrn(node, reply) => Event::Etrn(node.into_owned(), reply),
            Self::Burl(url, end, reply) => Event::Burl(url, end, reply),
            Self::XClient(attributes, reply) => Event::XClient(attributes.into_owned(), reply),
            Self::XForward(attributes, reply) => Event::XForward(attributes.into_owned(), reply),
            Self::Reset => Event::Reset,
            Self::Refused(verb, response) => Event::Refused(verb, response),
            Self::Closed => Event::Closed,
        }
    }
}

/// An event that borrows nothing: a channel, another thread or an async stream can carry it. Returned by
/// [`Event::into_owned`] and [`proto_mail::Driver::next_owned`].
///
/// It holds the event's token. If it is dropped, the server answers with a temporary failure (see
/// [`proto_mail::token`]).
pub type OwnedEvent<C> = Event<'static, C>;

/// An event without a channel type, as the core yields it.
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
    /// Returns the event for a channel. `None` if it cannot exist there; the core prevents that.
    #[inline]
    pub(crate) fn on<C: Channel>(self) -> Option<Event<'i, C>> {
        Some(match self {
            Self::Hello(verb, name) => Event::Hello(verb, name),
            Self::Auth(request) => Event::Auth(C::auth(request)?),
            Self::StartTls(request) => Event::StartTls(C::starttls(request)?),
            Self::Mail(mail, reply) => Event::Mail(mail, reply),
            Self::Rcpt(rcpt, reply) => Event::Rcpt(rcpt, reply),
            Self::Data(reply) => Event::Data(reply),
            Self::DataChunk(bytes) => Event::DataChunk(Cow::Borrowed(bytes)),
            Self::DataEnd(reply) => Event::DataEnd(reply),
            Self::Vrfy(text, reply) => Event::Vrfy(text, reply),
            Self::Expn(text, reply) => Event::Expn(text, reply),
            Self::Help(text, reply) => Event::Help(text, reply),
            Self::Etrn(node, reply) => Event::Etrn(node, reply),
            Self::Burl(url, end, reply) => Event::Burl(url, end, reply),
            Self::XClient(attributes, reply) => Event::XClient(attributes, reply),
            Self::XForward(attributes, reply) => Event::XForward(attributes, reply),
            Self::Reset => Event::Reset,
            Self::Refused(verb, response) => Event::Refused(verb, response),
            Self::Closed => Event::Closed,
        })
    }
}
