//! The client: replies in, commands out.

mod auth;
mod content;
mod core;
mod data_writer;
mod event;
mod extension_commands;
mod offered_parameters;
mod starttls;
mod transaction;

use alloc::sync::Arc;

use proto_mail::{Channel, Cleartext, Error, Machine, Misuse, RecvBuffer, Secure, SendBuffer, Wait};

pub use crate::reply_framer::{Repair, Repairs};
pub use content::{Content, ContentScan};
pub use data_writer::DataWriter;
pub use event::{AuthOutcome, Event, Step};
pub use starttls::{StartTls, Upgrade};
pub use transaction::{NotSent, Outcome, Progress, Recipient, Transaction};

use self::core::{Core, State};
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::config::{Config, Pipelining};
use crate::extension::Extension;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::response::Response;

/// A client's side of one session, on a channel.
///
/// # The contract
///
/// * Read from the network into `rx`, then take every event that [`next_event`](Self::next_event) has, then write what
///   is in `tx`: the client greets by itself, so that there may be something to write even without an event.
/// * It begins by itself: after the greeting it says EHLO, and [`Event::Capabilities`] says that commands may be given.
///   On cleartext that leads to [`starttls`](Client::starttls) and nowhere else, unless
///   [`danger_cleartext`](Config::danger_cleartext) was set.
/// * Each command has exactly one [`Event::Accepted`] or [`Event::Rejected`], in order. A refusal is an outcome and
///   not an error. [`Transaction`] does the whole of one message.
/// * A reply to a command whose last byte was not sent yet is an error: report what was sent with
///   [`SendBuffer::sent`].
/// * After an error every call returns the same error. Close; never try again with less security.
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
/// // In place of a socket: what a server answers, one piece for each time that the client waits.
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
#[derive(Debug)]
pub struct Client<C: Channel> {
    core: Core,
    channel: C,
}

impl Client<Cleartext> {
    /// A client that waits for the greeting on cleartext.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { core: Core::new(config.into(), false), channel: Cleartext }
    }
}

impl Client<Secure> {
    /// A client that waits for the greeting under implicit TLS.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure) -> Self {
        Self { core: Core::new(config.into(), true).over(&secure), channel: secure }
    }
}

impl<C: Channel> Client<C> {
    /// The next thing that happened; `None`: nothing more before more is received or sent. There may be something to
    /// write all the same.
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
        Ok(Some(kind.event(response, || self.core.capabilities.clone())))
    }

    /// Gives MAIL.
    ///
    /// Ask only for what is offered, or use a [`Transaction`], which leaves out what can be left out. Parameters that have
    /// no field in [`Mail`] are written as they stand there.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first, or on cleartext where that was not allowed;
    /// [`NotOffered`](Misuse::NotOffered) if a parameter belongs to an extension that the server does not offer, or is
    /// REQUIRETLS on cleartext or where anybody may be the server; [`InvalidArgument`](Misuse::InvalidArgument) if the address needs SMTPUTF8 and that is not
    /// asked for. Nothing was written then.
    pub fn mail(&mut self, mail: &Mail<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        if !mail.utf8 && mail.from.address().is_some_and(|address| !address.is_ascii()) {
            return Err(Misuse::InvalidArgument.into());
        }
        self.core.check_offered(mail.extensions())?;
        self.core.begin_transaction();
        self.core.utf8 = mail.utf8;
        self.core.prdr = mail.prdr;
        mail.encode(tx);
        self.core.expect(Step::Mail, tx);
        Ok(())
    }

    /// Gives RCPT, and says which recipient of the transaction it is: the events name it by that number.
    ///
    /// # Errors
    /// As [`mail`](Self::mail).
    pub fn rcpt(&mut self, rcpt: &Rcpt<'_>, tx: &mut SendBuffer) -> Result<usize, Error> {
        self.check_mail()?;
        if !self.core.utf8 && rcpt.to.address().is_some_and(|address| !address.is_ascii()) {
            return Err(Misuse::InvalidArgument.into());
        }
        self.core.check_offered(rcpt.extensions())?;
        let recipient = self.core.recipients;
        self.core.recipients += 1;
        rcpt.encode(tx);
        self.core.expect(Step::Rcpt(recipient), tx);
        Ok(recipient)
    }

    /// Gives DATA. [`Event::SendData`] says that the message may be written.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first, or on cleartext where that was not allowed.
    pub fn data(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        self.core.command(&Command::Data, Step::Data, tx);
        Ok(())
    }

    /// Begins a chunk of `size` bytes; write them with [`data_writer`](Self::data_writer).
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if CHUNKING is not offered, a reply must be awaited first, or on cleartext where
    /// that was not allowed. In LMTP the last chunk has as many replies as recipients were accepted: each must have been
    /// answered, and one accepted.
    pub fn bdat(&mut self, size: u64, end: ChunkEnd, tx: &mut SendBuffer) -> Result<(), Error> {
        self.check_mail()?;
        if !self.core.capabilities.contains(Extension::Chunking) || !self.core.can_count_replies(end) {
            return Err(Misuse::WrongState.into());
        }
        Command::Bdat { size, end }.encode(tx);
        self.core.state = State::Chunk { left: size, end };
        Ok(())
    }

    /// The writer of the message, after [`Event::SendData`] or [`bdat`](Self::bdat). Get it as often as you like.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if no message may be written now.
    pub fn data_writer(&mut self) -> Result<DataWriter<'_>, Error> {
        DataWriter::new(&mut self.core)
    }

    /// Gives RSET: the transaction is over.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first.
    pub fn reset(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.command(&Command::Rset, Step::Reset, tx);
        Ok(())
    }

    /// Gives NOOP.
    ///
    /// # Errors
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first.
    pub fn noop(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.simple(&Command::Noop, Step::Noop, tx)
    }

    /// Gives HELP, about a topic if that is not empty.
    ///
    /// # Errors
    /// [`InvalidArgument`](Misuse::InvalidArgument) if the topic is not printable US-ASCII;
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first.
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
    /// [`WrongState`](Misuse::WrongState) if a reply must be awaited first.
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
    /// [`WrongState`](Misuse::WrongState) in the middle of a message or an authentication, or if DATA is outstanding.
    pub fn quit(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.simple(&Command::Quit, Step::Quit, tx)
    }

    /// Whether a part of a message or of its envelope may leave: not on cleartext, unless that was allowed.
    fn check_mail(&self) -> Result<(), Error> {
        self.core.check_group()?;
        if C::SECURE || self.core.config.allows_cleartext() { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    fn simple(&mut self, command: &Command<'_>, step: Step, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_group()?;
        self.core.command(command, step, tx);
        Ok(())
    }

    /// What the server offers. Empty until [`Event::Capabilities`], and anew behind STARTTLS.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities<'static> {
        &self.core.capabilities
    }

    /// Whether every command that was given has its reply and no message is being written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.core.state, State::Session) && self.core.outstanding() == 0
    }

    /// Whether a whole message is sent and the reply to it is to come. If the connection is lost now, nobody knows
    /// whether the server took it.
    #[must_use]
    pub fn is_message_sent(&self, tx: &SendBuffer) -> bool {
        self.core.message_is_sent(tx)
    }

    /// What the mechanism itself said of the last refusal (the JSON of XOAUTH2 and OAUTHBEARER, the error of SCRAM), or why
    /// we cancelled.
    #[must_use]
    pub fn authentication_failure(&self) -> Option<&str> {
        self.core.auth_failure.as_deref()
    }

    /// Whether the server has answered 500 or 501 to an AUTH command with an initial response: some do not understand it.
    /// None is sent any more in this session, so that it may help to authenticate once again by the same mechanism. The
    /// machine does not do so by itself: what it says it was told to say.
    #[must_use]
    pub const fn has_refused_initial_response(&self) -> bool {
        self.core.initial_refused
    }

    /// How many replies were read that break the rules and could be read all the same.
    #[must_use]
    pub const fn repairs(&self) -> &Repairs {
        self.core.repairs()
    }

    /// Whether more input could help now.
    #[must_use]
    pub fn wants_read(&self, _: &SendBuffer) -> bool {
        self.core.wants_read()
    }

    /// What is awaited, and how long at most.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// What [`wait`](Self::wait) named did not come in time.
    ///
    /// # Errors
    /// The session is over, unless nothing was awaited of the server.
    pub fn timed_out(&mut self, _: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out()
    }

    /// Whether the session has ended in order: close.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.core.state, State::Closed)
    }

    /// The channel.
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

impl Core {
    /// Whether a command may be given that must stand alone.
    fn check_alone(&self) -> Result<(), Error> {
        self.check_session()?;
        if self.outstanding() == 0 { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    /// Whether a command may be given behind those that are outstanding (RFC 2920 §3.1).
    fn check_group(&self) -> Result<(), Error> {
        self.check_session()?;
        let open_group = match self.last_step() {
            None => true,
            Some(
                Step::Mail | Step::Rcpt(_) | Step::Reset | Step::Message(_) | Step::Chunk | Step::XForward,
            ) => {
                // Whose replies are still to come must not be mixed up with the next one's.
                self.pipelines() && self.awaiting_verdict.is_empty()
            }
            Some(_) => false,
        };
        if open_group { Ok(()) } else { Err(Misuse::WrongState.into()) }
    }

    fn check_session(&self) -> Result<(), Error> {
        match self.state {
            State::Session => Ok(()),
            State::Failed(error) => Err(error),
            State::Closed => Err(Misuse::Closed.into()),
            _ => Err(Misuse::WrongState.into()),
        }
    }

    /// Whether commands may be given without waiting.
    fn pipelines(&self) -> bool {
        self.config.pipelining != Pipelining::Off && self.capabilities.contains(Extension::Pipelining)
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    let good = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if good { Ok(()) } else { Err(Misuse::InvalidArgument.into()) }
}
