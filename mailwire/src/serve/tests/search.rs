//! SEARCH: the forms of its response, mod-sequences, EMAILID and charsets.

use super::{MESSAGE, RunningServer};

#[test]
fn search_returns_the_mod_sequence_of_its_results() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    for _ in 0..4 {
        imap.append("INBOX", MESSAGE);
    }
    imap.ok("SELECT INBOX (CONDSTORE)");
    imap.ok("STORE 2 +FLAGS (\\Flagged)");
    let modseq = |line: &str| -> u64 {
        let end = line.rsplit_once("MODSEQ ").unwrap().1.trim_matches(|sign| matches!(sign, '(' | ')'));
        end.parse().unwrap()
    };
    let of: Vec<u64> = imap.ok("FETCH 1:4 MODSEQ").iter().map(|line| modseq(line)).collect();
    for (returns, begins, expected) in [
        ("MIN", "MIN 1 ", of[0]),
        ("MAX", "MAX 4 ", of[3]),
        ("MIN MAX", "MIN 1 MAX 4 ", of[0].max(of[3])),
        ("ALL", "ALL 1:4 ", of[1]),
        ("COUNT", "COUNT 4 ", of[1]),
        ("MIN COUNT", "MIN 1 COUNT 4 ", of[1]),
    ] {
        let found = imap.ok(&format!("SEARCH RETURN ({returns}) MODSEQ 1")).concat();
        assert!(found.contains(begins), "{returns}: {found}");
        assert_eq!(modseq(&found), expected, "{returns}: {found}");
    }
}

#[test]
fn search_answers_in_both_forms() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    for subject in ["one", "two", "three"] {
        imap.append("INBOX", &format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n"));
    }
    imap.ok("SELECT INBOX");
    assert_eq!(imap.ok("SEARCH OR SUBJECT two BODY THREE"), ["* SEARCH 2 3"]);
    assert_eq!(imap.ok("UID SEARCH NOT SUBJECT two"), ["* SEARCH 1 3"]);
    assert_eq!(
        imap.ok("SEARCH RETURN (MIN MAX COUNT ALL) ALL"),
        ["* ESEARCH (TAG \"t\") MIN 1 MAX 3 ALL 1:3 COUNT 3"]
    );
    assert_eq!(imap.ok("UID SEARCH RETURN () SUBJECT none"), ["* ESEARCH (TAG \"t\") UID"]);
    assert_eq!(imap.ok("SEARCH RETURN (SAVE) SUBJECT two"), Vec::<String>::new());
    assert_eq!(imap.ok("FETCH $ UID"), ["* 2 FETCH (UID 2)"]);
    assert!(imap.command("SEARCH CHARSET KOI8-R ALL").1.starts_with("NO [BADCHARSET "));
}

#[test]
fn an_email_id_is_opaque_and_finds_its_message() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.append("INBOX", MESSAGE);
    imap.append("INBOX", "Subject: other\r\n\r\nx");
    imap.ok("SELECT INBOX");
    imap.ok("COPY 1 INBOX");
    let fetched = imap.ok("UID FETCH 1:3 EMAILID");
    let id = |line: &String| line.rsplit_once("EMAILID (").unwrap().1.split(')').next().unwrap().to_owned();
    let ids: Vec<String> = fetched.iter().filter(|line| line.contains("EMAILID")).map(id).collect();
    assert_eq!(ids.len(), 3, "{fetched:?}");
    assert!(ids[0] == ids[2] && ids[0] != ids[1], "{ids:?}");
    assert!(ids.iter().all(|id| id.len() > 10 && id.parse::<u64>().is_err()), "{ids:?}");
    assert_eq!(imap.ok(&format!("SEARCH EMAILID {}", ids[0])), ["* SEARCH 1 3"]);
    assert_eq!(imap.ok("SEARCH EMAILID 1"), ["* SEARCH"]);
}

#[test]
fn search_finds_text_in_the_charsets_of_mail() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    // A charset, a phrase that it can encode, and the phrase in that charset as base64.
    let samples = [
        ("gb2312", "新年快乐", "0MLE6r/swNY="),
        ("big5", "訂單確認", "rXGz5r1Uu3s="),
        ("shift_jis", "ご注文の確認", "grKSjZW2gsyKbZRG"),
        ("iso-2022-jp", "ご注文の確認", "GyRCJDRDbUo4JE4zTkcnGyhC"),
        ("euc-kr", "주문 확인", "wda5riDIrsDO"),
        ("windows-874", "ใบสั่ง", "47rK0ein"),
        ("koi8-r", "Привет", "8NLJ18XU"),
    ];
    for (charset, _, base64) in samples {
        imap.append(
            "INBOX",
            &format!(
                "Subject: =?{charset}?B?{base64}?=\r\nContent-Type: text/plain; charset={charset}\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n"
            ),
        );
    }
    imap.ok("SELECT INBOX");
    for (charset, text, _) in samples {
        for key in ["SUBJECT", "BODY", "TEXT"] {
            let found = imap.ok(&format!("SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{text}", text.len()));
            assert!(found[0].len() > "* SEARCH".len(), "{charset} {key}: {found:?}");
        }
    }
}

#[test]
fn search_skips_an_unreadable_message_with_a_warning() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    let long = |word: &str| format!("Subject: {word}\r\n\r\n{}{word}\r\n", "line of text\r\n".repeat(10_000));
    for word in ["one", "two", "three"] {
        imap.append("INBOX", &long(word));
    }
    let messages = server.files_of_messages();
    assert_eq!(messages.len(), 3);
    let damaged = messages.iter().find(|path| {
        let content = std::fs::read(path).unwrap();
        content.ends_with(b"two\r\n")
    });
    let damaged = damaged.unwrap();
    std::fs::remove_file(damaged).unwrap();
    imap.ok("SELECT INBOX");
    let warning = "* NO [SERVERBUG] 1 message could not be read and was not searched";
    for (search, found) in [
        ("SEARCH BODY text", "* SEARCH 1 3"),
        ("SEARCH NOT BODY three", "* SEARCH 1"),
        ("UID SEARCH RETURN (COUNT) TEXT text", "* ESEARCH (TAG \"t\") UID COUNT 2"),
    ] {
        assert_eq!(imap.ok(search), [warning, found], "{search}");
    }
    // A key that needs no text still finds the message.
    assert_eq!(imap.ok("SEARCH SUBJECT two"), ["* SEARCH 2"]);
    // A directory in place of the file.
    std::fs::create_dir(damaged).unwrap();
    assert_eq!(imap.ok("SEARCH BODY text").last().unwrap(), "* SEARCH 1 3");
}
