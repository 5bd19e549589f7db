//! Listeners behind a proxy: reading the PROXY protocol header before a session starts.
//!
//! The header is peeked in the kernel's buffer and read exactly, so that what follows it belongs to the session, TLS or
//! not. Parsing is in [`proto_mail::proxy`].

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proto_mail::proxy::{self, Header};

use super::admission::Admission;
use super::handler::Peer;
use super::session_handle::SessionHandle;
use super::session_task::{SessionTask, StartSession, TurnOutcome, WakeReason};
use crate::stream::{Readiness, Stream};
use crate::transport::ReadBuffer;

/// How long a proxy may take for its header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of proxies that announce clients with the PROXY protocol (versions 1 and 2). A listener behind proxies
/// accepts connections of these addresses only, and each must begin with a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Returns whether there is no proxy.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this is a proxy's address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Adds the proxies of `others`.
    pub fn add(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }
}

/// Parses an address, or a network such as `192.0.2.0/24` and `2001:db8::/32`.
impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| Self(vec![network])).ok_or_else(|| {
            format!(
                "{text:?} is neither an address nor a network: 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32 is expected"
            )
        })
    }
}

/// What the header of a proxy says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Announcement {
    /// The proxy itself connected, to check the server's health.
    Local,
    /// It relays the connection of this client.
    Client(IpAddr, Peer),
}

impl Announcement {
    /// Reads the header that begins a connection of this proxy, and nothing after it. Returns `None` while the header is
    /// incomplete; its bytes then stay in the socket.
    ///
    /// # Errors
    /// The proxy sent something else, or the connection broke.
    pub fn read(socket: &mut impl Stream, proxy: &Peer) -> io::Result<Option<Self>> {
        Ok(header(socket)?.map(|header| match header {
            Header::Local => Self::Local,
            Header::Relayed { source, destination } => {
                let peer = Peer { address: source.into(), local: destination.into(), ..proxy.clone() };
                Self::Client(source.ip(), peer)
            }
        }))
    }
}

/// A connection of a proxy. It waits for the header, then it becomes the client's session.
pub(crate) struct ProxiedConnection<S> {
    state: State<S>,
    /// The proxy's own addresses.
    proxy: Peer,
    start: Arc<StartSession<S>>,
    admission: Admission,
    /// What the driver has reported about the socket so far. It reports a closed direction once.
    readiness: Readiness,
}

enum State<S> {
    AwaitingHeader {
        socket: S,
        handle: SessionHandle,
        until: Instant,
    },
    /// The header was received. The driver decides about the client.
    ClientAnnounced {
        socket: S,
        handle: SessionHandle,
        peer: Peer,
    },
    Session(Box<dyn SessionTask<S>>),
    /// A placeholder while the state changes.
    Moving,
}

impl<S: Stream> ProxiedConnection<S> {
    pub(crate) fn new(
        socket: S,
        proxy: Peer,
        handle: SessionHandle,
        start: Arc<StartSession<S>>,
        admission: Admission,
        now: Instant,
    ) -> Self {
        Self {
            state: State::AwaitingHeader { socket, handle, until: now + HEADER_TIMEOUT },
            proxy,
            start,
            admission,
            readiness: Readiness::default(),
        }
    }

    /// Starts the session once the header is there.
    fn await_header(&mut self, now: Instant) -> TurnOutcome {
        let State::AwaitingHeader { socket, until, .. } = &mut self.state else {
            return TurnOutcome::Finished;
        };
        let client = match Announcement::read(socket, &self.proxy) {
            Ok(Some(Announcement::Local)) => None,
            Ok(Some(Announcement::Client(address, peer))) => Some((address, peer)),
            Ok(None) if now < *until => return TurnOutcome::Waiting(Some(*until)),
            Ok(None) => return self.refuse("a proxy sent no header in time"),
            Err(error) => return self.refuse(&error.to_string()),
        };
        let State::AwaitingHeader { socket, handle, .. } = std::mem::replace(&mut self.state, State::Moving)
        else {
            return TurnOutcome::Finished;
        };
        let Some((address, peer)) = client else {
            return self.start_session(socket, handle, self.proxy.clone(), self.admission, now);
        };
        self.state = State::ClientAnnounced { socket, handle, peer };
        TurnOutcome::ClientAnnounced(address)
    }

    fn start_session(
        &mut self,
        socket: S,
        handle: SessionHandle,
        peer: Peer,
        admission: Admission,
        now: Instant,
    ) -> TurnOutcome {
        match (self.start)(socket, peer, handle, admission, now) {
            Ok(mut session) => {
                session.ready(self.readiness);
                session.may_read();
                self.state = State::Session(session);
                TurnOutcome::Again
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    fn refuse(&self, reason: &str) -> TurnOutcome {
        tracing::warn!(proxy = %self.proxy.address, reason, "a proxied connection is closed");
        TurnOutcome::Finished
    }
}

/// Reads a complete header from the socket, or nothing. The bytes after it stay in the socket for the session.
fn header(socket: &mut impl Stream) -> io::Result<Option<Header>> {
    let mut bytes = [0; proxy::MAX_HEADER_LEN];
    let seen = match socket.peek(&mut bytes) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let seen = bytes.get(..seen).unwrap_or_default();
    let no_header = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let Some((header, length)) = proxy::parse(seen).map_err(no_header)? else { return Ok(None) };
    let mut taken = [0; proxy::MAX_HEADER_LEN];
    let taken = taken.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    socket.read_exact(taken)?;
    Ok(Some(header))
}

impl<S: Stream> SessionTask<S> for ProxiedConnection<S> {
    fn ready(&mut self, readiness: Readiness) {
        match &mut self.state {
            State::Session(session) => session.ready(readiness),
            _ => self.readiness = self.readiness.or(readiness),
        }
    }

    fn may_read(&mut self) {
        if let State::Session(session) = &mut self.state {
            session.may_read();
        }
    }

    fn turn(&mut self, reason: WakeReason, now: Instant, buffer: &mut ReadBuffer) -> TurnOutcome {
        match &mut self.state {
            State::Session(session) => session.turn(reason, now, buffer),
            State::AwaitingHeader { .. } if reason.drain => TurnOutcome::Finished,
            State::AwaitingHeader { .. } => self.await_header(now),
            State::ClientAnnounced { .. } | State::Moving => TurnOutcome::Finished,
        }
    }

    fn is_blocked(&self) -> bool {
        matches!(&self.state, State::Session(session) if session.is_blocked())
    }

    fn abort(&mut self, now: Instant) {
        if let State::Session(session) = &mut self.state {
            session.abort(now);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if let State::Session(session) = &mut self.state {
            session.make_room(now);
        }
    }

    fn socket(&mut self) -> Option<&mut S> {
        match &mut self.state {
            State::Session(session) => session.socket(),
            State::AwaitingHeader { socket, .. } | State::ClientAnnounced { socket, .. } => Some(socket),
            State::Moving => None,
        }
    }

    fn awaits_login(&self) -> bool {
        match &self.state {
            State::Session(session) => session.awaits_login(),
            _ => true,
        }
    }

    fn admit(&mut self, admission: Admission, now: Instant) {
        if let State::ClientAnnounced { socket, handle, peer } =
            std::mem::replace(&mut self.state, State::Moving)
        {
            self.start_session(socket, handle, peer, admission, now);
        }
    }
}

impl<S> fmt::Debug for ProxiedConnection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxiedConnection").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;

    /// A session that records its calls.
    struct Recorder(Arc<Mutex<Vec<&'static str>>>);

    impl Recorder {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl SessionTask<TcpStream> for Recorder {
        fn ready(&mut self, _: Readiness) {
            self.note("ready");
        }

        fn may_read(&mut self) {
            self.note("may read");
        }

        fn turn(&mut self, _: WakeReason, _: Instant, _: &mut ReadBuffer) -> TurnOutcome {
            self.note("turn");
            TurnOutcome::Waiting(None)
        }

        fn is_blocked(&self) -> bool {
            true
        }

        fn abort(&mut self, _: Instant) {
            self.note("abort");
        }

        fn make_room(&mut self, _: Instant) {
            self.note("make room");
        }

        fn socket(&mut self) -> Option<&mut TcpStream> {
            None
        }

        fn awaits_login(&self) -> bool {
            false
        }
    }

    /// Returns a new connection, the calls of its session, and the proxy's end.
    fn proxied(now: Instant) -> (ProxiedConnection<TcpStream>, Arc<Mutex<Vec<&'static str>>>, TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = listener.local_addr().unwrap().into();
        let peer = Peer { address: address.into(), local, tls: None };
        let noted = Arc::default();
        let notes = Arc::clone(&noted);
        let start: Arc<StartSession<TcpStream>> =
            Arc::new(move |_, _, _, _, _| Ok(Box::new(Recorder(Arc::clone(&notes)))));
        let admission = Admission::Admitted;
        (ProxiedConnection::new(socket, peer, SessionHandle::ended(), start, admission, now), noted, proxy)
    }

    fn turn(proxied: &mut ProxiedConnection<TcpStream>, now: Instant) -> TurnOutcome {
        proxied.turn(WakeReason::default(), now, &mut crate::transport::read_buffer())
    }

    #[test]
    fn waits_for_the_header_within_a_limit() {
        let now = Instant::now();
        let (mut silent, _, proxy) = proxied(now);
        let last = now + HEADER_TIMEOUT;
        assert!(matches!(turn(&mut silent, now), TurnOutcome::Waiting(Some(until)) if until == last));
        (&proxy).write_all(b"PROXY TCP4 192.").unwrap();
        let before = last - Duration::from_millis(1);
        assert!(matches!(turn(&mut silent, before), TurnOutcome::Waiting(Some(until)) if until == last));
        assert!(!silent.is_blocked(), "there is no output yet");
        assert!(matches!(turn(&mut silent, last), TurnOutcome::Finished));
        // A server that shuts down does not wait for it.
        let (mut late, _, _proxy) = proxied(now);
        let drain = WakeReason { drain: true, ..WakeReason::default() };
        assert!(matches!(late.turn(drain, now, &mut crate::transport::read_buffer()), TurnOutcome::Finished));
    }

    #[test]
    fn forwards_calls_to_the_session() {
        let now = Instant::now();
        let (mut relayed, noted, proxy) = proxied(now);
        relayed.may_read();
        relayed.abort(now);
        assert!(noted.lock().unwrap().is_empty(), "there is no session yet");
        (&proxy).write_all(b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n").unwrap();
        let client = "192.0.2.7".parse::<IpAddr>().unwrap();
        assert!(matches!(turn(&mut relayed, now), TurnOutcome::ClientAnnounced(named) if named == client));
        assert!(relayed.awaits_login());
        relayed.admit(Admission::Admitted, now);
        turn(&mut relayed, now);
        relayed.may_read();
        relayed.abort(now);
        assert!(relayed.is_blocked());
        assert_eq!(*noted.lock().unwrap(), ["ready", "may read", "turn", "may read", "abort"]);
    }

    #[test]
    fn a_broken_connection_finishes_at_once() {
        let now = Instant::now();
        let (mut gone, _, proxy) = proxied(now);
        drop(proxy);
        assert!(matches!(turn(&mut gone, now), TurnOutcome::Finished), "the proxy closed it");
        let (mut broken, _, proxy) = proxied(now);
        let State::AwaitingHeader { socket, .. } = &mut broken.state else { panic!("it is waiting") };
        // Closing a socket with unread input resets the connection.
        socket.write_all(b"unread").unwrap();
        proxy.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        proxy.peek(&mut [0]).unwrap();
        drop(proxy);
        assert!(matches!(turn(&mut broken, now), TurnOutcome::Finished), "the proxy reset it");
    }

    struct NoHandler;

    impl crate::Handler<crate::SmtpServer> for NoHandler {
        fn cleartext(
            &mut self,
            _: proto_smtp::server::Event<'_, proto_mail::Cleartext>,
            _: &mut proto_smtp::server::Server<proto_mail::Cleartext>,
            _: &mut proto_mail::SendBuffer,
            _: &mut crate::Context<'_>,
        ) -> crate::Next {
            crate::Next::Close
        }

        fn secure(
            &mut self,
            _: proto_smtp::server::Event<'_, proto_mail::Secure>,
            _: &mut proto_smtp::server::Server<proto_mail::Secure>,
            _: &mut proto_mail::SendBuffer,
            _: &mut crate::Context<'_>,
        ) -> crate::Next {
            crate::Next::Close
        }
    }

    /// A driver that does not ask whether an address is allowed gets an error, and no header is believed.
    #[test]
    fn starts_no_session_for_an_address_that_is_not_a_proxys() {
        use crate::{Deadlines, ListenerSettings, ListenerTls, SmtpServer, server::SessionFactory};
        let settings = ListenerSettings::<SmtpServer>::new(
            Arc::new(proto_smtp::Config::default()),
            ListenerTls::None,
            Deadlines::default(),
        );
        let proxies: TrustedProxies = "192.0.2.0/24".parse().unwrap();
        let factory = SessionFactory::new(settings, Some(proxies), None, |_| NoHandler);
        let (ProxiedConnection { state, proxy: peer, .. }, _, proxy) = proxied(Instant::now());
        let State::AwaitingHeader { socket, handle, .. } = state else { panic!("it is waiting") };
        (&proxy).write_all(b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n").unwrap();
        let started = factory.start(socket, peer, handle, Admission::Admitted, Instant::now());
        assert!(matches!(started.map(drop), Err(crate::Error::Config(_))));
    }

    #[test]
    fn accepts_connections_from_trusted_proxies_only() {
        let mut proxies = TrustedProxies::default();
        assert!(proxies.is_empty() && !proxies.contains("127.0.0.1".parse().unwrap()));
        proxies.add(&"192.0.2.0/24".parse().unwrap());
        assert!(!proxies.is_empty() && proxies.contains("::ffff:192.0.2.9".parse().unwrap()));
    }
}
