//! Changes by one account reach the others, and rights that are taken away are gone at the next command.

use super::{Shared, WORK, ok, refused, run, with_shared};

#[test]
fn changes_reach_the_sessions_of_other_accounts() {
    with_shared(|shared| {
        shared.grant("lrswite");
        ok(&mut shared.bob, &format!("SELECT {WORK}"));
        ok(&mut shared.ann, "SELECT Work");
        ok(&mut shared.bob, "STORE 1 +FLAGS (\\Flagged)");
        assert!(ok(&mut shared.ann, "NOOP").contains("* 1 FETCH (UID 1 FLAGS (\\Flagged"));
        ok(&mut shared.ann, "STORE 1 +FLAGS ($Ours)");
        let answer = ok(&mut shared.bob, "NOOP");
        assert!(answer.contains("* FLAGS (") && answer.contains("$Ours"), "{answer}");
        shared.bob.exchange("i IDLE\r\n", "+ ");
        ok(&mut shared.ann, "COPY 1 Work");
        assert!(shared.bob.exchange("", " EXISTS\r\n").contains("* 2 EXISTS"));
        shared.bob.exchange("DONE\r\n", "i OK");
        ok(&mut shared.bob, "STORE 1 +FLAGS.SILENT (\\Deleted)");
        shared.ann.exchange("i IDLE\r\n", "+ ");
        ok(&mut shared.bob, "EXPUNGE");
        shared.ann.exchange("", "* 1 EXPUNGE\r\n");
        shared.ann.exchange("DONE\r\n", "i OK");
        // NOTIFY reports what another account does in the own mailboxes.
        ok(&mut shared.ann, "SELECT INBOX");
        ok(&mut shared.ann, "NOTIFY SET (personal (MessageNew MessageExpunge))");
        ok(&mut shared.bob, &format!("APPEND {WORK} {{4+}}\r\nabcd"));
        assert!(shared.ann.exchange("", "* STATUS Work").contains("* STATUS Work"));
    });
}

/// Bob has `Work` selected with all rights. Ann takes some away, and bob sends a command.
fn after(shared: &mut Shared<'_>, left: &str, command: &str) -> String {
    shared.reconnect();
    shared.grant("lrswipkxtea");
    ok(&mut shared.bob, &format!("SELECT {WORK}"));
    shared.grant(left);
    run(&mut shared.bob, command)
}

#[test]
fn rights_that_are_taken_away_are_gone_at_the_next_command() {
    with_shared(|shared| {
        for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX", "UID STORE 1 FLAGS ()"] {
            let answer = after(shared, "lr", command);
            assert!(answer.contains("x NO [NOPERM]"), "{command}: {answer}");
            assert!(answer.contains("* OK [PERMANENTFLAGS ()]"), "{command}: {answer}");
        }
        for (command, code) in [
            ("COPY 1 NAME", "NOPERM"),
            ("APPEND NAME {4+}\r\nabcd", "NOPERM"),
            ("REPLACE 1 INBOX {4+}\r\nabcd", "NOPERM"),
        ] {
            let command = command.replace("NAME", WORK);
            let answer = after(shared, "lr", &command);
            assert!(answer.contains(&format!("x NO [{code}]")), "{command}: {answer}");
        }
        let answer = after(shared, "lr", "FETCH 1 BODY[]");
        assert!(answer.contains("body\r\n") && !answer.contains("\\Seen))"), "{answer}");
        assert_eq!(shared.flags(shared.work), [""]);
        // Rights that are added take effect, too.
        shared.grant("lrs");
        ok(&mut shared.bob, "STORE 1 +FLAGS (\\Seen)");
        assert_eq!(shared.flags(shared.work), ["\\Seen"]);
    });
}

#[test]
fn a_mailbox_that_may_not_be_read_any_more_is_closed() {
    with_shared(|shared| {
        for left in ["", "l", "swite", "lswipkxtea"] {
            for command in [
                "FETCH 1 (FLAGS BODY.PEEK[])",
                "UID FETCH 1:* FLAGS",
                "SEARCH ALL",
                "UID SORT (DATE) UTF-8 ALL",
                "THREAD REFERENCES UTF-8 ALL",
                "STORE 1 +FLAGS (\\Seen)",
                "COPY 1 INBOX",
                "UIDBATCHES 500",
                "EXPUNGE",
            ] {
                let answer = after(shared, left, command);
                assert!(
                    answer.contains("x BAD") && answer.contains("* NO [NONEXISTENT]"),
                    "{command}: {answer}"
                );
                assert!(!answer.contains("FETCH (") && !answer.contains("* SEARCH"), "{command}: {answer}");
            }
            for command in ["APPEND INBOX CATENATE (URL \"/;UID=1\")", "REPLACE 1 INBOX {4+}\r\nabcd"] {
                let answer = after(shared, left, command);
                assert!(answer.contains("x NO ["), "{command}: {answer}");
            }
            let answer = after(shared, left, "ESEARCH IN (selected) ALL");
            assert!(!answer.contains("* ESEARCH"), "{answer}");
            let answer = after(shared, left, "NOOP");
            assert!(answer.contains("* NO [NONEXISTENT]") && answer.contains("x OK"), "{answer}");
            ok(&mut shared.bob, "CLOSE");
        }
        assert_eq!(shared.flags(shared.work), [""]);
        // The same for a mailbox that was deleted.
        shared.grant("lrswipkxtea");
        ok(&mut shared.bob, &format!("SELECT {WORK}"));
        ok(&mut shared.ann, "DELETE Work");
        let answer = run(&mut shared.bob, "FETCH 1 FLAGS");
        assert!(answer.contains("x BAD") && answer.contains("* NO [NONEXISTENT]"), "{answer}");
        refused(&mut shared.bob, &format!("SELECT {WORK}"), "NONEXISTENT");
    });
}

#[test]
fn an_idle_session_learns_nothing_after_its_rights_are_gone() {
    with_shared(|shared| {
        shared.grant("lr");
        ok(&mut shared.bob, &format!("SELECT {WORK}"));
        shared.bob.exchange("i IDLE\r\n", "+ ");
        shared.grant("");
        shared.deliver(shared.work, &["\\Flagged"]);
        let answer = shared.bob.exchange("", "* 1 EXPUNGE\r\n");
        assert!(!answer.contains("EXISTS"), "{answer}");
        let answer = shared.bob.exchange("DONE\r\n", "i OK");
        assert!(!answer.contains("EXISTS") && !answer.contains("FETCH"), "{answer}");
    });
}
