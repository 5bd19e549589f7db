//! Clients: logins, results of messages, errors with the server's words, the ways to a server.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;
#[path = "common/scripted.rs"]
#[allow(dead_code, reason = "shared by several tests")]
mod scripted;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Folder, Identity};
use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ErrorKind, ImapClient, ListenerSettings, ListenerTls,
    Security, Server, SmtpClient, SmtpServer, Socket, Target, io_common,
    server::{BoundPort, SecureSession},
    smtp::{Envelope, EnvelopeOutcome},
};
use mailwire_fixtures::scripts;
use proto_imap::types::{AppendCommand, Condition, MailboxName};
use proto_mail::{
    AuthVerdict, Cleartext, Credentials, Mechanism, Mechanisms, sasl::ScramKeys, token::AuthQuestion,
};
use proto_smtp::{
    client::{NotSent, Outcome, Step},
    server::Event,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn connector() -> Connector {
    Connector::new(Identity::localhost().trust())
}

async fn imap(stream: DuplexStream) -> Result<ImapClient<Cleartext>, Error> {
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connection = connector()
        .danger_connect_cleartext_over::<io_common::ImapClientProtocol>(Socket::new(stream), &config);
    ImapClient::over(connection?).await
}

async fn smtp(stream: DuplexStream) -> Result<SmtpClient<Cleartext>, Error> {
    let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
    let connection = connector()
        .danger_connect_cleartext_over::<io_common::SmtpClientProtocol>(Socket::new(stream), &config);
    SmtpClient::over(connection?).await
}

/// Says each text after one line was received, and closes. Returns everything that was received.
fn script(mut server: DuplexStream, says: &'static [&'static str]) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let mut received = Vec::new();
        for (index, text) in says.iter().enumerate() {
            if index > 0 {
                loop {
                    received.push(server.read_u8().await.unwrap());
                    if received.ends_with(b"\r\n") {
                        break;
                    }
                }
            }
            server.write_all(text.as_bytes()).await.unwrap();
        }
        String::from_utf8(received).unwrap()
    })
}

/// Serves logins and records the mechanisms.
async fn log_in(
    mut session: SecureSession<SmtpServer>,
    used: Arc<Mutex<Vec<Mechanism>>>,
) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        let Event::Auth(request) = event else { continue };
        let verdict = match request.question() {
            AuthQuestion::Keys { hash, .. } => {
                used.lock().unwrap().push(request.mechanism());
                let keys = ScramKeys::derive(*hash, "secret", b"0123456789abcdef", 4096).unwrap();
                AuthVerdict::Keys(Box::new(keys))
            }
            AuthQuestion::Authorize { .. } => AuthVerdict::Accept,
            _ => {
                used.lock().unwrap().push(request.mechanism());
                AuthVerdict::Reject
            }
        };
        session.answer_auth(request, verdict)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_login_uses_the_strongest_mechanism_and_no_weaker_one_after_it() {
    let identity = Identity::localhost();
    let used = Arc::<Mutex<Vec<Mechanism>>>::default();
    let mut server = Server::new(ConnectionLimits::default());
    let mut waits = proto_smtp::Waits::default();
    waits.delay = Duration::ZERO;
    let config = proto_smtp::Config::default().offered_mechanisms(Mechanisms::all()).waits(waits).into();
    let (tls, seen) = (ListenerTls::StartTls(identity.server()), used.clone());
    let service = move |session| log_in(session, seen.clone());
    let address =
        server.serve::<SmtpServer>(ANY_PORT, tls, config, Deadlines::default(), service).await.unwrap();
    let target = Target::new("localhost", address.port(), Security::StartTls);
    let connector = Connector::new(identity.trust());
    let mut smtp = SmtpClient::connect(&connector, &target).await.unwrap();
    let refused = smtp.login(&Credentials::password("alice", &b"wrong"[..])).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), (Some(535), ErrorKind::Authentication), "{refused}");
    smtp.login(&Credentials::password("alice", &b"secret"[..])).await.unwrap();
    assert_eq!(*used.lock().unwrap(), [Mechanism::ScramSha256Plus; 2]);
    let none = smtp.login_by(&[], &Credentials::password("alice", &b"secret"[..])).await.unwrap_err();
    assert_eq!((none.code(), none.kind()), (None, ErrorKind::Authentication), "{none}");
    smtp.quit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reports_each_recipient_when_the_connection_is_lost() {
    const ENVELOPE: [&str; 5] = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    for (says, expected) in [
        (&ENVELOPE[..4], Outcome::NotSent(NotSent::Lost)),
        // It closes after the first line of the message, and the message has only one.
        (&["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "", ""], Outcome::Uncertain),
    ] {
        let (client, server) = duplex(4096);
        let serving = script(server, says);
        let mut smtp = smtp(client).await.unwrap();
        let envelope = Envelope::new("a@example.com", ["b@example.org"]).unwrap();
        let report = smtp.send(envelope, "one line\r\n").await.unwrap();
        assert_eq!(*report.recipients()[0].outcome(), expected, "{says:?}");
        assert!(report.error().is_some() && !report.is_delivered());
        serving.await.unwrap();
        assert!(smtp.noop().await.is_err(), "the session is over");
    }
}

#[tokio::test(start_paused = true)]
async fn each_recipient_has_its_own_result() {
    let (client, server) = duplex(4096);
    let serving = script(
        server,
        &[
            "220 mx\r\n",
            "250 mx\r\n",
            "250 ok\r\n",
            "550 5.1.1 no\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "",
            "250 got it\r\n",
            "221 bye\r\n",
        ],
    );
    let mut smtp = smtp(client).await.unwrap();
    let envelope = Envelope::new("a@example.com", ["b@example.org", "c@example.org"]).unwrap();
    let EnvelopeOutcome::Accepted(mut writer) = smtp.send_stream(envelope).await.unwrap() else {
        panic!("one is accepted")
    };
    writer.write_all(b"one line\r\n").await.unwrap();
    let report = writer.finish().await;
    let [one, two] = report.recipients() else { panic!("{report:?}") };
    assert!(matches!(one.outcome(), Outcome::Refused(Step::Rcpt(0), reply) if reply.code().get() == 550));
    assert!(matches!(two.outcome(), Outcome::Delivered(reply) if reply.text().contains("got it")));
    smtp.quit().await.unwrap();
    let received = serving.await.unwrap();
    assert!(received.ends_with("DATA\r\none line\r\n.\r\nQUIT\r\n"), "{received}");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_envelope_does_not_end_the_session() {
    let log = scripts::Log::default();
    let config = Arc::new(proto_smtp::Config::default().danger_cleartext());
    let socket = Socket::new(scripted::Scripted::new(scripts::SmtpScript::new(&log)));
    let connection =
        connector().danger_connect_cleartext_over::<io_common::SmtpClientProtocol>(socket, &config);
    let mut smtp = SmtpClient::over(connection.unwrap()).await.unwrap();
    assert!(matches!(Envelope::new("a", []), Err(Error::Invalid(_))));
    assert!(matches!(Envelope::new("a@example.com", []), Err(Error::Invalid(_))));
    let no_recipient = Envelope { recipients: Vec::new(), ..Envelope::new("", ["b@example.org"]).unwrap() };
    let report = smtp.send(no_recipient, "x\r\n").await.unwrap();
    assert!(!report.is_delivered() && report.error().is_none(), "{report:?}");
    assert!(report.into_result().is_err());
    // The server does not offer SMTPUTF8.
    let envelope = Envelope::new("a@example.com", ["\u{fc}@example.org"]).unwrap();
    assert!(envelope.mail.utf8);
    let report = smtp.send(envelope, "x\r\n").await.unwrap();
    assert!(
        matches!(report.recipients()[0].outcome(), Outcome::NotSent(NotSent::NotOffered(_))),
        "{report:?}"
    );
    let mut ascii = Envelope::new("a@example.com", ["b@example.org"]).unwrap();
    ascii.recipients = Envelope::new("", ["\u{fc}@example.org"]).unwrap().recipients;
    let report = smtp.send(ascii, "x\r\n").await.unwrap();
    assert!(
        matches!(report.recipients()[0].outcome(), Outcome::NotSent(NotSent::NotOffered(_))),
        "{report:?}"
    );
    let good = Envelope::new("a@example.com", ["b@example.org"]).unwrap();
    assert!(smtp.send(good, "x\r\n").await.unwrap().is_delivered());
    smtp.quit().await.unwrap();
    let log = log.lock().unwrap();
    let recipients: Vec<_> = log.iter().filter(|line| line.starts_with("RCPT")).collect();
    assert_eq!(recipients, ["RCPT TO:<b@example.org>"], "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_contain_the_servers_text() {
    let (client, server) = duplex(4096);
    let serving = script(server, &["554 5.7.1 go away\r\n"]);
    let refused = smtp(client).await.unwrap_err();
    assert_eq!((refused.code(), refused.enhanced_code().as_deref()), (Some(554), Some("5.7.1")), "{refused}");
    assert!(refused.server_text().unwrap().contains("go away") && !refused.is_retryable());
    serving.await.unwrap();

    let says = &[
        "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n",
        "M1 NO [INUSE] later\r\n",
        "* BYE [UNAVAILABLE] gone fishing\r\n",
    ];
    let (client, server) = duplex(4096);
    let serving = script(server, says);
    let mut imap = imap(client).await.unwrap();
    let refused = imap.noop().await.unwrap_err();
    assert!(matches!(&refused, Error::Imap(status) if status.view().condition == Condition::No));
    assert!(refused.is_retryable() && refused.server_text().unwrap() == "later", "{refused}");
    let bye = imap.noop().await.unwrap_err();
    assert_eq!(bye.server_text().as_deref(), Some("gone fishing"), "{bye:?}");
    assert!(bye.is_retryable());
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_rejected_early_does_not_disturb_the_session() {
    let (client, mut server) = duplex(256);
    let serving = tokio::spawn(async move {
        server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n").await.unwrap();
        let mut line = [0; "M1 APPEND INBOX {500000}\r\n".len()];
        server.read_exact(&mut line).await.unwrap();
        server.write_all(b"+ go\r\nM1 NO [OVERQUOTA] full\r\n").await.unwrap();
        let mut message = vec![0; 500_002];
        server.read_exact(&mut message).await.unwrap();
        let mut noop = [0; "M2 NOOP\r\n".len()];
        server.read_exact(&mut noop).await.unwrap();
        server.write_all(b"M2 OK done\r\n").await.unwrap();
        (line, noop)
    });
    let mut imap = imap(client).await.unwrap();
    let append = AppendCommand::new(MailboxName::new("INBOX"));
    let refused = imap.append(append, vec![b'x'; 500_000]).await.unwrap_err();
    assert_eq!(refused.server_text().as_deref(), Some("full"), "{refused:?}");
    imap.noop().await.unwrap();
    assert_eq!(&serving.await.unwrap().1, b"M2 NOOP\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_skipped() {
    let (client, mut server) = duplex(4096);
    let serving = tokio::spawn(async move {
        server.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n").await.unwrap();
        let mut line = [0; "M1 LIST \"\" \"*\"\r\n".len()];
        server.read_exact(&mut line).await.unwrap();
        for _ in 0..10_000 {
            server.write_all(b"* LIST () \"/\" mailbox\r\n").await.unwrap();
        }
        server.write_all(b"M1 OK done\r\n").await.unwrap();
        let mut noop = [0; "M2 NOOP\r\n".len()];
        server.read_exact(&mut noop).await.unwrap();
        server.write_all(b"M2 OK done\r\n").await.unwrap();
    });
    let mut imap = imap(client).await.unwrap();
    imap.set_answer_limit(100_000);
    assert!(matches!(imap.list("*").await, Err(Error::TooLarge(100_000))));
    imap.noop().await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn names_the_detected_protocol_on_a_wrong_port() {
    let identity = Identity::localhost();
    let closed = std::net::TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap().port();
    let connector = Connector::new(identity.trust());
    let target = Target::new("localhost", closed, Security::ImplicitTls);
    let error = ImapClient::connect(&connector, &target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let target = Target::new("no.invalid", 993, Security::ImplicitTls);
    let error = ImapClient::connect(&connector, &target).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoHost | ErrorKind::Timeout), "{error}");

    let (client, server) = duplex(4096);
    let serving = script(server, &["* OK hello\r\n"]);
    let target = Target::new("localhost", 993, Security::ImplicitTls);
    let config = proto_imap::Config::default();
    let error = ImapClient::connect_over(&connector, Socket::new(client), &target, config).await.unwrap_err();
    assert!(error.hint().unwrap().contains("STARTTLS"), "{error}: {:?}", error.hint());
    serving.await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_carries_a_trusted_session() {
    let folder = Folder::new();
    let path = folder.0.join("smtp");
    let mut server = Server::new(ConnectionLimits::default());
    let port = BoundPort::bind_unix(&path).unwrap();
    let settings = ListenerSettings::new(Default::default(), ListenerTls::TrustedLocal, Deadlines::default());
    let used = Arc::default();
    server
        .serve_on::<SmtpServer>(port, None, &settings, move |session| log_in(session, Arc::clone(&used)))
        .unwrap();
    let target = Target::new("localhost", 25, Security::StartTls).unix_socket(&path);
    let config = proto_smtp::Config::default();
    let mut smtp = SmtpClient::danger_connect_cleartext(&connector(), &target, config).await.unwrap();
    smtp.noop().await.unwrap();
    smtp.quit().await.unwrap();
    server.shut_down(Duration::from_secs(5)).await;
}

/// A program can move sessions and their futures to other tasks.
#[test]
fn sessions_and_futures_are_send() {
    fn is_send<T: Send>(_: fn() -> T) {}
    fn future_is_send<F: Future + Send>(_: impl FnOnce(ImapClient, SmtpClient) -> F) {}
    is_send::<ImapClient>(|| unreachable!());
    is_send::<SmtpClient<Cleartext>>(|| unreachable!());
    future_is_send(|mut imap, mut smtp| async move {
        let (connector, target) = (connector(), Target::new("localhost", 993, Security::ImplicitTls));
        drop(ImapClient::connect(&connector, &target).await?);
        imap.login(&Credentials::password("u", &b"p"[..])).await?;
        imap.select("INBOX").await?;
        imap.list("*").await?;
        imap.uid_search(&[proto_imap::types::SearchKey::All]).await?;
        let mut fetch = imap.uid_fetch(1..=2, proto_imap::types::FetchAttribute::FAST).await?;
        while let Some(mut body) = fetch.next_body().await? {
            body.read_u8().await?;
        }
        imap.append(AppendCommand::new(MailboxName::new("INBOX")), "message").await?;
        imap.idle().await?.next().await?;
        smtp.login(&Credentials::password("u", &b"p"[..])).await?;
        smtp.send(Envelope::new("", ["a@example.com"])?, "message").await?.into_result()?;
        imap.logout().await?;
        smtp.quit().await
    });
}
