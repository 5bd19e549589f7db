//! Sends one message by submission, with STARTTLS, in a program that blocks.

use io_mio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope, smtp::Report};
use proto_mail::Credentials;

const MESSAGE: &str = "From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Returns the outcome for each recipient.
pub(crate) fn send(tls: TlsClientConfig, target: &Target, password: String) -> Result<Report> {
    let mut smtp = SmtpClient::connect(&Connector::new(tls), target)?;
    smtp.login(&Credentials::password("alice", password))?;
    let report = smtp.send(Envelope::new("alice@example.com", ["bob@example.org"])?, MESSAGE)?;
    smtp.quit()?;
    Ok(report)
}

fn main() -> Result<()> {
    let target = Target::new("mail.example.com", 587, Security::StartTls);
    let report = send(TlsClientConfig::platform()?, &target, std::env::var("PASSWORD")?)?;
    for recipient in report.recipients() {
        println!("{recipient}");
    }
    Ok(report.into_result()?)
}
