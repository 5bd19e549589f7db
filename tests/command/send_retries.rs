//! What `send` does when a server is unreachable, defers, or never answers: it retries as often as configured, and
//! stops cleanly when asked to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::harness::{CommandOutput, ScriptedServer, command, folder, run_with, smtp_server};

const MESSAGE: &[u8] = b"Subject: s\r\n\r\nx\r\n";
const TO: [&str; 4] = ["--from", "a@x.example", "--to", "b@x.example"];

fn takes_all(verb: &str) -> String {
    match verb {
        "QUIT" => "221 2.0.0 bye\r\n",
        "EHLO" => "250 s.example\r\n",
        _ => "250 2.0.0 ok\r\n",
    }
    .to_owned()
}

fn send(port: u16, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://localhost:{port}");
    run_with(&[&["send", &url, "--danger-cleartext"][..], &TO, more].concat(), "", MESSAGE)
}

/// A server whose first `times` connections receive this instead of a greeting, and nothing more.
fn greets_with(greeting: &'static str, times: usize) -> ScriptedServer {
    ScriptedServer::start(move |peer| {
        if peer.number < times {
            peer.say(greeting);
            return;
        }
        peer.say("220 s.example\r\n");
        while let Some(line) = peer.line() {
            let verb = line.get(..4).unwrap_or_default().to_uppercase();
            if verb == "DATA" {
                peer.say("354 go on\r\n");
                while peer.line().is_some_and(|line| line != ".") {}
            }
            peer.say(takes_all(&verb));
            if verb == "QUIT" {
                return;
            }
        }
    })
}

#[test]
fn retries_after_a_temporary_greeting_or_a_closed_connection() {
    for greeting in ["421 4.3.2 later\r\n", "", "22"] {
        let server = greets_with(greeting, 2);
        send(server.port, &["--retries", "3", "--retry-delays", "0.05,0.05,0.05"]).expect(0);
        assert_eq!(server.seen().connections, 3, "{greeting:?}");
    }
    let server = greets_with("421 4.3.2 later\r\n", 9);
    send(server.port, &["--retries", "1", "--retry-delays", "0.05"]).expect(75).shows(&["421", "later"]);
    assert_eq!(server.seen().connections, 2);
    // Nothing listens there: each pause names the reason.
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = place.local_addr().unwrap().port();
    drop(place);
    send(port, &["--retry-delays", "0.05"]).expect(69).shows(&[
        "refused",
        "waiting 0.1 s",
        &format!("localhost:{port}"),
    ]);
    let server = greets_with("554 5.7.1 go away\r\n", 9);
    send(server.port, &["--retry-delays", "0.05,0.05"]).expect(69).shows(&["554", "go away"]);
    assert_eq!(server.seen().connections, 1);
}

#[test]
fn retries_after_a_temporary_reply_before_starttls() {
    for at in ["greeting", "ehlo"] {
        let server = ScriptedServer::start(move |peer| {
            if at == "greeting" {
                peer.say("421 4.3.2 closing for now\r\n");
                return;
            }
            peer.say("220 s.example\r\n");
            peer.line();
            peer.say("421 4.3.2 closing for now\r\n");
        });
        let url = format!("smtp://localhost:{}", server.port);
        let retries = ["--retries", "2", "--retry-delays", "0.05"];
        let done = run_with(&[&["send", &url][..], &TO, &retries].concat(), "", MESSAGE);
        done.expect(75).shows(&["421", "closing for now"]);
        assert_eq!(server.seen().connections, 3, "{at}");
    }
}

#[test]
fn reports_server_text_per_recipient_and_host_and_port_per_run() {
    let server = greets_with("421 4.3.2 come back later\r\n", 9);
    let kept = folder();
    let path = kept.path().join("a.eml");
    std::fs::write(&path, MESSAGE).unwrap();
    let many = ["--no-journal", "--retries", "0", "--json", "--messages", path.to_str().unwrap()];
    let done = send(server.port, &many).expect(75);
    let last: serde_json::Value = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["error"]["server"]["code"], &last["error"]["host"]),
        (&"421 4.3.2".into(), &"localhost".into())
    );
    assert_eq!(last["error"]["port"], server.port, "{last}");
    let server =
        smtp_server(
            |verb, _| if verb == "RCPT" { "550 5.1.1 no such box\r\n".to_owned() } else { takes_all(verb) },
        );
    let place = format!("localhost:{}", server.port);
    send(server.port, &[]).expect(69).shows(&["550 5.1.1 no such box", &place]);
    let report = send(server.port, &["--json"]).expect(69).json();
    let told = &report["recipients"][0];
    assert_eq!((&told["code"], &told["enhanced"]), (&550.into(), &"5.1.1".into()), "{report}");
}

#[test]
fn loses_no_message_when_the_server_restarts() {
    let kept = folder();
    let path = kept.path().join("some.mbox");
    std::fs::write(&path, "From x\nSubject: 1\n\none\n\nFrom x\nSubject: 2\n\ntwo\n").unwrap();
    // Nothing listens there until the first attempt has failed.
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = place.local_addr().unwrap().port();
    drop(place);
    let url = format!("smtp://127.0.0.1:{port}");
    let many =
        ["--no-journal", "--retry-delays", "0.3,0.3,0.3,0.3,0.3,0.3", "--messages", path.to_str().unwrap()];
    let child =
        command(&[&["send", &url, "--danger-cleartext"][..], &TO, &many].concat(), "").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"220 s.example\r\n").unwrap();
    let (mut received, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        received.push_str(&text);
        if text.starts_with("DATA") {
            stream.write_all(b"354 go on\r\n").unwrap();
        } else if text.starts_with("QUIT") {
            let _ = stream.write_all(b"221 bye\r\n");
            break;
        } else if text.ends_with("\r\n.\r\n")
            || text.contains("EHLO")
            || text.contains("MAIL")
            || text.contains("RCPT")
        {
            stream.write_all(b"250 ok\r\n").unwrap();
        }
    }
    drop(stream);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(received.matches("Subject:").count(), 2, "{received}");
}

#[test]
fn uses_the_configured_retry_pauses() {
    let busy = || {
        smtp_server(|verb, _| if verb == "MAIL" { "451 4.3.0 later\r\n".to_owned() } else { takes_all(verb) })
    };
    let server = busy();
    let done = send(server.port, &["--retry-delays", "0.1,0.5"]).expect(75);
    assert!(done.took >= Duration::from_millis(600), "{:?}", done.took);
    assert_eq!(server.seen().connections, 3);
    let server = busy();
    send(server.port, &["--retries", "0"]).expect(75);
    assert_eq!(server.seen().connections, 1);
    let kept = folder();
    let config = kept.path().join("config.toml");
    std::fs::write(&config, "[send]\nretries = 1\nretry-delays = [0.05]\n").unwrap();
    let server = busy();
    send(server.port, &["--config", config.to_str().unwrap()]).expect(75);
    assert_eq!(server.seen().connections, 2);
    send(server.port, &["--retry-delays", "1,x"]).expect(64);
    send(server.port, &["--retry-delays", "-1"]).expect(64);
}

#[test]
fn a_lost_reply_has_its_own_exit_code() {
    // The first message gets no answer, and the server is gone for the second.
    let server = smtp_server(|verb, _| if verb == "DATA" { String::new() } else { takes_all(verb) });
    let done = send(server.port, &["--retries", "0"]).expect(70);
    done.shows(&["uncertain", "the server may have accepted it", "before you send the message again"]);
    let done = send(server.port, &["--retries", "0", "--json"]).expect(70);
    assert_eq!(done.json()["status"], "uncertain");
    send(server.port, &["--timings"]).expect(70);
}

/// Starts a run against a server that stalls at this verb of the second message, then signals the run.
fn interrupted(stall: &'static str, signals: &[&str]) -> (Option<i32>, String, Duration) {
    let (stalled, at) = channel();
    let stalled = std::sync::Mutex::new(stalled);
    let server = ScriptedServer::start(move |peer| {
        peer.say("220 s.example\r\n");
        let mut messages = 0;
        while let Some(line) = peer.line() {
            let verb = line.get(..4).unwrap_or_default().to_uppercase();
            messages += usize::from(verb == "MAIL");
            let stalls = messages == 2 && verb == stall;
            if verb == "DATA" {
                peer.say("354 go on\r\n");
                while peer.line().is_some_and(|line| line != ".") {}
            }
            if stalls {
                stalled.lock().unwrap().send(()).unwrap();
                if stall != "DATA" {
                    while peer.line().is_some() {}
                    return;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            peer.say(takes_all(&verb));
        }
    });
    let kept = folder();
    let path = kept.path().join("some.mbox");
    let text: String = (1..=3).map(|number| format!("From x\nSubject: {number}\n\nbody\n\n")).collect();
    std::fs::write(&path, text).unwrap();
    let journal = kept.path().join("journal");
    let url = format!("smtp://localhost:{}", server.port);
    let many = ["--messages", path.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let child =
        command(&[&["send", &url, "--danger-cleartext"][..], &TO, &many].concat(), "").spawn().unwrap();
    at.recv_timeout(Duration::from_secs(20)).unwrap();
    let begun = std::time::Instant::now();
    for signal in signals {
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, pid.as_str()]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), shown, begun.elapsed())
}

#[test]
fn an_interrupted_run_finishes_its_message_and_says_how_to_continue() {
    // All of the second message was sent: the run waits for its answer and does not start the third.
    let (code, shown, _) = interrupted("DATA", &["-INT"]);
    assert_eq!(code, Some(130), "{shown}");
    for text in ["messages: 2 success", "2 messages were sent", "the same command again"] {
        assert!(shown.contains(text), "{text:?}: {shown}");
    }
    let (code, shown, _) = interrupted("RCPT", &["-TERM"]);
    assert_eq!(code, Some(143), "{shown}");
    assert!(shown.contains("1 message was sent"), "{shown}");
    let (code, shown, took) = interrupted("RCPT", &["-INT", "-INT"]);
    assert_eq!(code, Some(130), "{shown}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
