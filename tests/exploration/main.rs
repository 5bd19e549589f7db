//! State exploration: visits every state that a machine can reach by the moves of its peer and its application, and
//! checks the invariants in each. docs/security.md states the minimum size of each exploration.
//!
//! `MAILWIRE_EXPLORE=N` allows a client's application N more commands in progress, and more pieces on the wire between
//! a client and a server. It does not affect the exploration of a server, whose client may send anything at any time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a statement that does not hold must fail the test")]

mod automaton;
mod custom_mechanism;
mod end;
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
mod smtp_joined_client;
mod smtp_joined_server;
mod smtp_server;
mod smtp_server_model;

use automaton::Belief;
use explore::{Figures, World, explore};
use joined::{Pair, join};
use proto_smtp::Dialect;

/// Explores from each start until no move leads to a new state, and compares the figures with those in
/// docs/security.md. There is only one state after the upgrade, whatever was sent before. It must equal one of
/// `beginnings`, and is not explored further.
fn explore_to_the_end<W: World>(name: &str, starts: &[&dyn Fn() -> W], beginnings: &[W]) {
    /// No shortest path is that long.
    const FAR: usize = 60;
    let mut all = Figures::default();
    for start in starts {
        let figures = explore(start, FAR);
        assert!(figures.depth < FAR, "{name}: there is no end to it");
        assert!(
            figures.behind.len() <= 1,
            "{name}: more than one state behind the gate: {:#?}",
            figures.behind
        );
        all = all.and(figures);
    }
    let beginnings: Vec<String> = beginnings.iter().map(World::state).collect();
    for behind in &all.behind {
        assert!(
            beginnings.contains(behind),
            "{name}: so does no session begin: {behind}\nbut so: {beginnings:#?}"
        );
    }
    assert!(all.upgrades > 0, "{name}: no way leads through the gate");
    compare(name, &[all.depth, all.states, all.transitions, all.statements, all.upgrades]);
}

/// Compares the figures of a joined exploration with those in docs/security.md.
fn joined(name: &str, figures: &joined::Figures) {
    let joined::Figures { depth, states, transitions, statements, gate, steps, confirmed } = *figures;
    compare(name, &[depth, states, transitions, statements, gate, steps, confirmed]);
}

/// Checks that the exploration is at least as large as docs/security.md says.
fn compare(name: &str, walked: &[usize]) {
    let figures = walked.iter().map(ToString::to_string).collect::<Vec<_>>();
    let row = format!("| {name} | {} |", figures.join(" | "));
    println!("{row}");
    let written = written(name);
    let enough =
        written.len() == walked.len() && written.iter().zip(walked).all(|(&least, &found)| found >= least);
    assert!(enough, "docs/security.md says {written:?} of what is\n{row}");
}

/// Returns how many commands or pieces to allow beyond the default.
fn farther() -> usize {
    std::env::var("MAILWIRE_EXPLORE").ok().and_then(|more| more.parse().ok()).unwrap_or(0)
}

/// Returns the world after these moves.
fn after<W: World>(mut world: W, moves: &[W::Move]) -> W {
    moves.iter().for_each(|&next| world.make(next));
    world
}

/// Returns the figures in a row of docs/security.md.
fn written(name: &str) -> Vec<usize> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).unwrap_or_default();
    row.split(" | ").filter_map(|figure| figure.trim_end_matches(" |").parse().ok()).collect()
}

#[test]
fn smtp_server() {
    use smtp_server::{Bounds, Terms, TestServer};
    let submission = Terms { dialect: Dialect::Smtp, needs_proof: true, bounds: Bounds::None };
    let relay = Terms { needs_proof: false, ..submission };
    let lmtp = Terms { dialect: Dialect::Lmtp, ..relay };
    let few = Terms { bounds: Bounds::Few, ..submission };
    explore_to_the_end(
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
fn smtp_client() {
    use smtp_alphabet::{ALL, IDENTITY, RECIPIENTS, SESSION, TRANSACTIONS};
    use smtp_client::{Move::Hear, Terms, TestClient};
    let clear = Terms { dialect: Dialect::Smtp, danger: false, alphabet: ALL };
    let danger = Terms { danger: true, alphabet: IDENTITY, ..clear };
    let session = Terms { alphabet: SESSION, ..clear };
    let transactions = Terms { alphabet: TRANSACTIONS, ..clear };
    let lmtp = Terms { dialect: Dialect::Lmtp, alphabet: RECIPIENTS, ..clear };
    explore_to_the_end(
        "SMTP client",
        &[
            &|| TestClient::new(clear),
            &|| TestClient::new(danger),
            &|| TestClient::secure(session),
            &|| TestClient::secure(transactions),
            &|| TestClient::secure(lmtp),
        ],
        &[clear, danger].map(|terms| after(TestClient::secure(terms), &[Hear("220 x\r\n")])),
    );
}

#[test]
fn smtp_joined() {
    use smtp_joined_client::{Sending, TO_CLIENT};
    use smtp_joined_server::{Receiving, TO_SERVER, Terms};
    let walk = |room, logs_in, terms: Terms, ends| {
        join(&Pair {
            client: &|| Sending::new(logs_in),
            server: &|| Receiving::new(Terms { needs_proof: logs_in, ..terms }),
            to_client: TO_CLIENT,
            to_server: TO_SERVER,
            room: room + usize::from(farther() > 0),
            ends,
        })
    };
    let terms = Terms { has_tls: true, believes: true, needs_proof: true };
    joined("SMTP, submission", &walk(2, true, terms, Some(Belief::Yes)));
    joined("SMTP, wrong password", &walk(1, true, Terms { believes: false, ..terms }, Some(Belief::No)));
    joined("SMTP, relay", &walk(1, false, terms, Some(Belief::Yes)));
    joined("SMTP, no TLS there", &walk(1, true, Terms { has_tls: false, ..terms }, None));
}

#[test]
fn imap_joined() {
    use imap_joined_client::{Sending, TO_CLIENT};
    use imap_joined_server::{Receiving, TO_SERVER, Terms};
    let walk = |room, terms, ends| {
        join(&Pair {
            client: &Sending::new,
            server: &|| Receiving::new(terms),
            to_client: TO_CLIENT,
            to_server: TO_SERVER,
            room: room + usize::from(farther() > 0),
            ends,
        })
    };
    let terms = Terms { has_tls: true, believes: true };
    joined("IMAP, APPEND", &walk(1, terms, Some(Belief::Yes)));
    joined("IMAP, wrong password", &walk(1, Terms { believes: false, ..terms }, Some(Belief::No)));
    joined("IMAP, no TLS there", &walk(1, Terms { has_tls: false, ..terms }, None));
}

#[test]
fn imap_server() {
    use imap_server::{Bounds, TestServer};
    explore_to_the_end(
        "IMAP server",
        &[&|| TestServer::new(Bounds::None), &|| TestServer::new(Bounds::Few), &|| {
            TestServer::secure(Bounds::None)
        }],
        &[TestServer::secure(Bounds::None), TestServer::secure(Bounds::Few)],
    );
}

#[test]
fn imap_client() {
    use imap_alphabet::{CLEAR, DANGER, FETCH, PROOF, SESSION};
    use imap_client::{Move::Hear, TestClient};
    let greeted = |room, greeting| after(TestClient::new(room), &[Hear(greeting)]);
    let (asks, plus) = (
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] x\r\n",
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE LITERAL+] x\r\n",
    );
    explore_to_the_end(
        "IMAP client",
        &[
            &|| greeted(&SESSION, asks),
            &|| greeted(&SESSION, plus),
            &|| greeted(&FETCH, asks),
            &|| TestClient::new(&CLEAR),
            &|| TestClient::new(&DANGER),
            &|| TestClient::new(&PROOF),
        ],
        &[greeted(&PROOF, "* OK x\r\n")],
    );
}
