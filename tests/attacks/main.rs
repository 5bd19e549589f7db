//! The catalogue of attacks: each row a conversation that goes wrong on purpose, run against the machine that it
//! attacks, whole and cut in many ways.
//!
//! The rows are data (`*.jsonl`); `script` knows their form, `verdict` what their demands mean. This file knows which
//! test runs which rows, and that none is left out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(dead_code, reason = "the roles that play these rows come one by one")]

mod script;
mod verdict;

use std::collections::BTreeSet;

use script::Row;

/// The rows, by the role that they attack; those for certificates and sockets are the driver's.
const FILES: [(&str, &str); 5] = [
    ("imap-client", include_str!("imap_client.jsonl")),
    ("smtp-client", include_str!("smtp_client.jsonl")),
    ("imap-server", include_str!("imap_server.jsonl")),
    ("smtp-server", include_str!("smtp_server.jsonl")),
    ("driver", include_str!("driver.jsonl")),
];

/// The rows of one file.
fn rows_of(file: &str) -> Vec<Row> {
    let (_, text) = FILES.iter().find(|(name, _)| *name == file).unwrap();
    script::rows(text)
}

#[test]
fn every_row_can_be_read_and_no_two_are_the_same() {
    let rows: Vec<Row> = FILES.iter().flat_map(|(_, text)| script::rows(text)).collect();
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (297, 297));
    for (file, _) in FILES {
        let wrong = rows_of(file).into_iter().find(|row| row.role != file && file != "driver");
        assert!(wrong.is_none(), "in {file}: {wrong:?}");
    }
}
