//! The mailboxes that an account has at the start.

use super::content::Content;
use super::mailboxes;
use super::state::{Entry, MailboxState, State};
use super::storage::{Storage, StoredMailbox, StoredMessage, StoredMetadata};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::mailbox_name::canonical;
use crate::metadata::{Annotated, entry_name};
use crate::types::{Account, MailboxId, Quota, SpecialUse};
use std::sync::Arc;
use std::time::SystemTime;

/// What a storage has for an account.
pub(super) struct Loaded {
    mailboxes: Vec<(StoredMailbox, Vec<StoredMessage>)>,
    subscriptions: Vec<String>,
    metadata: Vec<StoredMetadata>,
}

impl Loaded {
    /// Reads what the storage has.
    pub(super) fn read(storage: &impl Storage, account: &Account) -> Result<Self> {
        let mailboxes = storage.mailboxes(account)?.into_iter();
        Ok(Self {
            mailboxes: mailboxes
                .map(|mailbox| {
                    let messages = storage.messages(mailbox.id)?;
                    Ok((mailbox, messages))
                })
                .collect::<Result<_>>()?,
            subscriptions: storage.subscriptions(account)?,
            metadata: storage.metadata(account)?,
        })
    }
}

impl Loaded {
    /// Returns whether the storage has nothing for the account.
    pub(super) fn is_empty(&self) -> bool {
        self.mailboxes.is_empty()
    }
}

/// Fills the index of a new account with the mailboxes that the storage has, or with the default ones. `others` are the
/// indexes of the other accounts, whose messages may have the same content.
pub(super) fn create(tx: &mut Transaction<'_>, loaded: Loaded, others: &[&State]) -> Result<()> {
    let is_new = loaded.mailboxes.is_empty();
    for (header, messages) in loaded.mailboxes {
        load_mailbox(tx.state, header, messages, others)?;
    }
    for name in loaded.subscriptions {
        tx.state.account.subscriptions.insert(canonical(&name)?);
    }
    for StoredMetadata { of, name, value } in loaded.metadata {
        if let Annotated::Mailbox(mailbox) = of
            && !tx.state.mailboxes.contains_key(&mailbox)
        {
            return Err(Error::Corrupt("the metadata of a mailbox"));
        }
        tx.state.account.set_metadata(of, &entry_name(&name)?, Some(value));
    }
    let quota = &Quota::UNLIMITED;
    if !tx.state.account.names.contains_key("INBOX") {
        mailboxes::create(tx, quota, "INBOX", None)?;
        mailboxes::subscribe(tx, quota, "INBOX")?;
    }
    for special_use in SpecialUse::ALL.into_iter().filter(|_| is_new) {
        mailboxes::create(tx, quota, special_use.mailbox_name(), Some(special_use))?;
        mailboxes::subscribe(tx, quota, special_use.mailbox_name())?;
    }
    Ok(())
}

/// Stops to use the contents of an account whose creation failed.
pub(super) fn release_all(state: &mut State) {
    for (id, mailbox) in std::mem::take(&mut state.mailboxes) {
        for (uid, entry) in &mailbox.messages {
            state.release(id, *uid, entry);
        }
    }
}

fn load_mailbox(
    state: &mut State,
    mut header: StoredMailbox,
    messages: Vec<StoredMessage>,
    others: &[&State],
) -> Result<()> {
    header.name = canonical(&header.name)?;
    header.acl.sort_by(|one, other| one.identifier.cmp(&other.identifier));
    let id = header.id;
    let is_known = |state: &State| state.mailboxes.contains_key(&id);
    if is_known(state)
        || others.iter().any(|other| is_known(other))
        || state.account.names.contains_key(&header.name)
    {
        return Err(Error::Exists("mailbox"));
    }
    let last_uid = messages.iter().map(|message| message.uid).max().unwrap_or_default();
    header.uid_next =
        header.uid_next.max(last_uid.checked_add(1).ok_or(Error::Limit("the UIDs of a mailbox"))?);
    if header.highest_modseq == 0 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        header.highest_modseq = u64::try_from(now.as_micros()).unwrap_or(1).max(1);
    }
    match header.uid_validity {
        0 => header.uid_validity = mailboxes::next_uid_validity(state)?,
        known => {
            let last = &mut state.account.last_uid_validity;
            *last = known.max(*last);
        }
    }
    state.reserve_mailbox(id);
    state.account.names.insert(header.name.clone(), id);
    state.mailboxes.insert(id, MailboxState::new(header));
    messages.into_iter().try_for_each(|message| load_message(state, id, message, others))
}

fn load_message(
    state: &mut State,
    mailbox: MailboxId,
    message: StoredMessage,
    others: &[&State],
) -> Result<()> {
    let StoredMessage { uid, modseq, flags, internal_date, saved_date, size, content } = message;
    let known = state.content(content).or_else(|| others.iter().find_map(|other| other.content(content)));
    let found = state.mailbox_mut(mailbox)?;
    if uid == 0 || found.messages.contains_key(&uid) {
        return Err(Error::Corrupt("the UIDs of a mailbox"));
    }
    let modseq = modseq.clamp(1, found.header.highest_modseq);
    let flags = found.intern(&flags)?;
    let content = known.unwrap_or_else(|| Arc::new(Content::new(content, size)));
    state.insert(mailbox, uid, Entry { modseq, flags, internal_date, saved_date, content });
    Ok(())
}
