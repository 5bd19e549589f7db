//! Quotas: the responses of IMAP, SMTP and LMTP when an account is full.

use super::{Connection, MESSAGE, RunningServer};
use mailserver::Service;

/// Starts a server with these lines in `[serve]`.
fn with_settings(settings: &str, options: &[&'static str]) -> (RunningServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, format!("[serve]\n{settings}\n")).unwrap();
    let file: &'static str = Box::leak(file.to_str().unwrap().to_owned().into_boxed_str());
    let options = [&["--config", file], options].concat();
    (RunningServer::start_with(&options), directory)
}

#[test]
fn imap_enforces_quotas() {
    let settings = "quota-messages = 3\nquota-bytes = 1000\nquota-mailboxes = 7\nquota-subscriptions = 6\nquota-keywords = 2";
    let (server, _directory) = with_settings(settings, &[]);
    let mut imap = server.imap();
    let refused = |connection: &mut Connection, command: &str| {
        let (_, answer) = connection.command(command);
        assert!(answer.starts_with("NO [OVERQUOTA] "), "{command}: {answer}");
    };
    // Rejected before the literal: there is no continuation request, and the next line is a command.
    refused(&mut imap, "APPEND INBOX {1001}");
    imap.append("INBOX", MESSAGE);
    imap.append("INBOX", MESSAGE);
    imap.append("Drafts", MESSAGE);
    refused(&mut imap, "APPEND INBOX {10}");
    imap.ok("SELECT INBOX");
    refused(&mut imap, "COPY 1 Trash");
    refused(&mut imap, "UID COPY 1:* Trash");
    imap.ok("MOVE 1 Trash");
    imap.ok("CREATE one");
    refused(&mut imap, "CREATE two/three");
    refused(&mut imap, "RENAME one two/three");
    imap.ok("DELETE one");
    imap.ok("CREATE two");
    refused(&mut imap, "SUBSCRIBE two");
    imap.ok("UNSUBSCRIBE Sent");
    imap.ok("SUBSCRIBE two");
    imap.ok("STORE 1 +FLAGS (one two)");
    refused(&mut imap, "STORE 1 +FLAGS (three)");
    refused(&mut imap, "APPEND Trash (a b c) {10}");
    imap.ok("STORE 1 FLAGS (\\Deleted ONE)");
    imap.ok("EXPUNGE");
    imap.append("INBOX", MESSAGE);
}

#[test]
fn smtp_rejects_recipients_over_quota() {
    let (server, _directory) = with_settings("quota-messages = 2\nquota-bytes = 500", &[]);
    let mut connection = server.smtp();
    let recipient = format!("RCPT TO:<{}@localhost>", server.user);
    connection.expect_reply("MAIL FROM:<a@example.test> SIZE=501", "250");
    connection.expect_reply(&recipient, "552 5.2.2");
    connection.expect_reply("RSET", "250");
    // A message whose size was not declared is rejected at its end.
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    connection.expect_reply(&recipient, "250");
    connection.expect_reply("DATA", "354");
    connection.expect_reply(&format!("Subject: large\r\n\r\n{}\r\n.", "x".repeat(600)), "552 5.2.2");
    server.deliver(MESSAGE);
    server.deliver(MESSAGE);
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    connection.expect_reply(&recipient, "452 4.2.2");
    let mut imap = server.imap();
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    connection.expect_reply(&recipient, "250");
}

#[test]
fn lmtp_rejects_a_message_only_for_full_mailboxes() {
    let (server, _directory) = with_settings("quota-bytes = 500", &["--lmtp", "127.0.0.1:0"]);
    let store = mailstore::SqliteStore::open(server.directory.path()).unwrap();
    mailstore::Accounts::create_account(&store, "other", b"a password").unwrap();
    let mut filler = server.imap();
    filler.append("INBOX", &format!("Subject: filler\r\n\r\n{}", "x".repeat(400)));
    let mut connection = server.clear(Service::Lmtp);
    connection.reply();
    connection.expect_reply("LHLO client.test", "250");
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    for recipient in [server.user.as_str(), "other", "other+tag"] {
        connection.expect_reply(&format!("RCPT TO:<{recipient}@localhost>"), "250");
    }
    connection.expect_reply("DATA", "354");
    connection.expect_reply(&format!("Subject: x\r\n\r\n{}\r\n.", "y".repeat(200)), "452 4.2.2");
    assert!(connection.reply().starts_with("250 "));
    assert!(connection.reply().starts_with("250 "));
    assert_eq!(filler.ok("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 1)"]);
}
