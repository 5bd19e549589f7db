//! Accounts, their passwords, and the mailboxes that they have at the start.

use super::content::Content;
use super::mailboxes;
use super::state::{AccountState, Entry, MailboxState, State};
use super::storage::{Storage, StoredMailbox, StoredMessage};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::mailbox_name::canonical;
use crate::passwords::StoredAccount;
use crate::types::{Account, AccountId, LoginKeys, MailboxId, Quota, SpecialUse, Usage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

/// What a storage has for an account.
pub(super) struct Loaded {
    mailboxes: Vec<(StoredMailbox, Vec<StoredMessage>)>,
    subscriptions: Vec<String>,
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
        })
    }
}

/// Returns the account that a name would get.
pub(super) fn next(state: &State, name: &str) -> Result<Account> {
    if state.account_names.contains_key(&name.to_ascii_lowercase()) {
        return Err(Error::Exists("account"));
    }
    let last = state.accounts.last_key_value().map_or(0, |(id, _)| id.0);
    Ok(Account { id: AccountId(last + 1), name: name.to_owned() })
}

/// Adds an account with the mailboxes that the storage has, or with the default ones.
pub(super) fn create(
    tx: &mut Transaction<'_>,
    account: &Account,
    verifier: String,
    keys: Vec<LoginKeys>,
    loaded: Loaded,
) -> Result<()> {
    let id = account.id;
    tx.state.account_names.insert(account.name.to_ascii_lowercase(), id);
    tx.state.accounts.insert(
        id,
        AccountState {
            account: account.clone(),
            verifier,
            keys,
            last_uid_validity: 0,
            names: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            usage: Usage::default(),
            deleted: VecDeque::new(),
        },
    );
    let is_new = loaded.mailboxes.is_empty();
    for (header, messages) in loaded.mailboxes {
        load_mailbox(tx.state, id, header, messages)?;
    }
    for name in loaded.subscriptions {
        tx.state.account_mut(id)?.subscriptions.insert(canonical(&name)?);
    }
    let quota = &Quota::UNLIMITED;
    if !tx.state.account(id)?.names.contains_key("INBOX") {
        mailboxes::create(tx, quota, id, "INBOX", None)?;
        mailboxes::subscribe(tx, quota, id, "INBOX")?;
    }
    for special_use in SpecialUse::ALL.into_iter().filter(|_| is_new) {
        mailboxes::create(tx, quota, id, special_use.mailbox_name(), Some(special_use))?;
        mailboxes::subscribe(tx, quota, id, special_use.mailbox_name())?;
    }
    Ok(())
}

/// Removes an account whose creation failed.
pub(super) fn remove(state: &mut State, account: &Account) {
    state.account_names.remove(&account.name.to_ascii_lowercase());
    if let Some(removed) = state.accounts.remove(&account.id) {
        for id in removed.names.into_values() {
            let messages = state.mailboxes.remove(&id).map(|mailbox| mailbox.messages).unwrap_or_default();
            for (uid, entry) in messages {
                state.release(account.id, id, uid, &entry);
            }
        }
    }
}

fn load_mailbox(
    state: &mut State,
    account: AccountId,
    mut header: StoredMailbox,
    messages: Vec<StoredMessage>,
) -> Result<()> {
    header.name = canonical(&header.name)?;
    let id = header.id;
    if state.mailboxes.contains_key(&id) || state.account(account)?.names.contains_key(&header.name) {
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
        0 => header.uid_validity = mailboxes::next_uid_validity(state, account)?,
        known => {
            let last = &mut state.account_mut(account)?.last_uid_validity;
            *last = known.max(*last);
        }
    }
    state.last_mailbox = state.last_mailbox.max(id.0);
    state.account_mut(account)?.names.insert(header.name.clone(), id);
    state.mailboxes.insert(id, MailboxState::new(account, header));
    messages.into_iter().try_for_each(|message| load_message(state, id, message))
}

fn load_message(state: &mut State, mailbox: MailboxId, message: StoredMessage) -> Result<()> {
    let StoredMessage { uid, modseq, flags, internal_date, size, content } = message;
    let known = state.first_use(content).and_then(|(mailbox, uid)| {
        Some(Arc::clone(&state.mailboxes.get(&mailbox)?.messages.get(&uid)?.content))
    });
    let found = state.mailbox_mut(mailbox)?;
    if uid == 0 || found.messages.contains_key(&uid) {
        return Err(Error::Corrupt("the UIDs of a mailbox"));
    }
    let modseq = modseq.clamp(1, found.header.highest_modseq);
    let flags = found.intern(&flags)?;
    let content = known.unwrap_or_else(|| Arc::new(Content::new(content, size)));
    state.insert(mailbox, uid, Entry { modseq, flags, internal_date, content });
    Ok(())
}

pub(super) fn find<'s>(state: &'s State, name: &str) -> Option<&'s AccountState> {
    state.accounts.get(state.account_names.get(&name.to_ascii_lowercase())?)
}

impl AccountState {
    pub(super) fn stored(&self) -> StoredAccount {
        StoredAccount {
            account: self.account.clone(),
            verifier: self.verifier.clone(),
            has_keys: !self.keys.is_empty(),
        }
    }
}
