//! Threads that check passwords, and the order in which they do.
//!
//! Each attempt starts with a quick step on a thread of its own. An attempt that needs no password hash is answered
//! there, whatever else is waiting. The costly step follows, in an order that guesses cannot exploit. First come
//! clients that have logged in from their address before. Then come those whose address and network have the fewest
//! waiting and failed attempts. Of one source, the newest attempt is first. An owner who shares an address with
//! guessers is therefore not behind all of them, and new guesses do not get ahead of an owner at another address.
//!
//! An attempt whose session has ended is skipped.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use io_common::SessionHandle;
use mailstore::AccountId;
use proto_mail::AuthVerdict;

use super::failed_logins::{AttemptHistory, LoginAttempt};

/// The maximum number of threads for the costly step.
const MAX_THREADS: usize = 2;

/// How long a thread waits for work before it ends, which frees the 19 MiB that it uses for hashing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of waiting attempts. Each session has at most one, so that the default session limit is reached
/// first.
const MAX_WAITING: usize = 8192;

/// The answer to a question, and the account that is logged in by it.
pub(super) struct LoginAnswer {
    pub(super) verdict: AuthVerdict,
    pub(super) account: Option<AccountId>,
}

impl LoginAnswer {
    pub(super) const REJECT: Self = Self { verdict: AuthVerdict::Reject, account: None };
    pub(super) const UNAVAILABLE: Self = Self { verdict: AuthVerdict::Unavailable, account: None };

    pub(super) fn of(found: mailstore::Result<Option<AccountId>>) -> Self {
        match found {
            Ok(Some(account)) => Self { verdict: AuthVerdict::Accept, account: Some(account) },
            Ok(None) => Self::REJECT,
            Err(error) => {
                tracing::error!(%error, "cannot check a login");
                Self::UNAVAILABLE
            }
        }
    }
}

/// The step without hashing. `None` leaves the answer to the costly step.
pub(super) type QuickStep = Box<dyn FnOnce() -> Option<LoginAnswer> + Send>;

/// The step that computes a password hash.
pub(super) type CostlyStep = Box<dyn FnOnce() -> LoginAnswer + Send>;

/// The queue and its threads. Dropping it ends the threads; waiting attempts are not answered.
pub(super) struct LoginQueue {
    shared: Arc<SharedQueue>,
    quick: Option<JoinHandle<()>>,
}

/// A login attempt in progress. The session is woken when the answer is available. Dropping the value abandons the
/// attempt.
pub(super) struct PendingLogin(AnswerSlot);

type AnswerSlot = Arc<Mutex<Option<LoginAnswer>>>;

struct SharedQueue {
    state: Mutex<State>,
    /// Signals a waiting quick step.
    quick: Condvar,
    /// Signals a waiting costly step.
    costly: Condvar,
}

#[derive(Default)]
struct State {
    quick: VecDeque<(QuickStep, QueuedLogin)>,
    costly: Vec<QueuedLogin>,
    /// The number of waiting costly steps of each address and network.
    waiting: HashMap<u64, u32>,
    number: u64,
    /// The number of threads for the costly step.
    threads: usize,
    closed: bool,
}

/// The order of attempts, the smallest first: known clients before others, then by the waiting and failed attempts of
/// the same source, then the newest.
type Priority = (bool, u32, Reverse<u64>);

struct QueuedLogin {
    costly: Option<CostlyStep>,
    address: u64,
    network: u64,
    is_unknown: bool,
    /// The number of recent failures of its address.
    failures: u32,
    number: u64,
    slot: AnswerSlot,
    /// The session to wake.
    session: Option<SessionHandle>,
}

impl LoginQueue {
    /// Starts the queue.
    ///
    /// # Errors
    /// The operating system cannot start a thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let shared =
            Arc::new(SharedQueue { state: Mutex::default(), quick: Condvar::new(), costly: Condvar::new() });
        let worker = Arc::clone(&shared);
        let quick = spawn(move || answer_quickly(&worker))?;
        Ok(Self { shared, quick: Some(quick) })
    }

    /// Queues an attempt, and wakes its session when the answer is available. Returns `None` if the queue is full.
    pub(super) fn submit(
        &self,
        attempt: &LoginAttempt,
        history: AttemptHistory,
        session: SessionHandle,
        quick: QuickStep,
        costly: CostlyStep,
    ) -> Option<PendingLogin> {
        let slot = AnswerSlot::default();
        let waiting = QueuedLogin {
            costly: Some(costly),
            address: attempt.address,
            network: attempt.network,
            is_unknown: !history.is_known,
            failures: history.failures,
            number: 0,
            slot: Arc::clone(&slot),
            session: Some(session),
        };
        let mut state = self.shared.lock();
        if state.closed || state.quick.len() >= MAX_WAITING {
            return None;
        }
        state.quick.push_back((quick, waiting));
        drop(state);
        self.shared.quick.notify_one();
        Some(PendingLogin(slot))
    }
}

impl PendingLogin {
    /// Returns the answer, once; `None` while it is not available.
    pub(super) fn take(&self) -> Option<LoginAnswer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl State {
    /// Queues a costly step. If the queue is full, returns the attempt to drop.
    fn push(&mut self, mut waiting: QueuedLogin) -> Option<QueuedLogin> {
        waiting.number = self.number;
        self.number += 1;
        for key in [waiting.address, waiting.network] {
            *self.waiting.entry(key).or_default() += 1;
        }
        self.costly.push(waiting);
        if self.costly.len() <= MAX_WAITING {
            return None;
        }
        let last = (0..self.costly.len()).max_by_key(|index| self.priority(*index));
        last.map(|index| self.take(index))
    }

    /// Takes the next step. Scanning the queue costs a hundredth of a password hash.
    fn pop(&mut self) -> Option<QueuedLogin> {
        let first = (0..self.costly.len()).min_by_key(|index| self.priority(*index));
        first.map(|index| self.take(index))
    }

    fn priority(&self, index: usize) -> Option<Priority> {
        let waiting = self.costly.get(index)?;
        let count = |key: &u64| self.waiting.get(key).copied().unwrap_or(0);
        let of_source = count(&waiting.address).max(count(&waiting.network) / 4);
        Some((waiting.is_unknown, of_source.saturating_add(waiting.failures), Reverse(waiting.number)))
    }

    fn take(&mut self, index: usize) -> QueuedLogin {
        let waiting = self.costly.swap_remove(index);
        self.subtract_from_counts(&waiting);
        waiting
    }

    fn subtract_from_counts(&mut self, waiting: &QueuedLogin) {
        for key in [waiting.address, waiting.network] {
            if let Some(count) = self.waiting.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.waiting.remove(&key);
                }
            }
        }
    }
}

impl QueuedLogin {
    fn answer(&self, answer: LoginAnswer) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        if let Some(session) = &self.session {
            session.wake();
        }
    }

    /// Returns whether the session is still waiting for the answer.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }
}

impl SharedQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a costly step, and starts a thread for it if there are too few.
    fn push(self: &Arc<Self>, waiting: QueuedLogin) {
        let mut state = self.lock();
        let mut dropped = state.push(waiting);
        if state.threads < MAX_THREADS {
            let worker = Arc::clone(self);
            match spawn(move || compute(&worker)) {
                Ok(_) => state.threads += 1,
                Err(error) => {
                    tracing::error!(%error, "cannot start a thread to check passwords");
                    if state.threads == 0 {
                        dropped = state.pop();
                    }
                }
            }
        }
        drop(state);
        self.costly.notify_one();
        if let Some(dropped) = dropped {
            dropped.answer(LoginAnswer::UNAVAILABLE);
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("passwords".to_owned()).spawn(work)
}

fn answer_quickly(shared: &Arc<SharedQueue>) {
    let mut state = shared.lock();
    while !state.closed {
        let Some((quick, waiting)) = state.quick.pop_front() else {
            state = shared.quick.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        if waiting.is_wanted() {
            // A panic affects only this attempt.
            match catch_unwind(AssertUnwindSafe(quick)).unwrap_or(Some(LoginAnswer::UNAVAILABLE)) {
                Some(answer) => waiting.answer(answer),
                None => shared.push(waiting),
            }
        }
        state = shared.lock();
    }
}

fn compute(shared: &Arc<SharedQueue>) {
    let mut state = shared.lock();
    while !state.closed {
        let Some(mut waiting) = state.pop() else {
            let (woken, timeout) =
                shared.costly.wait_timeout(state, IDLE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.costly.is_empty() {
                break;
            }
            continue;
        };
        drop(state);
        if waiting.is_wanted()
            && let Some(costly) = waiting.costly.take()
        {
            let answer = catch_unwind(AssertUnwindSafe(costly)).unwrap_or(LoginAnswer::UNAVAILABLE);
            waiting.answer(answer);
        }
        state = shared.lock();
    }
    state.threads -= 1;
}

impl Drop for LoginQueue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.quick.clear();
        state.costly.clear();
        drop(state);
        self.shared.quick.notify_all();
        self.shared.costly.notify_all();
        // The other threads are not joined: they hold nothing that must be saved.
        if let Some(quick) = self.quick.take() {
            let _ = quick.join();
        }
    }
}

impl fmt::Debug for LoginQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("LoginQueue")
            .field("quick", &state.quick.len())
            .field("costly", &state.costly.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingLogin")
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::failed_logins::{FailedLoginLimits, FailedLogins};

    /// Returns an attempt of which only the priority matters.
    fn waiting(failed_logins: &FailedLogins, address: &str, is_known: bool) -> QueuedLogin {
        let attempt = failed_logins.attempt("ann", address.parse::<IpAddr>().unwrap());
        QueuedLogin {
            costly: None,
            address: attempt.address,
            network: attempt.network,
            is_unknown: !is_known,
            failures: 0,
            number: 0,
            slot: AnswerSlot::default(),
            session: None,
        }
    }

    #[test]
    fn prefers_known_clients_and_sources_with_few_attempts() {
        let failed_logins = FailedLogins::new(FailedLoginLimits::default());
        let mut state = State::default();
        for _ in 0..100 {
            assert!(state.push(waiting(&failed_logins, "192.0.2.1", false)).is_none());
        }
        state.push(waiting(&failed_logins, "198.51.100.1", false));
        state.push(waiting(&failed_logins, "203.0.113.1", true));
        let order: Vec<u64> = std::iter::from_fn(|| state.pop()).map(|waiting| waiting.address).collect();
        let [known, flood, other] = ["203.0.113.1", "192.0.2.1", "198.51.100.1"]
            .map(|address| waiting(&failed_logins, address, true).address);
        assert_eq!(order[..4], [known, other, flood, flood]);
        assert_eq!(order.len(), 102);
        assert!(state.waiting.is_empty());
    }

    #[test]
    fn prefers_the_newest_attempt_of_one_source() {
        let failed_logins = FailedLogins::new(FailedLoginLimits::default());
        let mut state = State::default();
        for _ in 0..3 {
            state.push(waiting(&failed_logins, "192.0.2.1", false));
        }
        let order: Vec<u64> = std::iter::from_fn(|| state.pop()).map(|waiting| waiting.number).collect();
        assert_eq!(order, [2, 1, 0]);
    }

    #[test]
    fn prefers_an_address_without_failures_to_new_guesses() {
        let failed_logins = FailedLogins::new(FailedLoginLimits::default());
        let mut state = State::default();
        // All addresses are in one network, whose attempts count for each of them.
        state.push(waiting(&failed_logins, "192.0.2.1", false));
        for host in 60..100 {
            state.push(QueuedLogin {
                failures: 1,
                ..waiting(&failed_logins, &format!("192.0.2.{host}"), false)
            });
        }
        let first = state.pop().unwrap();
        assert_eq!(first.address, waiting(&failed_logins, "192.0.2.1", false).address);
    }

    #[test]
    fn a_full_queue_drops_an_attempt_of_the_largest_source() {
        let failed_logins = FailedLogins::new(FailedLoginLimits::default());
        let mut state = State::default();
        for _ in 0..MAX_WAITING {
            assert!(state.push(waiting(&failed_logins, "192.0.2.1", false)).is_none());
        }
        let dropped = state.push(waiting(&failed_logins, "198.51.100.1", false)).unwrap();
        assert_eq!(dropped.address, waiting(&failed_logins, "192.0.2.1", false).address);
    }
}
