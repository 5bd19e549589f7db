//! A selected mailbox: how its sessions learn about changes, flags, recent messages and mod-sequences.

use mailstore::{Accounts, Delivery, Flags, InternalDate, SqliteStore, Store, Target, UidSet};

use super::{Connection, MESSAGE, RunningServer, Server, arguments, log};

/// Returns the number after `word` in a response.
fn number(response: &str, word: &str) -> u64 {
    let rest = response.split_once(word).unwrap_or_else(|| panic!("{word} in {response}")).1;
    let digits: String =
        rest.trim_start_matches([' ', '(']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Fills INBOX with `count` messages and selects it.
fn filled(server: &RunningServer, count: u32) -> Connection {
    let mut imap = server.imap();
    imap.append("INBOX", MESSAGE);
    imap.ok("SELECT INBOX");
    let mut have = 1;
    while have < count {
        let more = have.min(count - have);
        imap.ok(&format!("COPY 1:{more} INBOX"));
        have += more;
        imap.ok("NOOP");
    }
    imap
}

#[test]
fn noop_id_capability_and_logout_are_allowed_before_login() {
    let server = RunningServer::start();
    let mut connection = server.secure(server.connect(super::Service::Imaps));
    connection.line();
    connection.ok("NOOP");
    assert!(connection.ok("ID NIL")[0].starts_with("* ID ("));
    connection.ok("ID (\"name\" \"probe\")");
    assert!(connection.ok("CAPABILITY")[0].contains("AUTH="));
    assert!(!connection.command("CHECK").1.starts_with("OK"));
    assert!(!connection.command("LIST \"\" *").1.starts_with("OK"));
    assert!(connection.ok("LOGOUT")[0].starts_with("* BYE "));
}

#[test]
fn empty_lines_before_a_command_are_ignored() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    for _ in 0..30 {
        imap.send("");
        imap.ok("NOOP");
    }
    imap.send(&"\r\n".repeat(100));
    assert!(imap.line().starts_with("* BYE "), "a flood of empty lines ends the session");
    // SMTP has no empty lines (RFC 5321 §4.1.1): one is an unknown command.
    let mut smtp = server.smtp();
    smtp.expect_reply("", "500");
    smtp.expect_reply("NOOP", "250");
}

#[test]
fn rejects_append_before_requesting_its_literal() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    let many: Vec<String> = (0..101).map(|n| format!("k{n}")).collect();
    let refused = [
        ("INBOX (\\Recent)", "BAD ", "\\Recent"),
        ("INBOX (\\Seen \\Recent)", "BAD ", "\\Recent"),
        ("INBOX (\\Seen \\Sean)", "BAD ", "\\Sean"),
        (&format!("INBOX ({})", many.join(" ")), "NO [LIMIT] ", "k100"),
        (&format!("INBOX ({})", "k".repeat(300)), "NO [LIMIT] ", "kkk"),
        ("INBOX \"32-Foo-2020 10:00:00 +0000\"", "BAD ", ""),
        ("INBOX (\\Seen", "BAD ", ""),
        ("Nowhere", "NO [TRYCREATE] ", ""),
        ("Nowhere (\\Recent)", "BAD ", "\\Recent"),
    ];
    for (arguments, status, names) in refused {
        let (untagged, answer) = imap.command(&format!("APPEND {arguments} {{16}}"));
        assert!(untagged.is_empty(), "{arguments}: {untagged:?}");
        assert!(answer.starts_with(status) && answer.contains(names), "{arguments}: {answer}");
        let (untagged, answer) = imap.command(&format!("APPEND {arguments} {{16+}}\r\n0123456789abcdef"));
        assert!(untagged.is_empty(), "{arguments}: {untagged:?}");
        assert!(answer.starts_with(status) && answer.contains(names), "{arguments}: {answer}");
    }
    assert!(imap.command("APPEND INBOX {9999999999999}").1.starts_with("NO [TOOBIG] "));
    // STORE rejects the same flags, and the session continues.
    imap.append("INBOX", MESSAGE);
    imap.ok("SELECT INBOX");
    assert!(imap.command("STORE 1 +FLAGS (\\Recent)").1.starts_with("BAD "));
    let answer = imap.command("STORE 1 +FLAGS (\\Sean)").1;
    assert!(answer.starts_with("BAD ") && answer.contains("\\Sean"), "{answer}");
}

#[test]
fn rejects_nul_in_a_literal_and_continues() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    let (untagged, answer) = imap.command("APPEND INBOX {7+}\r\nab\0cd\r\n");
    assert!(untagged.is_empty() && answer.starts_with("BAD ") && answer.contains("NUL"), "{answer}");
    assert!(imap.command("SELECT {3+}\r\na\0b").1.starts_with("BAD "));
    assert!(imap.command("CREATE {3+}\r\na\0b").1.starts_with("BAD "));
    assert_eq!(imap.ok("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 0)"]);
    let mut connection = server.secure(server.connect(super::Service::Imaps));
    connection.line();
    assert!(connection.command("LOGIN {3+}\r\na\0b x").1.starts_with("BAD "));
    connection.ok("NOOP");
}

#[test]
fn announces_flags_before_using_a_new_keyword() {
    let server = RunningServer::start();
    let (mut one, mut other) = (server.imap(), server.imap());
    one.append("INBOX", MESSAGE);
    for connection in [&mut one, &mut other] {
        connection.ok("SELECT INBOX");
    }
    let announced = |responses: &[String], keyword: &str| {
        assert!(responses[0].starts_with("* FLAGS (") && responses[0].contains(keyword), "{responses:?}");
        let permanent = &responses[1];
        assert!(permanent.starts_with("* OK [PERMANENTFLAGS (") && permanent.contains(keyword));
        assert!(permanent.contains("\\*"));
    };
    // A keyword set by this session, by another one, and by an appended message.
    let stored = one.ok("STORE 1 +FLAGS ($Mine)");
    announced(&stored, "$Mine");
    assert!(stored[2].contains("FETCH (FLAGS ("), "{stored:?}");
    assert_eq!(one.ok("STORE 1 -FLAGS ($Mine)").len(), 1, "it is announced once");
    let told = other.ok("NOOP");
    assert_eq!(told.len(), 1, "{told:?}");
    one.ok("STORE 1 +FLAGS.SILENT (Theirs)");
    let told = other.ok("NOOP");
    announced(&told, "Theirs");
    assert!(told[2].contains("FETCH"), "{told:?}");
    one.ok(&format!("APPEND INBOX (Brought) {{{}+}}\r\n{MESSAGE}", MESSAGE.len()));
    other.ok("NOOP");
    let fetched = other.ok("FETCH 2 FLAGS");
    announced(&fetched, "Brought");
    assert!(fetched[2].contains("Brought"), "{fetched:?}");
}

#[test]
fn a_message_is_recent_in_one_session_only() {
    let server = RunningServer::start();
    let (mut first, mut second, mut reader) = (server.imap(), server.imap(), server.imap());
    first.ok("SELECT INBOX");
    second.ok("SELECT INBOX");
    reader.ok("EXAMINE INBOX");
    server.deliver(MESSAGE);
    let status = "STATUS INBOX (RECENT)";
    assert_eq!(reader.ok("NOOP"), ["* 1 EXISTS", "* 1 RECENT"], "EXAMINE leaves it recent");
    assert_eq!(server.imap().ok(status), ["* STATUS INBOX (RECENT 1)"]);
    assert_eq!(first.ok("NOOP"), ["* 1 EXISTS", "* 1 RECENT"]);
    assert_eq!(server.imap().ok(status), ["* STATUS INBOX (RECENT 0)"]);
    assert_eq!(second.ok("NOOP"), ["* 1 EXISTS", "* 0 RECENT"]);
    assert_eq!(first.ok("FETCH 1 FLAGS"), ["* 1 FETCH (FLAGS (\\Recent))"]);
    assert_eq!(second.ok("FETCH 1 FLAGS"), ["* 1 FETCH (FLAGS ())"]);
    assert_eq!(first.ok("SEARCH RECENT"), ["* SEARCH 1"]);
    assert_eq!(second.ok("SEARCH NEW"), ["* SEARCH"]);
    assert!(server.imap().ok("SELECT INBOX").contains(&"* 0 RECENT".to_owned()));
    // An IMAP4rev2 client sees no recent messages, and claims none from others.
    let mut modern = server.imap();
    modern.ok("ENABLE IMAP4rev2");
    modern.ok("SELECT INBOX");
    server.deliver(MESSAGE);
    assert_eq!(modern.ok("NOOP"), ["* 2 EXISTS"]);
    assert_eq!(modern.ok("FETCH 2 FLAGS"), ["* 2 FETCH (FLAGS ())"]);
    assert_eq!(second.ok("NOOP"), ["* 2 EXISTS", "* 1 RECENT"]);
}

#[test]
fn reports_the_highest_mod_sequence_when_condstore_is_enabled() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.append("INBOX", MESSAGE);
    let enabling = [
        "FETCH 1 MODSEQ",
        "FETCH 1:* (FLAGS) (CHANGEDSINCE 1)",
        "UID FETCH 1 (UID MODSEQ)",
        "STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)",
        "UID STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Seen)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "SEARCH MODSEQ 1",
        "UID SEARCH RETURN (MIN) MODSEQ 1",
    ];
    for command in enabling {
        let mut imap = server.imap();
        imap.ok("SELECT INBOX");
        imap.ok("STORE 1 +FLAGS.SILENT (\\Flagged)");
        imap.ok("STORE 1 -FLAGS.SILENT (\\Flagged)");
        let highest = |responses: &[String]| -> Vec<u64> {
            let told = responses.iter().filter(|one| one.starts_with("* OK [HIGHESTMODSEQ "));
            told.map(|one| number(one, "HIGHESTMODSEQ")).collect()
        };
        let responses = imap.ok(command);
        let told = highest(&responses);
        assert_eq!(told.len(), 1, "{command}: {responses:?}");
        let fetched = imap.ok("FETCH 1 MODSEQ");
        assert_eq!(number(&fetched[0], "MODSEQ"), told[0], "{command}");
        assert!(highest(&imap.ok(command)).is_empty(), "{command} again");
        // From now on, every FETCH response includes the mod-sequence.
        assert!(imap.ok("STORE 1 +FLAGS (\\Seen)")[0].contains("MODSEQ ("));
        let silent = imap.ok("STORE 1 -FLAGS.SILENT (\\Seen)");
        assert!(silent[0].contains("MODSEQ (") && !silent[0].contains("FLAGS ("), "{silent:?}");
        server.imap().ok("SELECT INBOX");
        let mut other = server.imap();
        other.ok("SELECT INBOX");
        other.ok("STORE 1 +FLAGS (\\Answered)");
        other.ok("STORE 1 -FLAGS (\\Answered)");
        assert!(imap.ok("NOOP")[0].contains("MODSEQ ("));
    }
    let mut imap = server.imap();
    let selected = imap.ok("SELECT INBOX (CONDSTORE)");
    assert_eq!(selected.iter().filter(|one| one.contains("HIGHESTMODSEQ")).count(), 1);
}

#[test]
fn a_conditional_store_skips_changed_messages() {
    let server = RunningServer::start();
    let mut imap = filled(&server, 4);
    let modseq = number(&imap.ok("FETCH 4 MODSEQ")[1], "MODSEQ");
    let (untagged, answer) = imap.command("STORE 1:4 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)");
    assert!(untagged.is_empty() && answer.starts_with("OK [MODIFIED 1:4] "), "{untagged:?} {answer}");
    imap.ok("STORE 2 +FLAGS.SILENT (\\Flagged)");
    let command = format!("UID STORE 1:9 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)");
    let (untagged, answer) = imap.command(&command);
    assert!(answer.starts_with("OK [MODIFIED 2] "), "{answer}");
    let told: Vec<_> = untagged.iter().map(|one| one.contains("MODSEQ (")).collect();
    assert_eq!(told, [true; 3], "{untagged:?}");
}

#[test]
fn reports_a_large_store_in_pages_to_all_sessions() {
    let server = RunningServer::start();
    let count = 700;
    let mut imap = filled(&server, count);
    let mut idle = server.imap();
    idle.ok("SELECT INBOX");
    idle.send("t IDLE");
    assert!(idle.line().starts_with("+ "));
    let keywords: Vec<String> = (0..25).map(|n| format!("keyword-{n:0>60}")).collect();
    let command = format!("STORE 1:* +FLAGS ({})", keywords.join(" "));
    let stored = imap.ok(&command);
    let fetches = |responses: &[String]| {
        let numbers = responses.iter().filter(|one| one.contains(" FETCH (")).map(|one| number(one, "* "));
        numbers.collect::<Vec<_>>()
    };
    let all: Vec<u64> = (1..=u64::from(count)).collect();
    assert_eq!(fetches(&stored), all);
    assert!(stored.last().unwrap().contains(keywords.last().unwrap()));
    assert_eq!(imap.ok("NOOP"), Vec::<String>::new(), "a session's own change is not reported again");
    // Message 1 changes while the idle client has not read the earlier responses.
    imap.ok("STORE 1 FLAGS (\\Seen)");
    let mut told = Vec::new();
    loop {
        let line = idle.line();
        if line.contains(" FETCH (") && line.starts_with("* 1 ") && line.contains("\\Seen") {
            break;
        }
        told.push(line);
    }
    let mut numbers = fetches(&told);
    // The earlier change of message 1 may be reported together with this one.
    numbers.push(1);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, all);
    idle.send("DONE");
    assert!(idle.answer().1.starts_with("OK "));
}

#[test]
fn a_failed_copy_leaves_no_messages() {
    let server = RunningServer::start();
    let count = 600;
    let mut imap = filled(&server, count);
    imap.append("Archive", MESSAGE);
    imap.ok("SELECT Archive");
    // The destination has no room for another keyword.
    for set in 0..3 {
        let keywords: Vec<String> = (0..95).map(|n| format!("{set}-{n}-{}", "k".repeat(235))).collect();
        let stored = imap.command(&format!("STORE 1 FLAGS.SILENT ({})", keywords.join(" "))).1;
        assert_eq!(stored.starts_with("NO [LIMIT] "), set == 2, "{stored}");
    }
    for filler in 0..100 {
        if imap.command(&format!("STORE 1 FLAGS.SILENT ({filler}{})", "f".repeat(240))).1.starts_with("NO") {
            break;
        }
    }
    imap.ok("SELECT INBOX");
    imap.ok(&format!("STORE {count} +FLAGS.SILENT ({})", "x".repeat(250)));
    let answer = imap.command("COPY 1:* Archive").1;
    assert!(answer.starts_with("NO [LIMIT] "), "{answer}");
    assert_eq!(imap.ok("STATUS Archive (MESSAGES)"), ["* STATUS Archive (MESSAGES 1)"]);
    // A MOVE leaves each message in one of the mailboxes, and reports where.
    let (untagged, answer) = imap.command("MOVE 1:* Archive");
    assert!(answer.starts_with("NO [LIMIT] "), "{answer}");
    assert!(untagged[0].starts_with("* OK [COPYUID ") && untagged[0].contains(" 1:500 "), "{}", untagged[0]);
    assert_eq!(untagged[1..].iter().filter(|one| *one == "* 1 EXPUNGE").count(), 500);
    assert_eq!(imap.ok("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 100)"]);
    assert_eq!(imap.ok("STATUS Archive (MESSAGES)"), ["* STATUS Archive (MESSAGES 501)"]);
}

#[test]
fn a_copy_by_a_client_that_disconnects_leaves_no_messages() {
    let server = RunningServer::start();
    let mut leaving = filled(&server, 2_048);
    let mut imap = server.imap();
    let mut copied = |until: &dyn Fn(u64, u64) -> bool| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let status = imap.ok("STATUS Archive (MESSAGES UIDNEXT)").concat();
            if until(number(&status, "MESSAGES"), number(&status, "UIDNEXT")) {
                break;
            }
            assert!(std::time::Instant::now() < end, "{status}");
        }
    };
    leaving.send("t COPY 1:* Archive");
    copied(&|_, uid_next| uid_next > 1);
    drop(leaving);
    // If the copy completed before the disconnect was noticed, the copies stay.
    copied(&|messages, _| messages == 0 || messages == 2_048);
}

#[test]
fn expunges_moves_and_deletes_many_messages_in_slices() {
    let server = RunningServer::start();
    let count = 1_100;
    let mut imap = filled(&server, count);
    let mut other = server.imap();
    other.ok("SELECT INBOX");
    assert!(imap.command("COPY 1:* Archive").1.contains(" 1:1100 1:1100] "));
    let moved = imap.ok("MOVE 1:550 Trash");
    assert!(moved[0].starts_with("* OK [COPYUID ") && moved[0].contains(" 1:550 1:550] "), "{}", moved[0]);
    assert_eq!(moved.len(), 551);
    assert_eq!(moved[1..].iter().filter(|one| *one == "* 1 EXPUNGE").count(), 550);
    imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
    assert_eq!(imap.ok("EXPUNGE").len(), 550);
    assert_eq!(other.ok("NOOP").iter().filter(|one| one.ends_with(" EXPUNGE")).count(), 1_100);
    assert_eq!(other.ok("NOOP"), Vec::<String>::new());
    other.ok("SELECT Archive");
    imap.ok("DELETE Archive");
    assert_eq!(other.ok("NOOP").iter().filter(|one| one.ends_with(" EXPUNGE")).count(), 1_100);
    assert!(imap.command("STATUS Archive (MESSAGES)").1.starts_with("NO [NONEXISTENT] "));
    imap.ok("SELECT Trash");
    imap.ok("COPY 1:* INBOX");
    imap.ok("RENAME inbox Old");
    assert_eq!(imap.ok("STATUS Old (MESSAGES)"), ["* STATUS Old (MESSAGES 550)"]);
    assert_eq!(imap.ok("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 0)"]);
}

#[test]
fn removes_the_copies_of_an_interrupted_copy_at_startup() {
    let directory = tempfile::tempdir().unwrap();
    let messages = |name: &str| {
        let store = SqliteStore::open(directory.path()).unwrap();
        let account = store.account("ann").unwrap().unwrap().id;
        let mailbox = store.mailbox(account, name).unwrap().id;
        store.status(mailbox).unwrap().messages
    };
    {
        let store = SqliteStore::open(directory.path()).unwrap();
        let account = store.create_account("ann", b"secret").unwrap().id;
        let [inbox, archive] = ["INBOX", "Archive"].map(|name| store.mailbox(account, name).unwrap().id);
        for _ in 0..5 {
            let upload = store.upload().unwrap();
            let target =
                Target { mailbox: inbox, flags: Flags::new(), internal_date: InternalDate::default() };
            store.append(Delivery { upload, targets: vec![target] }).unwrap();
        }
        let part = store.copy_part(inbox, &UidSet::all(), archive, 2, None).unwrap();
        store.copy_part(inbox, &UidSet::all().starting_at(3), archive, 2, part.unfinished).unwrap();
    }
    assert_eq!(messages("Archive"), 4);
    drop(Server::start(&arguments(directory.path(), &[]), &log()).unwrap());
    assert_eq!((messages("Archive"), messages("INBOX")), (0, 5));
}
