//! What the typed clients share: a connection, the state of its commands, and how to wait for events.

use std::time::Instant;

use io_common::client::{ClientError, SessionState};
use proto_mail::{Machine, SendBuffer};

use crate::client::{Connection, ConnectionEvent};

/// A connection and the state of its commands.
pub(crate) struct TypedSession<M: Machine, S> {
    pub(crate) connection: Connection<M>,
    pub(crate) state: S,
}

impl<M: Machine, S: SessionState<M> + Default> TypedSession<M, S> {
    /// Takes over a connection on which nothing was sent yet, and waits until commands can be given.
    pub(crate) fn over(connection: Connection<M>) -> Result<Self, ClientError> {
        let mut this = Self { connection, state: S::default() };
        this.settle()?;
        Ok(this)
    }
}

impl<M: Machine, S: SessionState<M>> TypedSession<M, S> {
    /// Gives access to the state, the machine and the output.
    pub(crate) fn with<R>(&mut self, give: impl FnOnce(&mut S, &mut M, &mut SendBuffer) -> R) -> R {
        let Self { connection, state } = self;
        connection.with(|machine, tx| give(state, machine, tx))
    }

    /// Finishes what was begun before and gives a command.
    pub(crate) fn start<R>(
        &mut self,
        give: impl FnOnce(&mut S, &mut M, &mut SendBuffer) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        self.settle()?;
        self.with(give)
    }

    /// Finishes what was begun and left: a body that was not read to its end, for example.
    pub(crate) fn settle(&mut self) -> Result<(), ClientError> {
        let settled = match self.with(|state, machine, tx| state.settle(None, machine, tx)) {
            Ok(true) => return Ok(()),
            Ok(false) => self.until(|event, state, machine, tx| {
                Ok(state.settle(Some(&event), machine, tx)?.then_some(()))
            }),
            Err(error) => Err(error),
        };
        settled.inspect_err(|_| self.connection.cut())
    }

    /// Reads, writes and waits until `step` returns a value.
    pub(crate) fn until<T>(
        &mut self,
        mut step: impl FnMut(M::Event<'_>, &mut S, &mut M, &mut SendBuffer) -> Result<Option<T>, ClientError>,
    ) -> Result<T, ClientError> {
        self.drive(|event, state, machine, tx| match event {
            ConnectionEvent::Machine(event) => step(event, state, machine, tx),
            ConnectionEvent::Writable => Ok(None),
        })
    }

    /// As [`until`](Self::until), and calls `step` when there is room for more output.
    pub(crate) fn drive<T>(
        &mut self,
        mut step: impl FnMut(
            ConnectionEvent<'_, M>,
            &mut S,
            &mut M,
            &mut SendBuffer,
        ) -> Result<Option<T>, ClientError>,
    ) -> Result<T, ClientError> {
        let Self { connection, state } = self;
        connection.drive(|event, machine, tx| {
            if let ConnectionEvent::Machine(event) = &event {
                state.note(event);
            }
            step(event, state, machine, tx)
        })
    }

    /// As [`until`](Self::until), but returns `None` at this time at the latest.
    pub(crate) fn until_time<T>(
        &mut self,
        time: Instant,
        mut step: impl FnMut(M::Event<'_>, &mut S, &mut M, &mut SendBuffer) -> Result<Option<T>, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        let Self { connection, state } = self;
        connection.drive_until(time, |event, machine, tx| {
            let ConnectionEvent::Machine(event) = event else { return Ok(None) };
            state.note(&event);
            step(event, state, machine, tx)
        })
    }
}
