//! The catalogue of attacks: each row a conversation that goes wrong on purpose, run against the machine that it
//! attacks, whole and cut in many ways.
//!
//! The rows are data (`*.jsonl`); `script` knows their form, `verdict` what their demands mean. This file knows which
//! test runs which rows, and that none is left out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(dead_code, reason = "the roles that play these rows come one by one")]

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

/// Each row is run by the test of its group, and so in the role that it attacks.
#[test]
fn every_row_is_run_in_the_role_that_it_attacks() {
    for (file, count) in [("imap-client", 73), ("smtp-client", 63), ("imap-server", 57), ("smtp-server", 87)]
    {
        let run =
            |row: &Row| GROUPS.iter().filter(|(name, of, _)| (*name, *of) == (group(row), file)).count();
        let rows = rows_of(file);
        assert_eq!(rows.len(), count, "{file}");
        let left_out = rows.iter().find(|row| run(row) != 1);
        assert!(left_out.is_none(), "nobody runs {left_out:?}");
    }
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
