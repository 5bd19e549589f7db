//! How the command runs: outputs that cannot be written, signals, files that only their owner may read.

use std::fs::{File, OpenOptions, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::{Served, Talk, command, exit_code, folder, run, run_with, smtp_server};

/// The longest that a server may take to end.
const END: Duration = Duration::from_secs(10);

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn send(child: &Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// A server on a port that was free a moment ago, which prints to `output` and logs to `log`.
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

/// A connection that was greeted, as soon as the server takes one.
fn greeted(port: u16) -> Talk {
    let begun = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut talk = Talk::new(stream);
            assert!(talk.answer().starts_with("220 "));
            return talk;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing listens");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_goes_on_when_its_output_and_log_cannot_be_written() {
    let folder = folder();
    let (mut child, port) = serve(folder.path(), full(), full(), &[]);
    for _ in 0..3 {
        let mut talk = greeted(port);
        assert!(talk.ask("EHLO c.example\r\n").contains("STARTTLS"));
        // A session that breaks is logged.
        assert!(talk.ask("STARTTLS\r\n").starts_with("220 "));
        let _ = talk.ask("no TLS\r\n");
    }
    greeted(port);
    send(&child, Signal::TERM);
    assert_eq!(exit_code(&mut child, END), 0);
}

#[test]
fn a_log_that_nobody_reads_blocks_neither_sessions_nor_the_end() {
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
fn a_server_whose_readers_have_closed_serves_and_ends() {
    let folder = folder();
    let (mut child, port) = serve(folder.path(), Stdio::piped(), Stdio::piped(), &["--trace", "-"]);
    drop((child.stdout.take(), child.stderr.take()));
    assert!(greeted(port).ask("NOOP\r\n").starts_with("250 "));
    send(&child, Signal::TERM);
    assert_eq!(exit_code(&mut child, END), 0);
}

/// Runs a command whose standard output is this, and returns its exit code and what it said on standard error.
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
    let served = Served::start(&[]);
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
        // A full disk: what is only shown fails with a code of its own, what is done is done.
        let (code, shown) = with_output(arguments, &input, full().into());
        let expected = if matches!(arguments[0], "check" | "folders" | "decode") { 74 } else { 0 };
        assert!(code == expected && !shown.contains("panicked"), "{arguments:?}: {code}\n{shown}");
        assert_eq!(code == 74, shown.contains("standard output could not be written"), "{shown}");
    }
}

#[test]
fn a_failure_that_cannot_be_shown_keeps_its_exit_code() {
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
fn a_server_ends_in_time_while_passwords_are_computed() {
    let mut served = Served::start(&[]);
    let mut talks = Vec::new();
    for number in 0..30 {
        let stream = served.tls("smtps");
        let mut talk = stream;
        talk.answer();
        talk.ask("EHLO c.example\r\n");
        let whole = format!("\0{}\0wrong-{number}", served.user);
        let login = proto_core::sasl::encode(whole.as_bytes());
        talk.say(&format!("AUTH PLAIN {}\r\n", std::str::from_utf8(login.expose()).unwrap()));
        talks.push(talk);
    }
    served.signal(Signal::TERM);
    assert_eq!(served.ends(END), 0);
}

#[test]
fn files_and_directories_that_others_can_change_or_read_are_refused() {
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
fn what_a_server_creates_is_private() {
    let served = Served::start(&[]);
    for file in crate::program::files(&served.path()) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", file.display());
    }
}
