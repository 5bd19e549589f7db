//! A server that receives whole messages.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{net::SocketAddr, time::Duration};

use common::Identity;
use io_tokio::{
    ConnectionLimits, Connector, IncomingMail, ListenerTls, MailPolicy, ReceivedMail, Security, Server,
    SmtpClient, Target, smtp::Envelope,
};
use proto_mail::Credentials;
use proto_smtp::types::{Code, Response};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    time::timeout,
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const MESSAGE: &str = "Subject: Hello\r\n\r\n.Hello\r\n";

fn is_correct(user: &str, password: &[u8]) -> bool {
    assert_ne!(user, "panic");
    user == "alice" && password == b"secret"
}

async fn receive(server: &mut Server, tls: ListenerTls, policy: MailPolicy) -> IncomingMail {
    server.receive_mail(ANY_PORT, tls, policy).await.unwrap()
}

async fn connect(identity: &Identity, address: SocketAddr) -> SmtpClient {
    let target = Target::new("localhost", address.port(), Security::StartTls);
    SmtpClient::connect(&Connector::new(identity.trust()), &target).await.unwrap()
}

/// Sends a message to two recipients, and returns the outcome for the first one.
async fn send(smtp: &mut SmtpClient) -> String {
    let envelope = Envelope::new("alice@example.com", ["bob@example.org", "eve@example.org"]).unwrap();
    smtp.send(envelope, MESSAGE).await.unwrap().recipients()[0].to_string()
}

async fn next(incoming: &mut IncomingMail) -> ReceivedMail {
    timeout(Duration::from_secs(10), incoming.next()).await.unwrap().unwrap()
}

/// A client on cleartext that types its commands.
struct Raw(BufStream<TcpStream>);

impl Raw {
    /// Connects, and returns what the server offers.
    async fn greeted(address: SocketAddr) -> (Self, String) {
        let mut raw = Self(BufStream::new(TcpStream::connect(address).await.unwrap()));
        assert!(raw.reply().await.starts_with("220 "));
        let offered = raw.says("EHLO client.example").await;
        (raw, offered)
    }

    async fn says(&mut self, command: &str) -> String {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        self.reply().await
    }

    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        let read = async {
            loop {
                let start = reply.len();
                assert_ne!(self.0.read_line(&mut reply).await.unwrap(), 0, "closed after {reply}");
                if reply.as_bytes().get(start + 3) == Some(&b' ') {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(10), read).await.unwrap();
        reply
    }
}

#[tokio::test]
async fn a_submission_server_takes_mail_of_its_users_only() {
    let identity = Identity::localhost();
    let mut server = Server::new(ConnectionLimits::default());
    let policy = MailPolicy::submission(is_correct)
        .senders(|user, from| user == Some("alice") && from == "alice@example.com");
    let mut incoming = receive(&mut server, ListenerTls::StartTls(identity.server()), policy).await;

    let (mut raw, offered) = Raw::greeted(incoming.address()).await;
    assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
    assert!(raw.says("MAIL FROM:<alice@example.com>").await.starts_with("530 "));

    let mut smtp = connect(&identity, incoming.address()).await;
    let outcome = send(&mut smtp).await;
    assert!(outcome.contains("530"), "{outcome}");
    for user in ["bob", "panic"] {
        assert!(smtp.login(&Credentials::password(user, "secret")).await.is_err());
    }
    smtp.login(&Credentials::password("alice", "secret")).await.unwrap();
    let foreign = Envelope::new("eve@example.com", ["bob@example.org"]).unwrap();
    let report = smtp.send(foreign, MESSAGE).await.unwrap();
    assert!(report.recipients()[0].to_string().contains("553"), "{report:?}");

    let (outcome, ()) = tokio::join!(send(&mut smtp), async {
        let mail = next(&mut incoming).await;
        assert_eq!(mail.user.as_deref(), Some("alice"));
        assert!(mail.peer.tls.is_some() && mail.is_awaited());
        assert_eq!(mail.sender(), "alice@example.com");
        let recipients: Vec<_> = mail.recipient_addresses().collect();
        assert_eq!(recipients, ["bob@example.org", "eve@example.org"]);
        assert_eq!(mail.message, MESSAGE.as_bytes());
        mail.accept();
    });
    assert!(outcome.contains("delivered: 250"), "{outcome}");
}

/// What a program does with a message.
type Answer = fn(ReceivedMail);

#[tokio::test]
async fn a_message_is_answered_once_by_its_program() {
    let identity = Identity::localhost();
    let mut server = Server::new(ConnectionLimits::default());
    let policy = MailPolicy::submission(is_correct);
    let mut incoming = receive(&mut server, ListenerTls::StartTls(identity.server()), policy).await;
    let mut smtp = connect(&identity, incoming.address()).await;
    smtp.login(&Credentials::password("alice", "secret")).await.unwrap();
    let answers: [(Answer, &str); 3] = [
        (|mail| mail.reject(Response::new(Code::FAILED, "not today")), "rejected: 554"),
        (drop, "rejected: 451"),
        (ReceivedMail::accept, "delivered: 250"),
    ];
    for (answer, expected) in answers {
        let (outcome, ()) = tokio::join!(send(&mut smtp), async { answer(next(&mut incoming).await) });
        assert!(outcome.contains(expected), "{outcome}");
    }
    // Without a program, nothing is accepted.
    drop(incoming);
    let outcome = send(&mut smtp).await;
    assert!(outcome.contains("rejected: 451"), "{outcome}");
}

#[tokio::test]
async fn a_client_waits_for_the_answer_to_its_own_message() {
    let mut server = Server::new(ConnectionLimits::default());
    let policy = MailPolicy::mail_exchanger(|to| to == "bob@example.org");
    let mut incoming = receive(&mut server, ListenerTls::None, policy).await;
    let mut clients = Vec::new();
    for text in ["first", "second"] {
        let (mut raw, offered) = Raw::greeted(incoming.address()).await;
        assert!(!offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
        assert!(raw.says("MAIL FROM:<>").await.starts_with("250 "));
        assert!(raw.says("RCPT TO:<eve@example.org>").await.starts_with("550 "));
        assert!(raw.says("RCPT TO:<bob@example.org>").await.starts_with("250 "));
        assert!(raw.says("DATA").await.starts_with("354 "));
        raw.0.write_all(format!("{text}\r\n.\r\n").as_bytes()).await.unwrap();
        raw.0.flush().await.unwrap();
        clients.push((raw, next(&mut incoming).await));
    }
    let ((mut second, later), (mut first, sooner)) = (clients.pop().unwrap(), clients.pop().unwrap());
    assert_eq!(
        (sooner.message.as_slice(), later.message.as_slice()),
        (&b"first\r\n"[..], &b"second\r\n"[..])
    );
    assert!(sooner.user.is_none() && sooner.sender().is_empty());
    later.accept();
    assert!(second.reply().await.starts_with("250 "));
    assert!(timeout(Duration::from_millis(100), first.reply()).await.is_err(), "the other one still waits");
    sooner.accept();
    assert!(first.reply().await.starts_with("250 "));
}

#[tokio::test]
async fn a_message_beyond_a_limit_is_rejected() {
    let mut server = Server::new(ConnectionLimits::default());
    let policy = MailPolicy::mail_exchanger(|_| true).max_message(100).max_memory(60);
    let mut incoming = receive(&mut server, ListenerTls::None, policy).await;
    let (mut raw, offered) = Raw::greeted(incoming.address()).await;
    assert!(offered.contains("SIZE 100\r\n"), "{offered}");
    assert!(raw.says("MAIL FROM:<a@example.com> SIZE=101").await.starts_with("552 "));
    for (size, expected) in [(101, "552 "), (61, "452 4.3.1 "), (58, "250 ")] {
        for command in ["MAIL FROM:<a@example.com>", "RCPT TO:<bob@example.org>"] {
            assert!(raw.says(command).await.starts_with("250 "));
        }
        assert!(raw.says("DATA").await.starts_with("354 "));
        let message = format!("{}\r\n.", "x".repeat(size - 2));
        let (reply, ()) = tokio::join!(raw.says(&message), async {
            if expected == "250 " {
                next(&mut incoming).await.accept();
            }
        });
        assert!(reply.starts_with(expected), "{reply}");
    }
}

#[tokio::test]
async fn the_default_configuration_requires_tls_and_login() {
    let mut server = Server::new(ConnectionLimits::default());
    let config = proto_smtp::Config::default().into();
    let serve = |mut session: io_tokio::server::SecureSession<io_tokio::SmtpServer>| async move {
        while session.next_event().await?.is_some() {}
        Ok(())
    };
    let identity = Identity::localhost();
    let tls = ListenerTls::StartTls(identity.server());
    let address = server
        .serve::<io_tokio::SmtpServer>(ANY_PORT, tls, config, io_tokio::Deadlines::default(), serve)
        .await
        .unwrap();
    let (mut raw, offered) = Raw::greeted(address).await;
    assert!(!offered.contains("AUTH"), "{offered}");
    assert!(raw.says("MAIL FROM:<a@example.com>").await.starts_with("530 5.7.0 "));
    let mut smtp = connect(&identity, address).await;
    let outcome = send(&mut smtp).await;
    assert!(outcome.contains("530"), "{outcome}");
}
