//! Killing `send`: wherever it was killed, running it again sends every message that the server cannot have, and none
//! that it may have.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    CommandOutput, RunningServer, ScriptedConnection, ScriptedServer, command, files, folder, run_with,
};

/// Where a server stops answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    /// After it has read some lines of the message.
    Middle,
    /// After it has read the whole message.
    End,
    /// After it has answered the message.
    Behind,
    Nowhere,
}

/// How often the server has accepted each message, by its subject.
type Taken = Arc<Mutex<BTreeMap<String, u32>>>;

/// A server whose first connection stalls at the second message and signals that on the channel.
fn server(stall: Stall, taken: &Taken) -> (ScriptedServer, std::sync::mpsc::Receiver<()>) {
    let (stalled, at) = channel();
    let (taken, stalled) = (Arc::clone(taken), Mutex::new(stalled));
    let server = ScriptedServer::start(move |peer| {
        let stall = if peer.number == 0 { stall } else { Stall::Nowhere };
        if serve(peer, stall, &taken).is_none() {
            let stalled: Sender<()> = stalled.lock().unwrap().clone();
            stalled.send(()).unwrap();
            // The server reads no more of the message until the client is gone.
            std::thread::sleep(Duration::from_millis(300));
            while peer.line().is_some() {}
        }
    });
    (server, at)
}

/// Returns `None` where it stalls.
fn serve(peer: &mut ScriptedConnection, stall: Stall, taken: &Taken) -> Option<()> {
    let go_on = |here: Stall, messages: u32| {
        (stall != here || (messages < 2 && here != Stall::Greeting && here != Stall::Hello)).then_some(())
    };
    go_on(Stall::Greeting, 0)?;
    peer.say("220 s.example\r\n");
    let mut messages = 0;
    while let Some(line) = peer.line() {
        match line.get(..4).unwrap_or_default() {
            "EHLO" => go_on(Stall::Hello, 0)?,
            "MAIL" => {
                messages += 1;
                go_on(Stall::Mail, messages)?;
            }
            "RCPT" => go_on(Stall::Rcpt, messages)?,
            "DATA" => {
                go_on(Stall::Data, messages)?;
                peer.say("354 go on\r\n");
                let subject = peer.line()?;
                go_on(Stall::Middle, messages)?;
                while peer.line()? != "." {}
                go_on(Stall::End, messages)?;
                *taken.lock().unwrap().entry(subject).or_default() += 1;
                peer.say("250 2.0.0 ok\r\n");
                go_on(Stall::Behind, messages)?;
                continue;
            }
            "QUIT" => {
                peer.say("221 2.0.0 bye\r\n");
                return Some(());
            }
            _ => {}
        }
        peer.say("250 2.0.0 ok\r\n");
    }
    Some(())
}

/// Writes an mbox of three messages; the second has this many lines.
fn mbox(folder: &Path, lines: usize) -> String {
    let path = folder.join("some.mbox");
    let line = format!("{}\n", "0123456789abcdef".repeat(60));
    let body = |number| line.repeat(if number == 2 { lines } else { 1 });
    let text: String =
        (1..=3).map(|number| format!("From x\nSubject: {number}\n\n{}\n", body(number))).collect();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn arguments<'a>(url: &'a str, path: &'a str, journal: &'a str) -> Vec<&'a str> {
    let to = ["--from", "a@x.example", "--to", "b@x.example", "--messages", path, "--journal", journal];
    [&["send", url, "--danger-cleartext"][..], &to].concat()
}

/// Kills a run where the server stalls, and runs it again, twice.
fn killed_at(stall: Stall) -> (BTreeMap<String, u32>, [CommandOutput; 2]) {
    let (taken, folder) = (Taken::default(), folder());
    let (server, stalled) = server(stall, &taken);
    // The message must be larger than all buffers on the way, so that it cannot have been sent completely.
    let lines = if stall == Stall::Middle { 10_000 } else { 1 };
    let (path, journal) = (mbox(folder.path(), lines), folder.path().join("journal"));
    let url = format!("smtp://localhost:{}", server.port);
    let arguments = arguments(&url, &path, journal.to_str().unwrap());
    let mut child: Child = command(&arguments, "").spawn().unwrap();
    stalled.recv_timeout(Duration::from_secs(20)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let again = [run_with(&arguments, "", b""), run_with(&arguments, "", b"")];
    let text = std::fs::read_to_string(&journal).unwrap();
    for personal in ["x.example", "localhost", "Subject", "some.mbox"] {
        assert!(!text.contains(personal), "{text}");
    }
    let taken = taken.lock().unwrap().clone();
    (taken, again)
}

fn counts(counts: [u32; 3]) -> BTreeMap<String, u32> {
    let all = counts.into_iter().zip(1..).filter(|(count, _)| *count > 0);
    all.map(|(count, number)| (format!("Subject: {number}"), count)).collect()
}

#[test]
fn sends_every_message_once_after_a_kill_before_the_last_byte() {
    let stalls = [Stall::Greeting, Stall::Hello, Stall::Mail, Stall::Rcpt, Stall::Data, Stall::Middle];
    let runs = stalls.map(|stall| std::thread::spawn(move || (stall, killed_at(stall))));
    for run in runs {
        let (stall, (taken, again)) = run.join().unwrap();
        assert_eq!(taken, counts([1, 1, 1]), "{stall:?}");
        let _ = again.map(|done| done.expect(0));
    }
}

#[test]
fn sends_nothing_twice_after_a_kill_after_the_last_byte() {
    let (taken, again) = killed_at(Stall::End);
    // The second message is uncertain: every further run names it and does not send it.
    assert_eq!(taken, counts([1, 0, 1]));
    let _ = again.map(|done| done.expect(70).shows(&["some.mbox#2", "uncertain", "--resend-uncertain"]));
    let (taken, _) = killed_at(Stall::Behind);
    // The server has it, whether or not the client heard the answer.
    assert_eq!(taken, counts([1, 1, 1]));
}

#[test]
fn resends_uncertain_messages_on_request() {
    let (taken, folder) = (Taken::default(), folder());
    let (server, stalled) = server(Stall::End, &taken);
    let (path, journal) = (mbox(folder.path(), 1), folder.path().join("journal"));
    let url = format!("smtp://localhost:{}", server.port);
    let arguments = arguments(&url, &path, journal.to_str().unwrap());
    let mut child = command(&arguments, "").spawn().unwrap();
    stalled.recv_timeout(Duration::from_secs(20)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run_with(&[&arguments[..], &["--resend-uncertain"]].concat(), "", b"").expect(0);
    assert_eq!(*taken.lock().unwrap(), counts([1, 1, 1]));
    run_with(&[&arguments[..], &["--resend-uncertain"]].concat(), "", b"").expect(0);
    assert_eq!(*taken.lock().unwrap(), counts([1, 1, 1]));
}

#[test]
fn the_same_command_finds_its_journal_until_everything_is_sent() {
    let server = crate::harness::smtp_server(|verb, number| match verb {
        "EHLO" => "250 s.example\r\n".to_owned(),
        "QUIT" => "221 2.0.0 bye\r\n".to_owned(),
        "RCPT" if number == 1 => "450 4.2.1 later\r\n".to_owned(),
        _ => "250 2.0.0 ok\r\n".to_owned(),
    });
    let folder = folder();
    let file = |name: &str| folder.path().join("mail").join(name);
    std::fs::create_dir(folder.path().join("mail")).unwrap();
    std::fs::write(file("a.eml"), "Subject: a\n\nx\n").unwrap();
    let (url, mail) = (format!("smtp://localhost:{}", server.port), folder.path().join("mail"));
    let data = folder.path().join("data");
    let run = || {
        let arguments = [
            "send",
            &url,
            "--danger-cleartext",
            "--from",
            "a@x.example",
            "--to",
            "b@x.example",
            "--attempts",
            "1",
            "--messages",
            mail.to_str().unwrap(),
        ];
        let output = command(&arguments, "").env("XDG_DATA_HOME", &data).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let journals = || std::fs::read_dir(data.join("mailwire/sending")).unwrap().count();
    assert_eq!((run().0, journals()), (Some(0), 0));
    // The second run sends both again and is deferred. The third run has messages left to send.
    std::fs::write(file("b.eml"), "Subject: b\n\nx\n").unwrap();
    assert_eq!((run().0, journals()), (Some(75), 1));
    assert_eq!((run().0, journals()), (Some(0), 0));
    let received = server.seen().received;
    assert_eq!((received.matches("Subject: a").count(), received.matches("Subject: b").count()), (2, 1));
}

#[test]
fn a_randomly_failing_server_gets_every_message_once() {
    let faults = [
        "--lmtp",
        "127.0.0.1:0",
        "--fail",
        "rcpt=450:0.1",
        "--fail",
        "dot=451:0.1",
        "--drop",
        "mail:0.05",
        "--drop",
        "data:0.1",
        "--drop",
        "dot:0.25",
        "--seed",
        "7",
    ];
    let (served, folder) = (RunningServer::start(&faults), folder());
    let text: String =
        (0..30).map(|number| format!("From x\nSubject: s\n\nmarker-{number}-end\n\n")).collect();
    let path = folder.path().join("some.mbox");
    std::fs::write(&path, text).unwrap();
    let (journal, mailbox) = (folder.path().join("journal"), served.mailbox());
    let url = format!("smtp://localhost:{}", served.address("lmtp").port());
    let arguments = [
        "send",
        &url,
        "--lmtp",
        "--danger-cleartext",
        "--from",
        "a@x.example",
        "--to",
        &mailbox,
        "--messages",
        path.to_str().unwrap(),
        "--journal",
        journal.to_str().unwrap(),
        "--attempts",
        "1",
        "--concurrency",
        "2",
        "--json",
    ];
    let mut sum = Value::Null;
    for _ in 0..40 {
        let done = run_with(&arguments, "", b"");
        let lines = done.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        sum = lines.filter_map(|line| line.get("summary").cloned()).next_back().unwrap_or_default();
        let open = ["temp_failed", "failed"].iter().any(|fate| sum["messages"].get(fate).is_some());
        if sum["incomplete"] == false && !open {
            break;
        }
    }
    let count = |fate: &str| sum["messages"][fate].as_u64().unwrap_or(0);
    let (success, uncertain) = (count("success"), count("uncertain"));
    assert_eq!(success + uncertain, 30, "{sum}");
    assert!(uncertain > 0, "the server dropped no connection after the last byte: {sum}");
    let into = folder.path().join("store");
    let done = served
        .run(&["sync", &served.url("imaps"), "--into", into.to_str().unwrap(), "--json"], b"")
        .expect(0);
    let stored: Vec<u8> = files(&into).iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let has = |number: &u32| {
        let marker = format!("marker-{number}-end");
        stored.windows(marker.len()).any(|bytes| bytes == marker.as_bytes())
    };
    let distinct = (0..30).filter(has).count() as u64;
    assert!((success..=30).contains(&distinct), "{distinct} of {sum}");
    let (told, number) = (done.json(), |field: &Value| field.as_u64().unwrap());
    let came = number(&told["imported"]) + number(&told["duplicates"]);
    assert_eq!(came, distinct, "a message arrived twice: {told}");
}
