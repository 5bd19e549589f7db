//! Handles on the sessions of a reactor for other threads, and what those threads ask of the reactor.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mio::{Token, Waker};

use crate::ReactorLimits;

/// The first token of a session, and how many of its bits are the slot. A session's token carries some of its
/// generation, so that an event for one that is gone does not reach its successor.
pub(crate) const SESSIONS: usize = 64;
pub(crate) const SLOT_BITS: u32 = 20;

/// A handle on one session, for other threads. It stays harmless when the session is over.
#[derive(Clone)]
pub struct SessionHandle {
    pub(crate) key: Key,
    pub(crate) shared: Arc<Shared>,
    /// Cleared when the session is over.
    pub(crate) open: Arc<AtomicBool>,
}

#[cfg(test)]
impl SessionHandle {
    /// Of a session that is already over.
    pub(crate) fn of_nobody() -> Self {
        let shared = crate::Reactor::new(ReactorLimits::default()).unwrap().shared;
        Self { key: Key { slot: 0, generation: 0 }, shared, open: Arc::default() }
    }

    /// Of a session that no reactor drives and that is open until [`end`](Self::end).
    pub(crate) fn of_open() -> Self {
        let handle = Self::of_nobody();
        handle.open.store(true, Ordering::Relaxed);
        handle
    }
}

/// Which session: the slot, and which of the sessions that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

pub(crate) struct Shared {
    pub(crate) waker: Waker,
    /// How many sessions there are.
    pub(crate) open: AtomicUsize,
    pub(crate) calls: Mutex<Calls>,
}

/// What other threads asked for since the last turn.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) woken: Vec<Key>,
    pub(crate) limits: Option<ReactorLimits>,
    pub(crate) shut_down: Option<Duration>,
}

impl SessionHandle {
    pub(crate) fn sessions(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The session is over: its jobs end.
    pub(crate) fn end(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Whether the session is still there. False for good once it is over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Has the reactor call the session's [`woken`](crate::Handler::woken), once for any number of calls before that.
    pub fn wake(&self) {
        let mut calls = self.shared.lock();
        let first = calls.woken.is_empty();
        if calls.woken.last() != Some(&self.key) {
            calls.woken.push(self.key);
        }
        drop(calls);
        if first {
            self.shared.wake();
        }
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Key {
    pub(crate) const fn token(self) -> Token {
        // The upper bits of the generation fall off: what is left tells neighbours in time apart.
        Token((self.slot as usize | (self.generation as usize) << SLOT_BITS).wrapping_add(SESSIONS))
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the reactor cannot be woken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_slot_and_generation() {
        let key = Key { slot: 5, generation: 7 };
        assert_eq!((key.token().0 - SESSIONS) & ((1 << SLOT_BITS) - 1), 5);
        assert_ne!(key.token(), Key { slot: 5, generation: 8 }.token());
        assert_ne!(key.token(), Key { slot: 6, generation: 7 }.token());
        assert!(Key { slot: 0, generation: 0 }.token().0 >= SESSIONS);
    }
}
