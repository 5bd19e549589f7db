//! Tasks: steps of a session as state machines over a client machine, without I/O.

use proto_mail::{Credentials, Machine, SendBuffer};

use crate::error::Error;

/// A part of a session: it sends commands and takes the machine's events, until it is done.
///
/// The driver calls [`ready`](Self::ready) first and whenever there is room for more output, and
/// [`event`](Self::event) with each event. Anything that moves bytes can drive a task: a blocking connection, an async
/// runtime, or a test that has the bytes as text.
pub trait Task<M: Machine> {
    /// The result.
    type Output;

    /// Sends what can be sent now. May be called without cause.
    ///
    /// # Errors
    /// The task failed.
    fn ready(&mut self, client: &mut M, tx: &mut SendBuffer) -> Result<TaskStep<Self::Output>, Error>;

    /// Handles an event.
    ///
    /// # Errors
    /// The task failed.
    fn event(
        &mut self,
        event: M::Event<'_>,
        client: &mut M,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<Self::Output>, Error>;

    /// Continues after [`TaskStep::RenewCredentials`] with new credentials, or none.
    ///
    /// # Errors
    /// The task failed.
    fn renewed(
        &mut self,
        _credentials: Option<Credentials>,
        _client: &mut M,
        _tx: &mut SendBuffer,
    ) -> Result<TaskStep<Self::Output>, Error> {
        Ok(TaskStep::Waiting)
    }
}

/// What a task needs next.
#[derive(Debug)]
pub enum TaskStep<T> {
    /// The next event. The last one, if there was one, brought nothing that the task asked for.
    Waiting,
    /// The next event. The last one brought something that the task asked for, so that the time limit for useful data
    /// starts anew.
    Useful,
    /// New credentials, or none: call [`Task::renewed`].
    RenewCredentials,
    /// Nothing: the task is done.
    Done(T),
}

impl<T> TaskStep<T> {
    /// Converts the result.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> TaskStep<U> {
        match self {
            Self::Waiting => TaskStep::Waiting,
            Self::Useful => TaskStep::Useful,
            Self::RenewCredentials => TaskStep::RenewCredentials,
            Self::Done(done) => TaskStep::Done(convert(done)),
        }
    }
}
