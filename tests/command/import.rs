//! An IMAP importer that requires TLS, cleans up after failures, and names the cause and the remedy of each.

use std::time::Duration;

use crate::harness::{RunningServer, ScriptedServer, folder, imap_server, run};

const SECRET: &str = "kf83-zuTq-0Lmw";

/// The server's answer to CAPABILITY.
fn capable(tag: &str, list: &str) -> String {
    format!("* CAPABILITY {list}\r\n{tag} OK done\r\n")
}

#[test]
fn implicit_tls_and_starttls_both_reach_the_mail() {
    let served = RunningServer::start(&[]);
    for (service, way) in [("imaps", "TLSv1.3"), ("imap", "TLSv1.3")] {
        let url = served.url(service);
        let done = served.run(&["check", &url], b"").expect(0).shows(&["ok", "certificate", "folders", way]);
        assert!(!done.shown.contains(served.password));
    }
}

#[test]
fn refuses_a_server_that_does_not_offer_starttls() {
    let server = imap_server("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", |tag, command| match command {
        "CAPABILITY" => capable(tag, "IMAP4rev1 AUTH=PLAIN"),
        _ => format!("{tag} OK done\r\n"),
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    let kept = folder();
    let into = kept.path().join("store");
    for command in
        [&["check", &url][..], &["folders", &url], &["sync", &url, "--into", into.to_str().unwrap()]]
    {
        run(command, SECRET).expect(77).shows(&["STARTTLS", "993"]);
    }
    let seen = server.seen();
    for word in ["LOGIN", "AUTHENTICATE", SECRET] {
        assert!(!seen.received.contains(word), "{}", seen.received);
    }
}

#[test]
fn refuses_a_server_that_rejects_starttls() {
    let server = imap_server("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", |tag, command| match command {
        "STARTTLS" => format!("{tag} NO not today\r\n"),
        _ => format!("{tag} OK done\r\n"),
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&["check", &url], SECRET).expect(77).shows(&["refused STARTTLS", "try implicit TLS", "NO not today"]);
    assert!(!server.seen().received.contains("LOGIN"));
}

#[test]
fn reports_a_temporary_starttls_failure_as_retryable() {
    for answer in ["NO [UNAVAILABLE] maintenance", "NO [LIMIT] busy"] {
        let server =
            imap_server("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", move |tag, command| match command {
                "STARTTLS" => format!("{tag} {answer}\r\n"),
                _ => format!("{tag} OK done\r\n"),
            });
        let url = format!("imap://alice@localhost:{}", server.port);
        run(&["check", &url], SECRET).expect(75).shows(&["refused STARTTLS", answer, "try again later"]);
        assert!(!server.seen().received.contains("LOGIN"));
    }
}

#[test]
fn detects_bytes_after_the_starttls_reply_as_injection() {
    let server = imap_server("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", |tag, _| {
        format!("{tag} OK begin\r\n* PREAUTH welcome\r\n")
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&["check", &url], SECRET).expect(77).shows(&["injecting"]);
    assert!(!server.seen().received.contains(SECRET));
}

#[test]
fn uses_cleartext_only_when_chosen() {
    let server = imap_server("* OK [CAPABILITY IMAP4rev1] hi\r\n", |tag, command| match command {
        "CAPABILITY" => capable(tag, "IMAP4rev1"),
        list if list.starts_with("LIST") => format!("* LIST () \"/\" INBOX\r\n{tag} OK done\r\n"),
        _ => format!("{tag} OK done\r\n"),
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&["check", &url], SECRET).expect(77);
    run(&["check", &url, "--danger-cleartext"], SECRET).expect(77);
    assert!(!server.seen().received.contains(SECRET), "cleartext alone does not allow a login");
    run(&["check", &url, "--danger-cleartext-login"], SECRET).expect(64);
    run(&["check", &url, "--danger-cleartext", "--danger-cleartext-login"], SECRET).expect(0);
    assert!(server.seen().received.contains(SECRET), "both were chosen");
}

#[test]
fn a_cleartext_login_uses_scram_if_the_server_offers_it() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=PLAIN SASL-IR] hi\r\n";
    let server = imap_server(greeting, |tag, _| format!("{tag} NO [AUTHENTICATIONFAILED] no\r\n"));
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&["check", &url, "--danger-cleartext", "--danger-cleartext-login"], SECRET).expect(77);
    let received = server.seen().received.clone();
    assert!(received.contains("AUTHENTICATE SCRAM-SHA-256 "), "{received}");
    assert!(!received.contains("AUTHENTICATE PLAIN") && !received.contains("LOGIN"), "{received}");
    assert!(!received.contains(SECRET));
}

#[test]
fn suggests_starttls_on_143_for_a_wrong_version_number() {
    let served = RunningServer::start(&[]);
    let port = served.address("imap").port();
    let url = format!("imaps://{}@localhost:{port}", served.user);
    let done = served.run(&["check", &url], b"").expect(76).shows(&["STARTTLS", "143"]);
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
    let port = served.address("imaps").port();
    let url = format!("imap://{}@localhost:{port}", served.user);
    let done = served.run(&["check", &url], b"").expect(76).shows(&["implicit TLS", "993"]);
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
}

#[test]
fn reads_every_capability_line() {
    // STARTTLS is in the second capability line, after an unrelated response.
    let server = imap_server("* OK hi\r\n", |tag, command| match command {
        "CAPABILITY" => format!(
            "* CAPABILITY IMAP4rev1\r\n* OK still here\r\n* CAPABILITY STARTTLS LOGINDISABLED\r\n{tag} OK done\r\n"
        ),
        _ => format!("{tag} NO not now\r\n"),
    });
    let url = format!("imap://alice@localhost:{}", server.port);
    run(&["check", &url], SECRET).expect(77).shows(&["refused STARTTLS"]);
    let received = server.seen().received;
    assert!(received.contains("CAPABILITY\r\n") && received.contains("STARTTLS\r\n"), "{received}");
}

#[test]
fn closes_the_connection_and_cleans_up_after_every_failure() {
    type Answer = fn(&str, &str) -> String;
    let failures: [(&str, Answer); 6] = [
        ("* BYE too busy\r\n", |_, _| String::new()),
        ("220 this is no IMAP\r\n", |_, _| String::new()),
        ("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", |tag, _| format!("{tag} OK done\r\n")),
        ("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", |tag, _| format!("{tag} NO\r\n")),
        ("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", |_, _| "ZZ OK\r\n".into()),
        ("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", |tag, _| format!("{tag} OK\r\n\x15\x03")),
    ];
    for (greeting, answer) in failures {
        let server = imap_server(greeting, answer);
        let kept = folder();
        let into = kept.path().join("store");
        let url = format!("imap://alice@localhost:{}", server.port);
        let done = run(&["sync", &url, "--into", into.to_str().unwrap()], SECRET);
        assert_ne!(done.code, 0, "{greeting}: {}", done.shown);
        // The command says what happened, and closes the connection.
        assert!(done.shown.lines().any(|line| line.len() > 20), "{greeting}: {}", done.shown);
        let seen = server.seen();
        assert!(seen.closed == seen.connections && !seen.received.contains(SECRET), "{greeting}");
        // The store, if there is one, is not locked.
        let again = run(&["sync", &url, "--into", into.to_str().unwrap()], SECRET);
        assert_eq!(again.code, done.code, "{greeting}: {}", again.shown);
    }
}

#[test]
fn names_the_cause_of_a_failure_and_a_remedy() {
    let served = RunningServer::start(&[]);
    let url = served.url("imaps");
    // A certificate that no trusted authority signed.
    let done = run(&["check", &url], served.password).expect(77).shows(&["FAIL certificate", "try: "]);
    assert!(!done.shown.contains(served.password));
    // A port without a listener, and a host that does not exist.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    run(&["check", &format!("imaps://alice@localhost:{free}")], SECRET).expect(69).shows(&["FAIL tcp"]);
    run(&["check", "imaps://alice@no-such-host.invalid"], SECRET).expect(68).shows(&["FAIL name"]);
    let done = run(&["folders", &format!("imaps://alice@localhost:{free}"), "--json"], SECRET).expect(69);
    assert_eq!(done.json()["error"]["kind"], "unavailable", "{}", done.shown);
}

#[test]
fn times_out_on_a_silent_server() {
    let server = ScriptedServer::start(|peer| while peer.line().is_some() {});
    let url = format!("imaps://alice@localhost:{}", server.port);
    let done = run(&["check", &url, "--timeout", "1"], SECRET);
    assert!(matches!(done.code, 75 | 76) && done.took < Duration::from_secs(6), "{}", done.shown);
}

#[test]
fn logs_no_user_name_and_no_personal_data() {
    let served = RunningServer::start(&[]);
    let message = b"Subject: private matter\r\n\r\nprivate words\r\n";
    let mailbox = served.mailbox();
    let smtps = served.url("smtps");
    served.run(&["send", &smtps, "--from", &mailbox, "--to", &mailbox], message).expect(0);
    let kept = folder();
    let into = kept.path().join("store");
    for (password, commands) in [(served.password, 3), ("wrong-wrong-wrong", 1)] {
        for service in ["imaps", "imap"] {
            let (url, trace) = (served.url(service), kept.path().join("trace"));
            let trace = trace.to_str().unwrap();
            let ca = ["--ca", &served.ca, "--trace", trace];
            let sync = ["sync", &url, "--into", into.to_str().unwrap()];
            for command in [&sync[..], &["check", &url], &["folders", &url]].into_iter().take(commands) {
                let done = run(&[command, &ca].concat(), password);
                assert_eq!(done.code == 0, password == served.password, "{}", done.shown);
                let trace = std::fs::read_to_string(trace).unwrap();
                for secret in [password, served.user] {
                    assert!(!done.shown.contains(secret), "{secret:?} is shown:\n{}", done.shown);
                }
                assert!(!trace.contains(password), "{trace}");
                assert!(trace.contains("bytes redacted"), "{trace}");
                for personal in ["private matter", "private words"] {
                    assert!(!done.shown.contains(personal), "{}", done.shown);
                }
            }
        }
    }
}

#[test]
fn sync_fetches_every_message_once() {
    let served = RunningServer::start(&[]);
    let (mailbox, smtps, imap) = (served.mailbox(), served.url("smtps"), served.url("imap"));
    for number in 0..5 {
        let message = format!("Subject: number {number}\r\n\r\n.\r\n..{number}\r\n");
        served.run(&["send", &smtps, "--from", &mailbox, "--to", &mailbox], message.as_bytes()).expect(0);
    }
    let kept = folder();
    let into = kept.path().join("store");
    let sync = |url: &str| {
        let arguments = ["sync", url, "--into", into.to_str().unwrap(), "--json"];
        served.run(&arguments, b"").expect(0).json()
    };
    let first = sync(&served.url("imaps"));
    assert_eq!((&first["status"], &first["imported"]), (&"success".into(), &5.into()), "{first}");
    // Over STARTTLS they are the same messages.
    let again = sync(&imap);
    assert_eq!((&again["imported"], &again["known"]), (&0.into(), &5.into()), "{again}");
}

/// Checks and syncs accounts of servers with known defects, which `serve` imitates.
#[test]
fn checks_and_syncs_imitated_servers() {
    let message = "From: Ann <ann@example.test>, Bob <bob@example.test>\r\nSubject: two parts\r\n\
        Message-ID: <\"a b\"@example.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nhello\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>hello</p>\r\n--b--\r\n";
    for dialect in ["coremail", "exchange", "qq", "yahoo", "yandex"] {
        let served = RunningServer::start(&["--behave-like", dialect]);
        let mailbox = format!("{}@localhost", served.user);
        let (smtps, imaps) = (served.url("smtps"), served.url("imaps"));
        for _ in 0..2 {
            served.run(&["send", &smtps, "--from", &mailbox, "--to", &mailbox], message.as_bytes()).expect(0);
        }
        served.run(&["check", &imaps], b"").expect(0).shows(&["folders"]);
        let kept = folder();
        let into = kept.path().join("store");
        let arguments = ["sync", &imaps, "--into", into.to_str().unwrap(), "--json"];
        let first = served.run(&arguments, b"").expect(0).json();
        assert_eq!(
            (&first["status"], &first["imported"]),
            (&"success".into(), &2.into()),
            "{dialect}: {first}"
        );
        let again = served.run(&arguments, b"").expect(0).json();
        assert_eq!((&again["imported"], &again["known"]), (&0.into(), &2.into()), "{dialect}: {again}");
    }
}
