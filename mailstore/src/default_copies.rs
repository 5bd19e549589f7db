//! The plain ways in which a [`Store`](crate::Store) appends several messages, copies and moves them.

use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::types::*;

/// The text of `NotFound` for the message that [`append_together`](crate::Store::append_together) was to replace.
pub const REPLACED_MESSAGE: &str = "replaced message";

/// What copies need of a store. Each store has it: the methods are those of [`Store`](crate::Store).
pub(crate) trait CopyOperations {
    fn status(&self, mailbox: MailboxId) -> Result<Status>;
    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page>;
    fn open_content(&self, content: ContentId) -> Result<Body>;
    fn upload(&self) -> Result<Upload>;
    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>>;
    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied>;
    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged>;
}

/// The messages that are read at a time.
const PAGE: usize = 500;

/// The bytes of a message that are copied at a time.
const CHUNK: usize = 16 * 1024;

pub(crate) fn default_append_together(
    store: &(impl CopyOperations + ?Sized),
    deliveries: Vec<Delivery>,
    replaced: Option<(MailboxId, u32)>,
) -> Result<Vec<Vec<Appended>>> {
    let mut all = Vec::with_capacity(deliveries.len());
    let outcome = deliveries
        .into_iter()
        .try_for_each(|delivery| store.append(delivery).map(|appended| all.push(appended)))
        .and_then(|()| match replaced {
            Some((mailbox, uid)) => remove_replaced(store, mailbox, uid),
            None => Ok(()),
        });
    match outcome {
        Ok(()) => Ok(all),
        Err(error) => {
            // The caller learns the first error: if the messages can't be removed either, they stay.
            for appended in all.iter().flatten() {
                let _ = remove(store, appended.mailbox, UidSet::one(appended.uid));
            }
            Err(error)
        }
    }
}

fn remove_replaced(store: &(impl CopyOperations + ?Sized), mailbox: MailboxId, uid: u32) -> Result<()> {
    let removed = store.expunge(mailbox, &Expunge::Exactly(UidSet::one(uid)), 1)?;
    if removed.uids.is_empty() { Err(Error::NotFound(REPLACED_MESSAGE)) } else { Ok(()) }
}

pub(crate) fn default_copy(
    store: &(impl CopyOperations + ?Sized),
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    let Status { uid_validity, uid_next, .. } = store.status(to)?;
    let mut copied = Copied { uid_validity, ..Copied::default() };
    // If source and destination are the same mailbox, the new copies must not be copied again.
    let rest = if from == to { uids.ending_before(uid_next) } else { uids.clone() };
    match copy_messages(store, from, rest, to, limit.max(1), &mut copied) {
        Ok(()) => Ok(copied),
        Err(error) => {
            // The caller learns the first error: if the copies can't be removed either, they stay.
            let copies: UidSet = copied.pairs.iter().map(|(_, copy)| *copy).collect();
            let _ = remove(store, to, copies);
            Err(error)
        }
    }
}

fn copy_messages(
    store: &(impl CopyOperations + ?Sized),
    from: MailboxId,
    mut rest: UidSet,
    to: MailboxId,
    limit: usize,
    copied: &mut Copied,
) -> Result<()> {
    while !rest.is_empty() && copied.pairs.len() < limit {
        let page =
            store.fetch_page(from, &rest, Columns::summary(), (limit - copied.pairs.len()).min(PAGE))?;
        for message in page.messages {
            let upload = upload_copy(store, &store.open_content(message.content)?)?;
            let target = Target { mailbox: to, flags: message.flags, internal_date: message.internal_date };
            let appended = store.append(Delivery { upload, targets: vec![target] })?;
            copied.pairs.extend(appended.first().map(|copy| (message.uid, copy.uid)));
        }
        copied.next = page.next;
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    Ok(())
}

fn upload_copy(store: &(impl CopyOperations + ?Sized), body: &Body) -> Result<Upload> {
    let mut upload = store.upload()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = body.read_at(upload.size(), &mut buffer)?;
        if length == 0 {
            return Ok(upload);
        }
        upload.write(buffer.get(..length).unwrap_or_default())?;
    }
}

pub(crate) fn default_move_messages(
    store: &(impl CopyOperations + ?Sized),
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    let copied = store.copy(from, uids, to, limit)?;
    let moved = copied.pairs.iter().map(|(uid, _)| *uid).collect();
    if let Err(error) = remove(store, from, moved) {
        let copies = copied.pairs.iter().map(|(_, copy)| *copy).collect();
        let _ = remove(store, to, copies);
        return Err(error);
    }
    Ok(copied)
}

fn remove(store: &(impl CopyOperations + ?Sized), mailbox: MailboxId, mut uids: UidSet) -> Result<()> {
    while !uids.is_empty() {
        let expunged = store.expunge(mailbox, &Expunge::Exactly(uids.clone()), PAGE)?;
        uids = expunged.next.map_or_else(UidSet::default, |next| uids.starting_at(next));
    }
    Ok(())
}
