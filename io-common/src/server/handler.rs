//! The interface between a driver and an application.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use proto_mail::{Machine, SendBuffer, StartTlsRequest};

use crate::{
    address::Address,
    error::Error,
    protocol::traits::{MachineMut, Protocol},
    server::session_handle::SessionHandle,
    tls::info::TlsInfo,
};

/// The application's side of one session: it takes events and answers through the machine.
///
/// A handler runs on the driver's thread and must not block. Long work goes to [`Workers`](crate::Workers), and
/// [`woken`](Self::woken) is called when it is done. A handler that panics ends only its own session.
///
/// A handler does not pass the TLS gate: the handler of the cleartext session is dropped when TLS is in place, and the
/// listener's factory makes a new one. Whatever an attacker injected before TLS is therefore forgotten.
pub trait Handler<P: Protocol>: Send + 'static {
    /// Takes an event on cleartext.
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        machine: &mut P::Cleartext,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next;

    /// Takes an event under TLS.
    fn secure(
        &mut self,
        event: <P::Secure as Machine>::Event<'_>,
        machine: &mut P::Secure,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next;

    /// Called when the session starts. Nothing has been sent yet, not even the greeting. Under implicit TLS the handshake is done.
    /// Not called after STARTTLS, which continues a session.
    fn opened(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// Called when the TLS handshake is done, after STARTTLS or with implicit TLS. Nothing was read under TLS yet.
    fn secured(&mut self, machine: &mut P::Secure, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// Called after [`SessionHandle::wake`], or when a delay of [`Context::wake_after`] has passed. May be called without
    /// cause.
    fn woken(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// Called after [`Next::More`], when there is room for output again.
    fn drained(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// Called when the session is over, except for a handler that STARTTLS replaced, and after a panic.
    fn closed(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}

/// What the driver does after a call of a handler.
#[derive(Debug)]
#[must_use]
pub enum Next {
    /// Passes the next event.
    Continue,
    /// Calls [`drained`](Handler::drained) when little output waits. Passes no event until `drained` returns another value.
    More,
    /// Passes no event and reads nothing until [`woken`](Handler::woken) returns another value.
    Pause,
    /// Accepts STARTTLS and starts the handshake. If the listener has no TLS, the session ends with an error.
    StartTls(StartTlsRequest),
    /// Sends all output, then closes in order.
    Close,
}

/// The two ends of a session's connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Peer {
    /// The peer's address.
    pub address: Address,
    /// This side's address.
    pub local: Address,
    /// What TLS negotiated; `None` on cleartext.
    pub tls: Option<Arc<TlsInfo>>,
}

impl Peer {
    /// The ends of a connection on cleartext.
    #[must_use]
    pub const fn new(address: Address, local: Address) -> Self {
        Self { address, local, tls: None }
    }
}

/// The driver, as a handler sees it during a call.
pub struct Context<'c> {
    pub(crate) peer: &'c Peer,
    pub(crate) handle: &'c SessionHandle,
    pub(crate) now: Instant,
    pub(crate) wake_at: &'c mut Option<Instant>,
    pub(crate) login: &'c mut LoginState,
}

/// The state of a client's login.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoginState {
    /// When the client must have logged in; `None` if it has, or need not.
    pub(crate) deadline: Option<Instant>,
    /// What is added to the machine's delay after a failed login.
    pub(crate) extra_delay: Duration,
}

impl Context<'_> {
    /// Returns the two ends of the connection.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        self.peer
    }

    /// Returns a handle with which other threads can wake this session.
    #[must_use]
    pub fn session_handle(&self) -> SessionHandle {
        self.handle.clone()
    }

    /// Returns how many sessions the driver has, this one included. Connections that it refuses itself do not count. An
    /// application with lower limits can refuse in [`opened`](Handler::opened), for instance with
    /// [`Server::reject_connection`](proto_smtp::server::Server::reject_connection) while the greeting is held back.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.handle.sessions()
    }

    /// Returns when this call of the session started.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Declares that the client has logged in, or does not need to. [`Deadlines::login`](crate::Deadlines::login) no longer applies,
    /// nor does [`connections_before_login`](crate::ConnectionLimits::connections_before_login).
    pub const fn logged_in(&mut self) {
        self.login.deadline = None;
    }

    /// Extends the delay after which the machine answers a failed login, from now on and in this session. A successful
    /// login is answered at once.
    pub const fn extend_login_delay(&mut self, by: Duration) {
        self.login.extra_delay = by;
    }

    /// Has [`Handler::woken`] called once, after `delay`. A later call replaces an earlier one.
    pub fn wake_after(&mut self, delay: Duration) {
        *self.wake_at = self.now.checked_add(delay);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("peer", self.peer).finish_non_exhaustive()
    }
}

/// Why a session ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The session ended as its protocol defines it, or the handler closed it.
    Done,
    /// The server was shut down.
    Shutdown,
    /// An error ended it.
    Failed(Error),
}
