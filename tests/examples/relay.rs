//! The relay, between a client and the test server.

use std::net::SocketAddr;

use io_tokio::{Connector, Server, SmtpClient, smtp::Envelope};
use proto_mail::Credentials;

use crate::example::relay::{NextServer, listen};
use crate::{MESSAGE, Result, SOON, certificate, implicit_tls, starttls};

struct Relay {
    _server: Server,
    address: SocketAddr,
    next: mailtest::Server,
}

async fn relay(next: mailtest::ServerBuilder, password: &str) -> Result<Relay> {
    let next = next.account("relay", "key").start()?;
    let mut server = Server::new(Default::default());
    let forward = NextServer {
        connector: Connector::new(next.tls()?),
        target: implicit_tls(next.smtps()),
        credentials: Credentials::password("relay", password),
    };
    let address = listen(&mut server, certificate()?.0, forward).await?;
    Ok(Relay { _server: server, address, next })
}

impl Relay {
    /// Sends a message and returns the outcome for each recipient.
    async fn send(&self, envelope: Envelope, message: &'static [u8]) -> Result<Vec<String>> {
        let connector = Connector::new(certificate()?.1);
        let mut smtp = SmtpClient::connect(&connector, &starttls(self.address)).await?;
        smtp.login(&Credentials::password("alice", "secret")).await?;
        let report = smtp.send(envelope, message).await?;
        smtp.quit().await?;
        Ok(report.recipients().iter().map(ToString::to_string).collect())
    }
}

fn starts(outcomes: &[String], expected: &[&str]) {
    assert_eq!(outcomes.len(), expected.len(), "{outcomes:?}");
    for (outcome, expected) in outcomes.iter().zip(expected) {
        assert!(outcome.starts_with(expected), "{outcome} is not {expected}");
    }
}

#[tokio::test]
async fn each_recipient_gets_the_reply_of_the_next_server() -> Result {
    let relay =
        relay(mailtest::Server::builder().fault("rcpt=550,bad*").fault("rcpt=450,busy*"), "key").await?;
    let to = ["bob@example.org", "bad@example.org", "busy@example.org"];
    let mut envelope = Envelope::new("alice@example.com", to)?;
    envelope.mail.prdr = true;
    let outcomes = relay.send(envelope, MESSAGE).await?;
    starts(
        &outcomes,
        &[
            "bob@example.org: delivered: 250",
            "bad@example.org: rejected: 550",
            "busy@example.org: rejected: 450",
        ],
    );
    let mail = relay.next.wait_for(1, SOON)?;
    assert_eq!(mail[0].recipients(), ["bob@example.org"]);
    assert!(mail[0].header("Received").is_some_and(|field| field.starts_with("by relay.example.com")));
    assert!(mail[0].bytes().ends_with(MESSAGE));
    Ok(())
}

#[tokio::test]
async fn a_client_without_prdr_sends_to_one_recipient_at_a_time() -> Result {
    let relay = relay(mailtest::Server::builder(), "key").await?;
    let envelope = Envelope::new("alice@example.com", ["bob@example.org", "eve@example.org"])?;
    let outcomes = relay.send(envelope, MESSAGE).await?;
    starts(&outcomes, &["bob@example.org: delivered: 250", "eve@example.org: rejected: 452"]);
    Ok(())
}

#[tokio::test]
async fn what_fails_a_check_is_not_forwarded() -> Result {
    let relay = relay(mailtest::Server::builder(), "key").await?;
    let foreign = Envelope::new("eve@example.com", ["bob@example.org"])?;
    starts(&relay.send(foreign, MESSAGE).await?, &["bob@example.org: rejected: 553"]);
    let anonymous = Envelope::new("alice@example.com", ["bob@example.org"])?;
    let outcomes = relay.send(anonymous, b"Subject: no author\r\n\r\nFrom: is in the body\r\n").await?;
    starts(&outcomes, &["bob@example.org: rejected: 554"]);
    assert!(relay.next.messages().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_next_server_that_cannot_be_used_is_a_temporary_failure() -> Result {
    let relay = relay(mailtest::Server::builder(), "old key").await?;
    let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
    starts(&relay.send(envelope, MESSAGE).await?, &["bob@example.org: rejected: 451"]);
    Ok(())
}
