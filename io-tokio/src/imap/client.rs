//! The IMAP client: a session, and how it goes on after a future was dropped.

use std::{fmt, sync::Arc};

use io_common::{
    Deadlines, ImapClientProtocol, Target, TlsInfo,
    client::{Answer, ImapLogin, ImapState, Updates},
};
use proto_imap::{
    Config,
    client::{Capabilities, Client, CommandId, Event, LoginMethod},
    types::{Command, Owned, StatusResponse},
};
use proto_mail::{Channel, Cleartext, Credentials, Secure, SendBuffer};

use crate::{
    connection::Connection, connector::Connector, error::Error, socket::Socket, typed_session::TypedSession,
};

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
    pub(super) session: TypedSession<Client<C>, ImapState>,
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
        Self::over(connector.connect::<ImapClientProtocol>(target, &config.into()).await?).await
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
        Self::over(connector.connect_over::<ImapClientProtocol>(socket, target, &config).await?).await
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

    /// Compresses the session from now on (RFC 4978). An attacker who can make the server send text of his choice next to
    /// a secret, and who sees the lengths of the packets, may learn the secret.
    ///
    /// # Errors
    /// [`Error::Imap`] if the server refuses, and the session goes on without; those of [`Client::compress`]; the
    /// connection or the session failed.
    #[cfg(feature = "compression")]
    pub async fn compress(&mut self) -> Result<(), Error> {
        let id = self.session.start(|state, client, tx| state.send_compress(client, tx)).await?;
        self.session.until(|event, state, _, _| state.completion(id, event)).await.map(drop)
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
        Self::over(connector.danger_connect_cleartext::<ImapClientProtocol>(target, &config).await?).await
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
        Ok(Self { session: TypedSession::over(connection).await? })
    }

    /// Sets the limit of an answer that is collected in memory, in bytes as received. Default: 16 MiB. FetchPart bodies are
    /// streamed and do not count.
    pub const fn set_answer_limit(&mut self, bytes: u64) {
        self.session.state.set_answer_limit(bytes);
    }

    /// Sets how much of an unfinished answer is skipped before the next command, in bytes. Beyond it the session ends with
    /// [`Error::Interrupted`]. Default: 64 MiB.
    pub const fn set_skip_limit(&mut self, bytes: u64) {
        self.session.state.set_skip_limit(bytes);
    }

    /// Sets the time limits from now on.
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.session.connection.set_deadlines(deadlines);
    }

    /// Sends a command and collects its answer: the status with which the server completed it, and the data before.
    ///
    /// # Errors
    /// [`Error::Imap`] for NO and BAD; [`Error::TooLarge`] if the answer exceeds the
    /// [limit](Self::set_answer_limit); those of [`Client::send`]; the connection or the session failed.
    pub async fn run(&mut self, command: &Command<'_>) -> Result<Answer, Error> {
        let id = self.send(command).await?;
        let mut answer = self.session.state.collect(id, self.session.connection.counts().0);
        loop {
            let part = self.session.until(|event, _, _, _| answer.part(event)).await?;
            if let Some(answer) = answer.add(part, self.session.connection.counts().0)? {
                return Ok(answer);
            }
        }
    }

    /// Finishes what was begun before and sends a command, whose completion is then awaited.
    pub(super) async fn send(&mut self, command: &Command<'_>) -> Result<CommandId, Error> {
        self.session.start(|state, client, tx| state.send(command, client, tx)).await
    }

    /// Runs a command that no data answer. What arrives are changes of the mailbox.
    pub(super) async fn complete(
        &mut self,
        command: &Command<'_>,
    ) -> Result<Owned<StatusResponse<'static>>, Error> {
        let id = self.send(command).await?;
        self.session.until(|event, state, _, _| state.completion(id, event)).await
    }

    async fn log_in(
        &mut self,
        begin: impl FnMut(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    ) -> Result<(), Error> {
        let mut login = ImapLogin::new(begin);
        self.session.start(|state, client, tx| login.start(state, client, tx)).await?;
        self.session.until(|event, state, client, tx| login.event(&event, state, client, tx)).await?;
        self.session.settle().await
    }

    /// Returns the machine, for example to look at the server's capabilities.
    #[must_use]
    pub const fn machine(&self) -> &Client<C> {
        self.session.connection.machine()
    }

    /// Returns what the server offers.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities> {
        self.machine().capabilities()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.session.connection.tls_info()
    }

    /// Returns the changes of the mailbox that the server has reported during other commands, and forgets them. At most
    /// 1,024 are kept; see [`Updates::are_complete`].
    pub fn take_updates(&mut self) -> Updates {
        self.session.state.take_updates()
    }

    /// Finishes what was begun and returns the connection, for a program that continues with the machine itself.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn into_connection(mut self) -> Result<Connection<Client<C>>, Error> {
        self.session.settle().await?;
        Ok(self.session.connection)
    }

    /// Logs out and closes the connection.
    ///
    /// # Errors
    /// The connection or the session failed before the server has answered.
    pub async fn logout(mut self) -> Result<(), Error> {
        self.send(&Command::Logout).await?;
        self.session.until(|event, _, _, _| Ok(matches!(event, Event::Closed).then_some(()))).await?;
        self.session.connection.close().await
    }
}

impl<C: Channel> fmt::Debug for ImapClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapClient").field("state", &self.session.state).finish_non_exhaustive()
    }
}
