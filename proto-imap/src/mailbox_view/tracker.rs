//! A mailbox that several sessions have selected.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::flag_changes::{FlagChanges, SessionId};
use super::update::{ExpungeForm, ViewUpdate};
use super::view::MailboxView;
use crate::server::Expunges;
use crate::types::NumberRange;
use crate::uid_bitmap::UidBitmap;

/// The number of changes of flags that are kept one by one.
const FLAG_CHANGES: usize = 4_096;

/// A mailbox that several sessions have selected: which messages it has now, and whose flags have changed.
///
/// The server records each change once, no matter which session made it. What a session must be told is computed when it
/// can be told, as the difference to its view. There are no queues: a client that is never told anything costs nothing,
/// and nothing is lost. Memory is bounded by the size of the mailbox as a bitmap and a fixed number of changes of flags.
///
/// A tracker is plain data. A server with several threads keeps it in a mutex, beside the wakers of its idle sessions.
#[derive(Debug, Clone)]
pub struct MailboxTracker {
    uids: Arc<UidBitmap>,
    /// The largest UID that was ever in use.
    last_uid: u32,
    /// The smallest UID that no session has claimed as recent.
    recent_from: u32,
    flags: FlagChanges,
    last_session: SessionId,
}

/// A message that cannot be appended, because its UID is not larger than all UIDs that were in use before (RFC 9051
/// §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidNotAscending;

impl fmt::Display for UidNotAscending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the UID of a new message is not larger than all UIDs before it")
    }
}

impl core::error::Error for UidNotAscending {}

impl ErrorDetails for UidNotAscending {}

/// What a session has to do with recent messages (RFC 3501 §2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecentMessages {
    /// The mailbox was opened with SELECT: a new message is recent in the first such session that is told about it.
    Claimed,
    /// The mailbox was opened with EXAMINE: messages that no other session has claimed are recent.
    Observed,
    /// The client has enabled IMAP4rev2, which has no recent messages.
    Ignored,
}

/// One session's view of a tracked mailbox, and what it must still be told.
#[derive(Debug)]
pub struct TrackedView {
    view: MailboxView,
    session: SessionId,
    recent: RecentMessages,
    /// The largest UID that the client has been told about.
    last_uid: u32,
    /// The changes of flags up to this number were reported, or are in `flags`.
    flags_through: u64,
    /// The messages whose flags must be reported.
    flags: UidBitmap,
}

impl TrackedView {
    /// Returns the mailbox as the client knows it.
    #[must_use]
    pub const fn view(&self) -> &MailboxView {
        &self.view
    }

    /// Returns the view, to save a search result or to change the form of EXPUNGE.
    #[must_use]
    pub const fn view_mut(&mut self) -> &mut MailboxView {
        &mut self.view
    }

    /// Ends the view because another mailbox is being selected. See [`MailboxView::close`].
    #[must_use]
    pub fn close(self) -> ViewUpdate {
        self.view.close()
    }
}

impl MailboxTracker {
    /// Creates the tracker of a mailbox with these messages. `recent_from` is the smallest UID that is recent: no session
    /// was told about it or the UIDs above.
    #[must_use]
    pub fn new(mut uids: UidBitmap, recent_from: u32) -> Self {
        uids.compact();
        let last_uid = uids.last().unwrap_or(0).max(recent_from.saturating_sub(1));
        Self {
            uids: Arc::new(uids),
            last_uid,
            recent_from,
            flags: FlagChanges::new(FLAG_CHANGES),
            last_session: 0,
        }
    }

    /// Returns the UIDs of all messages.
    #[must_use]
    pub fn uids(&self) -> &UidBitmap {
        &self.uids
    }

    /// Returns the smallest UID that no session has claimed as recent. The server stores it when it closes the mailbox.
    #[must_use]
    pub const fn recent_from(&self) -> u32 {
        self.recent_from
    }

    /// Creates the view of a session that selects the mailbox. EXISTS and RECENT of the response to SELECT come from the
    /// view.
    pub fn select(&mut self, recent: RecentMessages) -> TrackedView {
        self.last_session += 1;
        let mut selected = TrackedView {
            view: MailboxView::new(Arc::clone(&self.uids)),
            session: self.last_session,
            recent,
            last_uid: self.last_uid,
            flags_through: self.flags.number(),
            flags: UidBitmap::new(),
        };
        self.mark_recent(&mut selected);
        selected
    }

    /// Records a new message.
    ///
    /// # Errors
    /// [`UidNotAscending`] if the UID is not larger than all before it.
    pub fn append(&mut self, uid: u32) -> Result<(), UidNotAscending> {
        if uid <= self.last_uid {
            return Err(UidNotAscending);
        }
        self.last_uid = uid;
        Arc::make_mut(&mut self.uids).insert(uid);
        Ok(())
    }

    /// Records that a message was expunged. Returns whether it existed.
    pub fn expunge(&mut self, uid: u32) -> bool {
        self.flags.forget(uid);
        self.uids.contains(uid) && Arc::make_mut(&mut self.uids).remove(uid)
    }

    /// Records that the flags of a message were changed: by a session, which reports the change in the response to its
    /// own command, or by another program.
    pub fn change_flags(&mut self, uid: u32, by: Option<&TrackedView>) {
        if self.uids.contains(uid) {
            self.flags.record(uid, by.map_or(0, |view| view.session));
        }
    }

    /// Returns whether a message that the client knows has been expunged. The server then ends a FETCH, STORE or SEARCH
    /// of such messages with NO and `[EXPUNGEISSUED]` (RFC 5530 §3), or leaves them out.
    #[must_use]
    pub fn is_expunged(&self, view: &TrackedView, uid: u32) -> bool {
        view.view.contains(uid) && !self.uids.contains(uid)
    }

    /// Returns whether there may be something to tell the client. If so, a server wakes an idle session.
    #[must_use]
    pub fn has_updates(&self, view: &TrackedView, expunges: Expunges) -> bool {
        view.flags_through < self.flags.number()
            || !view.flags.is_empty()
            || view.last_uid < self.last_uid
            || (expunges == Expunges::Allowed && !Arc::ptr_eq(&view.view.uids, &self.uids))
    }

    /// Brings a view closer to the mailbox, and returns what the client must be told, in order: at most `limit` updates,
    /// and perhaps RECENT. Returns no updates once the client knows everything that it may be told now. `limit` must be at
    /// least 1.
    pub fn update(&mut self, view: &mut TrackedView, expunges: Expunges, limit: usize) -> Vec<ViewUpdate> {
        let limit = limit.max(1);
        // New messages are not part of the view yet: the client will ask for their flags.
        self.flags.since(view.flags_through, view.session, &mut view.flags);
        view.flags_through = self.flags.number();
        view.flags.intersect_with(&view.view.uids);
        view.flags.intersect_with(&self.uids);
        let mut updates = Vec::new();
        if expunges == Expunges::Allowed && !Arc::ptr_eq(&view.view.uids, &self.uids) {
            self.report_expunges(view, limit, &mut updates);
        }
        if updates.len() < limit {
            self.report_new(view, &mut updates);
        }
        let rest = limit.saturating_sub(updates.len());
        let flags: Vec<u32> = view.flags.iter().take(rest).collect();
        for uid in flags {
            view.flags.remove(uid);
            if let Some(sequence) = view.view.sequence_number(uid) {
                updates.push(ViewUpdate::Flags { sequence, uid });
            }
        }
        updates
    }

    fn report_expunges(&self, view: &mut TrackedView, limit: usize, updates: &mut Vec<ViewUpdate>) {
        let mut gone = view.view.uids.difference(&self.uids);
        match view.view.expunge_form() {
            ExpungeForm::Expunge => {
                // From the last one on, so that no number changes before it is used.
                let last: Vec<u32> = gone.iter().rev().take(limit).collect();
                let numbers = last.iter().filter_map(|uid| view.view.sequence_number(*uid));
                updates.extend(numbers.map(ViewUpdate::Expunge));
                gone = last.into_iter().collect();
            }
            ExpungeForm::Vanished => {
                let ranges: Vec<NumberRange> = gone.ranges().take(limit).collect();
                if !ranges.is_empty() {
                    gone = ranges.iter().copied().collect();
                    updates.push(ViewUpdate::Vanished(ranges));
                }
            }
        }
        if !gone.is_empty() {
            view.view.remove_all(&gone);
        }
    }

    fn report_new(&mut self, view: &mut TrackedView, updates: &mut Vec<ViewUpdate>) {
        let new = NumberRange::new(view.last_uid.saturating_add(1), u32::MAX);
        let any = view.last_uid < self.last_uid && self.uids.ranges_within(new).next().is_some();
        view.last_uid = self.last_uid;
        if any {
            Arc::make_mut(&mut view.view.uids).extend(self.uids.ranges_within(new));
        }
        if view.view.uids == self.uids {
            view.view.uids = Arc::clone(&self.uids);
        }
        if any {
            updates.push(ViewUpdate::Exists(view.view.exists()));
            updates.extend(self.mark_recent(view));
        }
    }

    fn mark_recent(&mut self, view: &mut TrackedView) -> Option<ViewUpdate> {
        if view.recent == RecentMessages::Ignored {
            return None;
        }
        let update = view.view.mark_recent_from(self.recent_from);
        if view.recent == RecentMessages::Claimed {
            self.recent_from = self.last_uid.saturating_add(1);
        }
        Some(update)
    }
}
