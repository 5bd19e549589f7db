//! The accounts, mailboxes and messages of the server under attack. They are stored through the server itself, so that
//! every store can have them.

use std::io;

use crate::server_process::{RunningServer, StoreKind};
use crate::wire::{Endpoints, Imap};

/// The account of the well-behaved users.
pub(crate) const ALICE: &str = "alice";
/// The account whose password is guessed.
pub(crate) const VICTIM: &str = "victim";
/// The accounts that attack.
pub(crate) const ATTACKERS: [&str; 3] = ["mallory", "oscar", "trudy"];
/// All accounts.
pub(crate) const ACCOUNTS: [&str; 5] = [ALICE, VICTIM, "mallory", "oscar", "trudy"];
/// The password of every account.
pub(crate) const PASSWORD: &str = "hY7-pq2RvT9s";

/// Messages in the mailbox `big`.
pub(crate) const BIG: u32 = 1 << 17;
/// Messages in the mailbox `idle`.
pub(crate) const IDLE: u32 = 1 << 15;
/// Mailboxes of the account that sends LIST.
pub(crate) const MAILBOXES: usize = 8_000;
/// How deep they are nested.
const LEVELS: usize = 30;

/// A part of the data that an attack may need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The mailbox `big` of the first attacker: small messages, copies of one.
    Big,
    /// The mailbox `idle` of the first attacker, likewise.
    Idle,
    /// The mailbox `large` of the second attacker: messages of 1, 16 and 60 MiB. And the empty mailbox `messages`.
    Large,
    /// [`MAILBOXES`] nested mailboxes of the second attacker.
    Nested,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Big, Self::Idle, Self::Large, Self::Nested];
}

/// Stores a first message for every account, and these parts.
pub(crate) fn load(endpoints: &Endpoints, parts: &[Part]) -> io::Result<()> {
    let mut lmtp = endpoints.lmtp(1)?;
    ACCOUNTS.into_iter().try_for_each(|name| lmtp.deliver(name))?;
    let [mut mallory, mut oscar] =
        [endpoints.imap(1, ATTACKERS[0], PASSWORD)?, { endpoints.imap(1, ATTACKERS[1], PASSWORD)? }];
    for part in parts {
        match part {
            Part::Big => copies(&mut mallory, "big", BIG)?,
            Part::Idle => copies(&mut mallory, "idle", IDLE)?,
            Part::Large => {
                oscar.ask("CREATE large")?.ok()?;
                for message in [with_large_header(), with_large_part(16 << 20), with_large_part(60 << 20)] {
                    oscar.append_to("large", &message)?.ok()?;
                }
                oscar.ask("CREATE messages")?.ok()?;
            }
            Part::Nested => nested(&mut oscar)?,
        }
    }
    Ok(())
}

/// Fills a directory with all parts, if the store keeps its data there.
pub(crate) fn fill(directory: &std::path::Path, store: StoreKind) {
    if store == StoreKind::Sqlite {
        let served = RunningServer::start(directory, store, "");
        load(&served.endpoints, &Part::ALL).unwrap();
    }
}

/// Creates mailboxes. The parents of a mailbox are created with it, which is quicker.
fn nested(imap: &mut Imap) -> io::Result<()> {
    for number in 0..MAILBOXES / LEVELS {
        let name = format!("{number:04}{}", format!("{}/", "a".repeat(30)).repeat(LEVELS));
        imap.ask(&format!("CREATE {name}"))?.ok()?;
    }
    Ok(())
}

/// A mailbox with this many copies of a small message: a power of two.
fn copies(imap: &mut Imap, name: &str, count: u32) -> io::Result<()> {
    imap.ask(&format!("CREATE {name}"))?.ok()?;
    imap.append_to(name, b"From: a@client.example\r\nSubject: one of many\r\n\r\nhello\r\n")?.ok()?;
    imap.ask(&format!("SELECT {name}"))?.ok()?;
    for _ in 0..count.ilog2() {
        imap.ask(&format!("COPY 1:* {name}"))?.ok()?;
        // The server reports the copies.
        imap.ask("NOOP")?.ok()?;
    }
    let status = imap.ask(&format!("STATUS {name} (MESSAGES)"))?.ok()?;
    let expected = format!("(MESSAGES {count})");
    assert!(status.untagged.iter().any(|line| line.contains(&expected)), "{:?}", status.untagged);
    Ok(())
}

/// A message whose header is 1 MiB.
fn with_large_header() -> Vec<u8> {
    let mut message = b"From: a@client.example\r\n".to_vec();
    while message.len() < 1 << 20 {
        message.extend_from_slice(format!("X-Field-{}: {}\r\n", message.len(), "v".repeat(60)).as_bytes());
    }
    message.extend_from_slice(b"\r\nbody\r\n");
    message
}

/// A message with a base64 part of this many bytes.
fn with_large_part(size: usize) -> Vec<u8> {
    let mut message =
        b"From: a@client.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
        \r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            .to_vec();
    let line = format!("{}\r\n", "aGVsbG8g".repeat(9));
    while message.len() < size {
        message.extend_from_slice(line.as_bytes());
    }
    message.extend_from_slice(b"--b--\r\n");
    message
}
