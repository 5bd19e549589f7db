//! What the typed clients share: a connection, the state of its commands, and how to wait for events.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use io_common::client::SessionState;
use proto_mail::{Machine, SendBuffer};

use crate::{
    connection::{Connection, ConnectionEvent},
    error::Error,
};

/// A connection and the state of its commands.
pub(crate) struct TypedSession<M: Machine, S> {
    pub(crate) connection: Connection<M>,
    pub(crate) state: S,
}

impl<M: Machine, S: SessionState<M> + Default> TypedSession<M, S> {
    /// Takes over a connection on which nothing was sent yet, and waits until commands can be given.
    pub(crate) async fn over(connection: Connection<M>) -> Result<Self, Error> {
        let mut this = Self { connection, state: S::default() };
        this.settle().await?;
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
    pub(crate) async fn start<R>(
        &mut self,
        give: impl FnOnce(&mut S, &mut M, &mut SendBuffer) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.settle().await?;
        self.with(give)
    }

    /// Finishes what a dropped future has left.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        let settled = match self.with(|state, machine, tx| state.settle(None, machine, tx)) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                self.until(|event, state, machine, tx| {
                    Ok(state.settle(Some(&event), machine, tx)?.then_some(()))
                })
                .await
            }
            Err(error) => Err(error),
        };
        settled.inspect_err(|_| self.connection.cut())
    }

    /// Reads, writes and waits until `step` returns a value.
    pub(crate) async fn until<T>(
        &mut self,
        mut step: impl FnMut(M::Event<'_>, &mut S, &mut M, &mut SendBuffer) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        poll_fn(|cx| self.poll_until(&mut step, cx)).await
    }

    pub(crate) fn poll_until<T>(
        &mut self,
        step: &mut impl FnMut(M::Event<'_>, &mut S, &mut M, &mut SendBuffer) -> Result<Option<T>, Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        self.poll_drive(
            &mut |event: ConnectionEvent<'_, M>, state: &mut S, machine: &mut M, tx: &mut SendBuffer| {
                match event {
                    ConnectionEvent::Machine(event) => step(event, state, machine, tx),
                    ConnectionEvent::Writable => Ok(None),
                }
            },
            cx,
        )
    }

    /// As [`poll_until`](Self::poll_until), and calls `step` when there is room for more output.
    pub(crate) fn poll_drive<T>(
        &mut self,
        step: &mut impl FnMut(ConnectionEvent<'_, M>, &mut S, &mut M, &mut SendBuffer) -> Result<Option<T>, Error>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        let Self { connection, state } = self;
        let step = &mut |event: ConnectionEvent<'_, M>, machine: &mut M, tx: &mut SendBuffer| {
            if let ConnectionEvent::Machine(event) = &event {
                state.note(event);
            }
            step(event, state, machine, tx)
        };
        connection.poll_drive(step, cx)
    }
}
