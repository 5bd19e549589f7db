//! Threads that check passwords, and the order in which they do.
//!
//! Each attempt first takes a quick step, on a thread of its own: what needs no computing is answered there, whatever
//! waits behind it. The costly step follows in an order that guesses cannot fill: those who have logged in from their
//! address before come first, and then those of whose address and network the fewest attempts wait.
//!
//! An attempt whose session is gone is not computed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use io_mio::Remote;

use super::guesses::Attempt;
use super::login::Answer;

/// Threads for the costly step.
const THREADS: usize = 2;

/// The most attempts that wait. Each session has one at most, so that the default limit of sessions never reaches it.
const WAITING: usize = 8192;

/// The step that needs no computing: `None` leaves the answer to the costly one.
pub(super) type Quick = Box<dyn FnOnce() -> Option<Answer> + Send>;

/// The step that computes.
pub(super) type Costly = Box<dyn FnOnce() -> Answer + Send>;

/// The threads. They end when the value is dropped; what waits then is not answered.
pub(super) struct LoginQueue {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// An answer that will come. The session is woken when it is there; the attempt is given up with the value.
pub(super) struct Ticket(Place);

type Place = Arc<Mutex<Option<Answer>>>;

struct Shared {
    state: Mutex<State>,
    /// A quick step waits.
    quick: Condvar,
    /// A costly step waits.
    costly: Condvar,
}

#[derive(Default)]
struct State {
    quick: VecDeque<(Quick, Waiting)>,
    /// By rank, the first first.
    costly: BTreeMap<Rank, Waiting>,
    /// How many costly steps of each address and network wait.
    waiting: HashMap<u64, u32>,
    number: u64,
    closed: bool,
}

/// In which order: strangers behind those who are known, then by how many of the same source wait, then by age.
type Rank = (bool, u32, u64);

struct Waiting {
    costly: Costly,
    address: u64,
    network: u64,
    is_stranger: bool,
    place: Place,
    remote: Remote,
}

impl LoginQueue {
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), quick: Condvar::new(), costly: Condvar::new() });
        let mut this = Self { shared, threads: Vec::new() };
        let shared = Arc::clone(&this.shared);
        this.spawn(move || shared.answer_quickly())?;
        for _ in 0..THREADS {
            let shared = Arc::clone(&this.shared);
            this.spawn(move || shared.compute())?;
        }
        Ok(this)
    }

    fn spawn(&mut self, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(std::thread::Builder::new().name("passwords".to_owned()).spawn(work)?);
        Ok(())
    }

    /// Answers an attempt and then wakes its session. `None`: too many wait, and none of them has less of a claim.
    pub(super) fn submit(
        &self,
        attempt: &Attempt,
        is_known: bool,
        remote: Remote,
        quick: Quick,
        costly: Costly,
    ) -> Option<Ticket> {
        let place = Place::default();
        let waiting = Waiting {
            costly,
            address: attempt.address,
            network: attempt.network,
            is_stranger: !is_known,
            place: Arc::clone(&place),
            remote,
        };
        let mut state = self.shared.lock();
        if state.closed || state.quick.len() >= WAITING {
            return None;
        }
        state.quick.push_back((quick, waiting));
        drop(state);
        self.shared.quick.notify_one();
        Some(Ticket(place))
    }
}

impl Ticket {
    /// The answer, once; `None` while it is not there.
    pub(super) fn take(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl State {
    /// Queues a costly step, and returns the one that has to go where there is no room.
    fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        let count = |key: &u64| self.waiting.get(key).copied().unwrap_or(0);
        let of_source = count(&waiting.address).max(count(&waiting.network) / 4);
        let rank = (waiting.is_stranger, of_source, self.number);
        self.number += 1;
        for key in [waiting.address, waiting.network] {
            *self.waiting.entry(key).or_default() += 1;
        }
        self.costly.insert(rank, waiting);
        if self.costly.len() <= WAITING {
            return None;
        }
        let (_, last) = self.costly.pop_last()?;
        self.forget(&last);
        Some(last)
    }

    fn pop(&mut self) -> Option<Waiting> {
        let (_, first) = self.costly.pop_first()?;
        self.forget(&first);
        Some(first)
    }

    fn forget(&mut self, waiting: &Waiting) {
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

impl Waiting {
    /// Whether the session still waits for it.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.place) > 1
    }
}

fn give(place: &Place, remote: &Remote, answer: Answer) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    remote.wake();
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_quickly(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some((quick, waiting)) = state.quick.pop_front() else {
                state = self.quick.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // A step that panics costs itself only.
            let answer = if waiting.is_wanted() {
                catch_unwind(AssertUnwindSafe(quick)).unwrap_or(Some(Answer::UNAVAILABLE))
            } else {
                Some(Answer::UNAVAILABLE)
            };
            if let Some(answer) = answer {
                give(&waiting.place, &waiting.remote, answer);
                state = self.lock();
                continue;
            }
            state = self.lock();
            let crowded_out = state.push(waiting);
            self.costly.notify_one();
            if let Some(last) = crowded_out {
                give(&last.place, &last.remote, Answer::UNAVAILABLE);
            }
        }
    }

    fn compute(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(waiting) = state.pop() else {
                state = self.costly.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            if waiting.is_wanted() {
                let Waiting { costly, place, remote, .. } = waiting;
                let answer = catch_unwind(AssertUnwindSafe(costly)).unwrap_or(Answer::UNAVAILABLE);
                give(&place, &remote, answer);
            }
            state = self.lock();
        }
    }
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
        for thread in self.threads.drain(..) {
            let _ = thread.join();
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

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}
