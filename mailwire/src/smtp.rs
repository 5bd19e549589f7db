//! A blocking SMTP session over the client machine: connect, log in, quit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_mio::{Connection, ConnectionEvent, Connector, SmtpClient};
use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event};
use proto_smtp::types::{Capabilities, ExtensionSet, Response};

use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::login::{self, LoggedIn, LoginRefusal, LoginSession};
use crate::refusal_errors;
use crate::refusal_reason::smtp_refusal_reason;
use crate::server_reply::ServerReply;

/// How long to wait for the server's reply to QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Work to do with a session on either channel.
pub(crate) trait Task {
    type Output;
    type Error: From<CommandError>;

    /// Does the work.
    fn run<C: SessionChannel>(self, session: &mut Session<C>) -> Result<Self::Output, Self::Error>;
}

/// Connects, with TLS unless the user chose cleartext, runs the task and quits.
pub(crate) fn with_session<T: Task>(
    endpoint: &Endpoint,
    connector: &Connector,
    config: Config,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.is_cleartext()? {
        run(Cleartext::open(endpoint, connector, config)?, task)
    } else {
        run(Secure::open(endpoint, connector, config)?, task)
    }
}

fn run<C: SessionChannel, T: Task>(mut session: Session<C>, task: T) -> Result<T::Output, T::Error> {
    let done = task.run(&mut session);
    session.quit();
    done
}

/// A channel on which a session can be opened. What connecting and logging in need depends on the channel.
pub(crate) trait SessionChannel: Channel + Sized {
    /// Connects.
    fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> Result<Session<Self>, CommandError>;

    /// Sends AUTH.
    fn start_login(
        client: &mut Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), Error>;
}

impl SessionChannel for Secure {
    fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> Result<Session<Self>, CommandError> {
        let connection = connector.connect::<SmtpClient>(&endpoint.target(), &Arc::new(config))?;
        Ok(Session { connection, may_log_in: true, is_ready: false, end: SessionEnd::Quit })
    }

    fn start_login(
        client: &mut Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        client.authenticate(mechanism, credentials, tx)
    }
}

impl SessionChannel for Cleartext {
    fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> Result<Session<Self>, CommandError> {
        let config = Arc::new(config.danger_cleartext());
        let connection = connector.danger_connect_cleartext::<SmtpClient>(&endpoint.target(), &config)?;
        let may_log_in = endpoint.options.danger_cleartext_login;
        Ok(Session { connection, may_log_in, is_ready: false, end: SessionEnd::Quit })
    }

    fn start_login(
        client: &mut Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        client.danger_cleartext_authenticate(mechanism, credentials, tx)
    }
}

/// A session.
pub(crate) struct Session<C: Channel> {
    pub(crate) connection: Connection<Client<C>>,
    may_log_in: bool,
    /// Whether the server has answered EHLO.
    is_ready: bool,
    /// How the session ends.
    pub(crate) end: SessionEnd,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// With QUIT.
    Quit,
    /// By closing the connection.
    Close,
}

impl<C: Channel> Session<C> {
    /// Returns the set of known extensions that the server offers; empty before it has answered EHLO.
    pub(crate) fn offered(&self) -> ExtensionSet {
        self.connection.machine().capabilities().map_or(ExtensionSet::NONE, Capabilities::extensions)
    }
}

impl<C: SessionChannel> Session<C> {
    /// Waits until the server has answered EHLO. Calls `greeting` with the server's greeting, unless the connection has
    /// read it already.
    pub(crate) fn ready<E: From<CommandError> + From<io_mio::Error>>(
        &mut self,
        mut greeting: impl FnMut(&Response<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_ready {
            return Ok(());
        }
        self.connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(Event::Greeting(response)) => greeting(&response).map(|()| None),
            ConnectionEvent::Machine(Event::Capabilities(_)) => Ok(Some(())),
            ConnectionEvent::Machine(Event::Rejected(_, response)) => {
                Err(session_refused(Some(&response)).into())
            }
            ConnectionEvent::Machine(Event::Closed(response)) => {
                Err(session_refused(response.as_ref()).into())
            }
            _ => Ok(None),
        })?;
        self.is_ready = true;
        Ok(())
    }

    /// Returns the extensions that the server offers, with their parameters.
    pub(crate) fn extensions(&self) -> Vec<String> {
        let capabilities = self.connection.machine().capabilities();
        let keywords = capabilities.into_iter().flat_map(|capabilities| capabilities.keywords());
        keywords
            .map(|(keyword, value)| {
                let text = [keyword, value].map(|part| String::from_utf8_lossy(part).into_owned()).join(" ");
                text.trim_end().to_owned()
            })
            .collect()
    }

    /// Logs in.
    pub(crate) fn log_in(
        &mut self,
        endpoint: &Endpoint,
        credentials: &Credentials,
    ) -> Result<LoggedIn, CommandError> {
        if !self.may_log_in {
            return Err(login::needs_tls());
        }
        self.ready(|_| Ok::<_, CommandError>(()))?;
        login::log_in(self, endpoint, credentials)
    }

    /// Ends the session and closes the connection. Ignores errors.
    fn quit(self) {
        let mut connection = self.connection;
        if self.end == SessionEnd::Quit && connection.with(|client, tx| client.quit(tx)).is_ok() {
            let until = Instant::now() + QUIT_TIMEOUT;
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed(_)) => Ok::<_, CommandError>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}

impl<C: SessionChannel> LoginSession for Session<C> {
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        self.connection.machine().choose_mechanism(order, credentials)
    }

    fn has_login_command(&self) -> bool {
        false
    }

    fn has_refused_initial_response(&self) -> bool {
        self.connection.machine().has_refused_initial_response()
    }

    fn try_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: Credentials,
    ) -> Result<Option<LoginRefusal>, CommandError> {
        let Some(mechanism) = mechanism else {
            return Err(login::cannot_log_in(&"SMTP has no LOGIN command"));
        };
        self.connection
            .with(|client, tx| C::start_login(client, credentials, mechanism, tx))
            .map_err(|error| login::cannot_log_in(&error))?;
        self.connection.drive(|turn, client, _| match turn {
            ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted(_))) => Ok(Some(None)),
            ConnectionEvent::Machine(Event::Auth(
                AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response),
            )) => {
                let reason = smtp_refusal_reason(&response, login::refused_step(Some(mechanism)));
                let refusal = LoginRefusal { reason, reply: ServerReply::smtp(&response) };
                Ok(Some(Some(refusal.with_details(client.authentication_failure()))))
            }
            ConnectionEvent::Machine(Event::Closed(response)) => Err(session_refused(response.as_ref())),
            _ => Ok(None),
        })
    }
}

/// Returns the error for a server that ends the session. `None`: it closed the connection without a reply.
pub(crate) fn session_refused(response: Option<&Response<'_>>) -> CommandError {
    match response {
        Some(response) => refusal_errors::smtp_session_error(response),
        None => CommandError::new(ExitCode::TryAgain, "the server closed the connection")
            .advise("try again later")
            .remote(),
    }
}
