//! Why a connection calls its user's closure.

use std::fmt;

use proto_mail::Machine;

/// Why a driver's `Connection::drive` calls its closure.
pub enum ConnectionEvent<'e, M: Machine> {
    /// The machine has an event.
    Machine(M::Event<'e>),
    /// Little output waits: the closure may queue more of an upload. May be called without cause.
    Writable,
}

impl<M: Machine> fmt::Debug for ConnectionEvent<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(event) => f.debug_tuple("Machine").field(event).finish(),
            Self::Writable => f.write_str("Writable"),
        }
    }
}
