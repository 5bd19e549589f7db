//! Every state that a machine can be brought to is visited, by every move that its peer and its application have; and in
//! each the statements that make the machines safe are checked. docs/security.md says how far that goes, at the least.
//!
//! `MAILWIRE_WALK=N` walks N moves farther.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a statement that does not hold must fail the test")]

mod explore;
mod smtp_client;
mod smtp_replies;
mod smtp_server;

use explore::{Figures, World, explore};
use proto_smtp::Dialect;

/// Walks from each start, so many moves far, and compares how far it went with what is written down. Behind the gate
/// there must be one state, whatever was said before it.
fn walk<W: World>(name: &str, starts: &[(usize, &dyn Fn() -> W)]) {
    let farther = std::env::var("MAILWIRE_WALK").ok().and_then(|more| more.parse::<usize>().ok());
    let mut all = Figures::default();
    for (depth, start) in starts {
        let figures = explore(start, depth + farther.unwrap_or(0));
        assert!(
            figures.behind.len() <= 1,
            "{name}: more than one state behind the gate: {:#?}",
            figures.behind
        );
        all = all.and(figures);
    }
    assert!(all.upgrades > 0, "{name}: no way leads through the gate");
    let walked = [all.depth, all.states, all.transitions, all.statements, all.upgrades];
    let row = format!("| {name} | {} |", walked.map(|figure| figure.to_string()).join(" | "));
    println!("{row}");
    let written = written(name);
    let enough =
        written.len() == walked.len() && written.iter().zip(walked).all(|(&least, found)| found >= least);
    assert!(enough, "docs/security.md says {written:?} of what is\n{row}");
}

/// A start that lies farther on, behind these moves.
fn after<W: World>(mut world: W, moves: &[W::Move]) -> W {
    moves.iter().for_each(|&next| world.make(next));
    world
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
    use smtp_server::{Move::Hear, Move::Yes, Serving, Terms};
    let fresh = |dialect, needs_proof| Serving::new(Terms { dialect, needs_proof });
    let secured = [Hear("EHLO x\r\n"), Yes, Hear("STARTTLS\r\n"), Yes];
    walk(
        "SMTP server",
        &[
            (6, &|| fresh(Dialect::Smtp, true)),
            (5, &|| fresh(Dialect::Smtp, false)),
            (5, &|| fresh(Dialect::Lmtp, false)),
            (5, &|| after(fresh(Dialect::Smtp, true), &secured)),
        ],
    );
}

#[test]
fn smtp_client() {
    use smtp_client::{Asking, Move::Hear, Move::Send, Move::StartTls, OFFER};
    let secured =
        [Hear("220 x\r\n"), Send, Hear(OFFER), StartTls, Send, Hear("220 x\r\n"), Send, Hear(OFFER)];
    walk(
        "SMTP client",
        &[
            (7, &|| Asking::new(false)),
            (5, &|| Asking::new(true)),
            (4, &|| after(Asking::new(false), &secured)),
        ],
    );
}
