//! Handles on sessions for other threads.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The driver of a session, as the session's handle sees it.
pub trait WakeSessions: Send + Sync {
    /// Schedules a turn of the session with this key, with [`WakeReason::woken`](super::WakeReason::woken). May be called
    /// from any thread, also after the session is over. Several calls before the session's turn count as one.
    fn wake(&self, session: u64);

    /// Returns how many sessions the driver has.
    fn sessions(&self) -> usize;
}

/// A handle on one session, for other threads. It does nothing once the session is over.
#[derive(Clone)]
pub struct SessionHandle {
    key: u64,
    driver: Arc<dyn WakeSessions>,
    /// Cleared when the session is over.
    open: Arc<AtomicBool>,
}

impl SessionHandle {
    /// A handle on a session that has just started. `key` identifies it to its driver.
    #[must_use]
    pub fn new(key: u64, driver: Arc<dyn WakeSessions>) -> Self {
        Self { key, driver, open: Arc::new(AtomicBool::new(true)) }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.driver.sessions()
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

    /// Has the driver call the session's [`woken`](crate::Handler::woken). Several calls before that count as one.
    pub fn wake(&self) {
        self.driver.wake(self.key);
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    struct NoDriver;

    impl WakeSessions for NoDriver {
        fn wake(&self, _: u64) {}

        fn sessions(&self) -> usize {
            0
        }
    }

    impl SessionHandle {
        /// The handle of a session that is already over.
        pub(crate) fn ended() -> Self {
            let handle = Self::open();
            handle.end();
            handle
        }

        /// The handle of a session without a driver, open until [`end`](Self::end) is called.
        pub(crate) fn open() -> Self {
            Self::new(0, Arc::new(NoDriver))
        }
    }

    #[test]
    fn clones_see_the_end_of_the_session() {
        let handle = SessionHandle::open();
        let other = handle.clone();
        handle.end();
        assert!(!other.is_open());
    }
}
