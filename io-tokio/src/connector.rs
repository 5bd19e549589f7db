//! Opening a client's connection: name, address, TLS. Each stage has a time limit. Nothing falls back to less than what
//! was asked for.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use io_common::{
    ClientProtocol, Deadlines, Security, StartTlsReadiness, Target, TimeoutStage, TlsClientConfig, Trace,
    tls,
    trace::{Role, Tracer},
    transport::TlsStart,
};
use proto_mail::SendBuffer;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};

use crate::{
    connection::{Connection, ConnectionEvent},
    timed_transport::TimedTransport,
};
use crate::{error::Error, socket::Socket, timer::now};

/// How long an address may take before the next one is tried as well (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens connections with one TLS configuration and set of time limits. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    tls: TlsClientConfig,
    deadlines: Deadlines,
    tracer: Option<Arc<Tracer>>,
}

impl Connector {
    /// A connector with the default [`Deadlines`].
    #[must_use]
    pub fn new(tls: TlsClientConfig) -> Self {
        Self { tls, deadlines: Deadlines::default(), tracer: None }
    }

    /// Sets the time limits.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
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
        let socket = self.dial(target).await?;
        self.connect_over::<P>(socket, target, config).await
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
        let mut transport = self.transport::<P>(socket);
        let config = &P::config_for_address(config, transport.inner.local_ip()?);
        if target.security() == Security::StartTls {
            let machine = P::open(config, &mut transport.inner.tx);
            let mut connection = Connection::new(transport, machine, None);
            self.await_readiness::<P>(&mut connection).await?;
            return connection.starttls::<P>(&self.tls, target).await;
        }
        let (secure, info) =
            transport.handshake(&self.tls, &target.handshake_names(), TlsStart::Implicit).await?;
        let machine = P::open_secure(config, secure, &mut transport.inner.tx);
        transport.inner.release_plaintext()?;
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
        let socket = self.dial(target).await?;
        self.danger_connect_cleartext_over::<P>(socket, config)
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

    /// Waits until the server is ready for STARTTLS. Each of its replies has its own time limit. Together they have that
    /// of three greetings, so that a server that keeps sending other replies cannot hold the client.
    async fn await_readiness<P: ClientProtocol>(
        &self,
        connection: &mut Connection<P::Cleartext>,
    ) -> Result<(), Error> {
        let after = self.deadlines.greeting.saturating_mul(3);
        let ready = connection.drive(|event, machine: &mut P::Cleartext, tx: &mut SendBuffer| match event {
            ConnectionEvent::Machine(event) => Ok::<_, Error>(
                (P::prepare_starttls(event, machine, tx)? == StartTlsReadiness::Ready).then_some(()),
            ),
            ConnectionEvent::Writable => Ok(None),
        });
        within(after, TimeoutStage::Goal, ready).await
    }

    /// Connects to the target's address or Unix socket.
    async fn dial(&self, target: &Target) -> Result<Socket, Error> {
        if let Some(path) = target.unix_path() {
            return connect_unix(path).await;
        }
        let (host, port) = target.place();
        let lookup = async { lookup_host((bare(host), port)).await.map_err(|source| no_host(host, source)) };
        let addresses: Vec<_> = within(self.deadlines.lookup, TimeoutStage::Lookup, lookup).await?.collect();
        if addresses.is_empty() {
            return Err(no_host(host, io::ErrorKind::NotFound.into()));
        }
        let connected = async {
            race(&addresses).await.map_err(|attempts| {
                Error::from(io_common::Error::Connect { host: host.to_owned(), attempts })
            })
        };
        let stream = within(self.deadlines.connect, TimeoutStage::Connect, connected).await?;
        Socket::try_from(stream).map_err(|error| io_common::Error::io("asking for an address")(error).into())
    }
}

/// Removes the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn no_host(host: &str, source: io::Error) -> Error {
    io_common::Error::Lookup { host: host.to_owned(), source }.into()
}

/// Waits for `work`, for this time at most.
async fn within<T>(
    after: Duration,
    stage: TimeoutStage,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(after, work).await.unwrap_or_else(|_| Err(io_common::Error::TimedOut { stage, after }.into()))
}

type Attempt<'a> = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send + 'a>>;

/// Connects to the first address that accepts. Each gets a head start before the next one is tried as well.
async fn race(addresses: &[SocketAddr]) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = addresses.iter();
    let mut running: Vec<Attempt<'_>> = Vec::new();
    let mut failed = Vec::new();
    loop {
        if let Some(&address) = waiting.next() {
            running.push(Box::pin(async move { (address, TcpStream::connect(address).await) }));
        }
        if running.is_empty() {
            return Err(failed);
        }
        let mut head_start = pin!(sleep(ATTEMPT_DELAY));
        let has_more = !waiting.as_slice().is_empty();
        let finished = poll_fn(|cx| {
            for index in 0..running.len() {
                if let Poll::Ready(result) = running[index].as_mut().poll(cx) {
                    drop(running.swap_remove(index));
                    return Poll::Ready(Some(result));
                }
            }
            if has_more { head_start.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
        });
        match finished.await {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) => failed.push((address, error)),
            None => {}
        }
    }
}

#[cfg(unix)]
async fn connect_unix(path: &std::path::Path) -> Result<Socket, Error> {
    let failed = io_common::Error::io("connecting to a Unix socket");
    let stream = tokio::net::UnixStream::connect(path).await;
    Ok(stream.and_then(Socket::try_from).map_err(failed)?)
}

#[cfg(not(unix))]
async fn connect_unix(_: &std::path::Path) -> Result<Socket, Error> {
    Err(io_common::Error::Config("Unix sockets are not available on this platform".into()).into())
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}
