//! Routes on tokio, and the steps of a session around its transactions: readiness, login, QUIT.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use io_common::{SmtpClientProtocol, Target, protocol::session_ready};
use io_tokio::{Connection, ConnectionEvent, Connector, Error};
use proto_mail::{Channel, Credentials, Mechanism, Secure};
use proto_smtp::{Config, client::Client};

use super::{
    diagnostic::{Diagnostic, Retryable},
    route_key::{Keyed, RouteKey},
    session_login::SessionLogin,
};
use crate::login::LoggedIn;
use crate::session_run::FAREWELL_TIMEOUT;

type Opening<C, E> = Pin<Box<dyn Future<Output = Result<Connection<Client<C>>, E>> + Send>>;

/// How to reach a server with one identity and one TLS configuration. Cheap to clone. As
/// [`Route`](super::Route) of the blocking runner.
///
/// A session is used only for the route that opened it and its clones, never for another route to the same server.
/// Identities and TLS configurations therefore cannot be mixed up. Create one route for each identity and clone it.
pub struct Route<C: Channel + Send, E = Error> {
    inner: Arc<Inner<C, E>>,
}

struct Inner<C: Channel + Send, E> {
    key: RouteKey,
    open: Box<dyn Fn() -> Opening<C, E> + Send + Sync>,
}

impl<C: Channel + Send, E> Route<C, E> {
    /// A route to this host and port. `open` opens a session, waits until it is [ready](wait_until_ready), logs in if
    /// needed, and returns it.
    pub fn new<F>(host: &str, port: u16, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Connection<Client<C>>, E>> + Send + 'static,
    {
        let open = Box::new(move || -> Opening<C, E> { Box::pin(open()) });
        Self { inner: Arc::new(Inner { key: RouteKey::new(host, port), open }) }
    }

    pub(super) async fn open(&self) -> Result<Connection<Client<C>>, E> {
        (self.inner.open)().await
    }
}

impl Route<Secure> {
    /// A route over TLS to a server that needs no login.
    #[must_use]
    pub fn without_login(connector: &Connector, target: &Target, config: &Arc<Config>) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.dial_address();
        Self::new(host, port, move || {
            let (connector, to, config) = (connector.clone(), to.clone(), config.clone());
            async move {
                let mut connection = connector.connect::<SmtpClientProtocol>(&to, &config).await?;
                wait_until_ready(&mut connection).await?;
                Ok(connection)
            }
        })
    }

    /// A route over TLS that logs in with the strongest mechanism that fits. `credentials` is called for each session,
    /// because a token may have changed; it must not block.
    #[must_use]
    pub fn with_login(
        connector: &Connector,
        target: &Target,
        config: &Arc<Config>,
        credentials: impl Fn() -> Result<Credentials, Error> + Send + Sync + 'static,
    ) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.dial_address();
        let credentials = Arc::new(credentials);
        Self::new(host, port, move || {
            let (connector, to, config) = (connector.clone(), to.clone(), config.clone());
            let credentials = credentials.clone();
            async move {
                let mut connection = connector.connect::<SmtpClientProtocol>(&to, &config).await?;
                wait_until_ready(&mut connection).await?;
                log_in(&mut connection, &Mechanism::ALL, credentials()?).await?;
                Ok(connection)
            }
        })
    }
}

impl<C: Channel + Send, E> Keyed for Route<C, E> {
    fn key(&self) -> &RouteKey {
        &self.inner.key
    }
}

impl<C: Channel + Send, E> Clone for Route<C, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C: Channel + Send, E> fmt::Debug for Route<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        f.debug_struct("Route").field("host", &key.host()).field("port", &key.port()).finish_non_exhaustive()
    }
}

impl Retryable for Error {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }

    fn description(&self) -> String {
        self.to_string()
    }

    fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Session(error) => error.diagnostic(),
            _ => Diagnostic::without_reply(super::diagnostic::DeliveryStage::Connect, self.to_string()),
        }
    }
}

/// Waits for the greeting and the reply to EHLO.
///
/// # Errors
/// The connection is lost or a time limit passes; [`ServiceRefused`](io_common::Error::ServiceRefused) if the server
/// refuses to serve.
pub async fn wait_until_ready<C: Channel + Send>(
    connection: &mut Connection<Client<C>>,
) -> Result<(), Error> {
    let ready = connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(event) => Ok::<_, Error>(session_ready(&event)?),
        ConnectionEvent::Writable => Ok(None),
    });
    ready.await
}

/// Logs in on a [ready](wait_until_ready) connection, with the first of these mechanisms that fits. [`login`](crate::login)
/// says what is tried after a refusal. The credentials are not renewed.
///
/// # Errors
/// [`AuthenticationFailed`](io_common::Error::AuthenticationFailed) if no mechanism fits or the server refuses; or the
/// connection is lost.
pub async fn log_in(
    connection: &mut Connection<Client<Secure>>,
    order: &[Mechanism],
    credentials: Credentials,
) -> Result<LoggedIn, Error> {
    let mut login = SessionLogin::new(order, credentials);
    connection.with(|client, tx| login.start(client, tx))?;
    let logged_in = connection.drive(|turn, client, tx| match turn {
        ConnectionEvent::Machine(event) => Ok::<_, Error>(login.event(&event, client, tx)?),
        ConnectionEvent::Writable => Ok(None),
    });
    logged_in.await
}

/// Sends QUIT, if that can be sent, and closes. Errors are ignored: the server may have closed already.
pub(super) async fn quit<C: Channel + Send>(mut connection: Connection<Client<C>>) {
    if !connection.machine().is_idle() {
        return;
    }
    let _ = connection.with(|client, tx| client.quit(tx));
    // A server that does not read must not hold the caller.
    let _ = ::tokio::time::timeout(FAREWELL_TIMEOUT, connection.close()).await;
}
