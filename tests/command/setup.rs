//! Setting up an account: configure it, test the connection, list and sync folders, with a clear error for each
//! field.

use crate::harness::{RunningServer, folder, run};

#[test]
fn configures_an_account_in_a_file_without_its_password() {
    let served = RunningServer::start(&[]);
    let kept = folder();
    let config = kept.path().join("config.toml");
    std::fs::write(&config, format!("ca = {:?}\n", served.ca)).unwrap();
    let (url, config) = (served.url("imaps"), config.to_str().unwrap());
    run(&["check", &url, "--config", config], served.password).expect(0);
    std::fs::write(config, "password = \"kf83-zuTq-0Lmw\"\n").unwrap();
    let done = run(&["check", &url, "--config", config], served.password).expect(78).shows(&["config.toml"]);
    assert!(!done.shown.contains("kf83-zuTq-0Lmw"), "{}", done.shown);
}

#[test]
fn tests_the_connection_stage_by_stage() {
    let served = RunningServer::start(&[]);
    for service in ["imaps", "imap", "smtps", "smtp"] {
        let report = served.run(&["check", &served.url(service), "--json"], b"").expect(0).json();
        let stages: Vec<&str> = report["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stage| stage["stage"].as_str().unwrap())
            .collect();
        let mut expected = vec!["name", "tcp", "greeting", "tls", "certificate", "capabilities", "login"];
        if service.starts_with("imap") {
            expected.push("folders");
        }
        let mut sorted = (stages.clone(), expected.clone());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1, "{service}: {report}");
        assert_eq!(report["ok"], true, "{report}");
    }
}

#[test]
fn check_names_the_mechanism_used_and_why_others_were_not() {
    let served = RunningServer::start(&[]);
    for service in ["imaps", "smtp"] {
        let url = served.url(service);
        let check =
            |more: &[&str]| served.run(&[&["check", &url, "--stop-after", "login"], more].concat(), b"");
        let done = check(&[]).expect(0).shows(&["SCRAM-SHA-256-PLUS\n"]);
        assert!(!done.shown.contains("is less preferred"), "{}", done.shown);
        check(&["-v"]).expect(0).shows(&[
            "EXTERNAL needs other credentials",
            "SCRAM-SHA-256 is less preferred",
            "PLAIN is less preferred",
        ]);
        // One mechanism or an ordered list; the client never uses another one.
        check(&["-v", "--mechanism", "PLAIN"]).expect(0).shows(&["SCRAM-SHA-256 is not allowed"]);
        let listed = check(&["-v", "--json", "--mechanism", "external,plain,SCRAM-SHA-1"]).expect(0).json();
        assert_eq!(listed["stages"].as_array().unwrap().last().unwrap()["detail"], "PLAIN", "{listed}");
        assert_eq!(listed["mechanisms_not_used"]["SCRAM-SHA-1"], "is less preferred", "{listed}");
        check(&["--mechanism", "EXTERNAL,ANONYMOUS"]).expect(77).shows(&["EXTERNAL needs other credentials"]);
        check(&["--mechanism", "PLAIN,"]).expect(64).shows(&["--mechanism: unknown mechanism \"\""]);
    }
}

#[test]
fn lists_and_stores_folders_with_their_special_use() {
    let served = RunningServer::start(&[]);
    let (url, kept) = (served.url("imaps"), folder());
    let into = kept.path().join("store");
    let arguments = ["folders", &url, "--into", into.to_str().unwrap(), "--json"];
    let listed = served.run(&arguments, b"").expect(0).json();
    let folders = listed["folders"].as_array().unwrap();
    assert!(folders.iter().any(|one| one["name"] == "INBOX"), "{listed}");
    assert!(folders.iter().any(|one| one["special_use"] == "\\Sent"), "{listed}");
    assert!(into.join("mail.db").exists(), "nothing was kept");
}

#[test]
fn syncs_a_single_folder() {
    let served = RunningServer::start(&[]);
    let (url, kept, mailbox, smtps) = (served.url("imaps"), folder(), served.mailbox(), served.url("smtps"));
    served.run(&["send", &smtps, "--from", &mailbox, "--to", &mailbox], b"Subject: s\r\n\r\nx\r\n").expect(0);
    let into = kept.path().join("store");
    let into = into.to_str().unwrap();
    let sync = |name: &str| served.run(&["sync", &url, "--into", into, "--folder", name, "--json"], b"");
    assert_eq!(sync("Sent").expect(0).json()["imported"], 0);
    assert_eq!(sync("INBOX").expect(0).json()["imported"], 1);
    let missing = sync("Nowhere");
    assert_ne!(missing.code, 0, "{}", missing.shown);
    missing.shows(&["Nowhere"]);
}

#[test]
fn each_invalid_field_has_its_own_error() {
    let served = RunningServer::start(&[]);
    let (url, ca) = (served.url("imaps"), served.ca.as_str());
    let check = |url: &str, more: &[&str], password: &str| run(&[&["check", url], more].concat(), password);
    // Host, port and scheme.
    check("imaps://alice@no-such-host.invalid", &[], "p").expect(68).shows(&["FAIL name"]);
    check("imaps://alice@localhost:1", &[], "p").expect(69).shows(&["FAIL tcp"]);
    check("imaps://alice@localhost:99999", &[], "p").expect(64).shows(&["port"]);
    check("pop3://alice@localhost", &[], "p").expect(64).shows(&["imaps"]);
    // The URL must not contain the password.
    let done = check("imaps://alice:kf83-zuTq@localhost", &[], "p").expect(64).shows(&["password", "<URL>"]);
    assert!(!done.shown.contains("kf83-zuTq"), "{}", done.shown);
    // Password, certificate, pin, mechanism.
    check(&url, &["--ca", ca], "wrong").expect(77).shows(&["FAIL login"]);
    check(&url, &[], served.password).expect(77).shows(&["FAIL certificate"]);
    check(&url, &["--ca", "/nonexistent/ca.pem"], "p").expect(78).shows(&["/nonexistent/ca.pem"]);
    let pin = format!("sha256:{}", "0".repeat(64));
    check(&url, &["--pin", &pin], served.password).expect(77).shows(&["FAIL certificate"]);
    let done = check(&url, &["--ca", ca, "--mechanism", "NOSUCH"], served.password).shows(&["NOSUCH"]);
    assert!(matches!(done.code, 64 | 78), "{}", done.shown);
}
