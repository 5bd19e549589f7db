//! Who wants to know when a mailbox changes: the sessions that have it selected.
//!
//! The store tells about every change on the thread that made it. This file notes the change for each session that
//! looks at the mailbox, and wakes those that are idle. It does not know what changed: a session asks the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_mio::Remote;
use mailstore::MailboxId;

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Hub {
    watches: Mutex<BTreeMap<MailboxId, Vec<Arc<State>>>>,
}

struct State {
    changed: AtomicBool,
    idle: AtomicBool,
    remote: Remote,
}

/// One session's watch on one mailbox; it ends when the value is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    mailbox: MailboxId,
    state: Arc<State>,
    hub: Arc<Hub>,
}

impl Hub {
    /// A mailbox changed.
    pub(super) fn changed(&self, mailbox: MailboxId) {
        let watches = lock(&self.watches);
        for state in watches.get(&mailbox).into_iter().flatten() {
            let new = !state.changed.swap(true, Ordering::SeqCst);
            if new && state.idle.load(Ordering::SeqCst) {
                state.remote.wake();
            }
        }
    }

    /// Watches a mailbox from now on.
    pub(super) fn watch(self: &Arc<Self>, mailbox: MailboxId, remote: Remote) -> Watch {
        let state = Arc::new(State { changed: AtomicBool::new(false), idle: AtomicBool::new(false), remote });
        lock(&self.watches).entry(mailbox).or_default().push(Arc::clone(&state));
        Watch { mailbox, state, hub: Arc::clone(self) }
    }
}

impl Watch {
    /// Whether there was a change since the last [`take_changed`](Self::take_changed).
    pub(super) fn has_changed(&self) -> bool {
        self.state.changed.load(Ordering::SeqCst)
    }

    /// Whether there was a change since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.state.changed.swap(false, Ordering::SeqCst)
    }

    /// There may be something that this session was not told yet.
    pub(super) fn mark_changed(&self) {
        self.state.changed.store(true, Ordering::SeqCst);
    }

    /// The session waits for changes from now on: each wakes it.
    pub(super) fn begin_idle(&self) {
        self.state.idle.store(true, Ordering::SeqCst);
    }

    /// The session does something else.
    pub(super) fn end_idle(&self) {
        self.state.idle.store(false, Ordering::SeqCst);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watches = lock(&self.hub.watches);
        if let Some(states) = watches.get_mut(&self.mailbox) {
            states.retain(|state| !Arc::ptr_eq(state, &self.state));
            if states.is_empty() {
                watches.remove(&self.mailbox);
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("changed", &self.changed)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// No code of ours panics while it holds a lock, and what a lock guards is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
