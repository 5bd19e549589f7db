//! Opening a client's connection: name, address, TLS. Each stage has a time limit. Nothing falls back to less than what
//! was asked for.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use io_common::{
    Address, ClientProtocol, ConnectStage, Deadlines, Proxy, Security, StageObserver, StageReport,
    StageReporter, StartTlsReadiness, Target, TimeoutStage, TlsClientConfig, Trace,
    protocol::ProtocolPorts,
    tls::{self, DetectedProtocol},
    trace::{Role, Tracer},
    transport::TlsStart,
};
use proto_mail::SendBuffer;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    connection::{Connection, ConnectionEvent},
    dial::{connect_unix, race, resolve, within},
    error::Error,
    socket::Socket,
    timed_transport::TimedTransport,
    timer::now,
    tunnel,
};

/// How long a server may be silent before a second connection asks whether it waits for TLS.
const SILENCE: Duration = Duration::from_millis(400);
/// How long that second connection may take.
const PROBE: Duration = Duration::from_millis(800);

/// A socket on the way to a server.
struct Dialled {
    socket: Socket,
    /// Where a second connection may ask for TLS. `None` through a proxy and for a caller's socket.
    probe: Option<SocketAddr>,
}

/// Opens connections with one TLS configuration, set of time limits and proxy. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    tls: TlsClientConfig,
    deadlines: Deadlines,
    proxy: Option<Proxy>,
    observer: StageObserver,
    tracer: Option<Arc<Tracer>>,
    probes: bool,
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

    /// Calls `observer` with each completed stage, and with the server's certificate even if it is refused. It must not
    /// block.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Self {
        self.observer = StageObserver::new(observer);
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

    /// Creates a trace for each connection.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Connects with TLS and a verified certificate, by implicit TLS or STARTTLS as the target says. With
    /// [`Security::ImplicitTls`] the greeting has still to come.
    ///
    /// # Errors
    /// A stage failed. Nothing else is tried instead.
    pub async fn connect<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Secure>, Error> {
        let mut stages = Stages::start(self);
        let dialled = self.dial(target, &mut stages).await?;
        self.secure::<P>(dialled, target, config, &mut stages).await
    }

    /// As [`connect`](Self::connect), over a stream that the caller has connected. `target` gives the names and the
    /// security; its host and port are not used.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_over<P: ClientProtocol>(
        &self,
        socket: Socket,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Secure>, Error> {
        let dialled = Dialled { socket, probe: None };
        self.secure::<P>(dialled, target, config, &mut Stages::start(self)).await
    }

    async fn secure<P: ClientProtocol>(
        &self,
        dialled: Dialled,
        target: &Target,
        config: &P::Config,
        stages: &mut Stages,
    ) -> Result<Connection<P::Secure>, Error> {
        let probe = dialled.probe.filter(|address| self.probes && address.port() != 25);
        let mut transport = self.transport::<P>(dialled.socket);
        let config = &P::config_for_address(config, transport.inner.local_ip()?);
        if target.security() == Security::StartTls {
            return self.upgrade::<P>(transport, probe, target, config, stages).await;
        }
        self.handshake(&mut transport, target, TlsStart::Implicit, stages).await?;
        let (machine, info) = transport.inner.open_client::<P>(config)?;
        stages.complete(ConnectStage::TlsDone(info.clone()));
        Ok(Connection::new(transport, machine, Some(info)))
    }

    /// Connects without TLS: an attacker on the way can read and change everything. The target's [`Security`] is
    /// ignored.
    ///
    /// # Errors
    /// A stage failed.
    pub async fn danger_connect_cleartext<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        let dialled = self.dial(target, &mut Stages::start(self)).await?;
        self.danger_connect_cleartext_over::<P>(dialled.socket, config)
    }

    /// As [`danger_connect_cleartext`](Self::danger_connect_cleartext), over a stream that the caller has connected.
    ///
    /// # Errors
    /// The stream has no address.
    pub fn danger_connect_cleartext_over<P: ClientProtocol>(
        &self,
        socket: Socket,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        let mut transport = self.transport::<P>(socket);
        let config = &P::config_for_address(config, transport.inner.local_ip()?);
        let tx = &mut transport.inner.tx;
        let machine = match tls::seed() {
            Some(seed) => P::open_with_seed(config, seed, tx),
            None => P::open(config, tx),
        };
        Ok(Connection::new(transport, machine, None))
    }

    fn transport<P: ClientProtocol>(&self, socket: Socket) -> TimedTransport {
        let peer = socket.peer_address().clone();
        let mut transport = TimedTransport::new::<P>(socket, self.deadlines.clone());
        if let Some(tracer) = &self.tracer {
            transport.inner.trace(tracer(), Role::Client, &peer, now());
        }
        transport
    }

    /// Connects to the target's address, directly or through the proxy, or to its Unix socket.
    async fn dial(&self, target: &Target, stages: &mut Stages) -> Result<Dialled, Error> {
        if let Some(path) = target.unix_path() {
            let socket = connect_unix(path).await?;
            stages.complete(ConnectStage::Connected(Address::Unix(Some(path.into()))));
            return Ok(Dialled { socket, probe: None });
        }
        let (host, port) = target.dial_address();
        let (dialled_host, dialled_port) = match &self.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (host, port),
        };
        let addresses = resolve(dialled_host, dialled_port, self.deadlines.lookup).await?;
        stages.complete(ConnectStage::Resolved(addresses.clone()));
        let stream = race(dialled_host, &addresses, self.deadlines.connect).await?;
        let address = stream.peer_addr().map_err(io_common::Error::io("asking for the peer's address"))?;
        stages.complete(ConnectStage::Connected(address.into()));
        let mut probe = Some(address);
        if let Some(proxy) = &self.proxy {
            tunnel::open(proxy, &stream, host, port, self.deadlines.proxy).await?;
            stages.complete(ConnectStage::Tunnelled);
            probe = None;
        }
        let socket = Socket::try_from(stream).map_err(io_common::Error::io("asking for an address"))?;
        Ok(Dialled { socket, probe })
    }

    /// Waits until the server is ready for STARTTLS, negotiates it and makes the handshake.
    async fn upgrade<P: ClientProtocol>(
        &self,
        mut transport: TimedTransport,
        probe: Option<SocketAddr>,
        target: &Target,
        config: &P::Config,
        stages: &mut Stages,
    ) -> Result<Connection<P::Secure>, Error> {
        let machine = P::open(config, &mut transport.inner.tx);
        let mut connection = Connection::new(transport, machine, None);
        if let Some(address) = probe {
            match timeout(SILENCE, connection.drive(prepare_starttls::<P>)).await {
                Ok(ready) => ready?,
                Err(_) => {
                    if connection.counts().0 == 0 {
                        self.probe(address, target, ProtocolPorts::of::<P>()).await?;
                    }
                    self.await_readiness::<P>(&mut connection).await?;
                }
            }
        } else {
            self.await_readiness::<P>(&mut connection).await?;
        }
        stages.complete(ConnectStage::Greeted);
        let (mut transport, machine) = connection.into_parts();
        let upgrade = transport.negotiate::<P>(machine).await?;
        self.handshake(&mut transport, target, TlsStart::StartTls, stages).await?;
        let connection = Connection::complete(transport, upgrade)?;
        if let Some(info) = connection.negotiated() {
            stages.complete(ConnectStage::TlsDone(info));
        }
        Ok(connection)
    }

    async fn handshake(
        &self,
        transport: &mut TimedTransport,
        target: &Target,
        start: TlsStart,
        stages: &mut Stages,
    ) -> Result<(), Error> {
        stages.complete(ConnectStage::TlsStarted);
        let handshake = transport.handshake(&self.tls, &target.handshake_names(), start).await;
        if let Some(certificate) = transport.inner.observed_certificate() {
            stages.complete(ConnectStage::Certificate(certificate));
        }
        handshake
    }

    /// Waits until the server is ready for STARTTLS. Each of its replies has its own time limit. Together they have that
    /// of three greetings, so that a server that keeps sending other replies cannot hold the client.
    async fn await_readiness<P: ClientProtocol>(
        &self,
        connection: &mut Connection<P::Cleartext>,
    ) -> Result<(), Error> {
        let after = self.deadlines.greeting.saturating_mul(3);
        within(after, TimeoutStage::Operation, connection.drive(prepare_starttls::<P>)).await
    }

    /// Asks on a second connection whether the port speaks TLS. Failures are ignored: only a TLS reply counts.
    async fn probe(&self, address: SocketAddr, target: &Target, ports: ProtocolPorts) -> Result<(), Error> {
        let hello = self.tls.client_hello(&target.handshake_names())?;
        match timeout(PROBE, ask(address, &hello)).await {
            Ok(Ok(Some(DetectedProtocol::Tls))) => Err(ports.wrong_mode(DetectedProtocol::Tls).into()),
            _ => Ok(()),
        }
    }
}

/// Sends this ClientHello, and says which protocol the first bytes of the answer belong to.
async fn ask(address: SocketAddr, hello: &[u8]) -> io::Result<Option<DetectedProtocol>> {
    let stream = TcpStream::connect(address).await?;
    let mut rest = hello;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let mut first = [0; 5];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut first) {
            Ok(count) => return Ok(DetectedProtocol::of(first.get(..count).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
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

/// Reports completed stages to the observer.
struct Stages(StageReporter);

impl Stages {
    fn start(connector: &Connector) -> Self {
        Self(StageReporter::start(connector.observer.clone(), now()))
    }

    fn complete(&mut self, stage: ConnectStage) {
        self.0.complete(stage, now());
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("deadlines", &self.deadlines)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
