//! What the runners of a session share, whatever moves its bytes: when to leave the loop, and the time limit for useful
//! data.

use std::time::{Duration, Instant};

use proto_mail::{Machine, SendBuffer};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::task::{Task, TaskStep};

/// How long to wait for useful data while the server sends other data. [`Endpoint::timeout`], which limits silence, sets
/// it to [`USELESS_FACTOR`] times its value.
const USELESS_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const USELESS_FACTOR: u32 = 4;

/// How long to wait for the server's answer to LOGOUT or QUIT.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a runner leaves its loop over a session's events.
#[derive(Debug)]
pub(crate) enum Pause<T> {
    /// The task needs new credentials: get them, and call [`Task::renewed`].
    RenewCredentials,
    /// The task is done.
    Done(T),
}

/// Passes an event to the task, or the chance to send something (`None`).
pub(crate) fn advance<M: Machine, T: Task<M>>(
    task: &mut T,
    event: Option<M::Event<'_>>,
    client: &mut M,
    tx: &mut SendBuffer,
) -> Result<TaskStep<T::Output>, Error> {
    match event {
        Some(event) => task.event(event, client, tx),
        None => task.ready(client, tx),
    }
}

/// Returns whether the runner leaves its loop after this step.
pub(crate) fn pause_after<T>(step: TaskStep<T>) -> Option<Pause<T>> {
    match step {
        TaskStep::Done(done) => Some(Pause::Done(done)),
        TaskStep::RenewCredentials => Some(Pause::RenewCredentials),
        TaskStep::Waiting | TaskStep::Useful => None,
    }
}

/// The time limit for useful data: a server that sends only other data does not keep a session open.
#[derive(Debug)]
pub(crate) struct UsefulTimer {
    limit: Duration,
    /// When the last useful data came.
    last: Instant,
}

impl UsefulTimer {
    /// Starts a timer with the limit of this endpoint.
    pub(crate) fn new(endpoint: &Endpoint, now: Instant) -> Self {
        let limit =
            endpoint.silence_limit().map_or(USELESS_TIMEOUT, |limit| limit.saturating_mul(USELESS_FACTOR));
        Self { limit, last: now }
    }

    /// Starts anew: a task begins, or waits for something else than the server.
    pub(crate) const fn restart(&mut self, now: Instant) {
        self.last = now;
    }

    /// Notes what a step of a task says about the data.
    pub(crate) const fn note<T>(&mut self, step: &TaskStep<T>, now: Instant) {
        if matches!(step, TaskStep::Useful) {
            self.last = now;
        }
    }

    /// Returns when the limit ends. `None`: never.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.last.checked_add(self.limit)
    }

    /// Checks the limit.
    ///
    /// # Errors
    /// The server has sent no useful data in time.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Error> {
        if self.deadline().is_none_or(|end| now < end) {
            return Ok(());
        }
        let what = format!("the server sent only unrequested data for {:?}", self.limit);
        Err(Error::new(ErrorKind::Temporary, what).advise("try again later").remote())
    }
}

#[cfg(test)]
mod tests {
    use io_common::TlsClientConfig;

    use super::*;

    #[test]
    fn only_useful_data_extends_the_limit() {
        let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
        let endpoint = Endpoint::new("imaps://ann@h".parse().unwrap(), tls).timeout(Duration::from_secs(10));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timer = UsefulTimer::new(&endpoint, start);
        assert_eq!(timer.deadline(), Some(after(40)));
        timer.note(&TaskStep::<()>::Waiting, after(30));
        assert!(timer.check(after(39)).is_ok());
        assert_eq!(timer.check(after(40)).unwrap_err().kind(), ErrorKind::Temporary);
        timer.note(&TaskStep::<()>::Useful, after(39));
        assert!(timer.check(after(78)).is_ok() && timer.check(after(79)).is_err());
        timer.restart(after(100));
        assert!(timer.check(after(139)).is_ok() && timer.check(after(140)).is_err());
    }
}
