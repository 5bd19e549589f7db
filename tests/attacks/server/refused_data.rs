//! The data of a refused command never runs as commands: the server discards BDAT chunks and literals, or closes the
//! connection.
//!
//! This module knows invalid commands for every state of a session, and the data that a peer sends after them.

use super::Service;
use super::connection::Connection;
use super::imap::Store;
use super::smtp::Exchange;
use crate::splits::Split;

/// Data that would take effect if it were read as commands.
const SMTP_COMMANDS: &str = "MAIL FROM:<smuggled@evil.test>\r\nVRFY smuggled\r\nEHLO smuggled\r\n";
const IMAP_COMMANDS: &str = "s1 CREATE smuggled\r\ns2 LOGOUT\r\ns3 LOGIN alice S3cr3t-pw-7f9!\r\n";

#[test]
fn never_runs_a_refused_chunk_as_commands() {
    let size = SMTP_COMMANDS.len();
    let whole =
        [format!("{size}"), format!("{size} LAST"), format!("{size} last"), format!("000{size} LAST")];
    let unclear = [
        "",
        "-1",
        "+5",
        "0x10",
        "1e2",
        "5,",
        "5 5",
        "LAST",
        "5LAST",
        "5 LAST EXTRA",
        "5 NEXT",
        "5\t",
        "1.0",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    let sizes: Vec<String> = whole.into_iter().chain(unclear.map(str::to_owned)).collect();
    let mut cases = 0;
    for place in ["tls", "auth", "mail", "rcpt"] {
        for service in [Service::Exchange, Service::Submission] {
            for argument in &sizes {
                for split in [Split::Whole, Split::Bytes, Split::Random(cases)] {
                    cases += 1;
                    let mut server = Connection::<Exchange>::at(place, service);
                    let said = server.say(format!("BDAT {argument}\r\n{SMTP_COMMANDS}").as_bytes(), split);
                    let said = String::from_utf8_lossy(&said).into_owned();
                    let shown = format!("{place} {argument:?} {split:?}: {said}");
                    let asked = String::from_utf8_lossy(&server.application.log.asked).into_owned();
                    assert!(!asked.contains("smuggled") && !said.contains("smuggled"), "{shown}");
                    // If the chunk's size is unknown, the server reads nothing more.
                    let unclear = unclear.contains(&argument.as_str());
                    assert_eq!((said.lines().count(), server.closed), (1, unclear), "{shown}");
                    assert!(said.starts_with('5') || place == "rcpt" && said.starts_with("250 "), "{shown}");
                    assert!(server.is_in_step_or_closed("NOOP\r\n", "250 "), "{shown}");
                }
            }
        }
    }
    assert_eq!(cases, 4 * 2 * 20 * 3);
}

#[test]
fn never_runs_a_refused_literal_as_commands() {
    let before = [
        "NOOP ",
        "XYZZY ",
        "LOGIN ",
        "LOGIN alice ",
        "AUTHENTICATE ",
        "AUTHENTICATE PLAIN ",
        "STARTTLS ",
        "SELECT ",
        "CREATE ",
        "APPEND ",
        "APPEND INBOX ",
        "APPEND INBOX (",
        "APPEND INBOX (\\Seen) ",
        "LIST ",
        "LIST \"\" ",
        "FETCH 1 ",
        "SEARCH ",
        "SEARCH TEXT ",
        "SEARCH CHARSET ",
        "ID (",
        "ID (\"name\" ",
        "IDLE ",
        "ENABLE ",
        "",
        ")( ",
        "UID ",
        "STATUS ",
        "COPY 1 ",
        "CREATE a",
        "CREATE \"",
        "LOGOUT ",
        "UNSELECT ",
    ];
    let mut cases = 0;
    for place in ["tls", "auth", "select"] {
        for before in before {
            // The bytes of the literal, larger than any buffer, and invalid sizes.
            for size in [IMAP_COMMANDS.len(), 0, 1, 5000, 70_000] {
                for form in ["+}", "}"] {
                    cases += 1;
                    literal(place, before, size, form, Split::Whole);
                    if size < 200 {
                        literal(place, before, size, form, Split::Random(cases));
                    }
                }
            }
        }
    }
    assert_eq!(cases, 3 * 32 * 5 * 2);
}

fn literal(place: &str, before: &str, size: usize, form: &str, split: Split) {
    let mut server = Connection::<Store>::at(place, Service::Exchange);
    let already = server.application.log.identities.len();
    let mut bytes = IMAP_COMMANDS.repeat(size / IMAP_COMMANDS.len() + 1);
    bytes.truncate(size);
    let mut said = Vec::new();
    if form == "+}" {
        said.extend(server.say(format!("a1 {before}{{{size}{form}\r\n{bytes}\r\n").as_bytes(), split));
    } else {
        said.extend(server.say(format!("a1 {before}{{{size}{form}\r\n").as_bytes(), split));
        // A client that received no continuation request must not send the literal.
        if said.starts_with(b"+ ") {
            said.extend(server.say(format!("{bytes}\r\n").as_bytes(), split));
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let shown = format!("{place} a1 {before}{{{size}{form} {split:?}: {said}");
    assert!(!said.contains("smuggled") && !said.lines().any(|line| line.starts_with('s')), "{shown}");
    assert_eq!(server.application.log.identities.len(), already, "{shown}");
    let tagged = said.lines().filter(|line| line.starts_with("a1 ")).count();
    // The application may only receive the text as a mailbox name.
    let given = String::from_utf8_lossy(&server.application.log.asked).into_owned();
    assert!(tagged <= 1 && !given.contains("LOGOUT"), "{shown}");
    assert!(tagged == 1 || server.closed || said.starts_with("* BAD") || given.contains("IDLE"), "{shown}");
    assert!(server.is_in_step_or_closed("z1 NOOP\r\n", "z1 OK"), "{shown}");
}
