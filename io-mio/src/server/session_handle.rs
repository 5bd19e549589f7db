//! Handles on sessions for other threads, and the requests of those threads to the reactor.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mio::{Token, Waker};

use crate::server::admission::ReactorLimits;

/// The first token of a session, and how many bits of a token are the slot. The others are bits of the generation, so
/// that an event for an ended session does not reach its successor.
pub(crate) const SESSIONS: usize = 64;
pub(crate) const SLOT_BITS: u32 = 20;

/// A handle on one session, for other threads. It does nothing once the session is over.
#[derive(Clone)]
pub struct SessionHandle {
    pub(crate) key: SessionKey,
    pub(crate) shared: Arc<Shared>,
    /// Cleared when the session is over.
    pub(crate) open: Arc<AtomicBool>,
}

#[cfg(test)]
impl SessionHandle {
    /// The handle of a session that is already over.
    pub(crate) fn ended() -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let shared = Arc::new(Shared { waker, open: AtomicUsize::new(0), requests: Mutex::default() });
        Self { key: SessionKey { slot: 0, generation: 0 }, shared, open: Arc::default() }
    }

    /// The handle of a session without a reactor, open until [`end`](Self::end) is called.
    pub(crate) fn open() -> Self {
        let handle = Self::ended();
        handle.open.store(true, Ordering::Relaxed);
        handle
    }
}

/// Identifies a session: its slot, and which of the slot's sessions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What the reactor shares with the handles.
pub(crate) struct Shared {
    pub(crate) waker: Waker,
    /// How many sessions there are.
    pub(crate) open: AtomicUsize,
    pub(crate) requests: Mutex<PendingRequests>,
}

/// The requests of other threads since the last turn.
#[derive(Default)]
pub(crate) struct PendingRequests {
    pub(crate) woken: Vec<SessionKey>,
    pub(crate) limits: Option<ReactorLimits>,
    pub(crate) shut_down: Option<Duration>,
}

impl SessionHandle {
    pub(crate) fn sessions(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Marks the session as over: its jobs end.
    pub(crate) fn end(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Returns whether the session is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Has the reactor call the session's [`woken`](crate::Handler::woken). Several calls before that count as one.
    pub fn wake(&self) {
        let mut requests = self.shared.lock();
        let first = requests.woken.is_empty();
        if requests.woken.last() != Some(&self.key) {
            requests.woken.push(self.key);
        }
        drop(requests);
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

impl SessionKey {
    pub(crate) const fn token(self) -> Token {
        // The upper bits of the generation are cut off. The rest distinguishes successive sessions.
        Token((self.slot as usize | (self.generation as usize) << SLOT_BITS).wrapping_add(SESSIONS))
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, PendingRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn tokens_hold_slot_and_generation() {
        let key = SessionKey { slot: 5, generation: 7 };
        assert_eq!((key.token().0 - SESSIONS) & ((1 << SLOT_BITS) - 1), 5);
        assert_ne!(key.token(), SessionKey { slot: 5, generation: 8 }.token());
        assert_ne!(key.token(), SessionKey { slot: 6, generation: 7 }.token());
        assert!(SessionKey { slot: 0, generation: 0 }.token().0 >= SESSIONS);
    }
}
