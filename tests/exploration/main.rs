//! State exploration: visits every state that a machine can reach by the actions of its peer and its application, and
//! checks the invariants in each. docs/security.md states the minimum size of each exploration.
//!
//! `MAILWIRE_EXPLORE=N` allows a client's application N more commands in progress, and more pieces on the wire between
//! a client and a server. It does not affect the exploration of a server, whose client may send anything at any time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a statement that does not hold must fail the test")]

mod automaton;
mod custom_mechanism;
mod endpoint;
mod explore;
mod imap_alphabet;
mod imap_client;
mod imap_client_model;
mod imap_joined_client;
mod imap_joined_server;
mod imap_server;
mod imap_server_model;
mod joined;
mod smtp_alphabet;
mod smtp_client;
mod smtp_commands;
mod smtp_joined_client;
mod smtp_joined_server;
mod smtp_server;
mod smtp_server_model;

use automaton::Belief;
use explore::{Counts, SystemUnderTest, explore};
use joined::{JoinedSetup, explore_joined};
use proto_smtp::Dialect;

/// Explores from each start until no action leads to a new state, and compares the counts with those in
/// docs/security.md. There is only one state after the upgrade, whatever was sent before. It must equal one of
/// `initial_states`, and is not explored further.
fn explore_completely<S: SystemUnderTest>(name: &str, starts: &[&dyn Fn() -> S], initial_states: &[S]) {
    /// No shortest path is that long.
    const MAX_DEPTH: usize = 60;
    let mut all = Counts::default();
    for start in starts {
        let counts = explore(start, MAX_DEPTH);
        assert!(counts.depth < MAX_DEPTH, "{name}: the exploration does not end");
        assert!(
            counts.states_after_upgrade.len() <= 1,
            "{name}: more than one state after the upgrade: {:#?}",
            counts.states_after_upgrade
        );
        all = all.plus(counts);
    }
    let initial_states: Vec<String> = initial_states.iter().map(SystemUnderTest::state).collect();
    for upgraded in &all.states_after_upgrade {
        assert!(
            initial_states.contains(upgraded),
            "{name}: after the upgrade: {upgraded}\nbut a session begins with: {initial_states:#?}"
        );
    }
    assert!(all.upgrades > 0, "{name}: no path leads through the upgrade");
    compare(name, &[all.depth, all.states, all.transitions, all.checks, all.upgrades]);
}

/// Compares the counts of a joined exploration with those in docs/security.md.
fn compare_joined(name: &str, counts: &joined::Counts) {
    let joined::Counts { depth, states, transitions, checks, handshake_paths, steps, confirmed } = *counts;
    compare(name, &[depth, states, transitions, checks, handshake_paths, steps, confirmed]);
}

/// Checks that the exploration is at least as large as docs/security.md says.
fn compare(name: &str, found: &[usize]) {
    let counts = found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let row = format!("| {name} | {} |", counts.join(" | "));
    println!("{row}");
    let documented = documented_counts(name);
    let is_as_large = documented.len() == found.len()
        && documented.iter().zip(found).all(|(&least, &found)| found >= least);
    assert!(is_as_large, "docs/security.md promises {documented:?}, and the exploration has\n{row}");
}

/// Returns how many commands or pieces to allow beyond the default.
fn extra_in_progress() -> usize {
    std::env::var("MAILWIRE_EXPLORE").ok().and_then(|more| more.parse().ok()).unwrap_or(0)
}

/// Returns the system after these actions.
fn after<S: SystemUnderTest>(mut system: S, actions: &[S::Action]) -> S {
    actions.iter().for_each(|&next| system.perform(next));
    system
}

/// Returns the counts in a row of docs/security.md.
fn documented_counts(name: &str) -> Vec<usize> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).unwrap_or_default();
    row.split(" | ").filter_map(|count| count.trim_end_matches(" |").parse().ok()).collect()
}

#[test]
fn smtp_server_keeps_the_invariants_in_every_state() {
    use smtp_server::{ErrorLimits, Settings, TestServer};
    let submission =
        Settings { dialect: Dialect::Smtp, requires_login: true, error_limits: ErrorLimits::Unlimited };
    let relay = Settings { requires_login: false, ..submission };
    let lmtp = Settings { dialect: Dialect::Lmtp, ..relay };
    let few = Settings { error_limits: ErrorLimits::Low, ..submission };
    explore_completely(
        "SMTP server",
        &[
            &|| TestServer::new(submission),
            &|| TestServer::new(relay),
            &|| TestServer::new(lmtp),
            &|| TestServer::new(few),
            &|| TestServer::secure(submission),
            &|| TestServer::secure(lmtp),
            &|| TestServer::secure(few),
        ],
        &[submission, relay, lmtp, few].map(TestServer::secure),
    );
}

#[test]
fn smtp_client_keeps_the_invariants_in_every_state() {
    use smtp_alphabet::{ALL, IDENTITY, RECIPIENTS, SESSION, TRANSACTIONS};
    use smtp_client::{Action::Receive, Settings, TestClient};
    let clear = Settings { dialect: Dialect::Smtp, allows_cleartext_login: false, alphabet: ALL };
    let allows_cleartext_login = Settings { allows_cleartext_login: true, alphabet: IDENTITY, ..clear };
    let session = Settings { alphabet: SESSION, ..clear };
    let transactions = Settings { alphabet: TRANSACTIONS, ..clear };
    let lmtp = Settings { dialect: Dialect::Lmtp, alphabet: RECIPIENTS, ..clear };
    explore_completely(
        "SMTP client",
        &[
            &|| TestClient::new(clear),
            &|| TestClient::new(allows_cleartext_login),
            &|| TestClient::secure(session),
            &|| TestClient::secure(transactions),
            &|| TestClient::secure(lmtp),
        ],
        &[clear, allows_cleartext_login]
            .map(|settings| after(TestClient::secure(settings), &[Receive("220 x\r\n")])),
    );
}

#[test]
fn smtp_joined_endpoints_agree_under_every_attack() {
    use smtp_joined_client::{JoinedClient, TO_CLIENT};
    use smtp_joined_server::{JoinedServer, Settings, TO_SERVER};
    let explore_with = |max_on_wire, logs_in, settings: Settings, expected_outcome| {
        explore_joined(&JoinedSetup {
            client: &|| JoinedClient::new(logs_in),
            server: &|| JoinedServer::new(Settings { requires_login: logs_in, ..settings }),
            to_client: TO_CLIENT,
            to_server: TO_SERVER,
            max_on_wire: max_on_wire + usize::from(extra_in_progress() > 0),
            expected_outcome,
        })
    };
    let settings = Settings { offers_tls: true, accepts_logins: true, requires_login: true };
    compare_joined("SMTP, submission", &explore_with(2, true, settings, Some(Belief::Yes)));
    compare_joined(
        "SMTP, wrong password",
        &explore_with(1, true, Settings { accepts_logins: false, ..settings }, Some(Belief::No)),
    );
    compare_joined("SMTP, relay", &explore_with(1, false, settings, Some(Belief::Yes)));
    compare_joined(
        "SMTP, no TLS there",
        &explore_with(1, true, Settings { offers_tls: false, ..settings }, None),
    );
}

#[test]
fn imap_joined_endpoints_agree_under_every_attack() {
    use imap_joined_client::{JoinedClient, TO_CLIENT};
    use imap_joined_server::{JoinedServer, Settings, TO_SERVER};
    let explore_with = |max_on_wire, settings, expected_outcome| {
        explore_joined(&JoinedSetup {
            client: &JoinedClient::new,
            server: &|| JoinedServer::new(settings),
            to_client: TO_CLIENT,
            to_server: TO_SERVER,
            max_on_wire: max_on_wire + usize::from(extra_in_progress() > 0),
            expected_outcome,
        })
    };
    let settings = Settings { offers_tls: true, accepts_logins: true };
    compare_joined("IMAP, APPEND", &explore_with(1, settings, Some(Belief::Yes)));
    compare_joined(
        "IMAP, wrong password",
        &explore_with(1, Settings { accepts_logins: false, ..settings }, Some(Belief::No)),
    );
    compare_joined("IMAP, no TLS there", &explore_with(1, Settings { offers_tls: false, ..settings }, None));
}

#[test]
fn imap_server_keeps_the_invariants_in_every_state() {
    use imap_server::{ErrorLimits, TestServer};
    explore_completely(
        "IMAP server",
        &[&|| TestServer::new(ErrorLimits::Unlimited), &|| TestServer::new(ErrorLimits::Low), &|| {
            TestServer::secure(ErrorLimits::Unlimited)
        }],
        &[TestServer::secure(ErrorLimits::Unlimited), TestServer::secure(ErrorLimits::Low)],
    );
}

#[test]
fn imap_client_keeps_the_invariants_in_every_state() {
    use imap_alphabet::{CLEARTEXT, CLEARTEXT_LOGIN, FETCH, LOGIN, SESSION};
    use imap_client::{Action::Receive, TestClient};
    let greeted = |alphabet, greeting| after(TestClient::new(alphabet), &[Receive(greeting)]);
    let (asks, plus) = (
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] x\r\n",
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE LITERAL+] x\r\n",
    );
    explore_completely(
        "IMAP client",
        &[
            &|| greeted(&SESSION, asks),
            &|| greeted(&SESSION, plus),
            &|| greeted(&FETCH, asks),
            &|| TestClient::new(&CLEARTEXT),
            &|| TestClient::new(&CLEARTEXT_LOGIN),
            &|| TestClient::new(&LOGIN),
        ],
        &[greeted(&LOGIN, "* OK x\r\n")],
    );
}
