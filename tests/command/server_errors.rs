//! What a server refuses and how the command reports it: temporary or permanent, the cause, and the server's own
//! words.

use serde_json::Value;

use crate::harness::{
    CommandOutput, RunningServer, ScriptedConnection, ScriptedServer, folder, imap_server, run, run_with,
    smtp_server,
};
use crate::malicious_servers::{at_once, honest};
use crate::tls_proxy::TlsProxy;

const SECRET: &str = "pW3-vvNh7-aaQk";
const CLEAR: [&str; 2] = ["--danger-cleartext", "--danger-cleartext-login"];
const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n";

/// Runs each command that reads mail.
fn read_mail(port: u16, more: &[&str]) -> Vec<CommandOutput> {
    let url = format!("imap://alice@localhost:{port}");
    let kept = folder();
    let into = kept.path().join("store");
    let into = into.to_str().unwrap();
    let commands: [&[&str]; 3] = [&["check", &url], &["folders", &url], &["sync", &url, "--into", into]];
    commands
        .iter()
        .map(|command| run(&[command, &["--timeout", "5"][..], &CLEAR, more].concat(), SECRET))
        .collect()
}

fn send(port: u16, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://alice@localhost:{port}");
    let send = ["send", &url, "--from", "a@b.example", "--to", "c@d.example", "--attempts", "1"];
    run_with(&[&send, &CLEAR[..], more].concat(), SECRET, b"Subject: x\r\n\r\nbody\r\n")
}

/// The server's code and text, wherever the JSON has them.
fn server_of(done: &CommandOutput) -> (Value, Value) {
    let last: Value = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    let error = &last["error"];
    assert_eq!(error["host"], "localhost", "{last}");
    assert!(error["port"].as_u64().is_some(), "{last}");
    (error["server"]["code"].clone(), error["server"]["text"].clone())
}

#[test]
fn a_cleartext_submission_uses_scram_if_the_server_offers_it() {
    let server = smtp_server(|verb, _| match verb {
        "EHLO" => "250-s.example\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n".to_owned(),
        "AUTH" => "535 5.7.8 no\r\n".to_owned(),
        _ => "250 ok\r\n".to_owned(),
    });
    send(server.port, &[]).expect(77);
    let received = server.seen().received.clone();
    assert!(received.contains("AUTH SCRAM-SHA-256 ") && !received.contains("AUTH PLAIN"), "{received}");
}

#[test]
fn an_unavailable_login_is_temporary_and_does_not_blame_the_password() {
    for (answer, code) in [
        ("NO [UNAVAILABLE] Temporary authentication failure", "UNAVAILABLE"),
        ("NO [LIMIT] LOGIN Rate limit hit", "LIMIT"),
        ("NO [INUSE] mailbox in use", "INUSE"),
        ("NO [SERVERBUG] oops", "SERVERBUG"),
        ("BAD Request is throttled. Suggested Backoff Time: 12 milliseconds", ""),
    ] {
        let server = imap_server(GREETING, move |tag, command| match command.starts_with("AUTHENTICATE") {
            true => format!("{tag} {answer}\r\n"),
            false => honest(tag, command),
        });
        for done in read_mail(server.port, &[]) {
            let words = answer.rsplit(']').next().unwrap().trim_start_matches("BAD ").trim();
            let done = done.expect(75).shows(&[code, words, &format!("localhost:{}", server.port)]);
            assert!(!done.shown.to_lowercase().contains("password"), "{}", done.shown);
        }
        for done in read_mail(server.port, &["--json"]) {
            let (said, text) = server_of(&done.expect(75));
            assert_eq!(said.as_str().unwrap_or_default(), code);
            assert!(answer.contains(text.as_str().unwrap()), "{text}");
        }
    }
}

#[test]
fn bye_is_temporary_and_its_text_is_shown() {
    let words = "Too many simultaneous connections. (Failure)";
    let greeting = format!("* BYE [ALERT] {words}\r\n");
    let server = ScriptedServer::at_once(move |peer| peer.say(&greeting));
    for done in read_mail(server.port, &[]) {
        done.expect(75).shows(&["ALERT", words]);
    }
    for done in read_mail(server.port, &["--json"]) {
        let (code, text) = server_of(&done.expect(75));
        assert_eq!((code, text), ("ALERT".into(), words.into()));
    }
    // Also in the middle of a session.
    for begun in ["AUTHENTICATE", "LIST"] {
        let server = imap_server(GREETING, move |tag, command| match command.starts_with(begun) {
            true => "* BYE [UNAVAILABLE] going down\r\n".to_owned(),
            false => honest(tag, command),
        });
        let url = format!("imap://alice@localhost:{}", server.port);
        run(&[&["folders", &url, "--timeout", "2"], &CLEAR[..]].concat(), SECRET).expect(75);
    }
}

/// An IMAP server that sends `last` to commands that begin with `begun`, and closes.
fn closing(begun: &'static str, last: &'static str) -> ScriptedServer {
    ScriptedServer::at_once(move |peer: &mut ScriptedConnection| {
        if begun.is_empty() {
            return peer.say(last);
        }
        peer.say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n");
        while let Some(line) = peer.line() {
            let (tag, command) = line.split_once(' ').unwrap_or_default();
            if command.starts_with(begun) {
                return peer.say(last);
            }
            peer.say(honest(tag, &command.to_uppercase()));
        }
    })
}

#[test]
fn a_closed_connection_is_temporary_at_any_point() {
    let cases = [
        ("", ""),
        ("", "* O"),
        ("AUTHENTICATE", ""),
        ("AUTHENTICATE", "M"),
        ("CAPABILITY", "* CAPAB"),
        ("LIST", ""),
        ("LIST", "* LIST () \"/\" IN"),
    ];
    at_once(&cases, |(begun, last)| {
        let server = closing(begun, last);
        for done in read_mail(server.port, &[]) {
            assert_eq!(done.code, 75, "{begun} {last:?}: {}", done.shown);
        }
    });
    let cases =
        [("", ""), ("", "220 s.exam"), ("EHLO", "250-s.example\r\n250-AU"), ("AUTH", ""), ("AUTH", "23")];
    at_once(&cases, |(begun, last)| {
        let server = ScriptedServer::at_once(move |peer: &mut ScriptedConnection| {
            if begun.is_empty() {
                return peer.say(last);
            }
            peer.say("220 s.example\r\n");
            while let Some(line) = peer.line() {
                if line.starts_with(begun) {
                    return peer.say(last);
                }
                peer.say("250-s.example\r\n250 AUTH PLAIN\r\n");
            }
        });
        let url = format!("smtp://alice@localhost:{}", server.port);
        let checked = run(&[&["check", &url, "--timeout", "5"], &CLEAR[..]].concat(), SECRET);
        assert_eq!(checked.code, 75, "check {begun} {last:?}: {}", checked.shown);
        let sent = send(server.port, &["--timeout", "5"]);
        assert_eq!(sent.code, 75, "send {begun} {last:?}: {}", sent.shown);
    });
}

#[test]
fn smtp_replies_of_4yz_are_temporary_and_shown() {
    for (at, reply) in [
        ("AUTH", "454 4.7.0 Temporary authentication failure"),
        ("AUTH", "421 4.7.0 Too many logins"),
        ("EHLO", "421 4.3.2 Not now"),
    ] {
        let server = smtp_server(move |verb, _| match verb {
            verb if verb == at => format!("{reply}\r\n"),
            "EHLO" => "250-s.example\r\n250 AUTH PLAIN\r\n".to_owned(),
            _ => "250 ok\r\n".to_owned(),
        });
        let url = format!("smtp://alice@localhost:{}", server.port);
        let check = ["check", &url, "--timeout", "5"];
        let done = run(&[&check, &CLEAR[..]].concat(), SECRET).expect(75).shows(&[reply]);
        assert!(!done.shown.contains("password"), "{}", done.shown);
        let done = run(&[&check, &CLEAR[..], &["--json"]].concat(), SECRET).expect(75);
        let (code, text) = server_of(&done);
        assert_eq!(format!("{} {}", code.as_str().unwrap(), text.as_str().unwrap()), reply);
    }
}

#[test]
fn blames_the_password_only_when_the_server_does() {
    for (answer, doubted, code) in [
        ("NO [AUTHENTICATIONFAILED] Authentication failed.", true, 77),
        ("NO LOGIN failed.", true, 77),
        ("NO not here", false, 77),
        ("NO [CONTACTADMIN] ask us", false, 77),
        ("NO [AUTHORIZATIONFAILED] not for you", false, 77),
        ("NO [WEBALERT https://x.example/] Web login required.", false, 77),
    ] {
        let server = imap_server(GREETING, move |tag, command| match command.starts_with("AUTHENTICATE") {
            true => format!("{tag} {answer}\r\n"),
            false => honest(tag, command),
        });
        for done in read_mail(server.port, &[]) {
            let done = done.expect(code);
            assert_eq!(done.shown.contains("password"), doubted, "{answer}: {}", done.shown);
        }
    }
}

#[test]
fn never_stores_server_text() {
    let server = imap_server(GREETING, |tag, command| match command.starts_with("LIST") {
        true => format!("{tag} NO [UNAVAILABLE] alice-private is over there\r\n"),
        false => honest(tag, command),
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    let kept = folder();
    let into = kept.path().join("store");
    let sync = ["sync", &url, "--into", into.to_str().unwrap()];
    run(&[&sync, &CLEAR[..]].concat(), SECRET).expect(75).shows(&["alice-private"]);
    let store = rusqlite::Connection::open(into.join("mail.db")).unwrap();
    let error: String = store.query_row("SELECT error FROM remote_accounts", [], |row| row.get(0)).unwrap();
    assert!(error.contains("UNAVAILABLE") && !error.contains("alice"), "{error}");
}

/// The mechanisms that a client tried, in order.
fn asked_for(server: &ScriptedServer) -> Vec<String> {
    let received = server.seen().received;
    received
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip_while(|word| !["AUTHENTICATE", "AUTH"].contains(word));
            words.nth(1).map(str::to_owned)
        })
        .collect()
}

#[test]
fn retries_once_with_the_next_mechanism_that_hides_the_password() {
    const OFFER: &str =
        "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1 AUTH=PLAIN AUTH=LOGIN SASL-IR";
    let both = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    for (answer, more, tried) in [
        ("NO bad protocol / cancel", &[][..], &both[..]),
        ("NO [AUTHENTICATIONFAILED] wrong", &[], &both[..1]),
        ("NO [UNAVAILABLE] later", &[], &both[..1]),
        ("NO no", &[], &both[..1]),
        ("NO bad protocol / cancel", &["--mechanism", "SCRAM-SHA-256-PLUS"], &both[..1]),
        ("NO bad protocol / cancel", &["--mechanism", "SCRAM-SHA-256-PLUS,PLAIN"], &both[..1]),
    ] {
        let server = ScriptedServer::at_once(move |peer: &mut ScriptedConnection| {
            peer.say(format!("* OK [CAPABILITY IMAP4rev1 {OFFER}] hi\r\n"));
            while let Some(line) = peer.line() {
                let (tag, command) = line.split_once(' ').unwrap_or_default();
                peer.say(match command.starts_with("AUTHENTICATE") {
                    true => format!("{tag} {answer}\r\n"),
                    false => honest(tag, command),
                });
            }
        });
        let front = TlsProxy::before(server.port);
        let url = format!("imaps://alice@localhost:{}", front.port);
        let done = run(&[&["check", &url, "--pin", &front.pin][..], more].concat(), SECRET);
        assert_eq!(asked_for(&server), tried, "{answer} {more:?}: {}", done.shown);
        assert!(done.code == 77 || answer.contains("UNAVAILABLE"), "{}", done.shown);
        let _ = done.shows(&["SCRAM-SHA-256-PLUS"; 1][..usize::from(answer.contains("cancel"))]);
    }
}

#[test]
fn smtp_retries_with_the_next_mechanism_that_hides_the_password() {
    let both = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    for (answer, tried) in [
        ("504 5.5.4 Unrecognized authentication type", &both[..]),
        ("535 5.7.0 bad protocol / cancel", &both),
        ("535 5.7.8 Authentication credentials invalid", &both[..1]),
        ("454 4.7.0 Temporary authentication failure", &both[..1]),
    ] {
        let server = smtp_server(move |verb, _| match verb {
            "EHLO" => "250-s.example\r\n250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n".to_owned(),
            "AUTH" => format!("{answer}\r\n"),
            _ => "250 ok\r\n".to_owned(),
        });
        let front = TlsProxy::before(server.port);
        let url = format!("smtps://alice@localhost:{}", front.port);
        let done = run(&["check", &url, "--pin", &front.pin], SECRET);
        assert_eq!(asked_for(&server), tried, "{answer}: {}", done.shown);
        assert_eq!(done.code, if answer.starts_with('4') { 75 } else { 77 }, "{}", done.shown);
    }
}

#[test]
fn requests_a_second_token_once_after_a_refusal() {
    let kept = folder();
    let asked = kept.path().join("asked");
    let token = format!("echo x >> {0}; echo token-$(wc -l < {0} | tr -d ' ')", asked.display());
    let imap = |good: &'static str| {
        ScriptedServer::at_once(move |peer: &mut ScriptedConnection| {
            peer.say("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hi\r\n");
            while let Some(line) = peer.line() {
                let (tag, command) = line.split_once(' ').unwrap_or_default();
                peer.say(match command.starts_with("AUTHENTICATE") {
                    true if line.contains(good) => format!("{tag} OK in\r\n"),
                    true => format!("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials\r\n"),
                    false => honest(tag, command),
                });
            }
        })
    };
    // The base64 of the second token, and that of an absent one.
    for (good, times, code) in [("dG9rZW4tMg", 2, 0), ("!", 2, 77)] {
        let _ = std::fs::remove_file(&asked);
        // Check each alignment of the bytes before it.
        let server = imap(if code == 0 { "b2tlbi0y" } else { good });
        let front = TlsProxy::before(server.port);
        let url = format!("imaps://al@localhost:{}", front.port);
        let done = run(&["folders", &url, "--pin", &front.pin, "--token-command", &token], "");
        let count = std::fs::read_to_string(&asked).unwrap().lines().count();
        assert_eq!(count, times, "{}", done.shown);
        let done = done.expect(code);
        if code != 0 {
            done.shows(&["token", "expired", "--token-command"]);
        }
    }
}

#[test]
fn suggests_both_options_for_an_untrusted_certificate() {
    let served = RunningServer::start(&[]);
    let done = run(&["check", &served.url("imaps")], served.password).expect(77);
    done.shows(&["--ca FILE", "--pin sha256:"]);
    let server = imap_server(GREETING, honest);
    let front = TlsProxy::before(server.port);
    let url = format!("imaps://al@localhost:{}", front.port);
    run(&["folders", &url], SECRET).expect(77).shows(&["--ca FILE", &format!("--pin {}", front.pin)]);
}

#[test]
fn names_mistakes_in_arguments() {
    run(&["check", "imaps://localhost:1993/INBOX"], SECRET).expect(64).shows(&["path", "INBOX"]);
    run(&["check", "imaps://alice@localhost:1"], "").expect(78).shows(&["empty", "--password-command"]);
    let kept = folder();
    let file = kept.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let server = imap_server(GREETING, honest);
    let url = format!("imap://alice@localhost:{}", server.port);
    let sync = ["sync", &url, "--into", file.to_str().unwrap()];
    let done = run(&[&sync, &CLEAR[..]].concat(), SECRET);
    assert!([69, 73, 78].contains(&done.code), "{}", done.shown);
    let done = done.shows(&[file.to_str().unwrap()]);
    assert!(done.shown.contains("try:"), "{}", done.shown);
    drop(std::net::TcpStream::connect(("127.0.0.1", server.port)));
}

#[test]
fn shows_what_a_server_sends_instead_of_a_greeting() {
    for (greeting, words, code) in [
        ("* NO this client is not welcome here\r\n", "this client is not welcome here", 76),
        ("* BAD [CLIENTBUG] go away\r\n", "go away", 76),
        ("* NO [UNAVAILABLE] come back at noon\r\n", "come back at noon", 75),
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2", 76),
    ] {
        let server = ScriptedServer::at_once(move |peer| peer.say(greeting));
        for done in read_mail(server.port, &[]) {
            done.expect(code).shows(&[words]);
        }
    }
}
