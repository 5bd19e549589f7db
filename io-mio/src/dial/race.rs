//! Connecting to the addresses of one host in parallel ("Happy Eyeballs", RFC 8305).

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use io_common::{Error, TimeoutStage};

/// How long an address may be silent before the next one is tried (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the address that answers first. The next address is tried as soon as the last one failed, or was silent
/// for a quarter of a second. The returned socket is registered with no poll.
pub(crate) fn race(
    host: &str,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Error> {
    let mut poll = Poll::new().map_err(Error::io("opening a poll"))?;
    let mut events = Events::with_capacity(addresses.len().max(1));
    let mut race = Race { addresses, started: 0, running: Vec::new(), failed: Vec::new() };
    let end = Instant::now().checked_add(limit);
    loop {
        race.start_due(&poll);
        let Some(next_at) = race.next_at() else {
            return Err(Error::Connect { host: host.to_owned(), attempts: race.failed });
        };
        let now = Instant::now();
        if end.is_some_and(|end| end <= now) {
            return Err(Error::TimedOut { stage: TimeoutStage::Connect, after: limit });
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

/// Attempts to connect to the addresses of one host.
struct Race<'a> {
    addresses: &'a [SocketAddr],
    started: usize,
    running: Vec<(Token, TcpStream, SocketAddr, Instant)>,
    failed: Vec<(SocketAddr, io::Error)>,
}

impl Race<'_> {
    /// Starts the attempts that are due.
    fn start_due(&mut self, poll: &Poll) {
        while let Some(&address) = self.addresses.get(self.started) {
            let waits = self.running.last().is_some_and(|(.., started)| started.elapsed() < ATTEMPT_DELAY);
            if waits {
                return;
            }
            let token = Token(self.started);
            self.started += 1;
            let attempt = TcpStream::connect(address).and_then(|mut socket| {
                poll.registry().register(&mut socket, token, Interest::WRITABLE).map(|()| socket)
            });
            match attempt {
                Ok(socket) => self.running.push((token, socket, address, Instant::now())),
                Err(error) => self.failed.push((address, error)),
            }
        }
    }

    /// Returns when the next attempt is due. `None`: all have failed. `Some(None)`: all are running.
    fn next_at(&self) -> Option<Option<Instant>> {
        let (.., last) = self.running.last()?;
        Some((self.started < self.addresses.len()).then(|| *last + ATTEMPT_DELAY))
    }

    /// Ends an attempt and returns the socket if it is connected.
    fn settle(&mut self, token: Token) -> Option<(TcpStream, SocketAddr)> {
        let at = self.running.iter().position(|(running, ..)| *running == token)?;
        let (_, socket, address, started) = self.running.remove(at);
        let error = match socket.take_error() {
            Ok(None) => match socket.peer_addr() {
                Ok(_) => return Some((socket, address)),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    // Still connecting.
                    self.running.insert(at, (token, socket, address, started));
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
    fn a_refused_address_does_not_delay_the_next() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let started = Instant::now();
        let (_, address) = race("localhost", &[closed, good], Duration::from_secs(5)).unwrap();
        assert_eq!(address, good);
        assert!(started.elapsed() < Duration::from_secs(1));
        let refused = race("localhost", &[closed], Duration::from_secs(5)).unwrap_err();
        assert!(matches!(refused, Error::Connect { attempts, .. } if attempts.len() == 1));
    }
}
