//! The trace does not depend on how what a peer says is cut: at every split it is the same to the byte, as events, as
//! text and as JSON, and nothing in it is secret.

use proto_smtp::InitialResponse;

use crate::session::{Cut, Shown};
use crate::{Answer, PASSWORDS, hunt, imap, smtp};

/// Runs a session of these turns whole and with each turn cut at every place, and compares what the trace says.
fn alike(name: &str, turns: &[&[u8]], run: impl Fn(Cut, &mut Shown)) {
    let mut whole = Shown::only_the_trace(name);
    run(Cut::At(0), &mut whole);
    let expected = whole.trace();
    assert!(expected.len() > 100, "{name} has no trace: {expected}");
    whole.end(hunt());
    let longest = turns.iter().map(|turn| turn.len()).max().unwrap_or_default();
    // In the middle of what is long there is nothing but more of it.
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
fn the_trace_of_an_imap_server_is_the_same_at_every_split() {
    for script in imap::scripts() {
        let turns = turns(&script);
        for answer in [Some(Answer::Reject), None] {
            let name = format!("{:?}, {answer:?}", script[0].get(..60).unwrap_or(&script[0]));
            alike(&name, &turns, |cut, shown| imap::facing(&turns, answer, cut, shown));
        }
    }
}

#[test]
fn the_trace_of_an_smtp_server_is_the_same_at_every_split() {
    for script in smtp::scripts() {
        let turns = [&[&b"EHLO c.example\r\n"[..]], &turns(&script)[..]].concat();
        for answer in [Some(Answer::Reject), None] {
            let name = format!("{:?}, {answer:?}", script[0].get(..60).unwrap_or(&script[0]));
            alike(&name, &turns, |cut, shown| smtp::facing(&turns, answer, cut, shown));
        }
    }
}

#[test]
fn the_trace_of_a_client_is_the_same_at_every_split() {
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
