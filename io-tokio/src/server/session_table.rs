//! The sessions of a server: how many there may be, and how to reach them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use io_common::{
    ConnectionLimits,
    server::{Admission, AdmissionControl, Entry},
};
use tokio::sync::Notify;

use super::session_signals::{Signal, Signals};

/// The maximum number of sessions, whatever the limits allow.
const CAPACITY: usize = (1 << 20) - 1;

/// The sessions of a server.
pub(crate) struct SessionTable {
    inner: Mutex<Inner>,
    /// How many sessions were admitted.
    open: Arc<AtomicUsize>,
    /// Notified when a session has ended.
    ended: Notify,
}

struct Inner {
    admission: AdmissionControl,
    sessions: BTreeMap<u64, SessionEntry>,
    next: u64,
    is_draining: bool,
}

/// A session in the table.
struct SessionEntry {
    signals: Arc<Signals>,
    entry: Entry,
    accepted_at: Instant,
}

/// A session's slot in the table. Dropping it frees the slot.
pub(crate) struct SessionSlot {
    table: Arc<SessionTable>,
    key: u64,
    pub(crate) signals: Arc<Signals>,
    pub(crate) admission: Admission,
    awaits_login: bool,
}

impl SessionTable {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let inner = Inner {
            admission: AdmissionControl::new(limits, CAPACITY),
            sessions: BTreeMap::new(),
            next: 0,
            is_draining: false,
        };
        Self { inner: Mutex::new(inner), open: Arc::default(), ended: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_limits(&self, limits: ConnectionLimits) {
        self.lock().admission.set_limits(limits);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Decides about a connection from this address, and gives it a slot. `None`: it is to be cut off.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>, now: Instant) -> Option<SessionSlot> {
        let mut inner = self.lock();
        if inner.is_draining {
            return None;
        }
        if inner.admission.lacks_room(address) {
            inner.make_room(now);
        }
        let entry = inner.admission.admit(address)?;
        let admission = entry.admission();
        let key = inner.next;
        inner.next += 1;
        let signals = Arc::new(Signals::new(self.open.clone()));
        inner.sessions.insert(key, SessionEntry { signals: signals.clone(), entry, accepted_at: now });
        self.open.store(inner.admission.sessions(), Ordering::Relaxed);
        Some(SessionSlot { table: self.clone(), key, signals, admission, awaits_login: true })
    }

    /// Has every session end: after the command in progress, or at once.
    pub(crate) fn end_all(&self, how: Signal) {
        let mut inner = self.lock();
        inner.is_draining = true;
        inner.sessions.values().for_each(|session| session.signals.raise(how));
    }

    /// Waits until there is no session.
    pub(crate) async fn empty(&self) {
        loop {
            let ended = self.ended.notified();
            if self.lock().sessions.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl Inner {
    /// Ends the session that makes room for a new one, if there is one.
    fn make_room(&mut self, now: Instant) {
        let sessions = self.sessions.iter().map(|(key, session)| (*key, &session.entry, session.accepted_at));
        let Some(key) = self.admission.gives_way(sessions, now) else { return };
        if let Some(session) = self.sessions.remove(&key) {
            self.admission.remove(session.entry);
            session.signals.raise(Signal::MAKE_ROOM);
        }
    }
}

impl SessionSlot {
    pub(crate) const fn key(&self) -> u64 {
        self.key
    }

    /// The client has logged in.
    pub(crate) fn logged_in(&mut self) {
        if !std::mem::take(&mut self.awaits_login) {
            return;
        }
        let inner = &mut *self.table.lock();
        if let Some(session) = inner.sessions.get_mut(&self.key) {
            inner.admission.logged_in(&mut session.entry);
        }
    }

    /// A proxy has announced the client's address. `None`: the connection is to be cut off.
    pub(crate) fn announced(&self, address: IpAddr) -> Option<Admission> {
        let inner = &mut *self.table.lock();
        let session = inner.sessions.get_mut(&self.key)?;
        inner.admission.set_client_address(&mut session.entry, address)
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        if let Some(session) = inner.sessions.remove(&self.key) {
            inner.admission.remove(session.entry);
        }
        self.table.open.store(inner.admission.sessions(), Ordering::Relaxed);
        drop(inner);
        self.table.ended.notify_waiters();
    }
}
