//! Each command needs the rights that RFC 4314 §4 names.

use super::{Shared, WORK, ok, refused, run, with_shared};

/// Commands in the authenticated state, and the rights that they need.
const NAMING: &[(&str, &str)] = &[
    ("SELECT WORK", "r"),
    ("EXAMINE WORK", "r"),
    ("STATUS WORK (MESSAGES UIDNEXT MAILBOXID)", "r"),
    ("APPEND WORK {4+}\r\nabcd", "i"),
    ("APPEND WORK {4+}\r\nabcd {4+}\r\nefgh", "i"),
    ("APPEND WORK CATENATE (TEXT {4+}\r\nabcd)", "i"),
    ("CREATE WORK-new", "k"),
    ("DELETE WORK", "x"),
    ("RENAME WORK WORK-new", "xk"),
    ("GETACL WORK", "a"),
    ("SETACL WORK carol lr", "a"),
    ("DELETEACL WORK carol", "a"),
    ("LISTRIGHTS WORK carol", "a"),
    ("GETMETADATA WORK /shared/comment", "r"),
    ("SETMETADATA WORK (/shared/comment \"x\")", "rw"),
    ("GETQUOTAROOT WORK", "r"),
    ("SUBSCRIBE WORK", "l"),
];

/// Commands with `Work` selected, and the rights that they need besides `r`.
const SELECTED: &[(&str, &str)] = &[
    ("STORE 1 +FLAGS (\\Seen)", "s"),
    ("STORE 1 -FLAGS.SILENT (\\Seen)", "s"),
    ("UID STORE 1 +FLAGS (\\Deleted)", "t"),
    ("STORE 1 +FLAGS (\\Flagged $Forwarded)", "w"),
    ("STORE 1 FLAGS (\\Flagged)", "wst"),
    ("EXPUNGE", "e"),
    ("UID EXPUNGE 1", "e"),
    ("MOVE 1 INBOX", "te"),
    ("UID MOVE 1 INBOX", "te"),
    ("REPLACE 1 INBOX {4+}\r\nabcd", "te"),
    ("COPY 1 WORK", "i"),
    ("UID COPY 1 WORK", "i"),
    ("MOVE 1 WORK", "tei"),
    ("UID REPLACE 1 WORK {4+}\r\nabcd", "tei"),
];

/// Commands with `Work` selected that need no other right than `r`.
const READING: &[&str] = &[
    "FETCH 1 (FLAGS BODY.PEEK[])",
    "UID FETCH 1 (BODY[] EMAILID)",
    "SEARCH ALL",
    "UID SEARCH RETURN (ALL SAVE) ALL",
    "SORT (SUBJECT) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "ESEARCH ALL",
    "ESEARCH IN (selected) ALL",
    "COPY 1 INBOX",
    "APPEND INBOX CATENATE (URL \"/;UID=1\")",
    "NOOP",
    "CHECK",
    "UIDBATCHES 500",
];

/// The text of a command. The new mailbox is below the shared one, whose right to create counts.
fn command(text: &str, work: &str) -> String {
    text.replace("WORK-new", &format!("\"{}/new\"", work.trim_matches('"'))).replace("WORK", work)
}

/// Makes `Work` anew, with one message.
fn restored(shared: &mut Shared<'_>) {
    shared.reconnect();
    for name in ["Work", "Work/new"] {
        let _ = shared.store.delete_mailbox(shared.owner, name);
    }
    let _ = shared.store.delete_mailbox(shared.owner, "Work");
    shared.work = shared.store.create_mailbox(shared.owner, "Work", None).unwrap();
    shared.deliver(shared.work, &[]);
}

#[test]
fn commands_that_name_a_mailbox_need_their_rights() {
    with_shared(|shared| {
        for (text, needed) in NAMING {
            // RENAME below itself is refused otherwise: the destination is another shared name.
            let text = command(&text.replace("WORK WORK-new", "WORK \"Other Users/ann/Work2/new\""), WORK);
            let other = shared.store.create_mailbox(shared.owner, "Work2", None).unwrap();
            for missing in needed.chars() {
                restored(shared);
                let granted: String = "lrswipkxtea".chars().filter(|right| *right != missing).collect();
                let (to_work, to_other) = if text.starts_with("RENAME") && missing == 'k' {
                    ("lx", "l")
                } else {
                    (&*granted, "lk")
                };
                shared.grant(to_work);
                shared.grant_to(other, to_other);
                let code = if missing == 'l' { "NONEXISTENT" } else { "NOPERM" };
                refused(&mut shared.bob, &text, code);
                // Without the right to look it up, it does not exist.
                let hidden = granted.replace('l', "");
                shared.grant(if to_work == "lx" { "x" } else { &hidden });
                shared.grant_to(other, if to_other == "l" { "" } else { "lk" });
                let code = if text.starts_with("APPEND") { "TRYCREATE" } else { "NONEXISTENT" };
                refused(&mut shared.bob, &text, code);
            }
            restored(shared);
            shared.grant(needed);
            shared.grant_to(other, "k");
            ok(&mut shared.bob, &text);
            shared.store.delete_mailbox(shared.owner, "Work2/new").ok();
            shared.store.delete_mailbox(shared.owner, "Work2").unwrap();
        }
    });
}

#[test]
fn commands_with_a_selected_mailbox_need_their_rights() {
    with_shared(|shared| {
        for (text, needed) in SELECTED {
            let text = command(text, WORK);
            for missing in needed.chars() {
                restored(shared);
                let granted: String = "lrswipkxtea".chars().filter(|right| *right != missing).collect();
                shared.grant(&granted);
                ok(&mut shared.bob, &format!("SELECT {WORK}"));
                refused(&mut shared.bob, &text, "NOPERM");
                assert_eq!(shared.flags(shared.work), [""], "{text}");
            }
            restored(shared);
            shared.grant(&format!("r{needed}"));
            ok(&mut shared.bob, &format!("SELECT {WORK}"));
            ok(&mut shared.bob, &text);
            // EXAMINE allows none of them, but adds messages elsewhere and to the mailbox itself.
            restored(shared);
            shared.grant("lrswipkxtea");
            ok(&mut shared.bob, &format!("EXAMINE {WORK}"));
            let answer = run(&mut shared.bob, &text);
            let is_copy = text.starts_with("COPY") || text.starts_with("UID COPY");
            assert!(answer.contains(if is_copy { "x OK" } else { "x NO [NOPERM]" }), "{text}: {answer}");
        }
    });
}

#[test]
fn reading_needs_only_the_right_to_read() {
    with_shared(|shared| {
        for text in READING {
            restored(shared);
            shared.grant("r");
            let answer = ok(&mut shared.bob, &format!("SELECT {WORK}"));
            assert!(answer.contains("x OK [READ-ONLY]") && answer.contains("PERMANENTFLAGS ()"), "{answer}");
            let answer = ok(&mut shared.bob, text);
            assert!(!answer.contains("\\Seen"), "{answer}");
            assert_eq!(shared.flags(shared.work), [""], "{text}");
        }
    });
}

#[test]
fn select_shows_the_rights() {
    with_shared(|shared| {
        for (rights, access, flags) in [
            ("lr", "READ-ONLY", "()"),
            ("lrpkxa", "READ-ONLY", "()"),
            ("lri", "READ-WRITE", "()"),
            ("lre", "READ-WRITE", "()"),
            ("lrs", "READ-WRITE", "(\\Seen)"),
            ("lrt", "READ-WRITE", "(\\Deleted)"),
            ("lrw", "READ-WRITE", "(\\Answered \\Flagged \\Draft \\*)"),
            ("lrswt", "READ-WRITE", "(\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)"),
        ] {
            shared.grant(rights);
            let answer = ok(&mut shared.bob, &format!("SELECT {WORK}"));
            assert!(answer.contains(&format!("x OK [{access}]")), "{rights}: {answer}");
            assert!(answer.contains(&format!("[PERMANENTFLAGS {flags}]")), "{rights}: {answer}");
            let answer = ok(&mut shared.bob, &format!("EXAMINE {WORK}"));
            assert!(
                answer.contains("x OK [READ-ONLY]") && answer.contains("[PERMANENTFLAGS ()]"),
                "{answer}"
            );
        }
    });
}

#[test]
fn only_permitted_flags_are_set() {
    with_shared(|shared| {
        for (rights, kept) in [("i", ""), ("is", "\\Seen"), ("it", "\\Deleted"), ("iw", "\\Draft $Forwarded")]
        {
            restored(shared);
            shared.grant(rights);
            let flags = "(\\Seen \\Deleted \\Draft $Forwarded)";
            ok(&mut shared.bob, &format!("APPEND {WORK} {flags} {{4+}}\r\nabcd"));
            ok(&mut shared.bob, &format!("APPEND INBOX {flags} {{4+}}\r\nabcd"));
            ok(&mut shared.bob, "SELECT INBOX");
            let copied = ok(&mut shared.bob, &format!("COPY * {WORK}"));
            assert!(copied.contains("[COPYUID "), "{copied}");
            ok(&mut shared.bob, &format!("MOVE * {WORK}"));
            assert_eq!(shared.flags(shared.work), ["", kept, kept, kept], "{rights}");
        }
        // A STORE changes what it may, and fails only if that is nothing.
        restored(shared);
        shared.grant("lrs");
        ok(&mut shared.bob, &format!("SELECT {WORK}"));
        ok(&mut shared.bob, "STORE 1 +FLAGS (\\Seen \\Deleted \\Draft)");
        assert_eq!(shared.flags(shared.work), ["\\Seen"]);
        shared.grant("lr");
        shared.deliver(shared.work, &[]);
        ok(&mut shared.bob, "NOOP");
        // FETCH does not set \Seen without the right.
        ok(&mut shared.bob, "FETCH 2 BODY[]");
        shared.grant("lrs");
        let answer = ok(&mut shared.bob, "FETCH 2 BODY[]");
        assert!(answer.contains("\\Seen"), "{answer}");
        assert_eq!(shared.flags(shared.work), ["\\Seen", "\\Seen"]);
        // CLOSE expunges nothing without the right.
        shared.deliver(shared.work, &["\\Deleted"]);
        ok(&mut shared.bob, "CLOSE");
        assert_eq!(shared.flags(shared.work).len(), 3);
        shared.grant("lre");
        ok(&mut shared.bob, &format!("SELECT {WORK}"));
        ok(&mut shared.bob, "CLOSE");
        assert_eq!(shared.flags(shared.work).len(), 2);
    });
}
