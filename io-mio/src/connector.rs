//! How a client gets its connection: name, address, TLS, one stage at a time, each with its time-out, each reported.
//!
//! This file knows the order of the stages. It never falls back: what was asked for comes about or an error does.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use proto_mail::SendBuffer;

use crate::{
    Certificate, ClientProtocol, Connection, ConnectionEvent, Deadlines, Error, StartTlsReadiness,
    TimeoutStage, TlsClientConfig, TlsInfo, Trace,
    connection::BlockingTransport,
    lookup,
    tls::DetectedProtocol,
    trace::{Role, Tracer},
    transport::{Begin, Ports, Transport},
};

/// A server that has said nothing for so long may be waiting for TLS: it is asked, on a connection of its own.
const SILENCE: Duration = Duration::from_millis(400);
/// How long that question may take.
const PROBE: Duration = Duration::from_millis(400);

/// How the connection is encrypted. There is no third way here: see
/// [`danger_connect_cleartext`](Connector::danger_connect_cleartext).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// TLS with the first octet (RFC 8314 §3).
    ImplicitTls,
    /// STARTTLS, required.
    StartTls,
}

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: u16,
    security: Security,
    dial: Option<(String, u16)>,
    verify: Option<String>,
}

impl Target {
    /// The server of this name (or address), at this port.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, security: Security) -> Self {
        Self { host: host.into(), port, security, dial: None, verify: None }
    }

    /// Connects to another place than the name says; the certificate must still be for the name.
    #[must_use]
    pub fn dial_to(mut self, host: impl Into<String>, port: u16) -> Self {
        self.dial = Some((host.into(), port));
        self
    }

    /// The certificate must be for this name, which is also asked for (SNI), instead of the host's.
    #[must_use]
    pub fn verify_name(mut self, name: impl Into<String>) -> Self {
        self.verify = Some(name.into());
        self
    }

    /// The name of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host and port that are connected to.
    pub(crate) fn place(&self) -> (&str, u16) {
        match &self.dial {
            Some((host, port)) => (host, *port),
            None => (&self.host, self.port),
        }
    }

    /// The name that the certificate must be for.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let name = self.verify.as_deref().unwrap_or(&self.host);
        let name = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        // In DNS the dot at the end is right, in a certificate it never stands.
        name.strip_suffix('.').unwrap_or(name)
    }
}

/// A stage that was passed.
#[derive(Debug)]
pub struct StageReport {
    /// What happened.
    pub step: ConnectStage,
    /// How long it took.
    pub took: Duration,
}

/// The stages of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The name has these addresses.
    Resolved(Vec<SocketAddr>),
    /// This address answered.
    Connected(SocketAddr),
    /// The server is ready for STARTTLS (greeting; EHLO in SMTP).
    Greeted,
    /// The server agreed to STARTTLS, or TLS begins at once.
    TlsStarted,
    /// The server's certificate, accepted or not.
    Certificate(Arc<Certificate>),
    /// TLS is in place.
    TlsDone(Arc<TlsInfo>),
}

type Observer = dyn Fn(&StageReport) + Send + Sync;

/// Makes connections for one identity: whom to trust, how long to wait, who is told about it. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    tls: TlsClientConfig,
    deadlines: Deadlines,
    observer: Option<Arc<Observer>>,
    tracer: Option<Arc<Tracer>>,
    probes: bool,
}

impl Connector {
    /// Trusts whom `tls` trusts.
    #[must_use]
    pub fn new(tls: TlsClientConfig) -> Self {
        Self { tls, deadlines: Deadlines::default(), observer: None, tracer: None, probes: true }
    }

    /// How long to wait for what.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Is told each stage as it is passed, and the certificate even if it is refused.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes a trace for each connection.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn() -> Box<dyn Trace> + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// A server that is silent where its greeting is due is not asked on a second connection whether it waits for TLS.
    /// Port 25 is never asked: some servers there hold it against a client.
    #[must_use]
    pub const fn without_probe(mut self) -> Self {
        self.probes = false;
        self
    }

    /// Connects, with TLS in place and the certificate verified. With [`Security::ImplicitTls`] the greeting is still
    /// to come.
    ///
    /// # Errors
    /// A stage fails. Nothing is tried instead.
    pub fn connect<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Secure>, Error> {
        let mut stages = Stages { connector: self, last: Instant::now() };
        let (mut transport, address) = self.reach::<P>(target, &mut stages)?;
        let config = &P::config_for_address(config, transport.link.local_address()?);
        if target.security == Security::StartTls {
            return self.upgrade::<P>(transport, address, target, config, &mut stages);
        }
        transport.begin_tls(&self.tls, target.server_name(), Begin::Implicit)?;
        stages.pass(ConnectStage::TlsStarted);
        let shaken = transport.handshake();
        stages.certificate(&transport);
        let (secure, info) = shaken?;
        stages.pass(ConnectStage::TlsDone(info.clone()));
        let machine = P::open_secure(config, secure, &mut transport.link.tx);
        transport.link.open()?;
        Ok(Connection::new(transport, machine, Some(info)))
    }

    /// Connects without TLS: whoever is in between can read and change everything. The target's
    /// [`Security`] is ignored.
    ///
    /// # Errors
    /// A stage fails.
    pub fn danger_connect_cleartext<P: ClientProtocol>(
        &self,
        target: &Target,
        config: &P::Config,
    ) -> Result<Connection<P::Cleartext>, Error> {
        let mut stages = Stages { connector: self, last: Instant::now() };
        let (mut transport, _) = self.reach::<P>(target, &mut stages)?;
        let config = &P::config_for_address(config, transport.link.local_address()?);
        let machine = P::open(config, &mut transport.link.tx);
        Ok(Connection::new(transport, machine, None))
    }

    fn reach<P: ClientProtocol>(
        &self,
        target: &Target,
        stages: &mut Stages<'_>,
    ) -> Result<(BlockingTransport, SocketAddr), Error> {
        let (host, port) = target.place();
        let born = Instant::now();
        let addresses = lookup::resolve(host, port, self.deadlines.lookup)?;
        stages.pass(ConnectStage::Resolved(addresses.clone()));
        let (socket, address) = lookup::race(host, &addresses, self.deadlines.connect)?;
        let mut link = Transport::new(socket, Ports::of::<P>());
        if let Some(tracer) = &self.tracer {
            link.trace(tracer(), Role::Client, address, born);
        }
        stages.pass(ConnectStage::Connected(address));
        Ok((BlockingTransport::new(link, address, self.deadlines.clone())?, address))
    }

    fn upgrade<P: ClientProtocol>(
        &self,
        mut transport: BlockingTransport,
        address: SocketAddr,
        target: &Target,
        config: &P::Config,
        stages: &mut Stages<'_>,
    ) -> Result<Connection<P::Secure>, Error> {
        let machine = P::open(config, &mut transport.link.tx);
        let mut connection = Connection::new(transport, machine, None);
        if self.probes && address.port() != 25 {
            let early = connection.drive_until(Instant::now() + SILENCE, prepare_starttls::<P>)?;
            if early.is_none() && connection.is_silent() {
                self.probe(address, target, Ports::of::<P>())?;
            }
            if early.is_none() {
                self.await_greeting::<P>(&mut connection)?;
            }
        } else {
            self.await_greeting::<P>(&mut connection)?;
        }
        stages.pass(ConnectStage::Greeted);
        let (mut transport, upgrade) = connection.negotiate::<P>()?;
        transport.begin_tls(&self.tls, target.server_name(), Begin::StartTls)?;
        stages.pass(ConnectStage::TlsStarted);
        let shaken = transport.handshake();
        stages.certificate(&transport);
        let (secure, info) = shaken?;
        stages.pass(ConnectStage::TlsDone(info.clone()));
        Connection::complete(transport, upgrade, secure, info)
    }

    /// Waits until the server is ready for STARTTLS. Each of its answers has its own time, and all of them have that of
    /// three greetings: a server that says something else all the while is not listened to for ever.
    fn await_greeting<P: ClientProtocol>(
        &self,
        connection: &mut Connection<P::Cleartext>,
    ) -> Result<(), Error> {
        let most = self.deadlines.greeting.saturating_mul(3);
        let Some(until) = Instant::now().checked_add(most) else {
            return connection.drive(prepare_starttls::<P>);
        };
        connection
            .drive_until(until, prepare_starttls::<P>)?
            .ok_or(Error::TimedOut { stage: TimeoutStage::Goal, after: most })
    }

    /// Asks, on a second connection, whether the port answers to TLS. What fails here fails silently: only a clear
    /// answer counts.
    fn probe(&self, address: SocketAddr, target: &Target, ports: Ports) -> Result<(), Error> {
        let (mut hello, _) = self.tls.connect(target.server_name())?;
        let mut ask = || -> std::io::Result<Option<DetectedProtocol>> {
            let mut socket = TcpStream::connect_timeout(&address, PROBE)?;
            socket.set_read_timeout(Some(PROBE))?;
            let mut octets = Vec::new();
            hello.write_tls(&mut octets)?;
            socket.write_all(&octets)?;
            let mut first = [0; 5];
            let count = socket.read(&mut first)?;
            Ok(DetectedProtocol::of(&first[..count]))
        };
        match ask() {
            Ok(Some(DetectedProtocol::Tls)) => Err(ports.wrong_mode(DetectedProtocol::Tls)),
            _ => Ok(()),
        }
    }
}

fn prepare_starttls<P: ClientProtocol>(
    turn: ConnectionEvent<'_, P::Cleartext>,
    machine: &mut P::Cleartext,
    tx: &mut SendBuffer,
) -> Result<Option<()>, Error> {
    match turn {
        ConnectionEvent::Machine(event) => {
            Ok((P::prepare_starttls(event, machine, tx)? == StartTlsReadiness::Ready).then_some(()))
        }
        ConnectionEvent::Writable => Ok(None),
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

/// Tells the observer what was passed, and how long it took.
struct Stages<'c> {
    connector: &'c Connector,
    last: Instant,
}

impl Stages<'_> {
    fn pass(&mut self, step: ConnectStage) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        tracing::debug!(?took, "stage passed");
        if let Some(observer) = &self.connector.observer {
            observer(&StageReport { step, took });
        }
    }

    fn certificate(&mut self, transport: &BlockingTransport) {
        if let Some(certificate) = transport.link.certificate_seen() {
            self.pass(ConnectStage::Certificate(certificate));
        }
    }
}
