//! How the command runs: outputs that cannot be written, signals, and private files.

use std::fs::{File, OpenOptions, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Conversation, RunningServer, command, exit_code, folder, run, run_with, smtp_server};

/// The longest that a server may take to exit.
const END: Duration = Duration::from_secs(10);

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn send(child: &Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// A server on a port that was just free, which prints to `output` and logs to `log`.
fn serve(
    directory: &std::path::Path,
    output: impl Into<Stdio>,
    log: impl Into<Stdio>,
    more: &[&str],
) -> (Child, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(env!("CARGO_BIN_EXE_mailwire"))
        .args(["serve", "--smtps", "off", "--imap", "off", "--imaps", "off", "--dir"])
        .arg(directory.join("served"))
        .args(["--smtp", &format!("127.0.0.1:{port}")])
        .args(more)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .spawn()
        .unwrap();
    (child, port)
}

/// Connects as soon as the server accepts, and reads the greeting.
fn greeted(port: u16) -> Conversation {
    let begun = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut talk = Conversation::new(stream);
            assert!(talk.answer().starts_with("220 "));
            return talk;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing listens");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the server's log is as expected: it is written by a thread of its own.
fn until(served: &RunningServer, holds: impl Fn(&RunningServer) -> bool) {
    let begun = Instant::now();
    while !holds(served) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", served.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keeps_serving_when_output_and_log_cannot_be_written() {
    let folder = folder();
    let (mut child, port) = serve(folder.path(), full(), full(), &[]);
    for _ in 0..3 {
        let mut talk = greeted(port);
        assert!(talk.ask("EHLO c.example\r\n").contains("STARTTLS"));
        // A session that fails is logged.
        assert!(talk.ask("STARTTLS\r\n").starts_with("220 "));
        let _ = talk.ask("no TLS\r\n");
    }
    greeted(port);
    send(&child, Signal::TERM);
    assert_eq!(exit_code(&mut child, END), 0);
}

#[test]
fn a_blocked_log_blocks_neither_sessions_nor_shutdown() {
    let folder = folder();
    let (mut child, port) = serve(folder.path(), Stdio::piped(), Stdio::piped(), &["--trace", "-"]);
    // More than a pipe holds: each line is traced.
    let line = format!("NOOP {}\r\n", "x".repeat(400));
    for _ in 0..5 {
        let mut talk = greeted(port);
        for _ in 0..80 {
            assert!(talk.ask(&line).starts_with("250 "));
        }
    }
    greeted(port);
    send(&child, Signal::TERM);
    assert_eq!(exit_code(&mut child, END), 0);
}

#[test]
fn serves_and_shuts_down_when_its_output_pipes_are_closed() {
    let folder = folder();
    let (mut child, port) = serve(folder.path(), Stdio::piped(), Stdio::piped(), &["--trace", "-"]);
    drop((child.stdout.take(), child.stderr.take()));
    assert!(greeted(port).ask("NOOP\r\n").starts_with("250 "));
    send(&child, Signal::TERM);
    assert_eq!(exit_code(&mut child, END), 0);
}

/// Runs a command with this standard output; returns its exit code and standard error.
fn with_output(arguments: &[&str], input: &[u8], output: Stdio) -> (i32, String) {
    use std::io::{Read, Write};
    let mut child = command(arguments, "hY7-pq2RvT9s").stdout(output).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    drop(child.stdout.take());
    let mut shown = String::new();
    child.stderr.take().unwrap().read_to_string(&mut shown).unwrap();
    (exit_code(&mut child, Duration::from_secs(30)), shown)
}

#[test]
fn client_commands_end_quietly_when_their_output_is_closed() {
    let served = RunningServer::start(&[]);
    let (imap, smtp, mailbox) = (served.url("imaps"), served.url("smtps"), served.mailbox());
    let into = folder();
    let into = into.path().to_str().unwrap();
    let send = ["send", &smtp, "--ca", &served.ca, "--from", &mailbox, "--to", &mailbox, "--text", "x"];
    let commands: [&[&str]; 8] = [
        &["check", &imap, "--ca", &served.ca],
        &["folders", &imap, "--ca", &served.ca],
        &["folders", &imap, "--ca", &served.ca, "--json"],
        &["sync", &imap, "--ca", &served.ca, "--into", into],
        &send,
        &["decode", "imap-response"],
        &["--help"],
        &["serve", "--help"],
    ];
    for arguments in commands {
        let input = b"* OK ready\r\n".repeat(1000);
        let (code, shown) = with_output(arguments, &input, Stdio::piped());
        assert!(code == 0 && !shown.contains("panicked"), "{arguments:?}: {code}\n{shown}");
        // A full disk: commands that only print fail with their own exit code; commands with effects keep theirs.
        let (code, shown) = with_output(arguments, &input, full().into());
        let expected = if matches!(arguments[0], "check" | "folders" | "decode") { 74 } else { 0 };
        assert!(code == expected && !shown.contains("panicked"), "{arguments:?}: {code}\n{shown}");
        assert_eq!(code == 74, shown.contains("writing to standard output failed"), "{shown}");
    }
}

#[test]
fn a_failure_that_cannot_be_printed_keeps_its_exit_code() {
    let gone = smtp_server(|_, _| String::new()).port;
    let url = format!("smtps://u@127.0.0.1:{gone}");
    for (arguments, code) in
        [(&["check", &url][..], 76), (&["check"], 64), (&["folders", "imaps://u:p@h"], 64)]
    {
        let mut child = command(arguments, "x").stdout(full()).stderr(full()).spawn().unwrap();
        let ended = exit_code(&mut child, Duration::from_secs(30));
        assert_ne!(ended, 101, "{arguments:?}");
        if code == 64 {
            assert_eq!(ended, code, "{arguments:?}");
        }
    }
}

#[test]
fn shuts_down_in_time_while_hashing_passwords() {
    let mut served = RunningServer::start(&[]);
    let mut talks = Vec::new();
    for number in 0..30 {
        let stream = served.tls("smtps");
        let mut talk = stream;
        talk.answer();
        talk.ask("EHLO c.example\r\n");
        let whole = format!("\0{}\0wrong-{number}", served.user);
        let login = proto_mail::sasl::encode_base64(whole.as_bytes());
        talk.say(&format!("AUTH PLAIN {}\r\n", std::str::from_utf8(login.expose()).unwrap()));
        talks.push(talk);
    }
    served.signal(Signal::TERM);
    assert_eq!(served.ends(END), 0);
}

#[test]
fn refuses_files_and_directories_with_loose_modes() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let off = ["--smtp", "off", "--smtps", "off", "--imap", "off", "--lmtp", "off", "--imaps", "127.0.0.1:0"];
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    std::fs::create_dir(path("open")).unwrap();
    std::fs::set_permissions(path("open"), Permissions::from_mode(0o777)).unwrap();
    let refused = run(&[&["serve", "--dir", &path("open")], &off[..]].concat(), "x");
    refused.expect(78).shows(&["other users can write to the directory", "try: chmod 700 "]);
    assert_eq!(std::fs::read_dir(path("open")).unwrap().count(), 0, "nothing is created there");

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(path("key.pem"), Permissions::from_mode(0o644)).unwrap();
    let with = ["--cert", &path("cert.pem"), "--key", &path("key.pem"), "--dir", &path("new")];
    let refused = run(&[&["serve"], &with[..], &off].concat(), "x");
    refused.expect(78).shows(&["other users can read the key", "try: chmod 600 "]);
    assert!(!folder.path().join("new").exists(), "nothing is created");

    std::fs::write(path("victim"), "keep").unwrap();
    std::os::unix::fs::symlink(path("victim"), path("link")).unwrap();
    let gone = smtp_server(|_, _| String::new());
    let url = format!("smtps://u@127.0.0.1:{}", gone.port);
    let refused = run(&["check", &url, "--trace", &path("link")], "x");
    refused.expect(78).shows(&["link: is a symbolic link"]);
    assert_eq!(std::fs::read_to_string(path("victim")).unwrap(), "keep");

    std::fs::write(path("trace"), "old").unwrap();
    std::fs::set_permissions(path("trace"), Permissions::from_mode(0o666)).unwrap();
    run_with(&["check", &url, "--trace", &path("trace")], "x", b"");
    assert_eq!(mode("trace"), 0o600);
    assert!(!std::fs::read_to_string(path("trace")).unwrap().contains("old"));
}

#[test]
fn creates_private_files() {
    let served = RunningServer::start(&[]);
    for file in crate::harness::files(&served.path()) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", file.display());
    }
}

#[test]
fn creates_nothing_when_it_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let directory = folder.path().join("new");
    let directory = directory.to_str().unwrap();
    let others = ["--smtps", "127.0.0.1:0", "--imap", "off", "--imaps", &port];
    let serve = [&["serve", "--dir", directory, "--smtp", "127.0.0.1:0"], &others[..]].concat();
    run(&serve, "x").expect(69).shows(&["imaps cannot listen on", "another program has that port"]);
    assert!(!std::path::Path::new(directory).exists());
}

#[test]
fn takes_the_certificate_from_the_environment() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(path("key.pem"), Permissions::from_mode(0o600)).unwrap();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let mut served = RunningServer::with_environment(&[("TLS_CERT_PATH", &cert), ("TLS_KEY_PATH", &key)]);
    served.ca = cert;
    let mut talk = served.tls("imaps");
    assert!(talk.answer().starts_with("* OK "));
    assert_eq!(talk.certificate(), made.cert.der().to_vec());
}

#[test]
fn sighup_reloads_certificate_and_limits_for_new_sessions() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(path("key.pem"), Permissions::from_mode(0o600)).unwrap();
        made.cert.der().to_vec()
    };
    let first = renew();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let mut served = RunningServer::with_limits("max-message = 100000", &["--cert", &cert, "--key", &key]);
    served.ca.clone_from(&cert);
    let connect = |served: &RunningServer| {
        std::fs::copy(&cert, path("trusted.pem")).unwrap();
        let mut talk = served.tls("smtps");
        let greeting = talk.answer();
        let size = talk.ask("EHLO c.example\r\n");
        (greeting, size, talk)
    };
    let (_, size, mut old) = connect(&served);
    assert!(size.contains("SIZE 100000\r\n") && old.certificate() == first);

    let second = renew();
    std::fs::write(served.limits(), "[serve]\nmax-message = 200000\n").unwrap();
    served.signal(Signal::HUP);
    until(&served, |served| served.log().contains("reloaded"));
    let (_, size, new) = connect(&served);
    assert!(size.contains("SIZE 200000\r\n") && new.certificate() == second);
    assert!(old.ask("NOOP\r\n").starts_with("250 "), "an old session continues");

    // Settings that cannot be used are logged and change nothing.
    std::fs::write(served.limits(), "[serve]\nmax-message = 'many'\n").unwrap();
    std::fs::copy(&key, path("kept.pem")).unwrap();
    std::fs::write(&key, "no key").unwrap();
    for _ in 0..3 {
        served.signal(Signal::HUP);
    }
    until(&served, |served| served.log().contains("keeping the previous certificate"));
    assert!(served.log().contains("keeping the previous settings"));
    let (greeting, size, new) = connect(&served);
    assert!(greeting.starts_with("220 ") && size.contains("SIZE 200000\r\n") && new.certificate() == second);
    served.signal(Signal::TERM);
    assert_eq!(served.ends(END), 0);
}

#[test]
fn catch_all_accepts_every_message_and_login_on_loopback_only() {
    let catcher = ["--catch-all", "--any-login", "--danger-cleartext"];
    let served = RunningServer::start(&catcher);
    let mut talk = served.connect("smtp");
    let offer = talk.ask("EHLO c.example\r\n");
    assert!(offer.contains("AUTH PLAIN LOGIN") && !offer.contains("STARTTLS"), "{offer}");
    for (command, code) in [
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<anybody@elsewhere.example>\r\n", "250"),
        ("RCPT TO:<other.user@localhost>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("Subject: caught\r\n\r\nx\r\n.\r\n", "250"),
        ("AUTH PLAIN AHgAeQ==\r\n", "235"),
        ("MAIL FROM:<boss@x.example>\r\n", "250"),
    ] {
        let answer = talk.ask(command);
        assert!(answer.starts_with(code), "{command}: {answer}");
    }
    let mut talk = served.connect("imap");
    assert!(talk.ask("a LOGIN any body\r\n").starts_with("a OK "));
    assert!(talk.ask("b STATUS INBOX (MESSAGES)\r\n").contains("MESSAGES 1)"));
    for warning in ["--catch-all: ", "--any-login: ", "--danger-cleartext: "] {
        until(&served, |served| served.log().contains(warning));
    }
    // Also under TLS; and each of them only for programs on this machine.
    let mut talk = served.tls("imaps");
    talk.answer();
    assert!(talk.ask("a LOGIN other one\r\n").starts_with("a OK "));
    for option in catcher {
        let folder = folder();
        let directory = folder.path().join("new");
        let serve = ["serve", option, "--smtp", "0.0.0.0:0", "--dir", directory.to_str().unwrap()];
        run(&serve, "x").expect(64).shows(&[option, "loopback only"]);
        assert!(!directory.exists());
    }
}

#[test]
fn accepts_the_former_name_of_danger_cleartext() {
    let served = RunningServer::start(&["--danger-plaintext"]);
    let offer = served.connect("smtp").ask("EHLO c.example\r\n");
    assert!(offer.starts_with("250-") && !offer.contains("STARTTLS"), "{offer}");
    until(&served, |served| served.log().contains("--danger-cleartext: "));
}

#[test]
fn serves_the_configured_names() {
    let served = RunningServer::start(&["--name", "*.mail.test", "Mail.Test", "127.0.0.9"]);
    let mut talk = Conversation::new(TcpStream::connect(served.address("smtp")).unwrap());
    assert!(talk.answer().starts_with("220 mail.test "));
    assert!(talk.ask("EHLO c.example\r\n").starts_with("250-mail.test"));
    let mut talk = Conversation::new(TcpStream::connect(served.address("imap")).unwrap());
    assert!(talk.answer().contains("mail.test Mailwire"));
    served.run(&["check", &served.url("imaps")], b"").expect(0).shows(&["mail.test"]);
    run(&["serve", "--name", "a b"], "x").expect(64).shows(&["expected a host name"]);
}

#[test]
fn refuses_an_empty_password_and_creates_nothing() {
    let folder = folder();
    let directory = folder.path().join("new");
    let off = ["--smtp", "off", "--smtps", "off", "--imap", "off", "--imaps", "127.0.0.1:0"];
    let serve = [&["serve", "--user", "ann", "--dir", directory.to_str().unwrap()], &off[..]].concat();
    run(&serve, "").expect(78).shows(&["MAILWIRE_PASSWORD is set but empty"]);
    assert!(!directory.exists());
}
