//! Accounts that log in with OAuth 2.0 tokens, against an authorization server and a mail server that accepts its tokens.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use mailtest::{AuthorizationServer, DeviceDecision, Misbehaviour, Server};
use serde_json::Value;

use crate::harness::{CommandOutput, command, finish, folder};

/// A user with an account `work`, and the servers of it.
struct User {
    home: tempfile::TempDir,
    authorization: AuthorizationServer,
    mail: Server,
    ca: String,
    /// Everything that a command has shown.
    shown: String,
}

impl User {
    /// Adds the account. It is not connected.
    fn new() -> Self {
        let authorization = AuthorizationServer::start().unwrap();
        let mail =
            Server::builder().account("ann", "password").accept_tokens_of(&authorization).start().unwrap();
        let ca = mail.ca_file().unwrap().to_str().unwrap().to_owned();
        let mut user = Self { home: folder(), authorization, mail, ca, shown: String::new() };
        let (imap, smtp) = (user.mail.imaps().port().to_string(), user.mail.smtps().port().to_string());
        let server = &user.authorization;
        let (authorize, token, device) =
            (server.authorization_endpoint(), server.token_endpoint(), server.device_endpoint());
        let add = [
            &["account", "add", "ann@example.org", "--name", "work", "--user", "ann"][..],
            &[
                "--imap-host",
                "localhost",
                "--imap-port",
                &imap,
                "--smtp-host",
                "localhost",
                "--smtp-port",
                &smtp,
            ],
            &["--mode", "oauth_custom", "--oauth-client-id", server.client_id()],
            &["--oauth-authorization-endpoint", &authorize],
            &["--oauth-token-endpoint", &token],
            &["--oauth-device-authorization-endpoint", &device],
            &["--oauth-scope", server.scope(), "--create-key", "--no-test"],
        ]
        .concat();
        user.run(&add).expect(0).shows(&["account connect work"]);
        user
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments, "");
        command
            .env_remove("MAILWIRE_PASSWORD")
            .env("XDG_DATA_HOME", self.home.path().join("data"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("MAILWIRE_OAUTH_CLIENT_SECRET", self.authorization.client_secret());
        command
    }

    fn run(&mut self, arguments: &[&str]) -> CommandOutput {
        let done = finish(&mut self.command(arguments), b"");
        self.shown.push_str(&done.shown);
        done
    }

    /// Runs a command of the account, which trusts the mail server.
    fn with_account(&mut self, arguments: &[&str]) -> CommandOutput {
        let ca = self.ca.clone();
        self.run(&[arguments, &["--account", "work", "--ca", &ca]].concat())
    }

    /// Connects the account, and lets `consent` do what the user does with the first line. Returns the exit code and the last
    /// line.
    fn connect(&mut self, more: &[&str], consent: impl FnOnce(&Self, &Value)) -> (i32, Value) {
        let ca = self.ca.clone();
        let arguments = [&["account", "connect", "work", "--json", "--ca", &ca][..], more].concat();
        let mut child = self.command(&arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        consent(self, &serde_json::from_str(&first).unwrap());
        let last = lines.last().unwrap().unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.shown.push_str(&last);
        self.shown.push_str(&errors);
        (child.wait().unwrap().code().unwrap(), serde_json::from_str(&last).unwrap())
    }

    fn connect_in_a_browser(&mut self) -> (i32, Value) {
        self.connect(&[], |user, first| {
            user.authorization.browse(first["authorization_url"].as_str().unwrap()).unwrap();
        })
    }

    fn state(&mut self) -> String {
        let account = self.run(&["account", "show", "work", "--json"]).expect(0).json();
        account["state"].as_str().unwrap().to_owned()
    }

    /// No code, verifier or token is in a file of the user or in what the commands have shown.
    fn assert_nothing_leaked(&self) {
        let secrets = self.authorization.secrets();
        assert!(!secrets.is_empty());
        let secrets = || secrets.iter().map(String::as_str).chain([self.authorization.client_secret()]);
        assert!(secrets().all(|secret| !self.shown.contains(secret)), "{}", self.shown);
        for file in files(self.home.path()) {
            let bytes = std::fs::read(&file).unwrap();
            for secret in secrets() {
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{} is in {}", secret, file.display());
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn an_account_is_connected_in_a_browser_and_its_tokens_are_renewed() {
    let mut user = User::new();
    let refused = user.with_account(&["check", "--json"]).expect(77).json();
    assert_eq!(refused["error"]["reason"], "oauth_token_missing");
    let (code, done) = user.connect_in_a_browser();
    assert_eq!((code, &done["ok"]), (0, &Value::Bool(true)), "{done}");
    assert_eq!(user.state(), "connected");

    user.mail.append("INBOX", b"From: bob@example.net\r\nSubject: Hi\r\n\r\nHello\r\n").unwrap();
    let synced = user.with_account(&["sync", "--json"]).expect(0).json();
    assert_eq!(synced["imported"], 1);
    // The mail servers refuse the token from now on: each command gets another one.
    user.authorization.expire_access_tokens();
    let to = ["send", "--to", "bob@example.net", "--subject", "Re", "--text", "Hello"];
    user.with_account(&to).expect(0);
    assert_eq!(user.mail.messages().len(), 1);
    assert_eq!(user.authorization.counts().refreshed, 1);
    user.authorization.expire_access_tokens();
    user.with_account(&["folders"]).expect(0).shows(&["INBOX"]);
    assert_eq!(user.authorization.counts().refreshed, 2);
    user.assert_nothing_leaked();
}

#[test]
fn a_withdrawn_consent_is_reported_and_can_be_given_again() {
    let mut user = User::new();
    assert_eq!(user.connect_in_a_browser().0, 0);
    user.authorization.revoke_all();
    for _ in 0..2 {
        let refused = user.with_account(&["check", "--json"]);
        assert_eq!(refused.code, 77, "{}", refused.shown);
        assert!(refused.shown.contains("oauth_refresh_failed"), "{}", refused.shown);
    }
    assert_eq!(user.state(), "authentication_error");
    // One exchange and one refresh: the second check did not ask.
    assert_eq!(user.authorization.counts().token_requests, 2);
    assert_eq!(user.connect_in_a_browser().0, 0);
    user.with_account(&["check"]).expect(0);
    user.assert_nothing_leaked();
}

#[test]
fn an_account_is_connected_on_another_device() {
    let mut user = User::new();
    let decide = |decision| {
        move |user: &User, first: &Value| {
            assert!(user.authorization.decide(first["user_code"].as_str().unwrap(), decision));
        }
    };
    let (code, done) = user.connect(&["--device"], decide(DeviceDecision::Deny));
    assert_eq!((code, &done["error"]["reason"]), (77, &Value::from("oauth_access_denied")), "{done}");
    let (code, done) = user.connect(&["--device"], decide(DeviceDecision::Allow));
    assert_eq!((code, &done["ok"]), (0, &Value::Bool(true)), "{done}");
    user.assert_nothing_leaked();
}

#[test]
fn a_consent_that_fails_keeps_no_token() {
    let mut user = User::new();
    for (misbehaviour, code, reason) in [
        (Misbehaviour::WrongState, 77, "oauth_state_mismatch"),
        (Misbehaviour::ErrorRedirect("access_denied"), 77, "oauth_access_denied"),
        (Misbehaviour::Html, 76, "oauth_invalid_response"),
        (Misbehaviour::NoRefreshToken, 77, "oauth_token_missing"),
        (Misbehaviour::Status(500), 75, "oauth_unavailable"),
    ] {
        user.authorization.misbehave(misbehaviour.clone());
        let (exit, done) = user.connect_in_a_browser();
        assert_eq!(
            (exit, &done["error"]["reason"]),
            (code, &Value::from(reason)),
            "{misbehaviour:?}: {done}"
        );
    }
    assert_eq!(
        user.with_account(&["check", "--json"]).expect(77).json()["error"]["reason"],
        "oauth_token_missing"
    );
    user.assert_nothing_leaked();
}

#[test]
fn a_provider_without_a_client_is_not_configured() {
    let mut user = User::new();
    let add = ["account", "add", "ann@gmail.example", "--name", "g", "--mode", "oauth_google", "--no-test"];
    user.run(&[&add[..], &["--imap-host", "localhost"]].concat()).expect(0);
    let mut connect = user.command(&["account", "connect", "g", "--json"]);
    connect.env_remove("GOOGLE_CLIENT_ID").env_remove("GOOGLE_CLIENT_SECRET");
    let done = finish(&mut connect, b"").expect(78);
    assert_eq!(done.json()["error"]["reason"], "oauth_client_not_configured");
    done.shows(&["GOOGLE_CLIENT_ID"]);
}
