//! The state of an APPEND or REPLACE whose messages are being received.

use io_common::Next;
use mailstore::{Flags, InternalDate, MailboxId, Rights, Target};
use proto_imap::server::{LiteralOffer, Reply};
use proto_imap::types::{AppendForm, DateTime, FlagList, PlainCode, StatusResponse};

use super::binary_encoder::BinaryEncoder;
use super::complete_messages::CompleteMessages;
use super::flag_rights::permitted;
use super::replies::no_status;
use crate::spool::{Readiness, Spool, SpoolWriter};

/// The bytes of all messages of one APPEND, as a multiple of the limit of one message.
pub(super) const TOTAL_FACTOR: u64 = 4;

/// An APPEND or REPLACE whose messages are being received.
pub(super) struct AppendInProgress {
    pub(super) mailbox: MailboxId,
    /// What the account may do with the mailbox.
    pub(super) rights: Rights,
    /// The message of the selected mailbox that is removed when the command succeeds.
    pub(super) replaced: Option<(MailboxId, u32)>,
    pub(super) complete: CompleteMessages,
    pub(super) current: IncomingMessage,
    pub(super) readiness: Readiness,
    /// What to do once the worker has written the bytes that have arrived.
    pub(super) next: Option<NextElement>,
}

/// A message that is being received.
pub(super) struct IncomingMessage {
    pub(super) spool: Spool,
    pub(super) flags: Flags,
    pub(super) internal_date: InternalDate,
    pub(super) form: AppendForm,
    /// Encodes the binary parts of a literal8.
    pub(super) encoder: Option<Box<BinaryEncoder>>,
    /// The message contains a NUL that is not in a binary part: the rest is read and discarded.
    pub(super) has_nul: bool,
}

/// The element of the command that follows the bytes that have arrived.
pub(super) enum NextElement {
    /// Another message, of this size.
    Message(Box<MessageStart>, LiteralOffer),
    /// A URL of CATENATE.
    Url(String, LiteralOffer),
    End(Reply),
}

/// The arguments of a message.
pub(super) struct MessageStart {
    pub(super) flags: Flags,
    pub(super) internal_date: InternalDate,
    pub(super) form: AppendForm,
    pub(super) size: u64,
}

/// The arguments of a message, as the client sends them.
pub(super) struct MessageArguments<'i> {
    pub(super) flags: FlagList<'i>,
    pub(super) date: Option<DateTime>,
    pub(super) form: AppendForm,
    pub(super) size: u64,
}

impl MessageStart {
    pub(super) fn receive(self) -> IncomingMessage {
        let Self { flags, internal_date, form, .. } = self;
        let encoder = (form == AppendForm::Literal8).then(|| Box::new(BinaryEncoder::new()));
        IncomingMessage { spool: Spool::new(), flags, internal_date, form, encoder, has_nul: false }
    }
}

impl AppendInProgress {
    pub(super) const fn next_while_waiting(&self) -> Next {
        match (self.readiness, &self.next) {
            (Readiness::Wait, None) => Next::Pause,
            _ => Next::Continue,
        }
    }

    /// Returns the bytes of all messages so far.
    pub(super) fn bytes(&self) -> u64 {
        self.complete.bytes().saturating_add(self.current.spool.size())
    }

    /// Passes bytes of the current message on.
    pub(super) fn store_chunk(&mut self, bytes: &[u8], writer: &SpoolWriter<'_>) {
        let current = &mut self.current;
        current.has_nul |= memchr::memchr(0, bytes).is_some();
        if !current.has_nul {
            self.readiness = current.spool.push(bytes, writer);
        }
    }

    /// Returns where the current message goes.
    pub(super) fn target(&self) -> Target {
        let IncomingMessage { flags, internal_date, .. } = &self.current;
        Target { mailbox: self.mailbox, flags: permitted(flags, self.rights), internal_date: *internal_date }
    }

    /// Returns why this many more bytes of the current message are rejected.
    pub(super) fn too_large(&self, more: u64, limit: u64) -> Option<StatusResponse<'static>> {
        if self.current.spool.size().saturating_add(more) > limit {
            return Some(no_status(PlainCode::TooBig, "the message is larger than this server accepts"));
        }
        let total = self.bytes().saturating_add(more);
        (total > limit.saturating_mul(TOTAL_FACTOR))
            .then(|| no_status(PlainCode::Limit, "the messages of the command are too large together"))
    }
}
