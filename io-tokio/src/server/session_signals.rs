//! Signals from other tasks to a session.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use io_common::server::WakeSessions;

/// What a session was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(u8);

impl Signal {
    /// Its handle was woken.
    pub(crate) const WAKE: Self = Self(1);
    /// The server shuts down: it ends after the command in progress.
    pub(crate) const DRAIN: Self = Self(2);
    /// It ends now.
    pub(crate) const ABORT: Self = Self(4);
    /// It ends now, because another one needs its slot.
    pub(crate) const MAKE_ROOM: Self = Self(8);

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The signals of one session.
#[derive(Debug)]
pub(crate) struct Signals {
    raised: AtomicU8,
    waker: Mutex<Option<Waker>>,
    /// How many sessions the server has.
    sessions: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn new(sessions: Arc<AtomicUsize>) -> Self {
        Self { raised: AtomicU8::new(0), waker: Mutex::new(None), sessions }
    }

    pub(crate) fn raise(&self, signal: Signal) {
        self.raised.fetch_or(signal.0, Ordering::AcqRel);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns what was raised, and forgets that the handle was woken. The next signal wakes the task.
    pub(crate) fn take(&self, waker: &Waker) -> Signal {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        Signal(self.raised.fetch_and(!Signal::WAKE.0, Ordering::AcqRel))
    }
}

impl Signals {
    /// Returns whether the server shuts down. The task that runs the session is woken when it begins to.
    pub(crate) fn is_draining(&self) -> bool {
        Signal(self.raised.load(Ordering::Acquire)).contains(Signal::DRAIN)
    }

    /// Runs a session until it ends or has to end at once.
    pub(crate) async fn until_aborted(self: Arc<Self>, session: impl Future<Output = ()>) {
        let mut session = pin!(session);
        poll_fn(|cx| {
            let signal = self.take(cx.waker());
            if signal.contains(Signal::ABORT) || signal.contains(Signal::MAKE_ROOM) {
                return Poll::Ready(());
            }
            session.as_mut().poll(cx)
        })
        .await;
    }
}

impl WakeSessions for Signals {
    fn wake(&self, _: u64) {
        self.raise(Signal::WAKE);
    }

    fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}
