//! A storage that keeps everything, and can be made to fail.

use mailstore::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// Clones share the same data: a clone is what is found at the next start.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    last_content: i64,
    accounts: BTreeMap<AccountId, StoredAccount>,
    keeps_accounts: bool,
    contents: BTreeMap<ContentId, Vec<u8>>,
    mailboxes: BTreeMap<MailboxId, StoredMailbox>,
    owners: BTreeMap<MailboxId, AccountId>,
    messages: BTreeMap<MailboxId, BTreeMap<u32, StoredMessage>>,
    subscriptions: BTreeSet<(AccountId, String)>,
    metadata: BTreeMap<(AccountId, Annotated, String), Arc<[u8]>>,
    /// Mailboxes and messages that `of` gave, as they are.
    given: Option<(Vec<StoredMailbox>, Vec<StoredMessage>)>,
    fails: bool,
}

impl Journal {
    pub(crate) fn of(mailboxes: &[StoredMailbox], messages: &[StoredMessage]) -> Self {
        let given = Some((mailboxes.to_vec(), messages.to_vec()));
        Self(Arc::new(Mutex::new(Kept { given, ..Kept::default() })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.kept().fails = fails;
    }

    /// A storage that also keeps accounts.
    pub(crate) fn with_accounts() -> Self {
        Self(Arc::new(Mutex::new(Kept { keeps_accounts: true, ..Kept::default() })))
    }

    pub(crate) fn contents(&self) -> Vec<ContentId> {
        self.kept().contents.keys().copied().collect()
    }
}

impl Kept {
    fn apply(&mut self, change: &StorageChange) {
        match change {
            StorageChange::MailboxSet(account, mailbox) => {
                self.owners.insert(mailbox.id, *account);
                self.mailboxes.insert(mailbox.id, mailbox.clone());
                self.messages.entry(mailbox.id).or_default();
            }
            StorageChange::MailboxRemoved(mailbox) => {
                self.mailboxes.remove(mailbox);
                self.messages.remove(mailbox);
            }
            StorageChange::Subscribed(account, name) => {
                self.subscriptions.insert((*account, name.clone()));
            }
            StorageChange::Unsubscribed(account, name) => {
                self.subscriptions.remove(&(*account, name.clone()));
            }
            StorageChange::MetadataSet(account, of, name, value) => {
                let key = (*account, *of, name.clone());
                match value {
                    Some(value) => self.metadata.insert(key, Arc::clone(value)),
                    None => self.metadata.remove(&key),
                };
            }
            StorageChange::MessageAdded(mailbox, message) => {
                let header = self.mailboxes.get_mut(mailbox).unwrap();
                (header.uid_next, header.highest_modseq) = (message.uid + 1, message.modseq);
                self.messages.get_mut(mailbox).unwrap().insert(message.uid, message.clone());
            }
            StorageChange::FlagsSet(mailbox, uid, flags, modseq) => {
                self.mailboxes.get_mut(mailbox).unwrap().highest_modseq = *modseq;
                let message = self.messages.get_mut(mailbox).unwrap().get_mut(uid).unwrap();
                (message.flags, message.modseq) = (flags.clone(), *modseq);
            }
            StorageChange::MessageRemoved(mailbox, uid, modseq) => {
                self.mailboxes.get_mut(mailbox).unwrap().highest_modseq = *modseq;
                self.messages.get_mut(mailbox).unwrap().remove(uid).unwrap();
            }
            StorageChange::AccountSet(account) => {
                self.accounts.insert(account.account.id, account.clone());
            }
            StorageChange::RecentClaimed(mailbox, below) => {
                self.mailboxes.get_mut(mailbox).unwrap().first_recent_uid = *below;
            }
            _ => unreachable!("no other change is known"),
        }
    }
}

impl Storage for Journal {
    fn put(&self, upload: Upload) -> Result<ContentId> {
        let bytes = upload.into_bytes()?;
        let mut kept = self.kept();
        kept.last_content += 1;
        let id = ContentId(kept.last_content);
        kept.contents.insert(id, bytes);
        Ok(id)
    }

    fn open(&self, content: ContentId) -> Result<Body> {
        let bytes = self.kept().contents.get(&content).cloned();
        bytes.map(Body::from_bytes).ok_or(Error::NotFound("message"))
    }

    fn remove(&self, content: ContentId) {
        assert!(self.kept().contents.remove(&content).is_some(), "it is removed once");
    }

    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        let mut kept = self.kept();
        if kept.fails {
            return Err(Error::Full);
        }
        changes.iter().for_each(|change| kept.apply(change));
        Ok(())
    }

    fn accounts(&self) -> Result<Vec<StoredAccount>> {
        let kept = self.kept();
        Ok(kept.accounts.values().filter(|_| kept.keeps_accounts).cloned().collect())
    }

    fn mailboxes(&self, account: &Account) -> Result<Vec<StoredMailbox>> {
        let kept = self.kept();
        if let Some((mailboxes, _)) = &kept.given {
            return Ok(mailboxes.clone());
        }
        let own = kept.mailboxes.values().filter(|mailbox| kept.owners.get(&mailbox.id) == Some(&account.id));
        Ok(own.cloned().collect())
    }

    fn messages(&self, mailbox: MailboxId) -> Result<Vec<StoredMessage>> {
        let kept = self.kept();
        if let Some((_, messages)) = &kept.given {
            return Ok(messages.clone());
        }
        Ok(kept
            .messages
            .get(&mailbox)
            .map(|messages| messages.values().cloned().collect())
            .unwrap_or_default())
    }

    fn subscriptions(&self, account: &Account) -> Result<Vec<String>> {
        let kept = self.kept();
        let own = kept.subscriptions.iter().filter(|(owner, _)| *owner == account.id);
        Ok(own.map(|(_, name)| name.clone()).collect())
    }

    fn metadata(&self, account: &Account) -> Result<Vec<StoredMetadata>> {
        let kept = self.kept();
        let own = kept.metadata.iter().filter(|((owner, ..), _)| *owner == account.id);
        Ok(own.map(|((_, of, name), value)| StoredMetadata::new(*of, name, Arc::clone(value))).collect())
    }
}
