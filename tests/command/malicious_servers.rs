//! Servers that attack the user of the command. Each lies in one way; the tests check what `folders`, `check`, `sync`
//! and `send` do about it, as seen from outside. TLS is left out, since a lying server may well have a valid
//! certificate; attacks on TLS are in `io-mio/tests/tls.rs` and in the interop suite `attacker`.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{CommandOutput, ScriptedServer, folder, imap_server, run, run_with, smtp_server};

const SECRET: &str = "pW3-vvNh7-aaQk";
/// Options that allow cleartext and a login on it.
const CLEAR: [&str; 2] = ["--danger-cleartext", "--danger-cleartext-login"];
const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n";

/// How an honest server with one message answers a command.
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

/// A server that is honest except in its answer to commands that begin with `to`.
fn lying(to: &'static str, lie: impl Fn(&str) -> String + Send + Sync + 'static) -> ScriptedServer {
    imap_server(GREETING, move |tag, command| match command.starts_with(to) {
        true => lie(tag),
        false => honest(tag, command),
    })
}

fn imap(server: &ScriptedServer, command: &str, more: &[&str]) -> CommandOutput {
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&[&[command, &url, "--timeout", "2"], &CLEAR[..], more].concat(), SECRET)
}

fn send(server: &ScriptedServer, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://localhost:{}", server.port);
    let send = ["send", &url, "--from", "a@b.example", "--to", "c@d.example", "--attempts", "1"];
    run_with(&[&send, &CLEAR[..1], more].concat(), SECRET, b"Subject: x\r\n\r\nbody\r\n")
}

/// The result of a sync into a new store from an honest server.
fn synced(done: &CommandOutput) -> (Value, u64, u64) {
    let report = done.json();
    (report["status"].clone(), report["imported"].as_u64().unwrap(), report["failed"].as_u64().unwrap())
}

fn sync(server: &ScriptedServer) -> CommandOutput {
    let kept = folder();
    imap(server, "sync", &["--json", "--into", kept.path().join("store").to_str().unwrap()])
}

/// Runs the cases in parallel, since they mostly wait.
pub(crate) fn at_once<T: Copy + Send + Sync>(cases: &[T], case: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for &each in cases {
            let case = &case;
            scope.spawn(move || case(each));
        }
    });
}

/// The output has no terminal control sequence and no forged line.
fn is_harmless(done: &CommandOutput) {
    let bad = |char: &char| (char.is_control() && *char != '\n') || matches!(char, '\u{202a}'..='\u{202e}');
    assert_eq!(done.shown.chars().find(bad), None, "{:?}", done.shown);
    assert!(
        !done.shown.lines().any(|line| line.contains("forged") && line.starts_with("ok")),
        "{}",
        done.shown
    );
}

#[test]
fn server_text_cannot_control_the_terminal_or_forge_a_line() {
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
fn stops_reading_from_an_endless_server() {
    // Each line would count as progress if every line did.
    let cases = [
        ("check", "* OK still here\r\n", "CAPABILITY"),
        ("check", "* 3 EXISTS\r\n", "LOGIN"),
        ("folders", "* STATUS x (MESSAGES 1)\r\n", "LIST"),
        ("sync", "* 1 EXPUNGE\r\n", "EXAMINE"),
    ];
    at_once(&cases, |(command, chatter, begun)| {
        let server = ScriptedServer::at_once(move |peer| {
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
        done.shows(&["only unrequested data"]);
    });
}

#[test]
fn stops_reading_from_an_endless_server_before_tls() {
    let server = ScriptedServer::at_once(|peer| {
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
fn limits_an_endless_folder_list() {
    let server = lying("LIST", |tag| {
        let folders: String = (0..100_001).map(|number| format!("* LIST () \"/\" f{number}\r\n")).collect();
        folders + tag + " OK done\r\n"
    });
    imap(&server, "folders", &[]).expect(76).shows(&["more than 100000 folders"]);
}

#[test]
fn skips_a_folder_with_a_malicious_name() {
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
        done.expect(69).shows(&["INBOX", "1 folders could not be stored"]);
    }
}

#[test]
fn a_folder_named_like_a_path_stays_inside_the_store() {
    let server = lying("LIST", |tag| {
        format!("* LIST () \"/\" \"../../outside\"\r\n* LIST () \"/\" \"/etc/outside\"\r\n{tag} OK done\r\n")
    });
    let kept = folder();
    let into = kept.path().join("a/b/store");
    std::fs::create_dir_all(&into).unwrap();
    imap(&server, "sync", &["--into", into.to_str().unwrap()]).expect(0);
    let files = crate::harness::files(kept.path());
    assert!(!files.is_empty() && files.iter().all(|file| file.starts_with(&into)), "{files:?}");
    assert!(files.iter().all(|file| !file.to_string_lossy().contains("outside")), "{files:?}");
}

#[test]
fn keeps_only_requested_messages_and_each_once() {
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
    // An endless stream of messages that were not requested ends the run.
    let server = lying("UID FETCH 1 ", move |tag| message(7, "other").repeat(1100) + tag + " OK\r\n");
    sync(&server).expect(76).shows(&["messages that the client did not request"]);
    let server = lying("UID FETCH 1:*", |tag| {
        let uids: String = (1..5000).map(|uid| format!("* 1 FETCH (UID {uid})\r\n")).collect();
        uids + tag + " OK\r\n"
    });
    sync(&server).expect(76).shows(&["counts 1 messages"]);
}

#[test]
fn reports_a_missing_message_as_failed() {
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
        // The client knows the UID of the message it asked for.
        let named = if to == "UID FETCH 1 " { "UID 1 " } else { "did not arrive" };
        let done = sync(&server).expect(69).shows(&["did not arrive", named]);
        assert_eq!(synced(&done), ("partial".into(), 0, failed), "{to} {lie:?}");
    });
    // A message that was expunged meanwhile is not an error.
    let server = lying("UID FETCH 1 ", |tag| format!("* 1 EXPUNGE\r\n{tag} OK done\r\n"));
    assert_eq!(synced(&sync(&server).expect(0)), ("success".into(), 0, 0));
}

#[test]
fn discards_uids_when_uidvalidity_changes_midway() {
    let server = lying("UID FETCH 1:*", |tag| {
        format!("* OK [UIDVALIDITY 8] anew\r\n* 1 FETCH (UID 1)\r\n{tag} OK done\r\n")
    });
    let done = sync(&server).expect(69).shows(&["UIDVALIDITY"]);
    assert_eq!(synced(&done).1, 0);
}

#[test]
fn rejects_replies_that_arrive_before_their_command() {
    // All replies at once, before any command; and an acceptance before the end of the message. The last message may
    // have been accepted, since all of it was sent.
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
