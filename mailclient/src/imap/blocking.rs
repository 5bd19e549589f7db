//! Blocking IMAP sessions: connects, and drives tasks over an io-mio connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_mio::{Connection, ConnectionEvent, Connector, ImapClient};
use proto_imap::client::{Client, Event};
use proto_imap::config::Config;
use proto_imap::types::Command;
use proto_mail::{Cleartext, Secure, SendBuffer};

use crate::blocking::StopCheck;
use crate::channel::ClientChannel;
use crate::endpoint::{CredentialSource, Encryption, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::folder::Folder;
use crate::login::{LoggedIn, Renewal, needs_tls};
use crate::task::{Task, TaskStep};

use super::login::{AwaitCapabilities, Identify, LogIn};
use super::request::{ListFolders, Requesting};
use super::session_state::SessionState;

/// How long to wait for useful data while the server sends other data. [`Endpoint::timeout`], which limits silence, sets
/// it to [`USELESS_FACTOR`] times its value.
const USELESS_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const USELESS_FACTOR: u32 = 4;

/// How long to wait for the server's answer to LOGOUT.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Work to do with a session on either channel.
pub trait SessionTask {
    /// The result.
    type Output;
    /// The error.
    type Error: From<Error>;

    /// Does the work, and logs out.
    ///
    /// # Errors
    /// The work failed.
    fn run<C: ImapChannel>(self, session: Session<C>) -> Result<Self::Output, Self::Error>;
}

/// Connects, with TLS unless the endpoint allows cleartext, and runs the task.
///
/// # Errors
/// Connecting or the task failed.
pub fn with_session<T: SessionTask>(
    endpoint: &Endpoint,
    connector: &Connector,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.encryption_mode() == Encryption::Required {
        task.run(Secure::open(endpoint, connector)?)
    } else {
        task.run(Cleartext::open(endpoint, connector)?)
    }
}

/// A channel on which a blocking session can be opened.
pub trait ImapChannel: ClientChannel {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or TLS fails.
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error>;
}

impl ImapChannel for Secure {
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error> {
        let connection = connector.connect::<ImapClient>(&endpoint.target(), &Arc::new(Config::default()))?;
        Ok(Session::new(connection, endpoint))
    }
}

impl ImapChannel for Cleartext {
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error> {
        let config = Arc::new(Config::default().danger_cleartext());
        let connection = connector.danger_connect_cleartext::<ImapClient>(&endpoint.target(), &config)?;
        Ok(Session::new(connection, endpoint))
    }
}

/// A blocking session.
#[derive(Debug)]
pub struct Session<C: ClientChannel> {
    connection: Connection<Client<C>>,
    /// How long to wait for useful data while the server sends other data.
    useless_timeout: Duration,
    state: SessionState,
    is_identified: bool,
    stop: Option<StopCheck>,
}

impl<C: ClientChannel> Session<C> {
    fn new(connection: Connection<Client<C>>, endpoint: &Endpoint) -> Self {
        let useless_timeout =
            endpoint.silence_limit().map_or(USELESS_TIMEOUT, |limit| limit.saturating_mul(USELESS_FACTOR));
        Self { connection, useless_timeout, state: SessionState::default(), is_identified: false, stop: None }
    }

    /// Asks `stop` while the session waits.
    pub fn stop_with(&mut self, stop: &StopCheck) {
        self.stop = Some(stop.clone());
    }

    /// Drives the task until it is done. `renew` supplies a new token, if the server refused one.
    ///
    /// # Errors
    /// The task or the connection failed, the server sent no useful data in time, or the caller stopped it.
    pub fn run<T: Task<Client<C>>>(
        &mut self,
        task: &mut T,
        renew: impl Fn() -> Result<Option<proto_mail::Credentials>, Error>,
    ) -> Result<T::Output, Error> {
        self.drive(|turn, client, tx, useful| {
            let mut step = match turn {
                ConnectionEvent::Machine(event) => task.event(event, client, tx)?,
                ConnectionEvent::Writable => task.ready(client, tx)?,
            };
            while matches!(step, TaskStep::RenewCredentials) {
                step = task.renewed(renew()?, client, tx)?;
            }
            match step {
                TaskStep::Done(done) => return Ok(Some(done)),
                TaskStep::Useful => *useful = Instant::now(),
                TaskStep::Waiting | TaskStep::RenewCredentials => {}
            }
            Ok(None)
        })
    }

    /// Drives the connection until `step` returns a result.
    ///
    /// The last argument of `step` is the time of the last useful data. `step` updates it, so that a server that sends
    /// only other data causes a timeout.
    ///
    /// # Errors
    /// The step or the connection failed, the server sent no useful data in time, or the caller stopped it.
    pub fn drive<T>(
        &mut self,
        mut step: impl FnMut(
            ConnectionEvent<'_, Client<C>>,
            &mut Client<C>,
            &mut SendBuffer,
            &mut Instant,
        ) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let mut useful = Instant::now();
        loop {
            if let Some(stop) = &self.stop {
                stop.check()?;
            }
            let deadline = useful.checked_add(self.useless_timeout).unwrap_or(useful);
            let until = match &self.stop {
                Some(_) => deadline.min(Instant::now() + StopCheck::INTERVAL),
                None => deadline,
            };
            let state = &mut self.state;
            let driven = self.connection.drive_until(until, |turn, client, tx| {
                if let ConnectionEvent::Machine(event) = &turn {
                    state.note(event);
                }
                step(turn, client, tx, &mut useful)
            });
            match driven {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(failure) => return Err(self.state.explain(failure)),
            }
            if useful.elapsed() >= self.useless_timeout {
                return Err(Error::new(
                    ErrorKind::Temporary,
                    format!("the server sent only unrequested data for {:?}", self.useless_timeout),
                )
                .advise("try again later")
                .remote());
            }
        }
    }

    /// Drives a task that needs no credentials.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_task<T: Task<Client<C>>>(&mut self, task: &mut T) -> Result<T::Output, Error> {
        self.run(task, || Ok(None))
    }

    /// Logs in, and sends ID if the server offers it and the endpoint allows it.
    ///
    /// # Errors
    /// The credentials cannot be read, the server refuses the login, or the connection is lost.
    pub fn log_in(&mut self, endpoint: &Endpoint, source: &dyn CredentialSource) -> Result<LoggedIn, Error> {
        if endpoint.encryption_mode() == Encryption::DangerCleartext {
            return Err(needs_tls());
        }
        self.run_task(&mut AwaitCapabilities::default())?;
        let mut login = LogIn::new(endpoint, source.credentials()?, Renewal::Possible);
        let done = self.run(&mut login, || source.renewed_token())?;
        self.is_identified |= done.identified;
        Ok(done.logged_in)
    }

    /// Returns whether ID was sent.
    pub const fn is_identified(&self) -> bool {
        self.is_identified
    }

    /// Sends ID, and ignores a refusal.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn identify(&mut self, identify: &mut Identify) -> Result<(), Error> {
        self.is_identified = true;
        self.run_task(identify)
    }

    /// Lists the folders of the account.
    ///
    /// # Errors
    /// As [`ListFolders`], or the connection is lost.
    pub fn folders(&mut self) -> Result<Vec<Folder>, Error> {
        self.run_task(&mut Requesting::new(ListFolders::default()))
    }

    /// Logs out and closes the connection. Ignores errors.
    pub fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let until = Instant::now() + LOGOUT_TIMEOUT;
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed) => Ok::<_, Error>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}
