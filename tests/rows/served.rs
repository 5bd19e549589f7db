//! What `mailwire serve` is for those who develop: every way to log in, accounts that come and change while it runs.

use rusqlite::Connection;

use crate::program::{Served, run};

const MECHANISMS: [&str; 6] =
    ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

#[test]
fn every_mechanism_logs_in_and_a_wrong_password_in_none() {
    let served = &Served::start(&[]);
    let (right, wrong) = (served.password, "wrong");
    let check = &|mechanism: &str, user: &str, password: &str, code: i32| {
        for service in ["smtps", "imap"] {
            let url = served.url(service).replace(served.user, user);
            let words =
                ["check", &url, "--ca", &served.ca, "--mechanism", mechanism, "--stop-after", "login"];
            run(&words, password).expect(code).shows(&["login"]);
        }
    };
    // Side by side: a refusal is held back for two seconds.
    std::thread::scope(|all| {
        for mechanism in MECHANISMS {
            all.spawn(move || check(mechanism, served.user, right, 0));
            all.spawn(move || check(mechanism, served.user, wrong, 77));
            all.spawn(move || check(mechanism, "nobody", right, 77));
        }
    });
    // Where one does not choose, the password is not sent.
    served.run(&["check", &served.url("smtp")], b"").expect(0).shows(&["SCRAM-SHA-256-PLUS"]);
}

#[test]
fn an_account_older_than_scram_speaks_it_from_its_next_login_on() {
    let served = Served::start(&[]);
    Connection::open(served.path().join("mail.db")).unwrap().execute("DELETE FROM login_keys", []).unwrap();
    let check =
        |mechanism: &str| served.run(&["check", &served.url("smtps"), "--mechanism", mechanism], b"").code;
    assert_eq!((check("SCRAM-SHA-256"), check("PLAIN")), (77, 0));
    assert_eq!((check("SCRAM-SHA-256"), check("SCRAM-SHA-1-PLUS")), (0, 0));
}
