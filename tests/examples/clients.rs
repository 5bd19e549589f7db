//! The clients, against the test server.

use std::net::TcpStream;

use crate::example::{
    mio_imap_client, mio_smtp_client, std_imap_client, std_smtp_client, tokio_imap_client, tokio_smtp_client,
};
use crate::{MESSAGE, Result, SOON, implicit_tls, rustls_client, server, starttls};

#[tokio::test]
async fn every_smtp_client_sends_its_message() -> Result {
    let server = server()?;
    tokio_smtp_client::send(server.tls()?, starttls(server.smtp()), "secret".into()).await?;
    let mail = mio_smtp_client::send(server.tls()?, &starttls(server.smtp()), "secret".into())?;
    assert!(mail.recipients()[0].to_string().starts_with("bob@example.org: delivered: 250"));
    let (socket, tls) = (TcpStream::connect(server.smtp())?, rustls_client(server.ca_pem())?);
    let mail = std_smtp_client::send(socket, "localhost", tls, "secret".into())?;
    assert!(mail.recipients()[0].to_string().starts_with("bob@example.org: delivered: 250"));
    for message in server.wait_for(3, SOON)? {
        assert_eq!(message.bytes(), MESSAGE);
        assert_eq!(
            (message.sender(), message.recipients()),
            ("alice@example.com", &["bob@example.org".into()][..])
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_smtp_client_reports_a_wrong_password() -> Result {
    let server = server()?;
    let target = starttls(server.smtp());
    let socket = TcpStream::connect(server.smtp())?;
    let errors = [
        tokio_smtp_client::send(server.tls()?, target.clone(), "wrong".into()).await.unwrap_err(),
        mio_smtp_client::send(server.tls()?, &target, "wrong".into()).unwrap_err(),
        std_smtp_client::send(socket, "localhost", rustls_client(server.ca_pem())?, "wrong".into())
            .unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("535"), "{error}");
    }
    assert!(server.messages().is_empty());
    Ok(())
}

#[tokio::test]
async fn every_imap_client_streams_the_newest_message_to_a_file() -> Result {
    let server = server()?;
    let message: Vec<u8> = b"Subject: large\r\n\r\n"
        .iter()
        .chain(b"0123456789abcdef\r\n".repeat(100_000).iter())
        .copied()
        .collect();
    server.append("INBOX", b"Subject: old\r\n\r\n")?;
    server.append("INBOX", &message)?;
    let folder = tempfile::tempdir()?;
    let files = ["tokio", "mio", "std"].map(|name| folder.path().join(name));
    let target = implicit_tls(server.imaps());
    let socket = TcpStream::connect(server.imaps())?;
    let sizes = [
        tokio_imap_client::fetch(server.tls()?, target.clone(), &files[0]).await?,
        mio_imap_client::fetch(server.tls()?, &target, &files[1])?,
        std_imap_client::fetch(socket, "localhost", rustls_client(server.ca_pem())?, &files[2])?,
    ];
    assert_eq!(sizes, [message.len() as u64; 3]);
    for file in files {
        assert!(std::fs::read(file)? == message);
    }
    Ok(())
}
