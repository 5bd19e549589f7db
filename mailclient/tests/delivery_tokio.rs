//! Delivery on tokio: several sessions in one task, dropped runs, and sources that block.

#![allow(clippy::unwrap_used, clippy::panic)]

mod mail;
mod scripted;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Cursor, Read, Seek, SeekFrom},
    net::SocketAddr,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use io_tokio::{Connector, Deadlines, Security, Target, TlsClientConfig};
use mailclient::delivery::tokio::{AsyncJournal, Dispatcher, FromIter, Pool, Route, wait_until_ready};
use mailclient::delivery::{
    DeliveryReport, DeliveryRequest, DeliveryStatus, Journal, Message, MessageLimits, PoolLimits,
    RetryPolicy, SystemClock,
};
use mailclient::tokio::BlockingJobs;
use proto_mail::Cleartext;
use proto_smtp::Config;
use scripted::{
    Act::{self, Say, Silence},
    Scripted,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{Barrier, mpsc},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(10);

type Text = Cursor<Vec<u8>>;

const TEXT: &[u8] = b"From: from@example.com\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n";

fn route(address: SocketAddr) -> Route<Cleartext> {
    let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
        .deadlines(Deadlines::uniform(SOON));
    let target = Target::new(address.ip().to_string(), address.port(), Security::StartTls);
    let config = Arc::new(Config::default().danger_cleartext());
    Route::new(&address.ip().to_string(), address.port(), move || {
        let (connector, target, config) = (connector.clone(), target.clone(), config.clone());
        async move {
            let mut connection = connector
                .danger_connect_cleartext::<io_tokio::io_common::SmtpClientProtocol>(&target, &config)
                .await?;
            wait_until_ready(&mut connection).await?;
            Ok(connection)
        }
    })
}

fn message(id: usize) -> Message<Text> {
    with_source(id, Cursor::new(TEXT.to_vec()))
}

fn with_source<S>(id: usize, source: S) -> Message<S> {
    Message::from_text("from@example.com", source).recipient_text(&format!("{id}@example.com"))
}

fn request(id: usize, route: &Route<Cleartext>) -> DeliveryRequest<usize, Text, Route<Cleartext>> {
    DeliveryRequest { id, message: message(id), route: route.clone() }
}

/// A server that replies 250 to everything, and to a message only once this many sessions have sent one.
async fn server(sessions: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (barrier, quits) = (Arc::new(Barrier::new(sessions)), Arc::new(AtomicUsize::new(0)));
    let counted = quits.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (barrier, quits) = (barrier.clone(), counted.clone());
            tokio::spawn(async move {
                let (read, mut write) = socket.split();
                let mut lines = BufReader::new(read).lines();
                let mut in_message = false;
                write.write_all(b"220 x\r\n").await.unwrap();
                while let Ok(Some(line)) = lines.next_line().await {
                    let reply = match (in_message, line.as_str()) {
                        (true, ".") => {
                            barrier.wait().await;
                            in_message = false;
                            "250 taken\r\n"
                        }
                        (true, _) => continue,
                        (false, "DATA") => {
                            in_message = true;
                            "354 go\r\n"
                        }
                        (false, "QUIT") => {
                            quits.fetch_add(1, Ordering::SeqCst);
                            "221 bye\r\n"
                        }
                        (false, _) => "250 ok\r\n",
                    };
                    write.write_all(reply.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, quits)
}

/// A journal that records its calls, and may hold messages back.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    /// Whether the last bytes are never allowed.
    holds_back: bool,
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Journal<usize> for Log {
    fn before_final_bytes(&self, id: &usize, _: &[usize]) -> io::Result<()> {
        self.lines.lock().unwrap().push(format!("{id} ending"));
        Ok(())
    }

    fn attempt_finished(&self, id: &usize, report: &DeliveryReport, _: Option<Duration>) {
        let statuses: Vec<_> = report.recipients.iter().map(|one| one.status).collect();
        self.lines.lock().unwrap().push(format!("{id} finished {statuses:?}"));
    }
}

impl AsyncJournal<usize> for Log {
    async fn write_before_final_bytes(&self, id: &usize, recipients: &[usize]) -> io::Result<()> {
        self.before_final_bytes(id, recipients)?;
        if self.holds_back { std::future::pending().await } else { Ok(()) }
    }
}

async fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !what() {
        assert!(Instant::now() < end, "it did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn drives_several_sessions_at_the_same_time_and_keeps_them() {
    let (address, quits) = server(4).await;
    let pool = Pool::new(PoolLimits { sessions_per_host: 4, ..PoolLimits::default() });
    let route = route(address);
    let mut done = BTreeSet::new();
    // The server accepts no message before it has four, so one session alone would wait for ever.
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    let run = dispatcher.run(FromIter((0..40).map(|id| request(id, &route))), |result| {
        assert_eq!(result.report.status, DeliveryStatus::Success);
        assert!(done.insert(result.id));
        ControlFlow::Continue(())
    });
    timeout(SOON, run).await.unwrap();
    assert_eq!((done.len(), pool.sessions()), (40, (4, 4)));
    pool.close_idle().await;
    assert_eq!((pool.sessions(), quits.load(Ordering::SeqCst)), ((0, 0), 4));
}

#[tokio::test]
async fn a_run_is_send_and_takes_requests_from_a_channel() {
    let (address, quits) = server(1).await;
    let (requests, queue) = mpsc::channel(1);
    let results = Arc::new(AtomicUsize::new(0));
    let counted = results.clone();
    let run = tokio::spawn(async move {
        let pool = Pool::new(PoolLimits { idle: Duration::from_millis(20), ..PoolLimits::default() });
        let dispatcher = Dispatcher::new(&pool, SystemClock::start());
        let done = |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            ControlFlow::Continue(())
        };
        dispatcher.run(queue, done).await;
    });
    let route = route(address);
    for id in 0..3 {
        requests.send(request(id, &route)).await.unwrap();
        wait_until(|| results.load(Ordering::SeqCst) > id).await;
        // The session expires while the run waits for the next request.
        wait_until(|| quits.load(Ordering::SeqCst) > id).await;
    }
    drop(requests);
    timeout(SOON, run).await.unwrap().unwrap();
}

/// Drops a run in the middle of a message. Returns the journal, and how many complete messages the server received.
async fn dropped_at(
    script: Vec<Act>,
    holds_back: bool,
    is_ready: impl Fn(&[String], usize) -> bool,
) -> (Vec<String>, usize) {
    let server = Scripted::start(vec![script]);
    let pool = Pool::new(PoolLimits::default());
    let log = Log { holds_back, ..Log::default() };
    let route = route(server.address);
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    let results = AtomicUsize::new(0);
    let run = dispatcher.run_with(&log, FromIter([request(0, &route)].into_iter()), |_| {
        results.fetch_add(1, Ordering::SeqCst);
        ControlFlow::Continue(())
    });
    tokio::select! {
        () = run => panic!("the run ended"),
        () = wait_until(|| is_ready(&log.lines(), server.counts().1)) => {}
    }
    // The connection is cut, and no session is left.
    assert_eq!((results.load(Ordering::SeqCst), pool.sessions()), (0, (0, 0)));
    (log.lines(), server.counts().1)
}

#[tokio::test]
async fn dropping_a_run_records_what_is_uncertain() {
    let envelope =
        [Say("220 x"), Say("250 x"), Say("250 sender"), Say("250 recipient"), Say("354 go"), Silence];
    let ended = |_: &[String], messages| messages == 1;
    let (lines, messages) = dropped_at(envelope.to_vec(), false, ended).await;
    assert_eq!((lines, messages), (vec!["0 ending".to_owned(), "0 finished [Uncertain]".to_owned()], 1));
    // The last bytes wait for the journal: the server cannot have the message.
    let announced = |lines: &[String], _| !lines.is_empty();
    let (lines, messages) = dropped_at(envelope.to_vec(), true, announced).await;
    assert_eq!((lines, messages), (vec!["0 ending".to_owned(), "0 finished [Retry]".to_owned()], 0));
}

#[tokio::test]
async fn dropping_a_run_records_the_results_of_an_attempt_that_continues() {
    // The first recipient has the message; the second follows in a transaction of its own, which gets no reply.
    let script = vec![
        Say("220 x"),
        Say("250-x\r\n250 LIMITS RCPTMAX=1"),
        Say("250 sender"),
        Say("250 recipient"),
        Say("354 go"),
        Say("250 taken"),
        Silence,
    ];
    let server = Scripted::start(vec![script]);
    let (pool, log, route) = (Pool::new(PoolLimits::default()), Log::default(), route(server.address));
    let mut request = request(0, &route);
    request.message = request.message.recipient_text("1@example.com");
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    let run = dispatcher.run_with(&log, FromIter([request].into_iter()), |_| ControlFlow::Continue(()));
    tokio::select! {
        () = run => panic!("the run ended"),
        () = async {
            wait_until(|| server.counts().1 == 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        } => {}
    }
    assert_eq!(log.lines(), ["0 ending", "0 finished [Success, Retry]"]);
}

#[tokio::test]
async fn dropping_a_run_before_a_transaction_records_nothing() {
    let server = Scripted::start(vec![vec![Silence]]);
    let (pool, log, route) = (Pool::new(PoolLimits::default()), Log::default(), route(server.address));
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    let run =
        dispatcher.run_with(&log, FromIter([request(0, &route)].into_iter()), |_| ControlFlow::Continue(()));
    tokio::select! {
        () = run => panic!("the run ended"),
        () = wait_until(|| server.counts().0 == 1) => {}
    }
    assert_eq!((log.lines(), pool.sessions()), (Vec::new(), (0, 0)));
}

/// A source that blocks the thread that reads it.
struct Slow(Text);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(300));
        self.0.read(buffer)
    }
}

impl Seek for Slow {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

#[tokio::test]
async fn a_source_that_blocks_does_not_block_the_runtime() {
    let (address, _) = server(1).await;
    let (pool, route) = (Pool::new(PoolLimits::default()), route(address));
    let source = || Slow(Cursor::new(TEXT.to_vec()));
    let requests =
        (0..2).map(|id| DeliveryRequest { id, message: with_source(id, source()), route: route.clone() });
    let dispatcher = Dispatcher::new(&pool, SystemClock::start())
        .check(MessageLimits::default())
        .jobs(&BlockingJobs::new(2));
    let mut statuses = Vec::new();
    let run = dispatcher.run(FromIter(requests), |result| {
        statuses.push(result.report.status);
        ControlFlow::Continue(())
    });
    let longest = async {
        let mut longest = Duration::ZERO;
        loop {
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            longest = longest.max(before.elapsed());
            if longest > Duration::from_millis(250) {
                return longest;
            }
        }
    };
    tokio::select! {
        () = run => {}
        longest = longest => panic!("the runtime was blocked for {longest:?}"),
    }
    assert_eq!(statuses, [DeliveryStatus::Success; 2]);
}

#[tokio::test]
async fn stopping_a_run_ends_what_is_in_progress_and_reports_the_rest() {
    let (address, _) = server(1).await;
    let (pool, route) = (Pool::new(PoolLimits { sessions: 1, ..PoolLimits::default() }), route(address));
    let policy = RetryPolicy { initial_delay: Duration::from_secs(60), ..RetryPolicy::default() };
    let dispatcher = Dispatcher::new(&pool, SystemClock::start()).policy(policy).hold_at_most(10);
    let (mut delivered, mut untried) = (0, 0);
    let run = dispatcher.run(FromIter((0..).map(|id| request(id, &route))), |result| {
        match result.report.status {
            DeliveryStatus::Success => delivered += 1,
            DeliveryStatus::TempFailed => untried += 1,
            other => panic!("{other:?}"),
        }
        if delivered == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    timeout(SOON, run).await.unwrap();
    assert!((5..=6).contains(&delivered) && untried <= 10, "{delivered} {untried}");
}

#[tokio::test]
#[should_panic(expected = "a broken source")]
async fn a_panic_in_a_source_is_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a broken source")
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let (address, _) = server(1).await;
    let (pool, route) = (Pool::new(PoolLimits::default()), route(address));
    let request = DeliveryRequest { id: 0, message: with_source(0, Broken), route };
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    dispatcher.run(FromIter([request].into_iter()), |_| ControlFlow::Continue(())).await;
}

#[tokio::test]
async fn no_recipient_gets_a_message_twice_and_reports_are_true() {
    for seed in [3, 5_555_555] {
        let server = mail::Running::start();
        server.book.go_mad(seed);
        let pool = Pool::new(PoolLimits { messages: 10, ..PoolLimits::default() });
        let route = route(server.address);
        let requests = (0..60).map(|id| DeliveryRequest {
            id,
            message: mail::message((0..3).map(|number| format!("{id}.{number}@x.example"))),
            route: route.clone(),
        });
        let delay = Duration::from_millis(1);
        let policy =
            RetryPolicy { attempts: 100, initial_delay: delay, max_delay: delay, ..RetryPolicy::default() };
        let dispatcher = Dispatcher::new(&pool, SystemClock::start()).policy(policy);
        let mut reported = BTreeMap::new();
        let run = dispatcher.run(FromIter(requests), |result| {
            reported.extend(result.report.recipients.into_iter().map(|one| (one.address, one.status)));
            ControlFlow::Continue(())
        });
        timeout(6 * SOON, run).await.unwrap();
        let mut received = BTreeMap::new();
        for recipient in server.book.messages().into_iter().flat_map(|message| message.recipients) {
            *received.entry(recipient).or_insert(0) += 1;
        }
        assert_eq!(reported.len(), 180);
        for (address, status) in &reported {
            let count = received.get(address).copied().unwrap_or(0);
            match status {
                DeliveryStatus::Success => assert_eq!(count, 1, "{seed} {address}"),
                DeliveryStatus::Uncertain => assert!(count <= 1, "{seed} {address}"),
                other => panic!("{seed} {address}: {other:?}"),
            }
        }
    }
}
