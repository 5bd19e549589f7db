//! The client's machine for both channels: a session in progress, or its result.
//!
//! When a session ends, the machine discards everything it held: queued commands, secrets, received data. Only the
//! result remains, and every later call returns it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use proto_mail::sasl::{self, ClientExchange, MechanismChoice};
use proto_mail::{
    Credentials, Error, Mechanism, Mechanisms, Misuse, PeerError, RecvBuffer, SendBuffer, Wait, WaitFor,
};

use super::auth::LoginMethod;
use super::capabilities::Capabilities;
use super::command_id::CommandId;
use super::compression::Compression;
use super::event::Event;
use super::session::{Session, Trust};
use crate::config::Config;
use crate::state::State;
use crate::types::{AppendMessage, Command, Condition, MailboxName, NameEncoding, Repairs, ReplacedMessage};

/// The machine.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every machine has a session in progress: a box would only add a look-up"
)]
pub(crate) enum Core {
    /// The session is in progress.
    InProgress(Session),
    /// The session is over.
    Ended(Ended),
}

/// The result of a session.
pub(crate) struct Ended {
    /// The error; `None` if the session ended normally.
    error: Option<Error>,
    generation: u32,
    repairs: Repairs,
}

/// Leaves out the repairs, because they do not affect behavior.
impl core::fmt::Debug for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { error, generation, repairs: _ } = self;
        f.debug_struct("Ended").field("error", error).field("generation", generation).finish()
    }
}

/// The clones are kept out of the functions that events pass through.
impl Ended {
    /// Returns how the session ended.
    #[cold]
    fn result(&self) -> Result<(), Error> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Returns the session's error, or this one if it ended without an error.
    #[cold]
    fn error_or(&self, otherwise: Misuse) -> Error {
        self.error.clone().unwrap_or(Error::Misuse(otherwise))
    }
}

impl Core {
    pub(super) fn new(config: Arc<Config>, trust: Trust) -> Self {
        Self::InProgress(Session::new(config, trust))
    }

    /// Creates a client over this channel.
    pub(super) fn secure(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::InProgress(Session::new(config, Trust::Secure).bound_to(secure))
    }

    /// Creates a client over this channel whose greeting arrived before TLS.
    pub(super) fn upgraded(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::InProgress(Session::greeted(config, Trust::Secure).bound_to(secure))
    }

    /// Sets the seed of nonces, so that mechanisms that need a nonce can be used in cleartext.
    pub(super) fn set_seed(&mut self, seed: proto_mail::Secret<[u8; 32]>) {
        if let Self::InProgress(session) = self {
            session.sasl.context = sasl::SaslContext::cleartext().with_seed(seed);
        }
    }

    /// Returns the session in progress.
    ///
    /// # Errors
    /// The session's result, if it has ended.
    fn session(&mut self) -> Result<&mut Session, Error> {
        match self {
            Self::InProgress(session) => Ok(session),
            Self::Ended(ended) => Err(ended.error_or(Misuse::Closed)),
        }
    }

    const fn session_ref(&self) -> Option<&Session> {
        match self {
            Self::InProgress(session) => Some(session),
            Self::Ended(_) => None,
        }
    }

    /// Ends the session with this error.
    #[cold]
    fn fail(&mut self, error: &Error) {
        self.end(Some(error.clone()));
    }

    /// Replaces the session by its result.
    fn end(&mut self, error: Option<Error>) {
        if let Self::InProgress(session) = self {
            let generation = session.generation().wrapping_add(1);
            let repairs = session.context.repairs.clone();
            *self = Self::Ended(Ended { error, generation, repairs });
        }
    }

    /// Ends the session if the call has failed.
    fn ended_by<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    #[inline]
    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        let session = match self {
            Self::InProgress(session) => session,
            Self::Ended(ended) => return ended.result().map(|()| None),
        };
        let found = session.next_event(rx, tx);
        // Matched in place, because an event is large: moving it costs more than finding it.
        match &found {
            Ok(Some(Event::Closed)) => self.end(None),
            Err(error) => self.fail(error),
            Ok(_) => {}
        }
        found
    }

    pub(super) fn send(&mut self, command: &Command<'_>, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.session()?.send(command, tx)
    }

    pub(super) fn append(
        &mut self,
        replaced: Option<ReplacedMessage>,
        mailbox: MailboxName<'_>,
        messages: &[AppendMessage<'_>],
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.session()?.append(replaced, mailbox, messages, tx)
    }

    pub(super) fn payload(&mut self, payload: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.session()?.payload(payload, tx)
    }

    pub(super) fn written_externally(&mut self, count: u64, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.session()?.written_externally(count, tx)
    }

    pub(super) fn compress(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.session()?.compress(tx)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.session_ref().is_some_and(|session| session.compression == Compression::On)
    }

    pub(super) fn idle(&mut self, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        self.session()?.idle(tx)
    }

    pub(super) fn done(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self {
            Self::InProgress(session) => session.done(tx),
            Self::Ended(_) => Ok(()),
        }
    }

    pub(super) fn authenticate(
        &mut self,
        method: LoginMethod,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.session()?.authenticate(method, credentials, tx)
    }

    pub(super) fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.session()?.authenticate_with(exchange, tx)
    }

    /// Sends STARTTLS.
    pub(super) fn starttls(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.session()?.starttls(tx)
    }

    /// Looks for the answer to STARTTLS and ignores all other responses.
    pub(super) fn advance_starttls(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Answer, Error> {
        let answer = match self.next_event(rx, tx)? {
            None => Answer::None,
            Some(Event::Closed) => return Err(PeerError::UnexpectedEnd.into()),
            Some(Event::Completed { status, .. }) if status.condition == Condition::Ok => Answer::Agreed,
            Some(Event::Completed { .. }) => Answer::Refused,
            Some(_) => Answer::Other,
        };
        if let Self::InProgress(session) = self {
            session.consume(rx);
        }
        Ok(answer)
    }

    /// Returns the configuration, which is all that remains when the channel changes.
    pub(super) fn into_config(self) -> Option<Arc<Config>> {
        match self {
            Self::InProgress(session) => Some(session.config),
            Self::Ended(_) => None,
        }
    }

    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self {
            Self::InProgress(session) => {
                let result = session.timed_out(tx);
                self.ended_by(result)
            }
            Self::Ended(ended) => ended.result(),
        }
    }

    pub(super) fn wait(&self) -> Wait {
        match self {
            Self::InProgress(session) => session.wait(),
            Self::Ended(ended) => Wait::forever(WaitFor::Nothing, ended.generation),
        }
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.session_ref().is_some_and(|session| {
            tx.len() < session.config.limits.output_high_water && !session.is_computing()
        })
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Ended(Ended { error: None, .. }))
    }

    /// Returns the state of a session in progress.
    pub(super) const fn state(&self) -> Option<State> {
        match self {
            Self::InProgress(session) => session.state(),
            Self::Ended(_) => None,
        }
    }

    /// Returns whether data received in cleartext are hidden from the application.
    pub(super) fn hides_untrusted_data(&self) -> bool {
        self.session_ref().is_some_and(Session::hides_untrusted_data)
    }

    pub(super) fn is_enabled(&self, capability: &str) -> bool {
        self.session_ref().is_some_and(|session| session.enabled.contains(capability.as_bytes()))
    }

    pub(super) const fn capabilities(&self) -> Option<&Capabilities> {
        match self {
            Self::InProgress(session) => session.capabilities.get(),
            Self::Ended(_) => None,
        }
    }

    pub(super) fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        let offered = self.capabilities().map_or(Mechanisms::NONE, Capabilities::mechanisms);
        match self {
            Self::InProgress(session) => sasl::choose_mechanism(
                order,
                offered,
                session.config.mechanisms,
                &session.sasl.context,
                credentials,
            ),
            Self::Ended(_) => {
                let nothing = sasl::SaslContext::cleartext();
                sasl::choose_mechanism(order, offered, Mechanisms::NONE, &nothing, credentials)
            }
        }
    }

    pub(super) fn has_refused_initial_response(&self) -> bool {
        self.session_ref().is_some_and(|session| session.sasl.initial_response_refused)
    }

    pub(super) fn name_encoding(&self) -> NameEncoding {
        self.session_ref().map_or_else(NameEncoding::default, |session| session.names)
    }

    pub(super) const fn repairs(&self) -> &Repairs {
        match self {
            Self::InProgress(session) => &session.context.repairs,
            Self::Ended(ended) => &ended.repairs,
        }
    }
}

/// The answer that [`Core::advance_starttls`] has found.
pub(super) enum Answer {
    /// No response yet.
    None,
    /// A response unrelated to TLS.
    Other,
    /// NO or BAD: the server refuses TLS.
    Refused,
    /// OK: the server agrees to TLS.
    Agreed,
}
