//! A whole server on a thread of its own.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use io_common::trace::Tracer;
use io_common::{TlsServerConfig, Trace, TrustedProxies};
use io_mio::{BoundPort, Reactor, ReactorHandle};
use mailstore::Store;

use crate::error::Error;
use crate::listener::{Encryption, ListenerOptions, ListenerReload};
use crate::metrics::Metrics;
use crate::server_context::ServerContext;
use crate::service::Service;
use crate::settings::{Options, Settings};

/// How long dropping a server waits for its sessions to end.
const DROP_GRACE: Duration = Duration::from_secs(1);

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
    pub fn listen(self, service: Service, address: SocketAddr) -> Result<Self, Error> {
        let port = BoundPort::bind(address)?;
        Ok(self.listen_on(service, port))
    }

    /// Listens for a service on a port that is bound already.
    #[must_use]
    pub fn listen_on(mut self, service: Service, port: BoundPort) -> Self {
        self.ports.push((service, port));
        self
    }

    /// Starts the server. It runs until it is shut down.
    ///
    /// # Errors
    /// The store failed, a port cannot be listened on, or the operating system provides no thread.
    pub fn start(self) -> Result<Server, Error> {
        let context = ServerContext::new(self.store, &self.settings, self.options)?;
        let mut reactor = Reactor::new(self.settings.connections.clone())?;
        let (mut addresses, mut reloads) = (Vec::new(), Vec::new());
        for (service, port) in self.ports {
            let mut options = ListenerOptions::new(service, self.encryption.clone());
            options.proxies = Some(self.proxies.clone());
            options.tracer = self.tracer.clone();
            let listener = context.listener(&self.settings, options);
            addresses.extend(port.address().as_socket_addr().map(|address| (service, address)));
            reactor.listen_with(port, listener.sessions)?;
            reloads.push(listener.settings);
        }
        let handle =
            ServerHandle { shared: Arc::new(Shared { context, reloads, reactor: reactor.handle() }) };
        let run = move || reactor.run();
        let thread = std::thread::Builder::new().name("mailserver".to_owned()).spawn(run);
        Ok(Server { addresses, handle, thread: Some(thread.map_err(Error::Thread)?) })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// A running mail server. Dropping it shuts it down.
pub struct Server {
    addresses: Vec<(Service, SocketAddr)>,
    handle: ServerHandle,
    thread: Option<JoinHandle<Result<(), io_common::Error>>>,
}

/// A handle on a server, for other threads.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

struct Shared {
    context: Arc<ServerContext>,
    reloads: Vec<ListenerReload>,
    reactor: ReactorHandle,
}

impl ServerHandle {
    /// Replaces settings and certificate for new sessions.
    pub fn reload(&self, settings: &Settings, tls: &TlsServerConfig) {
        let Shared { context, reloads, reactor } = &*self.shared;
        reloads.iter().for_each(|reload| reload.apply(settings, tls));
        context.apply(settings);
        reactor.set_limits(settings.connections.clone());
    }

    /// Returns what the server has done since it started.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.context.metrics()
    }

    /// Stops accepting, lets each session finish its command, and closes what is still open after `grace`. Returns at once.
    pub fn shut_down(&self, grace: Duration) {
        self.shared.reactor.shut_down(grace);
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerHandle")
    }
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

    /// Returns a handle for other threads.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Stops accepting, lets each session finish its command, and closes what is still open after `grace`. Returns when
    /// every session is over.
    ///
    /// # Errors
    /// The event loop failed.
    pub fn shut_down(mut self, grace: Duration) -> Result<(), Error> {
        self.handle.shut_down(grace);
        self.join()
    }

    /// Waits until the server is shut down.
    ///
    /// # Errors
    /// The event loop failed.
    pub fn wait(mut self) -> Result<(), Error> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err(io_common::Error::Panicked.into()),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shut_down(DROP_GRACE);
        let _ = self.join();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
