//! Logs in, lists the mailboxes, and streams the newest message of INBOX to a file, in a program that blocks.

use std::{fs::File, path::Path};

use io_mio::{Connector, ImapClient, Security, Target, TlsClientConfig};
use proto_imap::types::{FetchAttribute, Section};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Returns the size of the message in bytes.
pub(crate) fn fetch(tls: TlsClientConfig, target: &Target, file: &Path) -> Result<u64> {
    let mut imap = ImapClient::connect(&Connector::new(tls), target)?;
    imap.login(&Credentials::password("alice", "secret"))?;
    for mailbox in imap.list("*")? {
        println!("{}", mailbox.name);
    }
    let newest = imap.select("INBOX")?.exists;
    let (mut file, mut size) = (File::create(file)?, 0);
    let mut fetch = imap.fetch(newest, &[FetchAttribute::peek(Section::FULL)])?;
    while let Some(mut body) = fetch.next_body()? {
        size += body.copy_to(&mut file)?;
    }
    file.sync_all()?;
    imap.logout()?;
    Ok(size)
}

fn main() -> Result<()> {
    let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
    println!("{} bytes", fetch(TlsClientConfig::platform()?, &target, "newest.eml".as_ref())?);
    Ok(())
}
