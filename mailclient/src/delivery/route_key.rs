//! What identifies a route: the pool and the engine know routes by nothing else.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Identifies a route and its clones, and names the host and port that it leads to. Cheap to clone.
#[derive(Clone)]
pub struct RouteKey(Arc<Key>);

struct Key {
    number: u64,
    host: HostPort,
}

/// A host and port: what the limits per host count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostPort {
    host: String,
    port: u16,
}

impl RouteKey {
    /// The key of a new route to this host and port. Differs from every other one.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        static ROUTES: AtomicU64 = AtomicU64::new(0);
        let number = ROUTES.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Key { number, host: HostPort { host: host.to_ascii_lowercase(), port } }))
    }

    /// Returns the host name in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.host.port
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn host_port(&self) -> &HostPort {
        &self.0.host
    }
}

impl PartialEq for RouteKey {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for RouteKey {}

impl fmt::Debug for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteKey")
            .field("host", &self.host())
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

/// A route as a delivery knows it: by its key.
pub trait Keyed {
    /// Returns the key.
    fn key(&self) -> &RouteKey;
}

impl Keyed for RouteKey {
    fn key(&self) -> &RouteKey {
        self
    }
}
