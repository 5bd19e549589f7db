//! OBJECTID, SAVEDATE, PREVIEW and CREATE-SPECIAL-USE, over every store of mailstore.

use std::sync::Arc;

use mailserver::{Options, ServerContext, Service, Settings};
use mailstore::{MemoryStore, PasswordCost, SqliteStore, Store};

use super::pipe::Session;
use super::start;

/// Runs a test with a logged-in session over SQLite and in memory.
fn with_session(test: impl Fn(&mut Session)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    for store in stores {
        store.create_account("ann", b"a password").unwrap();
        let context = ServerContext::new(store, &Settings::default(), Options::default()).unwrap();
        let mut session = start(&context, Service::Imap);
        session.exchange("a LOGIN ann \"a password\"\r\n", "a OK");
        test(&mut session);
    }
}

/// Executes a command and returns its responses up to the tagged one.
fn run(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("zz {command}\r\n"), "zz ")
}

fn append(session: &mut Session, message: &str) {
    let message = message.replace('\n', "\r\n");
    session.exchange(&format!("x APPEND INBOX {{{}}}\r\n", message.len()), "+ ");
    let answer = session.exchange(&format!("{message}\r\n"), "x OK");
    assert!(answer.contains("APPENDUID"), "{answer}");
}

/// Returns the identifiers after `name` in a response.
fn ids(response: &str, name: &str) -> Vec<String> {
    let start = format!("{name} (");
    let found = response.split(&start).skip(1);
    found.map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn a_mailbox_id_is_the_same_everywhere_and_after_rename() {
    with_session(|imap| {
        assert!(run(imap, "CAPABILITY").contains(" OBJECTID "));
        let id = ids(&run(imap, "CREATE foo"), "[MAILBOXID").remove(0);
        assert!(run(imap, "SELECT foo").contains(&format!("* OK [MAILBOXID ({id})] ")));
        assert!(
            run(imap, "STATUS foo (MAILBOXID)").contains(&format!("* STATUS foo (MAILBOXID ({id}))\r\n"))
        );
        let other = ids(&run(imap, "EXAMINE INBOX"), "[MAILBOXID").remove(0);
        assert_ne!(other, id);
        run(imap, "RENAME foo bar");
        let listed = run(imap, "LIST \"\" (bar INBOX) RETURN (STATUS (MAILBOXID MESSAGES))");
        assert!(listed.contains(&format!("* STATUS bar (MAILBOXID ({id}) MESSAGES 0)\r\n")), "{listed}");
        assert!(listed.contains(&other));
        run(imap, "DELETE bar");
        assert_ne!(ids(&run(imap, "CREATE bar"), "[MAILBOXID"), [id]);
    });
}

#[test]
fn an_email_id_stays_with_copied_and_moved_messages() {
    with_session(|imap| {
        append(imap, "Subject: one\n\nx\n");
        append(imap, "Subject: two\n\nx\n");
        run(imap, "SELECT INBOX");
        let here = ids(&run(imap, "FETCH 1:2 (EMAILID THREADID)"), "EMAILID");
        assert!(here.len() == 2 && here[0] != here[1], "{here:?}");
        run(imap, "COPY 1 Trash");
        run(imap, "MOVE 2 Trash");
        run(imap, "SELECT Trash");
        let fetched = run(imap, "FETCH 1:2 (EMAILID THREADID)");
        assert_eq!(ids(&fetched, "EMAILID"), here);
        // The server has no threads (RFC 8474 §5.2).
        assert_eq!(fetched.matches("THREADID NIL").count(), 2);
        assert!(run(imap, &format!("SEARCH EMAILID {}", here[1])).starts_with("* SEARCH 2\r\n"));
        assert!(run(imap, &format!("SEARCH THREADID {}", here[1])).starts_with("* SEARCH\r\n"));
    });
}

#[test]
fn a_saved_date_is_the_time_of_the_append_or_copy() {
    with_session(|imap| {
        let message = "Subject: x\r\n\r\n";
        let old = "x APPEND INBOX \"01-Jan-2015 18:50:53 +0100\"";
        imap.exchange(&format!("{old} {{{}}}\r\n", message.len()), "+ ");
        imap.exchange(&format!("{message}\r\n"), "x OK");
        run(imap, "SELECT INBOX");
        run(imap, "COPY 1 INBOX");
        let fetched = run(imap, "FETCH 1:2 (SAVEDATE INTERNALDATE)");
        assert_eq!(fetched.matches("INTERNALDATE \"01-Jan-2015 18:50:53 +0100\"").count(), 2, "{fetched}");
        assert_eq!(fetched.matches(" +0000\"").count(), 2, "{fetched}");
        let day = fetched.split("SAVEDATE \"").nth(1).unwrap().split(' ').next().unwrap();
        for (key, found) in [
            (format!("SAVEDSINCE {day}"), true),
            ("SAVEDBEFORE 2-Jan-2015".to_owned(), false),
            ("SAVEDON 1-Jan-2015".to_owned(), false),
            ("SAVEDATESUPPORTED".to_owned(), true),
            ("NOT SAVEDATESUPPORTED".to_owned(), false),
            ("ON 1-Jan-2015".to_owned(), true),
        ] {
            let expected = if found { "* SEARCH 1 2\r\n" } else { "* SEARCH\r\n" };
            let answer = run(imap, &format!("SEARCH {key}"));
            assert!(answer.starts_with(expected), "{key}: {answer}");
        }
    });
}

#[test]
fn a_preview_shows_the_start_of_the_text() {
    with_session(|imap| {
        append(imap, "Subject: x\n\nPreview\n  text!\n");
        let html = "Subject: x\nContent-Type: text/html; charset=iso-8859-1\n\
            Content-Transfer-Encoding: quoted-printable\n\n<style>p {}</style><p>Gr=FC=DFe &amp; K=FCsse</p>\n";
        append(imap, html);
        append(imap, "Subject: x\nContent-Type: image/png\n\nx\n");
        append(imap, &format!("Subject: large\n\n{}", "many words\n".repeat(20_000)));
        run(imap, "SELECT INBOX");
        // A file is not read for a lazy preview.
        assert!(run(imap, "FETCH 4 (PREVIEW (LAZY))").starts_with("* 4 FETCH (PREVIEW NIL)\r\n"));
        for lazy in ["PREVIEW", "PREVIEW (LAZY)"] {
            let fetched = run(imap, &format!("FETCH 1:3 ({lazy} UID)"));
            assert!(fetched.contains("* 1 FETCH (PREVIEW \"Preview text!\" UID 1)\r\n"), "{fetched}");
            assert!(fetched.contains("* 2 FETCH (PREVIEW {16}\r\nGrüße & Küsse UID 2)\r\n"), "{fetched}");
            assert!(fetched.contains("* 3 FETCH (PREVIEW \"\" UID 3)\r\n"), "{fetched}");
        }
        let large = run(imap, "FETCH 4 (PREVIEW (LAZY) PREVIEW)");
        let shown = large.strip_prefix("* 4 FETCH (PREVIEW \"").unwrap().split('"').next().unwrap();
        assert!(shown.len() == 200 && shown.starts_with("many words many words "), "{shown}");
    });
}

#[test]
fn creates_a_mailbox_with_a_special_use() {
    with_session(|imap| {
        assert!(run(imap, "CAPABILITY").contains(" CREATE-SPECIAL-USE "));
        assert!(run(imap, "CREATE MyDrafts (USE (\\Drafts))").starts_with("zz OK"));
        let listed = run(imap, "LIST (SPECIAL-USE) \"\" My*");
        assert!(listed.contains("\\Drafts") && listed.contains(" MyDrafts\r\n"), "{listed}");
        for uses in ["\\Unknown", "\\Sent \\Drafts"] {
            let answer = run(imap, &format!("CREATE Everything (USE ({uses}))"));
            assert!(answer.starts_with("zz NO [USEATTR]"), "{answer}");
        }
        assert!(run(imap, "STATUS MyDrafts (DELETED SIZE)").contains("(DELETED 0 SIZE 0)"));
    });
}
