//! The server's public type: what the application calls, on both channels.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Machine, Misuse, OwnedEvents, RecvBuffer, Secure,
    SendBuffer, Wait,
};

use super::core::{Core, State};
use super::event::{Event, OwnedEvent};
use super::question::Reply;
use crate::attributes::Attributes;
use crate::config::Config;
use crate::extension::ExtensionSet;
use crate::response::Response;

/// The server's side of one session, on a channel.
///
/// # How to drive it
///
/// * While [`wants_read`](Self::wants_read) is true, read from the network into `rx`. Then take events from
///   [`next_event`](Self::next_event) until it returns `None`, and write the contents of `tx` to the network. Take events
///   again after the write, before the next read: while too much output waits, the server handles no further command.
/// * Answer every token: with [`reply`](Self::reply), [`answer_auth`](Server::answer_auth),
///   [`accept_starttls`](Server::accept_starttls), [`refuse_starttls`](Server::refuse_starttls) or
///   [`trust_login`](Server::trust_login). The server pauses until then; the answer may come later and from another
///   thread. Replies are sent in the order of the commands, even if the client pipelines them. A
///   dropped token is answered with a temporary failure.
/// * The server replies by itself to EHLO (unless you [reject](Self::refuse_hello) it), NOOP, RSET, HELP without a topic,
///   QUIT, and to every command that is out of order, too long or malformed.
/// * After an error every call returns the same error. Send the last reply in `tx` and close the connection.
/// * The driver has the clock: it starts a timer for [`wait`](Self::wait), calls [`timed_out`](Self::timed_out) when it
///   fires, and `rx.close()` when the client has closed its side.
///
/// ```
/// use proto_mail::{Cleartext, RecvBuffer, SendBuffer};
/// use proto_smtp::server::{Event, Server};
/// use proto_smtp::types::Response;
///
/// let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
/// let mut server = Server::<Cleartext>::new(proto_smtp::Config::mail_exchanger(), &mut tx);
/// print!("{}", String::from_utf8_lossy(&tx.take()));
/// // Instead of a socket: the input of a client, all at once.
/// rx.extend(b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
/// rx.extend(b"Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
/// let mut message = Vec::new();
/// while let Some(event) = server.next_event(&mut rx, &mut tx)? {
///     match event {
///         Event::Mail(_, reply) | Event::Rcpt(_, reply) => server.reply(reply, &Response::ok(), &mut tx)?,
///         Event::Data(reply) => server.reply(reply, &Response::start_data(), &mut tx)?,
///         Event::DataChunk(bytes) => message.extend_from_slice(&bytes),
///         Event::DataEnd(reply) => server.reply(reply, &Response::ok(), &mut tx)?,
///         Event::StartTls(request) => server.refuse_starttls(request, &mut tx)?, // or `server.accept_starttls(request, &mut tx)`
///         Event::Help(_, reply) => server.reply(reply, &Response::help(), &mut tx)?,
///         Event::Vrfy(_, reply) | Event::Expn(_, reply) | Event::Etrn(_, reply) | Event::Burl(_, _, reply)
///         | Event::XClient(_, reply) | Event::XForward(_, reply) => {      // offered only if the settings say so
///             server.reply(reply, &Response::not_implemented(), &mut tx)?;
///         }
///         Event::Reset | Event::Closed => message.clear(),
///         Event::Hello(..) | Event::Refused(..) => {}
///     }                                                         // no arm for Auth: it has no value on cleartext
///     print!("{}", String::from_utf8_lossy(&tx.take()));
/// }
/// assert!(server.is_closed());
/// # Ok::<(), proto_mail::Error>(())
/// ```
#[derive(Debug)]
pub struct Server<C: Channel> {
    pub(super) core: Core,
    pub(super) channel: C,
}

impl Server<Cleartext> {
    /// Begins a session on cleartext. Writes the greeting to `tx`, now or after
    /// [`greeting_delay`](crate::Waits::greeting_delay).
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, tx: &mut SendBuffer) -> Self {
        Self { core: Core::new(config.into()).open(tx), channel: Cleartext }
    }

    /// Begins a session on cleartext that rejects the client in place of the greeting: see
    /// [`reject_connection`](Self::reject_connection).
    #[must_use]
    pub fn refusing(config: impl Into<Arc<Config>>, response: &Response<'_>, tx: &mut SendBuffer) -> Self {
        let mut core = Core::new(config.into());
        core.reject_connection(response, tx);
        Self { core, channel: Cleartext }
    }
}

impl Server<Secure> {
    /// Begins a session under implicit TLS. Writes the greeting to `tx`, now or after
    /// [`greeting_delay`](crate::Waits::greeting_delay).
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure, tx: &mut SendBuffer) -> Self {
        Self { core: Core::secure(config.into(), &secure).open(tx), channel: secure }
    }

    /// Begins a session under implicit TLS that rejects the client in place of the greeting: see
    /// [`reject_connection`](Self::reject_connection).
    #[must_use]
    pub fn refusing(
        config: impl Into<Arc<Config>>,
        secure: Secure,
        response: &Response<'_>,
        tx: &mut SendBuffer,
    ) -> Self {
        let mut core = Core::secure(config.into(), &secure);
        core.reject_connection(response, tx);
        Self { core, channel: secure }
    }

    /// Answers a request to authenticate.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the open one.
    pub fn answer_auth(
        &mut self,
        request: AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer_auth(&request, verdict, tx)
    }

    /// Accepts [`XClient`](Event::XClient) and the user name in its [`Login`](crate::types::Attribute::Login): the session
    /// that begins now [is authenticated](Server::is_authenticated). After [`reply`](Server::reply) it is not.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the token is not the open one; [`WrongState`](Misuse::WrongState)
    /// if it belongs to another command, or to an XCLIENT without a user name. The client gets a temporary failure then.
    pub fn trust_login(&mut self, reply: Reply, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.trust_login(reply, tx)
    }
}

impl<C: Channel> Server<C> {
    /// Returns the next event. `None`: more must be received, sent or answered first.
    ///
    /// # Errors
    /// The session is over; the last reply is in `tx`. Every later call returns the same error.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i, C>>, Error> {
        if let Some(place) = self.core.content(rx) {
            return Ok(Some(Event::DataChunk(Cow::Borrowed(rx.bytes().get(place).unwrap_or_default()))));
        }
        match self.core.next_event(rx, tx)? {
            None => Ok(None),
            // An event that cannot exist on this channel is refused by the core before; were it not, the session
            // would end here and not go on.
            Some(event) => match event.on::<C>() {
                Some(event) => Ok(Some(event)),
                None => Err(self.core.fail(Misuse::WrongState.into(), tx)),
            },
        }
    }

    /// Gives a reply. [`Event::Data`] takes [`Response::start_data`] or any 2yz; in any other reply 3yz becomes 250. 421 ends
    /// the session.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the token is not the open one.
    pub fn reply(&mut self, reply: Reply, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.reply(reply, response, tx)
    }

    /// Replies to the end of a message in LMTP, or where [PRDR](crate::types::Mail::prdr) was requested: one reply for each
    /// accepted recipient, in their order. The server adds the two replies of PRDR before and after them. 421 becomes 451
    /// here, because it would apply to the whole session.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) as above; [`WrongLength`](Misuse::WrongLength) if there are more or fewer
    /// replies than recipients. Each recipient gets a temporary failure then.
    pub fn reply_each(
        &mut self,
        reply: Reply,
        responses: &[Response<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.reply_each(reply, responses, tx)
    }

    /// Rejects the client in place of the greeting, while the greeting is delayed. 421 ends the session. After any other
    /// 4yz or 5yz (554, 521) the client may send QUIT; other commands are answered with 503 (RFC 5321 §3.1). A positive
    /// reply becomes 554.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if the client was greeted already.
    pub fn reject_connection(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.core.state {
            State::GreetingDelay => {
                self.core.reject_connection(response, tx);
                Ok(())
            }
            State::Failed(error) => Err(error.clone()),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Rejects EHLO, HELO or LHLO right after [`Event::Hello`]. The session stays as it was; 421 ends it. A positive reply
    /// becomes 554.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if the reply was written already.
    pub fn refuse_hello(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.refuse_hello(response, tx)
    }

    /// Sets the extensions that are offered from now on in this session, instead of [`Config::extensions`]. The next reply
    /// to EHLO lists them. The setting ends with STARTTLS and with an accepted XCLIENT.
    ///
    /// XCLIENT and XFORWARD are offered only in this way, never by the settings, because they let a client act for
    /// others. Offer them only to proxies whose address you know.
    pub const fn offer(&mut self, extensions: ExtensionSet) {
        self.core.offered = extensions;
    }

    /// Returns the attributes of [`XForward`](Event::XForward) for the open transaction, or for the next one if none is
    /// open.
    #[must_use]
    pub fn forwarded(&self) -> Option<&Attributes<'static>> {
        self.core.forwarded()
    }

    /// Ends the session because the server shuts down: writes `421` with this text to `tx`.
    pub fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        self.core.shutdown(text, tx);
    }

    /// Whether the driver should read from the network. False while an answer is owed or too much output waits.
    #[must_use]
    pub fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    /// Returns what the server waits for, and the longest time.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// Reports that the time of [`wait`](Self::wait) is over.
    ///
    /// # Errors
    /// The session is over; `421` is in `tx`. The end of a delay is no error, unless it ends the session by the limit
    /// of failed authentications.
    pub fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    /// Whether the session has ended in order. Send the contents of `tx` and close the connection.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Whether the client has authenticated.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.core.is_authenticated
    }

    /// Returns the channel.
    #[must_use]
    pub const fn channel(&self) -> &C {
        &self.channel
    }
}

impl<C: Channel> Machine for Server<C> {
    type Event<'i> = Event<'i, C>;

    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i, C>>, Error> {
        Self::next_event(self, rx, tx)
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        Self::wants_read(self, tx)
    }

    fn wait(&self) -> Wait {
        Self::wait(self)
    }

    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        Self::timed_out(self, tx)
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

impl<C: Channel> OwnedEvents for Server<C> {
    type OwnedEvent = OwnedEvent<C>;

    fn into_owned(event: Event<'_, C>) -> OwnedEvent<C> {
        event.into_owned()
    }
}
