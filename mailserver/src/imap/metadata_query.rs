//! Which entries of metadata a GETMETADATA returns (RFC 5464 §4.2), page by page.

use std::sync::Arc;

use io_common::Slice;
use mailstore::{AccountId, Annotated, METADATA_ENTRY_LIMIT, MetadataEntry, Rights, Store};
use proto_imap::server::Reply;
use proto_imap::types::MetadataDepth;

use super::mailbox_access::{MailboxAccess, is_shared_entry};

/// The maximum number of entries that one command names.
pub(super) const ENTRIES_PER_COMMAND: usize = METADATA_ENTRY_LIMIT as usize;

/// A page is complete at this many bytes of names and values.
const PAGE_BYTES: usize = 64 * 1024;

/// What a GETMETADATA requests.
pub(super) struct MetadataQuery {
    pub(super) account: AccountId,
    /// The mailbox; empty for the server.
    pub(super) mailbox: String,
    /// The names of the entries, in lower case.
    pub(super) entries: Vec<String>,
    pub(super) depth: MetadataDepth,
    pub(super) max_size: u64,
}

/// A GETMETADATA whose response is being written.
pub(super) struct MetadataInProgress {
    pub(super) reply: Reply,
    pub(super) query: Arc<MetadataQuery>,
    pub(super) position: MetadataPosition,
}

/// The position at which the next page starts.
#[derive(Debug, Clone, Default)]
pub(super) struct MetadataPosition {
    /// The index of the named entry that is read next.
    pub(super) entry: usize,
    /// The name at which to continue below that entry. `None`: with the entry itself.
    below: Option<String>,
    /// Whether something was found for that entry.
    found: bool,
    /// The length of the longest value that was left out, in bytes.
    pub(super) longest: u64,
}

/// One page of the response.
pub(super) struct MetadataPage {
    /// The name of the mailbox; empty for the server.
    pub(super) mailbox: String,
    pub(super) entries: Vec<(String, Option<Vec<u8>>)>,
    pub(super) position: MetadataPosition,
}

impl MetadataQuery {
    /// Reads the entries after a position, as many as fit in a page and a slice. Reads at least one.
    pub(super) fn page(
        &self,
        store: &dyn Store,
        mut position: MetadataPosition,
        slice: &Slice,
    ) -> mailstore::Result<MetadataPage> {
        let Metadata { of, owner, name: mailbox } =
            Metadata::find(store, self.account, &self.mailbox, Rights::READ)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(name) = self.entries.get(position.entry) {
            let (start, end) = match &position.below {
                None => (name.clone(), format!("{name}\0")),
                Some(start) => (start.clone(), format!("{}0", name)),
            };
            let read = store.metadata_page(owner, of, &*start..&*end, self.max_size)?;
            for entry in read.entries.into_iter().filter(|entry| {
                self.is_selected(name, &entry.name) && (owner == self.account || is_shared_entry(&entry.name))
            }) {
                position.found = true;
                let MetadataEntry { name, size, value, .. } = entry;
                match value {
                    Some(value) => {
                        bytes += name.len() + value.len();
                        entries.push((name, Some(value)));
                    }
                    None => position.longest = position.longest.max(size),
                }
            }
            self.advance(&mut position, read.next, &mut entries);
            if bytes >= PAGE_BYTES || entries.len() >= ENTRIES_PER_COMMAND || slice.is_over() {
                break;
            }
        }
        Ok(MetadataPage { mailbox, entries, position })
    }

    /// Returns whether an entry that was read for the entry `named` is close enough to it.
    fn is_selected(&self, named: &str, found: &str) -> bool {
        let below = found.strip_prefix(named).unwrap_or_default();
        self.depth != MetadataDepth::One || below.matches('/').count() <= 1
    }

    /// Moves to what is read next. Without DEPTH, a named entry that does not exist is reported as `NIL`; with DEPTH, only
    /// what exists is (RFC 5464 §4.2.2).
    fn advance(
        &self,
        position: &mut MetadataPosition,
        next: Option<String>,
        entries: &mut Vec<(String, Option<Vec<u8>>)>,
    ) {
        let Some(name) = self.entries.get(position.entry) else { return };
        let first_below = || format!("{}/", name);
        let is_at_entry = position.below.is_none();
        match next {
            Some(next) => position.below = Some(next),
            None if is_at_entry && self.depth != MetadataDepth::Zero => position.below = Some(first_below()),
            None => {
                if !position.found && self.depth == MetadataDepth::Zero {
                    entries.push((name.clone(), None));
                }
                position.entry += 1;
                (position.below, position.found) = (None, false);
            }
        }
    }
}

/// What a command on metadata is about.
pub(super) struct Metadata {
    pub(super) of: Annotated,
    pub(super) owner: AccountId,
    /// The name of the mailbox; empty for the server.
    pub(super) name: String,
}

impl Metadata {
    /// Finds what an account means: a mailbox to which it has these rights, or the server for an empty name.
    pub(super) fn find(
        store: &dyn Store,
        account: AccountId,
        mailbox: &str,
        needed: Rights,
    ) -> mailstore::Result<Self> {
        if mailbox.is_empty() {
            return Ok(Self { of: Annotated::Server, owner: account, name: String::new() });
        }
        let found = MailboxAccess::new(account).find(store, mailbox, needed)?;
        let name = if found.owner == account { mailbox.to_owned() } else { found.mailbox.name };
        Ok(Self { of: Annotated::Mailbox(found.mailbox.id), owner: found.owner, name })
    }
}
