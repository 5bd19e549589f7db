//! FILTER: stored searches (RFC 5466).

use mailstore::Flags;

use crate::mailbox::{Mail, over_every_store};

fn mails() -> Vec<Mail> {
    [("one", 0), ("two", Flags::FLAGGED), ("three", Flags::SEEN), ("four", Flags::SEEN | Flags::FLAGGED)]
        .map(|(subject, flags)| Mail::new(&format!("Subject: {subject}")).flags(flags))
        .to_vec()
}

#[test]
fn finds_what_stored_searches_find() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        for (name, value) in [
            ("flagged", "FLAGGED"),
            ("t", "SUBJECT t"),
            ("both", "FILTER Flagged UNSEEN"),
            ("nested", "OR FILTER both FILTER t"),
            ("third", "3"),
            ("umlaut", "SUBJECT \"\u{e4}\""),
        ] {
            let value = format!("{{{}+}}\r\n{value}", value.len());
            client.ok(&format!("SETMETADATA \"\" (/private/filters/values/{name} {value})"));
        }
        let esearch = "* ESEARCH (TAG \"TAG\")";
        for (command, response) in [
            ("SEARCH FILTER flagged", "* SEARCH 2 4".to_owned()),
            ("SEARCH UNSEEN FILTER FLAGGED", "* SEARCH 2".to_owned()),
            ("SEARCH NOT FILTER both", "* SEARCH 1 3 4".to_owned()),
            ("UID SEARCH CHARSET UTF-8 FILTER nested", "* SEARCH 2 3".to_owned()),
            ("SEARCH OR FILTER third (FILTER t FLAGGED)", "* SEARCH 2 3".to_owned()),
            ("SORT (REVERSE ARRIVAL REVERSE SUBJECT) UTF-8 FILTER flagged", "* SORT 2 4".to_owned()),
            ("SEARCH RETURN (COUNT) FILTER flagged", format!("{esearch} COUNT 2")),
            ("THREAD REFERENCES UTF-8 FILTER both", "* THREAD (2)".to_owned()),
        ] {
            assert_eq!(client.one(command), response, "{command}");
        }
        let response = client.one("ESEARCH IN (mailboxes INBOX) RETURN (ALL) FILTER third");
        assert!(response.ends_with(" UID ALL 3"), "{response}");
        // The result can be kept up to date.
        client.ok("SEARCH RETURN (UPDATE) FILTER flagged");
        let lines = client.ok("STORE 1 +FLAGS (\\Flagged)");
        let lines = [lines, client.ok("NOOP")].concat();
        assert!(lines.iter().any(|line| line.contains("ADDTO (0 1)")), "{lines:?}");
    });
}

#[test]
fn refuses_filters_that_do_not_exist_or_name_each_other() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        for (name, value) in
            [("loop", "SEEN FILTER pool"), ("pool", "FILTER loop"), ("a", "FILTER b"), ("b", "FILTER c")]
        {
            client.ok(&format!("SETMETADATA \"\" (/private/filters/values/{name} \"{value}\")"));
        }
        for (command, answer) in [
            ("SEARCH FILTER nosuch", "NO [UNDEFINED-FILTER nosuch]"),
            ("SEARCH FILTER loop", "NO [UNDEFINED-FILTER loop]"),
            ("SEARCH SEEN NOT FILTER a", "NO [UNDEFINED-FILTER c]"),
            ("ESEARCH IN (personal) FILTER nosuch", "NO [UNDEFINED-FILTER nosuch]"),
            ("SEARCH CHARSET KOI8-R FILTER loop", "BAD [BADCHARSET"),
            ("SETMETADATA \"\" (/private/filters/values/x \"OR SMALLER\")", "NO [CANNOT]"),
            ("SETMETADATA \"\" (/private/filters/values/x/y \"ALL\")", "NO [CANNOT]"),
            ("SETMETADATA \"\" (/private/filters/values/x {6+}\r\nALL\r\nx)", "NO [CANNOT]"),
            ("SETMETADATA \"\" (/shared/filters/values/x \"ALL\")", "NO [NOPERM]"),
        ] {
            let found = client.fails(command);
            assert!(found.starts_with(answer), "{command}: {found}");
        }
        let long = format!("SUBJECT {}", "x".repeat(8 * 1024));
        let found = client
            .fails(&format!("SETMETADATA \"\" (/private/filters/values/x {{{}+}}\r\n{long})", long.len()));
        assert!(found.starts_with("NO [METADATA MAXSIZE 8192]"), "{found}");
        // A refused search empties the saved result.
        client.ok("SEARCH RETURN (SAVE) ALL");
        client.fails("SEARCH RETURN (SAVE) FILTER nosuch");
        assert_eq!(client.one("SEARCH $"), "* SEARCH");
        // What is deleted does not exist, and descriptions are texts.
        client.ok(
            "SETMETADATA \"\" (/private/filters/values/a NIL /private/filters/descriptions/a \"any text\")",
        );
        assert!(client.fails("SEARCH FILTER a").starts_with("NO [UNDEFINED-FILTER a]"));
    });
}
