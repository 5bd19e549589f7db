//! The open connections: a limited number, of which the oldest gives way to a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The open connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    limit: usize,
    next: u64,
    /// By age. Dropping a value closes its connection.
    connections: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    open: Connections,
    number: u64,
    /// Resolves when the connection has to close.
    evicted: oneshot::Receiver<()>,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Open { limit: limit.max(1), next: 0, connections: BTreeMap::new() })))
    }

    /// Admits a connection. If there are too many, the oldest has to close: a request takes milliseconds, so that it is
    /// most probably idle.
    pub(crate) fn admit(&self) -> Admission {
        let (keep, evicted) = oneshot::channel();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while open.connections.len() >= open.limit {
            open.connections.pop_first();
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, keep);
        Admission { open: self.clone(), number, evicted }
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).connections.clear();
    }
}

impl Admission {
    /// Returns when the connection has to close.
    pub(crate) async fn evicted(&mut self) {
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.open.0.lock().unwrap_or_else(PoisonError::into_inner).connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_the_oldest_connection_for_a_new_one() {
        let connections = Connections::new(2);
        let mut first = connections.admit();
        let second = connections.admit();
        assert!(first.evicted.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let mut third = connections.admit();
        assert!(first.evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        drop((first, second));
        let _fourth = connections.admit();
        assert!(third.evicted.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        connections.close_all();
        assert!(third.evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    }
}
