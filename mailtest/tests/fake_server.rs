//! Fake servers, played against clients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use io_tokio::{Connector, ImapClient, Security, Target};
use mailtest::{FakeServer, ScriptError, Server};
use proto_mail::Credentials;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[tokio::test]
async fn plays_starttls_and_tags() -> Result {
    let server = FakeServer::start(
        "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] fake\n\
         C: $a STARTTLS\n\
         S: $a OK go on\n\
         tls\n\
         C: $b CAPABILITY\n\
         S: * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\n\
         S: $b OK done\n\
         C: $c AUTHENTICATE PLAIN *\n\
         S: $c NO [AUTHENTICATIONFAILED] not today\n",
    )?;
    let trusted = Server::start()?.tls()?;
    let port = server.address().port();
    let target = Target::new("localhost", port, Security::StartTls).dial_to("127.0.0.1", port);
    let mut imap = ImapClient::connect(&Connector::new(trusted), &target).await?;
    let refused = imap.login(&Credentials::password("ann", &b"secret"[..])).await;
    assert!(refused.unwrap_err().to_string().contains("not today"));
    drop(imap);
    server.finish()?;
    Ok(())
}

#[test]
fn reports_a_client_that_departs_from_the_script() -> Result {
    let server = FakeServer::start("S: 220 fake\nC: EHLO *\n")?;
    let mut client = TcpStream::connect(server.address())?;
    client.write_all(b"HELO x\r\n")?;
    let error = server.finish().unwrap_err();
    assert_eq!(error.to_string(), "line 2 of the script expects \"EHLO *\", and the client sent \"HELO x\"");
    let server = FakeServer::start("C: EHLO *\n")?;
    drop(TcpStream::connect(server.address())?);
    let error = server.finish().unwrap_err();
    assert!(matches!(error, ScriptError::Unexpected { line: 1, received: None, .. }), "{error}");
    Ok(())
}

#[test]
fn dropping_a_fake_server_ends_it_at_once() -> Result {
    let start = Instant::now();
    let unused = FakeServer::start("S: 220 fake\n")?;
    drop(unused);
    let waiting = FakeServer::start("S: 220 fake\nwait 60s\n")?;
    let _client = TcpStream::connect(waiting.address())?;
    drop(waiting);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(FakeServer::start("nonsense").is_err());
    Ok(())
}
