//! An SMTP login and its outcome.

use proto_mail::{Channel, Credentials, Mechanism, SendBuffer, sasl::MechanismChoice};
use proto_smtp::client::{AuthOutcome, Client, Event, Step};

use super::{error::ClientError, smtp_state::SmtpState};
use crate::error::Error;

/// A login with the first usable mechanism of a list. Some servers do not understand an initial response: the login is then
/// tried once more, without one.
#[derive(Debug)]
pub struct SmtpLogin<'l, B> {
    order: &'l [Mechanism],
    credentials: &'l Credentials,
    begin: B,
    had_refused_initial_response: bool,
}

impl<'l, B> SmtpLogin<'l, B> {
    /// A login that `begin` starts, with [`Client::authenticate`](proto_smtp::client::Client::authenticate) for example.
    pub const fn new(order: &'l [Mechanism], credentials: &'l Credentials, begin: B) -> Self {
        Self { order, credentials, begin, had_refused_initial_response: false }
    }

    /// Sends the first command.
    ///
    /// # Errors
    /// [`AuthenticationFailed`](Error::AuthenticationFailed) if no mechanism fits; those of `begin`.
    pub fn start<C: Channel>(
        &mut self,
        state: &mut SmtpState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ClientError>
    where
        B: FnMut(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    {
        self.had_refused_initial_response = client.has_refused_initial_response();
        let mechanism = chosen(client.choose_mechanism(self.order, self.credentials))?;
        (self.begin)(client, mechanism, self.credentials.duplicate(), tx)?;
        state.await_replies();
        Ok(())
    }

    /// Returns `Some` once the client is logged in.
    ///
    /// # Errors
    /// [`AuthenticationFailed`](Error::AuthenticationFailed) if the server refuses the credentials.
    pub fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        state: &mut SmtpState,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<()>, ClientError>
    where
        B: FnMut(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    {
        match outcome(event, client) {
            Some(Err(_))
                if !self.had_refused_initial_response
                    && client.has_refused_initial_response()
                    && client.is_idle() =>
            {
                self.start(state, client, tx)?;
                Ok(None)
            }
            outcome => outcome.transpose(),
        }
    }
}

/// Returns how an authentication has ended; `None` if the event does not end it.
fn outcome<C: Channel>(event: &Event<'_>, client: &Client<C>) -> Option<Result<(), ClientError>> {
    let response = match event {
        Event::Auth(AuthOutcome::Accepted(_)) => return Some(Ok(())),
        Event::Auth(AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response))
        | Event::Rejected(Step::Auth, response)
        | Event::Closed(Some(response)) => response,
        _ => return None,
    };
    let mut reply = response.to_string();
    if let Some(reason) = client.authentication_failure() {
        reply = format!("{reply} ({reason})");
    }
    let code = Some(response.code().get());
    Some(Err(Error::AuthenticationFailed { code, reply }.into()))
}

/// That no mechanism fits is a failed login, not a mistake of the program.
fn chosen(choice: MechanismChoice) -> Result<Mechanism, ClientError> {
    choice
        .into_result()
        .map_err(|reasons| Error::AuthenticationFailed { code: None, reply: reasons.to_string() }.into())
}
