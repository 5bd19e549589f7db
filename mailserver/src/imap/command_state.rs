//! The state of the commands that take more than one step, and the variants of commands that share an implementation.
//!
//! See the file of each command for how its state advances.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use io_common::Next;
use mailstore::{AccountId, Error, Flags, KeywordsInUse, MailboxId, Message, StoreMode, UidSet};
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::server::Reply;
use proto_imap::types::{NumberKind, StoreResponse};

use super::fetch_items::FetchRequest;
use super::fetch_producer::{BecameSeen, FetchProducer, Piece};
use super::list_query::{ListPosition, ListQuery};
use super::message_url::UrlContents;
use super::translate::Recency;
use super::url_reader::RequestedUrl;

/// A FETCH whose response is being written.
pub(super) struct FetchInProgress {
    pub(super) end: FetchEnd,
    pub(super) request: Arc<FetchRequest>,
    /// `None` while it is on a worker.
    pub(super) producer: Option<Box<FetchProducer>>,
    pub(super) pieces: VecDeque<Piece>,
    /// Whether the producer has no more pieces.
    pub(super) complete: bool,
    /// The message being written. `None` before the first message, and for a message that is not in this session's
    /// view.
    pub(super) message: Option<MessageWriter>,
    pub(super) state: FetchState,
    /// Whether a section could not be decoded.
    pub(super) undecodable: bool,
}

impl FetchInProgress {
    /// Starts a FETCH of these messages.
    pub(super) fn new(
        end: FetchEnd,
        ((mailbox, keywords), uids): ((MailboxId, u32), &UidSet),
        request: FetchRequest,
        changed_since: Option<u64>,
    ) -> Box<Self> {
        let request = Arc::new(request);
        let producer = FetchProducer::new(mailbox, uids, Arc::clone(&request), changed_since, keywords);
        Box::new(Self {
            end,
            request,
            producer: Some(Box::new(producer)),
            pieces: VecDeque::new(),
            complete: false,
            message: None,
            state: FetchState::Waiting,
            undecodable: false,
        })
    }

    pub(super) const fn next_while_waiting(&self) -> Next {
        match (self.state, &self.end) {
            (FetchState::Full, _) => Next::More,
            (FetchState::Waiting, FetchEnd::Reply(_) | FetchEnd::Select(_)) => Next::Continue,
            // The client's next command waits.
            (FetchState::Waiting, FetchEnd::NewMessages) => Next::Pause,
        }
    }
}

/// What follows the last response of a FETCH.
pub(super) enum FetchEnd {
    /// The tagged response.
    Reply(Reply),
    /// The tagged response to SELECT or EXAMINE with QRESYNC.
    Select(Reply),
    /// What the session keeps for after it: new messages are reported without a command (NOTIFY).
    NewMessages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchState {
    /// Waiting for pieces from a worker.
    Waiting,
    /// Waiting for the client to read, or for other sessions to take their turn.
    Full,
}

/// A partially written message.
pub(super) struct MessageWriter {
    pub(super) message: Arc<Message>,
    pub(super) became_seen: BecameSeen,
    pub(super) sequence: u32,
    pub(super) recency: Recency,
    /// The index of the next item.
    pub(super) item: usize,
    pub(super) is_finished: bool,
}

/// A STORE whose responses are being written.
pub(super) struct StoreInProgress {
    pub(super) reply: Reply,
    pub(super) job: StoreJob,
    pub(super) page: std::vec::IntoIter<StoredMessageFlags>,
}

/// The remaining work of a STORE, and its results so far.
pub(super) struct StoreJob {
    pub(super) mailbox: MailboxId,
    pub(super) remaining: UidSet,
    pub(super) mode: StoreMode,
    pub(super) flags: Flags,
    pub(super) unchanged_since: Option<u64>,
    pub(super) form: StoreForm,
    pub(super) known_keywords: u32,
    /// The messages that UNCHANGEDSINCE excluded (MODIFIED).
    pub(super) modified: UidBitmap,
    /// The mod-sequences of changes that are not yet recorded as the session's own.
    pub(super) own: Vec<u64>,
    pub(super) keywords: Option<KeywordsInUse>,
    /// Changes up to this mod-sequence and UID were reported to the client before.
    pub(super) told: (u64, u32),
    pub(super) page: Vec<StoredMessageFlags>,
}

/// A message of a STORE whose response is to be written.
pub(super) struct StoredMessageFlags {
    pub(super) uid: u32,
    pub(super) modseq: u64,
    pub(super) flags: Flags,
    /// The mod-sequence before the change; `None` if the message had these flags already.
    pub(super) previous_modseq: Option<u64>,
}

/// What a STORE sends for each message: its flags, its mod-sequence, both or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreForm {
    pub(super) answer: StoreResponse,
    pub(super) numbering: NumberKind,
    pub(super) modseq: bool,
}

/// The untagged COPYUID responses that are being written.
pub(super) struct CopyUidInProgress {
    pub(super) reply: Reply,
    pub(super) uid_validity: u32,
    pub(super) source: UidBitmap,
    pub(super) target: UidBitmap,
    pub(super) outcome: TransferOutcome,
}

/// The outcome of a COPY or MOVE.
pub(super) enum TransferOutcome {
    Copied,
    Moved,
    Renamed,
    Failed(Error),
}

/// Whether messages are copied or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Copy,
    Move,
    /// Moves all messages of INBOX when it is renamed. Sends no COPYUID.
    Rename,
}

/// A LIST whose response is being written.
pub(super) struct ListInProgress {
    pub(super) account: AccountId,
    pub(super) reply: Reply,
    pub(super) query: Arc<ListQuery>,
    pub(super) position: ListPosition,
}

/// An IDLE command in progress.
pub(super) struct IdleInProgress {
    pub(super) reply: Reply,
    /// Whether the client has sent DONE.
    pub(super) done: bool,
    /// The earliest time of the next read.
    pub(super) next: Option<Instant>,
}

/// Whether a name is added to the subscriptions or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscription {
    Add,
    Remove,
}

/// A URLFETCH whose answers are being written.
pub(super) struct UrlFetchInProgress {
    pub(super) reply: Reply,
    pub(super) urls: VecDeque<RequestedUrl>,
    /// The contents that are being written; `None` between two URLs, or while they are on a worker.
    pub(super) current: Option<UrlContents>,
}
