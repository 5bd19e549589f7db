//! The calls to a journal and their order: a program may be killed after any call and still knows which recipients have
//! the message. Also, what a dispatcher does about a route that fails and a server that accepts few sessions.

#![allow(clippy::unwrap_used, clippy::panic)]

mod loopback;
mod mail;

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use io_mio::{ConnectionLimits, Error, ListenerTls};
use mail::{Book, Running, Still, Text, message, with_text};
use mailclient::delivery::{
    Chunking, DeliveryReport, DeliveryRequest, DeliveryResult, DeliveryStage, DeliveryStatus, Diagnostic,
    Dispatcher, Journal, Pool, PoolLimits, RetryPolicy, Route, StopSignal, SystemClock,
};
use proto_mail::Cleartext;
use proto_smtp::Config;

type Result = DeliveryResult<usize, Text>;

/// A journal that records its calls.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    bytes: AtomicUsize,
    /// The messages of this server must not have arrived before `before_final_bytes` has returned.
    book: Option<Arc<Book>>,
    is_broken: bool,
    /// Triggered in the first pause.
    stop: Option<StopSignal>,
}

impl Log {
    fn line(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Journal<usize> for Log {
    fn before_final_bytes(&self, id: &usize, recipients: &[usize]) -> io::Result<()> {
        let before = self.book.as_ref().map_or(0, |book| book.messages().len());
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(self.book.as_ref().map_or(0, |book| book.messages().len()), before);
        self.line(format!("{id} ending {recipients:?}"));
        if self.is_broken { Err(io::Error::other("the disk is full")) } else { Ok(()) }
    }

    fn attempt_finished(&self, id: &usize, report: &DeliveryReport, pause: Option<Duration>) {
        let statuses: Vec<_> = report.recipients.iter().map(|one| one.status).collect();
        self.line(format!("{id} tried {statuses:?} {:?}", pause.map(|pause| pause.as_millis())));
        if let (Some(stop), Some(_)) = (&self.stop, pause) {
            stop.trigger();
        }
    }

    fn bytes_queued(&self, _: &usize, bytes: u64) {
        self.bytes.fetch_add(usize::try_from(bytes).unwrap(), Ordering::SeqCst);
    }

    fn route_paused(&self, why: &Diagnostic, pause: Duration) {
        self.line(format!("resting {:?} {}", why.stage, pause.as_millis()));
    }

    fn session_limit_reached(&self, why: &Diagnostic, sessions: usize) {
        self.line(format!("crowded {:?} {sessions}", why.code));
    }
}

fn orders<'a>(
    route: &'a Route<Cleartext>,
    messages: impl IntoIterator<Item = Vec<&'static str>, IntoIter: Send> + 'a,
) -> impl Iterator<Item = DeliveryRequest<usize, Text, Route<Cleartext>>> + Send + 'a {
    let messages: Vec<_> = messages.into_iter().collect();
    messages.into_iter().enumerate().map(|(id, recipients)| DeliveryRequest {
        id,
        message: message(recipients),
        route: route.clone(),
    })
}

/// Runs the dispatcher until all orders are done.
fn run(
    dispatcher: &Dispatcher<'_, Cleartext, Still>,
    log: &Log,
    orders: impl IntoIterator<Item = DeliveryRequest<usize, Text, Route<Cleartext>>, IntoIter: Send>,
) -> Vec<Result> {
    let mut all = Vec::new();
    dispatcher.run_with(log, orders, |done| {
        all.push(done);
        ControlFlow::Continue(())
    });
    all
}

fn one_at_a_time() -> Pool<Cleartext> {
    Pool::new(PoolLimits { sessions: 1, ..PoolLimits::default() })
}

#[test]
fn the_journal_gets_each_step_before_the_next() {
    let server = Running::start();
    let (pool, route) = (one_at_a_time(), server.route());
    let log = Log { book: Some(server.book.clone()), ..Log::default() };
    let recipients = vec!["a@x.example", "no@x.example", "later@x.example"];
    let done = run(&Dispatcher::new(&pool, Still::default()), &log, orders(&route, [recipients]));
    assert_eq!(
        log.lines(),
        [
            "0 ending [0]",
            "0 tried [Success, Rejected, Retry] Some(1007)",
            "0 ending [2]",
            "0 tried [Success, Rejected, Success] None",
        ]
    );
    assert_eq!(log.bytes.load(Ordering::SeqCst), 2 * mail::TEXT.len());
    let attempts: Vec<_> = done[0].report.recipients.iter().map(|one| one.attempts).collect();
    assert_eq!((attempts, done[0].report.retry_count, done[0].route_failed), (vec![1, 1, 2], 1, false));
    let taken: Vec<_> = server.book.messages().into_iter().map(|taken| taken.recipients).collect();
    assert_eq!(taken, [["a@x.example"], ["later@x.example"]]);
    // No session was kept during the pause.
    assert_eq!(server.book.sessions().2, 2);
}

#[test]
fn already_decided_recipients_get_nothing() {
    let server = Running::start();
    let (pool, log) = (one_at_a_time(), Log::default());
    let known = || Diagnostic::without_reply(DeliveryStage::Message, "the server took it in an earlier run");
    let both = |message: mailclient::delivery::Message<Text>| {
        message.already_decided(1, DeliveryStatus::Success, known())
    };
    let first = message(["a@x.example", "b@x.example"]);
    let orders = [
        (0, both(first)),
        (
            1,
            both(message(["a@x.example", "b@x.example"]).already_decided(
                0,
                DeliveryStatus::Uncertain,
                known(),
            )),
        ),
    ];
    let orders = orders.map(|(id, message)| DeliveryRequest { id, message, route: server.route() });
    let mut done = run(&Dispatcher::new(&pool, Still::default()), &log, orders);
    done.sort_by_key(|done| done.id);
    assert_eq!(log.lines(), ["0 ending [0]", "0 tried [Success, Success] None"]);
    let [first, second] = &done[..] else { panic!() };
    assert_eq!(
        (first.report.status, second.report.status),
        (DeliveryStatus::Success, DeliveryStatus::Uncertain)
    );
    assert_eq!(first.report.recipients[1].diagnostic, Some(known()));
    assert_eq!((first.report.recipients[1].attempts, second.report.recipients[0].attempts), (0, 0));
    assert_eq!(server.book.messages()[0].recipients, ["a@x.example"]);
    assert_eq!(server.book.messages().len(), 1);
}

#[test]
fn an_unwritable_journal_holds_the_message_back() {
    let long = format!("{}{}", mail::TEXT, "0123456789\r\n".repeat(100_000));
    for chunking in [Chunking::WhereNeeded, Chunking::WhereOffered] {
        for text in [mail::TEXT, &long] {
            let server = Running::start();
            let (pool, log) = (one_at_a_time(), Log { is_broken: true, ..Log::default() });
            let message = with_text(text, ["a@x.example", "no@x.example"]).chunking(chunking);
            let order = DeliveryRequest { id: 0, message, route: server.route() };
            let [done] = &run(&Dispatcher::new(&pool, Still::default()), &log, [order])[..] else { panic!() };
            assert_eq!(log.lines(), ["0 ending [0]", "0 tried [Retry, Rejected] None"]);
            let statuses: Vec<_> =
                done.report.recipients.iter().map(|one| (one.status, one.attempts)).collect();
            assert_eq!(statuses, [(DeliveryStatus::TempFailed, 1), (DeliveryStatus::Rejected, 1)]);
            let text = &done.report.recipients[0].diagnostic.as_ref().unwrap().text;
            assert!(text.contains("journal") && text.contains("the disk is full"), "{text}");
            assert!(done.error.is_some() && !done.route_failed);
            assert_eq!(pool.sessions(), (0, 0));
            assert_eq!(server.book.messages().len(), 0);
        }
    }
}

#[test]
fn losing_a_kept_session_between_two_messages_is_not_an_attempt() {
    for step in ["none", "mail", "rcpt"] {
        let server = Running::start();
        let (pool, route, log) = (one_at_a_time(), server.route(), Log::default());
        server.book.reply_421_at(step, 3);
        let all = orders(&route, [vec!["a@x.example"], vec!["b@x.example"], vec!["c@x.example"]]);
        let done = run(&Dispatcher::new(&pool, Still::default()), &log, all);
        let expected = |id| [format!("{id} ending [0]"), format!("{id} tried [Success] None")];
        assert_eq!(log.lines(), [expected(0), expected(1), expected(2)].concat(), "{step}");
        assert!(done.iter().all(|done| done.report.recipients[0].attempts == 1));
        let sessions = if step == "none" { 1 } else { 2 };
        assert_eq!((server.book.sessions().2, server.book.messages().len()), (sessions, 3), "{step}");
    }
}

#[test]
fn stopping_does_not_wait_for_a_retry_delay() {
    let server = Running::start();
    let (pool, route) = (one_at_a_time(), server.route());
    let policy =
        RetryPolicy { initial_delay: Duration::from_secs(60), jitter_percent: 0, ..RetryPolicy::default() };
    let dispatcher = Dispatcher::new(&pool, SystemClock::start()).policy(policy);
    let log = Log { stop: Some(dispatcher.stop()), ..Log::default() };
    let begun = Instant::now();
    let mut all = Vec::new();
    dispatcher.run_with(&log, orders(&route, [vec!["busy@x.example", "a@x.example"]]), |done| {
        all.push(done);
        ControlFlow::Continue(())
    });
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(log.lines(), ["0 ending [1]", "0 tried [Retry, Success] Some(60000)"]);
    let report = &all[0].report;
    assert_eq!(
        (report.status, report.is_retryable, report.retry_count),
        (DeliveryStatus::TempFailed, true, 0)
    );
    assert!(report.duration_ms < 10_000 && !all[0].route_failed && all[0].error.is_none());
}

fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < end, "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A route that fails with this error once the dispatcher holds this many messages. Counts the attempts to open it.
struct Broken {
    route: Route<Cleartext>,
    opened: Arc<AtomicUsize>,
    in_hand: Arc<AtomicUsize>,
}

impl Broken {
    fn behind(messages: usize, error: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        let (opened, in_hand) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, taken) = (opened.clone(), in_hand.clone());
        let route = Route::new("x.example", 25, move || {
            count.fetch_add(1, Ordering::SeqCst);
            wait_until(|| taken.load(Ordering::SeqCst) >= messages);
            Err(error())
        });
        Self { route, opened, in_hand }
    }

    /// Counts these orders as the dispatcher takes them.
    fn counts<'a>(
        &'a self,
        orders: impl Iterator<Item = DeliveryRequest<usize, Text, Route<Cleartext>>> + Send + 'a,
    ) -> impl Iterator<Item = DeliveryRequest<usize, Text, Route<Cleartext>>> + Send + 'a {
        // The count also rises when the dispatcher asks for more after the last order.
        orders.map(Some).chain([None]).inspect(|_| _ = self.in_hand.fetch_add(1, Ordering::SeqCst)).flatten()
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

#[test]
fn an_unreachable_host_is_tried_once_per_policy_for_all_messages() {
    let broken = Broken::behind(11, || Error::Closed);
    let (pool, log) = (one_at_a_time(), Log::default());
    let policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
    let dispatcher = Dispatcher::new(&pool, Still::default()).policy(policy);
    let all = orders(&broken.route, (0..10).map(|_| vec!["a@x.example"]));
    let done = run(&dispatcher, &log, broken.counts(all));
    assert_eq!((broken.opened(), done.len()), (3, 10));
    let rests: Vec<_> = log.lines().into_iter().filter(|line| line.starts_with("resting")).collect();
    assert_eq!(rests, ["resting Connect 1007", "resting Connect 2007"]);
    assert!(done[0].error.is_some());
    for done in &done {
        assert!(done.route_failed, "{done:?}");
        assert_eq!((done.report.status, done.report.is_retryable), (DeliveryStatus::TempFailed, true));
        assert_eq!(done.report.recipients[0].diagnostic.as_ref().unwrap().stage, DeliveryStage::Connect);
    }
    assert_eq!(done.iter().map(|done| done.report.recipients[0].attempts).sum::<u32>(), 3);
}

#[test]
fn a_permanent_refusal_fails_one_route_and_others_go_on() {
    let refused = || Error::AuthenticationFailed { code: Some(535), reply: "no".to_owned() };
    let (broken, server) = (Broken::behind(11, refused), Running::start());
    let (pool, log) = (one_at_a_time(), Log::default());
    let all = (0..10).map(|id| DeliveryRequest {
        id,
        message: message(["a@x.example"]),
        route: if id % 2 == 0 { broken.route.clone() } else { server.route() },
    });
    let done = run(&Dispatcher::new(&pool, Still::default()), &log, broken.counts(all));
    assert_eq!(broken.opened(), 1);
    for done in &done {
        let is_refused = done.id % 2 == 0;
        let status = if is_refused { DeliveryStatus::Failed } else { DeliveryStatus::Success };
        assert_eq!((done.route_failed, done.report.status), (is_refused, status));
    }
    assert_eq!((done.len(), server.book.messages().len()), (10, 5));
}

#[test]
fn retries_a_failed_route_after_its_pause() {
    let server = Running::start();
    let (open, tries) = (mail::open(server.address), AtomicUsize::new(0));
    let route = Route::new("127.0.0.1", server.address.port(), move || {
        if tries.fetch_add(1, Ordering::SeqCst) == 0 { Err(Error::Closed) } else { open() }
    });
    let (pool, log) = (one_at_a_time(), Log::default());
    let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let dispatcher = Dispatcher::new(&pool, Still::default()).policy(policy).hold_at_most(1);
    let done = run(&dispatcher, &log, orders(&route, [vec!["a@x.example"], vec!["b@x.example"]]));
    let fates: Vec<_> = done.iter().map(|done| (done.route_failed, done.report.status)).collect();
    assert_eq!(fates, [(true, DeliveryStatus::TempFailed), (false, DeliveryStatus::Success)]);
}

#[test]
fn a_server_with_few_sessions_gets_every_message() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 2;
    let server = Running::with(ListenerTls::None, Config::default().danger_cleartext(), limits);
    server.book.think(Duration::from_millis(5));
    let pool = Pool::new(PoolLimits { sessions_per_host: 5, ..PoolLimits::default() });
    let (route, log) = (server.route(), Log::default());
    let done = run(
        &Dispatcher::new(&pool, Still::default()),
        &log,
        orders(&route, (0..40).map(|_| vec!["a@x.example"])),
    );
    let good = |done: &Result| {
        done.report.status == DeliveryStatus::Success
            && done.report.recipients[0].attempts == 1
            && !done.route_failed
    };
    assert!(done.iter().all(good), "{:?}", log.lines());
    assert_eq!((done.len(), server.book.messages().len()), (40, 40));
    let crowded = log.lines().into_iter().filter(|line| line.starts_with("crowded Some(421)")).count();
    assert!((1..=3).contains(&crowded), "{:?}", log.lines());
    assert!(server.book.sessions().2 <= 5, "{:?}", server.book.sessions());
}

#[test]
fn closes_unneeded_sessions_while_the_queue_is_empty() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits { idle: Duration::from_millis(30), ..PoolLimits::default() });
    let (hand_in, queue) = mpsc::channel();
    let order = |id| DeliveryRequest { id, message: message(["a@x.example"]), route: server.route() };
    hand_in.send(order(0)).unwrap();
    let mut hand_in = Some(hand_in);
    let mut count = 0;
    Dispatcher::new(&pool, SystemClock::start()).run(queue, |done| {
        assert_eq!(done.report.status, DeliveryStatus::Success);
        count += 1;
        if let Some(hand_in) = hand_in.take() {
            wait_until(|| pool.sessions().0 == 0);
            hand_in.send(order(1)).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!((count, server.book.sessions().2), (2, 2));
}

#[test]
fn sweep_returns_when_the_next_session_expires() {
    let server = Running::start();
    let limits = PoolLimits { idle: Duration::from_millis(80), ..PoolLimits::default() };
    let (pool, route) = (Pool::new(limits), server.route());
    assert_eq!(pool.sweep(), None);
    drop(pool.session(&route).unwrap());
    let next = pool.sweep().unwrap();
    assert!(!next.is_zero() && next <= Duration::from_millis(80), "{next:?}");
    assert_eq!(pool.sessions(), (1, 1));
    std::thread::sleep(next);
    assert_eq!((pool.sweep(), pool.sessions()), (None, (0, 0)));
}
