//! The client type of the public API, as a thin layer.
//!
//! The type says what each channel allows. One machine implements both channels.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use proto_mail::sasl::{ClientExchange, MechanismChoice};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Machine, Mechanism, Misuse, OwnedEvents, RecvBuffer, Secret,
    Secure, SendBuffer, Wait,
};

use super::auth::LoginMethod;
use super::capabilities::Capabilities;
use super::command_id::CommandId;
use super::core::Core;
use super::event::Event;
use super::owned_event::OwnedEvent;
use super::session::Trust;
use crate::config::Config;
use crate::state::State;
use crate::types::{
    AppendCommand, AppendData, AppendMessage, Command, MailboxName, NameEncoding, Repairs, ReplaceCommand,
};

/// An IMAP client on one channel: bytes in, events out; commands in, bytes out (RFC 9051).
///
/// # The contract
///
/// * **Pull until `None`.** After each read call [`next_event`](Self::next_event) until it returns `None`, then write
///   the contents of `tx`. An event borrows `rx` and never the client, so the application can send commands while it
///   handles an event.
/// * **Commands are pipelined.** [`send`](Self::send) returns at once; [`Event::Completed`] has the same id. A
///   command with a literal that the server must ask for waits, and later commands wait for it.
/// * **A completion counts only when the command's last byte was written**, as reported by [`SendBuffer::sent`]. A
///   completion that arrives earlier or has an unknown tag ends the session. So does a continuation request that no
///   command expects.
/// * **On [`Cleartext`] the client reports only the greeting, the capabilities and outcomes**, without their texts,
///   and sends only CAPABILITY, NOOP, LOGOUT and STARTTLS. [`danger_cleartext`](Config::danger_cleartext) in the
///   configuration lifts this restriction.
/// * **An error is final**: every later call returns it.
///
/// # The loop
///
/// ```
/// use proto_mail::{Credentials, RecvBuffer, Secure, SendBuffer};
/// use proto_imap::Config;
/// use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
///
/// let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
/// let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
/// // Stands in for a socket: each read returns the next item.
/// let mut server = [
///     "* OK [CAPABILITY IMAP4rev2 AUTH=PLAIN SASL-IR] ready\r\n",
///     "M1 OK [CAPABILITY IMAP4rev2] welcome\r\n",
/// ].into_iter();
/// let mut authenticated = false;
/// while !authenticated {
///     rx.extend(server.next().ok_or("the server is gone")?.as_bytes());
///     while let Some(event) = client.next_event(&mut rx, &mut tx)? {
///         match event {
///             Event::Capabilities if client.state().is_some_and(|state| !state.is_authenticated()) => {
///                 let credentials = Credentials::password("alice", &b"secret"[..]);
///                 client.authenticate(LoginMethod::Strongest, &credentials, &mut tx)?;
///             }
///             Event::Auth(AuthOutcome::Accepted { .. }) => authenticated = true,
///             Event::Auth(outcome) => return Err(outcome.status().text.to_string().into()),
///             _ => {}
///         }
///     }
///     let written = tx.len(); // all of it
///     tx.sent(written);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Async programs
///
/// [`Driver::next_owned`](proto_mail::Driver::next_owned) returns [`OwnedEvent`]s, which borrow nothing. An adapter
/// for an async runtime can therefore have the usual signature:
///
/// ```
/// use std::io;
/// use proto_imap::client::{Client, OwnedEvent};
/// use proto_imap::types::Untagged;
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
/// /// Waits until the mailbox has messages; `None` if the session ended before.
/// async fn wait_for_messages<S: Stream>(connection: &mut Connection<S>) -> io::Result<Option<u32>> {
///     while let Some(event) = connection.next().await? {
///         if let OwnedEvent::Data(data) = event
///             && let Untagged::Exists(count) = data.view()
///         {
///             return Ok(Some(count));
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
    /// Creates a client for a new connection without TLS.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { core: Core::new(config.into(), Trust::Cleartext), channel: Cleartext }
    }

    /// Sets the seed: 32 bytes from the operating system's random number generator, used only for this session. SCRAM
    /// derives its nonces from them; without a seed SCRAM is neither offered nor chosen. The seed is for
    /// [`danger_cleartext_authenticate`](Self::danger_cleartext_authenticate); a client under TLS gets it from
    /// [`Secure::with_seed`].
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.core.set_seed(seed.into());
        self
    }

    /// Authenticates without TLS, so that an eavesdropper can read what the mechanism sends. Otherwise works like
    /// [`Client::<Secure>::authenticate`], including `LOGINDISABLED`.
    ///
    /// # Errors
    /// Those of that method; and [`Misuse::WrongState`] unless the configuration sets
    /// [`danger_cleartext`](Config::danger_cleartext).
    pub fn danger_cleartext_authenticate(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        if self.core.hides_untrusted_data() {
            return Err(Misuse::WrongState.into());
        }
        self.core.authenticate(method.into(), credentials, tx)
    }

    /// Authenticates without TLS, with a custom mechanism that reveals nothing to an eavesdropper
    /// ([`CleartextRisk::None`](proto_mail::sasl::CleartextRisk::None)). Otherwise works like
    /// [`Client::<Secure>::authenticate_with`].
    ///
    /// # Errors
    /// Those of that method; [`Misuse::WrongMechanism`] if the mechanism reveals anything; and [`Misuse::WrongState`]
    /// unless the configuration sets [`danger_cleartext`](Config::danger_cleartext).
    pub fn danger_cleartext_authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        if self.core.hides_untrusted_data() {
            return Err(Misuse::WrongState.into());
        }
        self.core.authenticate_with(exchange, tx)
    }
}

impl Client<Secure> {
    /// Creates a client for a connection with implicit TLS, or one that needs no TLS.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure) -> Self {
        Self { core: Core::secure(config.into(), &secure), channel: secure }
    }

    /// Logs in. [`Event::Auth`] reports the outcome.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before the capabilities are known or after a login; [`Misuse::NoMechanism`], with
    /// reasons, if the server offers no mechanism that the configuration allows and the credentials fit;
    /// [`Misuse::UnencodableCredentials`] if the mechanism cannot encode the credentials.
    pub fn authenticate(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.authenticate(method.into(), credentials, tx)
    }

    /// Logs in with a custom mechanism. [`Capabilities::offers_mechanism`] tells whether the server offers it. [`Event::Auth`]
    /// reports the outcome.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before the capabilities are known or after a login; [`Misuse::WrongMechanism`] if the
    /// server does not offer the mechanism, or it is one of [`Mechanism::ALL`](proto_mail::Mechanism::ALL);
    /// [`Misuse::UnencodableCredentials`] if the mechanism cannot produce its first message.
    pub fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.authenticate_with(exchange, tx)
    }
}

impl Client<Secure> {
    /// Asks the server to compress the session with DEFLATE (RFC 4978). After [`Event::Completed`] with OK everything is
    /// compressed, in both directions. The driver must support it: see
    /// [`SendBuffer::begin_compression`] and [`RecvBuffer::begin_compression`].
    ///
    /// The client never does this by itself. Compression reveals to an eavesdropper how similar secret data and data that
    /// an attacker has chosen are, because it changes the lengths of TLS records. Don't use it where an attacker can send
    /// messages and watch the connection. Credentials are never compressed: the session must be authenticated before, and
    /// keeps its login (UNAUTHENTICATE is refused).
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before the login, or if compression was requested before; [`Misuse::NotOffered`] if the
    /// server does not list COMPRESS=DEFLATE.
    pub fn compress(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.compress(tx)
    }

    /// Returns whether the session is compressed.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.core.is_compressed()
    }
}

impl<C: Channel> Client<C> {
    /// Returns the next event; `None` if there is none until more bytes are received or sent, or a method is called.
    ///
    /// # Errors
    /// The session is over. Every later call returns the same error.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        self.core.next_event(rx, tx)
    }

    /// Sends a command.
    ///
    /// LOGIN, AUTHENTICATE, STARTTLS, APPEND and IDLE have their own methods. While the client is idling, the command
    /// ends IDLE first.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if the command is not allowed in the state that the session will have when the commands
    /// before it succeed; [`Misuse::ForbiddenByte`] if an argument contains a byte that no command can carry;
    /// [`Misuse::NotOffered`] if the command or an argument belongs to an extension and the server does not list its
    /// capability, or the capabilities are not known yet ([`capabilities`](Self::capabilities) is `None`); if ENABLE
    /// names a capability that the server does not list; and if CREATE or RENAME gives a mailbox a name of bytes that
    /// are not ASCII while UTF-8 is not enabled. A [`RawCommand`](crate::types::RawCommand) is sent regardless of the
    /// server's capabilities.
    pub fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.send(command, tx)
    }

    /// Starts to append a message of `size` bytes to a mailbox. When [`Event::AppendReady`] arrives, send the message
    /// with [`write_payload`](Self::write_payload).
    ///
    /// The server may reject the message at any time after its announcement. [`Event::Completed`] reports this:
    ///
    /// * before [`Event::AppendReady`]: nothing of the message was sent, and nothing must be written;
    /// * afterwards: the application must still write the rest of the announced bytes, or close the connection. The
    ///   server counts these bytes and discards them (RFC 7888 §3); anything else would be taken for a part of them.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`Misuse::TooLarge`] if the message is larger than the server's `APPENDLIMIT=`
    /// (RFC 7889).
    pub fn append(
        &mut self,
        append: &AppendCommand<'_>,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let AppendCommand { mailbox, flags, date } = *append;
        let message = AppendMessage { flags, date, data: AppendData::Literal(size) };
        self.core.append(None, mailbox, &[message], tx)
    }

    /// Starts to append messages to a mailbox, all of them or none. [`Event::AppendReady`] arrives for each literal of
    /// `messages`, in order: send its bytes with [`write_payload`](Self::write_payload). Otherwise works like
    /// [`append`](Self::append). A message of 0 bytes makes the server reject the command (RFC 3502 §6.3.11).
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`Misuse::NotOffered`] as well if there are several messages and the server does
    /// not list MULTIAPPEND, or if it does not list BINARY, CATENATE or, after UTF-8 was enabled, UTF8=ACCEPT or
    /// UTF8=ONLY for a message in that form; [`Misuse::TooLarge`] if a message is larger than the server's
    /// `APPENDLIMIT=`; [`Misuse::InvalidArgument`] if `messages` is empty or has more than
    /// [`MAX_APPEND_PARTS`](crate::types::MAX_APPEND_PARTS) messages and parts.
    pub fn append_messages(
        &mut self,
        mailbox: MailboxName<'_>,
        messages: &[AppendMessage<'_>],
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.append(None, mailbox, messages, tx)
    }

    /// Starts to replace a message of the selected mailbox: sends REPLACE or UID REPLACE (RFC 8508). Otherwise works like
    /// [`append_messages`](Self::append_messages).
    ///
    /// # Errors
    /// Those of that method; [`Misuse::WrongState`] if no mailbox is selected; [`Misuse::NotOffered`] if the server does
    /// not list REPLACE.
    pub fn replace(&mut self, replace: &ReplaceCommand<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.append(Some(replace.replaced), replace.mailbox, &[replace.message], tx)
    }

    /// Queues the next bytes of the message or part. Returns how many are still missing; at 0 it is complete, and the
    /// client sends what follows it.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`] if there are more bytes than announced: none of them is queued; [`Misuse::WrongState`]
    /// if no bytes are expected.
    pub fn write_payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.core.payload(payload, tx)
    }

    /// Like [`write_payload`](Self::write_payload), for bytes that the driver writes to the channel itself, for
    /// example from a file. The driver must have written all bytes of `tx` before, and must write these bytes before
    /// anything else.
    ///
    /// # Errors
    /// Those of that method; and [`Misuse::WrongState`] if `tx` is not empty.
    pub fn written_externally(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.core.written_externally(count, tx)
    }

    /// Asks the server to report changes as they happen. [`Event::Idling`] reports that it has agreed.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before authentication; [`Misuse::NotOffered`] if the server lists neither IDLE nor
    /// IMAP4rev2, or its capabilities are not known yet.
    pub fn idle(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.idle(tx)
    }

    /// Ends IDLE as soon as the server allows. Does nothing if no IDLE is in progress.
    ///
    /// # Errors
    /// None at present.
    pub fn done(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.done(tx)
    }

    /// Sends LOGOUT. [`Event::Bye`], [`Event::Completed`] and [`Event::Closed`] follow.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if the session is over.
    pub fn logout(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.send(&Command::Logout, tx)
    }

    /// Returns the server's capabilities; `None` if the server has not listed them on this channel and in this state.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities> {
        self.core.capabilities()
    }

    /// Returns whether the server has confirmed that this capability is enabled, in response to ENABLE (RFC 5161). Case is
    /// ignored.
    #[must_use]
    pub fn is_enabled(&self, capability: &str) -> bool {
        self.core.is_enabled(capability)
    }

    /// Returns the session's state; `None` before the greeting and after the end.
    #[must_use]
    pub const fn state(&self) -> Option<State> {
        self.core.state()
    }

    /// Chooses the first mechanism of `order` that the server offers, the configuration allows, the channel permits
    /// and the credentials fit. The result also has the reason for each rejected mechanism.
    /// [`Mechanism::ALL`](proto_mail::Mechanism::ALL) lists the strongest first; pass the choice to
    /// [`LoginMethod::Mechanism`].
    #[must_use]
    pub fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        self.core.choose_mechanism(order, credentials)
    }

    /// Returns whether the server has answered BAD to an AUTHENTICATE command with an initial response. Some servers
    /// offer SASL-IR but do not support it. The client sends no further initial response in this session, so a second
    /// login with the same mechanism may succeed. The machine does not retry by itself.
    #[must_use]
    pub fn has_refused_initial_response(&self) -> bool {
        self.core.has_refused_initial_response()
    }

    /// Returns how mailbox names are written in this session: in UTF-8 after the server has sent ENABLED.
    #[must_use]
    pub fn name_encoding(&self) -> NameEncoding {
        self.core.name_encoding()
    }

    /// Returns the repairs to the server's responses: their counts, and those of the last response.
    #[must_use]
    pub const fn repairs(&self) -> &Repairs {
        self.core.repairs()
    }

    /// Returns the channel.
    #[must_use]
    pub const fn channel(&self) -> &C {
        &self.channel
    }

    /// Returns whether the driver should read. False while too much output is queued.
    #[must_use]
    pub fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    /// Returns what the client waits for, and its time limit.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// Reports that the time limit of [`wait`](Self::wait) has passed. An idling client then ends IDLE; the
    /// application starts it again.
    ///
    /// # Errors
    /// [`Limit::Timeout`](proto_mail::Limit::Timeout): the session is over.
    pub fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    /// Returns whether the session has ended normally.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

impl<C: Channel> Machine for Client<C> {
    type Event<'i> = Event<'i>;

    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        self.core.next_event(rx, tx)
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        Self::wants_read(self, tx)
    }

    fn wait(&self) -> Wait {
        self.core.wait()
    }

    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

impl<C: Channel> OwnedEvents for Client<C> {
    type OwnedEvent = OwnedEvent;

    fn into_owned(event: Event<'_>) -> OwnedEvent {
        event.into_owned()
    }
}
