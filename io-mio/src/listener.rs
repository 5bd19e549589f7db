//! Listening sockets: what a listener shows, and how a connection becomes a session.
//!
//! This file knows how to accept. Who may come in is the reactor's decision.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use mio::net::{TcpListener, TcpStream};

use crate::{
    Deadlines, Error, Handler, Peer, ServerProtocol, SessionHandle, TlsServerConfig, TrustedProxies,
    admission::Admission, proxy_protocol::Proxied, session::Session, session_task::SessionTask,
    trace::Tracer,
};

/// How a listener does TLS.
#[derive(Debug, Clone)]
pub enum ListenerTls {
    /// Cleartext first; TLS after STARTTLS.
    StartTls(TlsServerConfig),
    /// TLS with the first octet.
    Implicit(TlsServerConfig),
    /// Never.
    None,
    /// None, and none is needed: whoever connects is on this machine, and the session is as one under TLS is. For LMTP
    /// between programs on one machine. A connection from any other address than a loopback one is closed.
    TrustedLocal,
}

/// A port that is bound. Connections wait in the operating system until a reactor
/// [listens](crate::Reactor::listen_on) on it.
#[derive(Debug)]
pub struct BoundPort {
    socket: TcpListener,
    address: SocketAddr,
}

impl BoundPort {
    /// Binds `address` (port 0: any).
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let socket = TcpListener::bind(address).map_err(Error::io("opening a listening port"))?;
        let address = socket.local_addr().map_err(Error::io("asking for the address of a listening port"))?;
        Ok(Self { socket, address })
    }

    /// The address that it has.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The settings with which a listener begins its sessions. They can be replaced while it listens: sessions that have
/// begun keep theirs. Cheap to clone; all clones are the same settings.
pub struct ListenerSettings<P: ServerProtocol> {
    current: Arc<RwLock<Arc<Terms<P>>>>,
}

/// The settings of one session.
pub(crate) struct Terms<P: ServerProtocol> {
    pub(crate) config: P::Config,
    pub(crate) tls: ListenerTls,
    pub(crate) deadlines: Deadlines,
}

impl<P: ServerProtocol> ListenerSettings<P> {
    /// The machine's configuration, TLS, and how long is waited.
    pub fn new(config: P::Config, tls: ListenerTls, deadlines: Deadlines) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(Terms { config, tls, deadlines }))) }
    }

    /// Replaces the settings for the sessions that begin from now on. Whether TLS comes first is decided when the
    /// listener begins: `tls` should be of the same kind as before.
    pub fn replace(&self, config: P::Config, tls: ListenerTls, deadlines: Deadlines) {
        let terms = Arc::new(Terms { config, tls, deadlines });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    pub(crate) fn current(&self) -> Arc<Terms<P>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<P: ServerProtocol> Clone for ListenerSettings<P> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<P: ServerProtocol> fmt::Debug for ListenerSettings<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerSettings")
    }
}

/// What the sessions of one listener share.
pub(crate) struct Listening<P: ServerProtocol, H: Handler<P>> {
    pub(crate) settings: ListenerSettings<P>,
    pub(crate) factory: Box<dyn Fn(&Peer) -> H + Send + Sync>,
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// After an accept that failed for want of resources, the next is tried so much later.
const PAUSE: Duration = Duration::from_millis(100);
/// The log says so this often at most.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// How a connection becomes a session.
pub(crate) type Begin = dyn Fn(TcpStream, Peer, SessionHandle, Admission, Instant) -> Result<Box<dyn SessionTask>, Error>
    + Send
    + Sync;

/// A listening socket, whatever its protocol.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    begin: Arc<Begin>,
    /// If it stands behind proxies: those.
    proxies: Option<TrustedProxies>,
    /// What to say to one too many; empty where TLS would have to come first.
    too_busy: &'static [u8],
    /// Whether an accept may bring something.
    pub(crate) ready: bool,
    /// Not to be tried before.
    pub(crate) retry_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Listener {
    pub(crate) fn new<P: ServerProtocol, H: Handler<P>>(
        port: BoundPort,
        proxies: Option<TrustedProxies>,
        listening: Listening<P, H>,
    ) -> Self {
        let BoundPort { socket, address } = port;
        let too_busy = match listening.settings.current().tls {
            ListenerTls::Implicit(_) => &[],
            ListenerTls::StartTls(_) | ListenerTls::None | ListenerTls::TrustedLocal => {
                P::TOO_MANY_CONNECTIONS
            }
        };
        let listening = Arc::new(listening);
        let begin = Arc::new(move |socket, peer, handle, admission, now| {
            let session = Session::begin(socket, peer, handle, listening.clone(), admission, now)?;
            Ok(Box::new(session) as Box<dyn SessionTask>)
        });
        Self { socket, address, begin, proxies, too_busy, ready: true, retry_at: None, warned_at: None }
    }

    pub(crate) const fn socket(&mut self) -> &mut TcpListener {
        &mut self.socket
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address at our end of a connection: the listener's, unless that is every address.
    pub(crate) fn local(&self, socket: &TcpStream) -> Option<SocketAddr> {
        if self.address.ip().is_unspecified() { socket.local_addr().ok() } else { Some(self.address) }
    }

    /// The next connection, if there is one.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return None;
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    // No descriptor or no memory is left: it will not get better at once. Whoever takes them all must not
                    // fill the log as well.
                    if self.warned_at.is_none_or(|at| now.saturating_duration_since(at) >= WARN_AGAIN) {
                        self.warned_at = Some(now);
                        tracing::warn!(%error, "accepting connections pauses");
                    }
                    self.retry_at = Some(now + PAUSE);
                    return None;
                }
            }
        }
    }

    /// Whether somebody may connect from there.
    pub(crate) fn takes(&self, address: IpAddr) -> bool {
        self.proxies.as_ref().is_none_or(|proxies| proxies.contains(address))
    }

    /// Whether a connection stands for its own address only, so that there may be too many from one.
    pub(crate) const fn counts(&self) -> bool {
        self.proxies.is_none()
    }

    pub(crate) fn begin(
        &self,
        socket: TcpStream,
        peer: Peer,
        handle: SessionHandle,
        admission: Admission,
        now: Instant,
    ) -> Result<Box<dyn SessionTask>, Error> {
        match &self.proxies {
            None => (self.begin)(socket, peer, handle, admission, now),
            Some(_) => Ok(Box::new(Proxied::new(socket, peer, handle, self.begin.clone(), admission, now))),
        }
    }

    /// Says that there is no room even to say so in order, if that can be said, and closes.
    pub(crate) fn cut_off(&self, mut socket: TcpStream) {
        if !self.too_busy.is_empty() {
            let _ = io::Write::write(&mut socket, self.too_busy);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Whether an accept failed for a reason that concerns that one connection only.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::Interrupted
            | K::ConnectionAborted
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::TimedOut
            | K::PermissionDenied
    )
}
