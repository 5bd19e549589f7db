//! Opening a tunnel through a proxy on a connected socket.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use io_common::{
    Error, Proxy, ProxyError, TimeoutStage,
    proxy::{MAX_REPLY_LEN, ProxyHandshake},
};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// Asks the proxy at the other end of `socket` for a connection to this host, within `limit`.
///
/// Exactly the proxy's replies are read. What follows the last one belongs to the server and stays in the socket.
pub(crate) fn open(
    proxy: &Proxy,
    socket: &mut TcpStream,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<(), Error> {
    let mut handshake = proxy.handshake(host, port)?;
    let mut wire = Wire::new(socket, limit)?;
    let done = wire.run(&mut *handshake);
    wire.release();
    done
}

/// A socket with a poll and a time limit.
struct Wire<'s> {
    socket: &'s mut TcpStream,
    poll: Poll,
    events: Events,
    end: Option<Instant>,
    limit: Duration,
}

impl<'s> Wire<'s> {
    fn new(socket: &'s mut TcpStream, limit: Duration) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("opening a poll"))?;
        poll.registry()
            .register(socket, Token(0), Interest::READABLE | Interest::WRITABLE)
            .map_err(Error::io("watching a connection"))?;
        Ok(Self {
            socket,
            poll,
            events: Events::with_capacity(2),
            end: Instant::now().checked_add(limit),
            limit,
        })
    }

    fn release(&mut self) {
        let _ = self.poll.registry().deregister(self.socket);
    }

    fn run(&mut self, handshake: &mut dyn ProxyHandshake) -> Result<(), Error> {
        let mut buffer = vec![0; MAX_REPLY_LEN];
        while let Some(request) = handshake.request() {
            if self.peek(&mut buffer)?.is_some() {
                return Err(ProxyError::InvalidReply("it came before the request").into());
            }
            self.write(request.expose())?;
            self.read_reply(handshake, &mut buffer)?;
        }
        Ok(())
    }

    fn read_reply(&mut self, handshake: &mut dyn ProxyHandshake, buffer: &mut [u8]) -> Result<(), Error> {
        loop {
            if let Some(count) = self.peek(buffer)? {
                let received = buffer.get(..count).unwrap_or_default();
                if let Some(length) = handshake.reply(received)? {
                    let reply = buffer.get_mut(..length).unwrap_or_default();
                    return self.socket.read_exact(reply).map_err(Error::io("receiving"));
                }
                if count >= MAX_REPLY_LEN {
                    return Err(ProxyError::InvalidReply("it is too long").into());
                }
            }
            self.wait()?;
        }
    }

    /// Looks at what was received without taking it out of the socket. `None`: nothing now.
    fn peek(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        match self.socket.peek(buffer) {
            Ok(0) => Err(ProxyError::Closed.into()),
            Ok(count) => Ok(Some(count)),
            Err(error) if is_temporary(&error) => Ok(None),
            Err(error) => Err(Error::io("receiving")(error)),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_temporary(&error) => self.wait()?,
                Err(error) => return Err(Error::io("sending")(error)),
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Error> {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Error::TimedOut { stage: TimeoutStage::Proxy, after: self.limit });
        }
        match self.poll.poll(&mut self.events, left.map(|left| left + Duration::from_millis(1))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(Error::io("polling")(error)),
            _ => Ok(()),
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
