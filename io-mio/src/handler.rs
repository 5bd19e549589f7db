//! What an application says and is told, session by session, when a reactor drives its server.
//!
//! This file is the contract between the reactor and the application. It knows no socket.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use proto_mail::{Machine, SendBuffer, StartTlsRequest};

use crate::{Error, MachineMut, Protocol, SessionHandle, tls::TlsInfo};

/// One session of an application: it is told what happens and answers through the machine.
///
/// A handler runs on the reactor's thread and must not block: what takes time goes to [`Workers`](crate::Workers),
/// and [`woken`](Self::woken) is called when it is done. A handler that panics costs its own session only.
///
/// A handler does not pass the gate: the one that saw cleartext is dropped when TLS is in place, and the listener's
/// factory makes a new one. What a man in the middle may have said is forgotten by construction.
pub trait Handler<P: Protocol>: Send + 'static {
    /// Something happened on cleartext.
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        machine: &mut P::Cleartext,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next;

    /// Something happened under TLS.
    fn secure(
        &mut self,
        event: <P::Secure as Machine>::Event<'_>,
        machine: &mut P::Secure,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next;

    /// The session begins, and nothing has left yet: neither a greeting, nor anything else. Under implicit TLS the
    /// handshake is done. Not called behind STARTTLS, where a session goes on.
    fn opened(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// The handshake is done (after STARTTLS or at once); nothing was read under TLS yet.
    fn secured(&mut self, machine: &mut P::Secure, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// [`SessionHandle::wake`] was called, or a delay of [`Context::wake_after`] is over. May come without cause.
    fn woken(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// After [`Next::More`]: there is room again for output.
    fn drained(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let _ = (machine, tx, cx);
        Next::Continue
    }

    /// The session is over. Not called for the handler that STARTTLS replaced, nor after a panic.
    fn closed(&mut self, why: &CloseReason) {
        let _ = why;
    }
}

/// What a handler wants to happen next.
#[derive(Debug)]
#[must_use]
pub enum Next {
    /// Go on: the next event, please.
    Continue,
    /// There is more output: call [`drained`](Handler::drained) as soon as little enough waits to be sent. No event
    /// comes before it returned something else.
    More,
    /// No more events until [`woken`](Handler::woken) returns something else; nothing is read either.
    Pause,
    /// Agree to STARTTLS and begin the handshake. A fatal misuse where the listener has no TLS.
    StartTls(StartTlsRequest),
    /// Send what waits, then close in order.
    Close,
}

/// Who is at the other end of a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// Our own address of this connection.
    pub local: SocketAddr,
    /// What was negotiated; `None` on cleartext.
    pub tls: Option<Arc<TlsInfo>>,
}

/// What a handler can ask of the reactor while it is called.
pub struct Context<'c> {
    pub(crate) peer: &'c Peer,
    pub(crate) handle: &'c SessionHandle,
    pub(crate) now: Instant,
    pub(crate) wake_at: &'c mut Option<Instant>,
    pub(crate) login: &'c mut Login,
}

/// What the driver knows of a client's log-in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Login {
    /// When the client must have logged in; none if it has, or need not.
    pub(crate) until: Option<Instant>,
    /// How much longer the machine's delay behind a failed log-in is.
    pub(crate) delay: Duration,
}

impl Context<'_> {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        self.peer
    }

    /// A handle by which another thread can wake this session.
    #[must_use]
    pub fn session_handle(&self) -> SessionHandle {
        self.handle.clone()
    }

    /// How many sessions the reactor has, this one included; those beyond its limits, which it turns away itself, do not
    /// count. An application that wants fewer can refuse in [`opened`](Handler::opened), for instance with
    /// [`Server::reject_connection`](proto_smtp::server::Server::reject_connection) while the greeting is held back.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.handle.sessions()
    }

    /// The time at which this turn of the loop began.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The client has logged in, or need not: [`Deadlines::login`](crate::Deadlines::login) no longer ends the session, and
    /// it no longer counts for [`connections_before_login`](crate::ReactorLimits::connections_before_login).
    pub const fn logged_in(&mut self) {
        self.login.until = None;
    }

    /// Makes the delay with which the machine answers a failed log-in this much longer, from now on and in this session.
    /// A log-in that succeeds is answered at once.
    pub const fn extend_login_delay(&mut self, by: Duration) {
        self.login.delay = by;
    }

    /// Calls [`Handler::woken`] once, after `delay`. A later call replaces an earlier one.
    pub fn wake_after(&mut self, delay: Duration) {
        *self.wake_at = self.now.checked_add(delay);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("peer", self.peer).finish_non_exhaustive()
    }
}

/// Why a session is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The session ended as its protocol wants it, or the handler closed it.
    Done,
    /// The reactor was shut down.
    Shutdown,
    /// Something failed.
    Failed(Error),
}
