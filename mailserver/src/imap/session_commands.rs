//! Commands that change the state of the whole session: UNAUTHENTICATE, COMPRESS, and what enables mod-sequences.

use io_common::Next;
use proto_imap::server::{CompressRequest, Reply};
use proto_imap::sort_order::Collation;
use proto_imap::types::{PlainCode, ResponseCode, Untagged};

use super::{ExpungeForm, Session, Turn, next_or_close, no_status, ok_status, reply_ok};
use crate::compressed_sessions::CompressedSession;

impl Session {
    /// Returns to the state before the login (RFC 8437).
    pub(super) fn unauthenticate(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        (self.account, self.selected, self.condstore) = (None, None, false);
        self.comparator = Collation::default();
        tracing::info!(session = self.number, "imap logout without a disconnect");
        (self.account_reports, self.expunge_form) = (None, ExpungeForm::Expunge);
        reply_ok(reply, "unauthenticated", turn)
    }

    /// Starts compression (RFC 4978), unless too many sessions are compressed: each takes much memory.
    pub(super) fn compress(&mut self, request: CompressRequest, turn: &mut Turn<'_, '_>) -> Next {
        match CompressedSession::admit(&self.context.compressed_sessions) {
            Some(compressed) => {
                self.compressed = Some(compressed);
                next_or_close(turn.machine.accept_compression(request, turn.tx))
            }
            None => {
                let status = no_status(PlainCode::Unavailable, "too many sessions are compressed");
                next_or_close(turn.machine.refuse_compression(request, &status, turn.tx))
            }
        }
    }

    /// Enables mod-sequences. If they were not enabled before and a mailbox is selected, reports the highest
    /// mod-sequence (RFC 7162 §3.1).
    pub(super) fn enable_condstore(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
        if std::mem::replace(&mut self.condstore, true) {
            return Ok(());
        }
        let Some(selected) = &self.selected else { return Ok(()) };
        let highest = selected.watch.highest_modseq(selected.cursor.flags.0);
        let code = ResponseCode::HighestModSeq(highest);
        let status = ok_status("mod-sequences enabled").with_code(code);
        turn.machine.data(&Untagged::Status(status), turn.tx)
    }
}
