//! The catalogue of attacks: each row a conversation that goes wrong on purpose, run against the machine that it
//! attacks, whole and cut in many ways.
//!
//! The rows are data (`*.jsonl`); `script` knows their form, `verdict` what their demands mean. This file knows which
//! test runs which rows, and that none is left out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod client;
mod cuts;
mod driver;
mod script;
mod server;
mod verdict;
mod wire;

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

/// How many rows each file has.
const COUNTS: [usize; 5] = [73, 63, 57, 87, 17];

/// Where the catalogue can be read by people.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/attacks.md");

#[test]
fn no_two_rows_are_the_same_and_none_is_missing() {
    let rows: Vec<Row> = FILES.iter().flat_map(|(_, text)| script::rows(text)).collect();
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (297, 297));
    for ((file, text), count) in FILES.into_iter().zip(COUNTS) {
        let rows = script::rows(text);
        assert_eq!(rows.len(), count, "{file}");
        let wrong = rows.into_iter().find(|row| row.role != file && file != "driver");
        assert!(wrong.is_none(), "in {file}: {wrong:?}");
    }
}

/// Each row is run by the test of its group, and so in the role that it attacks: each of `run` refuses any other.
#[test]
fn every_row_is_run_in_the_role_that_it_attacks() {
    for (file, text) in FILES {
        let rows = script::rows(text);
        let left_out = rows.iter().find(|row| tests(file, row).count() != 1);
        assert!(left_out.is_none(), "nobody runs {left_out:?}");
    }
}

/// The tests that run a row of a file.
fn tests(file: &str, row: &Row) -> impl Iterator<Item = &'static str> {
    GROUPS.iter().filter(move |(name, of, _)| (*name, *of) == (group(row), file)).map(|(_, _, test)| *test)
}

/// `docs/attacks.md` has each row and no other, under the test that runs it.
#[test]
fn the_catalogue_is_as_it_is_told() {
    let told = catalogue();
    if std::env::var_os("MAILWIRE_CATALOGUE").is_some() {
        std::fs::write(TABLE, &told).unwrap();
    }
    let there = std::fs::read_to_string(TABLE).unwrap_or_default();
    let differ = there.lines().zip(told.lines()).find(|(there, told)| there != told);
    let advice = "MAILWIRE_CATALOGUE=1 cargo test -p mailwire-tests --test attacks catalogue";
    assert!(there == told, "docs/attacks.md is not what the rows say: run {advice}; {differ:?}");
}

/// The catalogue for people.
fn catalogue() -> String {
    let mut text = String::from(include_str!("catalogue.md"));
    for (name, file, test) in GROUPS {
        let rows = rows_of(file);
        let rows: Vec<&Row> = rows.iter().filter(|row| group(row) == *name).collect();
        text.push_str(&format!("\n## `{test}`\n\n| id | attack | level |\n|---|---|---|\n"));
        for row in rows {
            let title = row.title.replace('|', "\\|");
            let level = if row.differs.is_some() { "differs" } else { row.level.as_str() };
            text.push_str(&format!("| {} | {title} | {level} |\n", row.id));
        }
    }
    text.push_str(&differences());
    text
}

/// What is asked of us and is not done, and why.
fn differences() -> String {
    let all = FILES.iter().flat_map(|(_, text)| script::rows(text));
    let each = all.filter_map(|row| row.differs.map(|why| format!("* {}: {why}\n", row.id)));
    let each: String = each.collect();
    if each.is_empty() { each } else { format!("\n## Where Mailwire does otherwise\n\n{each}") }
}

/// Makes a test of each group of rows, those whose ids begin so, and a table of all.
macro_rules! groups {
    ($($test:ident: $group:literal of $file:literal by $run:path;)*) => {
        /// Which group of which file is run by which test.
        const GROUPS: &[(&str, &str, &str)] = &[$(($group, $file, stringify!($test))),*];

        $(
            #[test]
            fn $test() {
                let rows = rows_of($file).into_iter().filter(|row| group(row) == $group);
                let count = rows.map(|row| $run(&row)).count();
                assert!(count > 0, "there is no row of this group");
            }
        )*
    };
}

groups! {
    an_imap_client_goes_on_where_nobody_attacks: "IC-OK" of "imap-client" by client::run;
    an_imap_client_is_not_talked_out_of_tls: "IC-STRIP" of "imap-client" by client::run;
    an_imap_client_is_not_let_in_unasked: "IC-PRE" of "imap-client" by client::run;
    an_imap_client_forgets_what_came_in_cleartext: "IC-INJ" of "imap-client" by client::run;
    an_imap_client_goes_nowhere_else: "IC-REF" of "imap-client" by client::run;
    an_imap_client_authenticates_with_care: "IC-AUTH" of "imap-client" by client::run;
    an_imap_client_reads_with_limits: "IC-PARSE" of "imap-client" by client::run;
    an_imap_client_writes_one_command_at_a_time: "IC-CMD" of "imap-client" by client::run;
    an_smtp_client_goes_on_where_nobody_attacks: "SC-OK" of "smtp-client" by client::run;
    an_smtp_client_is_not_talked_out_of_tls: "SC-STRIP" of "smtp-client" by client::run;
    an_smtp_client_forgets_what_came_in_cleartext: "SC-INJ" of "smtp-client" by client::run;
    an_smtp_client_authenticates_with_care: "SC-AUTH" of "smtp-client" by client::run;
    an_smtp_client_reads_replies_strictly: "SC-REPLY" of "smtp-client" by client::run;
    an_smtp_client_writes_one_command_at_a_time: "SC-CMD" of "smtp-client" by client::run;
    an_smtp_client_sends_one_message: "SC-DATA" of "smtp-client" by client::run;
    an_imap_server_forgets_what_came_in_cleartext: "IS-STLS" of "imap-server" by server::run;
    an_imap_server_lets_nobody_in_who_is_not_known: "IS-AUTH" of "imap-server" by server::run;
    an_imap_server_obeys_no_literal: "IS-LIT" of "imap-server" by server::run;
    an_imap_server_reads_and_holds_with_limits: "IS-RES" of "imap-server" by server::run;
    an_smtp_server_forgets_what_came_in_cleartext: "SS-STLS" of "smtp-server" by server::run;
    an_smtp_server_lets_nobody_in_who_is_not_known: "SS-AUTH" of "smtp-server" by server::run;
    an_smtp_server_takes_one_message: "SS-SMUG" of "smtp-server" by server::run;
    an_smtp_server_keeps_the_order_of_commands: "SS-ORD" of "smtp-server" by server::run;
    an_smtp_server_obeys_no_chunk: "SS-BDAT" of "smtp-server" by server::run;
    an_smtp_server_reads_and_holds_with_limits: "SS-LINE" of "smtp-server" by server::run;
    an_imap_client_trusts_nobody_else: "IC-TLS" of "driver" by driver::run;
    an_smtp_client_trusts_nobody_else: "SC-TLS" of "driver" by driver::run;
    a_driver_mixes_nothing_up: "DR" of "driver" by driver::run;
}

/// A row's id without its number.
fn group(row: &Row) -> &str {
    row.id.rsplit_once('-').map_or("", |(group, _)| group)
}
