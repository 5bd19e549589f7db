//! Every state that a machine can be brought to is visited, by every move that its peer and its application have; and in
//! each the statements that make the machines safe are checked. docs/security.md says how far that goes, at the least.
//!
//! `MAILWIRE_WALK=N` walks N moves farther.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a statement that does not hold must fail the test")]

mod explore;
mod smtp_replies;
mod smtp_server;

use explore::{Figures, World, explore};
use proto_smtp::Dialect;

/// How many moves a way has at most, if nobody asks for more.
const DEPTH: usize = 6;

/// Walks, and compares how far it went with what is written down. Behind the gate there must be one state, whatever was
/// said before it.
fn walk<W: World>(name: &str, starts: &[&dyn Fn() -> W]) {
    let farther = std::env::var("MAILWIRE_WALK").ok().and_then(|more| more.parse::<usize>().ok());
    let mut all = Figures::default();
    for start in starts {
        let figures = explore(start, DEPTH + farther.unwrap_or(0));
        assert_eq!(figures.behind.len(), 1, "{name}: more than one state behind the gate, or none");
        all = all.and(figures);
    }
    let walked = [all.depth, all.states, all.transitions, all.statements, all.upgrades];
    let row = format!("| {name} | {} |", walked.map(|figure| figure.to_string()).join(" | "));
    println!("{row}");
    let written = written(name);
    let enough =
        written.len() == walked.len() && written.iter().zip(walked).all(|(&least, found)| found >= least);
    assert!(enough, "docs/security.md says {written:?} of what is\n{row}");
}

/// The figures in a row of docs/security.md.
fn written(name: &str) -> Vec<usize> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).unwrap_or_default();
    row.split(" | ").filter_map(|figure| figure.trim_end_matches(" |").parse().ok()).collect()
}

#[test]
fn smtp_server() {
    use smtp_server::{Serving, Terms};
    walk(
        "SMTP server",
        &[
            &|| Serving::new(Terms { dialect: Dialect::Smtp, needs_proof: false }),
            &|| Serving::new(Terms { dialect: Dialect::Smtp, needs_proof: true }),
            &|| Serving::new(Terms { dialect: Dialect::Lmtp, needs_proof: false }),
        ],
    );
}
