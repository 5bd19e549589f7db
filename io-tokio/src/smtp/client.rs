//! The SMTP client: a session, and how it goes on after a future was dropped.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use io_common::{Target, TlsInfo, protocol::session_ready};
use proto_mail::{Channel, Cleartext, Credentials, Mechanism, Secure, SendBuffer, sasl::MechanismChoice};
use proto_smtp::{
    Config,
    client::{AuthOutcome, Client, Event, Step},
    types::{Capabilities, Response},
};

use crate::{
    connection::{Connection, ConnectionEvent},
    connector::Connector,
    error::Error,
    socket::Socket,
};

/// An SMTP session (RFC 5321), under TLS unless the type says [`Cleartext`].
///
/// # Dropping a future
///
/// A command whose future is dropped before the reply has arrived is not undone. Its reply is awaited at the beginning of
/// the next command, never mistaken for that of another; a transaction that was not complete is reset. A message that was
/// not sent completely ends the session with [`Error::Interrupted`]: the server discards it.
///
/// ```no_run
/// use io_tokio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
/// use proto_mail::Credentials;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsClientConfig::authorities(["/etc/ssl/certs/ca-certificates.crt"])?;
/// let target = Target::new("mail.example.com", 587, Security::StartTls);
/// let mut smtp = SmtpClient::connect(&Connector::new(tls), &target).await?;
/// smtp.login(&Credentials::password("alice", "secret")).await?;
/// let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
/// let report = smtp.send(envelope, "Subject: Hello\r\n\r\nHello Bob\r\n").await?;
/// for recipient in report.recipients() {
///     println!("{recipient}");
/// }
/// smtp.quit().await?;
/// # Ok(())
/// # }
/// ```
pub struct SmtpClient<C: Channel = Secure> {
    pub(super) connection: Connection<Client<C>>,
    pub(super) unfinished: Unfinished,
}

/// What the client has begun and not finished. If a future is dropped, the next method finishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// The server's capabilities are awaited.
    Greeting,
    /// Replies to commands are awaited.
    Replies,
    /// Replies to commands of a transaction are awaited, which is then reset.
    Envelope,
    /// The server waits for the rest of a message.
    Message,
    /// A message was not sent completely: the session cannot go on.
    Interrupted,
}

impl SmtpClient<Secure> {
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
        let connection = connector.connect::<io_common::SmtpClient>(target, &config.into()).await?;
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
        let connection = connector.connect_over::<io_common::SmtpClient>(socket, target, &config).await?;
        Self::over(connection).await
    }

    /// Logs in with the strongest mechanism that the server offers and the credentials fit: SCRAM first, which never shows
    /// the password to the server, PLAIN and LOGIN last. After a refusal of one mechanism no weaker one is tried.
    ///
    /// # Errors
    /// [`AuthenticationFailed`](io_common::Error::AuthenticationFailed) if the server refuses the credentials, or no
    /// mechanism fits. The session goes on.
    pub async fn login(&mut self, credentials: &Credentials) -> Result<(), Error> {
        self.login_by(&Mechanism::ALL, credentials).await
    }

    /// As [`login`](Self::login), with the first mechanism of `order` that can be used.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn login_by(&mut self, order: &[Mechanism], credentials: &Credentials) -> Result<(), Error> {
        self.settle().await?;
        let mechanism = chosen(self.machine().choose_mechanism(order, credentials))?;
        self.log_in(|client, tx| client.authenticate(mechanism, credentials.duplicate(), tx)).await
    }
}

impl SmtpClient<Cleartext> {
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
        let connection = connector.danger_connect_cleartext::<io_common::SmtpClient>(target, &config).await?;
        Self::over(connection).await
    }

    /// Logs in without TLS, with the first mechanism of `order` that can be used. An eavesdropper can read what the
    /// mechanism sends.
    ///
    /// # Errors
    /// As [`SmtpClient::login`].
    pub async fn danger_cleartext_login(
        &mut self,
        order: &[Mechanism],
        credentials: &Credentials,
    ) -> Result<(), Error> {
        self.settle().await?;
        let mechanism = chosen(self.machine().choose_mechanism(order, credentials))?;
        self.log_in(|client, tx| client.danger_cleartext_authenticate(mechanism, credentials.duplicate(), tx))
            .await
    }
}

impl<C: Channel> SmtpClient<C> {
    /// Takes over a connection on which nothing was sent yet, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// The connection or the session failed, or the server refuses to serve.
    pub async fn over(connection: Connection<Client<C>>) -> Result<Self, Error> {
        let mut this = Self { connection, unfinished: Unfinished::Greeting };
        this.settle().await?;
        Ok(this)
    }

    /// Sends NOOP and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Smtp`] if the server rejects it; the connection or the session failed.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.command(Step::Noop, |client, tx| client.noop(tx)).await.map(drop)
    }

    /// Asks whether an address is valid (VRFY).
    ///
    /// # Errors
    /// As [`noop`](Self::noop).
    pub async fn verify(&mut self, text: &str) -> Result<Response<'static>, Error> {
        self.command(Step::Vrfy, |client, tx| client.vrfy(text, tx)).await
    }

    /// Ends the session and closes the connection.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn quit(mut self) -> Result<(), Error> {
        self.settle().await?;
        self.connection.with(|client, tx| client.quit(tx))?;
        self.until(|event, _, _| Ok(matches!(event, Event::Closed(_)).then_some(()))).await?;
        self.connection.close().await
    }

    /// Sends a command and waits for its reply.
    async fn command(
        &mut self,
        step: Step,
        give: impl FnOnce(&mut Client<C>, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    ) -> Result<Response<'static>, Error> {
        self.settle().await?;
        self.connection.with(give)?;
        self.unfinished = Unfinished::Replies;
        self.until(|event, _, _| match event {
            Event::Accepted(of, response) if of == step => Ok(Some(response.into_owned())),
            Event::Rejected(of, response) if of == step => Err(Error::Smtp(Box::new(response.into_owned()))),
            _ => Ok(None),
        })
        .await
    }

    async fn log_in(
        &mut self,
        mut begin: impl FnMut(&mut Client<C>, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    ) -> Result<(), Error> {
        loop {
            self.settle().await?;
            let refused_before = self.machine().has_refused_initial_response();
            self.connection.with(&mut begin)?;
            self.unfinished = Unfinished::Replies;
            let outcome = self.until(|event, client, _| Ok(login_outcome(&event, client)));
            match outcome.await? {
                Ok(()) => return Ok(()),
                // Some servers do not understand an initial response.
                Err(_) if !refused_before && self.machine().has_refused_initial_response() => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Finishes what a dropped future has left.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        loop {
            match self.unfinished {
                Unfinished::Greeting => {
                    self.until(|event, _, _| Ok(session_ready(&event)?)).await?;
                    self.unfinished = Unfinished::Replies;
                }
                Unfinished::Replies if self.machine().is_idle() => return Ok(()),
                Unfinished::Envelope if self.machine().is_idle() => {
                    self.connection.with(|client, tx| client.reset(tx))?;
                    self.unfinished = Unfinished::Replies;
                }
                Unfinished::Replies | Unfinished::Envelope => {
                    let can_continue = self
                        .until(|event, client, _| match event {
                            Event::SendData(_) => Ok(Some(false)),
                            _ => Ok(client.is_idle().then_some(true)),
                        })
                        .await?;
                    if !can_continue {
                        self.unfinished = Unfinished::Message;
                    }
                }
                Unfinished::Message => {
                    self.connection.cut();
                    self.unfinished = Unfinished::Interrupted;
                }
                Unfinished::Interrupted => return Err(Error::Interrupted),
            }
        }
    }

    /// Reads, writes and waits until `step` returns a value.
    pub(super) async fn until<T>(
        &mut self,
        mut step: impl FnMut(Event<'_>, &mut Client<C>, &mut SendBuffer) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| self.poll_until(&mut step, cx)).await
    }

    fn poll_until<T>(
        &mut self,
        step: &mut impl FnMut(Event<'_>, &mut Client<C>, &mut SendBuffer) -> Result<Option<T>, Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        let step =
            &mut |event: ConnectionEvent<'_, Client<C>>, client: &mut Client<C>, tx: &mut SendBuffer| {
                match event {
                    ConnectionEvent::Machine(event) => step(event, client, tx),
                    ConnectionEvent::Writable => Ok(None),
                }
            };
        self.connection.poll_drive(step, cx)
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &Client<C> {
        self.connection.machine()
    }

    /// Returns what the server offers.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities<'static>> {
        self.connection.machine().capabilities()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.connection.tls_info()
    }

    /// Finishes what was begun and returns the connection, for a program that continues with the machine itself.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn into_connection(mut self) -> Result<Connection<Client<C>>, Error> {
        self.settle().await?;
        Ok(self.connection)
    }
}

/// Returns how an authentication has ended; `None` if the event does not end it.
fn login_outcome<C: Channel>(event: &Event<'_>, client: &Client<C>) -> Option<Result<(), Error>> {
    let response = match event {
        Event::Auth(AuthOutcome::Accepted(_)) => return Some(Ok(())),
        Event::Auth(AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response))
        | Event::Rejected(Step::Auth, response)
        | Event::Closed(Some(response)) => response,
        _ => return None,
    };
    let mut reply = response.to_string();
    if let Some(reason) = client.authentication_failure() {
        reply = format!("{reply} ({reason})");
    }
    let code = Some(response.code().get());
    Some(Err(io_common::Error::AuthenticationFailed { code, reply }.into()))
}

/// That no mechanism fits is a failed login, not a mistake of the program.
fn chosen(choice: MechanismChoice) -> Result<Mechanism, Error> {
    choice.into_result().map_err(|reasons| {
        io_common::Error::AuthenticationFailed { code: None, reply: reasons.to_string() }.into()
    })
}

impl<C: Channel> fmt::Debug for SmtpClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpClient").field("unfinished", &self.unfinished).finish_non_exhaustive()
    }
}
