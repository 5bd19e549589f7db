//! [`IndexedStore`]: the mailboxes and messages of its accounts.
//!
//! Bytes of messages are read and written without a lock.

use super::changes::{self, FlagChange};
use super::client_accounts::ClientAccounts;
use super::content::Content;
use super::directory::Directory;
use super::remote_records::Remotes;
use super::state::MailboxState;
use super::storage::{Storage, StorageChange};
use super::{acl, mailboxes, messages, metadata};
use crate::callback::{
    AccountChangeCallback, AccountChangeSubscription, ChangeCallback, ChangeSubscription, KeyMaker,
    Subscribers,
};
use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::WRITE_SLICE;
use crate::lock::lock;
use crate::metadata::{Annotated, MetadataChange, MetadataPage};
use crate::object_id::ObjectIds;
use crate::passwords::{LoginKeySource, PasswordCost, PasswordVerifier};
use crate::rights::{AclChange, AclEntry, Rights};
use crate::store::Store;
use crate::types::*;
use crate::upload_owner::StoreId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// A store over any [`Storage`]. It keeps an index of all messages in memory: UIDs, flags, dates, sizes and
/// mod-sequences, less than 1 KiB each. The storage keeps their bytes, and the index too if it wants to.
///
/// A storage that keeps accounts ([`Storage::accounts`]) has them when the store is opened. With another one, create them at
/// each start, with [`create_account`](crate::Accounts::create_account) or [`add_account`](Self::add_account): the account then has
/// the mailboxes that the storage has for its name. The storage must not be changed by anything else while the store is open.
///
/// Each account has a lock of its own: no account waits for the work of another one.
///
/// Unfinished copies are forgotten at the end of the process, and so is `\Recent` unless the storage records it.
pub struct IndexedStore<S> {
    pub(super) storage: S,
    pub(super) directory: Directory,
    /// What was fetched from remote servers. Locked before an account, never after it.
    pub(crate) remotes: Mutex<Remotes>,
    /// The accounts of a client.
    pub(crate) client_accounts: Mutex<ClientAccounts>,
    unfinished_copies: Mutex<UnfinishedCopies>,
    pub(super) passwords: PasswordVerifier,
    pub(super) cost: PasswordCost,
    pub(super) login_keys: LoginKeySource,
    /// Whether accounts came without login keys: with a verifier that was made elsewhere.
    pub(super) has_foreign_verifiers: AtomicBool,
    pub(super) subscribers: Subscribers,
    quota: Mutex<Quota>,
    pub(super) secret: [u8; 32],
    email_ids: ObjectIds,
    mailbox_ids: ObjectIds,
    /// The owner of its uploads.
    id: StoreId,
}

/// A delivery whose bytes the storage has, if it has targets.
type Put = (Result<Option<Arc<Content>>>, Vec<Target>);

/// The parts of unfinished copies: the UIDs from the first to the second one in the destination.
#[derive(Default)]
struct UnfinishedCopies {
    last: i64,
    parts: BTreeMap<i64, Vec<(MailboxId, u32, u32)>>,
}

impl UnfinishedCopies {
    /// Records a part. Without a copy that it belongs to, it is the first one.
    fn add(&mut self, part_of: Option<CopyId>, part: Option<(MailboxId, u32, u32)>) -> CopyId {
        let copy = part_of.unwrap_or_else(|| {
            self.last += 1;
            CopyId(self.last)
        });
        self.parts.entry(copy.0).or_default().extend(part);
        copy
    }
}

impl<S> std::fmt::Debug for IndexedStore<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexedStore").finish_non_exhaustive()
    }
}

impl<S: Storage> IndexedStore<S> {
    /// Opens a store with the accounts that the storage has.
    ///
    /// # Errors
    /// `Crypto` if the random number generator fails; the errors of the storage; those of
    /// [`add_account`](Self::add_account), and `Corrupt`, for what the storage has.
    pub fn open(storage: S) -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| Error::Crypto)?;
        let store = Self {
            storage,
            directory: Directory::default(),
            remotes: Mutex::default(),
            client_accounts: Mutex::default(),
            unfinished_copies: Mutex::default(),
            passwords: PasswordVerifier::new(PasswordCost::Standard)?,
            cost: PasswordCost::Standard,
            login_keys: LoginKeySource::Scram,
            has_foreign_verifiers: AtomicBool::new(false),
            subscribers: Subscribers::default(),
            quota: Mutex::default(),
            secret,
            email_ids: ObjectIds::new(&secret, "email"),
            mailbox_ids: ObjectIds::new(&secret, "mailbox"),
            id: StoreId::unique(),
        };
        store.storage.accounts()?.into_iter().try_for_each(|account| store.restore_account(account))?;
        Ok(store)
    }

    /// Returns the storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Sets the secret of the store, which must be random. Without it, EMAILIDs, MAILBOXIDs and the answers about accounts that do
    /// not exist differ after each start.
    #[must_use]
    pub fn with_secret(self, secret: [u8; 32]) -> Self {
        Self {
            secret,
            email_ids: ObjectIds::new(&secret, "email"),
            mailbox_ids: ObjectIds::new(&secret, "mailbox"),
            ..self
        }
    }

    /// Derives login keys with `make` from every password that is set. Default:
    /// [`scram_keys::derive`](crate::scram_keys::derive).
    #[must_use]
    pub fn with_key_maker(self, make: Arc<KeyMaker>) -> Self {
        Self { login_keys: LoginKeySource::Own(make), ..self }
    }

    /// Derives no login keys. A server over this store does not offer SCRAM.
    #[must_use]
    pub fn without_login_keys(self) -> Self {
        Self { login_keys: LoginKeySource::Nothing, ..self }
    }

    /// Sets the quota of every account. The default is [`Quota::default`].
    #[must_use]
    pub fn with_quota(self, quota: Quota) -> Self {
        *lock(&self.quota) = quota;
        self
    }

    /// Sets how much computation a password costs. Tests that log in often use [`PasswordCost::Minimal`].
    ///
    /// # Errors
    /// `Crypto` if the random number generator fails.
    pub fn with_password_cost(self, cost: PasswordCost) -> Result<Self> {
        Ok(Self { cost, passwords: PasswordVerifier::new(cost)?, ..self })
    }

    pub(crate) fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    /// Removes the messages of one part of an unfinished copy.
    fn undo_part(&self, (mailbox, first, last): (MailboxId, u32, u32)) -> Result<u64> {
        let mut removed = 0;
        let mut rest: UidSet = [first..=last].into_iter().collect();
        while !rest.is_empty() {
            match self.expunge(mailbox, &Expunge::Exactly(rest.clone()), WRITE_SLICE) {
                Ok(expunged) => {
                    removed += expunged.uids.len() as u64;
                    rest = expunged.next.map(|next| rest.starting_at(next)).unwrap_or_default();
                }
                // The mailbox was deleted together with the copies.
                Err(Error::NotFound(_) | Error::NoSelect) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Records which messages are no longer recent. If that fails, they are recent once more after the next start.
    fn record_claim(&self, mailbox: MailboxId, below: u32) {
        let _ = self.storage.record(&[StorageChange::RecentClaimed(mailbox, below)]);
    }

    /// Gives the bytes of a message to the storage.
    ///
    /// # Errors
    /// `Refused` if another store began the upload; the errors of the storage.
    pub(crate) fn put(&self, mut upload: Upload) -> Result<Arc<Content>> {
        if !upload.is_of(self.id) {
            return Err(StoreId::refusal());
        }
        let (size, record) = (upload.size(), upload.take_record());
        let id = self.storage.put(upload)?;
        Ok(Arc::new(Content::new(id, size).with_record(&record)))
    }
}

impl<S: Storage> Store for IndexedStore<S> {
    fn usage(&self, account: AccountId) -> Result<Usage> {
        let remotes = lock(&self.remotes).count(account);
        self.read(account, |state| state.account.usage(remotes))
    }

    fn set_quota(&self, quota: Quota) {
        *lock(&self.quota) = quota;
    }

    fn quota(&self, _: AccountId) -> Quota {
        *lock(&self.quota)
    }

    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()> {
        self.read_mailbox(mailbox, |state| {
            state.mailbox(mailbox)?;
            crate::quota::check_messages(&self.quota(), &state.account.usage, 1, bytes)
        })
    }

    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>> {
        self.list_page(account, "", usize::MAX)
    }

    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
        self.read(account, |state| mailboxes::list(state, after, limit))
    }

    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox> {
        self.read(account, |state| mailboxes::find(state, name))?
    }

    fn mailbox_by_id(&self, account: AccountId, mailbox: MailboxId) -> Result<Mailbox> {
        self.read(account, |state| state.describe(mailbox).ok_or(Error::NotFound("mailbox")))?
    }

    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId> {
        self.write(account, |tx| mailboxes::create(tx, &self.quota(), name, special_use))
    }

    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(account, |tx| mailboxes::delete(tx, name))?;
        self.purge_deleted(account).map(drop)
    }

    fn purge_deleted(&self, account: AccountId) -> Result<bool> {
        let account = self.directory.account(account)?;
        let (freed, more) = mailboxes::purge(&mut account.write(), WRITE_SLICE);
        freed.into_iter().for_each(|content| self.storage.remove(content));
        Ok(more)
    }

    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        self.write(account, |tx| mailboxes::rename(tx, &self.quota(), from, to))
    }

    fn subscribe(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(account, |tx| mailboxes::subscribe(tx, &self.quota(), name))
    }

    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()> {
        let name = crate::mailbox_name::canonical(name)?;
        self.write(account, |tx| {
            tx.unsubscribe(name);
            Ok(())
        })
    }

    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>> {
        self.read(account, |state| mailboxes::subscriptions(state, after, limit))
    }

    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool> {
        self.read(account, |state| mailboxes::has_selected_name(state, selection, &names))
    }

    fn metadata_page(
        &self,
        account: AccountId,
        of: Annotated,
        names: Range<&str>,
        max_size: u64,
    ) -> Result<MetadataPage> {
        self.read(account, |state| metadata::page(state, of, &names, max_size))?
    }

    fn set_metadata(&self, account: AccountId, of: Annotated, changes: &[MetadataChange]) -> Result<()> {
        self.write(account, |tx| metadata::set(tx, &self.quota(), of, changes))
    }

    fn acl(&self, account: AccountId, mailbox: MailboxId) -> Result<Vec<AclEntry>> {
        self.read(account, |state| acl::entries(state, mailbox))?
    }

    fn set_acl(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        identifier: &str,
        change: AclChange,
        rights: Rights,
    ) -> Result<()> {
        self.write(account, |tx| acl::set(tx, mailbox, identifier, change, rights))?;
        self.directory.note_sharing(account);
        Ok(())
    }

    fn sharing_accounts(&self, with: &Account, after: AccountId, limit: usize) -> Result<Vec<Account>> {
        let sharing = self.directory.sharing_after(after).into_iter();
        let others = sharing.filter(|owner| owner.account.id != with.id);
        let sharing = others.filter(|owner| acl::is_shared_with(&owner.read(), &with.name));
        Ok(sharing.map(|owner| owner.account.clone()).take(limit).collect())
    }

    fn shared_mailboxes(&self, owner: AccountId, with: &Account) -> Result<Vec<(Mailbox, Rights)>> {
        self.read(owner, |state| acl::shared_mailboxes(state, &with.name))
    }

    fn status(&self, mailbox: MailboxId) -> Result<Status> {
        self.read_mailbox(mailbox, |state| Ok(state.mailbox(mailbox)?.status()))
    }

    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection> {
        let limit = self.quota().keywords;
        let describe = |found: &MailboxState| Selection {
            mailbox,
            status: found.status(),
            first_recent_uid: found.header.first_recent_uid,
            keywords: found.keywords.clone().in_use(limit),
        };
        let selection = self.read_mailbox(mailbox, |state| state.mailbox(mailbox).map(describe))?;
        if access == Access::ReadOnly || selection.first_recent_uid == selection.status.uid_next {
            return Ok(selection);
        }
        self.change_mailbox(mailbox, |found| {
            let selection = describe(found);
            found.claim_recent(selection.status.uid_next);
            self.record_claim(mailbox, selection.status.uid_next);
            selection
        })
    }

    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32> {
        // Check first, so that only one of many notified sessions waits for the others.
        let first =
            self.read_mailbox(mailbox, |state| Ok(state.mailbox(mailbox)?.header.first_recent_uid))?;
        if access == Access::ReadOnly || first >= below {
            return Ok(first);
        }
        self.change_mailbox(mailbox, |found| {
            let first = found.claim_recent(below);
            self.record_claim(mailbox, below);
            first
        })
    }

    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse> {
        let limit = self.quota().keywords;
        self.read_mailbox(mailbox, |state| Ok(state.mailbox(mailbox)?.keywords.clone().in_use(limit)))
    }

    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage> {
        match self.directory.account_of(mailbox) {
            Ok(account) => messages::uid_page(&account.read(), mailbox, from, below, limit),
            // A mailbox that is gone has no messages.
            Err(_) => Ok(UidPage::default()),
        }
    }

    fn upload(&self) -> Result<Upload> {
        Ok(self.storage.upload().of(self.id))
    }

    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        self.append_batch(vec![delivery])?.pop().unwrap_or(Err(Error::NotFound("delivery")))
    }

    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>> {
        // What the storage refuses concerns only its own delivery.
        let put = |Delivery { upload, targets }| {
            let content = if targets.is_empty() { Ok(None) } else { self.put(upload).map(Some) };
            (content, targets)
        };
        let stored: Vec<Put> = deliveries.into_iter().map(put).collect();
        let mailboxes = stored.iter().filter(|(content, _)| content.is_ok()).flat_map(|(_, targets)| targets);
        let outcome = self.write_mailboxes(mailboxes.map(|target| target.mailbox), |txs| {
            let quota = self.quota();
            let append = |(content, targets): &Put| match content {
                Ok(Some(content)) => messages::append(txs, &quota, content, targets),
                Ok(None) | Err(_) => Ok(Vec::new()),
            };
            Ok(stored.iter().map(append).collect::<Vec<_>>())
        });
        for (index, (content, _)) in stored.iter().enumerate() {
            let appended =
                outcome.as_ref().is_ok_and(|results| results.get(index).is_some_and(Result::is_ok));
            if let (Ok(Some(content)), false) = (content, appended) {
                self.storage.remove(content.id);
            }
        }
        let results = outcome?.into_iter().zip(stored);
        Ok(results.map(|(appended, (content, _))| content.and(appended)).collect())
    }

    fn append_together(
        &self,
        deliveries: Vec<Delivery>,
        replaced: Option<(MailboxId, u32)>,
    ) -> Result<Vec<Vec<Appended>>> {
        let mut stored = Vec::with_capacity(deliveries.len());
        let outcome = deliveries
            .into_iter()
            .try_for_each(|Delivery { upload, targets }| {
                stored.push((self.put(upload)?, targets));
                Ok(())
            })
            .and_then(|()| {
                let targets = stored.iter().flat_map(|(_, targets)| targets);
                let mailboxes =
                    targets.map(|target| target.mailbox).chain(replaced.map(|(mailbox, _)| mailbox));
                self.write_mailboxes(mailboxes, |txs| {
                    messages::append_together(txs, &self.quota(), &stored, replaced)
                })
            });
        let appended = outcome.as_deref().unwrap_or_default();
        for (index, (content, _)) in stored.iter().enumerate() {
            if appended.get(index).is_none_or(Vec::is_empty) {
                self.storage.remove(content.id);
            }
        }
        outcome
    }

    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page> {
        let entries =
            |limit| self.read_mailbox(mailbox, |state| messages::entries(state, mailbox, uids, limit));
        let mut page = messages::page(&self.storage, entries, columns, limit)?;
        if columns.email_id {
            let account = self.directory.account_of(mailbox)?.account.id;
            for message in &mut page.messages {
                message.email_id = Some(self.email_id(account, message.content));
            }
        }
        Ok(page)
    }

    fn open_content(&self, content: ContentId) -> Result<Body> {
        self.storage.open(content)
    }

    fn email_id(&self, account: AccountId, content: ContentId) -> String {
        self.email_ids.encode(account.0, content.0)
    }

    fn find_email_id(&self, account: AccountId, id: &str) -> Option<ContentId> {
        self.email_ids.decode(account.0, id).map(ContentId)
    }

    fn mailbox_id(&self, account: AccountId, mailbox: MailboxId) -> String {
        self.mailbox_ids.encode(account.0, mailbox.0)
    }

    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet> {
        self.read_mailbox(mailbox, |state| {
            let uses = state.uses.range((content, mailbox, 0)..=(content, mailbox, u32::MAX));
            Ok(uses.map(|(.., uid)| *uid).collect())
        })
    }

    fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &Flags,
        unchanged_since: Option<u64>,
        limit: usize,
    ) -> Result<Stored> {
        let change = FlagChange { mode, flags, unchanged_since };
        self.write_mailbox(mailbox, |tx| {
            changes::store_flags(tx, &self.quota(), mailbox, uids, &change, limit)
        })
    }

    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        let mailboxes = [from, to].into_iter();
        self.write_mailboxes(mailboxes, |txs| messages::copy(txs, &self.quota(), from, uids, to, limit))
    }

    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied> {
        let mut copied = self.copy(from, uids, to, limit)?;
        let mut unfinished = lock(&self.unfinished_copies);
        if copied.next.is_none() {
            part_of.map(|copy| unfinished.parts.remove(&copy.0));
            return Ok(copied);
        }
        // The mailbox assigned these UIDs one after the other.
        let part = match (copied.pairs.first(), copied.pairs.last()) {
            (Some((_, first)), Some((_, last))) => Some((to, *first, *last)),
            _ => None,
        };
        copied.unfinished = Some(unfinished.add(part_of, part));
        Ok(copied)
    }

    fn forget_copy(&self, copy: CopyId) -> Result<()> {
        lock(&self.unfinished_copies).parts.remove(&copy.0);
        Ok(())
    }

    fn undo_copy(&self, copy: CopyId) -> Result<u64> {
        let mut removed = 0;
        // A part stays recorded until its messages are removed.
        let last =
            || lock(&self.unfinished_copies).parts.get(&copy.0).and_then(|parts| parts.last().copied());
        while let Some(part) = last() {
            removed += self.undo_part(part)?;
            lock(&self.unfinished_copies).parts.get_mut(&copy.0).map(Vec::pop);
        }
        self.forget_copy(copy).map(|()| removed)
    }

    fn undo_unfinished_copies(&self) -> Result<u64> {
        let copies: Vec<i64> = lock(&self.unfinished_copies).parts.keys().copied().collect();
        copies.into_iter().try_fold(0, |removed, copy| Ok(removed + self.undo_copy(CopyId(copy))?))
    }

    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        let mailboxes = [from, to].into_iter();
        self.write_mailboxes(mailboxes, |txs| {
            messages::move_messages(txs, &self.quota(), from, uids, to, limit)
        })
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
        self.write_mailbox(mailbox, |tx| messages::expunge(tx, mailbox, which, limit))
    }

    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes> {
        self.read_mailbox(mailbox, |state| changes::changes_since(state, mailbox, since, limit))
    }

    fn removals(&self, mailbox: MailboxId, after: (u64, u32), limit: usize) -> Result<Option<Removals>> {
        self.read_mailbox(mailbox, |state| changes::removals(state, mailbox, after, limit))
    }

    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription {
        self.subscribers.add(callback)
    }

    fn subscribe_account_changes(&self, callback: Arc<AccountChangeCallback>) -> AccountChangeSubscription {
        self.subscribers.add_for_accounts(callback)
    }
}
