//! A mail store over a list of messages of your own: `cargo run -p mailstore --example own_storage`.
//!
//! The storage keeps the bytes. `IndexedStore` does the rest: UIDs, flags, mailboxes, quotas, changes for other sessions.

use mailstore::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The messages of one account. Their positions never change: a removed message leaves a gap.
#[derive(Default)]
pub(crate) struct Messages {
    owner: String,
    list: Mutex<Vec<Option<Vec<u8>>>>,
}

impl Messages {
    pub(crate) fn new(owner: &str, list: Vec<Vec<u8>>) -> Self {
        Self { owner: owner.to_owned(), list: Mutex::new(list.into_iter().map(Some).collect()) }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Option<Vec<u8>>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Messages {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        let bytes = upload.into_bytes()?;
        let mut list = self.list();
        list.push(Some(bytes));
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

#[allow(dead_code, reason = "a test uses the storage without it")]
fn main() -> Result<()> {
    let messages = vec![b"Subject: one\r\n\r\n1\r\n".to_vec(), b"Subject: two\r\n\r\n2\r\n".to_vec()];
    let store = IndexedStore::open(Messages::new("ann", messages))?;
    let account = store.create_account("ann", b"a long password")?;
    let inbox = store.mailbox(account.id, "INBOX")?.id;
    for message in store.fetch_page(inbox, &UidSet::all(), Columns::summary().with_envelope(), 100)?.messages
    {
        println!("{} {:?}", message.uid, message.envelope.and_then(|envelope| envelope.subject));
    }
    Ok(())
}
