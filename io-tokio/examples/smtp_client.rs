//! Sends one message by submission, with STARTTLS.

use io_tokio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
use proto_mail::Credentials;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) async fn send(host: &str, port: u16, authorities: &str, password: &str) -> Result<()> {
    let connector = Connector::new(TlsClientConfig::authorities([authorities])?);
    let target = Target::new(host, port, Security::StartTls);
    let mut smtp = SmtpClient::connect(&connector, &target).await?;
    smtp.login(&Credentials::password("alice", password.as_bytes())).await?;
    let envelope = Envelope::new("alice@example.com", ["bob@example.org"])?;
    let report = smtp.send(envelope, "Subject: Hello\r\n\r\nHello Bob\r\n").await?;
    for recipient in report.recipients() {
        println!("{}: {:?}", recipient.rcpt().to.as_str(), recipient.outcome());
    }
    Ok(smtp.quit().await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    send("mail.example.com", 587, "/etc/ssl/certs/ca-certificates.crt", &std::env::var("PASSWORD")?).await
}
