//! Notifies sessions of changes to the mailbox that they have selected.
//!
//! The store reports each change on the thread that made it. The notifier marks the change for each session that has
//! selected the mailbox, and wakes those that are idle. It does not record what changed: the session reads that from
//! the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use io_common::SessionHandle;
use mailstore::{Change, ChangeCursor, Changes, MailboxId};
use proto_imap::mailbox_view::UidBitmap;

/// The number of sessions with one mailbox selected from which on they share a page of its changes.
const SHARES_PAGE_FROM: usize = 8;

/// The watches of all sessions.
#[derive(Debug, Default)]
pub(super) struct ChangeNotifier {
    mailboxes: Mutex<BTreeMap<MailboxId, WatchedMailbox>>,
}

/// A mailbox that sessions have selected.
#[derive(Debug, Default)]
struct WatchedMailbox {
    states: Vec<Arc<WatchState>>,
    /// The UIDs that most sessions know, so that they can share them.
    uids: Weak<UidBitmap>,
    /// The highest mod-sequence that the store reported.
    modseq: u64,
    /// The last page of changes that was read, and its start.
    page: Option<(ChangeCursor, Arc<Changes>)>,
}

struct WatchState {
    changed: AtomicBool,
    /// The highest mod-sequence of the mailbox.
    modseq: AtomicU64,
    idle: AtomicBool,
    session: SessionHandle,
}

/// One session's watch on one mailbox. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Watch {
    mailbox: MailboxId,
    state: Arc<WatchState>,
    notifier: Arc<ChangeNotifier>,
}

impl ChangeNotifier {
    /// Records a change, and wakes the idle sessions.
    pub(super) fn changed(&self, change: Change) {
        let mut mailboxes = lock(&self.mailboxes);
        let Some(watched) = mailboxes.get_mut(&change.mailbox) else { return };
        // A deleted mailbox has mod-sequence 0: no page of its changes may be shared.
        watched.modseq = if change.modseq == 0 { u64::MAX } else { watched.modseq.max(change.modseq) };
        watched.page = None;
        for state in &watched.states {
            state.modseq.fetch_max(change.modseq, Ordering::SeqCst);
            let new = !state.changed.swap(true, Ordering::SeqCst);
            if new && state.idle.load(Ordering::SeqCst) {
                state.session.wake();
            }
        }
    }

    /// Returns the page of changes from a cursor on, if another session has read it and nothing has changed since.
    pub(super) fn page(&self, mailbox: MailboxId, since: &ChangeCursor) -> Option<Arc<Changes>> {
        let mailboxes = lock(&self.mailboxes);
        let watched = mailboxes.get(&mailbox)?;
        let (cursor, page) = watched.page.as_ref()?;
        (cursor == since && page.highest_modseq >= watched.modseq).then(|| Arc::clone(page))
    }

    /// Keeps a page of changes for the other sessions of its mailbox, if there are enough of them.
    pub(super) fn keep_page(&self, mailbox: MailboxId, since: ChangeCursor, page: &Arc<Changes>) {
        if let Some(watched) = lock(&self.mailboxes).get_mut(&mailbox)
            && watched.states.len() >= SHARES_PAGE_FROM
        {
            watched.page = Some((since, Arc::clone(page)));
        }
    }

    /// Starts to watch a mailbox.
    pub(super) fn watch(self: &Arc<Self>, mailbox: MailboxId, session: SessionHandle) -> Watch {
        let state = Arc::new(WatchState {
            changed: AtomicBool::new(false),
            modseq: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            session,
        });
        lock(&self.mailboxes).entry(mailbox).or_default().states.push(Arc::clone(&state));
        Watch { mailbox, state, notifier: Arc::clone(self) }
    }
}

impl Watch {
    /// Returns whether there was a change since the last [`take_changed`](Self::take_changed).
    pub(super) fn has_changed(&self) -> bool {
        self.state.changed.load(Ordering::SeqCst)
    }

    /// Returns whether there was a change since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.state.changed.swap(false, Ordering::SeqCst)
    }

    /// Returns the highest mod-sequence of the mailbox, at least `known`.
    pub(super) fn highest_modseq(&self, known: u64) -> u64 {
        self.state.modseq.fetch_max(known, Ordering::SeqCst).max(known)
    }

    /// Returns an equal bitmap of another session, if there is one. Otherwise returns `uids`, and offers it to the
    /// others.
    pub(super) fn share(&self, uids: Arc<UidBitmap>) -> Arc<UidBitmap> {
        let known =
            lock(&self.notifier.mailboxes).get(&self.mailbox).and_then(|watched| watched.uids.upgrade());
        if let Some(known) = known
            && known == uids
        {
            return known;
        }
        if let Some(watched) = lock(&self.notifier.mailboxes).get_mut(&self.mailbox) {
            watched.uids = Arc::downgrade(&uids);
        }
        uids
    }

    /// Marks a change as not yet reported.
    pub(super) fn mark_changed(&self) {
        self.state.changed.store(true, Ordering::SeqCst);
    }

    /// From now on, each change wakes the session.
    pub(super) fn begin_idle(&self) {
        self.state.idle.store(true, Ordering::SeqCst);
    }

    /// From now on, changes no longer wake the session.
    pub(super) fn end_idle(&self) {
        self.state.idle.store(false, Ordering::SeqCst);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut mailboxes = lock(&self.notifier.mailboxes);
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

impl fmt::Debug for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchState")
            .field("changed", &self.changed)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// Locks a mutex, ignoring poisoning: no code panics while it holds the lock, and the guarded data is valid at any
/// time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
