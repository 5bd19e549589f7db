//! The types of [`SyncStore`](crate::SyncStore): messages and mailboxes of other servers, and what is recorded of them.

use crate::content::Upload;
use crate::flags::Flags;
use crate::types::{InternalDate, MailboxId, RemoteAccountId, RemoteMailboxId};

/// A message that was fetched from a remote mailbox.
#[derive(Debug)]
pub struct RemoteMessage {
    /// Its UID on the remote server.
    pub uid: u32,
    /// The complete message.
    pub upload: Upload,
    /// Its flags on the remote server.
    pub flags: Flags,
    /// Its internal date on the remote server.
    pub internal_date: InternalDate,
}

/// The outcome of importing a [`RemoteMessage`], with the local UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The message was new and has been appended.
    Imported(u32),
    /// A message with the same bytes was imported under an earlier UIDVALIDITY and still exists.
    Duplicate(u32),
    /// This remote UID was already recorded.
    Known(u32),
}

/// A remote account and the result of its last sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAccount {
    /// Its identifier.
    pub id: RemoteAccountId,
    /// Its key: a URL without a password.
    pub url_key: String,
    /// When the last sync ended, in seconds since 1970.
    pub last_sync_at: Option<i64>,
    /// How the last sync ended: a word chosen by the caller.
    pub status: Option<String>,
    /// Why the last sync failed: a text chosen by the caller.
    pub error: Option<String>,
}

/// A remote mailbox and the local mailbox that its messages go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMailbox {
    /// Its identifier.
    pub id: RemoteMailboxId,
    /// The local mailbox.
    pub mailbox: MailboxId,
    /// The current UIDVALIDITY of the remote mailbox.
    pub uid_validity: u32,
    /// The number of messages recorded under this UIDVALIDITY.
    pub known: u32,
}

/// What is recorded of a remote mailbox after a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteState {
    /// Its MAILBOXID (RFC 8474 §4.1), if the server has them.
    pub object_id: Option<String>,
    /// The mod-sequence up to which all changes are applied (RFC 7162), below 2⁶³. 0 if it is not known.
    pub highest_modseq: u64,
    /// Its UIDNEXT. 0 if it is not known.
    pub uid_next: u32,
    /// The number of its messages.
    pub messages: u32,
    /// Whether the remote server has deleted it, and the local mailbox was kept.
    pub is_gone: bool,
}

/// A remote mailbox: its name, its local mailbox, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFolder {
    /// Its identifier.
    pub id: RemoteMailboxId,
    /// Its name.
    pub name: String,
    /// The local mailbox, which may have been deleted.
    pub mailbox: MailboxId,
    /// The UIDVALIDITY of the remote mailbox.
    pub uid_validity: u32,
    /// Its state after the last sync.
    pub state: RemoteState,
}

/// The record of an imported message: which remote message became which local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportRecord {
    /// The UIDVALIDITY of the remote mailbox.
    pub uid_validity: u32,
    /// The remote UID.
    pub uid: u32,
    /// The local UID. The local message may have been removed.
    pub local_uid: u32,
}
