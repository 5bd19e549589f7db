//! The interface of a mail store.
//!
//! A server, a sync run or a test uses a store through this trait, without knowing how it keeps its data.

use crate::accounts::Accounts;
use crate::callback::{AccountChangeCallback, AccountChangeSubscription, ChangeCallback, ChangeSubscription};
use crate::content::{Body, Upload};
use crate::default_copies::{default_append_together, default_copy, default_move_messages};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::mailbox_name::canonical;
use crate::metadata::{Annotated, MetadataChange, MetadataPage};
use crate::rights::{AclChange, AclEntry, Rights};
use crate::text_index::TextIndex;
use crate::types::*;
use std::ops::Range;
use std::sync::Arc;

/// The messages that a default method reads at a time.
const PAGE: usize = 500;

/// A mail store. All methods block; see the [crate documentation](crate) for the guarantees.
///
/// Twelve methods are required. The defaults of the others are correct but plain: no quotas, no `\Recent` messages, all
/// mailboxes subscribed, no metadata, copies that store the bytes again. Override a method where the storage can do better. If the
/// mail is kept as a list of messages, implement the smaller trait [`Storage`](crate::Storage) instead.
///
/// Methods that take an identifier fail with `NotFound` if the item does not exist or no longer exists, and with
/// `NoSelect` if the mailbox is `\Noselect`. All methods may fail with `Busy`, `Full`, `Unavailable`, `Io`, `Corrupt`
/// or `Database`. Methods that add something may fail with `OverQuota`.
pub trait Store: Accounts {
    /// Returns how much the account uses of everything that a [`Quota`] limits. The stores of this crate take the same
    /// time for any amount; the default asks for the status of each mailbox.
    fn usage(&self, account: AccountId) -> Result<Usage> {
        default_usage(self, account)
    }

    /// Sets the quota of every account from now on. The default ignores it: accounts are not limited.
    fn set_quota(&self, quota: Quota) {
        let _ = quota;
    }

    /// Returns the quota of an account. The default says that accounts are not limited.
    fn quota(&self, account: AccountId) -> Quota {
        let _ = account;
        Quota::UNLIMITED
    }

    /// Checks whether the mailbox's account may store one more message of `bytes` bytes. Call it before the client
    /// sends the message. The append may still fail if other messages arrive in between.
    ///
    /// # Errors
    /// `OverQuota`.
    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()> {
        let _ = (mailbox, bytes);
        Ok(())
    }

    /// Returns all mailboxes of an account, ordered by name.
    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>>;

    /// Returns at most `limit` mailboxes of an account, ordered by name, starting after the name `after`. An empty
    /// `after` starts at the first mailbox. Fewer than `limit` mailboxes mean that this was the last page.
    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
        let mailboxes = self.list(account)?.into_iter();
        Ok(mailboxes.skip_while(|mailbox| *mailbox.name <= *after).take(limit).collect())
    }

    /// Returns the mailbox with this name. `INBOX` matches in any case.
    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox> {
        default_mailbox(self, account, name)
    }

    /// Returns the mailbox with this identifier.
    ///
    /// # Errors
    /// `NotFound` if it does not exist in this account.
    fn mailbox_by_id(&self, account: AccountId, mailbox: MailboxId) -> Result<Mailbox> {
        let found = self.list(account)?.into_iter().find(|found| found.id == mailbox);
        found.ok_or(Error::NotFound("mailbox"))
    }

    /// Creates a mailbox. Its missing parents are created as `\Noselect`; creating one of them makes it selectable. It has the
    /// access control list of its parent (RFC 4314 §4). A
    /// trailing `/` is ignored (RFC 9051 §6.3.4). Names have at most [`NAME_LIMIT`](crate::NAME_LIMIT) bytes and
    /// [`LEVEL_LIMIT`](crate::LEVEL_LIMIT) levels.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name that is too long or has too many levels.
    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId>;

    /// Deletes a mailbox and its messages. A mailbox that has children stays as `\Noselect` (RFC 9051 §6.3.5). This
    /// call removes at most [`WRITE_SLICE`](crate::WRITE_SLICE) messages. [`purge_deleted`](Self::purge_deleted)
    /// removes the others; until then no call returns them, but they take space and count for the quota.
    ///
    /// # Errors
    /// `Refused` for INBOX, and for a `\Noselect` mailbox that has children.
    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()>;

    /// Removes at most [`WRITE_SLICE`](crate::WRITE_SLICE) messages of deleted mailboxes. Returns whether to call it
    /// again.
    fn purge_deleted(&self, account: AccountId) -> Result<bool> {
        let _ = account;
        Ok(false)
    }

    /// Renames a mailbox and its children. Renaming INBOX moves its messages to a new mailbox (RFC 9051 §6.3.6).
    ///
    /// # Errors
    /// `Exists`, `InvalidName`, `Limit`; `Refused` if `to` is below `from`.
    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()>;

    /// Subscribes to a name. No mailbox of that name needs to exist (RFC 9051 §6.3.7). By default all mailboxes are
    /// subscribed, and no other name can be.
    fn subscribe(&self, account: AccountId, name: &str) -> Result<()> {
        match self.mailbox(account, name)?.subscribed {
            true => Ok(()),
            false => Err(Error::Refused("subscriptions can't be changed here")),
        }
    }

    /// Removes a subscription. Succeeds if the name is not subscribed.
    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()> {
        match self.mailbox(account, name) {
            Ok(mailbox) if mailbox.subscribed => Err(Error::Refused("subscriptions can't be changed here")),
            _ => Ok(()),
        }
    }

    /// Returns at most `limit` subscriptions of an account, ordered by name, starting after the name `after`. An empty
    /// `after` starts at the first one. Fewer than `limit` mean that this was the last page.
    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>> {
        default_subscriptions_page(self, account, after, limit)
    }

    /// Returns whether `selection` selects at least one name in the range. Names are ordered by their bytes.
    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool> {
        default_has_selected_name(self, account, selection, names)
    }

    /// Returns the entries of metadata (RFC 5464) with names in this range, in order. Names are in lower case and ordered
    /// by their bytes. A page ends at about 128 KiB, or after 200 entries. Values of more than `max_size` bytes are left
    /// out. The default has no entries.
    ///
    /// # Errors
    /// `NotFound` if the mailbox does not exist in this account.
    fn metadata_page(
        &self,
        account: AccountId,
        of: Annotated,
        names: Range<&str>,
        max_size: u64,
    ) -> Result<MetadataPage> {
        let _ = (account, of, names, max_size);
        Ok(MetadataPage::default())
    }

    /// Sets or removes entries of metadata, all of them or none. Entries follow a mailbox that is renamed, and are removed
    /// with it. They count for the account's quota.
    ///
    /// # Errors
    /// `NotFound` if the mailbox does not exist in this account; `InvalidName`; `Limit` for a name or value that is too
    /// long; `TooManyMetadata`; `Refused` if the store keeps no metadata, which is the default.
    fn set_metadata(&self, account: AccountId, of: Annotated, changes: &[MetadataChange]) -> Result<()> {
        let _ = (account, of, changes);
        Err(Error::Refused("metadata is not kept here"))
    }

    /// Returns the access control list of a mailbox (RFC 4314), ordered by identifier. It has no entry for the owner, who
    /// has all rights. The default is empty: mailboxes are not shared.
    ///
    /// # Errors
    /// `NotFound` if the mailbox does not exist in this account.
    fn acl(&self, account: AccountId, mailbox: MailboxId) -> Result<Vec<AclEntry>> {
        self.mailbox_by_id(account, mailbox).map(|_| Vec::new())
    }

    /// Changes the entry of an identifier: the name of an account, whether or not it exists, or `anyone`, with `-` before it
    /// to take rights away. An entry without rights is removed. Entries stay when the mailbox is renamed, and go with it.
    ///
    /// # Errors
    /// `NotFound` if the mailbox does not exist in this account; `InvalidName` for the identifier; `Limit` beyond
    /// [`ACL_ENTRY_LIMIT`](crate::ACL_ENTRY_LIMIT), [`ACL_ACCOUNT_LIMIT`](crate::ACL_ACCOUNT_LIMIT) or
    /// [`ACL_IDENTIFIER_LIMIT`](crate::ACL_IDENTIFIER_LIMIT); `Refused` if the store keeps no lists, which is the default.
    fn set_acl(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        identifier: &str,
        change: AclChange,
        rights: Rights,
    ) -> Result<()> {
        let _ = (account, mailbox, identifier, change, rights);
        Err(Error::Refused("mailboxes are not shared between accounts here"))
    }

    /// Returns at most `limit` other accounts with identifiers after `after` that own a mailbox with an entry for the account
    /// `with` or for `anyone`, in the order of their identifiers. Fewer than `limit` are the last ones. The default
    /// returns none.
    fn sharing_accounts(&self, with: &Account, after: AccountId, limit: usize) -> Result<Vec<Account>> {
        let _ = (with, after, limit);
        Ok(Vec::new())
    }

    /// Returns the mailboxes of `owner` with an entry for the account `with` or for `anyone`, in the order of their names, and
    /// the rights that `with` has to each, which may be none. The default returns none.
    fn shared_mailboxes(&self, owner: AccountId, with: &Account) -> Result<Vec<(Mailbox, Rights)>> {
        let _ = (owner, with);
        Ok(Vec::new())
    }

    /// Returns the counters of a mailbox (RFC 9051 §6.3.11). Takes the same time for any size.
    fn status(&self, mailbox: MailboxId) -> Result<Status>;

    /// Selects a mailbox and returns its state. Takes the same time for any size, except that the keywords are read.
    /// With read-write access, its recent messages are recent for no later session.
    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection> {
        let status = self.status(mailbox)?;
        let first_recent_uid = self.claim_recent(mailbox, status.uid_next, access)?;
        Ok(Selection { mailbox, status, first_recent_uid, keywords: self.keywords(mailbox)? })
    }

    /// Returns the first recent UID. With read-write access, messages below `below` are no longer recent for other
    /// sessions: the caller reports them to its client. This is not synced: after a loss of power the messages may be
    /// recent once more. By default no message is recent, as IMAP4rev2 has it (RFC 9051 §A).
    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32> {
        let _ = (mailbox, access);
        Ok(below)
    }

    /// Returns the keywords that were ever used in a mailbox. The default returns none: messages have their keywords, but
    /// the server can't announce them before it shows them.
    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse> {
        let _ = mailbox;
        Ok(KeywordsInUse::default())
    }

    /// Returns at most `limit` UIDs (at least one) of the messages with `from` <= UID < `below`.
    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage> {
        default_uid_page(self, mailbox, from..below, limit)
    }

    /// Starts the upload of a message, for this store only. By default a large one becomes a file in the directory for
    /// temporary files.
    fn upload(&self) -> Result<Upload> {
        Ok(Upload::new(&std::env::temp_dir()))
    }

    /// Appends one message to all targets of the delivery or to none. Returns one entry per target, in the same order.
    ///
    /// # Errors
    /// `Refused` if another store began the upload.
    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>>;

    /// Appends many messages with one sync of the disk. Each delivery has its own result (its mailbox may be gone),
    /// and is appended to all of its targets or to none. If the outer result is an error, no delivery was made. The
    /// default appends one after the other.
    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>> {
        Ok(deliveries.into_iter().map(|delivery| self.append(delivery)).collect())
    }

    /// Appends the messages of all deliveries or of none, and returns the results in the same order. With `replaced`, it
    /// also removes this message, and the account's quota counts only what is added in total (RFC 3502, RFC 8508).
    ///
    /// The stores of this crate do it in one transaction. The default appends one message after the other and removes
    /// them again if it fails: other sessions may see them in between.
    ///
    /// # Errors
    /// `NotFound` with [`REPLACED_MESSAGE`](crate::REPLACED_MESSAGE) if the replaced message does not exist any more; those
    /// of [`append`](Self::append).
    fn append_together(
        &self,
        deliveries: Vec<Delivery>,
        replaced: Option<(MailboxId, u32)>,
    ) -> Result<Vec<Vec<Appended>>> {
        default_append_together(self, deliveries, replaced)
    }

    /// Returns at most `limit` messages of the set, and where the next page starts. A page also ends when it holds
    /// about 512 KiB, or after 4,000 ranges. In the last case it may be empty although `next` is set.
    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page>;

    /// Opens the bytes of a message. An open body stays readable after the message is expunged.
    ///
    /// # Errors
    /// `NotFound` if the message was expunged, `Corrupt` if its file is missing or damaged, `Unavailable` if no file
    /// descriptor is left, `Io` if its file can't be opened for another reason.
    fn open_content(&self, content: ContentId) -> Result<Body>;

    /// Returns the EMAILID (RFC 8474 §4) of a message. Copies in one account share it, and it differs between
    /// accounts. The stores of this crate encrypt it with a key of the store, so that it does not show how many messages
    /// the store has. The default shows both identifiers.
    fn email_id(&self, account: AccountId, content: ContentId) -> String {
        default_email_id(account, content)
    }

    /// Decodes an EMAILID of this account, or returns `None` if it is not valid. Does not read the disk: the message
    /// may not exist any more.
    fn find_email_id(&self, account: AccountId, id: &str) -> Option<ContentId> {
        default_find_email_id(account, id)
    }

    /// Returns the MAILBOXID (RFC 8474 §4) of a mailbox. It stays the same when the mailbox is renamed, and no other
    /// mailbox ever has it. The stores of this crate encrypt it, as [`email_id`](Self::email_id). The default shows both
    /// identifiers.
    fn mailbox_id(&self, account: AccountId, mailbox: MailboxId) -> String {
        format!("F{}_{}", account.0, mailbox.0)
    }

    /// Keeps the previews of messages (RFC 8970), so that they need not be computed again. A content that no message has
    /// any more is ignored. This is not synced: after a loss of power previews may be computed once more. The default
    /// keeps none.
    fn keep_previews(&self, previews: &[(ContentId, String)]) -> Result<()> {
        let _ = previews;
        Ok(())
    }

    /// Returns the UIDs of a mailbox's messages that have this content. The default reads the whole mailbox.
    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet> {
        default_uids_of_content(self, mailbox, content)
    }

    /// Returns the index of the messages' texts; `None` if the store has none, as by default. Then a server reads the
    /// messages when it searches for a text.
    fn text_index(&self) -> Option<&dyn TextIndex> {
        None
    }

    /// Changes flags of at most `limit` messages of the set. Continue at [`Stored::next`]. With `unchanged_since`,
    /// messages with a later mod-sequence are not changed (RFC 7162 §3.1.3).
    ///
    /// # Errors
    /// `Limit` if a message or the mailbox would have too many keywords.
    fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &Flags,
        unchanged_since: Option<u64>,
        limit: usize,
    ) -> Result<Stored>;

    /// Copies at most `limit` messages of the set, with their flags and dates. All of them are copied or none. Copies
    /// share the content. Continue at [`Copied::next`]. The default appends the bytes again, and removes the copies of
    /// this call if one of them fails.
    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        default_copy(self, from, uids, to, limit)
    }

    /// Makes one part of a copy that is kept only if all of its parts are made. The first call has `part_of: None`;
    /// pass its [`Copied::unfinished`] to the following ones. The last part is the one without [`Copied::next`]. If
    /// the process dies before that, [`undo_unfinished_copies`](Self::undo_unfinished_copies) removes what was copied.
    /// The default records no parts.
    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied> {
        let _ = part_of;
        self.copy(from, uids, to, limit)
    }

    /// Forgets an unfinished copy: the caller removed its messages, or keeps them.
    fn forget_copy(&self, copy: CopyId) -> Result<()> {
        let _ = copy;
        Ok(())
    }

    /// Removes the messages of one unfinished copy and returns their number. The copy must not be continued.
    fn undo_copy(&self, copy: CopyId) -> Result<u64> {
        let _ = copy;
        Ok(0)
    }

    /// Removes the messages of unfinished copies and returns their number. Call it at startup, when no other process
    /// uses the store: it also removes copies that another process is making.
    fn undo_unfinished_copies(&self) -> Result<u64> {
        Ok(0)
    }

    /// Moves at most `limit` messages of the set, all of them or none (RFC 6851). Continue at [`Copied::next`]. The
    /// default copies them and then removes them.
    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        default_move_messages(self, from, uids, to, limit)
    }

    /// Removes at most `limit` messages permanently, and frees content that no message refers to. Continue at
    /// [`Expunged::next`]. One call examines a bounded number of messages, so it may remove fewer than `limit` and
    /// still set `next`.
    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged>;

    /// Returns a page of the changes since a cursor, for NOOP, IDLE and other sessions. It has at most `limit`
    /// removed, `limit` new and `limit` changed messages.
    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes>;

    /// Returns a page of at most `limit` messages that were removed after a mod-sequence (RFC 7162 §3.2.5). Begin with it
    /// and [`u32::MAX`]. `None`, as by default, if the history is too short: it has 100,000 removals of a mailbox in SQLite,
    /// and the 10,000 since the start with an index in memory. Any UID that no message has may then have been removed.
    fn removals(&self, _: MailboxId, _after: (u64, u32), _limit: usize) -> Result<Option<Removals>> {
        Ok(None)
    }

    /// Calls `callback` after every change that this `Store` makes to any mailbox. Changes by another process are not
    /// reported.
    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription;

    /// Calls `callback` after every change that this `Store` makes to an account: its mailboxes, messages, subscriptions
    /// and metadata. The default never calls it.
    fn subscribe_account_changes(&self, callback: Arc<AccountChangeCallback>) -> AccountChangeSubscription {
        AccountChangeSubscription(callback)
    }
}

fn default_usage(store: &(impl Store + ?Sized), account: AccountId) -> Result<Usage> {
    let mut usage = Usage::default();
    for mailbox in store.list(account)? {
        usage.mailboxes += 1;
        usage.subscriptions += u64::from(mailbox.subscribed);
        if !mailbox.no_select {
            let status = store.status(mailbox.id)?;
            usage.messages += u64::from(status.messages);
            usage.bytes += status.size;
        }
    }
    Ok(usage)
}

fn default_mailbox(store: &(impl Store + ?Sized), account: AccountId, name: &str) -> Result<Mailbox> {
    // An invalid name belongs to no mailbox.
    let name = canonical(name).map_err(|_| Error::NotFound("mailbox"))?;
    let found = store.list(account)?.into_iter().find(|mailbox| mailbox.name == name);
    found.ok_or(Error::NotFound("mailbox"))
}

fn default_subscriptions_page(
    store: &(impl Store + ?Sized),
    account: AccountId,
    after: &str,
    limit: usize,
) -> Result<Vec<Subscription>> {
    let subscribed =
        store.list(account)?.into_iter().filter(|mailbox| mailbox.subscribed && *mailbox.name > *after);
    let subscription = |mailbox: Mailbox| Subscription { name: mailbox.name.clone(), mailbox: Some(mailbox) };
    Ok(subscribed.take(limit).map(subscription).collect())
}

fn default_has_selected_name(
    store: &(impl Store + ?Sized),
    account: AccountId,
    selection: NameSelection,
    names: Range<&str>,
) -> Result<bool> {
    let mailboxes = store.list(account)?;
    Ok(mailboxes.iter().filter(|mailbox| names.contains(&mailbox.name.as_str())).any(
        |mailbox| match selection {
            NameSelection::Subscribed => mailbox.subscribed,
            NameSelection::SpecialUse => mailbox.special_use.is_some(),
            NameSelection::SubscribedSpecialUse => mailbox.subscribed && mailbox.special_use.is_some(),
        },
    ))
}

fn default_uid_page(
    store: &(impl Store + ?Sized),
    mailbox: MailboxId,
    uids: Range<u32>,
    limit: usize,
) -> Result<UidPage> {
    let mut page = UidPage::default();
    let Some(last) = uids.end.checked_sub(1) else { return Ok(page) };
    let limit = limit.max(1);
    let mut rest: UidSet = [uids.start..=last].into_iter().collect();
    while !rest.is_empty() {
        let wanted = (limit - page.uids.len()).min(PAGE);
        let read = store.fetch_page(mailbox, &rest, Columns::summary(), wanted)?;
        for message in read.messages {
            if page.first_unseen.is_none() && !message.flags.contains(Flags::SEEN) {
                page.first_unseen = Some(message.uid);
            }
            page.uids.push(message.uid);
        }
        rest = read.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
        if page.uids.len() >= limit {
            page.next = read.next;
            break;
        }
    }
    Ok(page)
}

/// An EMAILID of both identifiers, in the characters of RFC 8474 §7.
fn default_email_id(account: AccountId, content: ContentId) -> String {
    format!("M{}_{}", account.0, content.0)
}

fn default_find_email_id(account: AccountId, id: &str) -> Option<ContentId> {
    let content = ContentId(id.rsplit_once('_')?.1.parse().ok()?);
    (default_email_id(account, content) == id).then_some(content)
}

fn default_uids_of_content(
    store: &(impl Store + ?Sized),
    mailbox: MailboxId,
    content: ContentId,
) -> Result<UidSet> {
    let (mut rest, mut found) = (UidSet::all(), Vec::new());
    while !rest.is_empty() {
        let page = store.fetch_page(mailbox, &rest, Columns::summary(), PAGE)?;
        let having = page.messages.iter().filter(|message| message.content == content);
        found.extend(having.map(|message| message.uid));
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    Ok(found.into_iter().collect())
}

impl<S: Store + ?Sized> crate::default_copies::CopyOperations for S {
    fn status(&self, mailbox: MailboxId) -> Result<Status> {
        Store::status(self, mailbox)
    }

    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page> {
        Store::fetch_page(self, mailbox, uids, columns, limit)
    }

    fn open_content(&self, content: ContentId) -> Result<Body> {
        Store::open_content(self, content)
    }

    fn upload(&self) -> Result<Upload> {
        Store::upload(self)
    }

    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        Store::append(self, delivery)
    }

    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied> {
        Store::copy(self, from, uids, to, limit)
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
        Store::expunge(self, mailbox, which, limit)
    }
}
