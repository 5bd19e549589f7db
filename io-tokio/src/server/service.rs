//! Sessions that an async function serves.

use std::{
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::{Poll, ready},
};

use io_common::{
    ListenerSettings, ListenerTls, Peer, Protocol, ServerProtocol, TrustedProxies,
    server::{Admission, Announcement, HEADER_TIMEOUT, SessionSettings},
    trace::{Role, Tracer},
    transport::TlsStart,
};
use tokio::time::timeout;

use super::{
    async_protocol::AsyncProtocol,
    handler_task::PEEK_INTERVAL,
    session::{CleartextSession, SecureSession, Session, SessionState},
    session_table::SessionSlot,
};
use crate::{
    connection::Connection,
    error::Error,
    socket::Socket,
    timed_transport::TimedTransport,
    timer::{Timer, now},
};

/// Serves the sessions of a listener. An async function that takes a [`SecureSession`] is a service: it is called when TLS is
/// in place, and until then the client is offered nothing but STARTTLS.
///
/// A session's error ends only that session.
pub trait Service<P: AsyncProtocol>: Clone + Send + Sync + 'static {
    /// Serves a session under TLS, or one with a program of this machine.
    fn secure(&self, session: SecureSession<P>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Serves a session on cleartext. By default it offers STARTTLS and answers everything else with a temporary failure.
    ///
    /// Nothing that is received here may influence the session under TLS: an attacker may have sent it.
    fn cleartext(&self, mut session: CleartextSession<P>) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            while let Some(event) = session.next_event().await? {
                if let Some(request) = P::starttls_request(event) {
                    return self.secure(session.start_tls(request).await?).await;
                }
            }
            Ok(())
        }
    }
}

impl<P, F, T> Service<P> for F
where
    P: AsyncProtocol,
    F: Fn(SecureSession<P>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<(), Error>> + Send,
{
    fn secure(&self, session: SecureSession<P>) -> impl Future<Output = Result<(), Error>> + Send {
        self(session)
    }
}

/// What the sessions of a listener have in common.
pub(super) struct Listened<P: ServerProtocol, S> {
    pub(super) settings: ListenerSettings<P>,
    /// The proxies that may connect, if the listener is behind proxies.
    pub(super) proxies: Option<TrustedProxies>,
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) service: S,
}

impl<P: ServerProtocol, S: Clone> Clone for Listened<P, S> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            proxies: self.proxies.clone(),
            tracer: self.tracer.clone(),
            service: self.service.clone(),
        }
    }
}

/// Serves a connection from its first byte to its end.
pub(super) async fn run<P: AsyncProtocol, S: Service<P>>(
    mut socket: Socket,
    mut slot: SessionSlot,
    listened: Listened<P, S>,
) {
    let mut peer = Peer::new(socket.peer_address().clone(), socket.local_end().clone());
    if listened.proxies.is_some() {
        match announced(&mut socket, &mut slot, peer).await {
            Some(client) => peer = client,
            None => return,
        }
    }
    // The session's error concerns its service only, which has seen it.
    let _ = serve(socket, peer, slot, listened).await;
}

/// Waits for the header of a proxy, and returns the client's addresses. `None`: the connection is to be closed.
async fn announced(socket: &mut Socket, slot: &mut SessionSlot, proxy: Peer) -> Option<Peer> {
    match timeout(HEADER_TIMEOUT, announcement(socket, slot, &proxy)).await {
        Ok(Ok(Announcement::Local)) => Some(proxy),
        Ok(Ok(Announcement::Client(address, peer))) => {
            slot.admission = slot.announced(address)?;
            Some(peer)
        }
        // The proxy sent no header or no valid one, or says something that this version does not know.
        Ok(Ok(_) | Err(_)) | Err(_) => None,
    }
}

async fn announcement(socket: &mut Socket, slot: &SessionSlot, proxy: &Peer) -> io::Result<Announcement> {
    let mut timer = Timer::default();
    poll_fn(|cx| {
        loop {
            if slot.signals.is_draining() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            socket.begin_turn(cx);
            if let Some(announcement) = Announcement::read(socket, proxy)? {
                return Poll::Ready(Ok(announcement));
            }
            // A part of the header keeps the socket readable, so that nothing wakes the task when the rest arrives.
            let look = (!socket.await_input(cx)).then(|| now() + PEEK_INTERVAL);
            ready!(timer.poll_at(look, cx));
        }
    })
    .await
}

async fn serve<P: AsyncProtocol, S: Service<P>>(
    socket: Socket,
    mut peer: Peer,
    slot: SessionSlot,
    listened: Listened<P, S>,
) -> Result<(), Error> {
    let Listened { settings, tracer, service, .. } = listened;
    let settings: Arc<SessionSettings<P>> = settings.current();
    let mut transport = TimedTransport::new::<P>(socket, settings.deadlines.clone());
    if let Some(tracer) = tracer {
        transport.inner.trace(tracer(), Role::Server, &peer.address, now());
    }
    let is_admitted = slot.admission == Admission::Admitted;
    let login_at = settings.login_deadline(now());
    let config = &settings.config;
    let secured = match &settings.tls {
        ListenerTls::Implicit(tls) => {
            transport.accept_tls(tls, TlsStart::Implicit).await?;
            if !is_admitted {
                transport.inner.refuse_server::<P>(config)?;
                return close(transport).await;
            }
            let (machine, info) = transport.inner.open_server::<P>(config)?;
            peer.tls = Some(info);
            Some(machine)
        }
        ListenerTls::StartTls(_) | ListenerTls::None | ListenerTls::TrustedLocal if !is_admitted => {
            P::refuse(config, &mut transport.inner.tx);
            return close(transport).await;
        }
        ListenerTls::TrustedLocal => {
            let Some(secure) = settings.tls.trusted(&peer.address) else {
                return Err(Error::Invalid(
                    "a remote client connected to a listener for local programs".into(),
                ));
            };
            Some(P::open_secure(config, secure, &mut transport.inner.tx))
        }
        ListenerTls::StartTls(_) | ListenerTls::None => None,
    };
    let Some(machine) = secured else {
        let machine: <P as Protocol>::Cleartext = P::open(config, &mut transport.inner.tx);
        let connection = Connection::new(transport, machine, None);
        let state = SessionState::new(peer, slot, settings, login_at);
        return service.cleartext(Session::new(connection, state)).await;
    };
    let connection = Connection::new(transport, machine, peer.tls.clone());
    service.secure(Session::new(connection, SessionState::new(peer, slot, settings, login_at))).await
}

/// Sends the refusal of a connection and closes it.
async fn close(mut transport: TimedTransport) -> Result<(), Error> {
    poll_fn(|cx| transport.poll_close(cx)).await
}
