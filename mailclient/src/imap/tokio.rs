//! IMAP sessions on tokio: connects, and drives tasks over an io-tokio connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use io_common::ImapClientProtocol;
use io_tokio::{Connection, ConnectionEvent, Connector};
use proto_imap::client::{Client, Event};
use proto_imap::types::Command;
use proto_mail::{Cleartext, Secure, SendBuffer};
use tokio::time::{timeout, timeout_at};

use crate::channel::ClientChannel;
use crate::endpoint::{Encryption, Endpoint};
use crate::error::Error;
use crate::folder::Folder;
use crate::login::{LoggedIn, Renewal, needs_tls};
use crate::session_run::{FAREWELL_TIMEOUT, Pause, UsefulTimer, advance, pause_after};
use crate::task::Task;
use crate::tokio::{SharedCredentials, credentials, now, renewed_token};

use super::login::{AwaitCapabilities, Identify, LogIn};
use super::request::{ListFolders, Requesting};
use super::session_state::SessionState;

/// Work to do with a session on either channel.
pub trait SessionTask: Send {
    /// The result.
    type Output: Send;
    /// The error.
    type Error: From<Error> + Send;

    /// Does the work, and logs out.
    ///
    /// # Errors
    /// The work failed.
    fn run<C: ImapChannel>(
        self,
        session: Session<C>,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// Connects, with TLS unless the endpoint allows cleartext, and runs the task.
///
/// # Errors
/// Connecting or the task failed.
pub async fn with_session<T: SessionTask>(
    endpoint: &Endpoint,
    connector: &Connector,
    task: T,
) -> Result<T::Output, T::Error> {
    if endpoint.encryption_mode() == Encryption::Required {
        task.run(Secure::open(endpoint, connector).await?).await
    } else {
        task.run(Cleartext::open(endpoint, connector).await?).await
    }
}

/// A channel on which a session can be opened.
pub trait ImapChannel: ClientChannel + Send {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or TLS fails.
    fn open(
        endpoint: &Endpoint,
        connector: &Connector,
    ) -> impl Future<Output = Result<Session<Self>, Error>> + Send;
}

impl ImapChannel for Secure {
    async fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error> {
        let connection = connector
            .connect::<ImapClientProtocol>(&endpoint.target(), &Arc::new(endpoint.imap_config()))
            .await?;
        Ok(Session::new(connection, endpoint))
    }
}

impl ImapChannel for Cleartext {
    async fn open(endpoint: &Endpoint, connector: &Connector) -> Result<Session<Self>, Error> {
        let config = Arc::new(endpoint.imap_config().danger_cleartext());
        let connection =
            connector.danger_connect_cleartext::<ImapClientProtocol>(&endpoint.target(), &config).await?;
        Ok(Session::new(connection, endpoint))
    }
}

/// A session. Dropping it cuts the connection; [`log_out`](Self::log_out) ends it in order.
///
/// Dropping the future of a method loses no data: what was received or is still to be sent stays in the session. The task
/// keeps its state, and [`run`](Self::run) continues with it.
#[derive(Debug)]
pub struct Session<C: ClientChannel> {
    connection: Connection<Client<C>>,
    useful: UsefulTimer,
    state: SessionState,
    is_identified: bool,
}

impl<C: ClientChannel> Session<C> {
    fn new(connection: Connection<Client<C>>, endpoint: &Endpoint) -> Self {
        let useful = UsefulTimer::new(endpoint, now());
        Self { connection, useful, state: SessionState::default(), is_identified: false }
    }

    /// Drives the task until it is done. `source` supplies a new token, if the server refused one.
    ///
    /// # Errors
    /// The task or the connection failed, or the server sent no useful data in time.
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
        self.useful.restart(now());
        loop {
            let deadline = self.useful.deadline();
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
                useful.note(&step, now());
                Ok::<_, Error>(pause_after(step))
            };
            match until(deadline, self.connection.drive(step)).await {
                Some(Ok(pause)) => return Ok(pause),
                Some(Err(failure)) => return Err(self.state.explain(failure)),
                None => self.useful.check(now())?,
            }
        }
    }

    /// Drives a task that needs no credentials.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_task<T: Task<Client<C>>>(&mut self, task: &mut T) -> Result<T::Output, Error> {
        self.run(task, None).await
    }

    /// Logs in, and sends ID if the server offers it and the endpoint allows it.
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
        self.run_task(&mut AwaitCapabilities::default()).await?;
        let mut login = LogIn::new(endpoint, credentials(source).await?, Renewal::Possible);
        let done = self.run(&mut login, Some(source)).await?;
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
    pub async fn identify(&mut self, identify: &mut Identify) -> Result<(), Error> {
        self.is_identified = true;
        self.run_task(identify).await
    }

    /// Lists the folders of the account.
    ///
    /// # Errors
    /// As [`ListFolders`], or the connection is lost.
    pub async fn folders(&mut self) -> Result<Vec<Folder>, Error> {
        self.run_task(&mut Requesting::new(ListFolders::default())).await
    }

    /// Logs out and closes the connection. Ignores errors.
    pub async fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let bye = connection.drive(|turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed) => Ok::<_, Error>(Some(())),
                _ => Ok(None),
            });
            let _ = timeout(FAREWELL_TIMEOUT, bye).await;
        }
        let _ = connection.close().await;
    }
}

/// Waits for `work` until this time; `None` if it has passed.
async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}
