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
    diagnostic::{DeliveryStage, Diagnostic, Retryable},
    journal::{Journal, MessageJournal},
    pool::{AttemptError, Lease, Pool, SessionEnd},
    queue::{Queue, QueuedMessage, RouteFailure, SourceState, WorkerTask},
    request::{DeliveryRequest, DeliveryResult, StopSignal},
    retry::{RetryDecision, RetryPolicy},
    status::DeliveryStatus,
    validation::MessageLimits,
};
use io_mio::Error;

/// The default number of messages that are held.
const MAX_HELD: usize = 256;
/// At this many bytes of untried messages, the dispatcher takes no more from the caller.
const MAX_UNTRIED_BYTES: u64 = 4 << 20;
/// The maximum number of results that wait for the caller.
const MAX_RESULTS: usize = 256;
/// How long the caller's thread sleeps after results, so that not every result wakes it.
const RESULT_INTERVAL: Duration = Duration::from_millis(1);
/// How often a waiting thread checks the stop signal, and whether another user of the pool freed a session.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Delivers many messages on the sessions of a pool, as many at once as its limits allow.
///
/// A route fails if no session can be opened, or if the server ends a session with its first message. It is then paused
/// with all messages that wait for it, so that they do not all try a failing server. After as many failures in a row as
/// the policy has attempts, or after a permanent refusal, all messages that are held for the route fail. The route is
/// then paused for [`RetryPolicy::max_delay`].
///
/// While all remaining messages wait, the pool's idle sessions are closed.
///
/// If a server refuses a session and the route has others, the server accepts no more. The message then waits for one
/// of those, and this does not count as an attempt.
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
    held: usize,
    ahead: usize,
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
            held: MAX_HELD,
            ahead: MAX_HELD,
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
        self.held = messages;
        self
    }

    /// Sets how many untried messages are held at most. Default: 256. Fewer suffice if all go to one host. With several
    /// hosts, a low number lets messages for a slow host delay the others.
    #[must_use]
    pub const fn look_ahead(mut self, messages: usize) -> Self {
        self.ahead = messages;
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
        I: IntoIterator<Item = DeliveryRequest<T, S, C, E>>,
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
        I: IntoIterator<Item = DeliveryRequest<T, S, C, E>>,
        I::IntoIter: Send,
    {
        let shared = SharedQueue {
            queue: Mutex::new(Queue::new()),
            changed: Condvar::new(),
            requests: Mutex::new(requests.into_iter()),
            limit: self.held.max(1),
            ahead: self.ahead.max(1),
        };
        let (results, received) = sync_channel(MAX_RESULTS);
        std::thread::scope(|scope| {
            // One more than there are sessions: one thread may wait for requests.
            for _ in 0..=self.pool.limits().sessions.max(1) {
                let worker = Worker {
                    pool: self.pool,
                    policy: &self.policy,
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

impl<C: Channel, K> fmt::Debug for Dispatcher<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The queue that the threads share.
struct SharedQueue<T, S, C: Channel, E, I> {
    queue: Mutex<Queue<T, S, C, E>>,
    changed: Condvar,
    requests: Mutex<I>,
    limit: usize,
    ahead: usize,
}

impl<T, S, C: Channel, E, I> SharedQueue<T, S, C, E, I> {
    fn lock(&self) -> MutexGuard<'_, Queue<T, S, C, E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread of a dispatcher.
struct Worker<'a, 'p, T, S, C: Channel, E, I, K, J> {
    pool: &'p Pool<C>,
    policy: &'a RetryPolicy,
    check: Option<&'a MessageLimits>,
    stop: &'a StopSignal,
    journal: &'a J,
    shared: &'a SharedQueue<T, S, C, E, I>,
    results: SyncSender<DeliveryResult<T, S, E>>,
    clock: K,
}

impl<'p, T, S, C, E, I, K, J> Worker<'_, 'p, T, S, C, E, I, K, J>
where
    S: Read + Seek,
    C: Channel,
    E: Retryable + From<Error>,
    I: Iterator<Item = DeliveryRequest<T, S, C, E>>,
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
            let next = self.next();
            // Wake others only if they have work: waking costs more than a small message.
            match next {
                WorkerTask::Try(held, lease) => {
                    self.wake_one();
                    self.run_attempt(held, *lease);
                    continue;
                }
                WorkerTask::FetchRequests => {
                    self.fetch_requests();
                    self.wake_one();
                    continue;
                }
                _ => shared.changed.notify_all(),
            }
            match next {
                WorkerTask::Check(held) => self.check(held),
                WorkerTask::Finish(held) => self.finish(held),
                WorkerTask::SweepPool => drop(self.pool.sweep()),
                WorkerTask::Sleep(delay) => {
                    if shared.lock().source == SourceState::Ended {
                        // Do not keep sessions with a server that refused temporarily.
                        self.pool.close_idle();
                    }
                    self.clock.sleep(delay);
                    shared.lock().has_watcher = false;
                    self.pool.sweep();
                }
                WorkerTask::End => break,
                WorkerTask::Try(..) | WorkerTask::FetchRequests => {}
            }
            shared.changed.notify_all();
        }
        std::mem::forget(end);
    }

    /// Wakes another thread if there is work for it.
    fn wake_one(&self) {
        let queue = self.shared.lock();
        let can_fetch = queue.source == SourceState::Open && self.wants_requests(&queue);
        let can_try = !queue.waiting.is_empty() && self.pool.has_room();
        if queue.sleepers > 0 && (can_fetch || can_try || self.stop.is_stopped()) {
            drop(queue);
            self.shared.changed.notify_one();
        }
    }

    fn next(&mut self) -> WorkerTask<'p, T, S, C, E> {
        let mut queue = self.shared.lock();
        loop {
            let now = self.clock.elapsed();
            if let Some(next) = self.choose(&mut queue, now) {
                return next;
            }
            if queue.has_watcher {
                queue.sleepers += 1;
                queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.sleepers -= 1;
                continue;
            }
            queue.has_watcher = true;
            let pause = queue.next_due().map(|due| due.saturating_sub(now)).filter(|pause| !pause.is_zero());
            if let (Some(pause), 0) = (pause, queue.active) {
                return WorkerTask::Sleep(pause.min(CHECK_INTERVAL));
            }
            queue.sleepers += 1;
            let waited = self.shared.changed.wait_timeout(queue, CHECK_INTERVAL);
            let (changed, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = changed;
            queue.sleepers -= 1;
            queue.has_watcher = false;
            if waited.timed_out() {
                return WorkerTask::SweepPool;
            }
        }
    }

    /// Returns a task for now.
    fn choose(&self, queue: &mut Queue<T, S, C, E>, now: Duration) -> Option<WorkerTask<'p, T, S, C, E>> {
        if self.stop.is_stopped() {
            return Some(queue.waiting.pop_front().map_or(WorkerTask::End, WorkerTask::Finish));
        }
        if let Some(next) = queue.pick(self.pool, now) {
            return Some(next);
        }
        let held = queue.waiting.len() + queue.active;
        match queue.source {
            SourceState::Open if self.wants_requests(queue) => {
                queue.source = SourceState::Waiting;
                Some(WorkerTask::FetchRequests)
            }
            SourceState::Ended if held == 0 => Some(WorkerTask::End),
            _ => None,
        }
    }

    /// Whether so few untried messages are left that more are taken from the caller.
    fn wants_requests(&self, queue: &Queue<T, S, C, E>) -> bool {
        queue.has_room(self.shared.limit, self.shared.ahead.div_ceil(2), MAX_UNTRIED_BYTES / 2)
    }

    /// Checks a message before its first attempt.
    fn check(&mut self, mut held: QueuedMessage<T, S, C, E>) {
        held.is_checked = true;
        let message = &mut held.request.message;
        let checked = self.check.map_or(Ok(()), |limits| message.check(limits).map(drop));
        held.report = message.report();
        match checked {
            Ok(()) => self.put_back(held),
            Err(error) => {
                held.report.postpone(&error.diagnostic(), Duration::ZERO, DeliveryStatus::Failed);
                held.error = Some(error.into());
                self.finish(held);
                self.shared.lock().active -= 1;
            }
        }
    }

    fn run_attempt(&mut self, mut held: QueuedMessage<T, S, C, E>, lease: Lease<'p, C>) {
        let mut current = held.start_attempt(self.policy.codes, self.clock.elapsed());
        let DeliveryRequest { id, message, route } = &mut held.request;
        let observer = MessageJournal { journal: self.journal, id };
        let outcome = match lease.open(route) {
            Ok(session) => {
                session.run(route, &mut current, message, &mut held.report, &mut self.clock, &observer)
            }
            Err(unopened) => Err(AttemptError::OpenError(unopened)),
        };
        match outcome {
            Err(AttemptError::OpenError(unopened)) if unopened.others > 0 => {
                self.journal.session_limit_reached(&unopened.error.diagnostic(), unopened.others);
                held.current = Some(current);
                self.put_back(held);
            }
            Err(AttemptError::OpenError(unopened)) => {
                let reason = unopened.error.diagnostic();
                self.decide(held, Some(unopened.error), Some(reason));
            }
            Err(AttemptError::Message(error)) => self.decide(held, Some(error), None),
            Ok(SessionEnd::LostAtOnce) if !held.report.pending().is_empty() => {
                let reason = "the server ends each session with its first message";
                self.decide(held, None, Some(Diagnostic::without_reply(DeliveryStage::Connect, reason)));
            }
            Ok(_) => self.decide(held, None, None),
        }
    }

    /// Decides what follows an attempt. `route_error` is the route's failure, if it failed.
    fn decide(
        &mut self,
        mut held: QueuedMessage<T, S, C, E>,
        error: Option<E>,
        route_error: Option<Diagnostic>,
    ) {
        let (now, random, number) = (self.clock.elapsed(), self.clock.random(), held.request.route.number());
        let elapsed = held.elapsed(now);
        let decision = held.report.record_error(error.as_ref().map(|error| error as &dyn Retryable), elapsed);
        held.error = error;
        let route = {
            let mut queue = self.shared.lock();
            match &route_error {
                Some(_) => Some(queue.route_failed(number, decision, self.policy, now, random)),
                None => {
                    queue.route_succeeded(number);
                    None
                }
            }
        };
        held.route_failed = route == Some(RouteFailure::Final);
        let again = decision == RetryDecision::Retry && !held.route_failed;
        let report = &held.report;
        let has_pending = again && !report.pending().is_empty();
        let delay = self.policy.next_delay(held.attempts, has_pending, elapsed, random);
        self.journal.attempt_finished(&held.request.id, report, delay);
        if let (Some(reason), Some(RouteFailure::Paused(pause))) = (&route_error, route) {
            self.journal.route_paused(reason, pause);
        }
        if let Some(delay) = delay {
            held.due = now.saturating_add(delay);
            let mut queue = self.shared.lock();
            queue.waiting.push_back(held);
            queue.active -= 1;
        } else {
            let route_failed = held.route_failed;
            // The tried message gets the first result, with the error.
            self.finish(held);
            let mut queue = self.shared.lock();
            queue.active -= 1;
            if let (Some(reason), true) = (&route_error, route_failed) {
                queue.fail_route(number, reason, decision, now);
            }
        }
    }

    /// Puts a message back as the next one.
    fn put_back(&self, held: QueuedMessage<T, S, C, E>) {
        let mut queue = self.shared.lock();
        queue.waiting.push_front(held);
        queue.active -= 1;
    }

    fn finish(&mut self, mut held: QueuedMessage<T, S, C, E>) {
        held.report.conclude_after(held.elapsed(self.clock.elapsed()));
        let QueuedMessage {
            request: DeliveryRequest { id, message, .. },
            report,
            error: obstacle,
            route_failed,
            ..
        } = held;
        if self.results.send(DeliveryResult { id, message, report, error: obstacle, route_failed }).is_err() {
            // The receiver is gone: the caller has panicked.
            self.stop.trigger();
        }
    }

    /// Takes requests from the caller, as many as there is room for. Each can be tried at once.
    fn fetch_requests(&self) {
        let mut requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let request = requests.next();
            let is_over = request.is_none() || self.stop.is_stopped();
            let mut queue = self.shared.lock();
            let request = request.map(|request| QueuedMessage {
                is_checked: self.check.is_none(),
                ..QueuedMessage::new(request)
            });
            let was_empty = queue.waiting.is_empty();
            queue.waiting.extend(request);
            if is_over || !queue.has_room(self.shared.limit, self.shared.ahead, MAX_UNTRIED_BYTES) {
                queue.source = if is_over { SourceState::Ended } else { SourceState::Open };
                return;
            }
            if was_empty && queue.sleepers > 0 {
                drop(queue);
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
