//! The catalogue of attacks: each row is an attack conversation, run against the machine that it attacks, whole and
//! with many splits.
//!
//! The rows are data (`*.jsonl`); `script` knows their format, `verdict` the meaning of their requirements. This file
//! knows which test runs which rows, and that no row is left out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod client;
mod driver;
mod script;
mod server;
mod splits;
mod verdict;
mod wire;

use std::collections::BTreeSet;

use script::Row;

/// The rows, by the role that they attack; rows about certificates and sockets belong to the driver.
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

/// The readable catalogue.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/attacks.md");

#[test]
fn rows_are_complete_and_unique() {
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

/// Each row is run by the test of its group, and so in the role that it attacks: each `run` function rejects any
/// other role.
#[test]
fn every_row_runs_in_the_role_that_it_attacks() {
    for (file, text) in FILES {
        let rows = script::rows(text);
        let left_out = rows.iter().find(|row| tests(file, row).count() != 1);
        assert!(left_out.is_none(), "no test runs {left_out:?}");
    }
}

/// The tests that run a row of a file.
fn tests(file: &str, row: &Row) -> impl Iterator<Item = &'static str> {
    GROUPS.iter().filter(move |(name, of, _)| (*name, *of) == (group(row), file)).map(|(_, _, test)| *test)
}

/// `docs/attacks.md` lists exactly the rows, each under the test that runs it.
#[test]
fn the_catalogue_in_docs_is_current() {
    let expected = catalogue();
    if std::env::var_os("MAILWIRE_CATALOGUE").is_some() {
        std::fs::write(TABLE, &expected).unwrap();
    }
    let there = std::fs::read_to_string(TABLE).unwrap_or_default();
    let differ = there.lines().zip(expected.lines()).find(|(there, expected)| there != expected);
    let advice = "MAILWIRE_CATALOGUE=1 cargo test -p mailwire-tests --test attacks catalogue";
    assert!(there == expected, "docs/attacks.md is out of date: run {advice}; {differ:?}");
}

/// The readable catalogue.
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

/// The rows whose requirement Mailwire does not follow, and why.
fn differences() -> String {
    let all = FILES.iter().flat_map(|(_, text)| script::rows(text));
    let each = all.filter_map(|row| row.differs.map(|why| format!("* {}: {why}\n", row.id)));
    let each: String = each.collect();
    if each.is_empty() { each } else { format!("\n## Where Mailwire differs\n\n{each}") }
}

/// Makes a test for each group of rows, whose ids share a prefix, and a table of all groups.
macro_rules! groups {
    ($($test:ident: $group:literal of $file:literal by $run:path;)*) => {
        /// Each group, its file and the test that runs it.
        const GROUPS: &[(&str, &str, &str)] = &[$(($group, $file, stringify!($test))),*];

        $(
            #[test]
            fn $test() {
                let rows = rows_of($file).into_iter().filter(|row| group(row) == $group);
                let count = rows.map(|row| $run(&row)).count();
                assert!(count > 0, "this group has no rows");
            }
        )*
    };
}

groups! {
    imap_client_works_without_an_attack: "IC-OK" of "imap-client" by client::run;
    imap_client_resists_starttls_stripping: "IC-STRIP" of "imap-client" by client::run;
    imap_client_rejects_unsolicited_preauth: "IC-PRE" of "imap-client" by client::run;
    imap_client_discards_cleartext_state: "IC-INJ" of "imap-client" by client::run;
    imap_client_ignores_referrals: "IC-REF" of "imap-client" by client::run;
    imap_client_rejects_invalid_sasl_exchanges: "IC-AUTH" of "imap-client" by client::run;
    imap_client_limits_input: "IC-PARSE" of "imap-client" by client::run;
    imap_client_prevents_command_injection: "IC-CMD" of "imap-client" by client::run;
    smtp_client_works_without_an_attack: "SC-OK" of "smtp-client" by client::run;
    smtp_client_resists_starttls_stripping: "SC-STRIP" of "smtp-client" by client::run;
    smtp_client_discards_cleartext_state: "SC-INJ" of "smtp-client" by client::run;
    smtp_client_rejects_invalid_sasl_exchanges: "SC-AUTH" of "smtp-client" by client::run;
    smtp_client_rejects_malformed_replies: "SC-REPLY" of "smtp-client" by client::run;
    smtp_client_prevents_command_injection: "SC-CMD" of "smtp-client" by client::run;
    smtp_client_prevents_message_smuggling: "SC-DATA" of "smtp-client" by client::run;
    imap_server_discards_cleartext_state: "IS-STLS" of "imap-server" by server::run;
    imap_server_requires_valid_credentials: "IS-AUTH" of "imap-server" by server::run;
    imap_server_never_runs_literals_as_commands: "IS-LIT" of "imap-server" by server::run;
    imap_server_limits_input_and_memory: "IS-RES" of "imap-server" by server::run;
    smtp_server_discards_cleartext_state: "SS-STLS" of "smtp-server" by server::run;
    smtp_server_requires_valid_credentials: "SS-AUTH" of "smtp-server" by server::run;
    smtp_server_prevents_message_smuggling: "SS-SMUG" of "smtp-server" by server::run;
    smtp_server_enforces_command_order: "SS-ORD" of "smtp-server" by server::run;
    smtp_server_never_runs_chunks_as_commands: "SS-BDAT" of "smtp-server" by server::run;
    smtp_server_limits_input_and_memory: "SS-LINE" of "smtp-server" by server::run;
    imap_client_verifies_certificates_and_tls: "IC-TLS" of "driver" by driver::run;
    smtp_client_verifies_certificates_and_tls: "SC-TLS" of "driver" by driver::run;
    driver_isolates_connections: "DR" of "driver" by driver::run;
}

/// A row's id without its number.
fn group(row: &Row) -> &str {
    row.id.rsplit_once('-').map_or("", |(group, _)| group)
}
