//! What `sync` has fetched is read, searched and exported without the server, and followed with `--watch`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A port that passes connections on to another one. Counts the bytes that come back.
fn counting_relay(to: std::net::SocketAddr) -> (u16, Arc<AtomicU64>) {
    let (listener, counted) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicU64::new(0)));
    let (port, counter) = (listener.local_addr().unwrap().port(), Arc::clone(&counted));
    std::thread::spawn(move || {
        for outside in listener.incoming() {
            let (mut outside, mut inside) = (outside.unwrap(), TcpStream::connect(to).unwrap());
            let (mut from, mut back) = (outside.try_clone().unwrap(), inside.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut inside);
                let _ = inside.shutdown(Shutdown::Write);
            });
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(length @ 1..) = back.read(&mut buffer) {
                    counter.fetch_add(length as u64, Ordering::SeqCst);
                    if outside.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = outside.shutdown(Shutdown::Write);
            });
        }
    });
    (port, counted)
}

#[test]
fn compresses_what_is_sent_if_it_is_asked_to() {
    let served = filled(&[]);
    let text = "The same line again and again.\n".repeat(10_000);
    let mailbox = served.mailbox();
    let send =
        ["send", &served.url("smtps"), "--from", "ann@example.com", "--to", &mailbox, "--subject", "Long"];
    served.run(&[&send[..], &["--text", &text[..100_000]]].concat(), b"").expect(0);
    let [plain, compressed] = [&[][..], &["--compress"]].map(|more| {
        let (port, counted) = counting_relay(served.address("imaps"));
        let kept = folder();
        let url = served.url("imaps");
        let url = format!("{}:{port}", url.rsplit_once(':').unwrap().0);
        let into = kept.path().join("store");
        let arguments = [&["sync", &url, "--into", into.to_str().unwrap()], more].concat();
        served.run(&arguments, b"").expect(0).shows(&["INBOX: 1 new"]);
        let raw = read(&into, &["show", "INBOX", "1", "--raw"]).expect(0).out;
        assert!(raw.len() > 100_000);
        counted.load(Ordering::SeqCst)
    });
    assert!(plain > 100_000 && compressed < 20_000, "{plain} and {compressed} bytes");
}

/// Syncs one message that is as the server says, with these flags.
fn synced(flags: &'static str, message: String) -> (tempfile::TempDir, PathBuf) {
    let server = imap_server("* OK [CAPABILITY IMAP4rev1] hi\r\n", move |tag, command| {
        let data = match command {
            list if list.starts_with("LIST") => "* LIST () \"/\" INBOX\r\n".to_owned(),
            open if open.starts_with("EXAMINE") => "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n".to_owned(),
            fetch if fetch.contains("BODY.PEEK") => {
                format!("* 1 FETCH (UID 1 FLAGS ({flags}) BODY[] {{{}}}\r\n{message})\r\n", message.len())
            }
            fetch if fetch.contains("FETCH") => format!("* 1 FETCH (UID 1 FLAGS ({flags}))\r\n"),
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
    (kept, store)
}

#[test]
fn shows_html_as_text_and_parts_by_number() {
    let html = "<html><head><style>p{}</style></head><body><h1>Offer &amp; more</h1><p>One<br>two</p>\
                <img src=\"http://x.example/y.png\"><ul><li>a<li>b&#27;[2J</ul></body></html>";
    let message = format!(
        "Subject: h\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{html}\r\n\
         --b\r\nContent-Type: application/x; name=f.bin\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n"
    );
    let (_kept, store) = synced("", message);
    let shown = read(&store, &["show", "INBOX", "1"]).expect(0).out;
    assert!(shown.contains("Offer & more\n\nOne\ntwo\n\n* a\n* b\u{fffd}[2J\n"), "{shown}");
    assert!(shown.contains("[part 2: application/x f.bin, ") && !shown.contains("y.png"), "{shown}");
    assert_eq!(read(&store, &["show", "INBOX", "1", "--part", "2"]).expect(0).out, "hello");
    assert!(read(&store, &["show", "INBOX", "1", "--part", "1"]).expect(0).out.contains("<h1>Offer"));
    read(&store, &["show", "INBOX", "1", "--part", "3"]).expect(65).shows(&["no part 3"]);
}

#[test]
fn exports_keep_flags_and_keywords() {
    let (kept, store) = synced("\\Seen \\Flagged Work $Forwarded", "Subject: f\r\n\r\ntext\r\n".to_owned());
    for _ in 0..2 {
        for format in ["maildir", "mbox", "eml"] {
            read(&store, &["export", format, kept.path().join(format).to_str().unwrap()]).expect(0);
        }
    }
    let maildir = relative_files(&kept.path().join("maildir/INBOX"));
    assert_eq!(maildir.len(), 2, "{maildir:?}");
    let is_named = |path: &PathBuf| path.to_str().unwrap().ends_with(":2,FSab");
    assert!(maildir.iter().any(is_named), "{maildir:?}");
    let keywords = fs::read_to_string(kept.path().join("maildir/INBOX/dovecot-keywords")).unwrap();
    let mut names: Vec<&str> = keywords.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    names.sort_unstable();
    assert_eq!((names, keywords.starts_with("0 ")), (vec!["$Forwarded", "Work"], true));
    let eml = files(&kept.path().join("eml/INBOX"));
    let eml = fs::read_to_string(&eml[0]).unwrap();
    let mbox = fs::read_to_string(kept.path().join("mbox/INBOX.mbox")).unwrap();
    for exported in [&eml, &mbox.replace('\n', "\r\n")] {
        assert!(exported.contains("Status: RO\r\nX-Status: F\r\nX-Keywords: "), "{exported}");
        assert!(exported.contains("Subject: f\r\n\r\ntext\r\n"), "{exported}");
    }
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
