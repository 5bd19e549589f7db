//! The results that SEARCH returns, and pages of them (RFC 4731, RFC 5182, RFC 9394).

use mailstore::Flags;

use crate::mailbox::{Mail, over_every_store};

/// Messages 1 to 12; the even ones are flagged, and 5 is gone.
fn mails() -> Vec<Mail> {
    (1..=12_u8)
        .map(|number| Mail::new("Subject: x").flags(if number % 2 == 0 { Flags::FLAGGED } else { 0 }))
        .collect()
}

#[test]
fn returns_pages_from_both_ends() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        client.ok("STORE 5 +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
        let esearch = "* ESEARCH (TAG \"TAG\")";
        for (command, response) in [
            ("UID SEARCH RETURN (PARTIAL 1:5) ALL", "UID PARTIAL (1:5 1:4,6)"),
            ("SEARCH RETURN (PARTIAL 1:5) ALL", "PARTIAL (1:5 1:5)"),
            ("UID SEARCH RETURN (PARTIAL 5:3) ALL", "UID PARTIAL (3:5 3:4,6)"),
            ("UID SEARCH RETURN (PARTIAL -1:-3) FLAGGED", "UID PARTIAL (-1:-3 8,10,12)"),
            ("UID SEARCH RETURN (PARTIAL -4:-100) FLAGGED", "UID PARTIAL (-4:-100 2,4,6)"),
            ("UID SEARCH RETURN (PARTIAL 11:900) ALL", "UID PARTIAL (11:900 12)"),
            ("UID SEARCH RETURN (PARTIAL 12:900) ALL", "UID PARTIAL (12:900 NIL)"),
            ("UID SEARCH RETURN (PARTIAL 1:1) DRAFT", "UID PARTIAL (1:1 NIL)"),
            ("UID SEARCH RETURN (PARTIAL 1:4294967295) ALL", "UID PARTIAL (1:4294967295 1:4,6:12)"),
            (
                "UID SEARCH RETURN (MIN MAX COUNT PARTIAL 2:2) FLAGGED",
                "UID MIN 2 MAX 12 PARTIAL (2:2 4) COUNT 6",
            ),
        ] {
            assert_eq!(client.one(command), format!("{esearch} {response}"), "{command}");
        }
        for command in [
            "SEARCH RETURN (ALL PARTIAL 1:5) ALL",
            "SEARCH RETURN (PARTIAL 1:5 PARTIAL 6:10) ALL",
            "SEARCH RETURN (PARTIAL 0:5) ALL",
            "SEARCH RETURN (PARTIAL 1:-5) ALL",
            "SEARCH RETURN (RELEVANCY) ALL",
        ] {
            assert!(client.fails(command).starts_with("BAD "), "{command}");
        }
    });
}

#[test]
fn saves_what_the_options_return() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        // RFC 9394 table 1, and RFC 5182 §2.4.
        for (options, saved) in [
            ("SAVE", "2 4 6 8 10 12"),
            ("SAVE MIN", "2"),
            ("SAVE MAX", "12"),
            ("SAVE MIN MAX", "2 12"),
            ("SAVE MIN COUNT", "2 4 6 8 10 12"),
            ("SAVE PARTIAL 2:3", "4 6"),
            ("SAVE PARTIAL 2:3 MIN", "2 4 6"),
            ("SAVE PARTIAL -1:-2 MIN MAX", "2 10 12"),
            ("SAVE PARTIAL 2:3 COUNT", "2 4 6 8 10 12"),
            ("SAVE PARTIAL 9:9", ""),
        ] {
            client.ok(&format!("UID SEARCH RETURN ({options}) FLAGGED"));
            let expected = format!("* SEARCH {saved}");
            assert_eq!(client.one("UID SEARCH $"), expected.trim_end(), "{options}");
            assert_eq!(client.ok("UID FETCH $ (UID)").len(), saved.split_ascii_whitespace().count());
        }
        // NO empties the saved result, BAD and a search without SAVE keep it (RFC 5182 §2.1).
        client.ok("SEARCH RETURN (SAVE) FLAGGED");
        client.fails("SEARCH RETURN (SAVE NONSENSE) ALL");
        client.fails("SEARCH CHARSET KOI8-R ALL");
        client.ok("SEARCH RETURN (ALL) ALL");
        assert_eq!(client.one("SEARCH RETURN (COUNT) $"), "* ESEARCH (TAG \"TAG\") COUNT 6");
        client.fails("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL");
        assert_eq!(client.one("SEARCH RETURN (COUNT) $"), "* ESEARCH (TAG \"TAG\") COUNT 0");
    });
}

#[test]
fn fetches_a_page_of_a_set() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        client.ok("STORE 5 +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
        let uids = |lines: Vec<String>| -> Vec<u32> {
            let uid = |line: &String| {
                let (_, rest) = line.split_once("(UID ").unwrap_or_else(|| panic!("{line}"));
                rest.trim_end_matches(')').split(' ').next().unwrap().parse().unwrap()
            };
            lines.iter().map(uid).collect()
        };
        for (command, found) in [
            ("UID FETCH 3:900 (UID) (PARTIAL 1:3)", &[3, 4, 6][..]),
            ("UID FETCH 3:900 (UID) (PARTIAL -1:-3)", &[10, 11, 12]),
            ("UID FETCH 1:4,6,9:10 (UID) (PARTIAL 4:6)", &[4, 6, 9]),
            ("UID FETCH 1:* (UID) (PARTIAL 20:30)", &[]),
        ] {
            assert_eq!(uids(client.ok(command)), found, "{command}");
        }
        // The page is taken first, then the changed messages of it (RFC 9394 §3.4).
        let modseq = client.ok("UID FETCH 12 (MODSEQ)").join(" ");
        let modseq = modseq.split_once("MODSEQ (").unwrap().1.split_once(')').unwrap().0.to_owned();
        client.ok("UID STORE 2,11 +FLAGS.SILENT (\\Seen)");
        for modifiers in
            [format!("PARTIAL -1:-3 CHANGEDSINCE {modseq}"), format!("CHANGEDSINCE {modseq} PARTIAL -1:-3")]
        {
            let lines = client.ok(&format!("UID FETCH 1:* (UID FLAGS) ({modifiers})"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains("UID 11"), "{lines:?}");
        }
    });
}
