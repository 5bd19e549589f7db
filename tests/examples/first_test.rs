//! The test that a program with mail needs, with `mailtest`.

use std::time::Duration;

use crate::Result;
use program::{send_to_all, send_welcome};

/// The program under test.
mod program {
    use std::net::SocketAddr;

    use io_tokio::{Connector, Security, SmtpClient, Target, TlsClientConfig, smtp::Envelope};
    use proto_mail::Credentials;

    pub async fn send_welcome(server: SocketAddr, ca_pem: &str, login: (&str, &str)) -> crate::Result {
        let connector = Connector::new(TlsClientConfig::authorities_pem(ca_pem.as_bytes())?);
        let target = Target::new(server.ip().to_string(), server.port(), Security::StartTls);
        let mut smtp = SmtpClient::connect(&connector, &target).await?;
        smtp.login(&Credentials::password(login.0, login.1)).await?;
        let envelope = Envelope::new("shop@example.com", ["bob@example.org"])?;
        let report =
            smtp.send(envelope, "From: shop@example.com\r\nSubject: Welcome\r\n\r\nHello\r\n").await?;
        assert!(report.is_delivered(), "{report:?}");
        Ok(smtp.quit().await?)
    }

    pub async fn send_to_all(
        tls: TlsClientConfig,
        server: &Target,
        login: &Credentials,
        to: &[&str],
    ) -> crate::Result {
        let mut smtp = SmtpClient::connect(&Connector::new(tls), server).await?;
        smtp.login(login).await?;
        let envelope = Envelope::new("shop@example.com", to.iter().copied())?;
        let report = smtp.send(envelope, "From: shop@example.com\r\nSubject: News\r\n\r\nHello\r\n").await?;
        assert!(report.is_delivered(), "{report:?}");
        Ok(smtp.quit().await?)
    }
}

#[tokio::test]
async fn welcomes_new_users() -> Result {
    let server = mailtest::Server::start()?;
    let login = (server.user(), server.password());
    send_welcome(server.smtp(), server.ca_pem(), login).await?;
    let mail = server.wait_for(1, Duration::from_secs(5))?;
    assert_eq!(mail[0].subject().as_deref(), Some("Welcome"));
    Ok(())
}

const USERS: [&str; 2] = ["ann@example.com", "bob@example.com"];

#[tokio::test]
async fn sends_news_to_all_users() -> Result {
    let server = mailtest::Server::start()?;
    let (target, login) = (server.smtp_target(), server.credentials());
    send_to_all(server.tls()?, &target, &login, &USERS).await?;
    assert_eq!(server.messages()[0].subject().as_deref(), Some("News"));
    assert_eq!(server.messages()[0].recipients(), USERS);
    Ok(())
}
