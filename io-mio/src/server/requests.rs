//! Requests of other threads to the reactor.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use io_common::{ConnectionLimits, server::WakeSessions};
use mio::{Token, Waker};

/// The first token of a session, and how many bits of a token are the slot. The others are bits of the generation, so
/// that an event for an ended session does not reach its successor.
pub(crate) const SESSIONS: usize = 64;
pub(crate) const SLOT_BITS: u32 = 20;

/// Identifies a session: its slot, and which of the slot's sessions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl SessionKey {
    pub(crate) const fn token(self) -> Token {
        // The upper bits of the generation are cut off. The rest distinguishes successive sessions.
        Token((self.slot as usize | (self.generation as usize) << SLOT_BITS).wrapping_add(SESSIONS))
    }

    /// The key as one number, for a session's handle.
    pub(crate) const fn number(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32
    }

    const fn from_number(number: u64) -> Self {
        Self { slot: number as u32, generation: (number >> 32) as u32 }
    }
}

/// What the reactor shares with handles.
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
    pub(crate) limits: Option<ConnectionLimits>,
    pub(crate) shut_down: Option<Duration>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, PendingRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the reactor cannot be woken");
        }
    }
}

impl WakeSessions for Shared {
    fn wake(&self, session: u64) {
        let key = SessionKey::from_number(session);
        let mut requests = self.lock();
        let first = requests.woken.is_empty();
        if requests.woken.last() != Some(&key) {
            requests.woken.push(key);
        }
        drop(requests);
        if first {
            Self::wake(self);
        }
    }

    fn sessions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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

    #[test]
    fn numbers_identify_sessions() {
        let key = SessionKey { slot: 5, generation: u32::MAX };
        assert_eq!(SessionKey::from_number(key.number()), key);
    }
}
