//! The trace does not depend on how the input is split: at every split it is the same to the byte, as events, as text
//! and as JSON, and holds no secret.

use proto_smtp::InitialResponse;

use crate::session::{Cut, Shown};
use crate::{Answer, PASSWORDS, imap, search, smtp};

/// Runs a session of these turns whole and with each turn split at every offset, and compares the traces.
fn alike(name: &str, turns: &[&[u8]], run: impl Fn(Cut, &mut Shown)) {
    let mut whole = Shown::only_the_trace(name);
    run(Cut::At(0), &mut whole);
    let expected = whole.trace();
    assert!(expected.len() > 100, "{name} has no trace: {expected}");
    whole.end(search());
    let longest = turns.iter().map(|turn| turn.len()).max().unwrap_or_default();
    // Offsets in the middle of a long turn add nothing.
    for at in (1..longest).filter(|at| *at < 160 || longest - *at < 8) {
        let mut shown = Shown::only_the_trace(name);
        run(Cut::At(at), &mut shown);
        let trace = shown.trace();
        assert!(trace == expected, "{name} cut at {at}:\n{trace}\nand whole:\n{expected}");
    }
}

fn turns(script: &[String]) -> Vec<&[u8]> {
    script.iter().map(String::as_bytes).collect()
}

#[test]
fn imap_server_trace_is_the_same_at_every_split() {
    for script in imap::scripts() {
        let turns = turns(&script);
        for answer in [Some(Answer::Reject), None] {
            let name = format!("{:?}, {answer:?}", script[0].get(..60).unwrap_or(&script[0]));
            alike(&name, &turns, |cut, shown| imap::facing(&turns, answer, cut, shown));
        }
    }
}

#[test]
fn smtp_server_trace_is_the_same_at_every_split() {
    for script in smtp::scripts() {
        let turns = [&[&b"EHLO c.example\r\n"[..]], &turns(&script)[..]].concat();
        for answer in [Some(Answer::Reject), None] {
            let name = format!("{:?}, {answer:?}", script[0].get(..60).unwrap_or(&script[0]));
            alike(&name, &turns, |cut, shown| smtp::facing(&turns, answer, cut, shown));
        }
    }
}

#[test]
fn client_trace_is_the_same_at_every_split() {
    for lines in imap::ANSWERS {
        for password in PASSWORDS {
            let name = format!("{:?}", lines[1].escape_ascii().to_string());
            alike(&name, lines, |cut, shown| imap::asking(lines, password, cut, shown));
        }
    }
    for lines in smtp::ANSWERS {
        for initial in [InitialResponse::Short, InitialResponse::Never] {
            let name = format!("{lines:?}, {initial:?}");
            let greeting: &[&[u8]] = &[b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"];
            alike(&name, &[greeting, lines].concat(), |cut, shown| {
                smtp::asking(lines, initial, cut, shown);
            });
        }
    }
}
