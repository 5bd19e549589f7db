//! Each limit of a server, exactly: input up to the limit is accepted, one more is not, in every split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proto_mail::{Error, Limit, Limits, PeerError};
use proto_smtp::Config;
use support::{Record, config, every_split, serve_cleartext, serve_secure};

/// The message limit of these tests.
const ROOM: usize = 24;

const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

fn limited(change: impl Fn(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    config().limits(limits)
}

/// The result after an envelope, in every split: the codes after those of the envelope, and the content.
fn received(input: &str) -> (Vec<u16>, Option<String>) {
    let config = limited(|limits| limits.message = ROOM as u64);
    let input = format!("{ENVELOPE}{input}");
    let record = every_split(input.as_bytes(), |pieces| serve_cleartext(&config, pieces));
    assert_eq!(record.error, None);
    let content = record.events.iter().find_map(|event| event.strip_prefix("chunk ")).map(str::to_owned);
    (record.codes().split_off(4), content)
}

#[test]
fn limits_the_size_of_data_exactly() {
    for (bytes, code) in [(ROOM - 1, 250), (ROOM, 250), (ROOM + 1, 552), (3 * ROOM, 552)] {
        let text = "x".repeat(bytes - 2);
        let (codes, content) = received(&format!("DATA\r\n{text}\r\n.\r\nNOOP\r\n"));
        assert_eq!(codes, [354, code, 250], "{bytes} bytes");
        let content = content.unwrap().replace("\\r", "\r").replace("\\n", "\n");
        assert_eq!(content.len(), bytes.min(ROOM), "what is too much is not handed on");
    }
}

/// A dot of the message and an added dot: only the message counts.
#[test]
fn does_not_count_added_dots() {
    for (dots, code) in [(ROOM / 4, 250), (ROOM / 4 + 1, 552)] {
        let (codes, _) = received(&format!("DATA\r\n{}.\r\nNOOP\r\n", "..x\r\n".repeat(dots)));
        assert_eq!(codes, [354, code, 250], "{dots} lines");
    }
}

#[test]
fn limits_the_size_of_all_chunks_exactly() {
    for (sizes, expected) in [
        (&[ROOM][..], &[250, 250][..]),
        (&[ROOM + 1], &[552, 250]),
        (&[ROOM, 0], &[250, 250, 250]),
        (&[ROOM, 1], &[250, 552, 250]),
        (&[1, ROOM - 1], &[250, 250, 250]),
        (&[1, ROOM], &[250, 552, 250]),
        (&[8, 8, 8], &[250, 250, 250, 250]),
        (&[8, 8, 9], &[250, 250, 552, 250]),
    ] {
        let mut input = String::new();
        for (index, size) in sizes.iter().enumerate() {
            let last = if index + 1 == sizes.len() { " LAST" } else { "" };
            input.push_str(&format!("BDAT {size}{last}\r\n{}", "y".repeat(*size)));
        }
        let (codes, content) = received(&format!("{input}NOOP\r\n"));
        assert_eq!(codes, expected, "{sizes:?}");
        let content = content.unwrap_or_default();
        assert!(content.len() <= ROOM && content.chars().all(|byte| byte == 'y'), "{content}");
    }
}

#[test]
fn accepts_a_declared_size_up_to_the_limit() {
    let config = limited(|limits| limits.message = ROOM as u64);
    for (size, code) in [(ROOM, 250), (ROOM + 1, 552)] {
        let input = format!("EHLO c\r\nMAIL FROM:<a@b.example> SIZE={size}\r\n");
        assert_eq!(serve_cleartext(&config, &[input.as_bytes()]).codes()[2..], [code], "{size}");
    }
}

/// A session under TLS that requires authentication, with this many commands.
fn commands(count: usize) -> Record {
    let config = limited(|limits| limits.commands_before_auth = 5).require_authentication();
    serve_secure(&config, &[&b"NOOP\r\n".repeat(count)])
}

#[test]
fn limits_commands_before_authentication() {
    let most = commands(5);
    assert_eq!((most.error.clone(), most.codes()), (None, vec![220, 250, 250, 250, 250, 250]));
    let more = commands(6);
    assert_eq!(more.error, Some(Limit::CommandsBeforeAuth.into()));
    assert_eq!(more.codes(), [220, 250, 250, 250, 250, 250, 421]);
}

/// The last error is answered, then the session ends.
#[test]
fn limits_errors_of_a_session() {
    let config = limited(|limits| limits.errors = 3);
    let run = |count| serve_cleartext(&config, &[&b"XYZZY\r\n".repeat(count)]);
    assert_eq!((run(2).error, run(2).codes()), (None, vec![220, 500, 500]));
    let most = run(3);
    assert_eq!(
        (most.error.clone(), most.codes()),
        (Some(Limit::Errors.into()), vec![220, 500, 500, 500, 421])
    );
}

/// A client that starts TLS on a cleartext port is rejected; under TLS, or after the greeting, the same bytes are a
/// malformed line.
#[test]
fn recognizes_a_tls_hello_at_the_start_only() {
    let hello = b"\x16\x03\x01\r\n";
    let begun = serve_cleartext(&config(), &[hello]);
    assert_eq!(begun.error, Some(Error::Peer(PeerError::TlsInCleartext)));
    let greeted = [&b"EHLO c\r\n"[..], hello, b"NOOP\r\n"].concat();
    for record in [
        serve_secure(&config(), &[hello, b"NOOP\r\n"]),
        serve_cleartext(&config(), &[&greeted]),
        serve_secure(&config(), &[&greeted]),
    ] {
        assert_eq!(record.error, None, "{record:?}");
        assert!(record.codes().ends_with(&[500, 250]), "{record:?}");
    }
    let other = serve_cleartext(&config(), &[b"\x16\x04\r\nNOOP\r\n"]);
    assert_eq!((other.error.clone(), other.codes()), (None, vec![220, 500, 250]));
}
