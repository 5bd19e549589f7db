//! Servers that want to harm whoever reads mail with the command: each lies in one way, and what `folders`, `check`,
//! `sync` and `send` do about it is looked at from outside. TLS is left out here, since a server that lies may well
//! have a good certificate; what TLS is for is attacked in `io-mio/tests/tls.rs` and in the interop suite `attacker`.

use std::time::Duration;

use serde_json::Value;

use crate::program::{Done, Scripted, folder, imap_server, run, run_with, smtp_server};

const SECRET: &str = "pW3-vvNh7-aaQk";
/// To speak in cleartext, and to log in.
const CLEAR: [&str; 2] = ["--danger-cleartext", "--danger-cleartext-login"];
const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n";

/// What an honest server with one message says to a command.
pub(crate) fn honest(tag: &str, command: &str) -> String {
    let done = format!("{tag} OK done\r\n");
    let before = match command {
        "CAPABILITY" => "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n".to_owned(),
        list if list.starts_with("LIST") => "* LIST () \"/\" INBOX\r\n".to_owned(),
        examine if examine.starts_with("EXAMINE") => {
            "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n".to_owned()
        }
        all if all.starts_with("UID FETCH 1:*") => "* 1 FETCH (UID 1)\r\n".to_owned(),
        one if one.starts_with("UID FETCH") => {
            "* 1 FETCH (UID 1 FLAGS () BODY[] {5}\r\nhello)\r\n".to_owned()
        }
        _ => String::new(),
    };
    before + &done
}

/// A server that is honest but for its answer to commands that begin so.
fn lying(to: &'static str, lie: impl Fn(&str) -> String + Send + Sync + 'static) -> Scripted {
    imap_server(GREETING, move |tag, command| match command.starts_with(to) {
        true => lie(tag),
        false => honest(tag, command),
    })
}

fn imap(server: &Scripted, command: &str, more: &[&str]) -> Done {
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&[&[command, &url, "--timeout", "2"], &CLEAR[..], more].concat(), SECRET)
}

fn send(server: &Scripted, more: &[&str]) -> Done {
    let url = format!("smtp://localhost:{}", server.port);
    let send = ["send", &url, "--from", "a@b.example", "--to", "c@d.example", "--attempts", "1"];
    run_with(&[&send, &CLEAR[..1], more].concat(), SECRET, b"Subject: x\r\n\r\nbody\r\n")
}

/// What it came to in one store, where nothing lies.
fn synced(done: &Done) -> (Value, u64, u64) {
    let report = done.json();
    (report["status"].clone(), report["imported"].as_u64().unwrap(), report["failed"].as_u64().unwrap())
}

fn sync(server: &Scripted) -> Done {
    let kept = folder();
    imap(server, "sync", &["--json", "--into", kept.path().join("store").to_str().unwrap()])
}

/// Most of what takes time here is waiting.
pub(crate) fn at_once<T: Copy + Send + Sync>(cases: &[T], case: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for &each in cases {
            let case = &case;
            scope.spawn(move || case(each));
        }
    });
}

/// Nothing that steers a terminal, and no line that begins as ours do.
fn is_harmless(done: &Done) {
    let bad = |char: &char| (char.is_control() && *char != '\n') || matches!(char, '\u{202a}'..='\u{202e}');
    assert_eq!(done.shown.chars().find(bad), None, "{:?}", done.shown);
    assert!(
        !done.shown.lines().any(|line| line.contains("forged") && line.starts_with("ok")),
        "{}",
        done.shown
    );
}

#[test]
fn what_a_server_says_can_neither_steer_the_terminal_nor_forge_a_line() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}";
    let name = format!("a{evil}\r\nok   forged");
    let server = lying("LIST", move |tag| {
        format!("* LIST () \"/\" {{{}}}\r\n{name}\r\n{tag} OK done\r\n", name.len())
    });
    for more in [&[][..], &["--json"]] {
        is_harmless(&imap(&server, "folders", more).expect(0).shows(&["forged"]));
    }
    let server = smtp_server(move |verb, _| match verb {
        "RCPT" => format!("550-no{evil}\r\n550-ok   forged\r\n550 {}\r\n", "x".repeat(400)),
        _ => "250 ok\r\n".into(),
    });
    for more in [&[][..], &["--json"], &["--timings"]] {
        is_harmless(&send(&server, more).shows(&["forged"]));
    }
}

#[test]
fn a_server_that_never_stops_talking_is_not_listened_to_for_ever() {
    // Each line would be progress, if all that is said were.
    let cases = [
        ("check", "* OK still here\r\n", "CAPABILITY"),
        ("check", "* 3 EXISTS\r\n", "LOGIN"),
        ("folders", "* STATUS x (MESSAGES 1)\r\n", "LIST"),
        ("sync", "* 1 EXPUNGE\r\n", "EXAMINE"),
    ];
    at_once(&cases, |(command, chatter, begun)| {
        let server = Scripted::at_once(move |peer| {
            peer.say(if begun == "CAPABILITY" {
                "* OK hi\r\n"
            } else {
                "* OK [CAPABILITY IMAP4rev1] hi\r\n"
            });
            while let Some(line) = peer.line() {
                let (tag, said) = line.split_once(' ').unwrap_or_default();
                if said.starts_with(begun) {
                    while peer.try_say(&chatter.repeat(50)) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    return;
                }
                peer.say(honest(tag, said));
            }
        });
        let kept = folder();
        let into = kept.path().join("store");
        let into = if command == "sync" { &["--into", into.to_str().unwrap()][..] } else { &[] };
        let url = format!("imap://alice@localhost:{}", server.port);
        let done = run(&[&[command, &url, "--timeout", "1"], &CLEAR[..], into].concat(), SECRET);
        assert!(done.code == 75 && done.took < Duration::from_secs(9), "{command} {begun}: {}", done.shown);
        done.shows(&["kept talking"]);
    });
}

#[test]
fn before_tls_nobody_is_listened_to_for_ever_either() {
    let server = Scripted::at_once(|peer| {
        peer.say("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n");
        while peer.try_say("* OK wait a moment\r\n") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    let done = run(&["check", &url, "--timeout", "1"], SECRET).expect(75);
    assert!(done.took < Duration::from_secs(8), "{:?}", done.took);
    assert!(!server.seen().received.contains(SECRET));
}

#[test]
fn a_list_without_an_end_is_ended() {
    let server = lying("LIST", |tag| {
        let folders: String = (0..100_001).map(|number| format!("* LIST () \"/\" f{number}\r\n")).collect();
        folders + tag + " OK done\r\n"
    });
    imap(&server, "folders", &[]).expect(76).shows(&["more than 100000 folders"]);
}

#[test]
fn a_folder_whose_name_is_an_attack_costs_only_itself() {
    for name in ["a\r\nM9 DELETE INBOX", "a\u{1b}[31m", ""] {
        let server = lying("LIST", move |tag| {
            format!("* LIST () \"/\" {{{}}}\r\n{name}\r\n{}", name.len(), honest(tag, "LIST"))
        });
        let done = sync(&server).expect(69);
        assert_eq!(synced(&done), ("partial".into(), 1, 0), "{name:?}");
        let seen = server.seen().received;
        assert!(!seen.contains("DELETE") && !seen.contains('\u{1b}'), "{seen:?}");
        let kept = folder();
        let done = imap(&server, "folders", &["--into", kept.path().join("store").to_str().unwrap()]);
        done.expect(69).shows(&["INBOX", "1 folders could not be kept"]);
    }
}

#[test]
fn a_folder_that_names_a_path_stays_inside_the_store() {
    let server = lying("LIST", |tag| {
        format!("* LIST () \"/\" \"../../outside\"\r\n* LIST () \"/\" \"/etc/outside\"\r\n{tag} OK done\r\n")
    });
    let kept = folder();
    let into = kept.path().join("a/b/store");
    std::fs::create_dir_all(&into).unwrap();
    imap(&server, "sync", &["--into", into.to_str().unwrap()]).expect(0);
    let files = crate::program::files(kept.path());
    assert!(!files.is_empty() && files.iter().all(|file| file.starts_with(&into)), "{files:?}");
    assert!(files.iter().all(|file| !file.to_string_lossy().contains("outside")), "{files:?}");
}

#[test]
fn only_messages_that_were_asked_for_are_kept_and_each_once() {
    let message = |uid: u32, text: &str| format!("* 1 FETCH (UID {uid} BODY[] {{5}}\r\n{text})\r\n");
    let body = move |tag: &str| {
        message(7, "other")
            + &message(1, "first")
            + &message(1, "again")
            + &message(8, "other")
            + tag
            + " OK\r\n"
    };
    let server = lying("UID FETCH 1 ", body);
    assert_eq!(synced(&sync(&server).expect(0)), ("success".into(), 1, 0));
    // Without an end it is a lie that ends the run.
    let server = lying("UID FETCH 1 ", move |tag| message(7, "other").repeat(1100) + tag + " OK\r\n");
    sync(&server).expect(76).shows(&["not requested"]);
    let server = lying("UID FETCH 1:*", |tag| {
        let uids: String = (1..5000).map(|uid| format!("* 1 FETCH (UID {uid})\r\n")).collect();
        uids + tag + " OK\r\n"
    });
    sync(&server).expect(76).shows(&["said that it has 1 messages"]);
}

#[test]
fn a_message_that_does_not_come_is_no_success() {
    let lies: [(&str, &str, u64); 8] = [
        ("UID FETCH 1:*", "", 1),
        ("UID FETCH 1:*", "* 1 FETCH (UID 0)\r\n", 1),
        ("UID FETCH 1:*", "* 1 FETCH (UID 4294967296)\r\n", 1),
        ("UID FETCH 1:*", "* 1 FETCH (FLAGS ())\r\n", 1),
        ("UID FETCH 1 ", "", 1),
        ("UID FETCH 1 ", "* 1 FETCH (UID 1 BODY[] NIL)\r\n", 1),
        ("UID FETCH 1 ", "* 1 FETCH (UID 1 BODY[HEADER] {5}\r\nhello)\r\n", 1),
        ("UID FETCH 1 ", "* 1 FETCH (UID 1 BODY[]<2> {3}\r\nllo)\r\n", 1),
    ];
    at_once(&lies, |(to, lie, failed)| {
        let server = lying(to, move |tag| format!("{lie}{tag} OK done\r\n"));
        // The UID is known where the message was asked for.
        let named = if to == "UID FETCH 1 " { "UID 1 " } else { "did not come" };
        let done = sync(&server).expect(69).shows(&["did not come", named]);
        assert_eq!(synced(&done), ("partial".into(), 0, failed), "{to} {lie:?}");
    });
    // But a message that somebody removed meanwhile is missed by nobody.
    let server = lying("UID FETCH 1 ", |tag| format!("* 1 EXPUNGE\r\n{tag} OK done\r\n"));
    assert_eq!(synced(&sync(&server).expect(0)), ("success".into(), 0, 0));
}

#[test]
fn uids_that_change_their_meaning_meanwhile_are_not_believed() {
    let server = lying("UID FETCH 1:*", |tag| {
        format!("* OK [UIDVALIDITY 8] anew\r\n* 1 FETCH (UID 1)\r\n{tag} OK done\r\n")
    });
    let done = sync(&server).expect(69).shows(&["UIDVALIDITY"]);
    assert_eq!(synced(&done).1, 0);
}

#[test]
fn a_reply_before_its_time_is_no_success() {
    // Everything at once, before it was asked for; and a message that is taken before it has ended.
    // The last one may have been taken, since all of it was sent.
    for (verb, lie, code) in [
        ("MAIL", "250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n221 bye\r\n", 75),
        ("RCPT", "250 ok\r\n250 taken\r\n", 75),
        ("DATA", "354 go on\r\n", 70),
    ] {
        let server = smtp_server(move |said, _| if said == verb { lie.into() } else { "250 ok\r\n".into() });
        let done = send(&server, &[]);
        assert!(done.code == code && !done.out.contains("ok "), "{verb} {lie:?}: {}", done.shown);
    }
}
