//! Every wait ends: the time limits of the machines and of `Deadlines`, on a paused clock.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::Identity;
use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ImapClient, ImapServer, ListenerSettings, ListenerTls,
    Security, Server, SmtpServer, Socket, Target,
    io_common::{self, TimeoutStage},
    server::SecureSession,
};
use proto_mail::{Cleartext, WaitFor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep, timeout},
};

fn connector() -> Connector {
    Connector::new(Identity::localhost().trust())
}

async fn cleartext_imap(stream: DuplexStream) -> Result<ImapClient<Cleartext>, Error> {
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection = connector()
        .danger_connect_cleartext_over::<io_common::ImapClientProtocol>(Socket::new(stream), &config);
    ImapClient::over(connection?).await
}

/// The stage and the limit of an error, and the time that passed.
fn timed_out(error: &Error) -> (TimeoutStage, Duration) {
    match error {
        Error::Session(io_common::Error::TimedOut { stage, after }) => (*stage, *after),
        error => panic!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_each_wait_of_a_client() {
    let (client, _server) = duplex(1024);
    let start = Instant::now();
    let error = cleartext_imap(client).await.unwrap_err();
    let (stage, limit) = timed_out(&error);
    assert_eq!(stage, TimeoutStage::Wait(WaitFor::Greeting));
    assert!(start.elapsed().abs_diff(limit) < Duration::from_secs(1), "{:?}", start.elapsed());

    let (client, mut server) = duplex(1024);
    server.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await.unwrap();
    let mut imap = cleartext_imap(client).await.unwrap();
    let start = Instant::now();
    let (stage, limit) = timed_out(&imap.noop().await.unwrap_err());
    assert_eq!(stage, TimeoutStage::Wait(WaitFor::Reply));
    assert!(start.elapsed().abs_diff(limit) < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(matches!(imap.noop().await, Err(Error::Session(io_common::Error::Closed))), "it is over");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_the_tls_handshake() {
    let (client, _server) = duplex(4096);
    let start = Instant::now();
    let target = Target::new("localhost", 993, Security::ImplicitTls);
    let mut deadlines = Deadlines::default();
    deadlines.tls = Duration::from_secs(7);
    let connector = connector().deadlines(deadlines);
    let connected =
        ImapClient::connect_over(&connector, Socket::new(client), &target, proto_imap::Config::default());
    assert_eq!(timed_out(&connected.await.unwrap_err()), (TimeoutStage::Tls, Duration::from_secs(7)));
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn dripped_bytes_do_not_extend_a_wait() {
    let (client, mut server) = duplex(1024);
    server.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await.unwrap();
    let mut imap = cleartext_imap(client).await.unwrap();
    let drip = tokio::spawn(async move {
        while server.write_all(b"*").await.is_ok() {
            sleep(Duration::from_secs(10)).await;
        }
    });
    let start = Instant::now();
    let (stage, limit) = timed_out(&imap.noop().await.unwrap_err());
    assert!(matches!(stage, TimeoutStage::Wait(_)), "{stage:?}");
    assert!(start.elapsed() < 3 * limit, "{:?}", start.elapsed());
    drop(imap);
    drip.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_ends_a_command() {
    let (client, mut server) = duplex(1024);
    server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1 LITERAL+] hello\r\n").await.unwrap();
    let mut imap = cleartext_imap(client).await.unwrap();
    // A command that is larger than what the stream takes.
    let name = "x".repeat(60_000);
    let start = Instant::now();
    let error = imap.list(&name).await.unwrap_err();
    assert_eq!(timed_out(&error), (TimeoutStage::Send, Deadlines::default().rate.per));
    assert!(start.elapsed() < Duration::from_secs(121), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn idle_begins_again_before_the_server_would_end_it() {
    let (client, mut server) = duplex(4096);
    server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\r\n").await.unwrap();
    let mut imap = cleartext_imap(client).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut lines = Vec::new();
        let (mut tag, mut buffer) = (String::new(), Vec::new());
        while lines.len() < 5 {
            let mut byte = [0];
            server.read_exact(&mut byte).await.unwrap();
            buffer.push(byte[0]);
            let Some(line) =
                buffer.strip_suffix(b"\r\n").map(|line| String::from_utf8(line.to_vec()).unwrap())
            else {
                continue;
            };
            buffer.clear();
            match line.split_once(' ') {
                Some((new, "IDLE")) => {
                    tag = new.into();
                    server.write_all(b"+ idling\r\n").await.unwrap();
                    lines.push("IDLE");
                    if lines.len() == 5 {
                        server.write_all(b"* 8 EXISTS\r\n").await.unwrap();
                    }
                }
                Some((new, _)) => {
                    let opened = format!("{new} OK [READ-WRITE] open\r\n");
                    server.write_all(opened.as_bytes()).await.unwrap();
                }
                None => {
                    assert_eq!(line, "DONE");
                    server.write_all(format!("{tag} OK done\r\n").as_bytes()).await.unwrap();
                    lines.push("DONE");
                }
            }
        }
        (lines, server)
    });
    imap.select("INBOX").await.unwrap();
    let start = Instant::now();
    let mut idle = imap.idle().await.unwrap();
    let change = idle.next().await.unwrap();
    assert_eq!(format!("{:?}", change.view()), "Exists(8)");
    let per_round = start.elapsed() / 2;
    assert!((20 * 60..30 * 60).contains(&per_round.as_secs()), "{per_round:?}");
    assert_eq!(serving.await.unwrap().0, ["IDLE", "DONE", "IDLE", "DONE", "IDLE"]);
}

async fn serve_imap(mut session: SecureSession<ImapServer>) -> Result<(), Error> {
    while session.next_event().await?.is_some() {}
    Ok(())
}

async fn serve_smtp(mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
    while session.next_event().await?.is_some() {}
    Ok(())
}

/// Everything that a server says to a client that says nothing, and when it closes.
async fn silence(mut client: DuplexStream) -> (String, Duration) {
    let (start, mut said) = (Instant::now(), String::new());
    timeout(Duration::from_secs(24 * 3600), client.read_to_string(&mut said)).await.unwrap().unwrap();
    (said, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_server_ends_the_session_of_a_silent_client() {
    let server = Server::new(ConnectionLimits::default());
    let mut deadlines = Deadlines::default();
    deadlines.login = Duration::from_secs(30);
    let mut unlimited = Deadlines::default();
    unlimited.login = Duration::MAX;
    for (deadlines, smtp, imap, limit) in [
        (deadlines, "421 4.4.2 You did not log in in time", "* BYE you did not log in in time", 30..33),
        (
            Deadlines::default(),
            "421 4.4.2 You did not log in in time",
            // The machine has the same limit.
            "* BYE ",
            60..63,
        ),
        (unlimited, "421 4.4.2", "* BYE it took too long", 60..2000),
    ] {
        let (client, socket) = duplex(4096);
        let settings =
            ListenerSettings::new(Default::default(), ListenerTls::TrustedLocal, deadlines.clone());
        server.serve_over::<SmtpServer>(common::local(socket), &settings, serve_smtp).await;
        let (said, after) = silence(client).await;
        assert!(said.contains(smtp), "{said}");
        assert!(limit.contains(&after.as_secs()), "{after:?}");

        let (client, socket) = duplex(4096);
        let settings = ListenerSettings::new(Default::default(), ListenerTls::TrustedLocal, deadlines);
        server.serve_over::<ImapServer>(common::local(socket), &settings, serve_imap).await;
        let (said, after) = silence(client).await;
        assert!(said.contains(imap), "{said}");
        assert!(limit.contains(&after.as_secs()), "{after:?}");
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_need_not_log_in_has_no_limit_for_it() {
    let mut limits = ConnectionLimits::default();
    limits.connections_before_login = Some(1);
    let server = Server::new(limits);
    let config = proto_smtp::Config::mail_exchanger().into();
    let settings = ListenerSettings::new(config, ListenerTls::TrustedLocal, Deadlines::default());
    let (first, socket) = duplex(4096);
    server.serve_over::<SmtpServer>(common::local(socket), &settings, serve_smtp).await;
    sleep(Duration::from_secs(2)).await;
    let (second, socket) = duplex(4096);
    server.serve_over::<SmtpServer>(common::local(socket), &settings, serve_smtp).await;
    let ((first, after), (second, _)) = tokio::join!(silence(first), silence(second));
    for said in [first, second] {
        assert!(said.starts_with("220 ") && said.contains("421 4.4.2 Timeout"), "{said}");
    }
    assert!(after.as_secs() >= 200, "{after:?}");
}
