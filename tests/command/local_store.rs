//! What `sync` has fetched is read, searched and exported without the server, and followed with `--watch`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{CommandOutput, RunningServer, command, exit_code, files, folder, imap_server, run};

/// A server whose INBOX has these messages, by subject.
fn filled(subjects: &[&str]) -> RunningServer {
    let served = RunningServer::start(&[]);
    subjects.iter().for_each(|subject| deliver(&served, subject));
    served
}

fn deliver(served: &RunningServer, subject: &str) {
    let mailbox = served.mailbox();
    let text = format!("Text of {subject}\nFrom the start");
    let arguments =
        ["send", &served.url("smtps"), "--from", "ann@example.com", "--to", &mailbox, "--subject", subject];
    served.run(&[&arguments[..], &["--text", &text]].concat(), b"").expect(0);
}

fn sync(served: &RunningServer, into: &Path, more: &[&str]) -> CommandOutput {
    let url = served.url("imaps");
    served.run(&[&["sync", &url, "--into", into.to_str().unwrap()], more].concat(), b"")
}

/// Runs a command that reads the store.
fn read(store: &Path, arguments: &[&str]) -> CommandOutput {
    run(&[arguments, &["--from", store.to_str().unwrap()]].concat(), "")
}

fn lines(output: &CommandOutput) -> Vec<Value> {
    output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All files below a directory, relative to it.
fn relative_files(directory: &Path) -> BTreeSet<PathBuf> {
    files(directory).iter().map(|path| path.strip_prefix(directory).unwrap().to_owned()).collect()
}

#[test]
fn lists_shows_and_searches_without_the_server() {
    let served = filled(&["Invoice 17", "Grüße aus Köln", "Lunch"]);
    let kept = folder();
    let store = kept.path().join("store");
    sync(&served, &store, &[]).expect(0).shows(&["INBOX: 3 new"]);
    drop(served);
    let folders = lines(&read(&store, &["list", "--json"]).expect(0));
    let inbox = folders.iter().find(|line| line["folder"] == "INBOX").unwrap();
    assert_eq!((&inbox["messages"], &inbox["unseen"]), (&3.into(), &3.into()));
    let messages = lines(&read(&store, &["list", "INBOX", "--json"]).expect(0));
    assert_eq!(messages.len(), 3);
    assert_eq!((&messages[1]["uid"], &messages[1]["subject"]), (&2.into(), &"Grüße aus Köln".into()));
    assert_eq!(messages[0]["from"][0], "ann@example.com");
    read(&store, &["list", "INBOX"]).expect(0).shows(&["N", "ann@example.com  Lunch"]);
    read(&store, &["show", "INBOX", "2"])
        .expect(0)
        .shows(&["Subject: Grüße aus Köln", "Text of Grüße aus Köln"]);
    let raw = read(&store, &["show", "INBOX", "3", "--raw"]).expect(0).out;
    assert!(raw.contains("Subject: Lunch\r\n") && raw.contains("Text of Lunch\r\n"), "{raw}");
    let shown = read(&store, &["show", "INBOX", "1", "--json"]).expect(0).json();
    assert!(shown["parts"][0]["text"].as_str().unwrap().starts_with("Text of Invoice 17"), "{shown}");
    for (arguments, uids) in [
        (&["invoice", "TEXT"][..], &[1][..]),
        (&["text"], &[1, 2, 3]),
        (&["köln"], &[2]),
        (&["absent"], &[]),
        (&["--keys", "SUBJECT \"Lunch\" UNSEEN"], &[3]),
        (&["--keys", "NOT FROM ann"], &[]),
        (&["text", "--keys", "UID 2:3", "--folder", "INBOX"], &[2, 3]),
    ] {
        let found = lines(&read(&store, &[&["search", "--json"], arguments].concat()).expect(0));
        let found: Vec<u64> = found.iter().map(|line| line["uid"].as_u64().unwrap()).collect();
        assert_eq!(found, uids, "{arguments:?}");
    }
    read(&store, &["search", "--keys", "FROM"]).expect(64).shows(&["--keys", "try"]);
    read(&store, &["show", "INBOX", "9"]).expect(65).shows(&["no message with UID 9"]);
    read(&store, &["list", "Absent"]).expect(65).shows(&["there is no folder Absent"]);
    read(&store, &["list", "--account", "other@x"]).expect(65);
    read(&kept.path().join("none"), &["list"]).expect(65).shows(&["has no store"]);
    assert!(!kept.path().join("none").exists());
}

#[test]
fn exports_each_message_once_in_each_format() {
    let served = filled(&["One", "Two"]);
    let kept = folder();
    let store = kept.path().join("store");
    sync(&served, &store, &[]).expect(0);
    let mut before = Vec::new();
    for round in 0..2 {
        for format in ["maildir", "mbox", "eml"] {
            let out = kept.path().join(format);
            let done = read(&store, &["export", format, out.to_str().unwrap(), "--json"]).expect(0);
            let inbox = lines(&done).into_iter().find(|line| line["folder"] == "INBOX").unwrap();
            let is_new = round == 0 || format == "mbox";
            assert_eq!(inbox["written"], if is_new { 2 } else { 0 }, "{format}");
            before.push(relative_files(&out));
        }
    }
    assert_eq!(before[..3], before[3..], "the second export adds no file");
    let raw = read(&store, &["show", "INBOX", "1", "--raw"]).expect(0).out;
    for (at, within) in [(0, "INBOX/cur"), (2, "INBOX")] {
        let name = before[at].iter().find(|path| path.starts_with(within)).unwrap();
        let exported =
            fs::read_to_string(kept.path().join(["maildir", "mbox", "eml"][at]).join(name)).unwrap();
        assert_eq!(exported, raw);
        assert_eq!(before[at].iter().filter(|path| path.starts_with(within)).count(), 2);
    }
    let mbox = fs::read_to_string(kept.path().join("mbox/INBOX.mbox")).unwrap();
    assert_eq!(mbox.lines().filter(|line| line.starts_with("From ")).count(), 2, "{mbox}");
    assert_eq!(mbox.lines().filter(|line| *line == ">From the start").count(), 2, "{mbox}");
}

#[test]
fn no_name_of_a_server_leaves_the_directory_or_controls_the_terminal() {
    let message = "Subject: a\x1b[2Jb\r\n\r\nc\x1b[31md\r\n";
    let server = imap_server("* OK [CAPABILITY IMAP4rev1] hi\r\n", move |tag, command| {
        let data = match command {
            list if list.starts_with("LIST") => {
                "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"../../outside\"\r\n* LIST () \"/\" \"/tmp/x\"\r\n\
                 * LIST () \"/\" \"INBOX/cur\"\r\n* LIST () \".\" \"a/../../b\"\r\n"
                    .to_owned()
            }
            open if open.starts_with("EXAMINE") => "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n".to_owned(),
            fetch if fetch.contains("BODY.PEEK") => {
                format!("* 1 FETCH (UID 1 FLAGS () BODY[] {{{}}}\r\n{message})\r\n", message.len())
            }
            fetch if fetch.contains("FETCH") => "* 1 FETCH (UID 1 FLAGS ())\r\n".to_owned(),
            "CAPABILITY" => "* CAPABILITY IMAP4rev1\r\n".to_owned(),
            _ => String::new(),
        };
        format!("{data}{tag} OK done\r\n")
    });
    let kept = folder();
    let store = kept.path().join("store");
    let url = format!("imap://alice@localhost:{}", server.port);
    let options = ["--danger-cleartext", "--danger-cleartext-login", "--into", store.to_str().unwrap()];
    run(&[&["sync", &url][..], &options].concat(), "secret").expect(0);
    for command in [&["list"][..], &["list", "INBOX"], &["show", "INBOX", "1"], &["search", "d"]] {
        let shown = read(&store, command).expect(0).shown;
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
    for format in ["maildir", "mbox", "eml"] {
        let out = kept.path().join("a/b/c").join(format);
        read(&store, &["export", format, out.to_str().unwrap()]).expect(0);
        assert!(files(&out).len() >= 5, "{:?}", files(&out));
    }
    let outside: Vec<_> = relative_files(kept.path())
        .into_iter()
        .filter(|path| !path.starts_with("store") && !path.starts_with("a/b/c"))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn a_dry_run_creates_nothing() {
    let served = filled(&["One"]);
    let kept = folder();
    let store = kept.path().join("store");
    let report = sync(&served, &store, &["--dry-run", "--json"]).expect(0).json();
    assert_eq!((&report["dry_run"], &report["imported"]), (&true.into(), &0.into()));
    assert!(!store.exists());
    sync(&served, &store, &[]).expect(0);
    deliver(&served, "Two");
    sync(&served, &store, &["--dry-run"]).expect(0).shows(&["INBOX: 1 new, 1 known", "nothing was changed"]);
    assert_eq!(lines(&read(&store, &["list", "INBOX", "--json"]).expect(0)).len(), 1);
}

#[test]
fn watching_fetches_new_messages_until_a_signal_ends_it() {
    let served = filled(&["One"]);
    let kept = folder();
    let store = kept.path().join("store");
    let url = served.url("imaps");
    let arguments =
        ["sync", &url, "--into", store.to_str().unwrap(), "--ca", &served.ca, "--watch", "--compress"];
    let mut watching = command(&arguments, served.password).spawn().unwrap();
    for count in 1..=3 {
        if count > 1 {
            deliver(&served, "Another");
        }
        let begun = Instant::now();
        let fetched = || match store.join("mail.db").exists() {
            true => lines(&run(&["list", "INBOX", "--json", "--from", store.to_str().unwrap()], "")).len(),
            false => 0,
        };
        while fetched() != count {
            assert!(begun.elapsed() < Duration::from_secs(60), "message {count} does not come");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let process = rustix::process::Pid::from_child(&watching);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert_eq!(exit_code(&mut watching, Duration::from_secs(10)), 0);
}
