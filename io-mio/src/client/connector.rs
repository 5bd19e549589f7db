//! Opening a client's connection: name, address, proxy, TLS. Each stage has a time limit and is reported. Nothing falls
//! back to less than what was asked for.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use io_common::{
    Address, ClientProtocol, ConnectStage, Deadlines, Error, Proxy, Security, StageObserver, StageReport,
    StageReporter, StartTlsReadiness, Target, TimeoutStage, TlsClientConfig, Trace,
    protocol::ProtocolPorts,
    tls::{DetectedProtocol, seed},
    trace::{Role, Tracer},
    transport::{TlsStart, Transport},
};
use proto_mail::SendBuffer;

use super::{
    blocking::BlockingTransport,
    connection::{Connection, ConnectionEvent},
};
use crate::{
    dial::{race, resolve, tunnel},
    socket::{ConnectedSocket, Socket},
};

/// How long a server may be silent before a second connection asks whether it waits for TLS.
const SILENCE: Duration = Duration::from_millis(400);
/// How long connecting and each read may take on that second connection.
const PROBE: Duration = Duration::from_millis(400);

/// Opens connections with one TLS configuration, set of time limits and proxy. Cheap to clone.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use io_mio::{Connector, ImapClientProtocol, Security, Target, TlsClientConfig};
///
/// # fn main() -> Result<(), io_mio::Error> {
/// let tls = TlsClientConfig::authorities(["/etc/ssl/certs/ca-certificates.crt"])?;
/// let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
/// let connection = Connector::new(tls).connect::<ImapClientProtocol>(&target, &Arc::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connector {
    tls: TlsClientConfig,
    deadlines: Deadlines,
    proxy: Option<Proxy>,
    observer: StageObserver,
    tracer: Option<Arc<Tracer>>,
    probes: bool,
}

/// A socket on the way to a server.
struct Dialled {
    socket: Socket,
    address: Address,
    opened_at: Instant,
    /// Where a second connection may ask for TLS. `None` through a proxy and for a caller's socket.
    probe: Option<SocketAddr>,
}

impl Connector {
    /// A connector with the default [`Deadlines`] and without a proxy.
    #[must_use]
    pub fn new(tls: TlsClientConfig) -> Self {
        let deadlines = Deadlines::default();
        Self { tls, deadlines, proxy: None, observer: StageObserver::default(), tracer: None, probes: true }
    }

    /// Sets the time limits.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Connects through this proxy, which also resolves the names of servers. Unix sockets are reached directly.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Calls `observer` with each completed stage, and with the server's certificate even if it is refused.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Self {
        self.observer = StageObserver::new(observer);
        self
    }

    /// Creates a trace for each connection.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Turns the probe off: by default, a server that is silent when its greeting is due is asked on a second connection
    /// whether it speaks TLS. Port 25 is never probed, because some servers there penalise it, and neither is a server
    /// behind a proxy.
    #[must_use]
    pub const fn without_probe(mut self) -> Self {
        self.probes = false;
        self
    }

    /// Connects with TLS and a verified certificate. With [`Security::ImplicitTls`] the greeting has still to come.
    ///
    /// # Errors
    /// A stage failed. Nothing else is tried instead.
    pub fn connect<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Secure>, Error> {
        let mut stages = Stages::start(self);
        let dialled = self.dial(target, &mut stages)?;
        self.secure::<P>(dialled, target, config, &mut stages)
    }

    /// As [`connect`](Self::connect), over a socket that the caller has connected. `target` gives the names and the
    /// security; its host and port are not used.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), or the socket cannot be used.
    pub fn connect_over<P: ClientProtocol>(
        &self,
        socket: impl Into<ConnectedSocket>,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Secure>, Error> {
        let mut stages = Stages::start(self);
        self.secure::<P>(adopt(socket.into())?, target, config, &mut stages)
    }

    /// Connects without TLS: an attacker on the way can read and change everything. The target's [`Security`] is
    /// ignored.
    ///
    /// # Errors
    /// A stage failed.
    pub fn danger_connect_cleartext<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        let mut stages = Stages::start(self);
        self.cleartext::<P>(self.dial(target, &mut stages)?, config)
    }

    /// As [`danger_connect_cleartext`](Self::danger_connect_cleartext), over a socket that the caller has connected.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn danger_connect_cleartext_over<P: ClientProtocol>(
        &self,
        socket: impl Into<ConnectedSocket>,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        self.cleartext::<P>(adopt(socket.into())?, config)
    }

    fn cleartext<P: ClientProtocol>(
        &self,
        dialled: Dialled,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        let mut transport = self.transport::<P>(dialled)?;
        let config = &P::config_for_address(config, transport.inner.local_ip()?);
        let tx = &mut transport.inner.tx;
        let machine = match seed() {
            Some(seed) => P::open_with_seed(config, seed, tx),
            None => P::open(config, tx),
        };
        Ok(Connection::new(transport, machine, None))
    }

    fn secure<P: ClientProtocol>(
        &self,
        dialled: Dialled,
        target: &Target,
        config: &P::Config,
        stages: &mut Stages,
    ) -> Result<Connection<P::Secure>, Error> {
        let probe = dialled.probe.filter(|address| self.probes && address.port() != 25);
        let mut transport = self.transport::<P>(dialled)?;
        let config = &P::config_for_address(config, transport.inner.local_ip()?);
        if target.security() == Security::StartTls {
            return self.upgrade::<P>(transport, probe, target, config, stages);
        }
        transport.begin_tls(&self.tls, &target.handshake_names(), TlsStart::Implicit)?;
        stages.complete(ConnectStage::TlsStarted);
        let handshake = transport.handshake();
        stages.report_certificate(&transport);
        handshake?;
        let (machine, info) = transport.inner.open_client::<P>(config)?;
        stages.complete(ConnectStage::TlsDone(info.clone()));
        Ok(Connection::new(transport, machine, Some(info)))
    }

    fn transport<P: ClientProtocol>(&self, dialled: Dialled) -> Result<BlockingTransport, Error> {
        let Dialled { socket, address, opened_at, .. } = dialled;
        let mut transport = Transport::new(socket, ProtocolPorts::of::<P>());
        if let Some(tracer) = &self.tracer {
            transport.trace(tracer(), Role::Client, &address, opened_at);
        }
        BlockingTransport::new(transport, address, self.deadlines.clone())
    }

    fn dial(&self, target: &Target, stages: &mut Stages) -> Result<Dialled, Error> {
        let opened_at = Instant::now();
        if let Some(path) = target.unix_path() {
            let (socket, address) = connect_unix(path)?;
            stages.complete(ConnectStage::Connected(address.clone()));
            return Ok(Dialled { socket, address, opened_at, probe: None });
        }
        let (host, port) = target.dial_address();
        let (dialled_host, dialled_port) = match &self.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (host, port),
        };
        let addresses = resolve::resolve(dialled_host, dialled_port, self.deadlines.lookup)?;
        stages.complete(ConnectStage::Resolved(addresses.clone()));
        let (mut socket, address) = race::race(dialled_host, &addresses, self.deadlines.connect)?;
        stages.complete(ConnectStage::Connected(address.into()));
        let mut probe = Some(address);
        if let Some(proxy) = &self.proxy {
            tunnel::open(proxy, &mut socket, host, port, self.deadlines.proxy)?;
            stages.complete(ConnectStage::Tunnelled);
            probe = None;
        }
        Ok(Dialled { socket: socket.into(), address: address.into(), opened_at, probe })
    }

    fn upgrade<P: ClientProtocol>(
        &self,
        mut transport: BlockingTransport,
        probe: Option<SocketAddr>,
        target: &Target,
        config: &P::Config,
        stages: &mut Stages,
    ) -> Result<Connection<P::Secure>, Error> {
        let machine = P::open(config, &mut transport.inner.tx);
        let mut connection = Connection::new(transport, machine, None);
        match probe {
            Some(address) => {
                let ready = connection.drive_until(Instant::now() + SILENCE, prepare_starttls::<P>)?;
                if ready.is_none() {
                    if connection.is_silent() {
                        self.probe(address, target, ProtocolPorts::of::<P>())?;
                    }
                    self.await_readiness::<P>(&mut connection)?;
                }
            }
            None => self.await_readiness::<P>(&mut connection)?,
        }
        stages.complete(ConnectStage::Greeted);
        let (mut transport, upgrade) = connection.negotiate_starttls::<P>()?;
        transport.begin_tls(&self.tls, &target.handshake_names(), TlsStart::StartTls)?;
        stages.complete(ConnectStage::TlsStarted);
        let handshake = transport.handshake();
        stages.report_certificate(&transport);
        handshake?;
        let connection = Connection::complete(transport, upgrade)?;
        if let Some(info) = connection.negotiated() {
            stages.complete(ConnectStage::TlsDone(info));
        }
        Ok(connection)
    }

    /// Waits until the server is ready for STARTTLS. Each of its replies has its own time limit. Together they have that
    /// of three greetings, so that a server that keeps sending something else is given up.
    fn await_readiness<P: ClientProtocol>(
        &self,
        connection: &mut Connection<P::Cleartext>,
    ) -> Result<(), Error> {
        let limit = self.deadlines.greeting.saturating_mul(3);
        let Some(until) = Instant::now().checked_add(limit) else {
            return connection.drive(prepare_starttls::<P>);
        };
        connection
            .drive_until(until, prepare_starttls::<P>)?
            .ok_or(Error::TimedOut { stage: TimeoutStage::Operation, after: limit })
    }

    /// Asks on a second connection whether the port speaks TLS. Failures are ignored: only a TLS reply counts.
    fn probe(&self, address: SocketAddr, target: &Target, ports: ProtocolPorts) -> Result<(), Error> {
        let hello = self.tls.client_hello(&target.handshake_names())?;
        let ask = || -> std::io::Result<Option<DetectedProtocol>> {
            let mut socket = TcpStream::connect_timeout(&address, PROBE)?;
            socket.set_read_timeout(Some(PROBE))?;
            socket.write_all(&hello)?;
            let mut first = [0; 5];
            let count = socket.read(&mut first)?;
            Ok(DetectedProtocol::of(first.get(..count).unwrap_or_default()))
        };
        match ask() {
            Ok(Some(DetectedProtocol::Tls)) => Err(ports.wrong_mode(DetectedProtocol::Tls)),
            _ => Ok(()),
        }
    }
}

fn prepare_starttls<P: ClientProtocol>(
    event: ConnectionEvent<'_, P::Cleartext>,
    machine: &mut P::Cleartext,
    tx: &mut SendBuffer,
) -> Result<Option<()>, Error> {
    match event {
        ConnectionEvent::Machine(event) => {
            Ok((P::prepare_starttls(event, machine, tx)? == StartTlsReadiness::Ready).then_some(()))
        }
        ConnectionEvent::Writable => Ok(None),
    }
}

fn adopt(socket: ConnectedSocket) -> Result<Dialled, Error> {
    let socket = socket.into_socket().map_err(Error::io("making a socket non-blocking"))?;
    let address = socket.peer_address().map_err(Error::io("asking for the peer's address"))?;
    Ok(Dialled { socket, address, opened_at: Instant::now(), probe: None })
}

#[cfg(unix)]
fn connect_unix(path: &std::path::Path) -> Result<(Socket, Address), Error> {
    // A non-blocking Unix socket connects at once or fails: if the listener's backlog is full, with `WouldBlock`.
    let connected = mio::net::UnixStream::connect(path).map(Socket::from);
    let socket = connected.map_err(Error::io("connecting to a Unix socket"))?;
    Ok((socket, Address::Unix(Some(path.into()))))
}

#[cfg(not(unix))]
fn connect_unix(_: &std::path::Path) -> Result<(Socket, Address), Error> {
    Err(Error::Config("Unix sockets are not available on this platform".into()))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("deadlines", &self.deadlines)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// Reports completed stages to the observer.
struct Stages(StageReporter);

impl Stages {
    fn start(connector: &Connector) -> Self {
        Self(StageReporter::start(connector.observer.clone(), Instant::now()))
    }

    fn complete(&mut self, stage: ConnectStage) {
        self.0.complete(stage, Instant::now());
    }

    fn report_certificate(&mut self, transport: &BlockingTransport) {
        if let Some(certificate) = transport.inner.observed_certificate() {
            self.complete(ConnectStage::Certificate(certificate));
        }
    }
}
