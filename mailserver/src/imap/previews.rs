//! Previews of messages (RFC 8970): reads those that the store keeps, and computes the others.

use std::collections::VecDeque;

use mailmime::PreviewBuilder;
use mailstore::{Columns, ContentId, MailboxId, Message, Store, UidSet};

/// The maximum number of messages in a page with previews. Each preview reads at most 64 KiB.
pub(super) const PAGE: usize = 32;

/// The number of bytes of a message that are read and decoded at a time.
const CHUNK: usize = 16 * 1024;

/// How much may be done for a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PreviewEffort {
    /// `PREVIEW (LAZY)`: files are not read. A preview that needs one is NIL.
    Lazy,
    /// `PREVIEW`: each message has a preview.
    Full,
}

/// Computes the previews that a page lacks, and lets the store keep them. Calls `failed` for each message that can't be
/// read; its preview is empty.
///
/// # Errors
/// The store failed.
pub(super) fn complete(
    store: &dyn Store,
    mailbox: MailboxId,
    page: &mut VecDeque<Message>,
    effort: PreviewEffort,
    mut failed: impl FnMut(&Message, &mailstore::Error),
) -> mailstore::Result<()> {
    let lacking = page.iter().filter(|message| message.preview.is_none());
    let mut missing: UidSet = lacking.map(|message| message.uid).collect();
    let columns = Columns::summary().with_structure().with_small_bodies();
    let mut computed: Vec<(ContentId, String)> = Vec::new();
    while !missing.is_empty() {
        let found = store.fetch_page(mailbox, &missing, columns, PAGE)?;
        missing = found.next.map(|next| missing.starting_at(next)).unwrap_or_default();
        for message in found.messages {
            let preview = match compute(store, &message, effort) {
                Ok(Some(preview)) => preview,
                // It needs a file, or the message was expunged in the meantime.
                Ok(None) | Err(mailstore::Error::NotFound(_)) => continue,
                Err(error) => {
                    failed(&message, &error);
                    continue;
                }
            };
            computed.push((message.content, preview.clone()));
            if let Ok(index) = page.binary_search_by_key(&message.uid, |one| one.uid)
                && let Some(one) = page.get_mut(index)
            {
                one.preview = Some(preview);
            }
        }
    }
    if effort == PreviewEffort::Full {
        // Without LAZY, a preview is never NIL (RFC 8970 §3.2).
        for message in page.iter_mut() {
            message.preview.get_or_insert_default();
        }
    }
    if !computed.is_empty()
        && let Err(error) = store.keep_previews(&computed)
    {
        // They are computed again next time.
        tracing::debug!(%error, "cannot keep previews");
    }
    Ok(())
}

/// Returns the preview of a message, or `None` if it needs a file and the effort allows none.
fn compute(store: &dyn Store, message: &Message, effort: PreviewEffort) -> mailstore::Result<Option<String>> {
    let Some(mut preview) = message.structure.as_ref().and_then(PreviewBuilder::new) else {
        return Ok(Some(String::new()));
    };
    let mut range = preview.range();
    if let Some(body) = &message.body {
        preview.push(range.slice(body));
        return Ok(Some(preview.finish()));
    }
    if effort == PreviewEffort::Lazy {
        return Ok(None);
    }
    let body = store.open_content(message.content)?;
    while !range.is_empty() && !preview.is_complete() {
        let length = usize::try_from(range.len()).unwrap_or(CHUNK).min(CHUNK);
        let bytes = body.read(range.start, length)?;
        if bytes.is_empty() {
            break;
        }
        range.start += bytes.len() as u64;
        preview.push(&bytes);
    }
    Ok(Some(preview.finish()))
}
