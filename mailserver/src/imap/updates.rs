//! Reports changes by other sessions to the client: with NOOP, while idle, and before the tagged response of each
//! command that allows it.
//!
//! The change notifier signals that the mailbox changed. The session reads the changes from the store, one page at a
//! time, and only after the client has read the previous page. A slow session therefore holds its position in the
//! changes, but no backlog.
//!
//! EXPUNGE changes sequence numbers. It is sent only when no command that uses them is in progress (RFC 9051 §7.5.1);
//! the state machine rejects it otherwise. A page with an EXPUNGE that is held back waits as a whole; a page without one
//! is reported by every command, so that a client that polls with SEARCH hears of new messages.

use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;
use io_common::Next;
use mailstore::{ChangeCursor, Changes, KeywordsInUse, MailboxId, Rights, Store};
use proto_imap::Access;
use proto_imap::mailbox_view::ExpungeForm;
use proto_imap::server::{Expunges, Reply};
use proto_imap::types::{FetchItem, NumberKind, ResponseCode};

use super::command_state::IdleInProgress;
use super::keywords::new_keywords;
use super::mailbox::write_update;
use super::mailbox_access::MailboxAccess;
use super::output_limits::should_yield;
use super::search_contexts::write_no_update;
use super::translate::{self, Recency};
use super::{
    Continuation, InProgress, PendingUpdates, Selected, Session, Turn, mailbox, next_or_close, reply_ok,
    reply_ok_with_code,
};
use crate::change_notifier::ChangeNotifier;

/// The maximum number of messages in a page of changes.
const PAGE: usize = 250;

/// The maximum number of ranges in the VANISHED responses of a deleted mailbox.
const VANISHED_RANGES: usize = 1_000;

/// The minimum time between two reads of changes while idle, so that changes in quick succession are reported
/// together.
const COALESCE: Duration = Duration::from_millis(50);

/// A page of changes, as read by a worker.
struct ChangePage {
    changes: Arc<Changes>,
    recent_from: Option<u32>,
    keywords: Option<KeywordsInUse>,
}

impl Session {
    /// Reports changes, then answers OK.
    pub(super) fn finish_with_updates(
        &mut self,
        reply: Reply,
        text: &'static str,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.send_updates_then(turn, move |_, turn| reply_ok(reply, text, turn))
    }

    /// Reports changes, then answers OK to a command that has expunged messages. With QRESYNC the response has the highest
    /// mod-sequence of which the client knows all changes (RFC 7162 §3.2.7, RFC 6851 §4.4).
    pub(super) fn finish_expunging(
        &mut self,
        reply: Reply,
        text: &'static str,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.send_all_updates_then(turn, move |session, turn| match &session.selected {
            Some(selected) if turn.machine.is_enabled("QRESYNC") => {
                reply_ok_with_code(reply, ResponseCode::HighestModSeq(selected.known_modseq()), text, turn)
            }
            _ => reply_ok(reply, text, turn),
        })
    }

    /// Reports changes, then calls `then`.
    pub(super) fn send_updates_then(
        &mut self,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        if self.has_account_events() {
            return self
                .report_account_then(turn, move |session, turn| session.send_selected_then(turn, then));
        }
        self.send_selected_then(turn, then)
    }

    /// Reports changes of the selected mailbox that the client wants, then calls `then`.
    fn send_selected_then(
        &mut self,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        if self.reports_selected() { self.send_all_updates_then(turn, then) } else { then(self, turn) }
    }

    /// Reports changes of the selected mailbox even if the client has asked for none, then calls `then`. For messages that
    /// the client itself has removed, and for NOTIFY.
    pub(super) fn send_all_updates_then(
        &mut self,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        match &self.selected {
            Some(selected) if selected.watch.take_changed() => self.read_changes(Box::new(then), turn),
            _ => then(self, turn),
        }
    }

    fn read_changes(&mut self, then: Continuation, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return then(self, turn) };
        selected.pass_own_changes();
        let (mailbox, cursor, keywords) = (selected.mailbox, selected.cursor, selected.keywords);
        let shared = self.account.filter(|account| *account != selected.owner);
        let shared = shared.map(|account| (MailboxAccess::new(account), selected.owner));
        let recent = selected.recent_access(turn);
        let expunges = turn.machine.expunges();
        let notifier = Arc::clone(&self.context.notifier);
        self.run_job(
            turn,
            move |store| {
                if let Some((access, owner)) = shared {
                    // A mailbox that may not be read any more is like one that was deleted.
                    access.check(store, owner, mailbox, Rights::READ)?;
                }
                changes(store, &notifier, (mailbox, &cursor), keywords, recent, expunges)
            },
            move |session, found, turn| session.start_updates(found, then, turn),
        )
    }

    fn start_updates(
        &mut self,
        found: mailstore::Result<ChangePage>,
        then: Continuation,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let wants_flags = self.selected_events().is_none_or(|events| events.flags);
        let Some(selected) = &mut self.selected else { return then(self, turn) };
        let mut deleted = false;
        let found = match found {
            Ok(found) => found,
            Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => {
                deleted = true;
                let changes = Changes { cursor: selected.cursor, ..Changes::default() };
                ChangePage { changes: Arc::new(changes), recent_from: None, keywords: None }
            }
            Err(error) => {
                tracing::info!(session = self.number, %error, "cannot read changes");
                selected.watch.mark_changed();
                return then(self, turn);
            }
        };
        if turn.machine.expunges() == Expunges::HeldBack && (deleted || !found.changes.vanished.is_empty()) {
            selected.watch.mark_changed();
            self.hold_notifications_back();
            return then(self, turn);
        }
        selected.cursor = found.changes.cursor;
        let changed = if wants_flags { 0 } else { found.changes.changed.len() };
        if deleted {
            selected.contexts = None;
        }
        let changes = Arc::clone(&found.changes);
        self.update_contexts(&changes, turn, move |session, contexts, turn| {
            session.updates = Some(Box::new(PendingUpdates {
                keywords: found.keywords,
                changes: found.changes,
                vanished: 0,
                changed,
                new_reported: false,
                recent_from: found.recent_from,
                deleted,
                contexts,
                then,
            }));
            session.write_updates(turn)
        })
    }

    /// Writes as many changes as the client accepts.
    pub(super) fn write_updates(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let mut arena = Bump::new();
        let before = turn.tx.len();
        loop {
            let (Some(updates), Some(selected)) = (&mut self.updates, &mut self.selected) else {
                return Next::Close;
            };
            if should_yield(before, turn.tx.len()) {
                return Next::More;
            }
            match updates.write_next(selected, self.condstore, &arena, turn) {
                Ok(true) => arena.reset(),
                Ok(false) => break,
                Err(error) => return next_or_close(Err(error)),
            }
        }
        let (Some(updates), Some(selected)) = (self.updates.take(), &mut self.selected) else {
            return Next::Close;
        };
        let Selected { view, watch, .. } = &mut **selected;
        if !updates.changes.more {
            view.share(|uids| watch.share(uids));
        }
        let PendingUpdates { changes, then, .. } = *updates;
        let then: Continuation = match changes.more {
            true => Box::new(move |session, turn| session.read_changes(then, turn)),
            false => then,
        };
        match self.new_message_attributes() {
            Some(request) if !changes.new.is_empty() => {
                self.fetch_new(changes.new.iter().copied().collect(), &request, then, turn)
            }
            _ => then(self, turn),
        }
    }

    pub(super) fn begin_idle(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.begin_command(turn);
        self.in_progress = InProgress::Idle(Box::new(IdleInProgress { reply, done: false, next: None }));
        if let Some(selected) = &self.selected {
            selected.watch.begin_idle();
        }
        // Changes before `begin_idle` did not wake this session.
        self.update_idle(turn)
    }

    /// Reports changes to an idle client, and completes IDLE after DONE.
    pub(super) fn update_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if self.pending.is_some() || self.updates.is_some() {
            return self.next_while_waiting();
        }
        let has_changed = self.selected.as_ref().is_some_and(|selected| selected.watch.has_changed());
        let has_updates = self.has_account_events() || has_changed && self.reports_selected();
        let InProgress::Idle(idling) = &mut self.in_progress else { return Next::Continue };
        if idling.done {
            self.watch_selected();
            return match std::mem::replace(&mut self.in_progress, InProgress::None) {
                InProgress::Idle(idling) => self.finish_with_updates(idling.reply, "idle completed", turn),
                _ => Next::Close,
            };
        }
        if !has_updates {
            return Next::Continue;
        }
        let now = turn.cx.now();
        if let Some(next) = idling.next.filter(|next| *next > now) {
            turn.cx.wake_after(next - now);
            return Next::Continue;
        }
        idling.next = now.checked_add(COALESCE);
        // A change during the read does not wake the session again: check once more afterwards.
        self.send_updates_then(turn, |session, turn| session.update_idle(turn))
    }

    pub(super) fn end_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if let InProgress::Idle(idling) = &mut self.in_progress {
            idling.done = true;
        }
        self.update_idle(turn)
    }
}

/// Reads a page of changes, on a worker.
fn changes(
    store: &dyn Store,
    notifier: &ChangeNotifier,
    (mailbox, cursor): (MailboxId, &ChangeCursor),
    known_keywords: u32,
    recent: Option<mailstore::Access>,
    expunges: Expunges,
) -> mailstore::Result<ChangePage> {
    let changes = match notifier.page(mailbox, cursor) {
        Some(page) => page,
        None => {
            let page = Arc::new(store.changes_since(mailbox, cursor, PAGE)?);
            notifier.keep_page(mailbox, *cursor, &page);
            page
        }
    };
    // A page that is held back claims nothing: it is read again.
    let is_held = expunges == Expunges::HeldBack && !changes.vanished.is_empty();
    let recent_from = match recent {
        Some(access) if !changes.new.is_empty() && !is_held => {
            Some(store.claim_recent(mailbox, changes.cursor.uid_next, access)?)
        }
        _ => None,
    };
    let flags = changes.changed.iter().map(|message| &message.flags);
    let keywords = new_keywords(store, mailbox, known_keywords, flags)?;
    Ok(ChangePage { changes, recent_from, keywords })
}

impl PendingUpdates {
    /// Writes the next response. Returns false if this page is complete.
    fn write_next(
        &mut self,
        selected: &mut Selected,
        condstore: bool,
        arena: &Bump,
        turn: &mut Turn<'_, '_>,
    ) -> Result<bool, proto_mail::Error> {
        if let Some(keywords) = self.keywords.take() {
            mailbox::write_flags(selected, &keywords, turn)?;
            return Ok(true);
        }
        if let Some(tag) = self.contexts.ended.pop_front() {
            return write_no_update(&tag, turn).map(|()| true);
        }
        if let Some(removed) = self.contexts.removed.pop_front() {
            return removed.write(selected, turn).map(|()| true);
        }
        let form = selected.view.expunge_form();
        if self.deleted {
            let update = match form {
                ExpungeForm::Vanished => selected.view.vanish_first(VANISHED_RANGES),
                ExpungeForm::Expunge => selected.view.expunge_last(),
            };
            let Some(update) = update else { return Ok(false) };
            return write_update(&update, turn).map(|()| true);
        }
        if form == ExpungeForm::Vanished && self.vanished < self.changes.vanished.len() {
            self.vanished = self.changes.vanished.len();
            let update = selected.view.vanish(self.changes.vanished.iter().copied());
            return update.map_or(Ok(()), |update| write_update(&update, turn)).map(|()| true);
        }
        if let Some(&uid) = self.changes.vanished.get(self.vanished) {
            self.vanished += 1;
            return selected
                .view
                .expunge(uid)
                .map_or(Ok(()), |update| write_update(&update, turn))
                .map(|()| true);
        }
        if !std::mem::replace(&mut self.new_reported, true) {
            if let Some(exists) = selected.view.append(self.changes.new.iter().copied()) {
                write_update(&exists, turn)?;
                if let Some(first) = self.recent_from {
                    write_update(&selected.view.mark_recent_from(first), turn)?;
                }
            }
            return Ok(true);
        }
        let Some(message) = self.changes.changed.get(self.changed) else {
            let Some(added) = self.contexts.added.pop_front() else { return Ok(false) };
            return added.write(selected, turn).map(|()| true);
        };
        self.changed += 1;
        if selected.view.is_own_change(message.modseq) {
            return Ok(true);
        }
        let Some(number) = selected.view.sequence_number(message.uid) else { return Ok(true) };
        let recency = selected.recency(message.uid);
        let mut writer = selected.begin_fetch(number, message.uid, turn)?;
        if selected.named_by == NumberKind::SequenceNumbers {
            writer.item(&FetchItem::Uid(message.uid));
        }
        if condstore {
            writer.item(&FetchItem::ModSeq(message.modseq));
        }
        writer.item(&FetchItem::Flags(translate::flags(arena, &message.flags, recency)));
        writer.finish().map(|()| true)
    }
}

impl Selected {
    /// Returns whether a message is recent in this session.
    pub(super) fn recency(&self, uid: u32) -> Recency {
        if self.view.is_recent(uid) { Recency::Recent } else { Recency::Old }
    }

    /// Advances the cursor past the session's own changes that come next, unless they may affect a search result that is
    /// kept up to date.
    fn pass_own_changes(&mut self) {
        // A page that ended within the changes of one transaction continues there.
        if self.cursor.flags.1 == u32::MAX && self.contexts.is_none() {
            self.cursor.flags.0 = self.view.skip_own_changes(self.cursor.flags.0);
        }
        self.view.forget_own_changes(self.cursor.flags.0);
    }

    /// Returns the access with which this session claims recent messages; `None` for IMAP4rev2, which has no recent
    /// messages.
    pub(super) fn recent_access(&self, turn: &Turn<'_, '_>) -> Option<mailstore::Access> {
        (!turn.machine.is_enabled("IMAP4rev2")).then_some(match self.access {
            Access::ReadWrite => mailstore::Access::ReadWrite,
            Access::ReadOnly => mailstore::Access::ReadOnly,
        })
    }
}
