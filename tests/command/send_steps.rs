//! Probing a server step by step: a message goes as far as requested, with the requested services.

use serde_json::Value;

use crate::harness::{CommandOutput, RunningServer, ScriptedServer, run_with, smtp_server};

const MESSAGE: &[u8] = b"Subject: s\r\n\r\n.x\r\n";

fn send(port: u16, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://localhost:{port}");
    let arguments =
        ["send", &url, "--danger-cleartext", "--from", "a@x.example", "--to", "b@x.example", "--json"];
    run_with(&[&arguments, more].concat(), "", MESSAGE)
}

/// A server that offers these extensions and accepts all recipients except those called `no`.
fn offers(keywords: &'static [&'static str]) -> ScriptedServer {
    ScriptedServer::start(move |peer| {
        peer.say("220 s.example\r\n");
        let mut recipients = 0;
        let mut lmtp = false;
        while let Some(line) = peer.line() {
            let verb = line.get(..4).unwrap_or_default();
            match verb {
                "EHLO" | "LHLO" => {
                    lmtp = verb == "LHLO";
                    peer.say("250-s.example\r\n");
                    keywords.iter().for_each(|keyword| peer.say(format!("250-{keyword}\r\n")));
                    peer.say("250 HELP\r\n");
                }
                "RCPT" if line.contains("<no@") => peer.say("550 5.1.1 no such user\r\n"),
                "RCPT" => {
                    recipients += 1;
                    peer.say("250 2.1.5 ok\r\n");
                }
                "BDAT" => {
                    // One chunk, made of lines.
                    let mut left: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
                    while left > 0 {
                        left -= peer.line().unwrap().len() + 2;
                    }
                    peer.say("250 2.0.0 taken as a chunk\r\n");
                }
                "DATA" => {
                    peer.say("354 go on\r\n");
                    loop {
                        match peer.line() {
                            Some(line) if line == "." => break,
                            Some(_) => {}
                            None => return,
                        }
                    }
                    match lmtp {
                        true => (0..recipients).for_each(|number| {
                            peer.say(if number == 1 { "452 4.2.2 full\r\n" } else { "250 2.0.0 ok\r\n" });
                        }),
                        false => peer.say("250 2.0.0 taken as data\r\n"),
                    }
                }
                "QUIT" => {
                    peer.say("221 2.0.0 bye\r\n");
                    return;
                }
                _ => peer.say("250 2.0.0 ok\r\n"),
            }
        }
    })
}

fn lines(done: &CommandOutput) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn stops_after_the_requested_step() {
    let before: [(&str, &str, &[&str]); 8] = [
        ("connect", "", &["EHLO"]),
        ("greeting", "", &["MAIL"]),
        ("ehlo", "EHLO", &["MAIL"]),
        ("auth", "EHLO", &["MAIL"]),
        ("mail", "MAIL", &["RCPT"]),
        ("rcpt", "RCPT", &["DATA"]),
        ("data", "DATA", &["Subject", "QUIT"]),
        ("dot", "..x", &["QUIT"]),
    ];
    let runs = before.map(|(step, said, not_said)| {
        std::thread::spawn(move || {
            let server = offers(&["PIPELINING"]);
            let done = send(server.port, &["--stop-after", step]).expect(0);
            let received = server.seen().received;
            assert!(received.contains(said), "{step}: {received}");
            assert!(!not_said.iter().any(|word| received.contains(word)), "{step}: {received}");
            // Without a user there is no login step.
            let last = if step == "auth" { "ehlo" } else { step };
            assert_eq!(lines(&done).last().unwrap()["step"], last, "{}", done.out);
        })
    });
    for run in runs {
        run.join().unwrap();
    }
}

#[test]
fn shows_each_step_with_its_reply_and_time() {
    let served = RunningServer::start(&[]);
    let (url, mailbox) = (served.url("smtp"), served.mailbox());
    let arguments = [
        "send",
        &url,
        "--from",
        &mailbox,
        "--to",
        &mailbox,
        "--to",
        "missing@localhost",
        "--timings",
        "--json",
    ];
    let done = served.run(&arguments, MESSAGE).expect(69);
    let told = lines(&done);
    let steps: Vec<_> = told.iter().filter_map(|line| line["step"].as_str()).collect();
    let expected =
        ["name", "connect", "greeting", "tls", "ehlo", "auth", "mail", "rcpt", "rcpt", "dot", "quit"];
    assert_eq!(steps, expected, "{}", done.out);
    assert!(told.iter().take(11).all(|line| line["ms"].is_number()), "{}", done.out);
    assert!(told[3]["ms"].as_f64().unwrap() > 0.0, "a handshake takes time: {}", done.out);
    let refused = &told[8];
    assert_eq!(
        (&refused["recipient"], &refused["ok"], &refused["code"]),
        (&"missing@localhost".into(), &false.into(), &550.into())
    );
    assert_eq!(told[11]["error"]["code"], 69, "{}", done.out);
}

#[test]
fn lmtp_reports_a_reply_for_each_recipient() {
    let server = offers(&["PIPELINING"]);
    let more = ["--lmtp", "--to", "no@x.example", "--to", "c@x.example", "--attempts", "1"];
    let report = send(server.port, &more).expect(69).json();
    let fates: Vec<_> =
        report["recipients"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(fates, ["success", "rejected", "temp_failed"], "{report}");
    let received = server.seen().received;
    assert!(received.starts_with("LHLO") && !received.contains("EHLO"), "{received}");
}

#[test]
fn uses_bdat_when_offered_and_wanted() {
    let sent = |keywords: &'static [&'static str], when: &str| {
        let server = offers(keywords);
        let done = send(server.port, &["--chunking", when]);
        (done.code, server.seen().received.contains("BDAT 18 LAST"))
    };
    assert_eq!(sent(&["CHUNKING"], "auto"), (0, true));
    assert_eq!(sent(&["CHUNKING"], "never"), (0, false));
    assert_eq!(sent(&[], "auto"), (0, false));
    assert_eq!(sent(&["CHUNKING"], "always"), (0, true));
    let server = offers(&[]);
    send(server.port, &["--chunking", "always"]).expect(69).shows(&["CHUNKING", "--chunking auto"]);
    assert!(!server.seen().received.contains("MAIL"));
}

#[test]
fn requests_a_service_where_it_is_offered() {
    let asked = [
        "--notify",
        "failure,delay",
        "--ret",
        "hdrs",
        "--envid",
        "no 1",
        "--orcpt",
        "own",
        "--priority",
        "-3",
        "--deliver-by",
        "120;R",
        "--hold-for",
        "60",
        "--smtputf8",
    ];
    let server = offers(&[
        "DSN",
        "MT-PRIORITY",
        "DELIVERBY",
        "FUTURERELEASE 1000 2030-01-01T00:00:00Z",
        "SMTPUTF8",
        "8BITMIME",
    ]);
    send(server.port, &asked).expect(0);
    let received = server.seen().received;
    for parameter in [
        "RET=HDRS",
        "ENVID=no+201",
        "MT-PRIORITY=-3",
        "BY=120;R",
        "HOLDFOR=60",
        "SMTPUTF8",
        "NOTIFY=FAILURE,DELAY",
        "ORCPT=rfc822;b@x.example",
    ] {
        assert!(received.contains(parameter), "{parameter}: {received}");
    }
    // Optional services that the server does not offer are left out and named, and so are those that the message does
    // not need; without a required one nothing is sent.
    let server = offers(&[]);
    send(server.port, &["--smtputf8"]).expect(0);
    assert!(server.seen().received.contains("MAIL FROM:<a@x.example>\r\n"));
    let server = offers(&[]);
    send(server.port, &["--notify", "never", "--priority", "1"]).expect(0).shows(&["DSN, MT-PRIORITY"]);
    assert!(server.seen().received.contains("MAIL FROM:<a@x.example>\r\n"));
    let beyond_ascii = ["--to", "j\u{fc}rgen@x.example", "--smtputf8"];
    for needed in [&["--hold-for", "60"][..], &beyond_ascii, &["--require-tls"]] {
        let server = offers(&["DSN"]);
        assert_ne!(send(server.port, needed).code, 0, "{needed:?}");
        let received = server.seen().received;
        let others = needed == beyond_ascii;
        assert_eq!(received.contains("MAIL"), others, "{needed:?} {received}");
        assert!(!received.contains("j\u{fc}rgen"), "{received}");
    }
}

#[test]
fn allows_the_null_sender_only_for_whole_messages() {
    let server = offers(&[]);
    let url = format!("smtp://localhost:{}", server.port);
    let arguments = ["send", &url, "--danger-cleartext", "--from", "<>", "--to", "b@x.example"];
    run_with(&arguments, "", MESSAGE).expect(0);
    assert!(server.seen().received.contains("MAIL FROM:<>\r\n"));
    run_with(&[&arguments[..], &["--subject", "s"]].concat(), "", b"").expect(64).shows(&["--from"]);
}

#[test]
fn rejects_invalid_services_as_usage_errors() {
    let server = smtp_server(|_, _| "250 ok\r\n".to_owned());
    for wrong in [
        &["--notify", "never,success"][..],
        &["--ret", "all"],
        &["--envid", ""],
        &["--orcpt", "b@x.example"],
        &["--priority", "10"],
        &["--deliver-by", "-1;R"],
        &["--hold-for", "0"],
        &["--stop-after", "lunch"],
        &["--timings", "--messages", "/dev/null"],
    ] {
        send(server.port, wrong).expect(64);
    }
    send(server.port, &["--orcpt", "rfc822;z@x.example", "--to", "c@x.example"]).expect(65).shows(&["own"]);
}
