//! What the default methods of [`Store`] do. They use its required methods only.

use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::mailbox_name::canonical;
use crate::store::Store;
use crate::types::*;
use std::ops::Range;

/// The messages read at a time.
const PAGE: usize = 500;

/// The bytes of a message copied at a time.
const CHUNK: usize = 16 * 1024;

pub(crate) fn usage(store: &(impl Store + ?Sized), account: AccountId) -> Result<Usage> {
    let mut usage = Usage::default();
    for mailbox in store.list(account)? {
        usage.mailboxes += 1;
        usage.subscriptions += u64::from(mailbox.subscribed);
        if !mailbox.no_select {
            let status = store.status(mailbox.id)?;
            usage.messages += u64::from(status.messages);
            usage.bytes += status.size;
        }
    }
    Ok(usage)
}

pub(crate) fn mailbox(store: &(impl Store + ?Sized), account: AccountId, name: &str) -> Result<Mailbox> {
    // An invalid name belongs to no mailbox.
    let name = canonical(name).map_err(|_| Error::NotFound("mailbox"))?;
    let found = store.list(account)?.into_iter().find(|mailbox| mailbox.name == name);
    found.ok_or(Error::NotFound("mailbox"))
}

pub(crate) fn subscriptions_page(
    store: &(impl Store + ?Sized),
    account: AccountId,
    after: &str,
    limit: usize,
) -> Result<Vec<Subscription>> {
    let subscribed =
        store.list(account)?.into_iter().filter(|mailbox| mailbox.subscribed && *mailbox.name > *after);
    let subscription = |mailbox: Mailbox| Subscription { name: mailbox.name.clone(), mailbox: Some(mailbox) };
    Ok(subscribed.take(limit).map(subscription).collect())
}

pub(crate) fn has_selected_name(
    store: &(impl Store + ?Sized),
    account: AccountId,
    selection: NameSelection,
    names: Range<&str>,
) -> Result<bool> {
    let mailboxes = store.list(account)?;
    Ok(mailboxes.iter().filter(|mailbox| names.contains(&mailbox.name.as_str())).any(
        |mailbox| match selection {
            NameSelection::Subscribed => mailbox.subscribed,
            NameSelection::SpecialUse => mailbox.special_use.is_some(),
            NameSelection::SubscribedSpecialUse => mailbox.subscribed && mailbox.special_use.is_some(),
        },
    ))
}

pub(crate) fn uid_page(
    store: &(impl Store + ?Sized),
    mailbox: MailboxId,
    uids: Range<u32>,
    limit: usize,
) -> Result<UidPage> {
    let mut page = UidPage::default();
    let Some(last) = uids.end.checked_sub(1) else { return Ok(page) };
    let limit = limit.max(1);
    let mut rest: UidSet = [uids.start..=last].into_iter().collect();
    while !rest.is_empty() {
        let wanted = (limit - page.uids.len()).min(PAGE);
        let read = store.fetch_page(mailbox, &rest, Columns::summary(), wanted)?;
        for message in read.messages {
            if page.first_unseen.is_none() && !message.flags.contains(crate::Flags::SEEN) {
                page.first_unseen = Some(message.uid);
            }
            page.uids.push(message.uid);
        }
        rest = read.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
        if page.uids.len() >= limit {
            page.next = read.next;
            break;
        }
    }
    Ok(page)
}

/// An EMAILID of both identifiers, in the characters of RFC 8474 §7.
pub(crate) fn email_id(account: AccountId, content: ContentId) -> String {
    format!("M{}_{}", account.0, content.0)
}

pub(crate) fn find_email_id(account: AccountId, id: &str) -> Option<ContentId> {
    let content = ContentId(id.rsplit_once('_')?.1.parse().ok()?);
    (email_id(account, content) == id).then_some(content)
}

pub(crate) fn uids_of_content(
    store: &(impl Store + ?Sized),
    mailbox: MailboxId,
    content: ContentId,
) -> Result<UidSet> {
    let (mut rest, mut found) = (UidSet::all(), Vec::new());
    while !rest.is_empty() {
        let page = store.fetch_page(mailbox, &rest, Columns::summary(), PAGE)?;
        let having = page.messages.iter().filter(|message| message.content == content);
        found.extend(having.map(|message| message.uid));
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    Ok(found.into_iter().collect())
}

pub(crate) fn copy(
    store: &(impl Store + ?Sized),
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
    store: &(impl Store + ?Sized),
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

fn upload_copy(store: &(impl Store + ?Sized), body: &Body) -> Result<Upload> {
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

pub(crate) fn move_messages(
    store: &(impl Store + ?Sized),
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

fn remove(store: &(impl Store + ?Sized), mailbox: MailboxId, mut uids: UidSet) -> Result<()> {
    while !uids.is_empty() {
        let expunged = store.expunge(mailbox, &Expunge::Exactly(uids.clone()), PAGE)?;
        uids = expunged.next.map_or_else(UidSet::default, |next| uids.starting_at(next));
    }
    Ok(())
}
