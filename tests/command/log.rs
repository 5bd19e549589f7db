//! What `serve` writes to its log.

use serde_json::Value;

use crate::harness::{RunningServer, run};

/// The events of logins in a log of JSON lines.
fn logins(log: &str) -> Vec<Value> {
    let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
    events.filter(|event: &Value| event["message"] == "login").collect()
}

#[test]
fn logs_each_login_with_its_outcome_for_programs_that_block_addresses() {
    for (more, peer) in [(&["--log-peers"][..], Value::from("127.0.0.1")), (&[], Value::Null)] {
        let served = RunningServer::start(&[&["--log-form", "json"], more].concat());
        let check = |service: &str, mechanism: &str, password: &str, code| {
            let url = served.url(service);
            let given = ["check", &url, "--ca", &served.ca, "--mechanism", mechanism];
            run(&given, password).expect(code);
        };
        for service in ["imaps", "smtps"] {
            check(service, "PLAIN", "not-this-one", 77);
            check(service, "SCRAM-SHA-256", "not-this-one", 77);
            check(service, "SCRAM-SHA-256", served.password, 0);
        }
        let log = served.log();
        let logins = logins(&log);
        for protocol in ["imap", "smtp"] {
            let of = logins.iter().filter(|event| event["protocol"] == protocol);
            let outcomes: Vec<_> = of
                .map(|event| (event["outcome"].as_str().unwrap_or_default(), event["account"].is_i64()))
                .collect();
            let expected = [("rejected", false), ("rejected", false), ("accepted", true)];
            assert_eq!(outcomes, expected, "{log}");
        }
        assert!(logins.iter().all(|event| event["peer"] == peer && event["session"].is_u64()), "{log}");
        assert!(!log.contains(served.user) && !log.contains("not-this-one"), "{log}");
    }
}
