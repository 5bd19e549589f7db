//! The SMTP client: a session, and how it goes on after a writer was dropped.

use std::{fmt, sync::Arc};

use io_common::{
    Deadlines, SmtpClientProtocol, Target, TlsInfo,
    client::{ClientError, SmtpLogin, SmtpState},
};
use proto_mail::{Channel, Cleartext, Credentials, Mechanism, Secure, SendBuffer};
use proto_smtp::{
    Config,
    client::{Client, Event, Step},
    types::{Capabilities, Response},
};

use crate::{
    client::{Connection, Connector},
    socket::ConnectedSocket,
    typed_session::TypedSession,
};

/// An SMTP session (RFC 5321) for programs that block, under TLS unless the type says [`Cleartext`].
///
/// One command runs at a time. A [`MessageWriter`](super::MessageWriter) that is dropped before the message was complete
/// ends the session with [`ClientError::Interrupted`]: the server discards the message.
///
/// ```no_run
/// use io_mio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
/// use proto_mail::Credentials;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsClientConfig::authorities(["/etc/ssl/certs/ca-certificates.crt"])?;
/// let target = Target::new("mail.example.com", 587, Security::StartTls);
/// let mut smtp = SmtpClient::connect(&Connector::new(tls), &target)?;
/// smtp.login(&Credentials::password("alice", "secret"))?;
/// let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
/// let report = smtp.send(envelope, "Subject: Hello\r\n\r\nHello Bob\r\n")?;
/// for recipient in report.recipients() {
///     println!("{recipient}");
/// }
/// smtp.quit()?;
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
        Self::over(connector.connect::<SmtpClientProtocol>(target, &config.into())?)
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
        Self::over(connector.connect_over::<SmtpClientProtocol>(socket, target, &config)?)
    }

    /// Logs in with the strongest mechanism that the server offers and the credentials fit: SCRAM first, which never shows
    /// the password to the server, PLAIN and LOGIN last. After a refusal of one mechanism no weaker one is tried.
    ///
    /// # Errors
    /// [`AuthenticationFailed`](io_common::Error::AuthenticationFailed) if the server refuses the credentials, or no
    /// mechanism fits. The session goes on.
    pub fn login(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.login_by(&Mechanism::ALL, credentials)
    }

    /// As [`login`](Self::login), with the first mechanism of `order` that can be used.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_by(&mut self, order: &[Mechanism], credentials: &Credentials) -> Result<(), ClientError> {
        self.log_in(order, credentials, Client::<Secure>::authenticate)
    }
}

impl SmtpClient<Cleartext> {
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
        Self::over(connector.danger_connect_cleartext::<SmtpClientProtocol>(target, &config)?)
    }

    /// Logs in without TLS, with the first mechanism of `order` that can be used. An eavesdropper can read what the
    /// mechanism sends.
    ///
    /// # Errors
    /// As [`SmtpClient::login`].
    pub fn danger_cleartext_login(
        &mut self,
        order: &[Mechanism],
        credentials: &Credentials,
    ) -> Result<(), ClientError> {
        self.log_in(order, credentials, Client::<Cleartext>::danger_cleartext_authenticate)
    }
}

impl<C: Channel> SmtpClient<C> {
    /// Takes over a connection on which nothing was sent yet, and waits for the server's greeting and capabilities.
    ///
    /// # Errors
    /// The connection or the session failed, or the server refuses to serve.
    pub fn over(connection: Connection<Client<C>>) -> Result<Self, ClientError> {
        Ok(Self { session: TypedSession::over(connection)? })
    }

    /// Sends NOOP and waits for its reply.
    ///
    /// # Errors
    /// [`ClientError::Smtp`] if the server rejects it; the connection or the session failed.
    pub fn noop(&mut self) -> Result<(), ClientError> {
        self.command(Step::Noop, |client, tx| client.noop(tx)).map(drop)
    }

    /// Asks whether an address is valid (VRFY).
    ///
    /// # Errors
    /// As [`noop`](Self::noop).
    pub fn verify(&mut self, text: &str) -> Result<Response<'static>, ClientError> {
        self.command(Step::Vrfy, |client, tx| client.vrfy(text, tx))
    }

    /// Ends the session and closes the connection.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub fn quit(mut self) -> Result<(), ClientError> {
        self.session.start(|_, client, tx| Ok(client.quit(tx)?))?;
        self.session.until(|event, _, _, _| Ok(matches!(event, Event::Closed(_)).then_some(())))?;
        Ok(self.session.connection.close()?)
    }

    /// Sends a command and waits for its reply.
    fn command(
        &mut self,
        step: Step,
        give: impl FnOnce(&mut Client<C>, &mut SendBuffer) -> Result<(), proto_mail::Error>,
    ) -> Result<Response<'static>, ClientError> {
        self.session.start(|_, client, tx| Ok(give(client, tx)?))?;
        self.session.until(|event, _, _, _| SmtpState::reply(step, event))
    }

    fn log_in(
        &mut self,
        order: &[Mechanism],
        credentials: &Credentials,
        begin: impl FnMut(
            &mut Client<C>,
            Mechanism,
            Credentials,
            &mut SendBuffer,
        ) -> Result<(), proto_mail::Error>,
    ) -> Result<(), ClientError> {
        let mut login = SmtpLogin::new(order, credentials, begin);
        self.session.start(|state, client, tx| login.start(state, client, tx))?;
        self.session.until(|event, state, client, tx| login.event(&event, state, client, tx))
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
    pub fn into_connection(mut self) -> Result<Connection<Client<C>>, ClientError> {
        self.session.settle()?;
        Ok(self.session.connection)
    }
}

impl<C: Channel> fmt::Debug for SmtpClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpClient").field("state", &self.session.state).finish_non_exhaustive()
    }
}
