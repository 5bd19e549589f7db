//! APPEND and REPLACE (RFC 9051 §6.3.12, RFC 3502, RFC 8508): stream messages of any size into the store.
//!
//! The mailbox is looked up before the first literal is requested. A message is durable before it is acknowledged. Of
//! several messages, all are stored or none; until then, those that are complete wait in [`CompleteMessages`].
//! [`catenate`](super::catenate) has the parts of CATENATE.

use io_common::Next;
use mailstore::{AccountId, Appended, Delivery, MailboxId, REPLACED_MESSAGE, Rights, Store, Target, Upload};
use proto_imap::server::{LiteralOffer, Reply};
use proto_imap::types::{
    AppendForm, Condition, MailboxName, NumberRange, Numbers, PlainCode, ReplacedMessage, ResponseCode,
    StatusResponse, Text, Untagged,
};

use super::append_state::{AppendInProgress, MessageArguments, MessageStart, NextElement, TOTAL_FACTOR};
use super::complete_messages::CompleteMessages;
use super::given_flags::{RefusedFlag, given_flags};
use super::mailbox_access::{FoundMailbox, MailboxAccess};
use super::{
    InProgress, Session, Turn, decode_name, next_or_close, no_status, ok_status, reply_no,
    reply_ok_with_code, target_code_of, translate,
};
use crate::metrics::MessageOrigin;
use crate::pending_result::{self, PendingResult};
use crate::server_context::ServerContext;
use crate::spool::{Readiness, SpoolWriter};

/// REPLACE marks the replaced message as deleted and expunges it (RFC 8508 §3.6).
const REPLACE_RIGHTS: Rights = Rights::READ.or(Rights::DELETE_MESSAGES).or(Rights::EXPUNGE);

impl MessageArguments<'_> {
    fn start(&self) -> Result<MessageStart, RefusedFlag> {
        let internal_date = self.date.map_or_else(translate::now, translate::internal_date);
        Ok(MessageStart { flags: given_flags(self.flags)?, internal_date, form: self.form, size: self.size })
    }
}

/// Rejects an element, and with it the whole command.
pub(super) fn reject(offer: LiteralOffer, status: &StatusResponse<'_>, turn: &mut Turn<'_, '_>) -> Next {
    next_or_close(turn.machine.reject_literal(offer, status, turn.tx))
}

impl Session {
    pub(super) fn begin_append(
        &mut self,
        offer: LiteralOffer,
        mailbox: MailboxName<'_>,
        replaced: Option<ReplacedMessage>,
        arguments: &MessageArguments<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(account) = self.account else {
            return reject(offer, &no_status(PlainCode::ClientBug, "log in first"), turn);
        };
        if arguments.size > self.context.limits().message {
            let status = no_status(PlainCode::TooBig, "the message is larger than this server accepts");
            return reject(offer, &status, turn);
        }
        let Some(name) = decode_name(mailbox, turn) else {
            return reject(offer, &no_status(PlainCode::Cannot, "invalid mailbox name"), turn);
        };
        let start = match arguments.start() {
            Ok(start) => start,
            Err(refused) => return reject(offer, &refused.status(), turn),
        };
        let replaced = match replaced.map(|replaced| self.replaced(replaced)).transpose() {
            Ok(replaced) => replaced,
            Err(status) => return reject(offer, &status, turn),
        };
        let (size, access) = (start.size, MailboxAccess::new(account));
        let replaced_in = replaced.and_then(|(mailbox, _)| Some((self.selected.as_ref()?.owner, mailbox)));
        self.run_job(
            turn,
            move |store| {
                let FoundMailbox { mailbox, rights, .. } = access.find(store, &name, Rights::INSERT)?;
                if mailbox.no_select {
                    return Err(mailstore::Error::NoSelect);
                }
                match replaced_in {
                    // The quota counts only what a replacement adds in total, which is known at its end.
                    Some((owner, replaced)) => access.check(store, owner, replaced, REPLACE_RIGHTS)?,
                    None => store.check_quota(mailbox.id, size)?,
                }
                Ok((mailbox.id, rights))
            },
            move |session, found, turn| match found {
                Ok((mailbox, rights)) => {
                    session.in_progress = InProgress::Append(Box::new(AppendInProgress {
                        mailbox,
                        rights,
                        replaced,
                        complete: CompleteMessages::default(),
                        current: start.receive(),
                        readiness: Readiness::Ready,
                        next: None,
                    }));
                    next_or_close(turn.machine.accept_literal(offer, turn.tx))
                }
                Err(error) => reject(offer, &no_status(target_code_of(&error), &error.to_string()), turn),
            },
        )
    }

    /// Finds the message that REPLACE replaces.
    fn replaced(&self, replaced: ReplacedMessage) -> Result<(MailboxId, u32), StatusResponse<'static>> {
        let Some(selected) = &self.selected else {
            return Err(no_status(PlainCode::ClientBug, "select a mailbox first"));
        };
        selected.check(REPLACE_RIGHTS)?;
        let uid = match replaced {
            ReplacedMessage::Sequence(number) => selected.view.uid(number),
            ReplacedMessage::Uid(uid) => selected.view.sequence_number(uid).map(|_| uid),
        };
        uid.map(|uid| (selected.mailbox, uid))
            .ok_or_else(|| no_status(PlainCode::NonExistent, "the message to replace does not exist"))
    }

    /// Handles the start of another message of the same command (MULTIAPPEND).
    pub(super) fn next_message(
        &mut self,
        offer: LiteralOffer,
        arguments: &MessageArguments<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match arguments.start() {
            Ok(start) => self.append_element(NextElement::Message(Box::new(start), offer), turn),
            Err(refused) => self.abort_append(offer, &refused.status(), turn),
        }
    }

    /// Discards all messages of the command and rejects it.
    pub(super) fn abort_append(
        &mut self,
        offer: LiteralOffer,
        status: &StatusResponse<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.in_progress = InProgress::None;
        reject(offer, status, turn)
    }

    /// Discards all messages of the command and rejects it, because of an error of the store.
    pub(super) fn fail_append(
        &mut self,
        offer: LiteralOffer,
        error: &mailstore::Error,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.abort_append(offer, &no_status(target_code_of(error), &error.to_string()), turn)
    }

    pub(super) fn append_chunk(&mut self, bytes: &[u8], turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        let writer = writer(&self.context, self.account, turn);
        match &mut append.current.encoder {
            Some(encoder) => {
                let mut encoded = Vec::new();
                encoder.push(bytes, &mut encoded);
                append.store_chunk(&encoded, &writer);
            }
            None => append.store_chunk(bytes, &writer),
        }
        append.next_while_waiting()
    }

    /// Continues after a wake-up: the worker may have finished.
    pub(super) fn append_woken(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        let writer = writer(&self.context, self.account, turn);
        append.readiness = append.current.spool.resume(&writer);
        match append.next.take() {
            Some(next) => self.append_element(next, turn),
            None => append.next_while_waiting(),
        }
    }

    /// Handles the end of the command.
    pub(super) fn end_append(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.append_element(NextElement::End(reply), turn)
    }

    /// Handles the element behind the bytes that have arrived, once a worker has written them.
    pub(super) fn append_element(&mut self, next: NextElement, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        if let Some(encoder) = append.current.encoder.take() {
            let mut encoded = Vec::new();
            encoder.finish(&mut encoded);
            append.store_chunk(&encoded, &writer(&self.context, self.account, turn));
        }
        if append.current.has_nul {
            return self.refuse_nul(next, turn);
        }
        if append.current.spool.is_writing() {
            append.next = Some(next);
            return Next::Continue;
        }
        match next {
            NextElement::Message(start, offer) => self.complete_message(*start, offer, turn),
            NextElement::Url(url, offer) => self.copy_url(url, offer, turn),
            NextElement::End(reply) => self.commit_append(reply, turn),
        }
    }

    /// RFC 9051 §9: only a literal8 may contain NUL. This server encodes its binary parts, and keeps no other binary
    /// content (RFC 3516 §4.4).
    fn refuse_nul(&mut self, next: NextElement, turn: &mut Turn<'_, '_>) -> Next {
        const BAD: &str = "the message contains a NUL, which a literal must not contain";
        const NO: &str = "a NUL can be stored only in a part whose Content-Transfer-Encoding is binary";
        let InProgress::Append(append) = std::mem::replace(&mut self.in_progress, InProgress::None) else {
            return Next::Close;
        };
        let status = if append.current.form == AppendForm::Literal8 {
            no_status(PlainCode::UnknownCte, NO)
        } else {
            StatusResponse::new(Condition::Bad, Text::first_line(BAD))
        };
        match next {
            NextElement::End(reply) => next_or_close(turn.machine.reply(reply, &status, turn.tx)),
            NextElement::Message(_, offer) | NextElement::Url(_, offer) => reject(offer, &status, turn),
        }
    }

    /// Puts the current message aside, and receives another one.
    fn complete_message(
        &mut self,
        start: MessageStart,
        offer: LiteralOffer,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let limit = self.context.limits().message;
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        let (mailbox, total) = (append.mailbox, append.bytes().saturating_add(start.size));
        if total > limit.saturating_mul(TOTAL_FACTOR) {
            let status = no_status(PlainCode::Limit, "the messages of the command are too large together");
            return self.abort_append(offer, &status, turn);
        }
        let target = append.target();
        let Some(finish) = append.current.spool.finish() else { return Next::Close };
        let mut complete = std::mem::take(&mut append.complete);
        append.current = start.receive();
        self.run_job(
            turn,
            move |store| {
                complete.add(finish(store)?, target)?;
                store.check_quota(mailbox, total)?;
                Ok(complete)
            },
            move |session, completed, turn| match (completed, &mut session.in_progress) {
                (Ok(complete), InProgress::Append(append)) => {
                    append.complete = complete;
                    next_or_close(turn.machine.accept_literal(offer, turn.tx))
                }
                (Ok(_), _) => Next::Close,
                (Err(error), _) => session.fail_append(offer, &error, turn),
            },
        )
    }

    /// Stores the messages.
    fn commit_append(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(mut append) = std::mem::replace(&mut self.in_progress, InProgress::None)
        else {
            return Next::Close;
        };
        let target = append.target();
        let Some(finish) = append.current.spool.finish() else { return Next::Close };
        let AppendInProgress { replaced, mut complete, .. } = *append;
        if replaced.is_none() && complete.is_empty() {
            return self.commit_one(finish, target, reply, turn);
        }
        self.run_job(
            turn,
            move |store| {
                complete.add(finish(store)?, target)?;
                let deliveries = complete.into_deliveries();
                let bytes = deliveries.iter().map(|delivery| delivery.upload.size()).sum();
                Ok((store.append_together(deliveries, replaced)?.concat(), bytes))
            },
            move |session, outcome, turn| match session.count_appended(outcome) {
                Ok(appended) if replaced.is_some() => session.acknowledge_replace(reply, &appended, turn),
                Ok(appended) => {
                    session.send_updates_then(turn, move |_, turn| acknowledge(reply, &appended, turn))
                }
                Err(mailstore::Error::NotFound(REPLACED_MESSAGE)) => {
                    reply_no(reply, PlainCode::ExpungeIssued, "the message to replace was expunged", turn)
                }
                Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
            },
        )
    }

    /// Stores one message, together with those of other sessions.
    fn commit_one(
        &mut self,
        finish: impl FnOnce(&dyn Store) -> mailstore::Result<Upload> + Send + 'static,
        target: Target,
        reply: Reply,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.run_job(turn, finish, move |session, upload, turn| match upload {
            Ok(upload) => {
                let bytes = upload.size();
                let delivery = Delivery { upload, targets: vec![target] };
                let Some(pending) = session.context.committer.commit(delivery, turn.cx.session_handle())
                else {
                    return reply_no(
                        reply,
                        PlainCode::Unavailable,
                        "the server is busy: try again later",
                        turn,
                    );
                };
                session.pending = Some(PendingResult::commit(
                    pending,
                    move |session: &mut Self, outcome, turn: &mut Turn<'_, '_>| match session
                        .count_appended(outcome.map(|appended| (appended, bytes)))
                    {
                        Ok(appended) => session
                            .send_updates_then(turn, move |_, turn| acknowledge(reply, &appended, turn)),
                        Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
                    },
                ));
                Next::Continue
            }
            Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
        })
    }

    /// Counts the messages of a command and their bytes.
    fn count_appended<E>(&self, outcome: Result<(Vec<Appended>, u64), E>) -> Result<Vec<Appended>, E> {
        outcome.map(|(appended, bytes)| {
            self.context.counters.messages(MessageOrigin::Append, appended.len() as u64, bytes);
            appended
        })
    }

    /// Reports the UID of the new message before the removal of the old one (RFC 8508 §4.3).
    fn acknowledge_replace(&mut self, reply: Reply, appended: &[Appended], turn: &mut Turn<'_, '_>) -> Next {
        let Some(first) = appended.first() else {
            return reply_no(reply, PlainCode::ServerBug, "the message was not stored", turn);
        };
        let uids = [first.uid.into()];
        let code = ResponseCode::AppendUid { uid_validity: first.uid_validity, uids: Numbers::new(&uids) };
        let status = ok_status("replacement stored").with_code(code);
        match turn.machine.data(&Untagged::Status(status), turn.tx) {
            Ok(()) => self.finish_with_updates(reply, "replace completed", turn),
            Err(error) => next_or_close(Err(error)),
        }
    }
}

pub(super) fn writer<'w>(
    context: &'w ServerContext,
    account: Option<AccountId>,
    turn: &Turn<'_, '_>,
) -> SpoolWriter<'w> {
    let group = pending_result::group(account, turn.cx);
    SpoolWriter { store: &context.store, workers: &context.workers, group, session: turn.cx.session_handle() }
}

fn acknowledge(reply: Reply, appended: &[Appended], turn: &mut Turn<'_, '_>) -> Next {
    let Some(first) = appended.first() else {
        return reply_no(reply, PlainCode::ServerBug, "the message was not stored", turn);
    };
    // The messages are in the order of the command, and each UID is higher than the one before (RFC 3502 §6.3.11).
    let mut uids: Vec<NumberRange> = Vec::new();
    for uid in appended.iter().map(|appended| appended.uid) {
        match uids.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(uid) => {
                *last = NumberRange::new(last.first(), uid)
            }
            _ => uids.push(uid.into()),
        }
    }
    let code = ResponseCode::AppendUid { uid_validity: first.uid_validity, uids: Numbers::new(&uids) };
    reply_ok_with_code(reply, code, "append completed", turn)
}
