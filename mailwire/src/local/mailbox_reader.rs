//! Reads the messages of a local folder page by page, and the bytes of one message piece by piece.

use mailstore::{Body, Columns, MailboxId, Message, Store, UidSet};

use crate::command_error::CommandError;

/// How many messages are read at a time. A page also ends at about 512 KiB.
const PAGE: usize = 500;

/// How many bytes of a message are read at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Calls `each` with every message of the set, in the order of their UIDs.
///
/// # Errors
/// The store or `each` failed.
pub(crate) fn for_each_message(
    store: &dyn Store,
    mailbox: MailboxId,
    uids: &UidSet,
    columns: Columns,
    mut each: impl FnMut(Message) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut left = uids.clone();
    while !left.is_empty() {
        let page = store.fetch_page(mailbox, &left, columns, PAGE)?;
        page.messages.into_iter().try_for_each(&mut each)?;
        left = page.next.map(|next| left.starting_at(next)).unwrap_or_default();
    }
    Ok(())
}

/// Calls `each` with the bytes from `start` to `end`, in pieces of at most [`CHUNK`] bytes.
///
/// # Errors
/// The store or `each` failed.
pub(crate) fn for_each_piece(
    body: &Body,
    (start, end): (u64, u64),
    mut each: impl FnMut(&[u8]) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (mut at, end) = (start, end.min(body.size()));
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let piece = body.read(at, length)?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        each(&piece)?;
    }
    Ok(())
}
