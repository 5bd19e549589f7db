//! Logs in, lists the mailboxes, and streams the newest message of INBOX to a file.

use std::path::Path;

use io_tokio::{Connector, ImapClient, Security, Target, TlsClientConfig};
use proto_imap::types::{FetchAttribute, Section};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Returns the size of the message in bytes.
pub async fn fetch(tls: TlsClientConfig, target: Target, file: &Path) -> Result<u64> {
    let mut imap = ImapClient::connect(&Connector::new(tls), &target).await?;
    imap.login(&Credentials::password("alice", "secret")).await?;
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
    let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
    let size = fetch(TlsClientConfig::platform()?, target, "newest.eml".as_ref()).await?;
    println!("{size} bytes");
    Ok(())
}
