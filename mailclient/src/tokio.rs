//! What sessions of both protocols on tokio share: where credentials come from, and work that blocks.
//!
//! Each part of this crate that does I/O has a module `tokio` beside its blocking runner, with the same names in it:
//! `imap::tokio::Session`, `smtp::tokio::Session`, `diagnosis::tokio::diagnose`, `sync::tokio::run` and so on.

use std::sync::Arc;
use std::time::Instant;

use io_tokio::{Connector, StageReport};
use proto_mail::Credentials;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

use crate::endpoint::{CredentialSource, Endpoint};
use crate::error::{Error, ErrorKind};

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

/// Returns the present time by tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A source of credentials that tasks and worker threads share. Its methods are called on a worker thread, because they
/// may block.
pub type SharedCredentials = Arc<dyn CredentialSource + Send + Sync>;

/// Runs work that blocks on tokio's worker threads, a limited number of jobs at a time. Cheap to clone: clones share the
/// limit.
///
/// A job that has begun runs to its end, even if the future that waits for it is dropped. It counts until it has ended.
#[derive(Debug, Clone)]
pub struct BlockingJobs(Arc<Semaphore>);

impl BlockingJobs {
    /// The default limit.
    pub const DEFAULT: usize = 8;

    /// Runs this many jobs at a time; at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Runs a job, and waits for its result. Dropping the future before the job has begun cancels it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the job panicked, or tokio shuts down.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            job()
        };
        spawn_blocking(work).await.map_err(|error| lost(&error))
    }
}

impl Default for BlockingJobs {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

fn lost(error: &JoinError) -> Error {
    let why = if error.is_panic() { "a job on a worker thread panicked" } else { "tokio shuts down" };
    Error::new(ErrorKind::Unavailable, why)
}

/// Reads the credentials for a new session, on a worker thread.
///
/// # Errors
/// They cannot be read.
pub async fn credentials(source: &SharedCredentials) -> Result<Credentials, Error> {
    let source = Arc::clone(source);
    spawn_blocking(move || source.credentials()).await.map_err(|error| lost(&error))?
}

/// Reads a new token after the server refused one, on a worker thread. `None`: there is no source, or it has no other.
///
/// # Errors
/// It cannot be read.
pub async fn renewed_token(source: Option<&SharedCredentials>) -> Result<Option<Credentials>, Error> {
    let Some(source) = source.map(Arc::clone) else { return Ok(None) };
    spawn_blocking(move || source.renewed_token()).await.map_err(|error| lost(&error))?
}
