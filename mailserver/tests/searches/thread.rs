//! THREAD and UID THREAD (RFC 5256 §3, draft-ietf-morg-inthread).

use crate::mailbox::{Mail, over_every_store};

/// A message with an identifier and references.
fn mail(subject: &str, id: &str, references: &str, day: u32) -> Mail {
    let mut header =
        format!("Subject: {subject}\nDate: {day} Jan 2024 00:00:00 +0000\nMessage-ID: <{id}@x>\n");
    if !references.is_empty() {
        let ids: Vec<_> = references.split(' ').map(|id| format!("<{id}@x>")).collect();
        header.push_str(&format!("References: {}\n", ids.join("\n ")));
    }
    Mail::new(&header)
}

#[test]
fn threads_by_references() {
    // The shape of RFC 5256 §4: (2)(3 6 (4 23)(44 7 96)), with other numbers.
    let mails = [
        mail("other", "a", "", 1),
        mail("topic", "b", "", 2),
        mail("Re: topic", "c", "b", 3),
        mail("Re: topic", "d", "b c", 4),
        mail("Re: topic", "e", "b c", 5),
        mail("Re: topic", "f", "b c d", 6),
        mail("Re: topic", "g", "b c e", 7),
        mail("Re: topic", "h", "b c e g", 8),
    ];
    over_every_store(|server| {
        server.append("INBOX", &mails);
        let mut client = server.select();
        for (command, response) in [
            ("THREAD REFERENCES UTF-8 ALL", "* THREAD (1)(2 3 (4 6)(5 7 8))"),
            ("THREAD REFS UTF-8 ALL", "* THREAD (1)(2 3 (4 6)(5 7 8))"),
            ("THREAD ORDEREDSUBJECT UTF-8 ALL", "* THREAD (1)(2 (3)(4)(5)(6)(7)(8))"),
            // Messages that are not found are missing in the threads.
            ("THREAD REFERENCES UTF-8 4:8", "* THREAD ((4 6)(5 7 8))"),
            ("THREAD REFERENCES UTF-8 1,6,8", "* THREAD (1)((6)(8))"),
            ("THREAD REFERENCES UTF-8 DRAFT", "* THREAD"),
        ] {
            assert_eq!(client.one(command), response, "{command}");
        }
        client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
        assert_eq!(client.one("THREAD REFERENCES UTF-8 ALL"), "* THREAD (1 2 (3 5)(4 6 7))");
        assert_eq!(client.one("UID THREAD REFERENCES UTF-8 ALL"), "* THREAD (2 3 (4 6)(5 7 8))");
        assert!(client.fails("THREAD UNKNOWN UTF-8 ALL").starts_with("BAD "));
        assert!(client.fails("THREAD REFERENCES KOI8-R ALL").starts_with("NO [BADCHARSET"));
    });
}

#[test]
fn merges_threads_with_one_subject_and_uses_in_reply_to() {
    let mut reply = mail("something else", "n", "", 3);
    reply.header.push_str("In-Reply-To: your message <m@x> of Monday\n");
    let mails = [
        mail("Lunch", "m", "", 1),
        mail("Re: Lunch", "unrelated", "", 2),
        reply,
        mail("[x] Fwd: Dinner", "o", "gone", 4),
        mail("Dinner", "p", "gone", 5),
    ];
    over_every_store(|server| {
        server.append("INBOX", &mails);
        let mut client = server.select();
        assert_eq!(client.one("THREAD REFERENCES UTF-8 ALL"), "* THREAD (1 (2)(3))((4)(5))");
        // REFS does not look at subjects, and the thread with the newest message comes last.
        assert_eq!(client.one("THREAD REFS UTF-8 ALL"), "* THREAD (2)(1 3)((4)(5))");
    });
}

#[test]
fn writes_a_large_result_in_pieces() {
    // Each message answers the one before it, but every tenth begins a thread.
    let mails: Vec<Mail> = (0..3_000)
        .map(|number| {
            let thread = number / 10;
            let references = if number % 10 > 0 { (number - 1).to_string() } else { String::new() };
            mail(&format!("thread {thread}"), &number.to_string(), &references, 1)
        })
        .collect();
    let expected: String = (0..300)
        .map(|thread| {
            let numbers: Vec<_> = (1..=10).map(|place| (thread * 10 + place).to_string()).collect();
            format!("({})", numbers.join(" "))
        })
        .collect();
    over_every_store(|server| {
        for batch in mails.chunks(1_000) {
            server.append("INBOX", batch);
        }
        let mut client = server.select();
        for algorithm in ["REFERENCES", "REFS"] {
            let found = client.one(&format!("UID THREAD {algorithm} UTF-8 ALL"));
            assert_eq!(found, format!("* THREAD {expected}"), "{algorithm}");
        }
    });
}
