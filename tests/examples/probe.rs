//! The probe, against a sound server and against attackers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use io_tokio::Connector;
use mailtest::FakeServer;

use crate::example::probe::{Finding, Service, probe};
use crate::{Result, certificate, implicit_tls, server, starttls};

async fn found(service: Service, address: SocketAddr) -> Result<Finding> {
    Ok(probe(&Connector::new(server()?.tls()?), service, &starttls(address)).await)
}

#[tokio::test]
async fn a_sound_server_has_tls() -> Result {
    let server = server()?;
    let connector = Connector::new(server.tls()?);
    for (service, target) in [
        (Service::Smtp, starttls(server.smtp())),
        (Service::Smtp, implicit_tls(server.smtps())),
        (Service::Imap, starttls(server.imap())),
        (Service::Imap, implicit_tls(server.imaps())),
    ] {
        let finding = probe(&connector, service, &target).await;
        assert!(matches!(finding, Finding::Secure("TLSv1.3")), "{service:?}: {finding}");
    }
    Ok(())
}

#[tokio::test]
async fn a_removed_starttls_is_reported_and_nothing_is_sent() -> Result {
    let smtp = FakeServer::start(
        "S: 220 mail.example.com\nC: EHLO *\nS: 250-mail.example.com\nS: 250 AUTH PLAIN\n",
    )?;
    let finding = found(Service::Smtp, smtp.address()).await?;
    assert!(matches!(finding, Finding::NotOffered), "{finding}");
    smtp.finish()?;
    let imap = FakeServer::start("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\n")?;
    let finding = found(Service::Imap, imap.address()).await?;
    assert!(matches!(finding, Finding::NotOffered), "{finding}");
    imap.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_refused_starttls_is_reported_with_the_reply() -> Result {
    let smtp = FakeServer::start(
        "S: 220 fake\nC: EHLO *\nS: 250-fake\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 TLS not available\n",
    )?;
    let finding = found(Service::Smtp, smtp.address()).await?;
    assert!(matches!(&finding, Finding::Refused(reply) if reply.starts_with("454")), "{finding}");
    Ok(())
}

#[tokio::test]
async fn injected_bytes_are_reported() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let attacker = std::thread::spawn(move || -> std::io::Result<()> {
        let mut socket = listener.accept()?.0;
        socket.write_all(b"220 fake\r\n")?;
        for answer in ["250-fake\r\n250 STARTTLS\r\n", "220 go on\r\n250 injected\r\n"] {
            let mut command = [0; 512];
            let _ = socket.read(&mut command)?;
            socket.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    let finding = found(Service::Smtp, address).await?;
    assert!(matches!(finding, Finding::Injected), "{finding}");
    attacker.join().unwrap()?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_reported() -> Result {
    let server = server()?;
    let connector = Connector::new(certificate()?.1);
    let finding = probe(&connector, Service::Imap, &starttls(server.imap())).await;
    assert!(matches!(finding, Finding::NotTheServer(_)), "{finding}");
    Ok(())
}
