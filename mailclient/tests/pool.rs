//! Reused sessions and many messages at once: how many sessions a server sees, and that no message is lost or delivered
//! twice.

#![allow(clippy::unwrap_used, clippy::panic)]

mod loopback;
mod mail;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use io_mio::{ConnectionLimits, Connector, Deadlines, Error, ListenerTls, Security};
use loopback::{localhost, target};
use mail::{Running, Still, message};
use mailclient::delivery::{
    DeliveryReport, DeliveryRequest, DeliveryStage, DeliveryStatus, Dispatcher, Pool, PoolLimits,
    RetryPolicy, Route, SystemClock,
};
use proto_mail::{Cleartext, Credentials, Secure};
use proto_smtp::Config;

fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !what() {
        assert!(Instant::now() < end, "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Delivers one message to these recipients. Returns their statuses.
fn deliver(pool: &Pool<Cleartext>, route: &Route<Cleartext>, recipients: &[&str]) -> Vec<DeliveryStatus> {
    let mut message = message(recipients);
    let report = pool.deliver(route, &mut message, &RetryPolicy::default(), &mut Still::default()).unwrap();
    report.recipients.iter().map(|recipient| recipient.status).collect()
}

#[test]
fn reuses_one_session_for_consecutive_messages() {
    let server = Running::start();
    let (pool, route) = (Pool::new(PoolLimits::default()), server.route());
    for _ in 0..5 {
        assert_eq!(
            deliver(&pool, &route, &["a@x.example", "no@x.example"]),
            [DeliveryStatus::Success, DeliveryStatus::Rejected]
        );
    }
    // A message without a valid recipient leaves a transaction open. It does not affect the next message.
    assert_eq!(deliver(&pool, &route, &["no@x.example"]), [DeliveryStatus::Rejected]);
    assert_eq!(deliver(&pool, &route, &["b@x.example"]), [DeliveryStatus::Success]);
    assert_eq!((server.book.sessions(), pool.sessions()), ((1, 1, 1), (1, 1)));
    let recipients: Vec<_> = server.book.messages().iter().map(|taken| taken.recipients.len()).collect();
    assert_eq!(recipients, [1; 6]);
    drop(pool);
    wait_until(|| server.book.sessions().0 == 0);
}

#[test]
fn a_session_closed_while_idle_costs_nothing() {
    let mut waits = proto_smtp::Waits::default();
    waits.command = Duration::from_millis(50);
    let config = Config::default().danger_cleartext().waits(waits);
    let server = Running::with(ListenerTls::None, config, ConnectionLimits::default());
    let (pool, route) = (Pool::new(PoolLimits::default()), server.route());
    for number in 1..=3 {
        let mut message = message(["a@x.example"]);
        let mut clock = Still::default();
        let report = pool.deliver(&route, &mut message, &RetryPolicy::default(), &mut clock).unwrap();
        assert_eq!((report.status, report.retry_count), (DeliveryStatus::Success, 0));
        assert_eq!(report.recipients[0].attempts, 1);
        wait_until(|| server.book.sessions().0 == 0);
        assert_eq!(server.book.sessions().2, number);
    }
    assert_eq!(server.book.messages().len(), 3);
}

/// Delivers in a used session in which the server replies 421 to `step`. Returns the report and the server.
fn delivered_after_a_421(step: &'static str) -> (DeliveryReport, Running) {
    let server = Running::start();
    let (pool, route) = (Pool::new(PoolLimits::default()), server.route());
    assert_eq!(deliver(&pool, &route, &["a@x.example"]), [DeliveryStatus::Success]);
    server.book.reply_421_at(step, 2);
    let mut message = message(["b@x.example"]);
    let report = pool.deliver(&route, &mut message, &RetryPolicy::default(), &mut Still::default()).unwrap();
    assert_eq!((report.status, server.book.messages().len()), (DeliveryStatus::Success, 2), "{step}");
    (report, server)
}

#[test]
fn replaces_a_used_session_that_closes_before_a_recipient_is_accepted() {
    for step in ["mail", "rcpt"] {
        let (report, server) = delivered_after_a_421(step);
        assert_eq!((report.retry_count, report.duration_ms), (0, 0), "{step}");
        assert_eq!(server.book.sessions().2, 2);
    }
}

#[test]
fn a_late_421_on_a_used_session_is_retried_after_a_delay() {
    for step in ["data", "end"] {
        let (report, _server) = delivered_after_a_421(step);
        // 421 means that the server did not accept the message, so it is retried after the delay.
        assert_eq!((report.retry_count, report.duration_ms), (1, 1007), "{step}");
        assert_eq!(report.recipients[0].attempts, 2);
    }
}

#[test]
fn sessions_end_at_their_age_and_message_limits() {
    let server = Running::start();
    let limits = PoolLimits { messages: 2, ..PoolLimits::default() };
    let (pool, route) = (Pool::new(limits), server.route());
    for _ in 0..5 {
        assert_eq!(deliver(&pool, &route, &["a@x.example"]), [DeliveryStatus::Success]);
    }
    assert_eq!(server.book.sessions().2, 3);

    let limits = PoolLimits { lifetime: Duration::ZERO, ..PoolLimits::default() };
    let pool = Pool::new(limits);
    deliver(&pool, &route, &["a@x.example"]);
    assert_eq!(pool.sessions(), (0, 0));

    let pool = Pool::new(PoolLimits { idle: Duration::from_millis(1), ..PoolLimits::default() });
    deliver(&pool, &route, &["a@x.example"]);
    std::thread::sleep(Duration::from_millis(5));
    pool.sweep();
    assert_eq!(pool.sessions(), (0, 0));
    assert_eq!(server.book.sessions().2, 5);
}

#[test]
fn identities_never_share_a_session() {
    let (authority, identity) = localhost();
    let mut waits = proto_smtp::Waits::default();
    waits.delay = Duration::from_millis(20);
    let server = Running::with(
        ListenerTls::Implicit(identity.server()),
        Config::default().waits(waits),
        ConnectionLimits::default(),
    );
    let connector = Connector::new(authority.trust()).deadlines(Deadlines::uniform(Duration::from_secs(5)));
    let to = target(server.address, Security::ImplicitTls);
    let config = Arc::new(Config::default());
    let route = |user: &'static str, password: &'static str| {
        Route::with_login(&connector, &to, &config, move || {
            Ok(Credentials::password(user, password.as_bytes()))
        })
    };
    // At most one session: the pool must close an idle one to open one for another route.
    let pool = Pool::<Secure>::new(PoolLimits { sessions_per_host: 1, ..PoolLimits::default() });
    let (alice, bob, eve) = (route("alice", "secret"), route("bob", "secret"), route("eve", "guess"));
    for route in [&alice, &bob, &bob, &alice] {
        let report = pool
            .deliver(route, &mut message(["a@x.example"]), &RetryPolicy::default(), &mut Still::default())
            .unwrap();
        assert_eq!((report.status, report.tls.as_deref()), (DeliveryStatus::Success, Some("TLSv1.3")));
    }
    let refused =
        pool.deliver(&eve, &mut message(["a@x.example"]), &RetryPolicy::default(), &mut Still::default());
    assert!(matches!(refused, Err(Error::AuthenticationFailed { code: Some(535), .. })), "{refused:?}");
    let users: Vec<_> = server.book.messages().into_iter().map(|taken| taken.user).collect();
    assert_eq!(users, ["alice", "bob", "bob", "alice"]);
    assert_eq!((server.book.sessions().1, server.book.sessions().2), (1, 4));
}

#[test]
fn many_messages_keep_the_session_limits() {
    let servers = [Running::start(), Running::start()];
    let routes: Vec<_> = servers.iter().map(Running::route).collect();
    for server in &servers {
        server.book.think(Duration::from_millis(5));
    }
    let pool = Pool::new(PoolLimits { sessions: 6, sessions_per_host: 3, ..PoolLimits::default() });
    let orders = (0..60).map(|id| DeliveryRequest {
        id,
        message: message([format!("{id}@x.example")]),
        route: routes[id % 2].clone(),
    });
    let mut seen = BTreeSet::new();
    Dispatcher::new(&pool, SystemClock::start()).run(orders, |done| {
        assert_eq!(done.report.status, DeliveryStatus::Success);
        assert_eq!(done.report.recipients[0].address, format!("{}@x.example", done.id));
        assert!(seen.insert(done.id));
        ControlFlow::Continue(())
    });
    assert_eq!(seen.len(), 60);
    for server in &servers {
        let (_, most, all) = server.book.sessions();
        assert!((2..=3).contains(&most) && all == most, "{most} {all}");
        let recipients: BTreeSet<_> =
            server.book.messages().into_iter().flat_map(|taken| taken.recipients).collect();
        assert_eq!((recipients.len(), server.book.messages().len()), (30, 30));
    }
    assert!(pool.sessions().0 <= 6);
}

#[test]
fn refusing_37_of_100_recipients_delivers_to_the_others_once() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits::default());
    let name = |number: usize| match number % 100 {
        0..37 => format!("no{number}@x.example"),
        37..60 => format!("later{number}@x.example"),
        _ => format!("yes{number}@x.example"),
    };
    let orders = (0..3).map(|id| DeliveryRequest {
        id,
        message: message((0..100).map(|number| name(id * 100 + number))),
        route: server.route(),
    });
    let mut reports = Vec::new();
    Dispatcher::new(&pool, Still::default()).run(orders, |done| {
        reports.push(done.report);
        ControlFlow::Continue(())
    });
    assert_eq!(reports.len(), 3);
    for report in &reports {
        assert_eq!(
            (report.status, report.is_retryable, report.retry_count),
            (DeliveryStatus::Rejected, false, 1)
        );
        let count = |status| report.recipients.iter().filter(|one| one.status == status).count();
        assert_eq!((count(DeliveryStatus::Success), count(DeliveryStatus::Rejected)), (63, 37));
        let twice = report.recipients.iter().filter(|one| one.attempts == 2);
        assert!(twice.clone().all(|one| one.address.starts_with("later")) && twice.count() == 23);
    }
    let mut got = BTreeMap::new();
    for recipient in server.book.messages().into_iter().flat_map(|taken| taken.recipients) {
        *got.entry(recipient).or_insert(0) += 1;
    }
    assert!(got.len() == 189 && got.values().all(|count| *count == 1));
}

#[test]
fn retry_delays_follow_the_clock_and_delay_no_other_message() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits { sessions: 1, ..PoolLimits::default() });
    let names = ["later@x.example", "a@x.example", "b@x.example"];
    let orders =
        names.map(|name| DeliveryRequest { id: name, message: message([name]), route: server.route() });
    let mut done = Vec::new();
    let policy = RetryPolicy { initial_delay: Duration::from_secs(120), ..RetryPolicy::default() };
    let policy = RetryPolicy { max_delay: Duration::from_secs(120), ..policy };
    Dispatcher::new(&pool, Still::default()).policy(policy).run(orders, |one| {
        done.push((one.id, one.report.duration_ms, one.report.status));
        ControlFlow::Continue(())
    });
    let names: Vec<_> = done.iter().map(|one| one.0).collect();
    assert_eq!(names, ["a@x.example", "b@x.example", "later@x.example"]);
    assert!(done.iter().all(|one| one.2 == DeliveryStatus::Success));
    // Two minutes and a random part of 7 ms. The dispatcher checks the clock at intervals.
    assert!((120_007..120_100).contains(&done[2].1), "{done:?}");
}

#[test]
fn a_stopped_run_reports_every_message_taken() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits { sessions: 2, ..PoolLimits::default() });
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let route = server.route();
    let orders = (0..).map(move |id: usize| {
        *counted.lock().unwrap() += 1;
        DeliveryRequest { id, message: message([format!("{id}@x.example")]), route: route.clone() }
    });
    let (mut taken, mut untried) = (0, 0);
    Dispatcher::new(&pool, SystemClock::start()).hold_at_most(10).run(orders, |done| {
        match done.report.status {
            DeliveryStatus::Success => taken += 1,
            DeliveryStatus::TempFailed => {
                assert_eq!((done.report.recipients[0].attempts, done.report.is_retryable), (0, true));
                untried += 1;
            }
            other => panic!("{other:?}"),
        }
        if taken == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(taken >= 20 && untried <= 10, "{taken} {untried}");
    assert_eq!((taken + untried, server.book.messages().len()), (*asked.lock().unwrap(), taken));
}

#[test]
fn a_blocking_source_blocks_no_other_message() {
    let server = Running::start();
    let pool = Pool::new(PoolLimits { sessions: 1, ..PoolLimits::default() });
    let (hand_in, queue) = mpsc::channel();
    let order =
        |id: usize, name: &str| DeliveryRequest { id, message: message([name]), route: server.route() };
    hand_in.send(order(0, "later@x.example")).unwrap();
    let mut hand_in = Some(hand_in);
    let mut ids = Vec::new();
    let policy = RetryPolicy { initial_delay: Duration::from_millis(5), ..RetryPolicy::default() };
    // The second message is handed in when the first one, which needed a retry, is done.
    Dispatcher::new(&pool, SystemClock::start()).policy(policy).run(queue, |done| {
        ids.push((done.id, done.report.status));
        if let Some(hand_in) = hand_in.take() {
            hand_in.send(order(1, "b@x.example")).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(ids, [(0, DeliveryStatus::Success), (1, DeliveryStatus::Success)]);
}

#[test]
fn an_unreachable_host_fails_only_its_own_messages() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Running::start();
    let pool = Pool::new(PoolLimits::default());
    let orders = [(0, mail::route(unused)), (1, server.route())].map(|(id, route)| DeliveryRequest {
        id,
        message: message(["a@x.example"]),
        route,
    });
    let mut statuses = BTreeMap::new();
    Dispatcher::new(&pool, Still::default()).run(orders, |done| {
        let answer = done.report.recipients[0].diagnostic.clone().unwrap();
        statuses.insert(done.id, (done.report.status, done.report.recipients[0].attempts));
        assert_eq!(done.error.is_some(), answer.code.is_none(), "{answer:?}");
        ControlFlow::Continue(())
    });
    assert_eq!(statuses[&0], (DeliveryStatus::TempFailed, 4));
    assert_eq!(statuses[&1], (DeliveryStatus::Success, 1));
}

#[test]
fn retries_later_when_the_server_has_too_many_sessions() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 1;
    let config = Config::default().danger_cleartext();
    let server = Running::with(ListenerTls::None, config, limits);
    let (holder, pool) = (Pool::new(PoolLimits::default()), Pool::new(PoolLimits::default()));
    assert_eq!(deliver(&holder, &server.route(), &["a@x.example"]), [DeliveryStatus::Success]);
    let policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
    let orders = [DeliveryRequest { id: 0, message: message(["b@x.example"]), route: server.route() }];
    let mut report = None;
    Dispatcher::new(&pool, Still::default()).policy(policy).run(orders, |done| {
        report = Some(done.report);
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    let answer = report.recipients[0].diagnostic.as_ref().unwrap();
    assert_eq!((answer.stage, answer.code), (DeliveryStage::Greeting, Some(421)));
    assert!(answer.text.contains("4.3.2 Too many connections"), "{}", answer.text);
    assert_eq!(
        (report.status, report.is_retryable, report.retry_count),
        (DeliveryStatus::TempFailed, true, 1)
    );
    drop(holder);
    wait_until(|| server.book.sessions().0 == 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(deliver(&pool, &server.route(), &["b@x.example"]), [DeliveryStatus::Success]);
}

#[test]
fn an_application_can_refuse_a_connection() {
    let mut waits = proto_smtp::Waits::default();
    waits.greeting_delay = Duration::from_millis(5);
    let server = Running::set(|config| config.waits(waits));
    server.book.limit_sessions(1);
    let (holder, pool) = (Pool::new(PoolLimits::default()), Pool::new(PoolLimits::default()));
    assert_eq!(deliver(&holder, &server.route(), &["a@x.example"]), [DeliveryStatus::Success]);
    let orders = [DeliveryRequest { id: 0, message: message(["b@x.example"]), route: server.route() }];
    Dispatcher::new(&pool, Still::default()).run(orders, |done| {
        let [recipient] = &done.report.recipients[..] else { panic!("{:?}", done.report) };
        // The refusal was permanent: there is no retry, and none would make sense.
        assert_eq!(
            (recipient.status, recipient.attempts, recipient.is_retryable),
            (DeliveryStatus::Failed, 1, false)
        );
        assert_eq!(recipient.diagnostic.as_ref().unwrap().code, Some(554));
        ControlFlow::Continue(())
    });
    assert_eq!(server.book.messages().len(), 1);
}

#[test]
fn no_recipient_gets_a_message_twice_and_reports_are_true() {
    // The messages with an unknown result, each with whether the server had received it.
    let mut uncertain = BTreeSet::new();
    for seed in [1, 7_777_777, 123_456_789_123] {
        let server = Running::start();
        server.book.go_mad(seed);
        let pool = Pool::new(PoolLimits { messages: 10, ..PoolLimits::default() });
        let orders = (0..100).map(|id| DeliveryRequest {
            id,
            message: message((0..3).map(|number| format!("{id}.{number}@x.example"))),
            route: server.route(),
        });
        let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
        let mut said = BTreeMap::new();
        Dispatcher::new(&pool, Still::default()).policy(policy).run(orders, |done| {
            said.extend(done.report.recipients.into_iter().map(|one| (one.address, one.status)));
            ControlFlow::Continue(())
        });
        let mut got = BTreeMap::new();
        for recipient in server.book.messages().into_iter().flat_map(|taken| taken.recipients) {
            *got.entry(recipient).or_insert(0) += 1;
        }
        assert_eq!(said.len(), 300);
        for (address, status) in &said {
            let count = got.get(address).copied().unwrap_or(0);
            match status {
                DeliveryStatus::Success => assert_eq!(count, 1, "{seed} {address}"),
                DeliveryStatus::Uncertain => {
                    assert!(count <= 1, "{seed} {address}");
                    uncertain.insert(count);
                }
                other => panic!("{seed} {address}: {other:?}"),
            }
        }
    }
    assert_eq!(uncertain, BTreeSet::from([0, 1]));
}
