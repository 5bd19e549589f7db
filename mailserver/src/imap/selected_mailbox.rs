//! The messages of the selected mailbox that a command or a response names.

use mailstore::{MailboxId, UidSet};
use proto_imap::mailbox_view::ResolveError;
use proto_imap::server::FetchWriter;
use proto_imap::types::{NumberKind, NumberRange, PartialRange, SequenceSet};

use super::translate::uid_set;
use super::{SET_RANGES, Selected, Turn};

impl Selected {
    /// Returns the mailbox, and the newest keyword that the client was told about, as a FETCH needs them.
    pub(super) const fn fetch_source(&self) -> (MailboxId, u32) {
        (self.mailbox, self.keywords)
    }

    /// Returns the UIDs that a set names. `$` is the saved result of a search.
    pub(super) fn resolve(
        &self,
        set: SequenceSet<'_>,
        numbering: NumberKind,
    ) -> Result<UidSet, ResolveError> {
        self.view.resolve(set, numbering, SET_RANGES).map(uid_set)
    }

    /// Returns a page of these messages (RFC 9394 §3.3).
    pub(super) fn page(&self, uids: &UidSet, page: PartialRange) -> UidSet {
        let ranges: Vec<NumberRange> = uids.ranges().iter().cloned().map(NumberRange::from).collect();
        uid_set(self.view.page(&ranges, page))
    }

    /// Starts the response about a message: FETCH, or UIDFETCH if the client has enabled UIDONLY.
    pub(super) fn begin_fetch<'t>(
        &self,
        sequence: u32,
        uid: u32,
        turn: &'t mut Turn<'_, '_>,
    ) -> Result<FetchWriter<'t>, proto_mail::Error> {
        match self.named_by {
            NumberKind::Uids => turn.machine.uid_fetch(uid, turn.tx),
            NumberKind::SequenceNumbers => turn.machine.fetch(sequence, turn.tx),
        }
    }

    /// Returns the mod-sequence up to which the client knows all changes.
    pub(super) fn known_modseq(&self) -> u64 {
        self.cursor.flags.0.min(self.cursor.expunged.0)
    }
}
