//! Sending many messages from mbox files, Maildirs and directories in one session, each with its own result.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{CommandOutput, RunningServer, ScriptedServer, files, folder, run_with, smtp_server};

/// Sends the messages at this path, without TLS, to a scripted server.
fn send(port: u16, messages: &str, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://localhost:{port}");
    let arguments = [
        "send",
        &url,
        "--danger-cleartext",
        "--from",
        "a@x.example",
        "--to",
        "b@x.example",
        "--messages",
        messages,
        "--json",
        "--no-journal",
    ];
    run_with(&[&arguments, more].concat(), "", b"")
}

/// An mbox file with messages that differ in their subjects.
fn mbox(subjects: &[&str]) -> (tempfile::TempDir, String) {
    let folder = folder();
    let path = folder.path().join("some.mbox");
    let text: String =
        subjects.iter().map(|subject| format!("From x\nSubject: {subject}\n\nbody\n\n")).collect();
    std::fs::write(&path, text).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

fn takes_all(verb: &str) -> &'static str {
    match verb {
        "EHLO" => "250-s.example\r\n250 SIZE 100000\r\n",
        "QUIT" => "221 2.0.0 bye\r\n",
        _ => "250 2.0.0 ok\r\n",
    }
}

fn lines(done: &CommandOutput) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn sends_all_messages_of_a_file_in_one_session_and_skips_a_broken_one() {
    let server = smtp_server(|verb, _| takes_all(verb).to_owned());
    let (_kept, path) = mbox(&["one", "two\0", "three"]);
    let done = send(server.port, &path, &[]).expect(65);
    let told = lines(&done);
    // A message that cannot be sent is reported as soon as it was read.
    let mut fates: Vec<_> = told
        .iter()
        .filter_map(|line| Some((line["source"].as_str()?.rsplit_once('#')?.1, line["status"].as_str()?)))
        .collect();
    fates.sort_unstable();
    assert_eq!(fates, [("1", "success"), ("2", "invalid"), ("3", "success")], "{}", done.out);
    assert_eq!(told[3]["summary"]["messages"], serde_json::json!({"success": 2, "invalid": 1}));
    let seen = server.seen();
    assert_eq!((seen.connections, seen.received.matches("MAIL FROM").count()), (1, 2), "{}", seen.received);
}

#[test]
fn retries_only_deferred_messages_and_continues_in_a_new_session() {
    // The second message is deferred once, and the first session ends after two messages.
    let server = ScriptedServer::start(|peer| {
        peer.say("220 s.example\r\n");
        let (mut messages, mut put_off) = (0, false);
        while let Some(line) = peer.line() {
            let verb = line.get(..4).unwrap_or_default().to_uppercase();
            if verb == "MAIL" {
                messages += 1;
                if messages == 3 && peer.number == 0 {
                    peer.say("421 4.7.0 enough\r\n");
                    return;
                }
            }
            if verb == "DATA" {
                peer.say("354 go on\r\n");
                while let Some(line) = peer.line().filter(|line| line != ".") {
                    put_off |= line == "Subject: two" && peer.number == 0;
                }
            }
            let late = verb == "DATA" && std::mem::take(&mut put_off);
            peer.say(if late { "451 4.3.0 later\r\n" } else { takes_all(&verb) });
            if verb == "QUIT" {
                return;
            }
        }
    });
    let (_kept, path) = mbox(&["one", "two", "three"]);
    let done = send(server.port, &path, &[]).expect(0);
    let told = lines(&done);
    let fates: Vec<_> = told
        .iter()
        .filter_map(|line| Some((line["source"].as_str()?.rsplit_once('#')?.1, &line["retry_count"])))
        .collect();
    assert_eq!(fates, [("1", &0.into()), ("3", &0.into()), ("2", &1.into())], "{}", done.out);
    let seen = server.seen();
    assert_eq!(seen.connections, 3, "{}", seen.received);
    for (subject, count) in [("one", 1), ("two", 2), ("three", 1)] {
        let subject = format!("Subject: {subject}\r\n");
        assert_eq!(seen.received.matches(&subject).count(), count, "{}", seen.received);
    }
}

#[test]
fn backs_off_from_a_server_that_accepts_nothing() {
    let server =
        smtp_server(|verb, _| if verb == "MAIL" { String::new() } else { takes_all(verb).to_owned() });
    let (_kept, path) = mbox(&["one", "two", "three", "four", "five"]);
    let done = send(server.port, &path, &["--attempts", "2"]).expect(75);
    assert_eq!(server.seen().connections, 2, "{}", done.shown);
    assert!(lines(&done).iter().any(|line| line["summary"]["incomplete"] == true), "{}", done.out);
}

#[test]
fn shares_messages_among_sessions_and_uses_fewer_when_the_server_limits_them() {
    // The server accepts this many sessions at once and answers 421 to the others.
    let subjects: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    for (most, wanted) in [(64, 4), (2, 5)] {
        let open = AtomicUsize::new(0);
        let server = ScriptedServer::at_once(move |peer| {
            if open.fetch_add(1, Ordering::SeqCst) >= most {
                peer.say("421 4.7.0 too many sessions\r\n");
            } else {
                peer.say("220 s.example\r\n");
                while let Some(line) = peer.line() {
                    let verb = line.get(..4).unwrap_or_default().to_uppercase();
                    if verb == "DATA" {
                        peer.say("354 go on\r\n");
                        while peer.line().is_some_and(|line| line != ".") {}
                        // Keeps one session from sending everything before the others start.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    peer.say(takes_all(&verb));
                    if verb == "QUIT" {
                        break;
                    }
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
        });
        let (_kept, path) = mbox(&subjects);
        let done = send(server.port, &path, &["--concurrency", &wanted.to_string()]).expect(0);
        let seen = server.seen();
        assert!(seen.connections > 1, "{}", done.shown);
        for subject in &subjects {
            let subject = format!("Subject: {subject}\r\n");
            assert_eq!(seen.received.matches(&subject).count(), 1, "{subject:?} {}", done.shown);
        }
        let sum = serde_json::json!({"success": 20});
        assert_eq!(lines(&done).last().unwrap()["summary"]["messages"], sum, "{}", done.shown);
    }
}

#[test]
fn delivers_mboxes_maildirs_and_directories_byte_for_byte() {
    let served = RunningServer::start(&[]);
    let (url, mailbox, kept) = (served.url("smtps"), served.mailbox(), folder());
    let at = |name: &str| kept.path().join(name);
    let write = |name: &str, text: &[u8]| {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::write(at(name), text).unwrap();
    };
    write("a.mbox", b"From x\nSubject: m1\n\n>From me\n..dots\n\nFrom y\nSubject: m2\n\nbare\n.\n");
    write("box/new/1.host", b"Subject: d1\n\nnew\n");
    write("box/cur/0.host:2,S", b"Subject: d0\r\n\r\nold");
    write("dir/a.eml", b"Subject: e1\r\n\r\n\r\n");
    let paths: Vec<PathBuf> = ["a.mbox", "box", "dir"].map(at).into();
    let mut arguments = vec!["send", &url, "--no-journal", "--from", &mailbox, "--to", &mailbox];
    for path in &paths {
        arguments.extend(["--messages", path.to_str().unwrap()]);
    }
    served.run(&arguments, b"").expect(0).shows(&["messages: 5 success", "recipients: 5 success"]);
    let into = at("store");
    served.run(&["sync", &served.url("imaps"), "--into", into.to_str().unwrap()], b"").expect(0);
    let stored: Vec<u8> = files(&into).iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let expected: [&[u8]; 5] = [
        b"Subject: m1\r\n\r\nFrom me\r\n..dots\r\n",
        b"Subject: m2\r\n\r\nbare\r\n.\r\n",
        b"Subject: d0\r\n\r\nold\r\n",
        b"Subject: d1\r\n\r\nnew\r\n",
        b"Subject: e1\r\n\r\n\r\n",
    ];
    for message in expected {
        assert!(
            stored.windows(message.len()).any(|bytes| bytes == message),
            "{}",
            String::from_utf8_lossy(message)
        );
    }
}
