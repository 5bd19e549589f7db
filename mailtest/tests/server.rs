//! The test server, tested with clients on tokio.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "server/dialects.rs"]
mod dialects;

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use io_tokio::smtp::Envelope;
use io_tokio::{Connector, ImapClient, Security, SmtpClient, Target};
use mailtest::Server;
use proto_mail::Credentials;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const MESSAGE: &str = "From: a@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n";
const SOON: Duration = Duration::from_secs(20);

fn target(address: SocketAddr, security: Security) -> Target {
    Target::new("localhost", address.port(), security).dial_to("127.0.0.1", address.port())
}

fn credentials(server: &Server) -> Credentials {
    Credentials::password(server.user().to_owned(), server.password().as_bytes().to_vec())
}

/// Sends a message to one recipient, and returns what became of it.
async fn send(server: &Server, address: SocketAddr, security: Security, to: &str) -> Result<String> {
    let connector = Connector::new(server.tls()?);
    let mut smtp = SmtpClient::connect(&connector, &target(address, security)).await?;
    smtp.login(&credentials(server)).await?;
    let report = smtp.send(Envelope::new("a@example.com", [to])?, MESSAGE).await?;
    let outcome = format!("{:?}", report.recipients()[0].outcome());
    smtp.quit().await?;
    Ok(outcome)
}

/// This is the whole test that a user of the crate writes.
#[tokio::test]
async fn receives_and_decodes_a_message() -> Result {
    let server = Server::start()?;
    send(&server, server.smtp(), Security::StartTls, "bob@example.org").await?;
    let mail = server.wait_for(1, SOON)?;
    assert_eq!(mail[0].subject().as_deref(), Some("Grüße"));
    assert_eq!(mail[0].sender(), "a@example.com");
    assert_eq!(mail[0].recipients(), ["bob@example.org"]);
    assert_eq!(mail[0].bytes(), MESSAGE.as_bytes());
    send(&server, server.smtps(), Security::ImplicitTls, "ann@example.org").await?;
    assert_eq!(server.wait_for(2, SOON)?.len(), 2);
    server.clear();
    assert!(server.messages().is_empty());
    Ok(())
}

#[test]
fn waiting_ends_with_the_number_that_arrived() -> Result {
    let server = Server::start()?;
    let error = server.wait_for(1, Duration::from_millis(10)).unwrap_err();
    assert!(error.to_string().starts_with("0 of 1 messages arrived"), "{error}");
    Ok(())
}

#[tokio::test]
async fn faults_hit_stages_and_recipients() -> Result {
    let server = Server::builder().fault("rcpt=450,late*").fault("dot=554,bad*").delay("data=1ms").start()?;
    for (to, code) in [("late@example.org", "450"), ("bad@example.org", "554"), ("good@example.org", "250")] {
        let outcome = send(&server, server.smtp(), Security::StartTls, to).await?;
        assert!(outcome.contains(code), "{to}: {outcome}");
    }
    assert_eq!(server.wait_for(1, SOON)?[0].recipients(), ["good@example.org"]);
    let error = Server::builder().fault("rcpt=250").start().unwrap_err();
    assert!(error.to_string().contains("between 400 and 599"), "{error}");
    let server = Server::builder().drop_connection("mail").start()?;
    assert!(send(&server, server.smtp(), Security::StartTls, "a@b").await.is_err());
    Ok(())
}

#[tokio::test]
async fn accounts_and_recipients_are_checked() -> Result {
    let server = Server::builder().account("ann", "secret").reject_unknown_recipients().start()?;
    let known = send(&server, server.smtp(), Security::StartTls, "ann@localhost").await?;
    let unknown = send(&server, server.smtp(), Security::StartTls, "bob@localhost").await?;
    assert!(known.contains("250") && unknown.contains("550"), "{known} {unknown}");
    let connector = Connector::new(server.tls()?);
    let mut smtp = SmtpClient::connect(&connector, &target(server.smtp(), Security::StartTls)).await?;
    assert!(smtp.login(&Credentials::password("ann", &b"wrong"[..])).await.is_err());
    let any = Server::builder().accept_any_login().start()?;
    let connector = Connector::new(any.tls()?);
    let mut smtp = SmtpClient::connect(&connector, &target(any.smtp(), Security::StartTls)).await?;
    smtp.login(&Credentials::password("any name", &b"anything"[..])).await?;
    Ok(())
}

#[tokio::test]
async fn imap_shows_what_was_appended_and_sent() -> Result {
    let server = Server::start()?;
    assert_eq!(server.append("INBOX", MESSAGE.as_bytes())?, 1);
    assert_eq!(server.append("New/Folder", MESSAGE.as_bytes())?, 1);
    send(&server, server.smtp(), Security::StartTls, "bob@example.org").await?;
    for (address, security) in [(server.imap(), Security::StartTls), (server.imaps(), Security::ImplicitTls)]
    {
        let mut imap =
            ImapClient::connect(&Connector::new(server.tls()?), &target(address, security)).await?;
        imap.login(&credentials(&server)).await?;
        assert_eq!(imap.select("INBOX").await?.exists, 2);
        assert_eq!(imap.select("New/Folder").await?.exists, 1);
        imap.logout().await?;
    }
    Ok(())
}

#[test]
fn accepts_mail_without_tls_and_login() -> Result {
    use std::io::{BufRead, BufReader, Write};
    let server = Server::builder().without_tls().start()?;
    let mut client = TcpStream::connect(server.smtp())?;
    client.set_read_timeout(Some(SOON))?;
    client.write_all(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")?;
    let mut lines = BufReader::new(client.try_clone()?).lines();
    while !lines.next().unwrap()?.starts_with("354") {}
    client.write_all(b"x: y\r\n\r\nz\r\n.\r\nQUIT\r\n")?;
    assert_eq!(server.wait_for(1, SOON)?[0].header("X").as_deref(), Some("y"));
    Ok(())
}

#[test]
fn dropping_a_server_frees_its_ports_and_files() -> Result {
    let server = Server::start()?;
    let (address, file) = (server.smtp(), server.ca_file()?);
    assert_eq!(std::fs::read_to_string(&file)?, server.ca_pem());
    let _idle = TcpStream::connect(address)?;
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(5), "an idle client does not hold the server");
    assert!(!file.exists() && TcpStream::connect(address).is_err());
    Ok(())
}

#[tokio::test]
async fn a_hundred_servers_run_at_the_same_time() -> Result {
    let servers = (0..100).map(|_| Server::start()).collect::<std::result::Result<Vec<_>, _>>()?;
    for server in servers.iter().step_by(10) {
        send(server, server.smtp(), Security::StartTls, "bob@example.org").await?;
        server.wait_for(1, SOON)?;
    }
    assert_eq!(servers.iter().map(|server| server.messages().len()).sum::<usize>(), 10);
    Ok(())
}
