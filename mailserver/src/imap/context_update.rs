//! Updates the results that are kept up to date after a page of changes, on a worker.
//!
//! After a change of the mailbox, only the messages that are new or have other flags are tested again. A message that
//! is new in a sorted result gets its place by a binary search: the messages that it is compared with are read from the
//! store, so a result holds 4 bytes for each message.

use std::sync::Arc;

use io_common::Slice;
use mailstore::{Changes, Columns, MailboxId, Store, UidSet};
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::{ContextResult, NeededMatches};
use proto_imap::sort_order::{SortEntry, SortOrder};
use proto_imap::types::RelevancyScore;

use super::kept_results::{ContextChangeKind, ContextChanges, ContextResponse, Contexts};
use super::search::{Collector, Search};
use super::sort_collector::{SortFields, needs_envelope};

/// The expunged messages that a binary search passes over before it takes the rest for expunged, too.
const GONE: usize = 64;

/// The work of updating all results after a page of changes.
pub(super) struct ContextUpdate {
    pub(super) contexts: Box<Contexts>,
    mailbox: MailboxId,
    vanished: UidBitmap,
    /// The messages that are new or have other flags.
    touched: UidBitmap,
    among: UidSet,
    /// The index of the result that is being updated.
    next: usize,
    step: Step,
    pub(super) changes: ContextChanges,
}

enum Step {
    Begin,
    Search(Box<Search>),
    /// Inserts these messages into a sorted result.
    Insert {
        result: Vec<u32>,
        rest: Vec<u32>,
    },
}

impl ContextUpdate {
    pub(super) fn new(contexts: Box<Contexts>, mailbox: MailboxId, changes: &Changes) -> Self {
        let touched = changes.new.iter().copied().chain(changes.changed.iter().map(|message| message.uid));
        let touched: UidBitmap = touched.collect();
        Self {
            contexts,
            mailbox,
            vanished: changes.vanished.iter().copied().collect(),
            among: touched.ranges().map(|range| range.first()..=range.last()).collect(),
            touched,
            next: 0,
            step: Step::Begin,
            changes: ContextChanges::default(),
        }
    }

    /// Updates results until the slice is over. Returns true once all are updated.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
        loop {
            let Some(query) = self.contexts.queries.get(self.next) else { return Ok(true) };
            match &mut self.step {
                Step::Begin => {
                    let (ids, tested) = (query.email_ids.clone(), Arc::clone(&query.query));
                    let all = NeededMatches::All;
                    let search = Search::new(self.mailbox, &self.among, tested, ids, all, Collector::Set);
                    self.step = Step::Search(Box::new(search));
                }
                Step::Search(search) => {
                    if !search.run(store, slice)? {
                        return Ok(false);
                    }
                    if let Step::Search(search) = std::mem::replace(&mut self.step, Step::Begin) {
                        self.merge(search.into_results().matches.into_uids());
                    }
                }
                Step::Insert { result, rest } => {
                    if let Some(uid) = rest.pop() {
                        insert(store, self.mailbox, query.order.as_ref(), result, uid)?;
                    } else {
                        let sorted = ContextResult::Sorted(std::mem::take(result));
                        self.step = Step::Begin;
                        self.apply(sorted);
                    }
                }
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
    }

    /// Computes the new result, given those of the touched messages that match now.
    fn merge(&mut self, matching: UidBitmap) {
        let Some(query) = self.contexts.queries.get(self.next) else { return };
        match self.contexts.results.result(&query.tag) {
            Some(ContextResult::MailboxOrder(old)) => {
                let mut new = old.clone();
                new.subtract(&self.vanished);
                new.subtract(&self.touched);
                new.union_with(&matching);
                self.apply(ContextResult::MailboxOrder(new));
            }
            Some(ContextResult::Sorted(old)) => {
                let stays = |uid: &u32| {
                    !self.vanished.contains(*uid) && (!self.touched.contains(*uid) || matching.contains(*uid))
                };
                let result: Vec<u32> = old.iter().copied().filter(stays).collect();
                let known: UidBitmap = result.iter().copied().collect();
                let rest = matching.difference(&known).iter().collect();
                self.step = Step::Insert { result, rest };
            }
            None => self.next += 1,
        }
    }

    /// Replaces the current result, and records what the client is told.
    fn apply(&mut self, result: ContextResult) {
        let Contexts { results, queries, .. } = &mut *self.contexts;
        let Some(query) = queries.get(self.next) else { return };
        let response = |kind, runs| ContextResponse {
            tag: query.tag.clone(),
            numbering: query.numbering,
            mailbox: query.mailbox.clone(),
            kind,
            runs,
        };
        let difference = results.update(&query.tag, result);
        match difference {
            Ok(difference) => {
                if !difference.removed.is_empty() {
                    let removed = response(ContextChangeKind::RemoveFrom, difference.removed);
                    self.changes.removed.push_back(removed);
                }
                if !difference.added.is_empty() {
                    self.changes.added.push_back(response(ContextChangeKind::AddTo, difference.added));
                }
                if self.contexts.reserve().is_ok() {
                    self.next += 1;
                    return;
                }
                self.end_current();
            }
            Err(_) => self.end_current(),
        }
    }

    fn end_current(&mut self) {
        let query = self.contexts.queries.remove(self.next);
        self.contexts.results.cancel(&query.tag);
        self.changes.ended.push_back(query.tag);
    }
}

/// Inserts a message into a sorted result.
fn insert(
    store: &dyn Store,
    mailbox: MailboxId,
    order: Option<&SortOrder>,
    result: &mut Vec<u32>,
    uid: u32,
) -> mailstore::Result<()> {
    let Some(order) = order else { return Ok(()) };
    // A message that was expunged since is removed with the next page of changes.
    let Some(entry) = entry_of(store, mailbox, order, uid)? else { return Ok(()) };
    let (mut low, mut high) = (0, result.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut other = None;
        let mut probe = middle;
        for uid in result.get(middle..high).unwrap_or_default().iter().take(GONE) {
            other = entry_of(store, mailbox, order, *uid)?;
            if other.is_some() {
                break;
            }
            probe += 1;
        }
        match other {
            Some(other) if other < entry => low = probe + 1,
            _ => high = middle,
        }
    }
    result.insert(low.min(result.len()), uid);
    Ok(())
}

/// Returns what a message is sorted by; `None` if it was expunged.
fn entry_of(
    store: &dyn Store,
    mailbox: MailboxId,
    order: &SortOrder,
    uid: u32,
) -> mailstore::Result<Option<SortEntry>> {
    let columns = Columns::summary();
    let columns = if needs_envelope(order) { columns.with_envelope() } else { columns };
    let uids: UidSet = [uid..=uid].into_iter().collect();
    let page = store.fetch_page(mailbox, &uids, columns, 1)?;
    Ok(page
        .messages
        .first()
        .map(|message| order.entry(&SortFields::new(message, RelevancyScore::BEST, order))))
}
