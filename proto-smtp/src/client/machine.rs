//! The client's public type: what the application calls, on both channels.

use alloc::sync::Arc;

use proto_mail::sasl::SaslContext;
use proto_mail::{
    Channel, Cleartext, Error, Machine, Misuse, OwnedEvents, RecvBuffer, Secret, Secure, SendBuffer, Wait,
};

use super::core::{Core, State};
use super::data_writer::DataWriter;
use super::event::{Event, OwnedEvent, Step};
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::config::{Config, Pipelining};
use crate::extension::{Extension, ExtensionSet};
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::reply_framer::Repairs;
use crate::response::Response;

/// The client's side of one session, on a channel.
///
/// # How to drive it
///
/// * Read from the network into `rx`. Then take events from [`next_event`](Self::next_event) until it returns `None`, and
///   write the contents of `tx` to the network, even if there was no event.
/// * After the greeting the client sends EHLO by itself. [`Event::Capabilities`] means that commands may be given. On
///   cleartext only [`starttls`](Client::starttls) is useful, unless
///   [`danger_cleartext`](Config::danger_cleartext) is set.
/// * Each command leads to exactly one [`Event::Accepted`] or [`Event::Rejected`], in order. A rejection is an outcome, not
///   an error. [`Transaction`](super::Transaction) does everything for one message.
/// * A reply to a command whose last byte was not sent yet is an error. Report sent bytes with [`SendBuffer::sent`].
/// * After an error every call returns the same error. Close the connection, and never retry with less security.
///
/// ```
/// use proto_mail::{RecvBuffer, Secure, SendBuffer};
/// use proto_smtp::client::{Client, Event, Outcome, Progress, Transaction};
/// use proto_smtp::types::{Address, Mail, Rcpt};
///
/// let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
/// let mut client = Client::<Secure>::new(proto_smtp::Config::default(), Secure::trusted_local());
/// let mut transaction = Transaction::new(Mail::new(Address::parse("a@example.com")?))
///     .recipient(Rcpt::new(Address::parse("b@example.org")?));
/// // Instead of a socket: the replies of a server, one piece for each time that the client waits.
/// let mut server = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 queued\r\n"].into_iter();
/// 'session: loop {
///     while let Some(event) = client.next_event(&mut rx, &mut tx)? {
///         let progress = match &event {
///             Event::Capabilities(_) => transaction.start(&mut client, &mut tx)?,
///             event => transaction.event(event, &mut client, &mut tx)?,
///         };
///         match progress {
///             Progress::SendData => {
///                 client.data_writer()?.write(b"Subject: hi\r\n\r\n.dot\r\n", &mut tx)?;
///                 client.data_writer()?.finish(&mut tx)?;
///             }
///             Progress::Done => break 'session,
///             _ => {}
///         }
///     }
///     print!("{}", String::from_utf8_lossy(&tx.take()));
///     rx.extend(server.next().unwrap_or_default().as_bytes());
/// }
/// assert!(matches!(transaction.recipients()[0].outcome(), Outcome::Delivered(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Async programs
///
/// [`Driver::next_owned`](proto_mail::Driver::next_owned) returns [`OwnedEvent`]s, which borrow nothing. So an adapter for
/// any async runtime can have the natural signature:
///
/// ```
/// use std::io;
/// use proto_smtp::client::{Client, OwnedEvent};
/// use proto_smtp::types::Capabilities;
/// use proto_mail::{Driver, Secure};
///
/// /// The runtime's stream, under TLS.
/// trait Stream {
///     async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
///     async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
/// }
///
/// struct Connection<S> {
///     driver: Driver<Client<Secure>>,
///     stream: S,
/// }
///
/// impl<S: Stream> Connection<S> {
///     /// Returns the next event; `None` after the session has ended. (A real adapter also waits for the deadline.)
///     async fn next(&mut self) -> io::Result<Option<OwnedEvent>> {
///         loop {
///             if let Some(event) = self.driver.next_owned() {
///                 return Ok(Some(event));
///             }
///             let output = self.driver.tx.take();
///             self.stream.write_all(&output).await?;
///             if let Some(outcome) = self.driver.outcome() {
///                 return outcome.map(|()| None).map_err(io::Error::other);
///             }
///             let count = self.stream.read(self.driver.rx.spare_mut(4096)).await?;
///             self.driver.received(count);
///         }
///     }
/// }
///
/// /// Waits until commands may be given; `None` if the session ended before.
/// async fn wait_for_ehlo<S: Stream>(connection: &mut Connection<S>) -> io::Result<Option<Capabilities<'static>>> {
///     while let Some(event) = connection.next().await? {
///         if let OwnedEvent::Capabilities(capabilities) = event {
///             return Ok(Some(capabilities));
///         }
///     }
///     Ok(None)
/// }
/// ```
#[derive(Debug)]
pub struct Client<C: Channel> {
    pub(super) core: Core,
    pub(super) channel: C,
}

impl Client<Cleartext> {
    /// Begins a session on cleartext. The client expects the greeting.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { core: Core::cleartext(config.into()), channel: Cleartext }
    }

    /// Sets 32 random bytes, from which the client derives nonces. SCRAM needs them: without a seed
    /// [`danger_cleartext_authenticate`](Self::danger_cleartext_authenticate) cannot use it. Under TLS the seed comes with
    /// [`Secure`].
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.core.channel.sasl = SaslContext::cleartext().with_seed(seed);
        self
    }
}

impl Client<Secure> {
    /// Begins a session under implicit TLS. The client expects the greeting.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure) -> Self {
        Self { core: Core::secure(config.into(), &secure), channel: secure }
    }
}

impl<C: Channel> Client<C> {
    /// Returns the next event. `None`: more must be received or sent first. There may be output even without an event.
    ///
    /// # Errors
    /// The session is over. Every later call returns the same error.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        let Some((kind, frame)) = self.core.advance(rx, tx)? else { return Ok(None) };
        let bytes: &'i [u8] = rx.bytes();
        let response = Response::framed(frame.code, bytes.get(..frame.len).unwrap_or_default());
        Ok(Some(kind.event(response, || self.core.capabilities().cloned().unwrap_or_default())))
    }

    /// Gives MAIL.
    ///
    /// Use only extensions that the server offers, or use a [`Transaction`](super::Transaction), which leaves out optional
    /// parameters. Unknown parameters are written unchanged.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first, or on cleartext if the settings do not
    /// allow it; [`NotOffered`](Misuse::NotOffered) if a parameter belongs to an extension that the server does not offer, or
    /// is REQUIRETLS without TLS or with an unverified server; [`InvalidArgument`](Misuse::InvalidArgument) if the address
    /// needs SMTPUTF8, which is not requested. Nothing was written then.
    pub fn mail(&mut self, mail: &Mail<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        if !mail.utf8 && mail.from.address().is_some_and(|address| !address.is_ascii()) {
            return Err(Misuse::InvalidArgument.into());
        }
        self.core.check_offered(mail.extensions())?;
        self.core.transactions.begin(mail);
        mail.encode(tx);
        self.core.replies.push(Step::Mail, tx);
        Ok(())
    }

    /// Gives RCPT. Returns the number of the recipient in the transaction, by which events name it.
    ///
    /// # Errors
    /// As [`mail`](Self::mail).
    pub fn rcpt(&mut self, rcpt: &Rcpt<'_>, tx: &mut SendBuffer) -> Result<usize, Error> {
        self.check_mail()?;
        if !self.core.transactions.given.utf8 && rcpt.to.address().is_some_and(|address| !address.is_ascii())
        {
            return Err(Misuse::InvalidArgument.into());
        }
        self.core.check_offered(rcpt.extensions())?;
        let recipient = self.core.transactions.given.recipients;
        self.core.transactions.given.recipients += 1;
        rcpt.encode(tx);
        self.core.replies.push(Step::Rcpt(recipient), tx);
        Ok(recipient)
    }

    /// Gives DATA. After [`Event::SendData`] the message may be written.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first, or on cleartext if the settings do not
    /// allow it.
    pub fn data(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.send(&Command::Data, Step::Data, tx);
        Ok(())
    }

    /// Begins a chunk of `size` bytes. Write them with [`data_writer`](Self::data_writer).
    ///
    /// # Errors
    /// [`NotOffered`](Misuse::NotOffered) if the server does not offer CHUNKING; [`WrongState`](Misuse::WrongState) if a
    /// pending reply must be received first, or on cleartext if the settings do not allow it. In LMTP the last chunk has a
    /// reply for each accepted recipient: all replies to RCPT must have been received, and at least one accepted.
    pub fn bdat(&mut self, size: u64, end: ChunkEnd, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.check_offered(ExtensionSet::NONE.with(Extension::Chunking))?;
        if !self.core.can_count_replies(end) {
            return Err(Misuse::WrongState.into());
        }
        Command::Bdat { size, end }.encode(tx);
        self.core.state = State::Chunk { left: size, end };
        Ok(())
    }

    /// Returns the writer of the message, after [`Event::SendData`] or [`bdat`](Self::bdat).
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if no message may be written now.
    pub fn data_writer(&mut self) -> Result<DataWriter<'_>, Error> {
        DataWriter::new(&mut self.core)
    }

    /// Gives RSET, which ends the transaction.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first.
    pub fn reset(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.send(&Command::Rset, Step::Reset, tx);
        Ok(())
    }

    /// Gives NOOP.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first.
    pub fn noop(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.simple(&Command::Noop, Step::Noop, tx)
    }

    /// Gives HELP, with a topic unless it is empty.
    ///
    /// # Errors
    /// [`InvalidArgument`](Misuse::InvalidArgument) if the topic is not printable US-ASCII;
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first.
    pub fn help(&mut self, topic: &str, tx: &mut SendBuffer) -> Result<(), Error> {
        if !topic.is_empty() {
            check_text(topic)?;
        }
        self.simple(&Command::Help(topic.into()), Step::Help, tx)
    }

    /// Gives VRFY.
    ///
    /// # Errors
    /// [`InvalidArgument`](Misuse::InvalidArgument) if the text is empty or not printable US-ASCII;
    /// [`WrongState`](Misuse::WrongState) if a pending reply must be received first.
    pub fn vrfy(&mut self, text: &str, tx: &mut SendBuffer) -> Result<(), Error> {
        check_text(text)?;
        self.simple(&Command::Vrfy(text.into()), Step::Vrfy, tx)
    }

    /// Gives EXPN.
    ///
    /// # Errors
    /// As [`vrfy`](Self::vrfy).
    pub fn expn(&mut self, text: &str, tx: &mut SendBuffer) -> Result<(), Error> {
        check_text(text)?;
        self.simple(&Command::Expn(text.into()), Step::Expn, tx)
    }

    /// Gives QUIT. [`Event::Closed`] follows.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) during a message or an authentication, or if the reply to DATA is pending.
    pub fn quit(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.simple(&Command::Quit, Step::Quit, tx)
    }

    /// Checks that mail commands are allowed: not on cleartext, unless the settings allow it.
    pub(super) fn check_mail(&self) -> Result<(), Error> {
        self.core.check_group()?;
        if C::SECURE || self.core.config.allows_cleartext() { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    fn simple(&mut self, command: &Command<'_>, step: Step, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.send(command, step, tx);
        Ok(())
    }

    /// Returns the capabilities of the server. `None` before [`Event::Capabilities`], also after STARTTLS and XCLIENT.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities<'static>> {
        self.core.capabilities()
    }

    /// Whether no reply is pending and no message is being written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.core.state, State::Session) && self.core.replies.is_empty()
    }

    /// Whether a complete message was sent whose reply is pending. If the connection is lost now, it is unknown whether the
    /// server has accepted the message.
    #[must_use]
    pub fn is_message_sent(&self, tx: &SendBuffer) -> bool {
        self.core.replies.has_sent_message(tx)
    }

    /// Returns the reason for the last failed authentication: what the mechanism says about it (the JSON of XOAUTH2 and
    /// OAUTHBEARER, the error of SCRAM), or why the client has cancelled it.
    #[must_use]
    pub fn authentication_failure(&self) -> Option<&str> {
        self.core.logins.failure.as_deref()
    }

    /// Whether the server has replied 500 or 501 to AUTH with an initial response, which some servers do not support. The
    /// client sends no further initial response in this session, so that a second attempt by the same mechanism may
    /// succeed. It does not retry by itself.
    #[must_use]
    pub const fn has_refused_initial_response(&self) -> bool {
        self.core.logins.initial_response_rejected
    }

    /// Returns the replies that broke a rule of the RFC and were accepted all the same.
    #[must_use]
    pub const fn repairs(&self) -> &Repairs {
        self.core.repairs()
    }

    /// Whether the driver should read from the network.
    #[must_use]
    pub fn wants_read(&self, _: &SendBuffer) -> bool {
        self.core.wants_read()
    }

    /// Returns what the client waits for, and the longest time.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// Reports that the time of [`wait`](Self::wait) is over.
    ///
    /// # Errors
    /// The session is over, unless the client was not waiting for the server.
    pub fn timed_out(&mut self, _: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out()
    }

    /// Whether the session has ended in order. Close the connection.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.core.state, State::Closed)
    }

    /// Returns the channel.
    #[must_use]
    pub const fn channel(&self) -> &C {
        &self.channel
    }
}

impl<C: Channel> Machine for Client<C> {
    type Event<'i> = Event<'i>;

    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
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

impl<C: Channel> OwnedEvents for Client<C> {
    type OwnedEvent = OwnedEvent;

    fn into_owned(event: Event<'_>) -> OwnedEvent {
        event.into_owned()
    }
}

impl Core {
    /// Checks that a command may be given that must not be pipelined.
    pub(super) fn check_alone(&self) -> Result<(), Error> {
        self.check_session()?;
        if self.replies.is_empty() { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    /// Checks that a command may follow the pending ones (RFC 2920 §3.1).
    pub(super) fn check_group(&self) -> Result<(), Error> {
        self.check_session()?;
        let is_allowed = match self.replies.last() {
            None => true,
            Some(
                Step::Mail | Step::Rcpt(_) | Step::Reset | Step::Message(_) | Step::Chunk | Step::XForward,
            ) => {
                // The replies of PRDR must not be confused with those of the next transaction.
                self.can_pipeline() && self.transactions.awaiting_verdict.is_empty()
            }
            Some(_) => false,
        };
        if is_allowed { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    pub(super) fn check_session(&self) -> Result<(), Error> {
        match &self.state {
            State::Session => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Closed => Err(Misuse::Closed.into()),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Whether commands may be given without waiting for replies.
    pub(super) fn can_pipeline(&self) -> bool {
        self.config.pipelining != Pipelining::Off && self.offers(Extension::Pipelining)
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    let good = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if good { Ok(()) } else { Err(Misuse::InvalidArgument.into()) }
}
