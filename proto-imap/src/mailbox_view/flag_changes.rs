//! Which messages' flags have changed, and by whom, for all sessions of a mailbox.

use alloc::collections::BTreeMap;

use crate::uid_bitmap::UidBitmap;

/// Identifies a session of a mailbox; 0 stands for a change by no session.
pub(super) type SessionId = u64;

/// The changes of flags that sessions may still have to report, in bounded memory.
///
/// Changes are numbered. Only the last change of each message is kept, and up to a limit. The older ones are kept as a set
/// of messages: a session that is so far behind reports all of them, perhaps also changes that it knows.
#[derive(Debug, Clone)]
pub(super) struct FlagChanges {
    /// The number of the last change.
    number: u64,
    by_uid: BTreeMap<u32, Change>,
    /// The message of each last change.
    by_number: BTreeMap<u64, u32>,
    /// The messages that were changed by changes up to [`older_through`](Self::older_through).
    older: UidBitmap,
    older_through: u64,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    /// The last change, and the session that made it.
    last: u64,
    by: SessionId,
    /// The last change by another session; 0 if no other session changed it.
    by_other: u64,
}

impl Change {
    /// Returns the last change that another session than this one made.
    const fn foreign_to(self, session: SessionId) -> u64 {
        if self.by == session { self.by_other } else { self.last }
    }
}

impl FlagChanges {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            number: 0,
            by_uid: BTreeMap::new(),
            by_number: BTreeMap::new(),
            older: UidBitmap::new(),
            older_through: 0,
            limit,
        }
    }

    /// Returns the number of the last change.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn record(&mut self, uid: u32, by: SessionId) {
        self.number += 1;
        let last = self.number;
        let change = self.by_uid.entry(uid).or_insert(Change { last: 0, by, by_other: 0 });
        self.by_number.remove(&change.last);
        if change.by != by {
            (change.by_other, change.by) = (change.last, by);
        }
        change.last = last;
        self.by_number.insert(last, uid);
        if self.by_number.len() > self.limit {
            self.fold();
        }
    }

    /// Moves the older half of the changes to the set.
    fn fold(&mut self) {
        for _ in 0..self.by_number.len().div_ceil(2) {
            let Some((number, uid)) = self.by_number.pop_first() else { return };
            self.by_uid.remove(&uid);
            self.older.insert(uid);
            self.older_through = number;
        }
    }

    /// Forgets a message.
    pub(super) fn forget(&mut self, uid: u32) {
        self.older.remove(uid);
        if let Some(change) = self.by_uid.remove(&uid) {
            self.by_number.remove(&change.last);
        }
    }

    /// Adds the messages to `changed` that others than this session have changed after the change with this number.
    pub(super) fn since(&self, number: u64, session: SessionId, changed: &mut UidBitmap) {
        if number < self.older_through {
            changed.union_with(&self.older);
        }
        let newer = self.by_number.range(number.saturating_add(1)..).map(|(_, uid)| *uid);
        changed
            .extend(newer.filter(|uid| {
                self.by_uid.get(uid).is_some_and(|change| change.foreign_to(session) > number)
            }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn since(changes: &FlagChanges, number: u64, session: SessionId) -> Vec<u32> {
        let mut changed = UidBitmap::new();
        changes.since(number, session, &mut changed);
        changed.iter().collect()
    }

    #[test]
    fn a_session_is_told_only_what_others_have_changed() {
        let mut changes = FlagChanges::new(10);
        changes.record(5, 1);
        changes.record(6, 2);
        assert_eq!((since(&changes, 0, 1), since(&changes, 0, 2)), (Vec::from([6]), Vec::from([5])));
        // The session's own change does not hide that of another session before it.
        changes.record(6, 1);
        assert_eq!(since(&changes, 0, 1), [6]);
        assert_eq!(since(&changes, 2, 1), []);
        assert_eq!(since(&changes, 2, 2), [6]);
        changes.forget(6);
        assert_eq!(since(&changes, 0, 2), [5]);
    }

    #[test]
    fn older_changes_are_kept_as_a_set() {
        let mut changes = FlagChanges::new(4);
        (1..=100).for_each(|uid| changes.record(uid, 1));
        assert!(changes.by_number.len() <= 4 && changes.by_uid.len() <= 4);
        assert_eq!(since(&changes, 50, 2).len(), 100, "more than necessary, but all");
        assert_eq!(since(&changes, 99, 2), [100]);
        assert_eq!(since(&changes, 100, 2), []);
    }
}
