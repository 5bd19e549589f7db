//! A session as the reactor sees it, independent of its protocol.

use std::{net::IpAddr, time::Instant};

use super::{admission::Admission, handler::Peer, session_handle::SessionHandle};
use crate::{error::Error, socket::Socket, transport::ReadBuffer};

/// Why a session is called. Several reasons may apply.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WakeReason {
    pub(crate) woken: bool,
    pub(crate) timer: bool,
    pub(crate) drain: bool,
}

/// The result of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TurnOutcome {
    /// The session waits, until this instant at the latest.
    Waiting(Option<Instant>),
    /// The session has more to do, after the turns of the others.
    Again,
    /// A proxy announced this client. The connection waits for [`admit`](SessionTask::admit).
    ClientAnnounced(IpAddr),
    /// The session is over.
    Finished,
}

/// Starts the session of a new connection.
pub(crate) type StartSession = dyn Fn(Socket, Peer, SessionHandle, Admission, Instant) -> Result<Box<dyn SessionTask>, Error>
    + Send
    + Sync;

/// A session of any protocol.
pub(crate) trait SessionTask: Send {
    /// Takes an event of the poll.
    fn ready(&mut self, event: &mio::event::Event);
    /// Reads on the next turn, although the poll reported nothing.
    fn may_read(&mut self);
    /// Does what can be done now.
    fn turn(&mut self, reason: WakeReason, now: Instant, buffer: &mut ReadBuffer) -> TurnOutcome;
    /// Whether output waits and the socket does not accept it.
    fn is_blocked(&self) -> bool;
    /// Ends the session now.
    fn abort(&mut self, now: Instant);
    /// Ends the session now, because another one needs its place.
    fn make_room(&mut self, now: Instant);
    /// Returns the socket, while there is one.
    fn socket(&mut self) -> Option<&mut Socket>;
    /// Whether the client has not logged in yet.
    fn awaits_login(&self) -> bool;
    /// Starts the session of a client that a proxy announced, or refuses it.
    fn admit(&mut self, _: Admission, _: Instant) {}
}
