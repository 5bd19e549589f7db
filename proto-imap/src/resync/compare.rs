//! What a resynchronisation does after each command: it compares what the server has said with what is known, and sends the
//! next command.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use proto_mail::{Channel, SendBuffer};

use super::machine::{QRESYNC, Resync, Step};
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
                self.compare(client, tx)
            }
            (Step::Selecting(_), Condition::Bad) if self.method == ResyncMethod::QResync => {
                self.forget_responses();
                self.select_by(ResyncMethod::CondStore, client, tx)
            }
            (Step::FetchingChanges(_), Condition::Ok) => self.check(client, tx),
            (Step::FetchingChanges(_), Condition::Bad) => self.fetch_all(client, tx),
            (Step::FetchingAll(_), Condition::Ok) => self.check_all(client, tx),
            (Step::Searching(_), Condition::Ok) => self.compare_found(client, tx),
            (Step::FetchingFound(_), Condition::Ok) => {
                self.finish();
                Ok(())
            }
            _ => Err(ResyncError::Rejected(Box::new(status.into_owned()))),
        }
    }

    /// Returns the method with which the mailbox is selected.
    pub(super) fn best_method<C: Channel>(&self, client: &Client<C>) -> ResyncMethod {
        let is_known = self.known.uid_validity.is_some()
            && self.known.highest_mod_sequence.is_some_and(is_valid)
            && !self.known.uids.is_empty();
        match is_known {
            true if offers(client, QRESYNC) && client.is_enabled(QRESYNC) => ResyncMethod::QResync,
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
    fn forget_responses(&mut self) {
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
        for set in [&mut self.uids, &mut self.seen, &mut self.vanished] {
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
        let fetch = FetchCommand::new(SequenceSet::ALL, LazyList::new(self.attributes(client)));
        self.step = Step::FetchingAll(client.send(&Command::UidFetch(fetch), tx)?);
        Ok(())
    }

    /// Returns what to fetch of messages without CHANGEDSINCE, which implies MODSEQ.
    fn attributes<C: Channel>(&self, client: &Client<C>) -> &'static [FetchAttribute<'static>] {
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

    fn search<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<(), ResyncError> {
        let mut search = SearchCommand::new(&[SearchKey::All]);
        if offers(client, "ESEARCH") || offers(client, "IMAP4rev2") {
            search.returns = Some(LazyList::new(&[SearchReturnOption::All]));
        }
        self.step = Step::Searching(client.send(&Command::UidSearch(search), tx)?);
        Ok(())
    }

    /// Compares the messages that exist with those that were known or shown.
    fn compare_found<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        self.vanished = self.uids.difference(&self.found);
        let mut not_shown = self.found.difference(&self.uids);
        if self.method == ResyncMethod::Full {
            not_shown.union_with(&self.found.difference(&self.seen));
        }
        if not_shown.is_empty() {
            self.finish();
            return Ok(());
        }
        let uids = enclosing_ranges(&not_shown);
        let fetch = FetchCommand::new(SequenceSet::new(&uids), LazyList::new(self.attributes(client)));
        self.step = Step::FetchingFound(client.send(&Command::UidFetch(fetch), tx)?);
        Ok(())
    }

    /// Reports what has vanished, and the result.
    fn finish(&mut self) {
        self.step = Step::Done;
        self.uids.subtract(&self.vanished);
        if !self.vanished.is_empty() {
            self.events.push_back(ResyncEvent::Vanished(core::mem::take(&mut self.vanished)));
        }
        let after_last = self.uids.last().and_then(|last| NonZeroU32::new(last.saturating_add(1)));
        let highest_mod_sequence = match self.is_incomplete {
            true => self.known.highest_mod_sequence,
            false => self.selected.highest_mod_sequence(),
        };
        let uid_next = self.selected.uid_next.filter(|_| !self.is_incomplete);
        let mailbox = KnownMailbox {
            uid_validity: self.selected.uid_validity,
            uid_next: uid_next.map(|next| after_last.map_or(next, |after| next.max(after))),
            highest_mod_sequence: highest_mod_sequence.filter(|_| self.selected.uid_validity.is_some()),
            uids: core::mem::take(&mut self.uids),
        };
        let (method, is_read_only) = (self.method, self.selected.is_read_only);
        self.events.push_back(ResyncEvent::Done(Box::new(ResyncedMailbox { mailbox, method, is_read_only })));
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
