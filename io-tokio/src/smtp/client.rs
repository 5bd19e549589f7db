//! The SMTP client: a session, and how it goes on after a future was dropped.

use std::{fmt, sync::Arc};

use io_common::{
    Deadlines, SmtpClientProtocol, Target, TlsInfo,
    client::{SmtpLogin, SmtpState},
};
use proto_mail::{Channel, Cleartext, Credentials, Mechanism, Secure, SendBuffer};
use proto_smtp::{
    Config,
    client::{Client, Event, Step},
    types::{Capabilities, Response},
};

use crate::{
    connection::Connection, connector::Connector, error::Error, socket::Socket, typed_session::TypedSession,
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
    pub(super) session: TypedSession<Client<C>, SmtpState>,
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
        Self::over(connector.connect::<SmtpClientProtocol>(target, &config.into()).await?).await
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
        Self::over(connector.connect_over::<SmtpClientProtocol>(socket, target, &config).await?).await
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
        self.log_in(order, credentials, Client::<Secure>::authenticate).await
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
        Self::over(connector.danger_connect_cleartext::<SmtpClientProtocol>(target, &config).await?).await
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
        self.log_in(order, credentials, Client::<Cleartext>::danger_cleartext_authenticate).await
    }
}

impl<C: Channel> SmtpClient<C> {
    /// Takes over a connection on which nothing was sent yet, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// The connection or the session failed, or the server refuses to serve.
    pub async fn over(connection: Connection<Client<C>>) -> Result<Self, Error> {
        Ok(Self { session: TypedSession::over(connection).await? })
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
        self.session.start(|_, client, tx| Ok(client.quit(tx)?)).await?;
        self.session.until(|event, _, _, _| Ok(matches!(event, Event::Closed(_)).then_some(()))).await?;
        self.session.connection.close().await
    }

    /// Sends a command and waits for its reply.
    async fn command(
        &mut self,
        step: Step,
        give: impl FnOnce(&mut Client<C>, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    ) -> Result<Response<'static>, Error> {
        self.session.start(|_, client, tx| Ok(give(client, tx)?)).await?;
        self.session.until(|event, _, _, _| SmtpState::reply(step, event)).await
    }

    async fn log_in(
        &mut self,
        order: &[Mechanism],
        credentials: &Credentials,
        begin: impl FnMut(
            &mut Client<C>,
            Mechanism,
            Credentials,
            &mut SendBuffer,
        ) -> Result<(), proto_mail::Error>,
    ) -> Result<(), Error> {
        let mut login = SmtpLogin::new(order, credentials, begin);
        self.session.start(|state, client, tx| login.start(state, client, tx)).await?;
        self.session.until(|event, state, client, tx| login.event(&event, state, client, tx)).await
    }

    /// Sets the time limits from now on.
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.session.connection.set_deadlines(deadlines);
    }

    /// Returns the machine.
    #[must_use]
    pub const fn machine(&self) -> &Client<C> {
        self.session.connection.machine()
    }

    /// Returns what the server offers.
    #[must_use]
    pub const fn capabilities(&self) -> Option<&Capabilities<'static>> {
        self.machine().capabilities()
    }

    /// Returns what TLS negotiated; `None` on cleartext.
    #[must_use]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.session.connection.tls_info()
    }

    /// Finishes what was begun and returns the connection, for a program that continues with the machine itself.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn into_connection(mut self) -> Result<Connection<Client<C>>, Error> {
        self.session.settle().await?;
        Ok(self.session.connection)
    }
}

impl<C: Channel> fmt::Debug for SmtpClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpClient").field("state", &self.session.state).finish_non_exhaustive()
    }
}
