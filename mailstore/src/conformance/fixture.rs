//! A new store with one account, and short forms of the calls that cases make.

use crate::content::Upload;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::store::Store;
use crate::types::*;
use std::sync::Arc;

/// A limit above the number of messages in any case.
pub(super) const ALL: usize = 1_000_000;

/// The internal date of all messages.
pub(super) const DATE: InternalDate = InternalDate { seconds: 1_700_000_000, offset_minutes: -90 };

pub(super) struct Fixture<S: ?Sized = dyn Store> {
    pub(super) store: Arc<S>,
    pub(super) account: AccountId,
    pub(super) inbox: MailboxId,
}

impl<S: Store + ?Sized> Fixture<S> {
    pub(super) fn new(store: Arc<S>) -> Self {
        let account = match store.create_account("ann@example.org", b"right") {
            Err(Error::Refused(_) | Error::Exists(_)) => {
                store.account("ann@example.org").unwrap().expect("the account ann@example.org exists")
            }
            created => created.unwrap(),
        };
        let inbox = store.mailbox(account.id, "inbox").unwrap().id;
        Self { store, account: account.id, inbox }
    }

    pub(super) fn upload(&self, text: &[u8]) -> Upload {
        let mut upload = self.store.upload().unwrap();
        upload.write(text).unwrap();
        upload
    }

    pub(super) fn delivery(&self, text: &[u8], mailboxes: &[MailboxId], flags: &[&str]) -> Delivery {
        let flags = Flags::parse(flags.iter().copied()).unwrap();
        let target = |&mailbox| Target { mailbox, flags: flags.clone(), internal_date: DATE };
        Delivery { upload: self.upload(text), targets: mailboxes.iter().map(target).collect() }
    }

    pub(super) fn deliver(
        &self,
        text: &[u8],
        mailboxes: &[MailboxId],
        flags: &[&str],
    ) -> Result<Vec<Appended>> {
        self.store.append(self.delivery(text, mailboxes, flags))
    }

    /// Appends a message to INBOX and returns its UID.
    pub(super) fn append(&self, text: &str) -> u32 {
        self.deliver(text.as_bytes(), &[self.inbox], &[]).unwrap()[0].uid
    }

    /// Appends messages of one byte to INBOX.
    pub(super) fn append_many(&self, count: usize) {
        (0..count).for_each(|_| {
            self.append("x");
        });
    }

    pub(super) fn create(&self, name: &str) -> MailboxId {
        self.store.create_mailbox(self.account, name, None).unwrap()
    }

    /// Returns all messages with everything that was derived from them.
    pub(super) fn page(&self, mailbox: MailboxId) -> Vec<Message> {
        let columns = Columns::summary().with_envelope().with_structure().with_small_bodies();
        self.store.fetch_page(mailbox, &UidSet::all(), columns, 1_000).unwrap().messages
    }

    pub(super) fn uids(&self, mailbox: MailboxId) -> Vec<u32> {
        self.store.uid_page(mailbox, 1, u32::MAX, ALL).unwrap().uids
    }

    pub(super) fn set_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &[&str],
    ) -> Result<Stored> {
        let flags = Flags::parse(flags.iter().copied())?;
        self.store.store_flags(mailbox, uids, mode, &flags, None, ALL)
    }

    pub(super) fn expunge(&self, mailbox: MailboxId, which: &Expunge) -> Vec<u32> {
        self.store.expunge(mailbox, which, ALL).unwrap().uids
    }

    pub(super) fn remove(&self, mailbox: MailboxId, uids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        self.expunge(mailbox, &Expunge::Exactly(uids.into_iter().collect()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.store.list(self.account).unwrap().into_iter().map(|mailbox| mailbox.name).collect()
    }

    pub(super) fn status(&self, mailbox: MailboxId) -> Status {
        self.store.status(mailbox).unwrap()
    }

    pub(super) fn set_quota(&self, change: impl FnOnce(&mut Quota)) {
        let mut quota = Quota::default();
        change(&mut quota);
        self.store.set_quota(quota);
    }
}

/// Returns whether a call failed because of a quota that can become free again.
pub(super) fn over<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::OverQuota { permanent: false, .. }))
}
