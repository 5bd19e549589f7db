//! A complete message, and the answer that its client waits for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use proto_smtp::types::{Mail, Rcpt, Response};

use super::memory_budget::Reservation;
use crate::server::{Peer, SessionHandle};

/// A complete message with its envelope. The client waits: [`accept`](Self::accept) it when it is stored safely, or
/// [`reject`](Self::reject) it, from any thread. If it is dropped instead, the client gets a temporary failure (451), and may
/// send it again.
#[must_use = "the client waits: accept or reject it"]
#[non_exhaustive]
pub struct ReceivedMail {
    /// The user who has logged in. `None`: the server does not require a login.
    pub user: Option<String>,
    /// The two ends of the connection.
    pub peer: Peer,
    /// The sender, and the parameters of the message.
    pub mail: Mail<'static>,
    /// The accepted recipients, at least one, each with its parameters.
    pub recipients: Vec<Rcpt<'static>>,
    /// The message, with CRLF line ends and without the dots of DATA.
    pub message: Vec<u8>,
    reply: PendingReply,
}

impl ReceivedMail {
    pub(super) fn new(
        (user, peer): (Option<String>, Peer),
        (mail, recipients): (Mail<'static>, Vec<Rcpt<'static>>),
        message: Vec<u8>,
        reply: PendingReply,
    ) -> Self {
        Self { user, peer, mail, recipients, message, reply }
    }

    /// Returns the address of the sender; empty for the null reverse-path, which reports about other messages have.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.mail.from.as_str()
    }

    /// Returns the addresses of the recipients.
    pub fn recipient_addresses(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(|recipient| recipient.to.as_str())
    }

    /// Returns whether the client still waits. If it left, it will usually send the message again.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.reply.session.is_open()
    }

    /// Tells the client that the message was received (250). From now on this side is responsible for it.
    pub fn accept(self) {
        self.reply.answer(Response::ok());
    }

    /// Tells the client that the message is rejected, for all recipients. After a 4yz reply it may send the message again. A
    /// positive response accepts the message.
    pub fn reject(self, response: Response<'static>) {
        self.reply.answer(response);
    }
}

impl fmt::Debug for ReceivedMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMail")
            .field("recipients", &self.recipients.len())
            .field("bytes", &self.message.len())
            .finish_non_exhaustive()
    }
}

/// Where the answer is put for the session.
pub(super) type ReplySlot = Arc<Mutex<Option<Response<'static>>>>;

/// The answer that a session waits for.
pub(super) struct PendingReply {
    slot: ReplySlot,
    session: SessionHandle,
    /// The memory of the message.
    _memory: Reservation,
}

impl PendingReply {
    pub(super) fn new(session: SessionHandle, memory: Reservation) -> (Self, ReplySlot) {
        let slot = ReplySlot::default();
        (Self { slot: slot.clone(), session, _memory: memory }, slot)
    }

    fn answer(&self, response: Response<'static>) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(response);
            drop(slot);
            self.session.wake();
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        // Changes nothing if there was an answer and the session has not taken it yet. Otherwise the session ignores it.
        self.answer(Response::try_again());
    }
}
