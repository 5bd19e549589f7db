//! Many messages at once: who is sent when, and who waits for what.
//!
//! It knows a queue and a few threads. Sessions it has from the pool, and what a try is it does not know.
//!
//! Each thread takes the first message that may go now (its pause is over, and the pool has a session for it), makes
//! one try, and puts it back if somebody still waits. A message that pauses holds neither a thread nor a session.

use std::{
    collections::VecDeque,
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

use proto_core::Channel;
use proto_smtp::client::Client;

use super::{
    CheckLimits, Clock, DeliveryReport, Message, Obstacle, Pool, RetryPolicy, Route, Status, attempt::Try,
    pool::Claim,
};
use crate::Error;

/// So many messages are taken from the caller ahead of what can be sent, unless it is set.
const HELD: usize = 256;
/// So many results wait for the caller; then nothing more is begun.
const RESULTS: usize = 64;
/// At least so often a thread that waits looks whether it was told to stop, or a session became free elsewhere.
const LOOK: Duration = Duration::from_millis(20);

/// A message to deliver, the way that it goes, and what the caller calls it.
#[derive(Debug)]
pub struct Order<T, S, C: Channel, E = Error> {
    /// The caller's own name for it, given back with the result.
    pub id: T,
    /// The message.
    pub message: Message<S>,
    /// The way to the server.
    pub route: Route<C, E>,
}

/// What became of an [`Order`].
#[derive(Debug)]
pub struct Done<T, S, E = Error> {
    /// The caller's own name for it.
    pub id: T,
    /// The message, as it was given.
    pub message: Message<S>,
    /// What became of everybody.
    pub report: DeliveryReport,
    /// What stood in the way of the last try as a whole, if something did.
    pub obstacle: Option<E>,
}

/// Ends a run early, from any thread: no further try begins, and those that are being made are made to their end, since
/// to cut one off may leave a message [`Uncertain`](super::Status::Uncertain).
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops.
    pub fn now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Delivers many messages on the sessions of a pool, as many at once as its limits allow.
///
/// ```text
/// let pool = Pool::new(PoolLimits { sessions_per_host: 2, ..PoolLimits::default() });
/// let route = Route::logged_in(&connector, &target, &config, credentials);
/// let orders = messages.map(|(id, message)| Order { id, message, route: route.clone() });
/// Dispatcher::new(&pool, SystemClock::start()).run(orders, |done| {
///     println!("{}: {:?}", done.id, done.report.status);
///     ControlFlow::Continue(())
/// });
/// ```
pub struct Dispatcher<'p, C: Channel, K> {
    pool: &'p Pool<C>,
    policy: RetryPolicy,
    clock: K,
    check: Option<CheckLimits>,
    held: usize,
    stop: Stop,
}

impl<'p, C: Channel + Send, K: Clock + Clone + Send> Dispatcher<'p, C, K>
where
    Client<C>: Send,
{
    /// A dispatcher with the default policy. Clones of the clock must show the same time.
    pub fn new(pool: &'p Pool<C>, clock: K) -> Self {
        Self { pool, policy: RetryPolicy::default(), clock, check: None, held: HELD, stop: Stop::default() }
    }

    /// How often each message is tried.
    #[must_use]
    pub const fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Each message is [checked](Message::check) before anything of it is sent.
    #[must_use]
    pub const fn check(mut self, limits: CheckLimits) -> Self {
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

    /// Ends a run early. It holds for every later run of this dispatcher, too.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Delivers what `orders` brings, until it ends and all is done, and calls `done` on this thread with each result as
    /// it comes, in any order. [`ControlFlow::Break`] is a [`Stop`].
    ///
    /// Every message that was taken from `orders` has its result; stopped, those that were not tried are among them,
    /// and the rest of `orders` is not asked for. `orders` may block, as a channel does: it is asked on a thread of its
    /// own turn, and meanwhile the others work on. A panic of `orders`, of a source or of `done` ends the run and is
    /// passed on.
    pub fn run<T, S, E, I>(&self, orders: I, mut done: impl FnMut(Done<T, S, E>) -> ControlFlow<()>)
    where
        T: Send,
        S: Read + Seek + Send,
        E: Obstacle + From<Error> + Send,
        I: IntoIterator<Item = Order<T, S, C, E>>,
        I::IntoIter: Send,
    {
        let desk = Desk {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                active: 0,
                orders: Orders::Open,
                watched: false,
            }),
            changed: Condvar::new(),
            orders: Mutex::new(orders.into_iter()),
            most: self.held.max(1),
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
                    desk: &desk,
                    results: results.clone(),
                    clock: self.clock.clone(),
                };
                scope.spawn(move || worker.work());
            }
            drop(results);
            for result in told {
                if done(result).is_break() {
                    self.stop.now();
                }
            }
        });
    }
}

impl<C: Channel, K> fmt::Debug for Dispatcher<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A message that is in hand.
struct Held<T, S, C: Channel, E> {
    order: Order<T, S, C, E>,
    report: DeliveryReport,
    obstacle: Option<E>,
    checked: bool,
    /// How many tries were made.
    tries: u32,
    /// When the first began, and when the next may, by the clock.
    began: Duration,
    due: Duration,
}

impl<T, S: Read + Seek, C: Channel, E> Held<T, S, C, E> {
    fn new(order: Order<T, S, C, E>) -> Self {
        let report = order.message.report();
        Self {
            order,
            report,
            obstacle: None,
            checked: false,
            tries: 0,
            began: Duration::ZERO,
            due: Duration::ZERO,
        }
    }
}

/// What the threads share.
struct Desk<T, S, C: Channel, E, I> {
    queue: Mutex<Queue<T, S, C, E>>,
    changed: Condvar,
    orders: Mutex<I>,
    most: usize,
}

impl<T, S, C: Channel, E, I> Desk<T, S, C, E, I> {
    fn lock(&self) -> MutexGuard<'_, Queue<T, S, C, E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Queue<T, S, C: Channel, E> {
    waiting: VecDeque<Held<T, S, C, E>>,
    /// How many are being tried.
    active: usize,
    orders: Orders,
    /// Somebody looks at the clock for all.
    watched: bool,
}

/// Where the caller's orders stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    Open,
    /// Somebody asks for the next.
    BeingAsked,
    Ended,
}

/// What a thread does next.
enum Next<'p, T, S, C: Channel, E> {
    Check(Held<T, S, C, E>),
    Try(Held<T, S, C, E>, Box<Claim<'p, C>>),
    Finish(Held<T, S, C, E>),
    Ask,
    Pause(Duration),
    End,
}

struct Worker<'a, 'p, T, S, C: Channel, E, I, K> {
    pool: &'p Pool<C>,
    policy: &'a RetryPolicy,
    check: Option<&'a CheckLimits>,
    stop: &'a Stop,
    desk: &'a Desk<T, S, C, E, I>,
    results: SyncSender<Done<T, S, E>>,
    clock: K,
}

impl<'p, T, S, C, E, I, K> Worker<'_, 'p, T, S, C, E, I, K>
where
    S: Read + Seek,
    C: Channel,
    E: Obstacle + From<Error>,
    I: Iterator<Item = Order<T, S, C, E>>,
    K: Clock,
{
    fn work(mut self) {
        let desk = self.desk;
        let stop = self.stop;
        let end = OnPanic(|| {
            stop.now();
            drop(desk.lock());
            desk.changed.notify_all();
        });
        loop {
            let next = self.next();
            // Somebody else looks at the clock meanwhile.
            desk.changed.notify_all();
            match next {
                Next::Check(held) => self.look(held),
                Next::Try(held, claim) => self.attempt(held, *claim),
                Next::Finish(held) => self.finish(held),
                Next::Ask => self.ask(),
                Next::Pause(pause) => {
                    self.clock.pause(pause);
                    desk.lock().watched = false;
                    self.pool.sweep();
                }
                Next::End => break,
            }
            desk.changed.notify_all();
        }
        std::mem::forget(end);
    }

    fn next(&mut self) -> Next<'p, T, S, C, E> {
        let mut queue = self.desk.lock();
        loop {
            let now = self.clock.elapsed();
            if let Some(next) = self.choose(&mut queue, now) {
                return next;
            }
            if queue.watched {
                queue = self.desk.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.watched = true;
            let due = queue.waiting.iter().map(|held| held.due).min();
            let pause = due.map(|due| due.saturating_sub(now)).filter(|pause| !pause.is_zero());
            if let (Some(pause), 0) = (pause, queue.active) {
                return Next::Pause(pause.min(LOOK));
            }
            let waited = self.desk.changed.wait_timeout(queue, LOOK);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.watched = false;
        }
    }

    /// What can be done now.
    fn choose(&self, queue: &mut Queue<T, S, C, E>, now: Duration) -> Option<Next<'p, T, S, C, E>> {
        if self.stop.is_said() {
            return Some(queue.waiting.pop_front().map_or(Next::End, Next::Finish));
        }
        if let Some(next) = self.pick(queue, now) {
            return Some(next);
        }
        let in_hand = queue.waiting.len() + queue.active;
        match queue.orders {
            Orders::Open if in_hand < self.desk.most => {
                queue.orders = Orders::BeingAsked;
                Some(Next::Ask)
            }
            Orders::Ended if in_hand == 0 => Some(Next::End),
            _ => None,
        }
    }

    /// The first message that may go now.
    fn pick(&self, queue: &mut Queue<T, S, C, E>, now: Duration) -> Option<Next<'p, T, S, C, E>> {
        let mut full = Vec::new();
        for at in 0..queue.waiting.len() {
            let held = queue.waiting.get(at).filter(|held| held.due <= now);
            let Some(held) = held else { continue };
            let route = &held.order.route;
            if self.check.is_some() && !held.checked {
                queue.active += 1;
                return queue.waiting.remove(at).map(Next::Check);
            }
            if held.report.pending().is_empty() {
                return queue.waiting.remove(at).map(Next::Finish);
            }
            if full.contains(route.place()) {
                continue;
            }
            let Some(claim) = self.pool.claim(route) else {
                full.push(route.place().clone());
                continue;
            };
            queue.active += 1;
            return queue.waiting.remove(at).map(|held| Next::Try(held, Box::new(claim)));
        }
        None
    }

    /// Looks at a message before it is tried for the first time.
    fn look(&mut self, mut held: Held<T, S, C, E>) {
        held.checked = true;
        let message = &mut held.order.message;
        let looked = self.check.map_or(Ok(()), |limits| message.check(limits).map(drop));
        held.report = message.report();
        match looked {
            Ok(()) => {
                let mut queue = self.desk.lock();
                queue.waiting.push_front(held);
                queue.active -= 1;
            }
            Err(error) => {
                held.report.put_off(&error.answer(), Duration::ZERO, Status::Failed);
                held.obstacle = Some(error.into());
                self.finish(held);
                self.desk.lock().active -= 1;
            }
        }
    }

    fn attempt(&mut self, mut held: Held<T, S, C, E>, claim: Claim<'p, C>) {
        let policy = self.policy;
        if held.tries == 0 {
            held.began = self.clock.elapsed();
        }
        held.tries = held.tries.saturating_add(1);
        let one_try = Try::new(&held.report, policy.codes, held.began);
        let Order { message, route, .. } = &mut held.order;
        let tried = claim
            .open(route)
            .and_then(|session| session.run(route, one_try, message, &mut held.report, &mut self.clock));
        held.obstacle = tried.err();
        let obstacle = held.obstacle.as_ref().map(|obstacle| obstacle as &dyn Obstacle);
        let (now, chance) = (self.clock.elapsed(), self.clock.chance());
        let elapsed = now.saturating_sub(held.began);
        match policy.after(held.tries, obstacle, &mut held.report, elapsed, chance) {
            Some(pause) => {
                held.due = now.saturating_add(pause);
                let mut queue = self.desk.lock();
                queue.waiting.push_back(held);
                queue.active -= 1;
            }
            None => {
                self.finish(held);
                self.desk.lock().active -= 1;
            }
        }
    }

    fn finish(&mut self, mut held: Held<T, S, C, E>) {
        let began = if held.tries == 0 { self.clock.elapsed() } else { held.began };
        held.report.conclude_after(self.clock.elapsed().saturating_sub(began));
        let Order { id, message, .. } = held.order;
        let done = Done { id, message, report: held.report, obstacle: held.obstacle };
        if self.results.send(done).is_err() {
            // Nobody wants to know any more: the caller has panicked.
            self.stop.now();
        }
    }

    fn ask(&self) {
        let order = self.desk.orders.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut queue = self.desk.lock();
        queue.orders = if order.is_some() { Orders::Open } else { Orders::Ended };
        queue.waiting.extend(order.map(Held::new));
    }
}

/// Is done if a thread panics.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
