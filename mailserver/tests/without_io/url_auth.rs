//! GENURLAUTH, URLFETCH and RESETKEY (RFC 4467, RFC 5524), over every store.

use std::sync::Arc;

use mailserver::{Options, ServerContext, Service, Settings};
use mailstore::{MemoryStore, PasswordCost, SqliteStore, Store};

use super::pipe::Session;
use super::start;

/// Runs a test with sessions of `ann` and `bob`, over SQLite and in memory, with the name of the server.
fn with_sessions(test: impl Fn(&mut Session, &mut Session, &str)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    for store in stores {
        for name in ["ann", "bob"] {
            store.create_account(name, b"a password").unwrap();
        }
        let context = ServerContext::new(store, &Settings::default(), Options::default()).unwrap();
        let [mut ann, mut bob] = ["ann", "bob"].map(|name| {
            let mut session = start(&context, Service::Imap);
            session.exchange(&format!("a LOGIN {name} \"a password\"\r\n"), "a OK");
            session
        });
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        test(&mut ann, &mut bob, host.trim());
    }
}

fn run(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\ny NOOP\r\n"), "y OK")
}

/// Authorizes a URL.
fn authorized(session: &mut Session, url: &str) -> String {
    let answer = run(session, &format!("GENURLAUTH \"{url}\" INTERNAL"));
    let url = answer.lines().find_map(|line| line.strip_prefix("* GENURLAUTH "));
    url.unwrap_or_else(|| panic!("{answer}")).trim_matches('"').to_owned()
}

fn fetched(session: &mut Session, url: &str) -> String {
    run(session, &format!("URLFETCH \"{url}\""))
}

#[test]
fn a_url_with_a_token_shows_its_part_only_to_whom_it_allows() {
    with_sessions(|ann, bob, host| {
        let large = "z".repeat(400_000);
        let text = format!("Subject: hello\r\n\r\n{large}");
        run(ann, &format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()));
        let base = format!("imap://ann@{host}/INBOX/;UID=1");
        let open = authorized(ann, &format!("{base}/;SECTION=TEXT;URLAUTH=authuser"));
        assert!(open.contains(";URLAUTH=authuser:INTERNAL:"), "{open}");
        let answer = fetched(bob, &open);
        assert!(answer.contains(&format!(" {{400000}}\r\n{large}\r\nx OK")), "{} bytes", answer.len());
        let header = authorized(ann, &format!("{base}/;SECTION=HEADER.FIELDS%20(Subject);URLAUTH=anonymous"));
        assert!(fetched(bob, &header).contains("{18}\r\nSubject: hello\r\n\r\n\r\n"));
        let part =
            authorized(ann, &format!("{base}/;PARTIAL=9.5;EXPIRE=2999-01-01T00:00:00Z;URLAUTH=user+bob"));
        assert!(fetched(bob, &part).contains("{5}\r\nhello\r\n"));
        assert!(fetched(ann, &part).contains(" NIL\r\n"), "it is for bob only");
        // Several URLs in one command, some of which are not valid.
        let answer = run(bob, &format!("URLFETCH \"{part}\" \"{open}x\" \"{header}\""));
        assert!(
            answer.contains("hello\r\n") && answer.contains(" NIL\r\n") && answer.contains("x OK"),
            "{answer}"
        );

        let submit = authorized(ann, &format!("{base};URLAUTH=submit+bob"));
        let expired = authorized_unchecked(&open);
        for bad in [
            submit,
            expired,
            open.replace("UID=1", "UID=2"),
            open.replace("TEXT", "HEADER"),
            open.replace("authuser", "anonymous"),
            open.replace("ann@", "bob@"),
            open.replace("INTERNAL", "XSAMPLE"),
            open.split(":INTERNAL").next().unwrap().to_owned(),
            format!("{base};URLAUTH=authuser:INTERNAL:{}", "0".repeat(64)),
            "nonsense".to_owned(),
        ] {
            assert!(fetched(bob, &bad).contains(" NIL\r\nx OK"), "{bad}");
        }

        // Only one's own messages can be shared.
        for (user, url, expected) in [
            ("bob", format!("{base};URLAUTH=authuser"), "x NO"),
            ("ann", format!("{base};URLAUTH=everybody"), "x NO"),
            ("ann", format!("{base};EXPIRE=2001-01-01T00:00:00Z;URLAUTH=authuser"), "x NO"),
            ("ann", base.replace(host, "elsewhere.example") + ";URLAUTH=authuser", "x NO"),
            ("ann", "/INBOX/;UID=1;URLAUTH=authuser".to_owned(), "x NO"),
            ("ann", base.replace("INBOX", "None") + ";URLAUTH=authuser", "x NO"),
            ("ann", open.clone(), "x NO"),
            ("ann", base.clone(), "x NO"),
        ] {
            let session = if user == "ann" { &mut *ann } else { &mut *bob };
            let answer = run(session, &format!("GENURLAUTH \"{url}\" INTERNAL"));
            assert!(answer.contains(expected), "{url}: {answer}");
        }
        assert!(run(ann, &format!("GENURLAUTH \"{base};URLAUTH=authuser\" XSAMPLE")).contains("x BAD"));

        // A new key makes earlier URLs invalid, of one mailbox or of all.
        assert!(run(bob, "RESETKEY INBOX").contains("x OK"));
        assert!(fetched(bob, &header).contains("Subject: hello"), "bob has another key");
        assert!(run(ann, "RESETKEY INBOX").contains("x OK [URLMECH INTERNAL]"));
        assert!(fetched(bob, &header).contains(" NIL\r\n"));
        let again = authorized(ann, &format!("{base};URLAUTH=authuser"));
        assert!(fetched(bob, &again).contains("Subject: hello"));
        assert!(run(ann, "RESETKEY").contains("x OK"));
        assert!(fetched(bob, &again).contains(" NIL\r\n"));
        assert!(run(ann, "RESETKEY None").contains("x NO"));
    });
}

/// Adds a date to a URL whose token was made without it.
fn authorized_unchecked(url: &str) -> String {
    url.replace(";URLAUTH", ";EXPIRE=2999-01-01T00:00:00Z;URLAUTH")
}

/// A message with parts in several encodings, and text of 150,000 bytes in quoted-printable as part 4.
fn encoded_message() -> String {
    let part = |kind: &str, encoding: &str, body: &str| {
        format!("--b\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n")
    };
    let inner = "Subject: inner\r\nContent-Transfer-Encoding: base64\r\n\r\naW5uZXI=";
    let large = "=7A".repeat(150_000);
    [
        "Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
        &part("application/octet-stream", "base64", "AAECAwQ="),
        &part("application/octet-stream", "x-unknown", "odd"),
        &part("message/rfc822", "7bit", inner),
        &part("text/plain", "quoted-printable", &large),
        &part("application/octet-stream", "base64", "not base64!"),
        "--b--\r\n",
    ]
    .concat()
}

#[test]
fn an_extended_urlfetch_returns_parts_decoded_or_stored_and_their_structure() {
    with_sessions(|ann, bob, host| {
        let message = encoded_message();
        run(ann, &format!("APPEND INBOX {{{}+}}\r\n{message}", message.len()));
        let mut fetch = |place: &str, parameters: &str| {
            let url = authorized(ann, &format!("imap://ann@{host}/INBOX/;UID=1{place};URLAUTH=authuser"));
            let answer = run(bob, &format!("URLFETCH (\"{url}\"{parameters})"));
            let start = answer.split_once("* URLFETCH ").map_or(&*answer, |(_, rest)| rest);
            start
                .strip_prefix(&url)
                .or_else(|| start.strip_prefix(&format!("\"{url}\"")))
                .unwrap_or(start)
                .to_owned()
        };
        let ok = "\r\nx OK";
        let structure =
            "(BODYPARTSTRUCTURE (\"application\" \"octet-stream\" NIL NIL NIL \"base64\" 8 NIL NIL NIL NIL))";
        for (place, parameters, expected) in [
            ("/;SECTION=1", " BODY", " (BODY {8}\r\nAAECAwQ=)".to_owned()),
            ("/;SECTION=1", " BINARY", " (BINARY ~{5}\r\n\0\u{1}\u{2}\u{3}\u{4})".to_owned()),
            ("/;SECTION=1", " bodypartstructure", format!(" {structure}")),
            (
                "/;SECTION=1",
                " BINARY BODYPARTSTRUCTURE",
                format!(" {structure} (BINARY ~{{5}}\r\n\0\u{1}\u{2}\u{3}\u{4})"),
            ),
            // Only the validity of the URL is requested.
            ("/;SECTION=1", "", " \"\"".to_owned()),
            // A range of the decoded bytes, and one that is empty.
            ("/;SECTION=1/;PARTIAL=1.2", " BINARY", " (BINARY ~{2}\r\n\u{1}\u{2})".to_owned()),
            ("/;SECTION=1/;PARTIAL=9.2", " BINARY", " (BINARY ~{0}\r\n)".to_owned()),
            ("/;SECTION=4/;PARTIAL=149990", " BINARY", format!(" (BINARY ~{{10}}\r\n{})", "z".repeat(10))),
            ("/;SECTION=4", " BINARY", format!(" (BINARY ~{{150000}}\r\n{})", "z".repeat(150_000))),
            // Encodings that are unknown or not valid.
            ("/;SECTION=2", " BINARY", " (BINARY NIL)".to_owned()),
            ("/;SECTION=2", " BODY", " (BODY {3}\r\nodd)".to_owned()),
            ("/;SECTION=5", " BINARY", " (BINARY NIL)".to_owned()),
            // The text of an enclosed message has its encoding. Its header has none.
            ("/;SECTION=3.TEXT", " BINARY", " (BINARY ~{5}\r\ninner)".to_owned()),
            (
                "/;SECTION=3.HEADER.FIELDS%20(Subject)",
                " BINARY",
                " (BINARY ~{18}\r\nSubject: inner\r\n\r\n)".to_owned(),
            ),
            ("", " BINARY", format!(" (BINARY ~{{{}}}\r\n{message})", message.len())),
            // There is no such part.
            ("/;SECTION=6", " BINARY", " NIL".to_owned()),
            ("/;SECTION=6", " BODYPARTSTRUCTURE", " NIL".to_owned()),
        ] {
            let answer = fetch(place, parameters);
            let shown: String = answer.chars().take(300).collect();
            assert!(answer.starts_with(&format!("{expected}{ok}")), "{place}{parameters}: {shown}");
        }
        let whole = fetch("", " BODYPARTSTRUCTURE BODY");
        assert!(whole.starts_with(" (BODYPARTSTRUCTURE ((\"application\""), "{whole:.300}");
        assert!(whole.contains(&format!(") (BODY {{{}}}\r\n{message}){ok}", message.len())));
        for parameters in [" BODY BINARY", " BINARY BINARY", " BODYPARTSTRUCTURE BODYPARTSTRUCTURE", " BOGUS"]
        {
            let answer = fetch("/;SECTION=1", parameters);
            assert!(answer.contains("x BAD") && !answer.contains("* URLFETCH"), "{parameters}: {answer}");
        }
    });
}

#[test]
fn an_extended_urlfetch_checks_tokens_and_mixes_forms() {
    with_sessions(|ann, bob, host| {
        let message = encoded_message();
        run(ann, &format!("APPEND INBOX {{{}+}}\r\n{message}", message.len()));
        let url = authorized(ann, &format!("imap://ann@{host}/INBOX/;UID=1/;SECTION=1;URLAUTH=user+bob"));
        let answer = run(ann, &format!("URLFETCH (\"{url}\" BODY BODYPARTSTRUCTURE)"));
        assert!(answer.contains(" NIL\r\nx OK"), "it is for bob only: {answer}");
        let answer =
            run(bob, &format!("URLFETCH \"{url}\" (\"{url}0\" BINARY) (\"{url}\" BINARY) (\"{url}0\")"));
        let forms = [
            "{8}\r\nAAECAwQ=\r\n",
            " NIL\r\n",
            " (BINARY ~{5}\r\n\0\u{1}\u{2}\u{3}\u{4})\r\n",
            " NIL\r\nx OK",
        ];
        let mut rest = &*answer;
        for form in forms {
            rest = rest.split_once(form).unwrap_or_else(|| panic!("{form:?} in {answer:?}")).1;
        }
    });
}
