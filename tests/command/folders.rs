//! A folder or message that a server refuses, fails on or never sends affects only itself, and folder names are
//! returned exactly as the server wrote them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    CommandOutput, RunningServer, ScriptedConnection, ScriptedServer, command, folder, run,
};

const SECRET: &str = "pW3-vvNh7-aaQk";
const CLEAR: [&str; 2] = ["--danger-cleartext", "--danger-cleartext-login"];

/// What a server does instead of answering.
enum Misbehaviour {
    Answer,
    Say(String),
    Close,
    /// Sends this, then nothing for as long as the client waits.
    Hang(String),
}

type Misbehave = dyn Fn(&str, &str, &str) -> Misbehaviour + Send + Sync;

/// A mail server with folders, named as in LIST, and the number of messages in each.
struct Mail {
    folders: Vec<(&'static str, u32)>,
    capabilities: &'static str,
    uid_next: &'static str,
    /// Called for each command with the open folder, the tag and the command.
    instead: Box<Misbehave>,
}

impl Mail {
    fn of(folders: &[(&'static str, u32)]) -> Self {
        let instead = Box::new(|_: &str, _: &str, _: &str| Misbehaviour::Answer);
        Self { folders: folders.to_vec(), capabilities: "", uid_next: "", instead }
    }

    fn instead(mut self, instead: impl Fn(&str, &str, &str) -> Misbehaviour + Send + Sync + 'static) -> Self {
        self.instead = Box::new(instead);
        self
    }

    /// The value that EXAMINE reports as UIDNEXT.
    fn uid_next(mut self, next: &'static str) -> Self {
        self.uid_next = next;
        self
    }

    fn start(self) -> ScriptedServer {
        ScriptedServer::at_once(move |peer| self.serve(peer))
    }

    fn serve(&self, peer: &mut ScriptedConnection) {
        let capabilities = format!("IMAP4rev1 AUTH=PLAIN SASL-IR {}", self.capabilities);
        peer.say(format!("* OK [CAPABILITY {}] hi\r\n", capabilities.trim_end()));
        let mut open = String::new();
        while let Some(mut line) = peer.line() {
            // A literal: the client sends the rest after a continuation request.
            while let Some(at) = line.rfind('{').filter(|_| line.ends_with('}')) {
                peer.say("+ go on\r\n");
                let Some(more) = peer.line() else { return };
                line = format!("{}\"{more}\"", &line[..at]);
            }
            let Some((tag, said)) = line.split_once(' ') else { return };
            match (self.instead)(&open, tag, said) {
                Misbehaviour::Answer => {}
                Misbehaviour::Say(text) => {
                    peer.say(text);
                    continue;
                }
                Misbehaviour::Close => return,
                Misbehaviour::Hang(text) => {
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
            let uids = if uids == "ALL" { "1:*" } else { uids };
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

/// The numbers of a sequence set, up to a maximum.
fn set(text: &str, most: u32) -> Vec<u32> {
    let number = |text: &str| text.parse().unwrap_or(most);
    let ranges = text.split(',').map(|range| match range.split_once(':') {
        Some((first, last)) => number(first)..=number(last).min(most),
        None => number(range)..=number(range),
    });
    ranges.flatten().filter(|uid| *uid <= most).collect()
}

/// Whether a FETCH of bodies includes this message.
fn asks_for(said: &str, uid: u32) -> bool {
    let Some(rest) = said.strip_prefix("UID FETCH ") else { return false };
    rest.contains("BODY") && set(rest.split(' ').next().unwrap(), 10_000).contains(&uid)
}

/// Whether a FETCH names this message, or a SEARCH does not exclude it.
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

    fn run(&self, server: &ScriptedServer, more: &[&str]) -> CommandOutput {
        let url = format!("imap://alice@localhost:{}", server.port);
        let into = self.kept.path().join("store");
        let timeout = if more.contains(&"--timeout") { &[][..] } else { &["--timeout", "5"] };
        let sync = ["sync", &url, "--json", "--into", into.to_str().unwrap()];
        run(&[&sync, &CLEAR[..], timeout, more].concat(), SECRET)
    }

    /// The local mailboxes that hold messages, with their number of messages; empty before there is a store.
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

/// Status, imported, known and failed.
fn figures(done: &CommandOutput) -> (String, u64, u64, u64) {
    let report: Value = done.json();
    let number = |name: &str| report[name].as_u64().unwrap();
    (report["status"].as_str().unwrap().to_owned(), number("imported"), number("known"), number("failed"))
}

#[test]
fn skips_and_remembers_a_message_that_closes_the_connection() {
    for names_it in [asks_for, names] {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
            .instead(move |open, _, said| match open == "INBOX" && names_it(said, 5) {
                true => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    Misbehaviour::Close
                }
                false => Misbehaviour::Answer,
            })
            .start();
        let synced = Synced::new();
        let done = synced.run(&server, &[]).expect(75).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 452, 0, 1), "{}", done.shown);
        assert!(tries.swap(0, Ordering::SeqCst) <= 4);
        assert_eq!(synced.mailboxes(), [("INBOX".into(), 449), ("Later".into(), 3)]);
        // The next run asks for it at most once, after all others.
        let done = synced.run(&server, &[]).expect(75).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 0, 452, 1), "{}", done.shown);
        let tried = tries.load(Ordering::SeqCst);
        assert!(tried <= 2, "{tried}");
    }
}

#[test]
fn skips_a_refused_message_and_fetches_it_later() {
    let is_broken = Arc::new(AtomicUsize::new(1));
    let broken = Arc::clone(&is_broken);
    // The server sends nothing before it refuses, or a part.
    let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
        .instead(move |open, tag, said| {
            if open != "INBOX" || !names(said, 5) || broken.load(Ordering::SeqCst) == 0 {
                return Misbehaviour::Answer;
            }
            let sent =
                if said.contains("BODY") && asks_for(said, 4) { message(open, 4) } else { String::new() };
            Misbehaviour::Say(format!("{sent}{tag} NO cannot read that\r\n"))
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
fn skips_a_message_that_cannot_be_listed() {
    // SEARCH does not work as a fallback.
    for (next, closes) in [("451", false), ("451", true), ("", false)] {
        let server = Mail::of(&[("INBOX", 450), ("Later", 3)])
            .instead(move |open, tag, said| match open == "INBOX" {
                true if said.starts_with("UID SEARCH") => Misbehaviour::Say(format!("{tag} BAD unknown\r\n")),
                true if names(said, 5) && closes => Misbehaviour::Close,
                true if names(said, 5) => Misbehaviour::Say(format!("{tag} NO not that\r\n")),
                _ => Misbehaviour::Answer,
            })
            .uid_next(next)
            .start();
        let done = Synced::new().run(&server, &[]).expect(if closes { 75 } else { 69 }).shows(&["UID 5"]);
        assert_eq!(figures(&done), ("partial".into(), 452, 0, 1), "{}", done.shown);
        assert!(server.seen().connections <= 9, "{}", server.seen().connections);
    }
}

#[test]
fn stops_soon_when_a_server_throttles_everything() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Mail::of(&[("INBOX", 450)])
        .instead(move |_, tag, said| match asks_for(said, 1) || said.contains("BODY") {
            true => {
                counted.fetch_add(1, Ordering::SeqCst);
                Misbehaviour::Say(format!("{tag} BAD Request is throttled. Suggested Backoff Time: 5000\r\n"))
            }
            false => Misbehaviour::Answer,
        })
        .start();
    Synced::new().run(&server, &[]).expect(75).shows(&["throttled"]);
    assert!(asked.load(Ordering::SeqCst) <= 26, "{asked:?}");
}

#[test]
fn skips_a_message_that_never_arrives() {
    let server = Mail::of(&[("INBOX", 30), ("Later", 3)])
        .instead(|open, _, said| match open == "INBOX" && asks_for(said, 5) {
            true => Misbehaviour::Hang("* 5 FETCH (UID 5 BODY[] {100}\r\nSubj".into()),
            false => Misbehaviour::Answer,
        })
        .start();
    let synced = Synced::new();
    let done = synced.run(&server, &["--timeout", "1"]);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert_eq!(figures(&done.expect(75).shows(&["UID 5"])).1, 32);
}

#[test]
fn skips_a_folder_that_is_refused_or_closes_the_connection() {
    for (how, code) in
        [("BAD internal", 76), ("NO [UNAVAILABLE] later", 75), ("NO no such mailbox", 69), ("", 75)]
    {
        let server = Mail::of(&[("A", 2), ("Broken", 2), ("C", 2)])
            .instead(move |_, tag, said| match (said.starts_with("EXAMINE Broken"), how) {
                (false, _) => Misbehaviour::Answer,
                (true, "") => Misbehaviour::Close,
                (true, how) => Misbehaviour::Say(format!("{tag} {how}\r\n")),
            })
            .start();
        let done = Synced::new().run(&server, &[]).expect(code).shows(&["Broken"]);
        assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{how}: {}", done.shown);
    }
}

#[test]
fn ends_with_a_temporary_error_when_every_connection_closes() {
    let folders = [("A", 9), ("B", 9), ("C", 9), ("D", 9), ("E", 9), ("F", 9), ("G", 9)];
    let server = Mail::of(&folders)
        .instead(
            |_, _, said| if said.starts_with("EXAMINE") { Misbehaviour::Close } else { Misbehaviour::Answer },
        )
        .start();
    let done = Synced::new().run(&server, &[]).expect(75);
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert!(server.seen().connections <= 14, "{}", server.seen().connections);
}

#[test]
fn keeps_folder_names_byte_for_byte_and_distinct() {
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
fn skips_a_folder_whose_name_cannot_be_stored() {
    let long: &'static str = Box::leak(format!("\"{}\"", "x".repeat(1_000_000)).into_boxed_str());
    let fitting: &'static str = Box::leak("y".repeat(1000).into_boxed_str());
    let deep: &'static str = Box::leak(format!("\"{}\"", vec!["d"; 40].join("/")).into_boxed_str());
    // A literal that is longer than any line.
    let listed: &'static str =
        Box::leak(format!("{{{}}}\r\n{}", long.len() - 2, long.trim_matches('"')).into_boxed_str());
    let server = Mail::of(&[("INBOX", 2), (listed, 2), (fitting, 2), (deep, 2)]).start();
    let done = Synced::new().run(&server, &[]).expect(69).shows(&["1000000 bytes", "levels"]);
    assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{}", done.shown);
    assert!(done.shown.len() < 20_000);
}

#[test]
fn sends_id_after_login_unless_turned_off() {
    for (capabilities, more, code) in [("ID", &[][..], 0), ("", &[], 0), ("ID", &["--no-id"], 69)] {
        let told = Arc::new(AtomicUsize::new(0));
        let mut mail = Mail::of(&[("INBOX", 2)]).instead(move |_, tag, said| {
            if said.starts_with("ID ") {
                told.store(1, Ordering::SeqCst);
            }
            match said.starts_with("EXAMINE") && told.load(Ordering::SeqCst) == 0 {
                true => Misbehaviour::Say(format!(
                    "{tag} NO EXAMINE Unsafe Login. Please contact kefu@188.com\r\n"
                )),
                false => Misbehaviour::Answer,
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
fn two_concurrent_runs_fetch_each_message_once() {
    let server = Mail::of(&[("INBOX", 300), ("Other", 50)])
        .instead(|_, _, said| {
            if said.starts_with("EXAMINE") {
                std::thread::sleep(Duration::from_millis(100));
            }
            Misbehaviour::Answer
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
fn refuses_to_sync_into_a_served_directory() {
    let served = RunningServer::start(&[]);
    let (into, url) = (served.path(), served.url("imaps"));
    let into = into.to_str().unwrap();
    let before = std::fs::read(served.path().join("mail.db")).unwrap();
    for command in ["sync", "folders"] {
        served.run(&[command, &url, "--into", into], b"").expect(78).shows(&["serve", "another directory"]);
    }
    assert_eq!(std::fs::read(served.path().join("mail.db")).unwrap(), before);
}

#[test]
fn skips_a_message_that_is_too_large() {
    let server = Mail::of(&[("INBOX", 30), ("Later", 3)])
        .instead(|open, _, said| match open == "INBOX" && asks_for(said, 5) {
            true => Misbehaviour::Hang(format!(
                "* 5 FETCH (UID 5 BODY[] {{{}}}\r\n{}",
                1_u64 << 62,
                "endless\r\n".repeat(10_000)
            )),
            false => Misbehaviour::Answer,
        })
        .start();
    let done =
        Synced::new().run(&server, &[]).expect(69).shows(&["UID 5", "4611686018427387904", "--max-message"]);
    assert_eq!(figures(&done), ("partial".into(), 32, 0, 1), "{}", done.shown);
    // The limit of the run, and that of the disk.
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
fn skips_a_folder_with_too_many_messages() {
    let server = Mail::of(&[("INBOX", 2), ("Mad", 2), ("Z", 2)])
        .instead(|open, tag, said| match said {
            _ if said.starts_with("EXAMINE Mad") => Misbehaviour::Say(format!(
                "* 4294967295 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n{tag} OK done\r\n"
            )),
            _ if open == "Mad" => Misbehaviour::Close,
            _ => Misbehaviour::Answer,
        })
        .start();
    let done = Synced::new().run(&server, &[]).expect(69).shows(&["4294967295", "--max-messages"]);
    assert_eq!(figures(&done), ("partial".into(), 4, 0, 0), "{}", done.shown);
}

#[test]
fn a_signal_stops_sync_cleanly_and_the_next_run_continues() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let server = Mail::of(&[("INBOX", 600)])
            .instead(|_, _, said| match asks_for(said, 450) {
                true => Misbehaviour::Hang(String::new()),
                false => Misbehaviour::Answer,
            })
            .start();
        let kept = Synced::new();
        let into = kept.kept.path().join("store");
        let url = format!("imap://alice@localhost:{}", server.port);
        let sync = ["sync", &url, "--timeout", "60", "--into", into.to_str().unwrap()];
        let mut child = command(&[&sync, &CLEAR[..]].concat(), SECRET).spawn().unwrap();
        let id = child.id().to_string();
        // Wait until two batches of three messages are stored.
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
fn requests_a_new_token_for_each_session() {
    let mut mail = Mail::of(&[("INBOX", 30)]).instead(|_, _, said| match asks_for(said, 5) {
        true => Misbehaviour::Close,
        false => Misbehaviour::Answer,
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
                    Misbehaviour::Hang(String::new())
                }
                false => Misbehaviour::Answer,
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
