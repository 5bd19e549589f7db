//! What a resynchronisation does after each command: it compares what the server has said with what is known, and sends the
//! next command.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use proto_mail::{Channel, SendBuffer};

use super::machine::{AfterSelect, QRESYNC, Resync, Step};
use super::ranges::RangeQueue;
use super::selected::{SelectedMailbox, is_valid};
use super::types::{KnownMailbox, ResyncError, ResyncEvent, ResyncMethod, ResyncedMailbox};
use crate::client::Client;
use crate::state::Access;
use crate::types::{
    Command, Condition, FetchAttribute, FetchCommand, FetchModifier, LazyList, NumberRange, QResync,
    SearchCommand, SearchKey, SearchReturnOption, SelectCommand, SelectParameter, SequenceRange, SequenceSet,
    StatusResponse,
};
use crate::uid_bitmap::UidBitmap;

/// The maximum number of ranges of UIDs in a command. A set with more is replaced by the range that encloses it.
const RANGES: usize = 64;

const UID: &[FetchAttribute<'static>] = &[FetchAttribute::Uid];
const FLAGS: &[FetchAttribute<'static>] = &[FetchAttribute::Uid, FetchAttribute::Flags];
const FLAGS_AND_MODSEQ: &[FetchAttribute<'static>] =
    &[FetchAttribute::Uid, FetchAttribute::Flags, FetchAttribute::ModSeq];

impl Resync {
    /// Continues after a command.
    pub(super) fn completed<C: Channel>(
        &mut self,
        status: &StatusResponse<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        match (self.step, status.condition) {
            // Whether ENABLE had an effect is in ENABLED.
            (Step::Enabling(_), _) => self.select_by(self.best_method(client), client, tx),
            (Step::Selecting(_), Condition::Ok) => {
                self.selected.take(status);
                self.select_completed(client, tx)
            }
            (Step::Selecting(_), _) if self.method == ResyncMethod::QResync => {
                self.forget_responses();
                self.select_by(ResyncMethod::CondStore, client, tx)
            }
            (Step::Selecting(_), _) => {
                self.forget_responses();
                Err(ResyncError::Rejected(Box::new(status.into_owned())))
            }
            (Step::FetchingChanges(_), Condition::Ok) => self.check(client, tx),
            (Step::FetchingChanges(_), _) => self.fetch_all(client, tx),
            (Step::FetchingAll(_), Condition::Ok) => {
                self.has_fetched_all = true;
                self.check_all(client, tx)
            }
            (Step::FetchingAll(_), _) => self.search(client, tx),
            (Step::Searching(_), Condition::Ok) => self.compare_found(client, tx),
            (Step::Searching(_) | Step::FetchingFound(_), condition) if condition != Condition::Ok => {
                self.ranges = Some(self.ranges_to_fetch());
                self.fetch_ranges(client, tx)
            }
            (Step::FetchingFound(_), _) => {
                self.mark_unreadable();
                self.finish();
                Ok(())
            }
            (Step::FetchingRange(..), Condition::Ok) => self.fetch_ranges(client, tx),
            (Step::FetchingRange(_, range), _) => self.range_rejected(range, client, tx),
            (Step::New | Step::Searching(_) | Step::Done, _) => Ok(()),
        }
    }

    /// Goes on when the mailbox is selected.
    fn select_completed<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        self.has_lost_select = false;
        match &self.first {
            Some(first) if first.uid_validity != self.selected.uid_validity => {
                return Err(ResyncError::UidValidityChanged);
            }
            Some(_) => {}
            None => self.first = Some(self.selected.clone()),
        }
        if self.selected.exists.is_some_and(|exists| exists > self.message_limit) {
            return Err(self.too_many());
        }
        match self.after_select {
            AfterSelect::Compare => self.compare(client, tx),
            AfterSelect::Search => self.search(client, tx),
            AfterSelect::Ranges => self.fetch_ranges(client, tx),
        }
    }

    /// Returns the method with which the mailbox is selected.
    pub(super) fn best_method<C: Channel>(&self, client: &Client<C>) -> ResyncMethod {
        let is_known = self.after_select == AfterSelect::Compare
            && self.known.uid_validity.is_some()
            && self.known.highest_mod_sequence.is_some_and(is_valid)
            && !self.known.uids.is_empty();
        match is_known {
            true if !self.has_lost_select && offers(client, QRESYNC) && client.is_enabled(QRESYNC) => {
                ResyncMethod::QResync
            }
            true if offers_mod_sequences(client) => ResyncMethod::CondStore,
            _ => ResyncMethod::Full,
        }
    }

    pub(super) fn select_by<C: Channel>(
        &mut self,
        method: ResyncMethod,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        self.method = method;
        let has_mod_sequences = client.is_enabled(QRESYNC) || client.is_enabled("CONDSTORE");
        let parameter = match (method, self.known.uid_validity, self.known.highest_mod_sequence) {
            (ResyncMethod::QResync, Some(uid_validity), Some(mod_sequence)) => {
                Some(SelectParameter::QResync(QResync {
                    uid_validity,
                    mod_sequence,
                    // With known UIDs the server would not report new messages (RFC 7162 §3.2.5.1).
                    known_uids: None,
                    known_pairs: None,
                }))
            }
            _ if !has_mod_sequences && offers_mod_sequences(client) => Some(SelectParameter::CondStore),
            _ => None,
        };
        let mut select = SelectCommand::new(self.mailbox.view());
        select.parameters = LazyList::new(parameter.as_slice());
        let id = match self.access {
            Access::ReadWrite => client.send(&Command::Select(select), tx)?,
            Access::ReadOnly => client.send(&Command::Examine(select), tx)?,
        };
        self.step = Step::Selecting(id);
        Ok(())
    }

    /// Forgets what a command that failed has brought.
    pub(super) fn forget_responses(&mut self) {
        self.selected = SelectedMailbox::default();
        self.vanished.clear();
    }

    /// Compares the selected mailbox with the known one, and finds out what has changed.
    fn compare<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let uid_validity = self.selected.uid_validity;
        if uid_validity.is_none() || uid_validity != self.known.uid_validity {
            self.reset();
        }
        if self.selected.exists == Some(0) {
            self.vanished = self.uids.clone();
            self.finish();
            return Ok(());
        }
        let known = self.known.highest_mod_sequence;
        let highest = self.selected.highest_mod_sequence();
        // A mod-sequence that has gone back shows that the server has lost changes, or their numbers.
        let (Some(known), Some(highest)) =
            (known, highest.filter(|highest| known.is_some_and(|one| one <= *highest)))
        else {
            return self.fetch_all(client, tx);
        };
        match self.method {
            ResyncMethod::Full => self.fetch_all(client, tx),
            ResyncMethod::QResync if !self.selected.has_early_data => self.check(client, tx),
            ResyncMethod::QResync | ResyncMethod::CondStore => {
                self.method = ResyncMethod::CondStore;
                let has_no_new =
                    self.known.uid_next.is_some() && self.known.uid_next == self.selected.uid_next;
                if known == highest && has_no_new && !self.selected.has_early_data {
                    return self.check(client, tx);
                }
                self.fetch_changes(known, client, tx)
            }
        }
    }

    /// Discards what was known of another mailbox with this name.
    fn reset(&mut self) {
        if self.known.uid_validity.is_some() || !self.known.uids.is_empty() {
            self.events.push_back(ResyncEvent::Reset);
        }
        self.known = KnownMailbox::default();
        self.method = ResyncMethod::Full;
        self.count = 0;
        for set in [&mut self.uids, &mut self.seen, &mut self.vanished, &mut self.avoided] {
            set.clear();
        }
    }

    fn fetch_changes<C: Channel>(
        &mut self,
        since: u64,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let mut fetch = FetchCommand::new(SequenceSet::ALL, LazyList::new(FLAGS));
        let modifiers = [FetchModifier::ChangedSince(since)];
        fetch.modifiers = LazyList::new(&modifiers);
        self.sends();
        self.step = Step::FetchingChanges(client.send(&Command::UidFetch(fetch), tx)?);
        Ok(())
    }

    fn fetch_all<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        self.method = ResyncMethod::Full;
        self.seen.clear();
        if !self.avoided.is_empty() {
            return self.search(client, tx);
        }
        let fetch = FetchCommand::new(SequenceSet::ALL, LazyList::new(self.attributes(client)));
        self.sends();
        self.step = Step::FetchingAll(client.send(&Command::UidFetch(fetch), tx)?);
        Ok(())
    }

    /// Returns what to fetch of messages without CHANGEDSINCE, which implies MODSEQ.
    pub(super) fn attributes<C: Channel>(&self, client: &Client<C>) -> &'static [FetchAttribute<'static>] {
        if self.wants_uids_only() {
            return UID;
        }
        let has_mod_sequences = self.selected.highest_mod_sequence().is_some();
        if has_mod_sequences && offers_mod_sequences(client) { FLAGS_AND_MODSEQ } else { FLAGS }
    }

    /// Checks whether the number of messages is that of the server. If so, the vanished messages are known.
    fn check<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<(), ResyncError> {
        if self.selected.exists == Some(self.uids.len().saturating_sub(self.vanished.len())) {
            self.finish();
            return Ok(());
        }
        self.search(client, tx)
    }

    /// Like [`check`](Self::check), after the server has shown all messages.
    fn check_all<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let present = self.seen.difference(&self.vanished);
        if self.selected.exists == Some(present.len()) {
            self.vanished = self.uids.difference(&present);
            self.finish();
            return Ok(());
        }
        self.search(client, tx)
    }

    pub(super) fn search<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let mut search = SearchCommand::new(&[SearchKey::All]);
        if offers(client, "ESEARCH") || offers(client, "IMAP4rev2") {
            search.returns = Some(LazyList::new(&[SearchReturnOption::All]));
        }
        self.found.clear();
        self.sends();
        self.step = Step::Searching(client.send(&Command::UidSearch(search), tx)?);
        Ok(())
    }

    /// Compares the messages that exist with those that were known or shown.
    fn compare_found<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let is_incomplete = self.selected.exists.is_some_and(|exists| self.found.len() < exists);
        if is_incomplete && !self.has_fetched_all {
            self.ranges = Some(self.all_ranges());
            return self.fetch_ranges(client, tx);
        }
        if is_incomplete {
            self.found.union_with(&self.seen);
        }
        self.has_found = true;
        let found = self.found.clone();
        self.compare_present(&found);
        if self.wants_uids_only() {
            self.uids.union_with(&found);
            self.seen.union_with(&found);
        }
        let not_shown = self.not_shown().difference(&self.avoided);
        if not_shown.is_empty() {
            self.mark_unreadable();
            self.finish();
            return Ok(());
        }
        let uids = enclosing_ranges(&not_shown);
        let fetch = FetchCommand::new(SequenceSet::new(&uids), LazyList::new(self.attributes(client)));
        self.sends();
        self.step = Step::FetchingFound(client.send(&Command::UidFetch(fetch), tx)?);
        Ok(())
    }

    /// Returns the messages that SEARCH has found and of which the flags, or their changes, are not known.
    fn not_shown(&self) -> UidBitmap {
        match self.method {
            ResyncMethod::Full => self.found.difference(&self.seen),
            ResyncMethod::QResync | ResyncMethod::CondStore => self.found.difference(&self.uids),
        }
    }

    /// Returns the ranges that are listed after the server has failed on all of them at once.
    pub(super) fn ranges_to_fetch(&self) -> RangeQueue {
        let not_shown = self.not_shown();
        match (not_shown.first(), not_shown.last()) {
            (Some(first), Some(last)) if self.has_found => RangeQueue::new(NumberRange::new(first, last)),
            _ => self.all_ranges(),
        }
    }

    /// Marks the messages that exist and that the server has not shown.
    pub(super) fn mark_unreadable(&mut self) {
        let not_shown = self.not_shown().difference(&self.vanished);
        self.unreadable.union_with(&not_shown);
    }

    /// Reports what has vanished, and the result.
    pub(super) fn finish(&mut self) {
        self.step = Step::Done;
        self.uids.subtract(&self.vanished);
        self.unreadable.subtract(&self.vanished);
        self.is_incomplete |= self.unlisted > 0 || !self.unreadable.is_empty();
        if !self.unreadable.is_empty() {
            self.uids.union_with(&self.unreadable);
            self.events.push_back(ResyncEvent::Unreadable(core::mem::take(&mut self.unreadable)));
        }
        if !self.vanished.is_empty() {
            self.events.push_back(ResyncEvent::Vanished(core::mem::take(&mut self.vanished)));
        }
        // Changes since the first session are not all known.
        let first = self.first.as_ref().unwrap_or(&self.selected);
        let after_last = self.uids.last().and_then(|last| NonZeroU32::new(last.saturating_add(1)));
        let highest_mod_sequence = match self.is_incomplete {
            true => self.known.highest_mod_sequence,
            false => first.highest_mod_sequence(),
        };
        let uid_next = first.uid_next.filter(|_| !self.is_incomplete);
        let mailbox = KnownMailbox {
            uid_validity: self.selected.uid_validity,
            uid_next: uid_next.map(|next| after_last.map_or(next, |after| next.max(after))),
            highest_mod_sequence: highest_mod_sequence.filter(|_| self.selected.uid_validity.is_some()),
            uids: core::mem::take(&mut self.uids),
        };
        let (method, is_read_only) = (self.method, self.selected.is_read_only);
        self.events.push_back(ResyncEvent::Done(Box::new(ResyncedMailbox {
            mailbox,
            method,
            is_read_only,
            unlisted: self.unlisted,
        })));
    }
}

fn offers<C: Channel>(client: &Client<C>, name: &str) -> bool {
    client.capabilities().is_some_and(|capabilities| capabilities.has(name))
}

fn offers_mod_sequences<C: Channel>(client: &Client<C>) -> bool {
    offers(client, "CONDSTORE") || offers(client, QRESYNC)
}

/// Returns the ranges of a set, or the range from its first UID to its last if there are too many.
fn enclosing_ranges(uids: &UidBitmap) -> Vec<SequenceRange> {
    let ranges: Vec<NumberRange> = uids.ranges().take(RANGES + 1).collect();
    match (uids.first(), uids.last()) {
        (Some(first), Some(last)) if ranges.len() > RANGES => Vec::from([SequenceRange::new(first, last)]),
        _ => ranges.into_iter().map(SequenceRange::from).collect(),
    }
}
