//! EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9), also for CLOSE.
//!
//! Messages are removed in slices, each in its own transaction.

use io_common::{JobStep, Next};
use mailstore::{Expunge, MailboxId, Rights, UidSet, WRITE_SLICE};
use proto_imap::server::Reply;
use proto_imap::types::{NumberKind, SequenceSet};

use super::replies::reply_status;
use super::{Session, Turn, reply_bad, reply_store_error, reply_unresolved};

impl Session {
    pub(super) fn expunge(
        &mut self,
        reply: Reply,
        among: Option<SequenceSet<'_>>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        if let Err(refused) = selected.check(Rights::EXPUNGE) {
            return reply_status(reply, &refused, turn);
        }
        let uids = match among.map(|set| selected.resolve(set, NumberKind::Uids)) {
            None => UidSet::all(),
            Some(Ok(uids)) => uids,
            Some(Err(error)) => return reply_unresolved(reply, error, turn),
        };
        let mailbox = selected.mailbox;
        self.expunge_then(mailbox, uids, turn, |session, expunged, turn| match expunged {
            // The removed messages are reported like any other change.
            Ok(()) => session.finish_expunging(reply, "expunge completed", turn),
            Err(error) => reply_store_error(reply, &error, turn),
        })
    }

    /// Removes the messages in `remaining` that are marked `\Deleted`, then calls `then`.
    pub(super) fn expunge_then(
        &mut self,
        mailbox: MailboxId,
        mut remaining: UidSet,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, mailstore::Result<()>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        self.run_in_slices(
            turn,
            move |store, slice| {
                while !remaining.is_empty() {
                    if slice.is_over() {
                        return JobStep::More;
                    }
                    let which = Expunge::DeletedAmong(std::mem::take(&mut remaining));
                    let expunged = match store.expunge(mailbox, &which, WRITE_SLICE) {
                        Ok(expunged) => expunged,
                        Err(error) => return JobStep::Done(Err(error)),
                    };
                    if let (Expunge::DeletedAmong(uids), Some(next)) = (which, expunged.next) {
                        remaining = uids.starting_at(next);
                    }
                }
                JobStep::Done(Ok(()))
            },
            then,
        )
    }
}
