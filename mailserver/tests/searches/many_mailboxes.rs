//! ESEARCH: searches in several mailboxes (RFC 7377).

use mailstore::Flags;

use crate::mailbox::{Mail, TestServer, over_every_store};

fn fill(server: &TestServer) {
    let mut client = server.login();
    for name in ["folder1", "folder2/banana", "folder2/peach", "folder2/peach/deep", "Zürich"] {
        let account = server.store.account("ann").unwrap().unwrap().id;
        server.store.create_mailbox(account, name, None).unwrap();
        let mails: Vec<Mail> = (0..3)
            .map(|number| Mail::new(&format!("Subject: {name} {number}")).flags([Flags::SEEN, 0][number % 2]))
            .collect();
        server.append(name, &mails);
    }
    server.append("INBOX", &[Mail::new("Subject: chad"), Mail::new("Subject: x").flags(Flags::SEEN)]);
    client.ok("SUBSCRIBE folder2/banana");
}

/// The responses without UIDVALIDITY, which differs between stores.
fn found(lines: Vec<String>) -> Vec<String> {
    let shown = |line: String| {
        let (head, rest) = line.split_once(" UIDVALIDITY ").expect("each response has a UIDVALIDITY");
        let (_, rest) = rest.split_once(')').unwrap();
        let head = head.strip_prefix("* ESEARCH (TAG \"TAG\" MAILBOX ").unwrap();
        format!("{head}:{}", rest.strip_prefix(" UID").expect("numbers are UIDs"))
    };
    lines.into_iter().filter(|line| line.starts_with("* ESEARCH")).map(shown).collect()
}

#[test]
fn searches_the_mailboxes_that_are_named() {
    over_every_store(|server| {
        fill(server);
        let mut client = server.login();
        for (command, expected) in [
            (
                "ESEARCH IN (mailboxes \"folder1\" subtree \"folder2\") unseen",
                &[
                    "folder1: ALL 2",
                    "folder2/banana: ALL 2",
                    "folder2/peach: ALL 2",
                    "folder2/peach/deep: ALL 2",
                ][..],
            ),
            (
                "ESEARCH IN (subtree-one \"folder2\") RETURN (MIN COUNT) SEEN",
                &["folder2/banana: MIN 1 COUNT 2", "folder2/peach: MIN 1 COUNT 2"],
            ),
            ("ESEARCH IN (inboxes) subject \"chad\"", &["INBOX: ALL 1"]),
            ("ESEARCH IN (personal) RETURN (COUNT) SUBJECT \"chad\"", &["INBOX: COUNT 1"]),
            ("ESEARCH IN (personal) SUBJECT \"nowhere\"", &[]),
            ("ESEARCH IN (mailboxes missing) ALL", &[]),
            // A mailbox that several sources name is searched once.
            ("ESEARCH IN (mailboxes (inbox INBOX) inboxes) ALL", &["INBOX: ALL 1:2"]),
            ("ESEARCH IN (mailboxes folder1) RETURN (PARTIAL -1:-2) ALL", &["folder1: PARTIAL (-1:-2 2:3)"]),
            // Numbers are relative to each mailbox, and may be beyond its end (RFC 7377 §2).
            ("ESEARCH IN (mailboxes (folder1 INBOX)) RETURN (ALL) 3:900", &["folder1: ALL 3"]),
            (
                "ESEARCH IN (mailboxes (folder1 INBOX)) RETURN (ALL) UID 2:*",
                &["INBOX: ALL 2", "folder1: ALL 2:3"],
            ),
            ("ESEARCH IN (mailboxes Z&APw-rich) RETURN (MAX) ALL", &["Z&APw-rich: MAX 3"]),
        ] {
            assert_eq!(found(client.ok(command)), expected, "{command}");
        }
        let subscribed = found(client.ok("ESEARCH IN (subscribed) RETURN (COUNT) UNSEEN"));
        assert_eq!(subscribed, ["INBOX: COUNT 1", "folder2/banana: COUNT 1"]);
        assert!(client.fails("ESEARCH ALL").starts_with("BAD "), "no mailbox is selected");
        assert!(client.fails("ESEARCH IN (selected) ALL").starts_with("BAD "));
        assert!(client.fails("ESEARCH IN (personal) RETURN (UPDATE) ALL").starts_with("BAD "));
        assert!(client.fails("ESEARCH IN (personal) CHARSET KOI8-R ALL").starts_with("NO [BADCHARSET"));
    });
}

#[test]
fn searches_the_selected_mailbox_as_the_client_knows_it() {
    over_every_store(|server| {
        fill(server);
        let (mut client, mut other) = (server.login(), server.login());
        client.ok("SELECT folder1");
        assert_eq!(found(client.ok("ESEARCH UNSEEN")), ["folder1: ALL 2"]);
        assert_eq!(found(client.ok("ESEARCH RETURN (SAVE COUNT) SEEN")), ["folder1: COUNT 2"]);
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH 1 3");
        assert!(client.fails("ESEARCH IN (selected personal) RETURN (SAVE) ALL").starts_with("BAD "));
        // `$` belongs to the selected mailbox.
        assert_eq!(found(client.ok("ESEARCH IN (personal) $")), ["folder1: ALL 1,3"]);
        assert_eq!(client.ok("ESEARCH RETURN (SAVE) DRAFT"), [""; 0]);
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH");

        let (lines, _) = client.tagged("U1", "ESEARCH IN (selected) RETURN (UPDATE ALL) UNSEEN");
        assert_eq!(found(lines), ["folder1: ALL 2"]);
        other.ok("SELECT folder1");
        other.ok("UID STORE 3 -FLAGS.SILENT (\\Seen)");
        let lines = client.ok("NOOP");
        let last = lines.last().unwrap();
        assert!(last.starts_with("* ESEARCH (TAG \"U1\" MAILBOX folder1 UIDVALIDITY "), "{last}");
        assert!(last.ends_with(" UID ADDTO (0 3)"), "{last}");
        client.ok("CANCELUPDATE \"U1\"");
    });
}

#[test]
fn a_mailbox_that_is_deleted_meanwhile_is_passed_over() {
    over_every_store(|server| {
        fill(server);
        let (mut client, mut other) = (server.login(), server.login());
        client.ok("SELECT folder1");
        other.ok("DELETE folder1");
        assert_eq!(
            found(client.ok("ESEARCH IN (selected mailboxes folder2/banana) ALL")),
            ["folder2/banana: ALL 1:3"]
        );
    });
}
