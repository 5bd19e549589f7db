//! Many messages at once, on a few threads.
//!
//! It knows threads, and what follows a try. Whose turn it is the queue knows, sessions it has from the pool, and what
//! a try is it does not know.
//!
//! Each thread takes the first message that may go now (its pause is over, and the pool has a session for it), makes
//! one try, and puts it back if somebody still waits. A message that pauses holds neither a thread nor a session.

use std::{
    fmt,
    io::{Read, Seek},
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    Clock, DeliveryReport, DeliveryStage, DeliveryStatus, Diagnostic, Journal, Message, MessageLimits, Pool,
    RetryPolicy, Retryable, Route,
    journal::Entry,
    pool::{AttemptError, Ended, Lease},
    queue::{self, Held, Next, Orders, Queue, RetryDecision},
};
use crate::Error;

/// So many messages are taken from the caller ahead of what can be sent, unless it is set.
const HELD: usize = 256;
/// So many bytes of messages that were not tried yet are in hand; then no more are taken from the caller.
const AHEAD_BYTES: u64 = 4 << 20;
/// So many results wait for the caller; then nothing more is begun.
const RESULTS: usize = 256;
/// How long the caller's thread rests behind results. Many come in this time, and are told without waking it for each.
const REST: Duration = Duration::from_millis(1);
/// At least so often a thread that waits looks whether it was told to stop, or a session became free elsewhere.
const LOOK: Duration = Duration::from_millis(20);

/// A message to deliver, the way that it goes, and what the caller calls it.
#[derive(Debug)]
pub struct DeliveryRequest<T, S, C: Channel, E = Error> {
    /// The caller's own name for it, given back with the result.
    pub id: T,
    /// The message.
    pub message: Message<S>,
    /// The way to the server.
    pub route: Route<C, E>,
}

/// What became of an [`DeliveryRequest`].
#[derive(Debug)]
pub struct DeliveryResult<T, S, E = Error> {
    /// The caller's own name for it.
    pub id: T,
    /// The message, as it was given.
    pub message: Message<S>,
    /// What became of everybody.
    pub report: DeliveryReport,
    /// What stood in the way of the last try as a whole, if something did.
    pub error: Option<E>,
    /// The route was given up (see [`Dispatcher`]), and the message with it; the first of those that were in hand has
    /// the obstacle, if there was one. A caller who knows no other way may want to stop.
    pub route_failed: bool,
}

/// Ends a run early, from any thread: no further try begins, and those that are being made are made to their end, since
/// to cut one off may leave a message [`Uncertain`](super::Status::Uncertain).
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Stops.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Delivers many messages on the sessions of a pool, as many at once as its limits allow.
///
/// A route that comes to nothing (no session can be opened, or the server ends one with its first message) is left
/// alone for a pause, and so is every message that waits for it: a server in trouble is not run at by all of them. When
/// that has happened as often in a row as the policy has tries, or a session is refused for good, what is in hand for
/// the route fails without a try of its own, and the route rests for [`RetryPolicy::max_delay`].
///
/// When all that is left pauses, the pool's idle sessions are closed.
///
/// A server that has sessions with the route and refuses another one takes no more of them: the message waits for one
/// of those, and that is no try.
///
/// ```text
/// let pool = Pool::new(PoolLimits { sessions_per_host: 2, ..PoolLimits::default() });
/// let route = Route::with_login(&connector, &target, &config, credentials);
/// let orders = messages.map(|(id, message)| DeliveryRequest { id, message, route: route.clone() });
/// Dispatcher::new(&pool, SystemClock::start()).run(orders, |done| {
///     println!("{}: {:?}", done.id, done.report.status);
///     ControlFlow::Continue(())
/// });
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
            held: HELD,
            ahead: HELD,
            stop: StopSignal::default(),
        }
    }

    /// How often each message is tried.
    #[must_use]
    pub fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Each message is [checked](Message::check) before anything of it is sent.
    #[must_use]
    pub const fn check(mut self, limits: MessageLimits) -> Self {
        self.check = Some(limits);
        self
    }

    /// So many messages at most are in hand: they pause, or wait for a session, or are being sent. 256 unless set.
    /// The next is taken from the caller when there is room.
    #[must_use]
    pub const fn hold_at_most(mut self, messages: usize) -> Self {
        self.held = messages;
        self
    }

    /// So many messages at most are in hand that were not tried yet. 256 unless set. Less is enough where all go to one
    /// host; where a few wait for a host that is slow, those behind them that go elsewhere are not reached.
    #[must_use]
    pub const fn look_ahead(mut self, messages: usize) -> Self {
        self.ahead = messages;
        self
    }

    /// It is ended early by this one, which may be that of several.
    #[must_use]
    pub fn stop_with(mut self, stop: &StopSignal) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Ends a run early. It holds for every later run of this dispatcher, too.
    #[must_use]
    pub fn stop(&self) -> StopSignal {
        self.stop.clone()
    }

    /// As [`run_with`](Self::run_with), without a journal.
    pub fn run<T, S, E, I>(&self, orders: I, done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>)
    where
        T: Send,
        S: Read + Seek + Send,
        E: Retryable + From<Error> + Send,
        I: IntoIterator<Item = DeliveryRequest<T, S, C, E>>,
        I::IntoIter: Send,
    {
        self.run_with(&(), orders, done);
    }

    /// Delivers what `orders` brings, until it ends and all is done, and calls `done` on this thread with each result as
    /// it comes, in any order. `journal` is told of each step. [`ControlFlow::Break`] is a [`StopSignal`].
    ///
    /// Every message that was taken from `orders` has its result; stopped, those that were not tried are among them,
    /// and the rest of `orders` is not asked for. `orders` may block, as a channel does: it is asked on a thread of its
    /// own turn, and meanwhile the others work on. A panic of `orders`, of a source, of `journal` or of `done` ends the
    /// run and is passed on.
    pub fn run_with<T, S, E, I>(
        &self,
        journal: &impl Journal<T>,
        orders: I,
        mut done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>,
    ) where
        T: Send,
        S: Read + Seek + Send,
        E: Retryable + From<Error> + Send,
        I: IntoIterator<Item = DeliveryRequest<T, S, C, E>>,
        I::IntoIter: Send,
    {
        let desk = SharedQueue {
            queue: Mutex::new(Queue::new()),
            changed: Condvar::new(),
            orders: Mutex::new(orders.into_iter()),
            most: self.held.max(1),
            ahead: self.ahead.max(1),
        };
        let (results, told) = sync_channel(RESULTS);
        std::thread::scope(|scope| {
            // One more than there are sessions: whoever asks for orders may have to wait for them.
            for _ in 0..=self.pool.limits().sessions.max(1) {
                let worker = Worker {
                    pool: self.pool,
                    policy: &self.policy,
                    check: self.check.as_ref(),
                    stop: &self.stop,
                    journal,
                    desk: &desk,
                    results: results.clone(),
                    clock: self.clock.clone(),
                };
                scope.spawn(move || worker.work());
            }
            drop(results);
            while let Ok(first) = told.recv() {
                for result in std::iter::once(first).chain(told.try_iter()) {
                    if done(result).is_break() {
                        self.stop.trigger();
                    }
                }
                std::thread::sleep(REST);
            }
        });
    }
}

impl<C: Channel, K> fmt::Debug for Dispatcher<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What the threads share.
struct SharedQueue<T, S, C: Channel, E, I> {
    queue: Mutex<Queue<T, S, C, E>>,
    changed: Condvar,
    orders: Mutex<I>,
    most: usize,
    ahead: usize,
}

impl<T, S, C: Channel, E, I> SharedQueue<T, S, C, E, I> {
    fn lock(&self) -> MutexGuard<'_, Queue<T, S, C, E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker<'a, 'p, T, S, C: Channel, E, I, K, J> {
    pool: &'p Pool<C>,
    policy: &'a RetryPolicy,
    check: Option<&'a MessageLimits>,
    stop: &'a StopSignal,
    journal: &'a J,
    desk: &'a SharedQueue<T, S, C, E, I>,
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
        let desk = self.desk;
        let stop = self.stop;
        let end = OnPanic(|| {
            stop.trigger();
            drop(desk.lock());
            desk.changed.notify_all();
        });
        loop {
            let next = self.next();
            // The others are woken only where they can do something: that costs more than a small message.
            match next {
                Next::Try(held, claim) => {
                    self.wake_one();
                    self.attempt(held, *claim);
                    continue;
                }
                Next::Ask => {
                    self.ask();
                    self.wake_one();
                    continue;
                }
                _ => desk.changed.notify_all(),
            }
            match next {
                Next::Check(held) => self.look(held),
                Next::Finish(held) => self.finish(held),
                Next::Sweep => drop(self.pool.sweep()),
                Next::Pause(pause) => {
                    if desk.lock().orders == Orders::Ended {
                        // A server that says to come back later is not held on to meanwhile.
                        self.pool.close_idle();
                    }
                    self.clock.sleep(pause);
                    desk.lock().is_watched = false;
                    self.pool.sweep();
                }
                Next::End => break,
                Next::Try(..) | Next::Ask => {}
            }
            desk.changed.notify_all();
        }
        std::mem::forget(end);
    }

    /// Wakes another thread if there is something to do for it.
    fn wake_one(&self) {
        let queue = self.desk.lock();
        let can_ask = queue.orders == Orders::Open && self.wants_orders(&queue);
        let can_try = !queue.waiting.is_empty() && self.pool.has_room();
        if queue.sleepers > 0 && (can_ask || can_try || self.stop.is_stopped()) {
            drop(queue);
            self.desk.changed.notify_one();
        }
    }

    fn next(&mut self) -> Next<'p, T, S, C, E> {
        let mut queue = self.desk.lock();
        loop {
            let now = self.clock.elapsed();
            if let Some(next) = self.choose(&mut queue, now) {
                return next;
            }
            if queue.is_watched {
                queue.sleepers += 1;
                queue = self.desk.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.sleepers -= 1;
                continue;
            }
            queue.is_watched = true;
            let pause = queue.next_due().map(|due| due.saturating_sub(now)).filter(|pause| !pause.is_zero());
            if let (Some(pause), 0) = (pause, queue.active) {
                return Next::Pause(pause.min(LOOK));
            }
            queue.sleepers += 1;
            let waited = self.desk.changed.wait_timeout(queue, LOOK);
            let (changed, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = changed;
            queue.sleepers -= 1;
            queue.is_watched = false;
            if waited.timed_out() {
                return Next::Sweep;
            }
        }
    }

    /// What can be done now.
    fn choose(&self, queue: &mut Queue<T, S, C, E>, now: Duration) -> Option<Next<'p, T, S, C, E>> {
        if self.stop.is_stopped() {
            return Some(queue.waiting.pop_front().map_or(Next::End, Next::Finish));
        }
        if let Some(next) = queue.pick(self.pool, now) {
            return Some(next);
        }
        let in_hand = queue.waiting.len() + queue.active;
        match queue.orders {
            Orders::Open if self.wants_orders(queue) => {
                queue.orders = Orders::BeingAsked;
                Some(Next::Ask)
            }
            Orders::Ended if in_hand == 0 => Some(Next::End),
            _ => None,
        }
    }

    /// Whether so few orders are left that more are taken from the caller.
    fn wants_orders(&self, queue: &Queue<T, S, C, E>) -> bool {
        queue.has_room(self.desk.most, self.desk.ahead.div_ceil(2), AHEAD_BYTES / 2)
    }

    /// Looks at a message before it is tried for the first time.
    fn look(&mut self, mut held: Held<T, S, C, E>) {
        held.is_checked = true;
        let message = &mut held.order.message;
        let looked = self.check.map_or(Ok(()), |limits| message.check(limits).map(drop));
        held.report = message.report();
        match looked {
            Ok(()) => self.put_back(held),
            Err(error) => {
                held.report.put_off(&error.diagnostic(), Duration::ZERO, DeliveryStatus::Failed);
                held.error = Some(error.into());
                self.finish(held);
                self.desk.lock().active -= 1;
            }
        }
    }

    fn attempt(&mut self, mut held: Held<T, S, C, E>, claim: Lease<'p, C>) {
        let mut one_try = held.begin_try(self.policy.codes, self.clock.elapsed());
        let DeliveryRequest { id, message, route } = &mut held.order;
        let watch = Entry { journal: self.journal, id };
        let tried = match claim.open(route) {
            Ok(session) => {
                session.run(route, &mut one_try, message, &mut held.report, &mut self.clock, &watch)
            }
            Err(unopened) => Err(AttemptError::OpenError(unopened)),
        };
        match tried {
            Err(AttemptError::OpenError(unopened)) if unopened.others > 0 => {
                self.journal.session_limit_reached(&unopened.error.diagnostic(), unopened.others);
                held.one_try = Some(one_try);
                self.put_back(held);
            }
            Err(AttemptError::OpenError(unopened)) => {
                let why = unopened.error.diagnostic();
                self.decide(held, Some(unopened.error), Some(why));
            }
            Err(AttemptError::Message(obstacle)) => self.decide(held, Some(obstacle), None),
            Ok(Ended::AtOnce) if !held.report.pending().is_empty() => {
                let why = "the server ends each session with its first message";
                self.decide(held, None, Some(Diagnostic::without_reply(DeliveryStage::Connect, why)));
            }
            Ok(_) => self.decide(held, None, None),
        }
    }

    /// What follows a try. `nothing`: why the route came to nothing.
    fn decide(&mut self, mut held: Held<T, S, C, E>, error: Option<E>, nothing: Option<Diagnostic>) {
        let (now, chance, number) = (self.clock.elapsed(), self.clock.random(), held.order.route.number());
        let elapsed = held.elapsed(now);
        let hope = held.report.meet(error.as_ref().map(|error| error as &dyn Retryable), elapsed);
        held.error = error;
        let route = {
            let mut queue = self.desk.lock();
            match &nothing {
                Some(_) => Some(queue.came_to_nothing(number, hope, self.policy, now, chance)),
                None => {
                    queue.was_of_use(number);
                    None
                }
            }
        };
        held.route_failed = route == Some(queue::Route::GivenUp);
        let again = hope == RetryDecision::Some && !held.route_failed;
        let report = &held.report;
        let pause = again.then(|| self.policy.pause(held.attempts, report, elapsed, chance)).flatten();
        self.journal.attempt_finished(&held.order.id, report, pause);
        if let (Some(why), Some(queue::Route::Rests(pause))) = (&nothing, route) {
            self.journal.route_paused(why, pause);
        }
        if let Some(pause) = pause {
            held.due = now.saturating_add(pause);
            let mut queue = self.desk.lock();
            queue.waiting.push_back(held);
            queue.active -= 1;
        } else {
            let route_failed = held.route_failed;
            // Whoever was tried is told first, and with it what stands in the way.
            self.finish(held);
            let mut queue = self.desk.lock();
            queue.active -= 1;
            if let (Some(why), true) = (&nothing, route_failed) {
                queue.give_up(number, why, hope, now);
            }
        }
    }

    /// A message that is the next one when there is a session for it.
    fn put_back(&self, held: Held<T, S, C, E>) {
        let mut queue = self.desk.lock();
        queue.waiting.push_front(held);
        queue.active -= 1;
    }

    fn finish(&mut self, mut held: Held<T, S, C, E>) {
        held.report.conclude_after(held.elapsed(self.clock.elapsed()));
        let Held {
            order: DeliveryRequest { id, message, .. }, report, error: obstacle, route_failed, ..
        } = held;
        if self.results.send(DeliveryResult { id, message, report, error: obstacle, route_failed }).is_err() {
            // Nobody wants to know any more: the caller has panicked.
            self.stop.trigger();
        }
    }

    /// Takes orders from the caller, as many as there is room for. Each can be tried as soon as it is there.
    fn ask(&self) {
        let mut orders = self.desk.orders.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let order = orders.next();
            let is_over = order.is_none() || self.stop.is_stopped();
            let mut queue = self.desk.lock();
            let order = order.map(|order| Held { is_checked: self.check.is_none(), ..Held::new(order) });
            let was_empty = queue.waiting.is_empty();
            queue.waiting.extend(order);
            if is_over || !queue.has_room(self.desk.most, self.desk.ahead, AHEAD_BYTES) {
                queue.orders = if is_over { Orders::Ended } else { Orders::Open };
                return;
            }
            if was_empty && queue.sleepers > 0 {
                drop(queue);
                self.desk.changed.notify_one();
            }
        }
    }
}

/// Is done if a thread panics.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
