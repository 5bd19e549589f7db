//! Traces of both sides of whole sessions, as the command writes them: readable, and without secrets.

use serde_json::Value;

use crate::harness::{RunningServer, folder, run};

const WRONG: &str = "wR0ng-8Kd_zLq3";

/// Every piece of six bytes of a secret, as is and in base64 at each alignment.
fn pieces(secret: &str) -> Vec<String> {
    let mut pieces: Vec<String> =
        secret.as_bytes().windows(6).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
    for offset in 0..3 {
        let around = [&vec![0; offset], secret.as_bytes()].concat();
        let encoded = proto_mail::sasl::encode_base64(&around);
        let sure = &encoded.expose()[(offset * 8).div_ceil(6)..around.len() * 8 / 6];
        pieces.extend(sure.windows(6).map(|piece| String::from_utf8_lossy(piece).into_owned()));
    }
    pieces
}

#[test]
fn traces_of_both_sides_hold_no_secret() {
    let kept = folder();
    let path = |name: &str| kept.path().join(name).to_str().unwrap().to_owned();
    for (format, logins) in [
        ("text", [("imap", "PLAIN"), ("smtps", "SCRAM-SHA-256")]),
        ("json", [("imaps", "SCRAM-SHA-256-PLUS"), ("smtp", "LOGIN")]),
    ] {
        let (ours, theirs) = (path("server"), path("client"));
        let served = RunningServer::start(&["--trace", &ours, "--trace-format", format]);
        let mut clients = String::new();
        for (service, mechanism) in logins {
            for (password, code) in [(served.password, 0), (WRONG, 77)] {
                let url = served.url(service);
                let trace = ["--ca", &served.ca, "--trace", &theirs, "--trace-format", format];
                let check = [&["check", &url, "--mechanism", mechanism], &trace[..]].concat();
                clients += &run(&check, password).expect(code).shown;
                clients += &std::fs::read_to_string(&theirs).unwrap();
            }
        }
        // Secrets in misplaced commands before TLS, and outside of any command.
        let mut talk = served.connect("imap");
        talk.ask(&format!("a LOGIN {} {}\r\n", served.user, served.password));
        talk.ask(&format!("xx{} NOOP\r\n{0}\r\n", served.password));
        let mut talk = served.connect("smtp");
        talk.ask(&format!("AUTH PLAIN {}\r\n", served.password));
        talk.ask(&format!("{}\r\n", served.password));
        let log = served.log();
        let server = std::fs::read_to_string(&ours).unwrap();
        for piece in [served.password, WRONG].into_iter().flat_map(pieces) {
            for shown in [&server, &log, &clients] {
                assert!(!shown.contains(&piece), "{piece:?} is shown:\n{shown}");
            }
        }
        match format {
            "json" => {
                let objects: Vec<Value> =
                    server.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let login = |object: &&Value| object["line"][0] == "a LOGIN";
                let login = objects.iter().find(login).unwrap_or_else(|| panic!("{server}"));
                assert!(login["line"][1]["secret"].as_u64() > Some(10), "{login}");
                assert_eq!((&login["from"], &login["tls"]), (&"client".into(), &false.into()));
            }
            _ => {
                for part in [
                    "C: a LOGIN[",
                    "C: AUTH PLAIN[",
                    "not understood]",
                    "bytes redacted]",
                    "-- TLSv1.3",
                    "S= ",
                ] {
                    assert!(server.contains(part), "{part}: {server}");
                }
                for part in ["AUTHENTICATE PLAIN", "S= 334 [", "C= [", "-- closed"] {
                    assert!(clients.contains(part), "{part}: {clients}");
                }
            }
        }
    }
}

#[test]
fn trace_without_names_hides_names() {
    let kept = folder();
    let path = |name: &str| kept.path().join(name).to_str().unwrap().to_owned();
    let (ours, theirs) = (path("server"), path("client"));
    let served = RunningServer::start(&["--trace", &ours, "--trace-without-names"]);
    let (mailbox, url) = (served.mailbox(), served.url("smtps"));
    let trace = ["--trace", &theirs, "--trace-without-names"];
    let send = ["send", &url, "--from", &mailbox, "--to", &mailbox, "--text", "private words"];
    served.run(&[&send[..], &trace].concat(), b"").expect(0);
    let both = std::fs::read_to_string(&ours).unwrap() + &std::fs::read_to_string(&theirs).unwrap();
    for name in [served.user, "localhost", "127.0.0.1", "private words"] {
        assert!(!both.contains(name), "{name}: {both}");
    }
    for part in ["C= MAIL[", "C= RCPT[", "S= 250[", "bytes of a message]"] {
        assert!(both.contains(part), "{part}: {both}");
    }
}
