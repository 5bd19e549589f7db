//! An IMAP login and its outcome.

use proto_imap::client::{AuthOutcome, Client, CommandId, Event};
use proto_imap::types::StatusResponse;
use proto_mail::{Channel, SendBuffer};

use super::{
    error::ClientError,
    imap_state::{ImapState, accepted},
};
use crate::error::Error;

/// A login. Some servers offer SASL-IR and do not understand an initial response: the login is then tried once more,
/// without one.
#[derive(Debug)]
pub struct ImapLogin<B> {
    begin: B,
    attempt: Option<CommandId>,
    had_refused_initial_response: bool,
}

impl<B> ImapLogin<B> {
    /// A login that `begin` starts, with [`Client::authenticate`](proto_imap::client::Client::authenticate) for example.
    pub const fn new(begin: B) -> Self {
        Self { begin, attempt: None, had_refused_initial_response: false }
    }

    /// Sends the first command.
    ///
    /// # Errors
    /// [`AuthenticationFailed`](Error::AuthenticationFailed) if no mechanism fits; those of `begin`.
    pub fn start<C: Channel>(
        &mut self,
        state: &mut ImapState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError>
    where
        B: FnMut(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    {
        self.had_refused_initial_response = client.has_refused_initial_response();
        let id = (self.begin)(client, tx).map_err(no_mechanism)?;
        state.await_completion(id);
        self.attempt = Some(id);
        Ok(())
    }

    /// Returns `Some` once the client is logged in.
    ///
    /// # Errors
    /// [`ClientError::ImapLogin`] if the server refuses the credentials, [`ClientError::Imap`] if it cannot check them at
    /// the moment; [`AuthenticationFailed`](Error::AuthenticationFailed) if it did not prove its identity.
    pub fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        state: &mut ImapState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<()>, ClientError>
    where
        B: FnMut(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    {
        match self.outcome(event) {
            Some(Err(_)) if !self.had_refused_initial_response && client.has_refused_initial_response() => {
                self.start(state, client, tx)?;
                Ok(None)
            }
            outcome => outcome.transpose(),
        }
    }

    /// Returns how the attempt has ended; `None` if the event does not end it.
    fn outcome(&self, event: &Event<'_>) -> Option<Result<(), ClientError>> {
        match event {
            Event::Auth(AuthOutcome::Accepted { .. }) => Some(Ok(())),
            // The client gave up, because the server did not prove its identity for example.
            Event::Auth(AuthOutcome::Cancelled { reason: Some(reason), .. }) => {
                Some(Err(Error::AuthenticationFailed { code: None, reply: reason.clone() }.into()))
            }
            Event::Auth(outcome) => Some(logged_in(outcome.status())),
            Event::Completed { id, status } if Some(*id) == self.attempt => Some(logged_in(status)),
            _ => None,
        }
    }
}

/// A refusal is a failed login, unless the same attempt may succeed later.
fn logged_in(status: &StatusResponse<'_>) -> Result<(), ClientError> {
    match accepted(status) {
        Err(error) if error.is_retryable() => Err(error),
        Err(ClientError::Imap(status)) => Err(ClientError::ImapLogin(status)),
        outcome => outcome.map(drop),
    }
}

/// That no mechanism fits is a failed login, not a mistake of the program.
fn no_mechanism(error: proto_mail::Error) -> ClientError {
    match error {
        proto_mail::Error::Misuse(proto_mail::Misuse::NoMechanism(reasons)) => {
            Error::AuthenticationFailed { code: None, reply: reasons.to_string() }.into()
        }
        error => error.into(),
    }
}
