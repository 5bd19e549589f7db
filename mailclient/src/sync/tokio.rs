//! The thin runner of a sync on tokio.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use io_tokio::Connector;
use mailstore::SyncStore;
use proto_mail::{Cleartext, Secure};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::action::{SyncAction, SyncEnd, SyncJob};
use super::engine::SyncEngine;
use super::event::SyncEvent;
use super::job::StoreJob;
use crate::endpoint::{Encryption, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::imap::tokio::{ImapChannel, Session};
use crate::tokio::{BlockingJobs, SharedCredentials, connector, credentials};

/// Runs syncs of one account into a store. Cheap to clone.
///
/// The store's jobs run on tokio's worker threads, one at a time for each sync; [`jobs`](Self::jobs) limits them for all.
///
/// **A sync may be dropped at any point.** Its connection is cut, and a job that has begun runs to its end. Messages
/// are committed in batches, so the store has each message either completely or not at all, and the next sync continues
/// after the last batch. [`run_until`](Self::run_until) stops it in order: what was received is stored first.
#[derive(Clone)]
pub struct SyncRunner {
    endpoint: Endpoint,
    connector: Connector,
    source: SharedCredentials,
    store: Arc<dyn SyncStore>,
    jobs: BlockingJobs,
}

impl SyncRunner {
    /// A runner with a connector for this endpoint, and the default limit of jobs.
    #[must_use]
    pub fn new(endpoint: &Endpoint, source: SharedCredentials, store: Arc<dyn SyncStore>) -> Self {
        let (endpoint, connector) = (endpoint.clone(), connector(endpoint, |_| ()));
        Self { endpoint, connector, source, store, jobs: BlockingJobs::default() }
    }

    /// Connects with this connector.
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Shares the limit of `jobs` with other runners.
    #[must_use]
    pub fn jobs(mut self, jobs: BlockingJobs) -> Self {
        self.jobs = jobs;
        self
    }

    /// Runs a sync to its end. `observer` is told what happens, and must not block.
    pub async fn run(&self, job: SyncJob, observer: impl FnMut(SyncEvent) + Send) -> SyncEnd {
        self.run_until(job, pending(), observer).await
    }

    /// As [`run`](Self::run), until `stop` is ready: the sync then stores what was received and ends as
    /// [`Stopped`](SyncEnd::Stopped), with an error of the kind [`ErrorKind::Stopped`].
    pub async fn run_until(
        &self,
        job: SyncJob,
        stop: impl Future<Output = ()> + Send,
        mut observer: impl FnMut(SyncEvent) + Send,
    ) -> SyncEnd {
        let engine = SyncEngine::new(&self.endpoint, job);
        let stop = Stop { signal: pin!(stop), is_over: false };
        if self.endpoint.encryption_mode() == Encryption::Required {
            self.drive::<Secure>(engine, stop, &mut observer).await
        } else {
            self.drive::<Cleartext>(engine, stop, &mut observer).await
        }
    }

    async fn drive<C: ImapChannel>(
        &self,
        engine: SyncEngine,
        mut stop: Stop<'_, impl Future<Output = ()> + Send>,
        observer: &mut (impl FnMut(SyncEvent) + Send),
    ) -> SyncEnd {
        let (mut session, mut engine): (Option<Session<C>>, _) = (None, DroppedOnWorker(Some(engine)));
        loop {
            let Some(engine) = &mut engine.0 else { return SyncEnd::Stopped(stopped()) };
            while let Some(event) = engine.take_event() {
                observer(event);
            }
            match engine.next_action() {
                SyncAction::Connect => {
                    drop(session.take());
                    match stop.or(self.connect::<C>(engine)).await {
                        Some(connected) => session = connected,
                        None => engine.stop(stopped()),
                    }
                }
                SyncAction::Drive => {
                    let Some(session) = &mut session else { continue };
                    match stop.or(session.run(engine, Some(&self.source))).await {
                        Some(Ok(())) => {}
                        Some(Err(error)) => engine.session_failed(error),
                        None => engine.session_failed(stopped()),
                    }
                }
                SyncAction::Store(job) => {
                    // A job is not interrupted: the engine must know its result.
                    if let Err(end) = self.store(job, engine).await {
                        return end;
                    }
                }
                SyncAction::Wait(time) => {
                    if stop.or(sleep(time)).await.is_none() {
                        engine.stop(stopped());
                    }
                }
                SyncAction::Done(end) => {
                    if let (Some(session), SyncEnd::Complete | SyncEnd::Incomplete) = (session, &end) {
                        session.log_out().await;
                    }
                    return end;
                }
            }
        }
    }

    async fn connect<C: ImapChannel>(&self, engine: &mut SyncEngine) -> Option<Session<C>> {
        let session = match C::open(&self.endpoint, &self.connector).await {
            Ok(session) => session,
            Err(error) => {
                engine.connect_failed(error);
                return None;
            }
        };
        match credentials(&self.source).await {
            Ok(credentials) => engine.connected(credentials),
            Err(error) => engine.stop(error),
        }
        Some(session)
    }

    async fn store(&self, job: StoreJob, engine: &mut SyncEngine) -> Result<(), SyncEnd> {
        let store = Arc::clone(&self.store);
        let outcome = self.jobs.run(move || job.run(&*store)).await.map_err(SyncEnd::Stopped)?;
        engine.stored(outcome);
        Ok(())
    }
}

impl std::fmt::Debug for SyncRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncRunner").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// An engine that is dropped on a worker thread: an unfinished message may be a large file, which is then removed.
struct DroppedOnWorker(Option<SyncEngine>);

impl Drop for DroppedOnWorker {
    fn drop(&mut self) {
        if let (Some(engine), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(engine)));
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the sync was stopped")
}

/// The signal to stop. It counts once: what follows it is not interrupted.
struct Stop<'s, F> {
    signal: Pin<&'s mut F>,
    is_over: bool,
}

impl<F: Future<Output = ()>> Stop<'_, F> {
    /// Waits for `work`; `None` if the signal comes first.
    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if !self.is_over && self.signal.as_mut().poll(cx).is_ready() {
                self.is_over = true;
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
