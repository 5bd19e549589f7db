//! What has changed since a mod-sequence: FETCH with CHANGEDSINCE, also with VANISHED, and SELECT with QRESYNC (RFC 7162
//! §3.1.4.1, §3.2.5, §3.2.6).
//!
//! A job on a worker reads from the store which messages have changed and which were expunged. The session then writes
//! VANISHED (EARLIER), a limited number of ranges at a time, and the changed messages like those of any FETCH. If the store
//! does not know when messages were expunged, every UID counts as vanished that no message of the session's view has.

use std::ops::RangeInclusive;

use io_common::{JobStep, Next};
use mailstore::UidSet;
use proto_imap::mailbox_view::MailboxView;
use proto_imap::server::Reply;
use proto_imap::types::{NumberRange, Numbers, QResync, SequenceSet, Untagged, VanishedWhen};

use super::changed_messages::{ChangedFetch, ChangesJob, Vanished, VanishedInProgress};
use super::command_state::{FetchEnd, FetchInProgress};
use super::fetch_items::{FetchRequest, Item};
use super::output_limits::should_yield;
use super::{InProgress, Session, Turn, next_or_close};

impl Session {
    /// Finds out which messages have changed, writes which have vanished, and fetches the others.
    pub(super) fn fetch_changed(&mut self, mut fetch: ChangedFetch, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &self.selected else { return Next::Close };
        let mut job = Some(ChangesJob::new(selected.mailbox, &mut fetch));
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
            move |session, found, turn| match found {
                Ok(job) => session.start_changed(fetch, job, turn),
                Err(error) => session.reject_fetch(fetch.end, &error, turn),
            },
        )
    }

    fn start_changed(&mut self, fetch: ChangedFetch, mut job: ChangesJob, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &self.selected else { return Next::Close };
        let ChangedFetch { end, request, since, .. } = fetch;
        let fetch =
            FetchInProgress::new(end, (selected.fetch_source(), &job.take_uids()), request, Some(since));
        let Some(mut vanished) = job.vanished else {
            self.in_progress = InProgress::Fetch(fetch);
            return self.write_fetch(turn);
        };
        if let Vanished::Known(uids) = &mut vanished {
            // The client learns later that a message of the view was expunged: it counts in sequence numbers.
            uids.subtract(selected.view.uids());
        }
        self.in_progress =
            InProgress::Vanished(Box::new(VanishedInProgress { vanished, next: Some(1), fetch }));
        self.write_vanished(turn)
    }

    /// Writes as many VANISHED responses as the client accepts, then fetches the changed messages.
    pub(super) fn write_vanished(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let before = turn.tx.len();
        loop {
            let (InProgress::Vanished(progress), Some(selected)) = (&mut self.in_progress, &self.selected)
            else {
                return Next::Close;
            };
            if should_yield(before, turn.tx.len()) {
                return Next::More;
            }
            let ranges = progress.next.map(|next| progress.vanished.ranges(next, &selected.view));
            let Some(last) = ranges.as_ref().and_then(|ranges| ranges.last()) else { break };
            progress.next = last.last().checked_add(1);
            let uids = Numbers::new(ranges.as_deref().unwrap_or_default());
            let vanished = Untagged::Vanished { when: VanishedWhen::Earlier, uids };
            if let Err(error) = turn.machine.data(&vanished, turn.tx) {
                return next_or_close(Err(error));
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Vanished(progress) => {
                self.in_progress = InProgress::Fetch(progress.fetch);
                self.write_fetch(turn)
            }
            _ => Next::Close,
        }
    }
}

/// What a client knows of the mailbox that it selects (RFC 7162 §3.2.5).
pub(super) struct KnownState {
    pub(super) uid_validity: u32,
    mod_sequence: u64,
    /// All UIDs if it is `None`.
    uids: Option<UidSet>,
    /// Some sequence numbers and their UIDs, which correspond by position.
    pairs: Option<(Vec<NumberRange>, Vec<NumberRange>)>,
}

impl From<QResync<'_>> for KnownState {
    fn from(known: QResync<'_>) -> Self {
        let numbers = |set: SequenceSet<'_>| -> Vec<NumberRange> {
            set.ranges().map(|range| range.resolve(u32::MAX).into()).collect()
        };
        Self {
            uid_validity: known.uid_validity.get(),
            mod_sequence: known.mod_sequence,
            uids: known.known_uids.map(|uids| uids.resolve(u32::MAX).into_iter().collect()),
            pairs: known.known_pairs.map(|(sequence, uids)| (numbers(sequence), numbers(uids))),
        }
    }
}

impl KnownState {
    /// Returns the FETCH that reports what has changed; `None` if nothing has. The mailbox has the highest mod-sequence and
    /// UIDNEXT of `status`.
    pub(super) fn changes(
        self,
        reply: Reply,
        status: &mailstore::Status,
        view: &MailboxView,
        items: Vec<Item>,
    ) -> Result<ChangedFetch, Reply> {
        let Some(last) = status.uid_next.checked_sub(1).filter(|last| *last > 0) else { return Err(reply) };
        if self.mod_sequence == status.highest_modseq {
            return Err(reply);
        }
        // A client that knows more than the mailbox has seen another history of it: it knows nothing.
        let since = if self.mod_sequence > status.highest_modseq { 0 } else { self.mod_sequence };
        let known_through = self.pairs.as_ref().map_or(0, |pairs| last_matching_uid(pairs, view));
        let uids = self.uids.unwrap_or_else(UidSet::all);
        let existing: UidSet =
            uids.ranges().iter().map(|range| *range.start()..=(*range.end()).min(last)).collect();
        let vanished_among = existing.starting_at(known_through.saturating_add(1));
        let request = FetchRequest { items, sets_seen: false, preview: None };
        let (end, vanished_among) = (FetchEnd::Select(reply), Some(vanished_among));
        Ok(ChangedFetch { end, request, uids: existing, since, vanished_among })
    }
}

/// Returns the UID of the last pair that is true in the view; 0 if none is. The client knows of every expunge up to it (RFC
/// 7162 §3.2.5.2).
///
/// An expunge changes the sequence numbers of all later messages, so that after the first pair that is not true no other
/// is.
fn last_matching_uid((numbers, uids): &(Vec<NumberRange>, Vec<NumberRange>), view: &MailboxView) -> u32 {
    let (numbers, uids) = (Positions::new(numbers), Positions::new(uids));
    let (mut matching, mut end) = (0, numbers.len().min(uids.len()));
    let mut last = 0;
    while matching < end {
        let middle = matching + (end - matching) / 2;
        let pair = (numbers.get(middle), uids.get(middle));
        match pair {
            (Some(number), Some(uid)) if view.uid(number) == Some(uid) => {
                last = uid;
                matching = middle + 1;
            }
            _ => end = middle,
        }
    }
    last
}

/// The numbers of ranges, by position.
struct Positions<'a> {
    ranges: &'a [NumberRange],
    /// The position after each range.
    ends: Vec<u64>,
}

impl<'a> Positions<'a> {
    fn new(ranges: &'a [NumberRange]) -> Self {
        let mut end = 0;
        let ends = ranges.iter().map(|range| {
            end += u64::from(range.last() - range.first()) + 1;
            end
        });
        Self { ends: ends.collect(), ranges }
    }

    fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    fn get(&self, position: u64) -> Option<u32> {
        let index = self.ends.partition_point(|end| *end <= position);
        let (range, end) = (self.ranges.get(index)?, self.ends.get(index)?);
        range.last().checked_sub(u32::try_from(end - 1 - position).ok()?)
    }
}

/// Returns the UIDs that a set names up to the last one that was ever used, whether or not a message has them.
pub(super) fn used_uids(set: SequenceSet<'_>, uid_next: u32) -> UidSet {
    let named: Vec<RangeInclusive<u32>> = set.resolve(uid_next.saturating_sub(1));
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proto_imap::mailbox_view::UidBitmap;

    use super::*;

    fn ranges(of: &[(u32, u32)]) -> Vec<NumberRange> {
        of.iter().map(|&(first, last)| NumberRange::new(first, last)).collect()
    }

    #[test]
    fn finds_the_last_pair_that_is_true() {
        // The messages 3, 6, 9 … 30.
        let view = MailboxView::new((3..=30).step_by(3).collect::<UidBitmap>());
        let pairs = |numbers: &[(u32, u32)], uids: &[(u32, u32)]| (ranges(numbers), ranges(uids));
        assert_eq!(last_matching_uid(&pairs(&[(2, 2), (4, 4)], &[(6, 6), (12, 12)]), &view), 12);
        // One of the first 4 messages that the client knew was expunged.
        assert_eq!(last_matching_uid(&pairs(&[(2, 2), (5, 5)], &[(6, 6), (12, 12)]), &view), 6);
        assert_eq!(last_matching_uid(&pairs(&[(3, 3)], &[(6, 6)]), &view), 0);
        assert_eq!(
            last_matching_uid(&pairs(&[(1, 1), (8, 10)], &[(3, 3), (24, 24), (27, 27), (30, 30)]), &view),
            30
        );
        assert_eq!(last_matching_uid(&pairs(&[(1, u32::MAX)], &[(1, u32::MAX)]), &view), 0);
        assert_eq!(last_matching_uid(&pairs(&[(11, 99)], &[(33, 40)]), &view), 0, "no such messages");
    }
}
