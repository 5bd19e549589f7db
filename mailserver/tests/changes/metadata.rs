//! Metadata as clients see it (RFC 5464, RFC 9590).

use super::with_stores;
use crate::pipe::Session;

/// Sends a command that succeeds.
fn ok(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x OK")
}

/// Sends a command that is refused.
fn no(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x NO")
}

/// Fills in an entry of any length with a literal.
fn set(session: &mut Session, mailbox: &str, name: &str, value: &str) {
    session.exchange(&format!("x SETMETADATA {mailbox} ({name} {{{}}}\r\n", value.len()), "+ ");
    session.exchange(&format!("{value})\r\n"), "x OK");
}

/// The examples of RFC 5464 §4.2 to §4.4.
#[test]
fn examples_of_the_rfc() {
    with_stores(|_, _, session| {
        set(session, "INBOX", "/private/comment", "My new comment across\r\ntwo lines.\r\n");
        let answer = ok(session, "GETMETADATA INBOX /private/comment");
        assert!(
            answer.starts_with(
                "* METADATA INBOX (/private/comment {35}\r\nMy new comment across\r\ntwo lines.\r\n)\r\n"
            ),
            "{answer}"
        );
        ok(session, "SETMETADATA INBOX (/private/comment NIL)");
        assert!(ok(session, "GETMETADATA INBOX /private/comment").contains("(/private/comment NIL)"));
        ok(
            session,
            "SETMETADATA INBOX (/private/comment \"My own comment\" /SHARED/comment \"Shared comment\")",
        );
        let answer = ok(session, "GETMETADATA \"INBOX\" (/shared/comment /private/comment)");
        assert!(
            answer.contains("(/shared/comment \"Shared comment\" /private/comment \"My own comment\")"),
            "{answer}"
        );
        set(session, "INBOX", "/shared/comment", &"x".repeat(2199));
        let answer = ok(session, "GETMETADATA \"INBOX\" (MAXSIZE 1024) (/shared/comment /private/comment)");
        assert!(answer.contains("* METADATA INBOX (/private/comment \"My own comment\")\r\n"), "{answer}");
        assert!(answer.contains("x OK [METADATA LONGENTRIES 2199]"), "{answer}");
        ok(
            session,
            "SETMETADATA INBOX (/private/filters/values/small \"SMALLER 5000\" \
             /private/filters/values/boss \"FROM \\\"boss@example.com\\\"\" /private/filters/values/a/b \"deep\")",
        );
        let answer = ok(session, "GETMETADATA (DEPTH 1) INBOX (/private/filters/values)");
        assert!(
            answer.contains(
                "(/private/filters/values/boss \"FROM \\\"boss@example.com\\\"\" \
                 /private/filters/values/small \"SMALLER 5000\")"
            ),
            "{answer}"
        );
        let answer = ok(session, "GETMETADATA (DEPTH infinity) INBOX /private");
        assert!(
            answer.contains("/private/comment") && answer.contains("/private/filters/values/a/b \"deep\"")
        );
        assert!(!answer.contains("/shared"), "{answer}");
        let answer = ok(session, "GETMETADATA (DEPTH infinity) INBOX /private/nothing");
        assert!(!answer.contains("METADATA"), "{answer}");
    });
}

#[test]
fn the_server_has_private_entries_only() {
    with_stores(|_, _, session| {
        ok(session, "SETMETADATA \"\" (/private/vendor/x \"1\")");
        assert!(
            ok(session, "GETMETADATA \"\" /private/vendor/x")
                .contains("* METADATA \"\" (/private/vendor/x \"1\")")
        );
        assert!(
            no(session, "SETMETADATA \"\" (/private/vendor/x \"2\" /Shared/comment \"x\")")
                .contains("[NOPERM]")
        );
        assert!(
            ok(session, "GETMETADATA \"\" (/private/vendor/x /shared/comment /shared/admin)")
                .contains("(/private/vendor/x \"1\" /shared/comment NIL /shared/admin NIL)")
        );
    });
}

#[test]
fn limits_are_reported_with_their_codes() {
    with_stores(|_, store, session| {
        session.exchange("x SETMETADATA INBOX (/private/a {65537}\r\n", "+ ");
        let answer = session.exchange(&format!("{})\r\n", "x".repeat(65_537)), "x NO");
        assert!(answer.contains("[METADATA MAXSIZE 65536]"), "{answer}");
        set(session, "INBOX", "/private/a", &"x".repeat(65_536));
        let mut quota = mailstore::Quota::default();
        (quota.metadata, quota.bytes) = (2, 66_000);
        store.set_quota(quota);
        ok(session, "SETMETADATA Sent (/private/b \"1\")");
        assert!(no(session, "SETMETADATA INBOX (/private/c \"1\")").contains("[METADATA TOOMANY]"));
        ok(session, "SETMETADATA Sent (/private/b NIL)");
        session.exchange("x SETMETADATA INBOX (/private/c {1000}\r\n", "+ ");
        assert!(session.exchange(&format!("{})\r\n", "x".repeat(1000)), "x NO").contains("[OVERQUOTA]"));
        assert!(no(session, "SETMETADATA not/there (/private/a \"1\")").contains("[NONEXISTENT]"));
        assert!(no(session, "GETMETADATA not/there /private/a").contains("[NONEXISTENT]"));
        assert!(no(session, "SETMETADATA INBOX (/other/a \"1\")").contains("[CANNOT]"));
        session.exchange("x SETMETADATA INBOX (comment \"1\")\r\n", "x BAD");
    });
}

/// A thousand entries of 2 KiB are read while the session never holds more than a page of them.
#[test]
fn much_metadata_is_written_in_pages() {
    with_stores(|_, store, session| {
        let account = store.account("ann").unwrap().unwrap().id;
        let change = |number| mailstore::MetadataChange {
            name: format!("/private/many/{number:04}"),
            value: Some(vec![b'x'; 2_000]),
        };
        let changes: Vec<_> = (0..1_000).map(change).collect();
        store.set_metadata(account, mailstore::Annotated::Server, &changes).unwrap();
        let answer = ok(session, "GETMETADATA (DEPTH infinity) \"\" /private");
        assert_eq!(answer.matches("/private/many/").count(), 1_000);
        let responses: Vec<usize> = answer.split("* METADATA").map(str::len).collect();
        assert!(responses.iter().all(|length| *length < 300_000) && responses.len() > 5, "{responses:?}");
        let names: Vec<String> = (0..1_001).map(|number| format!("/private/{number}")).collect();
        let answer = session.exchange(&format!("x GETMETADATA \"\" ({})\r\n", names.join(" ")), "x BAD");
        assert!(answer.contains("[LIMIT]"), "{answer}");
    });
}

/// RFC 9590 §3.
#[test]
fn list_returns_metadata() {
    with_stores(|_, _, session| {
        ok(session, "SETMETADATA Sent (/private/comment \"out\")");
        let answer = ok(session, "LIST \"\" (INBOX Sent) RETURN (METADATA (/private/Comment /shared/color))");
        let listed: Vec<&str> = answer.lines().filter(|line| line.starts_with("* METADATA")).collect();
        assert_eq!(
            listed,
            [
                "* METADATA INBOX (/private/comment NIL /shared/color NIL)",
                "* METADATA Sent (/private/comment \"out\" /shared/color NIL)"
            ]
        );
        let names: Vec<String> = (0..17).map(|number| format!("/private/{number}")).collect();
        session.exchange(&format!("x LIST \"\" * RETURN (METADATA ({}))\r\n", names.join(" ")), "x BAD");
    });
}

/// RFC 5464 §4.1: the entries of INBOX stay when it is renamed, and the new mailbox has copies of them.
#[test]
fn metadata_follows_a_rename_and_goes_with_its_mailbox() {
    with_stores(|_, _, session| {
        ok(session, "CREATE a/b");
        ok(session, "SETMETADATA a/b (/private/comment \"deep\")");
        ok(session, "RENAME a c");
        assert!(ok(session, "GETMETADATA c/b /private/comment").contains("\"deep\""));
        ok(session, "DELETE c/b");
        ok(session, "CREATE c/b");
        assert!(ok(session, "GETMETADATA c/b /private/comment").contains("NIL"));
        ok(session, "SETMETADATA INBOX (/private/comment \"in\")");
        ok(session, "RENAME INBOX old");
        for mailbox in ["INBOX", "old"] {
            assert!(
                ok(session, &format!("GETMETADATA {mailbox} /private/comment")).contains("\"in\""),
                "{mailbox}"
            );
        }
    });
}
