//! How the connections of a listener become sessions.

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use super::{
    admission::Admission,
    handler::{Handler, Peer},
    listener_settings::{ListenerSettings, ListenerShared, ListenerTls},
    proxy_protocol::{ProxiedConnection, TrustedProxies},
    session::Session,
    session_handle::SessionHandle,
    session_task::{SessionTask, StartSession},
};
use crate::{error::Error, protocol::traits::ServerProtocol, stream::Stream, trace::record::Tracer};

/// Starts the sessions of a listener, of any protocol.
pub struct SessionFactory<S> {
    start: Arc<StartSession<S>>,
    /// The proxies that may connect, if the listener is behind proxies.
    proxies: Option<TrustedProxies>,
    /// The reply to a connection beyond all limits; empty if TLS would have to come first.
    too_many_connections: &'static [u8],
}

impl<S: Stream> SessionFactory<S> {
    /// A factory for sessions with these settings. `handler` makes a handler for each session, and another one when
    /// STARTTLS has put TLS in place. With `proxies`, connections come from these proxies, and each begins with a PROXY
    /// header. `tracer` makes a trace for each session.
    pub fn new<P: ServerProtocol, H: Handler<P>>(
        settings: ListenerSettings<P>,
        proxies: Option<TrustedProxies>,
        tracer: Option<Arc<Tracer>>,
        handler: impl Fn(&Peer) -> H + Send + Sync + 'static,
    ) -> Self {
        let too_many_connections = match settings.current().tls {
            ListenerTls::Implicit(_) => &[],
            ListenerTls::StartTls(_) | ListenerTls::None | ListenerTls::TrustedLocal => {
                P::TOO_MANY_CONNECTIONS
            }
        };
        let shared = Arc::new(ListenerShared { settings, factory: Box::new(handler), tracer });
        let start: Arc<StartSession<S>> = Arc::new(move |socket, peer, handle, admission, now| {
            let session = Session::start(socket, peer, handle, shared.clone(), admission, now)?;
            Ok(Box::new(session) as Box<dyn SessionTask<S>>)
        });
        Self { start, proxies, too_many_connections }
    }

    /// Returns whether connections from this address are allowed.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.proxies.as_ref().is_none_or(|proxies| proxies.contains(address))
    }

    /// Returns whether connections come from proxies, which announce the client with the PROXY protocol.
    #[must_use]
    pub const fn is_behind_proxies(&self) -> bool {
        self.proxies.is_some()
    }

    /// Starts the session of an accepted connection. Behind proxies, the session begins when the proxy has announced the
    /// client and the driver has [admitted](SessionTask::admit) it.
    ///
    /// # Errors
    /// TLS cannot be started; a remote client connected to a listener for this machine; or connections from this address
    /// are not [allowed](Self::allows).
    pub fn start(
        &self,
        socket: S,
        peer: Peer,
        handle: SessionHandle,
        admission: Admission,
        now: Instant,
    ) -> Result<Box<dyn SessionTask<S>>, Error> {
        if !self.allows(peer.address.ip()) {
            return Err(Error::Config("only a trusted proxy may connect".into()));
        }
        match &self.proxies {
            None => (self.start)(socket, peer, handle, admission, now),
            Some(_) => {
                let start = self.start.clone();
                Ok(Box::new(ProxiedConnection::new(socket, peer, handle, start, admission, now)))
            }
        }
    }

    /// Closes a connection beyond all limits, with a short reply if cleartext allows one.
    pub fn cut_off(&self, mut socket: S) {
        if !self.too_many_connections.is_empty() {
            let _ = socket.write(self.too_many_connections);
        }
    }
}

impl<S> fmt::Debug for SessionFactory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFactory").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}
