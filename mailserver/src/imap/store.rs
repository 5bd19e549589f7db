//! STORE (RFC 9051 §6.4.6, §6.4.9; RFC 7162 §3.1.3).
//!
//! Messages are changed in slices. Each slice is one transaction, and its changes are sent before the next slice
//! begins. A client that does not read delays only its own STORE.
//!
//! A silent STORE still reports the flags of a message that another session changed before, if the client was not told
//! of that change.

use bumpalo::Bump;
use io_common::{JobStep, Next, Slice};
use mailstore::{ChangedFlags, Flags, MessageFlags, StoreMode, WRITE_SLICE};
use proto_imap::mailbox_view::{UidBitmap, number_ranges};
use proto_imap::server::Reply;
use proto_imap::types::{FetchItem, NumberKind, Numbers, PlainCode, ResponseCode};
use proto_imap::types::{StatusResponse, StoreAction, StoreCommand, StoreResponse};

use super::command_state::{StoreForm, StoreInProgress, StoreJob, StoredMessageFlags};
use super::flag_rights::FLAG_RIGHTS;
use super::given_flags::given_flags;
use super::keywords::new_keywords;
use super::output_limits::should_yield;
use super::replies::reply_status;
use super::{
    InProgress, Selected, Session, Turn, mailbox, next_or_close, no_status, reply_bad, reply_no, reply_ok,
    reply_ok_with_code, reply_store_error, reply_unresolved, translate,
};

/// The maximum number of ranges in MODIFIED.
const MODIFIED_RANGES: usize = 16_384;

impl StoreJob {
    /// Changes messages until there is something to send, nothing is left, or the slice is over. Returns whether it
    /// stopped for one of the first two reasons.
    fn run(&mut self, store: &dyn mailstore::Store, slice: &Slice) -> mailstore::Result<bool> {
        while self.page.is_empty() && !self.remaining.is_empty() {
            if slice.is_over() {
                return Ok(false);
            }
            self.step(store)?;
        }
        Ok(true)
    }

    fn step(&mut self, store: &dyn mailstore::Store) -> mailstore::Result<()> {
        let since = self.unchanged_since;
        let stored =
            store.store_flags(self.mailbox, &self.remaining, self.mode, &self.flags, since, WRITE_SLICE)?;
        self.remaining = stored.next.map(|next| self.remaining.starting_at(next)).unwrap_or_default();
        self.modified.extend(stored.modified);
        self.own.extend(stored.modseq);
        let flags = stored.changed.iter().map(|message| &message.flags);
        if let Some(keywords) = new_keywords(store, self.mailbox, self.known_keywords, flags)? {
            self.known_keywords = keywords.newest;
            self.keywords = Some(keywords);
        }
        let shows_all = self.form.answer == StoreResponse::Flags || self.form.modseq;
        let changed = stored.changed.into_iter().map(StoredMessageFlags::from);
        self.page = changed.filter(|message| shows_all || message.follows_later_change(self.told)).collect();
        if self.form.answer == StoreResponse::Flags {
            self.page.extend(stored.unchanged.into_iter().map(StoredMessageFlags::from));
            self.page.sort_unstable_by_key(|message| message.uid);
        }
        Ok(())
    }
}

impl StoredMessageFlags {
    /// Returns whether the STORE followed a change after this mod-sequence and UID.
    fn follows_later_change(&self, told: (u64, u32)) -> bool {
        self.previous_modseq.is_some_and(|previous| (previous, self.uid) > told)
    }
}

impl From<ChangedFlags> for StoredMessageFlags {
    fn from(changed: ChangedFlags) -> Self {
        let ChangedFlags { uid, modseq, previous_modseq, flags } = changed;
        Self { uid, modseq, flags, previous_modseq: Some(previous_modseq) }
    }
}

impl From<MessageFlags> for StoredMessageFlags {
    fn from(unchanged: MessageFlags) -> Self {
        let MessageFlags { uid, modseq, flags } = unchanged;
        Self { uid, modseq, flags, previous_modseq: None }
    }
}

impl Selected {
    /// Returns the part of a change that the account has the right to make (RFC 4314 §4).
    fn permitted_change(
        &self,
        action: StoreAction,
        flags: Flags,
    ) -> Result<(StoreMode, Flags), StatusResponse<'static>> {
        let mode = translate::store_mode(action);
        if self.rights.contains(FLAG_RIGHTS) {
            return self.check(FLAG_RIGHTS).map(|()| (mode, flags));
        }
        let permitted = self.changeable(&flags);
        // Without some of the rights, other flags must stay as they are, and a message has only the store's own set of them.
        let is_possible = match mode {
            StoreMode::Replace => false,
            StoreMode::Add | StoreMode::Remove => !permitted.is_empty() || flags.is_empty(),
        };
        match is_possible {
            true => Ok((mode, permitted)),
            false => Err(no_status(PlainCode::NoPerm, "you do not have the right to change these flags")),
        }
    }
}

impl Session {
    pub(super) fn store(
        &mut self,
        reply: Reply,
        arguments: StoreCommand<'_>,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        let remaining = match selected.resolve(arguments.messages, numbering) {
            Ok(uids) => uids,
            Err(error) => return reply_unresolved(reply, error, turn),
        };
        let (mailbox, known_keywords, told) = (selected.mailbox, selected.keywords, selected.cursor.flags);
        let flags = match given_flags(arguments.flags) {
            Ok(flags) => flags,
            Err(refused) => return refused.answer(reply, turn),
        };
        let (mode, flags) = match selected.permitted_change(arguments.action, flags) {
            Ok(change) => change,
            Err(refused) => return reply_status(reply, &refused, turn),
        };
        if arguments.unchanged_since.is_some()
            && let Err(error) = self.enable_condstore(turn)
        {
            return next_or_close(Err(error));
        }
        let job = StoreJob {
            mailbox,
            remaining,
            mode,
            flags,
            unchanged_since: arguments.unchanged_since,
            form: StoreForm { answer: arguments.answer, numbering, modseq: self.condstore },
            known_keywords,
            modified: UidBitmap::new(),
            own: Vec::new(),
            keywords: None,
            told,
            page: Vec::new(),
        };
        self.run_store(reply, job, turn)
    }

    fn run_store(&mut self, reply: Reply, job: StoreJob, turn: &mut Turn<'_, '_>) -> Next {
        let mut job = Some(job);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = job.take() else { return JobStep::More };
                match running.run(store, slice) {
                    Ok(true) => return JobStep::Done(Ok(running)),
                    Ok(false) => job = Some(running),
                    Err(error) => return JobStep::Done(Err(error)),
                }
                JobStep::More
            },
            move |session, stored, turn| match stored {
                Ok(job) => session.start_store_responses(reply, job, turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    /// Starts writing the messages that one slice changed.
    fn start_store_responses(&mut self, reply: Reply, mut job: StoreJob, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return reply_ok(reply, "store completed", turn) };
        job.own.drain(..).for_each(|modseq| selected.view.record_own_change(modseq));
        if let Some(keywords) = job.keywords.take()
            && let Err(error) = mailbox::write_flags(selected, &keywords, turn)
        {
            return next_or_close(Err(error));
        }
        let page = std::mem::take(&mut job.page).into_iter();
        self.in_progress = InProgress::Store(Box::new(StoreInProgress { reply, job, page }));
        self.write_store(turn)
    }

    /// Writes as much of the page as the client accepts, then continues with the next page.
    pub(super) fn write_store(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let mut arena = Bump::new();
        let before = turn.tx.len();
        loop {
            let (InProgress::Store(progress), Some(selected)) = (&mut self.in_progress, &self.selected)
            else {
                return Next::Close;
            };
            if should_yield(before, turn.tx.len()) {
                return Next::More;
            }
            let Some(message) = progress.page.next() else { break };
            let Some(number) = selected.view.sequence_number(message.uid) else { continue };
            let form = progress.job.form;
            let mut writer = match selected.begin_fetch(number, message.uid, turn) {
                Ok(writer) => writer,
                Err(error) => return next_or_close(Err(error)),
            };
            // With mod-sequences, the UID as well (RFC 7162 §3.2.4).
            if (form.numbering == NumberKind::Uids || form.modseq)
                && selected.named_by == NumberKind::SequenceNumbers
            {
                writer.item(&FetchItem::Uid(message.uid));
            }
            if form.modseq {
                writer.item(&FetchItem::ModSeq(message.modseq));
            }
            // The store merges an earlier, unreported change by another session with this one. The session does not report
            // its own changes, so without this response the client would never learn of the earlier change.
            let hides_change = message.follows_later_change(progress.job.told)
                && !message.previous_modseq.is_some_and(|previous| selected.view.is_own_change(previous));
            if form.answer == StoreResponse::Flags || hides_change {
                let recency = selected.recency(message.uid);
                writer.item(&FetchItem::Flags(translate::flags(&arena, &message.flags, recency)));
            }
            // A silent change may have no items: its response is discarded.
            let _ = writer.finish();
            arena.reset();
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Store(progress) if !progress.job.remaining.is_empty() => {
                let StoreInProgress { reply, job, .. } = *progress;
                self.run_store(reply, job, turn)
            }
            InProgress::Store(progress) => self.finish_store(*progress, turn),
            _ => Next::Close,
        }
    }

    fn finish_store(&mut self, progress: StoreInProgress, turn: &mut Turn<'_, '_>) -> Next {
        let StoreInProgress { reply, job, .. } = progress;
        let Some(selected) = &self.selected else { return reply_ok(reply, "store completed", turn) };
        if !job.modified.is_empty() {
            let numbers = job.modified.iter().filter_map(|uid| match job.form.numbering {
                NumberKind::Uids => Some(uid),
                NumberKind::SequenceNumbers => selected.view.sequence_number(uid),
            });
            let ranges = number_ranges(numbers);
            if ranges.len() > MODIFIED_RANGES {
                let text = "too many messages have changed: use smaller sets";
                return reply_no(reply, PlainCode::Limit, text, turn);
            }
            return reply_ok_with_code(
                reply,
                ResponseCode::Modified(Numbers::new(&ranges)),
                "some messages have changed",
                turn,
            );
        }
        self.finish_with_updates(reply, "store completed", turn)
    }
}
