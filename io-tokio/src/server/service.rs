//! Sessions that an async function serves.

use std::{future::Future, sync::Arc};

use io_common::{
    ListenerTls, Peer, Protocol,
    server::{Admission, SessionSettings},
    trace::{Role, Tracer},
    transport::TlsStart,
};

use super::{
    async_protocol::AsyncProtocol,
    session::{CleartextSession, SecureSession, Session, SessionState},
    session_table::SessionSlot,
};
use crate::{
    connection::Connection, error::Error, socket::Socket, timed_transport::TimedTransport, timer::now,
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

/// Serves a connection from its first byte to its end.
pub(super) async fn run<P: AsyncProtocol, S: Service<P>>(
    socket: Socket,
    slot: SessionSlot,
    settings: Arc<SessionSettings<P>>,
    tracer: Option<Arc<Tracer>>,
    service: S,
) {
    // The session's error concerns its service only, which has seen it.
    let _ = serve(socket, slot, settings, tracer, service).await;
}

async fn serve<P: AsyncProtocol, S: Service<P>>(
    socket: Socket,
    slot: SessionSlot,
    settings: Arc<SessionSettings<P>>,
    tracer: Option<Arc<Tracer>>,
    service: S,
) -> Result<(), Error> {
    let mut peer = Peer::new(socket.peer_address().clone(), socket.local_end().clone());
    let mut transport = TimedTransport::new::<P>(socket, settings.deadlines.clone());
    if let Some(tracer) = tracer {
        transport.inner.trace(tracer(), Role::Server, &peer.address, now());
    }
    let is_admitted = slot.admission == Admission::Admitted;
    let login_at = now().checked_add(settings.deadlines.login);
    let secured = match &settings.tls {
        ListenerTls::Implicit(tls) => {
            let (secure, info) = transport.accept_tls(tls, TlsStart::Implicit).await?;
            peer.tls = Some(info);
            Some(secure)
        }
        ListenerTls::TrustedLocal => match settings.tls.trusted(&peer.address) {
            None => {
                return Err(Error::Invalid(
                    "a remote client connected to a listener for local programs".into(),
                ));
            }
            trusted => trusted,
        },
        ListenerTls::StartTls(_) | ListenerTls::None => None,
    };
    let tx = &mut transport.inner.tx;
    match secured {
        _ if !is_admitted => {
            match secured {
                Some(secure) => P::refuse_secure(&settings.config, secure, tx),
                None => P::refuse(&settings.config, tx),
            }
            std::future::poll_fn(|cx| transport.poll_close(cx)).await
        }
        Some(secure) => {
            let machine = P::open_secure(&settings.config, secure, tx);
            transport.inner.release_plaintext()?;
            let connection = Connection::new(transport, machine, peer.tls.clone());
            service.secure(Session::new(connection, SessionState::new(peer, slot, settings, login_at))).await
        }
        None => {
            let machine: <P as Protocol>::Cleartext = P::open(&settings.config, tx);
            let connection = Connection::new(transport, machine, None);
            let state = SessionState::new(peer, slot, settings, login_at);
            service.cleartext(Session::new(connection, state)).await
        }
    }
}
