//! Tests of the engine with a made-up clock and without I/O.
#![allow(clippy::panic)]

use std::{io, sync::Mutex, time::Duration};

use io_common::Error;

use super::{
    DeliveryReport, DeliveryRequest, DeliveryStage, DeliveryStatus, Diagnostic, Journal, Message,
    RetryPolicy, engine::*,
};

type Fixture = DeliveryEngine<u32, (), RouteKey, Error>;
type Action = DeliveryAction<u32, (), RouteKey, Error, ()>;

/// A journal that records its calls.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn line(&self, line: String) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Journal<u32> for Log {
    fn before_final_bytes(&self, _: &u32, _: &[usize]) -> io::Result<()> {
        Err(io::Error::other("the engine sends nothing"))
    }

    fn attempt_finished(&self, id: &u32, report: &DeliveryReport, delay: Option<Duration>) {
        let statuses: Vec<_> = report.recipients.iter().map(|one| one.status).collect();
        self.line(format!("{id} finished {statuses:?} {:?}", delay.map(|delay| delay.as_secs())));
    }

    fn route_paused(&self, reason: &Diagnostic, delay: Duration) {
        self.line(format!("paused {:?} {}", reason.stage, delay.as_secs()));
    }

    fn session_limit_reached(&self, reason: &Diagnostic, sessions: usize) {
        self.line(format!("limit {:?} {sessions}", reason.code));
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(attempts: u32) -> RetryPolicy {
    RetryPolicy { attempts, jitter_percent: 0, ..RetryPolicy::default() }
}

fn request(id: u32, route: &RouteKey) -> DeliveryRequest<u32, (), RouteKey> {
    let message = empty_message(100).recipient_text("a@x.example");
    DeliveryRequest { id, message, route: route.clone() }
}

/// A message of this declared size without recipients.
fn empty_message(size: u64) -> Message<()> {
    Message::from_text("", ()).with_mail(|mut mail| {
        mail.size = Some(size);
        mail
    })
}

/// Adds these messages, which are all.
fn engine_with(policy: RetryPolicy, requests: impl IntoIterator<Item = (u32, RouteKey)>) -> Fixture {
    let mut engine = Fixture::new(policy, Checks::Off);
    assert!(matches!(engine.next_action(at(0), |_| Some(())), Action::TakeRequests));
    for (id, route) in requests {
        engine.add(request(id, &route));
    }
    engine.end_requests();
    engine
}

/// Returns the attempt that is next at this time.
fn attempt(engine: &mut Fixture, now: u64) -> Box<Delivery<u32, (), RouteKey, Error>> {
    match engine.next_action(at(now), |_| Some(())) {
        Action::Attempt(delivery, ()) => delivery,
        other => panic!("{other:?}"),
    }
}

/// Makes the next attempt, which ends with this status of the recipient and this outcome. Returns the message's number
/// and, if it is done, its status and whether its route failed.
fn run(
    engine: &mut Fixture,
    log: &Log,
    now: u64,
    status: Option<DeliveryStatus>,
    outcome: AttemptOutcome<Error>,
) -> (u32, Option<(DeliveryStatus, bool)>) {
    let mut delivery = attempt(engine, now);
    let id = *delivery.id();
    if let Some(status) = status {
        let reply = Diagnostic::without_reply(DeliveryStage::Rcpt, "a reply");
        delivery.report_mut().exclude(0, status, reply);
    }
    match engine.attempted(delivery, outcome, at(now), 7).record(log, at(now)) {
        RecordedAttempt::Waiting(waiting) => {
            engine.wait(waiting);
            (id, None)
        }
        RecordedAttempt::Done(done) => {
            let FinishedDelivery { result, reported } = *done;
            engine.reported(reported, at(now));
            (id, Some((result.report.status, result.route_failed)))
        }
    }
}

fn waits(engine: &mut Fixture, now: u64) -> Pause {
    match engine.next_action(at(now), |_| Some(())) {
        Action::Wait(pause) => pause,
        other => panic!("{other:?}"),
    }
}

const SUCCESS: Option<DeliveryStatus> = Some(DeliveryStatus::Success);
const RETRY: Option<DeliveryStatus> = Some(DeliveryStatus::Retry);

#[test]
fn a_message_is_retried_after_its_delay_and_delays_no_other() {
    let (route, log) = (RouteKey::new("a", 25), Log::default());
    let mut engine = engine_with(policy(4), [(1, route.clone()), (2, route)]);
    assert_eq!(run(&mut engine, &log, 0, RETRY, AttemptOutcome::Ended), (1, None));
    assert_eq!(
        run(&mut engine, &log, 0, SUCCESS, AttemptOutcome::Ended),
        (2, Some((DeliveryStatus::Success, false)))
    );
    assert_eq!(waits(&mut engine, 0), Pause::Until(at(1), IdleSessions::Close));
    assert_eq!(run(&mut engine, &log, 1, RETRY, AttemptOutcome::Ended), (1, None));
    assert_eq!(waits(&mut engine, 2), Pause::Until(at(3), IdleSessions::Close));
    let uncertain = Some(DeliveryStatus::Uncertain);
    let ended = run(&mut engine, &log, 3, uncertain, AttemptOutcome::Ended);
    assert_eq!(ended, (1, Some((DeliveryStatus::Uncertain, false))));
    assert!(matches!(engine.next_action(at(3), |_| Some(())), Action::End));
    assert_eq!(
        log.take(),
        [
            "1 finished [Retry] Some(1)",
            "2 finished [Success] None",
            "1 finished [Retry] Some(2)",
            "1 finished [Uncertain] None"
        ]
    );
}

#[test]
fn a_full_host_delays_only_its_own_messages() {
    let [a, b] = ["a", "b"].map(|host| RouteKey::new(host, 25));
    let mut engine = engine_with(policy(4), [(1, a.clone()), (2, a), (3, b)]);
    let mut asked = Vec::new();
    let action = engine.next_action(at(0), |route: &RouteKey| {
        asked.push(route.host().to_owned());
        (route.host() == "b").then_some(())
    });
    let Action::Attempt(delivery, ()) = action else { panic!("{action:?}") };
    // The pool is asked once for each host.
    assert_eq!((*delivery.id(), asked), (3, vec!["a".to_owned(), "b".to_owned()]));
    // The rest waits for a session, not for the clock.
    let action = engine.next_action(at(0), |_| None::<()>);
    assert!(matches!(action, DeliveryAction::Wait(Pause::Event(None))), "{action:?}");
    let decided = engine.attempted(delivery, AttemptOutcome::LostAtOnce, at(0), 7);
    let RecordedAttempt::Waiting(waiting) = decided.record(&(), at(0)) else { panic!() };
    engine.wait(waiting);
    let action = engine.next_action(at(0), |_| None::<()>);
    assert!(matches!(action, DeliveryAction::Wait(Pause::Event(Some(due))) if due == at(1)), "{action:?}");
}

#[test]
fn a_failing_route_pauses_for_all_its_messages_and_then_fails_them() {
    let (route, other, log) = (RouteKey::new("a", 25), RouteKey::new("b", 25), Log::default());
    let mut engine = engine_with(policy(2), [(1, route.clone()), (2, route.clone()), (3, other)]);
    let lost = || AttemptOutcome::NotOpened(Error::Closed, 0);
    assert_eq!(run(&mut engine, &log, 0, None, lost()), (1, None));
    // Message 2 waits for the route; message 3 has another one.
    assert_eq!(run(&mut engine, &log, 0, SUCCESS, AttemptOutcome::Ended).0, 3);
    assert_eq!(waits(&mut engine, 0), Pause::Until(at(1), IdleSessions::Close));
    assert_eq!(run(&mut engine, &log, 1, None, lost()), (2, Some((DeliveryStatus::TempFailed, true))));
    let Action::Report(result) = engine.next_action(at(1), |_| Some(())) else { panic!() };
    assert_eq!((result.id, result.route_failed, result.report.status), (1, true, DeliveryStatus::TempFailed));
    assert_eq!(
        log.take(),
        [
            "1 finished [Retry] Some(1)",
            "paused Connect 1",
            "3 finished [Success] None",
            "2 finished [Retry] None"
        ]
    );
    // The next message for the route waits for the longest delay.
    engine.pause_requests();
    engine.add(request(4, &route));
    engine.end_requests();
    assert_eq!(waits(&mut engine, 1), Pause::Until(at(61), IdleSessions::Close));
    let refused = AttemptOutcome::NotOpened(Error::ServiceRefused { code: 554, reply: "554 no".into() }, 0);
    assert_eq!(run(&mut engine, &log, 61, None, refused), (4, Some((DeliveryStatus::Failed, true))));
    assert!(matches!(engine.next_action(at(61), |_| Some(())), Action::End));
}

#[test]
fn a_success_ends_the_row_of_failures_of_a_route() {
    let (route, log) = (RouteKey::new("a", 25), Log::default());
    let mut engine = engine_with(policy(2), [(1, route.clone()), (2, route)]);
    assert_eq!(run(&mut engine, &log, 0, None, AttemptOutcome::LostAtOnce), (1, None));
    assert_eq!(run(&mut engine, &log, 1, RETRY, AttemptOutcome::Ended), (2, None));
    let lost = run(&mut engine, &log, 1, None, AttemptOutcome::LostAtOnce);
    assert_eq!(lost, (1, Some((DeliveryStatus::TempFailed, false))));
}

#[test]
fn a_refused_session_beside_others_is_no_attempt() {
    let (route, log) = (RouteKey::new("a", 25), Log::default());
    let mut engine = engine_with(policy(1), [(1, route.clone()), (2, route)]);
    let busy = Error::ServiceRefused { code: 421, reply: "421 busy".into() };
    assert_eq!(run(&mut engine, &log, 0, None, AttemptOutcome::NotOpened(busy, 2)), (1, None));
    // It stays the next one, and its attempt continues.
    let ended = run(&mut engine, &log, 0, SUCCESS, AttemptOutcome::Ended);
    assert_eq!(ended, (1, Some((DeliveryStatus::Success, false))));
    assert_eq!(log.take(), ["limit Some(421) 2", "1 finished [Success] None"]);
}

#[test]
fn takes_requests_up_to_its_limits() {
    let route = RouteKey::new("a", 25);
    let mut engine = Fixture::new(policy(4), Checks::Off).hold_at_most(6).look_ahead(4);
    assert!(matches!(engine.next_action(at(0), |_| Some(())), Action::TakeRequests));
    // Requests are being taken: nothing else is asked meanwhile.
    assert_eq!(waits(&mut engine, 0), Pause::Event(None));
    for id in 0..4 {
        assert!(engine.has_room(), "{id}");
        engine.add(request(id, &route));
    }
    assert!(!engine.has_room());
    engine.pause_requests();
    let _active: Vec<_> = (0..2).map(|_| attempt(&mut engine, 0)).collect();
    assert!(!engine.wants_requests() && engine.has_room());
    let _third = attempt(&mut engine, 0);
    assert!(engine.wants_requests());
    // Six are held at most, those being sent included.
    for id in 4..6 {
        assert!(engine.has_room(), "{id}");
        engine.add(request(id, &route));
    }
    assert!(!engine.has_room());
    // So do the bytes of untried messages.
    let mut engine = Fixture::new(policy(4), Checks::Off);
    engine.add(DeliveryRequest { id: 0, message: empty_message(4 << 20), route });
    assert!(!engine.has_room() && !engine.wants_requests());
}

#[test]
fn checks_messages_first_and_reports_those_without_recipients() {
    let route = RouteKey::new("a", 25);
    let mut engine = Fixture::new(policy(4), Checks::EachMessage);
    engine.add(request(1, &route));
    engine.add(request(2, &route));
    engine.end_requests();
    let Action::Check(first) = engine.next_action(at(0), |_| Some(())) else { panic!() };
    assert!(engine.checked(first, None, at(0)).is_none());
    assert_eq!(*attempt(&mut engine, 0).id(), 1);
    let Action::Check(second) = engine.next_action(at(0), |_| Some(())) else { panic!() };
    let unreadable = Error::Io { doing: "reading the message", source: io::Error::other("no") };
    let Some(done) = engine.checked(second, Some(unreadable), at(0)) else { panic!() };
    let result = done.result;
    assert_eq!((result.id, result.report.status, result.error.is_some()), (2, DeliveryStatus::Failed, true));
    let mut engine = Fixture::new(policy(4), Checks::Off);
    engine.add(DeliveryRequest { id: 3, message: empty_message(1), route });
    let Action::Report(result) = engine.next_action(at(0), |_| Some(())) else { panic!() };
    assert_eq!((result.id, result.report.recipients.len()), (3, 0));
}

#[test]
fn a_stopped_run_ends_what_is_in_progress_and_reports_the_rest() {
    let (route, log) = (RouteKey::new("a", 25), Log::default());
    let mut engine = engine_with(policy(4), [(1, route.clone()), (2, route)]);
    let mut delivery = attempt(&mut engine, 0);
    engine.stop();
    let Action::Report(result) = engine.next_action(at(5), |_| Some(())) else { panic!() };
    let recipient = result.report.recipients.first().map(|one| (one.status, one.attempts));
    assert_eq!((result.id, recipient), (2, Some((DeliveryStatus::TempFailed, 0))));
    assert_eq!(waits(&mut engine, 5), Pause::Event(None));
    delivery.report_mut().exclude(
        0,
        DeliveryStatus::Retry,
        Diagnostic::without_reply(DeliveryStage::Rcpt, ""),
    );
    let decided = engine.attempted(delivery, AttemptOutcome::Ended, at(5), 7);
    let RecordedAttempt::Waiting(waiting) = decided.record(&log, at(5)) else { panic!() };
    engine.wait(waiting);
    // Its retry is not awaited.
    let Action::Report(result) = engine.next_action(at(5), |_| Some(())) else { panic!() };
    assert_eq!((result.id, result.report.duration_ms), (1, 5000));
    assert!(matches!(engine.next_action(at(5), |_| Some(())), Action::End));
}
