//! A blocking IMAP session over the client machine: connect, log in, send commands and wait for their completion.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_mio::{Connection, ConnectionEvent, Connector, ImapClient};
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod};
use proto_imap::config::Config;
use proto_imap::state::State;
use proto_imap::types::{Command, Condition, ListCommand, ListPattern, RawCommand, StatusResponse, Untagged};
use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Misuse, Secure, SendBuffer};

use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::folder::{Folder, Listing};
use crate::interrupt::{self, Interrupt};
use crate::login::{self, LoggedIn, LoginRefusal, LoginSession};
use crate::refusal_errors;
use crate::refusal_reason::imap_refusal_reason;
use crate::server_reply::ServerReply;
use crate::url::{Protocol, Url};

/// The ID command (RFC 2971).
const ID: &str = concat!(
    "ID (\"name\" \"",
    env!("CARGO_PKG_NAME"),
    "\" \"version\" \"",
    env!("CARGO_PKG_VERSION"),
    "\" \"vendor\" \"",
    env!("CARGO_PKG_NAME"),
    "\")"
);

/// How long to wait for useful data while the server sends other data. `--timeout`, which limits silence, sets it to
/// [`USELESS_FACTOR`] times its value.
const USELESS_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const USELESS_FACTOR: u32 = 4;

/// How long to wait for the server's answer to LOGOUT.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Work to do with a session on either channel.
pub(crate) trait Task {
    type Output;
    type Error: From<CommandError>;

    /// Does the work, and logs out.
    fn run<C: SessionChannel>(self, session: Session<C>) -> Result<Self::Output, Self::Error>;
}

/// Connects, with TLS unless the user chose cleartext, and runs the task.
pub(crate) fn with_session<T: Task>(
    endpoint: &Endpoint,
    connector: &Connector,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.is_cleartext()? {
        task.run(Cleartext::open(endpoint, connector)?)
    } else {
        task.run(Secure::open(endpoint, connector)?)
    }
}

/// A channel on which a session can be opened. What connecting and logging in need depends on the channel.
pub(crate) trait SessionChannel: Channel + Sized {
    /// Connects.
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, CommandError>;

    /// Sends the first command of a login.
    fn start_login(
        client: &mut Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error>;
}

impl SessionChannel for Secure {
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, CommandError> {
        let connection = connector.connect::<ImapClient>(&endpoint.target(), &Arc::new(Config::default()))?;
        Ok(Session::new(connection, endpoint))
    }

    fn start_login(
        client: &mut Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        client.authenticate(method, credentials, tx)
    }
}

impl SessionChannel for Cleartext {
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, CommandError> {
        let config = Arc::new(Config::default().danger_cleartext());
        let connection = connector.danger_connect_cleartext::<ImapClient>(&endpoint.target(), &config)?;
        let may_log_in = endpoint.options.danger_cleartext_login;
        Ok(Session { may_log_in, ..Session::new(connection, endpoint) })
    }

    fn start_login(
        client: &mut Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        client.danger_cleartext_authenticate(method, credentials, tx)
    }
}

/// A session.
pub(crate) struct Session<C: Channel> {
    pub(crate) connection: Connection<Client<C>>,
    may_log_in: bool,
    /// How long to wait for useful data while the server sends other data.
    useless_timeout: Duration,
    /// The server's BYE.
    bye: Option<ServerReply>,
    /// Whether the server has sent its greeting.
    is_greeted: bool,
    /// Whether the client has sent ID.
    is_identified: bool,
    /// Checked while the session waits.
    pub(crate) interrupt: Option<Interrupt>,
}

impl<C: Channel> Session<C> {
    fn new(connection: Connection<Client<C>>, endpoint: &Endpoint) -> Self {
        let useless_timeout = endpoint
            .options
            .timeout
            .map_or(USELESS_TIMEOUT, |seconds| Duration::from_secs(seconds).saturating_mul(USELESS_FACTOR));
        Self {
            connection,
            may_log_in: true,
            useless_timeout,
            bye: None,
            is_greeted: false,
            is_identified: false,
            interrupt: None,
        }
    }
}

impl<C: SessionChannel> Session<C> {
    /// Drives the connection until `step` returns a result.
    ///
    /// The last argument of `step` is the time of the last useful data. `step` updates it, so that a server that sends
    /// only other data causes a timeout.
    ///
    /// # Errors
    /// The step or the connection failed, the server sent no useful data in time, or the user interrupted the command.
    pub(crate) fn drive<T>(
        &mut self,
        mut step: impl FnMut(
            ConnectionEvent<'_, Client<C>>,
            &mut Client<C>,
            &mut SendBuffer,
            &mut Instant,
        ) -> Result<Option<T>, CommandError>,
    ) -> Result<T, CommandError> {
        let mut useful = Instant::now();
        loop {
            if let Some(interrupt) = &self.interrupt {
                interrupt.check()?;
            }
            let deadline = useful.checked_add(self.useless_timeout).unwrap_or(useful);
            let until = match &self.interrupt {
                Some(_) => deadline.min(Instant::now() + interrupt::CHECK_INTERVAL),
                None => deadline,
            };
            let (bye, is_greeted) = (&mut self.bye, &mut self.is_greeted);
            let driven = self.connection.drive_until(until, |turn, client, tx| {
                match &turn {
                    ConnectionEvent::Machine(Event::Bye(status)) => *bye = Some(ServerReply::imap(status)),
                    ConnectionEvent::Machine(Event::Greeting(_)) => *is_greeted = true,
                    _ => {}
                }
                step(turn, client, tx, &mut useful)
            });
            match driven {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(failure) => return Err(self.explain(failure)),
            }
            if useful.elapsed() >= self.useless_timeout {
                return Err(CommandError::new(
                    ExitCode::TryAgain,
                    format!("the server sent only unrequested data for {:?}", self.useless_timeout),
                )
                .advise("try again later")
                .remote());
            }
        }
    }

    /// Replaces the error by the server's BYE, if it sent one before the connection closed.
    fn explain(&mut self, error: CommandError) -> CommandError {
        if error.server.is_some() {
            return error;
        }
        let what = if self.is_greeted {
            "the server ended the session"
        } else {
            "the server refuses the connection"
        };
        match self.bye.take() {
            Some(reply) => refusal_errors::imap_bye_error(reply, what).closed(),
            None => error,
        }
    }

    /// Waits for the server's capabilities, and returns their names.
    pub(crate) fn capabilities(&mut self) -> Result<Vec<String>, CommandError> {
        self.drive(|turn, client, _, _| {
            if client.capabilities().is_none()
                || !matches!(turn, ConnectionEvent::Machine(Event::Capabilities) | ConnectionEvent::Writable)
            {
                return Ok(None);
            }
            let names = client.capabilities().map(|known| known.iter().map(lossy).collect());
            Ok(names)
        })
    }

    /// Logs in, and sends ID if the server offers it and the user did not disable it.
    pub(crate) fn log_in(
        &mut self,
        endpoint: &Endpoint,
        credentials: &Credentials,
    ) -> Result<LoggedIn, CommandError> {
        if !self.may_log_in {
            return Err(login::needs_tls());
        }
        self.capabilities()?;
        if self.connection.machine().state() != Some(State::NotAuthenticated) {
            return Err(CommandError::new(
                ExitCode::Refused,
                "the server has already authenticated the session (PREAUTH), so it is unknown whose mail it serves",
            )
            .advise("check host and port; a public server requires a login")
            .remote());
        }
        let logged_in = login::log_in(self, endpoint, credentials)?;
        if !endpoint.options.no_id {
            let offered = self.capabilities()?;
            if offered.iter().any(|name| name.eq_ignore_ascii_case("ID")) {
                self.identify()?;
            }
        }
        Ok(logged_in)
    }

    /// Sends ID (RFC 2971), once per session, and ignores a refusal. Returns whether it was sent now.
    pub(crate) fn identify(&mut self) -> Result<bool, CommandError> {
        if std::mem::replace(&mut self.is_identified, true) {
            return Ok(false);
        }
        let sent = self.connection.with(|client, tx| {
            // A raw command, because some servers require ID without listing it.
            let id = RawCommand::new(ID).map_err(|_| Misuse::InvalidArgument)?;
            client.send(&Command::Raw(id), tx)
        })?;
        self.drive(|turn, _, _, _| match turn {
            ConnectionEvent::Machine(Event::Completed { id, .. }) if id == sent => Ok(Some(())),
            _ => Ok(None),
        })?;
        Ok(true)
    }

    /// Sends a command and waits for its completion. `data` handles the events before that, and returns whether each was
    /// useful.
    pub(crate) fn run_command(
        &mut self,
        command: &Command<'_>,
        mut data: impl FnMut(Event<'_>) -> Result<bool, CommandError>,
    ) -> Result<(), CommandError> {
        let what = format!("the server refused {}", command.name());
        let sent = self.connection.with(|client, tx| client.send(command, tx))?;
        self.drive(|turn, _, _, useful| match turn {
            ConnectionEvent::Machine(Event::Completed { id, status }) if id == sent => {
                accepted(&status, &what).map(Some)
            }
            ConnectionEvent::Machine(event) => {
                if data(event)? {
                    *useful = Instant::now();
                }
                Ok(None)
            }
            ConnectionEvent::Writable => Ok(None),
        })
    }

    /// Lists the folders of the account. A name that is too long is cut, and [`Folder::check_name`] refuses it.
    ///
    /// # Errors
    /// [`ExitCode::Protocol`] if the server lists too many folders, or too many bytes of names.
    pub(crate) fn folders(&mut self) -> Result<Vec<Folder>, CommandError> {
        let mut listing = Listing::default();
        self.list(&mut listing)?;
        Ok(listing.sorted())
    }

    /// Adds the folders to `listing`, which keeps those that came before a failure.
    pub(crate) fn list(&mut self, listing: &mut Listing) -> Result<(), CommandError> {
        let patterns = [ListPattern::ALL];
        self.run_command(&Command::List(ListCommand::new(&patterns)), |event| {
            let Event::Data(Untagged::List(listed)) = event else { return Ok(false) };
            listing.add(&listed)?;
            Ok(true)
        })
    }

    /// Logs out and closes the connection. Ignores errors.
    pub(crate) fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let until = Instant::now() + LOGOUT_TIMEOUT;
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed) => Ok::<_, CommandError>(Some(())),
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
        true
    }

    fn has_refused_initial_response(&self) -> bool {
        self.connection.machine().has_refused_initial_response()
    }

    fn try_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: Credentials,
    ) -> Result<Option<LoginRefusal>, CommandError> {
        let method = mechanism.map_or(LoginMethod::Strongest, LoginMethod::Mechanism);
        self.connection
            .with(|client, tx| C::start_login(client, &credentials, method, tx))
            .map_err(|error| login::cannot_log_in(&error))?;
        self.drive(|turn, _, _, _| match turn {
            ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted { .. })) => Ok(Some(None)),
            ConnectionEvent::Machine(Event::Auth(outcome)) => {
                let (status, details) = (outcome.status(), outcome.reason());
                let reply = ServerReply::imap(status);
                let reason = imap_refusal_reason(&reply, status.condition, login::refused_step(mechanism));
                Ok(Some(Some(LoginRefusal { reason, reply }.with_details(details))))
            }
            _ => Ok(None),
        })
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns `Ok` if the command succeeded. `what` says what the server refused otherwise.
pub(crate) fn accepted(status: &StatusResponse<'_>, what: &str) -> Result<(), CommandError> {
    if status.condition == Condition::Ok {
        Ok(())
    } else {
        Err(refusal_errors::imap_command_error(status, what))
    }
}

/// Checks that the URL is an IMAP URL.
pub(crate) fn require_imap(url: &Url) -> Result<(), CommandError> {
    if url.protocol == Protocol::Imap {
        return Ok(());
    }
    Err(CommandError::new(ExitCode::Usage, "this command needs an IMAP URL")
        .advise("use imaps://user@host or imap://user@host"))
}

/// Returns the error for a URL without a user.
pub(crate) fn missing_user() -> CommandError {
    CommandError::new(ExitCode::Usage, "the URL names no user").advise("use imaps://user@host")
}
