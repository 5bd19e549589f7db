//! LANGUAGE and COMPARATOR (RFC 5255).

use crate::mailbox::{Mail, over_every_store};

fn mails() -> Vec<Mail> {
    [
        ("Apfel", "zwei"),
        ("\u{c4}PFEL", "ein \u{c4}pfel"),
        ("apfel", "x"),
        ("A\u{308}pfel", "ein A\u{308}PFEL"),
    ]
    .map(|(subject, body)| {
        Mail::new(&format!("Subject: {subject}\nContent-Type: text/plain; charset=utf-8")).body(body)
    })
    .to_vec()
}

#[test]
fn compares_texts_as_the_client_chooses() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        let text = |text: &str| format!("{{{}+}}\r\n{text}", text.len());
        let composed = text("\u{e4}pfel");
        let upper = text("\u{c4}PFEL");
        for (comparator, subject, body, exact, sorted) in [
            // Decomposed and composed letters are the same.
            ("i;unicode-casemap", "* SEARCH 2 4", "* SEARCH 2 4", "* SEARCH 1 3", "* SORT 1 3 2 4"),
            ("i;ascii-casemap", "* SEARCH", "* SEARCH", "* SEARCH 1 3", "* SORT 1 3 4 2"),
            ("i;octet", "* SEARCH", "* SEARCH", "* SEARCH 1", "* SORT 1 4 3 2"),
            ("default", "* SEARCH 2 4", "* SEARCH 2 4", "* SEARCH 1 3", "* SORT 1 3 2 4"),
        ] {
            let active = if comparator == "default" { "i;unicode-casemap" } else { comparator };
            assert_eq!(client.one(&format!("COMPARATOR {comparator}")), format!("* COMPARATOR {active}"));
            assert_eq!(
                client.one(&format!("SEARCH CHARSET UTF-8 SUBJECT {composed}")),
                subject,
                "{comparator}"
            );
            assert_eq!(client.one(&format!("SEARCH CHARSET UTF-8 BODY {composed}")), body, "{comparator}");
            assert_eq!(client.one("SEARCH SUBJECT Apfel"), exact, "{comparator}");
            let found = client.one(&format!("SEARCH CHARSET UTF-8 SUBJECT {upper}"));
            assert_eq!(found, if active == "i;unicode-casemap" { "* SEARCH 2 4" } else { "* SEARCH 2" });
            assert_eq!(client.one("SORT (SUBJECT) UTF-8 ALL"), sorted, "{comparator}");
            let threads = client.one("THREAD ORDEREDSUBJECT UTF-8 ALL");
            let count = threads.matches('(').count();
            let expected = match active {
                "i;unicode-casemap" => 2,
                "i;ascii-casemap" => 3,
                _ => 4,
            };
            assert_eq!(count, expected, "{comparator}: {threads}");
        }
        assert_eq!(
            client.one("COMPARATOR \"cz;*\" \"i;*-casemap\""),
            "* COMPARATOR i;unicode-casemap (i;unicode-casemap i;ascii-casemap)"
        );
        assert_eq!(
            client.one("COMPARATOR i;octet default"),
            "* COMPARATOR i;octet (i;octet i;unicode-casemap)"
        );
        assert!(client.fails("COMPARATOR i;basic").starts_with("NO [BADCOMPARATOR]"));
        assert_eq!(client.one("COMPARATOR"), "* COMPARATOR i;octet");
        let response = client.one("ESEARCH IN (mailboxes INBOX) RETURN (COUNT) SUBJECT apfel");
        assert!(response.ends_with("COUNT 1"), "{response}");
    });
}

#[test]
fn answers_in_english() {
    over_every_store(|server| {
        let mut client = server.login();
        for (command, response) in [
            ("LANGUAGE", "* LANGUAGE (i-default en)"),
            ("LANGUAGE fr-CA EN-ca", "* LANGUAGE (en)"),
            ("LANGUAGE default", "* LANGUAGE (i-default)"),
        ] {
            assert_eq!(client.one(command).replace('"', ""), response, "{command}");
        }
        assert!(client.fails("LANGUAGE mul").starts_with("NO "));
    });
}
