//! Sends one message by submission, with STARTTLS.

use io_tokio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
use proto_mail::Credentials;

const MESSAGE: &str = "From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n";

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

/// Sends the message and prints the outcome for each recipient.
pub async fn send(tls: TlsClientConfig, target: Target, password: String) -> Result {
    let mut smtp = SmtpClient::connect(&Connector::new(tls), &target).await?;
    smtp.login(&Credentials::password("alice", password)).await?;
    let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
    let report = smtp.send(envelope, MESSAGE).await?;
    for recipient in report.recipients() {
        println!("{recipient}");
    }
    let _ = smtp.quit().await; // The outcomes are known already.
    Ok(report.into_result()?)
}

#[tokio::main]
async fn main() -> Result {
    let target = Target::new("mail.example.com", 587, Security::StartTls);
    let (tls, password) = (TlsClientConfig::platform()?, std::env::var("PASSWORD")?);
    send(tls, target, password).await
}
