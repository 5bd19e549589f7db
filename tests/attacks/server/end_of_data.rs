//! Sequences that resemble the end of a message: every sequence that a known implementation accepted, at every place
//! of a message.
//!
//! `proto-smtp/tests/dots.rs` proves the reader for every sequence of the relevant bytes. This module adds other line
//! ends, and checks that nothing after them is run as a command.

use super::Service;
use super::connection::Connection;
use super::smtp::Exchange;
use crate::splits::Split;

/// What some implementation accepts as the end of a line.
const LINE_ENDS: [&str; 16] = [
    "", "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\0", "\0\r\n", "\r\0\n", "\r\n ", "\r\n\t", " \r\n",
    "\u{b}", "\u{c}", "\u{85}", "\u{2028}",
];

/// What precedes it: nothing, a field, a header, a full line, a stuffed dot.
const PLACES: [&str; 5] = ["", "Subject: t", "Subject: t\r\n\r\nline", "\r\n..", "\r\n\r\n{998}"];

const COMMANDS: &str = "MAIL FROM:<smuggled@evil.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nsmuggled";

/// The message by the RFC: its bytes up to the only end, without stuffing; `None` if it has forbidden bytes (RFC 5321
/// §2.3.8, §4.5.2).
fn message(sent: &str) -> (Option<String>, usize) {
    let from_line_start = format!("\r\n{sent}");
    let end = from_line_start.find("\r\n.\r\n").unwrap();
    let text = &from_line_start[..end + 2];
    let lines = text.split("\r\n");
    if lines.clone().any(|line| line.contains(['\r', '\n', '\0'])) {
        return (None, end + 3);
    }
    let lines: Vec<&str> = lines.skip(1).map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
    (Some(lines.join("\r\n")), end + 3)
}

fn every_case() -> impl Iterator<Item = String> {
    let long = "A".repeat(998);
    let places = PLACES.map(|place| place.replace("{998}", &long));
    places.into_iter().flat_map(|place| {
        LINE_ENDS.iter().flat_map(move |before| {
            let place = place.clone();
            LINE_ENDS.iter().flat_map(move |after| {
                let place = place.clone();
                [".", ".."].map(move |dots| format!("{place}{before}{dots}{after}{COMMANDS}\r\n.\r\n"))
            })
        })
    })
}

#[test]
fn only_the_end_of_data_ends_a_message() {
    let (mut cases, mut real_ends) = (0, 0);
    for sent in every_case() {
        let (expected, end) = message(&sent);
        let shown = sent.escape_debug();
        for split in [Split::Whole, Split::Random(cases)] {
            let mut server = Connection::<Exchange>::at("data", Service::Exchange);
            if end < sent.len() {
                // It is the end: what follows are commands of the same client.
                server.say(sent.as_bytes(), split);
                let command = sent[end..].starts_with("MAIL");
                assert_eq!(asked(&mut server).contains("MAIL smuggled@evil.test"), command, "{shown}");
                real_ends += usize::from(command);
                continue;
            }
            let said = server.say(&sent.as_bytes()[..sent.len() - 3], split);
            assert_eq!(String::from_utf8_lossy(&said), "", "{shown}: an answer before the end");
            let said = String::from_utf8_lossy(&server.say(b".\r\n", split)).into_owned();
            let taken = String::from_utf8_lossy(&server.application.log.deliveries).into_owned();
            let delivery = expected
                .as_ref()
                .map(|bytes| format!("MAIL alice@example.test RCPT bob@example.test\n{bytes}"));
            assert_eq!(taken, delivery.clone().unwrap_or_default(), "{shown}");
            assert_eq!(said.lines().count(), 1, "{shown}: {said}");
            assert!(said.starts_with(if delivery.is_some() { "250 " } else { "5" }), "{shown}: {said}");
            assert!(!asked(&mut server).contains("smuggled"), "{shown}");
            assert!(server.is_in_step_or_closed("NOOP\r\n", "250 "), "{shown}");
        }
        cases += 1;
    }
    assert_eq!((cases, real_ends > 0), (PLACES.len() as u32 * 16 * 16 * 2, true));
}

/// Only its size ends a chunk.
#[test]
fn only_its_size_ends_a_chunk() {
    for (number, text) in every_case().enumerate() {
        let shown = text.escape_debug();
        let mut server = Connection::<Exchange>::at("rcpt", Service::Exchange);
        let sent = format!("BDAT {} LAST\r\n{text}", text.len());
        let said =
            String::from_utf8_lossy(&server.say(sent.as_bytes(), Split::Random(number as u32))).into_owned();
        assert_eq!(said.lines().count(), 1, "{shown}: {said}");
        let taken = String::from_utf8_lossy(&server.application.log.deliveries).into_owned();
        let delivery = format!("MAIL alice@example.test RCPT bob@example.test\n{text}");
        let may = if said.starts_with("250 ") {
            taken == delivery
        } else {
            said.starts_with('5') && taken.is_empty()
        };
        assert!(may, "{shown}: {said}");
        assert!(!asked(&mut server).contains("smuggled"), "{shown}");
        assert!(server.is_in_step_or_closed("NOOP\r\n", "250 "), "{shown}");
    }
}

fn asked(server: &mut Connection<Exchange>) -> String {
    String::from_utf8_lossy(&server.application.log.asked).into_owned()
}
