//! `mailwire serve` for developers: every way to log in, and accounts that are added and changed while it runs.

use std::io::Read;

use rusqlite::Connection;

use crate::harness::{RunningServer, folder, run, run_without_password};

const MECHANISMS: [&str; 6] =
    ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

#[test]
fn every_mechanism_accepts_the_right_password_only() {
    let served = &RunningServer::start(&[]);
    let (right, wrong) = (served.password, "wrong");
    let check = &|mechanism: &str, user: &str, password: &str, code: i32| {
        for service in ["smtps", "imap"] {
            let url = served.url(service).replace(served.user, user);
            let words =
                ["check", &url, "--ca", &served.ca, "--mechanism", mechanism, "--stop-after", "login"];
            run(&words, password).expect(code).shows(&["login"]);
        }
    };
    // In parallel: a rejection is delayed by two seconds.
    std::thread::scope(|all| {
        for mechanism in MECHANISMS {
            all.spawn(move || check(mechanism, served.user, right, 0));
            all.spawn(move || check(mechanism, served.user, wrong, 77));
            all.spawn(move || check(mechanism, "missing", right, 77));
        }
    });
    // Without a chosen mechanism the client does not send the password.
    served.run(&["check", &served.url("smtp")], b"").expect(0).shows(&["SCRAM-SHA-256-PLUS"]);
}

#[test]
fn an_account_from_before_scram_gains_it_at_the_next_login() {
    let served = RunningServer::start(&[]);
    Connection::open(served.path().join("mail.db")).unwrap().execute("DELETE FROM login_keys", []).unwrap();
    let check =
        |mechanism: &str| served.run(&["check", &served.url("smtps"), "--mechanism", mechanism], b"").code;
    assert_eq!((check("SCRAM-SHA-256"), check("PLAIN")), (77, 0));
    assert_eq!((check("SCRAM-SHA-256"), check("SCRAM-SHA-1-PLUS")), (0, 0));
}

#[test]
fn a_store_in_memory_serves_mail_and_leaves_no_database() {
    let served = RunningServer::start(&["--in-memory"]);
    let url = served.url("smtps");
    let to = format!("{}@localhost", served.user);
    served.run(&["send", &url, "--from", "a@x.example", "--to", &to, "--text", "x"], b"").expect(0);
    served.run(&["check", &served.url("imaps"), "--mechanism", "SCRAM-SHA-256"], b"").expect(0);
    served.run(&["folders", &served.url("imaps")], b"").expect(0).shows(&["INBOX"]);
    let files: Vec<_> =
        std::fs::read_dir(served.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|file| !file.to_string_lossy().starts_with("mail.db")), "{files:?}");
    run_without_password(&["serve", "--in-memory", "--add-account", "ann"]).expect(64);
}

#[test]
fn several_accounts_in_memory_have_one_password() {
    let served = RunningServer::start(&["--in-memory", "--user", "ann", "--user", "bob"]);
    let url = served.url("smtps");
    served
        .run(&["send", &url, "--from", "a@x.example", "--to", "bob@localhost", "--text", "x"], b"")
        .expect(0);
    for name in ["ann", "bob", served.user] {
        let url = served.url("imaps").replace(served.user, name);
        served.run(&["folders", &url], b"").expect(0).shows(&["INBOX"]);
    }
}

#[test]
fn adds_accounts_and_changes_passwords_while_running() {
    let served = RunningServer::start(&[]);
    let folder = served.path();
    let change = |words: &[&str]| {
        let words = [&["serve", "--dir", folder.to_str().unwrap()], words].concat();
        run_without_password(&words)
    };
    let send = |to: &str| {
        let url = served.url("smtps");
        served
            .run(&["send", &url, "--from", "a@x.example", "--to", to, "--text", "x", "--attempts", "1"], b"")
    };
    let check = |user: &str, mechanism: &str, password: &str| {
        let url = served.url("imaps").replace(served.user, user);
        run(&["check", &url, "--ca", &served.ca, "--mechanism", mechanism], password).code
    };
    send("hedwig@localhost").shows(&["550"]);
    let added = change(&["--add-account", "hedwig"]).expect(0);
    let password = |line: &str| line.trim().strip_prefix("account hedwig ").unwrap().to_owned();
    let first = password(&added.out);
    send("hedwig+tag@localhost").expect(0);
    assert_eq!(check("hedwig", "SCRAM-SHA-256-PLUS", &first), 0);

    let second = password(&change(&["--reset-password", "hedwig"]).expect(0).out);
    assert_ne!(first, second);
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        assert_eq!((check("hedwig", mechanism, &second), check("hedwig", mechanism, &first)), (0, 77));
    }
    let given = change(&["--reset-password", "hedwig", "--password-command", "echo 'a third'"]).expect(0);
    assert_eq!(given.out, "account hedwig\n");
    assert_eq!(check("hedwig", "SCRAM-SHA-1", "a third"), 0);

    change(&["--add-account", "HEDWIG"]).expect(65).shows(&["already", "--reset-password"]);
    change(&["--reset-password", "missing"]).expect(65).shows(&["no such account", "--add-account"]);
    change(&["--add-account", "a", "--reset-password", "b"]).expect(64);
    let elsewhere = ["serve", "--dir", "/nonexistent/mailwire", "--reset-password", "a"];
    run_without_password(&elsewhere).expect(65).shows(&["there are no accounts in"]);
}

#[test]
fn reads_limits_from_settings() {
    let folder = folder();
    let file = folder.path().join("config.toml");
    let settings = "[serve]\nsessions-per-address = 2\ncommand-timeout = 1\nmax-message = 10000\n";
    std::fs::write(&file, settings).unwrap();
    let served = RunningServer::start(&["--config", file.to_str().unwrap()]);
    let mut one = served.connect("smtp");
    assert!(one.ask("EHLO c.example\r\n").contains("SIZE 10000"));
    let two = served.connect("smtp");
    let turned_away = |service: &str| {
        let mut said = String::new();
        let mut socket = std::net::TcpStream::connect(served.address(service)).unwrap();
        let _ = socket.read_to_string(&mut said);
        said
    };
    assert!(turned_away("smtp").starts_with("421 "));
    let begun = std::time::Instant::now();
    let mut rest = String::new();
    two.into_stream().read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("421 ") && begun.elapsed() < std::time::Duration::from_secs(5), "{rest}");

    std::fs::write(&file, "[serve]\nsessions = 0\n").unwrap();
    let words = ["serve", "--dir", folder.path().to_str().unwrap(), "--config", file.to_str().unwrap()];
    run(&words, "x").expect(78).shows(&["config.toml", "nonzero"]);
}
