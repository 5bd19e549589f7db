//! The connection that writes. Threads get it one at a time, in the order of their requests.
//!
//! A plain mutex would let a thread that writes slice after slice lock it again before a waiting thread wakes. Here
//! each thread takes a ticket and waits for its number.

use crate::lock::lock;
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Writer {
    connection: Mutex<Connection>,
    tickets: Mutex<Tickets>,
    next_turn: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    serving: u64,
}

/// The right to write. Dropping it lets the next thread write.
#[derive(Debug)]
pub(super) struct WriteGuard<'w> {
    writer: &'w Writer,
    connection: MutexGuard<'w, Connection>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(connection), tickets: Mutex::default(), next_turn: Condvar::new() }
    }

    /// Waits for this thread's turn and returns the connection.
    pub(super) fn lock(&self) -> WriteGuard<'_> {
        let mut tickets = lock(&self.tickets);
        let ticket = tickets.next;
        tickets.next += 1;
        while tickets.serving != ticket {
            tickets = self.next_turn.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        drop(tickets);
        WriteGuard { writer: self, connection: lock(&self.connection) }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        lock(&self.writer.tickets).serving += 1;
        self.writer.next_turn.notify_all();
    }
}

impl Deref for WriteGuard<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for WriteGuard<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn waiting_thread_writes_before_one_that_locks_again() {
        let writer = Arc::new(Writer::new(Connection::open_in_memory().unwrap()));
        let first = writer.lock();
        let (order, come) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn({
            let (writer, order) = (Arc::clone(&writer), order.clone());
            move || {
                let _turn = writer.lock();
                order.send("waiting").unwrap();
            }
        });
        while lock(&writer.tickets).next < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(first);
        let again = writer.lock();
        order.send("again").unwrap();
        drop(again);
        waiting.join().unwrap();
        assert_eq!(come.try_iter().collect::<Vec<_>>(), ["waiting", "again"]);
    }
}
