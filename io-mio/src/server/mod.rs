//! Servers: a [`Reactor`] accepts connections and calls a [`Handler`](crate::Handler) for each session.

pub(crate) mod listener;
pub(crate) mod reactor;
pub(crate) mod requests;

pub use listener::BoundPort;
pub use reactor::{Reactor, ReactorHandle};
