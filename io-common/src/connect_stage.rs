//! The stages of opening a client's connection, for observers.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    address::Address,
    tls::{Certificate, TlsInfo},
};

/// A completed stage of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage.
    pub stage: ConnectStage,
    /// How long it took.
    pub took: Duration,
}

impl StageReport {
    /// Reports that this stage is complete.
    #[must_use]
    pub const fn new(stage: ConnectStage, took: Duration) -> Self {
        Self { stage, took }
    }
}

/// The stages of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The name has these addresses.
    Resolved(Vec<SocketAddr>),
    /// This address accepted the connection. With a proxy, it is the proxy's.
    Connected(Address),
    /// The proxy opened a tunnel to the server.
    Tunnelled,
    /// The server is ready for STARTTLS (greeting; EHLO in SMTP).
    Greeted,
    /// The server agreed to STARTTLS, or implicit TLS starts.
    TlsStarted,
    /// The server's certificate, accepted or not.
    Certificate(Arc<Certificate>),
    /// TLS is in place.
    TlsDone(Arc<TlsInfo>),
}

type Observe = dyn Fn(&StageReport) + Send + Sync;

/// Is called with each completed stage. Cheap to clone.
#[derive(Clone, Default)]
pub struct StageObserver(Option<Arc<Observe>>);

impl StageObserver {
    /// Calls `observer`. The default observer calls nothing.
    #[must_use]
    pub fn new(observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }
}

impl fmt::Debug for StageObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StageObserver")
    }
}

/// Reports the stages of one connection, with how long each took.
#[derive(Debug)]
pub struct StageReporter {
    observer: StageObserver,
    /// When the last stage was complete.
    last: Instant,
}

impl StageReporter {
    /// Starts the first stage.
    #[must_use]
    pub const fn start(observer: StageObserver, now: Instant) -> Self {
        Self { observer, last: now }
    }

    /// Reports that a stage is complete, and starts the next one.
    pub fn complete(&mut self, stage: ConnectStage, now: Instant) {
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        tracing::debug!(?took, "stage completed");
        if let Some(observer) = &self.observer.0 {
            observer(&StageReport::new(stage, took));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_stage_has_its_own_time() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let observer = StageObserver::new(move |report| noted.lock().unwrap().push(report.took));
        let start = Instant::now();
        let mut reporter = StageReporter::start(observer, start);
        let (first, second) = (Duration::from_secs(2), Duration::from_secs(3));
        reporter.complete(ConnectStage::Tunnelled, start + first);
        reporter.complete(ConnectStage::Greeted, start + first + second);
        assert_eq!(*seen.lock().unwrap(), [first, second]);
    }
}
