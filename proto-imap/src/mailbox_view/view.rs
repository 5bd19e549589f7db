//! The mailbox as one client knows it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::own_changes::OwnChanges;
use super::update::{ExpungeForm, ViewUpdate};
use crate::types::NumberRange;
use crate::uid_bitmap::UidBitmap;

/// The mailbox as one client knows it: which message has which sequence number (RFC 9051 §2.3.1.2).
///
/// A view changes only by methods that return a [`ViewUpdate`], which the server sends to the client. Messages that
/// arrived since then are not part of the view, and messages that were expunged since then still are. A sequence
/// number therefore means the same message to the server and to the client.
///
/// Views with the same messages share them: a clone, and a view made of the same [`Arc`], cost a few bytes.
#[derive(Debug, Clone, Default)]
pub struct MailboxView {
    pub(super) uids: Arc<UidBitmap>,
    pub(super) recent: UidBitmap,
    pub(super) saved: UidBitmap,
    own: OwnChanges,
    form: ExpungeForm,
}

impl MailboxView {
    /// Creates the view of a client that was just told about these messages.
    #[must_use]
    pub fn new(uids: impl Into<Arc<UidBitmap>>) -> Self {
        Self { uids: uids.into(), ..Self::default() }
    }

    /// Ends the view because another mailbox is being selected. The server sends the update before any other response
    /// to SELECT or EXAMINE, even if that command fails later.
    #[must_use]
    pub fn close(self) -> ViewUpdate {
        ViewUpdate::Closed
    }

    /// Sets how the client is told that messages are gone: [`ExpungeForm::Vanished`] once QRESYNC is enabled.
    pub fn set_expunge_form(&mut self, form: ExpungeForm) {
        self.form = form;
    }

    /// Returns how the client is told that messages are gone.
    #[must_use]
    pub const fn expunge_form(&self) -> ExpungeForm {
        self.form
    }

    /// Returns the number of messages, as in EXISTS.
    #[must_use]
    pub fn exists(&self) -> u32 {
        self.uids.len()
    }

    /// Returns the UIDs of all messages.
    #[must_use]
    pub fn uids(&self) -> &UidBitmap {
        &self.uids
    }

    /// Returns the range from the first to the last UID; `None` if the mailbox is empty.
    #[must_use]
    pub fn uid_range(&self) -> Option<NumberRange> {
        Some(NumberRange::new(self.uids.first()?, self.uids.last()?))
    }

    /// Returns whether the client knows a message with this UID.
    #[must_use]
    pub fn contains(&self, uid: u32) -> bool {
        self.uids.contains(uid)
    }

    /// Returns the sequence number of the message with this UID.
    #[must_use]
    pub fn sequence_number(&self, uid: u32) -> Option<u32> {
        self.uids.contains(uid).then(|| self.uids.count_up_to(uid))
    }

    /// Returns the UID of the message with this sequence number.
    #[must_use]
    pub fn uid(&self, sequence: u32) -> Option<u32> {
        self.uids.nth(sequence.checked_sub(1)?)
    }

    /// Returns the sequence numbers and UIDs of the messages in these ranges of UIDs, in ascending order.
    pub fn messages<'a>(
        &'a self,
        uids: impl IntoIterator<Item = NumberRange> + 'a,
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        uids.into_iter().flat_map(|range| {
            let before = self.uids.count_up_to(range.first().saturating_sub(1));
            (before.saturating_add(1)..).zip(self.uids.iter_range(range.into()))
        })
    }

    /// Appends new messages, whose UIDs ascend. A UID that is not above the last one is ignored, because the client
    /// already knows the message, or its UID has been used before. Returns EXISTS if there is a new message.
    #[must_use = "the client must be told"]
    pub fn append(&mut self, uids: impl IntoIterator<Item = u32>) -> Option<ViewUpdate> {
        let mut last = self.uids.last().unwrap_or(0);
        let mut any = false;
        for uid in uids {
            if uid > last {
                (last, any) = (uid, true);
                Arc::make_mut(&mut self.uids).insert(uid);
            }
        }
        any.then(|| ViewUpdate::Exists(self.exists()))
    }

    /// Removes an expunged message. Returns EXPUNGE or VANISHED; `None` if the client does not know the message.
    ///
    /// The server calls this only while the client may be told. See [`Expunges`](super::Expunges).
    #[must_use = "the client must be told"]
    pub fn expunge(&mut self, uid: u32) -> Option<ViewUpdate> {
        let sequence = self.sequence_number(uid)?;
        Arc::make_mut(&mut self.uids).remove(uid);
        self.recent.remove(uid);
        self.saved.remove(uid);
        Some(match self.form {
            ExpungeForm::Expunge => ViewUpdate::Expunge(sequence),
            ExpungeForm::Vanished => ViewUpdate::Vanished(Vec::from([uid.into()])),
        })
    }

    /// Removes the last message. A server that removes all messages, because the mailbox was deleted, calls this until
    /// it returns `None`.
    #[must_use = "the client must be told"]
    pub fn expunge_last(&mut self) -> Option<ViewUpdate> {
        self.expunge(self.uids.last()?)
    }

    /// Removes all of these messages that the client knows. Returns one VANISHED for all of them; `None` if the
    /// client knows none of them. Only for a client that has enabled QRESYNC.
    #[must_use = "the client must be told"]
    pub fn vanish(&mut self, uids: impl IntoIterator<Item = u32>) -> Option<ViewUpdate> {
        let gone: UidBitmap = uids.into_iter().filter(|uid| self.contains(*uid)).collect();
        if gone.is_empty() {
            return None;
        }
        self.remove_all(&gone);
        Some(ViewUpdate::Vanished(gone.ranges().collect()))
    }

    /// Removes the messages in the first ranges of consecutive UIDs, at most `ranges` of them. Returns one VANISHED for all of
    /// these messages; `None` if there are none left. A server that removes all messages of a client that has enabled QRESYNC,
    /// because the mailbox was deleted, calls this until it returns `None`.
    #[must_use = "the client must be told"]
    pub fn vanish_first(&mut self, ranges: usize) -> Option<ViewUpdate> {
        let gone: Vec<NumberRange> = self.uids.ranges().take(ranges.max(1)).collect();
        if gone.is_empty() {
            return None;
        }
        self.remove_all(&gone.iter().copied().collect());
        Some(ViewUpdate::Vanished(gone))
    }

    pub(super) fn remove_all(&mut self, gone: &UidBitmap) {
        Arc::make_mut(&mut self.uids).subtract(gone);
        self.recent.subtract(gone);
        self.saved.subtract(gone);
    }

    /// Returns the UIDs in these ranges that no message of the view has, as ranges below `uid_next`: the `VANISHED
    /// (EARLIER)` that answers the known UIDs of `SELECT (QRESYNC …)` where the server does not know when messages were
    /// expunged (RFC 7162 §3.2.5.1).
    pub fn vanished_earlier<'a>(
        &'a self,
        known: impl IntoIterator<Item = NumberRange> + 'a,
        uid_next: u32,
    ) -> impl Iterator<Item = NumberRange> + 'a {
        let used = known.into_iter().filter(move |range| range.first() < uid_next);
        let used = used.map(move |range| NumberRange::new(range.first(), range.last().min(uid_next - 1)));
        used.flat_map(|range| self.uids.gaps_within(range))
    }

    /// Returns the messages that are recent in this session (RFC 3501 §2.3.2).
    #[must_use]
    pub const fn recent(&self) -> &UidBitmap {
        &self.recent
    }

    /// Returns whether a message is recent in this session.
    #[must_use]
    pub fn is_recent(&self, uid: u32) -> bool {
        self.recent.contains(uid)
    }

    /// Marks those messages as recent that the client knows and whose UID is at least `first`: no session was told
    /// about them before this one. Returns RECENT.
    #[must_use = "the client must be told"]
    pub fn mark_recent_from(&mut self, first: u32) -> ViewUpdate {
        // The messages up to the last recent one were marked before.
        let from = self.recent.last().map_or(first, |last| first.max(last.saturating_add(1)));
        self.recent.extend(self.uids.ranges_within(NumberRange::new(from, u32::MAX)));
        ViewUpdate::Recent(self.recent.len())
    }

    /// Forgets which messages are recent: IMAP4rev2 has no recent messages.
    pub fn clear_recent(&mut self) {
        self.recent.clear();
    }

    /// Returns the saved search result, `$` (RFC 5182).
    #[must_use]
    pub const fn saved(&self) -> &UidBitmap {
        &self.saved
    }

    /// Sets the saved search result, `$`: after a successful SEARCH with `RETURN (SAVE)` to the messages found, and after
    /// one that was answered NO to the empty set (RFC 5182 §2.1).
    pub fn save(&mut self, found: UidBitmap) {
        self.saved = found;
    }

    /// Records a change of flags that this session made, and that the client knows: the response to its command has
    /// reported it, or the STORE was silent. The client does not know an earlier change of the same message by another
    /// session. If there was one, the server reports the flags even in response to a silent STORE, or does not record the
    /// change, so that it is reported later (RFC 9051 §6.4.6).
    pub fn record_own_change(&mut self, mod_sequence: u64) {
        self.own.insert(mod_sequence);
    }

    /// Returns whether this session made the change with this mod-sequence, so that it is not reported again. An old
    /// change of its own may be forgotten; reporting it again is harmless.
    #[must_use]
    pub fn is_own_change(&self, mod_sequence: u64) -> bool {
        self.own.contains(mod_sequence)
    }

    /// Returns the last of this session's own changes that follow the change with this mod-sequence without a gap, or
    /// the given value: the changes up to there need not be read.
    #[must_use]
    pub fn skip_own_changes(&self, mod_sequence: u64) -> u64 {
        self.own.skip(mod_sequence)
    }

    /// Forgets this session's own changes up to this mod-sequence, because they were passed.
    pub fn forget_own_changes(&mut self, mod_sequence: u64) {
        self.own.forget(mod_sequence);
    }

    /// Compacts the view after changes, and replaces its UIDs by the equal ones that `share` returns, if there are any.
    ///
    /// Servers that use a [`MailboxTracker`](super::MailboxTracker) need not call this.
    pub fn share(&mut self, share: impl FnOnce(Arc<UidBitmap>) -> Arc<UidBitmap>) {
        let mut uids = core::mem::take(&mut self.uids);
        if let Some(own) = Arc::get_mut(&mut uids) {
            own.compact();
        }
        self.uids = share(uids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> MailboxView {
        MailboxView::new([3, 5, 9, 10].into_iter().collect::<UidBitmap>())
    }

    fn all(view: &MailboxView) -> Vec<u32> {
        view.uids().iter().collect()
    }

    #[test]
    fn each_expunge_renumbers_the_messages_after_it() {
        let mut view = view();
        let updates: Vec<_> = [3, 4, 9].into_iter().map(|uid| view.expunge(uid)).collect();
        assert_eq!(updates, [Some(ViewUpdate::Expunge(1)), None, Some(ViewUpdate::Expunge(2))]);
        assert_eq!(all(&view), [5, 10]);
        assert_eq!((view.sequence_number(10), view.sequence_number(9)), (Some(2), None));
        assert_eq!((view.uid(2), view.uid(3), view.uid(0)), (Some(10), None, None));
        assert_eq!(view.append([7, 10, 11]), Some(ViewUpdate::Exists(3)));
        assert_eq!(all(&view), [5, 10, 11]);
        assert_eq!(view.append([11]), None);
        assert_eq!((view.expunge_last(), view.exists()), (Some(ViewUpdate::Expunge(3)), 2));
    }

    #[test]
    fn reports_vanished_messages_by_uid() {
        let mut view = view();
        view.set_expunge_form(ExpungeForm::Vanished);
        assert_eq!(view.expunge(5), Some(ViewUpdate::Vanished(Vec::from([5.into()]))));
        let ranges = Vec::from([3.into(), NumberRange::new(9, 10)]);
        assert_eq!(view.vanish([10, 9, 4, 3]), Some(ViewUpdate::Vanished(ranges)));
        assert_eq!(view.vanish([10]), None);
        assert_eq!(view.append(11..=12), Some(ViewUpdate::Exists(2)));
        assert_eq!(view.append([20]), Some(ViewUpdate::Exists(3)));
        assert_eq!(view.vanish_first(1), Some(ViewUpdate::Vanished(Vec::from([NumberRange::new(11, 12)]))));
        assert_eq!(view.vanish_first(1), Some(ViewUpdate::Vanished(Vec::from([20.into()]))));
        assert_eq!(view.vanish_first(1), None);
        assert_eq!(view.exists(), 0);
    }

    #[test]
    fn lists_known_uids_that_have_vanished_earlier() {
        let view = view();
        let of = |known: &[(u32, u32)]| -> Vec<_> {
            let known: Vec<_> = known.iter().map(|&(first, last)| NumberRange::new(first, last)).collect();
            view.vanished_earlier(known, 13).map(|range| (range.first(), range.last())).collect()
        };
        assert_eq!(of(&[(1, 5), (9, u32::MAX)]), [(1, 2), (4, 4), (11, 12)]);
        assert_eq!(of(&[(3, 3), (13, 20)]), []);
    }

    #[test]
    fn forgets_expunged_messages_everywhere() {
        let mut view = view();
        assert_eq!(view.mark_recent_from(9), ViewUpdate::Recent(2));
        view.save([3, 9].into_iter().collect());
        assert!(view.expunge(9).is_some());
        assert_eq!((view.recent().len(), view.saved().len()), (1, 1));
        assert!(view.append([20, 30]).is_some());
        assert_eq!(view.mark_recent_from(25), ViewUpdate::Recent(2));
        assert!(!view.is_recent(20) && view.is_recent(30));
    }

    #[test]
    fn numbers_the_messages_of_ranges() {
        let ranges = [NumberRange::new(1, 4), NumberRange::new(9, 20)];
        assert_eq!(view().messages(ranges).collect::<Vec<_>>(), [(1, 3), (3, 9), (4, 10)]);
    }

    #[test]
    fn sessions_with_the_same_messages_share_one_bitmap() {
        let (mut one, mut other) = (view(), view());
        let mut shared = None;
        one.share(|uids| Arc::clone(shared.insert(uids)));
        other.share(|uids| if shared.as_ref() == Some(&uids) { shared.clone().unwrap() } else { uids });
        assert!(Arc::ptr_eq(&one.uids, &other.uids));
        assert!(other.expunge(5).is_some());
        assert_eq!((one.exists(), other.exists()), (4, 3));
    }
}
