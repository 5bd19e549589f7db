//! A session as the driver sees it, independent of its protocol.

use std::{net::IpAddr, time::Instant};

use super::{admission::Admission, handler::Peer, session_handle::SessionHandle};
use crate::{
    error::Error,
    stream::{Readiness, Stream},
    transport::ReadBuffer,
};

/// Why a session is called. Several reasons may apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct WakeReason {
    /// The session's handle was woken, or a delay of its handler has passed.
    pub woken: bool,
    /// The time of [`TurnOutcome::Waiting`] has come.
    pub timer: bool,
    /// The server shuts down: the session ends after the command in progress.
    pub drain: bool,
}

/// The result of a turn.
#[derive(Debug, Clone, Copy)]
pub enum TurnOutcome {
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
pub(crate) type StartSession<S> = dyn Fn(S, Peer, SessionHandle, Admission, Instant) -> Result<Box<dyn SessionTask<S>>, Error>
    + Send
    + Sync;

/// A session of any protocol.
pub trait SessionTask<S: Stream>: Send {
    /// Notes what the driver knows about the socket.
    fn ready(&mut self, readiness: Readiness);
    /// Reads on the next turn, although the driver reported nothing.
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
    fn socket(&mut self) -> Option<&mut S>;
    /// Whether the client has not logged in yet.
    fn awaits_login(&self) -> bool;
    /// Starts the session of a client that a proxy announced, or refuses it.
    fn admit(&mut self, _: Admission, _: Instant) {}
}
