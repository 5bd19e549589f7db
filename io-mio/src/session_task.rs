//! What the reactor sees of a session, whatever its protocol.

use std::{net::IpAddr, time::Instant};

use mio::net::TcpStream;

use crate::{admission::Admission, transport::Scratch};

/// Why a session has its turn. Several causes may come together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WakeReason {
    pub(crate) woken: bool,
    pub(crate) timer: bool,
    pub(crate) drain: bool,
}

/// What a turn led to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TurnOutcome {
    /// The session waits for something, until this instant at the latest.
    Waits(Option<Instant>),
    /// The session has more to do at once, when the others had their turn.
    Again,
    /// The connection is one of this client's, which a proxy has named: it waits for
    /// [`admit`](SessionTask::admit).
    Announced(IpAddr),
    /// The session is over.
    Over,
}

/// A session, whatever its protocol.
pub(crate) trait SessionTask: Send {
    fn ready(&mut self, event: &mio::event::Event);
    /// There may be bytes to read for which the poll gave this session no event.
    fn may_read(&mut self);
    fn turn(&mut self, cause: WakeReason, now: Instant, scratch: &mut Scratch) -> TurnOutcome;
    /// Whether output waits for the socket.
    fn is_blocked(&self) -> bool;
    /// The reactor ends this session now.
    fn abort(&mut self, now: Instant);
    /// The reactor ends this session now, since another one needs its place.
    fn make_room(&mut self, now: Instant);
    /// The socket, as long as there is one.
    fn socket(&mut self) -> Option<&mut TcpStream>;
    /// Whether the client has still to log in.
    fn awaits_login(&self) -> bool;
    /// What becomes of a connection whose client a proxy has named.
    fn admit(&mut self, _: Admission, _: Instant) {}
}
