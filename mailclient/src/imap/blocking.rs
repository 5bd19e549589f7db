//! Blocking IMAP sessions: connects, and drives tasks over an io-mio connection.

use std::sync::Arc;
use std::time::Instant;

use io_mio::{Connection, ConnectionEvent, Connector, ImapClientProtocol};
use proto_imap::client::{Client, Event};
use proto_imap::types::Command;
use proto_mail::{Cleartext, Secure, SendBuffer};

use crate::blocking::StopCheck;
use crate::channel::ClientChannel;
use crate::endpoint::{CredentialSource, Encryption, Endpoint};
use crate::error::Error;
use crate::folder::Folder;
use crate::login::{LoggedIn, Renewal, needs_tls};
use crate::session_run::{FAREWELL_TIMEOUT, Pause, UsefulTimer, advance, pause_after};
use crate::task::Task;

use super::login::{AwaitCapabilities, Identify, LogIn};
use super::request::{ListFolders, Requesting};
use super::session_state::SessionState;

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
        let connection =
            connector.connect::<ImapClientProtocol>(&endpoint.target(), &Arc::new(endpoint.imap_config()))?;
        Ok(Session::new(connection, endpoint))
    }
}

impl ImapChannel for Cleartext {
    fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error> {
        let config = Arc::new(endpoint.imap_config().danger_cleartext());
        let connection =
            connector.danger_connect_cleartext::<ImapClientProtocol>(&endpoint.target(), &config)?;
        Ok(Session::new(connection, endpoint))
    }
}

/// A blocking session.
#[derive(Debug)]
pub struct Session<C: ClientChannel> {
    connection: Connection<Client<C>>,
    useful: UsefulTimer,
    state: SessionState,
    is_identified: bool,
    stop: Option<StopCheck>,
}

impl<C: ClientChannel> Session<C> {
    fn new(connection: Connection<Client<C>>, endpoint: &Endpoint) -> Self {
        let useful = UsefulTimer::new(endpoint, Instant::now());
        Self { connection, useful, state: SessionState::default(), is_identified: false, stop: None }
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
        let mut pause = self.drive(task)?;
        loop {
            match pause {
                Pause::Done(done) => return Ok(done),
                Pause::RenewCredentials => {
                    let credentials = renew()?;
                    let step = self.connection.with(|client, tx| task.renewed(credentials, client, tx))?;
                    pause = match pause_after(step) {
                        Some(pause) => pause,
                        None => self.drive(task)?,
                    };
                }
            }
        }
    }

    /// Drives the connection until the task is done or needs new credentials.
    fn drive<T: Task<Client<C>>>(&mut self, task: &mut T) -> Result<Pause<T::Output>, Error> {
        self.useful.restart(Instant::now());
        loop {
            if let Some(stop) = &self.stop {
                stop.check()?;
            }
            let next_check = self.stop.as_ref().map(|_| Instant::now() + StopCheck::INTERVAL);
            let until = next_check.into_iter().chain(self.useful.deadline()).min();
            let (state, useful) = (&mut self.state, &mut self.useful);
            let step = |turn: ConnectionEvent<'_, Client<C>>, client: &mut Client<C>, tx: &mut SendBuffer| {
                let event = match turn {
                    ConnectionEvent::Machine(event) => {
                        state.note(&event);
                        Some(event)
                    }
                    ConnectionEvent::Writable => None,
                };
                let step = advance(task, event, client, tx)?;
                useful.note(&step, Instant::now());
                Ok(pause_after(step))
            };
            let driven = match until {
                Some(until) => self.connection.drive_until(until, step),
                None => self.connection.drive(step).map(Some),
            };
            match driven {
                Ok(Some(pause)) => return Ok(pause),
                Ok(None) => self.useful.check(Instant::now())?,
                Err(failure) => return Err(self.state.explain(failure)),
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
            let until = Instant::now() + FAREWELL_TIMEOUT;
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed) => Ok::<_, Error>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}
