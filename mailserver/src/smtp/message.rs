//! The content of a message, from DATA or BDAT to the final reply (RFC 5321 §4.1.1.4, RFC 2033 §4.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use io_common::{Context, Next};
use mailstore::{Delivery, Flags, InternalDate, MailboxId, Target};
use proto_smtp::Dialect;
use proto_smtp::server::Reply;
use proto_smtp::types::{Code, Response};

use super::replies::{injected, store_error};
use super::transaction::{Transaction, writer};
use super::{HeldReply, Session, Turn};
use crate::committer::CommitOutcome;
use crate::faults::{Fault, Stage};
use crate::metrics::MessageOrigin;
use crate::pending_result::{self, PendingResult};
use crate::settings::AcceptedMessage;
use crate::spool::{Readiness, Spool};

/// For each recipient, the reply that rejects the message, if any.
type Rejections = Vec<Option<Response<'static>>>;

/// A message that was received completely and has no final reply yet.
struct ReceivedMessage {
    reply: Reply,
    transaction: Transaction,
    /// In bytes.
    size: u64,
    rejected: Rejections,
}

impl Session {
    pub(super) fn data(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let addresses = self.transaction.addresses();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let reply = match self.inject_fault(Stage::Data, &addresses, reply, turn) {
            Ok(next) => return next,
            Err(reply) => reply,
        };
        let mut spool = Spool::new();
        if self.context.trace_fields {
            let fields = self.trace_fields(turn.cx);
            spool.push(fields.as_bytes(), &writer(&self.context, self.account, turn.cx));
        }
        self.transaction.spool = Some(spool);
        self.send(reply, Response::start_data(), turn)
    }

    pub(super) fn chunk(&mut self, bytes: &[u8], turn: &mut Turn<'_, '_>) -> Next {
        let writer = writer(&self.context, self.account, turn.cx);
        let Some(spool) = &mut self.transaction.spool else { return Next::Close };
        self.transaction.readiness = Some(spool.push(bytes, &writer));
        self.next_while_waiting()
    }

    pub(super) fn end(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let Some(spool) = &mut self.transaction.spool else {
            return self.send(reply, Response::try_again(), turn);
        };
        let size = spool.size();
        let Some(finish) = spool.finish() else {
            self.transaction.end = Some(reply);
            return Next::Continue;
        };
        let Some(rejected) = self.draw_final_faults() else { return Next::Close };
        let mut rejected: Rejections = rejected.into_iter().map(|code| code.map(injected)).collect();
        let transaction = std::mem::take(&mut self.transaction);
        let mut targets = targets(&transaction, &rejected);
        if targets.is_empty() {
            return self.send_final(reply, rejected, &Response::try_again(), turn);
        }
        let store = Arc::clone(&self.context.store);
        let group = pending_result::group(self.account, turn.cx);
        // LMTP replies for each recipient, so that a full mailbox does not affect the others.
        let inboxes: Option<Vec<_>> = (self.dialect == Dialect::Lmtp)
            .then(|| transaction.recipients.iter().map(|recipient| recipient.inbox).collect());
        let before = rejected.clone();
        let job = move || {
            let upload = finish(&*store)?;
            if let Some(inboxes) = inboxes {
                targets.retain(|target| match store.check_quota(target.mailbox, upload.size()) {
                    Ok(()) => true,
                    Err(error) => {
                        reject(target.mailbox, &store_error(&error), &inboxes, &mut rejected);
                        false
                    }
                });
            }
            Ok((Delivery { upload, targets }, rejected))
        };
        let Ok(later) = self.context.workers.run(group, turn.cx.session_handle(), job) else {
            return self.send_final(reply, before, &Response::try_again(), turn);
        };
        self.pending =
            Some(PendingResult::job(later, move |session: &mut Self, ready, turn: &mut Turn<'_, '_>| {
                match ready {
                    Ok((delivery, rejected)) => {
                        let received = ReceivedMessage { reply, transaction, size, rejected };
                        session.commit(received, delivery, turn)
                    }
                    Err(error) => session.send_final(reply, before, &store_error(&error), turn),
                }
            }));
        Next::Continue
    }

    /// Stores the message in the mailboxes that are left, and replies when it is durable.
    fn commit(&mut self, received: ReceivedMessage, delivery: Delivery, turn: &mut Turn<'_, '_>) -> Next {
        let ReceivedMessage { reply, transaction, size, rejected } = received;
        if delivery.targets.is_empty() {
            return self.send_final(reply, rejected, &Response::try_again(), turn);
        }
        let mailboxes = delivery.targets.len();
        let delivered = accepted_recipients(&transaction, &delivery.targets, &rejected);
        let Some(pending) = self.context.committer.commit(delivery, turn.cx.session_handle()) else {
            return self.send_final(reply, rejected, &Response::try_again(), turn);
        };
        let finish = move |session: &mut Self, outcome: CommitOutcome, turn: &mut Turn<'_, '_>| {
            let others = match outcome {
                Ok(stored) => {
                    session.rejected = 0;
                    let origin = match session.dialect {
                        Dialect::Lmtp => MessageOrigin::Lmtp,
                        _ => MessageOrigin::Submission,
                    };
                    session.context.counters.messages(origin, 1, size);
                    if let Some(callback) = &session.context.on_message {
                        let (sender, recipients, stored) = (&*transaction.sender, &*delivered, &stored);
                        callback.call(&AcceptedMessage { sender, recipients, size, stored });
                    }
                    tracing::info!(
                        session = session.number,
                        size,
                        recipients = mailboxes,
                        "message accepted"
                    );
                    Response::ok()
                }
                Err(error) => store_error(&error),
            };
            session.send_final(reply, rejected, &others, turn)
        };
        self.pending = Some(PendingResult::commit(pending, finish));
        Next::Continue
    }

    /// Draws the faults at the end of a message: for each recipient, the code to reply with, if any. Returns `None` to
    /// close the connection.
    fn draw_final_faults(&mut self) -> Option<Vec<Option<Code>>> {
        let addresses = self.transaction.addresses();
        let each: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let code = |fault| match fault {
            None => Some(None),
            Some(Fault::Drop) => None,
            Some(Fault::Fail(code)) => Some(Some(code)),
        };
        if self.dialect == Dialect::Lmtp {
            // The replies are sent together, after the longest delay.
            let mut longest = None;
            let mut codes = Vec::with_capacity(each.len());
            for address in each {
                codes.push(code(self.fault(Stage::Dot, &[address]))?);
                longest = longest.max(self.delay.take());
            }
            self.delay = longest;
            return Some(codes);
        }
        let code = code(self.fault(Stage::Dot, &each))?;
        Some(vec![code; each.len()])
    }

    /// Sends the final reply: one in SMTP, one for each recipient in LMTP.
    fn send_final(
        &mut self,
        reply: Reply,
        rejected: Rejections,
        others: &Response<'static>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let response = |own: Option<Response<'static>>| own.unwrap_or_else(|| others.clone());
        if self.dialect == Dialect::Lmtp {
            return self
                .send_or_hold(HeldReply::Replies(reply, rejected.into_iter().map(response).collect()), turn);
        }
        self.send(reply, response(rejected.into_iter().next().flatten()), turn)
    }

    /// Returns what the driver should do while the session is waiting.
    pub(super) const fn next_while_waiting(&self) -> Next {
        match (self.transaction.readiness, &self.transaction.end) {
            (Some(Readiness::Wait), None) => Next::Pause,
            _ => Next::Continue,
        }
    }

    /// Returns the `Return-Path` and `Received` fields (RFC 5321 §4.4, RFC 3848).
    fn trace_fields(&self, cx: &Context<'_>) -> String {
        let client = self.client.as_deref().unwrap_or("unknown");
        // In SMTP, a client logs in under TLS before it sends mail. LMTP requires neither here.
        let protocol = if self.dialect == Dialect::Lmtp { "LMTP" } else { "ESMTPSA" };
        let address = match cx.peer().address.ip() {
            std::net::IpAddr::V4(address) => format!("[{address}]"),
            std::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let date = jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        format!(
            "Return-Path: <{}>\r\nReceived: from {client} ({address})\r\n\tby {} (Mailwire) with {protocol} id {};\r\n\t{date}\r\n",
            self.transaction.sender, self.context.name, self.number
        )
    }
}

/// Returns each mailbox once that gets the message.
fn targets(transaction: &Transaction, rejected: &Rejections) -> Vec<Target> {
    let internal_date = now();
    let kept = transaction.recipients.iter().zip(rejected).filter(|(_, rejected)| rejected.is_none());
    let inboxes: BTreeSet<_> = kept.map(|(recipient, _)| recipient.inbox).collect();
    inboxes.into_iter().map(|mailbox| Target { mailbox, flags: Flags::new(), internal_date }).collect()
}

/// Rejects the message for each recipient with this mailbox that has no reply yet.
fn reject(mailbox: MailboxId, reply: &Response<'static>, inboxes: &[MailboxId], rejected: &mut Rejections) {
    for (inbox, own) in inboxes.iter().zip(rejected) {
        if *inbox == mailbox && own.is_none() {
            *own = Some(reply.clone());
        }
    }
}

/// Returns the addresses of the recipients whose mailboxes get the message and that are not rejected.
fn accepted_recipients(transaction: &Transaction, targets: &[Target], rejected: &Rejections) -> Vec<String> {
    let pairs = transaction.recipients.iter().zip(rejected);
    let is_accepted = |inbox: MailboxId| targets.iter().any(|target| target.mailbox == inbox);
    pairs
        .filter(|(recipient, rejected)| rejected.is_none() && is_accepted(recipient.inbox))
        .map(|(recipient, _)| recipient.address.clone())
        .collect()
}

fn now() -> InternalDate {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    InternalDate { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), offset_minutes: 0 }
}
