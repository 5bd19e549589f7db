//! [`SqliteStore`]: how threads share the database, and what happens after a commit.
//!
//! One connection writes, behind a lock; a pool of connections reads. After a commit the store deletes the files of freed
//! messages and calls the subscribers.

use super::after_commit::{AfterCommit, transact};
use super::append::append_together;
use super::files::{create_private_directory, open_private_file, sync_directory};
use super::group_commit::AppendQueue;
use super::mailbox_row::MailboxRow;
use super::own_uploads::{append_own, seal_own};
use super::writer::Writer;
use super::{accounts, acl};
use super::{
    changes, keywords, mailboxes, messages, metadata, quota, removals, schema, sharing, unfinished_copies,
};
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
use crate::text_index::TextIndex;
use crate::types::*;
use crate::upload_owner::StoreId;
use rusqlite::{Connection, Transaction};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The most idle read connections that are kept open.
const IDLE_READERS: usize = 8;

/// A store in a directory: `mail.db` (SQLite, with its `-wal` and `-shm`), `messages/` with one file for each message
/// larger than [`SMALL_LIMIT`](crate::SMALL_LIMIT) bytes, and `lock`. The directory has mode 0700 and its files 0600.
///
/// Several processes may open the same directory. If no other process has it open, [`open`](Self::open) deletes the
/// files that no message refers to.
pub struct SqliteStore {
    database: PathBuf,
    pub(super) messages: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    append_queue: AppendQueue,
    pub(super) passwords: PasswordVerifier,
    pub(super) login_keys: LoginKeySource,
    subscribers: Subscribers,
    quota: Mutex<Quota>,
    email_ids: ObjectIds,
    mailbox_ids: ObjectIds,
    /// The owner of its uploads.
    pub(super) id: StoreId,
    /// Locked in shared mode while the store is open.
    _lock: File,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store in a directory, and creates the directory if it is missing.
    ///
    /// # Errors
    /// `NewerSchema` if a newer version wrote it; `Io`, `Unavailable`, `Busy`, `Full`, `Corrupt`, `Database`,
    /// `Crypto`.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let (database, messages) = (directory.join("mail.db"), directory.join("messages"));
        create_private_directory(directory)?;
        create_private_directory(&messages)?;
        let lock = open_private_file(&directory.join("lock"))?;
        let alone = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        open_private_file(&database)?;
        let writer = schema::open_writer(&database)?;
        if alone {
            sweep(&writer, &messages)?;
        }
        flock(&lock, FlockOperation::LockShared).map_err(std::io::Error::from)?;
        sync_directory(directory)?;
        let secret = accounts::store_secret(&writer)?;
        Ok(Self {
            database,
            messages,
            email_ids: ObjectIds::new(&secret, "email"),
            mailbox_ids: ObjectIds::new(&secret, "mailbox"),
            writer: Writer::new(writer),
            readers: Mutex::default(),
            append_queue: AppendQueue::default(),
            passwords: PasswordVerifier::new(PasswordCost::Standard)?,
            login_keys: LoginKeySource::Scram,
            subscribers: Subscribers::default(),
            quota: Mutex::default(),
            id: StoreId::unique(),
            _lock: lock,
        })
    }

    /// Derives login keys with `make` from every password that is set. Default:
    /// [`scram_keys::derive`](crate::scram_keys::derive). An account whose password was set without it
    /// gets its keys at its next login with the password.
    #[must_use]
    pub fn with_key_maker(mut self, make: Arc<KeyMaker>) -> Self {
        self.login_keys = LoginKeySource::Own(make);
        self
    }

    /// Derives no login keys. A server over this store does not offer SCRAM.
    #[must_use]
    pub fn without_login_keys(mut self) -> Self {
        self.login_keys = LoginKeySource::Nothing;
        self
    }

    /// Sets the quota of every account. The default is [`Quota::default`].
    #[must_use]
    pub fn with_quota(self, quota: Quota) -> Self {
        *lock(&self.quota) = quota;
        self
    }

    pub(super) fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    /// Runs `work` in a read transaction, which sees a consistent snapshot.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let idle = lock(&self.readers).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.database)?,
        };
        let transaction = connection.transaction()?;
        let outcome = work(&transaction);
        let ended = transaction.finish();
        let mut readers = lock(&self.readers);
        if ended.is_ok() && readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        outcome
    }

    /// Runs `work` in a write transaction, commits it, and runs what follows the commit. An error rolls everything
    /// back.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut AfterCommit) -> Result<T>,
    ) -> Result<T> {
        let mut writer = self.writer.lock();
        let mut after_commit = AfterCommit::default();
        let outcome = transact(&mut writer, &mut after_commit, work)?;
        drop(writer);
        self.run_after_commit(after_commit);
        Ok(outcome)
    }

    /// Like [`write`](Self::write), but without waiting for the disk: for changes that may be lost with the power.
    pub(super) fn write_unsynced<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock();
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        let outcome = transact(&mut writer, &mut AfterCommit::default(), |tx, _| work(tx));
        writer.pragma_update(None, "synchronous", "FULL")?;
        outcome
    }

    /// Like [`write`](Self::write), for secrets: overwrites what it deletes, and then the log, so that neither keeps an earlier
    /// value. The log keeps it if another process is reading at that moment, until the next checkpoint.
    pub(super) fn write_erasing<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock();
        writer.pragma_update(None, "secure_delete", "ON")?;
        let outcome = transact(&mut writer, &mut AfterCommit::default(), |tx, _| work(tx));
        // The change is committed, whatever becomes of these.
        let _ = writer.pragma_update(None, "secure_delete", "OFF");
        if outcome.is_ok() {
            let _ = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        }
        outcome
    }

    fn run_after_commit(&self, after_commit: AfterCommit) {
        for name in after_commit.freed_files {
            // No row names the file any more. If this fails, the next start deletes it.
            let _ = std::fs::remove_file(self.messages.join(name));
        }
        self.subscribers.call(&after_commit.changed, &after_commit.account_changes);
    }

    /// Removes the messages of one part of an unfinished copy, and its record. Returns their number.
    fn undo_part(&self, part: &unfinished_copies::CopiedPart) -> Result<u64> {
        let mut removed = 0;
        let mut rest: UidSet = [part.first..=part.last].into_iter().collect();
        while !rest.is_empty() {
            match self.expunge(part.mailbox, &Expunge::Exactly(rest.clone()), WRITE_SLICE) {
                Ok(expunged) => {
                    removed += expunged.uids.len() as u64;
                    rest = expunged.next.map(|next| rest.starting_at(next)).unwrap_or_default();
                }
                // The mailbox was deleted together with the copies.
                Err(Error::NotFound(_) | Error::NoSelect) => break,
                Err(error) => return Err(error),
            }
        }
        self.write(|tx, _| unfinished_copies::delete_part_record(tx, part))?;
        Ok(removed)
    }
}

impl Store for SqliteStore {
    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>> {
        self.read(|tx| mailboxes::list(tx, account, "", usize::MAX))
    }

    fn usage(&self, account: AccountId) -> Result<Usage> {
        self.read(|tx| quota::usage(tx, account))
    }

    fn set_quota(&self, quota: Quota) {
        *lock(&self.quota) = quota;
    }

    fn quota(&self, _: AccountId) -> Quota {
        *lock(&self.quota)
    }

    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()> {
        self.read(|tx| quota::check_mailbox(tx, &self.quota(), mailbox, bytes))
    }

    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
        self.read(|tx| mailboxes::list(tx, account, after, limit))
    }

    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox> {
        self.read(|tx| mailboxes::find(tx, account, name))
    }

    fn mailbox_by_id(&self, account: AccountId, mailbox: MailboxId) -> Result<Mailbox> {
        self.read(|tx| mailboxes::find_by_id(tx, account, mailbox))
    }

    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special: Option<SpecialUse>,
    ) -> Result<MailboxId> {
        self.write(|tx, after_commit| {
            mailboxes::create(tx, after_commit, &self.quota(), account, name, special)
        })
    }

    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(|tx, after_commit| mailboxes::delete(tx, after_commit, account, name))?;
        self.purge_deleted(account).map(|_| ())
    }

    fn purge_deleted(&self, account: AccountId) -> Result<bool> {
        self.write(|tx, after_commit| mailboxes::purge(tx, after_commit, account, WRITE_SLICE))
    }

    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        self.write(|tx, after_commit| mailboxes::rename(tx, after_commit, &self.quota(), account, from, to))
    }

    fn subscribe(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(|tx, after_commit| mailboxes::subscribe(tx, after_commit, &self.quota(), account, name))
    }

    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()> {
        self.write(|tx, after_commit| mailboxes::unsubscribe(tx, after_commit, account, name))
    }

    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>> {
        self.read(|tx| mailboxes::subscriptions(tx, account, after, limit))
    }

    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool> {
        self.read(|tx| mailboxes::has_selected_name(tx, account, selection, &names))
    }

    fn metadata_page(
        &self,
        account: AccountId,
        of: Annotated,
        names: Range<&str>,
        max_size: u64,
    ) -> Result<MetadataPage> {
        self.read(|tx| metadata::page(tx, account, of, &names, max_size))
    }

    fn set_metadata(&self, account: AccountId, of: Annotated, changes: &[MetadataChange]) -> Result<()> {
        self.write(|tx, after_commit| metadata::set(tx, after_commit, &self.quota(), account, of, changes))
    }

    fn acl(&self, account: AccountId, mailbox: MailboxId) -> Result<Vec<AclEntry>> {
        self.read(|tx| acl::entries(tx, account, mailbox))
    }

    fn set_acl(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        identifier: &str,
        change: AclChange,
        rights: Rights,
    ) -> Result<()> {
        self.write(|tx, _| acl::set(tx, account, mailbox, identifier, change, rights))
    }

    fn sharing_accounts(&self, with: &Account, after: AccountId, limit: usize) -> Result<Vec<Account>> {
        self.read(|tx| sharing::sharing_accounts(tx, with, after, limit))
    }

    fn shared_mailboxes(&self, owner: AccountId, with: &Account) -> Result<Vec<(Mailbox, Rights)>> {
        self.read(|tx| sharing::shared_mailboxes(tx, owner, &with.name))
    }

    fn status(&self, mailbox: MailboxId) -> Result<Status> {
        self.read(|tx| mailboxes::status(tx, mailbox))
    }

    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection> {
        let selection = self.read(|tx| mailboxes::select(tx, &self.quota(), mailbox))?;
        if access == Access::ReadOnly || selection.first_recent_uid == selection.status.uid_next {
            return Ok(selection);
        }
        self.write_unsynced(|tx| {
            let selection = mailboxes::select(tx, &self.quota(), mailbox)?;
            mailboxes::claim_recent_of(tx, &selection)?;
            Ok(selection)
        })
    }

    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32> {
        // Check first, so that only one of many notified sessions writes.
        let first = self.read(|tx| mailboxes::first_recent(tx, mailbox))?;
        if access == Access::ReadOnly || first >= below {
            return Ok(first);
        }
        self.write_unsynced(|tx| mailboxes::claim_recent(tx, mailbox, below))
    }

    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse> {
        self.read(|tx| keywords::in_use(tx, mailbox, self.quota().keywords))
    }

    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage> {
        self.read(|tx| messages::uid_page(tx, mailbox, from, below, limit))
    }

    fn upload(&self) -> Result<Upload> {
        Ok(Upload::new(&self.messages).of(self.id))
    }

    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        self.append_batch(vec![delivery])?.pop().unwrap_or(Err(Error::NotFound("delivery")))
    }

    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>> {
        append_own(self.id, deliveries, |deliveries| {
            let (after_commit, outcome) =
                self.append_queue.append(&self.writer, || self.quota(), &self.messages, deliveries);
            self.run_after_commit(after_commit);
            outcome
        })
    }

    fn append_together(
        &self,
        deliveries: Vec<Delivery>,
        replaced: Option<(MailboxId, u32)>,
    ) -> Result<Vec<Vec<Appended>>> {
        let mut sealed = seal_own(self.id, &self.messages, deliveries)?;
        let appended = self
            .write(|tx, after_commit| append_together(tx, after_commit, &self.quota(), &sealed, replaced))?;
        for ((upload, _), _) in sealed.iter_mut().zip(&appended).filter(|(_, appended)| !appended.is_empty())
        {
            upload.keep();
        }
        Ok(appended)
    }

    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page> {
        self.read(|tx| {
            let mut page = messages::fetch_page(tx, &self.messages, mailbox, uids, columns, limit.max(1))?;
            if columns.email_id {
                let account = MailboxRow::load(tx, mailbox)?.account;
                for message in &mut page.messages {
                    message.email_id = Some(self.email_id(account, message.content));
                }
            }
            Ok(page)
        })
    }

    fn open_content(&self, content: ContentId) -> Result<Body> {
        match self.read(|tx| messages::open_content(tx, &self.messages, content)) {
            // The message was expunged after its row was read, or its file is lost. A file is deleted only after its
            // row.
            Err(Error::NotFound(_)) if self.read(|tx| messages::has_content(tx, content))? => {
                Err(Error::Corrupt("the file of a message"))
            }
            opened => opened,
        }
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

    fn keep_previews(&self, previews: &[(ContentId, String)]) -> Result<()> {
        self.write_unsynced(|tx| messages::keep_previews(tx, previews))
    }

    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet> {
        self.read(|tx| messages::uids_of_content(tx, mailbox, content))
    }

    fn text_index(&self) -> Option<&dyn TextIndex> {
        Some(self)
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
        self.write(|tx, after_commit| {
            changes::store_flags(
                tx,
                after_commit,
                &self.quota(),
                mailbox,
                uids,
                mode,
                flags,
                unchanged_since,
                limit,
            )
        })
    }

    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        self.write(|tx, after_commit| messages::copy(tx, after_commit, &self.quota(), from, uids, to, limit))
    }

    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied> {
        self.write(|tx, after_commit| {
            unfinished_copies::copy_part(tx, after_commit, &self.quota(), (from, uids, to), limit, part_of)
        })
    }

    fn forget_copy(&self, copy: CopyId) -> Result<()> {
        self.write(|tx, _| unfinished_copies::delete_records(tx, copy))
    }

    fn undo_copy(&self, copy: CopyId) -> Result<u64> {
        let mut removed = 0;
        while let Some(part) = self.read(|tx| unfinished_copies::part_of(tx, copy))? {
            removed += self.undo_part(&part)?;
        }
        Ok(removed)
    }

    fn undo_unfinished_copies(&self) -> Result<u64> {
        let mut removed = 0;
        while let Some(part) = self.read(|tx| unfinished_copies::first_part(tx))? {
            removed += self.undo_part(&part)?;
        }
        Ok(removed)
    }

    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        self.write(|tx, after_commit| {
            messages::move_messages(tx, after_commit, &self.quota(), from, uids, to, limit)
        })
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
        // Searched in a read transaction, so that writers don't wait.
        let (mut found, bits) = self.read(|tx| messages::find_to_delete(tx, mailbox, which, limit))?;
        if !found.uids.is_empty() {
            found.uids = self
                .write(|tx, after_commit| messages::remove(tx, after_commit, mailbox, &found.uids, bits))?;
        }
        Ok(found)
    }

    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes> {
        self.read(|tx| changes::changes_since(tx, mailbox, since, limit))
    }

    fn removals(&self, mailbox: MailboxId, after: (u64, u32), limit: usize) -> Result<Option<Removals>> {
        self.read(|tx| removals::since(tx, mailbox, after, limit))
    }

    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription {
        self.subscribers.add(callback)
    }

    fn subscribe_account_changes(&self, callback: Arc<AccountChangeCallback>) -> AccountChangeSubscription {
        self.subscribers.add_for_accounts(callback)
    }
}

/// Deletes the files that no message refers to: uploads that a crash interrupted, and freed content.
fn sweep(connection: &Connection, messages: &Path) -> Result<()> {
    let mut known = connection.prepare("SELECT 1 FROM contents WHERE file = ?1")?;
    for entry in std::fs::read_dir(messages)? {
        let entry = entry?;
        let orphan = match entry.file_name().to_str() {
            Some(name) => !known.exists([name])?,
            None => true,
        };
        if orphan {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
