//! Interrupted copies that no worker could undo: they are undone later.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailstore::{CopyId, Store};

/// The maximum number of copies that wait to be undone.
const LIMIT: usize = 10_000;

/// Copies that wait to be undone.
pub(super) struct CopiesToUndo {
    store: Arc<dyn Store>,
    copies: Mutex<Vec<CopyId>>,
}

impl CopiesToUndo {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, copies: Mutex::default() }
    }

    /// Adds a copy. If too many are waiting, [`Store::undo_unfinished_copies`] undoes it when the server starts again.
    pub(super) fn add(&self, copy: CopyId) {
        let mut copies = self.lock();
        if copies.len() < LIMIT {
            copies.push(copy);
        }
    }

    /// Undoes the copies, and keeps those that fail for the next call. Blocks.
    pub(super) fn undo_all(&self) {
        let copies = std::mem::take(&mut *self.lock());
        for copy in copies {
            if let Err(error) = self.store.undo_copy(copy) {
                tracing::warn!(%error, "cannot remove the copies of an interrupted COPY yet");
                self.add(copy);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CopyId>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CopiesToUndo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopiesToUndo").field("waiting", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mailstore::{Accounts, Delivery, Flags, InternalDate, SqliteStore, Target, UidSet};

    use super::*;

    #[test]
    fn removes_the_copies_that_no_worker_could_remove() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let account = store.create_account("ann", b"a password").unwrap().id;
        let [inbox, archive] = ["INBOX", "Archive"].map(|name| store.mailbox(account, name).unwrap().id);
        for _ in 0..5 {
            let upload = store.upload().unwrap();
            let target =
                Target { mailbox: inbox, flags: Flags::new(), internal_date: InternalDate::default() };
            store.append(Delivery { upload, targets: vec![target] }).unwrap();
        }
        let interrupted = store.copy_part(inbox, &UidSet::all(), archive, 2, None).unwrap();
        // Another session is still making this one.
        let other = store.copy_part(inbox, &UidSet::all(), archive, 3, None).unwrap();
        let rest = UidSet::all().starting_at(3);
        store.copy_part(inbox, &rest, archive, 2, interrupted.unfinished).unwrap();
        let copies = CopiesToUndo::new(Arc::clone(&store) as Arc<dyn Store>);
        copies.add(interrupted.unfinished.unwrap());
        copies.undo_all();
        assert_eq!(store.status(archive).unwrap().messages, 3);
        store.copy_part(inbox, &UidSet::all().starting_at(4), archive, 3, other.unfinished).unwrap();
        assert_eq!(store.status(archive).unwrap().messages, 5);
        assert_eq!(store.undo_unfinished_copies().unwrap(), 0);
    }
}
