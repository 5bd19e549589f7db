//! Changes flags, and lists the changes since a cursor (RFC 7162).

use super::messages;
use super::state::{Entry, MailboxState, State};
use super::transaction::Transaction;
use crate::error::Result;
use crate::flags::Flags;
use crate::removals::{first_absent, report_absent};
use crate::types::{
    ChangeCursor, ChangedFlags, Changes, MailboxId, MessageFlags, Quota, Removals, StoreMode, Stored, UidSet,
};

/// A STORE.
pub(super) struct FlagChange<'a> {
    pub(super) mode: StoreMode,
    pub(super) flags: &'a Flags,
    pub(super) unchanged_since: Option<u64>,
}

pub(super) fn store_flags(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    mailbox: MailboxId,
    uids: &UidSet,
    change: &FlagChange<'_>,
    limit: usize,
) -> Result<Stored> {
    let (found, next) = messages::entries(tx.state, mailbox, uids, limit)?;
    let mut stored = Stored { next, ..Stored::default() };
    let Some(newest) = found.iter().map(|(_, entry)| entry.modseq).max() else { return Ok(stored) };
    let row = tx.state.mailbox_mut(mailbox)?;
    let mut given = change.flags.clone();
    if change.mode != StoreMode::Remove {
        row.keywords.check(given.keywords(), quota.keywords)?;
        given = row.intern(&given)?;
    }
    let all_may_change = change.unchanged_since.is_none_or(|since| newest <= since);
    let mut cache = None;
    for (uid, entry) in found {
        if !all_may_change && change.unchanged_since.is_some_and(|since| entry.modseq > since) {
            stored.modified.push(uid);
            continue;
        }
        let flags = apply(tx.state.mailbox_mut(mailbox)?, change.mode, &given, &entry, &mut cache)?;
        if flags == entry.flags {
            stored.unchanged.push(MessageFlags { uid, modseq: entry.modseq, flags });
            continue;
        }
        let modseq = match stored.modseq {
            Some(modseq) => modseq,
            None => *stored.modseq.insert(tx.state.mailbox_mut(mailbox)?.take_modseq()),
        };
        tx.set_flags(mailbox, uid, flags.clone(), modseq)?;
        stored.changed.push(ChangedFlags { uid, modseq, previous_modseq: entry.modseq, flags });
    }
    Ok(stored)
}

/// Returns the flags of a message after a STORE. `cache` holds the last flags and their result: most messages of a
/// mailbox have the same flags.
fn apply(
    mailbox: &mut MailboxState,
    mode: StoreMode,
    given: &Flags,
    entry: &Entry,
    cache: &mut Option<(Flags, Flags)>,
) -> Result<Flags> {
    if let Some((before, after)) = cache
        && *before == entry.flags
    {
        return Ok(after.clone());
    }
    let flags = match mode {
        StoreMode::Replace => given.clone(),
        StoreMode::Add => {
            let mut flags = entry.flags.clone();
            flags.add(given)?;
            mailbox.intern(&flags)?
        }
        StoreMode::Remove => {
            let mut flags = entry.flags.clone();
            flags.remove(given);
            mailbox.intern(&flags)?
        }
    };
    *cache = Some((entry.flags.clone(), flags.clone()));
    Ok(flags)
}

pub(super) fn changes_since(
    state: &State,
    mailbox: MailboxId,
    since: &ChangeCursor,
    limit: usize,
) -> Result<Changes> {
    let mailbox = state.mailbox(mailbox)?;
    let highest_modseq = mailbox.header.highest_modseq;
    let mut changes = Changes { cursor: *since, highest_modseq, ..Changes::default() };
    let limit = limit.max(1);
    add_vanished(mailbox, limit, &mut changes)?;
    add_changed(mailbox, since.uid_next, limit, &mut changes);
    let uid_next = mailbox.header.uid_next;
    if changes.cursor.uid_next < uid_next {
        let page = messages::uid_page(state, mailbox.header.id, changes.cursor.uid_next, uid_next, limit)?;
        changes.cursor.uid_next = page.next.unwrap_or(uid_next);
        changes.more |= page.next.is_some();
        changes.new = page.uids;
    }
    Ok(changes)
}

fn add_vanished(mailbox: &MailboxState, limit: usize, changes: &mut Changes) -> Result<()> {
    if let Some(start) = first_absent(changes, mailbox.forgotten) {
        let existing = mailbox.messages.range(start..).map(|(uid, _)| Ok(*uid));
        if report_absent(changes, start, (mailbox.forgotten, mailbox.header.uid_next, limit), existing)? {
            return Ok(());
        }
    }
    let Some(first) = successor(changes.cursor.expunged) else { return Ok(()) };
    for &(modseq, uid) in mailbox.removed.range(first..) {
        if changes.vanished.len() >= limit {
            changes.more = true;
            return Ok(());
        }
        changes.cursor.expunged = (modseq, uid);
        changes.vanished.push(uid);
    }
    let known = (mailbox.header.highest_modseq, u32::MAX);
    changes.cursor.expunged = changes.cursor.expunged.max(known);
    Ok(())
}

pub(super) fn removals(
    state: &State,
    mailbox: MailboxId,
    after: (u64, u32),
    limit: usize,
) -> Result<Option<Removals>> {
    let mailbox = state.mailbox(mailbox)?;
    if after.0 < mailbox.forgotten {
        return Ok(None);
    }
    let Some(first) = successor(after) else { return Ok(Some(Removals::default())) };
    let mut removed = mailbox.removed.range(first..);
    let page: Vec<(u64, u32)> = removed.by_ref().take(limit.max(1)).copied().collect();
    let next = page.last().copied().filter(|_| removed.next().is_some());
    Ok(Some(Removals { uids: page.into_iter().map(|(_, uid)| uid).collect(), next }))
}

fn add_changed(mailbox: &MailboxState, known_below: u32, limit: usize, changes: &mut Changes) {
    let Some(first) = successor(changes.cursor.flags) else { return };
    for (seen, &(modseq, uid)) in mailbox.by_modseq.range(first..).enumerate() {
        if seen >= limit {
            changes.more = true;
            return;
        }
        changes.cursor.flags = (modseq, uid);
        // The flags of new messages are not reported: the client fetches them.
        if uid < known_below
            && let Some(entry) = mailbox.messages.get(&uid)
        {
            changes.changed.push(MessageFlags { uid, modseq, flags: entry.flags.clone() });
        }
    }
    let known = (mailbox.header.highest_modseq, u32::MAX);
    changes.cursor.flags = changes.cursor.flags.max(known);
}

/// Returns the next key of a log.
fn successor((modseq, uid): (u64, u32)) -> Option<(u64, u32)> {
    match uid.checked_add(1) {
        Some(uid) => Some((modseq, uid)),
        None => Some((modseq.checked_add(1)?, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Content;
    use super::super::storage::StoredMailbox;
    use super::*;
    use crate::types::{AccountId, ContentId, InternalDate};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const MAILBOX: MailboxId = MailboxId(1);

    /// A mailbox whose messages with even UIDs below 40 are left. Each removal had a mod-sequence of its own, and those
    /// up to `forgotten` are forgotten.
    fn state(forgotten: u64) -> State {
        let mut state = State::new(AccountId(1), Arc::default());
        let header = StoredMailbox { uid_next: 40, highest_modseq: 100, ..StoredMailbox::new(MAILBOX, "x") };
        let mut mailbox = MailboxState::new(header);
        (1..40).step_by(2).for_each(|uid| mailbox.note_removal(uid, u64::from(uid) + 50));
        mailbox.forgotten = forgotten;
        mailbox.removed = mailbox.removed.split_off(&(forgotten + 1, 0));
        state.mailboxes.insert(MAILBOX, mailbox);
        for uid in (2..40).step_by(2) {
            let content = Arc::new(Content::new(ContentId(1), 1));
            let (flags, internal_date) = (Flags::new(), InternalDate::default());
            let entry = Entry { modseq: 1, flags, internal_date, saved_date: None, content };
            state.insert(MAILBOX, uid, entry);
        }
        state
    }

    fn vanished(state: &State, since: (u64, u32), limit: usize) -> BTreeSet<u32> {
        let mut cursor = ChangeCursor { uid_next: 40, flags: (100, u32::MAX), expunged: since };
        let mut vanished = BTreeSet::new();
        for _ in 0..200 {
            let page = changes_since(state, MAILBOX, &cursor, limit).unwrap();
            assert!(page.vanished.len() <= limit);
            vanished.extend(page.vanished);
            cursor = page.cursor;
            if !page.more {
                assert_eq!(cursor.expunged, (100, u32::MAX));
                return vanished;
            }
        }
        panic!("the pages do not end");
    }

    #[test]
    fn expired_cursor_reports_every_uid_that_no_message_has() {
        let odd: BTreeSet<u32> = (1..40).step_by(2).collect();
        for limit in [1, 3, 1_000] {
            assert_eq!(vanished(&state(0), (0, 0), limit), odd, "nothing is forgotten");
            for since in [(0, 0), (51, u32::MAX), (69, u32::MAX)] {
                assert_eq!(vanished(&state(70), since, limit), odd, "{since:?} is forgotten");
            }
            let later = |uid: u32| odd.iter().copied().filter(|one| *one > uid).collect::<BTreeSet<_>>();
            assert_eq!(vanished(&state(70), (70, u32::MAX), limit), later(20));
            assert_eq!(vanished(&state(70), (71, 21), limit), later(21));
            assert_eq!(vanished(&state(70), (100, u32::MAX), limit), BTreeSet::new());
        }
    }

    #[test]
    fn cursor_that_expires_between_two_pages_starts_again() {
        let (early, late) = (state(70), state(80));
        let cursor = ChangeCursor { uid_next: 40, flags: (100, u32::MAX), expunged: (0, 0) };
        let page = changes_since(&early, MAILBOX, &cursor, 5).unwrap();
        assert!(page.more && page.cursor.expunged.0 == 70);
        assert_eq!(vanished(&late, page.cursor.expunged, 5).len(), 20);
    }
}
