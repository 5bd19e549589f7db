//! Jobs: their groups, slices and results.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{address::address_block, error::Error, server::session_handle::SessionHandle};

/// A group of jobs, which takes turns with other groups: the jobs of an account, or of an address before login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobGroup(Owner);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Shared,
    Account(i64),
    Address(IpAddr),
}

impl JobGroup {
    /// Jobs without an account or address.
    pub const SHARED: Self = Self(Owner::Shared);

    /// The jobs of an account.
    #[must_use]
    pub const fn account(id: i64) -> Self {
        Self(Owner::Account(id))
    }

    /// The jobs of an address (IPv6: a /64 network) whose account is not known yet.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self(Owner::Address(address_block(address.to_canonical())))
    }
}

impl fmt::Display for JobGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Owner::Shared => f.write_str("shared"),
            Owner::Account(id) => write!(f, "account {id}"),
            // Addresses are personal data and not needed in the log.
            Owner::Address(_) => f.write_str("address"),
        }
    }
}

/// The result of one slice of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum JobStep<T> {
    /// The job has more to do.
    More,
    /// The job is done and has this result.
    Done(T),
}

/// The time slice of a job. When it is over, the job should return [`JobStep::More`].
#[derive(Debug, Clone)]
pub struct Slice {
    pub(super) end: Instant,
    pub(super) stopping: Option<Arc<AtomicBool>>,
    pub(super) handle: Option<SessionHandle>,
}

impl Slice {
    /// A slice of this length that starts now, for running a job without [`Workers`](super::Workers).
    #[must_use]
    pub fn lasting(length: Duration) -> Self {
        Self { end: Instant::now() + length, stopping: None, handle: None }
    }

    /// Returns whether the job should return now: its time or its session is over, or the workers stop. Reads the clock,
    /// so call it every few kilobytes or rows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.load(Ordering::Relaxed))
            || self.handle.as_ref().is_some_and(|handle| !handle.is_open())
            || Instant::now() >= self.end
    }
}

/// A handle on a job. The session is woken when the result is there.
#[must_use]
pub struct JobHandle<T> {
    pub(super) result: Arc<Mutex<Option<Result<T, Error>>>>,
}

impl<T> JobHandle<T> {
    /// Takes the result. Returns `None` before the job ends and after the result was taken, and
    /// `Some(Err(Error::Panicked))` if the job panicked.
    #[must_use]
    pub fn take(&mut self) -> Option<Result<T, Error>> {
        lock(&self.result).take()
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobHandle")
    }
}

/// Locks, ignoring poison: no code panics while it holds a lock, and the guarded data are valid at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
