//! A mail server over a storage of your own, on a thread with an event loop: `cargo run -p mailserver --example own_storage`.
//!
//! The storage keeps the bytes of messages. `IndexedStore` adds UIDs, flags and mailboxes, `Server` the protocols: IMAP4rev1
//! and IMAP4rev2 with all extensions of `mailwire serve`, IDLE and changes by other sessions among them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailserver::{Encryption, Server, Service, TlsServerConfig};
use mailstore::{
    Account, Accounts, Body, ContentId, Error, IndexedStore, InternalDate, MailboxId, Result, Storage,
    StoredMailbox, StoredMessage, Upload,
};

/// The messages of one account. Their positions never change: a removed message leaves a gap.
pub(crate) struct Messages {
    owner: String,
    list: Mutex<Vec<Option<Vec<u8>>>>,
}

impl Messages {
    /// A storage that has mail already.
    pub(crate) fn new(owner: &str, mail: Vec<Vec<u8>>) -> Self {
        Self { owner: owner.to_owned(), list: Mutex::new(mail.into_iter().map(Some).collect()) }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Option<Vec<u8>>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Messages {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        let mut list = self.list();
        list.push(Some(upload.into_bytes()?));
        Ok(ContentId(list.len() as i64 - 1))
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        let bytes = self.list().get(content.0 as usize).cloned().flatten();
        bytes.map(Body::from_bytes).ok_or(Error::NotFound("message"))
    }

    fn remove(&self, content: ContentId) {
        if let Some(place) = self.list().get_mut(content.0 as usize) {
            *place = None;
        }
    }

    fn mailboxes(&self, account: &Account) -> Result<Vec<StoredMailbox>> {
        let is_owner = account.name == self.owner;
        Ok(is_owner.then(|| StoredMailbox::new(MailboxId(1), "INBOX")).into_iter().collect())
    }

    fn messages(&self, _mailbox: MailboxId) -> Result<Vec<StoredMessage>> {
        let message = |(at, bytes): (u32, &Option<Vec<u8>>)| {
            let size = bytes.as_ref()?.len() as u64;
            Some(StoredMessage::new(at + 1, ContentId(at.into()), size, InternalDate::now()))
        };
        Ok((0..).zip(self.list().iter()).filter_map(message).collect())
    }
}

/// Starts a server with one account, on any free ports of loopback.
pub(crate) fn start(
    messages: Messages,
    password: &str,
    tls: TlsServerConfig,
) -> std::result::Result<Server, Box<dyn std::error::Error>> {
    let owner = messages.owner.clone();
    let store = IndexedStore::open(messages)?;
    store.create_account(&owner, password.as_bytes())?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder(Arc::new(store), Encryption::Tls(tls))
        .listen(Service::Imaps, any)?
        .listen(Service::Smtps, any)?
        .start()?;
    Ok(server)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mail = vec![b"From: bob@example.org\r\nSubject: hello\r\n\r\nworld\r\n".to_vec()];
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    let server = start(Messages::new("ann", mail), "a long password", tls)?;
    println!("{:?}", server.addresses());
    server.wait()?;
    Ok(())
}
