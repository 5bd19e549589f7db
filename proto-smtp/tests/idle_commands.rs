//! A server ends a session whose commands make no progress, also after authentication.
#![allow(clippy::unwrap_used)]

mod support;

use proto_mail::{Error, Limit};
use proto_smtp::Config;
use support::{config, serve_secure};

fn limited() -> Config {
    config().max_idle_commands(10)
}

fn ends_with_421(config: &Config, input: &str) -> bool {
    let record = serve_secure(config, &[input.as_bytes()]);
    let is_over = record.error == Some(Error::Limit(Limit::IdleCommands));
    assert!(
        !is_over
            || record
                .output
                .ends_with("421 4.7.0 Too many commands without progress; closing the connection\r\n")
    );
    is_over
}

#[test]
fn ends_a_flood_of_commands_without_progress() {
    for command in ["NOOP\r\n", "RSET\r\n", "HELP\r\n", "VRFY a\r\n", "EHLO client.example\r\n"] {
        assert!(!ends_with_421(&limited(), &command.repeat(10)), "{command}");
        assert!(ends_with_421(&limited(), &command.repeat(11)), "{command}");
    }
}

#[test]
fn ends_a_flood_of_transactions_that_come_to_nothing() {
    let pairs =
        |count| format!("EHLO client.example\r\n{}", "MAIL FROM:<a@b.example>\r\nRSET\r\n".repeat(count));
    assert!(!ends_with_421(&limited(), &pairs(9)));
    assert!(ends_with_421(&limited(), &pairs(10)));
}

#[test]
fn ends_a_flood_of_empty_chunks() {
    let begun = "EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 1\r\nx";
    assert!(!ends_with_421(&limited(), &format!("{begun}{}", "BDAT 0\r\n".repeat(10))));
    assert!(ends_with_421(&limited(), &format!("{begun}{}", "BDAT 0\r\n".repeat(11))));
    assert!(!ends_with_421(&limited(), &format!("{begun}{}", "BDAT 1\r\nx".repeat(30))));
}

#[test]
fn ends_a_flood_after_authentication() {
    let login = "EHLO client.example\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
    let config = limited().require_authentication();
    assert!(!ends_with_421(&config, &format!("{login}{}", "NOOP\r\n".repeat(10))));
    assert!(ends_with_421(&config, &format!("{login}{}", "NOOP\r\n".repeat(11))));
}

#[test]
fn accepted_mail_resets_the_count() {
    let transaction = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nhi\r\n.\r\n";
    let busy = format!("{}{transaction}", "NOOP\r\n".repeat(9)).repeat(20);
    assert!(!ends_with_421(&limited(), &format!("EHLO client.example\r\n{transaction}{busy}")));
}

#[test]
fn allows_a_thousand_commands_by_default() {
    assert!(!ends_with_421(&config(), &"NOOP\r\n".repeat(1000)));
    assert!(ends_with_421(&config(), &"NOOP\r\n".repeat(1001)));
}
