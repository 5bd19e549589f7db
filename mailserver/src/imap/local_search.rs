//! Searches a mailbox of a store without a session, with the rules of SEARCH.

use std::sync::Arc;
use std::time::Duration;

use io_common::Slice;
use mailstore::{AccountId, MailboxId, Store, UidSet};
use proto_imap::mailbox_view::{MailboxView, UidBitmap};
use proto_imap::search_query::{NeededMatches, SearchLimits, SearchQuery, SearchQueryError};
use proto_imap::types::{LazyList, SearchKey};

use super::search::{Collector, Search};
use super::stored_message::EmailIds;
use super::translate::uid_set;

/// How many UIDs are read at a time.
const PAGE: usize = 10_000;

/// How long one step of the search takes.
const STEP: Duration = Duration::from_secs(1);

/// The messages that match.
#[derive(Debug, Clone, Default)]
pub struct FoundMessages {
    /// Their UIDs.
    pub uids: UidSet,
    /// How many messages could not be read. They never match.
    pub unread: u32,
}

/// Why a mailbox could not be searched.
#[derive(Debug)]
#[non_exhaustive]
pub enum SearchError {
    /// The keys are invalid, or too many.
    Keys(SearchQueryError),
    /// The store failed.
    Store(mailstore::Error),
}

impl std::fmt::Display for SearchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SearchError {}

impl From<mailstore::Error> for SearchError {
    fn from(error: mailstore::Error) -> Self {
        Self::Store(error)
    }
}

/// Finds the messages of a mailbox that match all keys. `now` is the current time in seconds since 1970, for OLDER and
/// YOUNGER. Blocks; the memory grows with the number of messages in the mailbox, not with their size.
///
/// # Errors
/// The keys are invalid or too many, or the store failed. A message that cannot be read is only counted.
pub fn find_messages(
    store: &dyn Store,
    (account, mailbox): (AccountId, MailboxId),
    keys: LazyList<'_, SearchKey<'_>>,
    now: i64,
) -> Result<FoundMessages, SearchError> {
    let mut uids = UidBitmap::default();
    let mut from = Some(1);
    while let Some(first) = from {
        let page = store.uid_page(mailbox, first, u32::MAX, PAGE)?;
        uids.extend(page.uids);
        from = page.next;
    }
    let view = MailboxView::new(uids);
    let query = SearchQuery::new(keys, &view, now, &SearchLimits::default()).map_err(SearchError::Keys)?;
    let find = |id: &str| store.find_email_id(account, id);
    let email_ids: EmailIds = query.email_ids().into_iter().map(|id| (id.to_owned(), find(id))).collect();
    let among = uid_set(view.uid_range());
    let query = Arc::new(query);
    let mut search = Search::new(mailbox, &among, query, email_ids, NeededMatches::All, Collector::Set);
    while !search.run(store, &Slice::lasting(STEP))? {}
    let results = search.into_results();
    let uids = results.matches.uids().iter().collect();
    Ok(FoundMessages { uids, unread: results.unread.count })
}
