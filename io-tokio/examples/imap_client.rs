//! Logs in, lists the mailboxes, and streams the newest message of INBOX to a file.

use io_tokio::{Connector, ImapClient, Security, Target, TlsClientConfig};
use proto_imap::types::{FetchAttribute, Section};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) async fn fetch(host: &str, port: u16, authorities: &str, file: &str) -> Result<u64> {
    let connector = Connector::new(TlsClientConfig::authorities([authorities])?);
    let target = Target::new(host, port, Security::ImplicitTls);
    let mut imap = ImapClient::connect(&connector, &target).await?;
    imap.login(&Credentials::password("alice", &b"secret"[..])).await?;
    for mailbox in imap.list("*").await? {
        println!("{}", mailbox.name);
    }
    let newest = imap.select("INBOX").await?.exists;
    let mut file = tokio::fs::File::create(file).await?;
    let mut size = 0;
    let mut fetch = imap.fetch(newest, &[FetchAttribute::peek(Section::FULL)]).await?;
    while let Some(mut body) = fetch.next_body().await? {
        size += tokio::io::copy_buf(&mut body, &mut file).await?;
    }
    file.sync_all().await?;
    imap.logout().await?;
    Ok(size)
}

#[tokio::main]
async fn main() -> Result<()> {
    let size = fetch("imap.example.com", 993, "/etc/ssl/cert.pem", "newest.eml").await?;
    println!("{size} bytes");
    Ok(())
}
