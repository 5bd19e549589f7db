//! A folder or message that a server refuses, breaks on or never sends costs itself only, and names come back as they
//! were written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::program::{Done, Peer, Scripted, Served, command, folder, run};

const SECRET: &str = "pW3-vvNh7-aaQk";
const CLEAR: [&str; 2] = ["--danger-cleartext", "--danger-cleartext-login"];

/// What a server does instead of its answer.
enum Instead {
    Answer,
    Say(String),
    Close,
    /// Says this, and nothing more for as long as the client waits.
    Hang(String),
}

type Misbehave = dyn Fn(&str, &str, &str) -> Instead + Send + Sync;

/// A mail server with folders, as LIST writes them, and the number of messages in each.
struct Mail {
    folders: Vec<(&'static str, u32)>,
    capabilities: &'static str,
    uid_next: &'static str,
    /// Asked for each command: the folder that is open, the tag and the command.
    instead: Box<Misbehave>,
}

impl Mail {
    fn of(folders: &[(&'static str, u32)]) -> Self {
        let instead = Box::new(|_: &str, _: &str, _: &str| Instead::Answer);
        Self { folders: folders.to_vec(), capabilities: "", uid_next: "", instead }
    }

    fn instead(mut self, instead: impl Fn(&str, &str, &str) -> Instead + Send + Sync + 'static) -> Self {
        self.instead = Box::new(instead);
        self
    }

    /// What EXAMINE says of the next UID.
    fn uid_next(mut self, next: &'static str) -> Self {
        self.uid_next = next;
        self
    }

    fn start(self) -> Scripted {
        Scripted::at_once(move |peer| self.serve(peer))
    }

    fn serve(&self, peer: &mut Peer) {
        let capabilities = format!("IMAP4rev1 AUTH=PLAIN SASL-IR {}", self.capabilities);
        peer.say(format!("* OK [CAPABILITY {}] hi\r\n", capabilities.trim_end()));
        let mut open = String::new();
        while let Some(mut line) = peer.line() {
            // A literal: the rest comes when it is asked for.
            while let Some(at) = line.rfind('{').filter(|_| line.ends_with('}')) {
                peer.say("+ go on\r\n");
                let Some(more) = peer.line() else { return };
                line = format!("{}\"{more}\"", &line[..at]);
            }
            let Some((tag, said)) = line.split_once(' ') else { return };
            match (self.instead)(&open, tag, said) {
                Instead::Answer => {}
                Instead::Say(text) => {
                    peer.say(text);
                    continue;
                }
                Instead::Close => return,
                Instead::Hang(text) => {
                    peer.say(text);
                    while peer.line().is_some() {}
                    return;
                }
            }
            peer.say(self.answer(&mut open, tag, said, &capabilities));
        }
    }

    fn answer(&self, open: &mut String, tag: &str, said: &str, capabilities: &str) -> String {
        let count = |name: &str| {
            let bare = |name: &str| name.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\");
            let is_it = |listed: &str| bare(listed) == bare(name) || (name == "INBOX" && listed == "inbox");
            self.folders.iter().find(|(listed, _)| is_it(listed)).map(|(_, count)| *count)
        };
        let mut answer = String::new();
        if said.starts_with("CAPABILITY") {
            answer = format!("* CAPABILITY {capabilities}\r\n");
        } else if said.starts_with("LIST") {
            answer = self.folders.iter().map(|(name, _)| format!("* LIST () \"/\" {name}\r\n")).collect();
        } else if let Some(name) = said.strip_prefix("EXAMINE ") {
            let Some(count) = count(name) else { return format!("{tag} NO no such folder\r\n") };
            *open = name.to_owned();
            answer = format!("* {count} EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n");
            if !self.uid_next.is_empty() {
                answer += &format!("* OK [UIDNEXT {}] next\r\n", self.uid_next);
            }
        } else if let Some(rest) = said.strip_prefix("UID FETCH ") {
            let (uids, items) = rest.split_once(' ').unwrap();
            for uid in set(uids, count(open).unwrap_or(0)) {
                answer += &match items.contains("BODY") {
                    true => message(open, uid),
                    false => format!("* {uid} FETCH (UID {uid})\r\n"),
                };
            }
        } else if let Some(uids) = said.strip_prefix("UID SEARCH ") {
            let found: Vec<String> = set(uids, count(open).unwrap_or(0)).iter().map(u32::to_string).collect();
            answer = format!("* SEARCH {}\r\n", found.join(" "));
        }
        answer + tag + " OK done\r\n"
    }
}

fn message(open: &str, uid: u32) -> String {
    let body = format!("Subject: {uid}\r\n\r\n{open} {uid}\r\n");
    format!("* {uid} FETCH (UID {uid} FLAGS () BODY[] {{{}}}\r\n{body})\r\n", body.len())
}

/// The numbers of a set up to a greatest one.
fn set(text: &str, most: u32) -> Vec<u32> {
    let number = |text: &str| text.parse().unwrap_or(most);
    let ranges = text.split(',').map(|range| match range.split_once(':') {
        Some((first, last)) => number(first)..=number(last).min(most),
        None => number(range)..=number(range),
    });
    ranges.flatten().filter(|uid| *uid <= most).collect()
}

/// Whether a FETCH of bodies asks for this message.
fn asks_for(said: &str, uid: u32) -> bool {
    let Some(rest) = said.strip_prefix("UID FETCH ") else { return false };
    rest.contains("BODY") && set(rest.split(' ').next().unwrap(), 10_000).contains(&uid)
}

/// Whether any FETCH asks for it, or SEARCH does not.
fn names(said: &str, uid: u32) -> bool {
    let Some(rest) = said.strip_prefix("UID FETCH ") else { return false };
    let text = rest.split(' ').next().unwrap();
    text.contains('*') || set(text, 1000).contains(&uid)
}

struct Synced {
    kept: tempfile::TempDir,
}

impl Synced {
    fn new() -> Self {
        Self { kept: folder() }
    }

    fn run(&self, server: &Scripted, more: &[&str]) -> Done {
        let url = format!("imap://alice@localhost:{}", server.port);
        let into = self.kept.path().join("store");
        let timeout = if more.contains(&"--timeout") { &[][..] } else { &["--timeout", "5"] };
        let sync = ["sync", &url, "--json", "--into", into.to_str().unwrap()];
        run(&[&sync, &CLEAR[..], timeout, more].concat(), SECRET)
    }

    /// The local mailboxes that have messages, with their number; none before there is a store.
    fn mailboxes(&self) -> Vec<(String, u32)> {
        let read = || {
            let store = rusqlite::Connection::open(self.kept.path().join("store/mail.db"))?;
            let mut query =
                store.prepare("SELECT name, messages FROM mailboxes WHERE messages > 0 ORDER BY name")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().unwrap_or_default()
    }
}

/// Status, imported, known, failed.
fn figures(done: &Done) -> (String, u64, u64, u64) {
    let report: Value = done.json();
    let number = |name: &str| report[name].as_u64().unwrap();
    (report["status"].as_str().unwrap().to_owned(), number("imported"), number("known"), number("failed"))
}

#[test]
fn a_message_that_closes_the_connection_costs_itself_and_is_remembered() {
    for names_it in [asks_for, names] {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
            .instead(move |open, _, said| match open == "INBOX" && names_it(said, 5) {
                true => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    Instead::Close
                }
                false => Instead::Answer,
            })
            .start();
        let synced = Synced::new();
        let done = synced.run(&server, &[]).expect(75).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 452, 0, 1), "{}", done.shown);
        assert!(tries.swap(0, Ordering::SeqCst) <= 4);
        assert_eq!(synced.mailboxes(), [("INBOX".into(), 449), ("Later".into(), 3)]);
        // The next run trips over it once at most, behind all others.
        let done = synced.run(&server, &[]).expect(75).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 0, 452, 1), "{}", done.shown);
        assert!(tries.load(Ordering::SeqCst) <= 2);
    }
}

#[test]
fn a_message_that_is_refused_costs_itself_and_comes_when_it_can() {
    let is_broken = Arc::new(AtomicUsize::new(1));
    let broken = Arc::clone(&is_broken);
    // Nothing is sent before the refusal, or a part.
    let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
        .instead(move |open, tag, said| {
            if open != "INBOX" || !names(said, 5) || broken.load(Ordering::SeqCst) == 0 {
                return Instead::Answer;
            }
            let sent =
                if said.contains("BODY") && asks_for(said, 4) { message(open, 4) } else { String::new() };
            Instead::Say(format!("{sent}{tag} NO cannot read that\r\n"))
        })
        .start();
    let synced = Synced::new();
    let done = synced.run(&server, &[]).expect(69).shows(&["UID 5", "cannot read that"]);
    assert_eq!(figures(&done), ("partial".into(), 452, 0, 1), "{}", done.shown);
    is_broken.store(0, Ordering::SeqCst);
    let done = synced.run(&server, &[]).expect(0);
    assert_eq!(figures(&done), ("success".into(), 1, 452, 0), "{}", done.shown);
    assert_eq!(figures(&synced.run(&server, &[]).expect(0)), ("success".into(), 0, 453, 0));
}

#[test]
fn a_message_that_can_not_even_be_listed_costs_itself() {
    // There is no SEARCH to ask instead.
    for (next, closes) in [("451", false), ("451", true), ("", false)] {
        let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
            .instead(move |open, tag, said| match open == "INBOX" {
                true if said.starts_with("UID SEARCH") => Instead::Say(format!("{tag} BAD unknown\r\n")),
                true if names(said, 5) && closes => Instead::Close,
                true if names(said, 5) => Instead::Say(format!("{tag} NO not that\r\n")),
                _ => Instead::Answer,
            })
            .uid_next(next)
            .start();
        let done = Synced::new().run(&server, &[]).expect(if closes { 75 } else { 69 }).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 452, 0, 1), "{}", done.shown);
        assert!(server.seen().connections <= 9, "{}", server.seen().connections);
    }
}

#[test]
fn a_server_that_throttles_everything_is_left_alone_soon() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Mail::of(&[("INBOX", 450)])
        .instead(move |_, tag, said| match asks_for(said, 1) || said.contains("BODY") {
            true => {
                counted.fetch_add(1, Ordering::SeqCst);
                Instead::Say(format!("{tag} BAD Request is throttled. Suggested Backoff Time: 5000\r\n"))
            }
            false => Instead::Answer,
        })
        .start();
    Synced::new().run(&server, &[]).expect(75).shows(&["throttled"]);
    assert!(asked.load(Ordering::SeqCst) <= 26, "{asked:?}");
}

#[test]
fn a_message_that_never_comes_costs_itself() {
    let server = Mail::of(&[("INBOX", 30), ("Later", 3)])
        .instead(|open, _, said| match open == "INBOX" && asks_for(said, 5) {
            true => Instead::Hang("* 5 FETCH (UID 5 BODY[] {100}\r\nSubj".into()),
            false => Instead::Answer,
        })
        .start();
    let synced = Synced::new();
    let done = synced.run(&server, &["--timeout", "1"]);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert_eq!(figures(&done.expect(75).shows(&["UID 5"])).1, 32);
}

#[test]
fn a_folder_that_is_refused_or_closes_the_connection_costs_itself() {
    for (how, code) in
        [("BAD internal", 76), ("NO [UNAVAILABLE] later", 75), ("NO no such mailbox", 69), ("", 75)]
    {
        let server = Mail::of(&[("A", 2), ("Broken", 2), ("C", 2)])
            .instead(move |_, tag, said| match (said.starts_with("EXAMINE Broken"), how) {
                (false, _) => Instead::Answer,
                (true, "") => Instead::Close,
                (true, how) => Instead::Say(format!("{tag} {how}\r\n")),
            })
            .start();
        let done = Synced::new().run(&server, &[]).expect(code).shows(&["Broken"]);
        assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{how}: {}", done.shown);
    }
}

#[test]
fn a_server_that_closes_on_everything_ends_the_run_as_temporary() {
    let folders = [("A", 9), ("B", 9), ("C", 9), ("D", 9), ("E", 9), ("F", 9), ("G", 9)];
    let server = Mail::of(&folders)
        .instead(|_, _, said| if said.starts_with("EXAMINE") { Instead::Close } else { Instead::Answer })
        .start();
    let done = Synced::new().run(&server, &[]).expect(75);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert!(server.seen().connections <= 14, "{}", server.seen().connections);
}

#[test]
fn names_come_back_byte_for_byte_and_two_that_decode_alike_stay_two() {
    let folders = [
        ("\"R&D\"", 1),
        ("\"Entwürfe\"", 2),
        ("Entw&APw-rfe", 3),
        ("&BBAEMQQyACYEMwQ0BDU-", 4),
        ("\"a*b%c\"", 5),
        ("\"q\\\"u\\\\o\"", 6),
        ("\"&\"", 7),
        ("\"&AGE-\"", 8),
        ("\"a_b_c\"", 9),
        ("inbox", 1),
    ];
    let server = Mail::of(&folders).start();
    let synced = Synced::new();
    let done = synced.run(&server, &[]).expect(0);
    assert_eq!(figures(&done), ("success".into(), 46, 0, 0), "{}", done.shown);
    let mut counts: Vec<u32> = synced.mailboxes().into_iter().map(|(_, count)| count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let received = server.seen().received;
    for name in
        ["\"R&D\"", "Entwürfe\r\n", "Entw&APw-rfe", "&BBAEMQQyACYEMwQ0BDU-", "\"a*b%c\"", "\"q\\\"u\\\\o\""]
    {
        assert!(received.contains(name), "{name}: {received}");
    }
    assert_eq!(figures(&synced.run(&server, &[]).expect(0)), ("success".into(), 0, 46, 0));
    let only = synced.run(&server, &["--folder", "Entw&APw-rfe"]).expect(0);
    assert_eq!(figures(&only), ("success".into(), 0, 3, 0));
}

#[test]
fn a_name_that_cannot_be_kept_costs_only_itself() {
    let long: &'static str = Box::leak(format!("\"{}\"", "x".repeat(1_000_000)).into_boxed_str());
    let fitting: &'static str = Box::leak("y".repeat(1000).into_boxed_str());
    let deep: &'static str = Box::leak(format!("\"{}\"", vec!["d"; 40].join("/")).into_boxed_str());
    // A literal: longer than any line.
    let listed: &'static str =
        Box::leak(format!("{{{}}}\r\n{}", long.len() - 2, long.trim_matches('"')).into_boxed_str());
    let server = Mail::of(&[("INBOX", 2), (listed, 2), (fitting, 2), (deep, 2)]).start();
    let done = Synced::new().run(&server, &[]).expect(69).shows(&["1000000 bytes", "levels"]);
    assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{}", done.shown);
    assert!(done.shown.len() < 20_000);
}

#[test]
fn id_is_sent_after_the_log_in_unless_it_is_turned_off() {
    for (capabilities, more, code) in [("ID", &[][..], 0), ("", &[], 0), ("ID", &["--no-id"], 69)] {
        let told = Arc::new(AtomicUsize::new(0));
        let mut mail = Mail::of(&[("INBOX", 2)]).instead(move |_, tag, said| {
            if said.starts_with("ID ") {
                told.store(1, Ordering::SeqCst);
            }
            match said.starts_with("EXAMINE") && told.load(Ordering::SeqCst) == 0 {
                true => {
                    Instead::Say(format!("{tag} NO EXAMINE Unsafe Login. Please contact kefu@188.com\r\n"))
                }
                false => Instead::Answer,
            }
        });
        mail.capabilities = capabilities;
        let server = mail.start();
        let done = Synced::new().run(&server, more).expect(code);
        assert_eq!(figures(&done).1, if code == 0 { 2 } else { 0 }, "{}", done.shown);
        let received = server.seen().received;
        let id = received.find("ID (\"name\" \"mailwire\"");
        assert_eq!(id.is_some(), more.is_empty(), "{received}");
        if capabilities == "ID" && more.is_empty() {
            assert!(id < received.find("EXAMINE"), "{received}");
        }
    }
}

#[test]
fn two_runs_at_the_same_time_fetch_each_message_once() {
    let server = Mail::of(&[("INBOX", 300), ("Other", 50)])
        .instead(|_, _, said| {
            if said.starts_with("EXAMINE") {
                std::thread::sleep(Duration::from_millis(100));
            }
            Instead::Answer
        })
        .start();
    let synced = Synced::new();
    let imported: u64 = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..3).map(|_| scope.spawn(|| figures(&synced.run(&server, &[]).expect(0)).1)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert_eq!(imported, 350);
    assert_eq!(synced.mailboxes(), [("INBOX".into(), 300), ("Other".into(), 50)]);
}

#[test]
fn a_served_directory_is_left_as_it_is() {
    let served = Served::start(&[]);
    let (into, url) = (served.path(), served.url("imaps"));
    let into = into.to_str().unwrap();
    let before = std::fs::read(served.path().join("mail.db")).unwrap();
    for command in ["sync", "folders"] {
        served
            .run(&[command, &url, "--into", into], b"")
            .expect(78)
            .shows(&["serve", "directory of its own"]);
    }
    assert_eq!(std::fs::read(served.path().join("mail.db")).unwrap(), before);
}

#[test]
fn what_is_too_large_costs_itself() {
    let server = Mail::of(&[("INBOX", 30), ("Later", 3)])
        .instead(|open, _, said| match open == "INBOX" && asks_for(said, 5) {
            true => Instead::Hang(format!(
                "* 5 FETCH (UID 5 BODY[] {{{}}}\r\n{}",
                1_u64 << 62,
                "endless\r\n".repeat(10_000)
            )),
            false => Instead::Answer,
        })
        .start();
    let done =
        Synced::new().run(&server, &[]).expect(69).shows(&["UID 5", "4611686018427387904", "--max-message"]);
    assert_eq!(figures(&done), ("partial".into(), 32, 0, 1), "{}", done.shown);
    // A limit of the run, and of the disk.
    let server = Mail::of(&[("INBOX", 300)]).start();
    let synced = Synced::new();
    let done = synced.run(&server, &["--max-total", "1K"]).expect(75).shows(&["--max-total"]);
    assert!(figures(&done).1 > 10, "{}", done.shown);
    synced.run(&server, &["--keep-free", "999999G"]).expect(69).shows(&["--keep-free"]);
    let done = synced.run(&server, &[]).expect(0);
    let (_, imported, known, _) = figures(&done);
    assert_eq!(imported + known, 300);
}

#[test]
fn more_messages_than_a_folder_can_have_cost_that_folder() {
    let server = Mail::of(&[("INBOX", 2), ("Mad", 2), ("Z", 2)])
        .instead(|open, tag, said| match said {
            _ if said.starts_with("EXAMINE Mad") => Instead::Say(format!(
                "* 4294967295 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n{tag} OK done\r\n"
            )),
            _ if open == "Mad" => Instead::Close,
            _ => Instead::Answer,
        })
        .start();
    let done = Synced::new().run(&server, &[]).expect(69).shows(&["4294967295", "--max-messages"]);
    assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{}", done.shown);
}

#[test]
fn a_signal_stops_a_sync_cleanly_and_the_next_run_goes_on() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let server = Mail::of(&[("INBOX", 600)])
            .instead(|_, _, said| match asks_for(said, 450) {
                true => Instead::Hang(String::new()),
                false => Instead::Answer,
            })
            .start();
        let kept = Synced::new();
        let into = kept.kept.path().join("store");
        let url = format!("imap://alice@localhost:{}", server.port);
        let sync = ["sync", &url, "--timeout", "60", "--into", into.to_str().unwrap()];
        let mut child = command(&[&sync, &CLEAR[..]].concat(), SECRET).spawn().unwrap();
        let id = child.id().to_string();
        // Until two batches of three are stored.
        let waits = std::time::Instant::now();
        while !kept.mailboxes().iter().any(|(_, count)| *count == 400) {
            assert!(waits.elapsed() < Duration::from_secs(20), "nothing is stored");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{shown}");
        for text in ["400 new messages are stored", "run the same command again"] {
            assert!(shown.contains(text), "{shown}");
        }
        assert_eq!(kept.mailboxes(), [("INBOX".into(), 400)]);
    }
}

#[test]
fn a_token_is_asked_for_anew_for_each_session() {
    let mut mail = Mail::of(&[("INBOX", 30)]).instead(|_, _, said| match asks_for(said, 5) {
        true => Instead::Close,
        false => Instead::Answer,
    });
    mail.capabilities = "AUTH=XOAUTH2";
    let server = mail.start();
    let kept = folder();
    let asked = kept.path().join("asked");
    let token = format!("echo x >> {0}; echo token-$(wc -l < {0} | tr -d ' ')", asked.display());
    Synced::new().run(&server, &["--token-command", &token]).expect(75);
    let connections = server.seen().connections;
    assert!(connections > 1);
    assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), connections);
}

#[test]
fn a_signal_ends_check_and_folders_at_once() {
    for (subcommand, signal, code) in [("check", "INT", 130), ("folders", "TERM", 143)] {
        let is_reached = Arc::new(AtomicUsize::new(0));
        let reached = Arc::clone(&is_reached);
        let server = Mail::of(&[("INBOX", 1)])
            .instead(move |_, _, said| match said.starts_with("LIST") {
                true => {
                    reached.store(1, Ordering::SeqCst);
                    Instead::Hang(String::new())
                }
                false => Instead::Answer,
            })
            .start();
        let url = format!("imap://alice@localhost:{}", server.port);
        let mut child =
            command(&[&[subcommand, &url, "--timeout", "60"], &CLEAR[..]].concat(), SECRET).spawn().unwrap();
        let begun = std::time::Instant::now();
        while is_reached.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "LIST is not reached");
            std::thread::sleep(Duration::from_millis(20));
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    }
}
