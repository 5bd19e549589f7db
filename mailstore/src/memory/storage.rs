//! The bytes of messages in memory.

use super::budget::{BudgetedBytes, MemoryBudget};
use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::indexed::{Storage, StorageChange};
use crate::lock::lock;
use crate::metadata::{Annotated, cost};
use crate::types::{AccountId, ContentId, MailboxId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The default limit of a store in memory, in bytes: 1 GiB.
pub const MEMORY_LIMIT: u64 = 1 << 30;

/// What a message in a mailbox counts for, besides its content: about what the index needs for it.
const MESSAGE_COST: u64 = 1024;

/// What an entry of metadata counts for, besides its value and twice its name.
const METADATA_COST: u64 = 256;

/// Messages in memory, up to a limit. See [`MemoryStore`](crate::MemoryStore).
#[derive(Debug)]
pub struct MemoryStorage {
    budget: MemoryBudget,
    contents: Mutex<Contents>,
    /// The number of messages in each mailbox that count for the limit.
    counted: Mutex<BTreeMap<MailboxId, u64>>,
    /// What each entry of metadata counts for.
    metadata: Mutex<BTreeMap<(AccountId, Annotated, String), u64>>,
}

#[derive(Debug, Default)]
struct Contents {
    last: i64,
    by_id: BTreeMap<ContentId, Arc<BudgetedBytes>>,
}

impl MemoryStorage {
    /// Creates an empty storage for at most `bytes` bytes. A message counts for 1 KiB more than it has, in each
    /// mailbox.
    pub fn with_limit(bytes: u64) -> Self {
        let budget = MemoryBudget::new(bytes);
        Self { budget, contents: Mutex::default(), counted: Mutex::default(), metadata: Mutex::default() }
    }

    /// Returns the bytes in use: messages, uploads, and expunged messages that are still being read.
    pub fn used(&self) -> u64 {
        self.budget.used()
    }
}

impl MemoryStorage {
    /// Remembers what entries count for, and gives back what their values before counted for.
    fn count_metadata(&self, changes: &[StorageChange]) {
        for change in changes {
            let StorageChange::MetadataSet(account, of, name, value) = change else { continue };
            let key = (*account, *of, name.clone());
            let mut counted = lock(&self.metadata);
            let before = match value {
                Some(_) => counted.insert(key, metadata_cost(std::slice::from_ref(change))),
                None => counted.remove(&key),
            };
            self.budget.give_back(before.unwrap_or_default());
        }
    }

    /// Copies the bytes of an upload that another store started.
    fn copy(&self, mut upload: Upload) -> Result<BudgetedBytes> {
        let mut bytes = BudgetedBytes::new(&self.budget);
        let mut outcome = Ok(());
        upload.for_each_chunk(|chunk| {
            if outcome.is_ok() {
                outcome = bytes.extend(chunk);
            }
        })?;
        outcome.map(|()| bytes)
    }
}

/// Returns what the entries of metadata that are set count for.
fn metadata_cost(changes: &[StorageChange]) -> u64 {
    let costs = changes.iter().map(|change| match change {
        StorageChange::MetadataSet(_, _, name, Some(value)) => {
            METADATA_COST + name.len() as u64 + cost(name, value)
        }
        _ => 0,
    });
    costs.sum()
}

impl Storage for MemoryStorage {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        let mut bytes = match upload.into_budgeted(&self.budget) {
            Ok(bytes) => bytes,
            Err(other) => self.copy(*other)?,
        };
        bytes.shrink();
        let mut contents = lock(&self.contents);
        contents.last += 1;
        let id = ContentId(contents.last);
        contents.by_id.insert(id, Arc::new(bytes));
        Ok(id)
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        let found = lock(&self.contents).by_id.get(&content).cloned();
        found.map(|bytes| Body::from_shared(bytes)).ok_or(Error::NotFound("message content"))
    }

    fn remove(&self, content: ContentId) {
        let freed = lock(&self.contents).by_id.remove(&content);
        drop(freed);
    }

    fn upload(&self) -> Upload {
        Upload::in_memory(BudgetedBytes::new(&self.budget))
    }

    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        let added = changes.iter().filter(|change| matches!(change, StorageChange::MessageAdded(..))).count();
        self.budget.take(added as u64 * MESSAGE_COST + metadata_cost(changes))?;
        self.count_metadata(changes);
        let mut counted = lock(&self.counted);
        for change in changes {
            let removed = match change {
                StorageChange::MessageAdded(mailbox, _) => {
                    *counted.entry(*mailbox).or_default() += 1;
                    0
                }
                StorageChange::MessageRemoved(mailbox, ..) => {
                    let count = counted.entry(*mailbox).or_default();
                    let removed = u64::from(*count > 0);
                    *count -= removed;
                    removed
                }
                StorageChange::MailboxRemoved(mailbox) => counted.remove(mailbox).unwrap_or_default(),
                _ => 0,
            };
            self.budget.give_back(removed * MESSAGE_COST);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    fn deliver(store: &MemoryStore, mailbox: MailboxId, size: usize) -> Result<Appended> {
        let mut upload = store.upload()?;
        upload.write(&vec![b'x'; size])?;
        let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
        Ok(store.append(Delivery { upload, targets: vec![target] })?[0])
    }

    #[test]
    fn messages_uploads_and_copies_count_for_the_limit() {
        let store = MemoryStore::with_limit(100_000).unwrap();
        let store = store.with_password_cost(PasswordCost::Minimal).unwrap();
        let account = store.create_account("ann", b"secret").unwrap().id;
        let inbox = store.mailbox(account, "INBOX").unwrap().id;
        let used = || store.storage().used();
        let appended = deliver(&store, inbox, 50_000).unwrap();
        assert_eq!(used(), 51_024);
        assert!(matches!(deliver(&store, inbox, 60_000), Err(Error::Full)));
        assert_eq!((used(), store.status(inbox).unwrap().messages), (51_024, 1));

        let mut upload = store.upload().unwrap();
        upload.write(&[b'x'; 48_000]).unwrap();
        assert!(matches!(upload.write(&[b'x'; 1_000]), Err(Error::Full)));
        assert!(matches!(store.copy(inbox, &UidSet::all(), inbox, 10), Err(Error::Full)));
        assert_eq!(store.status(inbox).unwrap().messages, 1, "nothing was copied");
        drop(upload);
        store.copy(inbox, &UidSet::all(), inbox, 10).unwrap();
        assert_eq!(used(), 52_048);

        let body = store.open_content(appended.content).unwrap();
        store.expunge(inbox, &Expunge::Exactly(UidSet::all()), 10).unwrap();
        assert!(used() == 50_000 && body.size() == 50_000, "it is still being read");
        drop(body);
        assert_eq!(used(), 0);

        let work = store.create_mailbox(account, "work", None).unwrap();
        for _ in 0..3 {
            deliver(&store, work, 100).unwrap();
        }
        store.delete_mailbox(account, "work").unwrap();
        assert_eq!(used(), 0);
    }

    #[test]
    fn metadata_counts_for_the_limit() {
        let store = MemoryStore::with_limit(10_000).unwrap();
        let store = store.with_password_cost(PasswordCost::Minimal).unwrap();
        let account = store.create_account("ann", b"secret").unwrap().id;
        let set = |of, value: Option<usize>| {
            let value = value.map(|size| vec![b'x'; size]);
            store.set_metadata(account, of, &[MetadataChange { name: "/private/a".into(), value }])
        };
        let work = Annotated::Mailbox(store.create_mailbox(account, "work", None).unwrap());
        set(work, Some(4_000)).unwrap();
        assert_eq!(store.storage().used(), 4_000 + 256 + 2 * 10);
        assert!(matches!(set(Annotated::Server, Some(7_000)), Err(Error::Full)));
        set(Annotated::Server, Some(3_000)).unwrap();
        set(Annotated::Server, None).unwrap();
        set(work, Some(1_000)).unwrap();
        assert_eq!(store.storage().used(), 1_000 + 256 + 2 * 10);
        store.delete_mailbox(account, "work").unwrap();
        assert_eq!(store.storage().used(), 0);
    }

    /// As a storage by itself. A store refuses them.
    #[test]
    fn takes_uploads_of_any_kind() {
        let (one, two) = (MemoryStorage::with_limit(1 << 20), MemoryStorage::with_limit(1 << 20));
        for mut upload in [one.upload(), Upload::new(&std::env::temp_dir())] {
            upload.write(&[b'x'; 100_000]).unwrap();
            two.put(upload).unwrap();
        }
        assert_eq!((two.used(), one.used()), (200_000, 0));
    }
}
