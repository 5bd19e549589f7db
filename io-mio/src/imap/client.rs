//! The IMAP client: a session, and how it goes on after a body or writer was dropped.

use std::{fmt, sync::Arc};

use io_common::{
    Deadlines, ImapClientProtocol, Target, TlsInfo,
    client::{Answer, ClientError, ImapLogin, ImapState, Updates},
};
use proto_imap::{
    Config,
    client::{Capabilities, Client, CommandId, Event, LoginMethod},
    types::{Command, Owned, StatusResponse},
};
use proto_mail::{Channel, Cleartext, Credentials, Secure, SendBuffer};

use crate::{
    client::{Connection, Connector},
    socket::ConnectedSocket,
    typed_session::TypedSession,
};

/// An IMAP session (RFC 9051) for programs that block, under TLS unless the type says [`Cleartext`].
///
/// One command runs at a time. Its method returns when the server has completed it; NO and BAD are [`ClientError::Imap`], and the
/// session goes on.
///
/// # Dropping a fetch or a writer
///
/// A [`Fetch`](super::Fetch), [`Body`](super::Body) or [`Idle`](super::Idle) may be dropped at any time. What is still due
/// is skipped at the beginning of the next command, never mixed with its responses, up to a
/// [limit](Self::set_skip_limit). An [`AppendWriter`](super::AppendWriter) that is dropped before the message was complete
/// ends the session with [`ClientError::Interrupted`].
///
/// ```no_run
/// use io_mio::{Connector, ImapClient, Security, Target, TlsClientConfig};
/// use proto_mail::Credentials;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsClientConfig::authorities(["/etc/ssl/certs/ca-certificates.crt"])?;
/// let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
/// let mut imap = ImapClient::connect(&Connector::new(tls), &target)?;
/// imap.login(&Credentials::password("alice", "secret"))?;
/// println!("{} messages", imap.select("INBOX")?.exists);
/// imap.logout()?;
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
    pub fn connect(connector: &Connector, target: &Target) -> Result<Self, ClientError> {
        Self::connect_with(connector, target, Config::default())
    }

    /// As [`connect`](Self::connect), with a configuration of the machine.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(
        connector: &Connector,
        target: &Target,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self, ClientError> {
        Self::over(connector.connect::<ImapClientProtocol>(target, &config.into())?)
    }

    /// As [`connect_with`](Self::connect_with), over a stream that the caller has connected.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_over(
        connector: &Connector,
        socket: impl Into<ConnectedSocket>,
        target: &Target,
        config: impl Into<Arc<Config>>,
    ) -> Result<Self, ClientError> {
        let config = config.into();
        Self::over(connector.connect_over::<ImapClientProtocol>(socket, target, &config)?)
    }

    /// Logs in with the strongest mechanism that the server offers and the credentials fit: SCRAM first, which never shows
    /// the password to the server, PLAIN and LOGIN last. After a refusal of one mechanism no weaker one is tried.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server refuses the credentials;
    /// [`AuthenticationFailed`](io_common::Error::AuthenticationFailed) if no mechanism fits, or the server did not prove
    /// its identity. The session goes on.
    pub fn login(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.login_by(LoginMethod::Strongest, credentials)
    }

    /// As [`login`](Self::login), by this method.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_by(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
    ) -> Result<(), ClientError> {
        let method = method.into();
        self.log_in(|client, tx| client.authenticate(method, credentials, tx))
    }

    /// Compresses the session from now on (RFC 4978). An attacker who can make the server send text of his choice next to
    /// a secret, and who sees the lengths of the packets, may learn the secret.
    ///
    /// # Errors
    /// [`ClientError::Imap`] if the server refuses, and the session goes on without; those of [`Client::compress`]; the
    /// connection or the session failed.
    #[cfg(feature = "compression")]
    pub fn compress(&mut self) -> Result<(), ClientError> {
        let id = self.session.start(|state, client, tx| state.send_compress(client, tx))?;
        self.session.until(|event, state, _, _| state.completion(id, event)).map(drop)
    }
}

impl ImapClient<Cleartext> {
    /// Connects without TLS: an attacker on the way can read and change everything. The target's security is ignored.
    ///
    /// # Errors
    /// A stage of the connection failed, or the server refuses to serve.
    pub fn danger_connect_cleartext(
        connector: &Connector,
        target: &Target,
        config: Config,
    ) -> Result<Self, ClientError> {
        let config = Arc::new(config.danger_cleartext());
        Self::over(connector.danger_connect_cleartext::<ImapClientProtocol>(target, &config)?)
    }

    /// Logs in without TLS, by this method. An eavesdropper can read what the mechanism sends.
    ///
    /// # Errors
    /// As [`ImapClient::login`].
    pub fn danger_cleartext_login(
        &mut self,
        method: impl Into<LoginMethod>,
        credentials: &Credentials,
    ) -> Result<(), ClientError> {
        let method = method.into();
        self.log_in(|client, tx| client.danger_cleartext_authenticate(method, credentials, tx))
    }
}

impl<C: Channel> ImapClient<C> {
    /// Takes over a connection on which nothing was sent yet, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub fn over(connection: Connection<Client<C>>) -> Result<Self, ClientError> {
        Ok(Self { session: TypedSession::over(connection)? })
    }

    /// Sets the limit of an answer that is collected in memory, in bytes as received. Default: 16 MiB. FetchPart bodies are
    /// streamed and do not count.
    pub const fn set_answer_limit(&mut self, bytes: u64) {
        self.session.state.set_answer_limit(bytes);
    }

    /// Sets how much of an unfinished answer is skipped before the next command, in bytes. Beyond it the session ends with
    /// [`ClientError::Interrupted`]. Default: 64 MiB.
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
    /// [`ClientError::Imap`] for NO and BAD; [`ClientError::TooLarge`] if the answer exceeds the
    /// [limit](Self::set_answer_limit); those of [`Client::send`]; the connection or the session failed.
    pub fn run(&mut self, command: &Command<'_>) -> Result<Answer, ClientError> {
        let id = self.send(command)?;
        let mut answer = self.session.state.collect(id, self.session.connection.counts().0);
        loop {
            let part = self.session.until(|event, _, _, _| answer.part(event))?;
            if let Some(answer) = answer.add(part, self.session.connection.counts().0)? {
                return Ok(answer);
            }
        }
    }

    /// Finishes what was begun before and sends a command, whose completion is then awaited.
    pub(super) fn send(&mut self, command: &Command<'_>) -> Result<CommandId, ClientError> {
        self.session.start(|state, client, tx| state.send(command, client, tx))
    }

    /// Runs a command that no data answer. What arrives are changes of the mailbox.
    pub(super) fn complete(
        &mut self,
        command: &Command<'_>,
    ) -> Result<Owned<StatusResponse<'static>>, ClientError> {
        let id = self.send(command)?;
        self.session.until(|event, state, _, _| state.completion(id, event))
    }

    fn log_in(
        &mut self,
        begin: impl FnMut(&mut Client<C>, &mut SendBuffer) -> Result<CommandId, proto_mail::Error>,
    ) -> Result<(), ClientError> {
        let mut login = ImapLogin::new(begin);
        self.session.start(|state, client, tx| login.start(state, client, tx))?;
        self.session.until(|event, state, client, tx| login.event(&event, state, client, tx))?;
        self.session.settle()
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
    pub fn into_connection(mut self) -> Result<Connection<Client<C>>, ClientError> {
        self.session.settle()?;
        Ok(self.session.connection)
    }

    /// Logs out and closes the connection.
    ///
    /// # Errors
    /// The connection or the session failed before the server has answered.
    pub fn logout(mut self) -> Result<(), ClientError> {
        self.send(&Command::Logout)?;
        self.session.until(|event, _, _, _| Ok(matches!(event, Event::Closed).then_some(())))?;
        Ok(self.session.connection.close()?)
    }
}

impl<C: Channel> fmt::Debug for ImapClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapClient").field("state", &self.session.state).finish_non_exhaustive()
    }
}
