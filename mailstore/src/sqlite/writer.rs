//! The connection that writes, one thread at a time, first come first served.
//!
//! A thread that writes slice after slice would take a plain mutex again before a waiting thread wakes. Here each
//! gets a number, and its turn when all before it had theirs.

use super::lock;
use rusqlite::Connection;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Writer {
    connection: Mutex<Connection>,
    turns: Mutex<Turns>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Turns {
    next: u64,
    serving: u64,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'w> {
    writer: &'w Writer,
    connection: MutexGuard<'w, Connection>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(connection), turns: Mutex::default(), moved: Condvar::new() }
    }

    /// Waits until it is this thread's turn.
    pub(super) fn lock(&self) -> Turn<'_> {
        let mut turns = lock(&self.turns);
        let mine = turns.next;
        turns.next += 1;
        while turns.serving != mine {
            turns = self.moved.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        drop(turns);
        Turn { writer: self, connection: lock(&self.connection) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.writer.turns).serving += 1;
        self.writer.moved.notify_all();
    }
}

impl Deref for Turn<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Turn<'_> {
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
    fn a_waiting_thread_comes_before_one_that_writes_again() {
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
        while lock(&writer.turns).next < 2 {
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
