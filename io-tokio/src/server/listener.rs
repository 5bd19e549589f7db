//! Servers: listening ports, and a task for each session.

use std::{
    fmt, io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use io_common::{
    Address, ConnectionLimits, Deadlines, Handler, ListenerSettings, ListenerTls, Peer, ServerProtocol,
    SessionHandle, Trace, TrustedProxies, server::SessionFactory, trace::Tracer,
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    async_protocol::AsyncProtocol,
    handler_task::HandlerTask,
    service::{Listened, Service, run},
    session_signals::Signal,
    session_table::{SessionSlot, SessionTable},
};
use crate::{error::Error, socket::Socket, timer::now};

/// How long accepting pauses when the operating system has no resources left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time limit for sending the reply to a connection beyond all limits.
const CUT_OFF_TIMEOUT: Duration = Duration::from_millis(100);

/// A server: any number of listening ports, of any protocol, with a task of tokio for each session.
///
/// Two kinds of applications serve sessions:
///
/// * an async function, with [`serve`](Self::serve);
/// * a [`Handler`], which also runs on `io-mio`, with [`listen`](Self::listen).
///
/// Dropping the server stops listening and closes all sessions; [`shut_down`](Self::shut_down) does it in order.
pub struct Server {
    table: Arc<SessionTable>,
    listeners: Vec<JoinHandle<()>>,
    tracer: Option<Arc<Tracer>>,
}

/// A bound listening socket. Connections wait in the operating system until a server listens on it.
#[derive(Debug)]
pub struct BoundPort {
    socket: ListeningSocket,
    address: Address,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl BoundPort {
    /// Binds a TCP address. Port 0 stands for any free port.
    ///
    /// # Errors
    /// The operating system refuses the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = io_common::Error::io("opening a listening port");
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let failed = io_common::Error::io("asking for the address of a listening port");
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket: ListeningSocket::Tcp(socket), address: address.into() })
    }

    /// Binds a Unix socket. The file must not exist yet; the caller removes it when the server has ended, and sets its
    /// permissions: any program that can open the file can connect.
    ///
    /// # Errors
    /// The operating system refuses the path.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = io_common::Error::io("opening a listening Unix socket");
        let socket = tokio::net::UnixListener::bind(path).map_err(failed)?;
        Ok(Self { socket: ListeningSocket::Unix(socket), address: Address::Unix(Some(path.into())) })
    }

    /// Returns the address that it is bound to.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    fn check_proxies(&self, is_behind_proxies: bool) -> Result<(), Error> {
        if is_behind_proxies && matches!(self.address, Address::Unix(_)) {
            return Err(Error::Invalid("a Unix socket has no addresses of proxies to trust".into()));
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<Socket> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => Socket::try_from(listener.accept().await?.0),
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => Socket::try_from(listener.accept().await?.0),
        }
    }
}

/// What a listener does with a connection.
trait Accept: Send + Sync + 'static {
    /// Whether connections from this peer are allowed.
    fn allows(&self, peer: &Address) -> bool;
    /// Whether a connection counts for its own address. A proxy's counts for the client that it announces.
    fn counts_addresses(&self) -> bool;
    /// Starts the task of a session.
    fn start(&self, socket: Socket, slot: SessionSlot);
    /// Closes a connection beyond all limits.
    fn cut_off(&self, socket: Socket);
}

impl Server {
    /// A server without listeners.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { table: Arc::new(SessionTable::new(limits)), listeners: Vec::new(), tracer: None }
    }

    /// Creates a trace for each connection of the listeners that are added after this call.
    pub fn trace(&mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) {
        self.tracer = Some(Arc::new(tracer));
    }

    /// Listens on `address` (port 0: any free port) and returns the bound address. Each session is served by the async
    /// function `service`; see [`Service`].
    ///
    /// # Errors
    /// The operating system refuses the address.
    pub async fn serve<P: AsyncProtocol>(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        config: P::Config,
        deadlines: Deadlines,
        service: impl Service<P>,
    ) -> Result<SocketAddr, Error> {
        let port = BoundPort::bind(address).await?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        self.serve_on(port, None, &ListenerSettings::new(config, tls, deadlines), service)?;
        Ok(address)
    }

    /// As [`serve`](Self::serve), on a bound port or Unix socket, with settings that can be replaced while it listens. With
    /// `proxies`, only those may connect: each connection must begin with a header of the PROXY protocol, and
    /// [`Peer::address`] is the client's.
    ///
    /// # Errors
    /// `proxies` are given for a Unix socket.
    pub fn serve_on<P: AsyncProtocol>(
        &mut self,
        port: BoundPort,
        proxies: Option<TrustedProxies>,
        settings: &ListenerSettings<P>,
        service: impl Service<P>,
    ) -> Result<(), Error> {
        port.check_proxies(proxies.is_some())?;
        let (settings, tracer) = (settings.clone(), self.tracer.clone());
        self.add(port, Listened { settings, proxies, tracer, service });
        Ok(())
    }

    /// Listens on `address` (port 0: any free port) and returns the bound address. `factory` makes a handler for each
    /// session, and another one when STARTTLS has put TLS in place.
    ///
    /// # Errors
    /// The operating system refuses the address.
    pub async fn listen<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        address: SocketAddr,
        tls: ListenerTls,
        config: P::Config,
        deadlines: Deadlines,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        let port = BoundPort::bind(address).await?;
        let address = port.address().as_socket_addr().unwrap_or(address);
        self.listen_on(port, None, &ListenerSettings::new(config, tls, deadlines), factory)?;
        Ok(address)
    }

    /// Listens on a bound port or Unix socket, with settings that can be replaced while it listens. With `proxies`, only
    /// those may connect: each connection must begin with a header of the PROXY protocol, and [`Peer::address`] is the
    /// client's.
    ///
    /// # Errors
    /// `proxies` are given for a Unix socket.
    pub fn listen_on<P: ServerProtocol, H: Handler<P>>(
        &mut self,
        port: BoundPort,
        proxies: Option<TrustedProxies>,
        settings: &ListenerSettings<P>,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let tracer = self.tracer.clone();
        self.listen_with(port, SessionFactory::new(settings.clone(), proxies, tracer, factory))
    }

    /// Listens on a bound port or Unix socket, and starts sessions with this factory.
    ///
    /// # Errors
    /// A Unix socket is said to be behind proxies.
    pub fn listen_with(&mut self, port: BoundPort, sessions: SessionFactory<Socket>) -> Result<(), Error> {
        port.check_proxies(sessions.is_behind_proxies())?;
        self.add(port, HandlerListener(sessions));
        Ok(())
    }

    /// Serves a connection that the caller has accepted, as [`serve_on`](Self::serve_on) does. The limits apply to it.
    pub async fn serve_over<P: AsyncProtocol>(
        &self,
        socket: Socket,
        settings: &ListenerSettings<P>,
        service: impl Service<P>,
    ) {
        let (settings, tracer) = (settings.clone(), self.tracer.clone());
        admit(socket, &self.table, &Listened { settings, proxies: None, tracer, service }).await;
    }

    /// Serves a connection that the caller has accepted with a handler, as [`listen_on`](Self::listen_on) does. The limits
    /// apply to it.
    pub async fn handle_over<P: ServerProtocol, H: Handler<P>>(
        &self,
        socket: Socket,
        settings: &ListenerSettings<P>,
        factory: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) {
        let factory = SessionFactory::new(settings.clone(), None, self.tracer.clone(), factory);
        admit(socket, &self.table, &HandlerListener(factory)).await;
    }

    fn add(&mut self, port: BoundPort, accept: impl Accept) {
        self.listeners.push(tokio::spawn(accept_all(port, self.table.clone(), accept)));
    }

    /// Returns how many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.sessions()
    }

    /// Replaces the limits. Existing sessions stay, even if the new limits allow fewer.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.table.set_limits(limits);
    }

    /// Stops accepting, lets each session finish its command and says goodbye, and closes what is still open after
    /// `grace`.
    pub async fn shut_down(mut self, grace: Duration) {
        for listener in self.listeners.drain(..) {
            listener.abort();
            // Once it has ended, its port is free.
            let _ = listener.await;
        }
        self.table.end_all(Signal::DRAIN);
        if timeout(grace, self.table.empty()).await.is_err() {
            self.table.end_all(Signal::ABORT);
            self.table.empty().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
        self.table.end_all(Signal::ABORT);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}

/// Accepts connections, as long as the listener exists.
async fn accept_all(port: BoundPort, table: Arc<SessionTable>, accept: impl Accept) {
    loop {
        match port.accept().await {
            Ok(socket) => admit(socket, &table, &accept).await,
            Err(error) if concerns_one_connection(&error) => {}
            // No file descriptor or memory is left: some sessions have to end first.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Starts the session of a connection, or closes the connection if there are too many.
async fn admit(mut socket: Socket, table: &Arc<SessionTable>, accept: &impl Accept) {
    let peer = socket.peer_address();
    if !accept.allows(peer) {
        return;
    }
    let is_counted = accept.counts_addresses() && matches!(peer, Address::Ip(_));
    match table.admit(is_counted.then(|| peer.ip()), now()) {
        // A factory that panics ends only this connection.
        Some(slot) => drop(catch_unwind(AssertUnwindSafe(|| accept.start(socket, slot)))),
        None => {
            // A new socket is writable at once.
            let _ = timeout(CUT_OFF_TIMEOUT, socket.writable()).await;
            accept.cut_off(socket);
        }
    }
}

/// A listener whose sessions are those of a handler.
struct HandlerListener(SessionFactory<Socket>);

impl Accept for HandlerListener {
    fn allows(&self, peer: &Address) -> bool {
        self.0.allows(peer.ip())
    }

    fn counts_addresses(&self) -> bool {
        !self.0.is_behind_proxies()
    }

    fn start(&self, socket: Socket, slot: SessionSlot) {
        let peer = Peer::new(socket.peer_address().clone(), socket.local_end().clone());
        let handle = SessionHandle::new(slot.key(), slot.signals.clone());
        if let Ok(session) = self.0.start(socket, peer, handle, slot.admission, now()) {
            tokio::spawn(HandlerTask::new(session, slot));
        }
    }

    fn cut_off(&self, socket: Socket) {
        self.0.cut_off(socket);
    }
}

/// A listener whose sessions are served by an async function.
impl<P: AsyncProtocol, S: Service<P>> Accept for Listened<P, S> {
    fn allows(&self, peer: &Address) -> bool {
        self.proxies.as_ref().is_none_or(|proxies| proxies.contains(peer.ip()))
    }

    fn counts_addresses(&self) -> bool {
        self.proxies.is_none()
    }

    fn start(&self, socket: Socket, slot: SessionSlot) {
        let signals = slot.signals.clone();
        tokio::spawn(signals.until_aborted(run(socket, slot, self.clone())));
    }

    fn cut_off(&self, mut socket: Socket) {
        if !matches!(self.settings.current().tls, ListenerTls::Implicit(_)) {
            let _ = io::Write::write(&mut socket, P::TOO_MANY_CONNECTIONS);
        }
    }
}

/// Whether an accept failed for a reason that concerns one connection only.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::Interrupted
            | K::ConnectionAborted
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::NotConnected
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::TimedOut
            | K::PermissionDenied
    )
}
