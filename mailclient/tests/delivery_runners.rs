//! The same deliveries on blocking threads and on tokio: the same results and the same journal, whatever the server does.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use std::{
    future::{Future, ready},
    io::{self, Cursor},
    net::SocketAddr,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use io_mio::{Deadlines, Security, SmtpClientProtocol, Target, TlsClientConfig};
use mailclient::delivery::{
    self, Clock, DeliveryReport, DeliveryRequest, DeliveryStatus, Diagnostic, Dispatcher, Journal, Message,
    Pool, PoolLimits, RecipientReport, RetryPolicy, Route, tokio as on_tokio,
};
use on_tokio::{AsyncClock, AsyncJournal, FromIter};
use proto_mail::{Channel, Cleartext, Secure};
use proto_smtp::{Config, Dialect, client::Client};
use scripted::{
    Act::{self, Close, Say, SayAndClose, Silence},
    Scripted,
};

/// The time limit of every phase if the server is silent, and otherwise.
const SILENCE_LIMIT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);

/// A clock that advances only by the requested delays.
#[derive(Default, Clone)]
struct Still(Arc<Mutex<Duration>>);

impl Clock for Still {
    fn now(&mut self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn elapsed(&mut self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&mut self, pause: Duration) {
        *self.0.lock().unwrap() += pause;
    }

    fn random(&mut self) -> u64 {
        7
    }
}

impl AsyncClock for Still {
    fn pause(&mut self, pause: Duration) -> impl Future<Output = ()> + Send {
        self.sleep(pause);
        ready(())
    }
}

/// A journal that records its calls.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    is_broken: bool,
}

impl Log {
    fn line(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Journal<usize> for Log {
    fn before_final_bytes(&self, id: &usize, recipients: &[usize]) -> io::Result<()> {
        self.line(format!("{id} ending {recipients:?}"));
        if self.is_broken { Err(io::Error::other("the disk is full")) } else { Ok(()) }
    }

    fn attempt_finished(&self, id: &usize, report: &DeliveryReport, delay: Option<Duration>) {
        let statuses: Vec<_> = report.recipients.iter().map(|one| one.status).collect();
        self.line(format!("{id} finished {statuses:?} {:?}", delay.map(|delay| delay.as_millis())));
    }

    fn route_paused(&self, reason: &Diagnostic, delay: Duration) {
        self.line(format!("paused {:?} {:?} {}", reason.stage, reason.code, delay.as_millis()));
    }

    fn session_limit_reached(&self, reason: &Diagnostic, sessions: usize) {
        self.line(format!("limit {:?} {sessions}", reason.code));
    }
}

impl AsyncJournal<usize> for Log {
    /// The task yields once, so that the journal is not written at once.
    async fn write_before_final_bytes(&self, id: &usize, recipients: &[usize]) -> io::Result<()> {
        tokio::task::yield_now().await;
        self.before_final_bytes(id, recipients)
    }
}

/// What a server does with some messages, and what becomes of them.
#[derive(Clone)]
struct Case {
    name: &'static str,
    scripts: Vec<Vec<Act>>,
    messages: usize,
    recipients: usize,
    bytes: usize,
    dialect: Dialect,
    prdr: bool,
    is_journal_broken: bool,
    /// The statuses of the recipients of each message.
    expected: Vec<Vec<DeliveryStatus>>,
    /// How many connections the server accepts, and how many complete messages it receives.
    counts: (usize, usize),
    /// The lines of the journal.
    journal: &'static [&'static str],
}

/// What became of the messages.
#[derive(Debug, PartialEq)]
struct Outcome {
    journal: Vec<String>,
    /// For each message: its report, whether its route failed, and its error.
    results: Vec<(usize, DeliveryReport, bool, Option<String>)>,
    counts: (usize, usize),
}

fn requests<R: Clone>(case: &Case, route: &R) -> Vec<DeliveryRequest<usize, Cursor<Vec<u8>>, R>> {
    let text = format!("Subject: x\r\n\r\n.dot\r\n{}", "0123456789\r\n".repeat(case.bytes / 12));
    let message = |id: usize| {
        let message = Message::from_text("from@example.com", Cursor::new(text.clone().into_bytes()));
        let message = message.with_mail(|mail| if case.prdr { mail.with_prdr() } else { mail });
        (0..case.recipients)
            .fold(message, |message, to| message.recipient_text(&format!("{to}.{id}@example.com")))
    };
    (0..case.messages).map(|id| DeliveryRequest { id, message: message(id), route: route.clone() }).collect()
}

/// Removes the texts that name the operating system's errors.
fn without_own_texts(mut report: DeliveryReport) -> DeliveryReport {
    let own = |diagnostic: &mut Diagnostic| {
        if diagnostic.code.is_none() && diagnostic.text.contains("os error") {
            diagnostic.text = "os error".to_owned();
        }
    };
    for RecipientReport { diagnostic, earlier, .. } in &mut report.recipients {
        diagnostic.iter_mut().chain(earlier).for_each(own);
    }
    report
}

fn deadlines(case: &Case) -> Deadlines {
    let is_silent = case.scripts.iter().flatten().any(|act| matches!(act, Silence));
    let limit = if is_silent { SILENCE_LIMIT } else { LIMIT };
    let mut deadlines = Deadlines::uniform(limit);
    deadlines.data_end = limit;
    deadlines
}

fn config(case: &Case) -> Arc<Config> {
    Arc::new(Config::default().dialect(case.dialect).danger_cleartext())
}

const fn limits() -> PoolLimits {
    PoolLimits {
        sessions: 1,
        sessions_per_host: 1,
        idle: Duration::from_secs(30),
        lifetime: Duration::from_secs(600),
        messages: 100,
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy { attempts: 3, ..RetryPolicy::default() }
}

fn target(address: SocketAddr) -> Target {
    Target::new(address.ip().to_string(), address.port(), Security::StartTls)
}

fn any_certificate() -> TlsClientConfig {
    TlsClientConfig::danger_accept_any_certificate().unwrap()
}

/// Delivers on blocking threads.
fn on_threads<C: Channel + Send>(case: &Case, server: Scripted, route: &Route<C>) -> Outcome
where
    Client<C>: Send,
{
    let log = Log { is_broken: case.is_journal_broken, ..Log::default() };
    let (pool, mut results) = (Pool::new(limits()), Vec::new());
    Dispatcher::new(&pool, Still::default()).policy(policy()).run_with(&log, requests(case, route), |done| {
        let error = done.error.map(|error| error.to_string());
        results.push((done.id, without_own_texts(done.report), done.route_failed, error));
        ControlFlow::Continue(())
    });
    drop(pool);
    let journal = log.lines.into_inner().unwrap();
    Outcome { journal, results, counts: server.counts() }
}

/// Delivers on tokio, on one thread.
fn in_one_task<C: Channel + Send>(case: &Case, server: Scripted, route: &on_tokio::Route<C>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log { is_broken: case.is_journal_broken, ..Log::default() };
    let (pool, mut results) = (on_tokio::Pool::new(limits()), Vec::new());
    runtime.block_on(async {
        let dispatcher = on_tokio::Dispatcher::new(&pool, Still::default()).policy(policy());
        let requests = FromIter(requests(case, route).into_iter());
        let run = dispatcher.run_with(&log, requests, |done| {
            let error = done.error.map(|error| error.to_string());
            results.push((done.id, without_own_texts(done.report), done.route_failed, error));
            ControlFlow::Continue(())
        });
        run.await;
        pool.close_idle().await;
    });
    let journal = log.lines.into_inner().unwrap();
    Outcome { journal, results, counts: server.counts() }
}

/// Delivers on both, and compares.
fn compare(case: &Case, threads: Outcome, task: &Outcome) {
    let name = case.name;
    assert_eq!(threads, *task, "{name}: blocking threads, then tokio");
    let mut statuses = vec![Vec::new(); case.messages];
    for (id, report, ..) in &threads.results {
        statuses[*id] = report.recipients.iter().map(|one| one.status).collect();
    }
    assert_eq!(statuses, case.expected, "{name}: {threads:#?}");
    assert_eq!(threads.counts, case.counts, "{name}: {threads:#?}");
    assert_eq!(threads.journal, case.journal, "{name}");
}

fn run(case: Case) {
    let server = Scripted::start(case.scripts.clone());
    let (address, config) = (server.address, config(&case));
    let (to, own) = (target(address), config.clone());
    let connector = io_mio::Connector::new(any_certificate()).deadlines(deadlines(&case)).without_probe();
    let route = Route::<Cleartext>::new("127.0.0.1", address.port(), move || {
        let mut connection = connector.danger_connect_cleartext::<SmtpClientProtocol>(&to, &own)?;
        delivery::wait_until_ready(&mut connection)?;
        Ok(connection)
    });
    let threads = on_threads(&case, server, &route);

    let server = Scripted::start(case.scripts.clone());
    let to = target(server.address);
    let connector = io_tokio::Connector::new(any_certificate()).deadlines(deadlines(&case));
    let route = on_tokio::Route::<Cleartext>::new("127.0.0.1", server.address.port(), move || {
        let (connector, to, config) = (connector.clone(), to.clone(), config.clone());
        async move {
            let mut connection =
                connector.danger_connect_cleartext::<SmtpClientProtocol>(&to, &config).await?;
            on_tokio::wait_until_ready(&mut connection).await?;
            Ok(connection)
        }
    });
    let task = in_one_task(&case, server, &route);
    compare(&case, threads, &task);
}

/// Delivers over TLS to a server that refuses STARTTLS.
fn run_with_starttls(case: Case) {
    let server = Scripted::start(case.scripts.clone());
    let connector = io_mio::Connector::new(any_certificate()).deadlines(deadlines(&case)).without_probe();
    let route = Route::<Secure>::without_login(&connector, &target(server.address), &Arc::default());
    let threads = on_threads(&case, server, &route);

    let server = Scripted::start(case.scripts.clone());
    let connector = io_tokio::Connector::new(any_certificate()).deadlines(deadlines(&case));
    let route =
        on_tokio::Route::<Secure>::without_login(&connector, &target(server.address), &Arc::default());
    let task = in_one_task(&case, server, &route);
    compare(&case, threads, &task);
}

/// One message to one recipient.
fn case(name: &'static str, scripts: Vec<Vec<Act>>) -> Case {
    Case {
        name,
        scripts,
        messages: 1,
        recipients: 1,
        bytes: 4096,
        dialect: Dialect::Smtp,
        prdr: false,
        is_journal_broken: false,
        expected: vec![vec![Success]],
        counts: (1, 1),
        journal: &["0 ending [0]", "0 finished [Success] None"],
    }
}

use DeliveryStatus::{Failed, Rejected, Success, TempFailed, Uncertain};

/// A successful script, up to the reply to the message.
const GOOD: [Act; 6] = [
    Say("220 x"),
    Say("250 x"),
    Say("250 sender"),
    Say("250 recipient"),
    Say("354 go"),
    Say("250 2.0.0 taken"),
];

/// A successful script up to action number `stage`, which is followed by these.
fn good_until(stage: usize, acts: &[Act]) -> Vec<Act> {
    [&GOOD[..stage], acts].concat()
}

#[test]
fn messages_share_a_session() {
    let script = [&GOOD[..], &GOOD[2..], &GOOD[2..]].concat();
    run(Case {
        messages: 3,
        expected: vec![vec![Success]; 3],
        counts: (1, 3),
        journal: &[
            "0 ending [0]",
            "0 finished [Success] None",
            "1 ending [0]",
            "1 finished [Success] None",
            "2 ending [0]",
            "2 finished [Success] None",
        ],
        ..case("three messages", vec![script])
    });
}

#[test]
fn a_large_message_is_streamed() {
    run(Case { bytes: 3 << 20, ..case("3 MiB", vec![GOOD.to_vec()]) });
}

#[test]
fn refused_sessions_pause_the_route() {
    run(Case {
        counts: (2, 1),
        journal: &[
            "0 finished [Retry] Some(1007)",
            "paused Greeting Some(421) 1007",
            "0 ending [0]",
            "0 finished [Success] None",
        ],
        ..case("421 at the greeting", vec![vec![Say("421 4.3.2 busy")], GOOD.to_vec()])
    });
    run(Case {
        messages: 2,
        expected: vec![vec![Failed]; 2],
        counts: (1, 0),
        journal: &["0 finished [Failed] None"],
        ..case("554 at the greeting", vec![vec![Say("554 5.7.1 not you")]])
    });
    run(Case {
        counts: (2, 1),
        journal: &[
            "0 finished [Retry] Some(1007)",
            "paused Connect None 1007",
            "0 ending [0]",
            "0 finished [Success] None",
        ],
        ..case("no greeting", vec![vec![Silence], GOOD.to_vec()])
    });
}

#[test]
fn recipients_that_wait_are_retried_alone() {
    let first = good_until(
        3,
        &[Say("450 4.2.1 busy"), Say("250 b"), Say("550 5.1.1 no"), Say("354 go"), Say("250 ok")],
    );
    run(Case {
        recipients: 3,
        expected: vec![vec![Success, Success, Rejected]],
        counts: (2, 2),
        journal: &[
            "0 ending [1]",
            "0 finished [Retry, Success, Rejected] Some(1007)",
            "0 ending [0]",
            "0 finished [Success, Success, Rejected] None",
        ],
        ..case("450 for one of three", vec![first, GOOD.to_vec()])
    });
    let busy = || good_until(3, &[Say("450 4.2.1 busy")]);
    run(Case {
        expected: vec![vec![TempFailed]],
        counts: (3, 0),
        journal: &[
            "0 finished [Retry] Some(1007)",
            "0 finished [Retry] Some(2007)",
            "0 finished [Retry] None",
        ],
        ..case("450 each time", vec![busy(), busy(), busy()])
    });
    let full = [Say("250 a"), Say("452 4.5.3 too many"), Say("354 go"), Say("250 ok")];
    run(Case {
        recipients: 2,
        expected: vec![vec![Success, Success]],
        counts: (1, 2),
        journal: &["0 ending [0]", "0 ending [1]", "0 finished [Success, Success] None"],
        ..case("452 too many recipients", vec![[good_until(3, &full), GOOD[2..].to_vec()].concat()])
    });
}

#[test]
fn refusals_of_the_message_end_it() {
    run(Case {
        expected: vec![vec![Failed]],
        counts: (1, 0),
        journal: &["0 finished [Failed] None"],
        ..case("554 at DATA", vec![good_until(4, &[Say("554 5.6.0 no")])])
    });
    run(Case {
        expected: vec![vec![Failed]],
        journal: &["0 ending [0]", "0 finished [Failed] None"],
        ..case("554 after the message", vec![good_until(5, &[Say("554 5.6.0 no")])])
    });
    run(Case {
        counts: (2, 2),
        journal: &[
            "0 ending [0]",
            "0 finished [Retry] Some(1007)",
            "paused Connect None 1007",
            "0 ending [0]",
            "0 finished [Success] None",
        ],
        ..case("421 after the message", vec![good_until(5, &[SayAndClose("421 4.3.2 later")]), GOOD.to_vec()])
    });
}

#[test]
fn a_lost_reply_is_uncertain_and_not_retried() {
    for (name, act) in [("closed after the final dot", Close), ("silent after the final dot", Silence)] {
        run(Case {
            expected: vec![vec![Uncertain]],
            journal: &["0 ending [0]", "0 finished [Uncertain] None"],
            ..case(name, vec![good_until(5, &[act])])
        });
    }
}

#[test]
fn a_session_lost_before_the_final_dot_is_retried() {
    let lost = |counts, script| Case {
        counts,
        journal: &[
            "0 finished [Retry] Some(1007)",
            "paused Connect None 1007",
            "0 ending [0]",
            "0 finished [Success] None",
        ],
        ..case("lost before the final dot", vec![script, GOOD.to_vec()])
    };
    run(Case { bytes: 24 << 20, ..lost((2, 1), good_until(4, &[SayAndClose("354 go")])) });
    run(lost((2, 1), good_until(3, &[Silence])));
    run(lost((2, 1), good_until(4, &[Close])));
}

#[test]
fn a_used_session_that_closes_is_replaced_at_once() {
    let script = [&GOOD[..], &[Say("250 sender"), Close]].concat();
    run(Case {
        messages: 2,
        expected: vec![vec![Success]; 2],
        counts: (2, 2),
        journal: &["0 ending [0]", "0 finished [Success] None", "1 ending [0]", "1 finished [Success] None"],
        ..case("closed in the second message", vec![script, GOOD.to_vec()])
    });
}

#[test]
fn lmtp_and_prdr_give_each_recipient_a_reply() {
    let envelope = good_until(3, &[Say("250 a"), Say("250 b"), Say("354 go")]);
    let lmtp = |replies: Act| [&envelope[..], &[replies]].concat();
    let of_lmtp = |name, script, status, journal| Case {
        dialect: Dialect::Lmtp,
        recipients: 2,
        expected: vec![vec![Success, status]],
        journal,
        ..case(name, vec![script])
    };
    let failed = &["0 ending [0, 1]", "0 finished [Success, Failed] None"];
    let uncertain = &["0 ending [0, 1]", "0 finished [Success, Uncertain] None"];
    run(of_lmtp("LMTP", lmtp(Say("250 a\r\n550 5.2.2 full")), Failed, failed));
    run(of_lmtp("LMTP, lost in between", lmtp(SayAndClose("250 a")), Uncertain, uncertain));
    let mut script = lmtp(Say("353 each\r\n250 a\r\n550 5.2.2 full\r\n250 some"));
    script[1] = Say("250-x\r\n250 PRDR");
    run(Case { dialect: Dialect::Smtp, prdr: true, ..of_lmtp("PRDR", script, Failed, failed) });
}

#[test]
fn an_unwritable_journal_holds_the_message_back() {
    run(Case {
        is_journal_broken: true,
        expected: vec![vec![TempFailed]],
        counts: (1, 0),
        journal: &["0 ending [0]", "0 finished [Retry] None"],
        ..case("a broken journal", vec![GOOD.to_vec()])
    });
}

#[test]
fn a_refused_starttls_sends_nothing() {
    let refused = |name, expected, counts, journal, scripts| {
        run_with_starttls(Case { expected: vec![vec![expected]], counts, journal, ..case(name, scripts) });
    };
    let greeting = [Say("220 x"), Say("250-x\r\n250 STARTTLS")];
    let permanent = &["0 finished [Failed] None"];
    refused("STARTTLS is not offered", Failed, (1, 0), permanent, vec![GOOD[..2].to_vec()]);
    let script = [&greeting[..], &[Say("554 5.7.0 no")]].concat();
    refused("554 to STARTTLS", Failed, (1, 0), permanent, vec![script]);
    let script = || [&greeting[..], &[Say("454 4.7.0 later")]].concat();
    let temporary = &[
        "0 finished [Retry] Some(1007)",
        "paused Connect None 1007",
        "0 finished [Retry] Some(2007)",
        "paused Connect None 2007",
        "0 finished [Retry] None",
    ];
    refused("454 to STARTTLS", TempFailed, (3, 0), temporary, vec![script(), script(), script()]);
}
