//! What blocking sessions of both protocols share: the connector, and how the caller stops them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use io_mio::{Connector, StageReport};

use crate::endpoint::Endpoint;
use crate::error::Error;

/// Tells a blocking session whether to stop. Cheap to clone.
#[derive(Clone)]
pub struct StopCheck(Arc<dyn Fn() -> Result<(), Error> + Send + Sync>);

impl StopCheck {
    /// The longest time between two calls while a session waits for the network.
    pub const INTERVAL: Duration = Duration::from_millis(200);

    /// `check` fails if the session must stop, with [`ErrorKind::Stopped`](crate::ErrorKind::Stopped) as a rule. It must
    /// not block.
    pub fn new(check: impl Fn() -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// A session that nothing but its own end stops.
    #[must_use]
    pub fn never() -> Self {
        Self::new(|| Ok(()))
    }

    /// Checks whether to stop.
    ///
    /// # Errors
    /// The error of the caller, if so.
    pub fn check(&self) -> Result<(), Error> {
        (self.0)()
    }
}

impl fmt::Debug for StopCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopCheck")
    }
}

/// Returns a connector for the endpoint that reports each stage to `observer`.
pub fn connector(endpoint: &Endpoint, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Connector {
    let mut connector =
        Connector::new(endpoint.tls_config().clone()).deadlines(endpoint.deadlines()).observer(observer);
    if let Some(proxy) = endpoint.proxy_setting() {
        connector = connector.proxy(proxy.clone());
    }
    if let Some(tracer) = endpoint.tracer() {
        let tracer = tracer.clone();
        connector = connector.trace(move || tracer());
    }
    connector
}
