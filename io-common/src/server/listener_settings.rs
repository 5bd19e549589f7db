//! What the sessions of one listener share: settings, TLS, and the factory of handlers.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use proto_mail::Secure;

use super::handler::{Handler, Peer};
use super::output_filter::{FilterLayer, OutputFilterFactory};
use crate::{
    address::Address, deadlines::Deadlines, protocol::traits::ServerProtocol, tls::server::TlsServerConfig,
    trace::record::Tracer,
};

/// How a listener uses TLS.
#[derive(Debug, Clone)]
pub enum ListenerTls {
    /// Cleartext first; TLS after STARTTLS.
    StartTls(TlsServerConfig),
    /// TLS from the first byte.
    Implicit(TlsServerConfig),
    /// No TLS.
    None,
    /// No TLS, and none is needed, because clients run on this machine: the session is treated as one under TLS. For LMTP
    /// between local programs. Accepts Unix sockets and loopback addresses only.
    TrustedLocal,
}

impl ListenerTls {
    /// Returns the evidence with which a session on cleartext is treated as one under TLS: for
    /// [`TrustedLocal`](Self::TrustedLocal), and a peer on this machine.
    #[must_use]
    pub fn trusted(&self, peer: &Address) -> Option<Secure> {
        match self {
            Self::TrustedLocal if peer.is_local() => Some(Secure::trusted_local()),
            _ => None,
        }
    }
}

/// The settings with which a listener starts sessions. They can be replaced at any time; running sessions keep theirs.
/// Cheap to clone; all clones are the same settings.
pub struct ListenerSettings<P: ServerProtocol> {
    current: Arc<RwLock<Arc<SessionSettings<P>>>>,
    output_filter: Option<OutputFilterFactory>,
}

/// The settings of one session.
#[non_exhaustive]
pub struct SessionSettings<P: ServerProtocol> {
    /// The machine's configuration.
    pub config: P::Config,
    /// How the listener uses TLS.
    pub tls: ListenerTls,
    /// The time limits.
    pub deadlines: Deadlines,
}

impl<P: ServerProtocol> ListenerSettings<P> {
    /// Settings with the machine's configuration, TLS and time limits.
    pub fn new(config: P::Config, tls: ListenerTls, deadlines: Deadlines) -> Self {
        let current = Arc::new(RwLock::new(Arc::new(SessionSettings { config, tls, deadlines })));
        Self { current, output_filter: None }
    }

    /// Has a filter change what each session sends. For tests of clients.
    #[must_use]
    pub fn output_filter(self, filter: Option<OutputFilterFactory>) -> Self {
        Self { output_filter: filter, ..self }
    }

    /// Returns the filter for a new session.
    pub(crate) fn new_filter(&self) -> Option<Box<FilterLayer>> {
        self.output_filter.as_ref().map(|factory| Box::new(factory.make()))
    }

    /// Replaces the settings for new sessions: a renewed certificate for example. Whether TLS comes first is fixed when
    /// the listener starts: `tls` should be of the same variant as before.
    pub fn replace(&self, config: P::Config, tls: ListenerTls, deadlines: Deadlines) {
        let settings = Arc::new(SessionSettings { config, tls, deadlines });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Returns the settings for a session that starts now.
    #[must_use]
    pub fn current(&self) -> Arc<SessionSettings<P>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<P: ServerProtocol> SessionSettings<P> {
    /// Returns when the client of a connection that was accepted at `now` must have logged in. `None`: it need not, or there
    /// is no limit.
    #[must_use]
    pub fn login_deadline(&self, now: Instant) -> Option<Instant> {
        P::requires_login(&self.config).then(|| now.checked_add(self.deadlines.login)).flatten()
    }
}

impl<P: ServerProtocol> Clone for ListenerSettings<P> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current), output_filter: self.output_filter.clone() }
    }
}

impl<P: ServerProtocol> fmt::Debug for ListenerSettings<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerSettings")
    }
}

impl<P: ServerProtocol> fmt::Debug for SessionSettings<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSettings")
            .field("tls", &self.tls)
            .field("deadlines", &self.deadlines)
            .finish_non_exhaustive()
    }
}

/// What the sessions of one listener share.
pub(crate) struct ListenerShared<P: ServerProtocol, H: Handler<P>> {
    pub(crate) settings: ListenerSettings<P>,
    pub(crate) factory: Box<dyn Fn(&Peer) -> H + Send + Sync>,
    pub(crate) tracer: Option<Arc<Tracer>>,
}
