//! The IMAP client: a session, and how it goes on after a future was dropped.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use io_common::{Target, TlsInfo};
use proto_imap::{
    Config,
    client::{AuthOutcome, Capabilities, Client, CommandId, Event, LoginMethod},
    types::{Command, Owned, StatusResponse, Untagged},
};
use proto_mail::{Channel, Cleartext, Credentials, Secure, SendBuffer};

use super::updates::Updates;
use crate::{
    connection::{Connection, ConnectionEvent},
    connector::Connector,
    error::Error,
    socket::Socket,
};

/// The limit of an answer that is collected in memory, in bytes as received.
const ANSWER_LIMIT: u64 = 16 << 20;

/// An IMAP session (RFC 9051), under TLS unless the type says [`Cleartext`].
///
/// One command runs at a time. Its method returns when the server has completed it; NO and BAD are [`Error::Imap`], and the
/// session goes on.
///
/// # Dropping a future
///
/// A command whose future is dropped before it is complete is not undone: the server may carry it out. Its responses are
/// skipped at the beginning of the next command, never mixed with those of another. The exception is
/// [`append`](Self::append): a message that was not sent completely ends the session with [`Error::Interrupted`].
///
/// ```no_run
/// use io_tokio::{Connector, ImapClient, Security, Target, TlsClientConfig};
/// use proto_mail::Credentials;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsClientConfig::authorities(["/etc/ssl/certs/ca-certificates.crt"])?;
/// let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
/// let mut imap = ImapClient::connect(&Connector::new(tls), &target).await?;
/// imap.login(&Credentials::password("alice", "secret")).await?;
/// println!("{} messages", imap.select("INBOX").await?.exists);
/// imap.logout().await?;
/// # Ok(())
/// # }
/// ```
pub struct ImapClient<C: Channel = Secure> {
    pub(super) connection: Connection<Client<C>>,
    pub(super) tracker: Tracker,
    pub(super) answer_limit: u64,
}

/// What the session has to do with the server beside the method that runs.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    pub(super) unfinished: Unfinished,
    pub(super) updates: Updates,
    /// The rest of the body chunk that is being read: its range in the receive buffer.
    pub(super) chunk: std::ops::Range<usize>,
    /// The status of an APPEND that the server completed before it had received the message.
    pub(super) early: Option<Owned<StatusResponse<'static>>>,
}

/// What the client has begun and not finished. If a future is dropped, the next method finishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unfinished {
    #[default]
    Nothing,
    /// The completion of a command is awaited.
    Command(CommandId),
    /// IDLE is in progress, and has to be ended first.
    Idle(CommandId),
    /// APPEND has announced a message that was not sent yet, or not completely.
    Append(CommandId),
    /// A message was not sent completely: the session cannot go on.
    Interrupted,
}

impl Tracker {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Completed { id, status } => self.completed(*id, status),
            Event::Auth(outcome) => self.completed(outcome.id(), outcome.status()),
            _ => {}
        }
    }

    fn completed(&mut self, id: CommandId, status: &StatusResponse<'_>) {
        match self.unfinished {
            Unfinished::Command(awaited) | Unfinished::Idle(awaited) if awaited == id => {
                self.unfinished = Unfinished::Nothing;
            }
            Unfinished::Append(awaited) if awaited == id => self.early = Some(status.into_owned()),
            _ => {}
        }
    }
}

impl ImapClient<Secure> {
    /// Connects, with implicit TLS or STARTTLS as the target says, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// A stage of the connection failed, or the server refuses to serve.
    pub async fn connect(connector: &Connector, target: &Target) -> Result<Self, Error> {
        Self::connect_with(connector, target, Config::default()).await
    }

    /// As [`connect`](Self::connect), with a configuration of the machine.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(
        connector: &Connector,
        target: &Target,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self, Error> {
        let connection = connector.connect::<io_common::ImapClient>(target, &config.into()).await?;
        Self::over(connection).await
    }

    /// As [`connect_with`](Self::connect_with), over a stream that the caller has connected.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_over(
        connector: &Connector,
        socket: Socket,
        target: &Target,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self, Error> {
        let config = config.into();
        let connection = connector.connect_over::<io_common::ImapClient>(socket, target, &config).await?;
        Self::over(connection).await
    }

    /// Logs in with the strongest mechanism that the server offers and the credentials fit: SCRAM first, which never shows
    /// the password to the server, PLAIN and LOGIN last. After a refusal of one mechanism no weaker one is tried.
    ///
    /// # Errors
    /// [`Error::Imap`] if the server refuses the credentials;
    /// [`AuthenticationFailed`](io_common::Error::AuthenticationFailed) if no mechanism fits, or the server did not prove
    /// its identity. The session goes on.
    pub async fn login(&mut self, credentials: &Credentials) -> Result<(), Error> {
        self.login_by(LoginMethod::Strongest, credentials).await
    }

    /// As [`login`](Self::login), by this method.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn login_by(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        let method = method.into();
        self.log_in(|client, tx| client.authenticate(method, credentials, tx)).await
    }
}

impl ImapClient<Cleartext> {
    /// Connects without TLS: an attacker on the way can read and change everything. The target's security is ignored.
    ///
    /// # Errors
    /// A stage of the connection failed, or the server refuses to serve.
    pub async fn danger_connect_cleartext(
        connector: &Connector,
        target: &Target,
        config: Config,
    ) -> Result<Self, Error> {
        let config = Arc::new(config.danger_cleartext());
        let connection = connector.danger_connect_cleartext::<io_common::ImapClient>(target, &config).await?;
        Self::over(connection).await
    }

    /// Logs in without TLS, by this method. An eavesdropper can read what the mechanism sends.
    ///
    /// # Errors
    /// As [`ImapClient::login`].
    pub async fn danger_cleartext_login(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        let method = method.into();
        self.log_in(|client, tx| client.danger_cleartext_authenticate(method, credentials, tx)).await
    }
}

impl<C: Channel> ImapClient<C> {
    /// Takes over a connection on which nothing was sent yet, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn over(connection: Connection<Client<C>>) -> Result<Self, Error> {
        let mut this = Self { connection, tracker: Tracker::default(), answer_limit: ANSWER_LIMIT };
        this.settle().await?;
        Ok(this)
    }

    /// Sets the limit of an answer that is collected in memory, in bytes as received. Default: 16 MiB. Fetched bodies are
    /// streamed and do not count.
    pub const fn set_answer_limit(&mut self, bytes: u64) {
        self.answer_limit = bytes;
    }

    /// Sends a command and collects its answer: the status with which the server completed it, and the data before.
    ///
    /// # Errors
    /// [`Error::Imap`] for NO and BAD; those of [`Client::send`]; the connection or the session failed.
    pub async fn run(&mut self, command: &Command<'_>) -> Result<Answer, Error> {
        let id = self.start(|client, tx| client.send(command, tx)).await?;
        let begin = self.connection.counts().0;
        let mut data = Vec::new();
        loop {
            match self.next_answer(id).await? {
                NextAnswer::Completed(status) => return Ok(Answer { status, data }),
                NextAnswer::Data(one) => data.push(one),
            }
            if self.connection.counts().0.saturating_sub(begin) > self.answer_limit {
                return Err(Error::TooLarge(self.answer_limit));
            }
        }
    }

    /// Returns the next data of a command, or its completion.
    async fn next_answer(&mut self, id: CommandId) -> Result<NextAnswer, Error> {
        self.until(|event, _| match event {
            Event::Data(data) => Ok(Some(NextAnswer::Data(data.into_owned()))),
            // The response codes of SELECT, and warnings.
            Event::Status(status) => Ok(Some(NextAnswer::Data(Untagged::Status(status).into_owned()))),
            Event::Completed { id: completed, status } if completed == id => {
                accepted(&status).map(|status| Some(NextAnswer::Completed(status)))
            }
            _ => Ok(None),
        })
        .await
    }

    /// Finishes what was begun before and sends a command, whose completion is then awaited.
    pub(super) async fn start(
        &mut self,
        send: impl FnOnce(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    ) -> Result<CommandId, Error> {
        self.settle().await?;
        let id = self.connection.with(send)?;
        self.tracker.unfinished = Unfinished::Command(id);
        Ok(id)
    }

    /// Waits for the completion of a command.
    pub(super) async fn complete(&mut self, id: CommandId) -> Result<Owned<StatusResponse<'static>>, Error> {
        self.until(|event, tracker| match event {
            Event::Completed { id: completed, status } if completed == id => accepted(&status).map(Some),
            Event::Data(data) => {
                tracker.updates.add(&data);
                Ok(None)
            }
            _ => Ok(None),
        })
        .await
    }

    /// Finishes what a dropped future has left, and waits until the server's capabilities are known.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        loop {
            match self.tracker.unfinished {
                Unfinished::Nothing if self.connection.machine().capabilities().is_some() => return Ok(()),
                Unfinished::Nothing => {
                    self.until(|event, _| Ok(matches!(event, Event::Capabilities).then_some(()))).await?;
                }
                Unfinished::Command(_) => {
                    let is_over = |tracker: &Tracker| tracker.unfinished == Unfinished::Nothing;
                    self.until(|_, tracker| Ok(is_over(tracker).then_some(()))).await?;
                }
                Unfinished::Idle(id) => {
                    self.connection.with(|client, tx| client.done(tx))?;
                    self.tracker.unfinished = Unfinished::Command(id);
                }
                Unfinished::Append(_) => {
                    self.connection.cut();
                    self.tracker.unfinished = Unfinished::Interrupted;
                }
                Unfinished::Interrupted => return Err(Error::Interrupted),
            }
        }
    }

    /// Reads, writes and waits until `step` returns a value.
    pub(super) async fn until<T>(
        &mut self,
        mut step: impl FnMut(Event<'_>, &mut Tracker) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| self.poll_until(&mut step, cx)).await
    }

    pub(super) fn poll_until<T>(
        &mut self,
        step: &mut impl FnMut(Event<'_>, &mut Tracker) -> Result<Option<T>, Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        let Self { connection, tracker, .. } = self;
        tracker.chunk = 0..0;
        let step = &mut |event: ConnectionEvent<'_, Client<C>>, _: &mut Client<C>, _: &mut SendBuffer| {
            let ConnectionEvent::Machine(event) = event else { return Ok(None) };
            tracker.note(&event);
            step(event, tracker)
        };
        connection.poll_drive(step, cx)
    }

    async fn log_in(
        &mut self,
        mut begin: impl FnMut(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    ) -> Result<(), Error> {
        self.settle().await?;
        loop {
            let refused_before = self.connection.machine().has_refused_initial_response();
            let id = self.start(&mut begin).await.map_err(no_mechanism)?;
            let outcome = self.until(|event, _| Ok(login_outcome(id, &event))).await?;
            // Some servers offer SASL-IR and do not understand it.
            let retries = !refused_before && self.connection.machine().has_refused_initial_response();
            match outcome {
                Ok(()) => return self.settle().await,
                Err(_) if retries => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Returns the machine, for example to look at the server's capabilities.
    #[must_use]
    pub const fn machine(&self) -> &Client<C> {
        self.connection.machine()
    }

    /// Returns what the server offers.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities> {
        self.connection.machine().capabilities()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.connection.tls_info()
    }

    /// Returns the changes of the mailbox that the server has reported during other commands, and forgets them. At most
    /// 1,024 are kept; see [`Updates::are_complete`].
    pub fn take_updates(&mut self) -> Updates {
        std::mem::take(&mut self.tracker.updates)
    }

    /// Finishes what was begun and returns the connection, for a program that continues with the machine itself.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn into_connection(mut self) -> Result<Connection<Client<C>>, Error> {
        self.settle().await?;
        Ok(self.connection)
    }

    /// Logs out and closes the connection.
    ///
    /// # Errors
    /// The connection or the session failed before the server has answered.
    pub async fn logout(mut self) -> Result<(), Error> {
        self.start(|client, tx| client.logout(tx)).await?;
        self.until(|event, _| Ok(matches!(event, Event::Closed).then_some(()))).await?;
        self.connection.close().await
    }
}

/// Returns how a login has ended; `None` if the event does not end it.
fn login_outcome(id: CommandId, event: &Event<'_>) -> Option<Result<(), Error>> {
    match event {
        Event::Auth(AuthOutcome::Accepted { .. }) => Some(Ok(())),
        // The client gave up, because the server did not prove its identity for example.
        Event::Auth(AuthOutcome::Cancelled { reason: Some(reason), .. }) => {
            Some(Err(io_common::Error::AuthenticationFailed { code: None, reply: reason.clone() }.into()))
        }
        Event::Auth(outcome) => Some(accepted(outcome.status()).map(drop)),
        Event::Completed { id: completed, status } if *completed == id => Some(accepted(status).map(drop)),
        _ => None,
    }
}

/// That no mechanism fits is a failed log-in, not a mistake of the program.
fn no_mechanism(error: Error) -> Error {
    match error {
        Error::Session(io_common::Error::Protocol(proto_mail::Error::Misuse(
            proto_mail::Misuse::NoMechanism(reasons),
        ))) => io_common::Error::AuthenticationFailed { code: None, reply: reasons.to_string() }.into(),
        error => error,
    }
}

/// Returns the status, or the rejection.
pub(super) fn accepted(status: &StatusResponse<'_>) -> Result<Owned<StatusResponse<'static>>, Error> {
    use proto_imap::types::Condition;
    let owned = status.into_owned();
    match status.condition {
        Condition::No | Condition::Bad => Err(Error::Imap(Box::new(owned))),
        _ => Ok(owned),
    }
}

enum NextAnswer {
    Data(Owned<Untagged<'static>>),
    Completed(Owned<StatusResponse<'static>>),
}

/// The server's answer to a command.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status with which the server completed the command: OK.
    pub status: Owned<StatusResponse<'static>>,
    /// The data that arrived before it, in the server's order. Changes of the mailbox may be among them.
    pub data: Vec<Owned<Untagged<'static>>>,
}

impl<C: Channel> fmt::Debug for ImapClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapClient").field("unfinished", &self.tracker.unfinished).finish_non_exhaustive()
    }
}
