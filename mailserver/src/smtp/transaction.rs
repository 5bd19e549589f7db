//! The state of a mail transaction.

use io_common::Context;
use mailstore::{AccountId, MailboxId};
use proto_smtp::server::Reply;

use crate::pending_result;
use crate::server_context::ServerContext;
use crate::spool::{Readiness, Spool, SpoolWriter};

/// A mail transaction.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) sender: String,
    /// The size that MAIL declared, in bytes; 0 if it declared none.
    pub(super) announced: u64,
    pub(super) recipients: Vec<AcceptedRecipient>,
    pub(super) spool: Option<Spool>,
    pub(super) readiness: Option<Readiness>,
    /// The reply token, once all bytes have arrived while a worker is still writing.
    pub(super) end: Option<Reply>,
}

/// An accepted recipient.
pub(super) struct AcceptedRecipient {
    pub(super) inbox: MailboxId,
    pub(super) address: String,
}

impl Transaction {
    pub(super) fn addresses(&self) -> Vec<String> {
        self.recipients.iter().map(|recipient| recipient.address.clone()).collect()
    }
}

pub(super) fn writer<'w>(
    context: &'w ServerContext,
    account: Option<AccountId>,
    cx: &Context<'_>,
) -> SpoolWriter<'w> {
    let group = pending_result::group(account, cx);
    SpoolWriter { store: &context.store, workers: &context.workers, group, session: cx.session_handle() }
}
