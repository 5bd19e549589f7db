//! Counts the compressed sessions of a server (COMPRESS, RFC 4978), each of which takes much memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of compressed sessions, and its limit.
#[derive(Debug)]
pub(super) struct CompressedSessions {
    now: AtomicUsize,
    limit: AtomicUsize,
}

impl CompressedSessions {
    pub(super) const fn new(limit: usize) -> Self {
        Self { now: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Changes the limit. Sessions that are compressed already stay so.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// A session that is counted as compressed until this is dropped.
pub(super) struct CompressedSession(Arc<CompressedSessions>);

impl CompressedSession {
    /// Counts a session. Returns `None` if the limit is reached.
    pub(super) fn admit(sessions: &Arc<CompressedSessions>) -> Option<Self> {
        let limit = sessions.limit.load(Ordering::Relaxed);
        let admit = |now: usize| (now < limit).then_some(now + 1);
        sessions.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok()?;
        Some(Self(Arc::clone(sessions)))
    }
}

impl Drop for CompressedSession {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
