//! Sends one message by submission, with STARTTLS.

use io_tokio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
use proto_mail::Credentials;

pub(crate) type Result = std::result::Result<(), Box<dyn std::error::Error>>;

pub(crate) async fn send(tls: TlsClientConfig, target: Target, password: String) -> Result {
    let mut smtp = SmtpClient::connect(&Connector::new(tls), &target).await?;
    smtp.login(&Credentials::password("alice", password)).await?;
    let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
    let report = smtp.send(envelope, "Subject: Hello\r\n\r\nHello Bob\r\n").await?;
    for recipient in report.recipients() {
        println!("{recipient}");
    }
    Ok(smtp.quit().await?)
}

#[tokio::main]
async fn main() -> Result {
    let target = Target::new("mail.example.com", 587, Security::StartTls);
    send(TlsClientConfig::platform()?, target, std::env::var("PASSWORD")?).await
}
