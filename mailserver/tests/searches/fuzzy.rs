//! FUZZY and RELEVANCY (RFC 6203).

use crate::mailbox::{Mail, over_every_store};

/// Messages that match `helo` more or less well.
fn mails() -> Vec<Mail> {
    [
        ("Subject: hello world", "x", 1),
        ("Subject: helo", "x", 2),
        ("Subject: other", "I said hélos twice", 3),
        ("Subject: unrelated", "nothing", 4),
        ("Subject: HELP", "helo", 5),
    ]
    .map(|(header, body, arrived)| Mail::new(header).body(body).arrived(arrived))
    .to_vec()
}

#[test]
fn finds_similar_texts_and_returns_their_scores() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        let esearch = "* ESEARCH (TAG \"TAG\")";
        for (command, response) in [
            ("SEARCH FUZZY SUBJECT helo", "* SEARCH 1 2 5".to_owned()),
            ("SEARCH SUBJECT helo", "* SEARCH 2".to_owned()),
            ("SEARCH FUZZY TEXT helo", "* SEARCH 1 2 3 5".to_owned()),
            ("SEARCH FUZZY TEXT helo NOT FUZZY SUBJECT helo", "* SEARCH 3".to_owned()),
            (
                "SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT helo",
                format!("{esearch} ALL 1:3,5 RELEVANCY (40 100 56 100)"),
            ),
            (
                "UID SEARCH RETURN (RELEVANCY) FUZZY SUBJECT helo",
                format!("{esearch} UID ALL 1:2,5 RELEVANCY (40 100 40)"),
            ),
            (
                "SEARCH RETURN (RELEVANCY PARTIAL -1:-2 COUNT) FUZZY TEXT helo",
                format!("{esearch} PARTIAL (-1:-2 3,5) RELEVANCY (56 100) COUNT 4"),
            ),
            ("SEARCH RETURN (RELEVANCY COUNT) FUZZY TEXT helo", format!("{esearch} COUNT 4")),
            ("SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT qqqqq", esearch.to_owned()),
            ("SORT (RELEVANCY) UTF-8 FUZZY TEXT helo", "* SORT 2 5 3 1".to_owned()),
            ("SORT (REVERSE RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY TEXT helo", "* SORT 1 3 5 2".to_owned()),
            (
                "SORT RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 FUZZY TEXT helo",
                format!("{esearch} ALL 2,5,3,1 RELEVANCY (100 100 56 40)"),
            ),
            (
                "UID SORT RETURN (RELEVANCY PARTIAL 2:3) (REVERSE ARRIVAL) UTF-8 FUZZY TEXT helo",
                format!("{esearch} UID PARTIAL (2:3 3,2) RELEVANCY (56 100)"),
            ),
            (
                "SORT RETURN (PARTIAL 1:2) (RELEVANCY) UTF-8 FUZZY TEXT helo",
                format!("{esearch} PARTIAL (1:2 2,5)"),
            ),
        ] {
            assert_eq!(client.one(command), response, "{command}");
        }
        // RFC 6203 §4 and §6.
        for command in [
            "SEARCH RETURN (RELEVANCY ALL) SUBJECT helo",
            "SORT (RELEVANCY) UTF-8 SUBJECT helo",
            "SORT RETURN (RELEVANCY) (SIZE) UTF-8 ALL",
            "ESEARCH IN (mailboxes INBOX) RETURN (RELEVANCY) ALL",
        ] {
            assert!(client.fails(command).starts_with("BAD "), "{command}");
        }
        let response = client.one("ESEARCH IN (mailboxes INBOX) RETURN (RELEVANCY) FUZZY SUBJECT helo");
        assert!(response.ends_with(" UID ALL 1:2,5 RELEVANCY (40 100 40)"), "{response}");
    });
}

#[test]
fn limits_the_words_of_a_fuzzy_search() {
    over_every_store(|server| {
        let mut client = server.select();
        let words: Vec<String> = (0..40).map(|number| format!("word{number}")).collect();
        let answer = client.fails(&format!("SEARCH FUZZY TEXT \"{}\"", words.join(" ")));
        assert!(answer.contains("[LIMIT]"), "{answer}");
    });
}

#[test]
fn does_not_keep_an_order_by_relevancy_up_to_date() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        let (lines, answer) = client.command("SORT RETURN (UPDATE ALL) (RELEVANCY) UTF-8 FUZZY SUBJECT helo");
        assert!(lines.iter().any(|line| line.starts_with("* NO [NOUPDATE ")), "{lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("ALL 2,1,5")), "{lines:?}");
        assert!(answer.starts_with("OK "), "{answer}");
        // In the order of the mailbox it is.
        client.ok("SEARCH RETURN (UPDATE) FUZZY SUBJECT helo");
        server.append("INBOX", &mails()[..2]);
        let lines = client.ok("NOOP");
        assert!(lines.iter().any(|line| line.contains("ADDTO (0 6:7)")), "{lines:?}");
    });
}

#[test]
fn writes_the_scores_of_a_large_result_in_pieces() {
    over_every_store(|server| {
        let mails: Vec<Mail> = (0..5_000)
            .map(|number| {
                Mail::new(if number % 3 == 0 { "Subject: helo" } else { "Subject: hello" }).body("")
            })
            .collect();
        server.append("INBOX", &mails);
        let mut client = server.select();
        let response = client.one("SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT helo");
        let (numbers, scores) = response.split_once(" RELEVANCY (").unwrap();
        assert!(numbers.ends_with(" ALL 1:5000"), "{numbers}");
        let scores: Vec<u32> =
            scores.trim_end_matches(')').split(' ').map(|score| score.parse().unwrap()).collect();
        let expected: Vec<u32> = (0..5_000).map(|number| if number % 3 == 0 { 100 } else { 40 }).collect();
        assert_eq!(scores, expected);
    });
}
