//! The keywords of a mailbox: which of them a client must be told about before they are used.

use mailstore::{KeywordsInUse, MailboxId, Store};

/// Returns the keywords of a mailbox if these flags contain one that the client has not been told about.
pub(super) fn new_keywords<'f>(
    store: &dyn Store,
    mailbox: MailboxId,
    known: u32,
    flags: impl IntoIterator<Item = &'f mailstore::Flags>,
) -> mailstore::Result<Option<KeywordsInUse>> {
    let newest = flags.into_iter().map(mailstore::Flags::newest_keyword).max().unwrap_or(0);
    if newest > known { store.keywords(mailbox).map(Some) } else { Ok(None) }
}
