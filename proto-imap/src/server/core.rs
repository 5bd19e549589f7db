//! The server's machine for both channels: a session in progress, or its result.
//!
//! When a session ends, the machine discards everything it held. Only the result remains, and every later call
//! returns it.

use alloc::sync::Arc;

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer, Wait, WaitFor};

use super::Refusals;
use super::event::CoreEvent;
use super::expunges::Expunges;
use super::session::Session;
use crate::client::Trust;
use crate::config::Config;
use crate::state::State;
use crate::types::{StatusResponse, Tag};

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
#[derive(Debug)]
pub(crate) struct Ended {
    /// The error; `None` if the session ended normally.
    error: Option<Error>,
    generation: u32,
    refusals: Refusals,
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

    /// Creates a server over this channel.
    pub(super) fn secure(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::InProgress(Session::new(config, Trust::Secure).bound_to(secure))
    }

    /// Sends the greeting.
    pub(super) fn greet(self, tx: &mut SendBuffer) -> Self {
        if let Self::InProgress(session) = &self {
            session.greet(tx);
        }
        self
    }

    /// Sends BYE instead of the greeting.
    pub(super) fn refuse(mut self, status: &StatusResponse<'_>, tx: &mut SendBuffer) -> Self {
        if let Self::InProgress(session) = &mut self {
            session.refuse(status, tx);
        }
        self
    }

    /// Creates a server over this channel that has greeted its client before TLS.
    pub(super) fn upgraded(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::InProgress(Session::new(config, Trust::Secure).bound_to(secure))
    }

    /// Returns the session in progress.
    ///
    /// # Errors
    /// The session's error, or `otherwise` if it ended normally.
    fn session_or(&mut self, otherwise: Misuse) -> Result<&mut Session, Error> {
        match self {
            Self::InProgress(session) => Ok(session),
            Self::Ended(ended) => Err(ended.error_or(otherwise)),
        }
    }

    /// Returns the session in progress, for an action that the application starts itself.
    pub(super) fn session(&mut self) -> Result<&mut Session, Error> {
        self.session_or(Misuse::Closed)
    }

    /// Lets the application use a token. Ends the session if the call fails because of the peer or a limit.
    pub(super) fn answer<T>(
        &mut self,
        answer: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let answered = answer(self.session_or(Misuse::StaleToken)?);
        self.end_on_failure(&answered);
        answered
    }

    /// Ends the session if the call failed because of the peer or a limit. The application's own mistakes do not end
    /// it.
    fn end_on_failure<T>(&mut self, result: &Result<T, Error>) {
        if let Err(error @ (Error::Peer(_) | Error::Limit(_))) = result {
            self.fail(error);
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
            *self = Self::Ended(Ended { error, generation, refusals: session.counters.refusals });
        }
    }

    #[inline]
    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<CoreEvent<'i>>, Error> {
        let session = match self {
            Self::InProgress(session) => session,
            Self::Ended(ended) => return ended.result().map(|()| None),
        };
        let found = session.next_event(rx, tx);
        match &found {
            Ok(Some(CoreEvent::Closed)) => self.end(None),
            Err(error) => self.fail(error),
            Ok(_) => {}
        }
        found
    }

    /// Ends the session at the server's request.
    pub(super) fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        if let Self::InProgress(session) = self {
            session.shutdown(text, tx);
        }
    }

    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self {
            Self::InProgress(session) => {
                let result = session.timed_out(tx);
                self.end_on_failure(&result);
                result
            }
            Self::Ended(ended) => ended.result(),
        }
    }

    /// Returns the configuration, which is all that remains when the channel changes.
    pub(super) fn into_config(self) -> Option<Arc<Config>> {
        match self {
            Self::InProgress(session) => Some(session.config),
            Self::Ended(_) => None,
        }
    }

    const fn session_ref(&self) -> Option<&Session> {
        match self {
            Self::InProgress(session) => Some(session),
            Self::Ended(_) => None,
        }
    }

    pub(super) fn wait(&self) -> Wait {
        match self {
            Self::InProgress(session) => session.wait(),
            Self::Ended(ended) => Wait::forever(WaitFor::Nothing, ended.generation),
        }
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.session_ref().is_some_and(|session| session.wants_read(tx))
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Ended(Ended { error: None, .. }))
    }

    pub(super) const fn state(&self) -> State {
        match self {
            Self::InProgress(session) => session.state,
            Self::Ended(_) => State::Logout,
        }
    }

    pub(super) const fn refusals(&self) -> Refusals {
        match self {
            Self::InProgress(session) => session.counters.refusals,
            Self::Ended(ended) => ended.refusals,
        }
    }

    pub(super) fn tag(&self) -> Option<Tag<'_>> {
        self.session_ref().and_then(|session| session.tag.get())
    }

    pub(super) fn expunges(&self) -> Expunges {
        self.session_ref().map_or(Expunges::HeldBack, Session::expunges)
    }

    pub(super) fn is_enabled(&self, capability: &str) -> bool {
        self.session_ref().is_some_and(|session| session.is_enabled(capability))
    }
}
