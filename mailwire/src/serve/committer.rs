//! Commits messages to the store, many at a time: one sync of the disk for all that came while the last one ran.
//!
//! One thread does it. A session hands over a delivery and is woken when it is durable, or refused. This file knows
//! nothing of the sessions but how to wake them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use io_mio::SessionHandle;
use mailstore::{Appended, Delivery, Error, Store};

/// The most deliveries that one sync is for, and that may wait.
const BATCH: usize = 256;
const WAITING: usize = 4096;

/// The thread that commits. It ends when the value is dropped, after what was handed over to it.
pub(super) struct Committer {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What became of a delivery.
pub(super) type Outcome = Result<Vec<Appended>, Error>;

/// An outcome that will come. The session is woken when it is there.
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

    /// Commits a delivery and then wakes the session. `None`: too many wait already.
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
    /// The outcome, once; `None` while it is not there.
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
        // A store that panics must not leave sessions waiting for ever.
        let outcomes = catch_unwind(AssertUnwindSafe(|| store.append_batch(deliveries)))
            .unwrap_or_else(|_| Err(Error::Io(std::io::Error::other("the store failed"))));
        let mut outcomes = match outcomes {
            Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::error!(%error, messages = waiting.len(), "messages could not be stored");
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

/// The same failure for each of those whom it concerns.
fn same(error: &Error) -> Error {
    match error {
        Error::Full => Error::Full,
        Error::OverQuota { what, permanent } => Error::OverQuota { what, permanent: *permanent },
        Error::Busy => Error::Busy,
        other => Error::Io(std::io::Error::other(other.to_string())),
    }
}
