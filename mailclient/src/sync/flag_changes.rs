//! Applies the server's flags to local messages.

use std::collections::BTreeMap;

use mailstore::{Columns, Flags, MailboxId, RemoteMailboxId, StoreMode, SyncStore, UidSet};
use proto_imap::types::FlagList;

use crate::error::Error;

/// How many messages one batch has.
pub(super) const BATCH: usize = 500;
/// A batch ends when its keywords have this many bytes.
const BATCH_BYTES: usize = 256 * 1024;

/// The flags of messages on the server, by UID.
#[derive(Debug, Default)]
pub(super) struct FlagBatch {
    messages: BTreeMap<u32, Flags>,
    keyword_bytes: usize,
}

impl FlagBatch {
    /// Adds a message. Its last flags count.
    pub(super) fn add(&mut self, uid: u32, flags: Flags) {
        self.keyword_bytes += flags.keywords().iter().map(|keyword| keyword.len() + 32).sum::<usize>();
        self.messages.insert(uid, flags);
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= BATCH || self.keyword_bytes >= BATCH_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Changes the flags of the local messages that differ. Returns how many differ. In a dry run it changes nothing.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn apply(
        self,
        store: &dyn SyncStore,
        (remote, mailbox): (RemoteMailboxId, MailboxId),
        is_dry_run: bool,
    ) -> Result<u64, Error> {
        let uids: UidSet = self.messages.keys().copied().collect();
        let records = store.import_records(remote, &uids, self.messages.len())?;
        let wanted: BTreeMap<u32, &Flags> = records
            .iter()
            .filter_map(|record| Some((record.local_uid, self.messages.get(&record.uid)?)))
            .collect();
        let mut left: UidSet = wanted.keys().copied().collect();
        // Messages that get the same flags are changed together.
        let mut changes: BTreeMap<String, (Flags, Vec<u32>)> = BTreeMap::new();
        loop {
            let page = match store.fetch_page(mailbox, &left, Columns::summary(), BATCH) {
                // The mailbox was deleted here.
                Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => break,
                page => page?,
            };
            for message in &page.messages {
                if let Some(flags) = wanted.get(&message.uid)
                    && !are_equal(flags, &message.flags)
                {
                    let change = changes.entry(flags.to_string()).or_default();
                    change.0.clone_from(flags);
                    change.1.push(message.uid);
                }
            }
            match page.next {
                Some(next) => left = left.starting_at(next),
                None => break,
            }
        }
        let count = changes.values().map(|(_, uids)| uids.len() as u64).sum();
        if !is_dry_run {
            for (flags, uids) in changes.into_values() {
                replace(store, mailbox, &flags, &uids.into_iter().collect())?;
            }
        }
        Ok(count)
    }
}

/// Replaces the flags of messages. If the store does not take more keywords, only those that it has are set.
fn replace(
    store: &dyn SyncStore,
    mailbox: MailboxId,
    flags: &Flags,
    uids: &UidSet,
) -> Result<(), mailstore::Error> {
    let mut left = uids.clone();
    let mut flags = flags.clone();
    let mut is_reduced = false;
    while !left.is_empty() {
        match store.store_flags(mailbox, &left, StoreMode::Replace, &flags, None, BATCH) {
            Ok(stored) => match stored.next {
                Some(next) => left = left.starting_at(next),
                None => return Ok(()),
            },
            Err(mailstore::Error::Limit(_) | mailstore::Error::OverQuota { .. }) if !is_reduced => {
                is_reduced = true;
                let known = store.keywords(mailbox)?.names;
                let mut reduced = Flags::system(flags.system_bits());
                for keyword in flags.keywords() {
                    if known.iter().any(|name| name.eq_ignore_ascii_case(keyword)) {
                        reduced.insert(keyword)?;
                    }
                }
                flags = reduced;
            }
            Err(mailstore::Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether two sets have the same flags. The order and case of keywords do not count.
fn are_equal(a: &Flags, b: &Flags) -> bool {
    a.system_bits() == b.system_bits()
        && a.keywords().len() == b.keywords().len()
        && a.keywords().iter().all(|keyword| b.contains_keyword(keyword))
}

/// Returns the flags that the store supports, and drops the others.
pub(super) fn local_flags(list: &FlagList<'_>) -> Flags {
    let mut flags = Flags::new();
    for flag in list.iter() {
        let name = String::from_utf8_lossy(flag.name()).into_owned();
        let name = if flag.has_backslash() { format!("\\{name}") } else { name };
        if !name.eq_ignore_ascii_case("\\Recent") {
            let _ = flags.insert(&name);
        }
    }
    flags
}
