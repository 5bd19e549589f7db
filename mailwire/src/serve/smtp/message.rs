//! The content of a message, from DATA or BDAT to the final reply (RFC 5321 §4.1.1.4, RFC 2033 §4.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use io_mio::{Context, Next};
use mailstore::{AccountId, Delivery, Flags, InternalDate, MailboxId, Target};
use proto_smtp::Dialect;
use proto_smtp::server::Reply;
use proto_smtp::types::{Code, Response};

use super::super::Site;
use super::super::answers::{as_wanted, refusal};
use super::super::faults::{Fault, Stage};
use super::super::spool::{Room, Spool, Writer};
use super::super::task::{self, Task};
use super::{Owed, Session, Turn};

/// A mail transaction.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) sender: String,
    /// The size that MAIL declared, in bytes; 0 if it declared none.
    pub(super) announced: u64,
    pub(super) recipients: Vec<Accepted>,
    pub(super) spool: Option<Spool>,
    pub(super) room: Option<Room>,
    /// The reply token, once all bytes have arrived while a worker is still writing.
    pub(super) end: Option<Reply>,
}

/// For each recipient, the reply that rejects the message, if any.
type Refused = Vec<Option<Response<'static>>>;

/// An accepted recipient.
pub(super) struct Accepted {
    pub(super) inbox: MailboxId,
    pub(super) address: String,
}

impl Session {
    pub(super) fn data(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let addresses = self.transaction.addresses();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let reply = match self.fail(Stage::Data, &addresses, reply, turn) {
            Ok(next) => return next,
            Err(reply) => reply,
        };
        let mut spool = Spool::new();
        if self.site.trace_fields {
            let fields = self.trace_fields(turn.cx);
            spool.push(fields.as_bytes(), &writer(&self.site, self.account, turn.cx));
        }
        self.transaction.spool = Some(spool);
        self.answer(reply, Response::start_data(), turn)
    }

    pub(super) fn chunk(&mut self, bytes: &[u8], turn: &mut Turn<'_, '_>) -> Next {
        let writer = writer(&self.site, self.account, turn.cx);
        let Some(spool) = &mut self.transaction.spool else { return Next::Close };
        self.transaction.room = Some(spool.push(bytes, &writer));
        self.resting()
    }

    pub(super) fn end(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let Some(spool) = &mut self.transaction.spool else {
            return self.answer(reply, Response::try_again(), turn);
        };
        let size = spool.size();
        let Some(finish) = spool.finish() else {
            self.transaction.end = Some(reply);
            return Next::Continue;
        };
        let Some(refused) = self.dot() else { return Next::Close };
        let mut refused: Refused = refused.into_iter().map(|code| code.map(as_wanted)).collect();
        let transaction = std::mem::take(&mut self.transaction);
        let internal_date = now();
        let kept = transaction.recipients.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let inboxes: BTreeSet<_> = kept.map(|(recipient, _)| recipient.inbox).collect();
        let mut targets: Vec<_> = inboxes
            .into_iter()
            .map(|mailbox| Target { mailbox, flags: Flags::new(), internal_date })
            .collect();
        if targets.is_empty() {
            return self.answer_all(reply, refused, &Response::try_again(), turn);
        }
        let store = Arc::clone(&self.site.store);
        let group = task::group(self.account, turn.cx);
        let each = self.dialect == Dialect::Lmtp;
        let wanted = refused.clone();
        let inboxes: Vec<_> = transaction.recipients.iter().map(|recipient| recipient.inbox).collect();
        let job = move || {
            let upload = finish(&*store)?;
            // LMTP replies for each recipient, so that a full mailbox does not affect the others.
            targets.retain(|target| {
                let room = if each { store.check_quota(target.mailbox, upload.size()) } else { Ok(()) };
                let Err(error) = room else { return true };
                for (inbox, answer) in inboxes.iter().zip(&mut refused) {
                    if *inbox == target.mailbox && answer.is_none() {
                        *answer = Some(refusal(&error));
                    }
                }
                false
            });
            Ok((upload, targets, refused))
        };
        let Ok(later) = self.site.workers.run(group, turn.cx.session_handle(), job) else {
            return self.answer_all(reply, wanted, &Response::try_again(), turn);
        };
        self.task = Some(Task::job(later, move |session: &mut Self, ready, turn: &mut Turn<'_, '_>| {
            let (upload, targets, refused) = match ready {
                Ok(ready) => ready,
                Err(error) => return session.answer_all(reply, wanted, &refusal(&error), turn),
            };
            if targets.is_empty() {
                return session.answer_all(reply, refused, &Response::try_again(), turn);
            }
            let recipients = targets.len();
            let delivery = Delivery { upload, targets };
            let Some(promise) = session.site.committer.commit(delivery, turn.cx.session_handle()) else {
                return session.answer_all(reply, refused, &Response::try_again(), turn);
            };
            session.task =
                Some(Task::commit(promise, move |session: &mut Self, outcome, turn: &mut Turn<'_, '_>| {
                    let others = match outcome {
                        Ok(_) => {
                            session.refused = 0;
                            tracing::info!(session = session.number, size, recipients, "message accepted");
                            Response::ok()
                        }
                        Err(error) => refusal(&error),
                    };
                    session.answer_all(reply, refused, &others, turn)
                }));
            Next::Continue
        }));
        Next::Continue
    }

    /// Draws the faults at the end of a message: for each recipient, the code to reply with, if any. Returns `None` to
    /// close the connection.
    fn dot(&mut self) -> Option<Vec<Option<Code>>> {
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
    fn answer_all(
        &mut self,
        reply: Reply,
        refused: Refused,
        others: &Response<'static>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let response = |own: Option<Response<'static>>| own.unwrap_or_else(|| others.clone());
        if self.dialect == Dialect::Lmtp {
            return self.settle(Owed::Replies(reply, refused.into_iter().map(response).collect()), turn);
        }
        self.answer(reply, response(refused.into_iter().next().flatten()), turn)
    }

    /// Returns what the driver should do while the session is waiting.
    pub(super) const fn resting(&self) -> Next {
        match (self.transaction.room, &self.transaction.end) {
            (Some(Room::Wait), None) => Next::Pause,
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
            self.transaction.sender, self.site.name, self.number
        )
    }
}

impl Transaction {
    fn addresses(&self) -> Vec<String> {
        self.recipients.iter().map(|recipient| recipient.address.clone()).collect()
    }
}

pub(super) fn writer<'w>(site: &'w Site, account: Option<AccountId>, cx: &Context<'_>) -> Writer<'w> {
    let group = task::group(account, cx);
    Writer { store: &site.store, workers: &site.workers, group, remote: cx.session_handle() }
}

fn now() -> InternalDate {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    InternalDate { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), offset_minutes: 0 }
}
