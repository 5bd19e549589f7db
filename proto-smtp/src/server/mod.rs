//! The server: commands in, replies out.

mod auth;
mod core;
mod event;
mod hello;
mod incoming_message;
mod redaction;
mod reply;
mod starttls;
mod transaction;
mod xclient;

use alloc::sync::Arc;

use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Machine, Misuse, RecvBuffer, Secure, SendBuffer,
    Wait,
};

pub use event::Event;
pub use reply::Reply;
pub use starttls::Upgrade;

use self::core::{Core, State};
use crate::attributes::Attributes;
use crate::config::Config;
use crate::extension::ExtensionSet;
use crate::response::Response;

/// A server's side of one session, on a channel.
///
/// # The contract
///
/// * Read from the network into `rx` while [`wants_read`](Self::wants_read) says so, then take every event that
///   [`next_event`](Self::next_event) has, then write what is in `tx`.
/// * Answer every token: with [`reply`](Self::reply), [`answer_auth`](Server::answer_auth), [`accept`](Server::accept),
///   [`refuse`](Server::refuse) or [`trust_login`](Server::trust_login). Until then the server pauses; the answer may come later and from elsewhere. Replies
///   leave in the order of their commands, however many the client sent at once.
/// * EHLO (unless you [refuse](Self::refuse_hello) it), NOOP, RSET, HELP without a topic, QUIT and everything that is out
///   of order, too long or malformed is answered by the server itself.
/// * After an error every call returns the same error; the farewell is in `tx`. Send it and close.
/// * The driver owns the clock: it arms a timer with [`wait`](Self::wait), says [`timed_out`](Self::timed_out) when it
///   fires, and `rx.close()` when the client sends no more.
///
/// ```
/// use proto_mail::{Cleartext, RecvBuffer, SendBuffer};
/// use proto_smtp::server::{Event, Server};
/// use proto_smtp::types::Response;
///
/// let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
/// let mut server = Server::<Cleartext>::new(proto_smtp::Config::default(), &mut tx);
/// print!("{}", String::from_utf8_lossy(&tx.take()));
/// // In place of a socket: what a client sends, all at once.
/// rx.extend(b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
/// rx.extend(b"Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
/// let mut message = Vec::new();
/// while let Some(event) = server.next_event(&mut rx, &mut tx)? {
///     match event {
///         Event::Mail(_, reply) | Event::Rcpt(_, reply) => server.reply(reply, &Response::ok(), &mut tx)?,
///         Event::Data(reply) => server.reply(reply, &Response::start_data(), &mut tx)?,
///         Event::DataChunk(bytes) => message.extend_from_slice(bytes),
///         Event::DataEnd(reply) => server.reply(reply, &Response::ok(), &mut tx)?,
///         Event::StartTls(request) => server.refuse(request, &mut tx)?, // or `server.accept(request, &mut tx)`
///         Event::Help(_, reply) => server.reply(reply, &Response::help(), &mut tx)?,
///         Event::Vrfy(_, reply) | Event::Expn(_, reply) | Event::Etrn(_, reply) | Event::Burl(_, _, reply)
///         | Event::XClient(_, reply) | Event::XForward(_, reply) => {      // none of them is offered, unless you say so
///             server.reply(reply, &Response::not_implemented(), &mut tx)?;
///         }
///         Event::Reset | Event::Closed => message.clear(),
///         Event::Hello(..) | Event::Refused(..) => {}
///     }                                                         // no arm for Auth: on cleartext it has no value
///     print!("{}", String::from_utf8_lossy(&tx.take()));
/// }
/// assert!(server.is_closed());
/// # Ok::<(), proto_mail::Error>(())
/// ```
#[derive(Debug)]
pub struct Server<C: Channel> {
    core: Core,
    channel: C,
}

impl Server<Cleartext> {
    /// A new session on cleartext. Its greeting goes to `tx`, now or after
    /// [`greeting_delay`](crate::Waits::greeting_delay).
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, tx: &mut SendBuffer) -> Self {
        Self { core: Core::new(config.into(), false).open(tx), channel: Cleartext }
    }

    /// A session on cleartext that is refused from its beginning: see [`reject_connection`](Self::reject_connection).
    #[must_use]
    pub fn refusing(config: impl Into<Arc<Config>>, response: &Response<'_>, tx: &mut SendBuffer) -> Self {
        let mut core = Core::new(config.into(), false);
        core.reject_connection(response, tx);
        Self { core, channel: Cleartext }
    }
}

impl Server<Secure> {
    /// A new session under implicit TLS. Its greeting goes to `tx`, now or after
    /// [`greeting_delay`](crate::Waits::greeting_delay).
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure, tx: &mut SendBuffer) -> Self {
        Self { core: Core::new(config.into(), true).over(&secure).open(tx), channel: secure }
    }

    /// A session under implicit TLS that is refused from its beginning: see [`reject_connection`](Self::reject_connection).
    #[must_use]
    pub fn refusing(
        config: impl Into<Arc<Config>>,
        secure: Secure,
        response: &Response<'_>,
        tx: &mut SendBuffer,
    ) -> Self {
        let mut core = Core::new(config.into(), true);
        core.reject_connection(response, tx);
        Self { core, channel: secure }
    }

    /// Answers a request to authenticate.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the one that is open.
    pub fn answer_auth(
        &mut self,
        request: AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer_auth(&request, verdict, tx)
    }

    /// Accepts [`XClient`](Event::XClient), and believes that the client whom it names has logged in as its
    /// [`Login`](crate::attributes::Attribute::Login) says: the session that begins now
    /// [is authenticated](Server::is_authenticated). With [`reply`](Server::reply) it is not.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the token is not the one that is open; [`WrongState`](Misuse::WrongState)
    /// if it is for another command, or for an XCLIENT that names nobody: then the client was told to try again.
    pub fn trust_login(&mut self, reply: Reply, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.trust_login(reply, tx)
    }
}

impl<C: Channel> Server<C> {
    /// The next thing that happened; `None`: nothing more before more is received, sent or answered.
    ///
    /// # Errors
    /// The session is over; the farewell is in `tx`. Every later call returns the same error.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i, C>>, Error> {
        if let Some(place) = self.core.content(rx) {
            return Ok(Some(Event::DataChunk(rx.bytes().get(place).unwrap_or_default())));
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

    /// Gives an answer. [`Response::start_data`] belongs to [`Event::Data`], and any 2yz will do there as well; 3yz
    /// anywhere else becomes 250. With 421 the session ends.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the token is not the one that is open.
    pub fn reply(&mut self, reply: Reply, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.reply(reply, response, tx)
    }

    /// Answers the end of a message in LMTP, or of one of which [PRDR](crate::mail::Mail::prdr) was asked: one answer
    /// for each recipient that was accepted, in their order. PRDR's own two replies, before these and behind, are said
    /// by the server itself. 421 becomes 451 here: it would speak for the session.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) as above; [`WrongLength`](Misuse::WrongLength) if there are more or fewer
    /// answers than recipients: then each was told to try again.
    pub fn reply_each(
        &mut self,
        reply: Reply,
        responses: &[Response<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.reply_each(reply, responses, tx)
    }

    /// Refuses the client in place of the greeting, while that is held back: with 421 the session ends; with any other
    /// 4yz or 5yz (554, 521) the client may say QUIT, and hears 503 whatever else it says (RFC 5321 §3.1). What says
    /// yes becomes 554.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if the client was greeted already.
    pub fn reject_connection(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.core.state {
            State::Silence => {
                self.core.reject_connection(response, tx);
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Refuses who the client says to be, right after [`Event::Hello`]: nothing changes but what 421 ends. What says
    /// yes becomes 554.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if the client was answered already.
    pub fn refuse_hello(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.refuse_hello(response, tx)
    }

    /// Sets what may be offered from here on in this session, in place of [`Config::extensions`]: the next answer to
    /// EHLO says so, and what is not offered is refused. It is forgotten behind STARTTLS, and behind an XCLIENT that is
    /// accepted.
    ///
    /// XCLIENT and XFORWARD are offered in this way alone, and never by the settings: they let a client say that it is
    /// another one. Offer them to proxies whose address you know.
    pub const fn offer(&mut self, extensions: ExtensionSet) {
        self.core.extensions = extensions;
    }

    /// What [`XForward`](Event::XForward) has said of the transaction that is open, or of the next if none is.
    #[must_use]
    pub fn forwarded(&self) -> Option<&Attributes<'static>> {
        self.core.forwarded()
    }

    /// Ends the session because the server goes down: `421` goes to `tx`.
    pub fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        self.core.shutdown(text, tx);
    }

    /// Whether more input could help now. False while an answer is owed or too much output waits.
    #[must_use]
    pub fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    /// What is awaited, and how long at most.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// What [`wait`](Self::wait) named did not come in time, or the delay is over.
    ///
    /// # Errors
    /// The session is over; `421` is in `tx`. The end of a delay is no error, unless it ends the session by the limit
    /// of failed authentications.
    pub fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    /// Whether the session has ended in order: send what is in `tx` and close.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Whether the client has authenticated.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.core.authenticated
    }

    /// The channel.
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
