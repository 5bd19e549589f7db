//! Accounts: added, tested, synced and used for sending by their names, with secrets that only the key decrypts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mailclient::account::{AccountStore, EncryptionKey, SecretField};
use mailstore::SqliteStore;
use proto_mail::Secret;
use serde_json::{Value, json};

use crate::harness::{CommandOutput, RunningServer, command, finish, folder};

const KEY: &str = "c4kzq0V1u3bXoUv2mZl7r9wDhGf5eT8yJnQpLsKiA0I=";

/// The user's directories, which hold the store and the key.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(folder())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("data/mailwire/mail")
    }

    fn key_file(&self) -> PathBuf {
        self.0.path().join("config/mailwire/encryption.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments, "");
        command
            .env_remove("MAILWIRE_PASSWORD")
            .env("XDG_DATA_HOME", self.0.path().join("data"))
            .env("XDG_CONFIG_HOME", self.0.path().join("config"));
        command
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        finish(&mut self.command(arguments), b"")
    }

    /// Adds an account of this server.
    fn add(&self, served: &RunningServer, name: &str, password: &str, more: &[&str]) -> CommandOutput {
        let (imaps, smtp) = (served.address("imaps").port(), served.address("smtp").port());
        let (imaps, smtp) = (imaps.to_string(), smtp.to_string());
        let add =
            ["account", "add", "ann@example.org", "--name", name, "--user", served.user, "--password-stdin"];
        let servers = ["--imap-host", "localhost", "--imap-port", &imaps, "--smtp-host", "localhost"];
        let smtp = ["--smtp-port", &smtp, "--smtp-security", "starttls", "--ca", &served.ca, "--create-key"];
        let arguments = [&add[..], &servers, &smtp, more].concat();
        finish(&mut self.command(&arguments), format!("{password}\n").as_bytes())
    }

    fn account(&self, name: &str) -> Value {
        self.run(&["account", "show", name, "--json"]).expect(0).json()
    }
}

fn reason(done: &CommandOutput) -> Value {
    done.json()["error"]["reason"].clone()
}

#[test]
fn an_account_replaces_the_url_and_the_password() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    let identity = format!("Ann Lee <{}>", served.mailbox());
    let added =
        home.add(&served, "work", served.password, &["--identity", &identity, "--json"]).expect(0).json();
    assert_eq!((&added["account"]["state"], &added["servers"][1]["ok"]), (&json!("connected"), &json!(true)));
    let account = home.account("Work");
    assert_eq!((&account["name"], &account["secrets"]), (&json!("work"), &json!(["password"])));
    assert_eq!((&account["imap"]["security"], &account["last_sync_at"]), (&json!("tls"), &Value::Null));

    let ca = ["--ca", &served.ca];
    let with = |arguments: &[&str]| home.run(&[arguments, &ca].concat());
    with(&["account", "test", "work"]).expect(0).shows(&["folders", "login"]);
    with(&["check", "--account", "work", "--protocol", "smtp"]).expect(0).shows(&["login"]);
    with(&["folders", "--account", "work"]).expect(0).shows(&["INBOX", "Sent"]);
    let to = served.mailbox();
    with(&["send", "--account", "work", "--to", &to, "--subject", "Hi", "--text", "Hello"]).expect(0);
    let synced = with(&["sync", "--json"]).expect(0).json();
    assert_eq!((&synced["account"], &synced["imported"]), (&json!("work"), &json!(1)));
    let listed = home.run(&["account", "list", "--json"]).expect(0).json();
    let report = &listed["accounts"][0];
    assert_eq!((&report["last_sync_status"], &report["last_sync_imported"]), (&json!("success"), &json!(1)));
    assert!(report["last_sync_error"].is_null() && report["last_sync_at"].is_string(), "{report}");
    let store = home.store();
    home.run(&["list", "--from", store.to_str().unwrap(), "INBOX"]).expect(0).shows(&["Ann Lee"]);

    for arguments in [
        &["folders", &served.url("imaps"), "--account", "work"][..],
        &["send", &served.url("smtp"), "--account", "work", "--to", &to, "--subject", "x"],
        &["check", "--account", "work", "--danger-cleartext"],
    ] {
        with(arguments).expect(64);
    }
    with(&["folders", "--account", "other"]).expect(64).shows(&["no account \"other\""]);
    home.add(&served, "WORK", served.password, &[]).expect(64).shows(&["already an account"]);
    home.run(&["account", "remove", "work"]).expect(0);
    with(&["folders", "--account", "work"]).expect(64);
    assert!(store.join("mail.db").exists());
}

#[test]
fn an_account_that_fails_its_test_is_not_kept() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    let done = home.add(&served, "work", "wrong-password", &[]).expect(77);
    assert!(!done.shown.contains("wrong-password"), "{}", done.shown);
    assert_eq!(home.run(&["account", "list", "--json"]).expect(0).json()["accounts"], json!([]));
    home.add(&served, "work", served.password, &[]).expect(0);
    // A password that is refused replaces nothing.
    let connect = ["account", "connect", "work", "--password-stdin", "--ca", &served.ca];
    finish(&mut home.command(&connect), b"wrong-password\n").expect(77);
    assert_eq!(home.account("work")["state"], "authentication_error");
    home.run(&["sync", "--account", "work", "--ca", &served.ca]).expect(0);
    assert_eq!(home.account("work")["state"], "connected");
    finish(&mut home.command(&connect), format!("{}\n", served.password).as_bytes()).expect(0);
}

#[test]
fn reports_the_errors_of_all_fields_at_once() {
    let home = Home::new();
    let arguments = [
        "account",
        "add",
        "ann@@example.org",
        "--imap-host",
        "imaps://h",
        "--imap-port",
        "0",
        "--smtp-host",
        "h h",
        "--smtp-security",
        "none",
        "--create-key",
        "--json",
    ];
    let done = home.run(&arguments).expect(65);
    assert_eq!(reason(&done), "account_invalid");
    let fields: Vec<String> = done.json()["error"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fields, ["address", "imap.host", "imap.port", "smtp.host", "smtp.security"]);
    assert!(!home.key_file().exists() && !home.store().exists(), "nothing is made for an invalid account");
}

#[test]
fn without_the_right_key_nothing_is_stored_synced_or_sent() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let add = ["account", "add", "a@b.example", "--imap-host", "localhost", "--imap-port", &port, "--json"];
    let done = finish(&mut home.command(&[&add[..], &["--password-stdin"]].concat()), b"secret\n").expect(78);
    assert_eq!(reason(&done), "email_encryption_key_missing");
    assert!(listener.accept().is_err(), "it has connected");

    home.add(&served, "work", served.password, &[]).expect(0);
    std::fs::rename(home.key_file(), home.0.path().join("moved")).unwrap();
    let to = served.mailbox();
    let commands = [
        &["sync", "--json"][..],
        &["sync", "--account", "work", "--json"],
        &["send", "--account", "work", "--to", &to, "--subject", "x", "--json"],
        &["folders", "--account", "work", "--json"],
        &["check", "--account", "work", "--json"],
        &["account", "test", "work", "--json"],
        &["account", "rekey", "--json"],
    ];
    for arguments in commands {
        let done = home.run(arguments).expect(78);
        assert_eq!(reason(&done), "email_encryption_key_missing", "{arguments:?}");
        let done = finish(home.command(arguments).env("EMAIL_ENCRYPTION_KEY", KEY), b"").expect(78);
        assert_eq!(reason(&done), "email_encryption_key_mismatch", "{arguments:?}");
        let done = finish(home.command(arguments).env("EMAIL_ENCRYPTION_KEY", "hunter2"), b"").expect(78);
        assert_eq!(reason(&done), "email_encryption_key_invalid", "{arguments:?}");
        assert!(!done.shown.contains("hunter2"));
    }
    // A key that other users can read is no key.
    std::fs::rename(home.0.path().join("moved"), home.key_file()).unwrap();
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["sync"]).expect(78).shows(&["other users can read it (mode 0644)", "chmod 600"]);
}

#[test]
fn syncs_all_accounts_and_a_failing_one_stops_no_other() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let unreachable = [
        "account",
        "add",
        "a@b.example",
        "--name",
        "a-broken",
        "--imap-host",
        "localhost",
        "--imap-port",
        &closed,
        "--password-stdin",
        "--no-test",
        "--create-key",
    ];
    finish(&mut home.command(&unreachable), b"some-password\n").expect(0);
    home.add(&served, "b-paused", served.password, &["--no-test"]).expect(0);
    home.add(&served, "c-works", served.password, &["--no-test"]).expect(0);
    home.run(&["account", "pause", "b-paused"]).expect(0);
    let done = home.run(&["sync", "--ca", &served.ca]).shows(&["c-works", "b-paused: skipped", "a-broken: "]);
    assert!(done.code == 69 || done.code == 75, "{}", done.shown);
    let states = ["a-broken", "b-paused", "c-works"].map(|name| {
        let account = home.account(name);
        (account["state"].clone(), account["last_sync_status"].clone())
    });
    let expected =
        [("connect_error", json!("failed")), ("paused", Value::Null), ("connected", json!("success"))];
    assert_eq!(states, expected.map(|(state, status)| (json!(state), status)));
    let error = home.account("a-broken")["last_sync_error"].clone();
    assert!(error.as_str().unwrap().starts_with("imap_sync_failed: "), "{error}");
    for arguments in [&["sync", "--account", "b-paused"][..], &["folders", "--account", "b-paused"]] {
        home.run(arguments).expect(78).shows(&["is paused"]);
    }
    home.run(&["account", "resume", "b-paused"]).expect(0).shows(&["unset"]);
    home.run(&["sync", "--account", "b-paused", "--ca", &served.ca]).expect(0);
}

#[test]
fn rekey_replaces_the_key_also_after_an_interruption() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    home.add(&served, "work", served.password, &[]).expect(0);
    let check = || home.run(&["check", "--account", "work", "--ca", &served.ca, "--stop-after", "login"]);
    let key = || std::fs::read(home.key_file()).unwrap();
    let next = PathBuf::from(format!("{}.next", home.key_file().display()));
    let first = key();
    home.run(&["account", "rekey"]).expect(0).shows(&["1 secrets"]);
    assert!(key() != first && !next.exists());
    check().expect(0);
    // As after a kill when the secrets are encrypted and the file is not replaced yet.
    std::fs::rename(home.key_file(), &next).unwrap();
    write_private(&home.key_file(), &first);
    check().expect(0);
    home.run(&["account", "rekey"]).expect(0);
    assert!(!next.exists());
    check().expect(0);
    // As after a kill before the secrets are encrypted.
    write_private(&next, &first);
    home.run(&["account", "rekey"]).expect(0);
    check().expect(0);
    // From the file to the environment.
    let rekey = home.command(&["account", "rekey"]).env("EMAIL_ENCRYPTION_KEY_NEXT", KEY).output().unwrap();
    assert!(rekey.status.success());
    check().expect(78).shows(&["another key"]);
    let mut with_key =
        home.command(&["check", "--account", "work", "--ca", &served.ca, "--stop-after", "login"]);
    finish(with_key.env("EMAIL_ENCRYPTION_KEY", KEY), b"").expect(0);
}

fn write_private(path: &Path, contents: &[u8]) {
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Every form of a secret that must not be anywhere: pieces of it as they are and in base64 at each alignment, and the whole in
/// hexadecimal, percent-encoded, and in the message of PLAIN.
fn forms(secret: &str, user: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let mut forms: Vec<Vec<u8>> = bytes.windows(8).map(<[u8]>::to_vec).collect();
    for offset in 0..3 {
        let around = [&vec![0; offset], bytes].concat();
        let encoded = proto_mail::sasl::encode_base64(&around);
        let sure = &encoded.expose()[(offset * 8).div_ceil(6)..around.len() * 8 / 6];
        for piece in sure.windows(8) {
            let url_safe = piece.iter().map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            });
            forms.extend([piece.to_vec(), url_safe.collect()]);
        }
    }
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let plain = proto_mail::sasl::encode_base64(format!("\0{user}\0{secret}").as_bytes());
    forms.extend([
        hexadecimal.to_uppercase().into_bytes(),
        hexadecimal.into_bytes(),
        percent.to_lowercase().into_bytes(),
    ]);
    forms.extend([percent.into_bytes(), plain.expose().to_vec()]);
    forms
}

/// All files below a directory, and their contents.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    found
}

#[test]
fn no_secret_is_in_files_traces_output_or_the_environment_of_children() {
    let (served, home) = (RunningServer::start(&[]), Home::new());
    let path = |name: &str| home.0.path().join(name).to_str().unwrap().to_owned();
    let (refresh, access) = ("1//refresh-Zq81+xw/Lk", "ya29.access-Pm40_bT7=");
    let mut shown = Vec::new();
    let mut run = |name: &str, arguments: &[&str], input: &[u8]| {
        let trace = path(&format!("trace-{}", shown.len()));
        let trace = ["--trace", &trace, "--ca", &served.ca];
        let arguments =
            if matches!(name, "plain") { arguments.to_vec() } else { [arguments, &trace].concat() };
        let done = finish(home.command(&arguments).env("EMAIL_ENCRYPTION_KEY", KEY), input);
        assert!(done.code == 0 || done.code == 77, "{arguments:?}: {}", done.shown);
        shown.push((arguments.join(" "), done.shown.into_bytes()));
    };
    let port = served.address("imap").port().to_string();
    let add = [
        "account",
        "add",
        "ann@example.org",
        "--name",
        "work",
        "--user",
        served.user,
        "--imap-host",
        "localhost",
        "--imap-port",
        &port,
        "--imap-security",
        "starttls",
        "--mechanism",
        "PLAIN",
    ];
    let (secret_file, environment) = (path("outside"), path("environment"));
    std::fs::write(&secret_file, format!("{}\n", served.password)).unwrap();
    let print = format!("env > {environment}; cat {secret_file}");
    run("add", &[&add[..], &["--password-command", &print]].concat(), b"");
    std::fs::remove_file(&secret_file).unwrap();

    // While this process has the store open, the log stays.
    let store = std::sync::Arc::new(SqliteStore::open(home.store()).unwrap());
    let accounts = AccountStore::new(store, [EncryptionKey::from_base64(KEY).unwrap()]);
    let account = accounts.get("work").unwrap().id;
    let (refresh_token, access_token) = (Secret::from(refresh), Secret::from(access));
    let tokens =
        [(SecretField::RefreshToken, Some(&refresh_token)), (SecretField::AccessToken, Some(&access_token))];
    accounts.put_secrets(account, &tokens).unwrap();
    run("test", &["account", "test", "work", "--mechanism", "PLAIN", "--json"], b"");
    run("connect", &["account", "connect", "work", "--password-stdin", "--json"], b"wR0ng-8Kd_zLq3x\n");
    run("sync", &["sync", "--json", "--mechanism", "LOGIN"], b"");
    run("plain", &["account", "list", "--json"], b"");
    run("plain", &["account", "show", "work"], b"");
    assert!(home.store().join("mail.db-wal").exists());

    let mut places = contents(home.0.path());
    assert!(places.iter().any(|(name, text)| name.ends_with("environment") && !text.is_empty()));
    assert!(places.iter().any(|(name, text)| name.contains("trace-") && !text.is_empty()));
    places.extend(shown);
    places.push(("debug".to_owned(), format!("{accounts:?} {:?}", accounts.list().unwrap()).into_bytes()));
    for secret in [served.password, refresh, access, "wR0ng-8Kd_zLq3x", KEY] {
        for form in forms(secret, served.user) {
            for (name, text) in &places {
                let found = memchr::memmem::find(text, &form);
                assert!(found.is_none(), "{name} holds {:?}", form.escape_ascii().to_string());
            }
        }
    }
    // They are there nevertheless.
    assert_eq!(
        accounts.secret(account, SecretField::RefreshToken).unwrap().unwrap().expose(),
        refresh.as_bytes()
    );
}
