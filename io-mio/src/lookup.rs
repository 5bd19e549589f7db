//! From a name to a connection: the resolver, off the caller's thread, and the race of the addresses.
//!
//! This file knows names, addresses and sockets. It knows no TLS and no protocol.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{Error, TimeoutStage};

/// An address that does not answer delays the next one by so much (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// More addresses of one name are not tried.
const ADDRESSES: usize = 16;

/// The addresses of a host, in the order in which they should be tried.
pub(crate) fn resolve(host: &str, port: u16, deadlines: Duration) -> Result<Vec<SocketAddr>, Error> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (found, answer) = mpsc::sync_channel(1);
    let name = host.to_owned();
    // The system's resolver cannot be interrupted: a thread that is too late ends by itself, unheard.
    std::thread::Builder::new()
        .name("lookup".into())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let _ = found.send(addresses);
        })
        .map_err(Error::io("starting a lookup"))?;
    let failed = |source| Error::Lookup { host: host.to_owned(), source: classified(source) };
    match answer.recv_timeout(deadlines) {
        Ok(Ok(addresses)) => match interleave(addresses) {
            none if none.is_empty() => Err(failed(io::Error::other("the name has no address"))),
            addresses => Ok(addresses),
        },
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(Error::TimedOut { stage: TimeoutStage::Lookup, after: deadlines }),
    }
}

/// An error of the resolver that another lookup may not meet becomes [`io::ErrorKind::WouldBlock`]. The standard library
/// keeps no code of `getaddrinfo`, only its text.
fn classified(source: io::Error) -> io::Error {
    let text = source.to_string();
    let is_temporary =
        ["Temporary failure in name resolution", "Try again"].iter().any(|word| text.contains(word));
    if is_temporary { io::Error::new(io::ErrorKind::WouldBlock, text) } else { source }
}

/// The first family and the other one in turns (RFC 8305 §4), each in the resolver's order, each address once.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if order.len() < ADDRESSES && !order.contains(&address) {
                order.push(address);
            }
        }
    }
}

/// Connects to whichever address answers first: one after the other, the next one as soon as the last has failed or
/// has been silent for a quarter of a second. The socket is still watched by nobody.
pub(crate) fn race(
    host: &str,
    addresses: &[SocketAddr],
    deadlines: Duration,
) -> Result<(TcpStream, SocketAddr), Error> {
    let mut poll = Poll::new().map_err(Error::io("opening a poll"))?;
    let mut events = Events::with_capacity(ADDRESSES);
    let mut race = Race { addresses, begun: 0, running: Vec::new(), failed: Vec::new() };
    let end = Instant::now().checked_add(deadlines);
    loop {
        race.begin_next(&poll);
        let Some(next_at) = race.next_at() else {
            return Err(Error::Connect { host: host.to_owned(), attempts: race.failed });
        };
        let now = Instant::now();
        if end.is_some_and(|end| end <= now) {
            return Err(Error::TimedOut { stage: TimeoutStage::Connect, after: deadlines });
        }
        let until = end.into_iter().chain(next_at).min();
        let timeout = until.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Error::io("polling")(error));
            }
            _ => {}
        }
        for event in &events {
            if let Some((mut socket, address)) = race.settle(event.token()) {
                let _ = poll.registry().deregister(&mut socket);
                return Ok((socket, address));
            }
        }
    }
}

struct Race<'a> {
    addresses: &'a [SocketAddr],
    begun: usize,
    running: Vec<(Token, TcpStream, SocketAddr, Instant)>,
    failed: Vec<(SocketAddr, io::Error)>,
}

impl Race<'_> {
    /// Begins as many attempts as are due.
    fn begin_next(&mut self, poll: &Poll) {
        while let Some(&address) = self.addresses.get(self.begun) {
            let waits = self.running.last().is_some_and(|(.., begun)| begun.elapsed() < ATTEMPT_DELAY);
            if waits {
                return;
            }
            let token = Token(self.begun);
            self.begun += 1;
            let attempt = TcpStream::connect(address).and_then(|mut socket| {
                poll.registry().register(&mut socket, token, Interest::WRITABLE).map(|()| socket)
            });
            match attempt {
                Ok(socket) => self.running.push((token, socket, address, Instant::now())),
                Err(error) => self.failed.push((address, error)),
            }
        }
    }

    /// When the next attempt is due. `None`: all have failed. `Some(None)`: all are running.
    fn next_at(&self) -> Option<Option<Instant>> {
        let (.., last) = self.running.last()?;
        Some((self.begun < self.addresses.len()).then(|| *last + ATTEMPT_DELAY))
    }

    /// An attempt has an end: the socket, if it was a good one.
    fn settle(&mut self, token: Token) -> Option<(TcpStream, SocketAddr)> {
        let at = self.running.iter().position(|(running, ..)| *running == token)?;
        let (_, socket, address, begun) = self.running.remove(at);
        let error = match socket.take_error() {
            Ok(None) => match socket.peer_addr() {
                Ok(_) => return Some((socket, address)),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    // Not settled after all.
                    self.running.insert(at, (token, socket, address, begun));
                    return None;
                }
                Err(error) => error,
            },
            Ok(Some(error)) | Err(error) => error,
        };
        self.failed.push((address, error));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let of = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = of(&["[2001:db8::1]:25", "[2001:db8::2]:25", "192.0.2.1:25", "192.0.2.1:25"]);
        assert_eq!(interleave(given), of(&["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25"]));
        assert!(interleave(Vec::new()).is_empty());
    }

    #[test]
    fn a_literal_needs_no_lookup() {
        let found = resolve("[::1]", 143, Duration::ZERO).unwrap();
        assert_eq!(found, ["[::1]:143".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 25, Duration::ZERO).unwrap(), ["127.0.0.1:25".parse().unwrap()]);
    }

    #[test]
    fn a_dead_address_does_not_hold_up_the_next() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begun = Instant::now();
        let (_, address) = race("localhost", &[closed, good], Duration::from_secs(5)).unwrap();
        assert_eq!(address, good);
        assert!(begun.elapsed() < Duration::from_secs(1));
        let refused = race("localhost", &[closed], Duration::from_secs(5)).unwrap_err();
        assert!(matches!(refused, Error::Connect { attempts, .. } if attempts.len() == 1));
    }
}
