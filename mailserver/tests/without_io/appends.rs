//! APPEND with several messages, parts and URLs, and REPLACE, over every store.

use std::path::Path;
use std::sync::Arc;

use super::pipe::Session;
use super::start;
use mailserver::{Options, ServerContext, Service, Settings};
use mailstore::{MemoryStore, PasswordCost, SqliteStore, Store};

/// Runs a test over SQLite and in memory. The account `ann` has the mailboxes INBOX and `Entwürfe & mehr`.
fn with_stores(settings: &Settings, test: impl Fn(&Arc<ServerContext>, &dyn Store, &Path)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    for store in stores {
        let account = store.create_account("ann", b"a password").unwrap().id;
        store.create_mailbox(account, "Entwürfe & mehr", None).unwrap();
        let context = ServerContext::new(Arc::clone(&store), settings, Options::default()).unwrap();
        test(&context, &*store, directory.path());
    }
}

fn session(context: &Arc<ServerContext>) -> Session {
    let mut session = start(context, Service::Imap);
    session.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
    session.exchange("b SELECT INBOX\r\n", "b OK");
    session
}

/// Sends a command and returns the answer.
fn run(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\ny NOOP\r\n"), "y OK")
}

/// Returns what the session reports by itself.
fn rest(session: &mut Session) -> String {
    session.exchange("y NOOP\r\n", "y OK")
}

/// A literal that is sent without waiting.
fn literal(text: &str) -> String {
    format!("{{{}+}}\r\n{text}", text.len())
}

fn messages(store: &dyn Store, mailbox: &str) -> Vec<String> {
    let account = store.account("ann").unwrap().unwrap().id;
    let mailbox = store.mailbox(account, mailbox).unwrap().id;
    let page =
        store.fetch_page(mailbox, &mailstore::UidSet::all(), mailstore::Columns::summary(), 10_000).unwrap();
    let read = |message: mailstore::Message| {
        let body = store.open_content(message.content).unwrap();
        String::from_utf8(body.read(0, usize::MAX).unwrap()).unwrap()
    };
    page.messages.into_iter().map(read).collect()
}

/// The files of uploads and large messages.
fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("messages")).map_or(0, Iterator::count)
}

#[test]
fn appends_all_messages_or_none() {
    with_stores(&Settings::default(), |context, store, directory| {
        let mut session = session(context);
        let large = format!("Subject: large\r\n\r\n{}", "x".repeat(200_000));
        let texts = ["Subject: one\r\n\r\n1", &large, "Subject: three\r\n\r\n3"];
        let [one, two, three] = texts.map(literal);
        let answer = run(
            &mut session,
            &format!("APPEND INBOX (\\Seen) {one} {two} (\\Flagged) \"01-Feb-2024 10:00:00 +0100\" {three}"),
        );
        assert!(answer.contains("x OK [APPENDUID ") && answer.contains(" 1:3] "), "{answer}");
        assert!(answer.contains("* 3 EXISTS\r\n"), "{answer}");
        assert_eq!(messages(store, "INBOX"), texts);
        let answer = run(&mut session, "FETCH 1:3 (FLAGS INTERNALDATE)");
        assert!(
            answer.contains(
                "* 3 FETCH (FLAGS (\\Flagged \\Recent) INTERNALDATE \"01-Feb-2024 10:00:00 +0100\")"
            ),
            "{answer}"
        );

        let before = files(directory);
        for (rejected, expected) in [
            // A NUL, a flag that a client may not set, an empty message, an invalid end.
            (format!("APPEND INBOX {one} {two} {}", literal("a\0b")), "x BAD"),
            (format!("APPEND INBOX {one} {} {two}", literal("a\0b")), "x BAD"),
            (format!("APPEND INBOX {one} {two} (\\Recent) {three}"), "x BAD"),
            (format!("APPEND INBOX {one} {two} {{0+}}\r\n"), "x NO"),
            (format!("APPEND INBOX {one} {two} nonsense"), "x BAD"),
            (format!("APPEND nowhere {one} {two}"), "x NO [TRYCREATE]"),
            (format!("APPEND INBOX {one} ~{}", literal("a\0b")), "x NO [UNKNOWN-CTE]"),
        ] {
            let answer = run(&mut session, &rejected);
            assert!(answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!((messages(store, "INBOX").len(), files(directory)), (3, before));
        let answer =
            run(&mut session, &format!("APPEND INBOX ~{}", literal("Subject: binary\r\n\r\n\u{fc}")));
        assert!(answer.contains("x OK"), "{answer}");
    });
}

#[test]
fn stores_binary_parts_of_a_literal8_in_base64() {
    with_stores(&Settings::default(), |context, store, _| {
        let mut session = session(context);
        let binary = "Content-Transfer-Encoding: binary\r\n\r\na\0b";
        let text = "Subject: text\r\n\r\nx";
        let answer = run(&mut session, &format!("APPEND INBOX ~{} {}", literal(binary), literal(text)));
        assert!(answer.contains("x OK [APPENDUID "), "{answer}");
        assert_eq!(messages(store, "INBOX"), ["Content-Transfer-Encoding: base64\r\n\r\nYQBi", text]);
        let fetched = run(&mut session, "FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1] RFC822.SIZE)");
        assert!(fetched.contains("BINARY[1] ~{3}\r\na\0b BINARY.SIZE[1] 3 RFC822.SIZE 41"), "{fetched}");
        let rejected = run(&mut session, &format!("APPEND INBOX {}", literal(binary)));
        assert!(rejected.contains("x BAD"), "{rejected}");
    });
}

#[test]
fn many_messages_wait_without_memory_and_file_descriptors() {
    with_stores(&Settings::default(), |context, store, directory| {
        let mut session = session(context);
        let text = |number: usize| format!("Subject: {number}\r\n\r\n{}", "y".repeat(20_000));
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        let first: String = (0..100).map(|number| format!(" {}", literal(&text(number)))).collect();
        // The server has everything but the end of the command.
        session.exchange(&format!("y NOOP\r\nx APPEND INBOX{first} {{5}}\r\n"), "+ ");
        assert!(descriptors() < before + 20, "{} file descriptors", descriptors());
        session.exchange("hello\r\n", "x OK");
        let stored = messages(store, "INBOX");
        assert!(stored.len() == 101 && stored[..100].iter().enumerate().all(|(at, one)| *one == text(at)));

        // A session that ends leaves nothing behind.
        let before = files(directory);
        session.exchange(&format!("y NOOP\r\nx APPEND INBOX{first} {{5}}\r\n"), "+ ");
        drop(session);
        assert_eq!((messages(store, "INBOX").len(), files(directory)), (101, before));
    });
}

#[test]
fn catenates_parts_of_own_messages() {
    with_stores(&Settings::default(), |context, store, directory| {
        let mut session = session(context);
        let whole = concat!(
            "Subject: source\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
            "--b\r\n\r\nfirst\r\n--b\r\nContent-Type: text/html\r\n\r\nsecond\r\n--b--\r\n"
        );
        run(&mut session, &format!("APPEND \"Entw&APw-rfe &- mehr\" {}", literal(whole)));
        let answer = run(&mut session, "STATUS \"Entw&APw-rfe &- mehr\" (UIDVALIDITY)");
        let validity = answer.split("UIDVALIDITY ").nth(1).unwrap().split(')').next().unwrap();
        let name = "Entw%C3%BCrfe%20%26%20mehr";
        let from = format!("/{name};UIDVALIDITY={validity}/;UID=1");
        let absolute = format!("imap://ann@{}/{name}/;UID=1", server_name(&mut session));
        let parts = [
            format!("TEXT {}", literal("To: bob\r\n")),
            format!("URL \"{from}/;SECTION=HEADER.FIELDS%20(Subject)\""),
            format!("URL \"{from}/;SECTION=2.MIME\""),
            format!("URL {}", literal(&format!("{from}/;SECTION=1"))),
            format!("URL \"/{name}/;UID=1/;SECTION=2/;PARTIAL=1.4\""),
            format!("URL \"{absolute}/;SECTION=1/;PARTIAL=3\""),
            format!("TEXT {}", literal("end")),
        ]
        .join(" ");
        let answer = run(&mut session, &format!("APPEND INBOX (\\Draft) CATENATE ({parts})"));
        assert!(answer.contains("x OK [APPENDUID "), "{answer}");
        let expected = "To: bob\r\nSubject: source\r\n\r\nContent-Type: text/html\r\n\r\nfirstecon\
             stend";
        assert_eq!(messages(store, "INBOX"), [expected]);
        // Relative to the selected mailbox, and several messages in one command.
        let answer = run(
            &mut session,
            "APPEND INBOX CATENATE (URL \";UID=1\" URL \"/;UID=1\") CATENATE (URL \"/INBOX/;UID=1\")",
        );
        assert!(answer.contains(" 2:3] "), "{answer}");
        assert_eq!(messages(store, "INBOX")[1..], [expected.repeat(2), expected.to_owned()]);

        let before = files(directory);
        for url in [
            format!("/{name}/;UID=2"),
            format!("/{name};UIDVALIDITY=1/;UID=1"),
            format!("/{name}/;UID=1/;SECTION=7"),
            format!("/{name}/;UID=1/;SECTION=nonsense"),
            format!("/{name}"),
            "/nowhere/;UID=1".to_owned(),
            "/../etc/passwd/;UID=1".to_owned(),
            "imap://ann@elsewhere.example/INBOX/;UID=1".to_owned(),
            absolute.replace("ann@", "bob@"),
            absolute.replace("ann@", ""),
            "http://127.0.0.1/".to_owned(),
            "/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:0123456789abcdef0123456789abcdef".to_owned(),
            String::new(),
        ] {
            let answer = run(
                &mut session,
                &format!("APPEND INBOX CATENATE (TEXT {} URL \"{url}\" URL \";UID=1\")", literal("x")),
            );
            // A token is not repeated.
            let (shown, _) = url.split_once(";URLAUTH=").unwrap_or((&url, ""));
            let shown = if url.is_empty() { "x NO ".to_owned() } else { format!("x NO [BADURL {shown}] ") };
            assert!(answer.contains(&shown), "{url}: {answer}");
        }
        let odd = format!("x\u{1}]\u{e4}{}", "y".repeat(3000));
        let answer = run(&mut session, &format!("APPEND INBOX CATENATE (URL {})", literal(&odd)));
        assert!(answer.contains("x NO [BADURL x%01%5D%C3%A4yyy"), "{answer}");
        assert_eq!((messages(store, "INBOX").len(), files(directory)), (3, before));
    });
}

fn server_name(session: &mut Session) -> String {
    let answer = session.exchange("n NAMESPACE\r\nm ID NIL\r\n", "m OK");
    assert!(answer.contains("NAMESPACE"));
    mailserver_name()
}

/// The name that a server without names has.
fn mailserver_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn limits_catenations_before_and_while_they_are_copied() {
    let mut settings = Settings::default();
    settings.limits.message = 1_000_000;
    settings.quota.bytes = 3_000_000;
    with_stores(&settings, |context, store, directory| {
        let mut session = session(context);
        run(&mut session, &format!("APPEND INBOX {}", literal(&"x".repeat(600_000))));
        let before = files(directory);
        let url = " URL \"/INBOX/;UID=1\"";
        for (command, expected) in [
            (format!("APPEND INBOX CATENATE ({}{url})", &url[1..]), "x NO [TOOBIG]"),
            (format!("APPEND INBOX CATENATE ({}{})", &url[1..], url.repeat(998)), "x NO [TOOBIG]"),
            (
                format!("APPEND INBOX CATENATE ({} TEXT {{500000+}}\r\n{})", &url[1..], "y".repeat(500_000)),
                "x NO [TOOBIG]",
            ),
            (format!("APPEND INBOX{}", format!(" CATENATE ({})", &url[1..]).repeat(5)), "x NO [OVERQUOTA]"),
            ("APPEND INBOX {1000001}".to_owned(), "x NO [TOOBIG]"),
        ] {
            let answer = run(&mut session, &command);
            assert!(answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!((messages(store, "INBOX").len(), files(directory)), (1, before));
        let answer =
            run(&mut session, &format!("APPEND INBOX{}", format!(" CATENATE ({})", &url[1..]).repeat(4)));
        assert!(answer.contains(" 2:5] "), "{answer}");
        assert!(run(&mut session, "CAPABILITY").contains(" APPENDLIMIT=2147483648"));
    });
}

#[test]
fn replaces_a_message_at_once() {
    with_stores(&Settings::default(), |context, store, _| {
        let (mut one, mut other) = (session(context), session(context));
        let [draft, sent] = ["Subject: draft\r\n\r\n", "Subject: sent\r\n\r\n"].map(literal);
        run(&mut one, &format!("APPEND INBOX {draft} {draft} {draft}"));
        rest(&mut other);
        let answer = run(&mut one, &format!("REPLACE 2 INBOX (\\Draft) {sent}"));
        let at = |text: &str| answer.find(text).unwrap_or_else(|| panic!("no {text} in {answer}"));
        assert!(at("* OK [APPENDUID ") < at("* 2 EXPUNGE\r\n") && at(" 4] ") < at("* 2 EXPUNGE\r\n"));
        assert!(at("* 2 EXPUNGE\r\n") < at("x OK ") && at("* 3 EXISTS\r\n") < at("x OK "));
        let answer = rest(&mut other);
        assert!(answer.contains("* 2 EXPUNGE\r\n") && answer.contains("* 3 EXISTS\r\n"), "{answer}");
        assert_eq!(messages(store, "INBOX")[2], "Subject: sent\r\n\r\n");

        // In another mailbox, by UID, with a part of the message that is replaced.
        let command = "UID REPLACE 4 \"Entw&APw-rfe &- mehr\" CATENATE (URL \";UID=4/;SECTION=HEADER\" TEXT {2+}\r\nhi)";
        let answer = run(&mut one, command);
        assert!(answer.contains("* OK [APPENDUID ") && answer.contains("* 3 EXPUNGE\r\n"), "{answer}");
        assert_eq!(messages(store, "Entwürfe & mehr"), ["Subject: sent\r\n\r\nhi"]);

        // Another session removes it first, or replaces it.
        run(&mut other, "UID STORE 1 +FLAGS.SILENT (\\Deleted)");
        run(&mut other, "UID EXPUNGE 1");
        for (command, expected) in [
            (format!("UID REPLACE 1 INBOX {sent}"), "x NO [EXPUNGEISSUED]"),
            (format!("REPLACE 9 INBOX {sent}"), "x NO [NONEXISTENT]"),
            (format!("UID REPLACE 99 INBOX {sent}"), "x NO [NONEXISTENT]"),
            (format!("UID REPLACE 3 nowhere {sent}"), "x NO [TRYCREATE]"),
            (format!("UID REPLACE 3 INBOX {sent} {sent}"), "x BAD"),
            ("UID REPLACE 3 INBOX CATENATE (URL \"/x/;UID=1\")".to_owned(), "x NO [BADURL"),
        ] {
            let answer = run(&mut one, &command);
            assert!(answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!(messages(store, "INBOX").len(), 1);
        one.exchange("b EXAMINE INBOX\r\n", "b OK");
        assert!(run(&mut one, &format!("REPLACE 1 INBOX {sent}")).contains("x NO [NOPERM]"));
    });
}

#[test]
fn takes_names_in_utf_8_after_it_is_enabled() {
    with_stores(&Settings::default(), |context, _, _| {
        let mut session = session(context);
        assert!(run(&mut session, "LIST \"\" *").contains("\"Entw&APw-rfe &- mehr\""));
        assert!(run(&mut session, "SEARCH CHARSET UTF-8 ALL").contains("x OK"));
        assert!(run(&mut session, "ENABLE UTF8=ACCEPT").contains("* ENABLED UTF8=ACCEPT\r\n"));
        let answer = run(&mut session, "LIST \"\" *");
        assert!(answer.contains("{16}\r\nEntwürfe & mehr\r\n"), "{answer}");
        assert!(
            run(&mut session, "STATUS \"Entwürfe & mehr\" (MESSAGES)")
                .contains("Entwürfe & mehr (MESSAGES 0)")
        );
        assert!(run(&mut session, "SEARCH CHARSET UTF-8 ALL").contains("x BAD"));
        assert!(run(&mut session, "SEARCH SUBJECT \"für\"").contains("x OK"));
        let text = "Subject: für dich\r\n\r\n";
        let answer = run(&mut session, &format!("APPEND \"Entwürfe & mehr\" UTF8 (~{})", literal(text)));
        assert!(answer.contains("x OK"), "{answer}");
        assert!(run(&mut session, "CREATE \"日本\"").contains("x OK"));
        let answer = session.exchange("u UNAUTHENTICATE\r\nb NOOP\r\na LOGIN ann \"a password\"\r\n", "a OK");
        assert!(answer.contains("u OK"), "{answer}");
        assert!(run(&mut session, "FETCH 1 (UID)").contains("x BAD"), "no mailbox is selected any more");
        assert!(run(&mut session, "LIST \"\" *").contains("&ZeVnLA-"));
    });
}

#[test]
fn an_append_in_arbitrary_pieces_gives_the_same() {
    with_stores(&Settings::default(), |context, store, _| {
        let mut session = session(context);
        run(&mut session, &format!("APPEND INBOX {}", literal("Subject: x\r\n\r\nbody")));
        let command = format!(
            "x APPEND INBOX (\\Seen) {} CATENATE (TEXT {} URL \"/INBOX/;UID=1\" URL {}) ~{}\r\n",
            literal("one)\r\n"),
            literal("URL {9}\r\n"),
            literal("/INBOX/;UID=1/;SECTION=TEXT"),
            literal("~{3}\r\n"),
        );
        let expected = ["one)\r\n", "URL {9}\r\nSubject: x\r\n\r\nbodybody", "~{3}\r\n"];
        for at in 1..command.len() {
            let (first, second) = command.split_at(at);
            // Everything before the second piece is processed when the server waits for more.
            session.feed(first);
            session.exchange(second, "x OK [APPENDUID");
            let stored = messages(store, "INBOX");
            assert_eq!(stored[stored.len() - 3..], expected, "split at {at}");
        }
    });
}
