//! Changes since a cursor, and notifications.

use super::case::Case;
use super::fixture::{ALL, Fixture};
use crate::error::Error;
use crate::store::Store;
use crate::types::*;
use std::sync::{Arc, Mutex};

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "reports_changes_to_another_session", needs: &[], run: reports_changes_to_another_session },
    Case { name: "merges_changes_of_a_message", needs: &[], run: merges_changes_of_a_message },
    Case { name: "pages_of_changes_are_complete", needs: &[], run: pages_of_changes_are_complete },
    Case {
        name: "any_old_cursor_leads_to_the_present",
        needs: &[],
        run: any_old_cursor_leads_to_the_present,
    },
    Case { name: "removals_are_known_or_the_store_says_so", needs: &[], run: removals_are_known },
    Case {
        name: "notifies_after_the_change_is_visible",
        needs: &[],
        run: notifies_after_the_change_is_visible,
    },
    Case { name: "notifies_of_every_change_once", needs: &[], run: notifies_of_every_change_once },
];

fn reports_changes_to_another_session(f: &Fixture) {
    f.append_many(3);
    let known = f.store.select(f.inbox, Access::ReadOnly).unwrap().cursor();
    let none = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert!(none.new.is_empty() && none.changed.is_empty() && none.vanished.is_empty() && !none.more);
    f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Add, &["\\Flagged"]).unwrap();
    f.append("new");
    f.append("short-lived");
    f.remove(f.inbox, [2, 5]);
    let changes = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert_eq!(changes.changed.iter().map(|message| message.uid).collect::<Vec<_>>(), [1]);
    assert_eq!(changes.changed[0].flags.to_string(), "\\Flagged");
    assert_eq!((changes.new.as_slice(), changes.cursor.uid_next, changes.more), (&[4][..], 6, false));
    assert!(changes.vanished.contains(&2) && !changes.vanished.iter().any(|uid| matches!(uid, 1 | 3 | 4)));
    assert_eq!(changes.highest_modseq, f.status(f.inbox).highest_modseq);
    let later = f.store.changes_since(f.inbox, &changes.cursor, ALL).unwrap();
    assert!(later.new.is_empty() && later.changed.is_empty() && later.vanished.is_empty());
    assert_eq!(later.cursor, changes.cursor);
}

fn merges_changes_of_a_message(f: &Fixture) {
    f.append("a");
    let known = f.store.select(f.inbox, Access::ReadOnly).unwrap().cursor();
    for flag in ["\\Seen", "\\Flagged", "\\Draft"] {
        f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Add, &[flag]).unwrap();
    }
    let changes = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert_eq!(changes.changed.len(), 1, "a message is reported once, with its last flags");
    assert_eq!(changes.changed[0].flags.to_string(), "\\Flagged \\Seen \\Draft");
    f.remove(f.inbox, [1]);
    let changes = f.store.changes_since(f.inbox, &known, ALL).unwrap();
    assert!(changes.changed.is_empty() && changes.vanished == [1]);
}

/// Reads all pages of changes, and applies them to the UIDs that a session knows.
fn follow(f: &Fixture, cursor: &mut ChangeCursor, known: &mut Vec<u32>, limit: usize) -> Vec<MessageFlags> {
    let mut changed = Vec::new();
    loop {
        let page = f.store.changes_since(f.inbox, cursor, limit).unwrap();
        assert!(page.new.len() <= limit && page.changed.len() <= limit && page.vanished.len() <= limit);
        known.retain(|uid| !page.vanished.contains(uid));
        known.extend(page.new);
        changed.extend(page.changed);
        *cursor = page.cursor;
        if !page.more {
            return changed;
        }
    }
}

fn pages_of_changes_are_complete(f: &Fixture) {
    f.append_many(9);
    for limit in [1, 2, 100] {
        let selection = f.store.select(f.inbox, Access::ReadWrite).unwrap();
        let (mut cursor, mut known) = (selection.cursor(), f.uids(f.inbox));
        f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Answered"]).unwrap();
        f.set_flags(f.inbox, &UidSet::all(), StoreMode::Remove, &["\\Answered"]).unwrap();
        let gone: Vec<u32> = known.iter().copied().take(2).collect();
        f.remove(f.inbox, [gone[0]]);
        f.remove(f.inbox, [gone[1]]);
        f.append_many(3);
        let changed = follow(f, &mut cursor, &mut known, limit);
        assert_eq!(known, f.uids(f.inbox), "pages of {limit}");
        let mut uids: Vec<u32> = changed.iter().map(|message| message.uid).collect();
        uids.sort_unstable();
        let (old, new) = known.split_at(known.len() - 3);
        // A new message may be reported once more, if it became known on an earlier page.
        uids.retain(|uid| !new.contains(uid));
        assert_eq!(uids, old, "every message that was known before is reported once");
        assert!(changed.iter().all(|message| message.flags.is_empty()));
        assert!(follow(f, &mut cursor, &mut known, limit).is_empty());
    }
}

/// Returns the messages that were removed after a mod-sequence, read in pages; `None` if the store does not know them.
fn removed_since(f: &Fixture, modseq: u64, limit: usize) -> Option<Vec<u32>> {
    let (mut after, mut removed) = ((modseq, u32::MAX), Vec::new());
    loop {
        let page = f.store.removals(f.inbox, after, limit).unwrap()?;
        assert!(page.uids.len() <= limit);
        removed.extend(page.uids);
        let Some(next) = page.next else { return Some(removed) };
        assert!(next > after, "the pages end");
        after = next;
    }
}

fn removals_are_known(f: &Fixture) {
    f.append_many(9);
    let modseq = || f.status(f.inbox).highest_modseq;
    let before = modseq();
    f.remove(f.inbox, [7]);
    let between = modseq();
    f.remove(f.inbox, [1, 2, 3]);
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    f.remove(f.inbox, [9]);
    for limit in [1, 2, ALL] {
        let Some(removed) = removed_since(f, before, limit) else { return };
        assert_eq!(removed, [7, 1, 2, 3, 9], "in pages of {limit}");
        assert_eq!(removed_since(f, between, limit).unwrap(), [1, 2, 3, 9], "in pages of {limit}");
        assert_eq!(removed_since(f, modseq(), limit).unwrap(), Vec::<u32>::new());
        assert_eq!(removed_since(f, u64::MAX, limit).unwrap(), Vec::<u32>::new());
    }
    let other = f.create("other");
    assert_eq!(
        f.store.removals(other, (f.status(other).highest_modseq, u32::MAX), 1).unwrap(),
        Some(Removals::default())
    );
    f.store.delete_mailbox(f.account, "other").unwrap();
    assert!(matches!(f.store.removals(other, (1, u32::MAX), 1), Err(Error::NotFound(_))));
}

fn any_old_cursor_leads_to_the_present(f: &Fixture) {
    let (mut cursors, mut views) = (vec![ChangeCursor::default()], vec![Vec::new()]);
    for round in 0..12_u32 {
        f.append("x");
        f.set_flags(f.inbox, &UidSet::one(round), StoreMode::Add, &["\\Seen"]).unwrap();
        if round % 3 == 2 {
            f.remove(f.inbox, [round, round - 1]);
        }
        cursors.push(f.store.select(f.inbox, Access::ReadOnly).unwrap().cursor());
        views.push(f.uids(f.inbox));
    }
    for (mut cursor, mut known) in cursors.into_iter().zip(views) {
        follow(f, &mut cursor, &mut known, 2);
        assert_eq!(known, f.uids(f.inbox));
    }
}

fn notifies_after_the_change_is_visible(f: &Fixture) {
    let seen: Arc<Mutex<Vec<(Change, u32)>>> = Arc::default();
    let (store, inbox) = (Arc::downgrade(&f.store), f.inbox);
    let notes = Arc::clone(&seen);
    let _subscription = f.store.subscribe_changes(Arc::new(move |change: Change| {
        if let Some(status) = store.upgrade().and_then(|store| store.status(inbox).ok()) {
            notes.lock().unwrap().push((change, status.messages));
        }
    }));
    f.append("a");
    f.append("b");
    f.remove(f.inbox, [1]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|(_, messages)| *messages).collect::<Vec<_>>(), [1, 2, 1]);
    assert!(seen.iter().all(|(change, _)| change.mailbox == f.inbox));
    assert_eq!(seen.last().unwrap().0.modseq, f.status(f.inbox).highest_modseq);
}

fn notifies_of_every_change_once(f: &Fixture) {
    let seen: Arc<Mutex<Vec<Change>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let subscription = f.store.subscribe_changes(Arc::new(move |change| notes.lock().unwrap().push(change)));
    let taken = || std::mem::take(&mut *seen.lock().unwrap());
    f.append("x");
    assert_eq!(taken().len(), 1);
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    assert_eq!(taken().len(), 1);
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    f.remove(f.inbox, [99]);
    drop(f.deliver(b"x", &[f.inbox, MailboxId(999_999)], &[]));
    assert!(taken().is_empty(), "nothing changed");
    let work = f.create("work");
    taken();
    f.store.move_messages(f.inbox, &UidSet::all(), work, ALL).unwrap();
    let moved: Vec<MailboxId> = taken().into_iter().map(|change| change.mailbox).collect();
    assert!(moved.contains(&work) && moved.contains(&f.inbox));
    f.store.delete_mailbox(f.account, "work").unwrap();
    assert!(taken().contains(&Change { mailbox: work, modseq: 0 }), "0 means deleted");
    drop(subscription);
    f.append("unreported");
    assert!(taken().is_empty());
}
