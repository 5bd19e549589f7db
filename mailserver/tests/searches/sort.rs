//! SORT and UID SORT (RFC 5256 §3, RFC 5267 §3, RFC 5957).

use crate::mailbox::{Client, Mail, over_every_store};

/// What a message is sorted by, as the test knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    Number(i64),
}

struct Model {
    mail: Mail,
    values: Vec<(&'static str, Value)>,
}

/// Messages whose attributes repeat, so that the second criterion and the sequence number decide often.
fn models() -> Vec<Model> {
    let subjects = [
        ("Lunch", "LUNCH"),
        ("Re: [x] Fwd: lunch", "LUNCH"),
        ("[list] agenda (fwd)", "AGENDA"),
        ("=?utf-8?q?=C3=84pfel?=", "A\u{308}PFEL"),
        ("zebra", "ZEBRA"),
        ("", ""),
    ];
    let people = [
        ("\"Zoe\" <anna@example.test>", "ANNA", "ZOE"),
        ("bob@example.test", "BOB", "BOB@EXAMPLE.TEST"),
        ("=?utf-8?q?J=C3=B6rg?= <carl@example.test>", "CARL", "JO\u{308}RG"),
        ("", "", ""),
    ];
    (0..60_usize)
        .map(|number| {
            let (subject, base) = subjects[number * 7 % 6];
            let (from, from_box, from_name) = people[number * 5 % 4];
            let (to, to_box, to_name) = people[number / 3 % 4];
            let (cc, cc_box, _) = people[number / 5 % 4];
            let arrived = 1_000_000 + (number * 37 % 11) as i64 * 1_000;
            // Half of the messages have a date; it is one of five.
            let sent = (number % 2 == 0).then(|| 86_400 * (number as i64 % 5));
            let mut header = format!("Subject: {subject}\n");
            for (name, value) in [("From", from), ("To", to), ("Cc", cc)] {
                if !value.is_empty() {
                    header.push_str(&format!("{name}: {value}\n"));
                }
            }
            if let Some(sent) = sent {
                header.push_str(&format!("Date: {} Jan 1970 00:00:00 +0000\n", sent / 86_400 + 1));
            }
            let body = "x".repeat(number % 4 * 100);
            let mail = Mail::new(&header).arrived(arrived).body(&body);
            let size = mail.bytes().len() as i64;
            let text = |text: &str| Value::Text(text.to_owned());
            let values = vec![
                ("ARRIVAL", Value::Number(arrived)),
                ("CC", text(cc_box)),
                ("DATE", Value::Number(sent.unwrap_or(arrived))),
                ("DISPLAYFROM", text(from_name)),
                ("DISPLAYTO", text(to_name)),
                ("FROM", text(from_box)),
                ("SIZE", Value::Number(size)),
                ("SUBJECT", text(base)),
                ("TO", text(to_box)),
            ];
            Model { mail, values }
        })
        .collect()
}

/// The order that the model gives, from 1.
fn expected(models: &[Model], criteria: &[(&str, bool)]) -> Vec<u32> {
    let value = |number: u32, key: &str| {
        let values = &models[number as usize - 1].values;
        values.iter().find(|(name, _)| *name == key).unwrap().1.clone()
    };
    let mut order: Vec<u32> = (1..=u32::try_from(models.len()).unwrap()).collect();
    order.sort_by(|a, b| {
        let by = criteria.iter().map(|(key, reverse)| {
            let order = value(*a, key).cmp(&value(*b, key));
            if *reverse { order.reverse() } else { order }
        });
        by.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then(a.cmp(b))
    });
    order
}

fn numbers(response: &str) -> Vec<u32> {
    let list = response.strip_prefix("* SORT").unwrap();
    list.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn sorts_by_every_key_and_combination() {
    const KEYS: [&str; 9] =
        ["ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO"];
    let models = models();
    over_every_store(|server| {
        server.append("INBOX", &models.iter().map(|model| model.mail.clone()).collect::<Vec<_>>());
        let mut client = server.select();
        let mut check = |criteria: &[(&str, bool)]| {
            let words: Vec<_> = criteria
                .iter()
                .map(|(key, reverse)| format!("{}{key}", if *reverse { "REVERSE " } else { "" }))
                .collect();
            let found = numbers(&client.one(&format!("SORT ({}) UTF-8 ALL", words.join(" "))));
            assert_eq!(found, expected(&models, criteria), "{words:?}");
        };
        for key in KEYS {
            check(&[(key, false)]);
            check(&[(key, true)]);
            for second in KEYS {
                check(&[(key, true), (second, false)]);
            }
        }
        check(&[("SUBJECT", false), ("FROM", true), ("DATE", false), ("SIZE", true)]);
    });
}

/// Six messages, of which 2 was expunged. Sorted by size: UIDs 4, 1, 6, 3, 5; sequence numbers 3, 1, 5, 2, 4.
fn five_sizes(client: &mut Client) {
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("STORE 1,5 +FLAGS.SILENT (\\Flagged)");
}

fn mails() -> Vec<Mail> {
    [20, 9, 40, 10, 50, 30].map(|size| Mail::new("Subject: x").body(&"x".repeat(size))).to_vec()
}

#[test]
fn returns_the_results_of_esort() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        five_sizes(&mut client);
        for (command, response) in [
            ("SORT (SIZE) UTF-8 ALL", "* SORT 3 1 5 2 4"),
            ("UID SORT (REVERSE SIZE) US-ASCII ALL", "* SORT 5 3 6 1 4"),
            ("SORT (SIZE) utf-8 DRAFT", "* SORT"),
            ("SORT RETURN () (SIZE) UTF-8 ALL", "* ESEARCH (TAG \"TAG\") ALL 3,1,5,2,4"),
            ("UID SORT RETURN (ALL) (ARRIVAL) UTF-8 ALL", "* ESEARCH (TAG \"TAG\") UID ALL 1,3:6"),
            // A descending run is not a range (RFC 5267 §3.2).
            (
                "UID SORT RETURN () (REVERSE ARRIVAL SIZE) UTF-8 UID 3:6",
                "* ESEARCH (TAG \"TAG\") UID ALL 4,6,3,5",
            ),
            ("SORT RETURN (MIN MAX COUNT) (SIZE) UTF-8 ALL", "* ESEARCH (TAG \"TAG\") MIN 3 MAX 4 COUNT 5"),
            ("UID SORT RETURN (MAX) (SIZE) UTF-8 FLAGGED", "* ESEARCH (TAG \"TAG\") UID MAX 6"),
            ("SORT RETURN (MIN COUNT) (SIZE) UTF-8 DRAFT", "* ESEARCH (TAG \"TAG\") COUNT 0"),
            (
                "UID SORT RETURN (PARTIAL 2:3) (SIZE) UTF-8 ALL",
                "* ESEARCH (TAG \"TAG\") UID PARTIAL (2:3 1,6)",
            ),
            (
                "UID SORT RETURN (PARTIAL -1:-2 MIN) (SIZE) UTF-8 ALL",
                "* ESEARCH (TAG \"TAG\") UID MIN 4 PARTIAL (-1:-2 3,5)",
            ),
            (
                "UID SORT RETURN (PARTIAL 6:9 COUNT) (SIZE) UTF-8 ALL",
                "* ESEARCH (TAG \"TAG\") UID PARTIAL (6:9 NIL) COUNT 5",
            ),
            ("UID SORT RETURN (CONTEXT) (SIZE) UTF-8 1,2", "* ESEARCH (TAG \"TAG\") UID ALL 1,3"),
        ] {
            assert_eq!(client.one(command), response, "{command}");
        }
        // A number that no message has finds nothing.
        for command in ["SORT (SIZE) UTF-8 9", "THREAD REFERENCES UTF-8 9", "SEARCH 9", "SEARCH 9:12"] {
            let name = command.split(' ').next().unwrap_or_default();
            assert_eq!(client.one(command), format!("* {name}"), "{command}");
        }
        for (command, response) in [
            ("SORT (SIZE) KOI8-R ALL", "NO [BADCHARSET"),
            ("SORT RETURN (ALL PARTIAL 1:2) (SIZE) UTF-8 ALL", "BAD "),
            ("SORT (RELEVANCY) UTF-8 ALL", "BAD "),
            ("SORT () UTF-8 ALL", "BAD "),
            ("SORT (SIZE)", "BAD "),
        ] {
            assert!(client.fails(command).starts_with(response), "{command}");
        }
    });
}

#[test]
fn adds_the_mod_sequence_and_saves_the_result() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let mut client = server.select();
        five_sizes(&mut client);
        // The flags of 1 and 6 were changed last, both at once.
        let fetched = client.ok("FETCH 1 (MODSEQ)").join(" ");
        let modseq = fetched.split_once("MODSEQ (").unwrap().1.split_once(')').unwrap().0.to_owned();
        assert_eq!(client.one("SORT (SIZE) UTF-8 MODSEQ 1"), format!("* SORT 3 1 5 2 4 (MODSEQ {modseq})"));
        let found = client.one("UID SORT RETURN (MAX) (REVERSE SIZE) UTF-8 MODSEQ 1");
        let other = client.ok("UID FETCH 4 (MODSEQ)").join(" ");
        let lower = other.split_once("MODSEQ (").unwrap().1.split_once(')').unwrap().0.to_owned();
        assert_eq!(found, format!("* ESEARCH (TAG \"TAG\") UID MAX 4 MODSEQ {lower}"));
        assert_eq!(client.one("SORT (SIZE) UTF-8 MODSEQ 18446744073709551"), "* SORT");

        assert_eq!(client.ok("UID SORT RETURN (SAVE) (SIZE) UTF-8 FLAGGED"), [""; 0]);
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH 1 6");
        client.ok("UID SORT RETURN (SAVE MIN) (REVERSE SIZE) UTF-8 ALL");
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH 5");
        client.ok("UID SORT RETURN (SAVE PARTIAL 1:2 MAX) (SIZE) UTF-8 ALL");
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH 1 4 5");
        client.fails("SORT RETURN (SAVE) (SIZE) KOI8-R ALL");
        assert_eq!(client.one("UID SEARCH $"), "* SEARCH");
    });
}

#[test]
fn holds_back_expunges_while_numbers_are_sorted() {
    over_every_store(|server| {
        server.append("INBOX", &mails());
        let (mut one, mut other) = (server.select(), server.select());
        five_sizes(&mut one);
        // The message is gone, but its number still counts.
        assert_eq!(other.one("SORT (SIZE) UTF-8 ALL"), "* SORT 4 1 6 3 5");
        let lines = other.ok("UID SORT (SIZE) UTF-8 ALL");
        assert_eq!(lines[0], "* SORT 4 1 6 3 5");
        assert!(lines.contains(&"* 2 EXPUNGE".to_owned()), "{lines:?}");
        assert_eq!(other.one("SORT (SIZE) UTF-8 ALL"), "* SORT 3 1 5 2 4");
    });
}

#[test]
fn sorts_a_large_mailbox_in_runs() {
    let mails: Vec<Mail> = (0..9_000_u32)
        .map(|number| Mail::new(&format!("Subject: {:05}", number * 7_919 % 9_001)).body("x"))
        .collect();
    over_every_store(|server| {
        for batch in mails.chunks(1_000) {
            server.append("INBOX", batch);
        }
        let mut client = server.select();
        let found = numbers(&client.one("SORT (SUBJECT) UTF-8 ALL"));
        let mut expected: Vec<u32> = (1..=9_000).collect();
        expected.sort_by_key(|number| (number - 1) * 7_919 % 9_001);
        assert_eq!(found, expected);
    });
}
