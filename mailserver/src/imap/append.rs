//! APPEND (RFC 9051 §6.3.12): streams a message of any size into the store.
//!
//! The mailbox is looked up before the literal is requested. The message is durable before it is acknowledged.

use io_common::Next;
use mailstore::{AccountId, Appended, Delivery, Target};
use proto_imap::server::{LiteralOffer, Reply};
use proto_imap::types::{DateTime, FlagList, MailboxName, Numbers, PlainCode, ResponseCode};

use super::command_state::AppendInProgress;
use super::given_flags::given_flags;
use super::{
    InProgress, Session, Turn, decode_name, next_or_close, no_status, reply_bad, reply_no,
    reply_ok_with_code, target_code_of, translate,
};
use crate::pending_result::{self, PendingResult};
use crate::server_context::ServerContext;
use crate::spool::{Readiness, Spool, SpoolWriter};

impl Session {
    pub(super) fn begin_append(
        &mut self,
        offer: LiteralOffer,
        mailbox: MailboxName<'_>,
        flags: FlagList<'_>,
        date: Option<DateTime>,
        size: u64,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let reject = |offer, code, text: &str, turn: &mut Turn<'_, '_>| {
            next_or_close(turn.machine.reject_literal(offer, &no_status(code, text), turn.tx))
        };
        let Some(account) = self.account else {
            return reject(offer, PlainCode::ClientBug, "log in first", turn);
        };
        if size > self.context.limits().message {
            return reject(offer, PlainCode::TooBig, "the message is larger than this server accepts", turn);
        }
        let Some(name) = decode_name(mailbox, turn) else {
            return reject(offer, PlainCode::Cannot, "invalid mailbox name", turn);
        };
        let flags = match given_flags(flags) {
            Ok(flags) => flags,
            Err(refused) => {
                return next_or_close(turn.machine.reject_literal(offer, &refused.status(), turn.tx));
            }
        };
        let internal_date = date.map_or_else(translate::now, translate::internal_date);
        self.run_job(
            turn,
            move |store| match store.mailbox(account, &name) {
                Ok(mailbox) if mailbox.no_select => Err(mailstore::Error::NoSelect),
                found => {
                    let mailbox = found?.id;
                    store.check_quota(mailbox, size)?;
                    Ok(mailbox)
                }
            },
            move |session, found, turn| match found {
                Ok(mailbox) => {
                    let (spool, readiness) = (Spool::new(), Readiness::Ready);
                    let append = AppendInProgress {
                        spool,
                        mailbox,
                        flags,
                        internal_date,
                        readiness,
                        end: None,
                        has_nul: false,
                    };
                    session.in_progress = InProgress::Append(Box::new(append));
                    next_or_close(turn.machine.accept_literal(offer, turn.tx))
                }
                Err(error) => reject(offer, target_code_of(&error), &error.to_string(), turn),
            },
        )
    }

    pub(super) fn append_chunk(&mut self, bytes: &[u8], turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        append.has_nul |= bytes.contains(&0);
        if append.has_nul {
            return append.next_while_waiting();
        }
        let writer = writer(&self.context, self.account, turn);
        append.readiness = append.spool.push(bytes, &writer);
        append.next_while_waiting()
    }

    /// Continues after a wake-up: the worker may have finished.
    pub(super) fn append_woken(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        let writer = writer(&self.context, self.account, turn);
        append.readiness = append.spool.resume(&writer);
        match append.end.take() {
            Some(reply) => self.end_append(reply, turn),
            None => append.next_while_waiting(),
        }
    }

    pub(super) fn end_append(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        if append.has_nul {
            // RFC 9051 §9: only a literal8 may contain NUL, and that requires BINARY (RFC 3516).
            self.in_progress = InProgress::None;
            return reply_bad(reply, "the message contains a NUL, which a literal must not contain", turn);
        }
        let Some(finish) = append.spool.finish() else {
            append.end = Some(reply);
            return Next::Continue;
        };
        let target = Target {
            mailbox: append.mailbox,
            flags: append.flags.clone(),
            internal_date: append.internal_date,
        };
        self.in_progress = InProgress::None;
        self.run_job(turn, finish, move |session, upload, turn| match upload {
            Ok(upload) => {
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
                    move |session: &mut Self, outcome, turn: &mut Turn<'_, '_>| match outcome.as_deref() {
                        Ok([appended, ..]) => {
                            let appended = *appended;
                            session.send_updates_then(turn, move |_, turn| acknowledge(reply, appended, turn))
                        }
                        Ok([]) => reply_no(reply, PlainCode::ServerBug, "the message was not stored", turn),
                        Err(error) => reply_no(reply, target_code_of(error), &error.to_string(), turn),
                    },
                ));
                Next::Continue
            }
            Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
        })
    }
}

fn writer<'w>(
    context: &'w ServerContext,
    account: Option<AccountId>,
    turn: &Turn<'_, '_>,
) -> SpoolWriter<'w> {
    let group = pending_result::group(account, turn.cx);
    SpoolWriter { store: &context.store, workers: &context.workers, group, session: turn.cx.session_handle() }
}

fn acknowledge(reply: Reply, appended: Appended, turn: &mut Turn<'_, '_>) -> Next {
    let uids = [appended.uid.into()];
    let code = ResponseCode::AppendUid { uid_validity: appended.uid_validity, uids: Numbers::new(&uids) };
    reply_ok_with_code(reply, code, "append completed", turn)
}
