//! Callbacks that a caller gives to a store.

use crate::lock::lock;
use crate::metadata::Annotated;
use crate::types::{AccountId, Change, LoginKeys, MailboxId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// A function that the store calls after a mailbox changed, once the change is durable. It runs on the thread that made
/// the change, so it should only wake another thread or set a flag.
pub type ChangeCallback = dyn Fn(Change) + Send + Sync;

/// Keeps a [`ChangeCallback`] registered. The store stops calling it when this is dropped.
pub struct ChangeSubscription(
    #[allow(dead_code, reason = "owned to keep the callback alive")] pub(crate) Arc<ChangeCallback>,
);

impl std::fmt::Debug for ChangeSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangeSubscription")
    }
}

/// A change of an account that is reported to clients without a selected mailbox, too (RFC 5465).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountChange {
    /// Messages of a mailbox were added or removed.
    Messages(MailboxId),
    /// Messages of a mailbox have other flags.
    Flags(MailboxId),
    /// A mailbox was created, or a `\Noselect` one can be selected again. The text is its name.
    Created(String),
    /// The mailbox of this name was deleted.
    Deleted(String),
    /// A mailbox was renamed, and with it the mailboxes below it.
    Renamed {
        /// Its name before.
        from: String,
        /// Its name now.
        to: String,
    },
    /// A name was subscribed to.
    Subscribed(String),
    /// A subscription was removed.
    Unsubscribed(String),
    /// Entries with these names were set or removed.
    Metadata(Annotated, Vec<String>),
}

/// A function that the store calls after a change of an account, once the change is durable. It runs on the thread that
/// made the change, so it should only wake another thread or record the change.
pub type AccountChangeCallback = dyn Fn(AccountId, &AccountChange) + Send + Sync;

/// Keeps an [`AccountChangeCallback`] registered. The store stops calling it when this is dropped.
pub struct AccountChangeSubscription(
    #[allow(dead_code, reason = "owned to keep the callback alive")] pub(crate) Arc<AccountChangeCallback>,
);

impl std::fmt::Debug for AccountChangeSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountChangeSubscription")
    }
}

/// The callbacks of a store.
#[derive(Default)]
pub(crate) struct Subscribers {
    mailboxes: Mutex<Vec<Weak<ChangeCallback>>>,
    accounts: Mutex<Vec<Weak<AccountChangeCallback>>>,
}

impl Subscribers {
    pub(crate) fn add(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription {
        lock(&self.mailboxes).push(Arc::downgrade(&callback));
        ChangeSubscription(callback)
    }

    pub(crate) fn add_for_accounts(&self, callback: Arc<AccountChangeCallback>) -> AccountChangeSubscription {
        lock(&self.accounts).push(Arc::downgrade(&callback));
        AccountChangeSubscription(callback)
    }

    /// Reports the changed mailboxes with their mod-sequences, and the changes of accounts.
    pub(crate) fn call(
        &self,
        changed: &BTreeMap<MailboxId, u64>,
        of_accounts: &[(AccountId, AccountChange)],
    ) {
        if !changed.is_empty() {
            let callbacks = registered(&self.mailboxes);
            for (&mailbox, &modseq) in changed {
                callbacks.iter().for_each(|callback| callback(Change { mailbox, modseq }));
            }
        }
        if !of_accounts.is_empty() {
            let callbacks = registered(&self.accounts);
            for (account, change) in of_accounts {
                callbacks.iter().for_each(|callback| callback(*account, change));
            }
        }
    }
}

/// Returns the callbacks that are still registered, and forgets the others.
fn registered<T: ?Sized>(callbacks: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    let mut callbacks = lock(callbacks);
    callbacks.retain(|callback| callback.strong_count() > 0);
    callbacks.iter().filter_map(Weak::upgrade).collect()
}

/// A function that derives login keys from a password, for mechanisms that never send the password (SCRAM, RFC 5802).
/// It returns at most one entry of each kind, and may return none. The store keeps the texts and does not read them. Default:
/// [`scram_keys::derive`](crate::scram_keys::derive).
pub type KeyMaker = dyn Fn(&[u8]) -> Vec<LoginKeys> + Send + Sync;
