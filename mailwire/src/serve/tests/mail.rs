//! SMTP and LMTP: recipients, replies, injected faults and the PROXY header.

use std::io::{Read, Write};
use std::time::Duration;

use super::super::arguments::ServeArgs;
use mailserver::Service;

use super::super::Server;
use super::{RunningServer, log};

#[test]
fn requires_a_login_and_accepts_only_local_recipients() {
    let server = RunningServer::start();
    let mut connection = server.secure(server.connect(Service::Smtps));
    connection.reply();
    connection.expect_reply("EHLO client.test", "250");
    connection.expect_reply("MAIL FROM:<a@example.test>", "530");
    let mut smtp = server.smtp();
    smtp.expect_reply("MAIL FROM:<a@example.test>", "250");
    smtp.expect_reply("RCPT TO:<unknown@localhost>", "550 5.1.1");
    smtp.expect_reply("RCPT TO:<unknown@example.test>", "550 5.7.1");
    smtp.expect_reply("DATA", "503");
    smtp.expect_reply(&format!("RCPT TO:<{}+tag@example.test>", server.user), "250");
    smtp.expect_reply("RCPT TO:<Postmaster>", "250");
    smtp.expect_reply("RSET", "250");
    smtp.expect_reply("VRFY unknown", "252");
}

#[test]
fn injects_faults_at_the_configured_stages() {
    let server = RunningServer::start_with(&[
        "--fail",
        "rcpt=450,busy*",
        "--fail",
        "dot=452,full*",
        "--fail",
        "mail=421:0",
        "--delay",
        "mail=300ms",
        "--drop",
        "data:0",
    ]);
    let mut connection = server.smtp();
    let before = std::time::Instant::now();
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    assert!(before.elapsed() >= Duration::from_millis(300));
    connection.expect_reply("RCPT TO:<busy@localhost>", "450 4.0.0 ");
    connection.expect_reply(&format!("RCPT TO:<{}@localhost>", server.user), "250");
    connection.expect_reply("DATA", "354");
    connection.expect_reply("x\r\n.", "250");
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    connection.expect_reply(&format!("RCPT TO:<{}@full.test>", server.user), "250");
    connection.expect_reply(&format!("RCPT TO:<full+{}@localhost>", server.user), "550");
    connection.expect_reply("DATA", "354");
    connection.expect_reply("x\r\n.", "250");
    // Both messages were stored: no accepted recipient matched the fault at the end of the message.
    assert!(server.imap().ok("STATUS INBOX (MESSAGES)").concat().contains("MESSAGES 2"));
}

#[test]
fn injects_faults_at_connect_ehlo_starttls_and_auth() {
    let server = RunningServer::start_with(&["--fail", "connect=421"]);
    assert!(server.clear(Service::Smtp).reply().starts_with("421 "));
    assert!(server.secure(server.connect(Service::Smtps)).reply().starts_with("421 "));
    let server = RunningServer::start_with(&["--drop", "ehlo", "--delay", "connect=200ms"]);
    let before = std::time::Instant::now();
    let mut connection = server.clear(Service::Smtp);
    assert!(connection.reply().starts_with("220 "));
    assert!(before.elapsed() >= Duration::from_millis(200));
    connection.send("EHLO client.test");
    assert_eq!(connection.line(), "");
    let server =
        RunningServer::start_with(&["--fail", "starttls=454", "--fail", "auth=454", "--fail", "ehlo=550:0"]);
    let mut connection = server.clear(Service::Smtp);
    connection.reply();
    connection.expect_reply("EHLO client.test", "250");
    connection.expect_reply("STARTTLS", "454");
    let mut connection = server.secure(server.connect(Service::Smtps));
    connection.reply();
    connection.expect_reply("EHLO client.test", "250");
    connection.expect_reply("AUTH PLAIN AGEAYg==", "454");
}

#[test]
fn lmtp_replies_for_each_recipient() {
    let server = RunningServer::start_with(&["--lmtp", "127.0.0.1:0", "--fail", "dot=452,*@full.test"]);
    let mut connection = server.clear(Service::Lmtp);
    assert!(connection.reply().starts_with("220 "));
    connection.expect_reply("EHLO client.test", "500");
    connection.expect_reply("LHLO client.test", "250");
    connection.expect_reply("MAIL FROM:<a@example.test>", "250");
    connection.expect_reply(&format!("RCPT TO:<{}@localhost>", server.user), "250");
    connection.expect_reply(&format!("RCPT TO:<{}@full.test>", server.user), "250");
    connection.expect_reply("RCPT TO:<unknown@localhost>", "550");
    connection.expect_reply(&format!("RCPT TO:<{}+box@localhost>", server.user), "250");
    connection.expect_reply("DATA", "354");
    connection.expect_reply("Subject: by lmtp\r\n\r\nx\r\n.", "250");
    assert!(connection.reply().starts_with("452 4.0.0 "));
    assert!(connection.reply().starts_with("250 "));
    connection.expect_reply("QUIT", "221");
    assert!(server.imap().ok("STATUS INBOX (MESSAGES)").concat().contains("MESSAGES 1"));
}

#[test]
fn requires_a_proxy_header_from_a_proxy() {
    let server = RunningServer::start_with(&["--proxy-from", "127.0.0.0/8", "--trace-fields"]);
    let mut socket = server.connect(Service::Smtps);
    socket.write_all(b"PROXY TCP4 192.0.2.9 198.51.100.1 4000 465\r\n").unwrap();
    let mut connection = server.secure(socket);
    assert!(connection.reply().starts_with("220 "));
    // A connection without the header is closed without a reply.
    let mut socket = server.connect(Service::Smtp);
    socket.write_all(b"EHLO client.test\r\n").unwrap();
    let mut said = Vec::new();
    assert!(socket.read_to_end(&mut said).is_err() || said.is_empty());
    assert!(said.is_empty());
}

#[test]
fn allows_lmtp_on_this_machine_only() {
    for (address, said) in [("0.0.0.0:2424", "this machine"), ("127.0.0.1:25", "port 25")] {
        let directory = tempfile::tempdir().unwrap();
        let words = ["--smtp", "off", "--smtps", "off", "--imap", "off", "--imaps", "off"];
        let words = words.into_iter().chain(["--lmtp", address, "--dir", directory.path().to_str().unwrap()]);
        let arguments = ServeArgs::parse_from(words);
        let Err(failure) = Server::start(&arguments, &log()) else { panic!("{address} is listened on") };
        assert!(format!("{failure:?}").contains(said), "{failure:?}");
    }
}
