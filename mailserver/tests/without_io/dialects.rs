//! Imitated servers: what each one sends instead of a correct response.

use std::sync::Arc;

use mailserver::{Dialect, Options, ServerContext, Service, Settings};
use mailstore::{MemoryStore, PasswordCost, Store};

use super::pipe::Session;
use super::start;

const ALTERNATIVE: &str = "From: Ann <ann@example.test>, Bob <bob@example.test>\r\nTo: carl@example.test\r\n\
    Subject: two\r\nMessage-ID: <\"a b\"@example.test>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/alternative; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n\
    --b\r\nContent-Type: text/html\r\nContent-Disposition: inline\r\n\r\n<p>hello</p>\r\n--b--\r\n";

fn session(dialect: Option<Dialect>) -> Session {
    let store = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    store.create_account("ann", b"a password").unwrap();
    let mut options = Options::default();
    options.behave_like = dialect;
    let context = ServerContext::new(store, &Settings::default(), options).unwrap();
    start(&context, Service::Imap)
}

/// Runs a conversation and returns everything that the server sent.
fn conversation(dialect: Option<Dialect>) -> String {
    let mut imap = session(dialect);
    let mut sent = imap.exchange("", "\r\n");
    let mut run = |command: &str| sent += &imap.exchange(&format!("zz {command}\r\n"), "zz ");
    run("LOGIN ann \"a password\"");
    run("CAPABILITY");
    run("ID (\"name\" \"test\")");
    run("LIST \"\" *");
    run(&format!("APPEND INBOX \"01-Jan-1970 00:00:00 +0000\" {{{}+}}\r\n{ALTERNATIVE}", ALTERNATIVE.len()));
    run("STATUS INBOX (MESSAGES)");
    run("SELECT INBOX");
    run("SEARCH ALL");
    run("FETCH 1 (UID ENVELOPE BODYSTRUCTURE INTERNALDATE BODY.PEEK[9] BODY.PEEK[1])");
    run("UID MOVE 1 Trash");
    sent
}

#[test]
fn each_imitated_server_shows_its_defects() {
    for (dialect, expected) in [
        (Dialect::Coremail, &["* STATUS \"INBOX\" ()\r\n", "* ID (\"name\" \"Coremail Imap\""][..]),
        (Dialect::Courier, &["Courier-IMAP ready.\r\n"]),
        (Dialect::David, &["* SEARCH 1 \r\n", "* 1 Exists\r\n", " Recent\r\n"]),
        (Dialect::DavMail, &["*  1 EXISTS\r\n", "* 1 FETCH (UID 1  ENVELOPE ("]),
        (Dialect::Domino, &["\"00-Jan-0000 00:00:00 +0000\"", "(\"charset\" \"3D\"utf-8\"\")"]),
        (Dialect::Dovecot, &["] Dovecot ready.\r\n"]),
        (
            Dialect::Exchange,
            &[
                "* OK The Microsoft Exchange IMAP4 service is ready. [",
                "* STATUS INBOX (MESSAGES 1) \r\n",
                "\r\n[COPYUID ",
                "\"example.test\") (\"Bob\"",
                ") (\"text\" \"html\"",
                "(\"boundary\" NIL)",
                " NIL \"inline\" NIL",
            ],
        ),
        (Dialect::Gmail, &["OIB-Seen-[Gmail]/All)\r\n", "(\"TEXT\" \"HTML\"", "\"ALTERNATIVE\""]),
        (Dialect::ICloud, &["\"<\"a b\"@example.test>\""]),
        (Dialect::MailRu, &["(\"boundary\" NIL)", "\"html\" () NIL"]),
        (Dialect::Migadu, &["] Migadu ready.\r\n"]),
        (Dialect::ProtonBridge, &["\"example.test\")) () () NIL"]),
        (Dialect::Qq, &[" UIDPLUS \r\n", "hello )\r\n", "\"carl\" \"example.test\")) NIL NIL \"<"]),
        (Dialect::SmarterMail, &["(NIL (\"Ann\" NIL \"ann\" \"example.test\")"]),
        (Dialect::SurgeMail, &[" )] permanent flags\r\n"]),
        (Dialect::Yahoo, &["* SEARCH 1 \r\n", "\"example.test\" ))", " NIL NIL ) INTERNALDATE"]),
        (Dialect::Yandex, &["* OK [UIDVALIDITY ", "\\Drafts \\Subscribed \\Drafts", "BODY[9]  BODY[1]"]),
        (Dialect::Zoho, &["* FLAGS (", " \\*)\r\n"]),
    ] {
        let sent = conversation(Some(dialect));
        for text in expected {
            assert!(sent.contains(text), "{dialect} does not send {text:?}:\n{sent}");
        }
    }
    assert!(conversation(Some(Dialect::Yandex)).lines().any(|line| line.ends_with("[UIDNEXT 2]")));
}

#[test]
fn a_server_without_defects_differs_in_its_greeting_and_capabilities_only() {
    let lines = |text: &str| -> Vec<String> {
        let differs = |line: &&str| {
            ["CAPABILITY", "* ID", "Mailwire", "MAILBOXID", "UIDVALIDITY", "APPENDUID", "COPYUID"]
                .iter()
                .any(|word| line.contains(word))
        };
        text.lines().filter(|line| !differs(line)).map(str::to_owned).collect()
    };
    let (own, dovecot) = (conversation(None), conversation(Some(Dialect::Dovecot)));
    assert_eq!(lines(&own), lines(&dovecot));
    assert!(own.contains("IMAP4rev2") && !dovecot.contains("IMAP4rev2"));
}

#[test]
fn imitated_servers_reject_what_the_real_ones_reject() {
    let mut imap = session(Some(Dialect::Coremail));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    assert!(imap.exchange("b SELECT INBOX\r\n", "b ").contains("b NO [CANNOT] SELECT Unsafe Login"));
    imap.exchange("c ID NIL\r\n", "c OK");
    imap.exchange("d SELECT INBOX\r\n", "d OK");

    let mut imap = session(Some(Dialect::Qq));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    imap.exchange("b SELECT INBOX\r\n", "b OK");
    imap.exchange("c UID FETCH 1:3 UID\r\n", "c OK");
    imap.exchange("d UID FETCH 3:1 UID\r\n", "d BAD Sequence set is invalid\r\n");
    // The server does not have the extension, so that it does not know the command.
    imap.exchange("e ENABLE CONDSTORE\r\n", "e ");
    assert!(!imap.exchange("f CAPABILITY\r\n", "f OK").contains("CONDSTORE"));
}

#[test]
fn a_bare_continuation_has_no_text() {
    let mut imap = session(Some(Dialect::Migadu));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    imap.exchange("b SELECT INBOX\r\n", "b OK");
    assert_eq!(imap.exchange("c IDLE\r\n", "\r\n"), "+\r\n");
    imap.exchange("DONE\r\n", "c OK");
}

#[test]
fn literals_of_any_length_and_pieces_pass_unchanged() {
    let mut imap = session(Some(Dialect::Exchange));
    imap.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    // Lines of a message that look like responses.
    let message = format!("Subject: x\r\n\r\n{}", "* STATUS x (MESSAGES 1)\r\n* 1 FETCH (\r\n".repeat(8_000));
    imap.exchange(&format!("b APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()), "b OK");
    imap.exchange("c SELECT INBOX\r\n", "c OK");
    let fetched = imap.exchange("d FETCH 1 (BODY.PEEK[] UID)\r\n", "d OK");
    let expected = format!("* 1 FETCH (BODY[] {{{}}}\r\n{message} UID 1)\r\nd OK", message.len());
    assert!(fetched.starts_with(&expected));
}
