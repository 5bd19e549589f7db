//! Rights of a mailbox as its owner sees them (RFC 4314, RFC 8440).

use super::with_stores;
use crate::pipe::Session;

fn ok(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x OK")
}

fn no(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x NO")
}

#[test]
fn the_owner_has_all_rights_and_keeps_them() {
    with_stores(|_, _, session| {
        let offered = ok(session, "CAPABILITY");
        for word in ["ACL", "RIGHTS=kxte", "LIST-MYRIGHTS"] {
            assert!(offered.split_ascii_whitespace().any(|one| one == word), "{offered}");
        }
        assert!(ok(session, "MYRIGHTS inbox").contains("* MYRIGHTS INBOX lrswipkxteacd\r\n"));
        assert!(ok(session, "GETACL INBOX").contains("* ACL INBOX ann lrswipkxteacd\r\n"));
        assert!(ok(session, "LISTRIGHTS INBOX Ann").contains("* LISTRIGHTS INBOX Ann lrswipkxteacd\r\n"));
        for command in [
            "SETACL INBOX ann +lr",
            "SETACL INBOX ann lrswipacd",
            "SETACL INBOX ann lrswipakxte",
            "SETACL INBOX ann \"-\"",
        ] {
            ok(session, command);
        }
        for command in
            ["SETACL INBOX ann lr", "SETACL INBOX ann -w", "SETACL INBOX -ann w", "DELETEACL INBOX ann"]
        {
            assert!(no(session, command).contains("[CANNOT]"), "{command}");
        }
        assert!(ok(session, "GETACL INBOX").contains("* ACL INBOX ann lrswipkxteacd\r\n"));
    });
}

/// The answers do not say which accounts exist.
#[test]
fn any_identifier_can_be_given_rights() {
    with_stores(|_, store, session| {
        store.create_account("bob", b"a password").unwrap();
        let answers = |session: &mut Session, name: &str| {
            let mut answers = ok(session, &format!("LISTRIGHTS INBOX {name}"));
            let rights = "\"\" l r s w i p k x t e a";
            assert!(answers.contains(&format!("* LISTRIGHTS INBOX {name} {rights}\r\n")), "{answers}");
            answers += &ok(session, &format!("SETACL INBOX {name} lrd"));
            let listed = ok(session, "GETACL INBOX");
            let own = "* ACL INBOX ann lrswipkxteacd";
            assert!(listed.contains(&format!("{own} {name} lrted\r\n")), "{listed}");
            answers += &listed;
            answers += &ok(session, &format!("SETACL INBOX {name} -r"));
            answers += &ok(session, &format!("SETACL INBOX {name} +k"));
            answers += &ok(session, "GETACL INBOX");
            answers += &ok(session, &format!("DELETEACL INBOX {name}"));
            answers += &ok(session, &format!("DELETEACL INBOX {name}"));
            assert!(ok(session, "GETACL INBOX").contains(&format!("{own}\r\n")));
            answers.replace(name, "NAME")
        };
        let known = answers(session, "bob");
        for name in ["carol", "anyone", "-bob", "$team"] {
            assert_eq!(answers(session, name), known, "{name}");
        }
        let long = "x".repeat(300);
        for name in ["--bob", "-", &long] {
            session.exchange(&format!("x SETACL INBOX {name} l\r\n"), "x BAD");
        }
        for number in 0..64 {
            ok(session, &format!("SETACL INBOX user{number} l"));
        }
        assert!(no(session, "SETACL INBOX another l").contains("[LIMIT]"));
    });
}

#[test]
fn refuses_unknown_rights_identifiers_and_mailboxes() {
    with_stores(|_, _, session| {
        for command in
            ["SETACL INBOX bob lrq", "SETACL INBOX bob lrQ", "SETACL INBOX ann +1", "SETACL INBOX \"\" lr"]
        {
            session.exchange(&format!("x {command}\r\n"), "x BAD");
        }
        for command in ["MYRIGHTS a", "GETACL a", "LISTRIGHTS a ann", "SETACL a ann lr", "DELETEACL a ann"] {
            assert!(no(session, command).contains("[NONEXISTENT]"), "{command}");
        }
    });
}

#[test]
fn list_returns_rights() {
    with_stores(|_, _, session| {
        for command in ["CREATE not/there", "SUBSCRIBE not/there", "DELETE not/there"] {
            ok(session, command);
        }
        let answer = ok(session, "LIST (SUBSCRIBED) \"\" (INBOX not/*) RETURN (MYRIGHTS)");
        let rights: Vec<&str> = answer.lines().filter(|line| line.starts_with("* MYRIGHTS")).collect();
        assert_eq!(rights, ["* MYRIGHTS INBOX lrswipkxteacd"]);
    });
}
