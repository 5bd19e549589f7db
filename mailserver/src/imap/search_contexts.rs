//! Results that the server keeps up to date: UPDATE and CANCELUPDATE (RFC 5267 §4.3).
//!
//! [`kept_results`](super::kept_results) holds them, and [`context_update`](super::context_update) updates them after a
//! change of the mailbox.

use std::collections::VecDeque;

use io_common::{JobStep, Next};
use mailstore::Changes;
use proto_imap::search_query::{ContextLimits, ContextResult, NoContext, SearchContexts};
use proto_imap::server::Reply;
use proto_imap::types::{
    CancelUpdateCommand, Condition, ContextChange, EsearchResponse, IString, LazyList, NumberKind,
    NumberRange, Numbers, ResponseCode, SearchReturnData, SortKey, StatusResponse, Text, Untagged,
};

use super::context_update::ContextUpdate;
use super::kept_results::{ContextChangeKind, ContextChanges, ContextQuery, ContextResponse, Contexts};
use super::search::{Collected, Results};
use super::{Selected, Session, Turn, reply_bad, reply_ok};
use crate::search_memory::Reservation;

/// The messages in all sorted results of a session together.
const SORTED: usize = 100_000;

/// A search with UPDATE, before its result is known.
#[derive(Debug)]
pub(super) struct KeptUpToDate {
    query: ContextQuery,
    memory: Reservation,
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
        // The score of a message is not kept, so a new one has no place in this order.
        if query.order.as_ref().is_some_and(|order| order.uses(SortKey::Relevancy)) {
            return write_no_update(&query.tag, turn);
        }
        let result = match &found.collected {
            Collected::Sorted(sorted, _) => ContextResult::Sorted(sorted.uids.clone()),
            Collected::Set | Collected::Scores(_) | Collected::Threads(..) => {
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
