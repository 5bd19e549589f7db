//! Faults at commands of IMAP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_common::server::WakeReason;
use io_common::stream::Readiness;
use mailserver::{Options, ServerContext, Service, Settings};
use mailstore::{MemoryStore, PasswordCost, Store};

use super::pipe::Session;
use super::start;

fn session(fail: &[&str], delay: &[&str], drop: &[&str]) -> Session {
    let store = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    store.create_account("ann", b"a password").unwrap();
    let mut options = Options::default();
    options.faults.fail = fail.iter().map(|rule| rule.parse().unwrap()).collect();
    options.faults.delay = delay.iter().map(|rule| rule.parse().unwrap()).collect();
    options.faults.drop = drop.iter().map(|rule| rule.parse().unwrap()).collect();
    options.faults.seed = 7;
    let context = ServerContext::new(store, &Settings::default(), options).unwrap();
    let mut session = start(&context, Service::Imap);
    session.exchange("", "\r\n");
    session
}

fn login(session: &mut Session) {
    session.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
}

#[test]
fn a_command_fails_with_the_configured_status() {
    let mut imap =
        session(&["fetch=NO[UNAVAILABLE]", "append=NO[OVERQUOTA]", "store=BAD", "noop=NO:0"], &[], &[]);
    login(&mut imap);
    imap.exchange("b APPEND INBOX {3}\r\n", "b NO [OVERQUOTA] injected fault\r\n");
    imap.exchange("c SELECT INBOX\r\n", "c OK");
    imap.exchange("d FETCH 1:* UID\r\n", "d NO [UNAVAILABLE] injected fault\r\n");
    imap.exchange("e UID FETCH 1:* UID\r\n", "e NO [UNAVAILABLE] injected fault\r\n");
    imap.exchange("f UID STORE 1 FLAGS ()\r\n", "f BAD injected fault\r\n");
    imap.exchange("g NOOP\r\n", "g OK");
}

#[test]
fn a_login_fails_or_the_connection_ends() {
    let mut imap = session(&["login=NO[UNAVAILABLE]"], &[], &[]);
    let answer = imap.exchange("a LOGIN ann \"a password\"\r\n", "a NO");
    assert!(answer.contains("[UNAVAILABLE]"), "{answer}");

    let mut imap = session(&["select=BYE"], &[], &[]);
    login(&mut imap);
    imap.exchange("b SELECT INBOX\r\n", "* BYE injected fault\r\n");
    let mut imap = session(&[], &[], &["status"]);
    login(&mut imap);
    imap.pipe.to_server.lock().unwrap().extend(b"b STATUS INBOX (MESSAGES)\r\n");
    imap.task.ready(Readiness { readable: true, ..Readiness::default() });
    let _ = imap.turn(WakeReason::default());
    assert!(imap.pipe.from_server.lock().unwrap().is_empty(), "nothing is answered");
    imap.pipe.to_server.lock().unwrap().extend(b"c NOOP\r\n");
    imap.task.ready(Readiness { readable: true, ..Readiness::default() });
    let _ = imap.turn(WakeReason::default());
    assert!(imap.pipe.from_server.lock().unwrap().is_empty(), "the connection is closed");
}

#[test]
fn a_delayed_command_is_executed_later() {
    let delays = ["list=200ms", "idle=200ms", "append=200ms", "login=200ms"];
    let mut imap = session(&[], &delays, &[]);
    let mut run = |sent: &str, end: &str| {
        let start = Instant::now();
        imap.exchange(sent, end);
        start.elapsed()
    };
    let delayed = Duration::from_millis(190);
    assert!(run("a LOGIN ann \"a password\"\r\n", "a OK") >= delayed);
    assert!(run("b LIST \"\" INBOX\r\n", "b OK") >= delayed);
    assert!(run("c APPEND INBOX {3+}\r\nabc\r\n", "c OK") >= delayed);
    assert!(run("d NOOP\r\n", "d OK") < delayed);
}

#[test]
fn the_same_seed_draws_the_same_faults() {
    let failures = || -> Vec<bool> {
        let mut imap = session(&["noop=NO:0.5"], &[], &[]);
        login(&mut imap);
        (0..40)
            .map(|number| {
                let tag = format!("t{number}");
                imap.exchange(&format!("{tag} NOOP\r\n"), &format!("{tag} ")).contains("injected")
            })
            .collect()
    };
    let first = failures();
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(failures(), first);
}
