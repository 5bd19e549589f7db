//! Logs in, lists the mailboxes, and streams the newest message of INBOX to a file, in a program that blocks.

use std::{fs::File, io::Write, path::Path, sync::Arc};

use io_mio::{ConnectionEvent, Connector, ImapClient, Security, Target, TlsClientConfig};
use proto_imap::client::{AuthOutcome, Event, LoginMethod};
use proto_imap::types::{
    Command, Condition, FetchAttribute, FetchCommand, LazyList, ListCommand, ListPattern, MailboxName,
    Section, SelectCommand, Untagged,
};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The command whose completion is awaited.
enum Step {
    LogIn,
    List,
    Select,
    Fetch,
    LogOut,
}

/// Returns the size of the message in bytes.
pub(crate) fn fetch(tls: TlsClientConfig, target: &Target, file: &Path) -> Result<u64> {
    let credentials = Credentials::password("alice", "secret");
    let mut connection = Connector::new(tls).connect::<ImapClient>(target, &Arc::default())?;
    let (mut file, mut size, mut newest, mut step) = (File::create(file)?, 0, 0, Step::LogIn);
    connection.drive(|event, client, tx| {
        let ConnectionEvent::Machine(event) = event else { return Ok(None) };
        match event {
            Event::Capabilities if matches!(step, Step::LogIn) => {
                client.authenticate(LoginMethod::Strongest, &credentials, tx)?;
            }
            Event::Auth(AuthOutcome::Accepted { .. }) => {
                step = Step::List;
                client.send(&Command::List(ListCommand::new(&[ListPattern::ALL])), tx)?;
            }
            Event::Auth(outcome) => return Err(outcome.status().text.to_string().into()),
            Event::Data(Untagged::List(mailbox)) => println!("{}", mailbox.mailbox),
            Event::Data(Untagged::Exists(count)) => newest = count,
            Event::BodyChunk(bytes) => {
                file.write_all(bytes)?;
                size += bytes.len() as u64;
            }
            Event::Completed { status, .. } if status.condition != Condition::Ok => {
                return Err(status.text.to_string().into());
            }
            Event::Completed { .. } => match step {
                Step::List => {
                    step = Step::Select;
                    client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx)?;
                }
                Step::Select => {
                    step = Step::Fetch;
                    let whole = [FetchAttribute::peek(Section::FULL)];
                    let command = FetchCommand::new(newest.into(), LazyList::new(&whole));
                    client.send(&Command::Fetch(command), tx)?;
                }
                Step::Fetch => {
                    step = Step::LogOut;
                    client.logout(tx)?;
                }
                Step::LogIn | Step::LogOut => {}
            },
            Event::Closed => return Ok(Some(())),
            _ => {}
        }
        Ok::<_, Box<dyn std::error::Error>>(None)
    })?;
    file.sync_all()?;
    connection.close()?;
    Ok(size)
}

fn main() -> Result<()> {
    let target = Target::new("imap.example.com", 993, Security::ImplicitTls);
    println!("{} bytes", fetch(TlsClientConfig::platform()?, &target, "newest.eml".as_ref())?);
    Ok(())
}
