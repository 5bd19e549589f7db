//! [`IndexedStore`]: how threads share the index, and what happens after a commit.
//!
//! Readers share the index, and one call at a time changes it. Bytes of messages are read and written without a lock.

use super::accounts::{self, Loaded};
use super::changes::{self, FlagChange};
use super::content::Content;
use super::state::{MailboxState, State};
use super::storage::Storage;
use super::transaction::{AfterCommit, Transaction};
use super::{mailboxes, messages};
use crate::accounts::Accounts;
use crate::callback::{ChangeCallback, ChangeSubscription, KeyMaker};
use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::WRITE_SLICE;
use crate::lock::lock;
use crate::object_id::ObjectIds;
use crate::passwords::{PasswordCost, PasswordRecord, PasswordVerifier, check_account_name};
use crate::store::Store;
use crate::types::*;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

/// A store over any [`Storage`]. It keeps an index of all messages in memory: UIDs, flags, dates, sizes and
/// mod-sequences, less than 1 KiB each. The storage keeps their bytes, and the index too if it wants to.
///
/// Accounts are not stored: create them at each start, with [`create_account`](Accounts::create_account) or
/// [`add_account`](Self::add_account). The account then has the mailboxes that the storage has for its name. The storage
/// must not be changed by anything else while the store is open.
///
/// `\Recent` and unfinished copies are forgotten at the end of the process.
pub struct IndexedStore<S> {
    pub(super) storage: S,
    pub(super) state: RwLock<State>,
    passwords: PasswordVerifier,
    cost: PasswordCost,
    key_maker: Option<Arc<KeyMaker>>,
    subscribers: Mutex<Vec<Weak<ChangeCallback>>>,
    quota: Mutex<Quota>,
    secret: [u8; 32],
    email_ids: ObjectIds,
}

impl<S> std::fmt::Debug for IndexedStore<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexedStore").finish_non_exhaustive()
    }
}

impl<S: Storage> IndexedStore<S> {
    /// Creates a store without accounts.
    ///
    /// # Errors
    /// `Crypto` if the random number generator fails.
    pub fn over(storage: S) -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| Error::Crypto)?;
        Ok(Self {
            storage,
            state: RwLock::default(),
            passwords: PasswordVerifier::new(PasswordCost::Standard)?,
            cost: PasswordCost::Standard,
            key_maker: None,
            subscribers: Mutex::default(),
            quota: Mutex::default(),
            secret,
            email_ids: ObjectIds::new(&secret, "email"),
        })
    }

    /// Returns the storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Sets the secret of the store, which must be random. Without it, EMAILIDs and the answers about accounts that do
    /// not exist differ after each start.
    #[must_use]
    pub fn with_secret(self, secret: [u8; 32]) -> Self {
        Self { secret, email_ids: ObjectIds::new(&secret, "email"), ..self }
    }

    /// Derives login keys with `make` from every password that is set.
    #[must_use]
    pub fn with_key_maker(self, make: Arc<KeyMaker>) -> Self {
        Self { key_maker: Some(make), ..self }
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

    /// Adds an account with a verifier that was made before: an Argon2 hash in PHC format.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name that is too long; the errors of the storage.
    pub fn add_account(&self, name: &str, verifier: &str) -> Result<Account> {
        self.insert_account(name, verifier.to_owned(), Vec::new())
    }

    fn insert_account(&self, name: &str, verifier: String, keys: Vec<LoginKeys>) -> Result<Account> {
        check_account_name(name)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let account = accounts::next(&state, name)?;
        // Read under the lock: two threads may create the account, and it must be loaded once.
        let loaded = Loaded::read(&self.storage, &account)?;
        let mut tx = Transaction::new(&mut state);
        let created = accounts::create(&mut tx, &account, verifier, keys, loaded);
        let created = created.and_then(|()| tx.commit(|changes| self.storage.record(changes)));
        if let Err(error) = created {
            accounts::remove(&mut state, &account);
            return Err(error);
        }
        Ok(account)
    }

    pub(crate) fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        work(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something that the storage does not record.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        work(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` as one transaction, and what follows its commit.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let (outcome, after_commit) = self.change(|state| {
            let mut tx = Transaction::new(state);
            match work(&mut tx) {
                Ok(outcome) => Ok((outcome, tx.commit(|changes| self.storage.record(changes))?)),
                Err(error) => {
                    tx.undo_to(Default::default());
                    Err(error)
                }
            }
        })?;
        self.run_after_commit(after_commit);
        Ok(outcome)
    }

    fn run_after_commit(&self, after_commit: AfterCommit) {
        after_commit.freed.into_iter().for_each(|content| self.storage.remove(content));
        if after_commit.changed.is_empty() {
            return;
        }
        let callbacks: Vec<Arc<ChangeCallback>> = {
            let mut subscribers = lock(&self.subscribers);
            subscribers.retain(|callback| callback.strong_count() > 0);
            subscribers.iter().filter_map(Weak::upgrade).collect()
        };
        for (&mailbox, &modseq) in &after_commit.changed {
            callbacks.iter().for_each(|callback| callback(Change { mailbox, modseq }));
        }
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

    /// Gives the bytes of a message to the storage.
    pub(crate) fn put(&self, mut upload: Upload) -> Result<Arc<Content>> {
        let (size, record) = (upload.size(), upload.take_record());
        let id = self.storage.put(upload)?;
        Ok(Arc::new(Content::new(id, size).with_record(&record)))
    }
}

impl<S: Storage> Accounts for IndexedStore<S> {
    fn accounts(&self) -> Result<Vec<Account>> {
        let mut accounts: Vec<Account> =
            self.read(|state| Ok(state.accounts.values().map(|one| one.account.clone()).collect()))?;
        accounts.sort_unstable_by_key(|account| account.name.to_ascii_lowercase());
        Ok(accounts)
    }

    fn account(&self, name: &str) -> Result<Option<Account>> {
        self.read(|state| Ok(accounts::find(state, name).map(|found| found.account.clone())))
    }

    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account> {
        check_account_name(name)?;
        let derived = PasswordRecord::derive(password, self.key_maker.as_deref(), self.cost)?;
        self.insert_account(name, derived.verifier, derived.keys)
    }

    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()> {
        let derived = PasswordRecord::derive(password, self.key_maker.as_deref(), self.cost)?;
        self.change(|state| {
            let account = state.account_mut(account)?;
            (account.verifier, account.keys) = (derived.verifier, derived.keys);
            Ok(())
        })
    }

    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.read(|state| Ok(accounts::find(state, name).map(|found| found.stored())))?;
        let verified = self.passwords.verify(found.as_ref(), password)?;
        if let (Some(account), Some(stored), Some(make)) = (verified, found, &self.key_maker)
            && !stored.has_keys
        {
            let keys = make(password);
            self.change(|state| {
                // Unless the password was changed meanwhile.
                let account = state.account_mut(account)?;
                if account.verifier == stored.verifier {
                    account.keys = keys;
                }
                Ok(())
            })?;
        }
        Ok(verified)
    }

    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let found = self.read(|state| Ok(accounts::find(state, name).map(|found| found.stored())))?;
        Ok(found.and_then(|stored| self.passwords.recall(&stored, password)))
    }

    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>> {
        self.read(|state| {
            let keys = accounts::find(state, name).map(|found| found.keys.as_slice()).unwrap_or_default();
            Ok(keys.iter().find(|keys| keys.kind == kind).map(|keys| keys.text.clone()))
        })
    }

    fn has_login_keys(&self) -> bool {
        self.key_maker.is_some()
    }

    fn store_secret(&self) -> Result<Vec<u8>> {
        Ok(self.secret.to_vec())
    }
}

impl<S: Storage> Store for IndexedStore<S> {
    fn usage(&self, account: AccountId) -> Result<Usage> {
        self.read(|state| Ok(state.account(account)?.usage(state.remotes.count(account))))
    }

    fn set_quota(&self, quota: Quota) {
        *lock(&self.quota) = quota;
    }

    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()> {
        self.read(|state| {
            let account = state.mailbox(mailbox)?.account;
            crate::quota::check_messages(&self.quota(), &state.account(account)?.usage, 1, bytes)
        })
    }

    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>> {
        self.list_page(account, "", usize::MAX)
    }

    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
        self.read(|state| mailboxes::list(state, account, after, limit))
    }

    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox> {
        self.read(|state| mailboxes::find(state, account, name))
    }

    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId> {
        self.write(|tx| mailboxes::create(tx, &self.quota(), account, name, special_use))
    }

    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(|tx| mailboxes::delete(tx, account, name))?;
        self.purge_deleted(account).map(drop)
    }

    fn purge_deleted(&self, account: AccountId) -> Result<bool> {
        let (freed, more) = self.change(|state| mailboxes::purge(state, account, WRITE_SLICE))?;
        freed.into_iter().for_each(|content| self.storage.remove(content));
        Ok(more)
    }

    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        self.write(|tx| mailboxes::rename(tx, &self.quota(), account, from, to))
    }

    fn subscribe(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(|tx| mailboxes::subscribe(tx, &self.quota(), account, name))
    }

    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()> {
        let name = crate::mailbox_name::canonical(name)?;
        self.write(|tx| tx.unsubscribe(account, name))
    }

    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>> {
        self.read(|state| mailboxes::subscriptions(state, account, after, limit))
    }

    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool> {
        self.read(|state| mailboxes::has_selected_name(state, account, selection, &names))
    }

    fn status(&self, mailbox: MailboxId) -> Result<Status> {
        self.read(|state| Ok(state.mailbox(mailbox)?.status()))
    }

    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection> {
        let limit = self.quota().keywords;
        let describe = |found: &MailboxState| Selection {
            mailbox,
            status: found.status(),
            first_recent_uid: found.first_recent_uid,
            keywords: found.keywords.clone().in_use(limit),
        };
        let selection = self.read(|state| state.mailbox(mailbox).map(describe))?;
        if access == Access::ReadOnly || selection.first_recent_uid == selection.status.uid_next {
            return Ok(selection);
        }
        self.change(|state| {
            let found = state.mailbox_mut(mailbox)?;
            let selection = describe(found);
            found.claim_recent(selection.status.uid_next);
            Ok(selection)
        })
    }

    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32> {
        // Check first, so that only one of many notified sessions waits for the others.
        let first = self.read(|state| Ok(state.mailbox(mailbox)?.first_recent_uid))?;
        if access == Access::ReadOnly || first >= below {
            return Ok(first);
        }
        self.change(|state| Ok(state.mailbox_mut(mailbox)?.claim_recent(below)))
    }

    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse> {
        let limit = self.quota().keywords;
        self.read(|state| Ok(state.mailbox(mailbox)?.keywords.clone().in_use(limit)))
    }

    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage> {
        self.read(|state| messages::uid_page(state, mailbox, from, below, limit))
    }

    fn upload(&self) -> Result<Upload> {
        Ok(self.storage.upload())
    }

    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        self.append_batch(vec![delivery])?.pop().unwrap_or(Err(Error::NotFound("delivery")))
    }

    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>> {
        let mut stored = Vec::with_capacity(deliveries.len());
        let outcome = deliveries.into_iter().try_for_each(|Delivery { upload, targets }| {
            let content = if targets.is_empty() { None } else { Some(self.put(upload)?) };
            stored.push((content, targets));
            Ok(())
        });
        let outcome = outcome.and_then(|()| {
            self.write(|tx| {
                let quota = self.quota();
                let append = |(content, targets): &(Option<Arc<Content>>, Vec<Target>)| match content {
                    Some(content) => messages::append(tx, &quota, content, targets),
                    None => Ok(Vec::new()),
                };
                Ok(stored.iter().map(append).collect::<Vec<_>>())
            })
        });
        for (index, (content, _)) in stored.iter().enumerate() {
            let appended =
                outcome.as_ref().is_ok_and(|results| results.get(index).is_some_and(Result::is_ok));
            if let (Some(content), false) = (content, appended) {
                self.storage.remove(content.id);
            }
        }
        outcome
    }

    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page> {
        let entries = |limit| self.read(|state| messages::entries(state, mailbox, uids, limit));
        let mut page = messages::page(&self.storage, entries, columns, limit)?;
        if columns.email_id {
            let account = self.read(|state| Ok(state.mailbox(mailbox)?.account))?;
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

    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet> {
        self.read(|state| {
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
        self.write(|tx| changes::store_flags(tx, &self.quota(), mailbox, uids, &change, limit))
    }

    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        self.write(|tx| messages::copy(tx, &self.quota(), from, uids, to, limit))
    }

    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied> {
        self.write(|tx| messages::copy_part(tx, &self.quota(), (from, uids, to), limit, part_of))
    }

    fn forget_copy(&self, copy: CopyId) -> Result<()> {
        self.change(|state| {
            state.unfinished.remove(&copy.0);
            Ok(())
        })
    }

    fn undo_copy(&self, copy: CopyId) -> Result<u64> {
        let mut removed = 0;
        // A part stays recorded until its messages are removed.
        while let Some(part) =
            self.read(|state| Ok(state.unfinished.get(&copy.0).and_then(|parts| parts.last().copied())))?
        {
            removed += self.undo_part(part)?;
            self.change(|state| Ok(state.unfinished.get_mut(&copy.0).map(Vec::pop)))?;
        }
        self.forget_copy(copy).map(|()| removed)
    }

    fn undo_unfinished_copies(&self) -> Result<u64> {
        let copies: Vec<i64> = self.read(|state| Ok(state.unfinished.keys().copied().collect()))?;
        copies.into_iter().try_fold(0, |removed, copy| Ok(removed + self.undo_copy(CopyId(copy))?))
    }

    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        self.write(|tx| messages::move_messages(tx, &self.quota(), from, uids, to, limit))
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
        self.write(|tx| messages::expunge(tx, mailbox, which, limit))
    }

    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes> {
        self.read(|state| changes::changes_since(state, mailbox, since, limit))
    }

    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription {
        lock(&self.subscribers).push(Arc::downgrade(&callback));
        ChangeSubscription(callback)
    }
}
