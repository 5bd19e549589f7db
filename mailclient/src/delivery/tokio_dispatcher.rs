//! Delivering many messages in one task on tokio.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{Read, Seek},
    ops::ControlFlow,
    pin::pin,
    task::Poll,
    time::Duration,
};

use io_common::Error;
use proto_mail::Channel;
use proto_smtp::client::Client;

use super::{
    diagnostic::Retryable,
    engine::{
        Checks, DeliveryAction, DeliveryEngine, FinishedDelivery, IdleSessions, Keyed, Pause, RecordedAttempt,
    },
    flights::Flights,
    journal::Journal,
    lent_source::LentSource,
    request::{DeliveryRequest, DeliveryResult, StopSignal},
    retry::RetryPolicy,
    tokio_attempt::{EndedAttempt, Flight, Held},
    tokio_pool::{Closing, Lease, Pool, Session, close_all},
    tokio_route::Route,
    tokio_traits::{AsyncClock, AsyncJournal, RequestSource},
    validation::MessageLimits,
};
use crate::tokio::BlockingJobs;

/// How often a waiting run checks the stop signal, and which sessions have expired.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Delivers many messages on the sessions of a pool, as many at once as its limits allow, in one task.
///
/// [`DeliveryEngine`] decides which message is tried when, and when a route is paused or fails.
///
/// ```no_run
/// use std::{io::Cursor, ops::ControlFlow};
///
/// use mailclient::delivery::tokio::{Dispatcher, FromIter, Pool, Route};
/// use mailclient::delivery::{DeliveryRequest, Message, PoolLimits, SystemClock};
/// use proto_mail::Secure;
///
/// async fn send(route: &Route<Secure>, messages: Vec<(u64, Message<Cursor<Vec<u8>>>)>) {
///     let pool = Pool::new(PoolLimits { sessions_per_host: 2, ..PoolLimits::default() });
///     let requests =
///         messages.into_iter().map(|(id, message)| DeliveryRequest { id, message, route: route.clone() });
///     let dispatcher = Dispatcher::new(&pool, SystemClock::start());
///     dispatcher
///         .run(FromIter(requests), |result| {
///             println!("{}: {:?}", result.id, result.report.status);
///             ControlFlow::Continue(())
///         })
///         .await;
///     pool.close_idle().await;
/// }
/// ```
pub struct Dispatcher<'p, C: Channel + Send, K> {
    pool: &'p Pool<C>,
    policy: RetryPolicy,
    clock: K,
    check: Option<MessageLimits>,
    held: Option<usize>,
    ahead: Option<usize>,
    jobs: BlockingJobs,
    stop: StopSignal,
}

impl<'p, C: Channel + Send, K: AsyncClock> Dispatcher<'p, C, K>
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
            jobs: BlockingJobs::default(),
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
    pub fn check(mut self, limits: MessageLimits) -> Self {
        self.check = Some(limits);
        self
    }

    /// Sets how many messages are held at most: waiting for a delay or a session, or being sent. Default: 256. The next one
    /// is taken from the caller when there is room.
    #[must_use]
    pub fn hold_at_most(mut self, messages: usize) -> Self {
        self.held = Some(messages);
        self
    }

    /// Sets how many untried messages are held at most. Default: 256. Fewer suffice if all go to one host. With several
    /// hosts, a low number lets messages for a slow host delay the others.
    #[must_use]
    pub fn look_ahead(mut self, messages: usize) -> Self {
        self.ahead = Some(messages);
        self
    }

    /// Sets the worker threads that read messages. Several dispatchers may share them. Default: 8 jobs at a time.
    #[must_use]
    pub fn jobs(mut self, jobs: &BlockingJobs) -> Self {
        self.jobs = jobs.clone();
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
    pub async fn run<T, S, E, Q>(
        &self,
        requests: Q,
        done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>,
    ) where
        T: Send + Sync,
        S: Read + Seek + Send + 'static,
        E: Retryable + From<Error> + Send,
        Q: RequestSource<DeliveryRequest<T, S, Route<C, E>>>,
    {
        self.run_with(&(), requests, done).await;
    }

    /// Delivers all `requests` and calls `done` with each result, in any order. `journal` receives each step.
    /// [`ControlFlow::Break`] ends the run early, as a [`StopSignal`] does.
    ///
    /// Every message that was taken from `requests` has a result, also if the run ends early; the rest of `requests` is
    /// not taken then. A panic in `requests`, a source, `journal` or `done` is passed on. The parent module says what
    /// dropping the future does.
    pub async fn run_with<T, S, E, Q>(
        &self,
        journal: &impl AsyncJournal<T>,
        requests: Q,
        done: impl FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>,
    ) where
        T: Send + Sync,
        S: Read + Seek + Send + 'static,
        E: Retryable + From<Error> + Send,
        Q: RequestSource<DeliveryRequest<T, S, Route<C, E>>>,
    {
        let checks = if self.check.is_some() { Checks::EachMessage } else { Checks::Off };
        let mut engine = DeliveryEngine::new(self.policy.clone(), checks);
        if let Some(held) = self.held {
            engine = engine.hold_at_most(held);
        }
        if let Some(ahead) = self.ahead {
            engine = engine.look_ahead(ahead);
        }
        let run = Run {
            settings: self,
            journal,
            engine,
            flights: Flights::new(),
            requests,
            takes_requests: false,
            done,
            clock: self.clock.clone(),
        };
        run.run().await;
    }
}

impl<C: Channel + Send, K> fmt::Debug for Dispatcher<'_, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

type Engine<T, S, C, E> = DeliveryEngine<T, LentSource<S>, Route<C, E>, E>;
type Action<'p, T, S, C, E> = DeliveryAction<T, LentSource<S>, Route<C, E>, E, Box<Lease<'p, C>>>;

/// A run. Dropping it before its end records in the journal what is known of attempts that wait for a session.
struct Run<'r, 'p, T: Sync, S, C: Channel + Send, E, K, J: Journal<T>, Q, D> {
    settings: &'r Dispatcher<'p, C, K>,
    journal: &'r J,
    engine: Engine<T, S, C, E>,
    /// What is in progress.
    flights: Flights<'r, Landing<'r, T, S, C, E>>,
    requests: Q,
    /// Whether the engine wants requests.
    takes_requests: bool,
    done: D,
    clock: K,
}

/// What was in progress and has ended.
enum Landing<'r, T, S, C: Channel + Send, E> {
    Checked(Held<T, S, C, E>, Option<E>),
    Attempted(Box<EndedAttempt<'r, T, S, C, E>>),
    Nothing,
}

/// Why a run goes on after it has waited.
enum Event<'r, T, S, C: Channel + Send, E> {
    Landed(Landing<'r, T, S, C, E>),
    Request(Box<DeliveryRequest<T, S, Route<C, E>>>),
    NoMoreRequests,
    /// A session may be free, or the time has come.
    Tick,
}

impl<'r, 'p: 'r, T, S, C, E, K, J, Q, D> Run<'r, 'p, T, S, C, E, K, J, Q, D>
where
    T: Send + Sync + 'r,
    S: Read + Seek + Send + 'static,
    C: Channel + Send,
    Client<C>: Send,
    E: Retryable + From<Error> + Send + 'r,
    K: AsyncClock,
    J: AsyncJournal<T>,
    Q: RequestSource<DeliveryRequest<T, S, Route<C, E>>>,
    D: FnMut(DeliveryResult<T, S, E>) -> ControlFlow<()>,
{
    async fn run(mut self) {
        loop {
            if self.settings.stop.is_stopped() {
                self.engine.stop();
            }
            let now = self.clock.elapsed();
            let pool = self.settings.pool;
            let lease = |route: &Route<C, E>| pool.lease(route.key()).map(Box::new);
            let pause = match self.engine.next_action(now, lease) {
                DeliveryAction::Wait(pause) => pause,
                DeliveryAction::End => break,
                action => {
                    self.begin(action);
                    continue;
                }
            };
            if let Pause::Until(_, IdleSessions::Close) = pause {
                self.close(pool.idle());
            }
            self.close(pool.expired());
            match self.wait(pause, now).await {
                Event::Landed(landing) => self.landed(landing),
                Event::Request(request) => self.add(*request),
                Event::NoMoreRequests => self.end_requests(),
                Event::Tick => {}
            }
        }
        // Sessions that are being closed.
        self.flights.join().await;
    }

    /// Begins what the engine asks for.
    fn begin(&mut self, action: Action<'p, T, S, C, E>) {
        let settings = self.settings;
        match action {
            DeliveryAction::Check(mut delivery) => self.flights.push(async move {
                let message = delivery.message_mut();
                let checked = match &settings.check {
                    Some(limits) => message.check_lent(limits, &settings.jobs).await,
                    None => Ok(()),
                };
                Landing::Checked(delivery, checked.err().map(E::from))
            }),
            DeliveryAction::Attempt(delivery, lease) => {
                let flight = Flight::new(delivery, self.clock.clone(), self.journal, &settings.jobs);
                self.flights.push(async move {
                    flight.run(*lease).await.map_or(Landing::Nothing, Landing::Attempted)
                });
            }
            DeliveryAction::Report(result) => self.report(*result),
            DeliveryAction::TakeRequests => self.takes_requests = true,
            DeliveryAction::Wait(_) | DeliveryAction::End => {}
        }
    }

    /// Closes sessions, while the run goes on.
    fn close(&mut self, sessions: Vec<Closing<'r, C>>) {
        if !sessions.is_empty() {
            self.flights.push(async move {
                close_all(sessions).await;
                Landing::Nothing
            });
        }
    }

    /// Waits for an event.
    async fn wait(&mut self, pause: Pause, now: Duration) -> Event<'r, T, S, C, E> {
        let mut clock = self.clock.clone();
        let timer = async move {
            match pause {
                Pause::Until(due, _) => clock.pause(due.saturating_sub(now).min(CHECK_INTERVAL)).await,
                Pause::Event(due) => {
                    let delay = due.map_or(CHECK_INTERVAL, |due| due.saturating_sub(now));
                    ::tokio::time::sleep(delay.min(CHECK_INTERVAL)).await;
                }
            }
        };
        let (mut timer, mut changed) = (pin!(timer), pin!(self.settings.pool.changed()));
        poll_fn(|cx| {
            if let Poll::Ready(landing) = self.flights.poll_next(cx) {
                return Poll::Ready(Event::Landed(landing));
            }
            if self.takes_requests
                && let Poll::Ready(request) = self.requests.poll_next(cx)
            {
                return Poll::Ready(
                    request.map_or(Event::NoMoreRequests, |request| Event::Request(Box::new(request))),
                );
            }
            if changed.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Tick);
            }
            Poll::Pending
        })
        .await
    }

    fn add(&mut self, request: DeliveryRequest<T, S, Route<C, E>>) {
        let DeliveryRequest { id, message, route } = request;
        if let Some(message) = message.map_source(|source| Some(LentSource::new(source))) {
            self.engine.add(DeliveryRequest { id, message, route });
        }
        if self.settings.stop.is_stopped() {
            self.end_requests();
        } else if !self.engine.has_room() {
            self.takes_requests = false;
            self.engine.pause_requests();
        }
    }

    fn end_requests(&mut self) {
        self.takes_requests = false;
        self.engine.end_requests();
    }

    fn landed(&mut self, landing: Landing<'r, T, S, C, E>) {
        let now = self.clock.elapsed();
        match landing {
            Landing::Checked(delivery, error) => {
                if let Some(done) = self.engine.checked(delivery, error, now) {
                    self.finish(done, now);
                }
            }
            Landing::Attempted(ended) => {
                let EndedAttempt { delivery, outcome, session } = *ended;
                let random = self.clock.random();
                match self.engine.attempted(delivery, outcome, now, random).record(self.journal, now) {
                    RecordedAttempt::Waiting(waiting) => self.engine.wait(waiting),
                    RecordedAttempt::Done(done) => self.finish(*done, now),
                }
                self.close(session.and_then(Session::release).into_iter().collect());
            }
            Landing::Nothing => {}
        }
    }

    fn finish(&mut self, done: FinishedDelivery<T, LentSource<S>, E>, now: Duration) {
        self.report(done.result);
        self.engine.reported(done.reported, now);
    }

    fn report(&mut self, result: DeliveryResult<T, LentSource<S>, E>) {
        let DeliveryResult { id, message, report, error, route_failed } = result;
        // Without its source, tokio shuts down, and the caller is not polled any more.
        let Some(message) = message.map_source(LentSource::into_inner) else { return };
        if (self.done)(DeliveryResult { id, message, report, error, route_failed }).is_break() {
            self.settings.stop.trigger();
        }
    }
}

impl<T: Sync, S, C: Channel + Send, E, K, J: Journal<T>, Q, D> Drop for Run<'_, '_, T, S, C, E, K, J, Q, D> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (id, report) in self.engine.interrupted() {
            self.journal.attempt_finished(id, report, None);
        }
    }
}
