//! COPY and MOVE (RFC 9051 §6.4.7, §6.4.8).
//!
//! Both commands process messages in slices, and each slice is one transaction. A COPY that fails, or whose client
//! disconnects, removes the copies that it made. A MOVE leaves each message in exactly one of the mailboxes, and
//! reports which were moved (RFC 6851 §3.3).

use std::sync::Arc;

use io_common::{JobGroup, JobStep, Next, Slice};
use mailstore::{AccountId, CopyId, Error, Expunge, MailboxId, Rights, Store, UidSet, WRITE_SLICE};
use proto_imap::mailbox_view::{UidBitmap, number_ranges};
use proto_imap::server::Reply;
use proto_imap::types::CopyCommand;
use proto_imap::types::{NumberKind, NumberRange, Numbers, ResponseCode, Untagged};

use super::command_state::{CopyUidInProgress, Transfer, TransferOutcome};
use super::flag_rights::FLAG_RIGHTS;
use super::mailbox_access::MailboxAccess;
use super::output_limits::should_yield;
use super::replies::reply_status;
use super::transfer_copies::{append_copies, move_copies};
use super::translate::uid_set;
use super::{
    InProgress, Session, Turn, decode_name, next_or_close, no_status, ok_status, reply_bad,
    reply_invalid_name, reply_no, reply_ok, reply_ok_with_code, reply_unresolved, target_code_of,
};
use crate::pending_result;
use crate::server_context::ServerContext;

/// The maximum number of ranges in the COPYUID of a tagged response. A longer one is sent before it in untagged
/// responses, of this many messages each.
const COPY_UID_RANGES: u64 = 8_192;
const COPY_UID_PIECE: u32 = 2_000;

/// The remaining work of a COPY or MOVE, and its results so far.
pub(super) struct TransferJob {
    context: Arc<ServerContext>,
    group: JobGroup,
    transfer: Transfer,
    kind: CopyKind,
    from: MailboxId,
    to: MailboxId,
    remaining: UidSet,
    uid_validity: u32,
    /// The source and target UIDs of the copied messages. Both ascend, so that they correspond by position.
    source: UidBitmap,
    target: UidBitmap,
    /// The store's record of this COPY. If the server crashes, the store removes the copies at its next start.
    unfinished: Option<CopyId>,
    failed: Option<Error>,
    /// Whether the copies are kept.
    complete: bool,
}

/// How copies are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyKind {
    /// In the mailboxes of one account, with all flags.
    Whole,
    /// As new messages, with the flags that these rights permit.
    Appended(Rights),
}

impl TransferJob {
    /// Copies or moves until nothing is left or the slice is over. After an error, removes the copies of a COPY.
    fn run(&mut self, store: &dyn Store, slice: &Slice) -> bool {
        while !slice.is_over() {
            let more = match self.failed {
                None => self.step(store),
                Some(_) => self.undo_step(store),
            };
            if !more {
                return true;
            }
        }
        false
    }

    fn step(&mut self, store: &dyn Store) -> bool {
        let (from, to, remaining) = (self.from, self.to, &self.remaining);
        let copied = match (self.transfer, self.kind) {
            (Transfer::Copy, CopyKind::Whole) => {
                store.copy_part(from, remaining, to, WRITE_SLICE, self.unfinished)
            }
            (Transfer::Copy, CopyKind::Appended(rights)) => append_copies(store, from, remaining, to, rights),
            (Transfer::Move, CopyKind::Appended(rights)) => move_copies(store, from, remaining, to, rights),
            (Transfer::Move | Transfer::Rename, _) => store.move_messages(from, remaining, to, WRITE_SLICE),
        };
        match copied {
            Ok(copied) => {
                self.uid_validity = copied.uid_validity;
                self.unfinished = copied.unfinished;
                self.source.extend(copied.pairs.iter().map(|(source, _)| *source));
                self.target.extend(copied.pairs.iter().map(|(_, target)| *target));
                self.remaining = copied.next.map(|next| self.remaining.starting_at(next)).unwrap_or_default();
                self.complete = self.remaining.is_empty() || self.transfer != Transfer::Copy;
                !self.remaining.is_empty()
            }
            Err(error) => {
                self.failed = Some(error);
                self.transfer == Transfer::Copy
            }
        }
    }

    /// Removes some of the copies. Returns whether there are more.
    fn undo_step(&mut self, store: &dyn Store) -> bool {
        let some: UidBitmap = self.target.iter().take(WRITE_SLICE).collect();
        if some.is_empty() {
            if let Some(Err(error)) = self.unfinished.take().map(|copy| store.forget_copy(copy)) {
                // The copies are gone, so that the next start finds nothing to remove.
                tracing::warn!(%error, "cannot remove the record of an undone COPY");
            }
            return false;
        }
        self.target.subtract(&some);
        let which = Expunge::Exactly(uid_set(some.ranges()));
        match store.expunge(self.to, &which, WRITE_SLICE) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "cannot remove the copies of a failed COPY");
                self.target.clear();
                // The client can see these copies. Later, they must not be removed without a warning.
                let forgotten = self.unfinished.take().map(|copy| store.forget_copy(copy));
                if let Some(Err(error)) = forgotten {
                    tracing::warn!(%error, "cannot remove the record of a failed COPY");
                }
                false
            }
        }
    }
}

impl Drop for TransferJob {
    /// Removes the copies if the client disconnected during a COPY, because it was not told about any of them.
    fn drop(&mut self) {
        if self.complete || self.target.is_empty() {
            return;
        }
        let mut undo = Self {
            context: Arc::clone(&self.context),
            group: self.group,
            transfer: self.transfer,
            kind: self.kind,
            from: self.from,
            to: self.to,
            remaining: UidSet::default(),
            uid_validity: self.uid_validity,
            source: UidBitmap::new(),
            target: std::mem::take(&mut self.target),
            unfinished: self.unfinished.take(),
            failed: None,
            complete: true,
        };
        let (context, group, copy) = (Arc::clone(&self.context), self.group, undo.unfinished);
        let taken = context.workers.detach(group, move || {
            let store = Arc::clone(&undo.context.store);
            while undo.undo_step(&*store) {}
        });
        if taken.is_err() {
            tracing::warn!("the workers are busy: the copies of an interrupted COPY are removed later");
            copy.into_iter().for_each(|copy| context.copies_to_undo.add(copy));
        }
    }
}

impl Session {
    pub(super) fn copy(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: CopyCommand<'_>,
        numbering: NumberKind,
        transfer: Transfer,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(to) = decode_name(arguments.mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        // MOVE marks the messages as deleted and expunges them (RFC 6851 §5).
        let needed = Rights::DELETE_MESSAGES.or(Rights::EXPUNGE);
        if transfer == Transfer::Move
            && let Err(refused) = selected.check(needed)
        {
            return reply_status(reply, &refused, turn);
        }
        let uids = match selected.resolve(arguments.messages, numbering) {
            Ok(uids) => uids,
            Err(error) => return reply_unresolved(reply, error, turn),
        };
        let (from, owner) = (selected.mailbox, selected.owner);
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| access.find(store, &to, Rights::INSERT),
            move |session, found, turn| match found {
                Ok(to) => {
                    let is_whole = to.owner == owner && to.rights.contains(FLAG_RIGHTS);
                    let kind = if is_whole { CopyKind::Whole } else { CopyKind::Appended(to.rights) };
                    session.transfer(reply, (from, uids), to.mailbox.id, (transfer, kind), turn)
                }
                Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
            },
        )
    }

    /// Copies or moves messages from one mailbox to another, and answers.
    pub(super) fn transfer(
        &mut self,
        reply: Reply,
        (from, remaining): (MailboxId, UidSet),
        to: MailboxId,
        (transfer, kind): (Transfer, CopyKind),
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let running = TransferJob {
            context: Arc::clone(&self.context),
            group: pending_result::group(self.account, turn.cx),
            transfer,
            kind,
            from,
            to,
            remaining,
            uid_validity: 0,
            source: UidBitmap::new(),
            target: UidBitmap::new(),
            unfinished: None,
            failed: None,
            complete: false,
        };
        let mut running = Some(running);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut job) = running.take() else { return JobStep::More };
                if job.run(store, slice) {
                    return JobStep::Done(Ok(job));
                }
                running = Some(job);
                JobStep::More
            },
            move |session, transferred, turn| match transferred {
                Ok(transferred) => session.transferred(reply, transferred, turn),
                Err(error) => reply_no(reply, target_code_of(&error), &error.to_string(), turn),
            },
        )
    }

    fn transferred(&mut self, reply: Reply, mut done: TransferJob, turn: &mut Turn<'_, '_>) -> Next {
        let outcome = match (done.failed.take(), done.transfer) {
            (Some(error), _) => TransferOutcome::Failed(error),
            (None, Transfer::Copy) => TransferOutcome::Copied,
            (None, Transfer::Move) => TransferOutcome::Moved,
            (None, Transfer::Rename) => TransferOutcome::Renamed,
        };
        let copy_uid = CopyUidInProgress {
            reply,
            uid_validity: done.uid_validity,
            source: if done.complete && done.transfer != Transfer::Rename {
                std::mem::take(&mut done.source)
            } else {
                UidBitmap::new()
            },
            target: std::mem::take(&mut done.target),
            outcome,
        };
        if copy_uid.source.is_empty() {
            return self.end_transfer(copy_uid, turn);
        }
        if matches!(copy_uid.outcome, TransferOutcome::Copied) && copy_uid.is_short() {
            return self.send_updates_then(turn, move |_, turn| {
                let CopyUidInProgress { reply, uid_validity, source, target, .. } = copy_uid;
                let (source, target): (Vec<_>, Vec<_>) =
                    (source.ranges().collect(), target.ranges().collect());
                reply_ok_with_code(reply, code(uid_validity, &source, &target), "copy completed", turn)
            });
        }
        self.in_progress = InProgress::CopyUid(Box::new(copy_uid));
        self.write_copy_uid(turn)
    }

    /// Writes as many COPYUID responses as the client accepts. They precede the EXPUNGE responses, because the client
    /// must know where a message went when it disappears (RFC 6851 §4.3).
    pub(super) fn write_copy_uid(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let before = turn.tx.len();
        loop {
            let InProgress::CopyUid(copy_uid) = &mut self.in_progress else { return Next::Close };
            if should_yield(before, turn.tx.len()) {
                return Next::More;
            }
            if copy_uid.source.is_empty() {
                break;
            }
            let source: Vec<u32> = copy_uid.source.iter().take(COPY_UID_PIECE as usize).collect();
            let target: Vec<u32> = copy_uid.target.iter().take(COPY_UID_PIECE as usize).collect();
            copy_uid.source.remove_first(COPY_UID_PIECE);
            copy_uid.target.remove_first(COPY_UID_PIECE);
            let (source, target) = (number_ranges(source), number_ranges(target));
            let text = if matches!(copy_uid.outcome, TransferOutcome::Copied) { "copied" } else { "moved" };
            let status = ok_status(text).with_code(code(copy_uid.uid_validity, &source, &target));
            if let Err(error) = turn.machine.data(&Untagged::Status(status), turn.tx) {
                return next_or_close(Err(error));
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::CopyUid(copy_uid) => self.end_transfer(*copy_uid, turn),
            _ => Next::Close,
        }
    }

    fn end_transfer(&mut self, copy_uid: CopyUidInProgress, turn: &mut Turn<'_, '_>) -> Next {
        let CopyUidInProgress { reply, outcome, .. } = copy_uid;
        if matches!(outcome, TransferOutcome::Moved) {
            return self.finish_expunging(reply, "move completed", turn);
        }
        let removes = matches!(outcome, TransferOutcome::Moved | TransferOutcome::Renamed);
        let then = move |_: &mut Self, turn: &mut Turn<'_, '_>| match outcome {
            TransferOutcome::Copied => reply_ok(reply, "copy completed", turn),
            TransferOutcome::Moved => reply_ok(reply, "move completed", turn),
            TransferOutcome::Renamed => reply_ok(reply, "rename completed", turn),
            TransferOutcome::Failed(error) => {
                let text = error.to_string();
                next_or_close(turn.machine.reply(reply, &no_status(target_code_of(&error), &text), turn.tx))
            }
        };
        if removes { self.send_all_updates_then(turn, then) } else { self.send_updates_then(turn, then) }
    }
}

impl CopyUidInProgress {
    /// Returns whether it fits in the tagged response.
    fn is_short(&self) -> bool {
        let count = |uids: &UidBitmap| uids.ranges().take(COPY_UID_RANGES as usize).count() as u64;
        count(&self.source) + count(&self.target) <= COPY_UID_RANGES
    }
}

fn code<'a>(uid_validity: u32, source: &'a [NumberRange], target: &'a [NumberRange]) -> ResponseCode<'a> {
    ResponseCode::CopyUid { uid_validity, source: Numbers::new(source), target: Numbers::new(target) }
}
