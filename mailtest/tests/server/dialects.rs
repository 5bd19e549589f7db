//! Mailwire's client against every server that can be imitated.

use std::collections::{BTreeMap, BTreeSet};

use io_tokio::imap::FetchPart;
use io_tokio::{Connector, ImapClient};
use mailtest::{Dialect, Server};
use proto_imap::types::{
    BodyStructure, Command, FetchAttribute, FetchItem, IString, LazyList, SearchKey, Section, SequenceSet,
};
use tokio::io::AsyncReadExt;

use super::Result;

const MESSAGES: [&str; 2] = [
    "From: Ann <ann@example.test>, Bob <bob@example.test>\r\nTo: carl@example.test\r\nSubject: two parts\r\n\
     Message-ID: <\"a b\"@example.test>\r\nMIME-Version: 1.0\r\n\
     Content-Type: multipart/mixed; boundary=b\r\n\r\n\
     --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n\
     --b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: inline\r\n\r\nx\r\n--b--\r\n",
    "From: ann@example.test\r\nSubject: plain\r\n\r\ntext\r\n",
];

/// What the client reads of a mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    mailboxes: Vec<String>,
    exists: u32,
    found: Vec<u32>,
    /// By sequence number, in any order of items.
    messages: BTreeMap<u32, BTreeSet<String>>,
    bodies: Vec<String>,
}

/// Describes an item by what a client needs of it.
fn describe(item: &FetchItem<'_>) -> Option<String> {
    let text = |value: IString<'_>| value.to_str_lossy().into_owned();
    Some(match item {
        FetchItem::Uid(uid) => format!("UID {uid}"),
        FetchItem::Size(size) => format!("size {size}"),
        FetchItem::Envelope(envelope) => {
            let envelope = envelope.view()?;
            let from: Vec<_> = envelope.from.iter().filter_map(|address| address.host).map(text).collect();
            let (subject, id) = (envelope.subject.map(text), envelope.message_id.map(text));
            format!("{from:?} {subject:?} {id:?} {}", envelope.bcc.iter().count())
        }
        FetchItem::BodyStructure(structure) => match structure.view()? {
            BodyStructure::Multipart(multipart) => format!("{} parts", multipart.parts.iter().count()),
            BodyStructure::Part(part) => format!("{} bytes", part.size),
        },
        FetchItem::Flags(_) => return None,
        other => format!("unexpected {other:?}"),
    })
}

async fn read(dialect: Option<Dialect>) -> Result<Seen> {
    let builder = Server::builder();
    let server =
        dialect.into_iter().fold(builder, |builder, dialect| builder.behave_like(dialect)).start()?;
    for message in MESSAGES {
        server.append("INBOX", message.as_bytes())?;
    }
    let mut imap = ImapClient::connect(&Connector::new(server.tls()?), &server.imaps_target()).await?;
    imap.login(&server.credentials()).await?;
    if imap.capabilities().is_some_and(|capabilities| capabilities.has("ID")) {
        imap.run(&Command::Id(LazyList::EMPTY)).await?;
    }
    let mut seen = Seen {
        mailboxes: imap.list("*").await?.into_iter().map(|mailbox| mailbox.name).collect(),
        exists: imap.select("INBOX").await?.exists,
        found: imap.uid_search(&[SearchKey::All]).await?,
        ..Seen::default()
    };
    let attributes = [FetchAttribute::Envelope, FetchAttribute::BodyStructure, FetchAttribute::Size];
    let body = FetchAttribute::peek(Section::FULL);
    for attributes in [&attributes[..], &[body]] {
        let mut fetch = imap.uid_fetch(SequenceSet::ALL, attributes).await?;
        let mut number = 0;
        while let Some(part) = fetch.next().await? {
            match part {
                FetchPart::Message(sequence) => number = sequence,
                FetchPart::Item(item) => {
                    seen.messages.entry(number).or_default().extend(describe(&item.view()))
                }
                FetchPart::Body(mut body) => {
                    let mut text = String::new();
                    body.read_to_string(&mut text).await?;
                    seen.bodies.push(text);
                }
                _ => {}
            }
        }
    }
    imap.uid_copy(1, "Trash").await?;
    imap.select("Trash").await?;
    assert_eq!(imap.uid_search(&[SearchKey::All]).await?, [1]);
    imap.logout().await?;
    Ok(seen)
}

/// The client reads the same from every server, whatever its defects.
#[tokio::test]
async fn the_client_reads_the_same_from_every_imitated_server() -> Result {
    let expected = read(None).await?;
    assert_eq!((expected.exists, expected.bodies.len(), expected.messages.len()), (2, 2, 2));
    for dialect in Dialect::ALL {
        let seen = read(Some(dialect)).await.map_err(|error| format!("{dialect}: {error}"))?;
        assert_eq!(seen, expected, "{dialect}");
    }
    Ok(())
}
