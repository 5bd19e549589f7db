//! The accounts, mailboxes and messages of the server at its start.

use std::path::Path;

use mailstore::{
    AccountId, Accounts, Delivery, Flags, InternalDate, MailboxId, SqliteStore, Store, Target, UidSet,
};

/// The account of the well-behaved users.
pub(crate) const ALICE: &str = "alice";
/// The account whose password is guessed.
pub(crate) const VICTIM: &str = "victim";
/// The accounts that attack.
pub(crate) const ATTACKERS: [&str; 3] = ["mallory", "oscar", "trudy"];
pub(crate) const PASSWORD: &str = "hY7-pq2RvT9s";

/// Messages in the mailbox `big`.
pub(crate) const BIG: u32 = 1 << 17;
/// Messages in the mailbox `idle`.
pub(crate) const IDLE: u32 = 1 << 15;
/// Mailboxes of the account that sends LIST.
pub(crate) const MAILBOXES: usize = 8_000;
/// How deep they are nested.
const LEVELS: usize = 30;

/// Creates a store with one account that has only an empty INBOX and the default mailboxes.
pub(crate) fn fill_one(directory: &Path) {
    SqliteStore::open(directory).unwrap().create_account(ALICE, PASSWORD.as_bytes()).unwrap();
}

/// Creates the store.
pub(crate) fn fill(directory: &Path) {
    let store = SqliteStore::open(directory).unwrap();
    for name in [ALICE, VICTIM].into_iter().chain(ATTACKERS) {
        let account = store.create_account(name, PASSWORD.as_bytes()).unwrap().id;
        let inbox = store.mailbox(account, "INBOX").unwrap().id;
        append(&store, inbox, b"From: a@client.example\r\nSubject: first\r\n\r\nhello\r\n");
    }
    let [mallory, oscar] = [ATTACKERS[0], ATTACKERS[1]].map(|name| store.account(name).unwrap().unwrap().id);
    double(&store, mallory, "big", BIG);
    double(&store, mallory, "idle", IDLE);
    let large = store.create_mailbox(oscar, "large", None).unwrap();
    append(&store, large, &with_large_header());
    append(&store, large, &with_large_part(16 << 20));
    append(&store, large, &with_large_part(60 << 20));
    store.create_mailbox(oscar, "messages", None).unwrap();
    // The parents of a mailbox are created with it, which is quicker.
    for number in 0..MAILBOXES / LEVELS {
        let name = format!("{number:04}{}", format!("{}/", "a".repeat(30)).repeat(LEVELS));
        store.create_mailbox(oscar, &name, None).unwrap();
    }
}

/// A mailbox with this many copies of a small message.
fn double(store: &SqliteStore, account: AccountId, name: &str, count: u32) {
    let mailbox = store.create_mailbox(account, name, None).unwrap();
    append(store, mailbox, b"From: a@client.example\r\nSubject: one of many\r\n\r\nhello\r\n");
    let mut have = 1;
    while have < count {
        let copied = store.copy(mailbox, &UidSet::all(), mailbox, usize::MAX).unwrap();
        have += u32::try_from(copied.pairs.len()).unwrap();
    }
}

fn append(store: &SqliteStore, mailbox: MailboxId, message: &[u8]) {
    let mut upload = store.upload().unwrap();
    for chunk in message.chunks(64 << 10) {
        upload.write(chunk).unwrap();
    }
    let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
    store.append(Delivery { upload, targets: vec![target] }).unwrap();
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
