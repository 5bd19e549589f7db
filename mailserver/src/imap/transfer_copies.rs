//! Copies of messages for another account: new messages with their own bytes, which count for the quota of that account.

use mailstore::{
    Body, Columns, Copied, Delivery, Error, Expunge, MailboxId, Result, Rights, Store, Target, UidSet, Upload,
};

use super::flag_rights::permitted;

/// The most messages that are copied at a time.
const MESSAGES: usize = 32;

/// After this many bytes, the messages that are still to be copied wait for the next slice.
const BYTES: u64 = 1 << 20;

/// The bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Appends copies of some messages with the flags that the rights permit (RFC 4314 §4): all of them or none.
pub(super) fn append_copies(
    store: &dyn Store,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    rights: Rights,
) -> Result<Copied> {
    let page = store.fetch_page(from, uids, Columns::summary(), MESSAGES)?;
    let mut copied =
        Copied { uid_validity: store.status(to)?.uid_validity, next: page.next, ..Copied::default() };
    let (mut sources, mut deliveries, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for message in page.messages {
        if bytes >= BYTES {
            copied.next = Some(message.uid);
            break;
        }
        bytes = bytes.saturating_add(message.size);
        let body = match store.open_content(message.content) {
            // It was expunged in the meantime.
            Err(Error::NotFound(_)) => continue,
            body => body?,
        };
        let (flags, internal_date) = (permitted(&message.flags, rights), message.internal_date);
        let upload = upload(store, &body)?;
        deliveries.push(Delivery { upload, targets: vec![Target { mailbox: to, flags, internal_date }] });
        sources.push(message.uid);
    }
    if deliveries.is_empty() {
        return Ok(copied);
    }
    let appended = store.append_together(deliveries, None)?;
    copied.pairs = sources.into_iter().zip(appended.iter().flatten().map(|copy| copy.uid)).collect();
    Ok(copied)
}

/// Appends copies of some messages and removes them from the mailbox that they were in.
pub(super) fn move_copies(
    store: &dyn Store,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    rights: Rights,
) -> Result<Copied> {
    let copied = append_copies(store, from, uids, to, rights)?;
    let moved = copied.pairs.iter().map(|(uid, _)| *uid).collect();
    if let Err(error) = remove(store, from, moved) {
        // The caller learns the first error: if the copies can't be removed either, they stay.
        let _ = remove(store, to, copied.pairs.iter().map(|(_, copy)| *copy).collect());
        return Err(error);
    }
    Ok(copied)
}

fn upload(store: &dyn Store, body: &Body) -> Result<Upload> {
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

fn remove(store: &dyn Store, mailbox: MailboxId, mut uids: UidSet) -> Result<()> {
    while !uids.is_empty() {
        let expunged = store.expunge(mailbox, &Expunge::Exactly(uids.clone()), MESSAGES)?;
        uids = expunged.next.map_or_else(UidSet::default, |next| uids.starting_at(next));
    }
    Ok(())
}
