//! Compares the server's folders with the recorded ones: which are new, renamed, gone or unchanged. Renames local
//! mailboxes, and sets subscriptions and special uses.
//!
//! A renamed folder is recognised by its MAILBOXID (RFC 8474). Without one it is recognised by its UIDVALIDITY, if no
//! other folder of the account has the same value: some servers give all folders the same. Otherwise the folder counts
//! as a new one, and its messages are fetched again.

use std::collections::{BTreeMap, HashMap, HashSet};

use mailstore::{AccountId, Mailbox, MailboxId, RemoteAccountId, RemoteFolder, SpecialUse, SyncStore};

use super::account_listing::{AccountListing, FolderStatus, ListedFolder};
use super::local_mailboxes::{hide_parents, missing_parents, preferred_name, unique_names};
use crate::error::{Error, ErrorKind, Hint};
use crate::folder::Folder;

/// The most folders whose STATUS is requested to recognise renamed ones.
const MAX_STATUS: usize = 100;

/// What to compare, and how.
#[derive(Debug)]
pub(super) struct FoldersRequest {
    pub(super) account: AccountId,
    pub(super) remote: RemoteAccountId,
    pub(super) listing: AccountListing,
    /// The folders to sync, by name; all if empty.
    pub(super) wanted: Vec<String>,
    pub(super) is_dry_run: bool,
    /// Whether STATUS was requested where LIST told nothing.
    pub(super) has_requested_status: bool,
}

/// A folder to sync.
#[derive(Debug)]
pub(super) struct PlannedFolder {
    pub(super) folder: Folder,
    /// The name of its local mailbox.
    pub(super) name: String,
    /// Its special use, which no other folder has.
    pub(super) special_use: Option<SpecialUse>,
    pub(super) subscribed: Option<bool>,
    pub(super) status: Option<FolderStatus>,
    /// What is recorded of it.
    pub(super) known: Option<RemoteFolder>,
    /// Whether nothing has changed since the last sync.
    pub(super) is_unchanged: bool,
}

impl PlannedFolder {
    /// Returns what is recorded of the folder, unless the record is that of a deleted one.
    pub(super) fn recorded(&self) -> Option<&RemoteFolder> {
        self.known.as_ref().filter(|known| !known.state.is_gone)
    }
}

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct FolderPlan {
    pub(super) folders: Vec<PlannedFolder>,
    /// The recorded folders that the server has no more, and the names of their local mailboxes.
    pub(super) gone: Vec<(RemoteFolder, String)>,
    /// The old and new names of renamed folders, as text.
    pub(super) renamed: Vec<(String, String)>,
    /// The folders that cannot be synced, and why.
    pub(super) failed: Vec<(String, Error)>,
}

/// What follows the comparison.
#[derive(Debug)]
pub(super) enum Planned {
    /// The folders to sync.
    Plan(FolderPlan),
    /// The request must be repeated with the STATUS of these folders, by their positions in the listing.
    NeedsStatus(FoldersRequest, Vec<usize>),
}

impl FoldersRequest {
    /// Compares the folders.
    ///
    /// # Errors
    /// The store failed, or there is no folder of a wanted name.
    pub(super) fn plan(mut self, store: &dyn SyncStore) -> Result<Planned, Error> {
        for wanted in &self.wanted {
            if !self.listing.folders.iter().any(|listed| listed.folder.is_named(wanted)) {
                let error = Error::new(ErrorKind::InvalidInput, format!("there is no folder {wanted}"));
                return Err(error.with_hint(Hint::ListFolders));
            }
        }
        let mut plan = FolderPlan::default();
        self.listing.folders.retain(|listed| listed.folder.selectable);
        let rows = store.remote_folders(self.remote)?;
        let (valid, invalid): (Vec<_>, Vec<_>) =
            self.listing.folders.into_iter().partition(|listed| listed.folder.check_name().is_ok());
        self.listing.folders = valid;
        let matches = Matches::new(&self.listing.folders, &rows);
        if !self.has_requested_status && self.listing.is_complete {
            let unidentified = matches.unidentified(&self.listing.folders, &rows);
            if !unidentified.is_empty() {
                self.listing.folders.extend(invalid);
                return Ok(Planned::NeedsStatus(self, unidentified));
            }
        }
        let is_wanted =
            |folder: &Folder| self.wanted.is_empty() || self.wanted.iter().any(|name| folder.is_named(name));
        for listed in invalid.iter().filter(|listed| is_wanted(&listed.folder)) {
            if let Err(error) = listed.folder.check_name() {
                plan.failed.push((listed.folder.name.clone(), error));
            }
        }
        plan.renamed = self.rename(store, &matches, &rows)?;
        let here = mailboxes(store, self.account)?;
        let names = self.local_names(&matches, &rows, &here);
        if !self.is_dry_run {
            self.set_attributes(store, &matches, &rows, &here)?;
        }
        if self.wanted.is_empty() && self.listing.is_complete {
            plan.gone = gone(&matches, &rows, &here);
        }
        let uses = self.special_uses();
        for (at, ((listed, name), special_use)) in
            self.listing.folders.iter().zip(names).zip(uses).enumerate()
        {
            if !is_wanted(&listed.folder) {
                continue;
            }
            let known = matches.row(at, &rows).cloned();
            let is_unchanged = match (&known, &listed.status) {
                (Some(known), Some(status)) => {
                    here.contains_key(&known.mailbox) && is_unchanged(store, known, status)?
                }
                _ => false,
            };
            let ListedFolder { folder, subscribed, status } = listed.clone();
            plan.folders.push(PlannedFolder {
                folder,
                name,
                special_use,
                subscribed,
                status,
                known,
                is_unchanged,
            });
        }
        Ok(Planned::Plan(plan))
    }

    /// Gives the records of renamed folders their new names, and their local mailboxes if possible.
    fn rename(
        &self,
        store: &dyn SyncStore,
        matches: &Matches,
        rows: &[RemoteFolder],
    ) -> Result<Vec<(String, String)>, Error> {
        let mut renamed: Vec<(&ListedFolder, &RemoteFolder)> = Vec::new();
        for (at, listed) in self.listing.folders.iter().enumerate() {
            if let Some(row) = matches.row(at, rows)
                && row.name != listed.folder.key()
            {
                renamed.push((listed, row));
            }
        }
        let shown = renamed.iter().map(|(listed, row)| (shown_name(&row.name), listed.folder.name.clone()));
        let shown = shown.collect();
        if renamed.is_empty() || self.is_dry_run {
            return Ok(shown);
        }
        // Parents first: their children are renamed with them.
        renamed.sort_by_key(|(listed, _)| listed.folder.wire_name.len());
        let mut here = mailboxes(store, self.account)?;
        let leaving: HashSet<MailboxId> = matches
            .unmatched(rows)
            .chain(renamed.iter().map(|(_, row)| *row))
            .map(|row| row.mailbox)
            .collect();
        for (listed, _) in &renamed {
            let wanted = preferred_name(&listed.folder);
            if let Some(other) =
                here.values().find(|other| other.name == wanted && leaving.contains(&other.id))
            {
                self.make_room(store, &other.name, &here)?;
                here = mailboxes(store, self.account)?;
            }
        }
        for (listed, row) in &renamed {
            let Some(mailbox) = here.get(&row.mailbox) else { continue };
            let wanted = preferred_name(&listed.folder);
            if mailbox.name == wanted || mailbox.name == "INBOX" {
                continue;
            }
            let parents = missing_parents(store, self.account, &wanted)?;
            match store.rename_mailbox(self.account, &mailbox.name, &wanted) {
                Ok(()) => {
                    hide_parents(store, self.account, &parents)?;
                    here = mailboxes(store, self.account)?;
                }
                // The mailbox keeps its name.
                Err(
                    mailstore::Error::Exists(_)
                    | mailstore::Error::InvalidName(_)
                    | mailstore::Error::Limit(_)
                    | mailstore::Error::Refused(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let names: Vec<_> = renamed.iter().map(|(listed, row)| (row.id, listed.folder.key())).collect();
        store.rename_remote_mailboxes(self.remote, &names)?;
        Ok(shown)
    }

    /// Gives another name to a local mailbox that leaves its name anyway, or whose folder is gone.
    fn make_room(
        &self,
        store: &dyn SyncStore,
        name: &str,
        here: &BTreeMap<MailboxId, Mailbox>,
    ) -> Result<(), Error> {
        let is_free = |name: &String| here.values().all(|mailbox| mailbox.name != *name);
        let Some(free) = (2..=1000).map(|number| format!("{name} ({number})")).find(is_free) else {
            return Ok(());
        };
        match store.rename_mailbox(self.account, name, &free) {
            Err(error @ (mailstore::Error::Database(_) | mailstore::Error::Busy)) => Err(error.into()),
            // The other mailbox keeps its name then.
            _ => Ok(()),
        }
    }

    /// Returns the local name of each folder: the present one, or a new one.
    fn local_names(
        &self,
        matches: &Matches,
        rows: &[RemoteFolder],
        here: &BTreeMap<MailboxId, Mailbox>,
    ) -> Vec<String> {
        let mut kept = HashMap::new();
        for (at, listed) in self.listing.folders.iter().enumerate() {
            if let Some(mailbox) = matches.row(at, rows).and_then(|row| here.get(&row.mailbox)) {
                kept.insert(listed.folder.key(), mailbox.name.clone());
            }
        }
        // A folder that is gone keeps its local mailbox, under `RemovalPolicy::Never`.
        let others = matches.unmatched(rows).filter_map(|row| here.get(&row.mailbox));
        let others: Vec<String> = others.map(|mailbox| mailbox.name.clone()).collect();
        let folders: Vec<Folder> = self.listing.folders.iter().map(|listed| listed.folder.clone()).collect();
        unique_names(&folders, &kept, &others)
    }

    /// Sets the special uses and subscriptions of the local mailboxes as on the server.
    fn set_attributes(
        &self,
        store: &dyn SyncStore,
        matches: &Matches,
        rows: &[RemoteFolder],
        here: &BTreeMap<MailboxId, Mailbox>,
    ) -> Result<(), Error> {
        let mut wanted: BTreeMap<MailboxId, Option<SpecialUse>> = BTreeMap::new();
        let uses = self.special_uses();
        for (at, (listed, special_use)) in self.listing.folders.iter().zip(&uses).enumerate() {
            let Some(mailbox) = matches.row(at, rows).and_then(|row| here.get(&row.mailbox)) else {
                continue;
            };
            wanted.insert(mailbox.id, *special_use);
            set_subscription(store, self.account, mailbox, listed.subscribed)?;
        }
        if !self.listing.has_special_use {
            return Ok(());
        }
        // First all that have a use of another one lose it.
        for mailbox in here.values().filter(|mailbox| mailbox.special_use.is_some()) {
            let is_taken = wanted.values().any(|special_use| *special_use == mailbox.special_use);
            if wanted.get(&mailbox.id).map_or(is_taken, |special_use| *special_use != mailbox.special_use) {
                store.set_special_use(mailbox.id, None)?;
            }
        }
        for (mailbox, special_use) in wanted {
            let has = here.get(&mailbox).and_then(|mailbox| mailbox.special_use);
            if special_use.is_some() && special_use != has {
                store.set_special_use(mailbox, special_use)?;
            }
        }
        Ok(())
    }

    /// Returns the special use of each folder. If two folders have the same one, the first counts.
    fn special_uses(&self) -> Vec<Option<SpecialUse>> {
        let mut taken = HashSet::new();
        let of = |listed: &ListedFolder| {
            let attribute = listed.folder.special_use.as_deref()?;
            SpecialUse::from_attribute(attribute).filter(|found| taken.insert(found.attribute()))
        };
        self.listing.folders.iter().map(of).collect()
    }
}

/// Which recorded folder each listed one is.
struct Matches {
    /// By the position of the listed folder: the position of the record.
    by_folder: Vec<Option<usize>>,
    is_matched: Vec<bool>,
}

impl Matches {
    fn new(listed: &[ListedFolder], rows: &[RemoteFolder]) -> Self {
        let mut matches = Self { by_folder: vec![None; listed.len()], is_matched: vec![false; rows.len()] };
        let mut by_id: HashMap<&str, usize> = HashMap::new();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            by_name.insert(&row.name, at);
            if let Some(id) = row.state.object_id.as_deref().filter(|_| row.name != "INBOX") {
                by_id.insert(id, at);
            }
        }
        // RENAME of INBOX leaves INBOX there: it is never another folder.
        for (at, one) in listed.iter().enumerate().filter(|(_, one)| !one.folder.is_inbox()) {
            let id = one.status.as_ref().and_then(|status| status.object_id.as_deref());
            if let Some(row) = id.and_then(|id| by_id.get(id)) {
                matches.set(at, *row);
            }
        }
        for (at, one) in listed.iter().enumerate() {
            if let Some(row) = by_name.get(one.folder.key().as_str()) {
                matches.set(at, *row);
            }
        }
        matches.match_uid_validity(listed, rows);
        matches
    }

    /// Matches the rest by UIDVALIDITY.
    fn match_uid_validity(&mut self, listed: &[ListedFolder], rows: &[RemoteFolder]) {
        let mut of_rows: HashMap<u32, usize> = HashMap::new();
        rows.iter().for_each(|row| *of_rows.entry(row.uid_validity).or_default() += 1);
        let mut of_folders: HashMap<u32, usize> = HashMap::new();
        let statuses = listed.iter().filter_map(|one| one.status.as_ref());
        statuses.for_each(|status| *of_folders.entry(status.uid_validity).or_default() += 1);
        for (at, one) in listed.iter().enumerate() {
            let (None, Some(status)) = (self.by_folder.get(at).copied().flatten(), &one.status) else {
                continue;
            };
            let validity = status.uid_validity;
            let is_unique = of_rows.get(&validity) == Some(&1) && of_folders.get(&validity) == Some(&1);
            // With one folder alone, nothing shows that the server gives each folder another value.
            if validity == 0 || !is_unique || of_rows.len() < 2 || one.folder.is_inbox() {
                continue;
            }
            let found = rows.iter().position(|row| {
                let other_id = row.state.object_id.is_some() && status.object_id.is_some();
                row.uid_validity == validity
                    && row.name != "INBOX"
                    && !row.state.is_gone
                    && !other_id
                    && status.uid_next >= row.state.uid_next
            });
            if let Some(row) = found {
                self.set(at, row);
            }
        }
    }

    fn set(&mut self, folder: usize, row: usize) {
        if let (Some(by_folder @ None), Some(is_matched @ false)) =
            (self.by_folder.get_mut(folder), self.is_matched.get_mut(row))
        {
            (*by_folder, *is_matched) = (Some(row), true);
        }
    }

    fn row<'r>(&self, folder: usize, rows: &'r [RemoteFolder]) -> Option<&'r RemoteFolder> {
        self.by_folder.get(folder).copied().flatten().and_then(|row| rows.get(row))
    }

    fn unmatched<'r>(&'r self, rows: &'r [RemoteFolder]) -> impl Iterator<Item = &'r RemoteFolder> {
        rows.iter().zip(&self.is_matched).filter(|(_, is_matched)| !**is_matched).map(|(row, _)| row)
    }

    /// Returns the new folders whose STATUS may show that they are renamed ones.
    fn unidentified(&self, listed: &[ListedFolder], rows: &[RemoteFolder]) -> Vec<usize> {
        if self.unmatched(rows).all(|row| row.state.is_gone) {
            return Vec::new();
        }
        let new = listed
            .iter()
            .enumerate()
            .filter(|(at, one)| one.status.is_none() && self.by_folder.get(*at).copied().flatten().is_none());
        new.map(|(at, _)| at).take(MAX_STATUS).collect()
    }
}

/// Returns the recorded folders that the server has no more.
fn gone(
    matches: &Matches,
    rows: &[RemoteFolder],
    here: &BTreeMap<MailboxId, Mailbox>,
) -> Vec<(RemoteFolder, String)> {
    let gone = matches.unmatched(rows).filter(|row| !row.state.is_gone);
    gone.map(|row| {
        let name = here.get(&row.mailbox).map(|mailbox| mailbox.name.clone());
        (row.clone(), name.unwrap_or_default())
    })
    .collect()
}

fn mailboxes(store: &dyn SyncStore, account: AccountId) -> Result<BTreeMap<MailboxId, Mailbox>, Error> {
    let listed = store.list(account)?.into_iter().filter(|mailbox| !mailbox.no_select);
    Ok(listed.map(|mailbox| (mailbox.id, mailbox)).collect())
}

/// Returns whether the folder is as the last sync left it.
fn is_unchanged(store: &dyn SyncStore, known: &RemoteFolder, status: &FolderStatus) -> Result<bool, Error> {
    let state = &known.state;
    Ok(status.highest_mod_seq != 0
        && status.uid_next != 0
        && state.highest_modseq == status.highest_mod_seq
        && state.uid_next == status.uid_next
        && state.messages == status.messages
        && known.uid_validity == status.uid_validity
        && state.object_id == status.object_id
        && !state.is_gone
        && store.unfetched(known.id)?.is_empty())
}

/// Returns a record's name for people.
fn shown_name(key: &str) -> String {
    use proto_imap::types::{MailboxName, NameEncoding};
    MailboxName::from_bytes(key.trim_start_matches('\0').as_bytes())
        .to_str_lossy(NameEncoding::ModifiedUtf7)
        .into_owned()
}

/// Gives a new mailbox its special use, and takes it from the one that has it.
pub(super) fn claim_special_use(
    store: &dyn SyncStore,
    account: AccountId,
    mailbox: MailboxId,
    special_use: SpecialUse,
) -> Result<(), mailstore::Error> {
    let all = store.list(account)?;
    for other in all.iter().filter(|other| other.special_use == Some(special_use) && other.id != mailbox) {
        store.set_special_use(other.id, None)?;
    }
    store.set_special_use(mailbox, Some(special_use))
}

/// Subscribes to a local mailbox or removes its subscription. A store that can't is left as it is.
pub(super) fn set_subscription(
    store: &dyn SyncStore,
    account: AccountId,
    mailbox: &Mailbox,
    wanted: Option<bool>,
) -> Result<(), mailstore::Error> {
    let done = match wanted {
        Some(true) if !mailbox.subscribed => store.subscribe(account, &mailbox.name),
        Some(false) if mailbox.subscribed => store.unsubscribe(account, &mailbox.name),
        _ => Ok(()),
    };
    match done {
        Err(mailstore::Error::Refused(_) | mailstore::Error::OverQuota { .. }) => Ok(()),
        done => done,
    }
}
