//! Who wants to know when a mailbox changes: the sessions that have it selected.
//!
//! The store tells about every change on the thread that made it. This file notes the change for each session that
//! looks at the mailbox, and wakes those that are idle. It does not know what changed: a session asks the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use io_mio::SessionHandle;
use mailstore::{Change, ChangeCursor, Changes, MailboxId};
use roaring::RoaringBitmap;

/// From so many sessions on that look at one mailbox, a page of its changes is kept for the others.
const KEEPS_PAGE: usize = 8;

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Hub {
    mailboxes: Mutex<BTreeMap<MailboxId, Watched>>,
}

/// A mailbox that sessions have selected.
#[derive(Debug, Default)]
struct Watched {
    states: Vec<Arc<State>>,
    /// The messages that most sessions know, so that they can share them.
    uids: Weak<RoaringBitmap>,
    /// The highest mod-sequence that was told.
    modseq: u64,
    /// The last page of changes that was read, and from where.
    page: Option<(ChangeCursor, Arc<Changes>)>,
}

struct State {
    changed: AtomicBool,
    /// The highest mod-sequence of the mailbox.
    modseq: AtomicU64,
    idle: AtomicBool,
    remote: SessionHandle,
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
    pub(super) fn changed(&self, change: Change) {
        let mut mailboxes = lock(&self.mailboxes);
        let Some(watched) = mailboxes.get_mut(&change.mailbox) else { return };
        // Of a mailbox that was deleted, no page is the last one.
        watched.modseq = if change.modseq == 0 { u64::MAX } else { watched.modseq.max(change.modseq) };
        watched.page = None;
        for state in &watched.states {
            state.modseq.fetch_max(change.modseq, Ordering::SeqCst);
            let new = !state.changed.swap(true, Ordering::SeqCst);
            if new && state.idle.load(Ordering::SeqCst) {
                state.remote.wake();
            }
        }
    }

    /// The page of changes from a cursor on that another session has read, if nothing has changed since.
    pub(super) fn page(&self, mailbox: MailboxId, since: &ChangeCursor) -> Option<Arc<Changes>> {
        let mailboxes = lock(&self.mailboxes);
        let watched = mailboxes.get(&mailbox)?;
        let (cursor, page) = watched.page.as_ref()?;
        (cursor == since && page.highest_modseq >= watched.modseq).then(|| Arc::clone(page))
    }

    /// Keeps a page of changes for the other sessions of its mailbox, if they are many.
    pub(super) fn keep_page(&self, mailbox: MailboxId, since: ChangeCursor, page: &Arc<Changes>) {
        if let Some(watched) = lock(&self.mailboxes).get_mut(&mailbox)
            && watched.states.len() >= KEEPS_PAGE
        {
            watched.page = Some((since, Arc::clone(page)));
        }
    }

    /// Watches a mailbox from now on.
    pub(super) fn watch(self: &Arc<Self>, mailbox: MailboxId, remote: SessionHandle) -> Watch {
        let state = Arc::new(State {
            changed: AtomicBool::new(false),
            modseq: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            remote,
        });
        lock(&self.mailboxes).entry(mailbox).or_default().states.push(Arc::clone(&state));
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

    /// The highest mod-sequence of the mailbox, at least `known`.
    pub(super) fn highest_modseq(&self, known: u64) -> u64 {
        self.state.modseq.fetch_max(known, Ordering::SeqCst).max(known)
    }

    /// The same set of messages as another session has, if there is one; otherwise this is the one that others get.
    pub(super) fn share(&self, uids: Arc<RoaringBitmap>) -> Arc<RoaringBitmap> {
        let known = lock(&self.hub.mailboxes).get(&self.mailbox).and_then(|watched| watched.uids.upgrade());
        if let Some(known) = known
            && known == uids
        {
            return known;
        }
        if let Some(watched) = lock(&self.hub.mailboxes).get_mut(&self.mailbox) {
            watched.uids = Arc::downgrade(&uids);
        }
        uids
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
        let mut mailboxes = lock(&self.hub.mailboxes);
        if let Some(watched) = mailboxes.get_mut(&self.mailbox) {
            if let Some(index) = watched.states.iter().position(|state| Arc::ptr_eq(state, &self.state)) {
                watched.states.swap_remove(index);
            }
            if watched.states.is_empty() {
                mailboxes.remove(&self.mailbox);
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
