//! Commits messages to the store in batches: one disk sync covers all deliveries that arrived during the previous one.
//!
//! Commits run on one thread. A session hands over a delivery, and is woken when the delivery is durable or has
//! failed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use io_mio::SessionHandle;
use mailstore::{Appended, Delivery, Error, Store};

/// The maximum number of deliveries in one batch, and in the queue.
const BATCH: usize = 256;
const WAITING: usize = 4096;

/// The thread that commits. Dropping the value ends it, after all queued deliveries.
pub(super) struct Committer {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// The outcome of a delivery.
pub(super) type Outcome = Result<Vec<Appended>, Error>;

/// A commit in progress. The session is woken when its outcome is available.
pub(super) struct Promise(Arc<Mutex<Option<Outcome>>>);

struct Order {
    delivery: Delivery,
    place: Arc<Mutex<Option<Outcome>>>,
    remote: SessionHandle,
}

impl Committer {
    pub(super) fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || commit(&*store, &orders))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a delivery, and wakes the session after it was committed. Returns `None` if the queue is full.
    pub(super) fn commit(&self, delivery: Delivery, remote: SessionHandle) -> Option<Promise> {
        let place = Arc::default();
        let order = Order { delivery, place: Arc::clone(&place), remote };
        match self.queue.as_ref()?.try_send(order) {
            Ok(()) => Some(Promise(place)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

impl Promise {
    /// Returns the outcome, once; `None` while it is not available.
    pub(super) fn take(&self) -> Option<Outcome> {
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

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

fn commit(store: &dyn Store, orders: &Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let batch: Vec<Order> = std::iter::once(first).chain(orders.try_iter()).take(BATCH).collect();
        let mut deliveries = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for Order { delivery, place, remote } in batch {
            deliveries.push(delivery);
            waiting.push((place, remote));
        }
        // If the store panics, sessions must not wait forever.
        let outcomes = catch_unwind(AssertUnwindSafe(|| store.append_batch(deliveries)))
            .unwrap_or_else(|_| Err(Error::Io(std::io::Error::other("the store panicked"))));
        let mut outcomes = match outcomes {
            Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::error!(%error, messages = waiting.len(), "cannot store messages");
                waiting.iter().map(|_| Some(Err(same(&error)))).collect::<Vec<_>>()
            }
        };
        outcomes.resize_with(waiting.len(), || None);
        for ((place, remote), outcome) in waiting.into_iter().zip(outcomes) {
            let outcome = outcome.unwrap_or(Err(Error::NotFound("delivery")));
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            remote.wake();
        }
    }
}

/// Copies an error, for each delivery of a batch.
fn same(error: &Error) -> Error {
    match error {
        Error::Full => Error::Full,
        Error::OverQuota { what, permanent } => Error::OverQuota { what, permanent: *permanent },
        Error::Busy => Error::Busy,
        other => Error::Io(std::io::Error::other(other.to_string())),
    }
}
