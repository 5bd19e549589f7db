//! The client: what a program needs to speak to an IMAP server.
//!
//! The shell in this file is thin: what a channel allows is said in types here, everything else is in one machine
//! for both channels.

mod append;
mod auth;
mod capabilities;
mod command;
mod command_queue;
mod core;
mod event;
mod fetch;
mod idle;
mod owned_event;
mod reader;
mod reply_matching;
mod respond;
mod session;
mod starttls;

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use proto_mail::sasl::{ClientExchange, MechanismChoice};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Machine, Mechanism, Misuse, OwnedEvents, RecvBuffer, Secret,
    Secure, SendBuffer, Wait,
};

pub use self::auth::LoginMethod;
pub use self::capabilities::Capabilities;
pub use self::command_queue::CommandId;
use self::core::Core;
pub use self::event::{AuthOutcome, Event};
pub use self::owned_event::{OwnedAuthOutcome, OwnedEvent};
pub(crate) use self::session::Trust;
pub use self::starttls::{StartTls, Upgrade};
use crate::config::Config;
use crate::state::State;
use crate::types::AppendCommand;
use crate::types::{Command, NameEncoding, Repairs};

/// An IMAP client on one channel: bytes in, events out; commands in, bytes out (RFC 9051).
///
/// # The contract
///
/// * **Pull until `None`.** After each read call [`next_event`](Self::next_event) until it returns `None`, then write
///   what is in `tx`. An event borrows `rx` and never the client, so commands may be given while looking at it.
/// * **Commands are pipelined.** [`send`](Self::send) returns at once; [`Event::Completed`] bears the same id. A command
///   with a literal that the server must ask for waits by itself, and so do those behind it.
/// * **A completion counts only when the command's last byte was written**, as told by [`SendBuffer::sent`]. One that
///   comes sooner, under an unknown tag, or a continuation request that no command awaits, ends the session.
/// * **On [`Cleartext`] nothing but the greeting, the capabilities and outcomes is surfaced**, without their texts, and
///   nothing but CAPABILITY, NOOP, LOGOUT and STARTTLS can be said. Only a configuration that says
///   [`danger_cleartext`](Config::danger_cleartext) lifts that.
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
/// // Stands for a socket: what the server says each time that it is read.
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
/// [`Driver::next_owned`](proto_mail::Driver::next_owned) returns [`OwnedEvent`]s, which borrow nothing. So an adapter for
/// any async runtime can have the natural signature:
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
    core: Core,
    channel: C,
}

impl Client<Cleartext> {
    /// A client that has just been connected, without TLS.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { core: Core::new(config.into(), Trust::Cleartext), channel: Cleartext }
    }

    /// Gives the session 32 bytes from the operating system's source of randomness, used for this session alone. SCRAM
    /// makes its nonces of them; without them it is neither offered nor chosen. For
    /// [`danger_cleartext_authenticate`](Self::danger_cleartext_authenticate); a client under TLS has them from
    /// [`Secure::with_seed`].
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.core.set_seed(seed.into());
        self
    }

    /// Asks the server to begin TLS. Call it when [`Event::Capabilities`] has come.
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](proto_mail::PeerError::StartTlsNotOffered) if the server does not list it;
    /// [`Misuse::WrongState`] before the capabilities are known, after authentication, or while commands are in
    /// progress. The client is gone in each case: there is no way back to cleartext.
    pub fn starttls(mut self, tx: &mut SendBuffer) -> Result<StartTls, Error> {
        self.core.starttls(tx)?;
        Ok(StartTls { core: self.core })
    }

    /// Authenticates without TLS, so that an eavesdropper can read what the mechanism sends. As [`Client::<Secure>::authenticate`], and `LOGINDISABLED` is
    /// honoured here too.
    ///
    /// # Errors
    /// As there; and [`Misuse::WrongState`] unless the configuration says
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

    /// Authenticates without TLS, by a custom mechanism that reveals nothing to an eavesdropper
    /// ([`CleartextRisk::None`](proto_mail::sasl::CleartextRisk::None)). As [`Client::<Secure>::authenticate_with`].
    ///
    /// # Errors
    /// As there; [`Misuse::WrongMechanism`] if it does give something away; and [`Misuse::WrongState`] unless the
    /// configuration says [`danger_cleartext`](Config::danger_cleartext).
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
    /// A client that was connected by implicit TLS, or over something that needs none.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure) -> Self {
        Self { core: Core::secure(config.into(), &secure), channel: secure }
    }

    /// Proves an identity. [`Event::Auth`] reports the result.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before the capabilities are known or when authenticated;
    /// [`Misuse::NoMechanism`], with reasons, if nothing fits that the server offers and the configuration allows;
    /// [`Misuse::UnencodableCredentials`] if the credentials hold what the mechanism cannot carry.
    pub fn authenticate(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.authenticate(method.into(), credentials, tx)
    }

    /// Proves an identity by a mechanism that the application has brought along. Whether the server has it,
    /// [`Capabilities::offers`] knows. [`Event::Auth`] reports the outcome.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before the capabilities are known or when authenticated; [`Misuse::WrongMechanism`] if the
    /// server does not offer it, or it is one of [`Mechanism::ALL`](proto_mail::Mechanism::ALL);
    /// [`Misuse::UnencodableCredentials`] if it cannot say its first message.
    pub fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.authenticate_with(exchange, tx)
    }
}

impl<C: Channel> Client<C> {
    /// The next thing that happened; `None`: nothing more until more is received, sent or said.
    ///
    /// # Errors
    /// The session is over. Every later call returns the same.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        self.core.next_event(rx, tx)
    }

    /// Says a command.
    ///
    /// LOGIN, AUTHENTICATE, STARTTLS, APPEND and IDLE have methods of their own. While idling, the command ends that
    /// first.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if it cannot be said in the state that the session will have when the commands before
    /// it succeed; [`Misuse::ForbiddenByte`] if an argument holds what no command can carry; [`Misuse::NotOffered`] if the
    /// command or an argument belongs to an extension and the server does not list its capability, or its capabilities are
    /// not known yet ([`capabilities`](Self::capabilities) is `None`). A [`RawCommand`](crate::types::RawCommand) is sent
    /// whatever the server lists.
    pub fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.send(command, tx)
    }

    /// Begins to add a message of `size` bytes to a mailbox. [`Event::AppendReady`] tells when to give [`write_payload`](Self::write_payload).
    ///
    /// A server may refuse a message while it is on its way: [`Event::Completed`] comes then, and the rest of what was
    /// announced must be given all the same.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn append(
        &mut self,
        append: &AppendCommand<'_>,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.core.append(append, size, tx)
    }

    /// Queues the next bytes of the message. Returns how many are missing; at 0 the command is complete.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`] if they are more than was announced: none of them is taken;
    /// [`Misuse::WrongState`] if nothing is awaited.
    pub fn write_payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.core.payload(payload, tx)
    }

    /// As [`write_payload`](Self::write_payload), for bytes that the driver writes to the channel itself (from a file, say). It
    /// must have written all that was in `tx` before, and write them before anything else.
    ///
    /// # Errors
    /// As there; and [`Misuse::WrongState`] if `tx` is not empty.
    pub fn written_externally(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.core.written_externally(count, tx)
    }

    /// Asks the server to tell what changes. [`Event::Idling`] tells when it does.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before authentication; [`Misuse::NotOffered`] if the server lists neither IDLE nor IMAP4rev2, or
    /// its capabilities are not known yet.
    pub fn idle(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.idle(tx)
    }

    /// Ends IDLE as soon as the server allows. Without effect if no IDLE is in progress.
    ///
    /// # Errors
    /// None so far.
    pub fn done(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.done(tx)
    }

    /// Says LOGOUT. [`Event::Bye`], [`Event::Completed`] and [`Event::Closed`] follow.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if the session is over.
    pub fn logout(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.core.send(&Command::Logout, tx)
    }

    /// What the server can do, if it has said so on this channel and in this state.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities> {
        self.core.capabilities()
    }

    /// The session's state; `None` before the greeting and when it is over.
    #[must_use]
    pub const fn state(&self) -> Option<State> {
        self.core.state()
    }

    /// Which mechanism of `order` the server offers, the configuration allows, the channel carries and the credentials fit,
    /// and of every other one why not. [`Mechanism::ALL`](proto_mail::Mechanism::ALL) has the strongest first; what was
    /// chosen goes into [`LoginMethod::Mechanism`].
    #[must_use]
    pub fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        self.core.choose_mechanism(order, credentials)
    }

    /// Whether the server has answered BAD to an AUTHENTICATE command with an initial response: some offer SASL-IR and
    /// do not understand it. None is sent any more in this session, so that it may help to authenticate once again by the
    /// same mechanism. The machine does not do so by itself: what it says it was told to say.
    #[must_use]
    pub fn has_refused_initial_response(&self) -> bool {
        self.core.has_refused_initial_response()
    }

    /// How mailbox names are written on this session: in UTF-8 once the server has said ENABLED.
    #[must_use]
    pub fn name_encoding(&self) -> NameEncoding {
        self.core.name_encoding()
    }

    /// How often the server's responses had to be repaired, and what of the last one.
    #[must_use]
    pub const fn repairs(&self) -> &Repairs {
        self.core.repairs()
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &C {
        &self.channel
    }

    /// Whether more input could help now: not while too much output waits.
    #[must_use]
    pub fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    /// What is awaited, and how long at most.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// What [`wait`](Self::wait) named did not come in time. An idling client then ends IDLE: begin it anew.
    ///
    /// # Errors
    /// [`Limit::Timeout`](proto_mail::Limit::Timeout): the session is over.
    pub fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    /// Whether the session has ended in order.
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
