//! Work on the store: jobs on the threads of workers, whose results continue the session.

use std::sync::Arc;

use io_common::{Error, JobHandle, JobStep, Next, Slice};
use mailstore::Store;

use super::{InProgress, Session, Turn};
use crate::account_notifier::acting_for;
use crate::pending_result::{self, PendingResult};

impl Session {
    /// Runs a job of a few milliseconds on a worker, then calls `then` with its result.
    pub(super) fn run_job<T: Send + 'static>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        job: impl FnOnce(&dyn Store) -> mailstore::Result<T> + Send + 'static,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let store = Arc::clone(&self.context.store);
        let number = self.number;
        let group = pending_result::group(self.account, turn.cx);
        let later = self
            .context
            .workers
            .run(group, turn.cx.session_handle(), move || acting_for(number, || job(&*store)));
        self.wait_for(later, then, turn)
    }

    /// Runs a longer job on a worker in slices, then calls `then` with its result. The job returns [`JobStep::More`]
    /// when its slice is over and is called again after the jobs of other accounts and sessions. It is dropped when
    /// the session ends.
    pub(super) fn run_in_slices<T: Send + 'static>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        mut job: impl FnMut(&dyn Store, &Slice) -> JobStep<mailstore::Result<T>> + Send + 'static,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let store = Arc::clone(&self.context.store);
        let group = pending_result::group(self.account, turn.cx);
        let number = self.number;
        let job = move |slice: &Slice| acting_for(number, || job(&*store, slice));
        let later = self.context.workers.run_in_slices(group, turn.cx.session_handle(), job);
        self.wait_for(later, then, turn)
    }

    fn wait_for<T: Send + 'static>(
        &mut self,
        later: Result<JobHandle<mailstore::Result<T>>, Error>,
        then: impl FnOnce(&mut Self, mailstore::Result<T>, &mut Turn<'_, '_>) -> Next + Send + 'static,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match later {
            Ok(later) => {
                self.pending = Some(PendingResult::job(later, then));
                // The state machine yields no further command until this one is answered.
                Next::Continue
            }
            // Only this command fails.
            Err(Error::GroupQueueFull) => then(
                self,
                Err(mailstore::Error::Limit("too many commands of this account are waiting")),
                turn,
            ),
            // One change wakes all idle sessions, perhaps more than the queue can hold: they retry a little later.
            Err(_)
                if self.after_fetch.is_some()
                    || matches!(self.in_progress, InProgress::Idle(_) | InProgress::Notifying) =>
            {
                then(self, Err(mailstore::Error::Busy), turn)
            }
            Err(_) => {
                turn.machine.shutdown("the server is too busy: try again later", turn.tx);
                Next::Close
            }
        }
    }
}
