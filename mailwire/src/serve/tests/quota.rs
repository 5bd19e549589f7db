//! Quotas: the responses of IMAP, SMTP and LMTP when an account is full.

use super::super::Service;
use super::{MESSAGE, Running, Talk};

/// Starts a server with these lines in `[serve]`.
fn with_settings(settings: &str, options: &[&'static str]) -> (Running, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, format!("[serve]\n{settings}\n")).unwrap();
    let file: &'static str = Box::leak(file.to_str().unwrap().to_owned().into_boxed_str());
    let options = [&["--config", file], options].concat();
    (Running::start_with(&options), directory)
}

#[test]
fn imap_enforces_quotas() {
    let settings = "quota-messages = 3\nquota-bytes = 1000\nquota-mailboxes = 7\nquota-subscriptions = 7\nquota-keywords = 2";
    let (running, _directory) = with_settings(settings, &[]);
    let mut imap = running.imap();
    let refused = |talk: &mut Talk, command: &str| {
        let (_, answer) = talk.command(command);
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
    imap.ok("SUBSCRIBE two");
    refused(&mut imap, "SUBSCRIBE three");
    imap.ok("STORE 1 +FLAGS (one two)");
    refused(&mut imap, "STORE 1 +FLAGS (three)");
    refused(&mut imap, "APPEND Trash (a b c) {10}");
    imap.ok("STORE 1 FLAGS (\\Deleted ONE)");
    imap.ok("EXPUNGE");
    imap.append("INBOX", MESSAGE);
}

#[test]
fn smtp_rejects_recipients_over_quota() {
    let (running, _directory) = with_settings("quota-messages = 2\nquota-bytes = 500", &[]);
    let mut talk = running.smtp();
    let recipient = format!("RCPT TO:<{}@localhost>", running.user);
    talk.asks("MAIL FROM:<a@example.test> SIZE=501", "250");
    talk.asks(&recipient, "552 5.2.2");
    talk.asks("RSET", "250");
    // A message whose size was not declared is rejected at its end.
    talk.asks("MAIL FROM:<a@example.test>", "250");
    talk.asks(&recipient, "250");
    talk.asks("DATA", "354");
    talk.asks(&format!("Subject: large\r\n\r\n{}\r\n.", "x".repeat(600)), "552 5.2.2");
    running.deliver(MESSAGE);
    running.deliver(MESSAGE);
    talk.asks("MAIL FROM:<a@example.test>", "250");
    talk.asks(&recipient, "452 4.2.2");
    let mut imap = running.imap();
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    talk.asks(&recipient, "250");
}

#[test]
fn lmtp_rejects_a_message_only_for_full_mailboxes() {
    let (running, _directory) = with_settings("quota-bytes = 500", &["--lmtp", "127.0.0.1:0"]);
    let store = mailstore::SqliteStore::open(running.directory.path()).unwrap();
    mailstore::Store::create_account(&store, "other", b"a password").unwrap();
    let mut filler = running.imap();
    filler.append("INBOX", &format!("Subject: filler\r\n\r\n{}", "x".repeat(400)));
    let mut talk = running.clear(Service::Lmtp);
    talk.reply();
    talk.asks("LHLO client.test", "250");
    talk.asks("MAIL FROM:<a@example.test>", "250");
    for recipient in [running.user.as_str(), "other", "other+tag"] {
        talk.asks(&format!("RCPT TO:<{recipient}@localhost>"), "250");
    }
    talk.asks("DATA", "354");
    talk.asks(&format!("Subject: x\r\n\r\n{}\r\n.", "y".repeat(200)), "452 4.2.2");
    assert!(talk.reply().starts_with("250 "));
    assert!(talk.reply().starts_with("250 "));
    assert_eq!(filler.ok("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 1)"]);
}
