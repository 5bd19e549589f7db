//! The results of a session that are kept up to date, and the changes of them that are to be reported (RFC 5267 §4.3).

use std::collections::VecDeque;
use std::sync::Arc;

use proto_imap::search_query::{ContextResult, ContextRun, SearchContexts, SearchQuery};
use proto_imap::sort_order::SortOrder;
use proto_imap::types::NumberKind;

use super::search_progress::MailboxCorrelator;
use super::stored_message::EmailIds;
use crate::search_memory::Reservation;

/// The results of one session.
#[derive(Debug)]
pub(super) struct Contexts {
    pub(super) results: SearchContexts,
    pub(super) queries: Vec<ContextQuery>,
    /// The memory of the queries and of the results.
    pub(super) memory: Reservation,
}

/// A search whose result is kept up to date.
#[derive(Debug)]
pub(super) struct ContextQuery {
    pub(super) tag: Vec<u8>,
    pub(super) numbering: NumberKind,
    pub(super) query: Arc<SearchQuery>,
    pub(super) email_ids: EmailIds,
    /// The order of a SORT.
    pub(super) order: Option<SortOrder>,
    /// The mailbox, if the responses name it.
    pub(super) mailbox: Option<MailboxCorrelator>,
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
    pub(super) tag: Vec<u8>,
    pub(super) numbering: NumberKind,
    pub(super) mailbox: Option<MailboxCorrelator>,
    pub(super) kind: ContextChangeKind,
    pub(super) runs: Vec<ContextRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextChangeKind {
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

impl Contexts {
    /// Adds a result. Returns false if there is no room for it.
    pub(super) fn open(&mut self, query: ContextQuery, result: ContextResult) -> bool {
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
    pub(super) fn reserve(&mut self) -> mailstore::Result<()> {
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

    /// Removes a result. Returns false if no result has the tag.
    pub(super) fn cancel(&mut self, tag: &[u8]) -> bool {
        self.queries.retain(|query| query.tag != tag);
        self.results.cancel(tag)
    }
}
