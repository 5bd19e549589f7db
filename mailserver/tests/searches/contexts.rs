//! Results that the server keeps up to date (RFC 5267 §4.3).

use mailstore::Flags;

use crate::mailbox::{Mail, over_every_store};

fn mails() -> Vec<Mail> {
    (1..=4_usize).map(|size| Mail::new("Subject: x").body(&"x".repeat(size * 10))).collect()
}

#[test]
fn reports_what_enters_and_leaves_a_result() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let (mut client, mut other) = (server.select(), server.select());
        other.ok("UID STORE 2 +FLAGS.SILENT (\\Flagged)");
        client.ok("NOOP");
        let found = client.tagged("B01", "UID SEARCH RETURN (UPDATE COUNT) FLAGGED");
        assert_eq!(found.0, ["* ESEARCH (TAG \"TAG\") UID COUNT 1"]);
        // The tag is in use (RFC 5267 §4.3).
        assert!(client.tagged("B01", "SORT RETURN (UPDATE) (SIZE) UTF-8 ALL").1.starts_with("BAD "));
        // Another session's changes.
        other.ok("UID STORE 1,3 +FLAGS.SILENT (\\Flagged)");
        other.ok("UID STORE 2 -FLAGS.SILENT (\\Flagged)");
        let lines = client.ok("NOOP");
        assert_eq!(lines[0], "* ESEARCH (TAG \"B01\") UID REMOVEFROM (0 2)");
        assert_eq!(lines.last().unwrap(), "* ESEARCH (TAG \"B01\") UID ADDTO (0 1,3)");
        assert_eq!(lines.iter().filter(|line| line.contains("FETCH")).count(), 3);
        // Its own changes.
        let lines = client.ok("UID STORE 4 +FLAGS.SILENT (\\Flagged)");
        assert_eq!(lines, ["* ESEARCH (TAG \"B01\") UID ADDTO (0 4)"]);
        // A new message: ADDTO after EXISTS. An expunged one: REMOVEFROM before EXPUNGE.
        server.append("INBOX", &[Mail::new("Subject: new").flags(Flags::FLAGGED)]);
        let lines = client.ok("NOOP");
        let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap();
        assert!(at("* 5 EXISTS") < at("* ESEARCH (TAG \"B01\") UID ADDTO (0 5)"), "{lines:?}");
        other.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)");
        other.ok("EXPUNGE");
        let lines = client.ok("NOOP");
        let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap();
        assert!(at("* ESEARCH (TAG \"B01\") UID REMOVEFROM (0 3)") < at("* 3 EXPUNGE"), "{lines:?}");

        client.ok("CANCELUPDATE \"B01\"");
        other.ok("UID STORE 2 +FLAGS.SILENT (\\Flagged)");
        assert!(client.ok("NOOP").iter().all(|line| !line.contains("ESEARCH")));
        assert!(client.fails("CANCELUPDATE \"B01\"").starts_with("BAD "));
    });
}

#[test]
fn reports_places_in_a_sorted_result() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        client.ok("UID STORE 1,3 +FLAGS.SILENT (\\Flagged)");
        let found = client.tagged("C01", "UID SORT RETURN (UPDATE ALL) (REVERSE SIZE) UTF-8 FLAGGED");
        assert_eq!(found.0, ["* ESEARCH (TAG \"TAG\") UID ALL 3,1"]);
        let found = client.tagged("C02", "SORT RETURN (UPDATE ALL) (SIZE) UTF-8 ALL");
        assert_eq!(found.0, ["* ESEARCH (TAG \"TAG\") ALL 1:4"]);
        let lines = client.ok("UID STORE 2,4 +FLAGS.SILENT (\\Flagged)");
        assert_eq!(lines, ["* ESEARCH (TAG \"C01\") UID ADDTO (1 4 3 2)"]);
        let lines = client.ok("UID STORE 3,2 -FLAGS.SILENT (\\Flagged)");
        assert_eq!(lines, ["* ESEARCH (TAG \"C01\") UID REMOVEFROM (2 3,2)"]);
        server.append("INBOX", &[Mail::new("Subject: x").body(&"x".repeat(25)).flags(Flags::FLAGGED)]);
        let lines = client.ok("NOOP");
        assert!(lines.contains(&"* ESEARCH (TAG \"C01\") UID ADDTO (2 5)".to_owned()), "{lines:?}");
        assert!(lines.contains(&"* ESEARCH (TAG \"C02\") ADDTO (3 5)".to_owned()), "{lines:?}");
        client.ok("UID STORE 1,5 +FLAGS.SILENT (\\Deleted)");
        let lines = client.ok("EXPUNGE");
        assert_eq!(lines[0], "* ESEARCH (TAG \"C01\") UID REMOVEFROM (2 5,1)");
        assert_eq!(lines[1], "* ESEARCH (TAG \"C02\") REMOVEFROM (3 5 1 1)");
        assert_eq!(lines[2..], ["* 1 EXPUNGE", "* 4 EXPUNGE"]);
        client.ok("CANCELUPDATE \"C01\" \"C02\"");
    });
}

#[test]
fn refuses_more_results_than_a_session_may_keep() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        for number in 0..16 {
            let found = client.tagged(&format!("U{number}"), "UID SEARCH RETURN (UPDATE ALL) ALL");
            assert_eq!(found.0, ["* ESEARCH (TAG \"TAG\") UID ALL 1:4"]);
        }
        let (lines, last) = client.tagged("U16", "UID SEARCH RETURN (UPDATE ALL) ALL");
        assert!(last.starts_with("OK "), "{last}");
        assert!(lines[0].starts_with("* NO [NOUPDATE \"U16\"]"), "{lines:?}");
        assert_eq!(lines[1], "* ESEARCH (TAG \"TAG\") UID ALL 1:4");
        client.ok("CANCELUPDATE \"U0\"");
        let (lines, _) = client.tagged("U17", "UID SEARCH RETURN (UPDATE) ALL");
        assert!(lines.is_empty(), "{lines:?}");
        // The updates end with the selection.
        client.ok("SELECT INBOX");
        assert!(client.fails("CANCELUPDATE \"U17\"").starts_with("BAD "));
        assert_eq!(client.tagged("U1", "UID SEARCH RETURN (UPDATE COUNT) ALL").0.len(), 1);
    });
}

#[test]
fn reports_changes_while_idle() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let (mut client, mut other) = (server.select(), server.select());
        client.tagged("B01", "UID SEARCH RETURN (UPDATE ALL) FLAGGED");
        client.idle();
        other.ok("UID STORE 2 +FLAGS.SILENT (\\Flagged)");
        let answer = client.wait_for("ADDTO (0 2)\r\n");
        assert!(answer.contains("* ESEARCH (TAG \"B01\") UID ADDTO (0 2)\r\n"), "{answer}");
        client.done();
    });
}
