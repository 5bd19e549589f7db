//! SMTP sessions on tokio: connects, and drives tasks over an io-tokio connection.

use std::future::Future;
use std::sync::Arc;

use io_common::SmtpClientProtocol;
use io_tokio::{Connection, ConnectionEvent, Connector};
use proto_mail::{Cleartext, Secure};
use proto_smtp::Config;
use proto_smtp::client::{Client, Event};
use proto_smtp::types::{Capabilities, ExtensionSet, Response};
use tokio::time::timeout;

use crate::channel::ClientChannel;
use crate::endpoint::{Encryption, Endpoint};
use crate::error::Error;
use crate::login::{LoggedIn, Renewal, needs_tls};
use crate::session_run::{FAREWELL_TIMEOUT, Pause, advance, pause_after};
use crate::task::{Task, TaskStep};
use crate::tokio::{SharedCredentials, credentials, renewed_token};

use super::login::{AwaitReady, LogIn, extensions};
use super::session_end::SessionEnd;

/// Work to do with a session on either channel.
pub trait SessionTask: Send {
    /// The result.
    type Output: Send;
    /// The error.
    type Error: From<Error> + Send;

    /// Does the work.
    ///
    /// # Errors
    /// The work failed.
    fn run<C: SmtpChannel>(
        self,
        session: &mut Session<C>,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// Connects, with TLS unless the endpoint allows cleartext, runs the task and quits.
///
/// # Errors
/// Connecting or the task failed.
pub async fn with_session<T: SessionTask>(
    endpoint: &Endpoint,
    connector: &Connector,
    config: Config,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.encryption_mode() == Encryption::Required {
        run(Secure::open(endpoint, connector, config).await?, task).await
    } else {
        run(Cleartext::open(endpoint, connector, config).await?, task).await
    }
}

async fn run<C: SmtpChannel, T: SessionTask>(
    mut session: Session<C>,
    task: T,
) -> Result<T::Output, T::Error> {
    let done = task.run(&mut session).await;
    session.quit().await;
    done
}

/// A channel on which a session can be opened.
pub trait SmtpChannel: ClientChannel + Send {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or TLS fails.
    fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> impl Future<Output = Result<Session<Self>, Error>> + Send;
}

impl SmtpChannel for Secure {
    async fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> Result<Session<Self>, Error> {
        let connection =
            connector.connect::<SmtpClientProtocol>(&endpoint.target(), &Arc::new(config)).await?;
        Ok(Session::new(connection))
    }
}

impl SmtpChannel for Cleartext {
    async fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        config: Config,
    ) -> Result<Session<Self>, Error> {
        let config = Arc::new(config.danger_cleartext());
        let connection =
            connector.danger_connect_cleartext::<SmtpClientProtocol>(&endpoint.target(), &config).await?;
        Ok(Session::new(connection))
    }
}

/// A session. Dropping it cuts the connection; [`quit`](Self::quit) ends it in order.
///
/// Dropping the future of a method loses no data: what was received or is still to be sent stays in the session.
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
    pub async fn ready<E: From<Error> + From<io_tokio::Error>>(
        &mut self,
        mut greeting: impl FnMut(&Response<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_ready {
            return Ok(());
        }
        let mut task = AwaitReady::new();
        let answered = self.connection.drive(|turn, client, tx| {
            let ConnectionEvent::Machine(event) = turn else { return Ok(None) };
            if let Event::Greeting(response) = &event {
                greeting(response)?;
            }
            let step = task.event(event, client, tx)?;
            Ok::<_, E>(if let TaskStep::Done(()) = step { Some(()) } else { None })
        });
        answered.await?;
        self.is_ready = true;
        Ok(())
    }

    /// Drives the task until it is done. `source` supplies a new token, if the server refused one.
    ///
    /// # Errors
    /// The task or the connection failed.
    pub async fn run<T: Task<Client<C>>>(
        &mut self,
        task: &mut T,
        source: Option<&SharedCredentials>,
    ) -> Result<T::Output, Error> {
        let mut pause = self.drive(task).await?;
        loop {
            match pause {
                Pause::Done(done) => return Ok(done),
                Pause::RenewCredentials => {
                    let credentials = renewed_token(source).await?;
                    let step = self.connection.with(|client, tx| task.renewed(credentials, client, tx))?;
                    pause = match pause_after(step) {
                        Some(pause) => pause,
                        None => self.drive(task).await?,
                    };
                }
            }
        }
    }

    /// Drives the connection until the task is done or needs new credentials.
    async fn drive<T: Task<Client<C>>>(&mut self, task: &mut T) -> Result<Pause<T::Output>, Error> {
        let driven = self.connection.drive(|turn, client, tx| {
            let event = match turn {
                ConnectionEvent::Machine(event) => Some(event),
                ConnectionEvent::Writable => None,
            };
            Ok::<_, Error>(pause_after(advance(task, event, client, tx)?))
        });
        driven.await
    }

    /// Logs in, after the server has answered EHLO.
    ///
    /// # Errors
    /// The credentials cannot be read, the server refuses the login, or the connection is lost.
    pub async fn log_in(
        &mut self,
        endpoint: &Endpoint,
        source: &SharedCredentials,
    ) -> Result<LoggedIn, Error> {
        if endpoint.encryption_mode() == Encryption::DangerCleartext {
            return Err(needs_tls());
        }
        self.ready(|_| Ok::<_, Error>(())).await?;
        let mut login = LogIn::new(endpoint, credentials(source).await?, Renewal::Possible);
        self.run(&mut login, Some(source)).await
    }

    /// Ends the session and closes the connection. Ignores errors.
    pub async fn quit(self) {
        let mut connection = self.connection;
        if self.end == SessionEnd::Quit && connection.with(|client, tx| client.quit(tx)).is_ok() {
            let bye = connection.drive(|turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed(_)) => Ok::<_, Error>(Some(())),
                _ => Ok(None),
            });
            let _ = timeout(FAREWELL_TIMEOUT, bye).await;
        }
        let _ = connection.close().await;
    }
}
