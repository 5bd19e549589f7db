//! Delivering many messages on a few threads.
//!
//! Each thread takes the first message that can be tried now: its delay is over, and the pool has a session for it. The
//! thread makes one attempt and puts the message back if recipients still wait. A waiting message occupies neither a
//! thread nor a session.

use std::{
    fmt,
    io::{Read, Seek},
    ops::ControlFlow,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    clock::Clock,
    deliver::AttemptRun,
    diagnostic::Retryable,
    engine::{
        AttemptOutcome, Checks, Delivery, DeliveryAction, DeliveryEngine, DeliveryParts, FinishedDelivery,
        IdleSessions, Keyed, Pause, RecordedAttempt,
    },
    journal::Journal,
    pool::{Lease, Pool},
    request::{DeliveryRequest, DeliveryResult, StopSignal},
    retry::RetryPolicy,
    route::Route,
    validation::MessageLimits,
};
use io_mio::Error;

/// The maximum number of results that wait for the caller.
const MAX_RESULTS: usize = 256;
/// How long the caller's thread sleeps after results, so that not every result wakes it.
const RESULT_INTERVAL: Duration = Duration::from_millis(1);
/// How often a waiting thread checks the stop signal, and whether another user of the pool freed a session.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Delivers many messages on the sessions of a pool, as many at once as its limits allow.
///
/// [`DeliveryEngine`] decides which message is tried when, and when a route is paused or fails.
///
/// ```no_run
/// use std::{io::Cursor, ops::ControlFlow};
///
/// use mailclient::delivery::{DeliveryRequest, Dispatcher, Message, Pool, PoolLimits, Route, SystemClock};
/// use proto_mail::Secure;
///
/// fn send(route: &Route<Secure>, messages: Vec<(u64, Message<Cursor<Vec<u8>>>)>) {
///     let pool = Pool::new(PoolLimits { sessions_per_host: 2, ..PoolLimits::default() });
///     let requests =
///         messages.into_iter().map(|(id, message)| DeliveryRequest { id, message, route: route.clone() });
///     Dispatcher::new(&pool, SystemClock::start()).run(requests, |result| {
///         println!("{}: {:?}", result.id, result.report.status);
///         ControlFlow::Continue(())
///     });
/// }
/// ```
pub struct Dispatcher<'p, C: Channel, K> {
    pool: &'p Pool<C>,
    policy: RetryPolicy,
    clock: K,
    check: Option<MessageLimits>,
    held: Option<usize>,
    ahead: Option<usize>,
    stop: StopSignal,
}

impl<'p, C: Channel + Send, K: Clock + Clone + Send> Dispatcher<'p, C, K>
where
    Client<C>: Send,
{
    /// A dispatcher with the default policy. Clones of the clock must show the same time.
    pub fn new(pool: &'p Pool<C>, clock: K) -> Self {
        Self {
            pool,
            policy: RetryPolicy::default(),
            clock,
            check: None,
            held: None,
            ahead: None,
            stop: StopSignal::default(),
        }
    }

    /// Sets the policy for retries.
    #[must_use]
    pub fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// [Checks](super::Message::check) each message before anything of it is sent.
    #[must_use]
    pub const fn check(mut self, limits: MessageLimits) -> Self {
        self.check = Some(limits);
        self
    }

    /// Sets how many messages are held at most: waiting for a delay or a session, or being sent. Default: 256. The next one
    /// is taken from the caller when there is room.
    #[must_use]
    pub const fn hold_at_most(mut self, messages: usize) -> Self {
        self.held = Some(messages);
        self
    }

    /// Sets how many untried messages are held at most. Default: 256. Fewer suffice if all go to one host. With several
    /// hosts, a low number lets messages for a slow host delay the others.
    #[must_use]
    pub const fn look_ahead(mut self, messages: usize) -> Self {
        self.ahead = Some(messages);
        self
    }

    /// Sets the signal that ends a run early. Several dispatchers may share it.
    #[must_use]
    pub fn stop_with(mut self, stop: &StopSignal) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Returns the signal that ends a run early. It also ends every later run of this dispatcher.
    #[must_use]
    pub fn stop(&self) -> StopSignal {
        self.stop.clone()
    }

    /// As [`run_with`](Self::run_with), without a journal.
    pub fn run<T, S, E, I>(&self, requests: I, done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>)
    where
        T: Send,
        S: Read + Seek + Send,
        E: Retryable + From<Error> + Send,
        I: IntoIterator<Item = DeliveryRequest<T, S, Route<C, E>>>,
        I::IntoIter: Send,
    {
        self.run_with(&(), requests, done);
    }

    /// Delivers all `requests` and calls `done` on this thread with each result, in any order. `journal` receives each step.
    /// [`ControlFlow::Break`] ends the run early, as a [`StopSignal`] does.
    ///
    /// Every message that was taken from `requests` has a result, also if the run ends early; the rest of `requests` is
    /// not taken then. `requests` may block, as a channel does: one thread waits for it while the others work. A panic
    /// in `requests`, a source, `journal` or `done` ends the run and is passed on.
    pub fn run_with<T, S, E, I>(
        &self,
        journal: &impl Journal<T>,
        requests: I,
        mut done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>,
    ) where
        T: Send,
        S: Read + Seek + Send,
        E: Retryable + From<Error> + Send,
        I: IntoIterator<Item = DeliveryRequest<T, S, Route<C, E>>>,
        I::IntoIter: Send,
    {
        let shared = Shared {
            state: Mutex::new(State { engine: self.engine(), sleepers: 0, has_watcher: false }),
            changed: Condvar::new(),
            requests: Mutex::new(requests.into_iter()),
        };
        let (results, received) = sync_channel(MAX_RESULTS);
        std::thread::scope(|scope| {
            // One more than there are sessions: one thread may wait for requests.
            for _ in 0..=self.pool.limits().sessions.max(1) {
                let worker = Worker {
                    pool: self.pool,
                    check: self.check.as_ref(),
                    stop: &self.stop,
                    journal,
                    shared: &shared,
                    results: results.clone(),
                    clock: self.clock.clone(),
                };
                scope.spawn(move || worker.work());
            }
            drop(results);
            while let Ok(first) = received.recv() {
                for result in std::iter::once(first).chain(received.try_iter()) {
                    if done(result).is_break() {
                        self.stop.trigger();
                    }
                }
                std::thread::sleep(RESULT_INTERVAL);
            }
        });
    }
}

impl<C: Channel, K> Dispatcher<'_, C, K> {
    fn engine<T, S, E: Retryable>(&self) -> Engine<T, S, C, E> {
        let checks = if self.check.is_some() { Checks::EachMessage } else { Checks::Off };
        let mut engine = DeliveryEngine::new(self.policy.clone(), checks);
        if let Some(held) = self.held {
            engine = engine.hold_at_most(held);
        }
        if let Some(ahead) = self.ahead {
            engine = engine.look_ahead(ahead);
        }
        engine
    }
}

impl<C: Channel, K> fmt::Debug for Dispatcher<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

type Engine<T, S, C, E> = DeliveryEngine<T, S, Route<C, E>, E>;
type Held<T, S, C, E> = Box<Delivery<T, S, Route<C, E>, E>>;
type Action<'p, T, S, C, E> = DeliveryAction<T, S, Route<C, E>, E, Box<Lease<'p, C>>>;

/// What the threads share.
struct Shared<T, S, C: Channel, E, I> {
    state: Mutex<State<T, S, C, E>>,
    changed: Condvar,
    requests: Mutex<I>,
}

/// The engine, and which threads wait.
struct State<T, S, C: Channel, E> {
    engine: Engine<T, S, C, E>,
    /// How many threads wait for work.
    sleepers: usize,
    /// Whether a thread watches the clock for all.
    has_watcher: bool,
}

impl<T, S, C: Channel, E, I> Shared<T, S, C, E, I> {
    fn lock(&self) -> MutexGuard<'_, State<T, S, C, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next task of a thread.
enum Task<'p, T, S, C: Channel, E> {
    Engine(Action<'p, T, S, C, E>),
    SweepPool,
    /// Sleeps for this time, by the clock.
    Sleep(Duration, IdleSessions),
}

/// One thread of a dispatcher.
struct Worker<'a, 'p, T, S, C: Channel, E, I, K, J> {
    pool: &'p Pool<C>,
    check: Option<&'a MessageLimits>,
    stop: &'a StopSignal,
    journal: &'a J,
    shared: &'a Shared<T, S, C, E, I>,
    results: SyncSender<DeliveryResult<T, S, E>>,
    clock: K,
}

impl<'p, T, S, C, E, I, K, J> Worker<'_, 'p, T, S, C, E, I, K, J>
where
    S: Read + Seek,
    C: Channel,
    E: Retryable + From<Error>,
    I: Iterator<Item = DeliveryRequest<T, S, Route<C, E>>>,
    K: Clock,
    J: Journal<T>,
{
    fn work(mut self) {
        let shared = self.shared;
        let stop = self.stop;
        let end = OnPanic(|| {
            stop.trigger();
            drop(shared.lock());
            shared.changed.notify_all();
        });
        loop {
            let task = self.next();
            // Wake others only if they have work: waking costs more than a small message.
            match task {
                Task::Engine(DeliveryAction::Attempt(delivery, lease)) => {
                    self.wake_one();
                    self.run_attempt(delivery, *lease);
                    continue;
                }
                Task::Engine(DeliveryAction::TakeRequests) => {
                    self.take_requests();
                    self.wake_one();
                    continue;
                }
                _ => shared.changed.notify_all(),
            }
            match task {
                Task::Engine(DeliveryAction::Check(delivery)) => self.check(delivery),
                Task::Engine(DeliveryAction::Report(result)) => self.report(*result),
                Task::Engine(DeliveryAction::End) => break,
                Task::Engine(_) => {}
                Task::SweepPool => drop(self.pool.sweep()),
                Task::Sleep(delay, sessions) => self.sleep(delay, sessions),
            }
            shared.changed.notify_all();
        }
        std::mem::forget(end);
    }

    /// Wakes another thread if there is work for it.
    fn wake_one(&self) {
        let state = self.shared.lock();
        let can_try = state.engine.has_waiting() && self.pool.has_room();
        let has_work = can_try || state.engine.wants_requests() || self.stop.is_stopped();
        if state.sleepers > 0 && has_work {
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Waits for the next task.
    fn next(&mut self) -> Task<'p, T, S, C, E> {
        let mut state = self.shared.lock();
        loop {
            if self.stop.is_stopped() {
                state.engine.stop();
            }
            let now = self.clock.elapsed();
            let pause =
                match state.engine.next_action(now, |route| self.pool.lease(route.key()).map(Box::new)) {
                    DeliveryAction::Wait(pause) => pause,
                    action => return Task::Engine(action),
                };
            if state.has_watcher {
                state.sleepers += 1;
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.sleepers -= 1;
                continue;
            }
            state.has_watcher = true;
            if let Pause::Until(due, sessions) = pause {
                return Task::Sleep(due.saturating_sub(now).min(CHECK_INTERVAL), sessions);
            }
            state.sleepers += 1;
            let waited = self.shared.changed.wait_timeout(state, CHECK_INTERVAL);
            let (changed, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = changed;
            state.sleepers -= 1;
            state.has_watcher = false;
            if waited.timed_out() {
                return Task::SweepPool;
            }
        }
    }

    fn sleep(&mut self, delay: Duration, sessions: IdleSessions) {
        if sessions == IdleSessions::Close {
            self.pool.close_idle();
        }
        self.clock.sleep(delay);
        self.shared.lock().has_watcher = false;
        self.pool.sweep();
    }

    /// Checks a message before its first attempt.
    fn check(&mut self, mut delivery: Held<T, S, C, E>) {
        let message = delivery.message_mut();
        let error = self.check.and_then(|limits| message.check(limits).err()).map(E::from);
        let now = self.clock.elapsed();
        let done = self.shared.lock().engine.checked(delivery, error, now);
        if let Some(done) = done {
            self.finish(done, now);
        }
    }

    fn run_attempt(&mut self, mut delivery: Held<T, S, C, E>, lease: Lease<'p, C>) {
        let DeliveryParts { id, route, message, report, attempt } = delivery.parts_mut();
        let outcome = match lease.open(route) {
            Ok(session) => {
                let run = AttemptRun { message, report, clock: &mut self.clock, journal: self.journal, id };
                session.run(route, attempt, run)
            }
            Err(unopened) => AttemptOutcome::NotOpened(unopened.error, unopened.others),
        };
        let (now, random) = (self.clock.elapsed(), self.clock.random());
        let decided = self.shared.lock().engine.attempted(delivery, outcome, now, random);
        match decided.record(self.journal, now) {
            RecordedAttempt::Waiting(waiting) => self.shared.lock().engine.wait(waiting),
            RecordedAttempt::Done(done) => self.finish(*done, now),
        }
    }

    fn finish(&self, done: FinishedDelivery<T, S, E>, now: Duration) {
        // The message with which a route failed comes before the others.
        self.report(done.result);
        self.shared.lock().engine.reported(done.reported, now);
    }

    fn report(&self, result: DeliveryResult<T, S, E>) {
        if self.results.send(result).is_err() {
            // The receiver is gone: the caller has panicked.
            self.stop.trigger();
        }
    }

    /// Takes requests from the caller, as many as there is room for.
    fn take_requests(&self) {
        let mut requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let request = requests.next();
            let is_over = request.is_none() || self.stop.is_stopped();
            let mut state = self.shared.lock();
            let was_empty = !state.engine.has_waiting();
            if let Some(request) = request {
                state.engine.add(request);
            }
            if is_over {
                return state.engine.end_requests();
            }
            if !state.engine.has_room() {
                return state.engine.pause_requests();
            }
            if was_empty && state.sleepers > 0 {
                drop(state);
                self.shared.changed.notify_one();
            }
        }
    }
}

/// Calls its function if a thread panics.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
