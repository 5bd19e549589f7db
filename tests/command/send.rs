//! An SMTP sender that validates before it connects, reports each recipient's result, retries where that helps, and
//! writes messages that other programs can read.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{CommandOutput, RunningServer, files, folder, run, run_with, smtp_server};

const MESSAGE: &[u8] = b"Subject: s\r\n\r\nx\r\n";

/// Sends without TLS to a scripted server.
fn send(port: u16, more: &[&str]) -> CommandOutput {
    let url = format!("smtp://localhost:{port}");
    let arguments = ["send", &url, "--danger-cleartext", "--from", "a@x.example", "--json"];
    run_with(&[&arguments, more].concat(), "", MESSAGE)
}

/// A server that accepts everything for which `unusual` returns `None`.
fn answers(
    unusual: impl Fn(&str, usize) -> Option<&'static str> + Send + Sync + 'static,
) -> crate::harness::ScriptedServer {
    smtp_server(move |verb, number| {
        let usual = match verb {
            "EHLO" => "250-s.example\r\n250 SIZE 100000\r\n",
            "QUIT" => "221 2.0.0 bye\r\n",
            _ => "250 2.0.0 ok\r\n",
        };
        unusual(verb, number).unwrap_or(usual).to_owned()
    })
}

#[test]
fn each_limit_can_be_set_and_its_error_names_the_field() {
    let kept = crate::harness::folder();
    let (config, file) = (kept.path().join("config.toml"), kept.path().join("a.bin"));
    std::fs::write(&file, "12345").unwrap();
    let attached = format!("{};type=application/x-five", file.display());
    let refused = |setting: &str, more: &[&str], shown: &str| {
        std::fs::write(&config, format!("[send]\n{setting}\n")).unwrap();
        let first = ["send", "smtps://u@localhost:1", "--config", config.to_str().unwrap()];
        let given = [&first[..], &["--from", "a@x.example", "--to", "b@x.example"], more].concat();
        run(&given, "p").expect(65).shows(&[shown]);
    };
    refused("max-subject = 3", &["--subject", "four"], "subject: longer than 3 characters");
    refused("max-body = 3", &["--text", "four"], "text: longer than 3 bytes");
    refused("max-attachment = 4", &["--text", "", "--attach", &attached], "limit for one attachment is 4");
    let twice = ["--text", "", "--attach", &attached, "--attach", &attached];
    refused("max-attachments = 9", &twice, "attach: more than 9 bytes in total");
    let two = ["--text", "", "--to", "c@x.example"];
    refused("max-recipients = 1", &two, "2 recipients, and the limit is 1 per message");
}

#[test]
fn sends_by_implicit_tls_and_by_starttls() {
    let served = RunningServer::start(&[]);
    let mailbox = served.mailbox();
    for service in ["smtps", "smtp"] {
        let url = served.url(service);
        let done =
            served.run(&["send", &url, "--from", &mailbox, "--to", &mailbox, "--json"], MESSAGE).expect(0);
        let report = done.json();
        assert_eq!(report["status"], "success", "{report}");
        assert!(report["tls"].as_str().is_some_and(|tls| tls.contains("1.3")), "{report}");
    }
}

#[test]
fn sends_nothing_without_starttls() {
    let server = answers(|_, _| None);
    let url = format!("smtp://alice@localhost:{}", server.port);
    let arguments = ["send", &url, "--from", "a@x.example", "--to", "b@x.example"];
    run_with(&arguments, "secret-secret", MESSAGE).expect(77).shows(&["STARTTLS", "465"]);
    let received = server.seen().received;
    assert!(!received.contains("MAIL") && !received.contains("AUTH"), "{received}");
}

#[test]
fn validates_messages_and_addresses_before_connecting() {
    // Nothing listens there: errors are found before a connection is opened.
    let url = "smtps://alice@localhost:9";
    let long = format!("{}@x.example", "a".repeat(65));
    let recipients: Vec<String> =
        (0..2000).flat_map(|number| ["--to".into(), format!("u{number}@x.example")]).collect();
    let many: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let wrong: [&[&str]; 8] = [
        &["--to", "no-at-sign"],
        &["--to", "a@@b.example"],
        &["--to", "a b@c.example"],
        &["--to", &long],
        &["--to", "x@y.example\r\nBcc: z@z.example"],
        &["--to", "x@y.example", "--subject", "a\nBcc: z@z.example"],
        &["--to", "x@y.example", "--header", "X: y\r\nBcc: z@z.example"],
        &many,
    ];
    for more in wrong {
        let done = run_with(&[&["send", url, "--from", "a@x.example"], more].concat(), "p", MESSAGE);
        assert_eq!(done.code, 65, "{:?}: {}", &more[..2], done.shown);
    }
    // Every wrong field is named at once.
    run_with(&["send", url, "--from", "no-domain", "--to", "no-at-sign", "--cc", "@"], "p", MESSAGE)
        .expect(65)
        .shows(&["--from", "--to", "--cc"]);
}

#[test]
fn does_not_start_a_message_that_the_server_cannot_accept() {
    let server = answers(|_, _| None);
    let large = [b"Subject: large\r\n\r\n".as_slice(), &b"0123456789\r\n".repeat(10_000)].concat();
    let url = format!("smtp://localhost:{}", server.port);
    let arguments =
        ["send", &url, "--danger-cleartext", "--from", "a@x.example", "--to", "b@x.example", "--json"];
    let done = run_with(&arguments, "", &large);
    assert_ne!(done.code, 0);
    assert!(!server.seen().received.contains("DATA"), "{}", done.shown);
}

#[test]
fn reports_a_result_for_each_recipient() {
    let served = RunningServer::start(&[]);
    let (url, good) = (served.url("smtps"), served.mailbox());
    let arguments = ["send", &url, "--from", &good, "--to", "missing@localhost", "--to", &good, "--json"];
    let done = served.run(&arguments, MESSAGE).expect(69);
    let report = done.json();
    let fate = |address: &str| {
        let all = report["recipients"].as_array().unwrap();
        all.iter().find(|one| one["address"] == address).unwrap().clone()
    };
    assert_eq!(fate(&good)["status"], "success", "{report}");
    let refused = fate("missing@localhost");
    assert_eq!((&refused["status"], &refused["code"]), (&"rejected".into(), &550.into()), "{report}");
    assert_eq!((&refused["stage"], &refused["enhanced"]), (&"rcpt".into(), &"5.1.1".into()), "{report}");
}

/// Sends to a server whose first connection answers RCPT with this, and whose second connection accepts it.
fn retried(reply: &'static str) -> (Value, usize, Duration) {
    let server = answers(move |verb, number| (verb == "RCPT" && number == 0).then_some(reply));
    let done = send(server.port, &["--to", "b@x.example"]).expect(0);
    (done.json(), server.seen().connections, done.took)
}

#[test]
fn retries_on_421_450_451_and_452_after_a_pause() {
    let replies =
        ["421 4.3.2 later\r\n", "450 4.2.1 later\r\n", "451 4.3.0 later\r\n", "452 4.2.2 later\r\n"];
    let runs = replies.map(|reply| std::thread::spawn(move || retried(reply)));
    for (run, reply) in runs.into_iter().zip(replies) {
        let (report, connections, took) = run.join().unwrap();
        assert_eq!(
            (&report["status"], &report["retry_count"]),
            (&"success".into(), &1.into()),
            "{reply}: {report}"
        );
        assert_eq!(connections, 2, "{reply}");
        assert!(took >= Duration::from_millis(900), "{reply}: no pause before the retry: {took:?}");
    }
}

#[test]
fn does_not_retry_permanent_failures() {
    let server = answers(|verb, _| (verb == "RCPT").then_some("550 5.1.1 no such user\r\n"));
    let report = send(server.port, &["--to", "b@x.example"]).expect(69).json();
    assert_eq!((&report["status"], &report["is_retryable"]), (&"rejected".into(), &false.into()), "{report}");
    assert_eq!(server.seen().connections, 1);
}

#[test]
fn does_not_resend_to_recipients_that_have_the_message() {
    // The second RCPT of the first connection is deferred; the second connection has only that recipient.
    let server = crate::harness::ScriptedServer::start(|peer| {
        peer.say("220 s.example\r\n");
        while let Some(line) = peer.line() {
            let late = line.contains("<late@") && peer.number == 0;
            if line.starts_with("DATA") {
                peer.say("354 go on\r\n");
                while peer.line().is_some_and(|line| line != ".") {}
            }
            peer.say(if late { "450 4.2.1 later\r\n" } else { "250 2.0.0 ok\r\n" });
            if line.starts_with("QUIT") {
                return;
            }
        }
    });
    let report = send(server.port, &["--to", "first@x.example", "--to", "late@x.example"]).expect(0).json();
    assert_eq!(report["status"], "success", "{report}");
    let received = server.seen().received;
    assert_eq!(received.matches("RCPT TO:<first@").count(), 1, "{received}");
    assert_eq!(received.matches("RCPT TO:<late@").count(), 2, "{received}");
}

#[test]
fn serialises_results() {
    let expect = |server: crate::harness::ScriptedServer, more: &[&str], code: i32, status: &str| {
        let report = send(server.port, &[&["--to", "b@x.example"], more].concat()).expect(code).json();
        assert_eq!(report["status"], status, "{report}");
        for field in
            ["recipients", "retry_count", "is_retryable", "duration_ms", "sent_at", "message_id", "tls"]
        {
            assert!(report.get(field).is_some(), "{field} is missing: {report}");
        }
    };
    expect(answers(|_, _| None), &[], 0, "success");
    expect(answers(|verb, _| (verb == "MAIL").then_some("550 5.7.1 not you\r\n")), &[], 69, "rejected");
    let late = answers(|verb, _| (verb == "RCPT").then_some("451 4.3.0 later\r\n"));
    expect(late, &["--attempts", "1"], 75, "temp_failed");
    // All of the message was sent and no reply came: a retry could deliver it twice.
    let gone = answers(|verb, _| (verb == "DATA").then_some(""));
    expect(gone, &[], 70, "uncertain");
}

#[test]
fn sends_html_attachments_and_fields_as_mime() {
    let served = RunningServer::start(&[]);
    let (url, mailbox, kept) = (served.url("smtps"), served.mailbox(), folder());
    let page = kept.path().join("page.html");
    let thing = kept.path().join("thing.bin");
    std::fs::write(&page, "<p>Grüße</p>").unwrap();
    std::fs::write(&thing, (0..=255).collect::<Vec<u8>>().repeat(20)).unwrap();
    let built = [
        "send",
        &url,
        "--from",
        &mailbox,
        "--to",
        &mailbox,
        "--bcc",
        &mailbox,
        "--subject",
        "Grüße aus Köln",
        "--text",
        "hello",
        "--html",
        page.to_str().unwrap(),
        "--attach",
        thing.to_str().unwrap(),
        "--header",
        "X-Ticket: 42",
    ];
    served.run(&built, b"").expect(0);
    let into = kept.path().join("store");
    served.run(&["sync", &served.url("imaps"), "--into", into.to_str().unwrap()], b"").expect(0);
    let stored: Vec<String> = files(&into)
        .iter()
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
        .collect();
    let message = stored.iter().find(|text| text.contains("X-Ticket: 42")).unwrap();
    for part in [
        "MIME-Version: 1.0",
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "thing.bin",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(message.contains(part), "{part:?} is missing:\n{message}");
    }
    assert!(!message.contains("Bcc") && !message.contains("Köln"), "{message}");
}

#[test]
fn reports_a_wrong_password_without_showing_it() {
    let served = RunningServer::start(&[]);
    let (url, mailbox) = (served.url("smtps"), served.mailbox());
    let arguments = ["send", &url, "--from", &mailbox, "--to", &mailbox, "--ca", &served.ca];
    let done = run_with(&arguments, "wrong-wrong-wrong", MESSAGE).expect(77);
    assert!(!done.shown.contains("wrong-wrong-wrong"), "{}", done.shown);
    run(&["check", &url, "--ca", &served.ca], "wrong-wrong-wrong").expect(77).shows(&["FAIL login"]);
}
