//! Greeting, EHLO and login of an SMTP session.

use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Credentials, Mechanism, SendBuffer};
use proto_smtp::client::{AuthOutcome, Client, Event};
use proto_smtp::types::Response;

use crate::channel::ClientChannel;
use crate::endpoint::{Encryption, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::login::{self, AttemptOutcome, LoggedIn, Login, LoginClient, LoginRefusal, LoginStep, Renewal};
use crate::refusal::smtp_refusal_reason;
use crate::refusal_error::smtp_session_error;
use crate::server_reply::ServerReply;
use crate::task::{Task, TaskStep};

impl<C: ClientChannel> LoginClient for Client<C> {
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        Self::choose_mechanism(self, order, credentials)
    }

    fn has_login_command(&self) -> bool {
        false
    }

    fn has_refused_initial_response(&self) -> bool {
        Self::has_refused_initial_response(self)
    }

    fn start_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let Some(mechanism) = mechanism else {
            return Err(login::cannot_log_in(&"SMTP has no LOGIN command"));
        };
        C::start_smtp_login(self, credentials.duplicate(), mechanism, tx)
            .map_err(|error| login::cannot_log_in(&error))
    }

    fn login_outcome(
        &self,
        event: &Event<'_>,
        mechanism: Option<Mechanism>,
    ) -> Result<Option<AttemptOutcome>, Error> {
        match event {
            Event::Auth(AuthOutcome::Accepted(_)) => Ok(Some(AttemptOutcome::Accepted)),
            Event::Auth(AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response)) => {
                let reason = smtp_refusal_reason(response, login::refused_step(mechanism));
                let refusal = LoginRefusal { reason, reply: ServerReply::smtp(response) };
                Ok(Some(AttemptOutcome::Refused(refusal.with_details(self.authentication_failure()))))
            }
            Event::Closed(response) => Err(session_refused(response.as_ref())),
            _ => Ok(None),
        }
    }
}

/// Waits until the server has answered EHLO.
#[derive(Debug, Default)]
pub struct AwaitReady(());

impl AwaitReady {
    /// A new task.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<C: Channel> Task<Client<C>> for AwaitReady {
    type Output = ();

    fn ready(&mut self, _: &mut Client<C>, _: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        _: &mut Client<C>,
        _: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        match event {
            Event::Capabilities(_) => Ok(TaskStep::Done(())),
            Event::Rejected(_, response) => Err(session_refused(Some(&response))),
            Event::Closed(response) => Err(session_refused(response.as_ref())),
            _ => Ok(TaskStep::Waiting),
        }
    }
}

/// Returns the error for a server that ends the session. `None`: it closed the connection without a reply.
pub(crate) fn session_refused(response: Option<&Response<'_>>) -> Error {
    match response {
        Some(response) => smtp_session_error(response),
        None => Error::new(ErrorKind::Temporary, "the server closed the connection")
            .advise("try again later")
            .remote(),
    }
}

/// Returns the extensions that the server offers, with their parameters.
#[must_use]
pub fn extensions<C: Channel>(client: &Client<C>) -> Vec<String> {
    let keywords = client.capabilities().into_iter().flat_map(|capabilities| capabilities.keywords());
    keywords
        .map(|(keyword, value)| {
            let text = [keyword, value].map(|part| String::from_utf8_lossy(part).into_owned()).join(" ");
            text.trim_end().to_owned()
        })
        .collect()
}

/// Logs in to a server that has answered EHLO.
#[derive(Debug)]
pub struct LogIn {
    login: Login,
    encryption: Encryption,
    is_started: bool,
}

impl LogIn {
    /// A login with these credentials.
    #[must_use]
    pub fn new(endpoint: &Endpoint, credentials: Credentials, renewal: Renewal) -> Self {
        Self {
            login: Login::new(endpoint.allowed_mechanisms(), credentials, renewal),
            encryption: endpoint.encryption_mode(),
            is_started: false,
        }
    }
}

impl<C: ClientChannel> Task<Client<C>> for LogIn {
    type Output = LoggedIn;

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<LoggedIn>, Error> {
        if self.is_started {
            return Ok(TaskStep::Waiting);
        }
        if self.encryption == Encryption::DangerCleartext {
            return Err(login::needs_tls());
        }
        self.is_started = true;
        self.login.start(client, tx).map(into_task_step)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<LoggedIn>, Error> {
        self.login.event(&event, client, tx).map(into_task_step)
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<LoggedIn>, Error> {
        self.login.renewed(credentials, client, tx).map(into_task_step)
    }
}

fn into_task_step(step: LoginStep) -> TaskStep<LoggedIn> {
    match step {
        LoginStep::Event => TaskStep::Waiting,
        LoginStep::RenewCredentials => TaskStep::RenewCredentials,
        LoginStep::Done(logged_in) => TaskStep::Done(logged_in),
    }
}
