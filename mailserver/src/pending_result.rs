//! Asynchronous results for session handlers: waits for a result from another thread, then continues with a closure.
//!
//! A handler runs on the event loop and must not block, so every access to the store is a job on a worker. The
//! continuation is stored here until the session is woken. This module is independent of the protocol.

use std::fmt;

use io_common::{Context, JobGroup, JobHandle, Next};
use mailstore::AccountId;
use proto_mail::SendBuffer;

use super::committer::{CommitOutcome, PendingCommit};
use super::login_queue::{LoginAnswer, PendingLogin};

/// One turn of a session's handler: what it can use while it is called.
pub(super) struct Turn<'t, 'c, M> {
    pub(super) machine: &'t mut M,
    pub(super) tx: &'t mut SendBuffer,
    pub(super) cx: &'t mut Context<'c>,
}

/// Returns the group in which the jobs of a session are scheduled: its account, or before login its address.
pub(super) fn group(account: Option<AccountId>, cx: &Context<'_>) -> JobGroup {
    account.map_or_else(|| JobGroup::address(cx.peer().address.ip()), |account| JobGroup::account(account.0))
}

/// What to do with an available result.
pub(super) type Continuation<H, M> = Box<dyn FnOnce(&mut H, &mut Turn<'_, '_, M>) -> Next + Send>;

/// A pending result, and what to do with it.
pub(super) struct PendingResult<H, M>(Box<dyn FnMut() -> Option<Continuation<H, M>> + Send>);

impl<H: 'static, M: 'static> PendingResult<H, M> {
    /// Waits for a job on a worker.
    pub(super) fn job<T: Send + 'static>(
        mut job: JobHandle<T>,
        then: impl FnOnce(&mut H, T, &mut Turn<'_, '_, M>) -> Next + Send + 'static,
    ) -> Self {
        let mut then = Some(then);
        Self(Box::new(move || {
            let result = job.take()?;
            let then = then.take()?;
            Some(Box::new(move |handler, turn| match result {
                Ok(result) => then(handler, result, turn),
                // The job panicked. Its effects are unknown, so that the session ends.
                Err(_) => Next::Close,
            }))
        }))
    }

    /// Waits for the answer to an authentication.
    pub(super) fn login(
        pending: PendingLogin,
        then: impl FnOnce(&mut H, LoginAnswer, &mut Turn<'_, '_, M>) -> Next + Send + 'static,
    ) -> Self {
        let mut then = Some(then);
        Self(Box::new(move || {
            let answer = pending.take()?;
            let then = then.take()?;
            Some(Box::new(move |handler, turn| then(handler, answer, turn)))
        }))
    }

    /// Waits for a commit.
    pub(super) fn commit(
        pending: PendingCommit,
        then: impl FnOnce(&mut H, CommitOutcome, &mut Turn<'_, '_, M>) -> Next + Send + 'static,
    ) -> Self {
        let mut then = Some(then);
        Self(Box::new(move || {
            let outcome = pending.take()?;
            let then = then.take()?;
            Some(Box::new(move |handler, turn| then(handler, outcome, turn)))
        }))
    }

    /// Returns the continuation, if the result is available.
    pub(super) fn poll(&mut self) -> Option<Continuation<H, M>> {
        (self.0)()
    }
}

impl<H, M> fmt::Debug for PendingResult<H, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingResult")
    }
}
