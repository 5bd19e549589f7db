//! A submission server: STARTTLS and implicit TLS, TLS 1.2 and later, a generated certificate, no credentials before
//! TLS, a new session after it, and size limits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::{RunningServer, files};
use crate::tls_client::tls;

#[test]
fn serves_starttls_and_implicit_tls_with_tls_1_2_and_1_3() {
    let served = RunningServer::start(&[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let socket = TcpStream::connect(served.address("smtps")).unwrap();
        let mut implicit = tls(&served, socket, version);
        assert!(implicit.answer().starts_with("220 "));
        assert!(implicit.ask("EHLO c.example\r\n").contains("AUTH "));
        let mut clear = served.connect("smtp");
        assert!(clear.ask("EHLO c.example\r\n").contains("STARTTLS"));
        assert!(clear.ask("STARTTLS\r\n").starts_with("220 "));
        let mut upgraded = tls(&served, clear.into_stream(), version);
        assert!(upgraded.ask("EHLO c.example\r\n").contains("AUTH "));
    }
}

#[test]
fn rejects_tls_older_than_1_2() {
    let served = RunningServer::start(&[]);
    for minor in [1, 2] {
        // A ClientHello of TLS 1.0 or 1.1: version, random, no session, one cipher suite, no compression.
        let mut body = vec![3, minor];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        let mut hello = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
        hello.extend(body);
        for service in ["smtps", "imaps"] {
            let mut socket = TcpStream::connect(served.address(service)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.write_all(&hello).unwrap();
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            // A fatal alert, and no ServerHello.
            assert!(answer.first() == Some(&0x15) && answer.get(5) == Some(&2), "{service}: {answer:?}");
        }
    }
}

#[test]
fn key_files_are_readable_by_their_owner_only() {
    let served = RunningServer::start(&[]);
    let keys: Vec<_> = files(&served.path())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|is| is == "key"))
        .collect();
    assert!(keys.len() >= 2, "{keys:?}");
    for key in keys {
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", key.display());
    }
}

#[test]
fn the_certificate_is_for_localhost() {
    let served = RunningServer::start(&[]);
    let socket = TcpStream::connect(served.address("smtps")).unwrap();
    // The handshake verifies the name and would fail otherwise.
    assert!(tls(&served, socket, &rustls::version::TLS13).answer().starts_with("220 "));
    for url in [served.url("smtps"), served.url("smtps").replace("localhost", "127.0.0.1")] {
        served.run(&["check", &url], b"").expect(0).shows(&["certificate"]);
    }
}

#[test]
fn answers_auth_before_tls_with_530_5_7_0() {
    let served = RunningServer::start(&[]);
    let mut clear = served.connect("smtp");
    let offer = clear.ask("EHLO c.example\r\n");
    assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
    for command in
        ["AUTH PLAIN AHUAcA==\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "MAIL FROM:<a@x.example>\r\n"]
    {
        let answer = clear.ask(command);
        assert!(answer.starts_with("530 5.7.0 "), "{command}: {answer}");
    }
    // The server does not say whether the password would have been right.
    let whole = format!("\0{}\0{}", served.user, served.password);
    let right = proto_mail::sasl::encode_base64(whole.as_bytes());
    let right = std::str::from_utf8(right.expose()).unwrap();
    assert!(clear.ask(&format!("AUTH PLAIN {right}\r\n")).starts_with("530 5.7.0 "));
}

#[test]
fn requires_a_new_ehlo_after_tls() {
    let served = RunningServer::start(&[]);
    let mut clear = served.connect("smtp");
    clear.ask("EHLO evil.example\r\n");
    assert!(clear.ask("STARTTLS\r\n").starts_with("220 "));
    let mut secure = tls(&served, clear.into_stream(), &rustls::version::TLS13);
    for command in ["MAIL FROM:<a@x.example>\r\n", "AUTH PLAIN AHUAcA==\r\n"] {
        assert!(secure.ask(command).starts_with("503 "), "{command}");
    }
    let offer = secure.ask("EHLO c.example\r\n");
    assert!(offer.contains("AUTH ") && !offer.contains("STARTTLS"), "{offer}");
}

#[test]
fn never_answers_a_command_pipelined_after_starttls() {
    let served = RunningServer::start(&[]);
    let mut clear = served.connect("smtp");
    clear.ask("EHLO c.example\r\n");
    let answer = clear.ask("STARTTLS\r\nNOOP\r\n");
    let mut rest = String::new();
    let _ = clear.into_stream().read_to_string(&mut rest);
    assert!(!answer.contains("250") && !rest.contains("250"), "{answer}{rest}");
}

#[test]
fn limits_sizes() {
    let served = RunningServer::start(&["--max-message", "10000"]);
    let socket = TcpStream::connect(served.address("smtps")).unwrap();
    let mut secure = tls(&served, socket, &rustls::version::TLS13);
    secure.answer();
    assert!(secure.ask("EHLO c.example\r\n").contains("SIZE 10000\r\n"));
    let whole = format!("\0{}\0{}", served.user, served.password);
    let login = proto_mail::sasl::encode_base64(whole.as_bytes());
    let login = std::str::from_utf8(login.expose()).unwrap().to_owned();
    assert!(secure.ask(&format!("AUTH PLAIN {login}\r\n")).starts_with("235 "));
    // The announced size, the sent size, and an endless line.
    assert!(secure.ask("MAIL FROM:<a@x.example> SIZE=10001\r\n").starts_with("552 "));
    assert!(secure.ask("MAIL FROM:<a@x.example>\r\n").starts_with("250 "));
    assert!(secure.ask(&format!("RCPT TO:<{}>\r\n", served.mailbox())).starts_with("250 "));
    assert!(secure.ask("DATA\r\n").starts_with("354 "));
    let message = "0123456789\r\n".repeat(1000);
    assert!(secure.ask(&format!("{message}.\r\n")).starts_with("552 "));
    assert!(secure.ask(&format!("NOOP {}\r\n", "x".repeat(5000))).starts_with("500 "));
    assert!(secure.ask("NOOP\r\n").starts_with("250 "), "the session continues");
}
