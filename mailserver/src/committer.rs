//! Commits messages to the store in batches: one disk sync covers all deliveries that arrived during the previous one.
//!
//! Commits run on one thread. A session hands over a delivery, and is woken when the delivery is durable or has
//! failed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use io_common::SessionHandle;
use mailstore::{Appended, Delivery, Error, Store};

use super::copies_to_undo::CopiesToUndo;

/// The maximum number of deliveries in one batch, and in the queue.
const MAX_BATCH: usize = 256;
const MAX_WAITING: usize = 4096;

/// How often interrupted copies are undone.
const UNDO_INTERVAL: Duration = Duration::from_secs(60);

/// The thread that commits. Dropping the value ends it, after all queued deliveries.
pub(super) struct Committer {
    queue: Option<SyncSender<CommitRequest>>,
    thread: Option<JoinHandle<()>>,
}

/// The outcome of a delivery.
pub(super) type CommitOutcome = Result<Vec<Appended>, Error>;

/// A commit in progress. The session is woken when its outcome is available.
pub(super) struct PendingCommit(Arc<Mutex<Option<CommitOutcome>>>);

struct CommitRequest {
    delivery: Delivery,
    slot: Arc<Mutex<Option<CommitOutcome>>>,
    session: SessionHandle,
}

impl Committer {
    /// Starts the thread. Once a minute it also undoes interrupted copies.
    pub(super) fn start(store: Arc<dyn Store>, copies: Arc<CopiesToUndo>) -> std::io::Result<Self> {
        let (queue, requests) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || work(&*store, &copies, &requests))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a delivery, and wakes the session after it was committed. Returns `None` if the queue is full.
    pub(super) fn commit(&self, delivery: Delivery, session: SessionHandle) -> Option<PendingCommit> {
        let slot = Arc::default();
        let request = CommitRequest { delivery, slot: Arc::clone(&slot), session };
        match self.queue.as_ref()?.try_send(request) {
            Ok(()) => Some(PendingCommit(slot)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

impl PendingCommit {
    /// Returns the outcome, once; `None` while it is not available.
    pub(super) fn take(&self) -> Option<CommitOutcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

impl fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingCommit")
    }
}

fn work(store: &dyn Store, copies: &CopiesToUndo, requests: &Receiver<CommitRequest>) {
    let mut undo_at = Instant::now() + UNDO_INTERVAL;
    loop {
        match requests.recv_timeout(undo_at.saturating_duration_since(Instant::now())) {
            Ok(first) => {
                commit(store, std::iter::once(first).chain(requests.try_iter()).take(MAX_BATCH).collect())
            }
            Err(RecvTimeoutError::Timeout) => {
                // A store that panics must not end the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| copies.undo_all()));
                undo_at = Instant::now() + UNDO_INTERVAL;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn commit(store: &dyn Store, batch: Vec<CommitRequest>) {
    let mut deliveries = Vec::with_capacity(batch.len());
    let mut waiting = Vec::with_capacity(batch.len());
    for CommitRequest { delivery, slot, session } in batch {
        deliveries.push(delivery);
        waiting.push((slot, session));
    }
    // If the store panics, sessions must not wait forever.
    let outcomes = catch_unwind(AssertUnwindSafe(|| store.append_batch(deliveries)))
        .unwrap_or_else(|_| Err(Error::Io(std::io::Error::other("the store panicked"))));
    let mut outcomes = match outcomes {
        Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
        Err(error) => {
            tracing::error!(%error, messages = waiting.len(), "cannot store messages");
            waiting.iter().map(|_| Some(Err(copy_error(&error)))).collect::<Vec<_>>()
        }
    };
    outcomes.resize_with(waiting.len(), || None);
    for ((slot, session), outcome) in waiting.into_iter().zip(outcomes) {
        let outcome = outcome.unwrap_or(Err(Error::NotFound("delivery")));
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        session.wake();
    }
}

/// Copies an error, for each delivery of a batch.
fn copy_error(error: &Error) -> Error {
    match error {
        Error::Full => Error::Full,
        Error::OverQuota { what, permanent } => Error::OverQuota { what, permanent: *permanent },
        Error::Busy => Error::Busy,
        other => Error::Io(std::io::Error::other(other.to_string())),
    }
}
