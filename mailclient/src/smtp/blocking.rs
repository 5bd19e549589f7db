//! Blocking SMTP sessions: connects, and drives tasks over an io-mio connection.

use std::sync::Arc;
use std::time::Instant;

use io_mio::{Connection, ConnectionEvent, Connector, SmtpClientProtocol};
use proto_mail::{Cleartext, Credentials, Secure};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event};
use proto_smtp::types::{Capabilities, ExtensionSet, Response};

use crate::channel::ClientChannel;
use crate::endpoint::{CredentialSource, Encryption, Endpoint};
use crate::error::Error;
use crate::login::{LoggedIn, Renewal, needs_tls};
use crate::session_run::{FAREWELL_TIMEOUT, Pause, advance, pause_after};
use crate::task::{Task, TaskStep};

use super::login::{AwaitReady, LogIn, extensions};
use super::session_end::SessionEnd;

/// Work to do with a session on either channel.
pub trait SessionTask {
    /// The result.
    type Output;
    /// The error.
    type Error: From<Error>;

    /// Does the work.
    ///
    /// # Errors
    /// The work failed.
    fn run<C: SmtpChannel>(self, session: &mut Session<C>) -> Result<Self::Output, Self::Error>;
}

/// Connects, with TLS unless the endpoint allows cleartext, runs the task and quits.
///
/// # Errors
/// Connecting or the task failed.
pub fn with_session<T: SessionTask>(
    endpoint: &Endpoint,
    connector: &Connector,
    config: Config,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.encryption_mode() == Encryption::Required {
        run(Secure::open(endpoint, connector, config)?, task)
    } else {
        run(Cleartext::open(endpoint, connector, config)?, task)
    }
}

fn run<C: SmtpChannel, T: SessionTask>(mut session: Session<C>, task: T) -> Result<T::Output, T::Error> {
    let done = task.run(&mut session);
    session.quit();
    done
}

/// A channel on which a blocking session can be opened.
pub trait SmtpChannel: ClientChannel {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or TLS fails.
    fn open(endpoint: &Endpoint, connector: &Connector, config: Config) -> Result<Session<Self>, Error>;
}

impl SmtpChannel for Secure {
    fn open(endpoint: &Endpoint, connector: &Connector, config: Config) -> Result<Session<Self>, Error> {
        Ok(Session::new(connector.connect::<SmtpClientProtocol>(&endpoint.target(), &Arc::new(config))?))
    }
}

impl SmtpChannel for Cleartext {
    fn open(endpoint: &Endpoint, connector: &Connector, config: Config) -> Result<Session<Self>, Error> {
        let config = Arc::new(config.danger_cleartext());
        Ok(Session::new(
            connector.danger_connect_cleartext::<SmtpClientProtocol>(&endpoint.target(), &config)?,
        ))
    }
}

/// A blocking session.
#[derive(Debug)]
pub struct Session<C: ClientChannel> {
    /// The connection, for transactions.
    pub connection: Connection<Client<C>>,
    /// Whether the server has answered EHLO.
    is_ready: bool,
    /// How the session ends.
    pub end: SessionEnd,
}

impl<C: ClientChannel> Session<C> {
    const fn new(connection: Connection<Client<C>>) -> Self {
        Self { connection, is_ready: false, end: SessionEnd::Quit }
    }

    /// Returns the set of known extensions that the server offers; empty before it has answered EHLO.
    #[must_use]
    pub fn offered(&self) -> ExtensionSet {
        self.connection.machine().capabilities().map_or(ExtensionSet::NONE, Capabilities::extensions)
    }

    /// Returns the extensions that the server offers, with their parameters.
    #[must_use]
    pub fn extensions(&self) -> Vec<String> {
        extensions(self.connection.machine())
    }

    /// Waits until the server has answered EHLO. Calls `greeting` with the server's greeting, unless the connection has
    /// read it already.
    ///
    /// # Errors
    /// The server refuses to serve, the connection is lost, or `greeting` failed.
    pub fn ready<E: From<Error> + From<io_mio::Error>>(
        &mut self,
        mut greeting: impl FnMut(&Response<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_ready {
            return Ok(());
        }
        let mut task = AwaitReady::new();
        self.connection.drive(|turn, client, tx| {
            let ConnectionEvent::Machine(event) = turn else { return Ok(None) };
            if let Event::Greeting(response) = &event {
                greeting(response)?;
            }
            let step = task.event(event, client, tx)?;
            Ok::<_, E>(if let TaskStep::Done(()) = step { Some(()) } else { None })
        })?;
        self.is_ready = true;
        Ok(())
    }

    /// Drives the task until it is done. `renew` supplies a new token, if the server refused one.
    ///
    /// # Errors
    /// The task or the connection failed.
    pub fn run<T: Task<Client<C>>>(
        &mut self,
        task: &mut T,
        renew: impl Fn() -> Result<Option<Credentials>, Error>,
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
        self.connection.drive(|turn, client, tx| {
            let event = match turn {
                ConnectionEvent::Machine(event) => Some(event),
                ConnectionEvent::Writable => None,
            };
            Ok(pause_after(advance(task, event, client, tx)?))
        })
    }

    /// Logs in, after the server has answered EHLO.
    ///
    /// # Errors
    /// The credentials cannot be read, the server refuses the login, or the connection is lost.
    pub fn log_in(&mut self, endpoint: &Endpoint, source: &dyn CredentialSource) -> Result<LoggedIn, Error> {
        if endpoint.encryption_mode() == Encryption::DangerCleartext {
            return Err(needs_tls());
        }
        self.ready(|_| Ok::<_, Error>(()))?;
        let mut login = LogIn::new(endpoint, source.credentials()?, Renewal::Possible);
        self.run(&mut login, || source.renewed_token())
    }

    /// Ends the session and closes the connection. Ignores errors.
    fn quit(self) {
        let mut connection = self.connection;
        if self.end == SessionEnd::Quit && connection.with(|client, tx| client.quit(tx)).is_ok() {
            let until = Instant::now() + FAREWELL_TIMEOUT;
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed(_)) => Ok::<_, Error>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}
