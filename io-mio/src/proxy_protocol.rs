//! Listeners behind a proxy: what a connection says of its client before the session begins.
//!
//! This file knows who may say that, and waits for it; how it is read stands in [`proto_mail::proxy`]. A header is
//! looked at in the kernel's buffer and taken out whole, so that what follows it is the session's, TLS or not.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mio::net::TcpStream;
use proto_mail::proxy::{self, Header};

use crate::admission::Admission;
use crate::listener::Begin;
use crate::session_task::{SessionTask, TurnOutcome, WakeReason};
use crate::transport::Scratch;
use crate::{Peer, SessionHandle};

/// How long a proxy may take for its header.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which addresses may speak for others (the PROXY protocol, versions 1 and 2). Every connection of theirs must begin
/// with a header, and nobody else can connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether anybody is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Trusts these, too.
    pub fn add(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }
}

/// An address, or a network as `192.0.2.0/24` and `2001:db8::/32`.
impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| Self(vec![network])).ok_or_else(|| {
            format!(
                "{text:?} is no address and no network: 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32 is expected"
            )
        })
    }
}

/// A connection of a proxy: nothing but its header is awaited, and then it is the client's.
pub(crate) struct Proxied {
    state: State,
    /// Who has connected, and for whom the connection counts.
    proxy: Peer,
    begin: Arc<Begin>,
    admission: Admission,
}

enum State {
    Awaiting {
        socket: TcpStream,
        handle: SessionHandle,
        until: Instant,
    },
    /// The header came, and the reactor decides whether its client has room.
    Announced {
        socket: TcpStream,
        handle: SessionHandle,
        peer: Peer,
    },
    Session(Box<dyn SessionTask>),
    /// What the socket belonged to is gone: only for a moment.
    Moving,
}

impl Proxied {
    pub(crate) fn new(
        socket: TcpStream,
        proxy: Peer,
        handle: SessionHandle,
        begin: Arc<Begin>,
        admission: Admission,
        now: Instant,
    ) -> Self {
        Self { state: State::Awaiting { socket, handle, until: now + PATIENCE }, proxy, begin, admission }
    }

    /// Begins the session as soon as the header is there.
    fn await_header(&mut self, now: Instant) -> TurnOutcome {
        let State::Awaiting { socket, until, .. } = &mut self.state else { return TurnOutcome::Over };
        // The proxy itself asks whether the server is there, or speaks for a client.
        let client = match header(socket) {
            Ok(Some(Header::Local)) => None,
            Ok(Some(Header::Relayed { source, destination })) => Some((source, destination)),
            Ok(None) if now < *until => return TurnOutcome::Waits(Some(*until)),
            Ok(None) => return self.refuse("a proxy sent no header in time"),
            Err(error) => return self.refuse(&error.to_string()),
        };
        let State::Awaiting { socket, handle, .. } = std::mem::replace(&mut self.state, State::Moving) else {
            return TurnOutcome::Over;
        };
        let Some((address, local)) = client else {
            return self.start(socket, handle, self.proxy.clone(), self.admission, now);
        };
        let peer = Peer { address, local, ..self.proxy.clone() };
        self.state = State::Announced { socket, handle, peer };
        TurnOutcome::Announced(address.ip())
    }

    fn start(
        &mut self,
        socket: TcpStream,
        handle: SessionHandle,
        peer: Peer,
        admission: Admission,
        now: Instant,
    ) -> TurnOutcome {
        match (self.begin)(socket, peer, handle, admission, now) {
            Ok(mut session) => {
                session.may_read();
                self.state = State::Session(session);
                TurnOutcome::Again
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    fn refuse(&self, why: &str) -> TurnOutcome {
        tracing::warn!(proxy = %self.proxy.address, why, "a proxied connection is closed");
        TurnOutcome::Over
    }
}

/// Takes a whole header out of the socket, or nothing.
fn header(socket: &mut TcpStream) -> io::Result<Option<Header>> {
    let mut octets = [0; proxy::MAX_HEADER_LEN];
    let seen = match socket.peek(&mut octets) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let seen = octets.get(..seen).unwrap_or_default();
    let no_header = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let Some((header, length)) = proxy::parse(seen).map_err(no_header)? else { return Ok(None) };
    let mut taken = [0; proxy::MAX_HEADER_LEN];
    let taken = taken.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    socket.read_exact(taken)?;
    Ok(Some(header))
}

impl SessionTask for Proxied {
    fn ready(&mut self, event: &mio::event::Event) {
        if let State::Session(session) = &mut self.state {
            session.ready(event);
        }
    }

    fn may_read(&mut self) {
        if let State::Session(session) = &mut self.state {
            session.may_read();
        }
    }

    fn turn(&mut self, cause: WakeReason, now: Instant, scratch: &mut Scratch) -> TurnOutcome {
        match &mut self.state {
            State::Session(session) => session.turn(cause, now, scratch),
            State::Awaiting { .. } if cause.drain => TurnOutcome::Over,
            State::Awaiting { .. } => self.await_header(now),
            State::Announced { .. } | State::Moving => TurnOutcome::Over,
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

    fn socket(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Session(session) => session.socket(),
            State::Awaiting { socket, .. } | State::Announced { socket, .. } => Some(socket),
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
        if let State::Announced { socket, handle, peer } = std::mem::replace(&mut self.state, State::Moving) {
            self.start(socket, handle, peer, admission, now);
        }
    }
}

impl fmt::Debug for Proxied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxied").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    /// A session that notes what it is asked to do.
    struct Noting(Arc<Mutex<Vec<&'static str>>>);

    impl Noting {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl SessionTask for Noting {
        fn ready(&mut self, _: &mio::event::Event) {
            self.note("ready");
        }

        fn may_read(&mut self) {
            self.note("may read");
        }

        fn turn(&mut self, _: WakeReason, _: Instant, _: &mut Scratch) -> TurnOutcome {
            self.note("turn");
            TurnOutcome::Waits(None)
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

    /// A connection that has just come, what its session will note, and the proxy's end.
    fn proxied(now: Instant) -> (Proxied, Arc<Mutex<Vec<&'static str>>>, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let peer = Peer { address, local: listener.local_addr().unwrap(), tls: None };
        let noted = Arc::default();
        let notes = Arc::clone(&noted);
        let begin: Arc<Begin> = Arc::new(move |_, _, _, _, _| Ok(Box::new(Noting(Arc::clone(&notes)))));
        let socket = TcpStream::from_std(socket);
        let admission = Admission::Welcome;
        (Proxied::new(socket, peer, SessionHandle::of_nobody(), begin, admission, now), noted, proxy)
    }

    fn turn(proxied: &mut Proxied, now: Instant) -> TurnOutcome {
        proxied.turn(WakeReason::default(), now, &mut crate::transport::scratch())
    }

    #[test]
    fn a_header_is_awaited_for_so_long() {
        let now = Instant::now();
        let (mut silent, _, proxy) = proxied(now);
        let last = now + PATIENCE;
        assert!(matches!(turn(&mut silent, now), TurnOutcome::Waits(Some(until)) if until == last));
        (&proxy).write_all(b"PROXY TCP4 192.").unwrap();
        let before = last - Duration::from_millis(1);
        assert!(matches!(turn(&mut silent, before), TurnOutcome::Waits(Some(until)) if until == last));
        assert!(!silent.is_blocked(), "nothing is to be sent yet");
        assert!(matches!(turn(&mut silent, last), TurnOutcome::Over));
        // A server that goes down does not wait for it.
        let (mut late, _, _proxy) = proxied(now);
        let drain = WakeReason { drain: true, ..WakeReason::default() };
        assert!(matches!(late.turn(drain, now, &mut crate::transport::scratch()), TurnOutcome::Over));
    }

    #[test]
    fn what_is_asked_of_a_connection_is_asked_of_its_session() {
        let now = Instant::now();
        let (mut relayed, noted, proxy) = proxied(now);
        relayed.may_read();
        relayed.abort(now);
        assert!(noted.lock().unwrap().is_empty(), "there is none yet");
        (&proxy).write_all(b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n").unwrap();
        let client = "192.0.2.7".parse::<IpAddr>().unwrap();
        assert!(matches!(turn(&mut relayed, now), TurnOutcome::Announced(named) if named == client));
        assert!(relayed.awaits_login());
        relayed.admit(Admission::Welcome, now);
        turn(&mut relayed, now);
        relayed.may_read();
        relayed.abort(now);
        assert!(relayed.is_blocked());
        assert_eq!(*noted.lock().unwrap(), ["may read", "turn", "may read", "abort"]);
    }

    /// What broke is over at once, and not when its time is.
    #[test]
    fn a_connection_that_broke_is_over() {
        let now = Instant::now();
        let (mut gone, _, proxy) = proxied(now);
        drop(proxy);
        assert!(matches!(turn(&mut gone, now), TurnOutcome::Over), "it has ended");
        let (mut broken, _, proxy) = proxied(now);
        let State::Awaiting { socket, .. } = &mut broken.state else { panic!("it waits") };
        // What is not read when a socket is closed resets the connection.
        socket.write_all(b"unread").unwrap();
        proxy.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        proxy.peek(&mut [0]).unwrap();
        drop(proxy);
        assert!(matches!(turn(&mut broken, now), TurnOutcome::Over), "it was reset");
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        let mut nobody = TrustedProxies::default();
        assert!(nobody.is_empty() && !nobody.contains("127.0.0.1".parse().unwrap()));
        nobody.add(&"192.0.2.0/24".parse().unwrap());
        assert!(!nobody.is_empty() && nobody.contains("::ffff:192.0.2.9".parse().unwrap()));
    }
}
