//! Routes: how sessions with a server are opened, for one identity.

use std::{fmt, sync::Arc};

use proto_mail::{Channel, Credentials, Mechanism, Secure};
use proto_smtp::{Config, client::Client};

use super::{
    route_key::{Keyed, RouteKey},
    smtp_session::{log_in, wait_until_ready},
};
use io_mio::{Connection, Connector, Error, SmtpClientProtocol, Target};

type Open<C, E> = dyn Fn() -> Result<Connection<Client<C>>, E> + Send + Sync;

/// How to reach a server with one identity and one TLS configuration. Cheap to clone.
///
/// A session is used only for the route that opened it and its clones, never for another route to the same server.
/// Identities and TLS configurations therefore cannot be mixed up. Create one route for each identity and clone it.
pub struct Route<C: Channel, E = Error> {
    inner: Arc<Inner<C, E>>,
}

struct Inner<C: Channel, E> {
    key: RouteKey,
    open: Box<Open<C, E>>,
}

impl<C: Channel, E> Route<C, E> {
    /// A route to this host and port. `open` opens a session, waits until it is [ready](wait_until_ready), logs in if
    /// needed, and returns it.
    pub fn new(
        host: &str,
        port: u16,
        open: impl Fn() -> Result<Connection<Client<C>>, E> + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::new(Inner { key: RouteKey::new(host, port), open: Box::new(open) }) }
    }

    pub(super) fn open(&self) -> Result<Connection<Client<C>>, E> {
        (self.inner.open)()
    }
}

impl Route<Secure> {
    /// A route over TLS to a server that needs no login.
    #[must_use]
    pub fn without_login(connector: &Connector, target: &Target, config: &Arc<Config>) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.dial_address();
        Self::new(host, port, move || {
            let mut connection = connector.connect::<SmtpClientProtocol>(&to, &config)?;
            wait_until_ready(&mut connection)?;
            Ok(connection)
        })
    }

    /// A route over TLS that logs in with the strongest mechanism that fits. `credentials` is called for each session,
    /// because a token may have changed.
    #[must_use]
    pub fn with_login(
        connector: &Connector,
        target: &Target,
        config: &Arc<Config>,
        credentials: impl Fn() -> Result<Credentials, Error> + Send + Sync + 'static,
    ) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.dial_address();
        Self::new(host, port, move || {
            let mut connection = connector.connect::<SmtpClientProtocol>(&to, &config)?;
            wait_until_ready(&mut connection)?;
            log_in(&mut connection, &Mechanism::ALL, credentials()?)?;
            Ok(connection)
        })
    }
}

impl<C: Channel, E> Keyed for Route<C, E> {
    fn key(&self) -> &RouteKey {
        &self.inner.key
    }
}

impl<C: Channel, E> Clone for Route<C, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C: Channel, E> fmt::Debug for Route<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        f.debug_struct("Route").field("host", &key.host()).field("port", &key.port()).finish_non_exhaustive()
    }
}
