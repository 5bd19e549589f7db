//! Group commit: appends of many threads share one sync of the disk.
//!
//! A thread puts its messages in the queue. If no thread leads, it becomes the leader and commits everything that is
//! queued. Otherwise it waits; then its messages are committed, or it leads the next commit. So one sync serves all
//! appends that arrived during the previous one. Each thread syncs its own large files before it queues.

use super::after_commit::AfterCommit;
use super::append::append_all;
use super::files::{SealedUpload, seal, sync_directory};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::types::{Appended, Delivery, Quota, Target};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The deliveries of one call.
type SealedDeliveries = Vec<(SealedUpload, Vec<Target>)>;
type Outcome = Result<Vec<Result<Vec<Appended>>>>;

#[derive(Default)]
pub(super) struct AppendQueue {
    state: Mutex<AppendQueueState>,
    committed: Condvar,
}

#[derive(Default)]
struct AppendQueueState {
    appends: Vec<Arc<PendingAppend>>,
    has_leader: bool,
}

/// The right to commit the queue. Releases leadership on drop, including during a panic.
struct CommitLeader<'a>(&'a AppendQueue);

impl Drop for CommitLeader<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).has_leader = false;
        self.0.committed.notify_all();
    }
}

impl AppendQueue {
    /// Queues an append and waits. Returns the leadership, or `None` once another thread has committed the append.
    fn enter(&self, append: &Arc<PendingAppend>) -> Option<CommitLeader<'_>> {
        let mut state = lock(&self.state);
        state.appends.push(Arc::clone(append));
        loop {
            // Either it is done, or it was lost when the leader that took it panicked.
            if append.is_done() || (!state.has_leader && !append.is_waiting()) {
                return None;
            }
            if !state.has_leader {
                state.has_leader = true;
                return Some(CommitLeader(self));
            }
            state = self.committed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct PendingAppend {
    state: Mutex<AppendState>,
}

enum AppendState {
    Waiting(SealedDeliveries),
    Done(Outcome),
    Taken,
}

impl AppendQueue {
    /// Appends deliveries, together with those of other threads. Returns what to do after the commit, and the outcome.
    /// `quota` is called right before the commit.
    pub(super) fn append(
        &self,
        writer: &Writer,
        quota: impl FnOnce() -> Quota,
        directory: &Path,
        deliveries: Vec<Delivery>,
    ) -> (AfterCommit, Outcome) {
        let mut after_commit = AfterCommit::default();
        let outcome = self.append_or_wait(writer, quota, directory, deliveries, &mut after_commit);
        (after_commit, outcome)
    }

    fn append_or_wait(
        &self,
        writer: &Writer,
        quota: impl FnOnce() -> Quota,
        directory: &Path,
        deliveries: Vec<Delivery>,
        after_commit: &mut AfterCommit,
    ) -> Outcome {
        let batch: SealedDeliveries = deliveries
            .into_iter()
            .map(|delivery| Ok((seal(delivery.upload)?, delivery.targets)))
            .collect::<Result<_>>()?;
        if batch.iter().any(|(sealed, _)| sealed.file_name().is_some()) {
            sync_directory(directory)?;
        }
        let append = Arc::new(PendingAppend { state: Mutex::new(AppendState::Waiting(batch)) });
        if let Some(leader) = self.enter(&append) {
            let mut writer = writer.lock();
            // Appends that arrived while another thread wrote are committed too.
            let appends = std::mem::take(&mut lock(&self.state).appends);
            commit_all(&mut writer, after_commit, &quota(), &appends);
            drop(writer);
            drop(leader);
        }
        match std::mem::replace(&mut *lock(&append.state), AppendState::Taken) {
            AppendState::Done(outcome) => outcome,
            AppendState::Waiting(_) | AppendState::Taken => Err(Error::Busy),
        }
    }
}

/// Commits all appends in one transaction. If that fails, commits each one alone, so that each gets its own error.
fn commit_all(
    writer: &mut Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    appends: &[Arc<PendingAppend>],
) {
    let mut batches: Vec<SealedDeliveries> = appends.iter().map(|append| append.take_deliveries()).collect();
    let mut together = AfterCommit::default();
    let mut outcomes: Vec<Outcome> = match append_all(writer, &mut together, quota, &batches) {
        Ok(outcomes) => {
            after_commit.notify_also(together);
            outcomes.into_iter().map(Ok).collect()
        }
        Err(error) if batches.len() == 1 => vec![Err(error)],
        Err(_) => batches
            .iter()
            .map(|batch| {
                let mut alone = AfterCommit::default();
                let mut outcome = append_all(writer, &mut alone, quota, std::slice::from_ref(batch))?;
                after_commit.notify_also(alone);
                outcome.pop().ok_or(Error::Busy)
            })
            .collect(),
    };
    for ((append, batch), outcome) in appends.iter().zip(&mut batches).zip(outcomes.drain(..)) {
        if let Ok(results) = &outcome {
            for ((sealed, _), result) in batch.iter_mut().zip(results) {
                if result.as_ref().is_ok_and(|appended| !appended.is_empty()) {
                    sealed.keep();
                }
            }
        }
        *lock(&append.state) = AppendState::Done(outcome);
    }
}

impl PendingAppend {
    fn is_done(&self) -> bool {
        matches!(*lock(&self.state), AppendState::Done(_))
    }

    fn is_waiting(&self) -> bool {
        matches!(*lock(&self.state), AppendState::Waiting(_))
    }

    fn take_deliveries(&self) -> SealedDeliveries {
        match std::mem::replace(&mut *lock(&self.state), AppendState::Taken) {
            AppendState::Waiting(batch) => batch,
            AppendState::Done(_) | AppendState::Taken => Vec::new(),
        }
    }
}
