//! What an account has no rights to does not exist for it.

use super::{Shared, WORK, ok, run, with_shared};

/// Every command that names a mailbox.
const COMMANDS: &[&str] = &[
    "SELECT NAME",
    "EXAMINE NAME (CONDSTORE)",
    "STATUS NAME (MESSAGES)",
    "CREATE NAME/new",
    "DELETE NAME",
    "RENAME NAME mine",
    "RENAME Trash NAME/new",
    "SUBSCRIBE NAME",
    "UNSUBSCRIBE NAME",
    "LIST \"\" NAME",
    "LIST \"\" NAME*",
    "LIST \"\" NAME/%",
    "LIST (SUBSCRIBED) \"\" NAME RETURN (STATUS (MESSAGES) MYRIGHTS)",
    "LSUB \"\" NAME",
    "APPEND NAME {4+}\r\nabcd",
    "APPEND INBOX CATENATE (URL \"/Other%20Users/USER/Work;UID=1\")",
    "APPEND INBOX CATENATE (URL \"imap://USER@localhost/Work;UID=1\")",
    "GETACL NAME",
    "SETACL NAME bob lr",
    "DELETEACL NAME ann",
    "LISTRIGHTS NAME bob",
    "MYRIGHTS NAME",
    "GETMETADATA NAME /shared/comment",
    "GETMETADATA (DEPTH infinity) NAME (/shared /private)",
    "SETMETADATA NAME (/shared/comment \"x\")",
    "SETMETADATA NAME (/private/comment \"x\")",
    "GETQUOTAROOT NAME",
    "GETQUOTA NAME",
    "GENURLAUTH \"imap://bob@localhost/Other%20Users/USER/Work;UID=1;URLAUTH=user+bob\" INTERNAL",
    "RESETKEY NAME INTERNAL",
    "URLFETCH \"imap://USER@localhost/Work;UID=1;URLAUTH=anonymous:INTERNAL:00\"",
    "ESEARCH IN (mailboxes NAME) ALL",
    "ESEARCH IN (subtree NAME) RETURN (COUNT) ALL",
    "COPY 1 NAME",
    "UID MOVE 1 NAME",
    "REPLACE 1 NAME {4+}\r\nabcd",
    "NOTIFY SET STATUS (mailboxes NAME (MessageNew MessageExpunge))",
    "NOTIFY NONE",
];

/// The answer to a command about a mailbox of a user, without the name.
fn answer(shared: &mut Shared<'_>, command: &str, user: &str, mailbox: &str) -> String {
    let name = format!("Other Users/{user}/{mailbox}");
    let text =
        command.replace("NAME/%", &format!("\"{name}/%\"")).replace("NAME/new", &format!("\"{name}/new\""));
    let text = text.replace("NAME*", &format!("\"{name}*\"")).replace("NAME", &format!("\"{name}\""));
    let text = text.replace("USER/Work", &format!("{user}/{mailbox}")).replace("USER", user);
    let text = text.replace("localhost/Work", &format!("localhost/{mailbox}"));
    let answer = run(&mut shared.bob, &text);
    let answer = answer.replace(&name, "NAME").replace(&format!("Other%20Users/{user}/{mailbox}"), "NAME");
    answer
        .replace(&format!("//{user}@"), "//USER@")
        .replace(&format!("localhost/{mailbox}"), "localhost/NAME")
}

#[test]
fn mailboxes_without_rights_and_unknown_accounts_are_alike() {
    with_shared(|shared| {
        ok(&mut shared.ann, "SETMETADATA Work (/shared/comment \"secret\" /private/comment \"secret\")");
        ok(&mut shared.ann, "SUBSCRIBE Work");
        ok(&mut shared.ann, "SETACL Work carol lrswipkxtea");
        ok(&mut shared.bob, "APPEND INBOX {4+}\r\nabcd");
        ok(&mut shared.bob, "SELECT INBOX");
        for command in COMMANDS {
            shared.reconnect();
            ok(&mut shared.bob, "SELECT INBOX");
            let unknown = answer(shared, command, "missing", "None");
            ok(&mut shared.bob, "SELECT INBOX");
            for (user, mailbox) in [("ann", "Work"), ("ann", "None"), ("ann", "INBOX"), ("bob", "INBOX")] {
                assert_eq!(answer(shared, command, user, mailbox), unknown, "{command}: {user}/{mailbox}");
                ok(&mut shared.bob, "SELECT INBOX");
            }
            assert!(!unknown.contains("secret"), "{unknown}");
        }
        assert_eq!(shared.flags(shared.work), [""]);
    });
}

#[test]
fn lists_show_only_what_may_be_looked_up() {
    with_shared(|shared| {
        let secret = shared.store.create_mailbox(shared.owner, "Work/secret", None).unwrap();
        let deep = shared.store.create_mailbox(shared.owner, "Other/a/deep", None).unwrap();
        let all = ok(&mut shared.bob, "LIST \"\" *");
        assert!(!all.contains("Other Users"), "{all}");
        assert!(!ok(&mut shared.bob, "LIST \"\" %").contains("Other Users"));
        shared.grant("lrw");
        shared.grant_to(secret, "rswip");
        shared.grant_to(deep, "l");
        let names = |session: &mut crate::pipe::Session, command: &str| -> Vec<String> {
            let answer = ok(session, command);
            let of_others = answer.lines().filter(|line| line.contains("Other Users"));
            of_others.map(|line| line.trim_start_matches("* ").to_owned()).collect()
        };
        let deep_line = "LIST (\\HasNoChildren) \"/\" \"Other Users/ann/Other/a/deep\"";
        let work_line = "LIST (\\HasNoChildren) \"/\" \"Other Users/ann/Work\"";
        assert_eq!(names(&mut shared.bob, "LIST \"\" *"), [deep_line, work_line]);
        assert_eq!(
            names(&mut shared.bob, "LIST \"\" %"),
            ["LIST (\\NoSelect \\HasChildren) \"/\" \"Other Users\""]
        );
        assert_eq!(
            names(&mut shared.bob, "LIST \"Other Users/\" %"),
            ["LIST (\\NoSelect \\HasChildren) \"/\" \"Other Users/ann\""]
        );
        assert_eq!(
            names(&mut shared.bob, "LIST \"\" \"Other Users/ann/%\""),
            ["LIST (\\NoSelect \\HasChildren) \"/\" \"Other Users/ann/Other\"", work_line]
        );
        let answer =
            names(&mut shared.bob, "LIST \"\" \"Other Users/*\" RETURN (MYRIGHTS STATUS (MESSAGES))");
        assert_eq!(
            answer,
            [
                deep_line,
                "MYRIGHTS \"Other Users/ann/Other/a/deep\" l",
                work_line,
                "MYRIGHTS \"Other Users/ann/Work\" lrw",
                "STATUS \"Other Users/ann/Work\" (MESSAGES 1)"
            ]
        );
        // The owner's subscriptions are the owner's.
        ok(&mut shared.ann, "SUBSCRIBE Work");
        assert!(names(&mut shared.bob, "LIST (SUBSCRIBED) \"\" *").is_empty());
        ok(&mut shared.bob, &format!("SUBSCRIBE {WORK}"));
        assert_eq!(
            names(&mut shared.bob, "LIST (SUBSCRIBED) \"\" * RETURN (MYRIGHTS)"),
            ["LIST (\\Subscribed) \"/\" \"Other Users/ann/Work\"", "MYRIGHTS \"Other Users/ann/Work\" lrw"]
        );
        assert_eq!(names(&mut shared.bob, "LSUB \"\" *"), ["LSUB () \"/\" \"Other Users/ann/Work\""]);
        shared.grant("r");
        assert_eq!(
            names(&mut shared.bob, "LIST (SUBSCRIBED) \"\" * RETURN (MYRIGHTS)"),
            ["LIST (\\NonExistent \\Subscribed) \"/\" \"Other Users/ann/Work\""]
        );
        // Special uses are the owner's.
        let drafts = shared.store.mailbox(shared.owner, "Drafts").unwrap().id;
        shared.grant_to(drafts, "l");
        assert!(names(&mut shared.bob, "LIST (SPECIAL-USE) \"\" *").is_empty());
        assert!(!names(&mut shared.bob, "LIST \"\" *").concat().contains("\\Drafts"));
        assert!(!ok(&mut shared.ann, "LIST \"\" *").contains("Other Users"));
    });
}

#[test]
fn private_metadata_and_quota_stay_with_the_owner() {
    with_shared(|shared| {
        ok(&mut shared.ann, "SETMETADATA Work (/shared/comment \"for all\" /private/comment \"secret\")");
        shared.grant("lrswi");
        for command in [
            format!("GETMETADATA (DEPTH infinity) {WORK} (/shared /private)"),
            format!("GETMETADATA {WORK} (/shared/comment /private/comment)"),
            format!("LIST \"\" {WORK} RETURN (METADATA (/shared/comment /private/comment))"),
        ] {
            let answer = ok(&mut shared.bob, &command);
            assert!(answer.contains("for all") && !answer.contains("secret"), "{command}: {answer}");
        }
        let answer = run(&mut shared.bob, &format!("SETMETADATA {WORK} (/private/comment \"mine\")"));
        assert!(answer.contains("x NO [METADATA NOPRIVATE]"), "{answer}");
        ok(&mut shared.bob, &format!("SETMETADATA {WORK} (/shared/comment \"changed\")"));
        let answer = ok(&mut shared.ann, "GETMETADATA Work (/shared/comment /private/comment)");
        assert!(answer.contains("changed") && answer.contains("secret"), "{answer}");

        let answer = ok(&mut shared.bob, &format!("GETQUOTAROOT {WORK}"));
        assert!(
            answer.contains("* QUOTAROOT \"Other Users/ann/Work\"\r\n") && !answer.contains("* QUOTA "),
            "{answer}"
        );
        // What bob adds counts for ann.
        let bob = shared.store.account("bob").unwrap().unwrap().id;
        let used = |shared: &Shared<'_>, account| shared.store.usage(account).unwrap().messages;
        let before = (used(shared, shared.owner), used(shared, bob));
        ok(&mut shared.bob, &format!("APPEND {WORK} {{4+}}\r\nabcd"));
        assert_eq!((used(shared, shared.owner), used(shared, bob)), (before.0 + 1, before.1));
        let mut quota = mailstore::Quota::default();
        quota.messages = before.0 + 1;
        shared.store.set_quota(quota);
        ok(&mut shared.bob, "APPEND INBOX {4+}\r\nabcd");
        ok(&mut shared.bob, "SELECT INBOX");
        for command in ["APPEND NAME {4+}\r\nabcd", "COPY 1 NAME", "MOVE 1 NAME"] {
            let answer = run(&mut shared.bob, &command.replace("NAME", WORK));
            assert!(answer.contains("x NO [OVERQUOTA]"), "{command}: {answer}");
        }
        assert_eq!(shared.flags(shared.work).len(), 2);
    });
}
