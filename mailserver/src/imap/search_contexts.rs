//! Results that the server keeps up to date: UPDATE and CANCELUPDATE (RFC 5267 §4.3).
//!
//! After a change of the mailbox, only the messages that are new or have other flags are tested again. A message that
//! is new in a sorted result gets its place by a binary search: the messages that it is compared with are read from the
//! store, so a result holds 4 bytes for each message.

use std::collections::VecDeque;
use std::sync::Arc;

use io_common::{JobStep, Next, Slice};
use mailstore::{Changes, Columns, MailboxId, Store, UidSet};
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::{
    ContextLimits, ContextResult, ContextRun, NeededMatches, NoContext, SearchContexts, SearchQuery,
};
use proto_imap::server::Reply;
use proto_imap::sort_order::{SortEntry, SortOrder};
use proto_imap::types::{
    CancelUpdateCommand, Condition, ContextChange, EsearchResponse, IString, LazyList, NumberKind,
    NumberRange, Numbers, ResponseCode, SearchReturnData, StatusResponse, Text, Untagged,
};

use super::search::{Collected, Collector, Results, Search};
use super::search_response::MailboxCorrelator;
use super::sort_collector::{SortFields, needs_envelope};
use super::stored_message::EmailIds;
use super::{Selected, Session, Turn, reply_bad, reply_ok};
use crate::search_memory::Reservation;

/// The messages in all sorted results of a session together.
const SORTED: usize = 100_000;

/// The expunged messages that a binary search passes over before it takes the rest for expunged, too.
const GONE: usize = 64;

/// The results of one session.
#[derive(Debug)]
pub(super) struct Contexts {
    results: SearchContexts,
    queries: Vec<ContextQuery>,
    /// The memory of the queries and of the results.
    memory: Reservation,
}

/// A search whose result is kept up to date.
#[derive(Debug)]
pub(super) struct ContextQuery {
    tag: Vec<u8>,
    numbering: NumberKind,
    query: Arc<SearchQuery>,
    email_ids: EmailIds,
    /// The order of a SORT.
    order: Option<SortOrder>,
    /// The mailbox, if the responses name it.
    mailbox: Option<MailboxCorrelator>,
}

/// A search with UPDATE, before its result is known.
#[derive(Debug)]
pub(super) struct KeptUpToDate {
    query: ContextQuery,
    memory: Reservation,
}

/// The responses that report the changes of results.
#[derive(Debug, Default)]
pub(super) struct ContextChanges {
    /// REMOVEFROM: sent before EXPUNGE, while the sequence numbers are valid.
    pub(super) removed: VecDeque<ContextResponse>,
    /// ADDTO: sent after EXISTS.
    pub(super) added: VecDeque<ContextResponse>,
    /// The tags of the results that are no longer kept up to date.
    pub(super) ended: VecDeque<Vec<u8>>,
}

/// The messages that are added to one result or removed from it.
#[derive(Debug)]
pub(super) struct ContextResponse {
    tag: Vec<u8>,
    numbering: NumberKind,
    mailbox: Option<MailboxCorrelator>,
    kind: ContextChangeKind,
    runs: Vec<ContextRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContextChangeKind {
    AddTo,
    RemoveFrom,
}

impl ContextQuery {
    pub(super) fn new(
        tag: &[u8],
        numbering: NumberKind,
        query: &Arc<SearchQuery>,
        email_ids: &EmailIds,
        order: Option<SortOrder>,
        mailbox: Option<MailboxCorrelator>,
    ) -> Self {
        let (tag, query, email_ids) = (tag.to_vec(), Arc::clone(query), email_ids.clone());
        Self { tag, numbering, query, email_ids, order, mailbox }
    }

    fn memory(&self) -> usize {
        let ids: usize = self.email_ids.iter().map(|(id, _)| id.len() + 64).sum();
        self.query.memory() + ids + 512
    }
}

impl KeptUpToDate {
    /// Checks that the tag is not in use. Returns why the command is BAD.
    pub(super) fn check(
        selected: &Selected,
        query: ContextQuery,
        memory: Reservation,
    ) -> Result<Self, &'static str> {
        let known = selected.contexts.as_ref().map(|contexts| contexts.results.check(&query.tag));
        match known {
            Some(Err(NoContext::TagInUse)) => Err("an earlier search with UPDATE has the same tag"),
            _ => Ok(Self { query, memory }),
        }
    }

    /// Keeps this result, or tells the client that it is not kept up to date (RFC 5267 §4.3.1).
    pub(super) fn begin(
        self,
        selected: &mut Selected,
        found: &Results,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), proto_mail::Error> {
        let Self { query, memory } = self;
        let result = match &found.collected {
            Collected::Sorted(sorted, _) => ContextResult::Sorted(sorted.uids.clone()),
            Collected::Set | Collected::Threads(..) => {
                ContextResult::MailboxOrder(found.matches.uids().clone())
            }
        };
        let mut limits = ContextLimits::default();
        limits.sorted = SORTED;
        let mut contexts = selected.contexts.take().unwrap_or_else(|| {
            Box::new(Contexts { results: SearchContexts::new(limits), queries: Vec::new(), memory })
        });
        let tag = query.tag.clone();
        let opened = contexts.open(query, result);
        if !contexts.queries.is_empty() {
            selected.contexts = Some(contexts);
        }
        if opened { Ok(()) } else { write_no_update(&tag, turn) }
    }
}

/// Tells the client that a result is not kept up to date, or no longer.
pub(super) fn write_no_update(tag: &[u8], turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
    let text = Text::first_line("the changes of this result are not reported");
    let status =
        StatusResponse::new(Condition::No, text).with_code(ResponseCode::NoUpdate(IString::new(tag)));
    turn.machine.data(&Untagged::Status(status), turn.tx)
}

impl Contexts {
    /// Adds a result. Returns false if there is no room for it.
    fn open(&mut self, query: ContextQuery, result: ContextResult) -> bool {
        if self.results.open(&query.tag, result).is_err() {
            return false;
        }
        self.queries.push(query);
        if self.reserve().is_err() {
            self.end_last();
            return false;
        }
        true
    }

    fn end_last(&mut self) {
        if let Some(query) = self.queries.pop() {
            self.results.cancel(&query.tag);
        }
    }

    /// Reserves the memory of all queries and results.
    fn reserve(&mut self) -> mailstore::Result<()> {
        let results = self.results.tags().filter_map(|tag| self.results.result(tag));
        let results: usize = results
            .map(|result| match result {
                ContextResult::MailboxOrder(uids) => uids.memory(),
                ContextResult::Sorted(uids) => uids.len() * size_of::<u32>(),
            })
            .sum();
        let bytes = results + self.queries.iter().map(ContextQuery::memory).sum::<usize>();
        self.memory.shrink_to(bytes);
        self.memory.grow_to(bytes)
    }

    fn cancel(&mut self, tag: &[u8]) -> bool {
        self.queries.retain(|query| query.tag != tag);
        self.results.cancel(tag)
    }
}

impl Session {
    pub(super) fn cancel_update(
        &mut self,
        reply: Reply,
        arguments: CancelUpdateCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &mut self.selected else {
            return reply_bad(reply, "select a mailbox first", turn);
        };
        let mut all_known = true;
        if let Some(contexts) = &mut selected.contexts {
            for tag in arguments.tags.iter() {
                all_known &= contexts.cancel(&tag.as_bytes());
            }
        } else {
            all_known = false;
        }
        if selected.contexts.as_ref().is_some_and(|contexts| contexts.queries.is_empty()) {
            selected.contexts = None;
        }
        if all_known {
            reply_ok(reply, "no further updates", turn)
        } else {
            reply_bad(reply, "no search with this tag is kept up to date", turn)
        }
    }

    /// Finds out how a page of changes affects the results that are kept up to date, then calls `then`.
    pub(super) fn update_contexts(
        &mut self,
        changes: &Changes,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, ContextChanges, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let taken = self.selected.as_mut().and_then(|selected| {
            let contexts = selected.contexts.take()?;
            Some(ContextUpdate::new(contexts, selected.mailbox, changes))
        });
        let Some(update) = taken else { return then(self, ContextChanges::default(), turn) };
        let tags: VecDeque<Vec<u8>> = update.contexts.queries.iter().map(|query| query.tag.clone()).collect();
        let mut update = Some(update);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = update.take() else { return JobStep::More };
                match running.run(store, slice) {
                    Ok(true) => JobStep::Done(Ok((running.contexts, running.changes))),
                    Ok(false) => {
                        update = Some(running);
                        JobStep::More
                    }
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            move |session, updated, turn| match updated {
                Ok((contexts, changes)) => {
                    if let Some(selected) = &mut session.selected {
                        selected.contexts = Some(contexts).filter(|contexts| !contexts.queries.is_empty());
                    }
                    then(session, changes, turn)
                }
                Err(error) => {
                    tracing::info!(session = session.number, %error, "cannot update search results");
                    then(session, ContextChanges { ended: tags, ..ContextChanges::default() }, turn)
                }
            },
        )
    }
}

/// The work of updating all results after a page of changes.
struct ContextUpdate {
    contexts: Box<Contexts>,
    mailbox: MailboxId,
    vanished: UidBitmap,
    /// The messages that are new or have other flags.
    touched: UidBitmap,
    among: UidSet,
    /// The index of the result that is being updated.
    next: usize,
    step: Step,
    changes: ContextChanges,
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
    fn new(contexts: Box<Contexts>, mailbox: MailboxId, changes: &Changes) -> Self {
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
    fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
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
    Ok(page.messages.first().map(|message| order.entry(&SortFields::new(message, order))))
}

impl ContextResponse {
    /// Writes the response. Sequence numbers are those of the view at this moment.
    pub(super) fn write(
        &self,
        selected: &Selected,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), proto_mail::Error> {
        let numbers: Vec<(u32, Vec<NumberRange>)> =
            self.runs.iter().map(|run| (run.position, self.numbers(selected, &run.uids))).collect();
        let changes: Vec<ContextChange<'_>> = numbers
            .iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(|(position, numbers)| ContextChange { position: *position, numbers: Numbers::new(numbers) })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let result = match self.kind {
            ContextChangeKind::AddTo => SearchReturnData::AddTo(LazyList::new(&changes)),
            ContextChangeKind::RemoveFrom => SearchReturnData::RemoveFrom(LazyList::new(&changes)),
        };
        let response = EsearchResponse {
            tag: Some(IString::new(&self.tag)),
            mailbox: self.mailbox.as_ref().map(|mailbox| IString::new(&mailbox.name)),
            uid_validity: self.mailbox.as_ref().map(|mailbox| mailbox.uid_validity),
            number_kind: self.numbering,
            results: LazyList::new(std::slice::from_ref(&result)),
        };
        turn.machine.data(&Untagged::Esearch(response), turn.tx)
    }

    /// Returns the numbers of these messages, in their order.
    fn numbers(&self, selected: &Selected, uids: &[u32]) -> Vec<NumberRange> {
        let number = |uid: u32| match self.numbering {
            NumberKind::Uids => Some(uid),
            NumberKind::SequenceNumbers => selected.view.sequence_number(uid),
        };
        let mut ranges: Vec<NumberRange> = Vec::new();
        for number in uids.iter().filter_map(|uid| number(*uid)) {
            match ranges.last_mut() {
                Some(last) if last.last().checked_add(1) == Some(number) => {
                    *last = NumberRange::new(last.first(), number);
                }
                _ => ranges.push(number.into()),
            }
        }
        ranges
    }
}
