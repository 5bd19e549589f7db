//! UIDBATCHES (RFC 10022): ranges of UIDs with equally many messages, from the mailbox as the client knows it.

use std::num::NonZeroU32;

use io_common::Next;
use proto_imap::mailbox_view::MailboxView;
use proto_imap::server::Reply;
use proto_imap::types::{
    IString, NumberRange, Numbers, PlainCode, UidBatchesCommand, UidBatchesResponse, Untagged,
};

use super::{Session, Turn, next_or_close, reply_bad, reply_no};

/// The smallest batch. Smaller ones would let a client count messages one by one (RFC 10022 §3.1.3.2).
const MIN_SIZE: u32 = 500;

/// How many messages the batches of one response have together, at most (RFC 10022 §3.1.5). A response has therefore no
/// more than 200 ranges.
const MAX_MESSAGES: u64 = 100_000;

impl Session {
    pub(super) fn uid_batches(
        &mut self,
        reply: Reply,
        command: UidBatchesCommand,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else {
            return reply_bad(reply, "select a mailbox first", turn);
        };
        let batches = match checked(&selected.view, command) {
            Ok(batches) => batches,
            Err((code, text)) => return reply_no(reply, code, text, turn),
        };
        let tag = turn.machine.tag().map(|tag| tag.as_bytes().to_vec()).unwrap_or_default();
        let data = UidBatchesResponse { tag: IString::new(&tag), batches: Numbers::new(&batches) };
        match turn.machine.data(&Untagged::UidBatches(data), turn.tx) {
            Ok(()) => self.finish_with_updates(reply, "completed", turn),
            Err(error) => next_or_close(Err(error)),
        }
    }
}

/// Returns the requested batches, or why the command is refused.
fn checked(
    view: &MailboxView,
    command: UidBatchesCommand,
) -> Result<Vec<NumberRange>, (PlainCode, &'static str)> {
    let size = NonZeroU32::new(command.size).filter(|size| size.get() >= MIN_SIZE);
    let size = size.ok_or((PlainCode::TooFew, "a batch has at least 500 messages"))?;
    let (batches, messages) = match command.batches {
        Some(batches) => {
            let count = u64::from(batches.last() - batches.first()) + 1;
            (batches, count.saturating_mul(size.get().into()))
        }
        None => (NumberRange::new(1, u32::MAX), view.exists().into()),
    };
    if messages > MAX_MESSAGES {
        return Err((PlainCode::TooMany, "more than 100000 messages: ask for a range of batches"));
    }
    Ok(view.batches(size, batches).collect())
}
