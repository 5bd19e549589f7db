//! A whole server on tokio. The names are those of the server on a thread of its own ([`crate::Server`]).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use io_common::trace::Tracer;
use io_common::{TlsServerConfig, Trace, TrustedProxies};
use io_tokio::Socket;
use io_tokio::server::BoundPort;
use mailstore::Store;

use crate::error::Error;
use crate::listener::{Encryption, ListenerOptions, ListenerReload};
use crate::metrics::Metrics;
use crate::server_context::ServerContext;
use crate::service::Service;
use crate::settings::{Options, Settings};

/// Configures a [`Server`].
pub struct ServerBuilder {
    store: Arc<dyn Store>,
    encryption: Encryption,
    settings: Settings,
    options: Options,
    proxies: TrustedProxies,
    tracer: Option<Arc<Tracer>>,
    ports: Vec<(Service, BoundPort)>,
}

impl ServerBuilder {
    /// Replaces the settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Replaces the options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Accepts connections from these proxies only, each of which announces its client with the PROXY protocol. Does not
    /// apply to LMTP.
    #[must_use]
    pub fn proxies(mut self, proxies: &TrustedProxies) -> Self {
        self.proxies.add(proxies);
        self
    }

    /// Makes a trace for each session.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Listens for a service at this address; port 0 stands for any free port.
    ///
    /// # Errors
    /// The operating system refuses the address.
    pub async fn listen(self, service: Service, address: SocketAddr) -> Result<Self, Error> {
        let port = BoundPort::bind(address).await?;
        Ok(self.listen_on(service, port))
    }

    /// Listens for a service on a port that is bound already.
    #[must_use]
    pub fn listen_on(mut self, service: Service, port: BoundPort) -> Self {
        self.ports.push((service, port));
        self
    }

    /// Starts the server. It runs until it is shut down or dropped. The call reads the accounts of the store, and blocks for
    /// that time.
    ///
    /// # Errors
    /// The store failed, or the operating system provides no thread.
    pub fn start(self) -> Result<Server, Error> {
        let context = ServerContext::new(self.store, &self.settings, self.options)?;
        let mut server = io_tokio::Server::new(self.settings.connections.clone());
        let (mut addresses, mut reloads) = (Vec::new(), Vec::new());
        for (service, port) in self.ports {
            let mut options = ListenerOptions::new(service, self.encryption.clone());
            options.proxies = Some(self.proxies.clone());
            options.tracer = self.tracer.clone();
            let listener = context.listener::<Socket>(&self.settings, options);
            addresses.extend(port.address().as_socket_addr().map(|address| (service, address)));
            server.listen_with(port, listener.sessions)?;
            reloads.push(listener.settings);
        }
        Ok(Server { addresses, context, reloads, server })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// A running mail server, with a task of tokio for each session. Dropping it closes all sessions.
pub struct Server {
    addresses: Vec<(Service, SocketAddr)>,
    context: Arc<ServerContext>,
    reloads: Vec<ListenerReload>,
    server: io_tokio::Server,
}

impl Server {
    /// Configures a server on this store.
    pub fn builder(store: Arc<dyn Store>, encryption: Encryption) -> ServerBuilder {
        ServerBuilder {
            store,
            encryption,
            settings: Settings::default(),
            options: Options::default(),
            proxies: TrustedProxies::default(),
            tracer: None,
            ports: Vec::new(),
        }
    }

    /// Returns the services that are listening, with their addresses.
    #[must_use]
    pub fn addresses(&self) -> &[(Service, SocketAddr)] {
        &self.addresses
    }

    /// Returns the address of a service; `None` if it is not listening.
    #[must_use]
    pub fn address(&self, service: Service) -> Option<SocketAddr> {
        self.addresses.iter().find(|(listening, _)| *listening == service).map(|(_, address)| *address)
    }

    /// Replaces settings and certificate for new sessions.
    pub fn reload(&self, settings: &Settings, tls: &TlsServerConfig) {
        self.reloads.iter().for_each(|reload| reload.apply(settings, tls));
        self.context.apply(settings);
        self.server.set_limits(settings.connections.clone());
    }

    /// Returns what the server has done since it started.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.context.metrics()
    }

    /// Stops accepting, lets each session finish its command, and closes what is still open after `grace`. Returns when
    /// every session is over.
    pub async fn shut_down(self, grace: Duration) {
        self.server.shut_down(grace).await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
